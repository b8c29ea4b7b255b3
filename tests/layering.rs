//! The rooms of the house and who may use whom, read from the source text: README, architecture; a `use` points down this table.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

struct Room {
    /// Where its files are; the longest match counts.
    path: &'static str,
    /// Other rooms it may name. `platform` alone means errors and the log; `platform::*` means all of it.
    may_use: &'static [&'static str],
    /// Files (by prefix) that may hold the word `unsafe`.
    unsafe_in: &'static [&'static str],
}

const ROOMS: &[Room] = &[
    Room { path: "src/lib.rs", may_use: &["platform"], unsafe_in: &[] },
    Room { path: "src/capi/", may_use: CAPI, unsafe_in: &[""] },
    Room { path: "src/session/", may_use: &["blocks", "model", "memory", "sampling", "backend", "platform::*"], unsafe_in: &[] },
    Room { path: "src/state/", may_use: &["memory", "session", "platform::*"], unsafe_in: &[] },
    Room { path: "src/cache/", may_use: &["state", "memory", "session", "platform::*"], unsafe_in: &[] },
    Room { path: "src/quantize/", may_use: &["gguf", "grammar", "kernels", "platform::*"], unsafe_in: &[] },
    Room { path: "src/blocks/", may_use: &["model", "memory", "backend", "platform"], unsafe_in: &[] },
    Room { path: "src/model/", may_use: &["gguf", "vocab", "grammar", "memory", "backend", "kernels", "platform::*"], unsafe_in: &[] },
    Room { path: "src/memory/", may_use: &["backend", "platform::*"], unsafe_in: &["src/memory/store"] },
    Room { path: "src/sampling/", may_use: &["vocab", "grammar", "kernels", "platform"], unsafe_in: &[] },
    Room { path: "src/grammar/", may_use: &["vocab", "platform"], unsafe_in: &[] },
    Room { path: "src/chat/", may_use: &["platform"], unsafe_in: &[] },
    Room { path: "src/vocab/", may_use: &["gguf", "platform"], unsafe_in: &[] },
    Room { path: "src/gguf/", may_use: &["kernels", "platform::*"], unsafe_in: &[] },
    Room { path: "src/backend/", may_use: &["kernels", "platform::*"], unsafe_in: BACKEND_UNSAFE },
    Room { path: "crates/cuda/", may_use: &[], unsafe_in: &[] },
    Room { path: "crates/ggml/", may_use: &[], unsafe_in: &[""] },
    Room { path: "crates/kernels/", may_use: &[], unsafe_in: &[""] },
    Room { path: "crates/platform/", may_use: &[], unsafe_in: &[""] },
    Room {
        path: "crates/ptx/",
        may_use: &[],
        unsafe_in: &["crates/ptx/src/driver", "crates/ptx/src/exec/arith.rs", "crates/ptx/src/memory.rs"],
    },
];

const CAPI: &[&str] =
    &["cache", "session", "state", "model", "memory", "gguf", "vocab", "sampling", "grammar", "chat", "quantize", "platform::*"];

/// Kernels are called through unsafe pointers, and buffers are shared by region.
const BACKEND_UNSAFE: &[&str] = &["src/backend/cpu", "src/backend/cuda", "src/backend/far", "src/backend/buffer.rs"];

/// A crate that others wrote is named in one place.
const DOORS: &[(&str, &[&str])] = &[
    ("libc", &["crates/ggml/", "crates/platform/", "src/capi/"]),
    ("twox_hash", &["crates/platform/src/hash.rs"]),
    ("memmap2", &["crates/platform/src/mmap"]),
    ("hwlocality", &["crates/platform/src/numa"]),
    ("rayon", &["crates/platform/src/pool"]),
    ("cudarc", &["src/backend/cuda/driver.rs"]),
    ("cuda_kernels", &["src/backend/cuda"]),
    ("half", &["crates/kernels/"]),
    ("minijinja", &["src/chat/"]),
    ("hashbrown", &["src/vocab/texts.rs"]),
    ("unicode_properties", &["src/vocab/unicode.rs"]),
    ("unicode_normalization", &["src/vocab/unicode.rs"]),
    ("zerocopy", &["src/sampling/"]),
    ("fancy_regex", &["src/grammar/trigger.rs"]),
];

