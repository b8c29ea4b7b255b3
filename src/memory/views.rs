//! What an applied ubatch is to a backend: its sequences' cells as leaves of position tiles, and each query's interval.
use super::cells::Cells;
use super::runs::{Run, Runs};
use super::window::Window;
use crate::backend::io::{Leaf, QueryRow, Seg, Ubatch, Views};

/// Positions per tile and cells per leaf: the unit of attention's summing order.
const TILE: i32 = 64;
/// Leaves of `runs` whose tiles meet `lo..=hi`.
fn add_leaves(v: &mut Views, cells: &Cells, runs: &Runs, lo: i32, hi: i32) {
    let first = v.leaves.len();
    let n = ((hi.min(runs.max().unwrap_or(0)) - lo).max(0) / TILE + 2) as usize;
    v.leaves.reserve(n);
    v.segs.reserve(n * (TILE as u32).div_ceil(cells.cells_per_block()) as usize);
    let start = i64::from(lo / TILE) * i64::from(TILE);
    for run in runs.from(start).iter().take_while(|r| r.pos / TILE <= hi / TILE) {
        let end = (i64::from(hi / TILE) + 1) * i64::from(TILE);
        let mut rest = run.cut(start, end);
        while rest.len > 0 {
            rest = add_piece(v, first, cells, rest);
        }
    }
}

/// Moves as much of the front of `run` as fits into one segment of one leaf; gives back the rest.
/// Places go by position alone, so that sums do not depend on whether cells before a window's edge are still there: what does not follow its
/// predecessor by one position begins a leaf of its own.
fn add_piece(v: &mut Views, first: usize, cells: &Cells, run: Run) -> Run {
    let Some((block, slot)) = cells.place_of(run.cell) else { return Run { len: 0, ..run } };
    let (tile, at) = (run.pos / TILE, (run.pos % TILE) as u8);
    let n_segs = v.segs.len() as u32;
    if !(v.leaves.len() > first && v.leaves.last().is_some_and(|l| l.tile == tile && l.to == at)) {
        v.leaves.push(Leaf { tile, segs: n_segs..n_segs, from: at, to: at });
    }
    let in_block = cells.cells_per_block() - u32::from(slot);
    let len = run.len.min(TILE as u32 - u32::from(at)).min(in_block);
    v.segs.push(Seg { block, slot, at, len: len as u8 });
    if let Some(leaf) = v.leaves.last_mut() {
        leaf.segs.end = n_segs + 1;
        leaf.to = at + len as u8;
    }
    run.cut(i64::from(run.pos) + i64::from(len), run.end())
}

/// The leaves of `range` that hold a position in `lo..=hi`.
fn seen(v: &Views, range: std::ops::Range<usize>, lo: i32, hi: i32) -> std::ops::Range<u32> {
    let leaves = &v.leaves[range.clone()];
    let (first_pos, last_pos) = (|l: &Leaf| l.tile * TILE + i32::from(l.from), |l: &Leaf| l.tile * TILE + i32::from(l.to) - 1);
    let a = leaves.partition_point(|l| last_pos(l) < lo);
    let b = leaves.partition_point(|l| first_pos(l) <= hi).max(a);
    (range.start + a) as u32..(range.start + b) as u32
}

/// Views of `ub`, whose tokens sit at `at` (stream, cell).
pub fn build(streams: &[Cells], window: Window, ub: &Ubatch, at: &[(u32, u32)], causal: bool) -> Views {
    let place = |&(s, c): &(u32, u32)| streams[s as usize].place_of(c).unwrap_or((crate::backend::io::BlockId(0), 0));
    let mut v = Views { dst: at.iter().map(place).collect(), ..Views::default() };
    // Per sequence: its id, interval of all its queries, stream.
    let mut asked: Vec<(u32, i32, i32, u32)> = Vec::new();
    let interval = |i: usize| (window.lo(ub.pos_of(i)), window.hi(ub.pos_of(i), causal));
    for (i, seq) in ub.first_seq.iter().copied().enumerate() {
        let (lo, hi) = interval(i);
        match asked.iter_mut().find(|a| a.0 == seq) {
            Some(a) => (a.1, a.2) = (a.1.min(lo), a.2.max(hi)),
            None => asked.push((seq, lo, hi, at[i].0)),
        }
    }
    let mut ranges = Vec::with_capacity(asked.len());
    for (seq, lo, hi, stream) in asked {
        let (first, cells) = (v.leaves.len(), &streams[stream as usize]);
        if let Some(runs) = cells.runs(seq) {
            add_leaves(&mut v, cells, runs, lo, hi);
        }
        ranges.push((seq, first..v.leaves.len()));
    }
    for (i, seq) in ub.first_seq.iter().enumerate() {
        let (lo, hi) = interval(i);
        let range = ranges.iter().find(|r| r.0 == *seq).map_or(0..0, |r| r.1.clone());
        let leaves = seen(&v, range, lo, hi);
        v.rows.push(QueryRow { leaves, lo, hi });
    }
    v
}
