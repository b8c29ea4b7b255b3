//! IQ1_S and IQ1_M: -1, 0 and 1, all moved up or down by an eighth. Sorted numbers are cut into three runs in the best of all ways; then the groups of
//! eight become points of the lattice.
use super::lattice::{IQ1, Lattice};
use super::search::{round, wide};
use super::{sum_of_squares, weigh};
use crate::Isa;
use crate::quant::to_blocks::put_f16;

const UP: [f32; 3] = [-0.875, 0.125, 1.125];
const DOWN: [f32; 3] = [-1.125, -0.125, 0.875];

/// The places of the numbers in ascending order; equals as they stand.
fn sorted<const B: usize>(x: &[f32; B]) -> [usize; B] {
    let mut order = std::array::from_fn(|i| i);
    order.sort_by(|a: &usize, b: &usize| x[*a].partial_cmp(&x[*b]).unwrap_or(std::cmp::Ordering::Equal));
    order
}

fn amax(x: &[f32]) -> f32 {
    x.iter().fold(x[0].abs(), |m, v| if m > v.abs() { m } else { v.abs() })
}

/// The best so far: a scale, its score, where the runs end, and which way they were moved.
struct Cut {
    scale: f32,
    score: f32,
    ends: Option<(usize, usize)>,
    way: usize,
}

impl Cut {
    fn try_one(&mut self, qx: f32, q2: f32, ends: (usize, usize), way: usize) {
        if q2 > 0.0 && qx * qx > self.score * q2 {
            self.scale = qx / q2;
            self.score = self.scale * qx;
            (self.ends, self.way) = (Some(ends), way);
        }
    }
    /// Levels in the places of the numbers.
    fn levels<const B: usize>(&self, order: &[usize; B], (first, second): (usize, usize)) -> [u8; B] {
        let mut levels = [0; B];
        for (j, i) in order.iter().enumerate() {
            let level = u8::from(j >= first) + u8::from(j >= second);
            levels[*i] = if self.scale < 0.0 { 2 - level } else { level };
        }
        levels
    }
}

/// Points of a sub-block, and the scale anew where a group was no point; `values` of a group by its number.
fn place<const B: usize>(
    l: &Lattice<8>,
    x: &[f32; B],
    w: &[f32; B],
    levels: &[u8; B],
    scale: &mut f32,
    values: impl Fn(usize) -> &'static [f32; 3],
) -> [u16; 4] {
    let (mut points, mut moved) = ([0; 4], false);
    for (k, levels) in levels.as_chunks::<8>().0.iter().enumerate() {
        points[k] = l.find(levels).unwrap_or_else(|near| {
            moved = true;
            l.closest(near, values(k), &x[8 * k..], &w[8 * k..], *scale)
        });
    }
    if moved {
        let (mut qx, mut q2) = (0.0f32, 0.0f32);
        for i in 0..B {
            let q = values(i / 8)[usize::from(l.points[usize::from(points[i / 8])][i % 8])];
            qx += w[i] * q * x[i];
            q2 += w[i] * q * q;
        }
        if qx > 0.0 && q2 > 0.0 {
            *scale = qx / q2;
        }
    }
    points
}

/// A scale in eight steps of `2 d`, from `d` on.
fn step(scale: f32, d: f32) -> i32 {
    round(0.5 * (1.0 / d * scale - 1.0)).clamp(0, 7)
}

/// Which way a sub-block of IQ1_S is moved.
const WAYS: [&[f32; 3]; 2] = [&UP, &DOWN];

fn best_cut(x: &[f32; 32], w: &[f32; 32], order: &[usize; 32]) -> Cut {
    let (mut sx, mut sw) = ([0.0f32; 33], [0.0f32; 33]);
    for (j, i) in order.iter().enumerate() {
        sx[j + 1] = sx[j] + w[*i] * x[*i];
        sw[j + 1] = sw[j] + w[*i];
    }
    let mut best = Cut { scale: amax(x), score: -f32::MAX, ends: None, way: 0 };
    for first in 0..=32 {
        for second in first..=32 {
            for (way, v) in WAYS.iter().enumerate() {
                let qx = (sx[first] - sx[0]) * v[0] + (sx[second] - sx[first]) * v[1] + (sx[32] - sx[second]) * v[2];
                let q2 = (sw[first] - sw[0]) * v[0] * v[0] + (sw[second] - sw[first]) * v[1] * v[1] + (sw[32] - sw[second]) * v[2] * v[2];
                best.try_one(qx, q2, (first, second), way);
            }
        }
    }
    best
}

