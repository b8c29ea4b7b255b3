//! A blob that was believed, put into memory: cells find room in all groups or nothing changes, then rows follow, a plane of a layer at a time.
use super::form::{Parts, transpose};
use super::io::{Source, Staged};
use super::parse::{GroupBlob, PlaneBlob, StreamBlob};
use super::plan::{How, Shape, Transfer, plan, turned};
use crate::memory::restore::{Held, Replaced, RowAt};
use crate::memory::rows::{Piece, Rows, SeqSet, pieces, within};
use crate::memory::store::Store;
use crate::memory::{Full, Memory, Stamp};
use platform::error::try_zeroed;
use platform::huge::Huge;
use platform::share::{share, share_bytes, share_reads};
use platform::{Error, Result, log};
use std::ops::Range;

/// Bytes of rows that are turned around at a time, where a call costs nothing.
const TURNED: usize = 1 << 20;
/// Cells that one thread makes usable at a time: some blocks, which are asked for in one go.
const SECURED: usize = 2048;

/// Replaces what `parts` names by `blob`, whose rows are in `src` between `start` and `end`.
pub fn apply(
    memory: &mut Memory,
    stores: &[Store],
    parts: &Parts,
    mut blob: Vec<GroupBlob>,
    src: &dyn Source,
    span: Range<u64>,
) -> Result<()> {
    arrive(memory, parts, &mut blob)?;
    let mut lists = vec![None; memory.n_groups()];
    for (g, b) in parts.groups.clone().zip(&mut blob) {
        lists[g] = Some(std::mem::take(&mut b.cells));
    }
    let placed = memory.replace(parts.seq, &lists).map_err(|Full| no_room(&lists))?;
    match fill(stores, parts, &blob, &placed, src, span) {
        Ok(()) => {
            memory.keep(placed);
            Ok(())
        }
        Err(Failed { e, written }) => {
            give_up(memory, parts, placed, written);
            Err(e)
        }
    }
}

fn no_room(lists: &[Option<Vec<Held>>]) -> Error {
    let n: Vec<String> = lists.iter().flatten().map(|l| l.len().to_string()).collect();
    Error::invalid(format!("no room for a state of {} cells", n.join(" + ")))
}

struct Failed {
    e: Error,
    /// Some row of what was there before may be gone.
    written: bool,
}

/// Rows that were not displaced are as they were; displaced ones were only written over from memory, which fails by a fault of ours alone.
fn give_up(memory: &mut Memory, parts: &Parts, placed: Replaced, written: bool) {
    if !written {
        return memory.take_back(placed);
    }
    log::error("a state could not be read to its end; the sequences it was for are empty now");
    memory.keep(placed);
    match parts.seq {
        None => memory.clear(),
        Some(s) => drop(memory.seq_rm(Some(s), 0, -1)),
    }
}

// ---- arrivals

/// Numbers cells by position, those of one position in the order in which they stand: where cells lay says nothing about who came first.
/// A cell of a window gets the number that its token has in the base.
fn arrive(memory: &Memory, parts: &Parts, blob: &mut [GroupBlob]) -> Result<()> {
    let clock = memory.clock();
    let live: Vec<Held>;
    let (base, windows): (&[Held], &mut [GroupBlob]) = match (parts.groups.start, blob) {
        (0, [base, windows @ ..]) => {
            let mut by_pos: Vec<&mut Held> = base.cells.iter_mut().collect();
            by_pos.sort_by_key(|h| h.pos);
            by_pos.into_iter().zip(clock..).for_each(|(h, n)| h.stamp = Stamp::of(n));
            (&base.cells, windows)
        }
        (_, windows) => {
            live = (0..memory.n_streams()).flat_map(|s| memory.held(0, s, parts.seq)).map(|h| h.1).collect();
            (&live, windows)
        }
    };
    let mut by_pos: Vec<&Held> = base.iter().collect();
    by_pos.sort_by_key(|h| (h.pos, h.stamp));
    windows.iter_mut().try_for_each(|w| arrive_with(&by_pos, &mut w.cells, memory.compat()))
}

/// `base` is sorted by position. A cell of a window whose token the base lacks would be a promise that nobody made.
fn arrive_with(base: &[&Held], cells: &mut [Held], compat: bool) -> Result<()> {
    // Of a cell that sequences share in the base each may have one of its own in the window.
    let mut taken = try_zeroed::<SeqSet>(base.len(), "cells")?;
    for c in cells {
        let first = base.partition_point(|b| b.pos < c.pos);
        let same = base[first..].iter().take_while(|b| b.pos == c.pos);
        let holds = |i: usize, b: &Held| c.seqs.iter().all(|s| b.seqs.contains(s) && !taken[i].contains(s));
        let Some(i) = same.enumerate().map(|(i, b)| (first + i, b)).find(|(i, b)| holds(*i, b)).map(|(i, _)| i) else {
            if compat {
                continue;
            }
            return Err(Error::invalid(format!("a window has position {} of a sequence, but the base of the memory lacks it", c.pos)));
        };
        c.seqs.iter().for_each(|s| taken[i].insert(s));
        c.stamp = base[i].stamp;
    }
    Ok(())
}

// ---- rows

