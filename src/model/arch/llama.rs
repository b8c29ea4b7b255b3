//! Llama 1 to 3 and the many files that call themselves so (Mistral 7B, Mixtral, SmolLM, Yi ...).
use crate::model::hparams::HParams;
use crate::model::spec::*;

pub static LLAMA: Arch = Arch {
    name: "llama",
    keys: &[req(Key::RmsEps)],
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
