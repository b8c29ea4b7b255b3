//! A blob that was believed, put into memory: cells find room in all groups or nothing changes, then rows follow, a plane of a layer at a time.
use super::form::Parts;
use super::io::{Source, Staged};
use super::parse::{GroupBlob, PlaneBlob, StreamBlob};
use crate::memory::restore::{Held, Replaced, RowAt};
use crate::memory::rows::{BlockId, Piece, Rows, SeqSet, pieces};
use crate::memory::store::Store;
use crate::memory::{Full, Memory, Stamp};
use platform::error::try_zeroed;
use platform::share::share;
use platform::{Error, Result, log};
use std::ops::Range;

/// Bytes of rows that go through a buffer at a time: a request that a disk answers at its full speed.
const CHUNK: usize = 8 << 20;
/// Blocks that one thread makes usable at a time.
const BLOCKS: usize = 16;

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
    let blocks: Vec<&[(usize, BlockId)]> = placed.new_blocks.chunks(BLOCKS).collect();
    share(&blocks, |b| b.iter().try_for_each(|(g, b)| stores[*g].secure(*b))).map_err(early)?;
    let staged;
    let mut src = src;
    if placed.displaces && src.bytes(span.start, 1).is_none() && span.start < span.end {
        // What is read in the middle of writing over something must not fail: it is brought into memory first.
        staged = Staged::new(src, span.start, span.end).map_err(early)?;
        src = &staged;
    }
    let pieces: Vec<Vec<Piece>> = placed.rows.iter().map(|at| by_row(at)).collect();
    let streams = parts.groups.clone().zip(blob).flat_map(|(g, b)| b.streams.iter().map(move |s| (g, s)));
    let jobs: Vec<Job<'_>> = streams.flat_map(|(g, s)| jobs(&stores[g], s, &pieces[g])).collect();
    // A file is read in order, or the system's read-ahead helps nobody.
    let in_memory = jobs.first().is_some_and(|j| src.bytes(j.plane.at, 1).is_some());
    let done = if in_memory { share(&jobs, |j| plane(j, src)) } else { jobs.iter().try_for_each(|j| plane(j, src)) };
    done.map_err(|e| Failed { e, written: placed.displaces })
}

/// Rows of one plane of one layer, and where they go. Planes share no byte.
struct Job<'a> {
    rows: Rows<'a>,
    plane: PlaneBlob,
    span: Range<u32>,
    pieces: &'a [Piece],
}

fn jobs<'a>(store: &'a Store, s: &'a StreamBlob, pieces: &'a [Piece]) -> Vec<Job<'a>> {
    let of = |i: usize| store.planes(i).zip(&s.planes[i]).map(|(rows, plane)| Job { rows, plane: *plane, span: s.rows.clone(), pieces });
    of(0).chain(of(1)).collect()
}

/// Pieces of every place of every row, ascending in row.
fn by_row(at: &[RowAt]) -> Vec<Piece> {
    let mut p = pieces(at);
    p.sort_by_key(|p| p.row);
    p
}

fn plane(job: &Job<'_>, src: &dyn Source) -> Result<()> {
    let (p, n) = (&job.plane, job.span.len());
    let width = p.change.from.row_bytes(p.change.n_embd).unwrap_or(0);
    if p.channels {
        return with_bytes(src, p.at, width * n, &mut Vec::new(), &mut |all| from_channels(job, all));
    }
    // Rows that lie in memory go to their places in one call, others through a buffer.
    let direct = p.change.is_none() && src.bytes(p.at, width * n).is_some();
    let step = if direct { n } else { (CHUNK / width.max(1)).max(1) };
    let mut buf = Vec::new();
    for i in (0..n).step_by(step.max(1)) {
        let here = i..(i + step).min(n);
        with_bytes(src, p.at + (i * width) as u64, here.len() * width, &mut buf, &mut |b| put(job, here.clone(), b))?;
    }
    Ok(())
}

/// `f` on bytes of a source, in place where it has them, else by way of `buf`.
fn with_bytes(src: &dyn Source, at: u64, n: usize, buf: &mut Vec<u8>, f: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    if let Some(b) = src.bytes(at, n) {
        return f(b);
    }
    if buf.len() < n {
        *buf = try_zeroed(n, "rows of a state")?;
    }
    src.read(at, &mut buf[..n])?;
    f(&buf[..n])
}

/// Rows `here` of a stream to their places, as this context keeps them.
fn put(job: &Job<'_>, here: Range<usize>, src: &[u8]) -> Result<()> {
    let at = job.span.start + here.start as u32..job.span.start + here.end as u32;
    match job.plane.change.is_none() {
        true => job.rows.scatter(job.pieces, at, src),
        false => job.rows.scatter(job.pieces, at, &job.plane.change.apply(src)?),
    }
}

/// Turns [n_embd][n] around, some rows at a time.
fn from_channels(job: &Job<'_>, all: &[u8]) -> Result<()> {
    let change = &job.plane.change;
    let (n, size) = (job.span.len(), change.from.block_bytes());
    let width = size * change.n_embd;
    let step = (CHUNK / width.max(1)).max(1);
    for i in (0..n).step_by(step) {
        let here = i..(i + step).min(n);
        let mut b = try_zeroed(here.len() * width, "rows of V")?;
        for (k, row) in b.chunks_exact_mut(width).enumerate() {
            for (j, v) in row.chunks_exact_mut(size).enumerate() {
                let from = (j * n + here.start + k) * size;
                v.copy_from_slice(&all[from..from + size]);
            }
        }
        put(job, here, &b)?;
    }
    Ok(())
}
