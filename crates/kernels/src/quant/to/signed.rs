//! IQ2 and IQ3: signs, and sizes that are points of a lattice, under a scale per sub-block. Scales around the one that fits the largest number are tried.
use super::lattice::{self, Lattice};
use super::search::round;
use super::weighted::fit_unsigned;
use super::{sum_of_squares, weigh};
use crate::quant::to_blocks::put_f16;

/// The values of the levels.
const ODD: [f32; 8] = [1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0];

/// How a type's sub-blocks are fitted.
struct Kind {
    levels: i32,
    /// Numbers below this count as none.
    nothing: f32,
    /// Seven of eight signs are stored, the eighth makes their number even.
    even: bool,
    /// Tried are `2 levels - 1 + step i` as the value of the largest number, `i` up to `steps` either way.
    steps: i32,
    step: f32,
    /// Once the scale is found, all groups are placed anew, not only those that were moved to a neighbour.
    all_anew: bool,
}

/// A sub-block of `B` numbers: the scale, a point per group, signs per 8.
#[derive(Clone, Copy)]
struct Fitted<const B: usize> {
    scale: f32,
    points: [u16; 8],
    signs: [u8; 4],
}

impl<const B: usize> Fitted<B> {
    const NONE: Self = Fitted { scale: 0.0, points: [0; 8], signs: [0; 4] };
}

/// Sizes and signs; with `even`, the number that costs least gets the wrong sign where their count is odd.
fn split_signs<const B: usize>(x: &[f32; B], w: &[f32; B], even: bool) -> ([f32; B], [u8; 4]) {
    let (mut sizes, mut signs) = (*x, [0u8; 4]);
    for (k, signs) in signs.iter_mut().enumerate().take(B / 8) {
        for i in 8 * k..8 * k + 8 {
            // Not `< 0`: -0 is no negative number, and a nan is.
            let negative = !matches!(x[i].partial_cmp(&0.0), Some(std::cmp::Ordering::Greater | std::cmp::Ordering::Equal));
            if negative {
                sizes[i] = -x[i];
                *signs |= 1 << (i % 8);
            }
        }
        if even {
            if signs.count_ones() % 2 == 1 {
                let cost = |i: usize| w[i] * x[i] * x[i];
                let least = (8 * k..8 * k + 8).reduce(|a, i| if cost(i) < cost(a) { i } else { a }).unwrap_or(8 * k);
                sizes[least] = -sizes[least];
                *signs ^= 1 << (least % 8);
            }
            *signs &= 127;
        }
    }
    (sizes, signs)
}

/// Points for the numbers at `scale` (`id` is its inverse), and which groups were no point themselves. `only`: groups that are placed, the rest stays.
fn place<const B: usize, const D: usize>(
    l: &Lattice<D>,
    levels: i32,
    f: &Numbers<B>,
    id: f32,
    scale: f32,
    only: u8,
    points: &mut [u16; 8],
) -> u8 {
    let mut moved = 0;
    for k in (0..B / D).filter(|k| only >> k & 1 == 1) {
        let at: [u8; D] = std::array::from_fn(|i| round(0.5 * (id * f.sizes[D * k + i] - 1.0)).clamp(0, levels - 1) as u8);
        points[k] = l.find(&at).unwrap_or_else(|near| {
            moved |= 1 << k;
            l.closest(near, &ODD, &f.sizes[D * k..], &f.root[D * k..], scale)
        });
    }
    moved
}

struct Numbers<const B: usize> {
    sizes: [f32; B],
    w: [f32; B],
    /// Of the weights.
    root: [f32; B],
}

/// Weighted products of numbers and values, and of values.
fn sums<const B: usize, const D: usize>(l: &Lattice<D>, f: &Numbers<B>, points: &[u16; 8]) -> (f32, f32) {
    let (mut qx, mut q2) = (0.0f32, 0.0f32);
    for i in 0..B {
        let q = ODD[usize::from(l.points[usize::from(points[i / D])][i % D])];
        qx += f.w[i] * f.sizes[i] * q;
        q2 += f.w[i] * q * q;
    }
    (qx, q2)
}

fn max(x: &[f32]) -> f32 {
    x.iter().fold(x[0], |m, v| if m > *v { m } else { *v })
}

/// Every group.
const ALL: u8 = 255;

