//! `Linear`: one input, several matrices. The input is brought to each weight type's activation format once, then workers take
//! pieces of output rows. A row's bits do not depend on who takes it or how many tokens there are (contract 1).
use super::elementwise::{COLS, Glu, Norm};
use super::exec::{CpuOp, Ctx, Lower};
use super::homes::Queue;
use super::low::Lows;
use crate::backend::*;
use kernels::quant::{self, Act, MatArgs, MatMul};
use platform::numa::Nodes;
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
    /// Rows used of each matrix of the stack, the first of them, and all.
    pub rows: usize,
    pub first: usize,
    pub stack: usize,
    /// Of `0..rows`, those of each node.
    pub parts: Vec<Range<usize>>,
    pub k: usize,
    pub row_bytes: usize,
    pub act: Act,
    pub run: MatMul,
    /// For rows below `grouped`, which stand in groups.
    groups: Option<MatMul>,
    grouped: usize,
}

impl Mat {
    pub fn lower(l: &Lower<'_>, p: &Proj) -> Result<Mat> {
        let Proj { w, bias, scale, scale_after_bias, out } = *p;
        let weight = &l.bound.weights[w.0 as usize];
        let no = || Error::unsupported(format!("{}: no kernel for type {}", weight.name, weight.ty.name()));
        let act = quant::table(l.isa).act_of(weight.ty).ok_or_else(no)?;
        let run = quant::table(l.isa).mat_mul(weight.ty).ok_or_else(no)?;
        if weight.shards.iter().any(|s| s.buf.host().is_none()) {
            return Err(Error::invalid(format!("{}: not in host memory", weight.name)));
        }
        let [k, rows, _] = weight.shape.map(|d| d as usize);
        let groups = quant::table(l.isa).group_mul(weight.ty).filter(|_| weight.shards[0].layout == Layout::Groups);
        let grouped = if groups.is_some() { rows / quant::ROW_GRANULE * quant::ROW_GRANULE } else { 0 };
        let (row_bytes, parts) = (weight.row_bytes(), parts(l.nodes, weight, 0..rows));
        Ok(Mat { w, bias, scale, scale_after_bias, out, rows, first: 0, stack: rows, parts, k, row_bytes, act, run, groups, grouped })
    }

    pub fn lower_expert(l: &Lower<'_>, m: ExpertMat, out: T) -> Result<Mat> {
        let mat = Mat::lower(l, &Proj { scale: m.scale, bias: m.bias, ..Proj::plain(m.w, out) })?;
        let (first, rows) = (m.first as usize, m.rows as usize);
        if first + rows > mat.stack {
            return Err(Error::invalid(format!("{}: shape does not fit the plan", l.bound.weights[m.w.0 as usize].name)));
        }
        let parts = parts(l.nodes, &l.bound.weights[m.w.0 as usize], first..first + rows);
        Ok(Mat { first, rows, parts, ..mat })
    }

    /// Scratch a worker needs to multiply `n_tokens` rows.
    pub fn scratch(&self, bound: &Bound, n_tokens: usize) -> usize {
        quant::scratch_bytes(bound.weights[self.w.0 as usize].ty, self.k, n_tokens)
    }
}

/// What each node multiplies of rows `rows` of a weight, counted from the first of them: what it has; its share where all have all or one has it.
fn parts(nodes: &Nodes, w: &Weight, rows: Range<usize>) -> Vec<Range<usize>> {
    let Some(cuts) = w.cuts() else { return nodes.cut(rows.len(), 2 * quant::ROW_GRANULE) };
    let mut parts = vec![0..0; nodes.len()];
    for s in cuts {
        let within = |r: u32| (r as usize).clamp(rows.start, rows.end) - rows.start;
        parts[(s.node as usize).min(nodes.len() - 1)] = within(s.rows.start)..within(s.rows.end);
    }
    parts
}

/// Inputs in one activation format: where they lie and how far apart.
#[derive(Clone, Copy)]
pub struct Acts {
    pub base: *const u8,
    pub stride: usize,
}

