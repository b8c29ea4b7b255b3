//! What adapters add beside the matrices of experts: narrow rows made in the same sweeps, then added to the wide ones before anybody reads those.
use super::elementwise::COLS;
use super::exec::{Ctx, Lower};
use super::experts::{Place, Room};
use super::linear::Mat;
use crate::backend::*;
use kernels::float::Table;
use kernels::quant::Act;
use platform::pool::Worker;
use platform::{Error, Result};
use std::ops::Range;

/// One of an adapter's narrow matrices, what it reads and what it makes: rows of (token, rank) pairs, ordered by expert.
pub struct Narrow {
    pub a: Mat,
    pub x: Place,
    pub z: Place,
}

struct Wide {
    z: Place,
    rank: usize,
    b: WeightId,
    first: usize,
    scale: f32,
}

#[derive(Default)]
pub struct Lows {
    /// Beside gate and up, and beside down.
    pub narrow: [Vec<Narrow>; 2],
    /// Inputs in formats that only these want.
    pub inputs: [Vec<(Act, Place)>; 2],
    /// Beside gate, up, down.
    wide: [Vec<Wide>; 3],
}

/// `b` is [n_expert][rank][..] and has the columns that are wanted.
fn fits(l: &Lower<'_>, low: &LowRank, rows: usize, n_expert: u32) -> Result<()> {
    let (a, b) = (&l.bound.weights[low.a.0 as usize], &l.bound.weights[low.b.0 as usize]);
    let wide =
        b.ty == DType::F32 && b.shape[1..] == [low.rank.saturating_mul(n_expert), 1] && low.first as usize + rows <= b.shape[0] as usize;
    if wide && a.shape[1..] == [low.rank, n_expert] {
        return Ok(());
    }
    Err(Error::invalid(format!("{}: shape does not fit the plan", b.name)))
}

impl Lows {
    /// `known`: where inputs of formats are already, for gate and up, and for down.
    pub fn lower(
        l: &mut Lower<'_>,
        lows: &[Vec<LowRank>; 3],
        mats: &[Mat; 3],
        known: [Vec<(Act, Place)>; 2],
        room: &mut Room,
    ) -> Result<Lows> {
        let mut made = Lows::default();
        let mut narrow_ids: [Vec<WeightId>; 2] = Default::default();
        for (m, low) in lows.iter().enumerate().flat_map(|(m, list)| list.iter().map(move |low| (m, low))) {
            let (side, mat) = (m / 2, &mats[m]);
            fits(l, low, mat.rows, l.bound.weights[mat.w.0 as usize].shape[2])?;
            let at = narrow_ids[side].iter().position(|a| *a == low.a);
            if at.is_none() {
                let whole = ExpertMat { w: low.a, first: 0, rows: low.rank, scale: None, bias: None };
                let a = Mat::lower_expert(l, whole, mat.out)?;
                if a.k != mat.k {
                    return Err(Error::invalid(format!("{}: shape does not fit the plan", l.bound.weights[low.a.0 as usize].name)));
                }
                let x = made.input(side, &a, &known[side], room);
                let z = room.take(low.rank as usize * 4, false);
                l.needs.scratch(a.scratch(l.bound, room.rows));
                made.narrow[side].push(Narrow { a, x, z });
                narrow_ids[side].push(low.a);
            }
            let z = made.narrow[side][at.unwrap_or(narrow_ids[side].len() - 1)].z;
            made.wide[m].push(Wide { z, rank: low.rank as usize, b: low.b, first: low.first as usize, scale: low.scale });
        }
        Ok(made)
    }

    fn input(&mut self, side: usize, a: &Mat, known: &[(Act, Place)], room: &mut Room) -> Place {
        if let Some((_, at)) = known.iter().chain(&self.inputs[side]).find(|(act, _)| *act == a.act) {
            return *at;
        }
        let at = room.take(a.act.row_bytes(a.k), true);
        self.inputs[side].push((a.act, at));
        at
    }

    pub fn beside(&self, mats: Range<usize>) -> bool {
        self.wide[mats].iter().any(|w| !w.is_empty())
    }

    /// Adds to columns `cols` of a row of matrix `m`, which is expert `e`'s; `z` gives the row's narrow values.
    pub fn add<'a>(&self, c: &Ctx<'_>, t: &Table, (m, e): (usize, usize), z: impl Fn(Place, usize) -> &'a [f32], y: &mut [f32], at: usize) {
        for w in &self.wide[m] {
            let (b, one) = (c.floats(w.b), w.rank * c.weight(w.b).shape[0] as usize);
            terms::add_low(t, &mut [y], &[z(w.z, w.rank)], &b[e * one..(e + 1) * one], w.first + at, w.scale);
        }
    }
}

/// The worker's pieces of `rows` rows of `width`: row and columns.
pub fn pieces(w: &Worker<'_>, rows: usize, width: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    let per_row = width.div_ceil(COLS);
    w.share(rows * per_row, 1).map(move |i| {
        let at = i % per_row * COLS;
        (i / per_row, at..(at + COLS).min(width))
    })
}
