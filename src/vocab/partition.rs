//! Finding special tokens in a text before it is tokenized. The original searches for each special token in turn, the longest first;
//! this finds the same in one pass: longer tokens claim their place first, equals from left to right.
use super::texts::Texts;
use platform::{Error, Result};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Range;

/// A stretch of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fragment {
    Token(u32),
    Text(Range<usize>),
}

/// Whether white space to the left and to the right of a token belongs to it.
pub type Strips = (bool, bool);

/// Some tokens, sorted by text, to be walked byte by byte.
#[derive(Default)]
pub struct Specials {
    sorted: Vec<u32>,
}

/// A token that wants `len` bytes from `start`. The greatest goes first: the longest, then the smallest id, then the leftmost.
type Claim = (usize, Reverse<u32>, Reverse<usize>);
/// Start -> (end, token), never overlapping.
type Taken = BTreeMap<usize, (usize, u32)>;

impl Specials {
    pub fn new(tokens: &Texts, ids: impl Iterator<Item = u32>) -> Specials {
        let mut sorted: Vec<u32> = ids.filter(|id| !tokens.get(*id).is_empty()).collect();
        sorted.sort_by_key(|id| (tokens.get(*id), *id));
        sorted.dedup_by_key(|id| tokens.get(*id));
        Specials { sorted }
    }

    /// The longest token that `text` starts with, as a claim on `start`.
    fn longest(&self, tokens: &Texts, text: &[u8], start: usize) -> Option<Claim> {
        let (mut found, mut depth, mut range) = (None, 0, &self.sorted[..]);
        loop {
            // Tokens that end here sort before those that go on.
            if let Some((id, longer)) = range.split_first().filter(|(id, _)| depth > 0 && tokens.get(**id).len() == depth) {
                found = Some((depth, Reverse(*id), Reverse(start)));
                range = longer;
            }
            let Some(b) = text.get(depth).filter(|_| !range.is_empty()) else { return found };
            let low = range.partition_point(|id| tokens.get(*id)[depth] < *b);
            let high = range.partition_point(|id| tokens.get(*id)[depth] <= *b);
            (range, depth) = (&range[low..high], depth + 1);
        }
    }

    /// Cuts `text` at its special tokens.
    pub fn split(&self, tokens: &Texts, text: &[u8], strips: impl Fn(u32) -> Strips) -> Result<Vec<Fragment>> {
        let mut taken = Taken::new();
        let mut queue = self.claims(tokens, text)?;
        while let Some((len, Reverse(id), Reverse(start))) = queue.pop() {
            let free = free_around(&taken, start, text.len());
            if free.is_empty() {
                continue; // a better claim covers the start
            }
            if start + len > free.end {
                queue.extend(self.longest(tokens, &text[start..free.end], start));
                continue;
            }
            let place = with_strips(text, &free, start..start + len, strips(id));
            taken.insert(place.start, (place.end, id));
        }
        Ok(fragments(text, &taken))
    }

    /// The best claim on every place.
    fn claims(&self, tokens: &Texts, text: &[u8]) -> Result<BinaryHeap<Claim>> {
        let mut claims = Vec::new();
        let starts = if self.sorted.is_empty() { 0..0 } else { 0..text.len() };
        for claim in starts.filter_map(|start| self.longest(tokens, &text[start..], start)) {
            claims.try_reserve(1).map_err(|_| Error::no_memory("no memory for the special tokens of a text"))?;
            claims.push(claim);
        }
        Ok(claims.into())
    }
}

/// The unclaimed stretch that holds `at`; empty if `at` is claimed.
fn free_around(taken: &Taken, at: usize, end: usize) -> Range<usize> {
    let from = taken.range(..=at).next_back().map_or(0, |(_, (end, _))| *end);
    let to = taken.range(at..).next().map_or(end, |(start, _)| *start);
    if from > at { at..at } else { from..to }
}

/// Widens a token's place by the white space that it swallows.
fn with_strips(text: &[u8], free: &Range<usize>, place: Range<usize>, (left, right): Strips) -> Range<usize> {
    let is_space = |b: &&u8| matches!(**b, 0x09..=0x0D | 0x20);
    let before = if left { text[free.start..place.start].iter().rev().take_while(is_space).count() } else { 0 };
    let after = if right { text[place.end..free.end].iter().take_while(is_space).count() } else { 0 };
    place.start - before..place.end + after
}

fn fragments(text: &[u8], taken: &Taken) -> Vec<Fragment> {
    let (mut out, mut done) = (Vec::new(), 0);
    for (start, (end, id)) in taken {
        if done < *start {
            out.push(Fragment::Text(done..*start));
        }
        out.push(Fragment::Token(*id));
        done = *end;
    }
    if done < text.len() {
        out.push(Fragment::Text(done..text.len()));
    }
    out
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
        let place = with_strips(text, range, at..at + needle.len(), strips);
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
        let all = Specials::new(&t, 0..3);
        assert_eq!(all.split(&t, b"abcd", |_| (false, false)).unwrap(), [Fragment::Token(2), Fragment::Token(1)]);
        assert_eq!(all.split(&t, b"xabab", |_| (false, false)).unwrap(), [Fragment::Text(0..1), Fragment::Token(0), Fragment::Token(0)]);
    }

    #[test]
    fn strips_swallow_white_space() {
        let t = texts(&["<m>"]);
        let one = Specials::new(&t, 0..1);
        let want = [Fragment::Text(0..1), Fragment::Token(0), Fragment::Text(7..8)];
        assert_eq!(one.split(&t, b"a \n<m> b", |_| (true, true)).unwrap(), want);
        assert_eq!(one.split(&t, b" <m> ", |_| (true, true)).unwrap(), [Fragment::Token(0)]);
    }

    proptest! {
        #[test]
        fn equals_one_search_per_token(
            words in prop::collection::hash_set("[ab ]{1,4}", 1..8), text in "[ab ]{0,40}", left: bool, right: bool
        ) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let t = texts(&words);
            let got = Specials::new(&t, 0..t.len() as u32).split(&t, text.as_bytes(), |_| (left, right)).unwrap();
            prop_assert_eq!(got, oracle(&t, text.as_bytes(), (left, right)));
        }
    }
}
