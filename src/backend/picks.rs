//! What an index picks, and who is picked: scores become lists of blocks of positions, lists become leaves of cells. For every backend that
//! computes on a CPU; knows no rows and no workers. What comes out depends on positions and scores alone, not on where cells lie.
use super::{Among, BlockId, Leaf, PickSpec, QueryRow, Seg, Views};
use kernels::attn::LEAF;
use kernels::float::Table;
use std::ops::Range;

/// More than any score.
const FIRST: f32 = 1e30;

/// The leaves of which a query sees something, with the places it sees.
pub fn seen<'v>(v: &'v Views, row: &QueryRow) -> impl Iterator<Item = (&'v Leaf, (u8, u8))> {
    let (lo, hi) = (row.lo, row.hi);
    let leaves = v.leaves[row.leaves.start as usize..row.leaves.end as usize].iter();
    leaves.map(move |l| (l, l.within(lo, hi))).filter(|(_, (a, b))| a < b)
}

/// Whether a query sees more blocks than it may: then some are picked.
pub fn picks_some(v: &Views, row: &QueryRow, spec: &PickSpec) -> bool {
    let (mut last, mut n) = (None, 0_i64);
    for (leaf, (a, b)) in seen(v, row) {
        let [from, to] = [a, b - 1].map(|place| block_of(leaf, place, spec.block));
        n += i64::from(to - from) + i64::from(last != Some(from));
        last = Some(to);
        if n > i64::from(spec.top_k) {
            return true;
        }
    }
    false
}

fn block_of(leaf: &Leaf, place: u8, block: u32) -> i32 {
    (leaf.tile * LEAF as i32 + i32::from(place)).div_euclid(block.max(1) as i32)
}

/// What a cell is worth to a token: one number per list. `q` [n_head][head], `key` [head].
pub fn score(t: &Table, spec: &PickSpec, q: &[f32], weights: Option<&[f32]>, key: &[f32], out: &mut [f32]) {
    let found = q.chunks_exact(spec.head as usize).map(|q| t.dot(q, key));
    match (weights, out) {
        (Some(w), [one]) => *one = found.zip(w).fold(0.0, |sum, (found, w)| sum + found.max(0.0) * w),
        (_, out) => out.iter_mut().zip(found).for_each(|(o, found)| *o = found),
    }
}

/// A block and the best score in it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Scored {
    block: i32,
    score: f32,
}

/// One list of a token at `pos`, whose cells have these scores in the order in which `seen` has them. `out` [1 + top_k]
pub fn list(v: &Views, row: &QueryRow, spec: &PickSpec, pos: i32, scores: impl Iterator<Item = f32>, out: &mut [f32]) {
    let places = seen(v, row).flat_map(|(leaf, (a, b))| (a..b).map(move |place| block_of(leaf, place, spec.block)));
    let mut all: Vec<Scored> = Vec::new();
    for (block, score) in places.zip(scores) {
        match all.last_mut() {
            Some(l) if l.block == block => l.score = l.score.max(score),
            _ => all.push(Scored { block, score }),
        }
    }
    let newest = pos.div_euclid(spec.block.max(1) as i32);
    let local = all.iter_mut().filter(|s| i64::from(newest) - i64::from(s.block) < i64::from(spec.local));
    local.for_each(|s| s.score += FIRST);
    let mut blocks = best(&all, spec.top_k as usize);
    blocks.sort_unstable();
    out[0] = f32::from_bits(blocks.len() as u32);
    out[1..].iter_mut().zip(&blocks).for_each(|(o, b)| *o = f32::from_bits(*b as u32));
}

/// The `k` best. Of equal ones those stay that the original keeps: blocks compete in order for a heap whose top is the worst of it, and the one
/// that comes in must be better. Equal scores are common: heads that find nothing give 0.
fn best(all: &[Scored], k: usize) -> Vec<i32> {
    let (first, rest) = all.split_at(k.min(all.len()));
    let mut heap = first.to_vec();
    (0..heap.len() / 2).rev().for_each(|at| settle(&mut heap, at, first[at]));
    for s in rest {
        if heap.first().is_some_and(|worst| s.score > worst.score) {
            settle(&mut heap, 0, *s);
        }
    }
    heap.iter().map(|s| s.block).collect()
}

/// Puts `s` in place of what is at `at`: the worse children move up all the way, the right one of equals, and `s` rises from the bottom (Floyd 1964).
fn settle(heap: &mut [Scored], at: usize, s: Scored) {
    let mut hole = at;
    while 2 * hole + 1 < heap.len() {
        let (left, right) = (2 * hole + 1, 2 * hole + 2);
        let child = if right < heap.len() && heap[right].score <= heap[left].score { right } else { left };
        heap[hole] = heap[child];
        hole = child;
    }
    while hole > at && heap[(hole - 1) / 2].score > s.score {
        heap[hole] = heap[(hole - 1) / 2];
        hole = (hole - 1) / 2;
    }
    heap[hole] = s;
}

