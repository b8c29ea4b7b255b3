//! What an index picks (DeepSeek 3.2): scores of all cells that a token sees, then the best blocks of positions. Scores of some tokens at a time
//! lie in the shared scratch; every worker scores some cells, then makes some lists. A score depends on a token and a cell, a list on scores in
//! order of position, so nothing depends on how the work is cut.
use super::exec::{CpuOp, Ctx, Lower};
use super::rows::{layer_of, row_ptr};
use crate::backend::*;
use kernels::float;
use platform::Result;
use platform::pool::{Stop, Worker};
use std::ops::Range;

pub struct Pick {
    q: T,
    weights: Option<T>,
    group: GroupId,
    spec: PickSpec,
    out: T,
    layer: KvLayer,
    t: &'static float::Table,
}

/// Leaves that a worker scores in one go: a thousand cells.
const LEAVES: usize = 16;

/// Bytes of scores at a time, if one token's are not more: they are read again at once.
const SCORES: usize = 8 << 20;

impl Pick {
    /// `from`: queries, and the weights of their heads.
    pub fn lower(l: &mut Lower<'_>, group: GroupId, from: [Option<T>; 2], spec: PickSpec, out: T) -> Result<Pick> {
        let layer = layer_of(l, group, l.il)?.clone();
        let q = from[0].ok_or_else(|| platform::Error::invalid("an index without queries"))?;
        // A stream is no larger than the store. Reserved, not touched.
        let cells = layer.cells();
        let one = cells * spec.n_list as usize * 4;
        l.needs.scratch(spec.head as usize * 4);
        l.needs.scratch_of_all(one.max(SCORES.min(one * l.limits.tokens)));
        Ok(Pick { q, weights: from[1], group, spec, out, layer, t: float::table(l.isa) })
    }

    fn n_list(&self) -> usize {
        self.spec.n_list as usize
    }

    /// Scores of a token whose are the `n`-th of those at hand, from the cell `first` on. `[cells][n_list]`
    #[allow(clippy::mut_from_ref, reason = "cells of a token belong to one worker; a barrier before they are read")]
    fn scores<'a>(&self, c: &Ctx<'a>, n: usize, each: usize, cells: Range<usize>) -> &'a mut [f32] {
        let (base, len) = c.scratch.shared();
        let (at, n) = ((n * each + cells.start) * self.n_list(), cells.len() * self.n_list());
        assert!(cells.end <= each && (at + n) * 4 <= len);
        // SAFETY: inside the shared scratch (just checked), aligned, initialised; disjoint by token and cells.
        unsafe { std::slice::from_raw_parts_mut(base.cast::<f32>().add(at), n) }
    }

    /// Scores of the cells that token `i` sees in some of its leaves; nothing where it sees all anyway.
    fn score(&self, c: &Ctx<'_>, w: &Worker<'_>, i: usize, n: usize, each: usize, leaves: Range<usize>) {
        let v = &c.io.views[self.group.0 as usize];
        let row = &v.rows[i];
        let mut first = 0;
        let mut mine = picks::seen(v, row).enumerate().skip_while(|(at, (_, (a, b)))| {
            let before = *at < leaves.start;
            first += if before { usize::from(b - a) } else { 0 };
            before
        });
        let mine: Vec<_> = mine.by_ref().take(leaves.len()).map(|l| l.1).collect();
        let end = first + mine.iter().map(|(_, (a, b))| usize::from(b - a)).sum::<usize>();
        let mut scores = self.scores(c, n, each, first..end).chunks_exact_mut(self.n_list());
        let (q, weights) = (c.arena.row(self.q, i), self.weights.map(|t| c.arena.row(t, i)));
        // SAFETY: this worker's scratch holds a key (sized at lowering), 64-byte aligned.
        let key = unsafe { std::slice::from_raw_parts_mut(c.scratch.mine(w).0.cast::<f32>(), self.spec.head as usize) };
        for (leaf, (a, b)) in mine {
            for s in &v.segs[leaf.segs.start as usize..leaf.segs.end as usize] {
                for (at, out) in (a.max(s.at)..b.min(s.at + s.len)).zip(&mut scores) {
                    self.key(s.block, s.slot + u16::from(at - s.at), key);
                    picks::score(self.t, &self.spec, q, weights, key, out);
                }
            }
        }
    }

    fn key(&self, block: BlockId, slot: u16, key: &mut [f32]) {
        let p = &self.layer.planes[0];
        // SAFETY: a row of `head_bytes` inside the store, which nobody writes in this step.
        let row = unsafe { std::slice::from_raw_parts(row_ptr(&self.layer, 0, block, slot, 0), p.head_bytes) };
        self.t.decode_row(p.ty, row, key);
    }

    /// Where list `h` of token `i` goes.
    fn place<'a>(&self, c: &Ctx<'a>, w: &Worker<'_>, i: usize, h: usize) -> &'a mut [f32] {
        let len = 1 + self.spec.top_k as usize;
        c.arena.cols_mut(w, self.out, i, h * len..(h + 1) * len)
    }

    /// List `h` of token `i`, whose scores are the `n`-th of those at hand.
    fn list(&self, c: &Ctx<'_>, w: &Worker<'_>, i: usize, n: usize, each: usize, h: usize) {
        let v = &c.io.views[self.group.0 as usize];
        let scores = self.scores(c, n, each, 0..each).iter().skip(h).step_by(self.n_list()).copied();
        picks::list(v, &v.rows[i], &self.spec, c.io.ub.pos_of(i), scores, self.place(c, w, i, h));
    }
}

impl CpuOp for Pick {
    fn run(&self, c: &Ctx<'_>, w: &Worker<'_>) -> std::result::Result<(), Stop> {
        let v = &c.io.views[self.group.0 as usize];
        // Tokens that see all need no scores.
        let asks: Vec<bool> = v.rows.iter().map(|row| picks::picks_some(v, row, &self.spec)).collect();
        let cells = |row: &QueryRow| picks::seen(v, row).map(|(_, (a, b))| usize::from(b - a)).sum::<usize>();
        let each = v.rows.iter().zip(&asks).filter(|r| *r.1).map(|r| cells(r.0)).max().unwrap_or(0).max(1);
        let (n_tokens, shared) = (v.rows.len(), c.scratch.shared().1 / 4);
        let step = (shared.min(SCORES / 4) / (each * self.n_list())).clamp(1, n_tokens.max(1));
        for first in (0..n_tokens).step_by(step) {
            let tokens = first..(first + step).min(n_tokens);
            let leaves = v.rows[tokens.clone()].iter().map(|r| r.leaves.len()).max().unwrap_or(0);
            let parts = leaves.div_ceil(LEAVES);
            for item in w.share(tokens.len() * parts, 1) {
                let (n, part) = (item / parts, item % parts);
                if asks[first + n] {
                    self.score(c, w, first + n, n, each, part * LEAVES..(part + 1) * LEAVES);
                }
            }
            w.sync()?;
            w.share(tokens.len() * self.n_list(), 1).for_each(|item| {
                let (n, h) = (item / self.n_list(), item % self.n_list());
                match asks[first + n] {
                    true => self.list(c, w, first + n, n, each, h),
                    false => self.place(c, w, first + n, h)[0] = f32::from_bits(0),
                }
            });
            if tokens.end < n_tokens {
                w.sync()?;
            }
        }
        Ok(())
    }
    fn bytes(&self, c: &Ctx<'_>) -> u64 {
        let v = &c.io.views[self.group.0 as usize];
        v.leaves.iter().map(|l| u64::from(l.to - l.from)).sum::<u64>() * self.layer.planes[0].head_bytes as u64
    }
}
