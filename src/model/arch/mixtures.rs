//! Mixtures of experts with something of their own: a dense FFN beside the experts (Grok, Arctic), routers that look elsewhere
//! (SmallThinker), experts behind experts (Grove), cut activations (Maple, Step 3.5), gates through softplus (Laguna).
use crate::model::hparams::{HParams, given};
use crate::model::names::Role;
use crate::model::spec::*;

/// Scores go through a multiplier and a cap; logits and embeddings have scales of their own.
pub static GROK: Arch = Arch {
    name: "grok",
    v_by_channel: true,
    keys: &[req(Key::RmsEps), opt(Key::AttnSoftcap(30.0)), opt(Key::FinalSoftcap(0.0)), opt(Key::BetaFast(8.0))],
    looks_for: &[Role::FfnUp, Role::LayerOutNorm],
    embed: Embed { scale: Scale::OfFile { or: 78.383_67 }, ..PLAIN.embed },
    layer: |hp, il| {
        let a = attention(hp, il, RopeKind::Neox);
        let wide = hp.n_ff[il as usize];
        let beside = hp.has_at(Role::FfnUp, il).then(|| shared(wide)).flatten().map(|s| Shared { plain_names: true, ..s });
        let m = moe(hp, if hp.n_ff_exp > 0 { hp.n_ff_exp } else { wide });
        let post = if hp.has_at(Role::LayerOutNorm, il) { Role::LayerOutNorm } else { Role::FfnPostNorm };
        layer_of(
            Attention { scale: given(hp.score_scale).unwrap_or(0.088_388_35), softcap: hp.attn_softcap, ..a },
            Ffn::Moe(Moe { act: Act::Gelu, renorm: true, shared: beside, mix: std::f32::consts::FRAC_1_SQRT_2, ..m }),
            Norms { attn_post: Some(Role::AttnOutNorm), ffn_post: Some(post), ..Norms::PRE },
        )
    },
    head: Head { softcap: true, scale: |hp| given(hp.logit_scale).unwrap_or(0.577_350_26), ..PLAIN.head },
    size: |hp| if hp.n_layer == 64 { "314B" } else { "?B" },
    ..PLAIN
};

/// The experts read the layer's input; the dense FFN is as wide as the model.
pub static ARCTIC: Arch = Arch {
    name: "arctic",
    rope: Some(RopeKind::Norm),
    layer: |hp, il| {
        let m = Moe { renorm: true, ..moe(hp, hp.n_ff[il as usize]) };
        LayerSpec {
            ffn: Ffn::Dense(dense_of(hp.n_embd, Act::Silu)),
            side: Some(Side { moe: m, norm: Role::FfnNormExps, of_input: true, posts: None }),
            ..plain(hp, il, RopeKind::Norm)
        }
    },
    size: |hp| if hp.n_expert == 128 && hp.n_layer == 35 { "10B+128x3.66B" } else { "?B" },
    ..PLAIN
};

/// Width of an expert where old files may not give it.
fn expert_width(hp: &HParams, il: u32) -> u32 {
    if hp.n_ff_exp > 0 { hp.n_ff_exp } else { hp.n_ff[il as usize] / hp.n_expert_used.max(1) }
}

fn head_normed(hp: &HParams, il: u32) -> Attention {
    Attention { qk_norm: QkNorm::Head, ..attention(hp, il, RopeKind::Neox) }
}

/// Experts in the layers that have a router.
pub static HY_V3: Arch = Arch {
    name: "hy_v3",
    keys: &[req(Key::RmsEps), req(Key::ExpertFf)],
    looks_for: &[Role::Router],
    layer: |hp, il| {
        let n_ff = expert_width(hp, il);
        let beside = shared(if hp.n_ff_shexp > 0 { hp.n_ff_shexp } else { n_ff }).map(|s| Shared { scaled: true, ..s });
        let m = Moe { gate: hp.gate(Gate::Sigmoid), renorm: hp.expert_weights_norm, select_bias: Want::May, ..moe(hp, n_ff) };
        let d = Dense { scaled: true, ..dense(hp, il, Act::Silu) };
        layer_of(
            Attention { rope_factors: file_factors(hp), ..head_normed(hp, il) },
            if hp.has_at(Role::Router, il) { Ffn::Moe(Moe { shared: beside, scaled: true, ..m }) } else { Ffn::Dense(d) },
            Norms::PRE,
        )
    },
    size: |hp| if hp.n_layer == 48 { "30B.A3B" } else { "?B" },
    ..PLAIN
};

