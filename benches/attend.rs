//! The attention step alone, on the CPU backend with a real store and real views: decode at depth, several sequences with a shared or their own
//! prefix, and prefill, in the attention shapes of common models. Prints the best time per layer, K and V bytes per second (each cell counted
//! once) and a checksum that must not change with the number of threads.
//!
//! `cargo run --release --example bench-attend [--threads N] [--reps N] [--store MiB] [words that a case's line must contain ...]`
use kernels::DType;
use llama::backend::cpu::Cpu;
use llama::backend::*;
use llama::memory::{GroupSpec, Memory, Window};
use platform::pool::Team;
use std::sync::Arc;
use std::time::Instant;

/// MiB of layers that are run in turn, so that nothing of the store stays in the caches.
const STORE: u32 = 256;
const CELLS_PER_BLOCK: u32 = 32;

struct Shape {
    name: &'static str,
    n_head: u32,
    n_head_kv: u32,
    head: u32,
    window: Window,
}

const SHAPES: [Shape; 5] = [
    Shape { name: "llama-1b", n_head: 32, n_head_kv: 8, head: 64, window: Window::All },
    Shape { name: "qwen3-0.6b", n_head: 16, n_head_kv: 8, head: 128, window: Window::All },
    Shape { name: "gemma3-1b", n_head: 4, n_head_kv: 1, head: 256, window: Window::All },
    Shape { name: "gemma3-1b-swa", n_head: 4, n_head_kv: 1, head: 256, window: Window::Sliding(512) },
    Shape { name: "phi3-mini", n_head: 32, n_head_kv: 32, head: 96, window: Window::All },
];

/// What is asked: `n_seq` sequences of `depth` cells each, of which all but the last 64 are one prefix where `shared`, then `tokens` tokens of each.
struct Load {
    name: &'static str,
    n_seq: u32,
    shared: bool,
    depth: i32,
    tokens: i32,
}

const LOADS: [Load; 9] = [
    Load { name: "decode-256", n_seq: 1, shared: false, depth: 256, tokens: 1 },
    Load { name: "decode-1k", n_seq: 1, shared: false, depth: 1023, tokens: 1 },
    Load { name: "decode-4k", n_seq: 1, shared: false, depth: 4095, tokens: 1 },
    Load { name: "decode-16k", n_seq: 1, shared: false, depth: 16383, tokens: 1 },
    Load { name: "8-own-2k", n_seq: 8, shared: false, depth: 2047, tokens: 1 },
    Load { name: "8-shared-2k", n_seq: 8, shared: true, depth: 2047, tokens: 1 },
    Load { name: "32-shared-2k", n_seq: 32, shared: true, depth: 2047, tokens: 1 },
    Load { name: "prefill-512", n_seq: 1, shared: false, depth: 0, tokens: 512 },
    Load { name: "prefill-512-at-1536", n_seq: 1, shared: false, depth: 1536, tokens: 512 },
];

fn ubatch(tokens: impl Iterator<Item = (u32, i32)>) -> Ubatch {
    let (first_seq, pos): (Vec<u32>, Vec<i32>) = tokens.unzip();
    let n = pos.len();
    Ubatch {
        embd: Vec::new(),
        tokens: vec![0; n],
        pos,
        n_pos_per_token: 1,
        seqs: first_seq.iter().map(|s| SeqSet::one(*s)).collect(),
        first_seq,
        output: vec![true; n],
        index: (0..n as u32).collect(),
    }
}

/// Puts `ub` into the memory and gives what its queries see.
fn decode(m: &mut Memory, ub: &Ubatch) -> Views {
    m.check(std::slice::from_ref(ub)).expect("room");
    let mut placed = m.apply(ub, true).expect("room");
    let views = placed.views.remove(0);
    m.commit(placed);
    views
}

/// The asked tokens, what they see, and how many cells were used.
fn asked(s: &Shape, l: &Load) -> (Ubatch, Views, u32) {
    let cells = (l.n_seq * (l.depth + l.tokens) as u32).next_multiple_of(CELLS_PER_BLOCK) + CELLS_PER_BLOCK * (l.n_seq + 32);
    let spec = GroupSpec { window: s.window, size: cells, cells_per_block: CELLS_PER_BLOCK, keep_masked: true };
    let mut m = Memory::new(vec![spec], l.n_seq, true).expect("valid");
    let fill = |m: &mut Memory, seq: u32, p: std::ops::Range<i32>| {
        for at in p.clone().step_by(512) {
            decode(m, &ubatch((at..(at + 512).min(p.end)).map(|p| (seq, p))));
        }
    };
    let prefix = if l.shared { (l.depth - 64).max(0) } else { l.depth };
    for seq in 0..l.n_seq {
        match seq {
            1.. if l.shared => m.seq_cp(0, seq, 0, prefix).expect("whole"),
            _ => fill(&mut m, seq, 0..prefix),
        }
    }
    (0..l.n_seq).for_each(|seq| fill(&mut m, seq, prefix..l.depth));
    let ub = ubatch((0..l.n_seq).flat_map(|seq| (l.depth..l.depth + l.tokens).map(move |p| (seq, p))));
    let views = decode(&mut m, &ub);
    (ub, views, m.used_blocks()[0] + l.n_seq + 32)
}

