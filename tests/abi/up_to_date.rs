//! Committed files that are made from the source: the headers and the matrix.
use crate::root;
use std::process::Command;

fn xtask(what: &str) {
    let mut c = Command::new(env!("CARGO"));
    c.current_dir(root()).args(["run", "--quiet", "--package", "xtask", "--", what, "--check"]);
    let out = c.output().expect("cargo runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn headers() {
    xtask("headers");
}

#[test]
fn matrix() {
    xtask("matrix");
}
