//! The C ABI against its contract: tests/abi/abi.json (layouts, enums, signatures, defaults) and tests/abi/exports.txt (symbols).
mod calls;
mod cc;
mod exports;
mod layout;
mod rust_layout;
mod samplers;
mod up_to_date;

use serde_json::Value;
use std::path::{Path, PathBuf};

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn abi() -> Value {
    serde_json::from_str(include_str!("abi.json")).expect("abi.json is JSON")
}

/// The members of an object, by name.
pub fn members(v: &Value) -> Vec<(&str, &Value)> {
    v.as_object().expect("an object").iter().map(|(k, v)| (k.as_str(), v)).collect()
}

/// The shared library that cargo built beside this test.
pub fn library() -> PathBuf {
    let me = std::env::current_exe().expect("a test has a path");
    let so = me.parent().expect("in target/PROFILE/deps").join("libllama.so");
    assert!(so.exists(), "{} is not there", so.display());
    so
}
