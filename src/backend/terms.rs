//! What the ops' parameters are called by the kernels: one translation for every backend that computes on a CPU.
use super::op::{Act, ByWeight, Gate, HeadNorm, Lookup, MapFn, NormKind, RopeKind, RopeSpec, RouteSpec, WeightId, Xielu};
use super::{Dim, Io, Ubatch};
use kernels::float;

fn act(a: Act) -> Option<float::Act> {
    Some(match a {
        Act::Silu => float::Act::Silu,
        Act::Gelu => float::Act::GeluTanh,
        Act::Relu => float::Act::Relu,
        Act::ReluSqr => float::Act::ReluSqr,
        Act::Sigmoid => float::Act::Sigmoid,
        Act::SwigluOai | Act::SiluCut(_) | Act::CutSilu(_) | Act::Xielu(_) => return None,
    })
}

/// The constants of gpt-oss: steepness, and where gate and up are cut.
pub const OAI: (f32, f32) = (1.702, 7.0);

/// out = act(gate) * up
pub fn glu(t: &float::Table, a: Act, gate: &[f32], up: &[f32], out: &mut [f32]) {
    match (act(a), a) {
        (Some(a), _) => t.glu(a, gate, up, out),
        (_, Act::SiluCut(limit)) => cut(t, gate, up, f32::INFINITY, limit, out),
        (_, Act::CutSilu(limit)) => cut(t, gate, up, limit, f32::INFINITY, out),
        _ => t.glu_oai(gate, up, OAI.0, OAI.1, out),
    }
}

/// out = min(silu(min(gate, before)), after) * up, `up` held within the smaller of both.
fn cut(t: &float::Table, gate: &[f32], up: &[f32], before: f32, after: f32, out: &mut [f32]) {
    let limit = before.min(after);
    out.iter_mut().zip(gate).for_each(|(o, g)| *o = g.min(before));
    t.act(float::Act::Silu, out);
    out.iter_mut().zip(up).for_each(|(o, u)| *o = o.min(after) * u.max(-limit).min(limit));
}

/// x = act(x); an activation that is gated only leaves `x` as it is (no plan asks for it).
pub fn activate(t: &float::Table, a: Act, x: &mut [f32]) {
    match (act(a), a) {
        (Some(a), _) => t.act(a, x),
        (_, Act::Xielu(p)) => x.iter_mut().for_each(|x| *x = xielu(&p, *x)),
        _ => {}
    }
}

fn xielu(p: &Xielu, x: f32) -> f32 {
    if x > 0.0 { p.alpha_p * x * x + p.beta * x } else { (x.min(p.eps).exp_m1() - x) * p.alpha_n + p.beta * x }
}

/// The table row that token `i` looks up. A negative position and what is no token have none: larger than any table.
pub fn row_of(ub: &Ubatch, by: Lookup, i: usize) -> usize {
    match by {
        Lookup::TokensOrFirst if ub.tokens.is_empty() => 0,
        Lookup::Tokens | Lookup::TokensOnly | Lookup::TokensOrFirst | Lookup::TokensOrNothing => {
            ub.tokens.get(i).map_or(usize::MAX, |id| *id as usize)
        }
        Lookup::Positions => ub.pos_of(i) as usize,
        Lookup::First => 0,
    }
}

/// The position of the token that row `i` belongs to.
pub fn pos_of(io: &Io<'_>, rows: Dim, i: usize) -> i32 {
    match rows {
        Dim::Tokens => io.ub.pos_of(i),
        Dim::Outputs => io.ub.pos_of(io.outputs[i] as usize),
    }
}

