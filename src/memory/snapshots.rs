//! Windows that can be brought back. What a decode has stored in a ring is kept outside of it every so often, with the numbers of the tokens that came
//! since: a position whose window the ring has given up is reached again by putting rows back and computing the few tokens in between once more.
//! Knows positions, rows and bytes; not what the numbers mean, nor how anything is computed.
//!
//! A row is kept once, in segments of consecutive positions that sequences share. A snapshot at s is the rows of `lo(s)..s` of every window: where
//! windows are longer than the distance of snapshots it costs only the rows since the one before, and every position between is at hand without
//! computing at all; where they are shorter nothing is kept of what lies between. (Keeping each row as the ring gives it up would need every row of
//! every window: as much as no ring at all.)
use super::cells::{Cells, Tx};
use super::group::Group;
use super::history::History;
use super::restore::{Held, Replaced, RowAt, put};
use super::rows::{Rows, pieces};
use super::runs::Runs;
use super::store::Store;
use super::window::Window;
use super::{Full, Memory, Placed, views};
use crate::backend::io::{SeqSet, Ubatch};
use platform::mmap::Owned;
use platform::pressure::Guard;
use platform::{Result, log};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Tokens between snapshots where nobody says another number: what is computed again stays below 2 % of a prompt of 32k (655 tokens).
pub const EVERY: u32 = 512;
/// How many snapshots may stand close together behind a sequence's end before thinning starts; halved until the rest fits.
const DENSE: i64 = 64;

/// Rows of one group at consecutive positions: [plane][layer][n][row].
#[derive(Debug)]
struct Segment {
    start: i32,
    bytes: Owned,
    n: usize,
    meter: Arc<AtomicUsize>,
}

impl Drop for Segment {
    fn drop(&mut self) {
        self.meter.fetch_sub(self.bytes.bytes().len(), Ordering::Relaxed);
    }
}

fn planes(store: &Store) -> impl Iterator<Item = Rows<'_>> {
    let n = store.group().layers.iter().flatten().map(|l| l.planes.len()).max().unwrap_or(0);
    (0..n).flat_map(|i| store.planes(i))
}

impl Segment {
    fn gather(store: &Store, start: i32, at: &[RowAt], meter: &Arc<AtomicUsize>) -> Result<Segment> {
        let (n, from) = (at.len(), pieces(at));
        let size = planes(store).map(|r| r.row_bytes() * n).sum();
        Guard::system().allow(size)?;
        let mut bytes = Owned::new(size)?;
        meter.fetch_add(bytes.bytes().len(), Ordering::Relaxed);
        let mut rest = bytes.bytes_mut();
        for rows in planes(store) {
            let (here, more) = rest.split_at_mut(rows.row_bytes() * n);
            rows.gather(&from, 0..n as u32, here)?;
            rest = more;
        }
        Ok(Segment { start, bytes, n, meter: meter.clone() })
    }

    /// The rows of positions `p` to where `at` says: its rows from `row` on.
    fn scatter(&self, store: &Store, p: Range<i32>, at: &[super::rows::Piece], row: u32) -> Result<()> {
        let (skip, n) = ((p.start - self.start) as usize, p.len());
        let mut rest = self.bytes.bytes();
        for rows in planes(store) {
            let (here, more) = rest.split_at(rows.row_bytes() * self.n);
            rows.scatter(at, row..row + n as u32, &here[skip * rows.row_bytes()..(skip + n) * rows.row_bytes()])?;
            rest = more;
        }
        Ok(())
    }
}

/// The part of a segment that a sequence has.
#[derive(Clone, Debug)]
struct Kept {
    range: Range<i32>,
    rows: Arc<Segment>,
}

#[derive(Clone, Copy, Debug)]
struct Point {
    at: i32,
    /// Begins what is known: without it nothing behind it can be computed again.
    first: bool,
}

/// One sequence: what is known of it, and which rows are kept.
#[derive(Clone, Debug, Default)]
pub(super) struct SeqPast {
    history: History,
    /// Per group; disjoint, in order.
    kept: Vec<Vec<Kept>>,
    /// Ascending.
    points: Vec<Point>,
    /// The rings hold what a state said, not what was computed here.
    foreign: bool,
    used: u64,
}

