//! The vector bodies: each walks its rows 16 lanes at a time. Knows no ISA.
//!
//! A short tail goes through the same arithmetic as the body, filled with zeros. Closures are a few operations and are called at one place
//! only: the compiler must inline them to compile them for the ISA of the caller, and cannot be told to. What is longer stands in its own loop.

use super::simd::{N, Simd};
use super::{Act, RopeKind, STREAMS, math, oracle};

/// x[i..i + 16], zeros beyond the end.
#[inline(always)]
fn at<S: Simd>(s: S, x: &[f32], i: usize) -> S::F {
    match x[i..].first_chunk() {
        Some(c) => s.load(c),
        None => s.load_part(&x[i..]),
    }
}

/// out[i..i + 16] = v, as far as `out` goes.
#[inline(always)]
fn put<S: Simd>(s: S, v: S::F, out: &mut [f32], i: usize) {
    match out[i..].first_chunk_mut() {
        Some(c) => s.store(v, c),
        None => s.store_part(v, &mut out[i..]),
    }
}

/// out[i..i + 16] = f(i).
#[inline(always)]
fn map<S: Simd>(s: S, out: &mut [f32], f: impl Fn(usize) -> S::F) {
    for i in (0..out.len()).step_by(N) {
        put(s, f(i), out, i);
    }
}

/// x[i..i + 16] = f(i, x[i..i + 16]).
#[inline(always)]
fn map_in<S: Simd>(s: S, x: &mut [f32], f: impl Fn(usize, S::F) -> S::F) {
    for i in (0..x.len()).step_by(N) {
        let v = f(i, at(s, x, i));
        put(s, v, x, i);
    }
}

/// The f64 sum of f(x) over a row; lanes beyond the end count as 0 whatever `f` makes of them.
#[inline(always)]
fn sum_of<S: Simd>(s: S, x: &[f32], f: impl Fn(S::F) -> S::F) -> f64 {
    let mut acc = s.zero_d();
    for i in (0..x.len()).step_by(N) {
        let keep = u16::MAX >> N.saturating_sub(x.len() - i);
        acc = s.add_d(acc, s.pick(keep, f(at(s, x, i)), s.splat(0.0)));
    }
    s.sum_d(acc)
}

#[inline(always)]
pub(crate) fn rms_norm<S: Simd>(s: S, x: &[f32], w: Option<&[f32]>, eps: f32, out: &mut [f32]) {
    let mean = (sum_of(s, x, |v| s.mul(v, v)) / x.len() as f64) as f32;
    let scale = s.splat(1.0 / (mean + eps).sqrt());
    match w {
        Some(w) => map(s, out, |i| s.mul(s.mul(at(s, x, i), scale), at(s, w, i))),
        None => map(s, out, |i| s.mul(at(s, x, i), scale)),
    }
}

#[inline(always)]
pub(crate) fn layer_norm<S: Simd>(s: S, x: &[f32], w: Option<&[f32]>, b: Option<&[f32]>, eps: f32, out: &mut [f32]) {
    let n = x.len() as f64;
    let mean = s.splat((sum_of(s, x, |v| v) / n) as f32);
    let var = sum_of(s, x, |v| {
        let d = s.sub(v, mean);
        s.mul(d, d)
    }) / n;
    let scale = s.splat(1.0 / (var as f32 + eps).sqrt());
    map(s, out, |i| s.mul(s.sub(at(s, x, i), mean), scale));
    if let Some(w) = w {
        map_in(s, out, |i, v| s.mul(v, at(s, w, i)));
    }
    if let Some(b) = b {
        map_in(s, out, |i, v| s.add(v, at(s, b, i)));
    }
}

#[inline(always)]
pub(crate) fn l2_norm<S: Simd>(s: S, x: &[f32], eps: f32, out: &mut [f32]) {
    let norm = (sum_of(s, x, |v| s.mul(v, v)) as f32).sqrt();
    let scale = s.splat(1.0 / norm.max(eps));
    map(s, out, |i| s.mul(at(s, x, i), scale));
}

#[inline(always)]
pub(crate) fn add<S: Simd>(s: S, x: &[f32], y: &[f32], out: &mut [f32]) {
    map(s, out, |i| s.add(at(s, x, i), at(s, y, i)));
}

#[inline(always)]
pub(crate) fn add_to<S: Simd>(s: S, x: &mut [f32], y: &[f32]) {
    map_in(s, x, |i, v| s.add(v, at(s, y, i)));
}

#[inline(always)]
pub(crate) fn add_scaled<S: Simd>(s: S, x: &mut [f32], y: &[f32], k: f32) {
    map_in(s, x, |i, v| s.add(v, s.mul(at(s, y, i), s.splat(k))));
}

