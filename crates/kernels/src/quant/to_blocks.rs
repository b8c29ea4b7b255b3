//! Floats to rows of the simpler types, bit-identical to the original's reference quantisers. K types are in `to_k_blocks`.
use crate::DType;
use crate::Isa;
use crate::quant::iq4_xs::VALUES;
use crate::quant::to::search::{round, wide};
use crate::quant::{mxfp4, plain, to, to_k_blocks as k};

/// Stores `x` as a row of `ty`. `false`, and nothing written, if there is no quantiser for `ty` or the lengths do not fit.
pub fn from_f32(ty: DType, x: &[f32], out: &mut [u8]) -> bool {
    if ty.row_bytes(x.len()) != Some(out.len()) {
        return false;
    }
    match ty {
        DType::F32 => each(x, out, f32::to_le_bytes),
        DType::F16 => each(x, out, |v| half::f16::from_f32(v).to_le_bytes()),
        DType::BF16 => each(x, out, |v| bf16(v).to_le_bytes()),
        DType::Q8_0 => blocks(x, out, q8_0),
        DType::IQ4_NL => blocks(x, out, iq4_nl),
        DType::MXFP4 => blocks(x, out, mxfp4),
        DType::NVFP4 => blocks(x, out, nvfp4),
        DType::Q1_0 => blocks(x, out, q1_0),
        DType::Q2_K => blocks(x, out, k::q2_k),
        DType::Q3_K => blocks(x, out, k::q3_k),
        DType::Q4_K => blocks(x, out, k::q4_k),
        DType::Q5_K => blocks(x, out, k::q5_k),
        DType::Q6_K => blocks(x, out, k::q6_k),
        DType::IQ4_XS => return to::quantize(ty, x, None, out),
        _ => return rounded_in_eights(ty, x, out),
    }
    true
}

/// Every block by itself.
fn blocks<const N: usize, const BYTES: usize>(x: &[f32], out: &mut [u8], f: impl Fn(&[f32; N], &mut [u8; BYTES])) {
    x.as_chunks().0.iter().zip(out.as_chunks_mut().0).for_each(|(x, out)| f(x, out));
}

fn each<const N: usize>(x: &[f32], out: &mut [u8], f: impl Fn(f32) -> [u8; N]) {
    x.iter().zip(out.chunks_exact_mut(N)).for_each(|(&v, out)| out.copy_from_slice(&f(v)));
}

/// Rounds half to even; a nan keeps its upper bits and becomes quiet.
fn bf16(v: f32) -> u16 {
    let b = v.to_bits();
    if v.is_nan() {
        return (b >> 16) as u16 | 64;
    }
    (b.wrapping_add(0x7fff + (b >> 16 & 1)) >> 16) as u16
}

/// Scale amax / 127, values rounded half away from zero by the scale *before* it is cut to f16.
fn q8_0(x: &[f32; 32], out: &mut [u8; 34]) {
    let amax = x.iter().fold(0.0f32, |a, v| if a > v.abs() { a } else { v.abs() });
    let d = amax / 127.0;
    let id = if d != 0.0 { 1.0 / d } else { 0.0 };
    out[..2].copy_from_slice(&half::f16::from_f32(d).to_le_bytes());
    for (q, v) in out[2..].iter_mut().zip(x) {
        *q = (v * id).round() as i8 as u8;
    }
}

#[inline(always)]
pub(super) fn put_f16(out: &mut [u8], v: f32) {
    out[..2].copy_from_slice(&half::f16::from_f32(v).to_le_bytes());
}

#[inline(always)]
pub(super) fn inverse(d: f32) -> f32 {
    if d != 0.0 { 1.0 / d } else { 0.0 }
}

/// To a whole number of at most 22 bits, what is behind the point cut off; what is no number of that size becomes one that ends in a byte of 0.
#[inline(always)]
fn whole(v: f32) -> i32 {
    round(v.trunc())
}

/// The largest and the smallest number, or 0 if all are on one side of it. In eight lanes: both are the same whatever the order.
#[inline(always)]
fn ends(x: &[f32], from: (f32, f32)) -> (f32, f32) {
    let (mut max, mut min) = ([from.0; 8], [from.1; 8]);
    let (eights, rest) = x.as_chunks::<8>();
    for x in eights {
        for l in 0..8 {
            max[l] = if x[l] > max[l] { x[l] } else { max[l] };
            min[l] = if x[l] < min[l] { x[l] } else { min[l] };
        }
    }
    let (max, min) = (max.iter().chain(rest), min.iter().chain(rest));
    (max.fold(from.0, |m, v| if *v > m { *v } else { m }), min.fold(from.1, |m, v| if *v < m { *v } else { m }))
}

/// The first of the numbers that are largest without their sign.
#[inline(always)]
pub(super) fn farthest(x: &[f32]) -> f32 {
    let (max, min) = ends(x, (0.0, 0.0));
    if max > -min {
        max
    } else if max < -min {
        min
    } else {
        x.iter().copied().find(|v| *v != 0.0 && v.abs() == max).unwrap_or(0.0)
    }
}

