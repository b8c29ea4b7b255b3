//! What an architecture is, as data: an `Arch` constant, and the `LayerSpec` it gives for each layer. Binding weights, memory
//! needs and the step list are readers of these values; no architecture name stands outside `arch/`.
use super::hparams::{HParams, RopeScaling};
pub use super::keys::{Key, Need, opt, req};
use super::names::Role;
pub use crate::backend::{Act, Gate, NormKind, RopeKind, Temperature, Xielu};
pub use crate::memory::Window;

pub struct Arch {
    /// `general.architecture`.
    pub name: &'static str,
    /// Keys that must be there, and those whose default is the architecture's own.
    pub keys: &'static [Need],
    /// Tensors that some files of this architecture have in their layers and others have not: `HParams::has` says.
    pub looks_for: &'static [Role],
    /// What `llama_model_rope_type` says.
    pub rope: Option<RopeKind>,
    /// M-RoPE's positions take turns (where the file has sections).
    pub interleaved: bool,
    /// The whole head turns; a file that says otherwise is refused.
    pub rot_is_head: bool,
    pub norm: Norm,
    pub embed: Embed,
    /// A pure function of hyper-parameters and layer index.
    pub layer: fn(&HParams, u32) -> LayerSpec,
    /// The layer of the file whose weights layer `il` uses.
    pub source: fn(&HParams, u32) -> u32,
    /// Layers may have no heads or no FFN.
    pub may_lack: bool,
    pub flow: Flow,
    pub head: Head,
    /// Contexts keep what was decoded. Without a memory a batch stands alone and its texts are seen whole, from both sides.
    pub memory: bool,
    /// Whatever the file says, tokens see both sides.
    pub both_sides: bool,
    /// Fills in masked tokens instead of adding new ones.
    pub diffusion: bool,
    pub stacks: Stacks,
    pub classifier: Classifier,
    /// Facts inferred from sizes, each with its reason.
    pub quirks: &'static [Quirk],
    /// The size's name in descriptions ("7B"); "?B" when no rule fits.
    pub size: fn(&HParams) -> &'static str,
}

/// RMS norms, NeoX rotation, a plain head: what most architectures are. Each says what differs.
pub const PLAIN: Arch = Arch {
    name: "",
    keys: &[req(Key::RmsEps)],
    looks_for: &[],
    rope: Some(RopeKind::Neox),
    interleaved: false,
    rot_is_head: false,
    norm: Norm::Rms,
    embed: Embed { scale: Scale::One, norm: false, bare_norm: false, positions: Want::No, types: false, text_only: false },
    layer: |hp, il| plain(hp, il, RopeKind::Neox),
    source: |_, il| il,
    may_lack: false,
    flow: Flow::Plain,
    head: Head { norm: Some(Role::OutputNorm), logits: true, tied: false, bias: Want::No, softcap: false, scale: |_| 1.0, hidden: None },
    memory: true,
    both_sides: false,
    diffusion: false,
    stacks: Stacks::One,
    classifier: Classifier { rows: ClsRows::No, mean: false, out: false, gelu: false, softmax: false, dense: false },
    quirks: &[],
    size: |_| "?B",
};

/// Whether a tensor belongs to an architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    No,
    May,
    Must,
}

/// The norms of all layers and of the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    Rms,
    /// RMS with biases.
    RmsBias,
    /// RMS without weights.
    Bare,
    /// Mean and variance, with or without weights and biases.
    Layer {
        weight: bool,
        bias: bool,
    },
    /// Mean and variance, with biases where the file has them.
    LayerMayBias,
    /// RMS where the file gives its epsilon, else as `Layer` with weights.
    ByEps,
}

/// What `Norm` comes to for one model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormSpec {
    pub kind: NormKind,
    pub eps: f32,
    pub weight: bool,
    pub bias: Want,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    One,
    /// sqrt(n_embd), for token embeddings only.
    SqrtWidth,
    /// sqrt(n_embd), for all inputs.
    SqrtWidthOfAll,
    /// For all inputs.
    Fixed(f32),
    /// The file's or else `or`, for all inputs.
    OfFile {
        or: f32,
    },
}

#[derive(Clone, Copy, Debug)]
pub struct Embed {
    pub scale: Scale,
    /// A norm before the first layer.
    pub norm: bool,
    /// It is RMS without weights.
    pub bare_norm: bool,
    /// A learned vector per position is added.
    pub positions: Want,
    /// The first of the vectors for types of sentences is added, where the file has them.
    pub types: bool,
    /// Embeddings from outside would need weights that are not used here.
    pub text_only: bool,
}

