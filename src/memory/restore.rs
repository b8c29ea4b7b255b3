//! Reading out who sits where, and putting cells back: all groups or none. Bookkeeping only: rows are moved by `rows`, formats are not known here.
pub use super::cells::CellExt;
use super::cells::{Cell, Cells, Log, Tx};
use super::group::Group;
use super::runs::Runs;
use super::snapshots::Before;
use super::window::Window;
use super::{Full, Memory, Placed, RowCopy, Stamp};
use crate::backend::io::{BlockId, SeqSet, Views};

/// One cell, apart from where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub pos: i32,
    pub seqs: SeqSet,
    /// Order of arrival, the same number in every group; what a state file does not say.
    pub stamp: u64,
    pub ext: CellExt,
}

impl Held {
    pub(super) fn of(c: &Cell) -> Held {
        Held { pos: c.pos, seqs: c.seqs, stamp: c.stamp, ext: c.ext }
    }
}

/// Row `row` of a list lies in `slot` of `block`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowAt {
    pub row: u32,
    pub block: BlockId,
    pub slot: u16,
}

/// Cells were put; rows are to follow. Ends in `keep` or `take_back`.
#[derive(Debug)]
pub struct Replaced {
    /// Per group, stream by stream, in each ascending in `row`; a row may have several places (one per stream) or none.
    pub rows: Vec<Vec<RowAt>>,
    /// Rows of cells that were there before may be written over.
    pub displaces: bool,
    /// Rows that leave blocks shared with another stream, in this order, before any is written.
    pub copies: Vec<RowCopy>,
    logs: Vec<Log>,
    /// What was known of sequences before.
    past: Before,
}

impl Replaced {
    /// Tokens that are to be computed.
    pub(super) fn into_placed(self, views: Vec<Views>) -> Placed {
        Placed { views, copies: self.copies, logs: self.logs }
    }
}

impl Memory {
    /// Cells of a stream by index, with their places: all, or those of `seq` that its own window does not hide from its last position. By arrival
    /// where a sequence has several at one position, for a list says who came first by its order alone.
    pub fn held(&self, group: usize, stream: u32, seq: Option<u32>) -> Vec<(RowAt, Held)> {
        self.held_as(group, stream, seq, false)
    }

    /// The same; with `masked` all cells of `seq` that are still there.
    pub fn held_as(&self, group: usize, stream: u32, seq: Option<u32>, masked: bool) -> Vec<(RowAt, Held)> {
        let Some((g, cells)) = self.groups.get(group).and_then(|g| Some((g, g.streams.get(stream as usize)?))) else { return Vec::new() };
        let mut list: Vec<u32> = match seq {
            None => (0..cells.size()).filter(|c| !cells.is_free(*c)).collect(),
            Some(s) => of_seq(cells, s, if masked { Window::All } else { g.spec.window }),
        };
        if cells.seqs().filter_map(|s| cells.runs(s)).any(Runs::has_twins) {
            list.sort_by_key(|c| cells.cell(*c).stamp);
        }
        let one = |c: u32| {
            let (cell, (block, slot)) = (cells.cell(c), cells.place_of(c)?);
            Some((block, slot, Held { seqs: seq.map_or(cell.seqs, SeqSet::one), ..Held::of(cell) }))
        };
        list.into_iter().filter_map(one).enumerate().map(|(i, (block, slot, h))| (RowAt { row: i as u32, block, slot }, h)).collect()
    }

    /// Whether a sequence holds one cell for each position from 0 to `n` and nothing else.
    pub fn is_row_of(&self, seq: u32, n: usize) -> bool {
        let Some(runs) = self.stream_of(seq).and_then(|s| self.groups[0].runs(s, seq)) else { return false };
        let end = runs.all().iter().try_fold(0, |at, r| (i64::from(r.pos) == at).then_some(r.end()));
        end == Some(n as i64)
    }

    /// Takes the order of arrival from a memory that holds the same positions of the same sequences, in whatever cells.
    pub fn arrive_as(&mut self, like: &Memory) {
        for (g, l) in self.groups.iter_mut().zip(&like.groups) {
            for (cells, from) in g.streams.iter_mut().zip(&l.streams) {
                for seq in cells.seqs() {
                    let list = |c: &Cells| c.runs(seq).map(|r| r.cells(0, i64::from(i32::MAX))).unwrap_or_default();
                    for (to, from_cell) in list(cells).into_iter().zip(list(from)) {
                        cells.set_stamp(to, from.cell(from_cell).stamp);
                    }
                }
            }
        }
        self.clock = like.clock;
    }

    /// Number of the next arrival.
    pub fn clock(&self) -> u64 {
        self.clock
    }

