//! ChatGLM 3, GLM-4, and Tencent's dense Hunyuan; with M-RoPE where a file has sections.
use crate::model::hparams::HParams;
use crate::model::spec::*;

fn in_up(hp: &HParams, il: u32) -> Ffn {
    Ffn::Dense(Dense { gating: Gating::InUp, ..dense(hp, il, Act::Silu) })
}

pub static CHATGLM: Arch = Arch {
    name: "chatglm",
    rope: Some(RopeKind::Norm),
    layer: |hp, il| LayerSpec { ffn: in_up(hp, il), ..plain(hp, il, RopeKind::Norm) },
    size: |hp| match (hp.n_layer, hp.n_head[0]) {
        (28, 16) => "1.5B",
        (28, _) => "6B",
        (40, 24) => "4B",
        (40, _) => "9B",
        _ => "?B",
    },
    ..PLAIN
};

pub static GLM4: Arch = Arch {
    name: "glm4",
    keys: &[req(Key::RmsEps), opt(Key::Sections)],
    rope: Some(RopeKind::Norm),
    layer: |hp, il| {
        // Sections turn halves against each other, whatever the text-only files do.
        let rope = if hp.mrope().is_some() { RopeKind::Neox } else { RopeKind::Norm };
        LayerSpec { ffn: in_up(hp, il), norms: Norms::PRE_AND_POST, ..plain(hp, il, rope) }
    },
    size: |hp| match hp.n_layer {
        17 => "1B",
        40 => "9B",
        61 => "32B",
        _ => "?B",
    },
    ..PLAIN
};

pub static HUNYUAN_VL: Arch =
    Arch { name: "hunyuan_vl", keys: &[req(Key::RmsEps), opt(Key::RopeAlpha), opt(Key::Sections)], ..HUNYUAN_DENSE };

pub static HUNYUAN_DENSE: Arch = Arch {
    name: "hunyuan-dense",
    keys: &[req(Key::RmsEps), opt(Key::RopeAlpha)],
    layer: |hp, il| LayerSpec {
        attn: Attention { qk_norm: QkNorm::HeadAfterRope, ..attention(hp, il, RopeKind::Neox) },
        ..plain(hp, il, RopeKind::Neox)
    },
    size: |hp| match hp.n_embd {
        1024 => "0.5B",
        2048 => "1.8B",
        3072 => "4B",
        4096 => "7B",
        _ => "?B",
    },
    ..PLAIN
};
