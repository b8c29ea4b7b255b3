//! A queue of (key, place), smallest key first, then the leftmost place, for work that never finds anything to do before where it is.
//! A radix heap (Ahuja, Mehlhorn, Orlin, Tarjan, 1990) whose digits are bytes: an entry moves at most eight times, however many there are,
//! so that n entries take O(n). Knows neither tokens nor texts.
use platform::{Error, Result};

/// The end of a list.
const NONE: u32 = u32::MAX;
/// Bytes of a key with its place.
const LEVELS: usize = 8;
const DIGITS: usize = 256;

#[derive(Clone, Copy)]
struct Entry {
    key: u32,
    place: u32,
    next: u32,
}

impl Entry {
    fn order(&self) -> u64 {
        u64::from(self.key) << 32 | u64::from(self.place)
    }
}

/// Entries lie in lists: by the highest byte in which they differ from `last`, and by its value. The lists of a level come before those of
/// the next, and within a level they are in order.
#[derive(Default)]
pub struct Queue {
    /// Not after anything that is left.
    last: u64,
    /// The first entry of each list. // [LEVELS, DIGITS]
    heads: Vec<u32>,
    /// Which lists of a level have entries, a bit each.
    filled: [[u64; DIGITS / 64]; LEVELS],
    entries: Vec<Entry>,
    /// Entries that were taken and can be used again, as a list.
    free: u32,
    /// How often an entry was put into a list.
    #[cfg(test)]
    pub n_moves: usize,
}

impl Queue {
    /// Forgets everything and makes room for `n` entries at a time.
    pub fn begin(&mut self, n: usize) -> Result<()> {
        let no_memory = |_| Error::no_memory(format!("no memory to tokenize: {n} places to look at"));
        self.heads.clear();
        self.heads.try_reserve(LEVELS * DIGITS).map_err(no_memory)?;
        self.heads.resize(LEVELS * DIGITS, NONE);
        self.entries.clear();
        self.entries.try_reserve(n).map_err(no_memory)?;
        (self.last, self.free, self.filled) = (0, NONE, Default::default());
        Ok(())
    }

    /// `key` and `place` must not come before what was taken last.
    pub fn push(&mut self, key: u32, place: u32) {
        let entry = Entry { key, place, next: NONE };
        debug_assert!(entry.order() >= self.last, "a queue that only goes forward");
        let at = self.free;
        if let Some(free) = self.entries.get_mut(at as usize) {
            self.free = free.next;
            *free = entry;
            self.link(at);
        } else {
            self.entries.push(entry);
            self.link(self.entries.len() as u32 - 1);
        }
    }

    /// Takes the smallest.
    pub fn pop(&mut self) -> Option<(u32, u32)> {
        let (level, digit) = self.first()?;
        if level > 0 {
            self.spread(level, digit);
        }
        let list = (self.last & 0xFF) as usize;
        let list = if level > 0 { list } else { digit };
        let at = self.heads[list];
        let entry = self.entries[at as usize];
        self.heads[list] = entry.next;
        if entry.next == NONE {
            self.filled[0][list / 64] &= !(1 << (list % 64));
        }
        self.entries[at as usize].next = self.free;
        (self.free, self.last) = (at, entry.order());
        Some((entry.key, entry.place))
    }

    /// Level and digit of the first list that has entries.
    fn first(&self) -> Option<(usize, usize)> {
        let digit =
            |bits: &[u64; DIGITS / 64]| bits.iter().zip(0..).find(|(b, _)| **b != 0).map(|(b, i)| 64 * i + b.trailing_zeros() as usize);
        self.filled.iter().zip(0..).find_map(|(bits, level)| Some((level, digit(bits)?)))
    }

    /// Puts the entries of the first list where they belong beside the smallest of them: all of them move to lower levels.
    fn spread(&mut self, level: usize, digit: usize) {
        let first = std::mem::replace(&mut self.heads[level * DIGITS + digit], NONE);
        self.filled[level][digit / 64] &= !(1 << (digit % 64));
        let (mut at, mut least) = (first, u64::MAX);
        while let Some(entry) = self.entries.get(at as usize) {
            (at, least) = (entry.next, least.min(entry.order()));
        }
        self.last = least;
        at = first;
        while let Some(entry) = self.entries.get(at as usize) {
            let next = entry.next;
            self.link(at);
            at = next;
        }
    }

    /// Puts an entry at the head of its list.
    fn link(&mut self, at: u32) {
        let entry = &mut self.entries[at as usize];
        let order = entry.order();
        let level = ((order ^ self.last) | 1).ilog2() as usize / 8;
        let digit = (order >> (8 * level)) as usize % DIGITS;
        entry.next = std::mem::replace(&mut self.heads[level * DIGITS + digit], at);
        self.filled[level][digit / 64] |= 1 << (digit % 64);
        #[cfg(test)]
        {
            self.n_moves += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    proptest! {
        /// Random work that goes forward, beside a heap.
        #[test]
        fn goes_as_a_heap_goes(
            start in prop::collection::vec((0..1000u32, 0..70_000u32), 1..60), more in prop::collection::vec((any::<u32>(), any::<u32>(), 0..32u32), 0..200)
        ) {
            let (mut queue, mut heap) = (Queue::default(), BinaryHeap::new());
            queue.begin(start.len()).unwrap();
            start.iter().for_each(|(key, place)| {
                queue.push(*key, *place);
                heap.push(Reverse((*key, *place)));
            });
            let mut more = more.into_iter();
            while let Some(Reverse(want)) = heap.pop() {
                prop_assert_eq!(queue.pop(), Some(want));
                for (key, place, shift) in more.by_ref().take(2) {
                    let new = (want.0.saturating_add(key >> shift), if key >> shift == 0 { want.1.saturating_add(place >> shift) } else { place });
                    queue.push(new.0, new.1);
                    heap.push(Reverse(new));
                }
            }
            prop_assert_eq!(queue.pop(), None);
        }
    }

    #[test]
    fn an_entry_moves_eight_times_at_most() {
        for n in [1_u32 << 10, 1 << 14, 1 << 17] {
            let mut queue = Queue::default();
            queue.begin(n as usize).unwrap();
            (0..n).for_each(|i: u32| queue.push(i.wrapping_mul(2_654_435_761), i.reverse_bits()));
            let taken: Vec<(u32, u32)> = std::iter::from_fn(|| queue.pop()).collect();
            assert!(taken.len() == n as usize && taken.is_sorted() && queue.n_moves <= LEVELS * n as usize);
        }
    }

    #[test]
    fn places_are_used_again() {
        let mut queue = Queue::default();
        queue.begin(2).unwrap();
        queue.push(0, 0);
        for i in 1..1000 {
            queue.push(i, i);
            assert_eq!(queue.pop(), Some((i - 1, i - 1)));
        }
        assert_eq!(queue.entries.len(), 2);
    }
}
