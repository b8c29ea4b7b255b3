//! What an architecture is, as data: an `Arch` constant, and the `LayerSpec` it gives for each layer. Binding weights, memory
//! needs and the step list are readers of these values; no architecture name stands outside `arch/`.
mod attention;
mod ffn;

use super::hparams::HParams;
pub use super::keys::{Key, Need, opt, req};
use super::names::Role;
pub use crate::backend::{Act, Gate, NormKind, RopeKind, Temperature, Xielu};
pub use crate::memory::Window;
pub use attention::*;
pub use ffn::*;

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
    /// The original never has flash attention for it: its states have V channel by channel.
    pub v_by_channel: bool,
    /// Whatever the file says, tokens see both sides.
    pub both_sides: bool,
    /// Layers take control vectors.
    pub steered: bool,
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
    head: Head {
        norm: Some(Role::OutputNorm),
        logits: true,
        tied: false,
        bias: Want::No,
        softcap: false,
        scale: |_| 1.0,
        scaled: true,
        hidden: None,
        next_bare: false,
    },
    memory: true,
    v_by_channel: false,
    both_sides: false,
    steered: true,
    diffusion: false,
    stacks: Stacks::One,
    classifier: Classifier { rows: ClsRows::No, mean: false, out: false, gelu: false, softmax: false, dense: false },
    quirks: &[],
    size: |_| "?B",
};

pub const UNSCALED: Head = Head { scaled: false, ..PLAIN.head };

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
    /// So does the `output.scale` of an NVFP4 matrix; where the original forgets it, files are made for that.
    pub scaled: bool,
    /// Logits of tokens that are not to be said.
    pub hidden: Option<(u32, u32)>,
    /// Heads for further tokens take the stream as it is, not as the last norm leaves it.
    pub next_bare: bool,
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

/// Norms after the sum: what they make is the stream that goes on (BERT).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AfterSum {
    /// A second norm behind `Norms::ffn`, of its output and the layer's input.
    pub again: Option<Role>,
    /// Behind the FFN.
    pub out: Role,
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