impl SeqPast {
    fn cut(&mut self, at: i32) {
        if at <= 0 {
            *self = SeqPast { used: self.used, ..SeqPast::default() };
            return;
        }
        self.history.cut(at);
        self.points.retain(|p| p.at <= at);
        for list in &mut self.kept {
            list.retain(|k| k.range.start < at);
            list.iter_mut().for_each(|k| k.range.end = k.range.end.min(at));
        }
    }

    fn kept(&self, g: usize) -> &[Kept] {
        self.kept.get(g).map_or(&[], Vec::as_slice)
    }
    fn ranges(&self, g: usize) -> Vec<Range<i32>> {
        self.kept(g).iter().map(|k| k.range.clone()).collect()
    }

    fn keep(&mut self, g: usize, k: Kept) {
        if self.kept.len() <= g {
            self.kept.resize_with(g + 1, Vec::new);
        }
        let i = self.kept[g].partition_point(|o| o.range.start < k.range.start);
        self.kept[g].insert(i, k);
    }

    /// Where the rows of all groups that end at `p` without a gap begin.
    fn kept_below(&self, p: i32, rings: &[usize]) -> i32 {
        let below =
            |g: usize| self.kept(g).iter().rev().fold(p, |p, k| if k.range.end >= p && k.range.start < p { k.range.start } else { p });
        rings.iter().map(|g| below(*g)).max().unwrap_or(p)
    }

    /// Snapshots are as far apart as they are from the end, divided by `dense`: a rewind by d tokens computes 2d/dense of them again at most.
    fn thin(&mut self, every: u32, dense: i64, windows: &[Window]) {
        let (end, every) = (self.points.last().map_or(0, |p| i64::from(p.at)), i64::from(every));
        let level = |at: i64| ((end - at) / (dense * every)).checked_ilog2().map_or(0, |l| l + 1);
        self.points.retain(|p| p.first || (i64::from(p.at) / every) % (1 << level(i64::from(p.at))) == 0);
        self.drop_unneeded(windows);
    }

    fn drop_unneeded(&mut self, windows: &[Window]) {
        let points = &self.points;
        for (list, w) in self.kept.iter_mut().zip(windows) {
            list.retain(|k| points.iter().any(|p| w.lo(p.at) < k.range.end && k.range.start < p.at));
        }
    }
}

/// What all sequences of a memory have been, as far as it is kept.
#[derive(Clone, Debug)]
pub(super) struct Past {
    every: u32,
    /// Most bytes of rows.
    budget: usize,
    /// Per group.
    windows: Vec<Window>,
    seqs: Vec<SeqPast>,
    meter: Arc<AtomicUsize>,
}

impl Past {
    fn is_over(&self) -> bool {
        self.meter.load(Ordering::Relaxed) > self.budget
    }

    /// Makes kept rows fit: first by thinning, the same for all; then the oldest of the sequence that was longest not decoded goes.
    fn thin(&mut self) {
        let mut dense = DENSE;
        while self.is_over() && dense > 0 {
            self.seqs.iter_mut().for_each(|s| s.thin(self.every, dense, &self.windows));
            dense /= 2;
        }
        while self.is_over() {
            let Some(s) = self.seqs.iter_mut().filter(|s| !s.points.is_empty()).min_by_key(|s| s.used) else { return };
            s.points.remove(0);
            s.drop_unneeded(&self.windows);
        }
    }
}

/// What an operation does to what is known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Edit {
    /// Of one or of all: what stands at `at` and behind it is no longer what was computed from what is before.
    Cut {
        seq: Option<u32>,
        at: i64,
    },
    /// `dst` got cells of `src` from `at` on.
    Copy {
        src: u32,
        dst: u32,
        at: i64,
    },
    Keep(u32),
}

/// Group, positions and places of rows that are to be kept.
type Wanted = (usize, Range<i32>, Vec<RowAt>);

/// What was known before a change, of the sequences that it touches.
pub(super) type Before = Vec<(u32, SeqPast)>;

/// Rows that were put back; see `Memory::put_back`.
#[derive(Debug)]
pub struct Back {
    seq: u32,
    pub placed: Replaced,
    /// Per group: the positions of its rows.
    gaps: Vec<Vec<Range<i32>>>,
}

/// How much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    pub snapshots: usize,
    pub bytes: usize,
}

// ---- ranges of positions

