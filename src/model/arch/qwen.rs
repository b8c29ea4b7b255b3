//! Qwen 2 (biases on Q, K, V), Qwen 3 (norms on Q and K instead), and their mixtures of experts.
use crate::model::hparams::HParams;
use crate::model::spec::*;

pub static QWEN2: Arch = Arch {
    name: "qwen2",
    size: |hp| match (hp.n_layer, hp.n_embd, hp.n_head[0]) {
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
    head: Head { bias: Want::May, ..PLAIN.head },
    ..PLAIN
};

pub static QWEN2MOE: Arch = Arch {
    name: "qwen2moe",
    layer: |hp, il| {
        let n_ff = hp.n_ff[il as usize];
        let shared = Some(Shared { n_ff: if hp.n_ff_shexp > 0 { hp.n_ff_shexp } else { n_ff }, gated: true, scaled: false, in_up: false, plain_names: false, act: None });
        LayerSpec { ffn: Ffn::Moe(Moe { shared, ..moe(hp, expert_width(hp, il)) }), ..plain(hp, il, RopeKind::Neox) }
    },
    size: |hp| match hp.n_layer {
        24 => "A2.7B",
        28 => "57B.A14B",
        _ => "?B",
    },
    ..PLAIN
};

fn normed(hp: &HParams, il: u32) -> Attention {
    Attention { qk_norm: QkNorm::Head, ..attention(hp, il, RopeKind::Neox) }
}

/// Old files give no expert width: the dense width is then spread over the experts in use.
pub(super) fn expert_width(hp: &HParams, il: u32) -> u32 {
    if hp.n_ff_exp > 0 { hp.n_ff_exp } else { hp.n_ff[il as usize] / hp.n_expert_used.max(1) }
}

pub static QWEN3: Arch = Arch {
    name: "qwen3",
    classifier: Classifier { out: true, softmax: true, ..PLAIN.classifier },
    layer: |hp, il| LayerSpec {
        attn: normed(hp, il),
        ffn: Ffn::Dense(Dense { scaled: true, ..dense(hp, il, Act::Silu) }),
        ..plain(hp, il, RopeKind::Neox)
    },
    size: |hp| match (hp.n_layer, hp.n_embd) {
        (28, 1024) => "0.6B",
        (28, _) => "1.7B",
        (36, 2560) => "4B",
        (36, _) => "8B",
        (40, _) => "14B",
        (64, _) => "32B",
        _ => "?B",
    },
    ..PLAIN
};

pub static QWEN3MOE: Arch = Arch {
    name: "qwen3moe",
    layer: |hp, il| LayerSpec {
        attn: normed(hp, il),
        ffn: Ffn::Moe(Moe { renorm: true, scaled: true, ..moe(hp, expert_width(hp, il)) }),
        ..plain(hp, il, RopeKind::Neox)
    },
    size: |hp| match hp.n_layer {
        48 => "30B.A3B",
        94 => "235B.A22B",
        _ => "?B",
    },
    ..PLAIN
};

/// The first Qwen: its FFN is half as wide as the file says.
pub static QWEN: Arch = Arch {
    name: "qwen",
    layer: |hp, il| {
        let d = dense(hp, il, Act::Silu);
        LayerSpec { ffn: Ffn::Dense(Dense { n_ff: d.n_ff / 2, ..d }), ..plain(hp, il, RopeKind::Neox) }
    },
    size: |hp| match hp.n_layer {
        32 => "7B",
        40 => "13B",
        _ => "?B",
    },
    ..PLAIN
};

pub static QWEN2VL: Arch = Arch { name: "qwen2vl", keys: &[req(Key::RmsEps), req(Key::Sections)], ..PLAIN };

/// Qwen 3 with M-RoPE; images come as embeddings with a part for each of the first layers, which are not taken.
pub static QWEN3VL: Arch = Arch {
    name: "qwen3vl",
    classifier: Classifier { out: true, softmax: true, ..PLAIN.classifier },
    keys: &[req(Key::RmsEps), req(Key::Sections)],
    interleaved: true,
    layer: |hp, il| unscaled(QWEN3.layer_spec(hp, il)),
    size: |hp| (QWEN3.size)(hp),
    ..PLAIN
};

/// The language model of a speech model.
pub static QWEN3TTS: Arch = Arch {
    name: "qwen3tts",
    keys: &[req(Key::RmsEps), req(Key::Sections)],
    interleaved: true,
    layer: |hp, il| unscaled(QWEN3.layer_spec(hp, il)),
    size: |hp| (QWEN3.size)(hp),
    ..PLAIN
};

pub static QWEN3VLMOE: Arch = Arch {
    name: "qwen3vlmoe",
    keys: &[req(Key::RmsEps), req(Key::Sections)],
    interleaved: true,
    layer: |hp, il| unscaled(QWEN3MOE.layer_spec(hp, il)),
    size: |hp| (QWEN3MOE.size)(hp),
    ..PLAIN
};

fn unscaled(s: LayerSpec) -> LayerSpec {
    let ffn = match s.ffn {
        Ffn::Dense(d) => Ffn::Dense(Dense { scaled: false, ..d }),
        Ffn::Moe(m) => Ffn::Moe(Moe { scaled: false, ..m }),
        bare => bare,
    };
    LayerSpec { ffn, ..s }
}