fn fit<const B: usize, const D: usize>(l: &Lattice<D>, kind: &Kind, x: &[f32; B], w: [f32; B]) -> Fitted<B> {
    let (sizes, signs) = split_signs(x, &w, kind.even);
    let f = Numbers { sizes, w, root: w.map(f32::sqrt) };
    let max = max(&f.sizes);
    if max < kind.nothing || max == 0.0 {
        return Fitted::NONE;
    }
    let top = (2 * kind.levels - 1) as f32;
    let (mut scale, mut best, mut points) = (max / top, 0.0, [0; 8]);
    let mut moved = if kind.all_anew { ALL } else { 0 };
    for i in -kind.steps..=kind.steps {
        let id = (top + i as f32 * kind.step) / max;
        let mut tried = [0; 8];
        let aside = place(l, kind.levels, &f, id, 1.0 / id, ALL, &mut tried);
        let (qx, q2) = sums(l, &f, &tried);
        if q2 > 0.0 && qx * qx > best * q2 {
            scale = qx / q2;
            best = scale * qx;
            (points, moved) = (tried, aside);
        }
    }
    if moved != 0 && scale > 0.0 {
        place(l, kind.levels, &f, 1.0 / scale, scale, if kind.all_anew { ALL } else { moved }, &mut points);
        let (qx, q2) = sums(l, &f, &points);
        scale = if q2 > 0.0 { qx / q2 } else { scale };
    }
    positive(scale, points, signs, kind.even)
}

/// A scale has no sign of its own.
fn positive<const B: usize>(scale: f32, points: [u16; 8], signs: [u8; 4], even: bool) -> Fitted<B> {
    let signs = if scale < 0.0 { signs.map(|s| !s & if even { 127 } else { 255 }) } else { signs };
    Fitted { scale: scale.abs(), points, signs }
}

/// IQ2_XXS begins with the scale of the levels by themselves.
fn fit_first(l: &Lattice<8>, x: &[f32; 32], w: [f32; 32]) -> Fitted<32> {
    let (sizes, signs) = split_signs(x, &w, true);
    let f = Numbers { sizes, w, root: w.map(f32::sqrt) };
    if max(&f.sizes) < 1e-15 {
        return Fitted::NONE;
    }
    let (mut scale, _) = fit_unsigned(4, &f.sizes, &f.w);
    let largest = scale * 3.0;
    if largest <= 0.0 {
        return Fitted::NONE;
    }
    let (mut best, mut points) = (0.0, [0; 8]);
    for i in -6..=6 {
        let id = (5.0 + i as f32 * 0.1) / largest;
        let mut tried = [0; 8];
        place(l, 3, &f, id, 1.0 / id, ALL, &mut tried);
        let (qx, q2) = sums(l, &f, &tried);
        if q2 > 0.0 && qx * qx > best * q2 {
            scale = qx / q2;
            best = scale * qx;
            points = tried;
        }
    }
    if scale > 0.0 {
        place(l, 3, &f, 1.0 / scale, scale, ALL, &mut points);
        let (qx, q2) = sums(l, &f, &points);
        scale = if q2 > 0.0 { qx / q2 } else { scale };
    }
    positive(scale, points, signs, true)
}

/// The sub-blocks of 256 numbers, and the largest scale.
fn subs<const B: usize>(
    x: &[f32; 256],
    importance: Option<&[f32; 256]>,
    without: impl Fn(&[f32; B]) -> [f32; B],
    sigma2: f32,
    fit: impl Fn(&[f32; B], [f32; B]) -> Fitted<B>,
) -> ([Fitted<B>; 16], f32) {
    let mut subs = [Fitted::NONE; 16];
    let mut largest = 0.0f32;
    for (j, (x, sub)) in x.as_chunks::<B>().0.iter().zip(&mut subs).enumerate() {
        let importance = importance.and_then(|w| w.as_chunks::<B>().0.get(j));
        let w = importance.map_or_else(|| without(x), |w| weigh(x, w, sigma2));
        *sub = fit(x, w);
        largest = if largest > sub.scale { largest } else { sub.scale };
    }
    (subs, largest)
}

/// A scale in sixteen steps of `2 d`, from `d` on.
fn step(scale: f32, d: f32) -> u8 {
    round(0.5 * (1.0 / d * scale - 1.0)).clamp(0, 15) as u8
}

fn squares<const B: usize>(x: &[f32; B]) -> [f32; B] {
    x.map(|v| v * v)
}

pub(super) fn iq2_xxs(x: &[f32; 256], importance: Option<&[f32; 256]>, out: &mut [u8; 66]) {
    let (subs, largest) = subs::<32>(x, importance, squares, sum_of_squares(x) / 256.0, |x, w| fit_first(&lattice::IQ2_XXS, x, w));
    out.fill(0);
    if largest == 0.0 {
        return;
    }
    let d = largest / 31.0;
    put_f16(out, d);
    for (sub, out) in subs.iter().zip(out[2..].as_chunks_mut::<8>().0) {
        let points = (0..4).fold(0, |q, k| q | u32::from(sub.points[k]) << (8 * k));
        out[..4].copy_from_slice(&points.to_le_bytes());
        out[4..].copy_from_slice(&(seven_bits(&sub.signs) | u32::from(step(sub.scale, d)) << 28).to_le_bytes());
    }
}

