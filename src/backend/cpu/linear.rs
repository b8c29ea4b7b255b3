//! `Linear`: one input, several matrices. The input is brought to each weight type's activation format once, then workers take
//! pieces of output rows. A row's bits do not depend on who takes it or how many tokens there are (contract 1).
use super::exec::{CpuOp, Ctx, Lower};
use crate::backend::*;
use kernels::quant::{self, Act, MatArgs, MatMul};
use platform::pool::{Stop, Worker};
use platform::{Error, Result};
use std::ops::Range;

/// A matrix ready to be multiplied.
pub struct Mat {
    pub w: WeightId,
    pub bias: Option<WeightId>,
    pub scale: Option<WeightId>,
    pub scale_after_bias: bool,
    pub out: T,
    pub rows: usize,
    pub k: usize,
    pub row_bytes: usize,
    pub act: Act,
    pub run: MatMul,
}

impl Mat {
    pub fn lower(l: &Lower<'_>, p: &Proj) -> Result<Mat> {
        let Proj { w, bias, scale, scale_after_bias, out } = *p;
        let weight = &l.bound.weights[w.0 as usize];
        let no = || Error::unsupported(format!("{}: no kernel for type {}", weight.name, weight.ty.name()));
        let act = quant::act_of(weight.ty).ok_or_else(no)?;
        let run = quant::table(l.isa).mat_mul(weight.ty).ok_or_else(no)?;
        if weight.shards.iter().any(|s| s.buf.host().is_none()) {
            return Err(Error::invalid(format!("{}: not in host memory", weight.name)));
        }
        let [k, rows, _] = weight.shape.map(|d| d as usize);
        Ok(Mat { w, bias, scale, scale_after_bias, out, rows, k, row_bytes: weight.row_bytes(), act, run })
    }

    /// Scratch a worker needs to multiply `n_tokens` rows.
    pub fn scratch(&self, bound: &Bound, n_tokens: usize) -> usize {
        quant::scratch_bytes(bound.weights[self.w.0 as usize].ty, self.k, n_tokens)
    }
}

/// Inputs in one activation format: where they lie and how far apart.
#[derive(Clone, Copy)]
pub struct Acts {
    pub base: *const u8,
    pub stride: usize,
}

/// Brings rows `range` of `x` (an f32 value) to format `act` at `dst`.
pub fn to_act(c: &Ctx<'_>, act: Act, x: T, range: Range<usize>, dst: *mut u8, stride: usize) {
    let f = quant::table(c.isa).quantize_act(act);
    for i in range {
        let row = c.arena.row(x, i);
        // SAFETY: `dst` holds `stride` bytes per row of the step (sized at lowering); rows are disjoint between workers.
        unsafe { f(row.as_ptr(), row.len(), dst.add(i * stride)) };
    }
}

pub struct Linear {
    x: T,
    rows: Dim,
    mats: Vec<Mat>,
    /// Formats other than f32 that some matrix wants, with the offset of their rows in the shared scratch.
    acts: Vec<(Act, usize, usize)>,
    queue: usize,
}

/// Rows of a piece: small enough that workers end together, large enough that taking one costs nothing. Multiples of the kernels' granule.
fn piece_rows(total: usize, workers: usize, n_tokens: usize) -> usize {
    // Decode: 8 pieces per worker; prefill pieces carry more work each, and at most 64 rows keep a weight panel in the cache.
    let want = total.div_ceil(workers * 8).max(quant::ROW_GRANULE);
    let most = if n_tokens > 1 { 64 } else { 512 };
    want.min(most).next_multiple_of(quant::ROW_GRANULE)
}

impl Linear {
    pub fn lower(l: &mut Lower<'_>, x: T, outs: &[Proj]) -> Result<Linear> {
        let (plan, bound, limits) = (l.plan, l.bound, l.limits);
        let rows = plan.value(x).rows;
        let mats = outs.iter().map(|p| Mat::lower(l, p)).collect::<Result<Vec<_>>>()?;
        let n = limits.tokens.max(limits.outputs);
        let mut acts: Vec<(Act, usize, usize)> = Vec::new();
        let mut at = 0;
        for m in &mats {
            if m.k != plan.value(x).width as usize || m.rows != plan.value(m.out).width as usize {
                return Err(Error::invalid(format!("{}: shape does not fit the plan", bound.weights[m.w.0 as usize].name)));
            }
            if m.act != Act::F32 && !acts.iter().any(|a| a.0 == m.act) {
                let stride = m.act.row_bytes(m.k).next_multiple_of(64);
                acts.push((m.act, at, stride));
                at += stride * n;
            }
            l.needs.scratch(m.scratch(bound, n), at);
        }
        l.needs.scratch(0, at);
        Ok(Linear { x, rows, mats, acts, queue: l.needs.queue() })
    }

