//! Dense models that differ from Llama in one part: an activation (Apertus), norms inside the halves (BitNet) or behind them
//! (Chameleon, PLaMo 3, Muse), layers without one half (Deci), a second set of weights for images (CogVLM).
use crate::model::names::Role;
use crate::model::spec::*;

/// xIELU with trained numbers for each layer.
pub static APERTUS: Arch = Arch {
    name: "apertus",
    keys: &[req(Key::RmsEps), opt(Key::Xielu)],
    rot_is_head: true,
    layer: |hp, il| {
        let act = hp.xielu.get(il as usize).map_or(Act::Silu, |x| Act::Xielu(*x));
        let a = Attention { qk_norm: QkNorm::Head, rope_factors: file_factors(hp), ..attention(hp, il, RopeKind::Neox) };
        LayerSpec {
            attn: Attention { out_bias: Want::May, scale: file_scale(hp), ..a },
            ffn: Ffn::Dense(Dense { gating: Gating::None, ..dense(hp, il, act) }),
            ..plain(hp, il, RopeKind::Neox)
        }
    },
    size: |hp| if hp.n_layer == 32 { "8B" } else { "?B" },
    ..PLAIN
};

/// Norms before the last matrix of each half; the embeddings are the head.
pub static BITNET: Arch = Arch {
    name: "bitnet",
    layer: |hp, il| LayerSpec {
        attn: Attention { sub_norm: Some(Role::AttnSubNorm), ..attention(hp, il, RopeKind::Neox) },
        ffn: Ffn::Dense(Dense { scaled: true, sub_norm: Some(Role::FfnSubNorm), ..dense(hp, il, Act::Silu) }),
        ..plain(hp, il, RopeKind::Neox)
    },
    head: Head { tied: true, ..PLAIN.head },
    size: |hp| if hp.n_layer == 26 { "3B" } else { "?B" },
    ..PLAIN
};

/// Images are tokens too, which the head does not say.
pub static CHAMELEON: Arch = Arch {
    name: "chameleon",
    keys: &[req(Key::RmsEps), opt(Key::QkEps(1e-5))],
    rope: Some(RopeKind::Norm),
    layer: |hp, il| {
        let swin = Norms { attn: None, attn_post: Some(Role::AttnNorm), ffn: None, ffn_post: Some(Role::FfnNorm), ..Norms::PRE };
        LayerSpec {
            attn: Attention { qk_norm: QkNorm::EachHead, ..attention(hp, il, RopeKind::Norm) },
            norms: if hp.swin_norm { swin } else { Norms::PRE },
            ..plain(hp, il, RopeKind::Norm)
        }
    },
    head: Head { hidden: Some((4, 8196)), ..PLAIN.head },
    size: |hp| match hp.n_layer {
        32 => "7B",
        48 => "34B",
        _ => "?B",
    },
    ..PLAIN
};

pub static PLAMO3: Arch = Arch {
    name: "plamo3",
    keys: &[req(Key::RmsEps), opt(Key::SlidingWindow(0)), opt(Key::SwaPattern(8)), opt(Key::RopeBaseSwa(Some(10_000.0)))],
    layer: |hp, il| {
        let a = sliding_rope(hp, il, attention(hp, il, RopeKind::Neox), RopeBase::Swa);
        layer_of(
            Attention { qk_norm: QkNorm::Head, qkv_scaled: false, qkv_biased: false, ..a },
            Ffn::Dense(Dense { gating: Gating::InUp, ..dense(hp, il, Act::Silu) }),
            Norms::PRE_AND_POST,
        )
    },
    size: |hp| if hp.n_layer == 24 { "2B" } else { "?B" },
    ..PLAIN
};

/// Only sliding layers rotate; gates per channel.
pub static MUSE_GLIMMER: Arch = Arch {
    name: "muse-glimmer",
    keys: &[
        req(Key::RmsEps),
        req(Key::LogitScale),
        req(Key::SlidingWindow(0)),
        opt(Key::SwaPattern(4)),
        opt(Key::RopeBaseSwaOnly),
        opt(Key::FinalSoftcap(30.0)),
    ],
    rope: Some(RopeKind::Norm),
    embed: Embed { norm: true, bare_norm: true, ..PLAIN.embed },
    layer: |hp, il| {
        let a = sliding_rope(hp, il, attention(hp, il, RopeKind::Norm), RopeBase::Swa);
        let rope = a.rope.filter(|_| a.window != Window::All);
        LayerSpec {
            attn: Attention { rope, qk_norm: QkNorm::Head, gates: Gates::PerChannel, ..a },
            norms: Norms { post_eps: 1e-8, ..Norms::PRE_AND_POST },
            ..plain(hp, il, RopeKind::Norm)
        }
    },
    head: Head { softcap: true, scale: |hp| hp.logit_scale, ..PLAIN.head },
    size: |hp| if hp.n_layer == 52 { "30B" } else { "?B" },
    ..PLAIN
};

/// Searched for: layers may have no attention, its last matrix alone, or no FFN, and then do nothing.
pub static DECI: Arch = Arch {
    name: "deci",
    may_lack: true,
    rope: Some(RopeKind::Norm),
    rot_is_head: true,
    layer: |hp, il| LayerSpec {
        attn: Attention { rope_factors: file_factors(hp), out_bias: Want::May, scale: file_scale(hp), ..attention(hp, il, RopeKind::Norm) },
        ffn: Ffn::Dense(Dense { bias: Want::May, ..dense(hp, il, Act::Silu) }),
        halves: match (hp.n_head[il as usize], hp.n_head_kv[il as usize], hp.n_ff[il as usize]) {
            (.., 0) => Halves::Nothing,
            (0, ..) => Halves::Ffn,
            (_, 0, _) => Halves::Linear,
            _ => Halves::Both,
        },
        ..plain(hp, il, RopeKind::Norm)
    },
    size: |hp| match hp.n_layer {
        32 => "7B",
        80 => "70B",
        162 => "405B",
        _ => "?B",
    },
    ..PLAIN
};

/// The text model; embeddings of images would go through weights of their own. It always turns by a base of 10000.
pub static COGVLM: Arch = Arch {
    name: "cogvlm",
    rot_is_head: true,
    embed: Embed { text_only: true, ..PLAIN.embed },
    layer: |hp, il| {
        let a = attention(hp, il, RopeKind::Neox);
        let attn = Attention { rope_base: RopeBase::SwaUnscaled, qkv_scaled: false, qkv_biased: false, ..a };
        LayerSpec { attn, ..plain(hp, il, RopeKind::Neox) }
    },
    size: |hp| if hp.n_layer == 32 { "13B" } else { "?B" },
    ..PLAIN
};
