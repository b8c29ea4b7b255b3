//! What the ops' parameters are called by the kernels: one translation for every backend that computes on a CPU.
use super::op::{Act, Gate, Lookup, MapFn, NormKind, RopeKind, RopeSpec, RouteSpec};
use super::{Dim, Io, Ubatch};
use kernels::float;

fn act(a: Act) -> Option<float::Act> {
    Some(match a {
        Act::Silu => float::Act::Silu,
        Act::Gelu => float::Act::GeluTanh,
        Act::Relu => float::Act::Relu,
        Act::ReluSqr => float::Act::ReluSqr,
        Act::SwigluOai => return None,
    })
}

/// The constants of gpt-oss: steepness, and where gate and up are cut.
const OAI: (f32, f32) = (1.702, 7.0);

/// out = act(gate) * up
pub fn glu(t: &float::Table, a: Act, gate: &[f32], up: &[f32], out: &mut [f32]) {
    match act(a) {
        Some(a) => t.glu(a, gate, up, out),
        None => t.glu_oai(gate, up, OAI.0, OAI.1, out),
    }
}

/// x = act(x); an activation that is gated only leaves `x` as it is (no plan asks for it).
pub fn activate(t: &float::Table, a: Act, x: &mut [f32]) {
    if let Some(a) = act(a) {
        t.act(a, x);
    }
}

/// The table row that token `i` looks up. A negative position and what is no token have none: larger than any table.
pub fn row_of(ub: &Ubatch, by: Lookup, i: usize) -> usize {
    match by {
        Lookup::Tokens | Lookup::TokensOnly => ub.tokens.get(i).map_or(usize::MAX, |id| *id as usize),
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
        MapFn::Gate => y.into_iter().for_each(|y| gate(t, x, y)),
        MapFn::Scale(s) => t.scale(x, s),
        MapFn::Clamp(s) => x.iter_mut().for_each(|x| *x = x.clamp(-s, s)),
        MapFn::Softcap(cap) => t.softcap(x, cap),
        MapFn::Act(a) => activate(t, a, x),
        MapFn::Temperature(h) => t.scale(x, h.at(pos)),
    }
}

fn gate(t: &float::Table, x: &mut [f32], y: &[f32]) {
    let mut g = y.to_vec();
    t.act(float::Act::Sigmoid, &mut g);
    let each = (x.len() / g.len().max(1)).max(1);
    x.chunks_exact_mut(each).zip(&g).for_each(|(x, g)| t.scale(x, *g));
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

/// Head `h`'s part of a head norm's weights, which are `len` for all heads or for each.
pub fn head_weight(w: Option<&[f32]>, h: usize, len: usize) -> Option<&[f32]> {
    w.map(|w| if w.len() > len { &w[h * len..(h + 1) * len] } else { w })
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

pub fn route(s: &RouteSpec) -> float::RouteSpec {
    let gate = match s.gate {
        Gate::Softmax => float::Gate::Softmax,
        Gate::Sigmoid => float::Gate::Sigmoid,
        Gate::SoftmaxWeight => float::Gate::SoftmaxWeight,
    };
    float::RouteSpec { gate, by_logit: s.by_logit, norm: s.renorm, scale: s.scale, n_group: s.n_group, n_group_used: s.n_group_used }
}
