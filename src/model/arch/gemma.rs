//! Gemma 1 to 4 and their encoder: embeddings times sqrt(width), GELU. From 2 on sliding windows and norms before and after each half; 2 caps its
//! scores and logits, 3 norms Q and K instead; 3n and 4 norm V too, give each layer embeddings of its own, and the last layers K and V of
//! earlier ones.
use crate::model::hparams::HParams;
use crate::model::names::Role;
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
        ..plain(hp, il, RopeKind::Neox)
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
        ..plain(hp, il, RopeKind::Neox)
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
    layer: |hp, il| {
        let attn = Attention { qk_norm: QkNorm::Head, ..super::bert::symmetric(hp, il) };
        layer_of(attn, gelu(hp, il), Norms::PRE_AND_POST)
    },
    memory: false,
    both_sides: true,
    head: Head { logits: false, ..PLAIN.head },
    classifier: Classifier { dense: true, ..PLAIN.classifier },
    size: |hp| if hp.n_layer == 24 { "0.3B" } else { "?B" },
    ..BASE
};

/// Sizes of heads and rotations by kind of layer; experts beside the FFN in the layers that have a router.
pub static GEMMA4: Arch = Arch {
    name: "gemma4",
    keys: &[
        req(Key::RmsEps),
        req(Key::SlidingWindow(0)),
        req(Key::SwaPattern(1)),
        opt(Key::RopeBaseSwa(Some(10_000.0))),
        opt(Key::FinalSoftcap(30.0)),
        opt(Key::SharedKv),
        req(Key::PerLayerWidth(0)),
    ],
    looks_for: &[Role::V, Role::Qkv, Role::Router],
    layer: |hp, il| {
        let a = windowed(hp, il);
        let all = a.window == Window::All;
        let (head, n_rot) = if all { (a.head_k, a.n_rot) } else { (hp.head_k_swa, hp.n_rot_swa) };
        let v_is_k = !hp.has_at(Role::V, il) && !hp.has_at(Role::Qkv, il);
        let rope_factors = if all { RopeFactors::Freqs } else { RopeFactors::None };
        let a = Attention { head_k: head, head_v: head, n_rot, rope_factors, v_is_k, qkv_biased: false, ..late(hp, il, a) };
        let m = Moe { act: Act::Gelu, renorm: true, scale: 1.0, router: RouterInput::OwnNorm, scaled: true, ..moe(hp, hp.n_ff_exp) };
        let side = Side { moe: m, norm: Role::FfnPreNorm2, of_input: false, posts: Some([Role::FfnPostNorm1, Role::FfnPostNorm2]) };
        LayerSpec {
            side: hp.has_at(Role::Router, il).then_some(side),
            per_layer: hp.n_embd_per_layer > 0,
            out_scaled: true,
            ..layer_of(a, Ffn::Dense(Dense { scaled: true, ..dense(hp, il, Act::Gelu) }), Norms::PRE_AND_POST)
        }
    },
    head: Head { softcap: true, ..PLAIN.head },
    size: |hp| match hp.n_layer {
        30 => "26B.A4B",
        35 => "E2B",
        42 => "E4B",
        60 => "31B",
        _ => "?B",
    },
    ..BASE
};

/// Four streams instead of one; gates of the first layers let pass only what is far above their mean.
pub static GEMMA3N: Arch = Arch {
    name: "gemma3n",
    keys: &[
        req(Key::RmsEps),
        req(Key::SlidingWindow(0)),
        opt(Key::SwaPattern(5)),
        opt(Key::RopeBaseSwa(Some(10_000.0))),
        opt(Key::FinalSoftcap(30.0)),
        opt(Key::KvLayers(20)),
        opt(Key::PerLayerWidth(256)),
    ],
    layer: |hp, il| {
        let a = late(hp, il, windowed(hp, il));
        let own = a.kv_of.is_none();
        // 0.95 of what a normal distribution gives is held back.
        let sparse = if il < 10 { 1.644_853_6 } else { 0.0 };
        let ffn = Ffn::Dense(Dense { sparse, ..dense(hp, il, Act::Gelu) });
        LayerSpec {
            altup: true,
            per_layer: true,
            ..layer_of(Attention { qkv_scaled: own, qkv_biased: own, ..a }, ffn, Norms::PRE_AND_POST)
        }
    },
    flow: Flow::AltUp,
    head: Head { softcap: true, ..PLAIN.head },
    size: |hp| match hp.n_layer {
        30 => "E2B",
        35 => "E4B",
        _ => "?B",
    },
    ..BASE
};

/// Norms on all three and no scale; the last layers look at what the last one of their kind before them has stored.
fn late(hp: &HParams, il: u32, a: Attention) -> Attention {
    let back = if a.window == Window::All { 1 } else { 2 };
    let kv_of = (il >= hp.n_layer_kv).then(|| hp.n_layer_kv.checked_sub(back)).flatten();
    Attention { qk_norm: QkNorm::Head, v_normed: true, scale: 1.0, kv_of, ..a }
}

const BASE: Arch = Arch { embed: Embed { scale: Scale::SqrtWidth, ..PLAIN.embed }, ..PLAIN };

fn gelu(hp: &HParams, il: u32) -> Ffn {
    Ffn::Dense(dense(hp, il, Act::Gelu))
}

fn windowed(hp: &HParams, il: u32) -> Attention {
    let a = sliding(hp, il, attention(hp, il, RopeKind::Neox));
    let rope_base = if a.window == Window::All { RopeBase::Context } else { RopeBase::Swa };
    Attention { rope_base, ..a }
}
