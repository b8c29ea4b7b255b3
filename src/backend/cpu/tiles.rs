//! Which query tokens go through which leaves together: those of one sequence, and those of sequences that share cells.
//! Knows views; must not know rows of bytes, heads or workers. Grouping changes when a leaf is read, never a sum.
use crate::backend::*;
use std::ops::Range;

/// No leaf.
const NONE: u32 = u32::MAX;

/// Consecutive tokens of one sequence, and the leaves that some of them may see.
struct Part {
    tokens: Range<usize>,
    leaves: Range<u32>,
}

/// Consecutive tokens that share a pass over leaves.
pub struct Tile {
    parts: Vec<Part>,
    /// Each distinct leaf once, in order, as the index that each part knows it by or `NONE`. `[n_leaves][parts.len()]`
    known: Vec<u32>,
    /// Rows of `known` that make a span; or cells, where some were picked for the tile's one token.
    pub spans: Vec<Range<usize>>,
    pub picked: bool,
}

/// Cuts the tokens into tiles of at most `most`.
pub fn cut(v: &Views, ub: &Ubatch, most: usize) -> Vec<Tile> {
    let mut groups: Vec<Vec<Part>> = Vec::new();
    for i in 0..ub.n_tokens() {
        let leaves = v.rows[i].leaves.clone();
        let Some(parts) = groups.last_mut().filter(|g| g[g.len() - 1].tokens.end - g[0].tokens.start < most) else {
            groups.push(vec![Part { tokens: i..i + 1, leaves }]);
            continue;
        };
        let at = parts.len() - 1;
        if ub.first_seq[parts[at].tokens.start] == ub.first_seq[i] {
            parts[at].tokens.end = i + 1;
            parts[at].leaves = hull(&parts[at].leaves, &leaves);
        } else if meet(v, &parts[0].leaves, &leaves) {
            parts.push(Part { tokens: i..i + 1, leaves });
        } else {
            groups.push(vec![Part { tokens: i..i + 1, leaves }]);
        }
    }
    groups.into_iter().map(|parts| Tile::new(v, parts)).collect()
}

/// The smallest range around both.
fn hull(a: &Range<u32>, b: &Range<u32>) -> Range<u32> {
    match (a.is_empty(), b.is_empty()) {
        (true, _) => b.clone(),
        (_, true) => a.clone(),
        _ => a.start.min(b.start)..a.end.max(b.end),
    }
}

/// Whether two leaves are the same cells at the same places.
fn same(v: &Views, a: u32, b: u32) -> bool {
    let (x, y) = (&v.leaves[a as usize], &v.leaves[b as usize]);
    let segs = |l: &Leaf| l.segs.start as usize..l.segs.end as usize;
    a == b || (x.tile, x.from, x.to) == (y.tile, y.from, y.to) && v.segs[segs(x)] == v.segs[segs(y)]
}

/// Whether two sequences begin to share cells where the later one begins.
fn meet(v: &Views, a: &Range<u32>, b: &Range<u32>) -> bool {
    let finds = |first: u32, range: &Range<u32>| {
        let leaves = &v.leaves[range.start as usize..range.end as usize];
        let at = range.start + leaves.partition_point(|l| l.tile < v.leaves[first as usize].tile) as u32;
        at < range.end && same(v, at, first)
    };
    !a.is_empty() && !b.is_empty() && (finds(a.start, b) || finds(b.start, a))
}

impl Tile {
    fn new(v: &Views, parts: Vec<Part>) -> Tile {
        let mut next: Vec<u32> = parts.iter().map(|p| p.leaves.start).collect();
        let mut t = Tile { known: Vec::new(), spans: Vec::new(), picked: false, parts };
        let mut last = None;
        while let Some(leaf) = t.first_of(v, &next) {
            let row = t.known.len() / t.parts.len();
            let span = v.leaves[leaf as usize].tile.div_euclid(kernels::attn::SPAN_LEAVES as i32);
            match t.spans.last_mut() {
                Some(s) if last == Some(span) => s.end = row + 1,
                _ => t.spans.push(row..row + 1),
            }
            last = Some(span);
            for (p, next) in t.parts.iter().zip(&mut next) {
                let knows = *next < p.leaves.end && same(v, leaf, *next);
                t.known.push(if knows { *next } else { NONE });
                *next += u32::from(knows);
            }
        }
        t
    }

    /// The part's next leaf of the lowest tile.
    fn first_of(&self, v: &Views, next: &[u32]) -> Option<u32> {
        let left = self.parts.iter().zip(next).filter(|(p, n)| **n < p.leaves.end).map(|(_, n)| *n);
        left.min_by_key(|n| v.leaves[*n as usize].tile)
    }