/// The list of KV head `h` in a token's picks; empty: it sees all.
pub fn of_head<'a>(a: &Among, picks: &'a [f32], h: usize) -> &'a [f32] {
    let len = 1 + a.top_k as usize;
    let list = &picks[h.min(a.n_list as usize - 1) * len..][..len];
    &list[1..=(list[0].to_bits() as usize).min(len - 1)]
}

/// Spans of the cells that a list names, by the most there can be where no two have one position; what is beyond belongs to the last.
pub fn spans(a: &Among, list: &[f32]) -> Vec<Range<usize>> {
    const CELLS: usize = LEAF * kernels::attn::SPAN_LEAVES;
    let n = (list.len() * a.block as usize).div_ceil(CELLS);
    (0..n).map(|i| i * CELLS..if i + 1 < n { (i + 1) * CELLS } else { usize::MAX }).collect()
}

/// The cells of `list` that the query sees, in order, as leaves of their own: the n-th stands at "position" n. Of those only `wanted`.
pub fn packed(v: &Views, row: &QueryRow, a: &Among, list: &[f32], wanted: Range<usize>) -> Views {
    let mut out = Views { rows: vec![QueryRow { leaves: 0..0, lo: 0, hi: i32::MAX }], ..Views::default() };
    let size = i64::from(a.block);
    let (mut left, mut n) = (list.iter().map(|b| i64::from(b.to_bits() as i32)).peekable(), 0);
    for (leaf, (from, to)) in seen(v, row) {
        let base = i64::from(leaf.tile) * LEAF as i64;
        if n >= wanted.end {
            break;
        }
        while left.next_if(|b| (b + 1) * size <= base + i64::from(from)).is_some() {}
        // A block may go on in the next leaf: it is looked at and left.
        let mut here = left.clone();
        while let Some(block) = here.next_if(|b| b * size < base + i64::from(to)) {
            let place = |pos: i64| (pos - base).clamp(from.into(), to.into()) as u8;
            let (first, end) = (place(block * size), place((block + 1) * size));
            for s in &v.segs[leaf.segs.start as usize..leaf.segs.end as usize] {
                for at in first.max(s.at)..end.min(s.at + s.len) {
                    if wanted.contains(&n) {
                        push(&mut out, n, s.block, s.slot + u16::from(at - s.at));
                    }
                    n += 1;
                }
            }
        }
    }
    out.rows[0].leaves.end = out.leaves.len() as u32;
    out
}

