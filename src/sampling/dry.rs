//! DRY ("don't repeat yourself"): lowers tokens that would prolong a repetition, exponentially in its length.
use super::words::Words;
use super::{Candidates, Sampler, copy_whole, empty};
use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::ffi::CStr;

/// Sequences no repetition is counted across: the head token and the tails that complete one, empty for a single token.
pub type Breakers = HashMap<i32, Vec<Vec<i32>>>;

/// A breaker string is cut to this many bytes, a tail to this many tokens: the scan stays linear.
const MAX_CHARS: usize = 40;
const MAX_TAIL: usize = 20;
/// `ln(f32::MAX)`: beyond it the penalty would overflow.
const FLOAT_MAX_LOG: f32 = 88.722_84;

#[derive(Clone)]
struct Dry {
    multiplier: f32,
    base: f32,
    allowed_length: i32,
    last_n: usize,
    breakers: Breakers,
    /// The last `last_n` tokens, newest first.
    last: VecDeque<i32>,
}

pub fn dry(multiplier: f32, base: f32, allowed_length: i32, last_n: i32, breakers: impl FnOnce() -> Breakers) -> Box<dyn Sampler> {
    let last_n = usize::try_from(last_n).unwrap_or(0);
    if multiplier == 0.0 || base.is_nan() || base < 1.0 || last_n == 0 {
        return empty(c"?dry");
    }
    Box::new(Dry { multiplier, base, allowed_length, last_n, breakers: breakers(), last: VecDeque::new() })
}

/// Every way a token can contain or begin each of `strings`.
pub fn breakers(words: &dyn Words, strings: &[&[u8]]) -> Breakers {
    let mut found = Breakers::new();
    for s in strings.iter().filter(|s| !s.is_empty()) {
        let s = &s[..s.len().min(MAX_CHARS)];
        for id in 0..words.n_tokens() {
            for tail in tails(words, &words.text(id), s) {
                let known = found.entry(id).or_default();
                if tail.is_empty() || !known.contains(&tail) {
                    known.push(tail);
                }
            }
        }
    }
    found
}

/// The rest of `s`, in tokens, for each end of `word` that `s` begins with; one empty rest if `word` has all of it.
fn tails(words: &dyn Words, word: &[u8], s: &[u8]) -> Vec<Vec<i32>> {
    if word.windows(s.len()).any(|w| w == s) {
        return vec![Vec::new()];
    }
    let ends = (0..word.len()).map(|at| &word[at..]).filter(|end| s.starts_with(end));
    ends.map(|end| {
        let mut tail = words.tokenize(&s[end.len()..]);
        tail.truncate(MAX_TAIL);
        tail
    })
    .collect()
}

impl Dry {
    /// How far back a repetition may reach: up to the newest breaker among the last `n`.
    fn limit(&self, n: usize) -> usize {
        for i in 0..n {
            let Some(tails) = self.last.get(i).and_then(|head| self.breakers.get(head)) else { continue };
            let complete = |tail: &&Vec<i32>| tail.len() <= i && (1..=tail.len()).all(|o| self.last[i - o] == tail[o - 1]);
            if let Some(longest) = tails.iter().filter(complete).map(Vec::len).max() {
                return i - longest;
            }
        }
        n
    }

    /// The Z-function of the history, newest first: how long the text ending `k` tokens ago agrees with the text ending now,
    /// at most `limit`. // [n], entry 0 unused
    fn repeats(&self, n: usize, limit: usize) -> Vec<usize> {
        let mut len = vec![0; n];
        let (mut left, mut right) = (0, 0); // the agreeing stretch that reaches furthest: left..right
        for k in 1..n {
            if k < right && len[k - left] < right - k {
                len[k] = len[k - left];
                continue;
            }
            let mut agree = right.saturating_sub(k);
            while k + agree < n && self.last[agree] == self.last[k + agree] {
                agree += 1;
            }
            if agree > 0 {
                (left, right) = (k, k + agree);
            }
            len[k] = agree.min(limit);
        }
        len
    }

    /// For each token that followed an earlier repetition: the longest one.
    fn continuations(&self, repeats: &[usize]) -> HashMap<i32, i32> {
        let mut longest = HashMap::new();
        for (&len, &next) in repeats.iter().skip(1).zip(&self.last) {
            let len = i32::try_from(len).unwrap_or(i32::MAX);
            if len >= self.allowed_length {
                let most = longest.entry(next).or_insert(len);
                *most = len.max(*most);
            }
        }
        longest
    }

    fn penalty(&self, len: i32) -> f32 {
        let max_exponent = if self.base > 1.000_001 { (FLOAT_MAX_LOG / self.base.ln()) as i32 } else { 0 };
        let mut exponent = len.saturating_sub(self.allowed_length);
        if max_exponent > 0 {
            exponent = exponent.min(max_exponent);
        }
        (f64::from(self.multiplier) * f64::from(self.base).powf(f64::from(exponent))) as f32
    }

    fn breaks_alone(&self, token: i32) -> bool {
        self.breakers.get(&token).is_some_and(|tails| tails.iter().any(Vec::is_empty))
    }
}

impl Sampler for Dry {
    fn name(&self) -> &CStr {
        c"dry"
    }
    fn apply(&mut self, c: &mut Candidates<'_>) {
        let n = self.last.len();
        let shorter = |n: usize, by: i32| i64::try_from(n).is_ok_and(|n| n < i64::from(by));
        if shorter(n, self.allowed_length.saturating_add(1)) {
            return;
        }
        let limit = self.limit(n);
        if shorter(limit, self.allowed_length) {
            return;
        }
        let longest = self.continuations(&self.repeats(n, limit));
        for t in c.data.iter_mut() {
            if let Some(&len) = longest.get(&t.id).filter(|_| !self.breaks_alone(t.id)) {
                t.logit -= self.penalty(len);
            }
        }
        c.sorted = false;
    }
    fn accept(&mut self, token: i32) {
        self.last.truncate(self.last_n - 1);
        self.last.push_front(token);
    }
    fn reset(&mut self) {
        self.last.clear();
    }
    fn clone_box(&self) -> Option<Box<dyn Sampler>> {
        Some(Box::new(self.clone()))
    }
    fn copy_state(&mut self, src: &dyn Any) -> bool {
        copy_whole(self, src)
    }
}
