//! Lets the crate be built where no libhwloc is installed and run where none is: every function of it that `hwlocality` names is defined here as a
//! jump through a table, which `src/numa/hwloc/load.rs` fills at run time. Nothing is left to be found in a library, so none is needed.
use std::path::Path;

const SYMBOLS: &str = "src/numa/hwloc/symbols.txt";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={SYMBOLS}");
    println!("cargo:rustc-check-cfg=cfg(hwloc)");
    let var = |name: &str| std::env::var(name).unwrap_or_default();
    let jump = jump(&var("CARGO_CFG_TARGET_ARCH"));
    let (Some(jump), "linux", false) = (jump, var("CARGO_CFG_TARGET_OS").as_str(), var("CARGO_FEATURE_NUMA").is_empty()) else { return };
    println!("cargo:rustc-cfg=hwloc");
    let out = var("OUT_DIR");
    let names = std::fs::read_to_string(SYMBOLS).expect(SYMBOLS);
    std::fs::write(Path::new(&out).join("hwloc.rs"), table(&names.lines().collect::<Vec<_>>(), jump)).expect("OUT_DIR");
    // `hwlocality` asks the linker for a library of this name: an empty one, found before any that the machine has.
    std::fs::write(Path::new(&out).join("libhwloc.a"), b"!<arch>\n").expect("OUT_DIR");
    println!("cargo:rustc-link-search=native={out}");
}

/// Code that goes to what entry `AT` (in bytes) of the table holds, with all registers but scratch ones as they came.
fn jump(arch: &str) -> Option<&'static str> {
    match arch {
        "x86_64" => Some("jmp qword ptr [rip + {t} + AT]"),
        "aarch64" => Some("adrp x16, {t}+AT\\n ldr x16, [x16, :lo12:{t}+AT]\\n br x16"),
        _ => None,
    }
}

fn table(names: &[&str], jump: &str) -> String {
    let n = names.len();
    let list: String = names.iter().map(|s| format!("    c\"{s}\",\n")).collect();
    let code = names.iter().enumerate().map(|(i, s)| {
        let body = jump.replace("AT", &(8 * i).to_string());
        format!("    \".globl {s}\", \".hidden {s}\", \".type {s},%function\", \"{s}:\", \"{body}\", \".size {s}, .-{s}\",\n")
    });
    let code: String = code.collect();
    format!(
        "const N: usize = {n};\nstatic NAMES: [&std::ffi::CStr; N] = [\n{list}];\ncore::arch::global_asm!(\n    \".text\",\n{code}    t = sym TABLE\n);\n"
    )
}
