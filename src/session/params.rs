//! What a caller may say about a context, and what follows from it for a given model. The C face converts to and from this.
use crate::backend::DType;
use crate::blocks::RopeSettings;
use crate::model::Model;
use crate::model::hparams::RopeScaling;

use platform::{Backing, Error, Result, log};

/// `llama_context_params` in Rust terms; zero and -1 mean "from the model" where llama.h says so.
#[derive(Clone, Debug)]
pub struct ContextParams {
    pub n_ctx: u32,
    pub n_batch: u32,
    pub n_ubatch: u32,
    pub n_seq_max: u32,
    /// Outputs of a batch, 0: `n_batch`; and of each sequence that has a sampler, 0: as many.
    pub n_outputs_max: u32,
    pub n_outputs_max_per_seq: u32,
    pub n_threads: i32,
    pub n_threads_batch: i32,
    /// `None`: the model's.
    pub rope_scaling: Option<RopeScaling>,
    /// `llama_pooling_type`, -1: the model's.
    pub pooling_type: i32,
    /// `None`: the model's.
    pub causal: Option<bool>,
    pub rope_freq_base: f32,
    pub rope_freq_scale: f32,
    pub yarn_ext_factor: f32,
    pub yarn_attn_factor: f32,
    pub yarn_beta_fast: f32,
    pub yarn_beta_slow: f32,
    pub yarn_orig_ctx: u32,
    pub type_k: DType,
    pub type_v: DType,
    pub embeddings: bool,
    /// Attention is the same either way; states are written with V transposed where it is off, as the original does.
    pub flash_attn: bool,
    pub swa_full: bool,
    pub kv_unified: bool,
    pub no_perf: bool,
    /// Tokens between snapshots of small windows: 0 keeps none, 1 means 512; `None`: what `CAMELID_SWA_SNAPSHOTS` says.
    pub swa_snapshots: Option<u32>,
    /// Most bytes of snapshots; `None`: as many as the context's cells can come to take.
    pub swa_snapshot_bytes: Option<usize>,
    /// Rows of layers on devices are there too, and so is their attention; else both are the CPU's.
    pub offload_kqv: bool,
    /// Large batches are multiplied with weights of the CPU on a device that can have them brought over.
    pub op_offload: bool,
    /// What the KV store lies in; `None`: what `CAMELID_KV` says.
    pub kv: Option<Backing>,
}

impl ContextParams {
    /// Where the rows of a layer at `place` are.
    pub fn rows_at(&self, place: usize) -> usize {
        if self.offload_kqv { place } else { 0 }
    }
}

impl Default for ContextParams {
    fn default() -> ContextParams {
        ContextParams {
            n_ctx: 512,
            n_batch: 2048,
            n_ubatch: 512,
            n_seq_max: 1,
            n_outputs_max: 0,
            n_outputs_max_per_seq: 1,
            n_threads: 4,
            n_threads_batch: 4,
            rope_scaling: None,
            pooling_type: -1,
            causal: None,
            rope_freq_base: 0.0,
            rope_freq_scale: 0.0,
            yarn_ext_factor: -1.0,
            yarn_attn_factor: -1.0,
            yarn_beta_fast: -1.0,
            yarn_beta_slow: -1.0,
            yarn_orig_ctx: 0,
            type_k: DType::F16,
            type_v: DType::F16,
            embeddings: false,
            flash_attn: true,
            swa_full: true,
            kv_unified: false,
            no_perf: true,
            swa_snapshots: None,
            swa_snapshot_bytes: None,
            offload_kqv: true,
            op_offload: true,
            kv: None,
        }
    }
}

/// Sizes of a context after the original's rules (field rules of n_ctx, n_batch, n_ubatch).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    pub n_ctx: u32,
    pub n_ctx_seq: u32,
    pub n_batch: u32,
    pub n_ubatch: u32,
    pub n_seq_max: u32,
    pub causal: bool,
}

/// Contexts are made of 256 cells at a time, as in the original: capacity is part of the interface.
const PAD: u32 = 256;
/// More cells than any memory could hold; keeps products inside 64 bits and positions inside i32.
const N_CTX_MAX: u32 = 1 << 30;

