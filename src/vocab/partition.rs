//! Finding special tokens in a text before it is tokenized. The original searches for each special token in turn, the longest first;
//! this finds the same in one pass: longer tokens claim their place first, equals from left to right. Linear in the text.
use super::queue::Queue;
use super::room;
use super::texts::Texts;
use super::trie::Trie;
use platform::{Error, Result};
use std::cmp::Reverse;
use std::ops::Range;

/// A stretch of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fragment {
    Token(u32),
    Text(Range<usize>),
}

/// Whether white space to the left and to the right of a token belongs to it.
pub type Strips = (bool, bool);

/// Some tokens in the order in which they claim their places: the longest first, then the smallest id.
#[derive(Default)]
pub struct Specials {
    ids: Vec<(u32, usize)>, // with the length of its text
    /// Texts by their place in `ids`.
    tree: Trie,
}

/// Places that have been given away.
struct Taken {
    /// Where each ends, and its token.
    places: Vec<(usize, u32)>,
    /// For every byte of the text 1 + the number of the place it belongs to, or 0.
    owner: Vec<u32>,
}

impl Specials {
    pub fn new(tokens: &Texts, ids: impl Iterator<Item = u32>) -> Result<Specials> {
        let mut ids: Vec<(u32, usize)> = ids.map(|id| (id, tokens.get(id).len())).filter(|(_, len)| *len > 0).collect();
        ids.sort_by_key(|(id, len)| (Reverse(*len), *id));
        // Of equal texts the last one counts, which has the smallest id here.
        let tree = Trie::new(ids.iter().zip(0..ids.len() as u32).rev().map(|((id, _), rank)| (tokens.get(*id), rank)))?;
        Ok(Specials { ids, tree })
    }

    /// Cuts `text` at its special tokens.
    pub fn split(&self, text: &[u8], strips: impl Fn(u32) -> Strips) -> Result<Vec<Fragment>> {
        let mut queue = self.claims(text)?;
        let mut taken = Taken { places: Vec::new(), owner: Vec::new() };
        while let Some((rank, start)) = queue.pop() {
            taken.begin(text.len())?;
            let (start, (id, len)) = (start as usize, self.ids[rank as usize]);
            let n_free = taken.n_free(start..start + len);
            if n_free == len {
                taken.take(text, start..start + len, id, strips(id))?;
            } else if let Some((_, shorter)) = self.tree.longest(&text[start..start + n_free]) {
                queue.push(shorter, start as u32); // a better claim begins before the end of this one
            }
        }
        Ok(taken.fragments(text.len()))
    }

    /// The best claim on every place.
    fn claims(&self, text: &[u8]) -> Result<Queue> {
        let starts = if self.ids.is_empty() { 0..0 } else { 0..text.len() };
        let mut claims: Vec<(u32, u32)> = Vec::new();
        for (start, rank) in starts.filter_map(|start| Some((start, self.tree.longest(&text[start..])?.1))) {
            claims.try_reserve(1).map_err(|_| Error::no_memory("no memory for the special tokens of a text"))?;
            claims.push((rank, start as u32));
        }
        let mut queue = Queue::default();
        if !claims.is_empty() {
            queue.begin(claims.len())?;
        }
        claims.into_iter().for_each(|(rank, start)| queue.push(rank, start));
        Ok(queue)
    }
}

impl Taken {
    /// Makes room where there is none yet: most texts hold no special token.
    fn begin(&mut self, n: usize) -> Result<()> {
        if self.owner.is_empty() {
            self.owner = room(n)?;
            self.owner.resize(n, 0);
        }
        Ok(())
    }

    fn is_free(&self, at: usize) -> bool {
        self.owner.get(at) == Some(&0)
    }

    /// How much of the start of a place is free.
    fn n_free(&self, place: Range<usize>) -> usize {
        place.clone().take_while(|at| self.is_free(*at)).count()
    }

    fn take(&mut self, text: &[u8], place: Range<usize>, id: u32, strips: Strips) -> Result<()> {
        let place = with_strips(text, |at| self.is_free(at), place, strips);
        self.places.try_reserve(1).map_err(|_| Error::no_memory("no memory for the special tokens of a text"))?;
        self.places.push((place.end, id));
        self.owner[place].fill(self.places.len() as u32);
        Ok(())
    }

