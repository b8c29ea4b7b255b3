//! Encoders of whole texts, for embeddings and reranking: BERT and what grew from it. The older ones norm each sum (`after`), the newer ones
//! norm inputs as decoders do. None has a memory or a head that makes logits.
use crate::model::hparams::HParams;
use crate::model::names::Role;
use crate::model::spec::*;

/// What is common to all of them.
const ENCODER: Arch = Arch { memory: false, steered: false, head: Head { logits: false, ..PLAIN.head }, ..PLAIN };

/// What is common to those that norm sums, the embeddings' too.
const POST: Arch = Arch {
    keys: &[req(Key::NormEps)],
    norm: Norm::Layer { weight: true, bias: true },
    embed: Embed { norm: true, types: true, ..PLAIN.embed },
    layer: |hp, il| post(hp, il, Some(RopeKind::Neox), gelu(hp, il)),
    head: Head { norm: None, ..ENCODER.head },
    ..ENCODER
};

const RERANKS: Classifier = Classifier { rows: ClsRows::Width, out: true, ..PLAIN.classifier };

fn post(hp: &HParams, il: u32, rope: Option<RopeKind>, ffn: Ffn) -> LayerSpec {
    let attn = Attention { rope, out_bias: Want::May, ..attention(hp, il, RopeKind::Neox) };
    let norms =
        Norms { attn: None, ffn: Some(Role::AttnOutNorm), after: Some(AfterSum { again: None, out: Role::LayerOutNorm }), ..Norms::PRE };
    LayerSpec { attn, ffn, norms, ..plain(hp, il, RopeKind::Neox) }
}

fn gelu(hp: &HParams, il: u32) -> Ffn {
    Ffn::Dense(Dense { gating: Gating::None, bias: Want::May, ..dense(hp, il, Act::Gelu) })
}

pub static BERT: Arch = Arch {
    name: "bert",
    embed: Embed { positions: Want::Must, ..POST.embed },
    layer: |hp, il| post(hp, il, None, gelu(hp, il)),
    classifier: RERANKS,
    size: |hp| match (hp.n_layer, hp.n_embd) {
        (3, _) => "17M",
        (6, _) => "22M",
        (12, 384) => "33M",
        (12, 768) => "109M",
        (24, _) => "335M",
        _ => "?B",
    },
    ..POST
};

/// Its FFN's biases are in some files and in no sum.
pub static NOMIC_BERT: Arch = Arch {
    name: "nomic-bert",
    layer: |hp, il| post(hp, il, Some(RopeKind::Neox), Ffn::Dense(dense(hp, il, Act::Silu))),
    size: |hp| if hp.n_layer == 12 { "137M" } else { "?B" },
    ..POST
};

/// Every so many-th layer has experts, without gates.
pub static NOMIC_BERT_MOE: Arch = Arch {
    name: "nomic-bert-moe",
    keys: &[req(Key::NormEps), opt(Key::MoeEvery)],
    layer: |hp, il| {
        let m = Moe { act: Act::Gelu, gated: false, ..moe(hp, hp.n_ff[il as usize]) };
        let sparse = hp.n_moe_every > 0 && il % hp.n_moe_every == 1;
        post(hp, il, Some(RopeKind::Neox), if sparse { Ffn::Moe(m) } else { gelu(hp, il) })
    },
    size: |hp| if hp.n_layer == 12 { "475M" } else { "?B" },
    ..POST
};

pub static JINA_BERT_V3: Arch = Arch { name: "jina-bert-v3", size: |hp| if hp.n_layer == 24 { "558M" } else { "?B" }, ..POST };

/// Scores fall with distance, to both sides. Its later files norm Q and K and hold gate and `ffn_up` in one tensor.
pub static JINA_BERT_V2: Arch = Arch {
    name: "jina-bert-v2",
    rope: None,
    looks_for: &[Role::QNorm, Role::AttnNorm2],
    layer: |hp, il| {
        let s = post(hp, il, None, Ffn::Dense(Dense { gating: Gating::AsFile, bias: Want::May, ..dense(hp, il, Act::Gelu) }));
        let qk_norm = if hp.has(Role::QNorm) { QkNorm::Whole } else { QkNorm::None };
        let after = AfterSum { again: hp.has(Role::AttnNorm2).then_some(Role::AttnNorm2), out: Role::LayerOutNorm };
        LayerSpec { attn: Attention { alibi: 8.0, qk_norm, ..s.attn }, norms: Norms { after: Some(after), ..s.norms }, ..s }
    },
    classifier: Classifier { rows: ClsRows::One, ..PLAIN.classifier },
    size: |hp| match hp.n_layer {
        4 => "33M",
        12 => "137M",
        _ => "?B",
    },
    ..POST
};

/// Windows to both sides. Its first layer has no norm before it: the embeddings' is enough.
pub static MODERN_BERT: Arch = Arch {
    name: "modern-bert",
    keys: &[req(Key::NormEps), opt(Key::SlidingWindow(0)), opt(Key::SwaPatternDenseFirst(3)), opt(Key::RopeBaseSwa(Some(10_000.0)))],
    looks_for: &[Role::AttnNorm],
    norm: Norm::Layer { weight: true, bias: false },
    embed: Embed { norm: true, ..PLAIN.embed },
    layer: |hp, il| {
        let act = if ["silu", "swish", "swiglu"].contains(&hp.hidden_act.as_str()) { Act::Silu } else { Act::Gelu };
        let normed = il > 0 || hp.has(Role::AttnNorm);
        LayerSpec {
            attn: symmetric(hp, il),
            ffn: Ffn::Dense(Dense { gating: Gating::InUp, ..dense(hp, il, act) }),
            norms: Norms { attn: normed.then_some(Role::AttnNorm), ..Norms::PRE },
            ..plain(hp, il, RopeKind::Neox)
        }
    },
    classifier: Classifier { gelu: true, mean: true, ..RERANKS },
    size: |hp| match hp.n_layer {
        12 => "47M",
        22 => "149M",
        28 => "395M",
        _ => "?B",
    },
    ..ENCODER
};

/// Attention of a layer that slides to both sides where the file says so; sliding layers have a rotation of their own.
pub fn symmetric(hp: &HParams, il: u32) -> Attention {
    let a = attention(hp, il, RopeKind::Neox);
    if hp.n_swa == 0 || !hp.is_swa[il as usize] {
        return a;
    }
    Attention { window: Window::Symmetric(hp.n_swa), rope_base: RopeBase::Swa, ..a }
}

pub static NEO_BERT: Arch = Arch {
    name: "neo-bert",
    rope: Some(RopeKind::Norm),
    layer: |hp, il| LayerSpec {
        ffn: Ffn::Dense(Dense { gating: Gating::InUp, ..dense(hp, il, Act::Silu) }),
        ..plain(hp, il, RopeKind::Norm)
    },
    head: Head { norm: Some(Role::EncOutputNorm), ..ENCODER.head },
    classifier: RERANKS,
    size: |hp| if hp.n_layer == 28 { "250M" } else { "?B" },
    ..ENCODER
};

pub static EUROBERT: Arch = Arch { name: "eurobert", size: |hp| if hp.n_layer == 12 { "0.1B" } else { "?B" }, ..ENCODER };