/// What makes the input right before it is brought to its formats: no barrier stands between the two.
pub enum Before {
    Nothing,
    Norm(Norm),
    Glu(Glu),
}

pub struct Linear {
    before: Before,
    x: T,
    rows: Dim,
    mats: Vec<Mat>,
    /// Of adapters, and what they add to the products of `mats`, which comes after a barrier.
    narrow: Vec<Mat>,
    lows: Option<Lows>,
    /// Formats other than f32 that some matrix wants, with the offset of their rows in the shared scratch.
    acts: Vec<(Act, usize, usize)>,
    /// Input rows per row of `x`: 2 when what rounding lost goes through as well.
    passes: usize,
    /// Offset in a worker's scratch of the products of both passes.
    both_at: usize,
    queue: Queue,
}

/// Rows of a piece: small enough that workers end together, large enough that taking one costs nothing. Multiples of the kernels' granule.
fn piece_rows(total: usize, workers: usize, n_tokens: usize) -> usize {
    // Decode: 8 pieces per worker; prefill pieces carry more work each, and at most 64 rows keep a weight panel in the cache.
    let want = total.div_ceil(workers * 8).max(quant::ROW_GRANULE);
    want.min(most_rows(n_tokens)).next_multiple_of(quant::ROW_GRANULE)
}

fn most_rows(n_tokens: usize) -> usize {
    if n_tokens > 1 { 64 } else { 512 }
}

/// Rows and inputs of a narrow matrix that go together: enough of them to be worth a call, few enough that all workers have some.
fn narrow_piece(n_tokens: usize) -> (usize, usize) {
    if n_tokens > 1 { (most_rows(n_tokens), 24) } else { (4, 1) }
}

impl Linear {
    /// `deltas`: what is added to the products right away, where the step after this one says so.
    pub fn lower(l: &mut Lower<'_>, before: Before, x: T, outs: &[Proj], fine: bool, deltas: &[Delta]) -> Result<Linear> {
        let (plan, bound, limits) = (l.plan, l.bound, l.limits);
        let rows = plan.value(x).rows;
        let all = outs.iter().map(|p| Mat::lower(l, p)).collect::<Result<Vec<_>>>()?;
        let passes = 1 + usize::from(fine);
        let n = passes * limits.tokens.max(limits.outputs);
        let (mut both_at, mut both) = (0, 0);
        let mut acts: Vec<(Act, usize, usize)> = Vec::new();
        let mut at = 0;
        for m in &all {
            if m.k != plan.value(x).width as usize || m.rows != plan.value(m.out).width as usize {
                return Err(Error::invalid(format!("{}: shape does not fit the plan", bound.weights[m.w.0 as usize].name)));
            }
            if m.act != Act::F32 && !acts.iter().any(|a| a.0 == m.act) {
                let stride = m.act.row_bytes(m.k).next_multiple_of(64);
                acts.push((m.act, at, stride));
                at += stride * n;
            }
            both_at = m.scratch(bound, n).next_multiple_of(64).max(both_at);
            if passes > 1 {
                // A piece's products, or one row of what rounding lost.
                both = both.max(4 * m.k).max(4 * [1, n / passes].map(|n| passes * n * most_rows(n)).into_iter().max().unwrap_or(0));
            }
        }
        l.needs.scratch(both_at + both);
        l.needs.scratch_of_node(at);
        let (narrow, mats) = all.into_iter().partition(|m| deltas.iter().flat_map(|d| &d.parts).any(|p| p.z == m.out));
        let lows = (!deltas.is_empty()).then(|| Lows::lower(l, deltas)).transpose()?;
        Ok(Linear { before, x, rows, mats, narrow, lows, acts, passes, both_at, queue: l.needs.queue() })
    }

    /// Whether a step that adds `deltas` can be a part of this one: all that it wants is made by these products.
    pub fn makes(outs: &[Proj], deltas: &[Delta]) -> bool {
        let made = |t: T| outs.iter().any(|p| p.out == t);
        deltas.iter().all(|d| made(d.out) && d.parts.iter().all(|p| made(p.z) && deltas.iter().all(|d| d.out != p.z)))
    }

