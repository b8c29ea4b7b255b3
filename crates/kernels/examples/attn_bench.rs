//! Speed of the attention leaf: decode at depth 4k and 16k, prefill of 512 tokens at depth 0 and 4k.
//! Each case also checks its answer: the checksum of the first prompt's output must be the same however queries are grouped.
//!
//! `cargo run --release -p kernels --example attn_bench [head] [queries per KV head]`

use kernels::attn::{
    HeadRows, KvRun, LEAF, LeafArgs, Rows, SPAN_LEAVES, attn_leaf, scratch_bytes, span_finish, span_init, span_merge, state_len,
};
use kernels::{DType, Isa, float};
use std::time::Instant;

/// One KV head of one layer.
struct Head {
    ty: DType,
    head: usize,
    k: Vec<u8>,
    v: Vec<u8>,
}

impl Head {
    fn new(ty: DType, head: usize, n: usize) -> Head {
        let rows = |seed: u32| {
            let x: Vec<f32> = (0..n * head).map(|i| noise(i as u32 ^ seed)).collect();
            let mut bytes = vec![0; ty.row_bytes(n * head).unwrap_or(0)];
            assert!(float::table(Isa::detect()).encode_row(ty, &x, &mut bytes));
            bytes
        };
        Head { ty, head, k: rows(0x1234_5678), v: rows(0x0fed_cba9) }
    }
}

/// A number in [-1, 1) from its index.
fn noise(i: u32) -> f32 {
    let h = i.wrapping_mul(0x9E37_79B1).rotate_left(13).wrapping_mul(0x85EB_CA77) ^ i;
    (h >> 8) as f32 / (1 << 23) as f32 - 1.0
}

/// Output of `tokens` tokens of `gqa` query heads each, the last of which is the newest of `n` cells; `group` queries a call.
fn attend(isa: Isa, h: &Head, n: usize, tokens: usize, gqa: usize, group: usize) -> Vec<f32> {
    let (run, n_q, len) = (attn_leaf(isa), tokens * gqa, state_len(h.head));
    let stride = h.ty.row_bytes(h.head).unwrap_or(0);
    let q: Vec<f32> = (0..n_q * h.head).map(|i| noise(i as u32 ^ 0x55aa_1111)).collect();
    let mut total = vec![0.0; n_q * len];
    let mut span = total.clone();
    total.chunks_exact_mut(len).for_each(span_init);
    let mut scratch = vec![0u8; scratch_bytes(h.head, h.head, n_q)];
    for (first, rows) in (0..n_q).step_by(group).map(|f| (f, f..n_q.min(f + group))) {
        for span_at in (0..n).step_by(LEAF * SPAN_LEAVES) {
            let span = &mut span[first * len..rows.end * len];
            span.chunks_exact_mut(len).for_each(span_init);
            for at in (span_at..n.min(span_at + LEAF * SPAN_LEAVES)).step_by(LEAF) {
                let cells = LEAF.min(n - at);
                // Query row i belongs to token i / gqa, which sees n - tokens + i / gqa + 1 cells.
                let vis: Vec<_> = rows.clone().map(|i| (0, (n - tokens + i / gqa + 1).saturating_sub(at).min(cells) as u8)).collect();
                let mut kv = Rows::default();
                let run_at =
                    |at: usize, n: usize| KvRun { k: h.k[at * stride..].as_ptr(), v: h.v[at * stride..].as_ptr(), at: 0, len: n as u8 };
                kv.add(&run_at(at, cells), stride, stride);
                let args = LeafArgs {
                    at: HeadRows { rows: &kv, k: 0, v: 0 },
                    next: Some(HeadRows { rows: &kv, k: LEAF * stride, v: LEAF * stride }),
                    len: cells as u8,
                    head_k: h.head,
                    head_v: h.head,
                    k_type: h.ty,
                    v_type: h.ty,
                    q: q[first * h.head..].as_ptr(),
                    q_stride: h.head,
                    n_q: rows.len(),
                    vis: &vis,
                    scale: 1.0 / (h.head as f32).sqrt(),
                    softcap: 0.0,
                    alibi: None,
                    added: None,
                    state: span.as_mut_ptr(),
                    scratch: scratch.as_mut_ptr(),
                };
                // SAFETY: rows, states and scratch have the sizes said; the kernel was picked for this CPU.
                unsafe { run(&args) };
            }
            let total = total[first * len..rows.end * len].chunks_exact_mut(len);
            total.zip(span.chunks_exact(len)).for_each(|(t, s)| span_merge(t, s, h.head));
        }
    }
    let mut out = vec![0.0; n_q * h.head];
    out.chunks_exact_mut(h.head).zip(total.chunks_exact(len)).for_each(|(o, t)| span_finish(t, None, o));
    out
}

