//! The searches for scales, for `L` sub-blocks side by side: a lane is a sub-block, whose sums run in the original's order. No operation is fused and
//! none changes places, so that every level of the CPU and every `L` finds the same bits.
#![allow(clippy::needless_range_loop, reason = "lanes of several arrays walk together; this is the form that becomes vectors")]
use crate::Isa;
use crate::quant::iq4_xs::VALUES;
use core::array::from_fn;

/// Numbers below this count as none.
pub(in crate::quant) const NOTHING: f32 = 1e-15;

/// To the nearest integer, halves to even, as far as 2^22.
#[inline(always)]
pub(in crate::quant) fn round(v: f32) -> i32 {
    ((v + 12_582_912.0).to_bits() & 0x007f_ffff) as i32 - 0x0040_0000
}

/// How a scale and a min are searched.
#[derive(Clone, Copy)]
pub(in crate::quant) struct Search {
    /// The largest level.
    pub top: i32,
    /// Ranges of `top + from + step * i` levels are tried, `i` up to `steps`.
    pub from: f32,
    pub step: f32,
    pub steps: i32,
    /// Errors count as they are, not squared.
    pub absolute: bool,
}

/// Element `i` of sub-block `l` is `[i][l]`.
type Lanes<const N: usize, const L: usize> = [[f32; L]; N];

#[inline(always)]
fn level(iscale: f32, v: f32, low: i32, high: i32) -> i32 {
    let q = round(iscale * v);
    let q = if q > low { q } else { low };
    if q < high { q } else { high }
}

/// Weighted errors of levels from `min` in steps of `1 / iscale`, seen as `scale * level + at`.
#[inline(always)]
fn errors<const N: usize, const L: usize, const ABSOLUTE: bool>(
    x: &Lanes<N, L>,
    w: &Lanes<N, L>,
    s: &Search,
    (iscale, min): (&[f32; L], &[f32; L]),
    (scale, at): (&[f32; L], &[f32; L]),
) -> [f32; L] {
    let mut sum = [0.0f32; L];
    for (x, w) in x.iter().zip(w) {
        let q = levels(iscale, x, min, s.top);
        let e: [f32; L] = from_fn(|l| scale[l] * q[l] + at[l] - x[l]);
        let e: [f32; L] = from_fn(|l| if ABSOLUTE { e[l].abs() } else { e[l] * e[l] });
        sum = from_fn(|l| sum[l] + w[l] * e[l]);
    }
    sum
}

/// Levels from `min` in steps of `1 / iscale`.
#[inline(always)]
fn levels<const L: usize>(iscale: &[f32; L], x: &[f32; L], min: &[f32; L], top: i32) -> [f32; L] {
    from_fn(|l| level(iscale[l], x[l] - min[l], 0, top) as f32)
}

/// Weighted sums of levels, of their squares, and of their products with the numbers.
#[inline(always)]
fn moments<const N: usize, const L: usize>(x: &Lanes<N, L>, w: &Lanes<N, L>, iscale: &[f32; L], min: &[f32; L], top: i32) -> [[f32; L]; 3] {
    let (mut sl, mut sl2, mut sxl) = ([0.0f32; L], [0.0f32; L], [0.0f32; L]);
    for (x, w) in x.iter().zip(w) {
        let q = levels(iscale, x, min, top);
        let wq: [f32; L] = from_fn(|l| w[l] * q[l]);
        sl = from_fn(|l| sl[l] + wq[l]);
        sl2 = from_fn(|l| sl2[l] + wq[l] * q[l]);
        sxl = from_fn(|l| sxl[l] + wq[l] * x[l]);
    }
    [sl, sl2, sxl]
}

#[inline(always)]
fn either<const L: usize>(first: &[bool; L], a: &[f32; L], b: &[f32; L]) -> [f32; L] {
    from_fn(|l| if first[l] { a[l] } else { b[l] })
}

