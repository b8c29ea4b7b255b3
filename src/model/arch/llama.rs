//! Llama 1 to 4 and the many files that call themselves so (Mistral 7B, Mixtral, SmolLM, Yi ...), and those that differ from it
//! in a detail only: InternLM 2, XVERSE, Mistral 3, SmolLM 3, Arcee, Seed-OSS.
use crate::model::hparams::HParams;
use crate::model::spec::*;

pub static LLAMA: Arch = Arch {
    name: "llama",
    rope: Some(RopeKind::Norm),
    rot_is_head: true,
    layer: |hp, il| LayerSpec {
        attn: Attention { rope_factors: file_factors(hp), out_bias: Want::May, scale: file_scale(hp), ..attention(hp, il, RopeKind::Norm) },
        ffn: ffn(hp, il),
        ..plain(hp, il, RopeKind::Norm)
    },
    size,
    ..PLAIN
};

/// Three of four layers attend within chunks and rotate; the fourth sees all, does not rotate, and its Q grow with their position.
/// Experts get weighed inputs, and every token goes through a shared one too.
pub static LLAMA4: Arch = Arch {
    name: "llama4",
    keys: &[
        req(Key::RmsEps),
        req(Key::ExpertFf),
        req(Key::MoeStep),
        opt(Key::ChunkedWindow(8192)),
        opt(Key::SwaPattern(4)),
        opt(Key::RopeBaseSwa(None)),
    ],
    rope: Some(RopeKind::Norm),
    rot_is_head: true,
    layer: |hp, il| LayerSpec { attn: chunked(hp, il), ffn: interleaved(hp, il), ..plain(hp, il, RopeKind::Norm) },
    size: |hp| match hp.n_expert {
        16 => "17Bx16E (Scout)",
        MAVERICK => "17Bx128E (Maverick)",
        _ => "?B",
    },
    ..PLAIN
};

/// Experts of the one that does not norm Q and K.
const MAVERICK: u32 = 128;

fn chunked(hp: &HParams, il: u32) -> Attention {
    let base = attention(hp, il, RopeKind::Norm);
    let a = Attention { rope_factors: RopeFactors::Freqs, scale: file_scale(hp), ..base };
    // The original rotates by count, the window goes by pattern; without windows every layer rotates.
    let rotates = hp.n_swa == 0 || !(il + 1).is_multiple_of(4);
    let window = if hp.is_swa[il as usize] { Window::Chunked(hp.n_swa) } else { Window::All };
    let rope_base = if window == Window::All { RopeBase::Context } else { RopeBase::Swa };
    if !rotates {
        let temperature = Some(Temperature { scale: 0.1, span: hp.n_swa, offset: 1.0 });
        return Attention { rope: None, temperature, window, ..a };
    }
    let qk_norm = if hp.n_expert == MAVERICK { QkNorm::None } else { QkNorm::BareAfterRope };
    Attention { window, rope_base, qk_norm, ..a }
}

fn interleaved(hp: &HParams, il: u32) -> Ffn {
    if !hp.is_moe_step(il) {
        return Ffn::Dense(dense(hp, il, Act::Silu));
    }
    Ffn::Moe(Moe { gate: Gate::Sigmoid, by_logit: true, weigh_inputs: true, shared: shared(hp.n_ff_exp), ..moe(hp, hp.n_ff_exp) })
}

pub static INTERNLM2: Arch = Arch {
    name: "internlm2",
    rope: Some(RopeKind::Norm),
    layer: |hp, il| plain(hp, il, RopeKind::Norm),
    size: |hp| match hp.n_layer {
        32 => "7B",
        48 => "20B",
        _ => "?B",
    },
    ..PLAIN
};

pub static XVERSE: Arch = Arch {
    name: "xverse",
    rope: Some(RopeKind::Norm),
    layer: |hp, il| plain(hp, il, RopeKind::Norm),
    size: |hp| match hp.n_layer {
        32 => "7B",
        40 => "13B",
        80 => "65B",
        _ => "?B",
    },
    ..PLAIN
};

/// Llama, and Q that grow with their position where a file says so.
pub static MISTRAL3: Arch = Arch {
    name: "mistral3",
    rot_is_head: false,
    layer: |hp, il| {
        let s = (LLAMA.layer)(hp, il);
        let scale = hp.rope.temperature_scale;
        let temperature = (scale != 0.0).then_some(Temperature { scale, span: hp.rope.n_ctx_orig, offset: 0.0 });
        LayerSpec { attn: Attention { temperature, ..s.attn }, ..s }
    },
    size: |hp| match hp.n_layer {
        26 => "3B",
        34 => "8B",
        40 => "14B",
        _ => "?B",
    },
    rope: Some(RopeKind::Norm),
    ..PLAIN
};