/// Distinct f16 numbers of moderate size.
fn fill(buf: &dyn Buffer, len: usize) {
    let noise = |i: u32| {
        let h = i.wrapping_mul(0x9E37_79B1).rotate_left(13).wrapping_mul(0x85EB_CA77) ^ i;
        // Sign, an exponent between 2^-4 and 1, all bits of the mantissa.
        (h >> 16) as u16 & 0x83ff | (0x2c00 + (h as u16 % 4) * 0x400)
    };
    const PART: usize = 1 << 20;
    for at in (0..len).step_by(PART) {
        let part: Vec<u8> = (at as u32 / 2..((at + PART).min(len) / 2) as u32).flat_map(|i| noise(i).to_le_bytes()).collect();
        buf.write(&[Copy2d::flat(at, 0, part.len())], &part).expect("fits");
    }
}

/// A plan of one attention step per layer, and its store.
fn plan(cpu: &Cpu, s: &Shape, n_blocks: u32, store: u32) -> (Plan, Bound, usize) {
    let (q_width, dev) = (s.n_head * s.head, cpu.device());
    let values = vec![Value { width: q_width, rows: Dim::Tokens, dev }; 2];
    let head_bytes = s.head as usize * 2;
    let plane_bytes = head_bytes * (s.n_head_kv * CELLS_PER_BLOCK) as usize;
    let plane = PlaneAt { ty: DType::F16, heads: s.n_head_kv, head_len: s.head, head_bytes, hadamard: 0 };
    let n_layers = (((store as usize) << 20) / (2 * plane_bytes * n_blocks as usize)).clamp(1, 32);
    // As a context's store: a block holds its cells' rows of all layers.
    let block_bytes = 2 * plane_bytes * n_layers;
    let buf = cpu.alloc(block_bytes * n_blocks as usize, "store").expect("memory");
    fill(&*buf, block_bytes * n_blocks as usize);
    let at = |i: usize| [2 * i * plane_bytes, (2 * i + 1) * plane_bytes];
    let layer = |i| Some(KvLayer::whole(Arc::clone(&buf), block_bytes, CELLS_PER_BLOCK, vec![plane; 2], &at(i)));
    let kv = vec![KvGroup { layers: (0..n_layers).map(layer).collect() }];
    let scale = 1.0 / (s.head as f32).sqrt();
    let (n_head, n_head_kv) = (s.n_head, s.n_head_kv);
    let spec = AttendSpec { n_head, n_head_kv, head_k: s.head, head_v: s.head, scale, ..AttendSpec::default() };
    let step = |il| Step { op: Op::Attend { q: T(0), group: GroupId(0), spec: spec.clone(), out: T(1) }, il, dev, seen_as: vec![] };
    let steps = (0..n_layers as i16).map(step).collect();
    (Plan { values, steps, watched: false }, Bound { weights: Arc::default(), kv: Arc::new(kv) }, n_layers)
}

fn checksum(out: &[f32]) -> u64 {
    out.iter().fold(0, |h, v| (h ^ u64::from(v.to_bits())).wrapping_mul(0x0100_0000_01b3).rotate_left(5))
}

fn measure(s: &Shape, l: &Load, threads: u32, reps: u32, store: u32) -> String {
    let cpu = Cpu::new(DeviceId(0), Cpu::isa_from_env());
    let (ub, views, n_blocks) = asked(s, l);
    let (plan, bound, n_layers) = plan(&cpu, s, n_blocks, store);
    let n = ub.n_tokens();
    let limits = Limits { tokens: n, outputs: n, workers: threads };
    // Layers one by one: the best of many short times is little disturbed by what else runs.
    let mut layers: Vec<_> = (0..n_layers).map(|i| cpu.lower(&plan, i..i + 1, &bound, limits).expect("lowers")).collect();
    let q: Vec<f32> = (0..n * (s.n_head * s.head) as usize).map(|i| ((i * 7919 % 2003) as f32 - 1001.0) / 500.0).collect();
    let (team, outputs) = (Team::new(threads), Vec::new());
    let mut seen: Vec<_> = views.segs.iter().flat_map(|s| (s.slot..s.slot + u16::from(s.len)).map(|i| (s.block, i))).collect();
    seen.sort();
    seen.dedup();
    let bytes = seen.len() * (2 * s.n_head_kv * s.head * 2) as usize;
    let (mut best, mut sum) = (f64::INFINITY, 0);
    let all = [views];
    for _ in 0..reps {
        for e in &mut layers {
            e.write(T(0), &q).expect("fits");
            let io = Io { ub: &ub, views: &all, outputs: &outputs, shifts: &[], team: &team, active: threads, stop: &|| false };
            let t = Instant::now();
            e.run(&io).expect("runs");
            best = best.min(t.elapsed().as_secs_f64());
        }
    }
    let mut out = vec![0.0; q.len()];
    if let Some(e) = layers.first() {
        e.read(T(1), 0..n, &mut out).expect("there");
        sum = checksum(&out);
    }
    format!("{:9.1} us a layer {:7.2} GB/s of K and V, checksum {sum:016x}", best * 1e6, bytes as f64 / best * 1e-9)
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)?.parse::<u32>().ok());
    let (threads, reps, store) = (number("--threads").unwrap_or(2), number("--reps").unwrap_or(15), number("--store").unwrap_or(STORE));
    let words: Vec<&String> = args.iter().filter(|a| !a.starts_with("--") && a.parse::<u32>().is_err()).collect();
    for s in &SHAPES {
        for l in &LOADS {
            let name = format!("{:14} {:20}", s.name, l.name);
            if words.iter().all(|w| name.contains(w.as_str())) {
                println!("{name} {}", measure(s, l, threads, reps, store));
            }
        }
    }
}
