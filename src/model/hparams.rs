//! Hyper-parameters: what a file's keys say, checked, before any architecture interprets them.
use super::names::Role;
use super::spec::{Arch, Gate, Key, Need, Stacks, Xielu};
use crate::gguf::Meta;
use platform::{Error, Result};

/// Most layers and experts a file may name, as in the original: bounds what a hostile count can ask for.
pub const MAX_LAYERS: u32 = 512;
pub const MAX_EXPERTS: u32 = 1024;
/// What the router has room for; real models have 8.
pub const MAX_GROUPS: u32 = 64;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RopeScaling {
    #[default]
    None,
    Linear,
    Yarn,
    LongRope,
}

/// Empty for a model of which only the vocabulary was loaded.
#[derive(Clone, Debug, Default)]
pub struct HParams {
    pub n_vocab: u32,
    pub n_ctx_train: u32,
    pub n_embd: u32,
    pub n_layer: u32,
    /// Layers of the file, those for further tokens too.
    pub n_layer_all: u32,
    /// Layers of the decoder where there is an encoder too, whose are `n_layer`.
    pub n_layer_dec: u32,
    /// The token that an answer to an encoded text starts with.
    pub dec_start_token: i32,
    /// Per layer.
    pub n_head: Vec<u32>,
    pub n_head_kv: Vec<u32>,
    pub n_ff: Vec<u32>,
    pub n_embd_head_k: u32,
    pub n_embd_head_v: u32,
    pub n_rot: u32,
    pub n_expert: u32,
    pub n_expert_used: u32,
    /// Width of one expert's FFN; 0: not given.
    pub n_ff_exp: u32,
    /// Width of the shared FFN; 0: not given.
    pub n_ff_shexp: u32,
    pub n_expert_shared: u32,
    pub n_expert_groups: u32,
    pub n_group_used: u32,
    /// Layers before the first with experts, and every how many-th has them.
    pub n_layer_dense_lead: u32,
    pub n_moe_layer_step: u32,
    pub expert_weights_scale: f32,
    pub expert_weights_norm: bool,
    /// The original's number, 0: not given.
    pub expert_gating_func: u32,
    pub rms_eps: f32,
    pub norm_eps: f32,
    /// Each 0: not given.
    pub embedding_scale: f32,
    pub residual_scale: f32,
    pub logit_scale: f32,
    pub clamp_kqv: f32,
    pub use_par_res: bool,
    /// Layers that add a part of an input embedding of their own (Qwen 3 VL).
    pub n_deepstack_layers: u32,
    /// Per layer: rotates.
    pub rotates: Vec<bool>,
    pub attention_scale: f32,
    pub attn_softcap: f32,
    pub final_softcap: f32,
    pub n_swa: u32,
    /// Per layer: slides.
    pub is_swa: Vec<bool>,
    pub causal: bool,
    /// `llama_pooling_type`, -1 when the file says nothing; and the one before a classifier.
    pub pooling_type: i32,
    pub pooling_type_cls: i32,
    /// Scores of a classifier.
    pub n_cls_out: u32,
    /// Kinds of sentences that have a vector.
    pub n_token_types: u32,
    /// Buckets of distances, of both sides.
    pub n_rel_buckets: u32,
    pub n_moe_every: u32,
    /// The FFN's activation by its name; empty: the architecture's own.
    pub hidden_act: String,
    /// Widths between the two matrices behind an embedding; 0: there are none.
    pub dense_feat: [u32; 2],
    /// Largest exponent of ALiBi's slopes.
    pub alibi: f32,
    /// Multiply scores (Grok), and what attention gives (MiMo 2); each 0: not given.
    pub score_scale: f32,
    pub value_scale: f32,
    /// Norms stand after each half (Chameleon).
    pub swin_norm: bool,
    /// Heads and rotation of sliding layers.
    pub head_k_swa: u32,
    pub head_v_swa: u32,
    pub n_rot_swa: u32,
    /// Ranks and, where they are absorbed, sizes of heads of latent attention; 0: not given.
    pub q_rank: u32,
    pub kv_rank: u32,
    pub head_k_mla: u32,
    pub head_v_mla: u32,
    /// The same of sliding layers.
    pub kv_rank_swa: u32,
    pub head_k_mla_swa: u32,
    pub head_v_mla_swa: u32,
    /// Streams of hyper-connections; what is added to shares, and their magnitude.
    pub n_hyper: u32,
    pub hyper_eps: f32,
    pub hyper_magnitude: f32,
    /// Per layer, 0: none.
    pub cut_exp: Vec<f32>,
    pub cut_shexp: Vec<f32>,
    /// Per layer.
    pub xielu: Vec<Xielu>,
    /// Layers of the file, which may be gone through more than once.
    pub n_layer_file: u32,
    pub skip_loop_norm: bool,
    /// Layers of a stack, cycles of the slow stack and of the fast one (HRM).
    pub hrm: [u32; 3],
    /// Layers that store rows of their own.
    pub n_layer_kv: u32,
    pub n_embd_per_layer: u32,
    /// Experts behind experts: width, experts per chunk, weight.
    pub n_ff_chexp: u32,
    pub experts_per_group: u32,
    pub expert_group_scale: f32,
    pub index: IndexParams,
    pub rope: RopeTrain,
    /// Rows, by layer of the file, of those that the architecture looks for; 0: it is not there.
    present: Vec<(Role, Vec<u64>)>,
}

