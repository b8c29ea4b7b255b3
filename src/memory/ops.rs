//! What a host does to sequences between decodes (`llama_memory_*`). An operation changes all groups or none: it is done, looked at, and taken
//! back when a sequence it touched could not be decoded further with everything its windows ask for.
use super::cells::{Cell, Cells, Log, Tx, Undo};
use super::group::Group;
use super::runs::{Run, Runs};
use super::snapshots::Edit;
use super::{Changed, Memory, Refused, Shift, Stamp};
use crate::backend::io::{BlockId, SeqSet};

const NO_SEQ: Refused = Refused("no such sequence id");
const NO_ROOM: Refused = Refused("no room for copies of the cells that are shared with other sequences");
const LOST: Refused = Refused("a sliding window would miss cells that are gone");

/// `p0..p1` as asked for, where negative ends are open.
fn clip(p0: i32, p1: i32) -> (i64, i64) {
    (i64::from(p0.max(0)), if p1 < 0 { i64::from(i32::MAX) } else { i64::from(p1) })
}

impl Memory {
    pub(super) fn base_runs(&self, seq: u32) -> Option<&Runs> {
        self.groups[0].runs(self.stream_of(seq)?, seq)
    }

    /// The largest position of a sequence.
    pub fn pos_max(&self, seq: u32) -> Option<i32> {
        let g = if self.compat { self.groups.len() - 1 } else { 0 };
        self.groups[g].runs(self.stream_of(seq)?, seq)?.max()
    }

    /// The smallest p such that every position of p..=pos_max that the base holds is in every group, or can be brought back there; pos_max + 1 when there
    /// is none.
    pub fn pos_min(&self, seq: u32) -> Option<i32> {
        let stream = self.stream_of(seq)?;
        if self.compat {
            return self.groups[self.groups.len() - 1].runs(stream, seq)?.min();
        }
        let base = self.base_runs(seq)?;
        let min = base.min()?;
        let per_group = self.groups[1..].iter().filter_map(|g| g.runs(stream, seq));
        Some(self.lowest(seq, per_group.map(|r| common_from(base, r)).fold(min, i32::max)))
    }

    /// Whether a token at `p` would find in every group all that its window shows of the base's cells before it, or that can be brought back.
    pub fn can_continue(&self, seq: u32, p: i32) -> bool {
        self.window_is_here(seq, p) || self.way_to(seq, p).is_some()
    }

    pub(super) fn window_is_here(&self, seq: u32, p: i32) -> bool {
        let (Some(stream), Some(base)) = (self.stream_of(seq), self.base_runs(seq)) else { return false };
        self.groups[1..].iter().all(|g| {
            let (lo, p) = (i64::from(g.spec.window.lo(p)), i64::from(p));
            g.runs(stream, seq).is_some_and(|r| r.count(lo, p) == base.count(lo, p))
        })
    }

    /// The original's answer to "may positions be shifted", as far as memory goes: all groups have the same size. Advisory, a shift works anyway.
    pub fn can_shift(&self) -> bool {
        self.groups.iter().all(|g| g.spec.size == self.groups[0].spec.size)
    }

    /// Runs `f` on every group, and `edit` on what is known of sequences; all of it stays or none.
    fn change(&mut self, edit: Edit, mut f: impl FnMut(&mut Group) -> Result<(), Refused>) -> Result<Changed, Refused> {
        let done = self.groups.iter_mut().try_for_each(&mut f);
        let logs: Vec<Log> = self.groups.iter_mut().map(Group::take_log).collect();
        let changed = Changed { copies: self.take_copies(), logs, past: self.edit_past(edit) };
        let judged = done.and_then(|()| self.goes_on(&changed.logs));
        match judged {
            Ok(()) => Ok(changed),
            Err(e) => {
                self.take_back_change(&changed);
                Err(e)
            }
        }
    }

    /// Whether every sequence that `logs` touch can be decoded further with all its windows.
    fn goes_on(&self, logs: &[Log]) -> Result<(), Refused> {
        if self.compat || self.first_ring().is_none() {
            return Ok(());
        }
        let goes_on = |s: u32| self.base_runs(s).and_then(Runs::max).is_none_or(|m| self.can_continue(s, m.saturating_add(1)));
        if self.touched(logs).iter().all(goes_on) { Ok(()) } else { Err(LOST) }
    }

