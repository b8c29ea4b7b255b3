//! What one layer's FFN is, as data: dense, or experts.
use super::*;

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
