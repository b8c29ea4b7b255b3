//! Programs in C and C++ against the header and the library: signatures, NULL everywhere, loading twice.
use crate::cc::{Lang, compile, run};
use crate::{abi, members, root};
use std::collections::BTreeSet;

/// Every function declared again as the contract has it: another type is a compiler error.
fn redeclared() -> String {
    let abi = abi();
    let list = members(&abi["functions"]).into_iter().map(|(_, d)| format!("{};\n", d.as_str().expect("a declaration")));
    list.collect()
}

#[test]
fn signatures_in_c() {
    compile("signatures_c", Lang::C, &format!("#include \"llama.h\"\n{}int main(void) {{ return 0; }}\n", redeclared()), &[]);
}

#[test]
fn signatures_in_cpp() {
    let source =
        format!("#include \"llama-cpp.h\"\n#include \"camelid.h\"\nextern \"C\" {{\n{}}}\nint main() {{ return 0; }}\n", redeclared());
    compile("signatures_cpp", Lang::Cpp, &source, &[]);
}

#[test]
fn examples_compile() {
    for name in ["simple", "chat", "batched", "prefix_cache", "grammar", "lora"] {
        let source = std::fs::read_to_string(root().join(format!("c_examples/{name}.c"))).expect("an example");
        compile(&format!("example_{name}"), Lang::C, &source, &[]);
    }
}

/// What a C++ program does with the handles.
#[test]
fn owning_pointers_in_cpp() {
    let source = r#"
#include "llama-cpp.h"
int main() {
    llama_model_ptr model(llama_model_load_from_file("no such file", llama_model_default_params()));
    llama_sampler_ptr chain(llama_sampler_chain_init(llama_sampler_chain_default_params()));
    if (model) return 1;
    llama_context_ptr ctx(llama_init_from_model(model.get(), llama_context_default_params()));
    return ctx ? 2 : 0;
}
"#;
    run(&compile("owning_cpp", Lang::Cpp, source, &[]));
}

/// `(TYPE){value}` for every parameter; pointers, structs and callbacks are zero, whole numbers are `value`.
fn arguments(declaration: &str, value: &str) -> String {
    let list = declaration.split_once('(').and_then(|(_, l)| l.strip_suffix(')')).expect("a parameter list");
    let one = |p: &str| {
        let ty = p.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_').trim_end();
        let whole = ["int32_t", "int64_t", "uint32_t", "uint64_t", "size_t", "int", "llama_token", "llama_pos", "llama_seq_id"];
        format!("({ty}){{{}}}", if whole.contains(&ty) { value } else { "0" })
    };
    if list == "void" { String::new() } else { list.split(", ").map(one).collect::<Vec<_>>().join(", ") }
}

/// Calls all entry points with NULL and `value`; gives the log.
fn call_all(name: &str, value: &str) -> String {
    let abi = abi();
    let calls = members(&abi["functions"]).into_iter().map(|(f, d)| format!("    {f}({});\n", arguments(d.as_str().expect("text"), value)));
    let body: String = calls.collect();
    let source = format!("#include \"llama.h\"\nint main(void) {{\n{body}    return 0;\n}}\n");
    let lenient = ["-Wno-deprecated-declarations", "-Wno-unused-result", "-Wno-overflow", "-Wno-sign-conversion", "-Wno-narrowing"];
    run(&compile(name, Lang::C, &source, &lenient))
}

#[test]
fn null_and_zero_everywhere() {
    call_all("null_zero", "0");
}

#[test]
fn null_and_minus_one_everywhere() {
    call_all("null_minus_one", "-1");
}

#[test]
fn null_and_the_largest_int_everywhere() {
    call_all("null_largest", "2147483647");
}

/// Who says "not built yet" must be a stub in the matrix.
#[test]
fn stubs_that_speak_are_listed_as_stubs() {
    let page = std::fs::read_to_string(root().join("docs/MATRIX.md")).expect("the matrix");
    let rows = page.lines().filter(|l| l.ends_with("| stub |")).filter_map(|l| l.split('`').nth(1));
    let listed: BTreeSet<&str> = rows.collect();
    let log = call_all("stubs", "0");
    let spoke: BTreeSet<&str> = log.lines().filter_map(|l| l.strip_suffix(" is not built yet")).collect();
    assert!(spoke.is_subset(&listed), "stubs listed as done: {:?}", spoke.difference(&listed));
}

#[test]
fn loads_unloads_and_loads_again() {
    let source = r#"
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    for (int i = 0; i < 3; i++) {
        void * lib = dlopen("libllama.so.0", RTLD_NOW | RTLD_LOCAL);
        if (!lib) { fprintf(stderr, "%s\n", dlerror()); return 1; }
        void (*init)(void) = (void (*)(void)) dlsym(lib, "llama_backend_init");
        const char * (*version)(void) = (const char * (*)(void)) dlsym(lib, "llama_version");
        if (!init || !version) return 2;
        init();
        puts(version());
        if (dlclose(lib)) return 3;
    }
    return 0;
}
"#;
    let out = run(&compile("dlopen", Lang::C, source, &["-ldl"]));
    assert_eq!(out, "0.5.0\n0.5.0\n0.5.0\n");
}