/// One row of an elementwise function of `x` and, where it has one, `y`; `pos` is the row's token's.
pub fn map_row(t: &float::Table, f: MapFn, x: &mut [f32], y: Option<&[f32]>, pos: i32) {
    match f {
        MapFn::Add => y.into_iter().for_each(|y| t.add_to(x, y)),
        MapFn::Sub => pairs(x, y, |x, y| x - y),
        MapFn::Mul => pairs(x, y, |x, y| x * y),
        MapFn::Gate => y.into_iter().for_each(|y| gate(t, float::Act::Sigmoid, x, y)),
        MapFn::GateSoftplus => y.into_iter().for_each(|y| gate(t, float::Act::Softplus, x, y)),
        MapFn::AddParts(first) => {
            y.into_iter().for_each(|y| x.chunks_exact_mut(y.len().max(1)).skip(first as usize).for_each(|x| t.add_to(x, y)));
        }
        MapFn::Rescale => y.into_iter().for_each(|y| x.chunks_exact_mut(y.len().max(1)).for_each(|x| rescale(t, x, y))),
        MapFn::Weight(_, how) => y.into_iter().for_each(|w| by_weight(how, x, w)),
        MapFn::Scale(s) => t.scale(x, s),
        MapFn::Plus(s) => x.iter_mut().for_each(|x| *x += s),
        MapFn::Sparse(s) => sparse(x, s),
        MapFn::Hide { from, to, .. } => x.iter_mut().take(to as usize).skip(from as usize).for_each(|x| *x = f32::MIN),
        MapFn::Clamp(s) => x.iter_mut().for_each(|x| *x = x.clamp(-s, s)),
        MapFn::Softcap(cap) => t.softcap(x, cap),
        MapFn::Act(a) => activate(t, a, x),
        MapFn::Hadamard(n) => t.hadamard(x, n as usize),
        MapFn::Temperature(h) => t.scale(x, h.at(pos)),
    }
}

/// Does something to a head that is stored under a Walsh-Hadamard transform, in parts of `n`; 0: it is not.
pub fn under(t: &float::Table, n: usize, head: &mut [f32], f: impl FnOnce(&mut [f32])) {
    let turn = |head: &mut [f32]| {
        if n > 0 {
            t.hadamard(head, n);
        }
    };
    turn(head);
    f(head);
    turn(head);
}

/// Whether row `i` stays as it is.
pub fn passes(f: MapFn, i: usize) -> bool {
    matches!(f, MapFn::Hide { first_only: true, .. }) && i > 0
}

/// The weight that a function needs beside its values.
pub fn weight_of(f: MapFn) -> Option<WeightId> {
    if let MapFn::Weight(w, _) = f { Some(w) } else { None }
}

fn pairs(x: &mut [f32], y: Option<&[f32]>, f: impl Fn(f32, f32) -> f32) {
    x.iter_mut().zip(y.unwrap_or_default()).for_each(|(x, y)| *x = f(*x, *y));
}

fn by_weight(how: ByWeight, x: &mut [f32], w: &[f32]) {
    let each = (x.len() / w.len().max(1)).max(1);
    for (x, w) in x.chunks_exact_mut(each).zip(w) {
        match how {
            ByWeight::Mul => x.iter_mut().for_each(|x| *x *= w),
            ByWeight::Div => x.iter_mut().for_each(|x| *x /= w),
            ByWeight::Add => x.iter_mut().for_each(|x| *x += w),
        }
    }
}

fn square_sum(x: &[f32]) -> f64 {
    x.iter().map(|v| f64::from(*v) * f64::from(*v)).sum()
}

fn rescale(t: &float::Table, x: &mut [f32], y: &[f32]) {
    t.scale(x, (square_sum(y).sqrt() / square_sum(x).sqrt()) as f32);
}

fn sparse(x: &mut [f32], s: f32) {
    let n = x.len() as f64;
    let mean = x.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
    let spread = (x.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0)).sqrt();
    let least = (mean + spread * f64::from(s)) as f32;
    x.iter_mut().for_each(|v| *v = (*v - least).max(0.0));
}

fn gate(t: &float::Table, act: float::Act, x: &mut [f32], y: &[f32]) {
    let mut g = y.to_vec();
    t.act(act, &mut g);
    let each = (x.len() / g.len().max(1)).max(1);
    x.chunks_exact_mut(each).zip(&g).for_each(|(x, g)| t.scale(x, *g));
}

/// Each part of `out` is a sum of the parts of `x`, all `width` wide; `coef` is [parts of out][parts of x].
pub fn mix(t: &float::Table, x: &[f32], coef: &[f32], width: usize, out: &mut [f32]) {
    let n = x.len() / width.max(1);
    for (out, coef) in out.chunks_exact_mut(width).zip(coef.chunks_exact(n)) {
        out.fill(0.0);
        x.chunks_exact(width).zip(coef).for_each(|(x, c)| t.add_scaled(out, x, *c));
    }
}

/// y += scale * z b for rows `y` and `z`, `b` being [rank][..], of which `y` is the columns from `at` on. Each sum goes in order of rank, then it is
/// added as one.
pub fn add_low(t: &float::Table, y: &mut [&mut [f32]], z: &[&[f32]], b: &[f32], at: usize, scale: f32) {
    let width = b.len() / z.first().map_or(1, |z| z.len().max(1));
    t.low_rank(y, z, &b[at..], width, scale);
}

