//! Joining neighbours until nothing joins: what BPE and SPM share. It knows symbols and keys, not texts.
//! O(n log n) for a word of n symbols: a linked list and a queue whose outdated entries are skipped when they surface.
use platform::{Error, Result};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// No neighbour.
const NONE: u32 = u32::MAX;

/// A piece of a word: `len` bytes from `start`; `id` is the caller's name for its text. `len` 0: swallowed by its left neighbour.
#[derive(Clone, Copy, Debug)]
pub struct Symbol {
    pub start: u32,
    pub len: u32,
    pub id: u32,
    prev: u32,
    next: u32,
}

/// A possible join, ordered by key, then the leftmost first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    key: u32,
    left: u32,
    right: u32,
    /// Bytes of both together. Symbols only grow, so another sum means that one of them has changed since.
    len: u32,
    id: u32,
}

/// Buffers kept from word to word.
#[derive(Default)]
pub struct Merger {
    symbols: Vec<Symbol>,
    queue: BinaryHeap<Reverse<Pair>>,
}

impl Merger {
    /// Forgets the last word and makes room for one of up to `n` symbols.
    pub fn begin(&mut self, n: usize) -> Result<()> {
        self.symbols.clear();
        self.queue.clear();
        let symbols = self.symbols.try_reserve(n);
        // A join takes one pair and offers two.
        symbols.and(self.queue.try_reserve(2 * n)).map_err(|_| Error::no_memory(format!("no memory to tokenize a word of {n} bytes")))
    }

    /// Appends the next symbol of the word.
    pub fn push(&mut self, len: usize, id: u32) {
        let at = self.symbols.len() as u32;
        let start = self.symbols.last().map_or(0, |s| s.start + s.len);
        if let Some(last) = self.symbols.last_mut() {
            last.next = at;
        }
        self.symbols.push(Symbol { start, len: len as u32, id, prev: at.wrapping_sub(1), next: NONE });
    }

    /// Joins the pair with the smallest key, again and again. `join` gives a pair's key and the id of its joined text.
    pub fn run(&mut self, join: impl Fn(&Symbol, &Symbol) -> Option<(u32, u32)>) {
        for right in 1..self.symbols.len() as u32 {
            self.offer(right - 1, right, &join);
        }
        while let Some(Reverse(pair)) = self.queue.pop() {
            let (left, right) = (self.symbols[pair.left as usize], self.symbols[pair.right as usize]);
            if left.len == 0 || right.len == 0 || left.len + right.len != pair.len {
                continue;
            }
            self.symbols[pair.left as usize] = Symbol { len: pair.len, id: pair.id, next: right.next, ..left };
            self.symbols[pair.right as usize].len = 0;
            if right.next != NONE {
                self.symbols[right.next as usize].prev = pair.left;
            }
            self.offer(left.prev, pair.left, &join);
            self.offer(pair.left, right.next, &join);
        }
    }

    fn offer(&mut self, left: u32, right: u32, join: &impl Fn(&Symbol, &Symbol) -> Option<(u32, u32)>) {
        if left == NONE || right == NONE {
            return;
        }
        let (l, r) = (&self.symbols[left as usize], &self.symbols[right as usize]);
        if let Some((key, id)) = join(l, r) {
            self.queue.push(Reverse(Pair { key, left, right, len: l.len + r.len, id }));
        }
    }

    /// What is left of the word, in order.
    pub fn symbols(&self) -> impl Iterator<Item = &Symbol> {
        self.symbols.iter().filter(|s| s.len > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Joins equal ids into id + 1, small ids first.
    fn run(ids: &[u32]) -> Vec<(u32, u32)> {
        let mut m = Merger::default();
        ids.iter().for_each(|id| m.push(1, *id));
        m.run(|l, r| (l.id == r.id).then_some((l.id, l.id + 1)));
        m.symbols().map(|s| (s.start, s.id)).collect()
    }

    #[test]
    fn leftmost_pair_first() {
        assert_eq!(run(&[1, 1, 1]), [(0, 2), (2, 1)]);
        assert_eq!(run(&[1, 1, 1, 1, 1]), [(0, 3), (4, 1)]);
        assert_eq!(run(&[]), []);
        assert_eq!(run(&[7]), [(0, 7)]);
    }

    #[test]
    fn smaller_key_before_left() {
        // 2 2 would join, but 1 1 has the smaller key and makes a third 2.
        assert_eq!(run(&[2, 2, 1, 1, 3]), [(0, 3), (2, 2), (4, 3)]);
    }
}