/// An index of positions, which queries see only the best of. `top_k` 0: there is none.
#[derive(Clone, Debug, Default)]
pub struct IndexParams {
    pub n_head: u32,
    pub head_size: u32,
    pub top_k: u32,
    /// Per layer: has an index of its own; the others go by what the last one picked.
    pub full: Vec<bool>,
    /// Positions that are picked together, 0: each by itself; and blocks of them that are always picked, the newest ones.
    pub block: u32,
    pub local: u32,
}

/// Rotation as trained; a context may override the base, the scale and YaRN.
#[derive(Clone, Debug, Default)]
pub struct RopeTrain {
    pub scaling: RopeScaling,
    pub freq_base: f32,
    pub freq_scale: f32,
    pub freq_base_swa: f32,
    pub freq_scale_swa: f32,
    pub n_ctx_orig: u32,
    pub attn_factor: f32,
    pub yarn_ext_factor: f32,
    pub yarn_attn_factor: f32,
    pub yarn_beta_fast: f32,
    pub yarn_beta_slow: f32,
    pub yarn_log_mul: f32,
    /// It is in the magnitudes of Q and K as well (DeepSeek 2).
    pub yarn_mul_both: bool,
    /// Pairs per position of M-RoPE; zeros: none.
    pub sections: [u32; 4],
    /// Attention temperature, 0: none; and whether there is rotation at all (Granite).
    pub temperature_scale: f32,
    /// Positions of a step of it where the file says so.
    pub temperature_length: u32,
    pub finetuned: bool,
}

/// As a number, or as a table of layers that is -1 where they have none.
fn deepstack(k: &Keys<'_>) -> Result<u32> {
    let table = k.meta.array(&k.name("deepstack_mapping"))?.and_then(|a| a.to_i64()).unwrap_or_default();
    let mapped = table.iter().filter(|i| **i >= 0).count() as u32;
    Ok(k.or_u32("n_deepstack_layers", 0)?.max(mapped))
}

/// A number that is 0 where the file does not give it.
pub fn given(v: f32) -> Option<f32> {
    (v != 0.0).then_some(v)
}

/// Keys of one architecture: `{arch}.{suffix}`.
struct Keys<'a> {
    meta: &'a Meta,
    arch: &'a str,
}

