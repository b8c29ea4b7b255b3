//! What an architecture is, as data: an `Arch` constant, and the `LayerSpec` it gives for each layer. Binding weights, memory
//! needs and the step list are readers of these values; no architecture name stands outside `arch/`.
use super::hparams::HParams;
pub use crate::backend::{Act, Gate, RopeKind};
pub use crate::memory::Window;

pub struct Arch {
    /// `general.architecture`.
    pub name: &'static str,
    /// Keys beyond the common ones.
    pub keys: &'static [Need],
    pub rope: RopeKind,
    /// The whole head turns; a file that says otherwise is refused.
    pub rot_is_head: bool,
    pub embed: Embed,
    /// A pure function of hyper-parameters and layer index.
    pub layer: fn(&HParams, u32) -> LayerSpec,
    pub head: Head,
    /// Facts inferred from sizes, each with its reason.
    pub quirks: &'static [Quirk],
    /// The size's name in descriptions ("7B"); "?B" when no rule fits.
    pub size: fn(&HParams) -> &'static str,
}

/// An architecture-specific key; its name is `{arch}.{suffix}`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Key {
    RmsEps,
    /// With their defaults.
    AttnSoftcap(f32),
    FinalSoftcap(f32),
    ExpertFf,
    SlidingWindow(u32),
    /// Default: a base of its own, unscaled; or, with `None`, the trained base and scale.
    RopeBaseSwa(Option<f32>),
    /// Default: every n-th layer sees all.
    SwaPattern(u32),
}

pub struct Need {
    pub key: Key,
    pub required: bool,
}

pub const fn req(key: Key) -> Need {
    Need { key, required: true }
}
pub const fn opt(key: Key) -> Need {
    Need { key, required: false }
}

impl Key {
    pub fn suffix(self) -> &'static str {
        match self {
            Key::RmsEps => "attention.layer_norm_rms_epsilon",
            Key::AttnSoftcap(_) => "attn_logit_softcapping",
            Key::FinalSoftcap(_) => "final_logit_softcapping",
            Key::ExpertFf => "expert_feed_forward_length",
            Key::SlidingWindow(_) => "attention.sliding_window",
            Key::RopeBaseSwa(_) => "rope.freq_base_swa",
            Key::SwaPattern(_) => "attention.sliding_window_pattern",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    One,
    /// sqrt(n_embd), for token embeddings only.
    SqrtWidth,
}

#[derive(Clone, Copy, Debug)]
pub struct Embed {
    pub scale: Scale,
}

#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// An `output.bias` may be there.
    pub bias: bool,
    /// cap * tanh(x / cap) on the logits, with the file's cap.
    pub softcap: bool,
}

/// Where a rotation's base comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeBase {
    /// The context's (the file's unless overridden), with its scaling.
    Context,
    /// The sliding layers' own, with its own scaling.
    Swa,
}

#[derive(Clone, Debug)]
pub struct Attention {
    pub n_head: u32,
    pub n_head_kv: u32,
    pub head_k: u32,
    pub head_v: u32,
    pub n_rot: u32,
    pub rope: RopeKind,
    pub rope_base: RopeBase,
    /// `rope_freqs.weight` may be there.
    pub rope_factors: bool,
    /// RMS norm per head on Q and K before the rotation.
    pub qk_norm: bool,
    /// An `attn_output.bias` may be there (biases of Q, K and V may always).
    pub out_bias: bool,
    pub window: Window,
    pub scale: f32,
    /// cap * tanh(x / cap) on attention scores; 0: none.
    pub softcap: f32,
}

#[derive(Clone, Debug)]
pub enum Ffn {
    /// act(gate x) * up x, then down. Biases and per-matrix scales where these allow and the file has them.
    Dense {
        n_ff: u32,
        act: Act,
        bias: bool,
        scaled: bool,
    },
    Moe {
        n_ff: u32,
        n_expert: u32,
        n_used: u32,
        act: Act,
        gate: Gate,
        renorm: bool,
        scale: f32,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norms {
    /// Before attention and before the FFN.
    Pre,
    /// And after each, before the residual is added.
    PreAndPost,
}

#[derive(Clone, Debug)]
pub struct LayerSpec {
    pub attn: Attention,
    pub ffn: Ffn,
    pub norms: Norms,
}

/// A correction for models that files do not tell apart otherwise.
pub struct Quirk {
    pub when: fn(&HParams) -> bool,
    pub set: fn(&HParams, &mut LayerSpec),
    pub why: &'static str,
}

impl Arch {
    /// The layer with its quirks applied.
    pub fn layer_spec(&self, hp: &HParams, il: u32) -> LayerSpec {
        let mut s = (self.layer)(hp, il);
        self.quirks.iter().filter(|q| (q.when)(hp)).for_each(|q| (q.set)(hp, &mut s));
        s
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
        rope,
        rope_base: RopeBase::Context,
        rope_factors: false,
        qk_norm: false,
        out_bias: false,
        window: Window::All,
        scale: 1.0 / (hp.n_embd_head_k as f32).sqrt(),
        softcap: 0.0,
    }
}

/// A dense gated FFN without biases.
pub fn dense(hp: &HParams, il: u32, act: Act) -> Ffn {
    Ffn::Dense { n_ff: hp.n_ff[il as usize], act, bias: false, scaled: false }
}