/// Every fourth layer does not rotate.
pub static SMOLLM3: Arch = Arch {
    name: "smollm3",
    rope: Some(RopeKind::Norm),
    layer: |hp, il| {
        let a = attention(hp, il, RopeKind::Norm);
        let rope = a.rope.filter(|_| !(il + 1).is_multiple_of(4));
        LayerSpec { attn: Attention { rope, scale: file_scale(hp), ..a }, ..plain(hp, il, RopeKind::Norm) }
    },
    size: |hp| if hp.n_layer == 36 { "3B" } else { "?B" },
    ..PLAIN
};

pub static ARCEE: Arch = Arch {
    name: "arcee",
    rope: Some(RopeKind::Norm),
    layer: |hp, il| LayerSpec {
        attn: Attention { rope_factors: RopeFactors::Freqs, scale: file_scale(hp), ..attention(hp, il, RopeKind::Norm) },
        ffn: Ffn::Dense(Dense { gating: Gating::None, ..dense(hp, il, Act::ReluSqr) }),
        ..plain(hp, il, RopeKind::Norm)
    },
    size: |hp| if hp.n_layer == 36 { "4B" } else { "?B" },
    ..PLAIN
};

pub static SEED_OSS: Arch = Arch {
    name: "seed_oss",
    layer: |hp, il| LayerSpec {
        attn: Attention { scale: file_scale(hp), ..attention(hp, il, RopeKind::Neox) },
        norms: Norms::PRE_AFTER_ATTN,
        ..plain(hp, il, RopeKind::Neox)
    },
    size: |hp| if hp.n_layer == 64 { "36B" } else { "?B" },
    ..PLAIN
};

fn ffn(hp: &HParams, il: u32) -> Ffn {
    if hp.n_expert == 0 {
        return Ffn::Dense(Dense { bias: Want::May, scaled: true, ..dense(hp, il, Act::Silu) });
    }
    Ffn::Moe(Moe { renorm: true, scaled: true, ..moe(hp, hp.n_ff[il as usize]) })
}

fn size(hp: &HParams) -> &'static str {
    if hp.n_expert == 8 {
        return match hp.n_layer {
            32 => "8x7B",
            56 => "8x22B",
            _ => "?B",
        };
    }
    match hp.n_layer {
        16 | 22 => "1B",
        26 | 28 => "3B",
        30 => "256M",
        32 if hp.n_vocab == 49152 => "3B",
        32 if hp.n_vocab < 40000 => "7B",
        32 | 36 => "8B",
        40 => "13B",
        48 => "34B",
        60 => "30B",
        80 if hp.n_head[0] == hp.n_head_kv[0] => "65B",
        80 => "70B",
        _ => "?B",
    }
}

/// Norms on Q and K after the rotation.
pub static MAINCODER: Arch = Arch {
    name: "maincoder",
    rope: Some(RopeKind::Norm),
    layer: |hp, il| LayerSpec {
        attn: Attention { qk_norm: QkNorm::HeadAfterRope, ..attention(hp, il, RopeKind::Norm) },
        ..plain(hp, il, RopeKind::Norm)
    },
    size: |hp| if hp.n_layer == 32 { "1B" } else { "?B" },
    ..PLAIN
};

pub static PANGU_EMBEDDED: Arch = Arch {
    name: "pangu-embedded",
    layer: |hp, il| LayerSpec {
        attn: Attention { out_bias: Want::Must, ..attention(hp, il, RopeKind::Neox) },
        ..plain(hp, il, RopeKind::Neox)
    },
    head: Head { bias: Want::May, ..PLAIN.head },
    size: |hp| match hp.n_layer {
        26 => "1B",
        34 => "7B",
        _ => "?B",
    },
    ..PLAIN
};

/// Attention and FFN side by side on one norm.
pub static PLAMO: Arch = Arch {
    name: "plamo",
    rot_is_head: true,
    layer: |hp, il| LayerSpec { norms: Norms::SHARED, ..plain(hp, il, RopeKind::Neox) },
    size: |hp| if hp.n_layer == 40 { "13B" } else { "?B" },
    ..PLAIN
};

/// Heads and widths differ from layer to layer.
pub static OPENELM: Arch = Arch {
    name: "openelm",
    layer: |hp, il| LayerSpec {
        attn: Attention { qk_norm: QkNorm::Head, qkv_scaled: false, ..attention(hp, il, RopeKind::Neox) },
        ..plain(hp, il, RopeKind::Neox)
    },
    size: |hp| match hp.n_layer {
        16 => "270M",
        20 => "450M",
        28 => "1B",
        36 => "3B",
        _ => "?B",
    },
    ..PLAIN
};