/// The stacks of layers a model has, and what a file calls them.
#[derive(Clone, Copy, Debug)]
pub enum Stacks {
    /// `blk`
    One,
    /// `enc.blk`
    Encoder,
    /// `dec.blk`, whose layers look at what those of `enc.blk` (made by `layer`) have made.
    EncoderDecoder { layer: fn(&HParams, u32) -> LayerSpec },
}

/// Rows of a reranker's first matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClsRows {
    No,
    One,
    Width,
}

/// What pooled embeddings go through, as far as the file has it. Rerankers: `cls`, tanh, `cls.norm`, `cls.output`.
#[derive(Clone, Copy, Debug)]
pub struct Classifier {
    pub rows: ClsRows,
    /// It reads the mean of a text where the file says nothing, not one token.
    pub mean: bool,
    /// There may be a `cls.output`.
    pub out: bool,
    /// GELU instead of tanh.
    pub gelu: bool,
    /// Scores become probabilities.
    pub softmax: bool,
    /// Two matrices that go on all embeddings, pooled or not.
    pub dense: bool,
}

/// How layers follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Each adds to the stream.
    Plain,
    /// Two streams, each the sum of both through a stack of layers in its turn (HRM, Wang et al. 2025).
    Hrm,
    /// Several streams of which one goes through each layer; the others are predicted and corrected (AltUp, Baykal et al. 2023).
    AltUp,
    /// Several streams that each half reads a mixture of, and adds its output to in other shares (hyper-connections, Zhu et al. 2024).
    Hyper,
}

#[derive(Clone, Copy, Debug)]
pub struct Head {
    pub norm: Option<Role>,
    /// Without them the model gives embeddings only.
    pub logits: bool,
    /// The embeddings' table is the matrix, whatever the file has.
    pub tied: bool,
    pub bias: Want,
    /// cap * tanh(x / cap) on the logits, with the file's cap.
    pub softcap: bool,
    /// Multiplies the logits.
    pub scale: fn(&HParams) -> f32,
    /// Logits of tokens that are not to be said.
    pub hidden: Option<(u32, u32)>,
}

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

/// Where an FFN's gate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gating {
    /// down(act(up x))
    None,
    /// A matrix of its own: down(act(gate x) * up x).
    Matrix,
    /// The first half of `ffn_up`'s rows.
    InUp,
    /// Whichever of these the file has.
    AsFile,
}

#[derive(Clone, Debug)]
pub struct Dense {
    pub n_ff: u32,
    pub act: Act,
    pub gating: Gating,
    pub bias: Want,
    /// The matrices, or the last one alone, may have scales beside them.
    pub scaled: bool,
    pub down_scaled: bool,
    /// A norm before the last matrix.
    pub sub_norm: Option<Role>,
    /// What the activation gives is divided by these, where the file has them.
    pub act_scales: bool,
    /// Only what is far above the mean of the gate passes: so many deviations; 0: all.
    pub sparse: f32,
}

/// Norms after the sum: what they make is the stream that goes on (BERT).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AfterSum {
    /// A second norm behind `Norms::ffn`, of its output and the layer's input.
    pub again: Option<Role>,
    /// Behind the FFN.
    pub out: Role,
}

/// An FFN that every token goes through beside its experts.
#[derive(Clone, Copy, Debug)]
pub struct Shared {
    pub n_ff: u32,
    /// Times the sigmoid of a router of its own.
    pub gated: bool,
    pub scaled: bool,
    /// Its gate is the first half of the rows of `ffn_up_shexp`.
    pub in_up: bool,
    /// Its tensors are called as those of a dense FFN.
    pub plain_names: bool,
    /// Its activation, where that is not the experts'.
    pub act: Option<Act>,
}

/// What a router looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouterInput {
    /// What the experts get.
    Normed,
    /// The layer's input.
    Layer,
    /// What the FFN's norm gets, through a norm of its own.
    OwnNorm,
}

/// Experts behind experts: what they give goes through a smaller set, chosen by the same logits (Grove MoE).
#[derive(Clone, Copy, Debug)]
pub struct Chunks {
    pub n_ff: u32,
    /// Experts per chunk.
    pub each: u32,
    pub scale: f32,
}

