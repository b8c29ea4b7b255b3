//! The samplers that cut: keep the best by count, by mass, by ratio, by typicality, by distance from the best.
use super::candidates::{bucket_sort, max};
use super::order;
use super::{Candidates, Sampler, TokenData, copy_whole, empty, same_kind};
use std::any::Any;
use std::ffi::CStr;

#[derive(Clone)]
struct TopK(usize);

/// Keeps the `k` largest logits, sorted.
pub fn top_k(k: i32) -> Box<dyn Sampler> {
    match usize::try_from(k) {
        Ok(k) if k > 0 => Box::new(TopK(k)),
        _ => empty(c"?top-k"),
    }
}

/// `top_k` for those who need it as a step of their own.
pub(super) fn keep_top(c: &mut Candidates<'_>, k: usize) {
    if c.sorted { c.truncate(k) } else { c.keep_best(k) }
}

impl Sampler for TopK {
    fn name(&self) -> &CStr {
        c"top-k"
    }
    fn apply(&mut self, c: &mut Candidates<'_>) {
        keep_top(c, self.0);
    }
    fn keeps_best(&self) -> Option<usize> {
        Some(self.0)
    }
    fn clone_box(&self) -> Option<Box<dyn Sampler>> {
        Some(Box::new(self.clone()))
    }
    fn copy_state(&mut self, src: &dyn Any) -> bool {
        same_kind(self, src)
    }
}

#[derive(Clone)]
struct TopP {
    p: f32,
    min_keep: usize,
    /// Kept between calls: the sorted head of a long list.
    buf: Vec<TokenData>,
}

/// Keeps the shortest head of the sorted list whose probabilities reach `p`.
pub fn top_p(p: f32, min_keep: usize) -> Box<dyn Sampler> {
    if p >= 1.0 {
        return empty(c"?top-p");
    }
    Box::new(TopP { p, min_keep, buf: Vec::new() })
}

/// Lists up to this length are sorted in place.
const SORT_WHOLE: usize = 1024;
/// Of a longer list this many are sorted first; mostly they suffice.
const FIRST_TRY: usize = 256;

impl TopP {
    /// How many of a sorted list reach `p`; `None` if all do not.
    fn reach(&self, sorted: &[TokenData]) -> Option<usize> {
        let mut sum = 0.0_f32;
        let enough = |(i, t): (usize, &TokenData)| {
            sum += t.p;
            sum >= self.p && i + 1 >= self.min_keep
        };
        sorted.iter().enumerate().map(enough).position(|e| e).map(|i| i + 1)
    }

    /// Sorts only as much of a long list as is needed. False: no memory for it.
    fn cut_long(&mut self, c: &mut Candidates<'_>) -> bool {
        let n = c.data.len();
        for k in [FIRST_TRY, n] {
            let mut buf = std::mem::take(&mut self.buf);
            if !bucket_sort(c.data, k, &mut buf) {
                return false;
            }
            let reach = self.reach(&buf[..k]).or((k == n).then_some(n));
            self.buf = buf;
            if let Some(keep) = reach {
                c.data[..keep].copy_from_slice(&self.buf[..keep]);
                c.truncate(keep);
                c.sorted = true;
                return true;
            }
        }
        true
    }
}

impl Sampler for TopP {
    fn name(&self) -> &CStr {
        c"top-p"
    }
    fn apply(&mut self, c: &mut Candidates<'_>) {
        c.softmax();
        if !c.sorted && c.data.len() > SORT_WHOLE && self.cut_long(c) {
            return;
        }
        c.sort();
        if let Some(keep) = self.reach(c.data) {
            c.truncate(keep);
        }
    }
    fn clone_box(&self) -> Option<Box<dyn Sampler>> {
        Some(Box::new(TopP { buf: Vec::new(), ..*self }))
    }
    fn copy_state(&mut self, src: &dyn Any) -> bool {
        same_kind(self, src)
    }
}

#[derive(Clone)]
struct MinP {
    p: f32,
    min_keep: usize,
}

/// Keeps what is at least `p` times as probable as the best.
pub fn min_p(p: f32, min_keep: usize) -> Box<dyn Sampler> {
    if p <= 0.0 {
        return empty(c"?min-p");
    }
    Box::new(MinP { p, min_keep })
}