/// A source file without comments, string contents and tests.
struct Source {
    path: String,
    code: String,
    /// The string literals outside of tests.
    strings: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            rust_files(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    for dir in ["src", "crates/cuda/src", "crates/ggml/src", "crates/kernels/src", "crates/platform/src"] {
        rust_files(&root().join(dir), &mut files);
    }
    files.sort();
    files.iter().map(|f| read(f)).filter(|s| !s.path.ends_with("/tests.rs")).collect()
}

fn read(file: &Path) -> Source {
    let path = file.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
    let text = std::fs::read_to_string(file).expect("a text file");
    let (code, strings) = strip(text.split("#[cfg(test)]\nmod ").next().unwrap_or_default());
    Source { path, code, strings }
}

/// Code without comments and literals, and the string literals. Knows line and block comments, strings, raw strings and chars.
fn strip(text: &str) -> (String, Vec<String>) {
    let (mut code, mut strings, mut rest) = (String::new(), Vec::new(), text);
    while let Some(c) = rest.chars().next() {
        let raw = rest.starts_with("r\"") || rest.starts_with("r#");
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |i| i + 2)
        } else if raw && !code.ends_with(|p: char| p.is_alphanumeric() || p == '_') && rest[1..].trim_start_matches('#').starts_with('"') {
            let hashes = rest[1..].len() - rest[1..].trim_start_matches('#').len();
            let close = format!("\"{}", "#".repeat(hashes));
            let start = hashes + 2;
            let end = rest[start..].find(&close).map_or(rest.len(), |i| start + i);
            strings.push(rest[start..end].to_owned());
            (end + close.len()).min(rest.len())
        } else if c == '"' {
            let end = end_of_string(rest);
            strings.push(rest[1..end].to_owned());
            (end + 1).min(rest.len())
        } else if c == '\'' {
            char_literal(rest)
        } else {
            code.push(c);
            c.len_utf8()
        };
        rest = &rest[skip..];
    }
    (code, strings)
}

/// Where the closing quote of the string at the start of `s` is.
fn end_of_string(s: &str) -> usize {
    let mut escaped = false;
    for (i, c) in s.char_indices().skip(1) {
        match c {
            '"' if !escaped => return i,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    s.len()
}

/// The length of the char literal at the start of `s`; 1 for a lifetime.
fn char_literal(s: &str) -> usize {
    let inside = &s[1..];
    if inside.starts_with('\\') {
        return inside[2..].find('\'').map_or(1, |i| i + 4);
    }
    let first = inside.chars().next().map_or(0, char::len_utf8);
    if inside[first..].starts_with('\'') { first + 2 } else { 1 }
}

fn word_at(s: &str) -> &str {
    s.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default()
}

/// What follows every `prefix::` of the code: one word, or the first words of a list in braces.
fn after<'a>(code: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    for (i, _) in code.match_indices(&format!("{prefix}::")) {
        if code[..i].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let tail = &code[i + prefix.len() + 2..];
        match tail.strip_prefix('{') {
            None => drop(found.insert(word_at(tail))),
            Some(list) => found.extend(first_words(list)),
        }
    }
    found
}

/// `a::{x, y}, b` up to the closing brace gives a and b.
fn first_words(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut words) = (0, true, Vec::new());
    for (i, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => start = true,
            c if start && !c.is_whitespace() => {
                words.push(word_at(&list[i..]));
                start = false;
            }
            _ => {}
        }
    }
    words
}

fn room_of(path: &str) -> &'static Room {
    let best = ROOMS.iter().filter(|r| path.starts_with(r.path)).max_by_key(|r| r.path.len());
    best.unwrap_or_else(|| panic!("{path} is in no room: give it a row in tests/layering.rs and in the README"))
}

/// The last part of a room's path: what its users call it.
fn name(room: &Room) -> &'static str {
    let dir = room.path.trim_end_matches('/');
    dir.split('/').nth(1).unwrap_or(dir)
}

/// Rooms and crates that a file names, and parts of `platform` beyond errors and the log.
fn uses(s: &Source) -> Vec<String> {
    let rooms: BTreeSet<&str> = ROOMS.iter().map(name).collect();
    let mut found: Vec<String> = after(&s.code, "crate").into_iter().filter(|w| rooms.contains(w)).map(str::to_owned).collect();
    if s.path.matches('/').count() == 2 && s.path.ends_with("/mod.rs") {
        // One up from a room's mod.rs is the crate.
        found.extend(after(&s.code, "super").into_iter().filter(|w| rooms.contains(w)).map(str::to_owned));
    }
    if !after(&s.code, "kernels").is_empty() {
        found.push("kernels".into());
    }
    let small = ["error", "log", "Error", "Result"];
    let platform = after(&s.code, "platform");
    if !platform.is_empty() {
        found.push(if platform.iter().all(|w| small.contains(w)) { "platform".into() } else { "platform::*".into() });
    }
    found
}

