//! Expert routing: gate, choose, weigh. Knows one token's logits and nothing of experts.

use super::{Act, Table};

/// How logits become weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Softmax over all experts, before choosing.
    Softmax,
    Sigmoid,
    /// Chosen by logit; softmax over the chosen only.
    SoftmaxWeight,
    /// sqrt(softplus(logit)).
    SqrtSoftplus,
}

#[derive(Clone, Copy, Debug)]
pub struct RouteSpec {
    pub gate: Gate,
    /// Choose by raw logit although the weights are gated (llama4).
    pub by_logit: bool,
    /// Divide the weights by their sum, which is held at or above the smallest normal f16.
    pub norm: bool,
    /// Multiplies the weights; 0 and 1 mean no.
    pub scale: f32,
    /// Expert groups (deepseek3); 0 and 1 mean no. At most 64.
    pub n_group: u32,
    /// Groups an expert may come from, ranked by the sum of their two best.
    pub n_group_used: u32,
}

/// The original's clamp of a weight sum: the smallest normal f16.
const MIN_SUM: f32 = 6.103_515_6e-5;

/// A key that sorts as the value does; -0 equals 0, NaN is above everything, so every list has an order.
fn key(v: f32) -> i32 {
    let bits = (v + 0.0).to_bits() as i32;
    bits ^ (((bits >> 31) as u32) >> 1) as i32
}

/// The best index of `0..n` that comes after `last` in the order (value down, index up) and that `open` admits.
fn next_best(n: usize, value: &impl Fn(usize) -> f32, open: &impl Fn(usize) -> bool, last: Option<usize>) -> Option<usize> {
    let last = last.map(|i| (key(value(i)), i));
    let mut best: Option<(i32, usize)> = None;
    for i in (0..n).filter(|i| open(*i)) {
        let k = key(value(i));
        let after = last.is_none_or(|(lk, li)| k < lk || (k == lk && i > li));
        if after && best.is_none_or(|(bk, _)| k > bk) {
            best = Some((k, i));
        }
    }
    best.map(|b| b.1)
}

/// Fills `ids` with the best indices of `0..n`, best first, ties by lower index. Fewer admitted than wanted: the last repeats.
fn top(n: usize, value: &impl Fn(usize) -> f32, open: &impl Fn(usize) -> bool, ids: &mut [u32]) {
    let mut last = None;
    for id in ids {
        last = next_best(n, value, open, last).or(last);
        *id = last.unwrap_or(0) as u32;
    }
}

/// Indices of the `ids.len()` largest of `x`, largest first, ties by lower index (as the original's argsort is read).
pub fn top_k(x: &[f32], ids: &mut [u32]) {
    top(x.len(), &|i| x[i], &|_| true, ids);
}

/// One bit per group that experts may come from.
fn open_groups(n: usize, value: &impl Fn(usize) -> f32, spec: &RouteSpec) -> u64 {
    let n_group = spec.n_group as usize;
    if n_group <= 1 || n_group > 64 || n < 2 * n_group {
        return u64::MAX;
    }
    let size = n / n_group;
    let mut scores = [0.0f32; 64];
    for (g, score) in scores[..n_group].iter_mut().enumerate() {
        let mut two = [0u32; 2];
        top(size, &|i| value(g * size + i), &|_| true, &mut two);
        *score = two.iter().map(|i| value(g * size + *i as usize)).sum();
    }
    let mut chosen = [0u32; 64];
    let used = (spec.n_group_used as usize).min(n_group);
    top_k(&scores[..n_group], &mut chosen[..used]);
    chosen[..used].iter().fold(0, |mask, g| mask | 1 << g)
}

/// Chooses `ids.len()` experts for one token and gives their weights.
///
/// `logits` `[n_expert]` is overwritten by the gated values. `bias` joins the choice, not the weights (deepseek3).
/// Promised: the sum of the weights is taken in rank order, in f64.
pub fn route(t: &Table, logits: &mut [f32], bias: Option<&[f32]>, spec: &RouteSpec, ids: &mut [u32], weights: &mut [f32]) {
    let by_logit = spec.by_logit || spec.gate == Gate::SoftmaxWeight;
    if by_logit {
        choose(logits, bias, spec, ids);
    }
    match spec.gate {
        Gate::Softmax => t.softmax(logits),
        Gate::Sigmoid => t.act(Act::Sigmoid, logits),
        Gate::SoftmaxWeight => {}
        Gate::SqrtSoftplus => {
            t.act(Act::Softplus, logits);
            logits.iter_mut().for_each(|v| *v = v.sqrt());
        }
    }
    if !by_logit {
        choose(logits, bias, spec, ids);
    }
    for (w, id) in weights.iter_mut().zip(&*ids) {
        *w = logits.get(*id as usize).copied().unwrap_or(0.0);
    }
    if spec.gate == Gate::SoftmaxWeight {
        t.softmax(weights);
    }
    finish(spec, weights);
}

fn choose(values: &[f32], bias: Option<&[f32]>, spec: &RouteSpec, ids: &mut [u32]) {
    let value = |i: usize| values[i] + bias.map_or(0.0, |b| b[i]);
    let open = open_groups(values.len(), &value, spec);
    let size = if open == u64::MAX { usize::MAX } else { values.len() / spec.n_group as usize };
    top(values.len(), &value, &|i| i / size < 64 && open >> (i / size) & 1 == 1, ids);
}

fn finish(spec: &RouteSpec, weights: &mut [f32]) {
    if spec.norm {
        let sum = weights.iter().map(|w| f64::from(*w)).sum::<f64>() as f32;
        let sum = if sum < MIN_SUM { MIN_SUM } else { sum };
        weights.iter_mut().for_each(|w| *w /= sum);
    }
    if spec.scale != 0.0 && spec.scale != 1.0 {
        weights.iter_mut().for_each(|w| *w *= spec.scale);
    }
}
