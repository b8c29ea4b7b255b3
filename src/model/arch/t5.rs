//! T5 (Raffel et al. 2020): positions are buckets of distances; a decoder that looks at what an encoder made of a text, or the encoder alone.
use crate::model::hparams::HParams;
use crate::model::names::Role;
use crate::model::spec::*;

/// The first T5 has plain FFNs, Flan T5 gated ones.
fn layer(hp: &HParams, il: u32, both_sides: bool) -> LayerSpec {
    // A decoder may have more layers than the encoder; they are all alike.
    let il = il.min(hp.n_layer - 1);
    let pos_bias = PosBias::Buckets { n: hp.n_rel_buckets, both_sides };
    let attn = Attention { rope: None, scale: 1.0, pos_bias, cross: !both_sides, ..attention(hp, il, RopeKind::Neox) };
    let (gating, act) = if hp.has(Role::FfnGate) { (Gating::Matrix, Act::Gelu) } else { (Gating::None, Act::Relu) };
    layer_of(attn, Ffn::Dense(Dense { gating, ..dense(hp, il, act) }), Norms::PRE)
}

pub static T5: Arch = Arch {
    name: "t5",
    keys: &[req(Key::RmsEps), req(Key::RelBuckets)],
    looks_for: &[Role::FfnGate],
    rope: None,
    layer: |hp, il| layer(hp, il, false),
    head: Head { norm: Some(Role::DecOutputNorm), ..PLAIN.head },
    stacks: Stacks::EncoderDecoder { layer: |hp, il| layer(hp, il, true) },
    size: |hp| match (hp.n_layer, hp.n_ff[0]) {
        (6, _) => "60M",
        (8, _) => "80M",
        (12, 3072) => "220M",
        (12, 2048) => "250M",
        (24, 4096) => "770M",
        (24, 2816) => "780M",
        (24, 16384 | 5120) => "3B",
        (24, 65536 | 10240) => "11B",
        _ => "?B",
    },
    ..PLAIN
};

pub static T5ENCODER: Arch = Arch {
    name: "t5encoder",
    layer: |hp, il| layer(hp, il, true),
    memory: false,
    head: Head { norm: Some(Role::EncOutputNorm), logits: false, ..PLAIN.head },
    stacks: Stacks::Encoder,
    size: |_| "?B",
    ..T5
};
