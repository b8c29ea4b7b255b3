//! What adapters add to values: beside products right after them, by the worker that made those columns, else as a step of its own (`AddLow`).
//! Rows of a value go in tiles, so that a matrix passes by once for many of them. Knows no product.
use super::exec::{CpuOp, Ctx, Lower};
use crate::backend::*;
use kernels::float::{self, Table};
use platform::pool::{Stop, Worker};
use platform::{Error, Result};
use std::ops::Range;

pub struct Lows {
    deltas: Vec<Delta>,
    t: &'static Table,
}

/// Columns and rows of a piece.
const COLS: usize = 256;
const ROWS: usize = 24;

/// Whether `b` is [rank][..] for `z` and has the columns that `out` wants.
fn fits(l: &Lower<'_>, out: T, p: &Low) -> Result<()> {
    let (b, z, width) = (&l.bound.weights[p.b.0 as usize], l.plan.value(p.z).width, l.plan.value(out).width);
    let fits = b.ty == DType::F32 && b.shape[1] == z && z > 0 && p.first.checked_add(width).is_some_and(|end| end <= b.shape[0]);
    if fits { Ok(()) } else { Err(Error::invalid(format!("{}: shape does not fit the plan", b.name))) }
}

impl Lows {
    pub fn lower(l: &Lower<'_>, deltas: &[Delta]) -> Result<Lows> {
        deltas.iter().try_for_each(|d| d.parts.iter().try_for_each(|p| fits(l, d.out, p)))?;
        Ok(Lows { deltas: deltas.to_vec(), t: float::table(l.isa) })
    }

    /// Adds to columns `cols` of rows `rows` of `out`, where there is anything to be added.
    pub fn add(&self, c: &Ctx<'_>, w: &Worker<'_>, out: T, rows: Range<usize>, cols: Range<usize>) {
        for d in self.deltas.iter().filter(|d| d.out == out) {
            rows.clone().step_by(ROWS).for_each(|i| self.tile(c, w, d, i..(i + ROWS).min(rows.end), cols.clone()));
        }
    }

    pub fn bytes(&self, c: &Ctx<'_>) -> u64 {
        self.deltas.iter().flat_map(|d| &d.parts).map(|p| c.weight(p.b).bytes() as u64).sum()
    }

    /// At most `ROWS` rows.
    fn tile(&self, c: &Ctx<'_>, w: &Worker<'_>, d: &Delta, rows: Range<usize>, cols: Range<usize>) {
        let (n, by) = (rows.len(), d.by.map_or(1.0, |s| c.floats(s)[0]));
        for p in &d.parts {
            let (mut y, mut z): ([&mut [f32]; ROWS], [&[f32]; ROWS]) = Default::default();
            for ((y, z), i) in y.iter_mut().zip(&mut z).zip(rows.clone()) {
                (*y, *z) = (c.arena.cols_mut(w, d.out, i, cols.clone()), c.arena.row(p.z, i));
            }
            terms::add_low(self.t, &mut y[..n], &z[..n], c.floats(p.b), p.first as usize + cols.start, p.scale * by);
        }
    }
}

pub struct AddLow {
    lows: Lows,
    rows: Vec<Dim>,
}

impl AddLow {
    pub fn lower(l: &Lower<'_>, deltas: &[Delta]) -> Result<AddLow> {
        Ok(AddLow { lows: Lows::lower(l, deltas)?, rows: deltas.iter().map(|d| l.rows(d.out)).collect() })
    }
}

impl CpuOp for AddLow {
    fn run(&self, c: &Ctx<'_>, w: &Worker<'_>) -> std::result::Result<(), Stop> {
        for (d, rows) in self.lows.deltas.iter().zip(&self.rows) {
            let (n, width) = (c.n_rows(*rows), c.arena.width(d.out));
            let per_row = width.div_ceil(COLS);
            for piece in w.share(n.div_ceil(ROWS) * per_row, 1) {
                let (i, at) = (piece / per_row * ROWS, piece % per_row * COLS);
                self.lows.tile(c, w, d, i..(i + ROWS).min(n), at..(at + COLS).min(width));
            }
        }
        Ok(())
    }
    fn bytes(&self, c: &Ctx<'_>) -> u64 {
        self.lows.bytes(c)
    }
}
