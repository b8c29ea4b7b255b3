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
