//! The field's tensor names, and which tensors with which shapes a layer needs. Used to bind a file; blocks ask by role.
use super::hparams::HParams;
use super::spec::{
    Arch, Attention, ClsRows, Dense, Ffn, Flow, Gates, Gating, Halves, Index, IndexBy, LayerSpec, Mla, Moe, NormSpec, PosBias, QkNorm,
    RopeFactors, RouterInput, Stacks, Want,
};

/// What a tensor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    TokenEmbd,
    TokenNorm,
    TokenTypes,
    PosEmbd,
    OutputNorm,
    EncOutputNorm,
    DecOutputNorm,
    Cls,
    ClsNorm,
    ClsOut,
    Dense2,
    Dense3,
    Output,
    LayerEmbd,
    LayerProj,
    LayerProjNorm,
    AltupProj,
    AltupUnembd,
    HrmStart,
    HcHead,
    HcHeadBase,
    HcHeadScale,
    RopeFreqs,
    RopeLong,
    RopeShort,
    AttnNorm,
    AttnNorm2,
    Qkv,
    Q,
    K,
    V,
    QNorm,
    KNorm,
    Sinks,
    AttnGate,
    AttnOut,
    AttnOutNorm,
    AttnPostNorm,
    /// A number per head and bucket of distances.
    RelBias,
    CrossNorm,
    CrossQ,
    CrossK,
    CrossV,
    CrossOut,
    LayerOutNorm,
    FfnNorm,
    FfnGate,
    FfnUp,
    FfnDown,
    FfnPostNorm,
    Router,
    /// Added to what experts are chosen by.
    SelectBias,
    GateExps,
    UpExps,
    GateUpExps,
    DownExps,
    SharedRouter,
    SharedGate,
    SharedUp,
    SharedDown,
    AttnSubNorm,
    /// An index by positions: queries, keys, and what weighs its heads; and one by blocks.
    IndexQ,
    IndexK,
    IndexKNorm,
    IndexWeights,
    IndexBlockQ,
    IndexBlockK,
    IndexQNorm,
    QA,
    QANorm,
    QB,
    KvA,
    KvANorm,
    KvB,
    KB,
    VB,
    FfnSubNorm,
    FfnAct,
    FfnNormExps,
    FfnPreNorm2,
    FfnPostNorm1,
    FfnPostNorm2,
    GateChunks,
    UpChunks,
    DownChunks,
    LayerOutScale,
    LayerGate,
    LayerUp,
    LayerPostNorm,
    HcAttn,
    HcAttnBase,
    HcAttnScale,
    HcFfn,
    HcFfnBase,
    HcFfnScale,
    AltupCorrect,
    AltupCorrectScale,
    AltupPredict,
    AltupRouter,
    AltupRouterNorm,
    LaurelL,
    LaurelR,
    LaurelNorm,
}

/// A matrix may have a bias and a scale beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    Weight,
    Bias,
    Scale,
    /// Numbers that an activation is divided by.
    Scales,
}

/// A tensor's name within a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Name(pub Role, pub Part);

