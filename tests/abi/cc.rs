//! Compiling and running C and C++ against include/ and the library.
use crate::{library, root};
use std::path::{Path, PathBuf};
use std::process::Command;

const WARNINGS: [&str; 3] = ["-Wall", "-Wextra", "-Werror"];

pub enum Lang {
    C,
    Cpp,
}

/// A folder of this test's own, with the library under the name that programs ask the loader for.
fn folder(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&dir).expect("a folder for this test");
    for link in ["libllama.so.0", "libllama.so"] {
        let at = dir.join(link);
        let _ = std::fs::remove_file(&at);
        std::os::unix::fs::symlink(library(), at).expect("a link to the library");
    }
    dir
}

fn succeed(mut c: Command) -> String {
    let out = c.output().unwrap_or_else(|e| panic!("{c:?}: {e}"));
    let err = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{c:?}: {}\n{err}", out.status);
    String::from_utf8_lossy(&out.stdout).into_owned() + &err
}

/// Compiles `source` with all warnings as errors and gives the program's path.
pub fn compile(name: &str, lang: Lang, source: &str, extra: &[&str]) -> PathBuf {
    let dir = folder(name);
    let (compiler, std, file) = match lang {
        Lang::C => ("cc", "-std=gnu11", "main.c"),
        Lang::Cpp => ("c++", "-std=c++17", "main.cpp"),
    };
    std::fs::write(dir.join(file), source).expect("writing the source");
    let mut c = Command::new(compiler);
    c.arg(std).args(WARNINGS).arg("-I").arg(root().join("include")).arg(dir.join(file)).arg("-o").arg(dir.join("main"));
    c.arg("-L").arg(&dir).arg("-lllama").args(extra);
    succeed(c);
    dir.join("main")
}

/// Runs a program made by `compile`; what it wrote to stdout, then stderr.
pub fn run(program: &Path) -> String {
    let mut c = Command::new(program);
    c.env("LD_LIBRARY_PATH", program.parent().expect("in its folder"));
    succeed(c)
}

pub fn tool(name: &str, args: &[&str]) -> String {
    let mut c = Command::new(name);
    c.args(args).env("LC_ALL", "C");
    succeed(c)
}
