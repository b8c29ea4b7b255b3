//! Floats to the K types, bit-identical to the original's reference quantisers (those without an importance matrix), and the searches they share with `to`.
//! Every float operation stands in the original's order: the search for scales compares errors that differ in their last bits.
use super::to_blocks::{farthest, inverse, nearest, put_f16};
use crate::quant::iq4_xs::VALUES;

/// Numbers below this count as none.
pub(super) const NOTHING: f32 = 1e-15;

/// To the nearest integer, halves to even, as far as 2^22.
pub(super) fn round(v: f32) -> i32 {
    ((v + 12_582_912.0).to_bits() & 0x007f_ffff) as i32 - 0x0040_0000
}

/// `v` cut to f16.
pub(super) fn cut(v: f32) -> f32 {
    half::f16::from_f32(v).to_f32()
}

/// How a scale and a min are searched.
pub(super) struct Search {
    /// The largest level.
    pub top: i32,
    /// Ranges of `top + from + step * i` levels are tried, `i` up to `steps`.
    pub from: f32,
    pub step: f32,
    pub steps: i32,
    /// Errors count as they are, not squared.
    pub absolute: bool,
}

/// Scale, min (what is taken away) and levels that fit `x` best, errors weighed by `w`.
pub(super) fn fit_with_min<const N: usize>(x: &[f32; N], w: &[f32; N], s: &Search) -> (f32, f32, [u8; N]) {
    let min = x.iter().fold(x[0], |m, v| if *v < m { *v } else { m });
    let max = x.iter().fold(x[0], |m, v| if *v > m { *v } else { m });
    let min = if min > 0.0 { 0.0 } else { min };
    if max == min {
        return (0.0, -min, [0; N]);
    }
    let levels = |iscale: f32, min: f32| x.map(|v| round(iscale * (v - min)).clamp(0, s.top) as u8);
    let error = |q: &[u8; N], scale: f32, min: f32| {
        let errors = q.iter().zip(x).map(|(q, v)| scale * f32::from(*q) + min - v);
        errors.zip(w).fold(0.0, |sum, (e, w)| sum + w * if s.absolute { e.abs() } else { e * e })
    };
    let (sum_w, sum_x) = x.iter().zip(w).skip(1).fold((w[0], w[0] * x[0]), |(a, b), (v, w)| (a + w, b + w * v));
    let iscale = s.top as f32 / (max - min);
    let mut best = (1.0 / iscale, min, levels(iscale, min));
    let mut least = error(&best.2, best.0, best.1);
    for i in 0..=s.steps {
        // From the min found so far.
        let q = levels((s.from + s.step * i as f32 + s.top as f32) / (max - best.1), best.1);
        let (mut sl, mut sl2, mut sxl) = (0.0f32, 0.0f32, 0.0f32);
        for ((q, v), w) in q.iter().zip(x).zip(w) {
            let q = f32::from(*q);
            sl += w * q;
            sl2 += w * q * q;
            sxl += w * q * v;
        }
        let det = sum_w * sl2 - sl * sl;
        if det <= 0.0 || det.is_nan() {
            continue;
        }
        let (mut scale, mut min) = ((sum_w * sxl - sum_x * sl) / det, (sl2 * sum_x - sl * sxl) / det);
        if min > 0.0 {
            (scale, min) = (sxl / sl2, 0.0);
        }
        let e = error(&q, scale, min);
        if e < least {
            (best, least) = ((scale, min, q), e);
        }
    }
    (best.0, -best.1, best.2)
}

/// Cuts 256 numbers into sub-blocks of `N`.
pub(super) fn subs<const N: usize>(x: &[f32; 256]) -> &[[f32; N]] {
    x.as_chunks().0
}

/// Four two-bit levels to a byte, as Q2_K and Q3_K have them.
pub(super) fn put_pairs(q: &[u8; 256], out: &mut [u8]) {
    for (i, out) in out.iter_mut().enumerate().take(64) {
        let at = i / 32 * 128 + i % 32;
        *out = (0..4).fold(0, |b, j| b | (q[at + 32 * j] & 3) << (2 * j));
    }
}