/// Scale, min (what is taken away) and levels that fit `x` best, errors weighed by `w`.
#[inline(always)]
fn with_min<const N: usize, const L: usize, const ABSOLUTE: bool>(
    x: &Lanes<N, L>,
    w: &Lanes<N, L>,
    s: &Search,
) -> ([f32; L], [f32; L], [[u8; L]; N]) {
    let (mut min, mut max, mut sum_w) = (x[0], x[0], w[0]);
    let mut sum_x: [f32; L] = from_fn(|l| w[0][l] * x[0][l]);
    for i in 1..N {
        for l in 0..L {
            min[l] = if x[i][l] < min[l] { x[i][l] } else { min[l] };
            max[l] = if x[i][l] > max[l] { x[i][l] } else { max[l] };
            sum_w[l] += w[i][l];
            sum_x[l] += w[i][l] * x[i][l];
        }
    }
    let lowest: [f32; L] = min.map(|m| if m > 0.0 { 0.0 } else { m });
    // The levels of the best so far are those of `found` from `from`; where they lie is another matter.
    let (mut min, mut from) = (lowest, lowest);
    let mut found: [f32; L] = from_fn(|l| s.top as f32 / (max[l] - min[l]));
    let mut scale = found.map(|v| 1.0 / v);
    let mut least = errors::<N, L, ABSOLUTE>(x, w, s, (&found, &min), (&scale, &min));
    for step in 0..=s.steps {
        let range = s.from + s.step * step as f32 + s.top as f32;
        let iscale: [f32; L] = from_fn(|l| range / (max[l] - min[l]));
        let [sl, sl2, sxl] = moments(x, w, &iscale, &min, s.top);
        let det: [f32; L] = from_fn(|l| sum_w[l] * sl2[l] - sl[l] * sl[l]);
        let (mut new, mut at) = ([0.0; L], [0.0; L]);
        for l in 0..L {
            new[l] = (sum_w[l] * sxl[l] - sum_x[l] * sl[l]) / det[l];
            at[l] = (sl2[l] * sum_x[l] - sl[l] * sxl[l]) / det[l];
            new[l] = if at[l] > 0.0 { sxl[l] / sl2[l] } else { new[l] };
            at[l] = if at[l] > 0.0 { 0.0 } else { at[l] };
        }
        let e = errors::<N, L, ABSOLUTE>(x, w, s, (&iscale, &min), (&new, &at));
        let better: [bool; L] = from_fn(|l| (det[l] > 0.0) & (e[l] < least[l]));
        least = either(&better, &e, &least);
        scale = either(&better, &new, &scale);
        found = either(&better, &iscale, &found);
        from = either(&better, &min, &from);
        min = either(&better, &at, &min);
    }
    let flat: [bool; L] = from_fn(|l| max[l] == lowest[l]);
    let q = from_fn(|i| from_fn(|l| if flat[l] { 0 } else { level(found[l], x[i][l] - from[l], 0, s.top) as u8 }));
    (from_fn(|l| if flat[l] { 0.0 } else { scale[l] }), from_fn(|l| if flat[l] { -lowest[l] } else { -min[l] }), q)
}

/// Per lane the first of the numbers that are largest without their sign.
#[inline(always)]
fn farthest<const N: usize, const L: usize>(x: &Lanes<N, L>) -> [f32; L] {
    let mut far = [0.0f32; L];
    for x in x {
        for l in 0..L {
            far[l] = if far[l].abs() < x[l].abs() { x[l] } else { far[l] };
        }
    }
    far
}

/// Weighted products of numbers and values, and of values.
#[inline(always)]
fn sums<const N: usize, const L: usize>(
    x: &Lanes<N, L>,
    w: &Lanes<N, L>,
    iscale: &[f32; L],
    value: impl Fn(f32) -> f32,
) -> ([f32; L], [f32; L]) {
    let (mut lx, mut l2) = ([0.0f32; L], [0.0f32; L]);
    for i in 0..N {
        for l in 0..L {
            let q = value(iscale[l] * x[i][l]);
            lx[l] += w[i][l] * q * x[i][l];
            l2[l] += w[i][l] * q * q;
        }
    }
    (lx, l2)
}

/// The same with products in the other order: `w x q`.
#[inline(always)]
fn sums_of_levels<const N: usize, const L: usize>(x: &Lanes<N, L>, w: &Lanes<N, L>, iscale: &[f32; L], top: i32) -> ([f32; L], [f32; L]) {
    let (mut lx, mut l2) = ([0.0f32; L], [0.0f32; L]);
    for i in 0..N {
        for l in 0..L {
            let q = level(iscale[l], x[i][l], -top, top - 1) as f32;
            lx[l] += w[i][l] * x[i][l] * q;
            l2[l] += w[i][l] * q * q;
        }
    }
    (lx, l2)
}

