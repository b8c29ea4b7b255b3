//! Joining neighbours until nothing joins: what BPE and SPM share. It knows symbols and keys, not texts.
//!
//! The pair with the smallest key is joined first, the leftmost among equals. While `limit` is the smallest key there is, only the symbol
//! that has just grown can have neighbours to join at `limit` or below: every other pair has been there before, and comes later. So a symbol
//! grows until both its pairs are above `limit` (`grow`), the queue never gets anything below what was last taken from it, and a word of n
//! symbols takes O(n), whatever the keys.
use super::queue::Queue;
use platform::{Error, Result};

/// No neighbour, no join.
const NONE: u32 = u32::MAX;

/// Words of so many symbols, nearly all there are, need no queue: their best pair is looked for again and again.
const SHORT: usize = 32;

/// A piece of a word: `len` bytes from `start`; `id` is the caller's name for its text. `len` 0: swallowed by its left neighbour.
#[derive(Clone, Copy, Debug)]
pub struct Symbol {
    pub start: u32,
    pub len: u32,
    pub id: u32,
    prev: u32,
    next: u32,
    /// What joining it with the next one costs, `NONE` where they do not join, and the id of both together.
    key: u32,
    joined: u32,
}

/// Buffers kept from word to word.
#[derive(Default)]
pub struct Merger {
    symbols: Vec<Symbol>,
    queue: Queue,
}

impl Merger {
    /// Forgets the last word and makes room for one of up to `n` symbols.
    pub fn begin(&mut self, n: usize) -> Result<()> {
        self.symbols.clear();
        self.symbols.try_reserve(n).map_err(|_| Error::no_memory(format!("no memory to tokenize a word of {n} bytes")))
    }

    /// Appends the next symbol of the word.
    pub fn push(&mut self, len: usize, id: u32) {
        let at = self.symbols.len() as u32;
        let start = self.symbols.last().map_or(0, |s| s.start + s.len);
        if let Some(last) = self.symbols.last_mut() {
            last.next = at;
        }
        self.symbols.push(Symbol { start, len: len as u32, id, prev: at.wrapping_sub(1), next: NONE, key: NONE, joined: NONE });
    }

    /// Joins the pair with the smallest key, again and again. `join` gives a pair's key, below `u32::MAX`, and the id of its joined text.
    pub fn run(&mut self, join: impl Fn(&Symbol, &Symbol) -> Option<(u32, u32)>) -> Result<()> {
        for at in 0..self.symbols.len() as u32 {
            self.meet(at, &join);
        }
        if self.symbols.len() > SHORT {
            return self.run_long(join);
        }
        while let Some((key, at)) = self.best() {
            self.grow(at, key, &join);
        }
        Ok(())
    }

    fn run_long(&mut self, join: impl Fn(&Symbol, &Symbol) -> Option<(u32, u32)>) -> Result<()> {
        self.queue.begin(2 * self.symbols.len())?; // a join takes one pair and offers two
        for at in 0..self.symbols.len() as u32 {
            self.offer(at);
        }
        while let Some((key, at)) = self.queue.pop() {
            // Another key: one of the two has grown since, or is gone.
            if self.symbols[at as usize].key == key {
                let grown = self.grow(at, key, &join);
                self.offer(self.symbols[grown as usize].prev);
                self.offer(grown);
            }
        }
        Ok(())
    }

    fn offer(&mut self, at: u32) {
        if let Some(s) = self.symbols.get(at as usize).filter(|s| s.key != NONE) {
            self.queue.push(s.key, at);
        }
    }

    /// The smallest key and where it is, the leftmost among equals.
    fn best(&self) -> Option<(u32, u32)> {
        let (mut best, mut at) = ((NONE, 0), 0);
        while let Some(s) = self.symbols.get(at as usize) {
            if s.key < best.0 {
                best = (s.key, at);
            }
            at = s.next;
        }
        Some(best).filter(|b| b.0 != NONE)
    }

    /// Joins the symbol at `at` with the next one, and what comes of it with its neighbours as long as their keys are not above `limit`.
    /// Returns where the grown symbol is.
    fn grow(&mut self, mut at: u32, limit: u32, join: &impl Fn(&Symbol, &Symbol) -> Option<(u32, u32)>) -> u32 {
        loop {
            self.join_next(at);
            let prev = self.symbols[at as usize].prev;
            let (left, right) = (self.meet(prev, join), self.meet(at, join));
            if left.min(right) > limit {
                return at;
            }
            if left <= right {
                at = prev;
            }
        }
    }

    fn join_next(&mut self, at: u32) {
        let left = self.symbols[at as usize];
        let right = self.symbols[left.next as usize];
        self.symbols[at as usize] = Symbol { len: left.len + right.len, id: left.joined, next: right.next, ..left };
        (self.symbols[left.next as usize].len, self.symbols[left.next as usize].key) = (0, NONE);
        if let Some(next) = self.symbols.get_mut(right.next as usize) {
            next.prev = at;
        }
    }

