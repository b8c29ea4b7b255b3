//! Link flags of the cdylib: the original's SONAME, and NODELETE because worker threads and their TLS outlive a `dlclose`. And the name of the
//! build: states computed by one are not mixed with those of another whose bits might differ.
use std::path::{Path, PathBuf};

/// Where bits come from: memory says in what order a token's past is looked at.
const COMPUTE: [&str; 6] = ["crates/kernels", "src/backend", "src/blocks", "src/memory", "src/model", "src/session"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libllama.so.0");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo:rustc-env=CAMELID_BUILD={:016x}", build());
}

/// FNV-1a over the sources that compute, the compiler and its settings.
fn build() -> u64 {
    let mut files = Vec::new();
    println!("cargo:rerun-if-changed=Cargo.lock");
    for dir in COMPUTE {
        println!("cargo:rerun-if-changed={dir}");
        collect(Path::new(dir), &mut files);
    }
    files.sort();
    let var = |name: &str| std::env::var(name).unwrap_or_default().into_bytes();
    let rustc = std::process::Command::new(std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into())).arg("-vV").output();
    let mut parts = vec![
        std::fs::read("Cargo.lock").unwrap_or_default(),
        var("TARGET"),
        var("OPT_LEVEL"),
        var("CARGO_ENCODED_RUSTFLAGS"),
        rustc.map(|o| o.stdout).unwrap_or_default(),
    ];
    parts.extend(files.iter().map(|f| std::fs::read(f).unwrap_or_default()));
    parts.concat().iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

fn collect(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => collect(&path, out),
            false if path.extension().is_some_and(|e| e == "rs") => out.push(path),
            false => {}
        }
    }
}
