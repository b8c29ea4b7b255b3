//! Link flags of the cdylib: the original's SONAME, and NODELETE because worker threads and their TLS outlive a `dlclose`.
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libllama.so.0");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