impl Role {
    /// The name without `blk.N.` and the part.
    fn stem(self) -> &'static str {
        match self {
            Role::TokenEmbd => "token_embd",
            Role::TokenNorm => "token_embd_norm",
            Role::TokenTypes => "token_types",
            Role::PosEmbd => "position_embd",
            Role::OutputNorm => "output_norm",
            Role::EncOutputNorm => "enc.output_norm",
            Role::DecOutputNorm => "dec.output_norm",
            Role::Cls => "cls",
            Role::ClsNorm => "cls.norm",
            Role::ClsOut => "cls.output",
            Role::Dense2 => "dense_2",
            Role::Dense3 => "dense_3",
            Role::Output => "output",
            Role::LayerEmbd => "per_layer_token_embd",
            Role::LayerProj => "per_layer_model_proj",
            Role::LayerProjNorm => "per_layer_proj_norm",
            Role::AltupProj => "altup_proj",
            Role::AltupUnembd => "altup_unembd_proj",
            Role::HcHead => "output_hc_fn",
            Role::HcHeadBase => "output_hc_base",
            Role::HcHeadScale => "output_hc_scale",
            Role::HrmStart => "hrm.z_l_init",
            Role::RopeFreqs => "rope_freqs",
            Role::RopeLong => "rope_factors_long",
            Role::RopeShort => "rope_factors_short",
            Role::AttnNorm => "attn_norm",
            Role::AttnNorm2 => "attn_norm_2",
            Role::Qkv => "attn_qkv",
            Role::Q => "attn_q",
            Role::K => "attn_k",
            Role::V => "attn_v",
            Role::QNorm => "attn_q_norm",
            Role::KNorm => "attn_k_norm",
            Role::Sinks => "attn_sinks",
            Role::AttnGate => "attn_gate",
            Role::AttnOut => "attn_output",
            Role::AttnOutNorm => "attn_output_norm",
            Role::AttnPostNorm => "post_attention_norm",
            Role::RelBias => "attn_rel_b",
            Role::CrossNorm => "cross_attn_norm",
            Role::CrossQ => "cross_attn_q",
            Role::CrossK => "cross_attn_k",
            Role::CrossV => "cross_attn_v",
            Role::CrossOut => "cross_attn_o",
            Role::LayerOutNorm => "layer_output_norm",
            Role::FfnNorm => "ffn_norm",
            Role::FfnGate => "ffn_gate",
            Role::FfnUp => "ffn_up",
            Role::FfnDown => "ffn_down",
            Role::FfnPostNorm => "post_ffw_norm",
            Role::Router => "ffn_gate_inp",
            Role::SelectBias => "exp_probs_b",
            Role::GateExps => "ffn_gate_exps",
            Role::UpExps => "ffn_up_exps",
            Role::GateUpExps => "ffn_gate_up_exps",
            Role::DownExps => "ffn_down_exps",
            Role::SharedRouter => "ffn_gate_inp_shexp",
            Role::SharedGate => "ffn_gate_shexp",
            Role::SharedUp => "ffn_up_shexp",
            Role::SharedDown => "ffn_down_shexp",
            Role::AttnSubNorm => "attn_sub_norm",
            Role::IndexQ => "indexer.attn_q_b",
            Role::IndexK => "indexer.attn_k",
            Role::IndexKNorm => "indexer.k_norm",
            Role::IndexWeights => "indexer.proj",
            Role::IndexBlockQ => "indexer.q_proj",
            Role::IndexBlockK => "indexer.k_proj",
            Role::IndexQNorm => "indexer.q_norm",
            Role::QA => "attn_q_a",
            Role::QANorm => "attn_q_a_norm",
            Role::QB => "attn_q_b",
            Role::KvA => "attn_kv_a_mqa",
            Role::KvANorm => "attn_kv_a_norm",
            Role::KvB => "attn_kv_b",
            Role::KB => "attn_k_b",
            Role::VB => "attn_v_b",
            Role::FfnSubNorm => "ffn_sub_norm",
            Role::FfnAct => "ffn.act",
            Role::FfnNormExps => "ffn_norm_exps",
            Role::FfnPreNorm2 => "pre_ffw_norm_2",
            Role::FfnPostNorm1 => "post_ffw_norm_1",
            Role::FfnPostNorm2 => "post_ffw_norm_2",
            Role::GateChunks => "ffn_gate_chexps",
            Role::UpChunks => "ffn_up_chexps",
            Role::DownChunks => "ffn_down_chexps",
            Role::LayerOutScale => "layer_output_scale",
            Role::LayerGate => "inp_gate",
            Role::LayerUp => "proj",
            Role::LayerPostNorm => "post_norm",
            Role::HcAttn => "hc_attn_fn",
            Role::HcAttnBase => "hc_attn_base",
            Role::HcAttnScale => "hc_attn_scale",
            Role::HcFfn => "hc_ffn_fn",
            Role::HcFfnBase => "hc_ffn_base",
            Role::HcFfnScale => "hc_ffn_scale",
            Role::AltupCorrect => "altup_correct_coef",
            Role::AltupCorrectScale => "altup_correct_scale",
            Role::AltupPredict => "altup_predict_coef",
            Role::AltupRouter => "altup_router",
            Role::AltupRouterNorm => "altup_router_norm",
            Role::LaurelL => "laurel_l",
            Role::LaurelR => "laurel_r",
            Role::LaurelNorm => "laurel_post_norm",
        }
    }

    pub fn weight(self) -> Name {
        Name(self, Part::Weight)
    }
    pub fn bias(self) -> Name {
        Name(self, Part::Bias)
    }
    pub fn scale(self) -> Name {
        Name(self, Part::Scale)
    }

    /// Stands outside layers.
    pub fn is_of_model(self) -> bool {
        use Role::*;
        let tables = matches!(self, TokenEmbd | TokenNorm | PosEmbd | OutputNorm | Output | LayerEmbd | LayerProj | LayerProjNorm);
        let of_encoders = matches!(self, TokenTypes | EncOutputNorm | DecOutputNorm | Cls | ClsNorm | ClsOut | Dense2 | Dense3);
        let streams = matches!(self, AltupProj | AltupUnembd | HrmStart | HcHead | HcHeadBase | HcHeadScale);
        tables || of_encoders || streams || matches!(self, RopeFreqs | RopeLong | RopeShort)
    }
}

