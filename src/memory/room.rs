//! Which blocks of a stream have free cells: a bit per block, so that the next place is found without a look at every block. Knows no cells.
use crate::backend::io::SeqSet;
use platform::Result;
use platform::error::try_zeroed;

/// What a block has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    All,
    /// Some cells, in a block that was opened for this sequence.
    Some(u32),
    None,
}

/// Bits of blocks, 64 to a word.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bits(Vec<u64>);

impl Bits {
    fn set(&mut self, i: usize, on: bool) {
        let (word, bit) = (&mut self.0[i / 64], 1 << (i % 64));
        *word = if on { *word | bit } else { *word & !bit };
    }
    fn ones(&self) -> impl Iterator<Item = usize> + '_ {
        let of_word = |(i, word): (usize, &u64)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
                rest &= rest - 1;
                Some(i * 64 + bit)
            })
        };
        self.0.iter().enumerate().filter(|(_, w)| **w != 0).flat_map(of_word)
    }
}

/// All blocks of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    empty: Bits,
    /// Some cells are taken, some are not.
    open: Bits,
    /// Blocks of `open` per sequence they were opened for: most have none, and are not searched for.
    n_open: Vec<u32>,
}

impl Room {
    /// `n` empty blocks.
    pub fn new(n: usize) -> Result<Room> {
        let words = n.div_ceil(64);
        let mut room = Room {
            empty: Bits(try_zeroed(words, "KV blocks")?),
            open: Bits(try_zeroed(words, "KV blocks")?),
            n_open: try_zeroed(SeqSet::MAX as usize, "KV sequences")?,
        };
        room.reset(n);
        Ok(room)
    }
    /// All `n` blocks are empty again.
    pub fn reset(&mut self, n: usize) {
        self.open.0.fill(0);
        self.n_open.fill(0);
        (0..n).for_each(|i| self.empty.set(i, true));
    }
    /// Block `i` had `was` left and has `is`.
    pub fn turn(&mut self, i: usize, was: Left, is: Left) {
        if was == is {
            return;
        }
        self.empty.set(i, is == Left::All);
        self.open.set(i, matches!(is, Left::Some(_)));
        self.count(was, |n| n - 1);
        self.count(is, |n| n + 1);
    }
    fn count(&mut self, left: Left, to: impl Fn(u32) -> u32) {
        if let Left::Some(seq) = left
            && let Some(n) = self.n_open.get_mut(seq as usize)
        {
            *n = to(*n);
        }
    }
    pub fn first_empty(&self) -> Option<usize> {
        self.empty.ones().next()
    }
    pub fn first_open(&self) -> Option<usize> {
        self.open.ones().next()
    }
    /// The first open block of sequence `seq`; `home` says whose an open block is.
    pub fn first_open_of(&self, seq: u32, home: impl Fn(usize) -> u32) -> Option<usize> {
        let any = self.n_open.get(seq as usize).is_some_and(|n| *n > 0);
        self.open.ones().filter(|_| any).find(|b| home(*b) == seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_by_what_they_have_left() {
        let mut r = Room::new(130).expect("small");
        assert_eq!((r.first_empty(), r.first_open()), (Some(0), None));
        (0..129).for_each(|i| r.turn(i, Left::All, Left::None));
        assert_eq!(r.first_empty(), Some(129));
        r.turn(129, Left::All, Left::Some(7));
        r.turn(65, Left::None, Left::Some(3));
        assert_eq!((r.first_empty(), r.first_open()), (None, Some(65)));
        let home = |b: usize| if b == 129 { 7 } else { 3 };
        assert_eq!([7, 3, 4].map(|s| r.first_open_of(s, home)), [Some(129), Some(65), None]);
        r.turn(129, Left::Some(7), Left::None);
        assert_eq!(r.first_open_of(7, home), None);
        r.reset(130);
        assert!(r == Room::new(130).expect("small"));
    }
}
