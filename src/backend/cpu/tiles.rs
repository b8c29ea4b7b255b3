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
    /// Rows of `known` that make a span.
    pub spans: Vec<Range<usize>>,
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
        let mut t = Tile { known: Vec::new(), spans: Vec::new(), parts };
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