fn largest(v: &[f32]) -> f32 {
    v.iter().fold(0.0, |m, v| if *v > m { *v } else { m })
}

pub(super) fn q2_k(x: &[f32; 256], out: &mut [u8; 84]) {
    let search = Search { top: 3, from: -0.5, step: 0.1, steps: 15, absolute: true };
    let (mut scales, mut mins, mut q) = ([0.0; 16], [0.0; 16], [0; 256]);
    for (j, x) in subs::<16>(x).iter().enumerate() {
        let levels: [u8; 16];
        (scales[j], mins[j], levels) = fit_with_min(x, &x.map(f32::abs), &search);
        q[16 * j..16 * j + 16].copy_from_slice(&levels);
    }
    let (top, top_min) = (largest(&scales), largest(&mins));
    let step = |v: f32, top: f32| if top > 0.0 { round(15.0 / top * v) as u8 } else { 0 };
    let (d, dmin) = (cut(top / 15.0), cut(top_min / 15.0));
    for j in 0..16 {
        let (sc, m) = (step(scales[j], top), step(mins[j], top_min));
        out[j] = sc | m << 4;
        level(x, &mut q, 16, j, d * f32::from(sc & 15), dmin * f32::from(m & 15), 0, 3);
    }
    put_pairs(&q, &mut out[16..80]);
    put_f16(&mut out[80..], top / 15.0);
    put_f16(&mut out[82..], top_min / 15.0);
}

/// The levels of sub-block `j` of `n` once its scale is cut; a scale of 0 leaves them as they were found.
#[allow(clippy::too_many_arguments, reason = "one line of every quantiser, spelled once")]
pub(super) fn level(x: &[f32; 256], q: &mut [u8; 256], n: usize, j: usize, d: f32, min: f32, below: i32, top: i32) {
    if d != 0.0 {
        for i in n * j..n * j + n {
            q[i] = (round((x[i] + min) / d).clamp(-below, top) + below) as u8;
        }
    }
}

/// Levels of -4 to 3, moved while that lowers the error; numbers weighed by their squares.
fn fit_three_bits(x: &[f32; 16]) -> (f32, [i32; 16]) {
    let far = farthest(x);
    if far.abs() < NOTHING {
        return (0.0, [-4; 16]);
    }
    let iscale = -4.0 / far;
    let mut q = x.map(|v| round(iscale * v).clamp(-4, 3));
    let (mut lx, mut l2) = (0.0f32, 0.0f32);
    for (v, q) in x.iter().zip(q) {
        let (w, q) = (v * v, q as f32);
        lx += w * v * q;
        l2 += w * q * q;
    }
    for _ in 0..5 {
        let mut changed = false;
        for (v, q) in x.iter().zip(&mut q) {
            let (w, l) = (v * v, *q as f32);
            let (mut slx, mut sl2) = (lx - w * v * l, l2 - w * l * l);
            if slx <= 0.0 || slx.is_nan() {
                continue;
            }
            let new = round(v * sl2 / slx).clamp(-4, 3);
            if new != *q {
                let l = new as f32;
                slx += w * v * l;
                sl2 += w * l * l;
                if sl2 > 0.0 && slx * slx * l2 > lx * lx * sl2 {
                    (*q, lx, l2, changed) = (new, slx, sl2, true);
                }
            }
        }
        if !changed {
            break;
        }
    }
    (if l2 > 0.0 { lx / l2 } else { 0.0 }, q)
}

pub(super) fn q3_k(x: &[f32; 256], out: &mut [u8; 110]) {
    let (mut scales, mut q) = ([0.0; 16], [0; 256]);
    for (j, x) in subs::<16>(x).iter().enumerate() {
        let levels: [i32; 16];
        (scales[j], levels) = fit_three_bits(x);
        q[16 * j..16 * j + 16].copy_from_slice(&levels.map(|q| (q + 4) as u8));
    }
    let far = farthest(&scales);
    let iscale = if far != 0.0 { -32.0 / far } else { 0.0 };
    // Through a byte, as the original has it; all 0 where nothing is to be scaled.
    let bits = scales.map(|scale| if far != 0.0 { (i32::from(round(iscale * scale) as i8).clamp(-32, 31) + 32) as u8 } else { 0 });
    put_q3_k(x, &mut q, inverse(iscale), &bits, out);
}