/// Positions of `runs` in `lo..hi`; `None` where one is taken twice.
fn ranges(runs: &Runs, lo: i32, hi: i32) -> Option<Vec<Range<i32>>> {
    let mut out: Vec<Range<i32>> = Vec::new();
    for r in runs.within(i64::from(lo), i64::from(hi)) {
        match out.last_mut() {
            Some(l) if l.end > r.pos => return None,
            Some(l) if l.end == r.pos => l.end = r.end() as i32,
            _ => out.push(r.pos..r.end() as i32),
        }
    }
    Some(out)
}

/// What of `want` is not in `have`; both are in order.
fn minus(want: &[Range<i32>], have: &[Range<i32>]) -> Vec<Range<i32>> {
    let mut out = Vec::new();
    for w in want {
        let mut at = w.start;
        let first = have.partition_point(|h| h.end <= at);
        for h in have[first..].iter().take_while(|h| h.start < w.end) {
            out.push(at..h.start);
            at = at.max(h.end);
        }
        out.push(at..w.end);
    }
    out.retain(|r| r.start < r.end);
    out
}

fn end_of(runs: Option<&Runs>) -> Option<i32> {
    runs.and_then(Runs::max).map(|m| m.saturating_add(1))
}

fn drop_from(cells: &mut Cells, seq: u32, p0: i32, tx: &mut Tx<'_>) {
    for c in cells.runs(seq).map(|r| r.cells(i64::from(p0), i64::from(i32::MAX))).unwrap_or_default() {
        cells.drop_from(c, seq, tx);
    }
}

impl Memory {
    pub fn keeps_past(&self) -> bool {
        self.past.is_some()
    }
    /// Keeps a snapshot every `every` tokens, of `budget` bytes at most altogether. Without windows, or where rewinds are never refused, there is
    /// nothing to bring back; a symmetric window sees what comes later, which depends on how a batch was cut.
    pub fn keep_past(&mut self, every: u32, budget: usize) {
        let windows: Vec<Window> = self.groups.iter().map(|g| g.spec.window).collect();
        let gives_up = self.groups.iter().any(|g| g.spec.window != Window::All && !g.spec.keep_masked);
        if every == 0 || self.compat || !gives_up || windows.iter().any(|w| matches!(w, Window::Symmetric(_))) {
            return;
        }
        let seqs = vec![SeqPast::default(); super::MAX_SEQ as usize];
        self.past = Some(Past { every, budget, windows, seqs, meter: Arc::default() });
    }

    /// Tokens would be computed to other rows from now on than those that they have: none of them is known any more.
    pub fn forget_tokens(&mut self) {
        self.past.iter_mut().flat_map(|p| &mut p.seqs).for_each(|s| s.history = History::default());
    }

    /// Snapshots of all sequences, and the bytes of all rows that are kept.
    pub fn kept(&self) -> Sizes {
        self.past.as_ref().map_or_else(Sizes::default, |p| Sizes {
            snapshots: p.seqs.iter().map(|s| s.points.len()).sum(),
            bytes: p.meter.load(Ordering::Relaxed),
        })
    }

    fn ring_numbers(&self) -> Vec<usize> {
        self.rings().map(|(g, _)| g).collect()
    }

    fn past_of(&self, seq: u32) -> Option<&SeqPast> {
        self.past.as_ref()?.seqs.get(seq as usize)
    }

    // ---- questions

    /// Per group the positions that the window at `p` misses in its ring; `None` where positions are taken twice.
    fn gaps(&self, seq: u32, p: i32, foreign: bool) -> Option<Vec<Vec<Range<i32>>>> {
        let stream = self.stream_of(seq)?;
        let base = self.groups[0].runs(stream, seq)?;
        let of = |g: &Group| {
            if g.spec.window == Window::All {
                return Some(Vec::new());
            }
            let (lo, none) = (g.spec.window.lo(p), Runs::default());
            let ring = g.runs(stream, seq).filter(|_| !foreign).unwrap_or(&none);
            Some(minus(&ranges(base, lo, p)?, &ranges(ring, lo, p)?))
        };
        std::iter::once(Some(Vec::new())).chain(self.groups[1..].iter().map(of)).collect()
    }

    /// Whether the rows that a window at `p` misses are kept.
    fn at_hand(&self, seq: u32, past: &SeqPast, p: i32) -> bool {
        let gaps = self.gaps(seq, p, past.foreign);
        gaps.is_some_and(|gaps| gaps.iter().enumerate().all(|(g, want)| minus(want, &past.ranges(g)).is_empty()))
    }

