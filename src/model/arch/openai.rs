//! gpt-oss: every second layer slides, sinks join every softmax, and experts have biases and an activation of their own.
use crate::model::spec::*;

pub static GPT_OSS: Arch = Arch {
    name: "gpt-oss",
    keys: &[req(Key::RmsEps), req(Key::ExpertFf), req(Key::SlidingWindow(0)), opt(Key::SwaPattern(2)), opt(Key::RopeBaseSwa(None))],
    rot_is_head: true,
    head: Head { next_bare: true, ..PLAIN.head },
    layer: |hp, il| {
        let a = sliding(hp, il, attention(hp, il, RopeKind::Neox));
        let rope_base = if a.window == Window::All { RopeBase::Context } else { RopeBase::Swa };
        LayerSpec {
            attn: Attention { rope_base, sinks: true, out_bias: Want::Must, ..a },
            ffn: Ffn::Moe(Moe { act: Act::SwigluOai, gate: Gate::SoftmaxWeight, bias: true, ..moe(hp, hp.n_ff_exp) }),
            norms: Norms::PRE_AFTER_ATTN,
            ..plain(hp, il, RopeKind::Neox)
        }
    },
    size: |hp| match hp.n_layer {
        24 => "20B",
        36 => "120B",
        _ => "?B",
    },
    ..PLAIN
};
