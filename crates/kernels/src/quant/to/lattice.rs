//! The code books of the IQ types as points of a lattice, each with its level per dimension: which point a group of levels is, or which ones are near.
use std::sync::LazyLock;

/// `plain/grids.py` says what is in it: a point's levels as 2 or 3 bits, element 0 lowest.
static PACKED: &[u8; 2 * 4608] = include_bytes!("../plain/grids.bin");

/// A code book of `D` levels per point.
pub(super) struct Lattice<const D: usize> {
    pub points: Vec<[u8; D]>,
    /// By the levels as bits: the point's number, or where in `near` its neighbours begin.
    places: Vec<Place>,
    /// Numbers of points, nearest first.
    near: Vec<u16>,
}

#[derive(Clone, Copy)]
enum Place {
    On(u16),
    Near { first: u32, n: u32 },
}

pub(super) static IQ2_XXS: LazyLock<Lattice<8>> = LazyLock::new(|| Lattice::new(0, 256, 3, 2));
pub(super) static IQ2_XS: LazyLock<Lattice<8>> = LazyLock::new(|| Lattice::new(256, 512, 3, 2));
pub(super) static IQ2_S: LazyLock<Lattice<8>> = LazyLock::new(|| Lattice::new(768, 1024, 3, 1));
pub(super) static IQ1: LazyLock<Lattice<8>> = LazyLock::new(|| Lattice::new(1792, 2048, 3, 3));
pub(super) static IQ3_XXS: LazyLock<Lattice<4>> = LazyLock::new(|| Lattice::new(3840, 256, 8, 2));
pub(super) static IQ3_S: LazyLock<Lattice<4>> = LazyLock::new(|| Lattice::new(4096, 512, 8, 3));

impl<const D: usize> Lattice<D> {
    const BITS: usize = 16 / D - (D == 4) as usize;

    /// Entries `first..first + n` of the file; levels are below `levels`; neighbours are those at the `distances` smallest distances.
    fn new(first: usize, n: usize, levels: u8, distances: usize) -> Self {
        let code = |i: usize| u16::from_le_bytes([PACKED[2 * i], PACKED[2 * i + 1]]);
        let points: Vec<[u8; D]> = (first..first + n).map(|i| Self::levels(code(i).into())).collect();
        let (mut places, mut near) = (vec![Place::Near { first: 0, n: 0 }; 1 << (Self::BITS * D)], Vec::new());
        for (i, p) in points.iter().enumerate() {
            places[Self::code(p)] = Place::On(i as u16);
        }
        for (code, place) in places.iter_mut().enumerate() {
            let at = Self::levels(code);
            if matches!(place, Place::Near { .. }) && at.iter().all(|l| *l < levels) {
                let first = near.len();
                put_nearest(&points, &at, distances, &mut near);
                *place = Place::Near { first: first as u32, n: (near.len() - first) as u32 };
            }
        }
        Lattice { points, places, near }
    }
    fn levels(code: usize) -> [u8; D] {
        std::array::from_fn(|k| (code >> (Self::BITS * k)) as u8 & ((1 << Self::BITS) - 1))
    }
    fn code(levels: &[u8; D]) -> usize {
        levels.iter().enumerate().fold(0, |c, (k, l)| c | usize::from(*l) << (Self::BITS * k))
    }
    /// The point with these levels; or, where there is none, its neighbours.
    pub fn find(&self, levels: &[u8; D]) -> Result<u16, &[u16]> {
        match self.places[Self::code(levels)] {
            Place::On(i) => Ok(i),
            Place::Near { first, n } => Err(&self.near[first as usize..][..n as usize]),
        }
    }
    /// The one of `near` whose `values` (by level) times `scale` come closest to `x`.
    pub fn closest(&self, near: &[u16], values: &[f32], x: &[f32], w: &[f32], scale: f32) -> u16 {
        let (mut least, mut best) = (f32::MAX, near[0]);
        for i in near {
            let point = &self.points[usize::from(*i)];
            let mut d2 = 0.0;
            for k in 0..D {
                let diff = scale * values[usize::from(point[k])] - x[k];
                d2 += w[k] * diff * diff;
            }
            if d2 < least {
                (least, best) = (d2, *i);
            }
        }
        best
    }
}

/// Adds the points at the `distances` smallest distances from `at`, nearest first, then by number.
fn put_nearest<const D: usize>(points: &[[u8; D]], at: &[u8; D], distances: usize, near: &mut Vec<u16>) {
    let d2: Vec<u16> = points.iter().map(|p| (0..D).map(|k| u16::from(p[k].abs_diff(at[k])).pow(2)).sum()).collect();
    let mut least = None;
    for _ in 0..distances {
        let Some(next) = d2.iter().copied().filter(|d| least.is_none_or(|l| *d > l)).min() else { break };
        near.extend(d2.iter().enumerate().filter(|(_, d)| **d == next).map(|(i, _)| i as u16));
        least = Some(next);
    }
}
