//! include/llama.h and include/camelid.h from the declarations in src/capi, through cbindgen; those of ggml are made in `ggml`.
use crate::Result;
use cbindgen::{Builder, Config};
use std::path::{Path, PathBuf};

/// In the order of the header's sections.
const SECTIONS: [&str; 17] = [
    "types",
    "backend",
    "model",
    "files",
    "adapter",
    "context",
    "memory",
    "state",
    "batch",
    "outputs",
    "vocab",
    "vocab_old",
    "chat",
    "sampling",
    "samplers",
    "perf",
    "opt",
];

pub fn make(root: &Path) -> Result<Vec<(PathBuf, String)>> {
    let include = root.join("include");
    let ours = [(include.join("llama.h"), llama(root)?), (include.join("camelid.h"), camelid(root)?)];
    Ok(ours.into_iter().chain(crate::ggml::make(root)?).collect())
}

fn llama(root: &Path) -> Result<String> {
    let config = Config::from_file(root.join("cbindgen.toml"))?;
    let text = generate(root, config, &SECTIONS)?;
    // cbindgen has no unnamed unions: the named member of the Rust struct becomes one here.
    let named = "llama_model_kv_override_value u;\n";
    let unnamed =
        "union {\n        int64_t val_i64;\n        double val_f64;\n        bool val_bool;\n        char val_str[128];\n    };\n";
    match text.matches(named).count() {
        1 => Ok(text.replace(&format!("union {named}"), named).replace(named, unnamed)),
        n => Err(format!("expected the union of llama_model_kv_override once, found it {n} times")),
    }
}

fn camelid(root: &Path) -> Result<String> {
    let mut config = Config::from_file(root.join("cbindgen.toml"))?;
    config.header = Some(
        "// What libllama of Camelid has beyond llama.h. Made from src/capi/{ext,cache,numa,ggml_table,ggml_types}.rs by `cargo xtask headers`: change it there."
            .into(),
    );
    config.include_guard = Some("CAMELID_H".into());
    config.includes = vec!["llama.h".into()];
    config.sys_includes.clear();
    config.after_includes = None;
    config.export.include = vec!["camelid_kv".into()];
    config.export.rename.extend([("camelid_kv_int".into(), "enum camelid_kv".into())]);
    for known in ["llama_context", "llama_context_params"] {
        config.export.rename.insert(known.into(), format!("struct {known}"));
    }
    generate(root, config, &["ext", "cache", "numa", "ggml_types", "ggml_table"])
}

fn generate(root: &Path, config: Config, files: &[&str]) -> Result<String> {
    let builder = files.iter().fold(Builder::new(), |b, f| b.with_src(root.join(format!("src/capi/{f}.rs"))));
    let mut out = Vec::new();
    builder.with_config(config).generate().map_err(|e| e.to_string())?.write(&mut out);
    String::from_utf8(out).map_err(|e| e.to_string())
}
