//! Who sits where in the KV store: positions, sequences, windows, blocks. Bookkeeping only: it must not know bytes, models or what a token means;
//! stores are built on the block ids given out here.
//!
//! A memory is groups x streams. Cells are virtual (`0..size` per stream, what the original counts), blocks are physical. Group 0 is the base:
//! it never gives a cell up, so it says what a sequence has been promised; a windowed group may hold less of it, never more.
#![forbid(unsafe_code)]
mod blocks;
mod cells;
mod group;
pub mod hadamard;
mod history;
#[cfg(test)]
mod naive;
mod ops;
pub mod reaper;
pub mod resident;
pub mod restore;
mod room;
pub mod rows;
mod runs;
pub mod snapshots;
pub mod store;
#[cfg(test)]
mod tests;
mod views;
mod window;
pub mod within;

use crate::backend::Rounds;
use crate::backend::io::{BlockId, Ubatch, Views};
use cells::Log;
use group::{Group, Part, Spots};
use platform::Error;
pub use runs::Run;
pub use window::{Window, ring_size};

/// What a group is, as far as bookkeeping goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupSpec {
    pub window: Window,
    /// Cells per stream.
    pub size: u32,
    /// A power of two, 32..=256.
    pub cells_per_block: u32,
    /// swa_full: no masked cell is ever reused.
    pub keep_masked: bool,
}

impl GroupSpec {
    /// Blocks a store must have ids for.
    pub fn n_blocks_max(&self, n_streams: u32) -> u32 {
        self.size.div_ceil(self.cells_per_block.max(1)).saturating_mul(n_streams)
    }

    fn check(&self, i: usize) -> platform::Result<()> {
        let bad = |what: String| Err(Error::invalid(format!("memory group {i}: {what}")));
        if self.size == 0 || i32::try_from(self.size).is_err() {
            return bad(format!("a size of {} cells", self.size));
        }
        if !self.cells_per_block.is_power_of_two() || !(32..=256).contains(&self.cells_per_block) {
            return bad(format!("{} cells per block", self.cells_per_block));
        }
        if self.window != Window::All && self.window.n_swa() == 0 {
            return bad(format!("an empty window {:?}", self.window));
        }
        if i == 0 && self.window != Window::All && !self.keep_masked {
            return bad("the base group must keep every cell".into());
        }
        Ok(())
    }
}

/// No room for a ubatch: return code 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// An operation that would leave a sequence where decoding cannot go on, or that is not possible at all. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub &'static str);

/// Rows to be copied between blocks of a group before anything else touches them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowCopy {
    pub group: usize,
    pub from: (BlockId, u16),
    pub to: (BlockId, u16),
    pub len: u16,
}

/// K rows to be rotated by `delta` positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift {
    pub group: usize,
    pub block: BlockId,
    pub slot: u16,
    pub len: u16,
    pub delta: i32,
}

/// How arrivals are numbered in a cell: tokens by the clock, and copies that a shift made of a shared cell behind what they were copied from.
/// So two cells of one token have different numbers, in the same order in every group.
pub struct Stamp;

impl Stamp {
    const COPIES: u32 = 24;
    /// Of the token with number `arrival`.
    pub fn of(arrival: u64) -> u64 {
        arrival << Self::COPIES
    }
    pub fn arrival(stamp: u64) -> u64 {
        stamp >> Self::COPIES
    }
    /// Of a copy made by the `n`-th operation that made some.
    fn copy(stamp: u64, n: u32) -> u64 {
        let mask = (1 << Self::COPIES) - 1;
        (stamp & !mask) | (u64::from(n) & mask)
    }
}

/// What an operation between decodes asks of the store: rows that have to follow, in this order, before anything else happens to it. Ends in `keep_change`
/// or `take_back_change`.
#[derive(Debug, Default)]
pub struct Changed {
    pub copies: Vec<RowCopy>,
    logs: Vec<Log>,
    /// What was known of sequences before.
    past: snapshots::Before,
}

/// Where one ubatch was put. Ends in `commit`, `revert` or `unplace` before anything else is placed or changed.
#[derive(Debug)]
pub struct Placed {
    /// Per group.
    pub views: Vec<Views>,
    /// Rows that leave blocks shared with another stream, in this order, before the ubatch is computed.
    pub copies: Vec<RowCopy>,
    logs: Vec<Log>,
}

