//! docs/MATRIX.md: which functions work and which are stubs, read from the source: a function is a stub when its body calls `stub(`, or only
//! passes on to one that is.
use crate::Result;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

struct Function {
    section: String,
    body: String,
}

pub fn make(root: &Path) -> Result<Vec<(PathBuf, String)>> {
    let functions = functions(&root.join("src/capi"))?;
    let path = root.join("docs/MATRIX.md");
    let page = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let (head, _, tail) = between(&page, "<!-- matrix -->", "<!-- /matrix -->").ok_or("docs/MATRIX.md has no matrix markers")?;
    Ok(vec![(path, format!("{head}\n{}{tail}", table(&functions)))])
}

/// `text` cut into: up to and with `from`, what lies between, `to` and all after it.
fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let a = text.find(from)? + from.len();
    let b = a + text[a..].find(to)?;
    Some((&text[..a], &text[a..b], &text[b..]))
}

fn functions(dir: &Path) -> Result<BTreeMap<String, Function>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))? {
        let path = entry.map_err(|e| e.to_string())?.path();
        let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let section = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for part in text.split("pub unsafe extern \"C\" fn ").skip(1) {
            let name = part.split('(').next().unwrap_or_default().to_owned();
            // The others stand in a table, under no name of their own.
            if !["llama_", "camelid_"].iter().any(|p| name.starts_with(p)) {
                continue;
            }
            // rustfmt puts the closing brace of a function alone at the start of a line.
            let body = part.split("\n}").next().unwrap_or_default().to_owned();
            all.insert(name, Function { section: section.clone(), body });
        }
    }
    Ok(all)
}

fn is_stub(name: &str, all: &BTreeMap<String, Function>) -> bool {
    let Some(f) = all.get(name) else { return false };
    let inside = f.body.split_once(" {\n").map_or("", |(_, b)| b);
    inside.contains("stub(") || called(inside).filter(|c| *c != name).any(|c| is_stub(c, all))
}

/// Names of our own entry points that `body` calls.
fn called(body: &str) -> impl Iterator<Item = &str> {
    body.match_indices("llama_").filter_map(|(i, _)| body[i..].split_once('(')).map(|(name, _)| name)
}

fn table(all: &BTreeMap<String, Function>) -> String {
    let stubs = all.keys().filter(|n| is_stub(n, all)).count();
    let mut s = format!(
        "\n{} of {} functions are done, {stubs} are stubs.\n\n| function | section | state |\n| --- | --- | --- |\n",
        all.len() - stubs,
        all.len()
    );
    for (name, f) in all {
        s += &format!("| `{name}` | {} | {} |\n", f.section, if is_stub(name, all) { "stub" } else { "done" });
    }
    s + "\n"
}
