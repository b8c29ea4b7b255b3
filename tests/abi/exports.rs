//! What the shared library shows to the loader.
use crate::cc::tool;
use crate::{abi, library, members};
use std::collections::BTreeSet;

const LIST: &str = include_str!("exports.txt");

#[test]
fn exactly_the_listed_symbols() {
    let out = tool("nm", &["-D", "--defined-only", library().to_str().expect("a path in UTF-8")]);
    let got: BTreeSet<&str> = out.lines().filter_map(|l| l.split_whitespace().nth(2)).collect();
    let want: BTreeSet<&str> = LIST.lines().collect();
    assert_eq!(got, want);
}

#[test]
fn the_list_is_the_contract_and_camelid_h() {
    let abi = abi();
    let contract: BTreeSet<&str> = members(&abi["functions"]).into_iter().map(|(n, _)| n).collect();
    // C++ names are those that programs of the original import (tests/clients): no header of ours has them.
    let c = LIST.lines().filter(|l| !l.starts_with("_Z"));
    let (camelid, llama): (BTreeSet<&str>, BTreeSet<&str>) = c.partition(|l| l.starts_with("camelid_"));
    assert_eq!(llama, contract);
    let header = std::fs::read_to_string(crate::root().join("include/camelid.h")).expect("camelid.h");
    assert!(camelid.iter().all(|f| header.contains(&format!("{f}("))), "camelid.h lacks one of {camelid:?}");
}

#[test]
fn name_flags_and_needs() {
    let out = tool("readelf", &["-dW", library().to_str().expect("a path in UTF-8")]);
    let named = |tag: &str| -> Vec<&str> {
        let lines = out.lines().filter(|l| l.contains(tag));
        lines.filter_map(|l| Some(l.split_once('[')?.1.split_once(']')?.0)).collect()
    };
    assert_eq!(named("(SONAME)"), ["libllama.so.0"]);
    // Worker threads and their TLS outlive a dlclose.
    assert!(out.contains("NODELETE"), "{out}");
    let allowed = ["libc.so", "libgcc_s.so", "libm.so", "ld-linux"];
    for lib in named("(NEEDED)") {
        assert!(allowed.iter().any(|a| lib.starts_with(a)), "the library needs {lib} at run time");
    }
}

/// libhwloc is loaded where it is there, by a table of our own (platform::numa): a function missing in it would be looked for when the library is.
#[test]
fn nothing_of_hwloc_is_needed_or_shown() {
    let path = library();
    let path = path.to_str().expect("a path in UTF-8");
    let needed = tool("readelf", &["-dW", path]);
    assert!(!needed.contains("hwloc") && !needed.contains("libudev"), "{needed}");
    let symbols = tool("nm", &["-D", path]);
    let hwloc: Vec<&str> = symbols.lines().filter(|l| l.contains("hwloc_")).collect();
    assert!(hwloc.is_empty(), "{hwloc:?}");
}
