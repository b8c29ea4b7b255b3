//! Sizes, offsets, enum values and defaults, as a C compiler sees them and as Rust lays them out.
use crate::cc::{Lang, compile, run};
use crate::{abi, members, rust_layout};
use serde_json::Value;

/// What a program printed, one `name value` per line.
fn printed(name: &str, body: &str) -> Vec<(String, f64)> {
    let source = format!("#include \"llama.h\"\n#include <stdio.h>\nint main(void) {{\n{body}    return 0;\n}}\n");
    let out = run(&compile(name, Lang::C, &source, &[]));
    out.lines().filter_map(|l| l.rsplit_once(' ')).map(|(k, v)| (k.to_owned(), v.parse().expect("a number"))).collect()
}

fn same(got: &[(String, f64)], want: &[(String, f64)]) {
    let wrong: Vec<_> = want.iter().filter(|w| !got.contains(w)).collect();
    assert!(wrong.is_empty() && got.len() == want.len(), "{} lines, wanted {}; missing: {wrong:?}", got.len(), want.len());
}

fn n(v: &Value) -> f64 {
    v.as_f64().expect("a number")
}

/// `struct field` with its offset, from the contract.
fn fields(s: &Value) -> impl Iterator<Item = (&str, f64, f64)> {
    let list = s["fields"].as_array().expect("a list").iter();
    list.map(|f| (f["name"].as_str().expect("a name"), n(&f["offset"]), n(&f["size"])))
}

#[test]
fn c_layouts() {
    let abi = abi();
    let (mut body, mut want) = (String::new(), Vec::new());
    for (name, s) in members(&abi["structs"]) {
        body += &format!("    printf(\"{name} %zu\\n{name}:align %zu\\n\", sizeof(struct {name}), _Alignof(struct {name}));\n");
        want.push((name.to_owned(), n(&s["size"])));
        want.push((format!("{name}:align"), n(&s["align"])));
        for (f, offset, size) in fields(s) {
            let this = format!("{name}.{f}");
            body += &format!(
                "    printf(\"{this} %zu\\n{this}:size %zu\\n\", offsetof(struct {name}, {f}), sizeof(((struct {name} *) 0)->{f}));\n"
            );
            want.push((this.clone(), offset));
            want.push((format!("{this}:size"), size));
        }
    }
    same(&printed("c_layouts", &body), &want);
}

#[test]
fn rust_layouts() {
    let abi = abi();
    let have = rust_layout::table();
    for (name, s) in members(&abi["structs"]).into_iter().filter(|(n, _)| n.starts_with("llama_")) {
        let row = have.iter().find(|r| r.name == name).unwrap_or_else(|| panic!("{name} is not in rust_layout.rs"));
        assert_eq!((row.size as f64, row.align as f64), (n(&s["size"]), n(&s["align"])), "{name}");
        for (f, offset, _) in fields(s) {
            // Members of the unnamed union are one field of the Rust struct.
            let f = if f.starts_with("val_") && name == "llama_model_kv_override" { "u" } else { f };
            let got = row.fields.iter().find(|(n, _)| *n == f).unwrap_or_else(|| panic!("{name}.{f} is not in rust_layout.rs"));
            assert_eq!(got.1 as f64, offset, "{name}.{f}");
        }
    }
}

#[test]
fn enum_values() {
    let abi = abi();
    let (mut body, mut want) = (String::new(), Vec::new());
    for (name, values) in members(&abi["enums"]) {
        for (constant, v) in members(values) {
            body += &format!("    {{ enum {name} e = {constant}; printf(\"{constant} %d\\n\", (int) e); }}\n");
            want.push((constant.to_owned(), n(v)));
        }
    }
    same(&printed("enum_values", &body), &want);
}

#[test]
fn defaults() {
    let abi = abi();
    let (mut body, mut want) = (String::new(), Vec::new());
    for (name, values) in members(&abi["defaults"]) {
        let call = match name {
            "constants" => String::new(),
            _ => format!("struct {name} p = {}_default_params(); (void) p;", name.trim_end_matches("_params")),
        };
        body += &format!("    {{ {call}\n");
        for (f, v) in members(values) {
            let got = match (name, f.strip_suffix("_is_null")) {
                ("constants", _) => format!("llama_{f}()"),
                (_, Some(pointer)) => format!("(p.{pointer} == NULL)"),
                (_, None) => format!("p.{f}"),
            };
            body += &format!("      printf(\"{name}.{f} %.17g\\n\", (double) {got});\n");
            want.push((format!("{name}.{f}"), n(v)));
        }
        body += "    }\n";
    }
    same(&printed("defaults", &body), &want);
}