    /// Replaces everything (`seq` None) or one sequence by `lists`, one list per group; `None` leaves a group as it is.
    /// Nothing has changed where there is no room.
    pub fn replace(&mut self, seq: Option<u32>, lists: &[Option<Vec<Held>>]) -> Result<Replaced, Full> {
        let (mut done, mut displaces) = (Ok(()), false);
        let mut rows = vec![Vec::new(); self.groups.len()];
        for (g, list) in lists.iter().enumerate().take(self.groups.len()) {
            let Some(list) = list else { continue };
            let group = &mut self.groups[g];
            displaces |= remove(group, seq);
            let parts = parts(group, list, !self.unified);
            for (stream, part) in &parts {
                done =
                    done.and_then(|()| put(group, *stream, seq, list, part, self.compat, &mut rows[g])).map(|evicted| displaces |= evicted);
            }
        }
        let last = lists.iter().flatten().flatten().map(|h| Stamp::arrival(h.stamp) + 1).max();
        let replaced = self.replaced(done, rows)?;
        self.clock = self.clock.max(last.unwrap_or(0));
        let past = self.forget_past(seq, lists.first().is_some_and(Option::is_some));
        Ok(Replaced { displaces, past, ..replaced })
    }

    /// What was done to cells since the last log, or nothing if it is not `done`.
    pub(super) fn replaced(&mut self, done: Result<(), Full>, rows: Vec<Vec<RowAt>>) -> Result<Replaced, Full> {
        let logs: Vec<Log> = self.groups.iter_mut().map(Group::take_log).collect();
        if done.is_err() {
            self.undo(&logs);
            return Err(Full);
        }
        Ok(Replaced { rows, displaces: false, copies: self.take_copies(), logs, past: Before::new() })
    }

    /// The rows are there.
    pub fn keep(&mut self, r: Replaced) {
        drop(r);
    }

    /// No row was written: exactly the state before.
    pub fn take_back(&mut self, r: Replaced) {
        self.undo(&r.logs);
        self.put_past_back(&r.past);
    }

    /// Some rows were written: the cells that they were for are empty, and so is what they displaced.
    pub(super) fn undo_placing(&mut self, r: &Replaced) {
        self.groups.iter_mut().zip(&r.logs).for_each(|(g, log)| g.undo_placing(log));
    }
}

/// Cells of `seq` by index without those that a token at its last position does not see.
fn of_seq(cells: &Cells, seq: u32, window: Window) -> Vec<u32> {
    let Some((runs, max)) = cells.runs(seq).and_then(|r| Some((r, r.max()?))) else { return Vec::new() };
    let mut list = runs.cells(i64::from(window.lo(max)), i64::from(i32::MAX));
    list.sort_unstable();
    list
}

/// Frees what is to be replaced; whether there was anything.
fn remove(g: &mut Group, seq: Option<u32>) -> bool {
    let mut any = false;
    for s in 0..g.streams.len() as u32 {
        let (cells, mut tx) = g.open(s);
        for q in seq.map_or(cells.seqs(), |q| q..q + 1) {
            let all = cells.runs(q).map(|r| r.cells(0, i64::from(i32::MAX))).unwrap_or_default();
            any |= !all.is_empty();
            all.into_iter().for_each(|c| cells.drop_from(c, q, &mut tx));
        }
    }
    any
}

/// Rows of `list` per stream; a ring too small for all takes those that can still be seen.
fn parts(g: &Group, list: &[Held], per_seq: bool) -> Vec<(u32, Vec<u32>)> {
    let mut parts: Vec<(u32, Vec<u32>)> = Vec::new();
    for (i, h) in list.iter().enumerate() {
        let streams: Vec<u32> = if per_seq { h.seqs.iter().collect() } else { vec![0] };
        for s in streams {
            match parts.iter_mut().find(|p| p.0 == s) {
                Some(p) => p.1.push(i as u32),
                None => parts.push((s, vec![i as u32])),
            }
        }
    }
    let large = |p: &(u32, Vec<u32>)| p.1.len() > g.spec.size as usize;
    if parts.iter().any(large) {
        let mut max = vec![0; SeqSet::MAX as usize];
        list.iter().for_each(|h| h.seqs.iter().for_each(|s| max[s as usize] = h.pos.max(max[s as usize])));
        let seen = |i: &u32| list[*i as usize].seqs.iter().any(|s| list[*i as usize].pos >= g.spec.window.lo(max[s as usize]));
        parts.iter_mut().filter(|p| large(p)).for_each(|p| p.1.retain(seen));
    }
    parts
}

/// Gives the rows of one stream their cells: consecutive ones where there is room for that. Whether others' masked cells went for it.
pub(super) fn put(
    g: &mut Group,
    stream: u32,
    seq: Option<u32>,
    list: &[Held],
    part: &[u32],
    compat: bool,
    out: &mut Vec<RowAt>,
) -> Result<bool, Full> {
    if stream as usize >= g.streams.len() {
        return Err(Full);
    }
    let free = g.streams[stream as usize].size() - g.streams[stream as usize].used();
    g.make_room(stream, part.len(), compat).ok_or(Full)?;
    let (cells, mut tx) = g.open(stream);
    let mut next = cells.free_run(part.len() as u32);
    for &row in part {
        let h = &list[row as usize];
        let home = seq.or_else(|| h.seqs.iter().next());
        let cell = next.or_else(|| cells.next_cell(home.unwrap_or(0))).ok_or(Full)?;
        next = next.map(|c| c + 1);
        put_one(cells, cell, h, home, &mut tx);
        let (block, slot) = cells.place_of(cell).ok_or(Full)?;
        out.push(RowAt { row, block, slot });
    }
    Ok((free as usize) < part.len())
}

