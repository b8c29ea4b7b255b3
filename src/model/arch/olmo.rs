//! OLMo 2, OLMo 3 (sliding windows) and OLMoE: norms over whole Q and K; those of 2 and 3 stand after each half.
use crate::model::hparams::HParams;
use crate::model::spec::*;

fn whole_normed(hp: &HParams, il: u32) -> Attention {
    Attention { qk_norm: QkNorm::Whole, ..attention(hp, il, RopeKind::Neox) }
}

/// Sliding layers keep the trained rotation where the others are scaled.
pub static OLMO2: Arch = Arch {
    name: "olmo2",
    keys: &[req(Key::RmsEps), opt(Key::SlidingWindow(0)), opt(Key::SwaPattern(4)), opt(Key::RopeBaseSwa(None))],
    layer: |hp, il| {
        let a = sliding(hp, il, whole_normed(hp, il));
        let rope_base = if a.window == Window::All { RopeBase::Context } else { RopeBase::SwaUnscaled };
        LayerSpec { attn: Attention { rope_base, ..a }, norms: Norms::POST, ..plain(hp, il, RopeKind::Neox) }
    },
    size: |hp| match hp.n_layer {
        16 => "1B",
        32 => "7B",
        40 => "13B",
        64 => "32B",
        _ => "?B",
    },
    ..PLAIN
};

pub static OLMOE: Arch = Arch {
    name: "olmoe",
    layer: |hp, il| LayerSpec { attn: whole_normed(hp, il), ffn: Ffn::Moe(moe(hp, hp.n_ff[il as usize])), ..plain(hp, il, RopeKind::Neox) },
    size: |hp| if hp.n_layer == 16 { "A1.7B" } else { "?B" },
    ..PLAIN
};
