//! Mixtures with a shared FFN and dense layers first, as DeepSeek 1 had them: dots.llm1, Ling (BailingMoE), GLM-4.5, Hunyuan A13B,
//! ERNIE 4.5.
use crate::model::hparams::HParams;
use crate::model::names::Role;
use crate::model::spec::*;

const KEYS: &[Need] = &[req(Key::RmsEps), req(Key::ExpertFf), req(Key::ExpertShared)];

/// Experts after the dense layers; the shared FFN is `n_expert_shared` times as wide as one.
fn after_lead(hp: &HParams, il: u32, m: Moe) -> Ffn {
    if il < hp.n_layer_dense_lead { Ffn::Dense(dense(hp, il, Act::Silu)) } else { Ffn::Moe(m) }
}

fn wide_shared(hp: &HParams) -> Option<Shared> {
    shared(hp.n_ff_exp * hp.n_expert_shared)
}

/// What the file says of gating.
fn of_file(hp: &HParams, or: Gate) -> Moe {
    Moe { gate: hp.gate(or), renorm: hp.expert_weights_norm, select_bias: Want::May, ..moe(hp, hp.n_ff_exp) }
}

fn head_normed(hp: &HParams, il: u32) -> Attention {
    Attention { qk_norm: QkNorm::Head, ..attention(hp, il, RopeKind::Neox) }
}

pub static DEEPSEEK: Arch = Arch {
    name: "deepseek",
    keys: KEYS,
    rope: Some(RopeKind::Norm),
    layer: |hp, il| LayerSpec {
        attn: Attention { scale: file_scale(hp), ..attention(hp, il, RopeKind::Norm) },
        ffn: after_lead(hp, il, Moe { shared: wide_shared(hp), ..moe(hp, hp.n_ff_exp) }),
        ..plain(hp, il, RopeKind::Norm)
    },
    size: |hp| match hp.n_ff_exp {
        1408 => "16B",
        1792 => "20B",
        _ => "?B",
    },
    ..PLAIN
};

pub static DOTS1: Arch = Arch {
    name: "dots1",
    keys: KEYS,
    layer: |hp, il| LayerSpec {
        attn: head_normed(hp, il),
        ffn: after_lead(hp, il, Moe { shared: wide_shared(hp), ..of_file(hp, Gate::Softmax) }),
        ..plain(hp, il, RopeKind::Neox)
    },
    size: |hp| if hp.n_layer == 62 { "142B" } else { "?B" },
    ..PLAIN
};

pub static BAILINGMOE: Arch = Arch {
    name: "bailingmoe",
    keys: KEYS,
    rope: Some(RopeKind::Norm),
    rot_is_head: true,
    layer: |hp, il| {
        let m = Moe { renorm: hp.expert_weights_norm, shared: wide_shared(hp), ..moe(hp, hp.n_ff_exp) };
        LayerSpec { ffn: Ffn::Moe(m), ..plain(hp, il, RopeKind::Norm) }
    },
    size: |hp| match hp.n_layer {
        28 => "16B",
        88 => "290B",
        _ => "?B",
    },
    ..PLAIN
};

pub static BAILINGMOE2: Arch = Arch {
    name: "bailingmoe2",
    keys: KEYS,
    layer: |hp, il| {
        let n_ff = if hp.n_ff_shexp > 0 { hp.n_ff_shexp } else { hp.n_ff_exp };
        let m = Moe { shared: shared(n_ff.saturating_mul(hp.n_expert_shared)), ..of_file(hp, Gate::Softmax) };
        LayerSpec { attn: head_normed(hp, il), ffn: after_lead(hp, il, m), ..plain(hp, il, RopeKind::Neox) }
    },
    size: |hp| match hp.n_layer {
        20 => "16B.A1B",
        32 => "100B.A6B",
        _ => "?B",
    },
    ..PLAIN
};