/// Five bits of 32 elements as blocks have them: low nibbles of element `j` and `j + 16` to byte `j`; the top bits are returned.
#[inline(always)]
pub(super) fn put_low_bits(q: &[u8; 32], out: &mut [u8]) -> u32 {
    for (j, out) in out.iter_mut().enumerate().take(16) {
        *out = q[j] & 15 | q[j + 16] << 4;
    }
    let mut top = 0;
    for (j, q) in q.iter().enumerate() {
        top |= u32::from(q >> 4) << j;
    }
    top
}

/// What `f` makes of every number.
#[inline(always)]
fn levels<const N: usize>(x: &[f32; N], f: impl Fn(f32) -> i32) -> [u8; N] {
    let mut q = [0; N];
    for (q, v) in q.iter_mut().zip(x) {
        *q = f(*v) as u8;
    }
    q
}

struct Q4_0;
/// The end of the range that is farther from 0 becomes the lowest value; halves are rounded up.
impl Plain<32, 18> for Q4_0 {
    #[inline(always)]
    fn put(x: &[f32; 32], out: &mut [u8; 18]) {
        let d = farthest(x) / -8.0;
        let id = inverse(d);
        put_f16(out, d);
        put_low_bits(&levels(x, |v| i32::from(whole(v * id + 8.5) as i8).min(15)), &mut out[2..]);
    }
}

struct Q5_0;
impl Plain<32, 22> for Q5_0 {
    #[inline(always)]
    fn put(x: &[f32; 32], out: &mut [u8; 22]) {
        let d = farthest(x) / -16.0;
        let id = inverse(d);
        put_f16(out, d);
        let top = put_low_bits(&levels(x, |v| i32::from(whole(v * id + 16.5) as i8).min(31)), &mut out[6..]);
        out[2..6].copy_from_slice(&top.to_le_bytes());
    }
}

/// From the smallest to the largest number in `2^bits - 1` steps: the step, and what is below the numbers.
#[inline(always)]
fn steps(x: &[f32; 32], n: f32) -> (f32, f32) {
    let (max, min) = ends(x, (-f32::MAX, f32::MAX));
    // Of zeros the first counts: it has a sign.
    let first = |end: f32| if end == 0.0 { x.iter().copied().find(|v| *v == 0.0).unwrap_or(end) } else { end };
    ((first(max) - first(min)) / n, first(min))
}

struct Q4_1;
impl Plain<32, 20> for Q4_1 {
    #[inline(always)]
    fn put(x: &[f32; 32], out: &mut [u8; 20]) {
        let (d, min) = steps(x, 15.0);
        let id = inverse(d);
        put_f16(out, d);
        put_f16(&mut out[2..], min);
        put_low_bits(&levels(x, |v| i32::from(whole((v - min) * id + 0.5) as i8).min(15)), &mut out[4..]);
    }
}

struct Q5_1;
impl Plain<32, 24> for Q5_1 {
    #[inline(always)]
    fn put(x: &[f32; 32], out: &mut [u8; 24]) {
        let (d, min) = steps(x, 31.0);
        let id = inverse(d);
        put_f16(out, d);
        put_f16(&mut out[2..], min);
        let top = put_low_bits(&levels(x, |v| whole((v - min) * id + 0.5) & 31), &mut out[8..]);
        out[4..8].copy_from_slice(&top.to_le_bytes());
    }
}

/// -1, 0 or 1 as 0, 1 or 2, by the number farthest from 0.
#[inline(always)]
fn ternary(x: &[f32; 256]) -> (f32, [u8; 256]) {
    let d = farthest(x).abs();
    let id = inverse(d);
    (d, levels(x, |v| whole((v * id).round()) + 1))
}

/// Five digits of each of `N` bytes as a fraction of 256, rounded up; digit `n` of byte `m` is `q[N n + m]`, 0 where there is none.
#[inline(always)]
fn fractions<const N: usize>(q: &[u8], out: &mut [u8]) {
    let mut sum = [0u16; N];
    for n in 0..5 {
        for (m, sum) in sum.iter_mut().enumerate() {
            *sum = 3 * *sum + q.get(N * n + m).map_or(0, |q| u16::from(*q));
        }
    }
    for (out, q) in out.iter_mut().zip(sum) {
        *out = (q * 256).div_ceil(243) as u8;
    }
}

struct Tq1_0;
impl Plain<256, 54> for Tq1_0 {
    #[inline(always)]
    fn put(x: &[f32; 256], out: &mut [u8; 54]) {
        let (d, q) = ternary(x);
        fractions::<32>(&q[..160], &mut out[..32]);
        fractions::<16>(&q[160..240], &mut out[32..48]);
        fractions::<4>(&q[240..], &mut out[48..52]);
        put_f16(&mut out[52..], d);
    }
}

struct Tq2_0;
impl Plain<256, 66> for Tq2_0 {
    #[inline(always)]
    fn put(x: &[f32; 256], out: &mut [u8; 66]) {
        let (d, q) = ternary(x);
        k::put_pairs(&q, out);
        put_f16(&mut out[64..], d);
    }
}