    /// The rows have followed.
    pub fn keep_change(&mut self, c: Changed) {
        drop(c);
    }
    /// No row was copied: exactly the state before.
    pub fn take_back_change(&mut self, c: &Changed) {
        self.undo(&c.logs);
        self.put_past_back(&c.past);
    }

    fn touched(&self, logs: &[Log]) -> SeqSet {
        let mut touched = SeqSet::default();
        for (g, log) in self.groups.iter().zip(logs) {
            for (stream, u) in log {
                match u {
                    Undo::Join { seq, .. } | Undo::Leave { seq, .. } => touched.insert(*seq),
                    Undo::Move { cell, .. } => g.streams[*stream as usize].cell(*cell).seqs.iter().for_each(|s| touched.insert(s)),
                    Undo::Put { .. } | Undo::Take { .. } | Undo::Own { .. } => {}
                }
            }
        }
        touched
    }

    /// Removes positions `p0..p1` of one sequence, or of all. A whole sequence always goes.
    pub fn seq_rm(&mut self, seq: Option<u32>, p0: i32, p1: i32) -> Result<(), Refused> {
        let for_good = self.compat || self.first_ring().is_none();
        let range = clip(p0, p1);
        let edit = Edit::Cut { seq, at: range.0 };
        let Some(seq) = seq else {
            return self.change(edit, |g| on_streams(g, |c, tx| c.seqs().for_each(|s| remove(c, s, range, for_good, tx)))).map(drop);
        };
        let stream = self.stream_of(seq).ok_or(NO_SEQ)?;
        if range == clip(-1, -1) {
            self.groups.iter_mut().for_each(|g| g.forget(seq));
            self.edit_past(edit);
            return Ok(());
        }
        self.change(edit, |g| on_stream(g, stream, |c, tx| remove(c, seq, range, for_good, tx))).map(drop)
    }

    /// Removes every other sequence.
    pub fn seq_keep(&mut self, seq: u32) -> Result<(), Refused> {
        let own = self.stream_of(seq).ok_or(NO_SEQ)?;
        let others = |s: &u32| *s != seq && !(self.compat && self.stream_of(*s) != Some(own));
        let others: Vec<u32> = (0..super::MAX_SEQ).filter(others).collect();
        self.groups.iter_mut().for_each(|g| others.iter().for_each(|s| g.forget(*s)));
        self.edit_past(Edit::Keep(seq));
        Ok(())
    }

    /// Moves positions `p0..p1` of a sequence by `delta`; those that fall below 0 go. Cells that it shares stay with the others and are copied for it.
    pub fn seq_add(&mut self, seq: u32, p0: i32, p1: i32, delta: i32) -> Result<Changed, Refused> {
        let (p0, p1) = clip(p0, p1);
        if self.largest_in(seq, p0, p1)?.is_some_and(|p| p.checked_add(delta).is_none_or(|p| p == i32::MAX)) {
            return Err(Refused("positions would exceed 31 bits"));
        }
        self.move_positions(seq, (p0, p1), |c| (c.pos + delta, c.shift.wrapping_add(delta)))
    }

    /// Divides positions `p0..p1` of a sequence by `d`.
    pub fn seq_div(&mut self, seq: u32, p0: i32, p1: i32, d: i32) -> Result<Changed, Refused> {
        if d <= 0 {
            return Err(Refused("positions cannot be divided by zero or less"));
        }
        // The original adds old - new to the pending rotation, the opposite of what moved.
        let sign = if self.compat { -1 } else { 1 };
        self.move_positions(seq, clip(p0, p1), |c| (c.pos / d, c.shift.wrapping_add(sign * (c.pos / d - c.pos))))
    }

    fn largest_in(&self, seq: u32, p0: i64, p1: i64) -> Result<Option<i32>, Refused> {
        let stream = self.stream_of(seq).ok_or(NO_SEQ)?;
        let last = |r: &Runs| r.within(p0, p1).last().map(|r| (r.end() - 1) as i32);
        Ok(self.groups.iter().filter_map(|g| g.runs(stream, seq).and_then(last)).max())
    }