    /// Positions in `known` and at its end where a window may be at hand.
    fn stops(&self, seq: u32, past: &SeqPast, known: &Range<i32>) -> Vec<i32> {
        let rings = self.rings().flat_map(|(_, g)| {
            let end = self.stream_of(seq).and_then(|s| end_of(g.runs(s, seq)));
            [Some(g.spec.window.lo(known.end)), end].into_iter().flatten()
        });
        let kept = past.kept.iter().flatten().map(|k| k.range.end);
        let mut stops: Vec<i32> = kept.chain(rings).filter(|s| known.contains(s)).chain([known.start, known.end]).collect();
        stops.sort_unstable();
        stops.dedup();
        stops
    }

    /// From where on tokens have to be computed again for a window at `p`: the largest s <= p whose window is at hand and from which `p` is known.
    pub(super) fn way_to(&self, seq: u32, p: i32) -> Option<i32> {
        let past = self.past_of(seq)?;
        let stops = self.stops(seq, past, &past.history.up_to(p));
        stops.into_iter().rev().find(|s| self.at_hand(seq, past, *s))
    }

    /// What makes the windows of `seq` whole: rows are put back at the start of this, its tokens are computed again, and rows are put back at its end if
    /// that is not where the sequence goes on. `None` where they are whole, or cannot be made so.
    pub fn owed(&self, seq: u32) -> Option<Range<i32>> {
        let (past, p) = (self.past_of(seq)?, self.pos_max(seq)?.saturating_add(1));
        if self.window_is_here(seq, p) {
            return None;
        }
        let from = self.way_to(seq, p)?;
        Some(from..past.kept_below(p, &self.ring_numbers()).max(from))
    }

    /// Whether a decode could go on at `p` if what is there and behind it were removed.
    pub fn can_go_on(&self, seq: u32, p: i32) -> bool {
        let last = self.base_runs(seq).and_then(|r| r.within(0, i64::from(p)).last());
        last.is_none_or(|r| r.end() == i64::from(p) && self.can_continue(seq, p))
    }

    /// The sequences of which something is owed.
    pub fn owing(&self) -> Vec<u32> {
        let all = 0..if self.past.is_some() { super::MAX_SEQ } else { 0 };
        all.filter(|s| self.owed(*s).is_some()).collect()
    }

    pub fn ids(&self, seq: u32, p: Range<i32>) -> Option<Vec<i32>> {
        self.past_of(seq)?.history.ids(p)
    }

    /// `held`, the smallest position from which on all are in every group, or the smallest from which on all are that or can be brought back. A position
    /// that is known, but not followed by known ones only, is not counted: it comes back, but what follows it does not.
    pub(super) fn lowest(&self, seq: u32, held: i32) -> i32 {
        let Some((past, base)) = self.past_of(seq).zip(self.base_runs(seq)) else { return held };
        let (Some(min), Some(end)) = (base.min(), end_of(Some(base))) else { return held };
        let rings = self.ring_numbers();
        let mut low = if past.foreign { held } else { past.kept_below(held, &rings) };
        let known = past.history.up_to(end);
        if !known.is_empty()
            && let Some(s) = self.stops(seq, past, &known).into_iter().find(|s| self.at_hand(seq, past, *s))
        {
            low = low.min(past.kept_below(s, &rings));
        }
        low.max(min)
    }

    // ---- taking down

    /// A ubatch was computed: its tokens are known now, and windows that are due are kept.
    pub fn remember(&mut self, stores: &[Store], ub: &Ubatch, causal: bool) {
        let points = self.note(ub, causal);
        let mut shared = Vec::new();
        for (seq, p) in &points {
            if let Err(e) = self.snapshot(stores, *seq, *p, &mut shared) {
                log::warn(format!("sequence {seq}: no snapshot at {}: {e}", p.at));
            }
        }
        if let Some(past) = self.past.as_mut().filter(|_| !points.is_empty()) {
            past.thin();
        }
    }