impl Keys<'_> {
    fn name(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.arch)
    }
    fn u32(&self, suffix: &str) -> Result<Option<u32>> {
        self.meta.u32(&self.name(suffix))
    }
    fn need_u32(&self, suffix: &str) -> Result<u32> {
        self.u32(suffix)?.ok_or_else(|| Error::invalid(format!("key {} is missing", self.name(suffix))))
    }
    fn or_u32(&self, suffix: &str, or: u32) -> Result<u32> {
        Ok(self.u32(suffix)?.unwrap_or(or))
    }
    fn bool(&self, suffix: &str, or: bool) -> Result<bool> {
        Ok(self.meta.bool(&self.name(suffix))?.unwrap_or(or))
    }
    fn pooling(&self, suffix: &str) -> i32 {
        self.meta.get(&self.name(suffix)).and_then(crate::gguf::Value::as_i64).map_or(-1, |v| v as u32 as i32)
    }
    /// Of an array the first: all layers share it here.
    fn first_u32(&self, suffix: &str, n_layer: u32) -> Result<u32> {
        Ok(self.per_layer(suffix, n_layer, &[0])?[0])
    }
    fn f32(&self, suffix: &str, or: f32) -> Result<f32> {
        Ok(self.meta.f32(&self.name(suffix))?.unwrap_or(or))
    }

    /// A number for all layers, or an array with one per layer.
    fn floats(&self, name: &str, n_layer: u32, or: f32) -> Result<Vec<f32>> {
        let Some(crate::gguf::Value::Array(a)) = self.meta.get(name) else {
            return Ok(vec![self.meta.f32(name)?.unwrap_or(or); n_layer as usize]);
        };
        let v = a.to_f32().filter(|v| v.len() >= n_layer as usize);
        let v = v.ok_or_else(|| Error::invalid(format!("key {name} needs {n_layer} numbers")))?;
        Ok(v[..n_layer as usize].to_vec())
    }

    /// A number for all layers, or an array with one per layer.
    fn per_layer(&self, suffix: &str, n_layer: u32, or: &[u32]) -> Result<Vec<u32>> {
        let name = self.name(suffix);
        let Some(crate::gguf::Value::Array(a)) = self.meta.get(&name) else {
            return Ok(self.u32(suffix)?.map_or(or.to_vec(), |v| vec![v; n_layer as usize]));
        };
        let v = a.to_i64().filter(|v| v.len() >= n_layer as usize);
        let v = v.ok_or_else(|| Error::invalid(format!("key {name} needs {n_layer} integers")))?;
        v[..n_layer as usize]
            .iter()
            .map(|x| u32::try_from(*x).map_err(|_| Error::invalid(format!("key {name}: {x} is out of range"))))
            .collect()
    }
}