/// Sixteen columns at a time and what is left; `b` passes through the L1 once for all rows.
#[inline(always)]
pub(crate) fn low_rank<S: Simd>(s: S, y: &mut [&mut [f32]], z: &[&[f32]], b: &[f32], width: usize, k: f32) {
    let len = y.iter().map(|y| y.len()).min().unwrap_or(0);
    let low = Low { z, b, width, k };
    let mut i = 0;
    // As many sums as registers hold beside what they are made of.
    if S::WIDE {
        while i + 4 * N <= len {
            low.cols::<S, 6, 4>(s, y, i);
            i += 4 * N;
        }
    }
    while i + 2 * N <= len {
        low.cols::<S, 2, 2>(s, y, i);
        i += 2 * N;
    }
    for i in (i..len).step_by(N) {
        low.last(s, y, i..len.min(i + N));
    }
}

struct Low<'a> {
    z: &'a [&'a [f32]],
    b: &'a [f32],
    width: usize,
    k: f32,
}

impl Low<'_> {
    /// `C` vectors of columns from `i` on, `T` rows at a time.
    #[inline(always)]
    fn cols<S: Simd, const T: usize, const C: usize>(&self, s: S, y: &mut [&mut [f32]], i: usize) {
        let (mut y, mut z) = (y.chunks_exact_mut(T), self.z.chunks_exact(T));
        for (y, z) in (&mut y).zip(&mut z) {
            self.tile::<S, T, C>(s, y, z, i);
        }
        for (y, z) in y.into_remainder().iter_mut().zip(z.remainder()) {
            self.tile::<S, 1, C>(s, std::slice::from_mut(y), &[z], i);
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const T: usize, const C: usize>(&self, s: S, y: &mut [&mut [f32]], z: &[&[f32]], i: usize) {
        let mut sums = [[s.splat(0.0); C]; T];
        let rank = z.iter().map(|z| z.len()).min().unwrap_or(0);
        for (r, b) in self.b.chunks(self.width).take(rank).enumerate() {
            let mut row = [s.splat(0.0); C];
            row.iter_mut().zip(b[i..i + C * N].as_chunks().0).for_each(|(v, b)| *v = s.load(b));
            for (sums, z) in sums.iter_mut().zip(z) {
                let z = s.splat(z[r]);
                sums.iter_mut().zip(row).for_each(|(sum, b)| *sum = s.fma(b, z, *sum));
            }
        }
        for (y, sums) in y.iter_mut().zip(sums) {
            for (y, sum) in y[i..i + C * N].as_chunks_mut().0.iter_mut().zip(sums) {
                s.store(s.add(s.load(y), s.mul(sum, s.splat(self.k))), y);
            }
        }
    }

    /// Up to sixteen columns.
    #[inline(always)]
    fn last<S: Simd>(&self, s: S, y: &mut [&mut [f32]], cols: std::ops::Range<usize>) {
        for (y, z) in y.iter_mut().zip(self.z) {
            let mut sum = s.splat(0.0);
            for (z, b) in z.iter().zip(self.b.chunks(self.width)) {
                sum = s.fma(s.load_part(&b[cols.clone()]), s.splat(*z), sum);
            }
            let y = &mut y[cols.clone()];
            s.store_part(s.add(s.load_part(y), s.mul(sum, s.splat(self.k))), y);
        }
    }
}

#[inline(always)]
pub(crate) fn mul<S: Simd>(s: S, x: &[f32], y: &[f32], out: &mut [f32]) {
    map(s, out, |i| s.mul(at(s, x, i), at(s, y, i)));
}

#[inline(always)]
pub(crate) fn scale<S: Simd>(s: S, x: &mut [f32], k: f32) {
    map_in(s, x, |_, v| s.mul(v, s.splat(k)));
}

#[inline(always)]
pub(crate) fn softcap<S: Simd>(s: S, x: &mut [f32], cap: f32) {
    let cap = s.splat(cap);
    for i in (0..x.len()).step_by(N) {
        let v = s.mul(cap, math::tanh(s, s.div(at(s, x, i), cap)));
        put(s, v, x, i);
    }
}

/// One activation of 16 values. The branch is the same for a whole row, so it is foretold.
#[inline(always)]
fn act_one<S: Simd>(s: S, kind: Act, v: S::F) -> S::F {
    match kind {
        Act::Silu => math::swish(s, v, 1.0),
        Act::GeluTanh => math::gelu_tanh(s, v),
        Act::GeluErf => math::gelu_erf(s, v),
        Act::GeluQuick => math::swish(s, v, 1.702),
        Act::Relu => math::relu(s, v),
        Act::ReluSqr => s.mul(math::relu(s, v), math::relu(s, v)),
        Act::Sigmoid => math::sigmoid(s, v),
        Act::Tanh => math::tanh(s, v),
        Act::Exp => math::exp(s, v),
        Act::Softplus => {
            let mut b = [0.0; N];
            s.store(v, &mut b);
            oracle::act(kind, &mut b);
            s.load(&b)
        }
    }
}

#[inline(always)]
pub(crate) fn act<S: Simd>(s: S, kind: Act, x: &mut [f32]) {
    for i in (0..x.len()).step_by(N) {
        let v = act_one(s, kind, at(s, x, i));
        put(s, v, x, i);
    }
}

#[inline(always)]
pub(crate) fn glu<S: Simd>(s: S, kind: Act, gate: &[f32], up: &[f32], out: &mut [f32]) {
    for i in (0..out.len()).step_by(N) {
        let v = s.mul(act_one(s, kind, at(s, gate, i)), at(s, up, i));
        put(s, v, out, i);
    }
}

#[inline(always)]
pub(crate) fn glu_oai<S: Simd>(s: S, gate: &[f32], up: &[f32], alpha: f32, limit: f32, out: &mut [f32]) {
    for i in (0..out.len()).step_by(N) {
        let g = s.min(s.splat(limit), at(s, gate, i));
        let u = s.min(s.splat(limit), s.max(s.splat(-limit), at(s, up, i)));
        put(s, s.mul(math::swish(s, g, alpha), s.add(u, s.splat(1.0))), out, i);
    }
}

/// Plain loops: the compiler shuffles pairs as well as we would.
#[inline(always)]
pub(crate) fn rope_rows<S: Simd>(_: S, kind: RopeKind, x: &mut [f32], n_rot: usize, cos_sin: &[f32]) {
    let (x, turns) = (&mut x[..n_rot], cos_sin.as_chunks::<2>().0);
    let turn = |a: &mut f32, b: &mut f32, [c, s]: &[f32; 2]| (*a, *b) = (*a * c - *b * s, *a * s + *b * c);
    match kind {
        RopeKind::Norm => x.as_chunks_mut::<2>().0.iter_mut().zip(turns).for_each(|([a, b], t)| turn(a, b, t)),
        RopeKind::Neox => {
            let (lo, hi) = x.split_at_mut(n_rot / 2);
            lo.iter_mut().zip(hi).zip(turns).for_each(|((a, b), t)| turn(a, b, t));
        }
    }
}

/// Sums and differences of what is `APART` lanes apart. Plain lanes: the compiler makes shuffles of them.
#[inline(always)]
fn butterfly<const APART: usize>(x: [f32; N]) -> [f32; N] {
    std::array::from_fn(|i| if i & APART == 0 { x[i] + x[i ^ APART] } else { x[i ^ APART] - x[i] })
}

#[inline(always)]
pub(crate) fn hadamard<S: Simd>(s: S, x: &mut [f32], n: usize) {
    if n < N {
        return oracle::hadamard(x, n);
    }
    debug_assert!(n.is_power_of_two());
    let scale = 1.0 / (n as f32).sqrt();
    for x in x.chunks_exact_mut(n) {
        let x = x.as_chunks_mut::<N>().0;
        for v in &mut *x {
            s.store(s.mul(s.load(v), s.splat(scale)), v);
            *v = butterfly::<8>(butterfly::<4>(butterfly::<2>(butterfly::<1>(*v))));
        }
        let mut apart = 1;
        while apart < x.len() {
            for pair in x.chunks_exact_mut(2 * apart) {
                let (a, b) = pair.split_at_mut(apart);
                for (a, b) in a.iter_mut().zip(b) {
                    let (u, v) = (s.load(a), s.load(b));
                    s.store(s.add(u, v), a);
                    s.store(s.sub(u, v), b);
                }
            }
            apart *= 2;
        }
    }
}

/// The largest value, NaN aside; -inf where there is none.
#[inline(always)]
fn max_of<S: Simd>(s: S, x: &[f32]) -> f32 {
    let mut m = s.splat(f32::NEG_INFINITY);
    let (body, tail) = x.as_chunks::<N>();
    for c in body {
        m = s.max(s.load(c), m);
    }
    tail.iter().fold(s.max_lane(m), |m, v| if *v > m { *v } else { m })
}

/// Where the middle ones of triples stand in three vectors side by side: every lane has one.
const MIDDLES: [u16; 2] = [0b0010_0100_1001_0010, 0b1001_0010_0100_1001];

#[inline(always)]
pub(crate) fn max_of_middles<S: Simd>(s: S, x: &[&[f32]; STREAMS], out: &mut [f32; STREAMS]) {
    let (mut m, whole) = ([s.splat(f32::NEG_INFINITY); STREAMS], x[0].len() / (3 * N));
    for i in 0..whole {
        for (m, x) in m.iter_mut().zip(x) {
            let [a, b, c] = x[3 * N * i..3 * N * (i + 1)].as_chunks::<N>().0 else { continue };
            *m = s.max(s.pick(MIDDLES[0], s.load(a), s.pick(MIDDLES[1], s.load(b), s.load(c))), *m);
        }
    }
    for ((out, m), x) in out.iter_mut().zip(m).zip(x) {
        *out = x[3 * N * whole..].as_chunks::<3>().0.iter().fold(s.max_lane(m), |m, t| if t[1] > m { t[1] } else { m });
    }
}

#[inline(always)]
pub(crate) fn softmax<S: Simd>(s: S, x: &mut [f32]) {
    let max = s.splat(max_of(s, x));
    map_in(s, x, |_, v| math::exp(s, s.sub(v, max)));
    let inv = (1.0 / sum_of(s, x, |v| v)) as f32;
    scale(s, x, inv);
}

#[inline(always)]
pub(crate) fn argmax<S: Simd>(s: S, x: &[f32]) -> usize {
    let max = max_of(s, x);
    x.iter().position(|v| *v == max).unwrap_or(0)
}

#[inline(always)]
pub(crate) fn dot<S: Simd>(s: S, x: &[f32], y: &[f32]) -> f32 {
    let mut acc = s.splat(0.0);
    for i in (0..x.len()).step_by(N) {
        acc = s.fma(at(s, x, i), at(s, y, i), acc);
    }
    s.sum(acc)
}

#[inline(always)]
pub(crate) fn f32_to_f16<S: Simd>(s: S, x: &[f32], out: &mut [u8]) {
    for (i, o) in out.chunks_mut(2 * N).enumerate() {
        let mut b = [0; 2 * N];
        s.store_f16(at(s, x, i * N), &mut b);
        o.copy_from_slice(&b[..o.len()]);
    }
}

#[inline(always)]
pub(crate) fn f16_to_f32<S: Simd>(s: S, x: &[u8], out: &mut [f32]) {
    map(s, out, |i| {
        let x = &x[2 * i..];
        match x.first_chunk() {
            Some(c) => s.load_f16(c),
            None => {
                let mut b = [0; 2 * N];
                b[..x.len()].copy_from_slice(x);
                s.load_f16(&b)
            }
        }
    });
}

/// To nearest even; NaN stays NaN, made quiet.
#[inline(always)]
pub(crate) fn f32_to_bf16<S: Simd>(_: S, x: &[f32], out: &mut [u8]) {
    for (v, o) in x.iter().zip(out.as_chunks_mut::<2>().0) {
        let bits = v.to_bits();
        let near = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
        *o = (if v.is_nan() { bits >> 16 | 64 } else { near } as u16).to_le_bytes();
    }
}

#[inline(always)]
pub(crate) fn bf16_to_f32<S: Simd>(_: S, x: &[u8], out: &mut [f32]) {
    for (b, o) in x.as_chunks::<2>().0.iter().zip(out) {
        *o = f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16);
    }
}