impl Sizes {
    pub fn of(m: &Model, p: &ContextParams) -> Result<Sizes> {
        let n_seq_max = p.n_seq_max.max(1);
        if n_seq_max > crate::backend::SeqSet::MAX {
            return Err(Error::invalid(format!("n_seq_max is {n_seq_max}, at most {} are possible", crate::backend::SeqSet::MAX)));
        }
        let n_ctx = if p.n_ctx == 0 { m.hp.n_ctx_train } else { p.n_ctx };
        if n_ctx > N_CTX_MAX {
            return Err(Error::invalid(format!("n_ctx is {n_ctx}, at most {N_CTX_MAX} are possible")));
        }
        let causal = p.causal.unwrap_or(m.hp.causal);
        let n_batch = if causal { p.n_batch.min(n_ctx) } else { p.n_batch };
        let n_ubatch = n_batch.min(if p.n_ubatch == 0 { p.n_batch } else { p.n_ubatch });
        if n_ubatch == 0 {
            return Err(Error::invalid("n_batch and n_ubatch must not be 0"));
        }
        let padded = n_ctx.next_multiple_of(PAD);
        let n_ctx_seq = if p.kv_unified { padded } else { (padded / n_seq_max).next_multiple_of(PAD) };
        if n_ctx_seq == 0 {
            return Err(Error::invalid(format!("n_ctx {n_ctx} leaves no room for each of {n_seq_max} sequences")));
        }
        let n_ctx = if p.kv_unified { padded } else { n_ctx_seq * n_seq_max };
        if n_ctx != padded {
            log::warn(format!("n_ctx is not divisible by n_seq_max: it is {n_ctx} now"));
        }
        Ok(Sizes { n_ctx, n_ctx_seq, n_batch, n_ubatch, n_seq_max, causal })
    }
}

/// YaRN's growth of the attention magnitude (Peng et al. 2023, eq. 22).
fn mscale(factor: f32, mul: f32) -> f32 {
    if factor <= 1.0 { 1.0 } else { 0.1 * mul * factor.ln() + 1.0 }
}

/// The rotation that a context uses: its own parameters where given, else the model's.
pub fn rope_settings(m: &Model, p: &ContextParams) -> RopeSettings {
    let train = &m.hp.rope;
    let or = |v: f32, d: f32| if v < 0.0 { d } else { v };
    let scaling = p.rope_scaling.unwrap_or(train.scaling);
    let mut freq_scale = if p.rope_freq_scale == 0.0 { train.freq_scale } else { p.rope_freq_scale };
    if scaling == RopeScaling::None {
        freq_scale = 1.0;
    }
    let mut ext_factor = or(p.yarn_ext_factor, train.yarn_ext_factor);
    if ext_factor < 0.0 {
        ext_factor = if scaling == RopeScaling::Yarn { 1.0 } else { 0.0 };
    }
    let mut attn_factor = or(p.yarn_attn_factor, train.yarn_attn_factor);
    if ext_factor != 0.0 {
        let factor = 1.0 / freq_scale;
        attn_factor = match train.yarn_log_mul {
            0.0 => mscale(factor, 1.0),
            mul => mscale(factor, if train.yarn_mul_both { mul } else { 1.0 }) / mscale(factor, mul),
        };
        // The rotation multiplies by this once more: cancel it here.
        attn_factor *= 1.0 / (1.0 + 0.1 * factor.ln());
    }
    RopeSettings {
        freq_base: if p.rope_freq_base == 0.0 { train.freq_base } else { p.rope_freq_base },
        freq_scale,
        ext_factor,
        attn_factor: attn_factor * train.attn_factor,
        beta_fast: or(p.yarn_beta_fast, train.yarn_beta_fast),
        beta_slow: or(p.yarn_beta_slow, train.yarn_beta_slow),
        n_ctx_orig: if p.yarn_orig_ctx != 0 { p.yarn_orig_ctx } else { train.n_ctx_orig },
    }
}
