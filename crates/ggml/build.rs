//! Link flags: the original's SONAME, and NODELETE because programs keep pointers to what is made here (names, devices) beyond a `dlclose`.
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libggml.so.0");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
