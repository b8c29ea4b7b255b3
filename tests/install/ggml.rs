//! libggml.so.0 through C: what `check.c` asserts, and every function with NULL and odd numbers.
use crate::staged::{Stage, succeed};
use crate::{abi, json};
use std::collections::BTreeSet;
use std::process::Command;

/// The declarations of all six headers, by name.
fn declared() -> Vec<(String, String, Vec<String>)> {
    let list = json(include_str!("../../crates/ggml/ggml.json"));
    let text = |v: &serde_json::Value| v.as_str().unwrap_or_default().to_owned();
    let one = |f: &serde_json::Value| {
        let params = f["params"].as_array().into_iter().flatten().map(text).collect();
        (text(&f["function"]), text(&f["returns"]), params)
    };
    let headers = list.as_object().expect("headers").values();
    headers.flat_map(|h| h.as_array().into_iter().flatten()).filter(|i| i["function"].is_string()).map(one).collect()
}

/// What the library shows to the loader.
pub fn exports(stage: &Stage) -> BTreeSet<String> {
    let mut c = Command::new("nm");
    c.args(["-D", "--defined-only"]).arg(stage.lib().join("libggml.so.0"));
    succeed(c).lines().filter_map(|l| l.split_whitespace().nth(2)).map(str::to_owned).collect()
}

#[test]
fn shows_ggml_s_names_and_no_others() {
    let shown = exports(&Stage::new("ggml_exports"));
    let all: BTreeSet<String> = declared().into_iter().map(|f| f.0).collect();
    assert!(shown.is_subset(&all), "in no header: {:?}", shown.difference(&all));
    // And the other way round: what clients other than the vision library import.
    let wanted = include_str!("imports.txt").lines().map(str::to_owned).collect::<BTreeSet<_>>();
    assert!(wanted.is_subset(&shown), "missing: {:?}", wanted.difference(&shown));
    assert!(wanted.len() > 60);
}

#[test]
fn libllama_shows_none_of_them() {
    let listed = abi()["functions"].as_object().expect("functions").keys().filter(|f| f.starts_with("ggml_")).count();
    assert_eq!(listed, 0);
    assert!(!include_str!("../abi/exports.txt").lines().any(|l| l.starts_with("ggml_") || l.starts_with("gguf_")));
}

fn linked(stage: &Stage, file: &str, source: &str) -> std::path::PathBuf {
    let flags = stage.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    stage.compile("cc", &["-std=gnu11", "-g", "-Wall", "-Wno-deprecated-declarations"], file, source, &flags)
}

#[test]
fn check_c() {
    let stage = Stage::new("ggml_check");
    let program = linked(&stage, "check.c", include_str!("check.c"));
    let said = stage.run(&program, &["file.gguf"]);
    assert!(said.contains("all as it should be"), "{said}");
}

/// The one function that ends the process: message, callback, arguments of all kinds.
#[test]
fn aborts_say_where_and_why() {
    let stage = Stage::new("ggml_abort");
    let source = r#"#include "ggml.h"
#include <stdlib.h>
static void tell(const char * message) { printf("told: %s\n", message); fflush(stdout); exit(7); }
int main(int argc, char ** argv) {
    (void) argv;
    if (argc > 1) ggml_set_abort_callback(tell);
    ggml_abort("here.c", 42, "%s %d %.2f %c %lld %s %g %x", "one", 2, 3.5, 'f', 5000000000LL, "six", 0.25, 255);
}
"#;
    let program = linked(&stage, "abort.c", source);
    let mut with = Command::new(&program);
    with.arg("callback").env("LD_LIBRARY_PATH", stage.lib());
    let mut without = Command::new(&program);
    without.env("LD_LIBRARY_PATH", stage.lib());
    let (with, without) = (with.output().expect("runs"), without.output().expect("runs"));
    let text = "here.c:42: one 2 3.50 f 5000000000 six 0.25 ff";
    assert_eq!(String::from_utf8_lossy(&with.stdout), format!("told: {text}\n"));
    assert_eq!(with.status.code(), Some(7));
    assert_eq!(String::from_utf8_lossy(&without.stderr), format!("{text}\n"));
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&without.status), Some(6));
}

/// Every function with zeroes, minus ones and the largest numbers: nothing but `ggml_abort` ends the process.
#[test]
fn null_everywhere() {
    let stage = Stage::new("ggml_null");
    let shown = exports(&stage);
    let whole = ["int", "int32_t", "int64_t", "uint8_t", "uint16_t", "uint32_t", "uint64_t", "size_t", "int8_t", "int16_t"];
    let mut calls = String::new();
    for (name, _, params) in declared().into_iter().filter(|f| shown.contains(&f.0) && !["ggml_abort", "ggml_format_name"].contains(&&*f.0))
    {
        let argument = |p: &String| {
            let ty = p.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_').trim_end();
            let ty = if ["", "enum"].contains(&ty) { p.as_str() } else { ty };
            match () {
                _ if p.contains("callback") || p.contains("_t callback") => "NULL".to_owned(),
                _ if whole.contains(&ty) => format!("({ty}) v"),
                _ if ty.starts_with("enum ") => format!("({ty}) v"),
                _ => format!("({ty}){{0}}"),
            }
        };
        let list: Vec<String> = params.iter().map(argument).collect();
        calls += &format!("    {name}({});\n", list.join(", "));
    }
    assert!(calls.lines().count() > 200, "{calls}");
    let source = format!(
        "#include \"ggml.h\"\n#include \"ggml-cpu.h\"\n#include \"ggml-opt.h\"\n#include \"gguf.h\"\n\
         static void all(long long v) {{\n{calls}}}\n\
         int main(void) {{ all(0); all(-1); all(1); all(0x7fffffff); all(0x7fffffffffffffffLL); puts(\"alive\"); return 0; }}\n"
    );
    let program = linked(&stage, "null.c", &source);
    assert!(stage.run(&program, &[]).contains("alive"));
}