impl Name {
    pub fn is_scale(self) -> bool {
        self.1 == Part::Scale
    }

    /// The full name in layer `il`; -1: outside layers.
    pub fn full(self, il: i32) -> String {
        let part = match self.1 {
            Part::Weight => "weight",
            Part::Bias => "bias",
            Part::Scale => "scale",
            Part::Scales => "scales",
        };
        let stem = self.0.stem();
        if il < 0 { format!("{stem}.{part}") } else { format!("blk.{il}.{stem}.{part}") }
    }

    /// The same in a file where the layers from `encoder` on are an encoder's and those before it a decoder's.
    pub fn in_file(self, il: i32, encoder: Option<i32>) -> String {
        let Some(first) = encoder.filter(|_| il >= 0) else { return self.full(il) };
        // Scales of a decoder's matrices are called as those of other models.
        if self.1 == Part::Scale && il < first {
            return self.full(il);
        }
        let (stack, il) = if il >= first { ("enc", il - first) } else { ("dec", il) };
        format!("{stack}.{}", self.full(il)).replace(".attn_output.", ".attn_o.")
    }
}

/// One tensor that a layer (or the model) may or must have.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub name: Name,
    /// [k, rows, experts]; vectors are [n, 1, 1].
    pub shape: [u32; 3],
    pub required: bool,
    /// Kept as f32 on the device whatever the file has: vectors, and the few vectors of all heads or experts.
    pub small: bool,
}

impl Tensor {
    pub fn is_scale(&self) -> bool {
        self.name.is_scale()
    }
}

/// What the first steps of a plan need, before any layer.
pub fn of_input(role: Role) -> bool {
    use Role::*;
    matches!(role, TokenEmbd | TokenNorm | TokenTypes | PosEmbd | LayerEmbd | LayerProj | LayerProjNorm | AltupProj | HrmStart)
}