fn seven_bits(signs: &[u8; 4]) -> u32 {
    signs.iter().rev().fold(0, |q, s| q << 7 | u32::from(*s))
}

pub(super) fn iq2_xs(x: &[f32; 256], importance: Option<&[f32; 256]>, out: &mut [u8; 74]) {
    const KIND: Kind = Kind { levels: 3, nothing: 1e-15, even: true, steps: 9, step: 0.1, all_anew: false };
    let (subs, largest) = subs::<16>(x, importance, squares, sum_of_squares(x) / 256.0, |x, w| fit(&lattice::IQ2_XS, &KIND, x, w));
    out.fill(0);
    if largest == 0.0 {
        return;
    }
    let d = largest / 31.0;
    put_f16(out, d);
    for (j, sub) in subs.iter().enumerate() {
        for k in 0..2 {
            let q = sub.points[k] | u16::from(sub.signs[k]) << 9;
            out[2 + 4 * j + 2 * k..][..2].copy_from_slice(&q.to_le_bytes());
        }
        out[66 + j / 2] |= step(sub.scale, d) << (4 * (j % 2));
    }
}

pub(super) fn iq2_s(x: &[f32; 256], importance: Option<&[f32; 256]>, out: &mut [u8; 82]) {
    const KIND: Kind = Kind { levels: 3, nothing: 1e-8, even: false, steps: 9, step: 0.1, all_anew: false };
    let sigma2 = 2.0 * sum_of_squares(x) / 256.0;
    let without = |x: &[f32; 16]| x.map(|v| 0.25 * sigma2 + v * v);
    let (subs, largest) = subs::<16>(x, importance, without, sigma2, |x, w| fit(&lattice::IQ2_S, &KIND, x, w));
    out.fill(0);
    let d = largest / 31.0;
    for (j, sub) in subs.iter().enumerate() {
        for k in 0..2 {
            let i = 2 * j + k;
            out[2 + i] = sub.points[k] as u8;
            out[34 + i] = sub.signs[k];
            out[66 + i / 4] |= ((sub.points[k] >> 8) as u8) << (2 * (i % 4));
        }
        out[74 + j / 2] |= if largest > 0.0 { step(sub.scale, d) << (4 * (j % 2)) } else { 0 };
    }
    // The factor makes up for what cutting to the lattice takes.
    put_f16(out, d * 0.9875);
}

pub(super) fn iq3_xxs(x: &[f32; 256], importance: Option<&[f32; 256]>, out: &mut [u8; 98]) {
    const KIND: Kind = Kind { levels: 8, nothing: 1e-8, even: true, steps: 15, step: 0.2, all_anew: false };
    let sigma2 = 2.0 * sum_of_squares(x) / 256.0;
    let (subs, largest) = subs::<32>(x, importance, squares, sigma2, |x, w| fit(&lattice::IQ3_XXS, &KIND, x, w));
    out.fill(0);
    if largest == 0.0 {
        return;
    }
    let d = largest / 31.0;
    put_f16(out, d * 1.0125);
    for (j, sub) in subs[..8].iter().enumerate() {
        sub.points.iter().zip(&mut out[2 + 8 * j..]).for_each(|(p, out)| *out = *p as u8);
        let q = seven_bits(&sub.signs) | u32::from(step(sub.scale, d)) << 28;
        out[66 + 4 * j..][..4].copy_from_slice(&q.to_le_bytes());
    }
}

pub(super) fn iq3_s(x: &[f32; 256], importance: Option<&[f32; 256]>, out: &mut [u8; 110]) {
    const KIND: Kind = Kind { levels: 8, nothing: 0.0, even: false, steps: 9, step: 0.2, all_anew: true };
    let sigma2 = 2.0 * sum_of_squares(x) / 256.0;
    let (subs, largest) = subs::<32>(x, importance, squares, sigma2, |x, w| fit(&lattice::IQ3_S, &KIND, x, w));
    out.fill(0);
    let d = largest / 31.0;
    for (j, sub) in subs[..8].iter().enumerate() {
        for (k, p) in sub.points.iter().enumerate() {
            out[2 + 8 * j + k] = *p as u8;
            out[66 + j] |= ((p >> 8) as u8) << k;
        }
        out[74 + 4 * j..][..4].copy_from_slice(&sub.signs);
        out[106 + j / 2] |= if largest > 0.0 { step(sub.scale, d) << (4 * (j % 2)) } else { 0 };
    }
    put_f16(out, d * 1.033);
}
