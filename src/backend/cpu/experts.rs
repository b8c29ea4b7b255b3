//! Mixture of experts: tokens grouped by expert, so that an expert's matrices are read once for all its tokens; outputs are
//! summed per token in rank order (contract 1).
use super::exec::{CpuOp, Ctx, Lower};
use super::expert_lows::{self, Lows};
use super::homes::Queue;
use super::linear::{Acts, Mat, Out, multiply};
use crate::backend::{Act as Activation, *};
use kernels::float::{self, Table};
use kernels::quant::{self, Act};
use platform::pool::{Stop, Worker};
use platform::{Error, Result};

pub struct Route {
    pub logits: T,
    pub spec: RouteSpec,
    pub ids: T,
    pub weights: T,
    pub rows: Dim,
    pub t: &'static Table,
}

impl CpuOp for Route {
    fn run(&self, c: &Ctx<'_>, w: &Worker<'_>) -> std::result::Result<(), Stop> {
        let n_used = self.spec.n_used as usize;
        let (mut logits, mut ids) = (vec![0.0; self.spec.n_expert as usize], vec![0u32; n_used]);
        for i in w.share(c.n_rows(self.rows), 1) {
            logits.copy_from_slice(c.arena.row(self.logits, i));
            let bias = self.spec.bias.map(|b| c.floats(b));
            terms::route_row(self.t, &self.spec, &mut logits, bias, &mut ids, c.arena.row_mut(w, self.weights, i));
            // Ids travel as the bits of an f32 row.
            c.arena.row_mut(w, self.ids, i).iter_mut().zip(&ids).for_each(|(o, id)| *o = f32::from_bits(*id));
        }
        Ok(())
    }
}

pub struct Experts {
    x: T,
    ids: T,
    weights: T,
    out: T,
    rows: Dim,
    n_used: usize,
    n_expert: usize,
    n_ff: usize,
    /// gate, up, down
    mats: [Mat; 3],
    act: Activation,
    gated: bool,
    weigh_inputs: bool,
    shown: Option<[T; 4]>,
    at: Places,
    lows: Lows,
    queues: [Queue; 2],
    t: &'static Table,
}

/// Intermediate rows, one per (token, rank), ordered by expert: their offset in the scratch of a node, or of all.
#[derive(Clone, Copy)]
pub struct Place {
    at: usize,
    stride: usize,
    of_node: bool,
}

/// Room for places: bytes of a node's scratch and of what all share, for so many rows.
pub struct Room {
    pub rows: usize,
    of_node: usize,
    of_all: usize,
}

impl Room {
    pub fn take(&mut self, row: usize, of_node: bool) -> Place {
        let stride = row.next_multiple_of(64);
        let end = if of_node { &mut self.of_node } else { &mut self.of_all };
        *end += stride * self.rows;
        Place { at: *end - stride * self.rows, stride, of_node }
    }
}

/// Inputs of products are on every node, what products give is in one place.
#[derive(Clone, Copy)]
struct Places {
    /// What gate and up read: the same, where both want one format.
    x: [Place; 2],
    gate: Place,
    up: Place,
    h: Place,
    out: Place,
}

fn places(room: &mut Room, mats: &[Mat; 3]) -> Places {
    let input = |m: &Mat| m.act.row_bytes(m.k);
    let [gate, up, down] = mats;
    let of_gate = room.take(input(gate), true);
    let x = [of_gate, if up.act == gate.act { of_gate } else { room.take(input(up), true) }];
    let h = room.take(input(down), true);
    let (gate, up, out) = (room.take(gate.rows * 4, false), room.take(gate.rows * 4, false), room.take(down.rows * 4, false));
    Places { x, gate, up, h, out }
}

/// A matrix, what it reads and what it makes.
#[derive(Clone, Copy)]
struct Product<'a>(&'a Mat, Place, Place);

/// Rows of an expert's matrix that a worker takes at a time.
const PIECE: usize = 64;

/// (token, rank) pairs ordered by expert: `slot[token * n_used + rank]` is the row, `starts[e]..starts[e + 1]` an expert's rows.
struct Groups {
    slot: Vec<usize>,
    starts: Vec<usize>,
}