impl HParams {
    /// `rows_of`: rows of the file's tensor of that name.
    pub fn read(meta: &Meta, arch: &Arch, n_vocab: u32, rows_of: &dyn Fn(&str) -> Option<u64>) -> Result<HParams> {
        let k = Keys { meta, arch: arch.name };
        // The last layers may be for predicting several tokens at once: they are not used here.
        let n_layer_all = k.need_u32("block_count")?;
        let n_layer = n_layer_all.saturating_sub(k.or_u32("nextn_predict_layers", 0)?);
        if n_layer == 0 || n_layer > MAX_LAYERS {
            return Err(Error::invalid(format!("key {}: {n_layer} layers, allowed are 1 to {MAX_LAYERS}", k.name("block_count"))));
        }
        let n_embd = k.need_u32("embedding_length")?;
        let n_head = k.per_layer("attention.head_count", n_layer, &vec![0; n_layer as usize])?;
        let n_head_kv = k.per_layer("attention.head_count_kv", n_layer, &n_head)?;
        let per_head = n_embd.checked_div(n_head[0]).unwrap_or(0);
        let n_embd_head_k = k.u32("attention.key_length")?.unwrap_or(per_head);
        let n_embd_head_v = k.u32("attention.value_length")?.unwrap_or(per_head);
        let n_rot = k.u32("rope.dimension_count")?.unwrap_or(n_embd_head_k);
        let mut hp = HParams {
            n_vocab,
            n_ctx_train: k.need_u32("context_length")?,
            n_embd,
            n_layer,
            n_layer_all,
            n_layer_dec: match arch.stacks {
                Stacks::EncoderDecoder { .. } => k.or_u32("decoder_block_count", n_layer)?,
                _ => n_layer,
            },
            dec_start_token: meta.get(&k.name("decoder_start_token_id")).and_then(crate::gguf::Value::as_i64).map_or(-1, |v| v as i32),
            n_head_kv,
            n_head,
            n_ff: k.per_layer("feed_forward_length", n_layer, &vec![0; n_layer as usize])?,
            n_embd_head_k,
            n_embd_head_v,
            n_rot,
            n_expert: k.or_u32("expert_count", 0)?,
            n_expert_used: k.first_u32("expert_used_count", n_layer)?,
            n_ff_exp: k.first_u32("expert_feed_forward_length", n_layer)?,
            n_ff_shexp: k.or_u32("expert_shared_feed_forward_length", 0)?,
            n_expert_shared: k.or_u32("expert_shared_count", 0)?,
            n_expert_groups: k.or_u32("expert_group_count", 0)?,
            n_group_used: k.or_u32("expert_group_used_count", 0)?,
            n_layer_dense_lead: k.or_u32("leading_dense_block_count", 0)?,
            n_moe_layer_step: k.or_u32("interleave_moe_layer_step", 0)?,
            expert_weights_scale: k.f32("expert_weights_scale", 0.0)?,
            expert_weights_norm: k.bool("expert_weights_norm", false)?,
            expert_gating_func: k.or_u32("expert_gating_func", 0)?,
            rms_eps: k.f32(Key::RmsEps.suffix(), 0.0)?,
            norm_eps: k.f32(Key::NormEps.suffix(), 0.0)?,
            embedding_scale: k.f32("embedding_scale", 0.0)?,
            residual_scale: k.f32("residual_scale", 0.0)?,
            logit_scale: k.f32("logit_scale", 0.0)?,
            clamp_kqv: k.f32("attention.clamp_kqv", 0.0)?,
            use_par_res: k.bool("use_parallel_residual", false)?,
            n_deepstack_layers: deepstack(&k)?,
            rotates: k.per_layer("attention.rope_pattern", n_layer, &vec![1; n_layer as usize])?.iter().map(|r| *r != 0).collect(),
            attention_scale: k.f32("attention.scale", 0.0)?,
            attn_softcap: 0.0,
            final_softcap: 0.0,
            n_swa: 0,
            is_swa: vec![false; n_layer as usize],
            causal: !arch.both_sides && k.bool("attention.causal", true)?,
            pooling_type: k.pooling("pooling_type"),
            pooling_type_cls: k.pooling("classifier.pooling_type"),
            n_cls_out: meta.array(&k.name("classifier.output_labels"))?.map_or(1, |a| (a.len() as u32).max(1)),
            n_token_types: meta.u32("tokenizer.ggml.token_type_count")?.unwrap_or(0),
            n_rel_buckets: 0,
            n_moe_every: 0,
            hidden_act: meta.str(&k.name("hidden_activation"))?.unwrap_or_default().to_owned(),
            dense_feat: [k.or_u32("dense_2_feat_out", 0)?, k.or_u32("dense_3_feat_in", 0)?],
            alibi: k.f32("attention.max_alibi_bias", 0.0)?,
            score_scale: k.f32("attention.output_scale", 0.0)?,
            value_scale: k.f32("attention.value_scale", 0.0)?,
            swin_norm: k.bool("swin_norm", false)?,
            head_k_swa: k.u32("attention.key_length_swa")?.unwrap_or(n_embd_head_k),
            head_v_swa: k.u32("attention.value_length_swa")?.unwrap_or(n_embd_head_v),
            n_rot_swa: k.u32("rope.dimension_count_swa")?.unwrap_or(n_rot),
            q_rank: 0,
            kv_rank: 0,
            head_k_mla: k.or_u32("attention.key_length_mla", 0)?,
            head_v_mla: k.or_u32("attention.value_length_mla", 0)?,
            kv_rank_swa: 0,
            head_k_mla_swa: 0,
            head_v_mla_swa: 0,
            n_hyper: 0,
            hyper_eps: 0.0,
            hyper_magnitude: 0.0,
            cut_exp: Vec::new(),
            cut_shexp: Vec::new(),
            xielu: Vec::new(),
            n_layer_file: n_layer,
            skip_loop_norm: k.bool("skip_loop_final_norm", false)?,
            hrm: [0; 3],
            n_layer_kv: n_layer,
            n_embd_per_layer: 0,
            n_ff_chexp: k.or_u32("expert_chunk_feed_forward_length", 0)?,
            experts_per_group: 0,
            expert_group_scale: k.f32("expert_group_scale", 0.05)?,
            index: IndexParams { full: vec![true; n_layer as usize], ..IndexParams::default() },
            rope: RopeTrain::read(&k)?,
            present: Vec::new(),
        };
        let encoder = arch.encoder_from(&hp);
        hp.present = arch.looks_for.iter().map(|r| (*r, hp.rows_by_layer(*r, encoder, rows_of))).collect();
        for need in arch.keys {
            hp.read_key(&k, need)?;
        }
        hp.check(arch)?;
        Ok(hp)
    }