    fn input(&self, c: &Ctx<'_>, act: Act) -> Acts {
        match self.acts.iter().find(|a| a.0 == act) {
            // SAFETY: the offset lies in the shared scratch, sized at lowering.
            Some((_, at, stride)) => Acts { base: unsafe { c.scratch.shared().0.add(*at) }, stride: *stride },
            None => {
                let (base, width) = c.arena.base(self.x);
                Acts { base: base.cast(), stride: width * 4 }
            }
        }
    }

    fn prepare(&self, c: &Ctx<'_>, w: &Worker<'_>, n: usize) -> std::result::Result<(), Stop> {
        if self.acts.is_empty() {
            return Ok(());
        }
        for (act, at, stride) in &self.acts {
            // SAFETY: as in `input`.
            to_act(c, *act, self.x, w.share(n, 1), unsafe { c.scratch.shared().0.add(*at) }, *stride);
        }
        w.sync()
    }
}

/// Where results go: a value's first float, floats per row.
pub struct Out {
    pub y: *mut f32,
    pub stride: usize,
}

/// Multiplies rows `range` of `m`'s matrix number `expert` with `n` inputs; scale and bias included.
#[allow(clippy::too_many_arguments, reason = "a matrix product has that many sides")]
pub fn multiply(c: &Ctx<'_>, w: &Worker<'_>, m: &Mat, expert: usize, x: Acts, n: usize, range: Range<usize>, out: Out) {
    let Out { y, stride: y_stride } = out;
    let args = MatArgs {
        // SAFETY: rows of `range` lie inside the weight, which is a stack of matrices of `rows` rows.
        w: unsafe { c.weight_ptr(m.w).add((expert * m.rows + range.start) * m.row_bytes) },
        w_stride: m.row_bytes,
        k: m.k,
        n_rows: range.len(),
        x: x.base,
        x_stride: x.stride,
        n_tokens: n,
        // SAFETY: columns of `range` lie inside each output row.
        y: unsafe { y.add(range.start) },
        y_stride,
        scratch: c.scratch.mine(w).0,
    };
    // SAFETY: picked by ISA level; every pointer covers its rows (above), and this worker alone writes these columns.
    unsafe { (m.run)(&args) };
    let scale = m.scale.map_or(1.0, |s| c.floats(s)[expert]);
    if m.bias.is_none() && scale == 1.0 {
        return;
    }
    let bias = m.bias.map(|b| &c.floats(b)[range.clone()]);
    let (before, after) = if m.scale_after_bias { (1.0, scale) } else { (scale, 1.0) };
    for t in 0..n {
        // SAFETY: same columns as written above.
        let row = unsafe { std::slice::from_raw_parts_mut(y.add(t * y_stride + range.start), range.len()) };
        for (i, y) in row.iter_mut().enumerate() {
            *y = (*y * before + bias.map_or(0.0, |b| b[i])) * after;
        }
    }
}

impl CpuOp for Linear {
    fn run(&self, c: &Ctx<'_>, w: &Worker<'_>) -> std::result::Result<(), Stop> {
        let n = c.n_rows(self.rows);
        self.prepare(c, w, n)?;
        if n == 0 {
            return Ok(());
        }
        let pieces: Vec<(usize, usize)> =
            self.mats.iter().map(|m| piece_rows(m.rows, w.n as usize, n)).zip(&self.mats).map(|(p, m)| (p, m.rows.div_ceil(p))).collect();
        let total = pieces.iter().map(|p| p.1).sum();
        while let Some(mut i) = c.queues[self.queue].take(total) {
            for (m, (rows, count)) in self.mats.iter().zip(&pieces) {
                if i < *count {
                    let range = i * rows..((i + 1) * rows).min(m.rows);
                    let (y, stride) = c.arena.base(m.out);
                    multiply(c, w, m, 0, self.input(c, m.act), n, range, Out { y, stride });
                    break;
                }
                i -= count;
            }
        }
        Ok(())
    }
    fn bytes(&self, _: &Ctx<'_>) -> u64 {
        self.mats.iter().map(|m| (m.row_bytes * m.rows) as u64).sum()
    }
}
