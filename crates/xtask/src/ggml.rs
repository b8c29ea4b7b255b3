//! The six headers of ggml that llama.h pulls in: crates/ggml/ggml.json says what is declared, crates/ggml/headers holds the macros around it, and
//! what stands above a function is its documentation in crates/ggml/src.
use crate::Result;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const HEADERS: [&str; 6] = ["ggml.h", "ggml-alloc.h", "ggml-backend.h", "ggml-cpu.h", "ggml-opt.h", "gguf.h"];

const NOTE: &str = "\
// Made from crates/ggml by `cargo xtask headers`: change it there.
//
// Functions with a comment above them are in Camelid's libggml.so.0. The others are declared for programs that bring the original's libggml:
// without it a call of them does not link.
";

/// A line of C is no longer than this where it can be broken.
const WIDTH: usize = 140;

pub fn make(root: &Path) -> Result<Vec<(PathBuf, String)>> {
    let crate_dir = root.join("crates/ggml");
    let list: Value = serde_json::from_str(&read(&crate_dir.join("ggml.json"))?).map_err(|e| format!("ggml.json: {e}"))?;
    let docs = docs(&crate_dir.join("src"))?;
    let one = |name: &str| -> Result<(PathBuf, String)> {
        let items = list[name].as_array().ok_or_else(|| format!("ggml.json says nothing of {name}"))?;
        let api = if name == "ggml-cpu.h" { "GGML_BACKEND_API" } else { "GGML_API" };
        let text: String = items.iter().map(|i| item(i, api, &docs)).collect::<Result<_>>()?;
        let text = text.replace("\n\n\n", "\n\n").trim().to_owned() + "\n\n";
        let frame = read(&crate_dir.join("headers").join(name))?;
        Ok((root.join("include").join(name), frame.replace("@note@\n", NOTE).replace("@declarations@\n", &text)))
    };
    HEADERS.iter().map(|h| one(h)).collect()
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}

/// What is written above each exported function, by name.
fn docs(dir: &Path) -> Result<BTreeMap<String, Vec<String>>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))? {
        let text = read(&entry.map_err(|e| e.to_string())?.path())?;
        let mut above = Vec::new();
        for line in text.lines() {
            match (line.strip_prefix("///"), line.strip_prefix("pub unsafe extern \"C\" fn ")) {
                (Some(doc), _) => above.push(doc.trim_end().to_owned()),
                (_, Some(f)) if !above.is_empty() => {
                    all.insert(f.split(['(', '<']).next().unwrap_or_default().to_owned(), std::mem::take(&mut above));
                }
                _ if line.starts_with("#[") => {}
                _ => above.clear(),
            }
        }
    }
    Ok(all)
}

/// One declaration and, where it is more than a line, an empty line around it.
fn item(i: &Value, api: &str, docs: &BTreeMap<String, Vec<String>>) -> Result<String> {
    let text = |key: &str| i[key].as_str().unwrap_or_default();
    if let Some((name, values)) = i["enum"].as_str().zip(i["values"].as_array()) {
        let lines: String = values.iter().filter_map(Value::as_str).map(|v| format!("    {v},\n")).collect();
        return Ok(format!("\nenum {name} {{\n{lines}}};\n\n"));
    }
    if i["fields"].is_array() {
        return Ok(format!("\nstruct {} {{\n{}}};\n\n", text("struct"), fields(i, 1)?));
    }
    Ok(match (text("opaque"), text("typedef"), text("function")) {
        (name, "", "") => format!("struct {name};\n"),
        ("", _, "") => format!("typedef {};\n", text("to")),
        ("", "", name) => function(i, name, api, docs)?,
        _ => return Err(format!("ggml.json: what is {i}?")),
    })
}

fn fields(i: &Value, depth: usize) -> Result<String> {
    let indent = "    ".repeat(depth);
    let list = i["fields"].as_array().ok_or_else(|| format!("ggml.json: {i} has no fields"))?;
    let one = |f: &Value| match f.as_str() {
        Some(f) => Ok(format!("{indent}{f};\n")),
        None => Ok(format!("{indent}struct {{\n{}{indent}}} {};\n", fields(f, depth + 1)?, f["struct"].as_str().unwrap_or_default())),
    };
    list.iter().map(one).collect()
}

fn function(i: &Value, name: &str, api: &str, docs: &BTreeMap<String, Vec<String>>) -> Result<String> {
    let params: Vec<&str> =
        i["params"].as_array().ok_or_else(|| format!("{name} has no params"))?.iter().filter_map(Value::as_str).collect();
    let returns = i["returns"].as_str().unwrap_or_default();
    let head = format!("{api} {returns}{}{name}(", if returns.ends_with('*') { "" } else { " " });
    let list = if params.is_empty() { "void".into() } else { params.join(", ") };
    let whole = match head.len() + list.len() + 2 <= WIDTH {
        true => format!("{head}{list})"),
        false => format!("{head}\n    {})", params.join(",\n    ")),
    };
    let attributes = match name {
        "ggml_abort" => "GGML_NORETURN GGML_ATTRIBUTE_FORMAT(3, 4)\n",
        "ggml_format_name" => "GGML_ATTRIBUTE_FORMAT(2, 3)\n",
        _ => "",
    };
    let declared = match i["deprecated"].as_str() {
        Some(other) => format!("GGML_DEPRECATED({whole}, \"use {other}\");\n"),
        None => format!("{attributes}{whole};\n"),
    };
    let doc = docs.get(name).map(|d| d.iter().map(|l| format!("//{l}\n")).collect::<String>());
    Ok(doc.map_or(declared.clone(), |d| format!("\n{d}{declared}\n")))
}
