//! Weights that are gone through more than once (Nanbeige, HRM) and embeddings that come back in every layer (Talkie).
use crate::model::names::Role;
use crate::model::spec::*;

/// All layers several times over, the model's last norm after each time.
pub static NANBEIGE: Arch = Arch {
    name: "nanbeige",
    keys: &[req(Key::RmsEps), opt(Key::Loops)],
    rope: Some(RopeKind::Norm),
    layer: |hp, il| {
        let s = plain(hp, il, RopeKind::Norm);
        let ends = (il + 1).is_multiple_of(hp.n_layer_file) && il + 1 < hp.n_layer && !hp.skip_loop_norm;
        LayerSpec {
            attn: Attention { rope_factors: RopeFactors::Freqs, scale: file_scale(hp), ..s.attn },
            ffn: Ffn::Dense(Dense { scaled: true, ..dense(hp, il, Act::Silu) }),
            norm_after: ends.then_some(Role::OutputNorm),
            ..plain(hp, il, RopeKind::Norm)
        }
    },
    source: |hp, il| il % hp.n_layer_file,
    ..PLAIN
};

/// A file holds the fast stack, then the slow one; memory has rows for each turn of each.
pub static HRM_TEXT: Arch = Arch {
    name: "hrm_text",
    keys: &[req(Key::RmsEps), req(Key::Hrm)],
    norm: Norm::Bare,
    embed: Embed { scale: Scale::OfFile { or: 1.0 }, ..PLAIN.embed },
    layer: |hp, il| {
        let s = plain(hp, il, RopeKind::Neox);
        LayerSpec { attn: Attention { gates: Gates::PerChannel, ..s.attn }, ..plain(hp, il, RopeKind::Neox) }
    },
    source: |hp, il| {
        let [each, _, fast] = hp.hrm;
        let slow = il / each.max(1) % (fast + 1) == fast;
        il % each.max(1) + if slow { each } else { 0 }
    },
    flow: Flow::Hrm,
    head: Head { norm: None, ..PLAIN.head },
    size: |hp| if hp.n_embd == 1536 { "1B" } else { "?B" },
    ..PLAIN
};

/// Norms without weights, a number per head for Q.
pub static TALKIE: Arch = Arch {
    name: "talkie",
    keys: &[req(Key::RmsEps), req(Key::LogitScale)],
    norm: Norm::Bare,
    embed: Embed { norm: true, bare_norm: true, ..PLAIN.embed },
    layer: |hp, il| LayerSpec {
        attn: Attention { qk_norm: QkNorm::NumberAfterRope, ..attention(hp, il, RopeKind::Neox) },
        ffn: Ffn::Dense(Dense { down_scaled: true, ..dense(hp, il, Act::Silu) }),
        skip: true,
        ..plain(hp, il, RopeKind::Neox)
    },
    head: Head { scale: |hp| hp.logit_scale, ..UNSCALED },
    size: |hp| if hp.n_layer == 40 { "13B" } else { "?B" },
    ..PLAIN
};
