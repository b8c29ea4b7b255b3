//! Granite 3 and MiniCPM: Llama's layers with scales on embeddings, halves and logits.
use crate::model::hparams::{HParams, given};
use crate::model::spec::*;

const BASE: Arch = Arch {
    keys: &[req(Key::RmsEps), req(Key::LogitScale)],
    rope: Some(RopeKind::Norm),
    embed: Embed { scale: Scale::OfFile { or: 1.0 }, ..PLAIN.embed },
    layer: |hp, il| layer(hp, il, 1.0),
    head: Head { scale: |hp| 1.0 / given(hp.logit_scale).unwrap_or(1.0), ..PLAIN.head },
    ..PLAIN
};

fn layer(hp: &HParams, il: u32, residual: f32) -> LayerSpec {
    let a = attention(hp, il, RopeKind::Norm);
    let shared = (hp.n_ff_shexp > 0).then(|| shared(hp.n_ff_shexp)).flatten();
    let attn = Attention { rope_factors: file_factors(hp), out_bias: Want::May, scale: file_scale(hp), ..a };
    let ffn = if hp.n_expert == 0 {
        Ffn::Dense(Dense { bias: Want::May, ..dense(hp, il, Act::Silu) })
    } else {
        Ffn::Moe(Moe { renorm: true, shared, ..moe(hp, hp.n_ff[il as usize]) })
    };
    LayerSpec { residual_scale: given(hp.residual_scale).unwrap_or(residual), ..layer_of(attn, ffn, Norms::PRE) }
}

/// A file may say that it does not rotate.
pub static GRANITE: Arch = Arch {
    name: "granite",
    layer: |hp, il| {
        let s = layer(hp, il, 1.0);
        let rope = s.attn.rope.filter(|_| hp.rope.finetuned);
        LayerSpec { attn: Attention { rope, ..s.attn }, ..s }
    },
    size: |hp| match (hp.n_layer, hp.n_embd) {
        (32, _) => "3B",
        (40, 2048) => "2B",
        (40, 2560) => "3B",
        (40, 4096) => "8B",
        (64, _) => "30B",
        _ => "?B",
    },
    ..BASE
};

pub static GRANITEMOE: Arch = Arch {
    name: "granitemoe",
    size: |hp| match hp.n_layer {
        24 => "1B.A400M",
        32 => "3B.A800M",
        _ => "?B",
    },
    ..BASE
};

/// Old files give no scales: these are the 2B's (MiniCPM: Hu et al. 2024).
pub static MINICPM: Arch = Arch {
    name: "minicpm",
    keys: PLAIN.keys,
    embed: Embed { scale: Scale::OfFile { or: 12.0 }, ..PLAIN.embed },
    layer: |hp, il| layer(hp, il, 1.4 / (hp.n_layer as f32).sqrt()),
    head: Head { scale: |hp| 1.0 / given(hp.logit_scale).unwrap_or(256.0 / hp.n_embd as f32), ..PLAIN.head },
    size: |hp| match hp.n_layer {
        52 => "1B",
        40 => "2B",
        _ => "?B",
    },
    ..BASE
};

/// Windows and rotation by layer, sinks in every softmax.
pub static GRANITE_SWA: Arch = Arch {
    name: "granite_swa",
    keys: &[req(Key::RmsEps), req(Key::LogitScale), req(Key::SlidingWindow(0)), req(Key::SwaPattern(1))],
    layer: |hp, il| {
        let s = layer(hp, il, 1.0);
        let a = sliding(hp, il, s.attn);
        let rope = a.rope.filter(|_| hp.rotates[il as usize]);
        let ffn = match s.ffn {
            Ffn::Moe(m) => Ffn::Moe(Moe { shared: m.shared.map(|s| Shared { in_up: true, ..s }), ..m }),
            dense => dense,
        };
        LayerSpec { attn: Attention { rope, sinks: true, ..a }, ffn, ..s }
    },
    size: |hp| if hp.n_layer == 32 || hp.n_layer == 40 { "3B" } else { "?B" },
    ..BASE
};
