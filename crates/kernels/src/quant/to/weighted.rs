//! Q4_0 to Q5_1 and the K types where columns have an importance.
use super::search::{NOTHING, Search, all_signed, all_with_min, fit_signed, fit_with_min, round};
use super::{sum_of_squares, weigh};
use crate::DType;
use crate::quant::to_blocks::{put_f16, put_low_bits};
use crate::quant::to_k_blocks::{self as k, subs};

/// A row of a type whose quantiser asks for importance; `false`, and nothing written, for the others.
pub(super) fn row(ty: DType, x: &[f32], importance: &[f32], out: &mut [u8]) -> bool {
    match ty {
        DType::Q4_0 => thirty_twos(x, importance, out, |x, w, out: &mut [u8; 18]| {
            let (d, q) = fit_signed(x, w, 8);
            put_f16(out, d);
            put_low_bits(&q, &mut out[2..]);
        }),
        DType::Q5_0 => thirty_twos(x, importance, out, |x, w, out: &mut [u8; 22]| {
            let (d, q) = fit_signed(x, w, 16);
            put_f16(out, d);
            let top = put_low_bits(&q, &mut out[6..]);
            out[2..6].copy_from_slice(&top.to_le_bytes());
        }),
        DType::Q4_1 => thirty_twos(x, importance, out, |x, w, out: &mut [u8; 20]| {
            let q = with_min(x, w, 15, out);
            put_low_bits(&q, &mut out[4..]);
        }),
        DType::Q5_1 => thirty_twos(x, importance, out, |x, w, out: &mut [u8; 24]| {
            let q = with_min(x, w, 31, out);
            let top = put_low_bits(&q, &mut out[8..]);
            out[4..8].copy_from_slice(&top.to_le_bytes());
        }),
        DType::Q2_K => supers(x, importance, out, q2_k),
        DType::Q3_K => supers(x, importance, out, q3_k),
        DType::Q4_K => supers(x, importance, out, |x, w, out: &mut [u8; 144]| k::put_q4_k(&scales_and_levels(x, w, 15, out), out)),
        DType::Q5_K => supers(x, importance, out, |x, w, out: &mut [u8; 176]| k::put_q5_k(&scales_and_levels(x, w, 31, out), out)),
        DType::Q6_K => supers(x, importance, out, |x, w, out: &mut [u8; 210]| k::put_q6_k(x, w, out)),
        _ => return false,
    }
    true
}

fn supers<const BYTES: usize>(x: &[f32], importance: &[f32], out: &mut [u8], f: impl Fn(&[f32; 256], &[f32; 256], &mut [u8; BYTES])) {
    let blocks = x.as_chunks().0.iter().zip(importance.as_chunks().0);
    blocks.zip(out.as_chunks_mut().0).for_each(|((x, w), out)| f(x, w, out));
}

/// Blocks of 32: numbers are held against the whole row.
fn thirty_twos<const BYTES: usize>(x: &[f32], importance: &[f32], out: &mut [u8], f: impl Fn(&[f32; 32], &[f32; 32], &mut [u8; BYTES])) {
    let sigma2 = sum_of_squares(x) / x.len() as f32;
    let blocks = x.as_chunks().0.iter().zip(importance.as_chunks().0);
    blocks.zip(out.as_chunks_mut().0).for_each(|((x, w), out)| f(x, &weigh(x, w, sigma2), out));
}

/// Finer than without importance.
const fn search(top: i32) -> Search {
    Search { top, from: -0.9, step: 0.05, steps: 36, absolute: false }
}

fn with_min(x: &[f32; 32], w: &[f32; 32], top: i32, out: &mut [u8]) -> [u8; 32] {
    let (d, min, q) = fit_with_min(x, w, &search(top));
    put_f16(out, d);
    put_f16(&mut out[2..], -min);
    q
}

/// A scale and levels up to `top` for numbers that are not negative. (A negative one's level wraps, as in the original.)
pub(super) fn fit_unsigned<const N: usize>(top: i32, x: &[f32; N], w: &[f32; N]) -> (f32, [u8; N]) {
    let max = x.iter().fold(0.0f32, |m, v| if m > *v { m } else { *v });
    if max < NOTHING {
        return (0.0, [0; N]);
    }
    let mut iscale = top as f32 / max;
    let first = iscale;
    let mut least = error_of(x, w, 1.0 / first, |v| f32::from(round(first * v) as u8));
    for i in (-4..=4).filter(|i| *i != 0) {
        let tried = (0.1 * i as f32 + top as f32) / max;
        let e = error_of(x, w, 1.0 / tried, |v| round(tried * v).min(top) as f32);
        if e < least {
            (least, iscale) = (e, tried);
        }
    }
    let (mut q, mut lx, mut l2) = ([0; N], 0.0f32, 0.0f32);
    for i in 0..N {
        let l = round(iscale * x[i]).min(top);
        q[i] = l as u8;
        lx += w[i] * x[i] * l as f32;
        l2 += w[i] * l as f32 * l as f32;
    }
    for _ in 0..5 {
        if !move_levels(top, x, w, &mut q, &mut lx, &mut l2) {
            break;
        }
    }
    (if l2 > 0.0 { lx / l2 } else { 0.0 }, q)
}