#[inline(always)]
pub(crate) fn f32_to_q8_0<S: Simd>(_: S, x: &[f32], out: &mut [u8]) {
    for (x, o) in x.as_chunks::<32>().0.iter().zip(out.as_chunks_mut::<34>().0) {
        // Sizes compare as integers do, which the compiler may vectorise.
        let amax = f32::from_bits(x.iter().fold(0, |m, v| m.max(v.to_bits() & 0x7fff_ffff)));
        let d = amax / 127.0;
        let id = if d == 0.0 { 0.0 } else { 1.0 / d };
        let (head, q) = o.split_at_mut(2);
        head.copy_from_slice(&half::f16::from_f32_const(d).to_le_bytes());
        for (v, q) in x.iter().zip(q) {
            *q = (v * id).round() as i8 as u8;
        }
    }
}

#[inline(always)]
pub(crate) fn q8_0_to_f32<S: Simd>(_: S, x: &[u8], out: &mut [f32]) {
    for (b, o) in x.as_chunks::<34>().0.iter().zip(out.as_chunks_mut::<32>().0) {
        let d = half::f16::from_le_bytes([b[0], b[1]]).to_f32_const();
        for (q, o) in b[2..].iter().zip(o) {
            *o = f32::from(*q as i8) * d;
        }
    }
}