/// A scale for levels of `-top` to `top - 1`, and the levels, `top` too large: around what the number farthest from 0 asks for, the one with the least
/// error. (Where all numbers are 0 so are the levels, as they are stored.)
#[inline(always)]
fn signed<const N: usize, const L: usize>(x: &Lanes<N, L>, w: &Lanes<N, L>, top: i32) -> ([f32; L], [[u8; L]; N]) {
    let far = farthest(x);
    let mut found = far.map(|f| -top as f32 / f);
    let (lx, l2) = sums_of_levels(x, w, &found, top);
    let mut scale: [f32; L] = from_fn(|l| if l2[l] != 0.0 { lx[l] / l2[l] } else { 0.0 });
    let mut best: [f32; L] = from_fn(|l| scale[l] * lx[l]);
    for step in -9..=9 {
        if step == 0 {
            continue;
        }
        let iscale = far.map(|f| -(top as f32 + 0.1 * step as f32) / f);
        let (lx, l2) = sums_of_levels(x, w, &iscale, top);
        for l in 0..L {
            let better = (l2[l] > 0.0) & (lx[l] * lx[l] > best[l] * l2[l]);
            scale[l] = if better { lx[l] / l2[l] } else { scale[l] };
            best[l] = if better { scale[l] * lx[l] } else { best[l] };
            found[l] = if better { iscale[l] } else { found[l] };
        }
    }
    let none = far.map(|f| f.abs() < NOTHING);
    let q = from_fn(|i| from_fn(|l| if none[l] { 0 } else { (level(found[l], x[i][l], -top, top - 1) + top) as u8 }));
    (from_fn(|l| if none[l] { 0.0 } else { scale[l] }), q)
}

/// Halfway between neighbours of the table. (A number as far from the one as from the other goes up: the differences are exact there.)
const HALFWAY: [f32; 15] = {
    let (mut out, mut i) = ([0.0; 15], 0);
    while i < 15 {
        out[i] = (VALUES[i] as i32 + VALUES[i + 1] as i32) as f32 / 2.0;
        i += 1;
    }
    out
};

/// The value of the table nearest to `v`.
#[inline(always)]
fn nearest_value(v: f32) -> f32 {
    let mut q = VALUES[0] as f32;
    for i in 0..15 {
        q += if v >= HALFWAY[i] { (VALUES[i + 1] as i32 - VALUES[i] as i32) as f32 } else { 0.0 };
    }
    q
}

/// The scale of 32 numbers under the table: around what the number farthest from 0 asks for, the one with the least error.
#[inline(always)]
fn table<const L: usize>(x: &Lanes<32, L>, w: &Lanes<32, L>) -> [f32; L] {
    let (far, lowest) = (farthest(x), VALUES[0] as f32);
    let (qx, q2) = sums(x, w, &far.map(|f| 1.0 / (-f / lowest)), nearest_value);
    let mut d: [f32; L] = from_fn(|l| if q2[l] > 0.0 { qx[l] / q2[l] } else { 0.0 });
    let mut best: [f32; L] = from_fn(|l| d[l] * qx[l]);
    for step in -7..=7 {
        let (qx, q2) = sums(x, w, &far.map(|f| (step as f32 + lowest) / f), nearest_value);
        for l in 0..L {
            let better = (q2[l] > 0.0) & (qx[l] * qx[l] > best[l] * q2[l]);
            d[l] = if better { qx[l] / q2[l] } else { d[l] };
            best[l] = if better { d[l] * qx[l] } else { best[l] };
        }
    }
    from_fn(|l| if far[l].abs() < NOTHING { 0.0 } else { d[l] })
}

/// A function of lanes, compiled a second time for 256-bit vectors.
macro_rules! wide {
    ($name:ident, $plain:expr, [$($generic:tt)*], [$($arg:ident: $ty:ty),*], $result:ty) => {
        fn $name<$($generic)*>($($arg: $ty),*) -> $result {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn avx2<$($generic)*>($($arg: $ty),*) -> $result {
                    ($plain)($($arg),*)
                }
                if Isa::detect() >= Isa::Avx2 {
                    // SAFETY: this CPU has it.
                    return unsafe { avx2($($arg),*) };
                }
            }
            ($plain)($($arg),*)
        }
    };
}

