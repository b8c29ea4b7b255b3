//! `AddLow`: what adapters add to products. Cut by columns, all tokens of a piece one after the other, so that what they share stays in the cache.
use super::exec::{CpuOp, Ctx, Lower};
use crate::backend::*;
use kernels::float::{self, Table};
use platform::pool::{Stop, Worker};
use platform::{Error, Result};

pub struct AddLow {
    deltas: Vec<Delta>,
    rows: Vec<Dim>,
    t: &'static Table,
}

/// Columns a worker takes at a time: those that are summed on the stack.
const COLS: usize = terms::LOW_COLS;

/// Whether `b` is [rank][..] for `z` and has the columns that `out` wants.
fn fits(l: &Lower<'_>, out: T, p: &Low) -> Result<()> {
    let (b, z, width) = (&l.bound.weights[p.b.0 as usize], l.plan.value(p.z).width, l.plan.value(out).width);
    let fits = b.ty == DType::F32 && b.shape[1] == z && z > 0 && p.first.checked_add(width).is_some_and(|end| end <= b.shape[0]);
    if fits { Ok(()) } else { Err(Error::invalid(format!("{}: shape does not fit the plan", b.name))) }
}

impl AddLow {
    pub fn lower(l: &Lower<'_>, deltas: Vec<Delta>) -> Result<AddLow> {
        deltas.iter().try_for_each(|d| d.parts.iter().try_for_each(|p| fits(l, d.out, p)))?;
        let rows = deltas.iter().map(|d| l.rows(d.out)).collect();
        Ok(AddLow { deltas, rows, t: float::table(l.isa) })
    }

    fn cols(&self, c: &Ctx<'_>, w: &Worker<'_>, d: &Delta, i: usize, cols: std::ops::Range<usize>) {
        let by = d.by.map_or(1.0, |s| c.floats(s)[0]);
        let y = c.arena.cols_mut(w, d.out, i, cols.clone());
        for p in &d.parts {
            terms::add_low(self.t, y, c.arena.row(p.z, i), c.floats(p.b), p.first as usize + cols.start, p.scale * by);
        }
    }
}

impl CpuOp for AddLow {
    fn run(&self, c: &Ctx<'_>, w: &Worker<'_>) -> std::result::Result<(), Stop> {
        let pieces: Vec<usize> =
            self.deltas.iter().zip(&self.rows).map(|(d, rows)| c.arena.width(d.out).div_ceil(COLS) * c.n_rows(*rows)).collect();
        for mut piece in w.share(pieces.iter().sum(), 1) {
            for ((d, rows), n) in self.deltas.iter().zip(&self.rows).zip(&pieces) {
                if piece < *n {
                    let (at, i) = (piece / c.n_rows(*rows) * COLS, piece % c.n_rows(*rows));
                    self.cols(c, w, d, i, at..(at + COLS).min(c.arena.width(d.out)));
                    break;
                }
                piece -= n;
            }
        }
        Ok(())
    }
    fn bytes(&self, c: &Ctx<'_>) -> u64 {
        self.deltas.iter().flat_map(|d| &d.parts).map(|p| c.weight(p.b).bytes() as u64).sum()
    }
}
