//! LG's EXAONE 3 and 4.
use crate::model::spec::*;

pub static EXAONE: Arch = Arch {
    name: "exaone",
    layer: |hp, il| LayerSpec {
        attn: Attention { rope_factors: RopeFactors::Freqs, ..attention(hp, il, RopeKind::Neox) },
        ..plain(hp, il, RopeKind::Neox)
    },
    size: |hp| if hp.n_layer == 32 { "8B" } else { "?B" },
    ..PLAIN
};

/// Of the 32B (64 layers) three of four layers slide, and only those rotate; the small one sees all and rotates always.
pub static EXAONE4: Arch = Arch {
    name: "exaone4",
    keys: &[req(Key::RmsEps), opt(Key::SlidingWindow(0)), opt(Key::SwaPattern(4)), opt(Key::RopeBaseSwa(None))],
    layer: |hp, il| {
        let slides = hp.n_layer == 64;
        let a = Attention { rope_factors: RopeFactors::Freqs, qk_norm: QkNorm::Head, ..attention(hp, il, RopeKind::Neox) };
        let a = if slides { sliding(hp, il, a) } else { a };
        let rope = a.rope.filter(|_| !slides || a.window != Window::All);
        LayerSpec { attn: Attention { rope, ..a }, norms: Norms::POST, ..plain(hp, il, RopeKind::Neox) }
    },
    size: |hp| match hp.n_layer {
        30 => "1.2B",
        64 => "32B",
        _ => "?B",
    },
    ..PLAIN
};

/// As the 32B with experts; norms before each half.
pub static EXAONE_MOE: Arch = Arch {
    name: "exaone-moe",
    keys: &[req(Key::RmsEps), req(Key::ExpertFf), req(Key::SlidingWindow(128)), opt(Key::SwaPattern(4)), opt(Key::RopeBaseSwa(None))],
    layer: |hp, il| {
        let a = Attention { rope_factors: RopeFactors::Freqs, qk_norm: QkNorm::Head, ..attention(hp, il, RopeKind::Neox) };
        let a = sliding(hp, il, a);
        let rope = a.rope.filter(|_| a.window != Window::All);
        let wide = if hp.n_ff_shexp > 0 { hp.n_ff_shexp } else { hp.n_ff_exp };
        let m = Moe {
            gate: hp.gate(Gate::Sigmoid),
            renorm: hp.expert_weights_norm,
            select_bias: Want::May,
            shared: shared(wide),
            ..moe(hp, hp.n_ff_exp)
        };
        let s = plain(hp, il, RopeKind::Neox);
        let ffn = if il < hp.n_layer_dense_lead { s.ffn } else { Ffn::Moe(m) };
        LayerSpec { attn: Attention { rope, ..a }, ffn, norms: Norms::PRE, ..plain(hp, il, RopeKind::Neox) }
    },
    size: |hp| match hp.n_layer {
        32 => "30B.A3B",
        48 => "235B.A22B",
        _ => "?B",
    },
    ..PLAIN
};