    fn input(&self, c: &Ctx<'_>, act: Act) -> Acts {
        match self.acts.iter().find(|a| a.0 == act) {
            // SAFETY: the offset lies in the node's scratch, sized at lowering.
            Some((_, at, stride)) => Acts { base: unsafe { c.scratch.of_node(c).add(*at) }, stride: *stride },
            None => {
                let (base, width) = c.arena.base(self.x);
                Acts { base: base.cast(), stride: width * 4 }
            }
        }
    }

    /// The input in every format that is wanted, on every node.
    fn prepare(&self, c: &Ctx<'_>, w: &Worker<'_>, n: usize) -> std::result::Result<(), Stop> {
        let alone = c.homes.len() == 1;
        match &self.before {
            Before::Nothing => {}
            Before::Norm(norm) => {
                for i in w.share(n, 1) {
                    norm.row(c, w, i);
                    if alone {
                        self.to_acts(c, i, 0..c.arena.width(self.x));
                    }
                }
                w.sync()?;
            }
            Before::Glu(glu) => {
                for (i, cols) in self.cols(c, w.share(n * self.per_row(c), 1)) {
                    glu.cols(c, w, i, cols.clone());
                    if alone {
                        self.to_acts(c, i, cols);
                    }
                }
                w.sync()?;
            }
        }
        if self.acts.is_empty() {
            return Ok(());
        }
        if !alone || matches!(self.before, Before::Nothing) {
            self.cols(c, c.mine(w, n * self.per_row(c))).for_each(|(i, cols)| self.to_acts(c, i, cols));
            w.sync_node()?;
        }
        if self.passes == 1 {
            return Ok(());
        }
        self.acts.iter().for_each(|(act, at, stride)| self.prepare_lost(c, w, *act, *at, *stride, n));
        w.sync_node()
    }

    /// Columns can be shared as well as rows: with one token, all workers have something to do.
    fn per_row(&self, c: &Ctx<'_>) -> usize {
        c.arena.width(self.x).div_ceil(COLS)
    }
    /// Rows and columns of such pieces.
    fn cols(&self, c: &Ctx<'_>, pieces: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> {
        let (width, per_row) = (c.arena.width(self.x), self.per_row(c));
        pieces.map(move |p| (p / per_row, p % per_row * COLS..(p % per_row * COLS + COLS).min(width)))
    }

    /// Columns `cols` of row `i` of the input in every format.
    fn to_acts(&self, c: &Ctx<'_>, i: usize, cols: Range<usize>) {
        let row = c.arena.row(self.x, i);
        for (act, at, stride) in &self.acts {
            let f = quant::table(c.isa).quantize_act(*act);
            // SAFETY: the node's scratch holds `passes * stride` bytes per row (sized at lowering); a part of a row is one worker's, and whole blocks.
            unsafe { f(row.as_ptr(), row.len(), cols.clone(), c.scratch.of_node(c).add(at + i * self.passes * stride)) };
        }
    }

    /// After each input row, what rounding it lost, in the same format.
    fn prepare_lost(&self, c: &Ctx<'_>, w: &Worker<'_>, act: Act, at: usize, stride: usize, n: usize) {
        let (k, quantize) = (c.arena.width(self.x), quant::table(c.isa).quantize_act(act));
        // SAFETY: this worker's scratch has room for a row (sized at lowering).
        let lost: *mut f32 = unsafe { c.scratch.mine(w).0.add(self.both_at).cast() };
        for i in c.mine(w, n) {
            // SAFETY: row `2 i + 1` of the node's scratch is this worker's; row `2 i` was written before the barrier.
            unsafe {
                let row = c.scratch.of_node(c).add(at + 2 * i * stride);
                act.lost(c.arena.row(self.x, i).as_ptr(), k, row, lost);
                quantize(lost, k, 0..k, row.add(stride));
            }
        }
    }