    fn move_positions(&mut self, seq: u32, range: (i64, i64), to: impl Fn(&Cell) -> (i32, i32)) -> Result<Changed, Refused> {
        let stream = self.stream_of(seq).ok_or(NO_SEQ)?;
        let (compat, n_parted) = (self.compat, self.n_parted.wrapping_add(1));
        let edit = Edit::Cut { seq: Some(seq), at: self.lowest_moved(stream, seq, range, |c| to(c).0) };
        let changed = self.change(edit, |g| {
            let parts = |c: &Cell| to(c).0 >= 0 && to(c) != (c.pos, c.shift);
            let room = |g: &mut Group| g.make_room(stream, g.streams[stream as usize].shared_in(seq, range, parts), false);
            if !compat && room(g).is_none() {
                g.leave_masked(stream, seq);
                room(g).ok_or(NO_ROOM)?;
            }
            let (c, mut tx) = g.open(stream);
            move_cells(c, seq, range, &to, (!compat).then_some(n_parted), &mut tx).ok_or(NO_ROOM)
        })?;
        self.n_parted = n_parted;
        Ok(changed)
    }

    /// The smallest position that a cell of `seq` in `range` has or gets.
    fn lowest_moved(&self, stream: u32, seq: u32, (p0, p1): (i64, i64), to: impl Fn(&Cell) -> i32) -> i64 {
        let cells = &self.groups[0].streams[stream as usize];
        let list = cells.runs(seq).map(|r| r.cells(p0, p1)).unwrap_or_default();
        list.into_iter().map(|c| cells.cell(c)).map(|c| c.pos.min(to(c))).min().unwrap_or(i32::MAX).into()
    }

    /// Lets `dst` have positions `p0..p1` of `src` too. In one stream they share cells; otherwise `dst` is replaced, only whole sequences can be
    /// copied, and they share blocks until one of them writes.
    pub fn seq_cp(&mut self, src: u32, dst: u32, p0: i32, p1: i32) -> Result<(), Refused> {
        let (from, to) = (self.stream_of(src).ok_or(NO_SEQ)?, self.stream_of(dst).ok_or(NO_SEQ)?);
        let (p0, p1) = clip(p0, p1);
        if src == dst {
            return Ok(());
        }
        let edit = Edit::Copy { src, dst, at: p0 };
        if from == to {
            let join = |c: &mut Cells, tx: &mut Tx<'_>| {
                c.runs(src).map(|r| r.cells(p0, p1)).unwrap_or_default().into_iter().for_each(|cell| c.join(cell, dst, tx))
            };
            return self.change(edit, |g| on_stream(g, from, join)).map(drop);
        }
        let whole = |r: &Runs| r.count(p0, p1) == u64::from(r.n_cells());
        if !self.groups.iter().all(|g| g.runs(from, src).is_none_or(whole)) {
            return Err(Refused("between streams only whole sequences are copied (kv_unified copies parts)"));
        }
        self.change(edit, |g| copy_across(g, (from, src), (to, dst))).map(drop)
    }

    /// Empties the memory.
    pub fn clear(&mut self) {
        self.groups.iter_mut().for_each(Group::clear);
        self.edit_past(Edit::Cut { seq: None, at: 0 });
    }

    /// Pending rotations of K rows, told once. Rows that streams share are rotated once for all of them.
    pub fn take_shifts(&mut self) -> Vec<Shift> {
        let mut out = Vec::new();
        for (i, g) in self.groups.iter_mut().enumerate() {
            let mut rows = Vec::new();
            for s in 0..g.streams.len() {
                for (cell, delta) in g.streams[s].take_shifts() {
                    rows.extend(g.place_of(s as u32, cell).map(|(block, slot)| (block, slot, delta)));
                }
            }
            rows.sort_unstable();
            rows.dedup_by_key(|r| (r.0, r.1));
            rows.into_iter().for_each(|(block, slot, delta)| add_shift(&mut out, Shift { group: i, block, slot, len: 1, delta }));
        }
        out
    }
}

fn add_shift(out: &mut Vec<Shift>, s: Shift) {
    match out.last_mut() {
        Some(l) if (l.group, l.block, l.delta) == (s.group, s.block, s.delta) && l.slot + l.len == s.slot => l.len += 1,
        _ => out.push(s),
    }
}

