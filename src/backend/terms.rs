//! What the ops' parameters are called by the kernels: one translation for every backend that computes on a CPU.
use super::op::{Act, Gate, RopeKind, RopeSpec, RouteSpec};
use kernels::float;

pub fn act(a: Act) -> float::Act {
    match a {
        Act::Silu => float::Act::Silu,
        Act::Gelu => float::Act::GeluTanh,
        Act::Relu => float::Act::Relu,
    }
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

pub fn route(s: &RouteSpec) -> float::RouteSpec {
    let gate = match s.gate {
        Gate::Softmax => float::Gate::Softmax,
        Gate::Sigmoid => float::Gate::Sigmoid,
    };
    float::RouteSpec { gate, by_logit: false, norm: s.renorm, scale: s.scale, n_group: 0, n_group_used: 0 }
}