fn tensor(name: Name, shape: &[u32], required: bool) -> Tensor {
    let at = |i: usize| shape.get(i).copied().unwrap_or(1);
    let shape = [at(0), at(1), at(2)];
    Tensor { name, shape, required, small: shape[1] == 1 && shape[2] == 1 }
}
fn must(name: Name, shape: &[u32]) -> Tensor {
    tensor(name, shape, true)
}
fn may(name: Name, shape: &[u32]) -> Tensor {
    tensor(name, shape, false)
}
fn small(t: Tensor) -> Tensor {
    Tensor { small: true, ..t }
}
fn want(w: Want, name: Name, shape: &[u32]) -> Option<Tensor> {
    (w != Want::No).then(|| tensor(name, shape, w == Want::Must))
}

/// Tensors outside layers. `n_vocab` rows of embeddings; the head falls back on them.
pub fn model_tensors(hp: &HParams, arch: &Arch) -> Vec<Tensor> {
    let (n, norm) = (hp.n_embd, arch.norm(hp));
    let mut v = vec![must(Role::TokenEmbd.weight(), &[n, hp.n_vocab])];
    v.extend(arch.head.norm.into_iter().flat_map(|r| norm_tensors(&norm, r, n)));
    if arch.head.logits && !arch.head.tied {
        v.push(may(Role::Output.weight(), &[n, hp.n_vocab]));
        v.extend(arch.head.scaled.then(|| may(Role::Output.scale(), &[1])));
    }
    if arch.head.logits {
        v.extend(want(arch.head.bias, Role::Output.bias(), &[hp.n_vocab]));
    }
    if matches!(arch.stacks, Stacks::EncoderDecoder { .. }) {
        v.extend(norm_tensors(&norm, Role::EncOutputNorm, n));
    }
    v.extend(classifier_tensors(hp, arch));
    if arch.embed.types {
        v.push(may(Role::TokenTypes.weight(), &[n, hp.n_token_types]));
    }
    if arch.embed.norm && !arch.embed.bare_norm {
        v.extend(norm_tensors(&norm, Role::TokenNorm, n));
    }
    v.extend(want(arch.embed.positions, Role::PosEmbd.weight(), &[n, hp.n_ctx_train]));
    v.extend(flow_tensors(hp, arch));
    v.extend(factor_tensors(hp, arch));
    v
}

fn classifier_tensors(hp: &HParams, arch: &Arch) -> Vec<Tensor> {
    let (n, c) = (hp.n_embd, &arch.classifier);
    let first = match c.rows {
        ClsRows::No => vec![],
        ClsRows::One => vec![may(Role::Cls.weight(), &[n, 1]), may(Role::Cls.bias(), &[1])],
        ClsRows::Width => vec![may(Role::Cls.weight(), &[n, n]), may(Role::Cls.bias(), &[n]), may(Role::ClsNorm.weight(), &[n])],
    };
    let out = [may(Role::ClsOut.weight(), &[n, hp.n_cls_out]), may(Role::ClsOut.bias(), &[hp.n_cls_out])].into_iter().filter(|_| c.out);
    let [out2, in3] = hp.dense_feat;
    let dense = [(Role::Dense2, n, out2), (Role::Dense3, in3, n)].into_iter().filter(|d| c.dense && d.1 > 0 && d.2 > 0);
    first.into_iter().chain(out).chain(dense.map(|(r, k, rows)| may(r.weight(), &[k, rows]))).collect()
}

fn flow_tensors(hp: &HParams, arch: &Arch) -> Vec<Tensor> {
    let n = hp.n_embd;
    let mut v = match arch.flow {
        Flow::Plain => vec![],
        Flow::Hrm => vec![must(Role::HrmStart.weight(), &[n])],
        Flow::AltUp => [Role::AltupProj, Role::AltupUnembd].map(|r| must(r.weight(), &[n, n, ALTUP - 1])).into(),
        Flow::Hyper => hyper_tensors(n, hp.n_hyper, [Role::HcHead, Role::HcHeadBase, Role::HcHeadScale], 1),
    };
    let per_layer = hp.n_embd_per_layer;
    if per_layer > 0 {
        let all = per_layer.saturating_mul(hp.n_layer);
        v.push(must(Role::LayerEmbd.weight(), &[all, hp.n_vocab]));
        v.extend([must(Role::LayerProj.weight(), &[n, all]), must(Role::LayerProjNorm.weight(), &[per_layer])]);
    }
    v
}