    fn read_key(&mut self, k: &Keys<'_>, need: &Need) -> Result<()> {
        let suffix = need.key.suffix();
        if need.required && k.meta.get(&k.name(suffix)).is_none() {
            return Err(Error::invalid(format!("key {} is missing", k.name(suffix))));
        }
        match need.key {
            // Read already: here they are only asked for.
            Key::RmsEps | Key::NormEps | Key::LogitScale | Key::ParallelResidual => {}
            Key::ExpertFf | Key::ExpertShared | Key::DenseLead | Key::MoeStep | Key::ClampKqv => {}
            Key::Sections => self.read_sections(k, suffix)?,
            Key::RelBuckets => {
                self.n_rel_buckets = k.or_u32(suffix, 0)?;
                // Each side has near buckets and far ones.
                if self.n_rel_buckets < 4 {
                    return Err(Error::invalid(format!("key {} is {}, at least 4 are needed", k.name(suffix), self.n_rel_buckets)));
                }
            }
            Key::MoeEvery => self.n_moe_every = k.or_u32(suffix, 0)?,
            Key::RopeAlpha => self.scale_base(k.f32(suffix, 0.0)?),
            Key::YarnLogMul { both } => {
                self.rope.yarn_log_mul /= 0.1;
                self.rope.yarn_mul_both = both;
            }
            Key::QLora => self.q_rank = k.or_u32(suffix, 0)?,
            Key::KvLora => self.kv_rank = k.or_u32(suffix, 0)?,
            Key::SwigluCut => {
                self.cut_exp = k.floats(&k.name(suffix), self.n_layer, 0.0)?;
                self.cut_shexp = k.floats(&k.name("swiglu_clamp_shexp"), self.n_layer, 0.0)?;
            }
            Key::Xielu => self.read_xielu(k)?,
            Key::Loops => self.repeat(k.or_u32(suffix, 1)?)?,
            Key::Hrm => self.read_hrm(k)?,
            Key::Hyper => {
                self.n_hyper = k.or_u32(suffix, 0)?;
                self.hyper_eps = k.f32("hyper_connection.epsilon", 0.0)?;
                self.hyper_magnitude = k.f32("hyper_connection.magnitude", 0.0)?;
            }
            Key::LatentSwa => {
                self.kv_rank_swa = k.or_u32(suffix, 0)?;
                self.head_k_mla_swa = k.need_u32("attention.key_length_mla_swa")?;
                self.head_v_mla_swa = k.need_u32("attention.value_length_mla_swa")?;
            }
            Key::SharedKv => self.n_layer_kv = self.n_layer.saturating_sub(k.or_u32(suffix, 0)?),
            Key::BetaFast(or) => self.rope.yarn_beta_fast = k.f32(suffix, or)?,
            Key::QkEps(eps) => self.norm_eps = eps,
            Key::FixedWindow(n) => self.n_swa = if k.or_u32(suffix, 0)? > 0 { n } else { 0 },
            Key::RopeBaseSwaOnly => self.rope.freq_base_swa = k.f32(suffix, self.rope.freq_base)?,
            Key::KvLayers(n) => self.n_layer_kv = n.min(self.n_layer),
            Key::PerLayerWidth(or) => self.n_embd_per_layer = k.or_u32(suffix, or)?,
            Key::ExpertGroups => self.experts_per_group = k.or_u32(suffix, 0)?,
            Key::Index => {
                let or = |what: &str| k.or_u32(&format!("attention.indexer.{what}"), 0);
                (self.index.n_head, self.index.head_size, self.index.top_k) = (or("head_count")?, or("key_length")?, k.or_u32(suffix, 0)?);
            }
            Key::IndexTypes => {
                let full = |il: u32| u32::from(self.n_ctx_train < 1 << 20 || il < 2 || il % 4 == 2);
                let or: Vec<u32> = (0..self.n_layer).map(full).collect();
                self.index.full = k.per_layer(suffix, self.n_layer, &or)?.iter().map(|v| *v != 0).collect();
            }
            Key::IndexBlocks => {
                self.index.block = k.or_u32(suffix, 0)?;
                self.index.local = k.or_u32("attention.indexer.local_blocks", 0)?;
                // Far above any context.
                if self.index.block == 0 || self.index.block > 1 << 24 {
                    return Err(Error::invalid(format!("key {} is {}", k.name(suffix), self.index.block)));
                }
            }
            Key::AttnSoftcap(or) => self.attn_softcap = k.f32(suffix, or)?,
            Key::FinalSoftcap(or) => self.final_softcap = k.f32(suffix, or)?,
            Key::SlidingWindow(or) => self.n_swa = k.or_u32(suffix, or)?,
            Key::ChunkedWindow(n) => self.n_swa = if k.u32(suffix)? == Some(0) { 0 } else { n },
            Key::RopeBaseSwa(Some(or)) => self.rope.freq_base_swa = k.f32(suffix, or)?,
            Key::RopeBaseSwa(None) => {
                self.rope.freq_base_swa = k.f32(suffix, self.rope.freq_base)?;
                self.rope.freq_scale_swa = self.rope.freq_scale;
            }
            Key::SwaPattern(every) => self.read_pattern(k, suffix, every, false)?,
            Key::SwaPatternDenseFirst(every) => self.read_pattern(k, suffix, every, true)?,
        }
        Ok(())
    }