fn push(out: &mut Views, n: usize, block: BlockId, slot: u16) {
    let (tile, at) = ((n / LEAF) as i32, (n % LEAF) as u8);
    let end = out.segs.len() as u32;
    match out.leaves.last_mut() {
        Some(l) if l.tile == tile => l.to = at + 1,
        _ => out.leaves.push(Leaf { tile, segs: end..end, from: at, to: at + 1 }),
    }
    let Some(leaf) = out.leaves.last_mut() else { return };
    match out.segs.last_mut().filter(|_| leaf.segs.start < leaf.segs.end) {
        Some(s) if s.block == block && s.slot + u16::from(s.len) == slot => s.len += 1,
        _ => {
            out.segs.push(Seg { block, slot, at, len: 1 });
            leaf.segs.end = end + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: PickSpec = PickSpec { n_head: 2, head: 16, top_k: 3, n_list: 1, block: 1, local: 0 };

    /// Cells of one sequence at these runs of positions, each run in a block of its own.
    fn views(runs: &[Range<i32>], pos: i32) -> Views {
        let mut v = Views::default();
        for (block, p) in runs.iter().cloned().flat_map(|r| r.clone().map(move |p| (r.start as u32, p))) {
            let (tile, at) = (p.div_euclid(64), p.rem_euclid(64) as u8);
            let seg = Seg { block: BlockId(block), slot: p as u16, at, len: 1 };
            let next = v.segs.len() as u32;
            match v.leaves.last_mut().filter(|l| l.tile == tile && l.to == at) {
                Some(l) => (l.to, l.segs.end) = (at + 1, next + 1),
                None => v.leaves.push(Leaf { tile, segs: next..next + 1, from: at, to: at + 1 }),
            }
            v.segs.push(seg);
        }
        v.rows = vec![QueryRow { leaves: 0..v.leaves.len() as u32, lo: 0, hi: pos }];
        v
    }

    fn picked(v: &Views, spec: &PickSpec, pos: i32, scores: &[f32]) -> Vec<i32> {
        let mut out = vec![0.0; 1 + spec.top_k as usize];
        list(v, &v.rows[0], spec, pos, scores.iter().copied(), &mut out);
        out[1..=out[0].to_bits() as usize].iter().map(|b| b.to_bits() as i32).collect()
    }

    fn slots(v: &Views) -> Vec<u16> {
        v.segs.iter().flat_map(|s| s.slot..s.slot + u16::from(s.len)).collect()
    }

    #[test]
    fn the_best_are_picked_by_their_position() {
        let v = views(&[0..4, 100..103], 101);
        assert!(picks_some(&v, &v.rows[0], &SPEC) && !picks_some(&v, &v.rows[0], &PickSpec { top_k: 6, ..SPEC }));
        assert_eq!(picked(&v, &SPEC, 101, &[1.0, 5.0, 2.0, 4.0, 3.0, 0.5]), [1, 3, 100]);
        assert_eq!(picked(&v, &SPEC, 101, &[f32::NAN; 6]).len(), 3, "nonsense picks something");
    }

    #[test]
    fn a_block_is_worth_its_best_and_the_newest_are_always_in() {
        let v = views(std::slice::from_ref(&(0..11)), 10);
        let spec = PickSpec { block: 4, top_k: 2, local: 1, ..SPEC };
        let mut scores = [0.0; 11];
        (scores[3], scores[4], scores[5], scores[10]) = (2.0, 1.9, 1.9, -9.0);
        assert_eq!(picked(&v, &spec, 10, &scores), [0, 2]);
        assert_eq!(picked(&v, &PickSpec { local: 0, ..spec }, 10, &scores), [0, 1]);
        assert!(!picks_some(&v, &v.rows[0], &PickSpec { top_k: 3, ..spec }));
    }

    /// A heap of any size against sorting, where no two are equal.
    #[test]
    fn the_heap_holds_the_best() {
        for n in 1..40 {
            let all: Vec<Scored> = (0..n).map(|i| Scored { block: i, score: ((i * 17) % 41) as f32 }).collect();
            let mut sorted = all.clone();
            sorted.sort_by(|a, b| b.score.total_cmp(&a.score));
            for k in 1..=n as usize {
                let (mut a, mut b) = (best(&all, k), sorted[..k].iter().map(|s| s.block).collect::<Vec<_>>());
                a.sort_unstable();
                b.sort_unstable();
                assert_eq!(a, b, "{k} of {n}");
            }
        }
    }

    /// std::partial_sort of libstdc++ on the same numbers.
    #[test]
    fn equals_are_kept_as_the_original_keeps_them() {
        let kept = |scores: &[f32], k: usize| {
            let mut kept = best(&(0..).zip(scores).map(|(block, score)| Scored { block, score: *score }).collect::<Vec<_>>(), k);
            kept.sort_unstable();
            kept
        };
        assert_eq!(kept(&[1.0, 0.0, 0.0, 2.0, 0.0, 0.0, 3.0, 0.0, 4.0], 5), [0, 1, 3, 6, 8]);
        assert_eq!(kept(&[0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 2.0, 0.0, 3.0, 0.0], 6), [1, 3, 4, 5, 7, 9]);
    }

    #[test]
    fn picked_cells_stand_side_by_side() {
        let v = views(&[0..70, 100..130], 120);
        let a = Among { picks: super::super::T(0), n_list: 1, top_k: 9, block: 4 };
        let list: Vec<f32> = [0_u32, 15, 17, 26, 30].map(f32::from_bits).into();
        let p = packed(&v, &v.rows[0], &a, &list, 0..usize::MAX);
        let want: Vec<u16> = [0..4, 60..64, 68..70, 104..108, 120..121].into_iter().flatten().collect();
        assert_eq!(slots(&p), want);
        assert_eq!((p.leaves.len(), p.leaves[0].to, p.rows[0].leaves.clone()), (1, want.len() as u8, 0..1));
        let some = packed(&v, &v.rows[0], &a, &list, 3..6);
        assert_eq!((slots(&some), some.leaves[0].from), (vec![3, 60, 61], 3));
        let all: Vec<f32> = (0..33).map(f32::from_bits).collect();
        let p = packed(&v, &v.rows[0], &a, &all, 0..usize::MAX);
        assert_eq!((p.leaves.len(), p.leaves[1].tile, p.leaves[1].to, slots(&p).len()), (2, 1, 27, 91));
    }
}