/// Streams of AltUp, and the rank of LAuReL (Menghani et al. 2025): Gemma 3n has no keys for them.
pub const ALTUP: u32 = 4;
pub const LAUREL_RANK: u32 = 64;

/// As many factors as the widest rotation of a layer has pairs.
fn factor_tensors(hp: &HParams, arch: &Arch) -> Vec<Tensor> {
    let layers: Vec<Attention> = (0..arch.n_layer(hp)).map(|il| arch.layer_spec(hp, il).attn).collect();
    let used = layers.iter().map(|a| a.rope_factors).find(|f| *f != RopeFactors::None);
    let pairs = layers.iter().map(|a| a.n_rot / 2).max().unwrap_or(0);
    factor_roles(used.unwrap_or_default()).iter().map(|r| may(r.weight(), &[pairs])).collect()
}

/// The rotation factors that a layer may use.
pub fn factor_roles(f: RopeFactors) -> &'static [Role] {
    match f {
        RopeFactors::None => &[],
        RopeFactors::Freqs => &[Role::RopeFreqs],
        RopeFactors::LongOrShort => &[Role::RopeLong, Role::RopeShort],
    }
}

fn norm_tensors(s: &NormSpec, role: Role, n: u32) -> Vec<Tensor> {
    let weight = s.weight.then(|| must(role.weight(), &[n]));
    weight.into_iter().chain(want(s.bias, role.bias(), &[n])).collect()
}

/// Tensors of one layer. Q, K and V may stand fused as `attn_qkv`, gate and up as `ffn_up`: the binder cuts those by rows. Gate and up
/// of experts may be one tensor as well.
pub fn layer_tensors(hp: &HParams, norm: &NormSpec, s: &LayerSpec) -> Vec<Tensor> {
    let n = hp.n_embd;
    let (attn, ffn) = (s.halves == Halves::Both || s.halves == Halves::Linear, s.halves != Halves::Nothing);
    let lacks = |r: &Role| Some(*r) == s.norms.attn && !attn || Some(*r) == s.norms.ffn && !ffn;
    let mut out: Vec<Tensor> = s.norms.roles().filter(|r| !lacks(r)).flat_map(|r| norm_tensors(norm, r, n)).collect();
    if s.attn.cross {
        out.extend(cross_tensors(n, norm, &s.attn));
    }
    match s.halves {
        Halves::Both => out.extend(attention_tensors(n, &s.attn)),
        Halves::Linear => out.push(must(Role::AttnOut.weight(), &[n, n])),
        Halves::Ffn => {}
        Halves::Nothing => return vec![],
    }
    out.extend(match &s.ffn {
        Ffn::Dense(d) => dense_tensors(hp.n_embd, d),
        Ffn::Moe(m) => moe_tensors(hp.n_embd, m),
        Ffn::Bare(_) => vec![],
    });
    if let Some(side) = &s.side {
        out.extend(moe_tensors(hp.n_embd, &side.moe));
        let norms = [side.norm].into_iter().chain(side.posts.into_iter().flatten());
        out.extend(norms.flat_map(|r| norm_tensors(norm, r, hp.n_embd)));
    }
    if s.per_layer {
        let (n, width) = (hp.n_embd, hp.n_embd_per_layer);
        out.extend([must(Role::LayerGate.weight(), &[n, width]), must(Role::LayerUp.weight(), &[width, n])]);
        out.push(must(Role::LayerPostNorm.weight(), &[n]));
    }
    // Where a number is the file's choice, what is not there is 1.
    out.extend(s.out_scaled.then(|| may(Role::LayerOutScale.weight(), &[1])));
    out.extend(s.skip.then(|| must(Role::LayerOutScale.weight(), &[1])));
    out.extend(s.norm_after.into_iter().flat_map(|r| norm_tensors(norm, r, hp.n_embd)));
    if s.hyper {
        out.extend(hyper_tensors(hp.n_embd, hp.n_hyper, [Role::HcAttn, Role::HcAttnBase, Role::HcAttnScale], 2));
        out.extend(hyper_tensors(hp.n_embd, hp.n_hyper, [Role::HcFfn, Role::HcFfnBase, Role::HcFfnScale], 2));
    }
    out.extend(s.altup.then(|| altup_tensors(hp.n_embd)).into_iter().flatten());
    out
}

