//! The samplers that cut: keep the best by count, by mass, by ratio, by typicality, by distance from the best.
use super::candidates::{bucket_sort, max};
use super::order;
use super::row::{Place, softmax};
use super::{Candidates, Row, Sampler, TokenData, copy_whole, empty, same_kind};
use std::any::Any;
use std::ffi::CStr;

struct TopK(usize, Place);

/// Keeps the `k` largest logits, sorted.
pub fn top_k(k: i32) -> Box<dyn Sampler> {
    match usize::try_from(k) {
        Ok(k) if k > 0 => Box::new(TopK(k, Place::Apart)),
        _ => empty(c"?top-k"),
    }
}

/// `top_k` for those who need it as a step of their own.
pub(super) fn keep_top(c: &mut Candidates<'_>, k: usize) {
    if c.sorted { c.truncate(k) } else { c.keep_best(k) }
}

impl Sampler for TopK {
    fn name(&self) -> &CStr {
        self.1.of([c"top-k", c"+top-k", c"-top-k"])
    }
    fn apply(&mut self, c: &mut Candidates<'_>) {
        keep_top(c, self.0);
    }
    fn keeps_best(&self) -> Option<usize> {
        Some(self.0)
    }
    fn attach(&mut self, _: u32) -> bool {
        self.1 = Place::WithModel;
        true
    }
    fn run(&mut self, row: &mut Row) {
        let mut best = best_of(&row.logits, self.0);
        // The first two change places: the original means to say that the order is nothing to rely on. Draws depend on it all the same.
        if best.len() > 1 {
            best.swap(0, 1);
        }
        row.keep(&best);
    }
    fn clone_box(&self) -> Option<Box<dyn Sampler>> {
        Some(Box::new(TopK(self.0, Place::Apart)))
    }
    fn copy_state(&mut self, src: &dyn Any) -> bool {
        same_kind(self, src)
    }
}

/// Where the `k` largest are, the largest first.
fn best_of(logits: &[f32], k: usize) -> Vec<usize> {
    let mut short = Vec::new();
    if let Some(c) = Candidates::best_of(logits, k, &mut short) {
        return c.data.iter().map(|t| t.id as usize).collect();
    }
    let mut all: Vec<usize> = (0..logits.len()).collect();
    order::partial_sort(&mut all, k, |a, b| logits[*a] > logits[*b]);
    all.truncate(k);
    all
}

struct TopP {
    p: f32,
    min_keep: usize,
    place: Place,
    /// Kept between calls: the sorted head of a long list.
    buf: Vec<TokenData>,
}

/// Keeps the shortest head of the sorted list whose probabilities reach `p`.
pub fn top_p(p: f32, min_keep: usize) -> Box<dyn Sampler> {
    if p >= 1.0 {
        return empty(c"?top-p");
    }
    Box::new(TopP { p, min_keep, place: Place::Apart, buf: Vec::new() })
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

    /// Sorts logits and their places as far as `p` asks for: how many that are, `None` if all do not reach it.
    fn order_row(&self, p: &[f32], sorted: &mut [(f32, usize)]) -> Option<usize> {
        let falling = |a: &(f32, usize), b: &(f32, usize)| a.0 > b.0;
        let reach = |sum: &mut f32, run: &[(f32, usize)]| {
            run.iter().position(|(_, i)| {
                *sum += p[*i];
                // The first that brings the sum to p stays; so does what makes it no number.
                (self.p - *sum).partial_cmp(&0.0) != Some(std::cmp::Ordering::Greater)
            })
        };
        let mut sum = 0.0;
        if sorted.len() <= SORT_WHOLE {
            order::sort(sorted, falling);
            return reach(&mut sum, sorted).map(|i| i + 1);
        }
        order::partial_sort(sorted, FIRST_TRY, falling);
        if let Some(i) = reach(&mut 0.0, &sorted[..FIRST_TRY]) {
            return Some(i + 1);
        }
        let mut lazily = order::Lazily::new(sorted, falling);
        while let Some((before, run)) = lazily.more() {
            if let Some(i) = reach(&mut sum, run) {
                return Some(before + i + 1);
            }
        }
        None
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
        self.place.of([c"top-p", c"+top-p", c"-top-p"])
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
    fn attach(&mut self, _: u32) -> bool {
        self.place = Place::WithModel;
        true
    }
    /// The list keeps its length, sorted as far as it counts; `min_keep` says nothing here.
    fn run(&mut self, row: &mut Row) {
        let p = softmax(&row.logits);
        let mut sorted: Vec<(f32, usize)> = row.logits.iter().copied().zip(0..).collect();
        let keep = self.order_row(&p, &mut sorted).unwrap_or(sorted.len());
        row.keep(&sorted.iter().map(|(_, i)| *i).collect::<Vec<_>>());
        row.mask(|i, _| i < keep);
    }
    fn clone_box(&self) -> Option<Box<dyn Sampler>> {
        Some(Box::new(TopP { buf: Vec::new(), place: Place::Apart, ..*self }))
    }
    fn copy_state(&mut self, src: &dyn Any) -> bool {
        same_kind(self, src)
    }
}

#[derive(Clone)]
struct MinP {
    p: f32,
    min_keep: usize,
    place: Place,
}

/// Keeps what is at least `p` times as probable as the best.
pub fn min_p(p: f32, min_keep: usize) -> Box<dyn Sampler> {
    if p <= 0.0 {
        return empty(c"?min-p");
    }
    Box::new(MinP { p, min_keep, place: Place::Apart })
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
        self.place.of([c"min-p", c"+min-p", c"-min-p"])
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
    fn attach(&mut self, _: u32) -> bool {
        self.place = Place::WithModel;
        true
    }
    /// The list keeps its length; `min_keep` says nothing here.
    fn run(&mut self, row: &mut Row) {
        let Some(best) = row.argmax() else { return };
        let least = row.logits[best] + self.p.ln();
        row.mask(|_, l| l - least > 0.0);
    }
    fn clone_box(&self) -> Option<Box<dyn Sampler>> {
        Some(Box::new(MinP { place: Place::Apart, ..*self }))
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