fn error_of<const N: usize>(x: &[f32; N], w: &[f32; N], scale: f32, level: impl Fn(f32) -> f32) -> f32 {
    x.iter().zip(w).fold(0.0, |sum, (v, w)| {
        let diff = v - scale * level(*v);
        sum + w * diff * diff
    })
}

/// Moves each level to where it fits best beside the others; false: none moved.
fn move_levels<const N: usize>(top: i32, x: &[f32; N], w: &[f32; N], q: &mut [u8; N], lx: &mut f32, l2: &mut f32) -> bool {
    let mut changed = false;
    for i in 0..N {
        let (w, l) = (w[i], f32::from(q[i]));
        let (mut slx, mut sl2) = (*lx - w * x[i] * l, *l2 - w * l * l);
        if slx > 0.0 && sl2 > 0.0 {
            let new = round(x[i] * sl2 / slx).min(top);
            if new != i32::from(q[i]) {
                let l = new as f32;
                slx += w * x[i] * l;
                sl2 += w * l * l;
                if slx * slx * *l2 > *lx * *lx * sl2 {
                    (q[i], *lx, *l2, changed) = (new as u8, slx, sl2, true);
                }
            }
        }
    }
    changed
}

/// What the elements count, and the sub-blocks of `N`.
fn weights<const N: usize, const SUBS: usize>(x: &[f32; 256], importance: &[f32; 256], sigma2: f32) -> ([f32; 256], [f32; SUBS]) {
    let w = weigh(x, importance, sigma2);
    let mut counts = [0.0; SUBS];
    subs::<N>(&w).iter().zip(&mut counts).for_each(|(w, count)| *count = w.iter().fold(0.0, |s, w| s + w));
    (w, counts)
}

fn q2_k(x: &[f32; 256], importance: &[f32; 256], out: &mut [u8; 84]) {
    let (w, counts) = weights::<16, 16>(x, importance, sum_of_squares(x) / 256.0);
    let (scales, mins, mut q) = all_with_min::<16, 16>(x, &w, &search(3));
    let (d, sc) = fit_unsigned(15, &scales, &counts);
    let (dmin, m) = fit_unsigned(15, &mins, &counts);
    for j in 0..16 {
        out[j] = sc[j] | m[j] << 4;
        let (sc, m) = (out[j] & 15, out[j] >> 4);
        k::level(x, &mut q, 16, j, k::cut(d) * f32::from(sc), k::cut(dmin) * f32::from(m), 0, 3);
    }
    k::put_pairs(&q, &mut out[16..80]);
    put_f16(&mut out[80..], d);
    put_f16(&mut out[82..], dmin);
}

fn q3_k(x: &[f32; 256], importance: &[f32; 256], out: &mut [u8; 110]) {
    let (w, counts) = weights::<16, 16>(x, importance, 2.0 * sum_of_squares(x) / 256.0);
    let (scales, mut q) = all_signed(x, &w, 4);
    let (d, sc) = fit_signed(&scales, &counts, 32);
    k::put_q3_k(x, &mut q, d, &sc, out);
}

/// What Q4_K and Q5_K share: 16 bytes of scales, and the levels.
fn scales_and_levels(x: &[f32; 256], importance: &[f32; 256], top: i32, out: &mut [u8]) -> [u8; 256] {
    let (w, counts) = weights::<32, 8>(x, importance, 2.0 * sum_of_squares(x) / 256.0);
    let (scales, mins, mut q) = all_with_min::<32, 8>(x, &w, &search(top));
    let (d, sc) = fit_unsigned(63, &scales, &counts);
    let (dmin, m) = fit_unsigned(63, &mins, &counts);
    put_f16(out, d);
    put_f16(&mut out[2..], dmin);
    k::put_six_bits(&sc, &m, &mut out[4..16]);
    for j in 0..8 {
        k::level(x, &mut q, 32, j, k::cut(d) * f32::from(sc[j]), k::cut(dmin) * f32::from(m[j]), 0, top);
    }
    q
}