fn on_stream(g: &mut Group, stream: u32, f: impl FnOnce(&mut Cells, &mut Tx<'_>)) -> Result<(), Refused> {
    let (cells, mut tx) = g.open(stream);
    f(cells, &mut tx);
    Ok(())
}

fn on_streams(g: &mut Group, mut f: impl FnMut(&mut Cells, &mut Tx<'_>)) -> Result<(), Refused> {
    (0..g.streams.len()).try_for_each(|s| on_stream(g, s as u32, &mut f))
}

/// `for_good`: it will not be refused, so nothing is noted; a log of 100,000 cells is 20 MB.
fn remove(c: &mut Cells, seq: u32, (p0, p1): (i64, i64), for_good: bool, tx: &mut Tx<'_>) {
    for cell in c.runs(seq).map(|r| r.cells(p0, p1)).unwrap_or_default() {
        c.drop_from(cell, seq, tx);
        if for_good {
            tx.log.clear();
        }
    }
}

/// Gives cells of `seq` the position and pending rotation that `to` says. `parted`: those it shares are copied for it, as by that operation;
/// else they move for all their sequences.
fn move_cells(
    c: &mut Cells,
    seq: u32,
    (p0, p1): (i64, i64),
    to: &impl Fn(&Cell) -> (i32, i32),
    parted: Option<u32>,
    tx: &mut Tx<'_>,
) -> Option<()> {
    for cell in c.runs(seq).map(|r| r.cells(p0, p1)).unwrap_or_default() {
        let was = *c.cell(cell);
        match (to(&was), parted.filter(|_| was.seqs.len() > 1)) {
            ((pos, _), Some(_)) if pos < 0 => c.drop_from(cell, seq, tx),
            ((pos, _), None) if pos < 0 => c.evict(cell, tx),
            ((pos, shift), Some(_)) if (pos, shift) == (was.pos, was.shift) => {}
            ((pos, shift), Some(n)) => c.part(cell, seq, Cell { pos, shift, stamp: Stamp::copy(was.stamp, n), ..was }, tx)?,
            ((pos, shift), None) => c.move_to(cell, pos, shift, tx),
        }
    }
    Some(())
}

/// Replaces `dst`'s stream by what `src` holds, cell by cell at the same indices, in the same blocks.
fn copy_across(g: &mut Group, (from, src): (u32, u32), (to, dst): (u32, u32)) -> Result<(), Refused> {
    on_stream(g, to, |c, tx| remove(c, dst, (0, i64::from(i32::MAX)), false, tx))?;
    let source = &g.streams[from as usize];
    let list = source.runs(src).map(|r| r.cells(0, i64::from(i32::MAX))).unwrap_or_default();
    let list: Vec<(u32, Cell, Option<BlockId>)> = list.into_iter().map(|i| (i, *source.cell(i), source.place_of(i).map(|p| p.0))).collect();
    on_stream(g, to, |c, tx| {
        for (i, cell, block) in list {
            c.put_shared(i, cell, dst, block, tx);
            c.join(i, dst, tx);
        }
    })
}

/// The smallest position from which on `part` has everything that `base` has; base's max + 1 when it lacks the last.
fn common_from(base: &Runs, part: &Runs) -> i32 {
    let (Some(max), Some(min)) = (base.max(), base.min()) else { return 0 };
    if base.n_cells() == part.n_cells() {
        return min;
    }
    let mut whole = i64::from(max) + 1;
    let (mut a, mut b) = (base.all().iter().rev().copied(), part.all().iter().rev().copied());
    let (mut x, mut y) = (a.next(), b.next());
    while let (Some(p), Some(q)) = (x, y) {
        if p.end() != q.end() {
            break;
        }
        let n = p.len.min(q.len);
        whole = p.end() - i64::from(n);
        let rest = |r: Run, more: Option<Run>| if r.len == n { more } else { Some(Run { len: r.len - n, ..r }) };
        x = if p.len == n { a.next() } else { rest(p, None) };
        y = if q.len == n { b.next() } else { rest(q, None) };
    }
    // A position of which only some cells are left does not count.
    if x.is_some_and(|p| p.end() - 1 == whole) {
        whole = base.within(whole + 1, i64::MAX).next().map_or(i64::from(max) + 1, |r| i64::from(r.pos));
    }
    whole.min(i64::from(i32::MAX)) as i32
}
