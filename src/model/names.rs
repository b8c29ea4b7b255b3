//! The field's tensor names, and which tensors with which shapes a layer needs. Used to bind a file; blocks ask by role.
use super::hparams::HParams;
use super::spec::{Arch, Ffn, LayerSpec, Norms};

/// What a tensor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    TokenEmbd,
    OutputNorm,
    Output,
    OutputBias,
    RopeFreqs,
    AttnNorm,
    Qkv,
    QkvBias,
    Q,
    QBias,
    K,
    KBias,
    V,
    VBias,
    AttnOut,
    AttnOutBias,
    QNorm,
    KNorm,
    AttnPostNorm,
    FfnNorm,
    FfnGate,
    FfnGateBias,
    FfnUp,
    FfnUpBias,
    FfnDown,
    FfnDownBias,
    Router,
    GateExps,
    UpExps,
    DownExps,
    FfnPostNorm,
    OutputScale,
    QkvScale,
    QScale,
    KScale,
    VScale,
    AttnOutScale,
    FfnGateScale,
    FfnUpScale,
    FfnDownScale,
    GateExpsScale,
    UpExpsScale,
    DownExpsScale,
}

impl Role {
    /// The name without `blk.N.`.
    pub fn name(self) -> &'static str {
        match self {
            Role::TokenEmbd => "token_embd.weight",
            Role::OutputNorm => "output_norm.weight",
            Role::Output => "output.weight",
            Role::OutputBias => "output.bias",
            Role::RopeFreqs => "rope_freqs.weight",
            Role::AttnNorm => "attn_norm.weight",
            Role::Qkv => "attn_qkv.weight",
            Role::QkvBias => "attn_qkv.bias",
            Role::Q => "attn_q.weight",
            Role::QBias => "attn_q.bias",
            Role::K => "attn_k.weight",
            Role::KBias => "attn_k.bias",
            Role::V => "attn_v.weight",
            Role::VBias => "attn_v.bias",
            Role::AttnOut => "attn_output.weight",
            Role::AttnOutBias => "attn_output.bias",
            Role::QNorm => "attn_q_norm.weight",
            Role::KNorm => "attn_k_norm.weight",
            Role::AttnPostNorm => "post_attention_norm.weight",
            Role::FfnNorm => "ffn_norm.weight",
            Role::FfnGate => "ffn_gate.weight",
            Role::FfnGateBias => "ffn_gate.bias",
            Role::FfnUp => "ffn_up.weight",
            Role::FfnUpBias => "ffn_up.bias",
            Role::FfnDown => "ffn_down.weight",
            Role::FfnDownBias => "ffn_down.bias",
            Role::Router => "ffn_gate_inp.weight",
            Role::GateExps => "ffn_gate_exps.weight",
            Role::UpExps => "ffn_up_exps.weight",
            Role::DownExps => "ffn_down_exps.weight",
            Role::FfnPostNorm => "post_ffw_norm.weight",
            Role::OutputScale => "output.scale",
            Role::QkvScale => "attn_qkv.scale",
            Role::QScale => "attn_q.scale",
            Role::KScale => "attn_k.scale",
            Role::VScale => "attn_v.scale",
            Role::AttnOutScale => "attn_output.scale",
            Role::FfnGateScale => "ffn_gate.scale",
            Role::FfnUpScale => "ffn_up.scale",
            Role::FfnDownScale => "ffn_down.scale",
            Role::GateExpsScale => "ffn_gate_exps.scale",
            Role::UpExpsScale => "ffn_up_exps.scale",
            Role::DownExpsScale => "ffn_down_exps.scale",
        }
    }
}

/// One tensor that a layer (or the model) may or must have.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub role: Role,
    /// [k, rows, experts]; vectors are [n, 1, 1].
    pub shape: [u32; 3],
    pub required: bool,
}

impl Tensor {
    /// Vectors are kept as f32 whatever the file has.
    pub fn is_vector(&self) -> bool {
        self.shape[1] == 1 && self.shape[2] == 1
    }
}