impl Experts {
    pub fn lower(l: &mut Lower<'_>, op: &Op) -> Result<Experts> {
        let Op::Experts { x, ids, weights, mats, act, weigh_inputs, ref lows, shown, out } = *op else {
            return Err(Error::invalid("not an experts step"));
        };
        let (plan, bound, limits) = (l.plan, l.bound, l.limits);
        let gated = mats[0] != mats[1];
        let lower = |m: ExpertMat| Mat::lower_expert(l, m, out);
        let mats = [lower(mats[0])?, lower(mats[1])?, lower(mats[2])?];
        let n_used = plan.value(ids).width as usize;
        let n = limits.tokens.max(limits.outputs) * n_used;
        let mut room = Room { rows: n, of_node: 0, of_all: 0 };
        let at = places(&mut room, &mats);
        let known = [vec![(mats[0].act, at.x[0]), (mats[1].act, at.x[1])], vec![(mats[2].act, at.h)]];
        let lows = Lows::lower(l, lows, &mats, known, &mut room)?;
        for m in &mats {
            l.needs.scratch(m.scratch(bound, n));
        }
        l.needs.scratch_of_node(room.of_node);
        l.needs.scratch_of_all(room.of_all);
        let n_expert = bound.weights[mats[0].w.0 as usize].shape[2] as usize;
        let n_ff = mats[0].rows;
        let queues = [l.needs.queue(), l.needs.queue()];
        Ok(Experts {
            x,
            ids,
            weights,
            out,
            rows: plan.value(x).rows,
            n_used,
            n_expert,
            n_ff,
            mats,
            act,
            gated,
            weigh_inputs,
            shown,
            at,
            lows,
            queues,
            t: float::table(l.isa),
        })
    }

    fn n_tokens(&self, c: &Ctx<'_>) -> usize {
        c.n_rows(self.rows)
    }

    /// Every worker computes the same small table; cheaper than a barrier.
    fn groups(&self, c: &Ctx<'_>) -> Groups {
        let n = self.n_tokens(c);
        let id = |t: usize, r: usize| (c.arena.row(self.ids, t)[r].to_bits() as usize).min(self.n_expert - 1);
        let mut starts = vec![0usize; self.n_expert + 1];
        (0..n).for_each(|t| (0..self.n_used).for_each(|r| starts[id(t, r) + 1] += 1));
        (0..self.n_expert).for_each(|e| starts[e + 1] += starts[e]);
        let mut next = starts.clone();
        let mut slot = vec![0; n * self.n_used];
        for t in 0..n {
            for r in 0..self.n_used {
                let e = id(t, r);
                slot[t * self.n_used + r] = next[e];
                next[e] += 1;
            }
        }
        Groups { slot, starts }
    }