/// What makes `sets` of shares out of all streams: a matrix, and what is added to and multiplied with its numbers.
fn hyper_tensors(n: u32, streams: u32, [matrix, base, scale]: [Role; 3], sets: u32) -> Vec<Tensor> {
    let rows = streams * sets;
    vec![must(matrix.weight(), &[n * streams, rows]), must(base.weight(), &[rows]), must(scale.weight(), &[sets])]
}

/// What each layer of AltUp has beside attention and FFN.
fn altup_tensors(n: u32) -> Vec<Tensor> {
    let (m, rank) = (ALTUP, LAUREL_RANK);
    let mut out = vec![
        must(Role::AltupCorrect.weight(), &[m, m]),
        must(Role::AltupPredict.weight(), &[m, m * m]),
        must(Role::AltupRouter.weight(), &[n, m]),
        must(Role::LaurelL.weight(), &[n, rank]),
        must(Role::LaurelR.weight(), &[rank, n]),
    ];
    out.extend([Role::AltupCorrectScale, Role::AltupRouterNorm, Role::LaurelNorm].map(|r| must(r.weight(), &[n])));
    out
}

/// Q by way of a narrow vector or directly; K and V out of another.
fn mla_tensors(n: u32, a: &Attention, m: &Mla, n_rot: u32) -> Vec<Tensor> {
    let (q, rank, nope) = (a.n_head * m.head_k, m.kv_rank, m.head_k.saturating_sub(n_rot));
    let mut out = if m.q_rank > 0 {
        vec![must(Role::QA.weight(), &[n, m.q_rank]), must(Role::QANorm.weight(), &[m.q_rank]), must(Role::QB.weight(), &[m.q_rank, q])]
    } else {
        vec![must(Role::Q.weight(), &[n, q])]
    };
    out.extend([must(Role::KvA.weight(), &[n, rank + n_rot]), must(Role::KvANorm.weight(), &[rank])]);
    if m.absorbed {
        let stack = |r: Role, k, rows| Tensor { small: false, ..must(r.weight(), &[k, rows, a.n_head]) };
        out.extend([stack(Role::KB, nope, rank), stack(Role::VB, rank, m.head_v)]);
    } else {
        out.push(must(Role::KvB.weight(), &[rank, a.n_head * (nope + m.head_v)]));
    }
    out.extend(m.pe_norm.then(|| must(Role::KNorm.weight(), &[n_rot])));
    out
}

/// What a layer with an index of its own has for it.
fn index_tensors(n: u32, a: &Attention, ix: &Index) -> Vec<Tensor> {
    let (all, one) = (ix.n_head * ix.head_size, ix.head_size);
    let k_norm = must(Role::IndexKNorm.weight(), &[one]);
    match ix.by {
        IndexBy::Position { .. } => vec![
            must(Role::IndexQ.weight(), &[a.mla.map_or(n, |m| m.q_rank), all]),
            must(Role::IndexK.weight(), &[n, one]),
            must(Role::IndexWeights.weight(), &[n, ix.n_head]),
            must(Role::IndexKNorm.bias(), &[one]),
            k_norm,
        ],
        IndexBy::Block { .. } => vec![
            must(Role::IndexBlockQ.weight(), &[n, all]),
            must(Role::IndexBlockK.weight(), &[n, one]),
            must(Role::IndexQNorm.weight(), &[one]),
            k_norm,
        ],
    }
}