    /// Writes the tokens down; where snapshots are due. Embeddings have no number, and what a token that looks ahead has seen is a matter of its ubatch.
    fn note(&mut self, ub: &Ubatch, causal: bool) -> Vec<(u32, Point)> {
        let mut points = Vec::new();
        let Some(past) = &mut self.past else { return points };
        let known = causal && ub.tokens.len() == ub.n_tokens() && ub.n_pos_per_token == 1;
        for i in 0..ub.n_tokens() {
            let pos = ub.pos_of(i);
            for seq in ub.seqs[i].iter() {
                let Some(one) = past.seqs.get_mut(seq as usize) else { continue };
                if one.foreign {
                    *one = SeqPast::default();
                }
                one.used = self.clock;
                if !known {
                    one.history.close();
                } else if one.history.push(pos, ub.tokens[i]) {
                    points.push((seq, Point { at: pos, first: true }));
                }
                if ((pos + 1) as u32).is_multiple_of(past.every) {
                    points.push((seq, Point { at: pos + 1, first: false }));
                }
            }
        }
        points
    }

    /// Keeps the rows of the windows at `p` that are not kept yet. Nothing happens where a window is not whole, or nothing is in it.
    fn snapshot(&mut self, stores: &[Store], seq: u32, p: Point, shared: &mut Vec<(usize, Vec<RowAt>, Arc<Segment>)>) -> Result<()> {
        let Some(wanted) = self.to_keep(seq, p.at) else { return Ok(()) };
        let Some(past) = &mut self.past else { return Ok(()) };
        for (g, range, at) in wanted {
            let same = shared.iter().find(|s| s.0 == g && s.1 == at && s.2.start == range.start).map(|s| s.2.clone());
            let rows = match same {
                Some(rows) => rows,
                None => Arc::new(Segment::gather(&stores[g], range.start, &at, &past.meter)?),
            };
            shared.push((g, at, rows.clone()));
            past.seqs[seq as usize].keep(g, Kept { range, rows });
        }
        let points = &mut past.seqs[seq as usize].points;
        match points.binary_search_by_key(&p.at, |o| o.at) {
            Ok(i) => points[i].first |= p.first,
            Err(i) => points.insert(i, p),
        }
        Ok(())
    }

    /// What the windows at `p` show and is not kept; `None` where it is not all there, or nothing.
    fn to_keep(&self, seq: u32, p: i32) -> Option<Vec<Wanted>> {
        let (past, stream) = (self.past_of(seq)?, self.stream_of(seq)?);
        let (mut out, mut any) = (Vec::new(), false);
        for (g, group) in self.rings() {
            let lo = group.spec.window.lo(p);
            let want = ranges(self.groups[0].runs(stream, seq)?, lo, p)?;
            any |= !want.is_empty();
            for gap in minus(&want, &past.ranges(g)) {
                let cells = group.runs(stream, seq)?.cells(i64::from(gap.start), i64::from(gap.end));
                let at = cells.iter().enumerate().filter_map(|(i, c)| {
                    let (block, slot) = group.place_of(stream, *c)?;
                    Some(RowAt { row: i as u32, block, slot })
                });
                let at: Vec<RowAt> = at.collect();
                if at.len() != gap.len() {
                    return None;
                }
                out.push((g, gap, at));
            }
        }
        any.then_some(out)
    }

    // ---- changes

    /// Does to what is known what was done to the cells; what it was.
    pub(super) fn edit_past(&mut self, e: Edit) -> Before {
        let copied = match e {
            Edit::Copy { src, dst, at } if self.past.is_some() => Some(self.copied(src, dst, at as i32)),
            _ => None,
        };
        let Some(past) = &mut self.past else { return Before::new() };
        let all = 0..past.seqs.len() as u32;
        let (touched, at): (Vec<u32>, i32) = match e {
            Edit::Cut { seq, at } => (seq.map_or(all.clone(), |s| s..s + 1).collect(), at as i32),
            Edit::Copy { dst, .. } => (vec![dst], 0),
            Edit::Keep(seq) => (all.filter(|s| *s != seq).collect(), 0),
        };
        let mut before = Before::new();
        for s in touched {
            let Some(one) = past.seqs.get_mut(s as usize) else { continue };
            before.push((s, one.clone()));
            match &copied {
                Some(new) => *one = new.clone(),
                None => one.cut(at),
            }
        }
        before
    }

    pub(super) fn put_past_back(&mut self, before: &Before) {
        if let Some(past) = &mut self.past {
            before.iter().for_each(|(s, one)| past.seqs[*s as usize] = one.clone());
        }
    }