fn must(role: Role, shape: &[u32]) -> Tensor {
    let at = |i: usize| shape.get(i).copied().unwrap_or(1);
    Tensor { role, shape: [at(0), at(1), at(2)], required: true }
}
fn may(role: Role, shape: &[u32]) -> Tensor {
    Tensor { required: false, ..must(role, shape) }
}

/// Tensors outside layers. `n_vocab` rows of embeddings; the head falls back on them.
pub fn model_tensors(hp: &HParams, arch: &Arch) -> Vec<Tensor> {
    let mut v = vec![
        must(Role::TokenEmbd, &[hp.n_embd, hp.n_vocab]),
        must(Role::OutputNorm, &[hp.n_embd]),
        may(Role::Output, &[hp.n_embd, hp.n_vocab]),
    ];
    v.push(may(Role::OutputScale, &[1]));
    if arch.head.bias {
        v.push(may(Role::OutputBias, &[hp.n_vocab]));
    }
    if (0..hp.n_layer).any(|il| arch.layer_spec(hp, il).attn.rope_factors) {
        v.push(may(Role::RopeFreqs, &[hp.n_rot / 2]));
    }
    v
}

/// Tensors of one layer. Q, K and V may stand fused as `attn_qkv`: the binder cuts that by rows.
pub fn layer_tensors(hp: &HParams, s: &LayerSpec) -> Vec<Tensor> {
    let a = &s.attn;
    let (n, q, k, v) = (hp.n_embd, a.n_head * a.head_k, a.n_head_kv * a.head_k, a.n_head_kv * a.head_v);
    let mut out = vec![must(Role::AttnNorm, &[n])];
    out.extend([must(Role::Q, &[n, q]), must(Role::K, &[n, k]), must(Role::V, &[n, v])]);
    out.extend([may(Role::QBias, &[q]), may(Role::KBias, &[k]), may(Role::VBias, &[v])]);
    out.extend([Role::QScale, Role::KScale, Role::VScale, Role::AttnOutScale].map(|r| may(r, &[1])));
    out.push(must(Role::AttnOut, &[a.n_head * a.head_v, n]));
    if a.out_bias {
        out.push(may(Role::AttnOutBias, &[n]));
    }
    if a.qk_norm {
        out.extend([must(Role::QNorm, &[a.head_k]), must(Role::KNorm, &[a.head_k])]);
    }
    if s.norms == Norms::PreAndPost {
        out.extend([must(Role::AttnPostNorm, &[n]), must(Role::FfnPostNorm, &[n])]);
    }
    out.push(must(Role::FfnNorm, &[n]));
    out.extend(ffn_tensors(n, &s.ffn));
    out
}

fn ffn_tensors(n: u32, ffn: &Ffn) -> Vec<Tensor> {
    match *ffn {
        Ffn::Dense { n_ff, bias, scaled, .. } => {
            let mut v = vec![must(Role::FfnGate, &[n, n_ff]), must(Role::FfnUp, &[n, n_ff]), must(Role::FfnDown, &[n_ff, n])];
            if bias {
                v.extend([may(Role::FfnGateBias, &[n_ff]), may(Role::FfnUpBias, &[n_ff]), may(Role::FfnDownBias, &[n])]);
            }
            if scaled {
                v.extend([Role::FfnGateScale, Role::FfnUpScale, Role::FfnDownScale].map(|r| may(r, &[1])));
            }
            v
        }
        Ffn::Moe { n_ff, n_expert, .. } => vec![
            must(Role::Router, &[n, n_expert]),
            must(Role::GateExps, &[n, n_ff, n_expert]),
            must(Role::UpExps, &[n, n_ff, n_expert]),
            must(Role::DownExps, &[n_ff, n, n_expert]),
            may(Role::GateExpsScale, &[n_expert]),
            may(Role::UpExpsScale, &[n_expert]),
            may(Role::DownExpsScale, &[n_expert]),
        ],
    }
}
