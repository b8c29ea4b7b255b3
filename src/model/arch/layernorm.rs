//! Models with mean-and-variance norms that are not of the GPT-2 line: Falcon, StableLM, Orion, Nemotron, OLMo 1, DBRX.
use crate::model::hparams::HParams;
use crate::model::names::Role;
use crate::model::spec::*;

const BASE: Arch = Arch { keys: &[req(Key::NormEps)], norm: Norm::Layer { weight: true, bias: true }, ..PLAIN };

/// The 7B shares one norm between its halves; the 40B has two.
pub static FALCON: Arch = Arch {
    name: "falcon",
    looks_for: &[Role::AttnNorm2],
    rot_is_head: true,
    layer: |hp, il| {
        let two = Norms { attn: Some(Role::AttnNorm2), ffn: Some(Role::AttnNorm), ..Norms::PARALLEL };
        LayerSpec {
            ffn: Ffn::Dense(Dense { gating: Gating::None, ..dense(hp, il, Act::Gelu) }),
            norms: if hp.has(Role::AttnNorm2) { two } else { Norms::SHARED },
            ..plain(hp, il, RopeKind::Neox)
        }
    },
    size: |hp| match hp.n_layer {
        32 => "7B",
        60 => "40B",
        _ => "?B",
    },
    ..BASE
};

/// StableLM 2 12B norms each head and shares one norm between its halves.
pub static STABLELM: Arch = Arch {
    name: "stablelm",
    looks_for: &[Role::QNorm, Role::FfnNorm],
    layer: |hp, il| {
        let qk_norm = if hp.has(Role::QNorm) { QkNorm::EachHead } else { QkNorm::None };
        LayerSpec {
            attn: Attention { qk_norm, ..attention(hp, il, RopeKind::Neox) },
            norms: if hp.has(Role::FfnNorm) { Norms::PRE } else { Norms::SHARED },
            ..plain(hp, il, RopeKind::Neox)
        }
    },
    size: |hp| match hp.n_layer {
        24 => "1B",
        32 => "3B",
        40 => "12B",
        _ => "?B",
    },
    ..BASE
};

pub static ORION: Arch = Arch { name: "orion", size: |hp| if hp.n_layer == 40 { "14B" } else { "?B" }, ..BASE };

pub static NEMOTRON: Arch = Arch {
    name: "nemotron",
    layer: |hp, il| LayerSpec {
        attn: Attention { out_bias: Want::May, ..attention(hp, il, RopeKind::Neox) },
        ffn: Ffn::Dense(Dense { gating: Gating::None, bias: Want::May, ..dense(hp, il, Act::ReluSqr) }),
        ..plain(hp, il, RopeKind::Neox)
    },
    size: |hp| if hp.n_layer == 32 { "4B" } else { "?B" },
    ..BASE
};

fn clamped(hp: &HParams, il: u32, rope: RopeKind) -> Attention {
    Attention { clamp: hp.clamp_kqv, ..attention(hp, il, rope) }
}

/// Norms without weights.
pub static OLMO: Arch = Arch {
    name: "olmo",
    rope: Some(RopeKind::Norm),
    norm: Norm::Layer { weight: false, bias: false },
    layer: |hp, il| LayerSpec { attn: clamped(hp, il, RopeKind::Norm), ..plain(hp, il, RopeKind::Norm) },
    size: |hp| match hp.n_layer {
        22 => "1B",
        32 => "7B",
        80 => "70B",
        _ => "?B",
    },
    ..BASE
};

pub static DBRX: Arch = Arch {
    name: "dbrx",
    keys: &[req(Key::NormEps), req(Key::ClampKqv)],
    norm: Norm::Layer { weight: true, bias: false },
    layer: |hp, il| LayerSpec {
        attn: clamped(hp, il, RopeKind::Neox),
        ffn: Ffn::Moe(Moe { renorm: true, ..moe(hp, hp.n_ff[il as usize]) }),
        norms: Norms { ffn: Some(Role::AttnOutNorm), ..Norms::PRE },
        ..plain(hp, il, RopeKind::Neox)
    },
    size: |hp| if hp.n_layer == 40 { "16x12B" } else { "?B" },
    ..BASE
};

/// The text model of a speech model: no biases but those of norms; the embeddings are the head.
pub static POCKETTTS: Arch = Arch {
    name: "pockettts",
    rope: Some(RopeKind::Norm),
    layer: |hp, il| LayerSpec {
        ffn: Ffn::Dense(Dense { gating: Gating::None, ..dense(hp, il, Act::Gelu) }),
        ..plain(hp, il, RopeKind::Norm)
    },
    head: Head { tied: true, ..PLAIN.head },
    size: |hp| match hp.n_layer {
        6 => "109M",
        24 => "335M",
        _ => "?B",
    },
    ..BASE
};