fn fill(
    stores: &[Store],
    parts: &Parts,
    blob: &[GroupBlob],
    placed: &Replaced,
    src: &dyn Source,
    span: Range<u64>,
) -> std::result::Result<(), Failed> {
    let early = |e| Failed { e, written: false };
    let cells: Vec<(usize, &[RowAt])> =
        placed.rows.iter().enumerate().flat_map(|(g, at)| at.chunks(SECURED).map(move |at| (g, at))).collect();
    share(&cells, |(g, at)| stores[*g].secure_cells(at.iter().map(|r| (r.block, r.slot)))).map_err(early)?;
    let staged;
    let mut src = src;
    if placed.displaces && src.bytes(span.start, 1).is_none() && span.start < span.end {
        // What is read in the middle of writing over something must not fail: it is brought into memory first.
        staged = Staged::new(src, span.start, span.end).map_err(early)?;
        src = &staged;
    }
    let pieces: Vec<Vec<Piece>> = placed.rows.iter().map(|at| by_row(at)).collect();
    let streams = parts.groups.clone().zip(blob).flat_map(|(g, b)| b.streams.iter().map(move |s| (g, s)));
    let jobs: Vec<Job<'_>> = streams.flat_map(|(g, s)| jobs(&stores[g], s, &pieces[g], src)).collect();
    say(&jobs, blob);
    let done = match src.bytes(span.start, 1).is_some() {
        true => share_bytes(usize::try_from(span.end - span.start).unwrap_or(usize::MAX), &jobs, |j| j.run(src, &mut Huge::default())),
        // In the order of the file: its system reads ahead.
        false => share_reads(&jobs, Huge::default, |buf, j| j.run(src, buf)),
    };
    done.map_err(|e| Failed { e, written: placed.displaces })
}

fn say(jobs: &[Job<'_>], blob: &[GroupBlob]) {
    let cells: usize = blob.iter().flat_map(|b| &b.streams).map(|s| s.rows.len()).sum();
    let runs: u64 = jobs.iter().map(|j| u64::from(j.transfer.runs)).sum();
    let n = |how| jobs.iter().filter(|j| j.transfer.how == how).count();
    log::debug(format_args!(
        "state of {cells} cells: {runs} runs of rows in {} transfers ({} direct, {} batched, {} staged)",
        jobs.len(),
        n(How::Direct),
        n(How::Batched),
        n(How::Staged)
    ));
}

/// Pieces of every place of every row, ascending in row.
fn by_row(at: &[RowAt]) -> Vec<Piece> {
    let mut p = pieces(at);
    p.sort_by_key(|p| p.row);
    p
}

/// One transfer of one plane of one layer. No two share a byte of their places.
struct Job<'a> {
    rows: Rows<'a>,
    plane: PlaneBlob,
    /// Of all rows of the stream.
    span: Range<u32>,
    pieces: &'a [Piece],
    /// Rows count from the start of `span`.
    transfer: Transfer,
}

fn jobs<'a>(store: &'a Store, s: &'a StreamBlob, pieces: &'a [Piece], src: &dyn Source) -> Vec<Job<'a>> {
    let mine: Vec<Piece> = within(pieces, &s.rows).collect();
    let of = |rows: Rows<'a>, plane: &PlaneBlob| {
        let (n, row) = (s.rows.len(), plane.row());
        let whole = src.bytes(plane.at, row * n).is_some();
        let as_is = plane.change.is_none() && !plane.channels;
        let shape = Shape { row, at_hand: whole, as_is, flat: rows.is_flat(), host: rows.host() };
        let transfers = if plane.channels { turned(&mine, n as u32) } else { plan(&mine, n as u32, &shape) };
        let job = move |transfer| Job { rows, plane: *plane, span: s.rows.clone(), pieces, transfer };
        transfers.into_iter().map(job).collect::<Vec<_>>()
    };
    let planes = |i: usize| store.planes(i).zip(&s.planes[i]).flat_map(|(rows, plane)| of(rows, plane)).collect::<Vec<_>>();
    planes(0).into_iter().chain(planes(1)).collect()
}

impl Job<'_> {
    fn run(&self, src: &dyn Source, buf: &mut Huge) -> Result<()> {
        let (p, here) = (&self.plane, &self.transfer.rows);
        let at = p.at + u64::from(here.start) * p.row() as u64;
        let n = here.len() * p.row();
        // The rows by their numbers in the list of cells.
        let list = self.span.start + here.start..self.span.start + here.end;
        match self.transfer.how {
            _ if p.channels => self.turned(src.fetch(at, n, buf)?),
            How::Direct => self.rows.read_into(self.pieces, list, &mut |parts| src.read_parts(at, parts)),
            How::Batched | How::Staged => self.put(list, src.fetch(at, n, buf)?),
        }
    }

    /// Rows `list` to their places, as this context keeps them.
    fn put(&self, list: Range<u32>, src: &[u8]) -> Result<()> {
        let change = &self.plane.change;
        match change.is_none() {
            true => self.rows.scatter(self.pieces, list, src),
            false => self.rows.scatter(self.pieces, list, &change.apply(src)?),
        }
    }

    /// Rows out of [n_embd][n], `all` of the plane.
    fn turned(&self, all: &[u8]) -> Result<()> {
        let (change, row, n) = (&self.plane.change, self.plane.row(), self.span.len());
        let size = change.from.block_bytes();
        let step = if self.rows.host() { (TURNED / row.max(1)).max(1) } else { n };
        for i in (0..n).step_by(step.max(1)) {
            let here = i..(i + step).min(n);
            let mut rows = try_zeroed(here.len() * row, "rows of V")?;
            transpose(&all[i * size..], n * size, &mut rows, row, [change.n_embd, here.len()], size);
            self.put(self.span.start + here.start as u32..self.span.start + here.end as u32, &rows)?;
        }
        Ok(())
    }
}