pub(super) fn iq1_s(x: &[f32; 256], importance: Option<&[f32; 256]>, out: &mut [u8; 50]) {
    let sigma2 = 2.0 * sum_of_squares(x) / 256.0;
    let (mut scales, mut ways, mut largest) = ([0.0f32; 8], [0; 8], 0.0f32);
    out.fill(0);
    let Some(importance) = importance else { return };
    for (j, (x, importance)) in x.as_chunks::<32>().0.iter().zip(importance.as_chunks::<32>().0).enumerate() {
        let w = weigh(x, importance, sigma2);
        if amax(x) < 1e-12 {
            continue;
        }
        let order = sorted(x);
        let best = best_cut(x, &w, &order);
        let Some(ends) = best.ends else { continue };
        let levels = best.levels(&order, ends);
        ways[j] = if best.scale < 0.0 { 1 - best.way } else { best.way };
        scales[j] = best.scale.abs();
        let points = place(&IQ1, x, &w, &levels, &mut scales[j], |_| WAYS[ways[j]]);
        let high = (0..4).fold(0, |h, k| h | points[k] >> 8 << (3 * k));
        points.iter().zip(&mut out[2 + 4 * j..]).for_each(|(p, out)| *out = *p as u8);
        out[34 + 2 * j..][..2].copy_from_slice(&high.to_le_bytes());
        largest = if largest > scales[j] { largest } else { scales[j] };
    }
    if largest == 0.0 {
        return;
    }
    let d = largest / 15.0;
    put_f16(out, d * 1.125);
    for j in 0..8 {
        out[35 + 2 * j] |= (step(scales[j], d) as u8 | (ways[j] as u8) << 3) << 4;
    }
}

/// Which way the halves of a sub-block of IQ1_M are moved, by the number of the choice.
fn way(choice: usize, half: usize) -> &'static [f32; 3] {
    WAYS[choice >> (1 - half) & 1]
}

/// Places where runs may end, 0 to 16, in whole vectors.
const PLACES: usize = 24;

/// Sums of each half's numbers before a place.
type Sums = [[f32; PLACES]; 2];

/// Sums of eight cuts by choice, `[4][8]`: the first run ends at `first`, the second at `at` and after. Products, and values squared.
#[inline(always)]
fn eight_cuts(px: &Sums, pw: &Sums, first: usize, at: usize) -> [[[f32; 8]; 4]; 2] {
    let (mut halves, mut all) = ([[[[0.0f32; 8]; 2]; 2]; 2], [[[0.0f32; 8]; 4]; 2]);
    for h in 0..2 {
        for (way, v) in WAYS.iter().enumerate() {
            let (c1, c2) = (v[0] * v[0] - v[1] * v[1], v[1] * v[1] - v[2] * v[2]);
            // A run that ends later counts one more for each of its numbers.
            for l in 0..8 {
                halves[0][h][way][l] = px[h][16] * v[2] - (px[h][first] + px[h][at + l]);
                halves[1][h][way][l] = pw[h][16] * v[2] * v[2] + pw[h][first] * c1 + pw[h][at + l] * c2;
            }
        }
    }
    for (all, halves) in all.iter_mut().zip(&halves) {
        for (choice, sums) in all.iter_mut().enumerate() {
            for l in 0..8 {
                sums[l] = halves[0][choice >> 1][l] + halves[1][choice & 1][l];
            }
        }
    }
    all
}

/// Whether any of eight cuts is better than `score`.
#[inline(always)]
fn is_any_better([qx, q2]: &[[[f32; 8]; 4]; 2], score: f32) -> bool {
    let mut any = false;
    for (qx, q2) in qx.iter().flatten().zip(q2.iter().flatten()) {
        any |= (*q2 > 0.0) & (qx * qx > score * q2);
    }
    any
}