    /// What is known of `dst` after it got cells of `src` from `at` on: as much as of `src`, if all it has are cells of its beginning.
    fn copied(&self, src: u32, dst: u32, at: i32) -> SeqPast {
        let Some((from, to)) = self.past_of(src).zip(self.past_of(dst)) else { return SeqPast::default() };
        if self.stream_of(src) != self.stream_of(dst) {
            return from.clone();
        }
        let end = end_of(self.base_runs(dst)).unwrap_or(0);
        let cells = |seq| self.base_runs(seq).map(|r| r.cells(0, i64::from(end)));
        let begins_alike = cells(src) == cells(dst);
        let mut new = if begins_alike { from.clone() } else { to.clone() };
        new.cut(if begins_alike { end } else { at });
        new
    }

    /// A state comes in place of a sequence or of everything; `base`: all groups of it.
    pub(super) fn forget_past(&mut self, seq: Option<u32>, base: bool) -> Before {
        let before = match (seq, &self.past) {
            (Some(s), Some(past)) if !base => past.seqs.get(s as usize).map(|one| (s, one.clone())).into_iter().collect(),
            _ => self.edit_past(Edit::Cut { seq, at: 0 }),
        };
        if let Some((past, s)) = self.past.as_mut().zip(seq).filter(|_| !base) {
            past.seqs[s as usize].foreign = true;
        }
        before
    }

    // ---- bringing back

    /// Gives the rows that the windows of `seq` at `p` miss their cells again, and takes away what the rings hold from `p` on: it will be computed again.
    /// Ends in `fill_back` and `keep`, or in `take_back`; nothing has changed where there is no room.
    pub fn put_back(&mut self, seq: u32, p: i32) -> std::result::Result<Back, Full> {
        let stream = self.stream_of(seq).ok_or(Full)?;
        let foreign = self.past_of(seq).is_some_and(|p| p.foreign);
        let gaps = self.gaps(seq, p, foreign).ok_or(Full)?;
        let lists: Vec<Vec<Held>> = gaps.iter().map(|g| self.base_cells(seq, g)).collect();
        let (mut done, mut rows) = (Ok(()), vec![Vec::new(); self.groups.len()]);
        for g in self.ring_numbers() {
            let (list, group) = (&lists[g], &mut self.groups[g]);
            let (cells, mut tx) = group.open(stream);
            drop_from(cells, seq, if foreign { 0 } else { p }, &mut tx);
            let all: Vec<u32> = (0..list.len() as u32).collect();
            done = done.and_then(|()| put(group, stream, Some(seq), list, &all, self.compat, &mut rows[g]).map(drop));
        }
        let placed = self.replaced(done, rows)?;
        Ok(Back { seq, placed, gaps })
    }

    /// Cells of the base at these positions, as a window has them.
    fn base_cells(&self, seq: u32, at: &[Range<i32>]) -> Vec<Held> {
        let Some(stream) = self.stream_of(seq) else { return Vec::new() };
        let cells = &self.groups[0].streams[stream as usize];
        let of = |r: &Range<i32>| cells.runs(seq).map(|x| x.cells(i64::from(r.start), i64::from(r.end))).unwrap_or_default();
        let held = |c: u32| Held { seqs: SeqSet::one(seq), ..Held::of(cells.cell(c)) };
        at.iter().flat_map(of).map(held).collect()
    }

    /// Writes the rows. After an error `drop_back` is due: what lay in those cells may be gone.
    pub fn fill_back(&self, stores: &[Store], back: &Back) -> Result<()> {
        let Some(past) = self.past_of(back.seq) else { return Ok(()) };
        for (g, gaps) in back.gaps.iter().enumerate().skip(1) {
            let mut at = pieces(&back.placed.rows[g]);
            at.sort_by_key(|p| p.row);
            let mut row = 0;
            for gap in gaps {
                for k in past.kept(g).iter().filter(|k| k.range.start < gap.end && gap.start < k.range.end) {
                    let p = k.range.start.max(gap.start)..k.range.end.min(gap.end);
                    k.rows.scatter(&stores[g], p.clone(), &at, row + (p.start - gap.start) as u32)?;
                }
                row += gap.len() as u32;
            }
        }
        Ok(())
    }

    /// The rows are there.
    pub fn keep_back(&mut self, back: Back) {
        if let Some(one) = self.past.as_mut().and_then(|p| p.seqs.get_mut(back.seq as usize)) {
            one.foreign = false;
        }
        self.keep(back.placed);
    }

    /// Rows may have been written, but not all.
    pub fn drop_back(&mut self, back: &Back) {
        self.undo_placing(&back.placed);
    }