fn cross_tensors(n: u32, norm: &NormSpec, a: &Attention) -> Vec<Tensor> {
    let (q, k, v) = (a.n_head * a.head_k, a.n_head_kv * a.head_k, a.n_head_kv * a.head_v);
    let inputs = [(Role::CrossQ, q), (Role::CrossK, k), (Role::CrossV, v)].map(|(r, rows)| must(r.weight(), &[n, rows]));
    let out = must(Role::CrossOut.weight(), &[a.n_head * a.head_v, n]);
    norm_tensors(norm, Role::CrossNorm, n).into_iter().chain(inputs).chain([out]).collect()
}

fn attention_tensors(n: u32, a: &Attention) -> Vec<Tensor> {
    let mut out = match &a.mla {
        Some(m) => mla_tensors(n, a, m, a.n_rot),
        None => head_tensors(n, a),
    };
    let width = a.n_head * a.mla.map_or(a.head_v, |m| m.head_v);
    out.push(must(Role::AttnOut.weight(), &[width, n]));
    out.extend(a.out_scaled.then(|| may(Role::AttnOut.scale(), &[1])));
    out.extend(want(a.out_bias, Role::AttnOut.bias(), &[n]));
    match a.gates {
        Gates::None => {}
        Gates::PerHead | Gates::SoftPerHead => out.push(must(Role::AttnGate.weight(), &[n, a.n_head])),
        Gates::PerChannel | Gates::SoftPerChannel => out.push(must(Role::AttnGate.weight(), &[n, width])),
    }
    if let PosBias::Buckets { n, .. } = a.pos_bias {
        out.push(small(may(Role::RelBias.weight(), &[a.n_head, n])));
    }
    if a.sinks {
        out.push(must(Role::Sinks.weight(), &[a.n_head]));
    }
    out.extend(a.sub_norm.map(|r| must(r.weight(), &[width])));
    out.extend(a.index.iter().filter(|ix| !ix.shared).flat_map(|ix| index_tensors(n, a, ix)));
    out
}

/// Matrices of Q, K and V and norms of their heads.
fn head_tensors(n: u32, a: &Attention) -> Vec<Tensor> {
    let (q, k) = (a.n_head * a.head_k, a.n_head_kv * a.head_k);
    let mut out = Vec::new();
    for (role, rows) in projections(a) {
        out.push(must(role.weight(), &[n, rows]));
        out.extend(a.qkv_biased.then(|| may(role.bias(), &[rows])));
        out.extend(a.qkv_scaled.then(|| may(role.scale(), &[1])));
    }
    let has_k = a.kv_of.is_none();
    let norms = |q: &[u32], k: &[u32]| {
        let of_k = has_k.then(|| small(must(Role::KNorm.weight(), k)));
        [small(must(Role::QNorm.weight(), q))].into_iter().chain(of_k).collect::<Vec<_>>()
    };
    match a.qk_norm {
        QkNorm::None | QkNorm::BareAfterRope => {}
        QkNorm::Head | QkNorm::HeadAfterRope => out.extend(norms(&[a.head_k], &[a.head_k])),
        QkNorm::NumberAfterRope => out.push(small(must(Role::QNorm.weight(), &[1, a.n_head]))),
        QkNorm::EachHead => {
            let shapes = [[a.head_k, a.n_head], [a.head_k, a.n_head_kv]];
            out.extend(norms(&shapes[0], &shapes[1]));
            out.extend([small(may(Role::QNorm.bias(), &shapes[0])), small(may(Role::KNorm.bias(), &shapes[1]))]);
        }
        QkNorm::Whole => {
            out.extend(norms(&[q], &[k]));
            out.extend([may(Role::QNorm.bias(), &[q]), may(Role::KNorm.bias(), &[k])]);
        }
    }
    out
}