    fn at(&self, c: &Ctx<'_>, p: Place, row: usize) -> *mut u8 {
        let base = if p.of_node { c.scratch.of_node(c) } else { c.scratch.shared().0 };
        // SAFETY: both were sized for every row of every place.
        unsafe { base.add(p.at + row * p.stride) }
    }
    fn floats<'a>(&self, c: &Ctx<'a>, place: Place, row: usize, n: usize) -> &'a mut [f32] {
        // SAFETY: as `at`; rows are 64-byte aligned; one worker per row between barriers.
        unsafe { std::slice::from_raw_parts_mut(self.at(c, place, row).cast(), n) }
    }

    /// The formats that gate and up want, and where inputs in them go.
    fn inputs(&self) -> impl Iterator<Item = (Act, Place)> {
        let n = 1 + usize::from(self.mats[0].act != self.mats[1].act);
        (0..n).map(|i| (self.mats[i].act, self.at.x[i])).chain(self.lows.inputs[0].iter().copied())
    }

    /// As `gather`, each rank's input times its weight.
    fn gather_weighed(&self, c: &Ctx<'_>, w: &Worker<'_>, g: &Groups, act: Act, to: Place) {
        let f = quant::table(c.isa).quantize_act(act);
        let mut x = vec![0.0; self.mats[0].k];
        for t in c.mine(w, self.n_tokens(c)) {
            for (r, weight) in c.arena.row(self.weights, t).iter().enumerate() {
                x.copy_from_slice(c.arena.row(self.x, t));
                self.t.scale(&mut x, *weight);
                // SAFETY: the (token, rank) row has the format's bytes and is written by the worker of its token.
                unsafe { f(x.as_ptr(), x.len(), 0..x.len(), self.at(c, to, g.slot[t * self.n_used + r])) };
            }
        }
    }

    /// Inputs in an activation format of the expert matrices, in expert order.
    fn gather(&self, c: &Ctx<'_>, w: &Worker<'_>, g: &Groups, act: Act, to: Place) {
        let f = quant::table(c.isa).quantize_act(act);
        for t in c.mine(w, self.n_tokens(c)) {
            let x = c.arena.row(self.x, t);
            let first = self.at(c, to, g.slot[t * self.n_used]);
            let copy_f32 = act == Act::F32;
            for r in 0..self.n_used {
                let dst = self.at(c, to, g.slot[t * self.n_used + r]);
                // SAFETY: rows of `x` stride bytes; every (token, rank) row is written by the worker of its token.
                unsafe {
                    match (copy_f32, r) {
                        (true, _) => std::ptr::copy_nonoverlapping(x.as_ptr().cast(), dst, x.len() * 4),
                        (false, 0) => f(x.as_ptr(), x.len(), 0..x.len(), dst),
                        (false, _) => std::ptr::copy_nonoverlapping(first, dst, act.row_bytes(x.len())),
                    }
                }
            }
        }
    }

    /// The products of a sweep: gate and up read the inputs, down reads the activated rows, and so do the narrow ones beside them.
    fn products(&self, sweep: usize) -> Vec<Product<'_>> {
        let ([gate, up, down], at) = (&self.mats, &self.at);
        let all = [Product(gate, at.x[0], at.gate), Product(up, at.x[1], at.up), Product(down, at.h, at.out)];
        let mine = if sweep == 0 { usize::from(!self.gated)..2 } else { 2..3 };
        all[mine].iter().copied().chain(self.lows.narrow[sweep].iter().map(|n| Product(&n.a, n.x, n.z))).collect()
    }

    /// Pieces of (expert with tokens, product, block of rows).
    fn sweep(&self, c: &Ctx<'_>, w: &Worker<'_>, g: &Groups, sweep: usize) {
        let active: Vec<usize> = (0..self.n_expert).filter(|e| g.starts[*e] < g.starts[e + 1]).collect();
        let (products, count) = (self.products(sweep), |m: &Mat, home: usize| m.parts[home].len().div_ceil(PIECE));
        let per = |home| products.iter().map(|p| count(p.0, home)).sum::<usize>();
        while let Some((home, i)) = c.take(w, self.queues[sweep], |home| active.len() * per(home)) {
            let (e, mut i) = (active[i / per(home)], i % per(home));
            for p in &products {
                let (part, n) = (&p.0.parts[home], count(p.0, home));
                if i < n {
                    let at = part.start + i * PIECE;
                    self.matmul(c, w, g, *p, e, at..(at + PIECE).min(part.end));
                    break;
                }
                i -= n;
            }
        }
    }

    /// Rows `rows` of expert `e`.
    fn matmul(&self, c: &Ctx<'_>, w: &Worker<'_>, g: &Groups, Product(mat, from, to): Product<'_>, e: usize, rows: std::ops::Range<usize>) {
        let (first, n) = (g.starts[e], g.starts[e + 1] - g.starts[e]);
        let x = Acts { base: self.at(c, from, first), stride: from.stride };
        let out = Out { y: self.at(c, to, first).cast(), stride: to.stride / 4 };
        multiply(c, w, mat, e, x, n, rows, out);
    }

    /// What adapters add to rows of matrices `mats`; a barrier, where there is anything.
    fn add_lows(&self, c: &Ctx<'_>, w: &Worker<'_>, g: &Groups, mats: std::ops::Range<usize>) -> std::result::Result<(), Stop> {
        if !self.lows.beside(mats.clone()) {
            return Ok(());
        }
        for m in mats {
            let (place, width) = ([self.at.gate, self.at.up, self.at.out][m], self.mats[m].rows);
            for (row, cols) in expert_lows::pieces(w, g.slot.len(), width) {
                let e = g.starts.partition_point(|s| *s <= row) - 1;
                let y = &mut self.floats(c, place, row, width)[cols.clone()];
                self.lows.add(c, self.t, (m, e), |z, rank| &*self.floats(c, z, row, rank), y, cols.start);
            }
        }
        w.sync()
    }

    fn activate(&self, c: &Ctx<'_>, w: &Worker<'_>, g: &Groups) {
        let f = |act| quant::table(c.isa).quantize_act(act);
        for row in c.mine(w, g.slot.len()) {
            let (gate, up) = (self.floats(c, self.at.gate, row, self.n_ff), self.floats(c, self.at.up, row, self.n_ff));
            let out: &mut [f32] =
                if self.mats[2].act == Act::F32 { self.floats(c, self.at.h, row, self.n_ff) } else { &mut vec![0.0; self.n_ff] };
            self.activated(gate, up, out);
            if self.mats[2].act != Act::F32 {
                // SAFETY: the row of `h` holds the format's bytes.
                unsafe { f(self.mats[2].act)(out.as_ptr(), out.len(), 0..out.len(), self.at(c, self.at.h, row)) };
            }
            for (act, to) in &self.lows.inputs[1] {
                // SAFETY: as above, for each of these rows.
                unsafe { f(*act)(out.as_ptr(), out.len(), 0..out.len(), self.at(c, *to, row)) };
            }
        }
    }

    fn activated(&self, gate: &[f32], up: &[f32], out: &mut [f32]) {
        if self.gated {
            terms::glu(self.t, self.act, gate, up, out);
        } else {
            out.copy_from_slice(up);
            terms::activate(self.t, self.act, out);
        }
    }

    /// What observers want to see, from the rows of experts to those of tokens.
    fn show(&self, c: &Ctx<'_>, w: &Worker<'_>, g: &Groups, to: [T; 4]) {
        let width = [self.n_ff, self.n_ff, self.n_ff, self.mats[2].rows];
        for t in w.share(self.n_tokens(c), 1) {
            for r in 0..self.n_used {
                let row = |place, n| self.floats(c, place, g.slot[t * self.n_used + r], n);
                let up = row(self.at.up, self.n_ff);
                let gate = if self.gated { row(self.at.gate, self.n_ff) } else { row(self.at.up, self.n_ff) };
                let put = |i: usize| c.arena.cols_mut(w, to[i], t, r * width[i]..(r + 1) * width[i]);
                put(0).copy_from_slice(gate);
                put(1).copy_from_slice(up);
                self.activated(gate, up, put(2));
                put(3).copy_from_slice(row(self.at.out, width[3]));
            }
        }
    }

    fn sum(&self, c: &Ctx<'_>, w: &Worker<'_>, g: &Groups) {
        for t in w.share(self.n_tokens(c), 1) {
            let out = c.arena.row_mut(w, self.out, t);
            out.fill(0.0);
            for (r, weight) in c.arena.row(self.weights, t).iter().enumerate() {
                let row = self.floats(c, self.at.out, g.slot[t * self.n_used + r], out.len());
                self.t.add_scaled(out, row, if self.weigh_inputs { 1.0 } else { *weight });
            }
        }
    }
}

impl CpuOp for Experts {
    fn run(&self, c: &Ctx<'_>, w: &Worker<'_>) -> std::result::Result<(), Stop> {
        let g = self.groups(c);
        for (act, to) in self.inputs() {
            if self.weigh_inputs { self.gather_weighed(c, w, &g, act, to) } else { self.gather(c, w, &g, act, to) }
        }
        w.sync_node()?;
        self.sweep(c, w, &g, 0);
        w.sync()?;
        self.add_lows(c, w, &g, 0..2)?;
        self.activate(c, w, &g);
        w.sync_node()?;
        self.sweep(c, w, &g, 1);
        w.sync()?;
        self.add_lows(c, w, &g, 2..3)?;
        self.sum(c, w, &g);
        if let Some(to) = self.shown {
            self.show(c, w, &g, to);
        }
        Ok(())
    }
    fn bytes(&self, c: &Ctx<'_>) -> u64 {
        let g = self.groups(c);
        let active = (0..self.n_expert).filter(|e| g.starts[*e] < g.starts[e + 1]).count();
        self.mats[usize::from(!self.gated)..].iter().map(|m| (m.row_bytes * m.rows * active) as u64).sum()
    }
}