/// out = norm(x) * w + b
#[allow(clippy::too_many_arguments, reason = "the kernels' own arguments")]
pub fn norm(t: &float::Table, kind: NormKind, x: &[f32], w: Option<&[f32]>, b: Option<&[f32]>, eps: f32, out: &mut [f32]) {
    match kind {
        NormKind::Rms => {
            t.rms_norm(x, w, eps, out);
            b.into_iter().for_each(|b| t.add_to(out, b));
        }
        NormKind::Layer => t.layer_norm(x, w, b, eps, out),
    }
}

/// Weights and biases of a head norm, looked up.
#[derive(Clone, Copy)]
pub struct HeadWeights<'a> {
    pub w: Option<&'a [f32]>,
    pub b: Option<&'a [f32]>,
}

/// Head `h` normed in place; `copy` has room for it.
pub fn head_norm(t: &float::Table, n: &HeadNorm, v: HeadWeights<'_>, h: usize, head: &mut [f32], copy: &mut [f32]) {
    let len = if n.len == 0 { head.len() } else { n.len as usize };
    let (head, copy) = (&mut head[..len], &mut copy[..len]);
    copy.copy_from_slice(head);
    let part = |w: &[f32]| if w.len() > len { h * len..(h + 1) * len } else { 0..len };
    let w = v.w.filter(|_| !n.number).map(|w| &w[part(w)]);
    norm(t, n.kind, copy, w, v.b.map(|b| &b[part(b)]), n.eps, head);
    v.w.filter(|_| n.number).into_iter().for_each(|w| t.scale(head, w[h]));
}

pub fn rope_kind(k: RopeKind) -> float::RopeKind {
    match k {
        RopeKind::Norm => float::RopeKind::Norm,
        RopeKind::Neox => float::RopeKind::Neox,
    }
}

/// `factors`: the values of `r.factors`.
pub fn freq<'a>(r: &RopeSpec, factors: Option<&'a [f32]>) -> float::RopeFreq<'a> {
    float::RopeFreq {
        n_rot: r.n_rot as usize,
        freq_base: r.freq_base,
        freq_scale: r.freq_scale,
        ext_factor: r.ext_factor,
        attn_factor: r.attn_factor,
        beta_fast: r.beta_fast,
        beta_slow: r.beta_slow,
        n_ctx_orig: r.n_ctx_orig as i32,
        factors,
    }
}

/// Fills `out` with (cos, sin) of the pairs of token `i`.
pub fn angles(ub: &Ubatch, i: usize, r: &RopeSpec, factors: Option<&[f32]>, out: &mut [f32]) {
    let (f, pos) = (freq(r, factors), &ub.pos[i * ub.n_pos_per_token..(i + 1) * ub.n_pos_per_token]);
    match (r.sections, pos) {
        (Some(s), &[t, h, w, e]) => {
            // The last is for images only.
            let e = if ub.tokens.is_empty() { e } else { 0 };
            let sections = float::RopeSections { sections: s.pairs, interleaved: s.interleaved };
            float::rope_cache_multi([t, h, w, e], &sections, &f, out);
        }
        _ => float::rope_cache(ub.pos_of(i), &f, out),
    }
}

/// The experts of a row and their weights; `logits` become what the gate makes of them.
pub fn route_row(t: &float::Table, s: &RouteSpec, logits: &mut [f32], bias: Option<&[f32]>, ids: &mut [u32], weights: &mut [f32]) {
    float::route(t, logits, bias, &route(s), ids, weights);
    if s.each <= 1 {
        return;
    }
    for (id, w) in ids.iter_mut().zip(&mut *weights) {
        *id /= s.each;
        *w = logits[*id as usize];
    }
    // As the kernel's: the sum is held above the smallest normal f16.
    let sum = weights.iter().map(|w| f64::from(*w)).sum::<f64>().max(6.103_515_625e-5) as f32;
    let scale = if s.scale == 0.0 { 1.0 } else { s.scale };
    weights.iter_mut().for_each(|w| *w = if s.renorm { *w / sum * scale } else { *w * scale });
}

fn route(s: &RouteSpec) -> float::RouteSpec {
    let gate = match s.gate {
        Gate::Softmax => float::Gate::Softmax,
        Gate::Sigmoid => float::Gate::Sigmoid,
        Gate::SoftmaxWeight => float::Gate::SoftmaxWeight,
    };
    float::RouteSpec { gate, by_logit: s.by_logit, norm: s.renorm, scale: s.scale, n_group: s.n_group, n_group_used: s.n_group_used }
}
