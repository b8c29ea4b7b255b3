//! Developer chores: `cargo xtask headers [--check]`, `cargo xtask matrix [--check]`. Writes committed files; a test runs both with `--check`.
mod ggml;
mod headers;
mod matrix;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let check = args.iter().any(|a| a == "--check");
    let files = match args.first().map(String::as_str) {
        Some("headers") => headers::make(&root()),
        Some("matrix") => matrix::make(&root()),
        _ => Err("usage: cargo xtask headers|matrix [--check]".into()),
    };
    match files.and_then(|f| settle(&f, check)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("xtask: {e}");
            ExitCode::FAILURE
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Writes the files, or only says which one is not up to date.
fn settle(files: &[(PathBuf, String)], check: bool) -> Result<()> {
    for (path, text) in files {
        if check && std::fs::read_to_string(path).ok().as_ref() != Some(text) {
            return Err(format!("{} is not up to date: run `cargo xtask headers` and `cargo xtask matrix`", path.display()));
        }
        if !check {
            std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        }
    }
    Ok(())
}
