//! Floats to the K types, bit-identical to the original's reference quantisers (those without an importance matrix), and the searches they share with `to`.
//! Every float operation stands in the original's order: the search for scales compares errors that differ in their last bits.
use super::to::search::{NOTHING, Search, all_signed, all_with_min, round};
use super::to_blocks::{farthest, inverse, put_f16};

/// `v` cut to f16.
pub(super) fn cut(v: f32) -> f32 {
    half::f16::from_f32(v).to_f32()
}

/// Cuts 256 numbers into sub-blocks of `N`.
pub(super) fn subs<const N: usize>(x: &[f32; 256]) -> &[[f32; N]] {
    x.as_chunks().0
}

/// Four two-bit levels to a byte, as Q2_K and Q3_K have them.
#[inline(always)]
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
    let (scales, mins, mut q) = all_with_min::<16, 16>(x, &x.map(f32::abs), &search);
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
    let mut w = [0.0; 256];
    for (x, w) in subs::<32>(x).iter().zip(w.as_chunks_mut::<32>().0) {
        let average = (x.iter().fold(0.0f32, |s, v| s + v * v) / 32.0).sqrt();
        *w = x.map(|v| average + v.abs());
    }
    let (scales, mins, mut q) = all_with_min::<32, 8>(x, &w, search);
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

pub(super) fn q6_k(x: &[f32; 256], out: &mut [u8; 210]) {
    put_q6_k(x, &x.map(|v| v * v), out);
}

/// Numbers count as `w` says.
pub(super) fn put_q6_k(x: &[f32; 256], w: &[f32; 256], out: &mut [u8; 210]) {
    out.fill(0);
    let (scales, mut q) = all_signed(x, w, 32);
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
