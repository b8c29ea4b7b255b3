//! The list of tokens a sampler works on, with what several samplers do to it: sort, cut, softmax. Knows no sampler.
use super::{best, order};

/// One candidate: the layout of `llama_token_data`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TokenData {
    pub id: i32,
    pub logit: f32,
    pub p: f32,
}

/// `llama_token_data_array`, borrowed: samplers shorten `data`, reorder it, and set `selected` (an index into `data`; -1 in C is `None`).
/// `sorted` promises falling logits. A sampler that rewrites logits may leave the flag as it was: the original's habits, kept.
pub struct Candidates<'a> {
    pub data: &'a mut [TokenData],
    pub selected: Option<usize>,
    pub sorted: bool,
}

/// Up to this many are selected by heap, more by buckets of the logit: the original's switch.
const HEAP_MAX: usize = 128;
/// So many logits are looked at together.
const BLOCK: usize = 64;
/// Buckets cover logits from -10 to 10, evenly; what lies outside falls into the first or the last.
const N_BUCKETS: usize = 128;
const BUCKET_SCALE: f32 = N_BUCKETS as f32 / 20.0;

fn before(a: &TokenData, b: &TokenData) -> bool {
    a.logit > b.logit
}

fn bucket(logit: f32) -> usize {
    // A cast clamps: NaN and everything below go to 0.
    ((BUCKET_SCALE * logit + 10.0 * BUCKET_SCALE) as usize).min(N_BUCKETS - 1)
}

/// `std::max`: the first stays unless the second is greater. With a NaN that is not what `f32::max` does.
pub(super) fn max(a: f32, b: f32) -> f32 {
    if a < b { b } else { a }
}

impl<'a> Candidates<'a> {
    pub fn new(data: &'a mut [TokenData]) -> Candidates<'a> {
        Candidates { data, selected: None, sorted: false }
    }

    /// The list that [`Candidates::keep_best`] would leave of one candidate per logit, written to `out` without making that one.
    /// `None`: it would not go by heap, or there is no memory.
    pub fn best_of(logits: &[f32], n: usize, out: &'a mut Vec<TokenData>) -> Option<Candidates<'a>> {
        if n == 0 || n > HEAP_MAX || n >= logits.len() || out.try_reserve(n).is_err() {
            return None;
        }
        let token = |id: usize| TokenData { id: id as i32, logit: logits[id], p: 0.0 };
        out.clear();
        out.extend((0..n).map(token));
        order::make_heap(out, before);
        for (block, start) in logits[n..].chunks(BLOCK).zip((n..).step_by(BLOCK)) {
            let least = out[0].logit;
            if block.iter().fold(false, |any, l| any | (*l > least)) {
                for (logit, id) in block.iter().zip(start..) {
                    if *logit > out[0].logit {
                        order::replace_top(out, token(id), before);
                    }
                }
            }
        }
        order::sort_heap(out, before);
        Some(Candidates { data: out, selected: None, sorted: true })
    }

    /// Keeps the first `n`.
    pub fn truncate(&mut self, n: usize) {
        let data = std::mem::take(&mut self.data);
        let n = n.min(data.len());
        self.data = &mut data[..n];
    }

    /// Drops the first `n`.
    pub fn drop_front(&mut self, n: usize) {
        let data = std::mem::take(&mut self.data);
        let n = n.min(data.len());
        self.data = &mut data[n..];
    }

    /// Keeps the tokens that `keep` wants, in their order.
    pub fn retain(&mut self, mut keep: impl FnMut(&TokenData) -> bool) {
        let mut n = 0;
        for i in 0..self.data.len() {
            if keep(&self.data[i]) {
                self.data[n] = self.data[i];
                n += 1;
            }
        }
        self.truncate(n);
    }

    /// Sorts by falling logit and keeps the `n` best.
    pub fn keep_best(&mut self, n: usize) {
        let n = n.min(self.data.len());
        let mut buf = Vec::new();
        if n > HEAP_MAX && bucket_sort(self.data, n, &mut buf) {
            self.data[..n].copy_from_slice(&buf[..n]);
        } else if n > HEAP_MAX || !best::take(self.data, n) {
            order::partial_sort(self.data, n, before);
        }
        self.truncate(n);
        self.sorted = true;
    }

    pub fn sort(&mut self) {
        if !self.sorted {
            self.keep_best(self.data.len());
        }
    }

    /// Where the largest logit is, the first among equals. A leading NaN wins, since nothing is greater.
    pub fn argmax(&self) -> Option<usize> {
        (0..self.data.len()).reduce(|best, i| if self.data[i].logit > self.data[best].logit { i } else { best })
    }

    /// The largest logit, the first one's when sorted; `None` for an empty list.
    pub fn max_logit(&self) -> Option<f32> {
        let first = self.data.first()?.logit;
        let rest = if self.sorted { &[] } else { &self.data[1..] };
        Some(rest.iter().fold(first, |m, t| max(m, t.logit)))
    }

    /// Sets `p` from the logits; sums in float, in the list's order. An empty list stays empty.
    pub fn softmax(&mut self) {
        let Some(max) = self.max_logit() else { return };
        let mut sum = 0.0_f32;
        for t in self.data.iter_mut() {
            t.p = (t.logit - max).exp();
            sum += t.p;
        }
        self.data.iter_mut().for_each(|t| t.p /= sum);
    }

    pub fn sorted_softmax(&mut self) {
        self.sort();
        self.softmax();
    }
}

/// Writes the `n` best of `data`, sorted, to the front of `out`; what follows them there is of no use. False: no memory, nothing done.
pub(super) fn bucket_sort(data: &[TokenData], n: usize, out: &mut Vec<TokenData>) -> bool {
    let mut count = [0_usize; N_BUCKETS];
    data.iter().for_each(|t| count[bucket(t.logit)] += 1);
    let mut have = 0;
    let mut lowest = N_BUCKETS;
    let mut start = [0_usize; N_BUCKETS]; // where a bucket begins in `out`; the highest comes first
    while lowest > 0 && (have < n || lowest == N_BUCKETS) {
        lowest -= 1;
        start[lowest] = have;
        have += count[lowest];
    }
    out.clear();
    if out.try_reserve(have).is_err() {
        return false;
    }
    out.resize(have, TokenData::default());
    let mut at = start;
    for t in data {
        let b = bucket(t.logit);
        if b >= lowest {
            out[at[b]] = *t;
            at[b] += 1;
        }
    }
    for b in lowest + 1..N_BUCKETS {
        order::sort(&mut out[start[b]..at[b]], before);
    }
    order::partial_sort(&mut out[start[lowest]..], n.saturating_sub(start[lowest]), before);
    true
}
