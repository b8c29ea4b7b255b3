//! Sliding windows with norms on Q and K, or with gates behind attention: Mellum, Trinity (AFMoE), Spark 2.5.
use crate::model::hparams::HParams;
use crate::model::spec::*;

const WINDOWS: &[Need] =
    &[req(Key::RmsEps), req(Key::ExpertFf), opt(Key::SlidingWindow(0)), opt(Key::SwaPattern(4)), opt(Key::RopeBaseSwa(None))];

/// Sliding layers turn by `base`.
fn windowed(hp: &HParams, il: u32, base: RopeBase) -> Attention {
    let a = sliding(hp, il, attention(hp, il, RopeKind::Neox));
    let rope_base = if a.window == Window::All { RopeBase::Context } else { base };
    Attention { rope_base, ..a }
}

pub static MELLUM: Arch = Arch {
    name: "mellum",
    keys: WINDOWS,
    layer: |hp, il| {
        let n_ff = if hp.n_ff_exp > 0 { hp.n_ff_exp } else { hp.n_ff[il as usize] / hp.n_expert_used.max(1) };
        LayerSpec {
            attn: Attention { qk_norm: QkNorm::Head, ..windowed(hp, il, RopeBase::SwaUnscaled) },
            ffn: Ffn::Moe(Moe { renorm: true, scaled: true, ..moe(hp, n_ff) }),
            norms: Norms::PRE,
            ..plain(hp, il, RopeKind::Neox)
        }
    },
    size: |hp| if hp.n_layer == 28 { "12B.A2.5B" } else { "?B" },
    ..PLAIN
};

/// Every fourth layer does not rotate; gates per channel.
pub static AFMOE: Arch = Arch {
    name: "afmoe",
    keys: &[
        req(Key::RmsEps),
        req(Key::ExpertFf),
        req(Key::ExpertShared),
        opt(Key::SlidingWindow(0)),
        opt(Key::SwaPattern(4)),
        opt(Key::RopeBaseSwa(None)),
    ],
    embed: Embed { scale: Scale::SqrtWidthOfAll, ..PLAIN.embed },
    layer: |hp, il| {
        let a = windowed(hp, il, RopeBase::Swa);
        let rope = a.rope.filter(|_| !(il + 1).is_multiple_of(4));
        let shared = if hp.n_expert_shared > 0 { shared(hp.n_ff_exp * hp.n_expert_shared) } else { None };
        let m =
            Moe { gate: hp.gate(Gate::Sigmoid), renorm: hp.expert_weights_norm, select_bias: Want::Must, shared, ..moe(hp, hp.n_ff_exp) };
        let s = plain(hp, il, RopeKind::Neox);
        LayerSpec {
            attn: Attention { rope, qk_norm: QkNorm::Head, gates: Gates::PerChannel, ..a },
            ffn: if il < hp.n_layer_dense_lead { s.ffn } else { Ffn::Moe(m) },
            norms: Norms::PRE_AND_POST,
            ..plain(hp, il, RopeKind::Neox)
        }
    },
    size: |hp| match hp.n_layer {
        32 => "26B",
        56 => "6B",
        _ => "?B",
    },
    ..PLAIN
};

/// Gates per head.
pub static SPARK2_5: Arch = Arch {
    name: "spark2_5",
    keys: &[req(Key::RmsEps), req(Key::SlidingWindow(0)), req(Key::SwaPattern(1)), opt(Key::RopeBaseSwa(None))],
    layer: |hp, il| LayerSpec {
        attn: Attention { gates: Gates::PerHead, ..windowed(hp, il, RopeBase::Swa) },
        ffn: Ffn::Dense(dense(hp, il, Act::Gelu)),
        ..plain(hp, il, RopeKind::Neox)
    },
    size: |hp| if hp.n_layer == 28 { "1.7B" } else { "?B" },
    head: UNSCALED,
    ..PLAIN
};