#[derive(Clone, Debug)]
pub struct Memory {
    groups: Vec<Group>,
    /// Arrivals so far.
    clock: u64,
    /// Operations so far that copied shared cells.
    n_parted: u32,
    unified: bool,
    compat: bool,
    /// Where windows can be brought back.
    past: Option<snapshots::Past>,
}

/// Sequence ids that exist at all (LLAMA_MAX_SEQ); a unified memory answers for every one of them, whatever n_seq_max is.
const MAX_SEQ: u32 = crate::backend::io::SeqSet::MAX;

impl Memory {
    /// `groups[0]` is the base. Unified: one stream for all sequences; else stream s holds sequence s.
    pub fn new(groups: Vec<GroupSpec>, n_seq_max: u32, unified: bool) -> platform::Result<Memory> {
        if groups.is_empty() || n_seq_max == 0 || n_seq_max > MAX_SEQ {
            return Err(Error::invalid(format!("a memory of {} groups for {n_seq_max} sequences", groups.len())));
        }
        let (n_streams, per_stream) = if unified { (1, MAX_SEQ) } else { (n_seq_max, 1) };
        groups.iter().enumerate().try_for_each(|(i, g)| g.check(i))?;
        let groups =
            groups.into_iter().enumerate().map(|(i, g)| Group::new(i, g, n_streams, per_stream)).collect::<platform::Result<_>>()?;
        Ok(Memory { groups, clock: 0, n_parted: 0, unified, compat: false, past: None })
    }

    /// CAMELID_COMPAT: rewinds are never refused, positions are answered by the last group alone, a cell of several sequences is never reused,
    /// swa_full keeps nothing but its size, seq_div rotates the other way and seq_keep forgets nothing in other streams.
    #[must_use]
    pub fn with_compat(self, compat: bool) -> Memory {
        Memory { compat, ..self }
    }

    /// Blocks of each group are on the nodes that these say. Before anything is placed.
    #[must_use]
    pub fn on(mut self, rounds: &[Rounds]) -> Memory {
        self.groups.iter_mut().zip(rounds).filter(|(_, r)| !r.is_empty()).for_each(|(g, r)| g.spread(r));
        self
    }

    pub fn compat(&self) -> bool {
        self.compat
    }
    pub fn n_groups(&self) -> usize {
        self.groups.len()
    }
    /// The groups that may hold less than the base, with their numbers. Others that see everything hold what it holds.
    fn rings(&self) -> impl Iterator<Item = (usize, &Group)> {
        self.groups.iter().enumerate().skip(1).filter(|(_, g)| g.spec.window != Window::All)
    }
    /// The first of them.
    pub fn first_ring(&self) -> Option<usize> {
        self.rings().next().map(|(i, _)| i)
    }
    pub fn n_streams(&self) -> u32 {
        self.groups[0].streams.len() as u32
    }
    pub fn unified(&self) -> bool {
        self.unified
    }
    pub fn spec(&self, group: usize) -> Option<&GroupSpec> {
        self.groups.get(group).map(|g| &g.spec)
    }
    /// Cells in use per group, over all streams.
    pub fn used(&self) -> Vec<u32> {
        self.groups.iter().map(|g| g.streams.iter().map(cells::Cells::used).sum()).collect()
    }
    /// Blocks in use per group.
    pub fn used_blocks(&self) -> Vec<u32> {
        self.groups.iter().map(|g| g.pool.n_used()).collect()
    }

    fn stream_of(&self, seq: u32) -> Option<u32> {
        let stream = if self.unified { 0 } else { seq };
        (seq < MAX_SEQ && stream < self.n_streams()).then_some(stream)
    }

    // ---- placing

    /// The tokens per stream, or `Full` for what no memory can hold (a validated batch has none of it).
    fn parts(&self, ub: &Ubatch) -> Result<Vec<Part>, Full> {
        let mut parts: Vec<Part> = Vec::new();
        for i in 0..ub.n_tokens() {
            let stream = self.stream_of(ub.first_seq[i]).ok_or(Full)?;
            let bad = !ub.seqs[i].contains(ub.first_seq[i]) || (!self.unified && ub.seqs[i].len() != 1);
            if bad || !(0..i32::MAX).contains(&ub.pos_of(i)) {
                return Err(Full);
            }
            match parts.iter_mut().find(|p| p.stream == stream) {
                Some(p) => p.tokens.push(i),
                None => parts.push(Part { stream, tokens: vec![i] }),
            }
        }
        Ok(parts)
    }