pub(in crate::quant) use wide;

wide!(with_min_squared, with_min::<N, 8, false>, [const N: usize], [x: &Lanes<N, 8>, w: &Lanes<N, 8>, s: &Search], ([f32; 8], [f32; 8], [[u8; 8]; N]));
wide!(with_min_absolute, with_min::<N, 8, true>, [const N: usize], [x: &Lanes<N, 8>, w: &Lanes<N, 8>, s: &Search], ([f32; 8], [f32; 8], [[u8; 8]; N]));
wide!(signed_wide, signed, [const N: usize], [x: &Lanes<N, 8>, w: &Lanes<N, 8>, top: i32], ([f32; 8], [[u8; 8]; N]));
wide!(table_wide, table, [], [x: &Lanes<32, 8>, w: &Lanes<32, 8>], [f32; 8]);

/// Sub-blocks `8 g ..` of 256 numbers, side by side.
fn across<const N: usize>(x: &[f32; 256], g: usize) -> Lanes<N, 8> {
    from_fn(|i| from_fn(|l| x[(8 * g + l) * N + i]))
}

fn put_levels<const N: usize>(q: &[[u8; 8]; N], g: usize, out: &mut [u8; 256]) {
    for (i, q) in q.iter().enumerate() {
        q.iter().enumerate().for_each(|(l, q)| out[(8 * g + l) * N + i] = *q);
    }
}

/// Scales, mins and levels of the sub-blocks of `N` of 256 numbers; there are `SUBS`.
pub(in crate::quant) fn all_with_min<const N: usize, const SUBS: usize>(
    x: &[f32; 256],
    w: &[f32; 256],
    s: &Search,
) -> ([f32; SUBS], [f32; SUBS], [u8; 256]) {
    const { assert!(N * SUBS == 256 && SUBS.is_multiple_of(8)) };
    let (mut scales, mut mins, mut levels) = ([0.0; SUBS], [0.0; SUBS], [0; 256]);
    for g in 0..SUBS / 8 {
        let fit = if s.absolute { with_min_absolute::<N> } else { with_min_squared::<N> };
        let (scale, min, q) = fit(&across(x, g), &across(w, g), s);
        scales[8 * g..][..8].copy_from_slice(&scale);
        mins[8 * g..][..8].copy_from_slice(&min);
        put_levels(&q, g, &mut levels);
    }
    (scales, mins, levels)
}

/// Scales and levels of the 16 sub-blocks of 16 of 256 numbers.
pub(in crate::quant) fn all_signed(x: &[f32; 256], w: &[f32; 256], top: i32) -> ([f32; 16], [u8; 256]) {
    let (mut scales, mut levels) = ([0.0; 16], [0; 256]);
    for g in 0..2 {
        let (scale, q) = signed_wide::<16>(&across(x, g), &across(w, g), top);
        scales[8 * g..][..8].copy_from_slice(&scale);
        put_levels(&q, g, &mut levels);
    }
    (scales, levels)
}

/// Scales of the 8 sub-blocks of 32 of 256 numbers, under the table.
pub(in crate::quant) fn all_under_table(x: &[f32; 256], w: &[f32; 256]) -> [f32; 8] {
    table_wide(&across(x, 0), &across(w, 0))
}

/// One sub-block; errors are squared.
pub(in crate::quant) fn fit_with_min<const N: usize>(x: &[f32; N], w: &[f32; N], s: &Search) -> (f32, f32, [u8; N]) {
    let ([scale], [min], q) = with_min::<N, 1, false>(&x.map(|v| [v]), &w.map(|v| [v]), s);
    (scale, min, q.map(|[q]| q))
}

pub(in crate::quant) fn fit_signed<const N: usize>(x: &[f32; N], w: &[f32; N], top: i32) -> (f32, [u8; N]) {
    let ([scale], q) = signed(&x.map(|v| [v]), &w.map(|v| [v]), top);
    (scale, q.map(|[q]| q))
}

pub(in crate::quant) fn fit_table(x: &[f32; 32], w: &[f32; 32]) -> f32 {
    let [d] = table(&x.map(|v| [v]), &w.map(|v| [v]));
    d
}