/// A block of scale `d` and sub-scales 32 too large; `q` holds levels 4 too large, which stay where a sub-block has no scale.
pub(super) fn put_q3_k(x: &[f32; 256], q: &mut [u8; 256], d: f32, bits: &[u8; 16], out: &mut [u8; 110]) {
    out.fill(0);
    for (j, bits) in bits.iter().enumerate() {
        out[96 + j % 8] |= (bits & 15) << (4 * (j / 8));
        out[104 + j % 4] |= (bits >> 4) << (2 * (j / 4));
        level(x, q, 16, j, cut(d) * (i32::from(*bits) - 32) as f32, 0.0, 4, 3);
    }
    for (i, q) in q.iter().enumerate() {
        out[i % 32] |= (q >> 2) << (i / 32);
    }
    put_pairs(q, &mut out[32..96]);
    put_f16(&mut out[108..], d);
}

/// What Q4_K and Q5_K share: 16 bytes of scales, and the levels.
fn scales_and_levels(x: &[f32; 256], search: &Search, out: &mut [u8]) -> [u8; 256] {
    let (mut scales, mut mins, mut q) = ([0.0; 8], [0.0; 8], [0; 256]);
    for (j, x) in subs::<32>(x).iter().enumerate() {
        let average = (x.iter().fold(0.0f32, |s, v| s + v * v) / 32.0).sqrt();
        let levels: [u8; 32];
        (scales[j], mins[j], levels) = fit_with_min(x, &x.map(|v| average + v.abs()), search);
        q[32 * j..32 * j + 32].copy_from_slice(&levels);
    }
    let (top, top_min) = (largest(&scales), largest(&mins));
    put_f16(out, top / 63.0);
    put_f16(&mut out[2..], top_min / 63.0);
    let step = |v: f32, top: f32| (round(if top > 0.0 { 63.0 / top } else { 0.0 } * v) as u8).min(63);
    let (d, dmin) = (cut(top / 63.0), cut(top_min / 63.0));
    let (sc, m) = (scales.map(|v| step(v, top)), mins.map(|v| step(v, top_min)));
    put_six_bits(&sc, &m, &mut out[4..16]);
    for j in 0..8 {
        level(x, &mut q, 32, j, d * f32::from(sc[j]), dmin * f32::from(m[j]), 0, search.top);
    }
    q
}

/// Eight scales and mins of six bits, as Q4_K and Q5_K have them.
pub(super) fn put_six_bits(sc: &[u8; 8], m: &[u8; 8], s: &mut [u8]) {
    for (j, (sc, m)) in sc.iter().zip(m).enumerate() {
        if j < 4 {
            (s[j], s[j + 4]) = (*sc, *m);
        } else {
            s[j + 4] = sc & 15 | m << 4;
            s[j - 4] |= sc >> 4 << 6;
            s[j] |= m >> 4 << 6;
        }
    }
}

pub(super) fn q4_k(x: &[f32; 256], out: &mut [u8; 144]) {
    let q = scales_and_levels(x, &Search { top: 15, from: -1.0, step: 0.1, steps: 20, absolute: false }, out);
    put_q4_k(&q, out);
}

pub(super) fn put_q4_k(q: &[u8; 256], out: &mut [u8; 144]) {
    for (i, out) in out[16..].iter_mut().enumerate() {
        let at = i / 32 * 64 + i % 32;
        *out = q[at] | q[at + 32] << 4;
    }
}

pub(super) fn q5_k(x: &[f32; 256], out: &mut [u8; 176]) {
    let q = scales_and_levels(x, &Search { top: 31, from: -0.5, step: 0.1, steps: 15, absolute: false }, out);
    put_q5_k(&q, out);
}

pub(super) fn put_q5_k(q: &[u8; 256], out: &mut [u8; 176]) {
    let (high, low) = out[16..].split_at_mut(32);
    for (i, low) in low.iter_mut().enumerate() {
        let at = i / 32 * 64 + i % 32;
        *low = q[at] & 15 | q[at + 32] << 4;
    }
    high.fill(0);
    for (i, q) in q.iter().enumerate() {
        high[i % 32] |= (q >> 4) << (i / 32);
    }
}

