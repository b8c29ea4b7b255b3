//! What stood at a sequence's positions, as far as it is known: numbers by position, 4 bytes each. Where something else came in between (embeddings, a
//! restored state, moved positions) a span ends. Knows nothing of cells, and not what the numbers mean.
use std::ops::Range;
use std::sync::Arc;

/// Numbers per chunk: copies of a sequence share the full ones, and writing behind a copy costs one of these at most.
const CHUNK: usize = 256;

#[derive(Clone, Debug)]
struct Span {
    start: i32,
    len: u32,
    chunks: Vec<Arc<Vec<i32>>>,
}

impl Span {
    fn end(&self) -> i32 {
        self.start + self.len as i32
    }

    fn push(&mut self, id: i32) {
        match self.chunks.last_mut().filter(|c| c.len() < CHUNK) {
            Some(c) => Arc::make_mut(c).push(id),
            None => self.chunks.push(Arc::new(vec![id])),
        }
        self.len += 1;
    }

    fn truncate(&mut self, len: u32) {
        self.len = len.min(self.len);
        let len = self.len as usize;
        self.chunks.truncate(len.div_ceil(CHUNK));
        if let Some(c) = self.chunks.last_mut().filter(|_| !len.is_multiple_of(CHUNK)) {
            Arc::make_mut(c).truncate(len % CHUNK);
        }
    }
}

/// Spans in order, none touching the next one's meaning: what follows a gap was not computed from what is known before it.
#[derive(Clone, Debug, Default)]
pub struct History {
    spans: Vec<Span>,
    /// The next number starts a span, wherever it stands.
    closed: bool,
}

impl History {
    /// `id` stands at `pos`; whether a span begins with it. Positions rise; one that is taken twice is known by neither.
    pub fn push(&mut self, pos: i32, id: i32) -> bool {
        if self.spans.last().is_some_and(|s| s.end() > pos) {
            self.cut(pos);
            self.closed = true;
            return false;
        }
        let goes_on = !self.closed && self.spans.last().is_some_and(|s| s.end() == pos);
        if !goes_on {
            self.spans.push(Span { start: pos, len: 0, chunks: Vec::new() });
        }
        self.closed = false;
        if let Some(s) = self.spans.last_mut() {
            s.push(id);
        }
        !goes_on
    }

    /// Something unknown comes next.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Forgets `at` and what is behind it.
    pub fn cut(&mut self, at: i32) {
        self.spans.retain(|s| s.start < at);
        // What closed the span lay at `at` or behind it.
        if let Some(s) = self.spans.last_mut().filter(|s| s.end() >= at) {
            s.truncate((at - s.start) as u32);
            self.closed = false;
        }
    }

    /// The known positions that lead up to `p` without a gap: `p..p` when what is before it is not known.
    pub fn up_to(&self, p: i32) -> Range<i32> {
        let i = self.spans.partition_point(|s| s.start < p);
        i.checked_sub(1).map(|i| &self.spans[i]).filter(|s| s.end() >= p).map_or(p..p, |s| s.start..p)
    }

    /// The numbers at `range`, which lies in one span.
    pub fn ids(&self, range: Range<i32>) -> Option<Vec<i32>> {
        let s = self.spans.iter().find(|s| s.start <= range.start && range.end <= s.end())?;
        let at = |p: i32| s.chunks.get((p - s.start) as usize / CHUNK)?.get((p - s.start) as usize % CHUNK).copied();
        range.map(at).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(from: i32, n: i32) -> History {
        let mut h = History::default();
        (from..from + n).for_each(|p| _ = h.push(p, p * 3));
        h
    }

    #[test]
    fn numbers_come_back_by_position() {
        let mut h = filled(5, 1000);
        assert_eq!(h.ids(5..8), Some(vec![15, 18, 21]));
        assert_eq!(h.ids(900..1005).map(|v| v[104]), Some(1004 * 3));
        assert_eq!((h.ids(4..6), h.ids(1000..1006)), (None, None));
        assert_eq!((h.up_to(600), h.up_to(1005), h.up_to(1006), h.up_to(5)), (5..600, 5..1005, 1006..1006, 5..5));
        for at in [700, 517, 512, 261, 260] {
            let other = h.clone();
            h.cut(at);
            assert!(!h.push(at, -7), "goes on where it was cut");
            assert_eq!((h.ids(at - 1..at + 1), other.ids(at..at + 1)), (Some(vec![at * 3 - 3, -7]), Some(vec![at * 3])));
            h.cut(at);
        }
        h.cut(0);
        assert!(h.push(0, 1));
    }

    #[test]
    fn gaps_part_what_is_known() {
        let mut h = filled(0, 10);
        h.close();
        assert!(h.push(10, 1) && !h.push(11, 2));
        assert!(h.push(20, 3));
        assert_eq!((h.up_to(10), h.up_to(12), h.up_to(15), h.up_to(21)), (0..10, 10..12, 15..15, 20..21));
        assert_eq!((h.ids(8..12), h.ids(10..12)), (None, Some(vec![1, 2])));
        h.cut(11);
        assert!(!h.push(11, 9), "a rewind takes the end of the span with it");
        h.close();
        h.cut(30);
        assert!(h.push(12, 5), "a cut behind everything changes nothing");
    }

    #[test]
    fn a_position_taken_twice_is_known_by_neither() {
        let mut h = filled(0, 10);
        assert!(!h.push(9, 4));
        assert_eq!((h.up_to(10), h.up_to(9)), (10..10, 0..9));
        assert!(h.push(10, 4), "what comes behind is a span of its own");
        assert!(!h.push(11, 4) && h.up_to(12) == (10..12));
    }
}
