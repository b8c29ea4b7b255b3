//! Diffusion models: decoders' layers without a memory, seen from both sides; a program fills in masked tokens round after round.
use super::qwen;
use crate::model::hparams::HParams;
use crate::model::spec::*;

const BASE: Arch = Arch { memory: false, both_sides: true, diffusion: true, ..PLAIN };

/// A bias of its head is in some files and in no sum.
pub static DREAM: Arch = Arch { name: "dream", rot_is_head: true, size: |hp| if hp.n_layer == 28 { "7B" } else { "?B" }, ..BASE };

/// Biases behind its attention and in its FFN are in some files and in no sum.
pub static LLADA: Arch = Arch {
    name: "llada",
    rope: Some(RopeKind::Norm),
    rot_is_head: true,
    layer: |hp, il| plain(hp, il, RopeKind::Norm),
    size: |hp| if hp.n_layer == 32 { "8B" } else { "?B" },
    ..BASE
};

/// Qwen 3 with experts, but for scales beside their matrices.
fn qwen3moe(hp: &HParams, il: u32, renorm: bool) -> LayerSpec {
    let ffn = Ffn::Moe(Moe { renorm, ..moe(hp, qwen::expert_width(hp, il)) });
    LayerSpec { ffn, ..qwen::QWEN3MOE.layer_spec(hp, il) }
}

pub static LLADA_MOE: Arch = Arch {
    name: "llada-moe",
    rot_is_head: true,
    layer: |hp, il| qwen3moe(hp, il, false),
    size: |hp| if hp.n_layer == 16 { "A1.7B" } else { "?B" },
    ..BASE
};

pub static RND1: Arch = Arch {
    name: "rnd1",
    rot_is_head: true,
    layer: |hp, il| qwen3moe(hp, il, true),
    size: |hp| if hp.n_layer == 48 { "30B.A3B" } else { "?B" },
    ..BASE
};