    /// An array says which layers slide; a number (or the default) n says that every n-th does not: the last of each n, or the first.
    fn read_pattern(&mut self, k: &Keys<'_>, suffix: &str, every: u32, dense_first: bool) -> Result<()> {
        if self.n_swa == 0 {
            return Ok(());
        }
        if let Some(crate::gguf::Value::Array(_)) = k.meta.get(&k.name(suffix)) {
            self.is_swa = k.per_layer(suffix, self.n_layer, &[])?.iter().map(|v| *v != 0).collect();
            return Ok(());
        }
        let n = k.or_u32(suffix, every)?;
        let dense = |il: u32| il % n == if dense_first { 0 } else { n - 1 };
        self.is_swa = (0..self.n_layer).map(|il| n == 0 || !dense(il)).collect();
        Ok(())
    }

    fn rows_by_layer(&self, role: Role, encoder: Option<i32>, rows_of: &dyn Fn(&str) -> Option<u64>) -> Vec<u64> {
        // An empty tensor is there, and of the wrong shape.
        let rows = |name: String| rows_of(&name).map_or(0, |n| n.max(1));
        if role.is_of_model() {
            return vec![rows(role.weight().full(-1))];
        }
        (0..self.n_layer as i32).map(|il| rows(role.weight().in_file(il, encoder))).collect()
    }

    /// Its keys are the same for all architectures.
    fn read_xielu(&mut self, k: &Keys<'_>) -> Result<()> {
        let of = |what: &str| k.floats(&format!("xielu.{what}"), self.n_layer, 0.0);
        let (n, p, beta, eps) = (of("alpha_n")?, of("alpha_p")?, of("beta")?, of("eps")?);
        // What is trained is made positive.
        let positive = |x: f32| if x > 20.0 { x } else { x.exp().ln_1p() };
        let one = |i: usize| Xielu { alpha_n: beta[i] + positive(n[i]), alpha_p: positive(p[i]), beta: beta[i], eps: eps[i] };
        self.xielu = (0..n.len()).map(one).collect();
        Ok(())
    }

    /// All layers, so often one after the other.
    fn repeat(&mut self, times: u32) -> Result<()> {
        let n = self.n_layer.saturating_mul(times);
        if times == 0 || n > MAX_LAYERS {
            return Err(Error::invalid(format!("{} layers {times} times, allowed are up to {MAX_LAYERS}", self.n_layer)));
        }
        let times = times as usize;
        [&mut self.n_head, &mut self.n_head_kv, &mut self.n_ff].into_iter().for_each(|v| *v = v.repeat(times));
        [&mut self.rotates, &mut self.is_swa].into_iter().for_each(|v| *v = v.repeat(times));
        (self.n_layer, self.n_layer_kv) = (n, n);
        Ok(())
    }

    fn read_hrm(&mut self, k: &Keys<'_>) -> Result<()> {
        let of = |what: &str| k.need_u32(&format!("hrm.{what}"));
        self.hrm = [of("layers_per_stack")?, of("h_cycles")?, of("l_cycles")?];
        let [each, slow, fast] = self.hrm.map(u64::from);
        let n = each.checked_mul(slow).and_then(|n| n.checked_mul(fast.saturating_add(1)));
        match n {
            Some(n) if n == u64::from(self.n_layer) && fast > 0 => Ok(()),
            _ => Err(Error::invalid(format!("{} layers for stacks of {each}, {slow} slow cycles of {fast} fast ones", self.n_layer))),
        }
    }