pub static GLM4MOE: Arch = Arch {
    name: "glm4moe",
    keys: &[req(Key::RmsEps), req(Key::ExpertFf), req(Key::ExpertShared), opt(Key::Sections)],
    looks_for: &[Role::QNorm],
    layer: |hp, il| {
        let shared = if hp.n_expert_shared > 0 { wide_shared(hp) } else { None };
        LayerSpec {
            attn: if hp.has(Role::QNorm) { head_normed(hp, il) } else { attention(hp, il, RopeKind::Neox) },
            ffn: after_lead(hp, il, Moe { shared, select_bias: Want::Must, ..of_file(hp, Gate::Sigmoid) }),
            norms: Norms::PRE_AFTER_ATTN,
            ..plain(hp, il, RopeKind::Neox)
        }
    },
    size: |hp| match hp.n_layer {
        46 => "106B.A12B",
        48 => "102B.A12B",
        92 => "355B.A32B",
        _ => "?B",
    },
    ..PLAIN
};

pub static HUNYUAN_MOE: Arch = Arch {
    name: "hunyuan-moe",
    keys: &[req(Key::RmsEps), req(Key::ExpertFf)],
    layer: |hp, il| {
        let n_ff = hp.n_ff[il as usize];
        let shared = shared(if hp.n_ff_shexp > 0 { hp.n_ff_shexp } else { n_ff });
        LayerSpec {
            attn: Attention { qk_norm: QkNorm::HeadAfterRope, ..attention(hp, il, RopeKind::Neox) },
            ffn: Ffn::Moe(Moe { renorm: true, shared, ..moe(hp, n_ff) }),
            ..plain(hp, il, RopeKind::Neox)
        }
    },
    size: |hp| if hp.n_layer == 32 { "A13B" } else { "?B" },
    ..PLAIN
};

const ERNIE4_5_BASE: Arch = Arch { size: |hp| if hp.n_layer == 18 { "0.3B" } else { "?B" }, ..PLAIN };

pub static ERNIE4_5: Arch =
    Arch { name: "ernie4_5", rope: Some(RopeKind::Norm), layer: |hp, il| plain(hp, il, RopeKind::Norm), ..ERNIE4_5_BASE };

pub static ERNIE4_5_MOE: Arch = Arch {
    name: "ernie4_5-moe",
    keys: &[req(Key::RmsEps), req(Key::ExpertFf), req(Key::MoeStep)],
    rope: Some(RopeKind::Norm),
    layer: |hp, il| {
        let shared = if hp.n_ff_shexp > 0 { shared(hp.n_ff_shexp) } else { None };
        let m = Moe { renorm: true, select_bias: Want::May, shared, ..moe(hp, hp.n_ff_exp) };
        let s = plain(hp, il, RopeKind::Norm);
        if hp.is_moe_step(il) { LayerSpec { ffn: after_lead(hp, il, m), ..s } } else { s }
    },
    size: |hp| match hp.n_layer {
        28 => "21B.A3B",
        54 => "300B.A47B",
        _ => "?B",
    },
    ..PLAIN
};

pub static PADDLEOCR: Arch = Arch {
    name: "paddleocr",
    keys: &[req(Key::RmsEps), opt(Key::Sections)],
    rot_is_head: true,
    layer: |hp, il| LayerSpec {
        attn: Attention { out_bias: Want::May, ..attention(hp, il, RopeKind::Neox) },
        ..plain(hp, il, RopeKind::Neox)
    },
    ..ERNIE4_5_BASE
};

/// Norms over whole Q and K, and experts chosen with a bias.
pub static MINIMAX_M2: Arch = Arch {
    name: "minimax-m2",
    keys: &[req(Key::RmsEps), req(Key::ExpertFf)],
    layer: |hp, il| LayerSpec {
        attn: Attention { qk_norm: QkNorm::Whole, ..attention(hp, il, RopeKind::Neox) },
        ffn: Ffn::Moe(Moe { gate: hp.gate(Gate::Sigmoid), renorm: true, select_bias: Want::Must, ..moe(hp, hp.n_ff[il as usize]) }),
        ..plain(hp, il, RopeKind::Neox)
    },
    size: |hp| if hp.n_layer == 62 { "230B.A10B" } else { "?B" },
    ..PLAIN
};
