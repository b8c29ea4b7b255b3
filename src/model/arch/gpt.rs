//! GPT-2 and what grew from it: norms with biases, plain FFNs; learned positions first, rotation later (StarCoder 2, CodeShell).
use crate::model::hparams::HParams;
use crate::model::spec::*;

const BASE: Arch = Arch {
    keys: &[req(Key::NormEps)],
    rope: None,
    norm: Norm::Layer { weight: true, bias: true },
    embed: Embed { positions: Want::Must, ..PLAIN.embed },
    layer: |hp, il| LayerSpec { attn: Attention { rope: None, ..attn(hp, il) }, ffn: ffn(hp, il), ..plain(hp, il, RopeKind::Neox) },
    ..PLAIN
};

fn attn(hp: &HParams, il: u32) -> Attention {
    Attention { out_bias: Want::Must, ..attention(hp, il, RopeKind::Neox) }
}

fn ffn(hp: &HParams, il: u32) -> Ffn {
    Ffn::Dense(Dense { gating: Gating::None, bias: Want::Must, ..dense(hp, il, Act::Gelu) })
}

pub static GPT2: Arch = Arch {
    name: "gpt2",
    size: |hp| match hp.n_layer {
        12 => "0.1B",
        24 => "0.4B",
        36 => "0.8B",
        48 => "1.5B",
        _ => "?B",
    },
    ..BASE
};

pub static STARCODER: Arch = Arch {
    name: "starcoder",
    // What the original says of it, though nothing rotates.
    rope: Some(RopeKind::Norm),
    size: |hp| match hp.n_layer {
        24 => "1B",
        36 => "3B",
        42 => "7B",
        40 => "15B",
        _ => "?B",
    },
    ..BASE
};

const ROTATED: Arch = Arch {
    rope: Some(RopeKind::Neox),
    embed: PLAIN.embed,
    layer: |hp, il| LayerSpec { attn: attn(hp, il), ffn: ffn(hp, il), ..plain(hp, il, RopeKind::Neox) },
    ..BASE
};

pub static STARCODER2: Arch = Arch {
    name: "starcoder2",
    size: |hp| match hp.n_layer {
        30 => "3B",
        32 => "7B",
        40 => "15B",
        52 => "20B",
        88 => "34B",
        _ => "?B",
    },
    ..ROTATED
};

pub static CODESHELL: Arch = Arch { name: "codeshell", size: |hp| if hp.n_layer == 42 { "7B" } else { "?B" }, ..ROTATED };

/// Pythia and its kin: attention and FFN side by side, each with a norm of its own, where the file says so.
pub static GPTNEOX: Arch = Arch {
    name: "gptneox",
    keys: &[req(Key::NormEps), req(Key::ParallelResidual)],
    layer: |hp, il| LayerSpec {
        attn: attn(hp, il),
        ffn: ffn(hp, il),
        norms: if hp.use_par_res { Norms::PARALLEL } else { Norms::PRE },
        ..plain(hp, il, RopeKind::Neox)
    },
    size: |hp| match (hp.n_layer, hp.n_ff[0]) {
        (6, 512) => "14M",
        (6, 2048) => "70M",
        (12, 3072) => "160M",
        (16, 8192) => "1B",
        (24, 4096) => "410M",
        (24, 8192) => "1.4B",
        (32, 10240) => "2.8B",
        (32, 16384) => "6.9B",
        (36, 20480) => "12B",
        (44, 24576) => "20B",
        _ => "?B",
    },
    ..ROTATED
};

pub static JAIS2: Arch = Arch {
    name: "jais2",
    layer: |hp, il| LayerSpec {
        attn: attn(hp, il),
        ffn: Ffn::Dense(Dense { gating: Gating::None, bias: Want::Must, ..dense(hp, il, Act::ReluSqr) }),
        ..plain(hp, il, RopeKind::Neox)
    },
    size: |hp| match hp.n_layer {
        32 => "8B",
        68 => "70B",
        _ => "?B",
    },
    ..ROTATED
};