    /// Gives tokens that the base holds cells in every window; their rows in the base are computed again where they lie, which changes no bit of them.
    pub fn apply_again(&mut self, ub: &Ubatch) -> std::result::Result<Placed, Full> {
        let seq = *ub.first_seq.first().ok_or(Full)?;
        let stream = self.stream_of(seq).ok_or(Full)?;
        let p = ub.pos_of(0)..ub.pos_of(ub.n_tokens() - 1) + 1;
        let list = self.base_cells(seq, std::slice::from_ref(&p));
        if list.len() != ub.n_tokens() {
            return Err(Full);
        }
        let (all, mut done): (Vec<u32>, _) = ((0..list.len() as u32).collect(), Ok(()));
        for g in self.ring_numbers() {
            let group = &mut self.groups[g];
            done = done.and_then(|()| put(group, stream, Some(seq), &list, &all, self.compat, &mut Vec::new()).map(drop));
        }
        let placed = self.replaced(done, Vec::new())?;
        let cells = |g: &Group| g.runs(stream, seq).map(|r| r.cells(i64::from(p.start), i64::from(p.end))).unwrap_or_default();
        let view = |g: &Group| {
            let at: Vec<(u32, u32)> = cells(g).into_iter().map(|c| (stream, c)).collect();
            views::build(&g.streams, g.spec.window, ub, &at, true)
        };
        Ok(placed.into_placed(self.groups.iter().map(view).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{span, spec};
    use super::*;

    #[test]
    fn what_is_missing_is_what_nobody_has() {
        let (a, b) = ([0..10, 20..30, 40..41], [3..5, 8..22, 25..26, 29..50]);
        assert_eq!(minus(&a, &b), [0..3, 5..8, 22..25, 26..29]);
        assert_eq!(minus(&a, &[]), a);
        assert_eq!(minus(&b, std::slice::from_ref(&(0..100))), []);
    }

    /// Distances between snapshots grow with the distance from the end, so that the number of them grows with its logarithm.
    #[test]
    fn thinning_keeps_what_is_near() {
        let windows = [Window::All, Window::Sliding(64)];
        for dense in [1, 2, 4, 8] {
            let points = (1..=1000).map(|i| Point { at: 16 * i, first: i == 1 }).collect();
            let mut one = SeqPast { points, ..SeqPast::default() };
            one.thin(16, dense, &windows);
            let at: Vec<i64> = one.points.iter().map(|p| i64::from(p.at)).collect();
            assert_eq!((at[0], at.last()), (16, Some(&16_000)));
            for pair in at.windows(2).skip(1) {
                let back = 16_000 - pair[0];
                assert!(pair[1] - pair[0] <= (2 * back / dense).max(16), "{pair:?} of {dense}");
            }
            assert!(at.len() <= 12 * dense as usize + 12, "{} of {dense}", at.len());
        }
    }

    /// Without stores nothing can be kept: what is known then is the beginning alone.
    #[test]
    fn everything_is_known_from_the_beginning_or_nothing() {
        let mut m = Memory::new(vec![spec(Window::All, 512), spec(Window::Sliding(16), 64)], 2, true).expect("valid");
        m.keep_past(1 << 20, 0);
        for p in (0..400).step_by(32) {
            let placed = m.apply(&span(0, p..(p + 32).min(400)), true).expect("room");
            m.commit(placed);
            m.remember(&[], &span(0, p..(p + 32).min(400)), true);
        }
        assert_eq!((m.pos_min(0), m.can_go_on(0, 100), m.can_go_on(0, 401)), (Some(0), true, false));
        m.seq_rm(Some(0), 100, -1).expect("known");
        assert_eq!((m.owed(0), m.owing(), m.ids(0, 0..100)), (Some(0..100), vec![0], Some(vec![0; 100])));
        // A hole: what is behind it was computed with it.
        m.seq_rm(Some(0), 40, 60).expect_err("its end has no window and is not known any more");
        assert_eq!(m.owed(0), Some(0..100));
        m.seq_cp(0, 1, 0, 70).expect("known");
        assert_eq!((m.owed(1), m.pos_max(1)), (Some(0..70), Some(69)));
        m.seq_rm(Some(1), 30, -1).expect("known");
        assert_eq!((m.owed(0), m.owed(1)), (Some(0..100), Some(0..30)));
        m.clear();
        assert_eq!((m.owed(0), m.pos_min(0)), (None, None));
    }
}
