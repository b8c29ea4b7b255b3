//! Llama 1 to 3 and the many files that call themselves so (Mistral 7B, Mixtral, SmolLM, Yi ...), and those that differ from it
//! in a detail only: InternLM 2, XVERSE, EXAONE 3.
use crate::model::hparams::HParams;
use crate::model::spec::*;

pub static LLAMA: Arch = Arch {
    name: "llama",
    keys: KEYS,
    rope: RopeKind::Norm,
    rot_is_head: true,
    embed: Embed { scale: Scale::One },
    layer: |hp, il| LayerSpec {
        attn: Attention { rope_factors: true, out_bias: true, scale: scale(hp), ..attention(hp, il, RopeKind::Norm) },
        ffn: ffn(hp, il),
        norms: Norms::Pre,
    },
    head: Head { bias: false, softcap: false },
    quirks: &[],
    size,
};

const KEYS: &[Need] = &[req(Key::RmsEps)];

/// Dense, without the biases.
const fn plain(name: &'static str, rope: RopeKind, layer: fn(&HParams, u32) -> LayerSpec, size: fn(&HParams) -> &'static str) -> Arch {
    Arch {
        name,
        keys: KEYS,
        rope,
        rot_is_head: true,
        embed: Embed { scale: Scale::One },
        layer,
        head: Head { bias: false, softcap: false },
        quirks: &[],
        size,
    }
}

fn plain_layer(attn: Attention, hp: &HParams, il: u32) -> LayerSpec {
    LayerSpec { attn, ffn: dense(hp, il, Act::Silu), norms: Norms::Pre }
}

pub static INTERNLM2: Arch = plain(
    "internlm2",
    RopeKind::Norm,
    |hp, il| plain_layer(attention(hp, il, RopeKind::Norm), hp, il),
    |hp| match hp.n_layer {
        32 => "7B",
        48 => "20B",
        _ => "?B",
    },
);

pub static XVERSE: Arch = plain(
    "xverse",
    RopeKind::Norm,
    |hp, il| plain_layer(attention(hp, il, RopeKind::Norm), hp, il),
    |hp| match hp.n_layer {
        32 => "7B",
        40 => "13B",
        80 => "65B",
        _ => "?B",
    },
);

pub static EXAONE: Arch = plain(
    "exaone",
    RopeKind::Neox,
    |hp, il| plain_layer(Attention { rope_factors: true, ..attention(hp, il, RopeKind::Neox) }, hp, il),
    |hp| if hp.n_layer == 32 { "8B" } else { "?B" },
);

/// Files may set the attention scale (Granite).
fn scale(hp: &HParams) -> f32 {
    if hp.attention_scale == 0.0 { 1.0 / (hp.n_embd_head_k as f32).sqrt() } else { hp.attention_scale }
}

fn ffn(hp: &HParams, il: u32) -> Ffn {
    let n_ff = hp.n_ff[il as usize];
    if hp.n_expert == 0 {
        return Ffn::Dense { n_ff, act: Act::Silu, bias: true, scaled: true };
    }
    Ffn::Moe {
        n_ff,
        n_expert: hp.n_expert,
        n_used: hp.n_expert_used,
        act: Act::Silu,
        gate: Gate::Softmax,
        renorm: true,
        scale: hp.expert_weights_scale,
    }
}

fn size(hp: &HParams) -> &'static str {
    if hp.n_expert == 8 {
        return match hp.n_layer {
            32 => "8x7B",
            56 => "8x22B",
            _ => "?B",
        };
    }
    match hp.n_layer {
        16 | 22 => "1B",
        26 | 28 => "3B",
        30 => "256M",
        32 if hp.n_vocab == 49152 => "3B",
        32 if hp.n_vocab < 40000 => "7B",
        32 | 36 => "8B",
        40 => "13B",
        48 => "34B",
        60 => "30B",
        80 if hp.n_head[0] == hp.n_head_kv[0] => "65B",
        80 => "70B",
        _ => "?B",
    }
}