    /// A text of `n` bytes, cut.
    fn fragments(&self, n: usize) -> Vec<Fragment> {
        let (mut out, mut at) = (Vec::new(), 0);
        while at < n {
            let owner = self.owner.get(at).map_or(0, |o| *o as usize);
            if let Some((end, id)) = owner.checked_sub(1).and_then(|k| self.places.get(k)) {
                out.push(Fragment::Token(*id));
                at = *end;
            } else {
                let n_free = if self.owner.is_empty() { n } else { self.n_free(at..n) };
                out.push(Fragment::Text(at..at + n_free));
                at += n_free;
            }
        }
        out
    }
}

/// Widens a token's place by the white space that it swallows.
fn with_strips(text: &[u8], is_free: impl Fn(usize) -> bool, place: Range<usize>, (left, right): Strips) -> Range<usize> {
    let swallows = |at: &usize| matches!(text[*at], 0x09..=0x0D | 0x20) && is_free(*at);
    let before = if left { (0..place.start).rev().take_while(swallows).count() } else { 0 };
    let after = if right { (place.end..text.len()).take_while(swallows).count() } else { 0 };
    place.start - before..place.end + after
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(list: &[&str]) -> Texts {
        let mut t = Texts::default();
        for s in list {
            t.push(s.as_bytes());
        }
        t
    }

    /// What the original does, told plainly: each token in turn, the longest first.
    fn oracle(t: &Texts, text: &[u8], strips: Strips) -> Vec<Fragment> {
        let mut ids: Vec<u32> = (0..t.len() as u32).collect();
        ids.sort_by_key(|id| (Reverse(t.get(*id).len()), *id));
        let mut list = vec![Fragment::Text(0..text.len())];
        for id in ids {
            list = list.into_iter().flat_map(|f| cut(text, f, t.get(id), id, strips)).collect();
        }
        list.retain(|f| *f != Fragment::Text(0..0));
        list
    }

    fn cut(text: &[u8], f: Fragment, needle: &[u8], id: u32, strips: Strips) -> Vec<Fragment> {
        let Fragment::Text(range) = &f else { return vec![f] };
        let Some(at) = text[range.clone()].windows(needle.len()).position(|w| w == needle).map(|i| i + range.start) else { return vec![f] };
        let place = with_strips(text, |i| range.contains(&i), at..at + needle.len(), strips);
        let mut out = Vec::new();
        if place.start > range.start {
            out.push(Fragment::Text(range.start..place.start));
        }
        out.push(Fragment::Token(id));
        if place.end < range.end {
            out.extend(cut(text, Fragment::Text(place.end..range.end), needle, id, strips));
        }
        out
    }

    #[test]
    fn the_longest_claims_first() {
        let t = texts(&["ab", "bcd", "a"]);
        let all = Specials::new(&t, 0..3).unwrap();
        assert_eq!(all.split(b"abcd", |_| (false, false)).unwrap(), [Fragment::Token(2), Fragment::Token(1)]);
        assert_eq!(all.split(b"xabab", |_| (false, false)).unwrap(), [Fragment::Text(0..1), Fragment::Token(0), Fragment::Token(0)]);
    }

    #[test]
    fn strips_swallow_white_space() {
        let t = texts(&["<m>"]);
        let one = Specials::new(&t, 0..1).unwrap();
        let want = [Fragment::Text(0..1), Fragment::Token(0), Fragment::Text(7..8)];
        assert_eq!(one.split(b"a \n<m> b", |_| (true, true)).unwrap(), want);
        assert_eq!(one.split(b" <m> ", |_| (true, true)).unwrap(), [Fragment::Token(0)]);
    }

    proptest! {
        #[test]
        fn equals_one_search_per_token(
            words in prop::collection::hash_set("[ab ]{1,4}", 1..8), text in "[ab ]{0,40}", left: bool, right: bool
        ) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let t = texts(&words);
            let got = Specials::new(&t, 0..t.len() as u32).unwrap().split(text.as_bytes(), |_| (left, right)).unwrap();
            prop_assert_eq!(got, oracle(&t, text.as_bytes(), (left, right)));
        }
    }
}