/// The matrices that an attention's input goes through, with their rows.
pub fn projections(a: &Attention) -> Vec<(Role, u32)> {
    let (q, k, v) = (a.n_head * a.head_k, a.n_head_kv * a.head_k, a.n_head_kv * a.head_v);
    let all = [(Role::Q, q), (Role::K, k), (Role::V, v)];
    let n = match (a.kv_of, a.v_is_k) {
        (Some(_), _) => 1,
        (None, true) => 2,
        (None, false) => 3,
    };
    all[..n].to_vec()
}

fn dense_tensors(n: u32, d: &Dense) -> Vec<Tensor> {
    let n_ff = d.n_ff;
    let mut mats = vec![(Role::FfnUp, n, n_ff), (Role::FfnDown, n_ff, n)];
    if matches!(d.gating, Gating::Matrix | Gating::AsFile) {
        mats.push((Role::FfnGate, n, n_ff));
    }
    let mut out = Vec::new();
    for (role, k, rows) in mats {
        out.push(tensor(role.weight(), &[k, rows], role != Role::FfnGate || d.gating == Gating::Matrix));
        out.extend(want(d.bias, role.bias(), &[rows]));
        let scaled = d.scaled || d.down_scaled && role == Role::FfnDown;
        out.extend(scaled.then(|| may(role.scale(), &[1])));
    }
    out.extend(d.sub_norm.map(|r| must(r.weight(), &[n_ff])));
    out.extend(d.act_scales.then(|| may(Name(Role::FfnAct, Part::Scales), &[n_ff])));
    out
}

/// Gate, up and down of the FFN beside experts.
pub fn shared_roles(plain: bool) -> [Role; 3] {
    if plain { [Role::FfnGate, Role::FfnUp, Role::FfnDown] } else { [Role::SharedGate, Role::SharedUp, Role::SharedDown] }
}

fn moe_tensors(n: u32, m: &Moe) -> Vec<Tensor> {
    let (n_ff, e) = (m.n_ff, m.n_expert);
    let mut out = vec![must(Role::Router.weight(), &[n, e])];
    out.extend(m.bias.then(|| must(Role::Router.bias(), &[e])));
    out.extend(want(m.select_bias, Role::SelectBias.bias(), &[e]));
    let mats = [(Role::GateExps, n, n_ff), (Role::UpExps, n, n_ff), (Role::DownExps, n_ff, n)];
    for (role, k, rows) in mats.into_iter().filter(|r| m.gated || r.0 != Role::GateExps) {
        out.push(must(role.weight(), &[k, rows, e]));
        out.extend(m.bias.then(|| small(must(role.bias(), &[rows, e]))));
        out.extend(m.scaled.then(|| may(role.scale(), &[e])));
    }
    out.extend((m.router == RouterInput::OwnNorm).then(|| must(Role::Router.scale(), &[n])));
    if let Some(c) = &m.chunks {
        let count = e / c.each.max(1);
        let mats = [(Role::GateChunks, n, c.n_ff), (Role::UpChunks, n, c.n_ff), (Role::DownChunks, c.n_ff, n)];
        out.extend(mats.map(|(role, k, rows)| must(role.weight(), &[k, rows, count])));
    }
    let Some(s) = &m.shared else { return out };
    let [gate, up, down] = shared_roles(s.plain_names);
    let (gate_up, down) = ([(gate, n, s.n_ff), (up, n, s.n_ff)], (down, s.n_ff, n));
    // The binder cuts a tensor that holds both.
    let own = gate_up.into_iter().filter(|_| !s.in_up);
    for (role, k, rows) in own.chain([down]) {
        out.push(must(role.weight(), &[k, rows]));
        out.extend(s.scaled.then(|| may(role.scale(), &[1])));
    }
    out.extend(s.gated.then(|| must(Role::SharedRouter.weight(), &[n])));
    out
}