    /// Places in every group or in none; where, and the log, per group.
    fn place(&mut self, ub: &Ubatch) -> Result<(Vec<Spots>, Vec<Log>), Full> {
        let parts = self.parts(ub)?;
        let (mut at, mut logs, clock) = (Vec::new(), Vec::new(), self.clock);
        self.clock += ub.n_tokens() as u64;
        for g in 0..self.groups.len() {
            match self.groups[g].place(ub, &parts, clock, self.compat) {
                Ok((a, log)) => {
                    at.push(a);
                    logs.push(log);
                }
                Err(Full) => {
                    self.undo(&logs);
                    return Err(Full);
                }
            }
        }
        Ok((at, logs))
    }

    fn undo(&mut self, logs: &[Log]) {
        self.groups.iter_mut().zip(logs).for_each(|(g, log)| g.undo(log));
    }

    /// Whether all of `ubs`, one after the other, would find room. Nothing is changed (they are placed and taken back: O(tokens)).
    pub fn check(&mut self, ubs: &[Ubatch]) -> Result<(), Full> {
        let freed: Vec<usize> = self.groups.iter().map(|g| g.pool.n_freed()).collect();
        let mut done = Vec::new();
        let mut result = Ok(());
        for ub in ubs {
            match self.place(ub) {
                Ok((_, logs)) => done.push(logs),
                Err(Full) => {
                    result = Err(Full);
                    break;
                }
            }
        }
        done.iter().rev().for_each(|logs| self.undo(logs));
        self.take_copies();
        self.groups.iter_mut().zip(freed).for_each(|(g, n)| g.pool.forget_freed(n));
        result
    }

    /// Places `ubs` for good without saying where: for a copy, to see what a memory would hold.
    pub fn occupy(&mut self, ubs: &[Ubatch]) -> Result<(), Full> {
        ubs.iter().try_for_each(|ub| self.place(ub).map(drop))
    }

    /// Gives every token of one ubatch its cells and says what its queries see.
    pub fn apply(&mut self, ub: &Ubatch, causal: bool) -> Result<Placed, Full> {
        let (at, logs) = self.place(ub)?;
        let views = self.groups.iter().zip(&at).map(|(g, at)| views::build(&g.streams, g.spec.window, ub, at, causal)).collect();
        Ok(Placed { views, copies: self.take_copies(), logs })
    }

    fn take_copies(&mut self) -> Vec<RowCopy> {
        self.groups.iter_mut().flat_map(Group::take_copies).collect()
    }

    /// As (group, block).
    #[cfg(test)]
    fn blocks(&self) -> std::collections::BTreeSet<(usize, BlockId)> {
        let of = |(i, g): (usize, &Group)| {
            (0..g.spec.n_blocks_max(self.n_streams())).map(BlockId).filter(|b| g.pool.in_use(*b)).map(move |b| (i, b)).collect::<Vec<_>>()
        };
        self.groups.iter().enumerate().flat_map(of).collect()
    }

    /// The ubatch was computed: it stays.
    pub fn commit(&mut self, p: Placed) {
        drop(p);
    }

    /// The ubatch was not computed, or not to its end: its tokens go, for every sequence. Masked cells that it displaced do not come back, because
    /// their rows may have been written over; nothing that can be decoded next needs them.
    pub fn revert(&mut self, p: Placed) {
        self.groups.iter_mut().zip(&p.logs).for_each(|(g, log)| g.undo_placing(log));
    }

    /// Takes an applied ubatch back of which no row was written: exactly the state before.
    pub fn unplace(&mut self, p: Placed) {
        self.undo(&p.logs);
    }

    /// Blocks without cells, per group, since the last call: their bytes can go.
    pub fn freed(&mut self) -> Vec<(usize, BlockId)> {
        let per_group = |(i, g): (usize, &mut Group)| g.pool.freed().into_iter().map(move |b| (i, b)).collect::<Vec<_>>();
        self.groups.iter_mut().enumerate().flat_map(per_group).collect()
    }

    /// Everything but the clock of arrivals.
    #[cfg(test)]
    fn state(&self) -> impl PartialEq + use<> {
        let group = |g: &Group| (g.streams.iter().map(cells::Cells::state).collect::<Vec<_>>(), g.pool.state());
        self.groups.iter().map(group).collect::<Vec<_>>()
    }
}
