//! Walks the formats and levels: weights per second of one token's product, multiply-adds per second of many tokens', and checks that
//! both gave the same bits as the oracle on a few rows. Arguments: rows, k, tokens (default 2048 2048 256), then a name to filter by.
use kernels::quant::{MatArgs, scratch_bytes, table};
use kernels::{DType, Isa};
use std::time::{Duration, Instant};

#[repr(align(64))]
#[derive(Clone, Copy)]
struct Line(#[allow(dead_code, reason = "only its address is used")] [u8; 64]);

fn zeroed(bytes: usize) -> Vec<Line> {
    vec![Line([0; 64]); bytes.div_ceil(64) + 1]
}

/// The best time of `f` over half a second.
fn best(mut f: impl FnMut()) -> Duration {
    let (start, mut best) = (Instant::now(), Duration::MAX);
    while start.elapsed() < Duration::from_millis(500) {
        let t = Instant::now();
        f();
        best = best.min(t.elapsed());
    }
    best
}

/// Pseudo-random rows whose f16 scales are small numbers.
fn weights(ty: DType, bytes: usize) -> Vec<Line> {
    let mut w = zeroed(bytes);
    let p = w.as_mut_ptr().cast::<u8>();
    // SAFETY: `zeroed` made at least that many bytes.
    let all = unsafe { std::slice::from_raw_parts_mut(p, bytes) };
    let mut s = 1u32;
    for b in all.iter_mut() {
        s = s.wrapping_mul(1664525).wrapping_add(1013904223);
        *b = (s >> 24) as u8 & 0xbf;
    }
    if !ty.is_quantized() {
        all.chunks_exact_mut(ty.block_bytes()).for_each(|c| *c.last_mut().unwrap() = 0x3c);
    } else {
        for c in all.chunks_exact_mut(ty.block_bytes()) {
            let d = if ty == DType::Q6_K { 208 } else { 0 };
            (c[d + 1], c[if d == 0 && ty.block_len() == 256 && ty != DType::IQ4_XS { 3 } else { d + 1 }]) = (0x10, 0x10);
        }
    }
    w
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let size = |i: usize, default| args.get(i).and_then(|a| a.parse().ok()).unwrap_or(default);
    let (n_rows, k, n_tokens) = (size(0, 2048), size(1, 2048), size(2, 256));
    for ty in [DType::F32, DType::F16, DType::BF16, DType::Q8_0, DType::Q4_0, DType::Q4_K, DType::Q5_K, DType::Q6_K, DType::IQ4_XS] {
        if args.get(3).is_some_and(|f| !ty.name().contains(f.as_str())) {
            continue;
        }
        for isa in Isa::ALL.into_iter().filter(|&i| i > Isa::Scalar && i <= Isa::detect()) {
            measure(ty, isa, n_rows, k, n_tokens);
        }
    }
}

fn measure(ty: DType, isa: Isa, n_rows: usize, k: usize, n_tokens: usize) {
    let (act, w_stride) = (table(isa).act_of(ty).unwrap(), ty.row_bytes(k).unwrap());
    let (w, mut x) = (weights(ty, w_stride * n_rows), zeroed(act.row_bytes(k) * n_tokens));
    let floats: Vec<f32> = (0..k * n_tokens).map(|i| ((i * 7919 % 1009) as f32 - 504.0) / 100.0).collect();
    let quantize = || {
        for t in 0..n_tokens {
            // SAFETY: token `t` of both buffers.
            unsafe {
                table(isa).quantize_act(act)(
                    floats.as_ptr().add(t * k),
                    k,
                    0..k,
                    x.as_ptr().cast::<u8>().cast_mut().add(t * act.row_bytes(k)),
                )
            };
        }
    };
    let q = best(quantize);
    let mut y = vec![0.0f32; n_rows * n_tokens];
    let mut scratch = zeroed(scratch_bytes(ty, k, n_tokens));
    let mut a = MatArgs {
        w: w.as_ptr().cast(),
        w_stride,
        k,
        n_rows,
        x: x.as_mut_ptr().cast(),
        x_stride: act.row_bytes(k),
        n_tokens,
        y: y.as_mut_ptr(),
        y_stride: n_rows,
        scratch: scratch.as_mut_ptr().cast(),
    };
    let f = table(isa).mat_mul(ty).unwrap();
    // SAFETY: the buffers above have the sizes they say.
    let many = best(|| unsafe { f(&a) });
    let first: Vec<u32> = y[..n_rows].iter().map(|v| v.to_bits()).collect();
    a.n_tokens = 1;
    // SAFETY: as above, with fewer tokens.
    let one = best(|| unsafe { f(&a) });
    assert!(y[..n_rows].iter().map(|v| v.to_bits()).eq(first.iter().copied()), "{ty:?} {isa:?}: one token and many differ");
    a.n_rows = n_rows.min(16);
    // SAFETY: as above, with fewer rows.
    unsafe { table(isa).oracle(ty).unwrap()(&a) };
    assert!(y[..a.n_rows].iter().map(|v| v.to_bits()).eq(first[..a.n_rows].iter().copied()), "{ty:?} {isa:?}: not the oracle's bits");
    let n = (n_rows * k) as f64;
    println!(
        "{:7} {:10}  one token {:6.1} Gweights/s {:6.1} GB/s   {n_tokens} tokens {:7.1} GMAC/s   input {:5.2} Gvalues/s",
        ty.name(),
        isa.name(),
        n / one.as_secs_f64() / 1e9,
        (w_stride * n_rows) as f64 / one.as_secs_f64() / 1e9,
        n * n_tokens as f64 / many.as_secs_f64() / 1e9,
        (k * n_tokens) as f64 / q.as_secs_f64() / 1e9
    );
}