    pub fn tokens(&self) -> Range<usize> {
        self.parts[0].tokens.start..self.parts[self.parts.len() - 1].tokens.end
    }

    /// A position of span `s`.
    pub fn pos_of(&self, v: &Views, s: usize) -> Option<i32> {
        let known = &self.known[self.spans[s].start * self.parts.len()..][..self.parts.len()];
        let leaf = known.iter().find(|l| **l != NONE)?;
        Some(v.leaves.get(*leaf as usize)?.tile * kernels::attn::LEAF as i32)
    }

    /// Leaf `row` and the places that each token of the tile sees of it, `times` entries a token; `None` when nobody sees anything.
    pub fn visible<'v>(&self, v: &'v Views, row: usize, times: usize, vis: &mut Vec<(u8, u8)>) -> Option<&'v Leaf> {
        vis.clear();
        let mut any = None;
        for (p, il) in self.parts.iter().zip(&self.known[row * self.parts.len()..]) {
            for q in &v.rows[p.tokens.clone()] {
                let leaf = v.leaves.get(*il as usize).filter(|_| q.leaves.contains(il));
                let (a, b) = leaf.map_or((0, 0), |l| l.within(q.lo, q.hi));
                any = if a < b { leaf } else { any };
                vis.extend(std::iter::repeat_n(if a < b { (a, b) } else { (0, 0) }, times));
            }
        }
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One query token for each sequence, which sees leaves of these blocks, 64 cells each.
    fn views(seqs: &[&[u32]]) -> (Ubatch, Views) {
        let mut v = Views::default();
        for blocks in seqs {
            let first = v.leaves.len() as u32;
            for (tile, b) in blocks.iter().enumerate() {
                let at = v.segs.len() as u32;
                v.segs.push(Seg { block: BlockId(*b), slot: 0, at: 0, len: 64 });
                v.leaves.push(Leaf { tile: tile as i32, segs: at..at + 1, from: 0, to: 64 });
            }
            v.rows.push(QueryRow { leaves: first..v.leaves.len() as u32, lo: 0, hi: 64 * blocks.len() as i32 - 1 });
        }
        let n = seqs.len();
        let ub = Ubatch { seqs: vec![SeqSet::EMPTY; n], first_seq: (0..n as u32).collect(), ..Ubatch::default() };
        (ub, v)
    }

    /// Blocks of a tile's leaves with how many tokens see each.
    fn passes(v: &Views, t: &Tile) -> Vec<(u32, usize)> {
        let mut vis = Vec::new();
        let rows = t.spans.iter().cloned().flatten();
        rows.filter_map(|row| {
            let block = v.segs[t.visible(v, row, 1, &mut vis)?.segs.start as usize].block.0;
            Some((block, vis.iter().filter(|v| v.0 < v.1).count()))
        })
        .collect()
    }

    #[test]
    fn a_shared_leaf_is_passed_once() {
        let (ub, v) = views(&[&[1, 2, 3], &[1, 2, 4], &[1, 5, 6, 7]]);
        let tiles = cut(&v, &ub, 64);
        assert_eq!(tiles.len(), 1);
        assert_eq!(passes(&v, &tiles[0]), [(1, 3), (2, 2), (5, 1), (3, 1), (4, 1), (6, 1), (7, 1)]);
    }

    #[test]
    fn strangers_stay_apart_and_tiles_end() {
        let (ub, v) = views(&[&[1, 2], &[3, 2], &[3, 4]]);
        let tokens = |most| cut(&v, &ub, most).iter().map(Tile::tokens).collect::<Vec<_>>();
        assert_eq!(tokens(64), [0..1, 1..3]);
        assert_eq!(tokens(1), [0..1, 1..2, 2..3]);
    }

    #[test]
    fn spans_are_sixteen_tiles() {
        let long: Vec<u32> = (0..40).collect();
        let (ub, v) = views(&[&long, &long[..3]]);
        let t = &cut(&v, &ub, 64)[0];
        assert_eq!(t.spans, [0..16, 16..32, 32..40]);
        assert_eq!(passes(&v, t).iter().filter(|p| p.1 == 2).count(), 3);
    }

    #[test]
    fn who_sees_nothing_is_no_trouble() {
        let (ub, mut v) = views(&[&[1, 2], &[]]);
        assert_eq!(cut(&v, &ub, 64).len(), 2);
        v.rows[0].hi = -1;
        assert_eq!(passes(&v, &cut(&v, &ub, 64)[0]), []);
    }
}
