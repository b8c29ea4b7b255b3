//! Steps that go row by row: norms, gated activations, residuals.
use super::exec::{CpuOp, Ctx};
use crate::backend::*;
use kernels::float::Table;
use platform::pool::{Stop, Worker};

pub struct Norm {
    pub x: T,
    pub add: Option<T>,
    pub w: Option<WeightId>,
    pub b: Option<WeightId>,
    pub kind: NormKind,
    pub eps: f32,
    pub sum: Option<T>,
    pub out: T,
    pub rows: Dim,
    pub t: &'static Table,
}

impl Norm {
    pub fn row(&self, c: &Ctx<'_>, w: &Worker<'_>, i: usize) {
        let mut x = c.arena.row(self.x, i);
        if let (Some(add), Some(sum)) = (self.add, self.sum) {
            let s = c.arena.row_mut(w, sum, i);
            self.t.add(x, c.arena.row(add, i), s);
            x = s;
        }
        let out = c.arena.row_mut(w, self.out, i);
        c.note(Class::Activations, x.as_ptr().cast(), 4 * x.len());
        terms::norm(self.t, self.kind, x, self.w.map(|w| c.floats(w)), self.b.map(|b| c.floats(b)), self.eps, out);
    }
}

impl CpuOp for Norm {
    fn run(&self, c: &Ctx<'_>, w: &Worker<'_>) -> std::result::Result<(), Stop> {
        w.share(c.n_rows(self.rows), 1).for_each(|i| self.row(c, w, i));
        Ok(())
    }
}

pub struct Glu {
    pub gate: T,
    pub up: T,
    pub act: Act,
    pub out: T,
    pub rows: Dim,
    pub t: &'static Table,
}

/// Columns a worker takes at a time: 64-byte lines, whole blocks of every input format, and enough to be worth a call.
pub const COLS: usize = 256;

impl Glu {
    pub fn cols(&self, c: &Ctx<'_>, w: &Worker<'_>, i: usize, cols: std::ops::Range<usize>) {
        let (gate, up) = (&c.arena.row(self.gate, i)[cols.clone()], &c.arena.row(self.up, i)[cols.clone()]);
        terms::glu(self.t, self.act, gate, up, c.arena.cols_mut(w, self.out, i, cols));
    }
}

impl CpuOp for Glu {
    fn run(&self, c: &Ctx<'_>, w: &Worker<'_>) -> std::result::Result<(), Stop> {
        let (n, width) = (c.n_rows(self.rows), c.arena.width(self.out));
        let per_row = width.div_ceil(COLS);
        for piece in w.share(n * per_row, 1) {
            let (i, at) = (piece / per_row, piece % per_row * COLS);
            self.cols(c, w, i, at..(at + COLS).min(width));
        }
        Ok(())
    }
}

pub struct Map {
    pub x: T,
    pub y: Option<T>,
    pub f: MapFn,
    pub out: T,
    pub rows: Dim,
    pub t: &'static Table,
}

impl CpuOp for Map {
    fn run(&self, c: &Ctx<'_>, w: &Worker<'_>) -> std::result::Result<(), Stop> {
        for i in w.share(c.n_rows(self.rows), 1) {
            let (x, out) = (c.arena.row(self.x, i), c.arena.row_mut(w, self.out, i));
            if let (MapFn::Add, Some(y)) = (self.f, self.y) {
                self.t.add(x, c.arena.row(y, i), out);
                continue;
            }
            out.copy_from_slice(x);
            if terms::passes(self.f, i) {
                continue;
            }
            let y = terms::weight_of(self.f).map(|w| c.floats(w)).or(self.y.map(|y| c.arena.row(y, i)));
            terms::map_row(self.t, self.f, out, y, terms::pos_of(c.io, self.rows, i));
        }
        Ok(())
    }
}

pub struct Gather {
    pub parts: Vec<Cols>,
    pub n: u32,
    pub out: T,
    pub rows: Dim,
}

impl CpuOp for Gather {
    fn run(&self, c: &Ctx<'_>, w: &Worker<'_>) -> std::result::Result<(), Stop> {
        for i in w.share(c.n_rows(self.rows), 1) {
            let mut out = c.arena.row_mut(w, self.out, i);
            for at in 0..self.n {
                for p in &self.parts {
                    let (here, rest) = out.split_at_mut(p.len as usize);
                    here.copy_from_slice(&c.arena.row(p.x, i)[(p.first + at * p.step) as usize..][..p.len as usize]);
                    out = rest;
                }
            }
        }
        Ok(())
    }
}

pub struct Mix {
    pub x: T,
    pub coef: T,
    pub width: usize,
    pub out: T,
    pub rows: Dim,
    pub t: &'static Table,
}

impl CpuOp for Mix {
    fn run(&self, c: &Ctx<'_>, w: &Worker<'_>) -> std::result::Result<(), Stop> {
        for i in w.share(c.n_rows(self.rows), 1) {
            terms::mix(self.t, c.arena.row(self.x, i), c.arena.row(self.coef, i), self.width, c.arena.row_mut(w, self.out, i));
        }
        Ok(())
    }
}
