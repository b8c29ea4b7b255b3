//! The keys that architectures ask a file for beyond the common ones, with their names and defaults. Knows no layer.

/// An architecture-specific key; its name is `{arch}.{suffix}`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Key {
    RmsEps,
    NormEps,
    LogitScale,
    ExpertFf,
    ExpertShared,
    DenseLead,
    MoeStep,
    ParallelResidual,
    ClampKqv,
    /// M-RoPE where the file has sections.
    Sections,
    /// NTK scaling of the rotation's base by the file's alpha.
    RopeAlpha,
    /// DeepSeek's way of writing `rope.scaling.yarn_log_multiplier`: a tenth of it, and whether magnitudes of Q and K are part of it.
    YarnLogMul {
        both: bool,
    },
    /// Default of YaRN's faster limit.
    BetaFast(f32),
    /// Epsilon of norms of Q and K, whatever the file has.
    QkEps(f32),
    /// That window where the file has any.
    FixedWindow(u32),
    /// Default: the trained base; nothing scaled.
    RopeBaseSwaOnly,
    /// So many layers have rows of their own.
    KvLayers(u32),
    QLora,
    KvLora,
    /// Limits of gated activations by layer, of experts and of other FFNs.
    SwigluCut,
    Xielu,
    /// The whole stack is gone through so often.
    Loops,
    /// Stacks of two speeds: layers of each, cycles of the slow and of the fast one.
    Hrm,
    /// Layers that have rows of their own in memory; the last ones use those of earlier ones.
    SharedKv,
    /// Streams of hyper-connections, with their epsilon and magnitude.
    Hyper,
    /// Sizes of latent attention in sliding layers.
    LatentSwa,
    /// Default.
    PerLayerWidth(u32),
    ExpertGroups,
    /// Sparse attention by an index: heads, their size, and how many positions (or blocks of them) a query sees.
    Index,
    /// Which layers have an index of their own; default: all, or, in files for contexts of a million, every fourth.
    IndexTypes,
    /// An index picks blocks: their size, and how many of the newest it always picks.
    IndexBlocks,
    /// With their defaults.
    AttnSoftcap(f32),
    FinalSoftcap(f32),
    SlidingWindow(u32),
    /// Attention in chunks of so many positions unless the file says 0.
    ChunkedWindow(u32),
    /// Buckets of distances.
    RelBuckets,
    /// Every how many-th layer has experts, from the second on.
    MoeEvery,
    /// Default: a base of its own, unscaled; or, with `None`, the trained base and scale.
    RopeBaseSwa(Option<f32>),
    /// Default: every n-th layer sees all, the last of each n; or the first.
    SwaPattern(u32),
    SwaPatternDenseFirst(u32),
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
            Key::NormEps => "attention.layer_norm_epsilon",
            Key::LogitScale => "logit_scale",
            Key::ExpertFf => "expert_feed_forward_length",
            Key::ExpertShared => "expert_shared_count",
            Key::DenseLead => "leading_dense_block_count",
            Key::MoeStep => "interleave_moe_layer_step",
            Key::ClampKqv => "attention.clamp_kqv",
            Key::RelBuckets => "attention.relative_buckets_count",
            Key::MoeEvery => "moe_every_n_layers",
            Key::Sections => "rope.dimension_sections",
            Key::RopeAlpha => "rope.scaling.alpha",
            Key::YarnLogMul { .. } => "rope.scaling.yarn_log_multiplier",
            Key::QLora => "attention.q_lora_rank",
            Key::KvLora => "attention.kv_lora_rank",
            Key::SwigluCut => "swiglu_clamp_exp",
            Key::Xielu => "xielu.alpha_n",
            Key::Loops => "num_loops",
            Key::Hrm => "hrm.layers_per_stack",
            Key::Hyper => "hyper_connection.count",
            Key::LatentSwa => "attention.kv_lora_rank_swa",
            Key::SharedKv => "attention.shared_kv_layers",
            Key::BetaFast(_) => "rope.scaling.yarn_beta_fast",
            Key::QkEps(_) => "attention.layer_norm_epsilon",
            Key::KvLayers(_) => "attention.shared_kv_layers",
            Key::FixedWindow(_) => "attention.sliding_window",
            Key::RopeBaseSwaOnly => "rope.freq_base_swa",
            Key::PerLayerWidth(_) => "embedding_length_per_layer_input",
            Key::ExpertGroups => "experts_per_group",
            Key::Index => "attention.indexer.top_k",
            Key::IndexTypes => "attention.indexer.types",
            Key::IndexBlocks => "attention.indexer.block_size",
            Key::ParallelResidual => "use_parallel_residual",
            Key::AttnSoftcap(_) => "attn_logit_softcapping",
            Key::FinalSoftcap(_) => "final_logit_softcapping",
            Key::SlidingWindow(_) | Key::ChunkedWindow(_) => "attention.sliding_window",
            Key::RopeBaseSwa(_) => "rope.freq_base_swa",
            Key::SwaPattern(_) | Key::SwaPatternDenseFirst(_) => "attention.sliding_window_pattern",
        }
    }
}