    /// Rows `range` of `m` with inputs `tokens`.
    fn piece(&self, c: &Ctx<'_>, w: &Worker<'_>, m: &Mat, tokens: Range<usize>, range: Range<usize>) {
        let (n, lost) = (tokens.len(), self.passes > 1 && m.act != Act::F32);
        let (x, (y, stride)) = (self.input(c, m.act), c.arena.base(m.out));
        let ahead = tokens.start * x.stride * if lost { self.passes } else { 1 };
        // SAFETY: rows of inputs and outputs that are there.
        let (base, y) = unsafe { (x.base.add(ahead), y.add(tokens.start * stride)) };
        let (x, out) = (Acts { base, ..x }, Out { y, stride });
        if lost { self.multiply_both(c, w, m, x, n, range, out) } else { multiply(c, w, m, 0, x, n, range, out) }
    }

    /// What adapters multiply beside the wide matrices, before those: their products are added to what those give.
    fn narrow(&self, c: &Ctx<'_>, w: &Worker<'_>, n: usize) {
        let (rows, tokens) = narrow_piece(n);
        let (across, part) = (n.div_ceil(tokens), |i: usize, step: usize, n: usize| i * step..((i + 1) * step).min(n));
        let count = |m: &Mat| m.rows.div_ceil(rows) * across;
        for mut i in w.share(self.narrow.iter().map(count).sum(), 1) {
            for m in &self.narrow {
                if i < count(m) {
                    self.piece(c, w, m, part(i % across, tokens, n), part(i / across, rows, m.rows));
                    break;
                }
                i -= count(m);
            }
        }
    }

    /// Rows `range` of `m` with all inputs and with what rounding them lost; the products are added up.
    #[allow(clippy::too_many_arguments, reason = "a matrix product has that many sides")]
    fn multiply_both(&self, c: &Ctx<'_>, w: &Worker<'_>, m: &Mat, x: Acts, n: usize, range: Range<usize>, out: Out) {
        let len = range.len();
        // SAFETY: this worker's scratch has room for both passes of a piece (sized at lowering).
        let both: *mut f32 = unsafe { c.scratch.mine(w).0.add(self.both_at).cast() };
        product(c, w, m, 0, x, 2 * n, range.clone(), Out { y: both, stride: len });
        for t in 0..n {
            for r in 0..len {
                // SAFETY: inside both passes, and this worker's columns of the output.
                unsafe { *out.y.add(t * out.stride + range.start + r) = *both.add(2 * t * len + r) + *both.add((2 * t + 1) * len + r) };
            }
        }
        finish(c, m, 0, n, range, out);
    }
}

/// Where results go: a first float, floats per row.
#[derive(Clone, Copy)]
pub struct Out {
    pub y: *mut f32,
    pub stride: usize,
}

/// Multiplies rows `range` of `m`'s matrix number `expert` with `n` inputs; scale and bias included.
#[allow(clippy::too_many_arguments, reason = "a matrix product has that many sides")]
pub fn multiply(c: &Ctx<'_>, w: &Worker<'_>, m: &Mat, expert: usize, x: Acts, n: usize, range: Range<usize>, out: Out) {
    // SAFETY: columns of `range` lie inside each output row.
    let y = unsafe { out.y.add(range.start) };
    product(c, w, m, expert, x, n, range.clone(), Out { y, ..out });
    finish(c, m, expert, n, range, out);
}

/// The bare product; `out` starts at the first column of `range`.
#[allow(clippy::too_many_arguments, reason = "a matrix product has that many sides")]
fn product(c: &Ctx<'_>, w: &Worker<'_>, m: &Mat, expert: usize, x: Acts, n: usize, range: Range<usize>, out: Out) {
    let cut = m.grouped.saturating_sub(m.first).clamp(range.start, range.end);
    // SAFETY: columns of `range` follow the first.
    let rest = Out { y: unsafe { out.y.add(cut - range.start) }, ..out };
    let (in_groups, as_rows) = (range.start..cut, cut..range.end);
    m.groups.filter(|_| !in_groups.is_empty()).into_iter().for_each(|f| call(f, c, w, m, expert, x, n, in_groups.clone(), out));
    if !as_rows.is_empty() {
        call(m.run, c, w, m, expert, x, n, as_rows, rest);
    }
}

