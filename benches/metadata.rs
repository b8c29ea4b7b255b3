//! What bookkeeping costs: one token decoded with N cells occupied (check, apply, commit), and removals. `cargo run --release --example metadata [N]`.
//! Prints the medians in microseconds; computes nothing.
use llama::backend::{SeqSet, Ubatch};
use llama::memory::{GroupSpec, Memory, Window};
use std::time::Instant;

fn span(seq: u32, p: std::ops::Range<i32>) -> Ubatch {
    let n = p.len();
    Ubatch {
        tokens: vec![0; n],
        pos: p.collect(),
        n_pos_per_token: 1,
        seqs: vec![SeqSet::one(seq); n],
        first_seq: vec![seq; n],
        output: vec![false; n],
        index: (0..n as u32).collect(),
        ..Ubatch::default()
    }
}

fn decode(m: &mut Memory, ub: &Ubatch) {
    m.check(std::slice::from_ref(ub)).expect("room");
    let placed = m.apply(ub, true).expect("room");
    m.commit(placed);
}

fn fill(m: &mut Memory, seq: u32, n: i32) {
    (0..n / 512).for_each(|i| decode(m, &span(seq, i * 512..(i + 1) * 512)));
}

fn group(window: Window, size: u32) -> GroupSpec {
    GroupSpec { window, size, cells_per_block: 32, keep_masked: false }
}

fn median(mut t: Vec<f64>) -> f64 {
    t.sort_by(f64::total_cmp);
    t[t.len() / 2]
}

fn main() {
    let n: i32 = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(131_072);
    let size = n as u32 + 4096;
    for (name, specs) in [
        ("full", vec![group(Window::All, size)]),
        ("full + sliding 1024", vec![group(Window::All, size), group(Window::Sliding(1024), 1536)]),
    ] {
        let mut m = Memory::new(specs, 1, true).expect("valid");
        fill(&mut m, 0, n);
        let one = |i: i32| {
            let ub = span(0, n + i..n + i + 1);
            let t = Instant::now();
            decode(&mut m, &ub);
            t.elapsed().as_secs_f64() * 1e6
        };
        println!("{name}: one token with {n} cells {:.1} us", median((0..1001).map(one).collect()));
        let t = Instant::now();
        m.seq_rm(Some(0), n / 2, -1).err().into_iter().for_each(|e| println!("  (refused: {})", e.0));
        println!("  half of the sequence removed {:.0} us", t.elapsed().as_secs_f64() * 1e6);
        let t = Instant::now();
        m.seq_rm(Some(0), -1, -1).expect("whole");
        println!("  the rest removed {:.0} us", t.elapsed().as_secs_f64() * 1e6);
    }
}
