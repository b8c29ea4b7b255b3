//! Multi-head latent attention: DeepSeek 2 to 3.2 and those built like it.
use crate::model::hparams::HParams;
use crate::model::spec::*;

const KEYS: &[Need] = &[
    req(Key::RmsEps),
    opt(Key::QLora),
    req(Key::KvLora),
    req(Key::ExpertFf),
    req(Key::ExpertShared),
    opt(Key::YarnLogMul { both: false }),
];

/// Files say by the sizes of whole heads that the narrow vector is what memory keeps.
fn latent(hp: &HParams, il: u32, q_rank: u32) -> Attention {
    let (kv_rank, absorbed) = (hp.kv_rank, hp.head_k_mla > 0 && hp.head_v_mla > 0);
    let a = attention(hp, il, RopeKind::Norm);
    let (head_k, head_v) = if absorbed { (hp.head_k_mla, hp.head_v_mla) } else { (a.head_k, a.head_v) };
    let mla = Some(Mla { q_rank, kv_rank, head_k, head_v, absorbed, yarn_scale: true, pe_norm: false });
    let span = hp.rope.temperature_length;
    let scale = hp.rope.temperature_scale;
    let temperature = (scale != 0.0 && span > 0).then_some(Temperature { scale, span, offset: 0.0 });
    let a = Attention { mla, temperature, scale: 1.0 / (head_k as f32).sqrt(), ..a };
    if !absorbed {
        return Attention { n_head_kv: a.n_head, ..a };
    }
    Attention { n_head_kv: 1, head_k: kv_rank + a.n_rot, head_v: kv_rank, ..a }
}

/// With the file's index.
fn indexed(hp: &HParams, il: u32, a: Attention, index: Index) -> Attention {
    let shared = !hp.index.full[il as usize];
    let index = Index { n_head: hp.index.n_head, head_size: hp.index.head_size, top_k: hp.index.top_k, shared, ..index };
    // The original has its transform for such heads only.
    let hadamard = index.hadamard && index.head_size.is_power_of_two() && index.head_size >= 64;
    Attention { index: (index.top_k > 0).then_some(Index { hadamard, ..index }), ..a }
}

/// DeepSeek's: its heads turn first, in halves.
const LIGHTNING: Index = Index {
    n_head: 0,
    head_size: 0,
    top_k: 0,
    shared: false,
    rope: RopeKind::Neox,
    rope_last: false,
    hadamard: true,
    by: IndexBy::Position { eps: 1e-6 },
};

/// Experts after the dense layers.
fn ffn(hp: &HParams, il: u32, or: Gate, scaled: bool) -> Ffn {
    if il < hp.n_layer_dense_lead {
        return Ffn::Dense(Dense { scaled, ..dense(hp, il, Act::Silu) });
    }
    let shared = shared(hp.n_ff_exp * hp.n_expert_shared).map(|s| Shared { scaled, ..s });
    Ffn::Moe(Moe { gate: hp.gate(or), renorm: hp.expert_weights_norm, select_bias: Want::May, shared, scaled, ..moe(hp, hp.n_ff_exp) })
}

/// The Lite models make Q directly; those with GLM's vocabulary gate by a sigmoid.
fn layer(hp: &HParams, il: u32) -> LayerSpec {
    let lite = hp.n_layer == 27 || hp.n_layer == 26 || hp.n_layer == 48 && hp.n_vocab == 128_256;
    let glm = (hp.n_layer == 47 || hp.n_layer == 48) && hp.n_vocab == 154_880;
    let attn = latent(hp, il, if lite { 0 } else { hp.q_rank });
    let or = if glm { Gate::Sigmoid } else { Gate::Softmax };
    layer_of(attn, ffn(hp, il, or, false), Norms::PRE)
}

pub static DEEPSEEK2: Arch = Arch {
    name: "deepseek2",
    keys: &[
        req(Key::RmsEps),
        opt(Key::QLora),
        req(Key::KvLora),
        req(Key::ExpertFf),
        req(Key::ExpertShared),
        opt(Key::YarnLogMul { both: true }),
    ],
    rope: Some(RopeKind::Norm),
    layer,
    size: |hp| match hp.n_layer {
        27 => "16B",
        47 => "30B.A3B",
        60 => "236B",
        61 => "671B",
        _ => "?B",
    },
    head: UNSCALED,
    ..PLAIN
};

pub static MISTRAL4: Arch = Arch { name: "mistral4", keys: KEYS, ..DEEPSEEK2_BASE };

const DEEPSEEK2_BASE: Arch = Arch { rope: Some(RopeKind::Norm), layer, size: |hp| (DEEPSEEK2.size)(hp), head: UNSCALED, ..PLAIN };

const KEYS_INDEX: &[Need] = &[
    req(Key::RmsEps),
    req(Key::QLora),
    req(Key::KvLora),
    req(Key::ExpertFf),
    req(Key::ExpertShared),
    opt(Key::YarnLogMul { both: false }),
    req(Key::Index),
];

pub static DEEPSEEK32: Arch = Arch {
    name: "deepseek32",
    keys: KEYS_INDEX,
    rope: Some(RopeKind::Norm),
    layer: |hp, il| layer_of(indexed(hp, il, latent(hp, il, hp.q_rank), LIGHTNING), ffn(hp, il, Gate::Softmax, true), Norms::PRE),
    size: |hp| if hp.n_layer == 61 { "685B.A37B" } else { "?B" },
    head: UNSCALED,
    ..PLAIN
};

