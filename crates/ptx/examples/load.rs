//! Loads PTX files and says what is in them: kernels, instructions, registers, bytes. `cargo run -p ptx --example load -- FILE...`
use mockcuda::memory::Memory;
use mockcuda::{parse, program};

fn main() {
    let mut refused = 0;
    for file in std::env::args().skip(1) {
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(e) => {
                println!("{file}: {e}");
                refused += 1;
                continue;
            }
        };
        let loaded = parse::parse(&text).and_then(|m| program::load(&m, &mut Memory::default(), |m, n| m.allocate(0, n)));
        match loaded {
            Ok(p) => p.kernels.values().for_each(|k| {
                let (name, code, regs, shared, local) = (&k.name, k.code.len(), k.n_regs, k.shared_bytes, k.local_bytes);
                println!("{file}: {name}: {code} instructions, {regs} registers, {shared} bytes shared, {local} local");
            }),
            Err(r) => {
                println!("{file}:{}: {}", r.line, r.what);
                refused += 1;
            }
        }
    }
    std::process::exit(i32::from(refused > 0));
}