    fn read_sections(&mut self, k: &Keys<'_>, suffix: &str) -> Result<()> {
        let name = k.name(suffix);
        let Some(a) = k.meta.array(&name)? else { return Ok(()) };
        let all = a.to_i64().unwrap_or_default().iter().map(|v| u32::try_from(*v).ok()).collect::<Option<Vec<u32>>>();
        let Some(&[t, h, w, e]) = all.as_deref() else { return Err(Error::invalid(format!("key {name} needs four numbers"))) };
        self.rope.sections = [t, h, w, e];
        Ok(())
    }

    /// NTK-aware scaling: the base grows so that the slowest pair turns by alpha less.
    fn scale_base(&mut self, alpha: f32) {
        let dim = self.n_embd_head_k as f32;
        if alpha > 0.0 {
            self.rope.freq_base *= alpha.powf(dim / (dim - 2.0));
        }
    }

    /// The sections of M-RoPE, where rotation is by them.
    pub fn mrope(&self) -> Option<[u32; 4]> {
        let s = self.rope.sections;
        (s[0] > 0 && s[1] > 0).then_some(s)
    }

    /// Whether the first layer (or the model) has a tensor that the architecture looks for.
    pub fn has(&self, role: Role) -> bool {
        self.has_at(role, 0)
    }
    pub fn has_at(&self, role: Role, il: u32) -> bool {
        self.rows_at(role, il) > 0
    }
    /// Rows of such a tensor; 0: it is not there.
    pub fn rows_at(&self, role: Role, il: u32) -> u64 {
        let of = |p: &&(Role, Vec<u64>)| p.0 == role;
        self.present.iter().find(of).and_then(|p| p.1.get(il as usize)).copied().unwrap_or(0)
    }

    /// The file's gating, or `or` where it says nothing.
    pub fn gate(&self, or: Gate) -> Gate {
        match self.expert_gating_func {
            1 => Gate::Softmax,
            2 => Gate::Sigmoid,
            3 => Gate::SoftmaxWeight,
            _ => or,
        }
    }

    /// Layers with experts where every n-th has them.
    pub fn is_moe_step(&self, il: u32) -> bool {
        self.n_moe_layer_step > 0 && (il + 1).is_multiple_of(self.n_moe_layer_step)
    }
}

impl RopeTrain {
    fn read(k: &Keys<'_>) -> Result<RopeTrain> {
        let name = k.name("rope.scaling.type");
        let scaling = match k.meta.str(&name)?.unwrap_or("linear") {
            "none" => RopeScaling::None,
            "linear" => RopeScaling::Linear,
            "yarn" => RopeScaling::Yarn,
            "longrope" => RopeScaling::LongRope,
            other => return Err(Error::invalid(format!("key {name}: unknown scaling {other:?}"))),
        };
        // The factor's old name is rope.scale_linear.
        let factor = k.f32("rope.scaling.factor", k.f32("rope.scale_linear", 0.0)?)?;
        Ok(RopeTrain {
            scaling,
            freq_base: k.f32("rope.freq_base", 10_000.0)?,
            freq_scale: if factor == 0.0 { 1.0 } else { 1.0 / factor },
            freq_base_swa: 10_000.0,
            freq_scale_swa: 1.0,
            n_ctx_orig: k.u32("rope.scaling.original_context_length")?.unwrap_or(k.need_u32("context_length")?),
            attn_factor: k.f32("rope.scaling.attn_factor", 1.0)?,
            // -1: not set, so the scaling type decides.
            yarn_ext_factor: k.f32("rope.scaling.yarn_ext_factor", -1.0)?,
            yarn_attn_factor: k.f32("rope.scaling.yarn_attn_factor", 1.0)?,
            yarn_beta_fast: k.f32("rope.scaling.yarn_beta_fast", 32.0)?,
            yarn_beta_slow: k.f32("rope.scaling.yarn_beta_slow", 1.0)?,
            yarn_log_mul: k.f32("rope.scaling.yarn_log_multiplier", 0.0)?,
            yarn_mul_both: false,
            sections: [0; 4],
            temperature_scale: k.f32("attention.temperature_scale", 0.0)?,
            temperature_length: k.or_u32("attention.temperature_length", 0)?,
            finetuned: k.bool("rope.scaling.finetuned", true)?,
        })
    }
}