fn put_one(cells: &mut Cells, cell: u32, h: &Held, home: Option<u32>, tx: &mut Tx<'_>) {
    cells.put(cell, Cell { pos: h.pos, stamp: h.stamp, ext: h.ext, ..Cell::default() }, home, tx);
    let here = cells.seqs();
    for s in h.seqs.iter().filter(|s| here.contains(s)) {
        cells.join(cell, s, tx);
    }
}

impl Cells {
    /// The first of `n` free cells in a row, at the start of a block where possible.
    fn free_run(&self, n: u32) -> Option<u32> {
        let (mut at, mut anywhere) = (0, None);
        while at < self.size() {
            let end = (at..self.size()).find(|c| !self.is_free(*c)).unwrap_or(self.size());
            let aligned = at.next_multiple_of(self.cells_per_block());
            if aligned.saturating_add(n) <= end {
                return Some(aligned);
            }
            anywhere = anywhere.or((end - at >= n).then_some(at));
            at = (end..self.size()).find(|c| self.is_free(*c)).unwrap_or(self.size());
        }
        anywhere
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{span, spec};
    use super::*;

    fn list(seq: u32, p: std::ops::Range<i32>) -> Option<Vec<Held>> {
        Some(p.map(|pos| Held { pos, seqs: SeqSet::one(seq), stamp: pos as u64, ext: CellExt::NONE }).collect())
    }
    fn memory(unified: bool) -> Memory {
        Memory::new(vec![spec(Window::All, 128), spec(Window::Sliding(16), 64)], 4, unified).expect("valid")
    }
    fn decode(m: &mut Memory, seq: u32, p: std::ops::Range<i32>) {
        let placed = m.apply(&span(seq, p), true).expect("room");
        m.commit(placed);
    }

    #[test]
    fn free_runs_start_at_blocks() {
        let mut m = memory(true);
        decode(&mut m, 0, 0..40);
        decode(&mut m, 0, 40..69);
        let cells = &m.groups[0].streams[0];
        assert_eq!(cells.free_run(32), Some(96));
        assert_eq!(cells.free_run(33), Some(69));
        assert_eq!(cells.free_run(60), None);
    }

    #[test]
    fn a_sequence_is_replaced_or_nothing_happens() {
        let mut m = memory(true);
        decode(&mut m, 0, 0..40);
        decode(&mut m, 1, 0..40);
        let before = m.state();
        assert_eq!(m.replace(Some(1), &[list(1, 0..100), list(1, 84..100)]).err(), Some(Full));
        assert!(before == m.state());
        let r = m.replace(Some(1), &[list(1, 0..60), list(1, 44..60)]).expect("room");
        assert!(r.displaces && r.rows[0].len() == 60 && r.rows[1].len() == 16);
        assert_eq!((m.pos_min(1), m.pos_max(1)), (Some(44), Some(59)));
        m.take_back(r);
        assert!(before == m.state());
    }

    #[test]
    fn everything_is_replaced_in_any_kind_of_memory() {
        for unified in [true, false] {
            let mut m = memory(unified);
            decode(&mut m, 0, 0..10);
            let before = m.state();
            let mut shared: Vec<Held> = list(0, 0..20).expect("some");
            shared.iter_mut().for_each(|h| h.seqs.insert(3));
            let lists = [Some(shared.clone()), Some(shared)];
            let r = m.replace(None, &lists).expect("room");
            assert_eq!(r.rows[0].len(), if unified { 20 } else { 40 });
            assert_eq!((m.pos_min(3), m.pos_max(0)), (Some(0), Some(19)));
            assert_eq!(m.held(0, 0, Some(0)).iter().map(|(r, h)| (r.slot, h.pos)).next(), Some((0, 0)));
            m.take_back(r);
            assert!(before == m.state());
        }
    }

    #[test]
    fn cells_of_one_position_come_back_in_the_order_of_their_arrival() {
        let mut m = memory(true);
        let mut of_two = list(1, 5..6).expect("one");
        of_two.extend(list(1, 4..5).expect("one"));
        of_two[0].stamp = 9;
        let r = m.replace(Some(1), &[Some(of_two), list(1, 4..6)]).expect("room");
        m.keep(r);
        let stamps = |m: &Memory| m.held(0, 0, Some(1)).iter().map(|h| h.1.stamp).collect::<Vec<_>>();
        assert_eq!(stamps(&m), [9, 4]);
        m.seq_add(1, 5, 6, -1).expect("a position that is taken");
        assert_eq!(stamps(&m), [4, 9]);
    }

    #[test]
    fn a_small_ring_takes_what_can_be_seen() {
        let mut m = memory(true);
        let r = m.replace(Some(2), &[list(2, 0..100), list(2, 0..100)]).expect("room");
        assert_eq!((r.rows[1].len(), r.rows[1][0].row), (16, 84));
        m.keep(r);
        assert!(m.can_continue(2, 100));
        let held = m.held(1, 0, Some(2));
        assert_eq!((held.len(), held[0].1.pos), (16, 84));
    }
}