#[derive(Clone, Debug)]
pub struct Moe {
    pub n_ff: u32,
    pub n_expert: u32,
    pub n_used: u32,
    pub router: RouterInput,
    pub chunks: Option<Chunks>,
    pub act: Act,
    pub gate: Gate,
    /// The choice goes by the bare logits.
    pub by_logit: bool,
    /// A bias that joins the choice.
    pub select_bias: Want,
    /// Divide the chosen weights by their sum.
    pub renorm: bool,
    /// 0 or 1: none.
    pub scale: f32,
    /// Groups of experts, and from how many of them a token's may come.
    pub groups: [u32; 2],
    /// Weights go on the experts' inputs instead of their outputs.
    pub weigh_inputs: bool,
    /// Experts have a gate.
    pub gated: bool,
    /// Router and experts have biases.
    pub bias: bool,
    pub scaled: bool,
    pub shared: Option<Shared>,
    /// Multiplies the sum of experts and shared FFN.
    pub mix: f32,
}

#[derive(Clone, Debug)]
pub enum Ffn {
    Dense(Dense),
    Moe(Moe),
    /// No matrices at all.
    Bare(Act),
}

/// A second FFN whose output is added to the first's.
#[derive(Clone, Debug)]
pub struct Side {
    pub moe: Moe,
    pub norm: Role,
    /// It reads the layer's input instead of what attention has added to it.
    pub of_input: bool,
    /// Norms of what the first and what this one gives.
    pub posts: Option<[Role; 2]>,
}

/// Where a layer's norms stand. Each is named after its tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norms {
    /// Attention and FFN both read the layer's input, and all three are added up.
    pub parallel: bool,
    pub attn: Option<Role>,
    /// Before the residual is added.
    pub attn_post: Option<Role>,
    pub ffn: Option<Role>,
    pub ffn_post: Option<Role>,
    /// Epsilon of those two; 0: the norm's.
    pub post_eps: f32,
    pub after: Option<AfterSum>,
}

impl Norms {
    pub const PRE: Norms = Norms {
        parallel: false,
        attn: Some(Role::AttnNorm),
        attn_post: None,
        ffn: Some(Role::FfnNorm),
        ffn_post: None,
        post_eps: 0.0,
        after: None,
    };
    /// The FFN's norm is called after what it follows.
    pub const PRE_AFTER_ATTN: Norms = Norms { ffn: Some(Role::AttnPostNorm), ..Norms::PRE };
    pub const PRE_AND_POST: Norms = Norms { attn_post: Some(Role::AttnPostNorm), ffn_post: Some(Role::FfnPostNorm), ..Norms::PRE };
    pub const POST: Norms = Norms { attn: None, ffn: None, ..Norms::PRE_AND_POST };
    /// One norm for both halves.
    pub const SHARED: Norms = Norms { parallel: true, ffn: Some(Role::AttnNorm), ..Norms::PRE };
    /// Each half norms the layer's input for itself.
    pub const PARALLEL: Norms = Norms { parallel: true, ..Norms::PRE };

    /// The norms there are, each once.
    pub fn roles(&self) -> impl Iterator<Item = Role> + use<> {
        let ffn = self.ffn.filter(|f| Some(*f) != self.attn);
        let after = self.after.map_or([None; 2], |a| [a.again, Some(a.out)]);
        [self.attn, self.attn_post, ffn, self.ffn_post].into_iter().chain(after).flatten()
    }
}

#[derive(Clone, Debug)]
pub struct LayerSpec {
    pub attn: Attention,
    pub ffn: Ffn,
    pub norms: Norms,
    /// Multiplies what each half adds.
    pub residual_scale: f32,
    pub side: Option<Side>,
    /// A part of an embedding for this layer joins its output through a gate (Gemma 3n, 4).
    pub per_layer: bool,
    /// A number of the file multiplies the output.
    pub out_scaled: bool,
    /// The embeddings times a number of the file are added to the output.
    pub skip: bool,
    /// A norm of the model that the output goes through.
    pub norm_after: Option<Role>,
    pub halves: Halves,
    /// It is a layer of `Flow::AltUp`.
    pub altup: bool,
    /// It is a layer of `Flow::Hyper`.
    pub hyper: bool,
}

/// What of a layer there is, and whether it does anything (Deci).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halves {
    Both,
    /// Attention is its last matrix alone.
    Linear,
    Ffn,
    Nothing,
}

impl LayerSpec {
    /// Whether memory has rows of it.
    pub fn stores(&self) -> bool {
        self.halves == Halves::Both && self.attn.kv_of.is_none()
    }
    /// The index whose keys memory has of it.
    pub fn own_index(&self) -> Option<&Index> {
        self.attn.index.as_ref().filter(|ix| self.stores() && !ix.shared)
    }
}