pub static LAGUNA: Arch = Arch {
    name: "laguna",
    keys: &[
        req(Key::RmsEps),
        req(Key::DenseLead),
        req(Key::ExpertFf),
        opt(Key::SlidingWindow(0)),
        opt(Key::SwaPatternDenseFirst(4)),
        opt(Key::RopeBaseSwaOnly),
    ],
    looks_for: &[Role::AttnGate],
    layer: |hp, il| {
        let a = sliding_rope(hp, il, head_normed(hp, il), RopeBase::SwaUnscaled);
        let n_rot = if a.window == Window::All { hp.n_rot } else { hp.n_rot_swa };
        let per_head = !hp.has_at(Role::AttnGate, il) || hp.rows_at(Role::AttnGate, il) == u64::from(a.n_head);
        let gates = if per_head { Gates::SoftPerHead } else { Gates::SoftPerChannel };
        let beside = shared(if hp.n_ff_shexp > 0 { hp.n_ff_shexp } else { hp.n_ff_exp * hp.n_expert_shared.max(1) });
        let m = Moe { gate: hp.gate(Gate::Sigmoid), renorm: hp.expert_weights_norm, select_bias: Want::Must, ..moe(hp, hp.n_ff_exp) };
        let s = plain(hp, il, RopeKind::Neox);
        let ffn = if il < hp.n_layer_dense_lead { s.ffn } else { Ffn::Moe(Moe { shared: beside, ..m }) };
        layer_of(Attention { n_rot, gates, ..a }, ffn, Norms::PRE)
    },
    size: |hp| match hp.n_layer {
        40 => "30B.A3B",
        48 => "118B.A8B",
        70 => "230B.A10B",
        _ => "?B",
    },
    head: UNSCALED,
    ..PLAIN
};

/// Sinks in the layers that have them; what attention gives is scaled.
pub static MIMO2: Arch = Arch {
    name: "mimo2",
    keys: &[
        req(Key::RmsEps),
        req(Key::ExpertFf),
        req(Key::SlidingWindow(0)),
        req(Key::SwaPattern(1)),
        opt(Key::RopeBaseSwa(Some(10_000.0))),
    ],
    head: Head { next_bare: true, ..PLAIN.head },
    looks_for: &[Role::Router, Role::Sinks],
    layer: |hp, il| {
        let a = sliding_rope(hp, il, attention(hp, il, RopeKind::Neox), RopeBase::Swa);
        let out_scale = given(hp.value_scale).unwrap_or(1.0);
        let m = Moe { gate: Gate::Sigmoid, renorm: true, select_bias: Want::May, ..moe(hp, hp.n_ff_exp) };
        let s = plain(hp, il, RopeKind::Neox);
        layer_of(
            Attention { sinks: hp.has_at(Role::Sinks, il), out_scale, qkv_scaled: false, qkv_biased: false, ..a },
            if hp.has_at(Role::Router, il) { Ffn::Moe(m) } else { s.ffn },
            Norms::PRE,
        )
    },
    size: |hp| if hp.n_layer == 48 { "310B.A15B" } else { "?B" },
    ..PLAIN
};

/// The router looks at the layer's input, so that experts can be fetched while attention runs. With windows every fourth layer does not rotate.
pub static SMALLTHINKER: Arch = Arch {
    name: "smallthinker",
    keys: &[req(Key::RmsEps), opt(Key::FixedWindow(4096)), opt(Key::SwaPatternDenseFirst(4)), opt(Key::RopeBaseSwa(None))],
    layer: |hp, il| {
        let a = sliding_rope(hp, il, attention(hp, il, RopeKind::Neox), RopeBase::Swa);
        let rope = a.rope.filter(|_| hp.n_swa == 0 || !il.is_multiple_of(4));
        let m = Moe { act: Act::Relu, gate: hp.gate(Gate::Softmax), renorm: true, router: RouterInput::Layer, ..moe(hp, hp.n_ff_exp) };
        layer_of(Attention { rope, ..a }, Ffn::Moe(m), Norms::PRE)
    },
    size: |hp| match hp.n_layer {
        32 => "4B",
        52 => "20B",
        _ => "?B",
    },
    ..PLAIN
};

/// Experts are chosen by the bare logits, which order them as their sigmoids do.
pub static GROVEMOE: Arch = Arch {
    name: "grovemoe",
    keys: &[req(Key::RmsEps), req(Key::ExpertFf), req(Key::ExpertGroups)],
    layer: |hp, il| {
        let n_ff = if hp.n_ff_chexp > 0 { hp.n_ff_chexp } else { hp.n_embd_head_k };
        let chunks = Some(Chunks { n_ff, each: hp.experts_per_group.max(1), scale: hp.expert_group_scale });
        let m = Moe { by_logit: true, renorm: true, chunks, ..moe(hp, expert_width(hp, il)) };
        layer_of(head_normed(hp, il), Ffn::Moe(m), Norms::PRE)
    },
    size: |hp| if hp.n_layer == 48 { "30B.A3B" } else { "?B" },
    ..PLAIN
};

