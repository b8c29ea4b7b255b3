//! Scores that fall with distance instead of a rotation (ALiBi): BLOOM, MPT, Refact, Jais, and the larger Baichuan.
use crate::model::names::Role;
use crate::model::spec::*;

/// The exponent that all of them were trained with unless the file says otherwise.
const ALIBI: f32 = 8.0;

/// The 7B rotates instead; sizes that the original does not know do neither.
pub static BAICHUAN: Arch = Arch {
    name: "baichuan",
    rope: Some(RopeKind::Norm),
    layer: |hp, il| {
        let a = attention(hp, il, RopeKind::Norm);
        let (rope, alibi) = (a.rope.filter(|_| hp.n_layer == 32), if hp.n_layer == 40 { ALIBI } else { 0.0 });
        LayerSpec { attn: Attention { rope, alibi, ..a }, ..plain(hp, il, RopeKind::Norm) }
    },
    size: |hp| match hp.n_layer {
        32 => "7B",
        40 => "13B",
        _ => "?B",
    },
    ..PLAIN
};

pub static BLOOM: Arch = Arch {
    name: "bloom",
    keys: &[req(Key::NormEps)],
    rope: None,
    norm: Norm::Layer { weight: true, bias: true },
    embed: Embed { norm: true, ..PLAIN.embed },
    layer: |hp, il| LayerSpec {
        attn: Attention { rope: None, alibi: ALIBI, out_bias: Want::Must, ..attention(hp, il, RopeKind::Neox) },
        ffn: Ffn::Dense(Dense { gating: Gating::None, bias: Want::Must, ..dense(hp, il, Act::Gelu) }),
        ..plain(hp, il, RopeKind::Neox)
    },
    size: |hp| match (hp.n_layer, hp.n_embd) {
        (24, _) => "1B",
        (30, 2560) => "3B",
        (30, 4096) => "7B",
        _ => "?B",
    },
    ..PLAIN
};

/// Biases, learned positions, norms of Q and K and divisors of the activation where the file has them.
pub static MPT: Arch = Arch {
    name: "mpt",
    keys: &[req(Key::NormEps), opt(Key::ClampKqv)],
    looks_for: &[Role::QNorm],
    rope: None,
    norm: Norm::LayerMayBias,
    embed: Embed { positions: Want::May, ..PLAIN.embed },
    layer: |hp, il| {
        let qk_norm = if hp.has_at(Role::QNorm, il) { QkNorm::Whole } else { QkNorm::None };
        let a = Attention { rope: None, alibi: hp.alibi, clamp: hp.clamp_kqv, out_bias: Want::May, ..attention(hp, il, RopeKind::Neox) };
        let ffn = Dense { gating: Gating::None, bias: Want::May, act_scales: true, ..dense(hp, il, Act::Gelu) };
        LayerSpec { attn: Attention { qk_norm, ..a }, ffn: Ffn::Dense(ffn), ..plain(hp, il, RopeKind::Neox) }
    },
    size: |hp| match hp.n_layer {
        32 => "7B",
        48 => "30B",
        _ => "?B",
    },
    ..PLAIN
};

/// With experts in the file the original's FFN is its activation alone.
pub static REFACT: Arch = Arch {
    name: "refact",
    rope: None,
    layer: |hp, il| {
        let s = plain(hp, il, RopeKind::Neox);
        let ffn = if hp.n_expert > 0 { Ffn::Bare(Act::Silu) } else { s.ffn };
        LayerSpec { attn: Attention { rope: None, alibi: ALIBI, ..s.attn }, ffn, norms: s.norms, ..plain(hp, il, RopeKind::Neox) }
    },
    size: |hp| if hp.n_layer == 32 { "1B" } else { "?B" },
    ..PLAIN
};

/// The scale is one over the head's size, not over its root.
pub static JAIS: Arch = Arch {
    name: "jais",
    keys: &[req(Key::NormEps)],
    rope: None,
    norm: Norm::Layer { weight: true, bias: true },
    layer: |hp, il| {
        let a = attention(hp, il, RopeKind::Neox);
        let scale = 1.0 / a.head_v as f32;
        LayerSpec {
            attn: Attention { rope: None, alibi: hp.alibi, scale, out_bias: Want::Must, ..a },
            ffn: Ffn::Dense(Dense { bias: Want::Must, ..dense(hp, il, Act::Silu) }),
            ..plain(hp, il, RopeKind::Neox)
        }
    },
    size: |hp| match hp.n_layer {
        24 => "1.3B",
        40 => "13B",
        _ => "?B",
    },
    ..PLAIN
};