#[inline(always)]
fn best_of_sums(px: &Sums, pw: &Sums, scale: f32) -> Cut {
    let mut best = Cut { scale, score: -f32::MAX, ends: None, way: 0 };
    for first in 0..=16 {
        for at in (first / 8 * 8..=16).step_by(8) {
            let sums = eight_cuts(px, pw, first, at);
            if !is_any_better(&sums, best.score) {
                continue;
            }
            for second in at.max(first)..(at + 8).min(17) {
                for (choice, (x, w)) in sums[0].iter().zip(&sums[1]).enumerate() {
                    best.try_one(x[second - at], w[second - at], (first, second), choice);
                }
            }
        }
    }
    best
}

wide!(best_of_sums_in_eights, best_of_sums, [], [px: &Sums, pw: &Sums, scale: f32], Cut);

fn best_cut_of_halves(x: &[f32; 16], w: &[f32; 16], order: &[usize; 16]) -> Cut {
    let (mut px, mut pw) = ([[0.0f32; PLACES]; 2], [[0.0f32; PLACES]; 2]);
    for (j, &i) in order.iter().enumerate() {
        let (h, other) = (i / 8, 1 - i / 8);
        px[h][j + 1] = px[h][j] + w[i] * x[i];
        px[other][j + 1] = px[other][j];
        pw[h][j + 1] = pw[h][j] + w[i];
        pw[other][j + 1] = pw[other][j];
    }
    best_of_sums_in_eights(&px, &pw, amax(x))
}

pub(super) fn iq1_m(x: &[f32; 256], importance: Option<&[f32; 256]>, out: &mut [u8; 56]) {
    let sigma2 = 2.0 * sum_of_squares(x) / 256.0;
    let x = x.as_chunks::<16>().0;
    let weights = |j: usize| match importance {
        Some(w) => weigh(&x[j], &w.as_chunks::<16>().0[j], sigma2),
        None => x[j].map(|v| v * v),
    };
    let (mut scales, mut choices, mut points, mut largest) = ([0.0f32; 16], [0; 16], [[0; 4]; 16], 0.0f32);
    for (j, x) in x.iter().enumerate() {
        if amax(x) < 1e-7 {
            continue;
        }
        let (w, order) = (weights(j), sorted(x));
        let best = best_cut_of_halves(x, &w, &order);
        let Some(ends) = best.ends else { continue };
        let levels = best.levels(&order, ends);
        choices[j] = if best.scale < 0.0 { 3 - best.way } else { best.way };
        scales[j] = best.scale.abs();
        points[j] = place(&IQ1, x, &w, &levels, &mut scales[j], |k| way(choices[j], k));
        largest = if largest > scales[j] { largest } else { scales[j] };
    }
    out.fill(0);
    for (j, p) in points.iter().enumerate() {
        (out[2 * j], out[2 * j + 1]) = (p[0] as u8, p[1] as u8);
        out[32 + j] = (p[0] >> 8) as u8 | ((p[1] >> 8) as u8) << 4;
    }
    if largest > 0.0 {
        put_scales(x, weights, &scales, &choices, &points, largest / 15.0, out);
    }
}

/// Three bits of scale per sub-block, the way of each half, and the scale of all, which is fitted once more.
fn put_scales(
    x: &[[f32; 16]],
    weights: impl Fn(usize) -> [f32; 16],
    scales: &[f32; 16],
    choices: &[usize; 16],
    points: &[[u16; 4]; 16],
    d: f32,
    out: &mut [u8; 56],
) {
    let (mut sc, mut qx, mut q2) = ([0u16; 4], 0.0f32, 0.0f32);
    for j in 0..16 {
        let (l, w) = (step(scales[j], d), weights(j));
        sc[j / 4] |= (l as u16) << (3 * (j % 4));
        out[32 + j] |= [0, 0x80, 0x08, 0x88][choices[j]];
        for i in 0..16 {
            let level = IQ1.points[usize::from(points[j][i / 8])][i % 8];
            let q = way(choices[j], i / 8)[usize::from(level)] * (2 * l + 1) as f32;
            qx += w[i] * q * x[j][i];
            q2 += w[i] * q * q;
        }
    }
    let d = if q2 > 0.0 { qx / q2 } else { d };
    let bits = half::f16::from_f32(d * 1.1125).to_bits();
    for (k, sc) in sc.iter().enumerate() {
        out[48 + 2 * k..][..2].copy_from_slice(&(sc | (bits >> (4 * k) & 15) << 12).to_le_bytes());
    }
}