struct Q2_0;
impl Plain<64, 18> for Q2_0 {
    #[inline(always)]
    fn put(x: &[f32; 64], out: &mut [u8; 18]) {
        let d = farthest(x).abs();
        let id = inverse(d);
        put_f16(out, d);
        let q = levels(x, |v| (whole((v * id).round()) + 1).clamp(0, 3));
        for (out, q) in out[2..].iter_mut().zip(q.as_chunks::<4>().0) {
            let q = u32::from_le_bytes(*q);
            *out = (q | q >> 6 | q >> 12 | q >> 18) as u8;
        }
    }
}

/// How a block is stored. A trait: what stands in `put` is compiled for the caller's instruction set, which a function that is passed is not.
trait Plain<const N: usize, const BYTES: usize> {
    fn put(x: &[f32; N], out: &mut [u8; BYTES]);
}

#[inline(always)]
fn each_block<B: Plain<N, BYTES>, const N: usize, const BYTES: usize>(x: &[f32], out: &mut [u8]) {
    for (x, out) in x.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
        B::put(x, out);
    }
}

/// Types whose numbers are rounded as they are; `false`, and nothing done, for others.
#[inline(always)]
fn rounded(ty: DType, x: &[f32], out: &mut [u8]) -> bool {
    match ty {
        DType::Q4_0 => each_block::<Q4_0, _, _>(x, out),
        DType::Q4_1 => each_block::<Q4_1, _, _>(x, out),
        DType::Q5_0 => each_block::<Q5_0, _, _>(x, out),
        DType::Q5_1 => each_block::<Q5_1, _, _>(x, out),
        DType::TQ1_0 => each_block::<Tq1_0, _, _>(x, out),
        DType::TQ2_0 => each_block::<Tq2_0, _, _>(x, out),
        DType::Q2_0 => each_block::<Q2_0, _, _>(x, out),
        _ => return false,
    }
    true
}

wide!(rounded_in_eights, rounded, [], [ty: DType, x: &[f32], out: &mut [u8]], bool);

/// The index of the value nearest to `x`, the upper one of two.
pub(super) fn nearest(x: f32) -> usize {
    let at = |i: usize| f32::from(VALUES[i]);
    let above = VALUES.iter().filter(|v| f32::from(**v) <= x).count();
    match above {
        0 => 0,
        16 => 15,
        i if x - at(i - 1) < at(i) - x => i - 1,
        i => i,
    }
}

/// Indices by the scale that makes the number farthest from 0 the lowest value; then the scale that fits them best, numbers weighed by their squares.
/// (Numbers that all are 0: scale and indices are 0; the original leaves the indices to chance.)
fn iq4_nl(x: &[f32; 32], out: &mut [u8; 18]) {
    out.fill(0);
    let far = farthest(x);
    if far.abs() < 1e-15 {
        return;
    }
    let id = 1.0 / (far / f32::from(VALUES[0]));
    let (mut qx, mut q2) = (0.0f32, 0.0f32);
    let index = x.map(|v| {
        let i = nearest(id * v);
        let (w, q) = (v * v, f32::from(VALUES[i]));
        qx += w * q * v;
        q2 += w * q * q;
        i as u8
    });
    put_f16(out, if q2 > 0.0 { qx / q2 } else { 0.0 });
    put_low_bits(&index, &mut out[2..]);
}

/// The value of a four-bit float nearest to `x` in steps of `d`: the first of equals.
fn nearest_float(x: f32, d: f32) -> u8 {
    let error = |i: usize| (f32::from(mxfp4::VALUES[i]) * d - x).abs();
    (1..16).fold((0, error(0)), |best, i| if error(i) < best.1 { (i, error(i)) } else { best }).0 as u8
}

/// The exponent two below that of the largest number.
fn mxfp4(x: &[f32; 32], out: &mut [u8; 17]) {
    let amax = farthest(x).abs();
    let e = if amax > 0.0 { (amax.log2().floor() - 2.0 + 127.0) as u8 } else { 0 };
    out[0] = e;
    put_low_bits(&x.map(|v| nearest_float(v, mxfp4::scale(e))), &mut out[1..]);
}

fn nvfp4(x: &[f32; 64], out: &mut [u8; 36]) {
    for (s, x) in x.as_chunks::<16>().0.iter().enumerate() {
        let e = plain::small_float(farthest(x).abs() / 6.0);
        out[s] = e;
        let q = x.map(|v| nearest_float(v, plain::half_scale(e)));
        for j in 0..8 {
            out[4 + 8 * s + j] = q[j] | q[j + 8] << 4;
        }
    }
}

/// Signs, and the average without them.
fn q1_0(x: &[f32; 128], out: &mut [u8; 18]) {
    put_f16(out, x.iter().fold(0.0, |s, v| s + v.abs()) / 128.0);
    for (i, out) in out[2..].iter_mut().enumerate() {
        *out = (0..8).fold(0, |b, j| b | u8::from(x[8 * i + j] >= 0.0) << j);
    }
}