/// A correction for models that files do not tell apart otherwise.
pub struct Quirk {
    pub when: fn(&HParams) -> bool,
    pub set: fn(&HParams, &mut LayerSpec),
    pub why: &'static str,
}

impl Arch {
    /// Layers that `layer` makes.
    pub fn n_layer(&self, hp: &HParams) -> u32 {
        if matches!(self.stacks, Stacks::EncoderDecoder { .. }) { hp.n_layer_dec } else { hp.n_layer }
    }

    /// The first layer that a file calls `enc.blk`: encoders are counted behind decoders.
    pub fn encoder_from(&self, hp: &HParams) -> Option<i32> {
        match self.stacks {
            Stacks::One => None,
            Stacks::Encoder => Some(0),
            Stacks::EncoderDecoder { .. } => Some(i32::try_from(hp.n_layer_dec).unwrap_or(i32::MAX)),
        }
    }

    /// The layers of an encoder beside a decoder.
    pub fn encoder_layers(&self, hp: &HParams) -> Vec<LayerSpec> {
        match self.stacks {
            Stacks::EncoderDecoder { layer } => (0..hp.n_layer).map(|il| layer(hp, il)).collect(),
            _ => Vec::new(),
        }
    }

    /// The layer with its quirks applied.
    pub fn layer_spec(&self, hp: &HParams, il: u32) -> LayerSpec {
        let mut s = (self.layer)(hp, il);
        self.quirks.iter().filter(|q| (q.when)(hp)).for_each(|q| (q.set)(hp, &mut s));
        s
    }

    pub fn norm(&self, hp: &HParams) -> NormSpec {
        let rms = NormSpec { kind: NormKind::Rms, eps: hp.rms_eps, weight: true, bias: Want::No };
        let want = |b| if b { Want::Must } else { Want::No };
        let layer = |weight, bias| NormSpec { kind: NormKind::Layer, eps: hp.norm_eps, weight, bias: want(bias) };
        match self.norm {
            Norm::Rms => rms,
            Norm::RmsBias => NormSpec { bias: Want::Must, ..rms },
            Norm::Bare => NormSpec { weight: false, ..rms },
            Norm::LayerMayBias => NormSpec { bias: Want::May, ..layer(true, false) },
            Norm::Layer { weight, bias } => layer(weight, bias),
            Norm::ByEps if hp.rms_eps != 0.0 => rms,
            Norm::ByEps => layer(true, false),
        }
    }
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

/// A dense gated FFN without biases.
pub fn dense(hp: &HParams, il: u32, act: Act) -> Dense {
    dense_of(hp.n_ff[il as usize], act)
}

pub fn dense_of(n_ff: u32, act: Act) -> Dense {
    Dense {
        n_ff,
        act,
        gating: Gating::Matrix,
        bias: Want::No,
        scaled: false,
        down_scaled: false,
        sub_norm: None,
        act_scales: false,
        sparse: 0.0,
    }
}

/// Gated experts of width `n_ff`, weighed by a softmax over all.
pub fn moe(hp: &HParams, n_ff: u32) -> Moe {
    Moe {
        n_ff,
        n_expert: hp.n_expert,
        n_used: hp.n_expert_used,
        router: RouterInput::Normed,
        chunks: None,
        act: Act::Silu,
        gate: Gate::Softmax,
        by_logit: false,
        select_bias: Want::No,
        renorm: false,
        scale: hp.expert_weights_scale,
        groups: [hp.n_expert_groups, hp.n_group_used],
        weigh_inputs: false,
        gated: true,
        bias: false,
        scaled: false,
        shared: None,
        mix: 1.0,
    }
}

/// A shared FFN without gate or scales.
pub fn shared(n_ff: u32) -> Option<Shared> {
    Some(Shared { n_ff, gated: false, scaled: false, in_up: false, plain_names: false, act: None })
}

/// The common layer: norms before each half, a dense FFN gated by SiLU.
pub fn plain(hp: &HParams, il: u32, rope: RopeKind) -> LayerSpec {
    layer_of(attention(hp, il, rope), Ffn::Dense(dense(hp, il, Act::Silu)), Norms::PRE)
}

/// Two halves and their norms, and nothing else.
pub fn layer_of(attn: Attention, ffn: Ffn, norms: Norms) -> LayerSpec {
    LayerSpec {
        attn,
        ffn,
        norms,
        residual_scale: 1.0,
        side: None,
        per_layer: false,
        out_scaled: false,
        skip: false,
        norm_after: None,
        halves: Halves::Both,
        altup: false,
        hyper: false,
    }
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