fn checksum(out: &[f32]) -> u64 {
    out.iter().fold(0, |h, v| (h ^ u64::from(v.to_bits())).wrapping_mul(0x0100_0000_01b3).rotate_left(5))
}

/// Best of a few runs, in seconds, and the checksum they agree on.
fn measure(f: impl Fn() -> Vec<f32>) -> (f64, u64) {
    let sum = checksum(&f());
    let (mut best, begin) = (f64::INFINITY, Instant::now());
    while begin.elapsed().as_secs_f64() < 0.3 {
        let t = Instant::now();
        let out = f();
        best = best.min(t.elapsed().as_secs_f64());
        assert_eq!(checksum(&out), sum);
    }
    (best, sum)
}

/// Query rows a call: their states, outputs of every leaf, stay in the second cache.
const GROUP: usize = 128;

/// What one core can do: independent fused adds on registers.
fn peak(isa: Isa) -> f64 {
    let n = 1 << 22;
    let lanes = if isa >= Isa::Avx512 { 16 } else { 8 };
    let t = Instant::now();
    // SAFETY: `isa` is a level of this CPU.
    let sum = unsafe { if isa >= Isa::Avx512 { peak_avx512(n) } else { peak_avx2(n) } };
    assert!(sum.is_finite());
    (n * 12 * lanes * 2) as f64 / t.elapsed().as_secs_f64()
}

#[target_feature(enable = "avx512f")]
fn peak_avx512(n: usize) -> f32 {
    use std::arch::x86_64::*;
    let mut a = [_mm512_set1_ps(0.5); 12];
    for _ in 0..n {
        a.iter_mut().for_each(|a| *a = _mm512_fmadd_ps(*a, _mm512_set1_ps(0.999), _mm512_set1_ps(0.001)));
        std::hint::black_box(());
    }
    a.into_iter().map(|a| _mm512_reduce_add_ps(a)).sum()
}

#[target_feature(enable = "avx2,fma")]
fn peak_avx2(n: usize) -> f32 {
    use std::arch::x86_64::*;
    let mut a = [_mm256_set1_ps(0.5); 12];
    for _ in 0..n {
        a.iter_mut().for_each(|a| *a = _mm256_fmadd_ps(*a, _mm256_set1_ps(0.999), _mm256_set1_ps(0.001)));
        std::hint::black_box(());
    }
    a.into_iter().map(|a| _mm256_cvtss_f32(a)).sum()
}

fn main() {
    let arg = |i: usize, or: usize| std::env::args().nth(i).and_then(|a| a.parse().ok()).unwrap_or(or);
    let (head, gqa) = (arg(1, 128), arg(2, 4));
    for isa in [Isa::Avx2, Isa::Avx512].into_iter().filter(|i| *i <= Isa::detect()) {
        println!("{} peak {:.1} GFLOP/s", isa.name(), (0..3).map(|_| peak(isa)).fold(0.0, f64::max) * 1e-9);
        for ty in [DType::F16, DType::Q8_0, DType::F32, DType::Q5_1, DType::Q5_0, DType::Q4_1, DType::Q4_0, DType::IQ4_NL] {
            for (what, n, tokens) in
                [("decode  4k", 4096, 1), ("decode 16k", 16384, 1), ("prefill 512", 512, 512), ("prefill 512 at 4k", 4608, 512)]
            {
                let h = Head::new(ty, head, n);
                let (t, sum) = measure(|| attend(isa, &h, n, tokens, gqa, GROUP));
                if n <= 4096 {
                    assert_eq!(checksum(&attend(isa, &h, n, tokens, gqa, 3)), sum, "the answer depends on the grouping");
                }
                let cells: usize = (0..tokens).map(|i| n - tokens + i + 1).sum();
                let flop = (cells * gqa * head * 4) as f64;
                let bytes = (n * head * 2) as f64 * ty.block_bytes() as f64 / ty.block_len() as f64;
                println!(
                    "{:8} {:5} {what:18} {:9.1} us {:7.1} GFLOP/s {:6.2} GB/s of K and V, checksum {sum:016x}",
                    isa.name(),
                    ty.name(),
                    t * 1e6,
                    flop / t * 1e-9,
                    bytes / t * 1e-9
                );
            }
        }
    }
}