/// A limit of 0 is none.
fn cut(limit: Option<&f32>, how: fn(f32) -> Act) -> Act {
    limit.filter(|l| **l > 1e-6).map_or(Act::Silu, |l| how(*l))
}

/// Only sliding layers rotate.
pub static MAPLE: Arch = Arch {
    name: "maple",
    keys: &[
        req(Key::RmsEps),
        req(Key::ExpertFf),
        req(Key::SlidingWindow(0)),
        req(Key::SwaPattern(1)),
        opt(Key::RopeBaseSwa(None)),
        req(Key::SwigluCut),
    ],
    layer: |hp, il| {
        let a = sliding_rope(hp, il, head_normed(hp, il), RopeBase::Swa);
        let rope = a.rope.filter(|_| a.window != Window::All);
        let n_rot = hp.n_rot_swa;
        let act = cut(hp.cut_exp.get(il as usize), Act::CutSilu);
        layer_of(Attention { rope, n_rot, ..a }, Ffn::Moe(Moe { act, renorm: true, scale: 1.0, ..moe(hp, hp.n_ff_exp) }), Norms::PRE)
    },
    size: |hp| if hp.n_layer == 24 { "20B" } else { "?B" },
    ..PLAIN
};

/// Layers with experts see the best blocks of positions only.
pub static MINIMAX_M3: Arch = Arch {
    name: "minimax-m3",
    keys: &[req(Key::RmsEps), req(Key::ExpertFf), req(Key::ExpertShared), req(Key::Index), req(Key::IndexBlocks)],
    layer: |hp, il| {
        let m = Moe { act: Act::SwigluOai, gate: hp.gate(Gate::Sigmoid), renorm: hp.expert_weights_norm, ..moe(hp, hp.n_ff_exp) };
        let beside = shared(hp.n_ff_exp * hp.n_expert_shared);
        let lead = Ffn::Dense(dense(hp, il, Act::SwigluOai));
        let ffn = if il < hp.n_layer_dense_lead { lead } else { Ffn::Moe(Moe { select_bias: Want::Must, shared: beside, ..m }) };
        let index = Index {
            n_head: hp.index.n_head,
            head_size: hp.index.head_size,
            top_k: hp.index.top_k,
            shared: false,
            rope: RopeKind::Neox,
            rope_last: false,
            hadamard: false,
            by: IndexBy::Block { size: hp.index.block, local: hp.index.local },
        };
        let index = (il >= hp.n_layer_dense_lead && index.top_k > 0).then_some(index);
        layer_of(Attention { index, ..head_normed(hp, il) }, ffn, Norms::PRE)
    },
    size: |hp| if hp.n_layer == 60 { "428B.A23B" } else { "?B" },
    ..PLAIN
};

/// Gates per head; layers that see all turn half of each head. Activations are cut, those beside experts by limits of their own.
pub static STEP35: Arch = Arch {
    name: "step35",
    keys: &[
        req(Key::RmsEps),
        req(Key::ExpertFf),
        req(Key::SlidingWindow(0)),
        req(Key::SwaPattern(1)),
        opt(Key::RopeBaseSwa(Some(10_000.0))),
        opt(Key::SwigluCut),
    ],
    head: Head { next_bare: true, ..PLAIN.head },
    looks_for: &[Role::QNorm, Role::AttnGate, Role::Router],
    layer: |hp, il| {
        let a = sliding_rope(hp, il, attention(hp, il, RopeKind::Neox), RopeBase::Swa);
        let all = a.window == Window::All;
        let (n_rot, rope_factors) = if all { (hp.n_rot / 4 * 2, file_factors(hp)) } else { (hp.n_rot_swa, RopeFactors::None) };
        let qk_norm = if hp.has_at(Role::QNorm, il) { QkNorm::Head } else { QkNorm::None };
        let gates = if hp.has_at(Role::AttnGate, il) { Gates::PerHead } else { Gates::None };
        let (act, beside) = (cut(hp.cut_exp.get(il as usize), Act::SiluCut), cut(hp.cut_shexp.get(il as usize), Act::SiluCut));
        let m = Moe { act, gate: hp.gate(Gate::Sigmoid), renorm: hp.expert_weights_norm, select_bias: Want::May, ..moe(hp, hp.n_ff_exp) };
        let shared = shared(hp.n_ff_shexp).map(|s| Shared { act: Some(beside), ..s });
        layer_of(
            Attention { n_rot, rope_factors, qk_norm, gates, ..a },
            if hp.has_at(Role::Router, il) { Ffn::Moe(Moe { shared, ..m }) } else { Ffn::Dense(dense(hp, il, beside)) },
            Norms::PRE,
        )
    },
    size: |hp| if hp.n_layer == 45 { "196B.A11B" } else { "?B" },
    ..PLAIN
};
