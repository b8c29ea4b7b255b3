//! How many instructions of a warp are run in a second: `cargo run -p ptx --example speed`.
use mockcuda::exec::{self, Launch};
use mockcuda::memory::Memory;
use mockcuda::{parse, program};
use std::time::Instant;

fn main() {
    let text = include_str!("../tests/fixtures/matvec.sm75.ptx");
    let mut memory = Memory::default();
    let module = parse::parse(text).unwrap_or_default();
    let Ok(p) = program::load(&module, &mut memory, |m, n| m.allocate(0, n)) else { return };
    let (rows, blocks) = (1024u32, 32u64);
    let mut room = |n: u64| {
        let at = memory.allocate(0, n).unwrap_or(0);
        memory.write(at, &vec![1; n as usize]);
        at
    };
    let (w, x, y) = (room(34 * blocks * u64::from(rows)), room(34 * blocks), room(4 * u64::from(rows)));
    let mut params = Vec::new();
    [w, x, y].iter().for_each(|p| params.extend(p.to_le_bytes()));
    [blocks as u32, rows].iter().for_each(|p| params.extend(p.to_le_bytes()));
    for _ in 0..5 {
        let start = Instant::now();
        let launch = Launch {
            kernel: &p.kernels["matvec_q8_0"],
            grid: [rows, 1, 1],
            block: [32, 1, 1],
            dynamic_shared: 0,
            params: &params,
            limit: exec::ENOUGH,
            devices: &[0],
        };
        match exec::run(&launch, &mut memory) {
            Ok(n) => {
                let seconds = start.elapsed().as_secs_f64();
                let products = f64::from(rows) * blocks as f64 * 32.0;
                println!(
                    "{n} instructions, {:.1} ns each; {:.0} million products a second",
                    seconds * 1e9 / n as f64,
                    products / seconds / 1e6
                );
            }
            Err(v) => println!("{v}"),
        }
    }
}