/// Tokens that go through a piece's rows together: for each 256 k their values, and their sums with 64 rows, lie in the second-level cache and
/// leave half of it to weights.
fn tokens_at_once() -> usize {
    (platform::caches::second_level() / 2 / (256 + 64 * size_of::<f32>())).max(64)
}

#[allow(clippy::too_many_arguments, reason = "as `product`")]
fn call(f: MatMul, c: &Ctx<'_>, w: &Worker<'_>, m: &Mat, expert: usize, x: Acts, n: usize, range: Range<usize>, out: Out) {
    let step = tokens_at_once();
    for t in (0..n).step_by(step) {
        let args = MatArgs {
            w: c.rows(m.w, expert, m.first + range.start..m.first + range.end),
            w_stride: m.row_bytes,
            k: m.k,
            n_rows: range.len(),
            // SAFETY: tokens below `n`, here and in the output.
            x: unsafe { x.base.add(t * x.stride) },
            x_stride: x.stride,
            n_tokens: step.min(n - t),
            // SAFETY: as above.
            y: unsafe { out.y.add(t * out.stride) },
            y_stride: out.stride,
            scratch: c.scratch.mine(w).0,
        };
        if c.is_audited() {
            (0..args.n_tokens).for_each(|i| c.note(Class::Inputs, args.x.wrapping_add(i * x.stride), m.act.row_bytes(m.k)));
            (0..args.n_tokens).for_each(|i| c.note(Class::Activations, args.y.wrapping_add(i * out.stride).cast(), 4 * args.n_rows));
        }
        // SAFETY: picked by ISA level; every pointer covers its rows (above), and this worker alone writes these columns.
        unsafe { f(&args) };
    }
}

/// Scale and bias on what `product` wrote; `out` starts at column 0.
fn finish(c: &Ctx<'_>, m: &Mat, expert: usize, n: usize, range: Range<usize>, out: Out) {
    let scale = m.scale.map_or(1.0, |s| c.floats(s)[expert]);
    if m.bias.is_none() && scale == 1.0 {
        return;
    }
    // One bias per matrix of a stack.
    let bias = m.bias.map(|b| &c.floats(b)[expert * m.rows..][range.clone()]);
    let (before, after) = if m.scale_after_bias { (1.0, scale) } else { (scale, 1.0) };
    for t in 0..n {
        // SAFETY: same columns as written above.
        let row = unsafe { std::slice::from_raw_parts_mut(out.y.add(t * out.stride + range.start), range.len()) };
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
        if self.lows.is_some() {
            self.narrow(c, w, n);
            w.sync()?;
        }
        let rows: Vec<usize> = self.mats.iter().map(|m| piece_rows(m.rows, w.n as usize, n)).collect();
        let count = |m: &Mat, rows: usize, home: usize| m.parts[home].len().div_ceil(rows);
        let total = |home| self.mats.iter().zip(&rows).map(|(m, rows)| count(m, *rows, home)).sum();
        while let Some((home, mut i)) = c.take(w, self.queue, total) {
            for (m, rows) in self.mats.iter().zip(&rows) {
                let (count, part) = (count(m, *rows, home), &m.parts[home]);
                if i < count {
                    let range = part.start + i * rows..(part.start + (i + 1) * rows).min(part.end);
                    self.piece(c, w, m, 0..n, range.clone());
                    self.lows.iter().for_each(|l| l.add(c, w, m.out, 0..n, range.clone()));
                    break;
                }
                i -= count;
            }
        }
        Ok(())
    }
    fn bytes(&self, c: &Ctx<'_>) -> u64 {
        let mats: usize = self.mats.iter().chain(&self.narrow).map(|m| m.row_bytes * m.rows).sum();
        mats as u64 + self.lows.as_ref().map_or(0, |l| l.bytes(c))
    }
}
