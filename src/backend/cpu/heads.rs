//! `Heads`: a stack of matrices, one for each part of a row. Inputs lie head by head, so that a matrix is read once for all tokens.
use super::exec::{CpuOp, Ctx, Lower};
use super::homes::Queue;
use super::linear::{Acts, Mat, Out, multiply};
use crate::backend::*;
use kernels::quant::{self, Act};
use platform::pool::{Stop, Worker};
use platform::{Error, Result};

pub struct Heads {
    x: T,
    out: T,
    rows: Dim,
    mat: Mat,
    n_head: usize,
    /// Bytes of an input row.
    stride: usize,
    queue: Queue,
}

/// Rows of a piece.
const PIECE: usize = 64;

impl Heads {
    pub fn lower(l: &mut Lower<'_>, x: T, w: WeightId, out: T) -> Result<Heads> {
        let mat = Mat::lower(l, &Proj::plain(w, out))?;
        let weight = &l.bound.weights[w.0 as usize];
        let n_head = weight.shape[2] as usize;
        if l.plan.value(x).width as usize != n_head * mat.k || l.plan.value(out).width as usize != n_head * mat.rows {
            return Err(Error::invalid(format!("{}: shape does not fit the plan", weight.name)));
        }
        let n = l.limits.tokens.max(l.limits.outputs);
        let stride = if mat.act == Act::F32 { 0 } else { mat.act.row_bytes(mat.k).next_multiple_of(64) };
        l.needs.scratch(mat.scratch(l.bound, n));
        l.needs.scratch_of_node(stride * n * n_head);
        Ok(Heads { x, out, rows: l.rows(x), mat, n_head, stride, queue: l.needs.queue() })
    }

    /// Head `h` of all `n` rows.
    fn input(&self, c: &Ctx<'_>, h: usize, n: usize) -> Acts {
        if self.stride == 0 {
            let (base, width) = c.arena.base(self.x);
            // SAFETY: the head lies inside a row.
            return Acts { base: unsafe { base.add(h * self.mat.k) }.cast(), stride: width * 4 };
        }
        // SAFETY: sized at lowering for all heads of all rows.
        Acts { base: unsafe { c.scratch.of_node(c).add(h * n * self.stride) }, stride: self.stride }
    }

    fn prepare(&self, c: &Ctx<'_>, w: &Worker<'_>, n: usize) -> std::result::Result<(), Stop> {
        if self.stride == 0 {
            return Ok(());
        }
        let (f, k) = (quant::table(c.isa).quantize_act(self.mat.act), self.mat.k);
        for item in c.mine(w, n * self.n_head) {
            let (i, h) = (item / self.n_head, item % self.n_head);
            let x = &c.arena.row(self.x, i)[h * k..(h + 1) * k];
            // SAFETY: a row of the node's scratch (sized at lowering), written by one worker.
            unsafe { f(x.as_ptr(), k, 0..k, c.scratch.of_node(c).add((h * n + i) * self.stride)) };
        }
        w.sync_node()
    }
}

impl CpuOp for Heads {
    fn run(&self, c: &Ctx<'_>, w: &Worker<'_>) -> std::result::Result<(), Stop> {
        let n = c.n_rows(self.rows);
        self.prepare(c, w, n)?;
        let per = |home: usize| self.mat.parts[home].len().div_ceil(PIECE);
        while let Some((home, i)) = c.take(w, self.queue, |home| if n == 0 { 0 } else { self.n_head * per(home) }) {
            let (h, part) = (i / per(home), &self.mat.parts[home]);
            let at = part.start + i % per(home) * PIECE;
            let (base, stride) = c.arena.base(self.out);
            // SAFETY: the head lies inside a row.
            let y = unsafe { base.add(h * self.mat.rows) };
            multiply(c, w, &self.mat, h, self.input(c, h, n), n, at..(at + PIECE).min(part.end), Out { y, stride });
        }
        Ok(())
    }
    fn bytes(&self, _: &Ctx<'_>) -> u64 {
        (self.mat.row_bytes * self.mat.rows * self.n_head) as u64
    }
}
