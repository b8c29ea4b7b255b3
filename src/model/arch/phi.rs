//! Phi 2 to 3.5: Microsoft's small models.
use crate::model::spec::*;

/// Q, K, V in one matrix, gate and up in another; longer contexts by LongRoPE. Its windows are off in the original: files that say
/// so were converted wrongly.
pub static PHI3: Arch = Arch {
    name: "phi3",
    layer: |hp, il| LayerSpec {
        attn: Attention { rope_factors: RopeFactors::LongOrShort, ..attention(hp, il, RopeKind::Neox) },
        ffn: Ffn::Dense(Dense { gating: Gating::InUp, ..dense(hp, il, Act::Silu) }),
        ..plain(hp, il, RopeKind::Neox)
    },
    size: |hp| match hp.n_layer {
        24 => "1B",
        32 => "3B",
        40 => "14B",
        _ => "?B",
    },
    ..PLAIN
};

pub static PHI2: Arch = Arch {
    name: "phi2",
    keys: &[req(Key::NormEps)],
    norm: Norm::Layer { weight: true, bias: true },
    layer: |hp, il| LayerSpec {
        attn: Attention { out_bias: Want::Must, ..attention(hp, il, RopeKind::Neox) },
        ffn: Ffn::Dense(Dense { gating: Gating::None, bias: Want::Must, ..dense(hp, il, Act::Gelu) }),
        norms: Norms::SHARED,
        ..plain(hp, il, RopeKind::Neox)
    },
    head: Head { bias: Want::Must, ..PLAIN.head },
    size: |hp| match hp.n_layer {
        24 => "1B",
        32 => "3B",
        _ => "?B",
    },
    ..PLAIN
};

pub static PHIMOE: Arch = Arch {
    name: "phimoe",
    norm: Norm::RmsBias,
    layer: |hp, il| LayerSpec {
        attn: Attention { rope_factors: RopeFactors::LongOrShort, out_bias: Want::Must, ..attention(hp, il, RopeKind::Neox) },
        ffn: Ffn::Moe(Moe { renorm: true, ..moe(hp, hp.n_ff[il as usize]) }),
        ..plain(hp, il, RopeKind::Neox)
    },
    head: Head { bias: Want::Must, ..PLAIN.head },
    size: |hp| if hp.n_layer == 32 { "16x3.8B" } else { "?B" },
    ..PLAIN
};