impl MinP {
    /// Without sorting, order kept; only if enough remain. False: nothing done.
    fn filter(&self, c: &mut Candidates<'_>) -> bool {
        let best = c.data.iter().fold(f32::MIN, |m, t| max(m, t.logit));
        let least = best + self.p.ln();
        let n = c.data.iter().filter(|t| t.logit >= least).count();
        if n == 0 || n < self.min_keep {
            return false;
        }
        c.retain(|t| t.logit >= least);
        true
    }
}

impl Sampler for MinP {
    fn name(&self) -> &CStr {
        c"min-p"
    }
    fn apply(&mut self, c: &mut Candidates<'_>) {
        if !c.sorted && self.filter(c) {
            return;
        }
        c.sort();
        let Some(first) = c.data.first() else { return };
        let least = first.logit + self.p.ln();
        let too_small = |i: &usize| c.data[*i].logit < least && *i >= self.min_keep;
        if let Some(n) = (1..c.data.len()).find(too_small) {
            c.truncate(n);
        }
    }
    fn clone_box(&self) -> Option<Box<dyn Sampler>> {
        Some(Box::new(self.clone()))
    }
    fn copy_state(&mut self, src: &dyn Any) -> bool {
        same_kind(self, src)
    }
}

#[derive(Clone)]
struct Typical {
    p: f32,
    min_keep: usize,
}

/// Keeps the tokens whose surprise is nearest the entropy, up to the mass `p`.
pub fn typical(p: f32, min_keep: usize) -> Box<dyn Sampler> {
    if p >= 1.0 {
        return empty(c"?typical");
    }
    Box::new(Typical { p, min_keep })
}

impl Sampler for Typical {
    fn name(&self) -> &CStr {
        c"typical"
    }
    fn apply(&mut self, c: &mut Candidates<'_>) {
        c.sorted_softmax();
        let entropy = c.data.iter().fold(0.0_f32, |s, t| s + -t.p * t.p.ln());
        let mut by_distance: Vec<(f32, TokenData)> = c.data.iter().map(|t| ((-t.p.ln() - entropy).abs(), *t)).collect();
        order::sort(&mut by_distance, |a, b| a.0 < b.0);
        let mut sum = 0.0_f32;
        let enough = |(i, (_, t)): (usize, &(f32, TokenData))| {
            sum += t.p;
            sum > self.p && i + 1 >= self.min_keep
        };
        let keep = by_distance.iter().enumerate().map(enough).position(|e| e).map_or(by_distance.len(), |i| i + 1);
        c.truncate(keep);
        c.data.iter_mut().zip(by_distance).for_each(|(to, (_, t))| *to = t);
        c.sorted = false;
    }
    fn clone_box(&self) -> Option<Box<dyn Sampler>> {
        Some(Box::new(self.clone()))
    }
    fn copy_state(&mut self, src: &dyn Any) -> bool {
        copy_whole(self, src)
    }
}

#[derive(Clone)]
struct TopNSigma(f32);

/// Sets to `-inf` what lies more than `n` standard deviations below the best logit; the list keeps its length.
pub fn top_n_sigma(n: f32) -> Box<dyn Sampler> {
    if n <= 0.0 {
        return empty(c"?top-n-sigma");
    }
    Box::new(TopNSigma(n))
}

/// Mean and deviation of the logits that are not masked, in float.
fn mean_and_deviation(c: &Candidates<'_>) -> (f32, f32) {
    let live = || c.data.iter().map(|t| t.logit).filter(|l| *l != f32::NEG_INFINITY);
    let n = live().count();
    if n == 0 {
        return (0.0, 0.0);
    }
    let mean = live().fold(0.0_f32, |s, l| s + l) / n as f32;
    // Squares are added in double and rounded to float after each step.
    let squares = live().fold(0.0_f32, |s, l| (f64::from(s) + f64::from(l - mean).powi(2)) as f32);
    (mean, (squares / n as f32).sqrt())
}

impl Sampler for TopNSigma {
    fn name(&self) -> &CStr {
        c"top-n-sigma"
    }
    fn apply(&mut self, c: &mut Candidates<'_>) {
        if c.data.len() <= 1 {
            return;
        }
        let best = c.data[1..].iter().fold(c.data[0].logit, |m, t| max(m, t.logit));
        let (_, deviation) = mean_and_deviation(c);
        let least = best - self.0 * deviation;
        c.data.iter_mut().filter(|t| t.logit < least).for_each(|t| t.logit = f32::NEG_INFINITY);
    }
    fn clone_box(&self) -> Option<Box<dyn Sampler>> {
        Some(Box::new(self.clone()))
    }
    fn copy_state(&mut self, src: &dyn Any) -> bool {
        copy_whole(self, src)
    }
}
