//! Qwen 2 (biases on Q, K, V), Qwen 3 (norms on Q and K instead), and Qwen 3's mixture of experts.
use crate::model::hparams::HParams;
use crate::model::spec::*;

const KEYS: &[Need] = &[req(Key::RmsEps), opt(Key::ExpertFf)];

const fn base(name: &'static str, layer: fn(&HParams, u32) -> LayerSpec, size: fn(&HParams) -> &'static str) -> Arch {
    Arch {
        name,
        keys: KEYS,
        rope: RopeKind::Neox,
        rot_is_head: true,
        embed: Embed { scale: Scale::One },
        layer,
        head: Head { bias: false, softcap: false },
        quirks: &[],
        size,
    }
}

pub static QWEN2: Arch = Arch {
    head: Head { bias: true, softcap: false },
    ..base(
        "qwen2",
        |hp, il| LayerSpec { attn: attention(hp, il, RopeKind::Neox), ffn: dense(hp, il, Act::Silu), norms: Norms::Pre },
        |hp| match (hp.n_layer, hp.n_embd, hp.n_head[0]) {
            (24, 1024, _) => "0.5B",
            (24, ..) => "1B",
            (28, 1536, _) => "1.5B",
            (28 | 32, ..) => "7B",
            (36, ..) => "3B",
            (40, _, 20) => "4B",
            (40, ..) => "13B",
            (48, ..) => "14B",
            (64, ..) => "32B",
            (80, ..) => "70B",
            _ => "?B",
        },
    )
};

fn normed(hp: &HParams, il: u32) -> Attention {
    Attention { qk_norm: true, ..attention(hp, il, RopeKind::Neox) }
}

fn scaled(hp: &HParams, il: u32) -> Ffn {
    Ffn::Dense { n_ff: hp.n_ff[il as usize], act: Act::Silu, bias: false, scaled: true }
}

pub static QWEN3: Arch = base(
    "qwen3",
    |hp, il| LayerSpec { attn: normed(hp, il), ffn: scaled(hp, il), norms: Norms::Pre },
    |hp| match (hp.n_layer, hp.n_embd) {
        (28, 1024) => "0.6B",
        (28, _) => "1.7B",
        (36, 2560) => "4B",
        (36, _) => "8B",
        (40, _) => "14B",
        (64, _) => "32B",
        _ => "?B",
    },
);

pub static QWEN3MOE: Arch = base(
    "qwen3moe",
    |hp, il| LayerSpec { attn: normed(hp, il), ffn: moe(hp, il), norms: Norms::Pre },
    |hp| match hp.n_layer {
        48 => "30B.A3B",
        94 => "235B.A22B",
        _ => "?B",
    },
);

fn moe(hp: &HParams, il: u32) -> Ffn {
    // Old files give no expert width: the dense width is then spread over the experts in use.
    let n_ff = if hp.n_ff_exp > 0 { hp.n_ff_exp } else { hp.n_ff[il as usize] / hp.n_expert_used.max(1) };
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