/// A scale for levels of `-top` to `top - 1`, and the levels, `top` too large: around what the number farthest from 0 asks for, the one with the least
/// error. (Where all numbers are 0 so are the levels, as they are stored.)
pub(super) fn fit_signed<const N: usize>(x: &[f32; N], w: &[f32; N], top: i32) -> (f32, [u8; N]) {
    let far = farthest(x);
    if far.abs() < NOTHING {
        return (0.0, [0; N]);
    }
    let sums = |iscale: f32| {
        x.iter().zip(w).fold((0.0f32, 0.0f32), |(lx, l2), (v, w)| {
            let l = round(iscale * v).clamp(-top, top - 1) as f32;
            (lx + w * v * l, l2 + w * l * l)
        })
    };
    let mut found = -top as f32 / far;
    let (lx, l2) = sums(found);
    let mut scale = if l2 != 0.0 { lx / l2 } else { 0.0 };
    let mut best = scale * lx;
    for i in (-9..=9).filter(|i| *i != 0) {
        let iscale = -(top as f32 + 0.1 * i as f32) / far;
        let (lx, l2) = sums(iscale);
        if l2 > 0.0 && lx * lx > best * l2 {
            scale = lx / l2;
            best = scale * lx;
            found = iscale;
        }
    }
    (scale, x.map(|v| (round(found * v).clamp(-top, top - 1) + top) as u8))
}

pub(super) fn q6_k(x: &[f32; 256], out: &mut [u8; 210]) {
    put_q6_k(x, &x.map(|v| v * v), out);
}

/// Numbers count as `w` says.
pub(super) fn put_q6_k(x: &[f32; 256], w: &[f32; 256], out: &mut [u8; 210]) {
    out.fill(0);
    let (mut scales, mut q) = ([0.0; 16], [0; 256]);
    for (j, (x, w)) in subs::<16>(x).iter().zip(subs::<16>(w)).enumerate() {
        let levels: [u8; 16];
        (scales[j], levels) = fit_signed(x, w, 32);
        q[16 * j..16 * j + 16].copy_from_slice(&levels);
    }
    let far = farthest(&scales);
    if far.abs() < NOTHING {
        return;
    }
    let iscale = -128.0 / far;
    put_f16(&mut out[208..], 1.0 / iscale);
    for (j, scale) in scales.iter().enumerate() {
        let sc = round(iscale * scale).min(127) as i8;
        out[192 + j] = sc as u8;
        level(x, &mut q, 16, j, cut(1.0 / iscale) * f32::from(sc), 0.0, 32, 31);
    }
    for i in 0..64 {
        let at = i / 32 * 128 + i % 32;
        let [a, b, c, d] = [q[at], q[at + 32], q[at + 64], q[at + 96]];
        let low = i / 32 * 64 + i % 32;
        (out[low], out[low + 32]) = (a & 15 | c << 4, b & 15 | d << 4);
        out[128 + i] = a >> 4 | b >> 4 << 2 | c >> 4 << 4 | d >> 4 << 6;
    }
}

/// The scale of 32 numbers under the table: around what the number farthest from 0 asks for, the one with the least error.
pub(super) fn fit_table(x: &[f32; 32], w: &[f32; 32]) -> f32 {
    let far = farthest(x);
    if far.abs() < NOTHING {
        return 0.0;
    }
    let sums = |id: f32| {
        x.iter().zip(w).fold((0.0f32, 0.0f32), |(qx, q2), (v, w)| {
            let q = f32::from(VALUES[nearest(id * v)]);
            (qx + w * q * v, q2 + w * q * q)
        })
    };
    let lowest = f32::from(VALUES[0]);
    let (qx, q2) = sums(1.0 / (-far / lowest));
    let mut d = if q2 > 0.0 { qx / q2 } else { 0.0 };
    let mut best = d * qx;
    for i in -7..=7 {
        let (qx, q2) = sums((i as f32 + lowest) / far);
        if q2 > 0.0 && qx * qx > best * q2 {
            d = qx / q2;
            best = d * qx;
        }
    }
    d
}