    /// Finds out how the symbol at `at` joins with the next one: its new key.
    fn meet(&mut self, at: u32, join: &impl Fn(&Symbol, &Symbol) -> Option<(u32, u32)>) -> u32 {
        let Some(left) = self.symbols.get(at as usize) else { return NONE };
        let pair = self.symbols.get(left.next as usize).and_then(|right| join(left, right));
        let (key, joined) = pair.unwrap_or((NONE, NONE));
        let left = &mut self.symbols[at as usize];
        (left.key, left.joined) = (key, joined);
        key
    }

    /// What is left of the word, in order.
    pub fn symbols(&self) -> impl Iterator<Item = &Symbol> {
        self.symbols.iter().filter(|s| s.len > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;

    /// (left, right) -> (key, joined)
    type Rules<'a> = &'a dyn Fn(u32, u32) -> Option<(u32, u32)>;

    fn merger(ids: &[u32]) -> Merger {
        let mut m = Merger::default();
        m.begin(ids.len()).unwrap();
        ids.iter().for_each(|id| m.push(1, *id));
        m
    }

    fn run(ids: &[u32], rules: Rules<'_>) -> Vec<(u32, u32)> {
        let mut m = merger(ids);
        m.run(|l, r| rules(l.id, r.id)).unwrap();
        m.symbols().map(|s| (s.start, s.id)).collect()
    }

    /// What `run` means, told plainly.
    fn naive(ids: &[u32], rules: Rules<'_>) -> Vec<(u32, u32)> {
        let mut symbols: Vec<(u32, u32)> = (0..).zip(ids.iter().copied()).collect();
        while let Some((_, at, joined)) =
            (1..symbols.len()).filter_map(|i| rules(symbols[i - 1].1, symbols[i].1).map(|(key, joined)| (key, i, joined))).min()
        {
            symbols[at - 1].1 = joined;
            symbols.remove(at);
        }
        symbols
    }

    /// Joins equal ids into id + 1, small ids first.
    fn doubles(left: u32, right: u32) -> Option<(u32, u32)> {
        (left == right).then_some((left, left + 1))
    }

    #[test]
    fn leftmost_pair_first() {
        assert_eq!(run(&[1, 1, 1], &doubles), [(0, 2), (2, 1)]);
        assert_eq!(run(&[1, 1, 1, 1, 1], &doubles), [(0, 3), (4, 1)]);
        assert_eq!(run(&[], &doubles), []);
        assert_eq!(run(&[7], &doubles), [(0, 7)]);
    }

    #[test]
    fn smaller_key_before_left() {
        // 2 2 would join, but 1 1 has the smaller key and makes a third 2.
        assert_eq!(run(&[2, 2, 1, 1, 3], &doubles), [(0, 3), (2, 2), (4, 3)]);
    }

    proptest! {
        /// Random rules with many equal keys, among them joins that come before those that made them possible; short words and long ones.
        #[test]
        fn equals_a_search_for_the_best(
            rules in prop::collection::vec(prop::option::weighted(0.7, (0..9u32, 0..12u32)), 144), ids in prop::collection::vec(0..5u32, 0..120)
        ) {
            let rule = |l: u32, r: u32| rules[(12 * l + r) as usize];
            prop_assert_eq!(run(&ids, &rule), naive(&ids, &rule));
        }

        /// Long runs of one symbol, with some others between.
        #[test]
        fn equals_a_search_for_the_best_in_runs(
            rules in prop::collection::vec(prop::option::weighted(0.6, (0..40u32, 0..12u32)), 144), runs in prop::collection::vec((0..3u32, 1..200usize), 1..4)
        ) {
            let rule = |l: u32, r: u32| rules[(12 * l + r) as usize];
            let ids: Vec<u32> = runs.iter().flat_map(|(id, n)| vec![*id; *n]).collect();
            prop_assert_eq!(run(&ids, &rule), naive(&ids, &rule));
        }
    }

    /// Moves in the queue and questions about pairs for a word.
    fn steps(ids: &[u32], rules: Rules<'_>) -> usize {
        let (mut m, n_asked) = (merger(ids), Cell::new(0));
        m.run(|l, r| {
            n_asked.set(n_asked.get() + 1);
            rules(l.id, r.id)
        })
        .unwrap();
        m.queue.n_moves + n_asked.get()
    }

    /// Twice the word, twice the steps, for keys in any order: runs, random letters, joins that come before those that made them possible.
    #[test]
    fn steps_grow_with_the_word() {
        let random = |l: u32, r: u32| (l + r < 40).then(|| ((l * 7919 + r * 104_729) % 1009, l + r));
        let backwards = |l: u32, r: u32| (l + r < 64).then(|| (64 - l - r, l + r));
        let one_key = |l: u32, r: u32| (l + r < 64).then_some((5, l + r));
        let rules: [Rules<'_>; 4] = [&doubles, &random, &backwards, &one_key];
        for rules in rules {
            for letters in [1, 2, 7] {
                let word = |n: u32| (0..n).map(|i| 1 + (i.wrapping_mul(2_654_435_761) >> 16) % letters).collect::<Vec<u32>>();
                let n_steps = [1 << 12, 1 << 13, 1 << 16].map(|n| steps(&word(n), rules));
                assert!(10 * n_steps[1] <= 21 * n_steps[0] && n_steps[2] <= (3 * 9) << 16, "{n_steps:?}");
            }
        }
    }
}
