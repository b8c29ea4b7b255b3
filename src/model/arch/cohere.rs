//! Cohere's Command R, R7B (`cohere2`) and its mixture of experts: attention and FFN side by side on one norm, logits scaled.
use crate::model::hparams::HParams;
use crate::model::spec::*;

const BASE: Arch = Arch {
    rope: Some(RopeKind::Norm),
    norm: Norm::Layer { weight: true, bias: false },
    head: Head { scale: |hp| if hp.logit_scale == 0.0 { 1.0 } else { hp.logit_scale }, ..PLAIN.head },
    ..PLAIN
};

fn side_by_side(attn: Attention, ffn: Ffn) -> LayerSpec {
    layer_of(attn, ffn, Norms::SHARED)
}

pub static COMMAND_R: Arch = Arch {
    name: "command-r",
    keys: &[req(Key::NormEps)],
    layer: |hp, il| {
        // The 104B (Command R+) norms Q and K.
        let qk_norm = if hp.n_layer >= 64 { QkNorm::EachHead } else { QkNorm::None };
        let attn = Attention { qk_norm, ..attention(hp, il, RopeKind::Norm) };
        side_by_side(attn, Ffn::Dense(dense(hp, il, Act::Silu)))
    },
    size: |hp| if hp.n_layer == 40 { "35B" } else { "?B" },
    ..BASE
};

/// Sliding layers rotate; those that see everything know no positions.
pub static COHERE2: Arch = Arch {
    name: "cohere2",
    keys: &[req(Key::NormEps), req(Key::LogitScale), req(Key::SlidingWindow(0)), opt(Key::SwaPattern(4))],
    layer: |hp, il| side_by_side(windowed(hp, il, false), Ffn::Dense(Dense { scaled: true, ..dense(hp, il, Act::Silu) })),
    size: |hp| if hp.n_layer == 32 { "8B" } else { "?B" },
    ..BASE
};

pub static COHERE2MOE: Arch = Arch {
    name: "cohere2moe",
    keys: &[req(Key::LogitScale), req(Key::ExpertFf), req(Key::DenseLead), req(Key::SlidingWindow(0)), opt(Key::SwaPatternDenseFirst(4))],
    rot_is_head: true,
    norm: Norm::ByEps,
    layer: |hp, il| {
        let lead = il < hp.n_layer_dense_lead;
        let dense = Dense { scaled: true, ..dense(hp, il, Act::Silu) };
        side_by_side(windowed(hp, il, lead), if lead { Ffn::Dense(dense) } else { experts(hp) })
    },
    size: |hp| if hp.n_layer == 49 { "30B.A3B" } else { "?B" },
    head: Head { scaled: false, ..BASE.head },
    ..BASE
};

fn windowed(hp: &HParams, il: u32, rotates: bool) -> Attention {
    let a = sliding(hp, il, attention(hp, il, RopeKind::Norm));
    let rope = a.rope.filter(|_| rotates || a.window != Window::All);
    Attention { rope, ..a }
}

fn experts(hp: &HParams) -> Ffn {
    let n_ff = if hp.n_ff_shexp > 0 { hp.n_ff_shexp } else { hp.n_ff_exp * hp.n_expert_shared };
    let shared = (hp.n_expert_shared > 0).then(|| shared(n_ff)).flatten().map(|s| Shared { scaled: true, ..s });
    // The mean of routed and shared experts.
    let mix = if shared.is_some() { 0.5 } else { 1.0 };
    Ffn::Moe(Moe { gate: hp.gate(Gate::Sigmoid), renorm: hp.expert_weights_norm, scaled: true, shared, mix, ..moe(hp, hp.n_ff_exp) })
}