pub static GLM_DSA: Arch = Arch {
    name: "glm-dsa",
    keys: &[
        req(Key::RmsEps),
        req(Key::QLora),
        req(Key::KvLora),
        req(Key::ExpertFf),
        req(Key::ExpertShared),
        opt(Key::YarnLogMul { both: false }),
        req(Key::Index),
        opt(Key::IndexTypes),
    ],
    rope: Some(RopeKind::Norm),
    layer: |hp, il| {
        let a = indexed(hp, il, latent(hp, il, hp.q_rank), Index { rope: RopeKind::Norm, ..LIGHTNING });
        layer_of(a, ffn(hp, il, Gate::Sigmoid, true), Norms::PRE)
    },
    size: |hp| if hp.n_layer == 78 { "744B.A40B" } else { "?B" },
    head: UNSCALED,
    ..PLAIN
};

/// Sliding layers have latent attention of other sizes and no index, and positions of K are normed.
pub static DOTS3NOTE: Arch = Arch {
    name: "dots3note",
    keys: &[
        req(Key::RmsEps),
        req(Key::DenseLead),
        req(Key::QLora),
        req(Key::KvLora),
        req(Key::LatentSwa),
        req(Key::ExpertFf),
        req(Key::ExpertShared),
        req(Key::SlidingWindow(0)),
        req(Key::SwaPattern(1)),
        req(Key::RopeBaseSwa(None)),
        req(Key::Index),
        req(Key::IndexTypes),
    ],
    rope: Some(RopeKind::Norm),
    layer: |hp, il| {
        let a = sliding_rope(hp, il, latent(hp, il, hp.q_rank), RopeBase::Swa);
        let swa = hp.is_swa[il as usize];
        let (kv_rank, head_k, head_v) =
            if swa { (hp.kv_rank_swa, hp.head_k_mla_swa, hp.head_v_mla_swa) } else { (hp.kv_rank, hp.head_k_mla, hp.head_v_mla) };
        let mla = a.mla.map(|m| Mla { kv_rank, head_k, head_v, yarn_scale: false, pe_norm: true, absorbed: true, ..m });
        let (scale, head) = (1.0 / (head_k as f32).sqrt(), kv_rank + a.n_rot);
        let a = Attention { mla, scale, n_head_kv: 1, head_k: head, head_v: kv_rank, gates: Gates::PerHead, ..a };
        let a = if swa { a } else { indexed(hp, il, a, LIGHTNING) };
        layer_of(a, ffn(hp, il, Gate::Sigmoid, true), Norms::PRE)
    },
    size: |hp| if hp.n_layer == 46 { "288B.A19B" } else { "?B" },
    head: UNSCALED,
    ..PLAIN
};

/// Hyper-connections, sinks, gates per channel, and experts whose activation is cut.
pub static HY_V4: Arch = Arch {
    name: "hy_v4",
    steered: false,
    keys: &[
        req(Key::RmsEps),
        req(Key::QLora),
        req(Key::KvLora),
        req(Key::ExpertFf),
        req(Key::ExpertShared),
        opt(Key::SwigluCut),
        req(Key::Hyper),
        opt(Key::Index),
        opt(Key::IndexTypes),
    ],
    rope: Some(RopeKind::Norm),
    layer: |hp, il| {
        let a = latent(hp, il, hp.q_rank);
        let mla = a.mla.map(|m| Mla { yarn_scale: false, ..m });
        let limit = hp.cut_exp.get(il as usize).copied().filter(|l| *l > 1e-6);
        let ffn = match ffn(hp, il, Gate::Sigmoid, false) {
            Ffn::Moe(m) => {
                let shared = m.shared.map(|s| Shared { act: Some(Act::Silu), ..s });
                Ffn::Moe(Moe { act: limit.map_or(Act::Silu, Act::CutSilu), shared, ..m })
            }
            dense => dense,
        };
        let attn = Attention { mla, sinks: true, gates: Gates::PerChannel, out_scaled: false, ..a };
        let by = IndexBy::Position { eps: hp.rms_eps };
        let attn = indexed(hp, il, attn, Index { rope: RopeKind::Norm, rope_last: true, hadamard: false, by, ..LIGHTNING });
        LayerSpec { hyper: true, ..layer_of(attn, ffn, Norms::PRE) }
    },
    flow: Flow::Hyper,
    head: UNSCALED,
    ..PLAIN
};

/// K and V of all heads are stored; scales of MiniCPM.
pub static MINICPM3: Arch = Arch {
    name: "minicpm3",
    keys: &[req(Key::RmsEps), req(Key::QLora), req(Key::KvLora)],
    embed: Embed { scale: Scale::Fixed(12.0), ..PLAIN.embed },
    layer: |hp, il| {
        let a = attention(hp, il, RopeKind::Neox);
        let mla = Mla {
            q_rank: hp.q_rank,
            kv_rank: hp.kv_rank,
            head_k: a.head_k,
            head_v: a.head_v,
            absorbed: false,
            yarn_scale: false,
            pe_norm: false,
        };
        LayerSpec {
            attn: Attention { mla: Some(mla), n_head_kv: a.n_head, rope_factors: RopeFactors::LongOrShort, ..a },
            residual_scale: 1.4 / (hp.n_layer as f32).sqrt(),
            ..plain(hp, il, RopeKind::Neox)
        }
    },
    head: Head { scale: |hp| 256.0 / hp.n_embd as f32, ..PLAIN.head },
    size: |hp| if hp.n_layer == 62 { "4B" } else { "?B" },
    ..PLAIN
};
