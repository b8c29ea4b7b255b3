//! What `make install` puts down, as those who build against it find it: names, links, headers, pkg-config; and libggml.so.0 through C.
mod ggml;
mod staged;

use serde_json::Value;
use staged::{Stage, succeed};

const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn abi() -> Value {
    json(include_str!("../abi/abi.json"))
}

#[test]
fn links_are_links_and_there_is_one_library_of_each() {
    let stage = Stage::new("links");
    for (library, names) in [("libllama.so.0.5.0", &["libllama"][..]), ("libggml.so.0.25.1", &["libggml", "libggml-base", "libggml-cpu"])] {
        for name in names {
            for end in [".so", ".so.0"] {
                let file = stage.lib().join(format!("{name}{end}"));
                let real = file.canonicalize().unwrap_or_else(|e| panic!("{}: {e}", file.display()));
                assert_eq!(real.file_name().and_then(|n| n.to_str()), Some(library), "{}", file.display());
            }
        }
    }
}

/// Another libggml under the prefix stays whole: its users need more than ours has.
#[test]
fn somebody_elses_libggml_stays() {
    let stage = Stage::new("foreign");
    let file = stage.lib().join("libggml-base.so.0");
    std::fs::remove_file(&file).expect("the link");
    std::fs::write(&file, "somebody else's").expect("a file");
    stage.install();
    assert_eq!(std::fs::read_to_string(file).expect("still there"), "somebody else's");
}

/// Go, Python and others load the library under no names but its own, and look functions up one by one.
#[test]
fn every_function_is_found_by_dlsym() {
    let stage = Stage::new("dlsym");
    let functions = abi()["functions"].clone();
    let list = functions.as_object().expect("functions");
    let looked_up: String = list.keys().map(|f| format!("    find(llama, \"{f}\");\n")).collect();
    let without = list.iter().filter(|(_, d)| d.as_str().is_some_and(|d| d.ends_with("(void)"))).map(|(f, _)| f);
    let called: String = without.map(|f| format!("    ((__typeof__(&{f})) find(llama, \"{f}\"))();\n")).collect();
    assert!(called.lines().count() > 10, "{called}");
    let ggml: String = ggml::exports(&stage).iter().map(|f| format!("    find(ggml, \"{f}\");\n")).collect();
    let source = format!(
        r#"#include "llama.h"
#include <dlfcn.h>
#include <stdlib.h>
static void * open_one(const char * path) {{
    void * h = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!h) {{ puts(dlerror()); exit(1); }}
    return h;
}}
static void * find(void * h, const char * name) {{
    void * f = dlsym(h, name);
    if (!f) {{ puts(name); exit(2); }}
    return f;
}}
int main(int argc, char ** argv) {{
    if (argc != 3) return 3;
    void * ggml = open_one(argv[2]);
    void * llama = open_one(argv[1]);
{looked_up}{ggml}{called}
    if (((__typeof__(&ggml_type_size)) find(ggml, "ggml_type_size"))(GGML_TYPE_Q4_K) != 144) return 4;
    return 0;
}}
"#
    );
    let program = stage.compile("cc", &["-std=gnu11", "-Wall", "-Werror"], "main.c", &source, &["-ldl"]);
    let lib = |name: &str| stage.lib().join(name).to_string_lossy().into_owned();
    stage.run(&program, &[&lib("libllama.so.0"), &lib("libggml.so.0")]);
}

#[test]
fn a_program_builds_by_pkg_config() {
    let stage = Stage::new("pkgconfig");
    let source = r#"#include "llama.h"
int main(void) {
    struct gguf_init_params params = { true, NULL };
    if (gguf_init_from_file("no such file", params)) return 1;
    struct llama_model * model = llama_model_load_from_file("no such file", llama_model_default_params());
    return model || ggml_backend_dev_count() == 0;
}
"#;
    let flags = stage.pkg_config();
    let flags: Vec<&str> = flags.split_whitespace().collect();
    assert!(["-lllama", "-lggml", "-lggml-base"].iter().all(|l| flags.contains(l)), "{flags:?}");
    let program = stage.compile("cc", &["-std=c11", "-Werror"], "main.c", source, &flags);
    stage.run(&program, &[]);
}

/// Each header by itself, and all in one.
#[test]
fn headers_are_clean_c_and_cpp() {
    let stage = Stage::new("headers");
    let c = ["camelid.h", "llama.h", "ggml.h", "ggml-alloc.h", "ggml-backend.h", "ggml-cpu.h", "ggml-opt.h", "gguf.h"];
    let cpp = ["llama-cpp.h", "ggml-cpp.h"];
    let include = |list: &[&str]| list.iter().map(|h| format!("#include \"{h}\"\n")).collect::<String>();
    for (compiler, std, file, headers) in [("cc", "-std=c11", "one.c", &c[..]), ("c++", "-std=c++17", "one.cpp", &[&c[..], &cpp].concat())]
    {
        for list in headers.chunks(1).chain([headers]) {
            let source = include(list) + "int main(void) { return 0; }\n";
            let flags = [&[std, "-fsyntax-only"][..], &WARNINGS].concat();
            stage.compile(compiler, &flags, file, &source, &[]);
        }
    }
}

#[test]
fn what_the_library_needs() {
    let stage = Stage::new("needs");
    let mut c = std::process::Command::new("readelf");
    c.args(["-dW"]).arg(stage.lib().join("libggml.so.0")).env("LC_ALL", "C");
    let out = succeed(c);
    assert!(out.contains("SONAME") && out.contains("[libggml.so.0]") && out.contains("NODELETE"), "{out}");
    let allowed = ["libc.so", "libgcc_s.so", "libm.so", "ld-linux"];
    for needed in out.lines().filter(|l| l.contains("(NEEDED)")) {
        assert!(allowed.iter().any(|a| needed.contains(a)), "{needed}");
    }
}