#[test]
fn uses_point_down() {
    let mut wrong = Vec::new();
    for s in sources() {
        let room = room_of(&s.path);
        for u in uses(&s) {
            let small = u == "platform" && room.may_use.contains(&"platform::*");
            if u != name(room) && !small && !room.may_use.contains(&u.as_str()) {
                wrong.push(format!("{} uses {u}", s.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn unsafe_has_an_address() {
    let has_unsafe = |s: &Source| s.code.match_indices("unsafe").any(|(i, _)| word_at(&s.code[i..]) == "unsafe");
    let wrong: Vec<String> = sources()
        .into_iter()
        .filter(|s| has_unsafe(s) && !room_of(&s.path).unsafe_in.iter().any(|p| s.path.starts_with(p)))
        .map(|s| s.path)
        .collect();
    assert!(wrong.is_empty(), "unsafe outside of its rooms: {wrong:#?}");
}

/// Names under `[dependencies]` of a manifest, as Rust spells them.
fn dependencies(manifest: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(manifest)).expect("a manifest");
    // Of all platforms, but not of tests.
    let header = |s: &str| s.lines().next().is_some_and(|h| h.ends_with("dependencies]") && !h.starts_with("dev-"));
    let lines = text.split("\n[").filter(|s| header(s)).flat_map(|s| s.lines().skip(1));
    let names = lines.filter_map(|l| l.split(['=', '.']).next());
    names.map(|n| n.trim().replace('-', "_")).filter(|n| !n.is_empty() && !n.starts_with('#')).collect()
}

#[test]
fn third_party_crates_have_one_door() {
    let all = sources();
    let mut wrong = Vec::new();
    for manifest in ["Cargo.toml", "crates/ggml/Cargo.toml", "crates/kernels/Cargo.toml", "crates/platform/Cargo.toml"] {
        for dep in dependencies(manifest).into_iter().filter(|d| !["kernels", "platform"].contains(&d.as_str())) {
            let Some((_, doors)) = DOORS.iter().find(|(n, _)| *n == dep) else {
                wrong.push(format!("{manifest}: {dep} has no door in tests/layering.rs"));
                continue;
            };
            let strangers = all.iter().filter(|s| !after(&s.code, &dep).is_empty() && !doors.iter().any(|d| s.path.starts_with(d)));
            wrong.extend(strangers.map(|s| format!("{} uses {dep}", s.path)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Tokenizers and chat templates share names with architectures, and some types of quantised files depend on them; everybody else does not know them.
#[test]
fn architectures_are_named_in_one_place() {
    let dir = root().join("src/model/arch");
    if !dir.exists() {
        eprintln!("skipped: there is no src/model/arch yet");
        return;
    }
    let all = sources();
    let (inside, outside): (Vec<&Source>, Vec<&Source>) = all.iter().partition(|s| s.path.starts_with("src/model/arch/"));
    let mut files = Vec::new();
    rust_files(&dir, &mut files);
    let texts: String = files.iter().map(|f| std::fs::read_to_string(f).expect("a text file")).collect();
    let names: BTreeSet<&str> = texts.split("name: \"").skip(1).filter_map(|t| t.split('"').next()).collect();
    assert!(inside.is_empty() || !names.is_empty(), "no `name: \"..\"` found in src/model/arch");
    let allowed = ["src/vocab/", "src/chat/", "src/quantize/sizes.rs"];
    let strangers = outside.iter().filter(|s| !allowed.iter().any(|a| s.path.starts_with(a)));
    let wrong: Vec<String> = strangers
        .flat_map(|s| s.strings.iter().filter(|t| names.contains(t.as_str())).map(|t| format!("{} says \"{t}\"", s.path)))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_environment_is_read_in_one_place() {
    let all = sources();
    let reads = |s: &&Source| ["env::var", "env::vars", "env::var_os", "getenv"].iter().any(|w| s.code.contains(w));
    let who: Vec<&str> = all.iter().filter(reads).map(|s| s.path.as_str()).collect();
    assert_eq!(who, ["crates/platform/src/env.rs"]);
}

/// The reader itself: what it must see and what it must not.
#[test]
fn the_reader_sees_code_only() {
    let (code, strings) = strip("a /* unsafe */ \"x\\\"unsafe\" 'u' '\\'' r#\"raw \" it\"# // unsafe\nb<'static>");
    assert!(!code.contains("unsafe") && code.contains("b<static>"), "{code}");
    assert_eq!(strings, ["x\\\"unsafe", "raw \" it"]);
    let code = "use crate::{model::{a, b}, memory, Error};\ncrate::vocab::X; mycrate::no; other::crate_::no";
    assert_eq!(after(code, "crate").into_iter().collect::<Vec<_>>(), ["Error", "memory", "model", "vocab"]);
}
