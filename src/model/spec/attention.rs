//! What one layer's attention is, as data.
use super::*;
use crate::model::hparams::RopeScaling;

/// Where a rotation's base comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeBase {
    /// The context's (the file's unless overridden), with its scaling.
    Context,
    /// The sliding layers' own, with its own scaling.
    Swa,
    /// That base, and nothing scaled.
    SwaUnscaled,
}

/// Tensors that divide a rotation's frequencies, where the file has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RopeFactors {
    #[default]
    None,
    /// `rope_freqs`.
    Freqs,
    /// `rope_factors_long` for contexts longer than the original one, else `rope_factors_short` (LongRoPE, Ding et al. 2024).
    LongOrShort,
}

/// Norms of Q and K: of each head by itself unless said otherwise, before the rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QkNorm {
    None,
    /// RMS, the same weights for all heads.
    Head,
    HeadAfterRope,
    /// RMS without weights.
    BareAfterRope,
    /// RMS, a number for each head of Q, nothing for K.
    NumberAfterRope,
    /// Mean and variance, weights for each head.
    EachHead,
    /// RMS over all heads at once.
    Whole,
}

#[derive(Clone, Debug)]
pub struct Attention {
    pub n_head: u32,
    pub n_head_kv: u32,
    pub head_k: u32,
    pub head_v: u32,
    pub n_rot: u32,
    /// `None`: positions are not rotated in.
    pub rope: Option<RopeKind>,
    pub rope_base: RopeBase,
    pub rope_factors: RopeFactors,
    pub qk_norm: QkNorm,
    /// The matrices of Q, K and V may have scales, and biases, beside them.
    pub qkv_scaled: bool,
    pub qkv_biased: bool,
    /// The bias of `attn_output`, and whether it may have a scale.
    pub out_bias: Want,
    pub out_scaled: bool,
    pub window: Window,
    pub scale: f32,
    /// cap * tanh(x / cap) on attention scores; 0: none.
    pub softcap: f32,
    /// Q, K and V are held within this of 0; 0: they are not.
    pub clamp: f32,
    /// Largest exponent of ALiBi's slopes; 0: none.
    pub alibi: f32,
    /// K and V are made of a narrow vector that all heads share.
    pub mla: Option<Mla>,
    /// Where there is no matrix for V, K's is used; RMS without weights on each head.
    pub v_normed: bool,
    pub v_is_k: bool,
    /// K and V are those that an earlier layer has stored.
    pub kv_of: Option<u32>,
    /// A norm before the last matrix.
    pub sub_norm: Option<Role>,
    /// Multiplies what the last matrix gives.
    pub out_scale: f32,
    /// Q grows with its position.
    pub temperature: Option<Temperature>,
    /// One logit per head joins the denominator.
    pub sinks: bool,
    pub pos_bias: PosBias,
    /// Behind it, with a norm of its own: attention of the same sizes to what the encoder made.
    pub cross: bool,
    /// What attention gives goes through gates made of its input.
    pub gates: Gates,
    pub index: Option<Index>,
}

/// Queries see the best positions only, by the scores of small heads beside those of attention, whose keys memory keeps as well
/// (DeepSeek 3.2, 2025; MiniMax M3).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Index {
    pub n_head: u32,
    pub head_size: u32,
    /// Positions, or blocks of them, that a query sees.
    pub top_k: u32,
    /// What the last layer with an index of its own has picked.
    pub shared: bool,
    pub rope: RopeKind,
    /// The last elements of a head turn instead of the first.
    pub rope_last: bool,
    /// Heads go through a Hadamard transform before they are stored, which changes no score.
    pub hadamard: bool,
    pub by: IndexBy,
}

/// How an index is made and what its scores are of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum IndexBy {
    /// Queries are made of latent attention's narrow vector, keys have a norm of mean and variance with this epsilon, and a position's score is
    /// the weighted sum of what heads find.
    Position { eps: f32 },
    /// Queries and keys have RMS norms, and each head picks for one KV head: blocks by their best position, and the newest `local` ones anyway.
    Block { size: u32, local: u32 },
}

/// What distance adds to attention scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PosBias {
    None,
    /// A learned number per head and bucket of distances (Raffel et al. 2020); half of the buckets are for what comes behind where both sides are seen.
    Buckets {
        n: u32,
        both_sides: bool,
    },
}

/// Gates of an attention's output, before its last matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gates {
    None,
    PerHead,
    PerChannel,
    /// As those, through softplus instead of the sigmoid.
    SoftPerHead,
    SoftPerChannel,
}

/// Multi-head latent attention (DeepSeek 2, 2024).
#[derive(Clone, Copy, Debug)]
pub struct Mla {
    /// Width of the vector that Q are made of; 0: Q are made directly.
    pub q_rank: u32,
    /// Width of the one that K and V are made of.
    pub kv_rank: u32,
    /// Sizes of a head as they are before the matrices of K and V are absorbed.
    pub head_k: u32,
    pub head_v: u32,
    /// The narrow vector is what memory keeps: heads of Q are brought to it (`attn_k_b`), and what attention gives from it (`attn_v_b`).
    pub absorbed: bool,
    /// The attention scale grows with the context's YaRN scaling.
    pub yarn_scale: bool,
    /// What K have of the position goes through a norm of its own.
    pub pe_norm: bool,
}

/// The common attention: sizes from the file, scale 1 / sqrt(head), everything visible. Architectures change what differs.
pub fn attention(hp: &HParams, il: u32, rope: RopeKind) -> Attention {
    Attention {
        n_head: hp.n_head[il as usize],
        n_head_kv: hp.n_head_kv[il as usize],
        head_k: hp.n_embd_head_k,
        head_v: hp.n_embd_head_v,
        n_rot: hp.n_rot,
        rope: Some(rope),
        rope_base: RopeBase::Context,
        rope_factors: RopeFactors::None,
        qk_norm: QkNorm::None,
        qkv_scaled: true,
        qkv_biased: true,
        out_bias: Want::No,
        out_scaled: true,
        window: Window::All,
        scale: 1.0 / (hp.n_embd_head_k as f32).sqrt(),
        softcap: 0.0,
        clamp: 0.0,
        alibi: 0.0,
        mla: None,
        v_normed: false,
        v_is_k: false,
        kv_of: None,
        sub_norm: None,
        out_scale: 1.0,
        temperature: None,
        sinks: false,
        pos_bias: PosBias::None,
        cross: false,
        gates: Gates::None,
        index: None,
    }
}

/// The attention scale, which some files set (Granite).
pub fn file_scale(hp: &HParams) -> f32 {
    if hp.attention_scale == 0.0 { 1.0 / (hp.n_embd_head_k as f32).sqrt() } else { hp.attention_scale }
}

/// `rope_freqs`, or the two of LongRoPE where the file says that it scales so.
pub fn file_factors(hp: &HParams) -> RopeFactors {
    if hp.rope.scaling == RopeScaling::LongRope { RopeFactors::LongOrShort } else { RopeFactors::Freqs }
}

/// Attention of a layer that slides where the file says so, with a rotation of its own there.
pub fn sliding_rope(hp: &HParams, il: u32, a: Attention, base: RopeBase) -> Attention {
    let a = sliding(hp, il, a);
    let rope_base = if a.window == Window::All { RopeBase::Context } else { base };
    Attention { rope_base, ..a }
}

/// Attention of a layer that slides where the file says so.
pub fn sliding(hp: &HParams, il: u32, a: Attention) -> Attention {
    if hp.is_swa[il as usize] { Attention { window: Window::Sliding(hp.n_swa), ..a } } else { a }
}
