//! Gemma 1 to 3 and their encoder: embeddings times sqrt(width), GELU. From 2 on sliding windows and norms before and after each half; 2 caps its
//! scores and logits, 3 norms Q and K instead.
use crate::model::hparams::HParams;
use crate::model::spec::*;

pub static GEMMA: Arch = Arch {
    name: "gemma",
    layer: |hp, il| LayerSpec { ffn: gelu(hp, il), ..plain(hp, il, RopeKind::Neox) },
    size: |hp| match hp.n_layer {
        18 => "2B",
        28 => "7B",
        _ => "?B",
    },
    ..BASE
};

pub static GEMMA2: Arch = Arch {
    name: "gemma2",
    keys: &[
        req(Key::RmsEps),
        opt(Key::SlidingWindow(4096)),
        opt(Key::SwaPattern(2)),
        opt(Key::RopeBaseSwa(None)),
        opt(Key::AttnSoftcap(50.0)),
        opt(Key::FinalSoftcap(30.0)),
    ],
    layer: |hp, il| LayerSpec {
        attn: Attention { softcap: hp.attn_softcap, ..windowed(hp, il) },
        ffn: gelu(hp, il),
        norms: Norms::PRE_AND_POST,
        residual_scale: 1.0,
    },
    head: Head { softcap: true, ..PLAIN.head },
    quirks: &[Quirk { when: |hp| hp.n_layer == 46, ..WIDTH_OVER_HEADS }],
    size: |hp| match hp.n_layer {
        26 => "2B",
        42 => "9B",
        46 => "27B",
        _ => "?B",
    },
    ..BASE
};

/// Of the 27B of either generation.
const WIDTH_OVER_HEADS: Quirk = Quirk {
    when: |_| false,
    set: |hp, s| s.attn.scale = 1.0 / ((hp.n_embd / s.attn.n_head) as f32).sqrt(),
    why: "the 27B scales by width over heads, not by the head's size (gemma_pytorch config.py)",
};

pub static GEMMA3: Arch = Arch {
    name: "gemma3",
    keys: &[
        req(Key::RmsEps),
        opt(Key::SlidingWindow(0)),
        opt(Key::SwaPattern(6)),
        opt(Key::RopeBaseSwa(Some(10_000.0))),
        opt(Key::FinalSoftcap(0.0)),
    ],
    layer: |hp, il| LayerSpec {
        attn: Attention { qk_norm: QkNorm::Head, ..windowed(hp, il) },
        ffn: gelu(hp, il),
        norms: Norms::PRE_AND_POST,
        residual_scale: 1.0,
    },
    head: Head { softcap: true, ..PLAIN.head },
    quirks: &[Quirk { when: |hp| hp.n_layer == 62, ..WIDTH_OVER_HEADS }],
    size: |hp| match hp.n_layer {
        18 => "270M",
        26 => "1B",
        32 => "8B",
        34 => "4B",
        48 => "12B",
        62 => "27B",
        _ => "?B",
    },
    ..BASE
};

/// An encoder for embeddings: windows to both sides.
pub static GEMMA_EMBEDDING: Arch = Arch {
    name: "gemma-embedding",
    keys: &[req(Key::RmsEps), req(Key::SlidingWindow(0)), opt(Key::SwaPattern(6)), opt(Key::RopeBaseSwa(Some(10_000.0)))],
    layer: |hp, il| LayerSpec {
        attn: Attention { qk_norm: QkNorm::Head, ..super::bert::symmetric(hp, il) },
        ffn: gelu(hp, il),
        norms: Norms::PRE_AND_POST,
        residual_scale: 1.0,
    },
    memory: false,
    head: Head { logits: false, ..PLAIN.head },
    classifier: Classifier { dense: true, ..PLAIN.classifier },
    size: |hp| if hp.n_layer == 24 { "0.3B" } else { "?B" },
    ..BASE
};

const BASE: Arch = Arch { embed: Embed { scale: Scale::SqrtWidth, ..PLAIN.embed }, ..PLAIN };

fn gelu(hp: &HParams, il: u32) -> Ffn {
    Ffn::Dense(dense(hp, il, Act::Gelu))
}

fn windowed(hp: &HParams, il: u32) -> Attention {
    let a = sliding(hp, il, attention(hp, il, RopeKind::Neox));
    let rope_base = if a.window == Window::All { RopeBase::Context } else { RopeBase::Swa };
    Attention { rope_base, ..a }
}
