//! The C types of llama.h: layouts as C compilers made them, enums in both directions. Knows nothing of what the values mean.
//!
//! An enum that C passes in, or that is made of bits, is any int, so it is an alias `.._int` of `c_int` here and the real enum in the header (`cbindgen.toml` renames it);
//! an enum that we return is a Rust enum. Handles are opaque: C holds a pointer to a struct whose contents are ours. Where the header's
//! parameter has no `const`, the alias `..Ptr` stands for it: still a shared reference, because a callback may come back with the same handle
//! while a call is running; what changes is behind a lock inside.
#![allow(non_camel_case_types, reason = "the names of llama.h")]
use super::handles::{ContextHandle, ModelHandle, SharedContext};
use crate::session::batch_ext::BatchExt;
use crate::vocab::Vocab;
use std::ffi::{c_char, c_int, c_void};
use std::sync::{Arc, Mutex};

// ---- handles

/// A tokenizer; belongs to its model.
pub struct llama_vocab(pub(super) Arc<Vocab>);
/// A loaded model.
pub struct llama_model(pub(super) ModelHandle);
/// One conversation's worth of state: batches in, logits out.
pub struct llama_context(pub(super) ContextHandle);
/// The KV store of a context.
pub struct llama_memory_i(pub(super) SharedContext);
/// A LoRA adapter; belongs to its model.
pub struct llama_adapter_lora {
    /// Nobody asks: what counts is the address.
    _number: u64,
}

impl llama_adapter_lora {
    pub(super) fn new(number: u64) -> Self {
        Self { _number: number }
    }
}
/// A batch that is filled token by token.
pub struct llama_batch_ext(pub(super) Mutex<BatchExt>);

/// cbindgen:ignore
pub type ModelPtr<'a> = Option<&'a llama_model>;
/// cbindgen:ignore
pub type ContextPtr<'a> = Option<&'a llama_context>;
/// cbindgen:ignore
pub type MemoryPtr<'a> = Option<&'a llama_memory_i>;
/// cbindgen:ignore
pub type BatchExtPtr<'a> = Option<&'a llama_batch_ext>;

/// The KV store of a context, as callers hold it.
pub type llama_memory_t = *mut llama_memory_i;
/// A position in a sequence.
pub type llama_pos = i32;
/// An index into the vocabulary.
pub type llama_token = i32;
/// A sequence, `0..n_seq_max`.
pub type llama_seq_id = i32;
/// What a custom sampler keeps.
pub type llama_sampler_context_t = *mut c_void;
/// `LLAMA_STATE_SEQ_FLAGS_*`.
pub type llama_state_seq_flags = u32;

/// cbindgen:ignore
pub const LLAMA_TOKEN_NULL: llama_token = -1;

// ---- types of the ggml headers, spelled there

/// cbindgen:ignore
pub type ggml_type_int = c_int;
/// cbindgen:ignore
pub type ggml_numa_strategy_int = c_int;
/// cbindgen:ignore
pub type ggml_opt_optimizer_type_int = c_int;
/// cbindgen:ignore
pub type ggml_log_level_int = c_int;
/// A tensor as ggml.h lays it out; made for programs to look at (`cb_eval`) or to fill (`llama_model_init_from_user`).
///
/// cbindgen:ignore
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ggml_tensor {
    pub r#type: ggml_type_int,
    pub buffer: *mut c_void,
    pub ne: [i64; 4],
    /// Strides in bytes.
    pub nb: [usize; 4],
    pub op: c_int,
    pub op_params: [i32; 16],
    pub flags: i32,
    pub src: [*mut ggml_tensor; 10],
    pub view_src: *mut ggml_tensor,
    pub view_offs: usize,
    pub data: *mut c_void,
    pub name: [c_char; 64],
    pub extra: *mut c_void,
    pub padding: [c_char; 8],
}
/// cbindgen:ignore
pub struct ggml_context {
    _private: (),
}
/// cbindgen:ignore
pub struct ggml_cgraph {
    _private: (),
}
/// cbindgen:ignore
pub struct gguf_context {
    _private: (),
}
/// cbindgen:ignore
pub type ggml_threadpool_t = *mut c_void;
/// cbindgen:ignore
pub type ggml_backend_dev_t = *mut c_void;
/// cbindgen:ignore
pub type ggml_backend_buffer_type_t = *mut c_void;
/// cbindgen:ignore
pub type ggml_opt_dataset_t = *mut c_void;
/// cbindgen:ignore
pub type ggml_opt_result_t = *mut c_void;
/// cbindgen:ignore
pub type ggml_opt_context_t = *mut c_void;
/// cbindgen:ignore
pub type ggml_log_callback = Option<unsafe extern "C" fn(level: ggml_log_level_int, text: *const c_char, user_data: *mut c_void)>;
/// cbindgen:ignore
pub type ggml_abort_callback = Option<unsafe extern "C" fn(data: *mut c_void) -> bool>;
/// cbindgen:ignore
pub type ggml_backend_sched_eval_callback = Option<unsafe extern "C" fn(t: *mut ggml_tensor, ask: bool, user_data: *mut c_void) -> bool>;
/// cbindgen:ignore
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ggml_opt_optimizer_params {
    pub adamw: [f32; 5],
    pub sgd: [f32; 2],
}
/// cbindgen:ignore
pub type ggml_opt_get_optimizer_params = Option<unsafe extern "C" fn(userdata: *mut c_void) -> ggml_opt_optimizer_params>;
/// cbindgen:ignore
pub type ggml_opt_epoch_callback = Option<
    unsafe extern "C" fn(
        train: bool,
        opt_ctx: ggml_opt_context_t,
        dataset: ggml_opt_dataset_t,
        result: ggml_opt_result_t,
        ibatch: i64,
        ibatch_max: i64,
        t_start_us: i64,
    ),
>;

// ---- enums

/// The kind of tokenizer.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum llama_vocab_type {
    /// a model without vocabulary
    LLAMA_VOCAB_TYPE_NONE = 0,
    /// SentencePiece: merges by score, bytes as fallback
    LLAMA_VOCAB_TYPE_SPM = 1,
    /// byte-level BPE, merges by rank
    LLAMA_VOCAB_TYPE_BPE = 2,
    /// WordPiece (BERT)
    LLAMA_VOCAB_TYPE_WPM = 3,
    /// Unigram (T5)
    LLAMA_VOCAB_TYPE_UGM = 4,
    /// greedy longest match (RWKV)
    LLAMA_VOCAB_TYPE_RWKV = 5,
    /// PLaMo-2: Aho-Corasick and dynamic programming
    LLAMA_VOCAB_TYPE_PLAMO2 = 6,
    /// for tests: hashes of fixed-size chunks
    LLAMA_VOCAB_TYPE_TEST = 7,
}

/// How positions turn the query and key vectors.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum llama_rope_type {
    LLAMA_ROPE_TYPE_NONE = -1,
    LLAMA_ROPE_TYPE_NORM = 0,
    LLAMA_ROPE_TYPE_NEOX = 2,
    LLAMA_ROPE_TYPE_MROPE = 8,
    LLAMA_ROPE_TYPE_IMROPE = 40,
    LLAMA_ROPE_TYPE_VISION = 24,
}

/// `tokenizer.ggml.token_type` of a model file.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum llama_token_type {
    LLAMA_TOKEN_TYPE_UNDEFINED = 0,
    LLAMA_TOKEN_TYPE_NORMAL = 1,
    LLAMA_TOKEN_TYPE_UNKNOWN = 2,
    LLAMA_TOKEN_TYPE_CONTROL = 3,
    LLAMA_TOKEN_TYPE_USER_DEFINED = 4,
    LLAMA_TOKEN_TYPE_UNUSED = 5,
    LLAMA_TOKEN_TYPE_BYTE = 6,
}

/// Bits that describe a token.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum llama_token_attr {
    LLAMA_TOKEN_ATTR_UNDEFINED = 0,
    LLAMA_TOKEN_ATTR_UNKNOWN = 1,
    LLAMA_TOKEN_ATTR_UNUSED = 2,
    LLAMA_TOKEN_ATTR_NORMAL = 4,
    LLAMA_TOKEN_ATTR_CONTROL = 8,
    LLAMA_TOKEN_ATTR_USER_DEFINED = 16,
    LLAMA_TOKEN_ATTR_BYTE = 32,
    LLAMA_TOKEN_ATTR_NORMALIZED = 64,
    LLAMA_TOKEN_ATTR_LSTRIP = 128,
    LLAMA_TOKEN_ATTR_RSTRIP = 256,
    LLAMA_TOKEN_ATTR_SINGLE_WORD = 512,
}

/// The mix of tensor types of a model file (`general.file_type`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum llama_ftype {
    LLAMA_FTYPE_ALL_F32 = 0,
    LLAMA_FTYPE_MOSTLY_F16 = 1,
    LLAMA_FTYPE_MOSTLY_Q4_0 = 2,
    LLAMA_FTYPE_MOSTLY_Q4_1 = 3,
    LLAMA_FTYPE_MOSTLY_Q8_0 = 7,
    LLAMA_FTYPE_MOSTLY_Q5_0 = 8,
    LLAMA_FTYPE_MOSTLY_Q5_1 = 9,
    LLAMA_FTYPE_MOSTLY_Q2_K = 10,
    LLAMA_FTYPE_MOSTLY_Q3_K_S = 11,
    LLAMA_FTYPE_MOSTLY_Q3_K_M = 12,
    LLAMA_FTYPE_MOSTLY_Q3_K_L = 13,
    LLAMA_FTYPE_MOSTLY_Q4_K_S = 14,
    LLAMA_FTYPE_MOSTLY_Q4_K_M = 15,
    LLAMA_FTYPE_MOSTLY_Q5_K_S = 16,
    LLAMA_FTYPE_MOSTLY_Q5_K_M = 17,
    LLAMA_FTYPE_MOSTLY_Q6_K = 18,
    LLAMA_FTYPE_MOSTLY_IQ2_XXS = 19,
    LLAMA_FTYPE_MOSTLY_IQ2_XS = 20,
    LLAMA_FTYPE_MOSTLY_Q2_K_S = 21,
    LLAMA_FTYPE_MOSTLY_IQ3_XS = 22,
    LLAMA_FTYPE_MOSTLY_IQ3_XXS = 23,
    LLAMA_FTYPE_MOSTLY_IQ1_S = 24,
    LLAMA_FTYPE_MOSTLY_IQ4_NL = 25,
    LLAMA_FTYPE_MOSTLY_IQ3_S = 26,
    LLAMA_FTYPE_MOSTLY_IQ3_M = 27,
    LLAMA_FTYPE_MOSTLY_IQ2_S = 28,
    LLAMA_FTYPE_MOSTLY_IQ2_M = 29,
    LLAMA_FTYPE_MOSTLY_IQ4_XS = 30,
    LLAMA_FTYPE_MOSTLY_IQ1_M = 31,
    LLAMA_FTYPE_MOSTLY_BF16 = 32,
    LLAMA_FTYPE_MOSTLY_TQ1_0 = 36,
    LLAMA_FTYPE_MOSTLY_TQ2_0 = 37,
    LLAMA_FTYPE_MOSTLY_MXFP4_MOE = 38,
    LLAMA_FTYPE_MOSTLY_NVFP4 = 39,
    LLAMA_FTYPE_MOSTLY_Q1_0 = 40,
    LLAMA_FTYPE_MOSTLY_Q2_0 = 41,
    /// a flag: the file does not say, this is what most of its tensors are
    LLAMA_FTYPE_GUESSED = 1024,
}

/// How RoPE is stretched beyond the training context.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum llama_rope_scaling_type {
    /// as the model file says
    LLAMA_ROPE_SCALING_TYPE_UNSPECIFIED = -1,
    LLAMA_ROPE_SCALING_TYPE_NONE = 0,
    LLAMA_ROPE_SCALING_TYPE_LINEAR = 1,
    LLAMA_ROPE_SCALING_TYPE_YARN = 2,
    LLAMA_ROPE_SCALING_TYPE_LONGROPE = 3,
}

/// How a sequence's token embeddings become one.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum llama_pooling_type {
    /// as the model file says
    LLAMA_POOLING_TYPE_UNSPECIFIED = -1,
    LLAMA_POOLING_TYPE_NONE = 0,
    LLAMA_POOLING_TYPE_MEAN = 1,
    LLAMA_POOLING_TYPE_CLS = 2,
    LLAMA_POOLING_TYPE_LAST = 3,
    /// the classification head of a reranker
    LLAMA_POOLING_TYPE_RANK = 4,
}

/// What attention may see.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum llama_attention_type {
    LLAMA_ATTENTION_TYPE_UNSPECIFIED = -1,
    LLAMA_ATTENTION_TYPE_CAUSAL = 0,
    LLAMA_ATTENTION_TYPE_NON_CAUSAL = 1,
}

/// Whether attention runs fused. Ours always does; the value is checked and kept.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum llama_flash_attn_type {
    LLAMA_FLASH_ATTN_TYPE_AUTO = -1,
    LLAMA_FLASH_ATTN_TYPE_DISABLED = 0,
    LLAMA_FLASH_ATTN_TYPE_ENABLED = 1,
}

/// How a model is divided over several devices.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum llama_split_mode {
    /// one device
    LLAMA_SPLIT_MODE_NONE = 0,
    /// whole layers, with their KV
    LLAMA_SPLIT_MODE_LAYER = 1,
    /// rows of matrices
    LLAMA_SPLIT_MODE_ROW = 2,
    /// every tensor over all devices
    LLAMA_SPLIT_MODE_TENSOR = 3,
}

/// How weights get from the file into memory.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum llama_load_mode {
    /// mmap where the devices allow it
    LLAMA_LOAD_MODE_AUTO = -1,
    /// read into allocated memory
    LLAMA_LOAD_MODE_NONE = 0,
    /// map the file
    LLAMA_LOAD_MODE_MMAP = 1,
    /// read, and lock the memory
    LLAMA_LOAD_MODE_MLOCK = 2,
    /// map, and lock the memory
    LLAMA_LOAD_MODE_MMAP_MLOCK = 3,
    /// read past the page cache
    LLAMA_LOAD_MODE_DIRECT_IO = 4,
}

/// Whether rows of large tables are read only when they are needed.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum llama_lazy_mode {
    LLAMA_LAZY_MODE_OFF = 0,
    /// only tables above 4 GiB, with mmap
    LLAMA_LAZY_MODE_AUTO = 1,
    LLAMA_LAZY_MODE_ON = 2,
}

/// What a context computes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum llama_context_type {
    LLAMA_CONTEXT_TYPE_DEFAULT = 0,
    /// multi-token prediction: the layers after the last one
    LLAMA_CONTEXT_TYPE_MTP = 1,
}

/// Which member of a `llama_model_kv_override` counts.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum llama_model_kv_override_type {
    LLAMA_KV_OVERRIDE_TYPE_INT = 0,
    LLAMA_KV_OVERRIDE_TYPE_FLOAT = 1,
    LLAMA_KV_OVERRIDE_TYPE_BOOL = 2,
    LLAMA_KV_OVERRIDE_TYPE_STR = 3,
}

/// Sampling settings that a model file may recommend.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum llama_model_meta_key {
    LLAMA_MODEL_META_KEY_SAMPLING_SEQUENCE = 0,
    LLAMA_MODEL_META_KEY_SAMPLING_TOP_K = 1,
    LLAMA_MODEL_META_KEY_SAMPLING_TOP_P = 2,
    LLAMA_MODEL_META_KEY_SAMPLING_MIN_P = 3,
    LLAMA_MODEL_META_KEY_SAMPLING_XTC_PROBABILITY = 4,
    LLAMA_MODEL_META_KEY_SAMPLING_XTC_THRESHOLD = 5,
    LLAMA_MODEL_META_KEY_SAMPLING_TEMP = 6,
    LLAMA_MODEL_META_KEY_SAMPLING_PENALTY_LAST_N = 7,
    LLAMA_MODEL_META_KEY_SAMPLING_PENALTY_REPEAT = 8,
    LLAMA_MODEL_META_KEY_SAMPLING_MIROSTAT = 9,
    LLAMA_MODEL_META_KEY_SAMPLING_MIROSTAT_TAU = 10,
    LLAMA_MODEL_META_KEY_SAMPLING_MIROSTAT_ETA = 11,
}

/// Which half of an encoder-decoder `llama_process` runs.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum llama_process_type {
    LLAMA_PROCESS_TYPE_ENCODE = 0,
    LLAMA_PROCESS_TYPE_DECODE = 1,
}

/// cbindgen:ignore
pub type llama_token_attr_int = c_int;
/// cbindgen:ignore
pub type llama_ftype_int = c_int;
/// cbindgen:ignore
pub type llama_rope_scaling_type_int = c_int;
/// cbindgen:ignore
pub type llama_pooling_type_int = c_int;
/// cbindgen:ignore
pub type llama_attention_type_int = c_int;
/// cbindgen:ignore
pub type llama_flash_attn_type_int = c_int;
/// cbindgen:ignore
pub type llama_split_mode_int = c_int;
/// cbindgen:ignore
pub type llama_load_mode_int = c_int;
/// cbindgen:ignore
pub type llama_lazy_mode_int = c_int;
/// cbindgen:ignore
pub type llama_context_type_int = c_int;
/// cbindgen:ignore
pub type llama_model_kv_override_type_int = c_int;
/// cbindgen:ignore
pub type llama_model_meta_key_int = c_int;
/// cbindgen:ignore
pub type llama_process_type_int = c_int;

// ---- structs

/// A candidate of a sampler.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct llama_token_data {
    pub id: llama_token,
    pub logit: f32,
    /// probability, once a sampler has computed it
    pub p: f32,
}

/// What samplers work on.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct llama_token_data_array {
    /// samplers may point this elsewhere
    pub data: *mut llama_token_data,
    pub size: usize,
    /// an index into `data`, not a token; -1 while nothing is selected
    pub selected: i64,
    /// by logit, descending
    pub sorted: bool,
}

/// Load progress, 0..=1; `false` cancels.
pub type llama_progress_callback = Option<unsafe extern "C" fn(progress: f32, user_data: *mut c_void) -> bool>;

/// Input of `llama_encode` and `llama_decode`; every array has `n_tokens` elements.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct llama_batch {
    pub n_tokens: i32,
    /// token ids, or NULL where `embd` is used
    pub token: *mut llama_token,
    /// n_tokens rows of n_embd floats, or NULL where `token` is used
    pub embd: *mut f32,
    /// positions; NULL: each sequence goes on where it ended
    pub pos: *mut llama_pos,
    /// how many sequences each token belongs to
    pub n_seq_id: *mut i32,
    /// these sequences; NULL: sequence 0
    pub seq_id: *mut *mut llama_seq_id,
    /// non-zero: this token's output is wanted; NULL: the last token's, or all of them where embeddings are on
    pub logits: *mut i8,
}

/// The value of a `llama_model_kv_override`.
#[repr(C)]
#[derive(Clone, Copy)]
pub union llama_model_kv_override_value {
    pub val_i64: i64,
    pub val_f64: f64,
    pub val_bool: bool,
    pub val_str: [c_char; 128],
}

/// Replaces one metadata value of a model file; a list ends with an empty `key`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama_model_kv_override {
    pub tag: llama_model_kv_override_type_int,
    pub key: [c_char; 128],
    pub u: llama_model_kv_override_value,
}

/// Where tensors whose name matches `pattern` are kept; a list ends with a NULL pattern.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct llama_model_tensor_buft_override {
    pub pattern: *const c_char,
    pub buft: ggml_backend_buffer_type_t,
}

/// How to load a model.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct llama_model_params {
    /// devices to use, ending with NULL; NULL: all of them
    pub devices: *mut ggml_backend_dev_t,
    pub tensor_buft_overrides: *const llama_model_tensor_buft_override,
    /// layers kept on devices; negative: all
    pub n_gpu_layers: i32,
    pub split_mode: llama_split_mode_int,
    pub load_mode: llama_load_mode_int,
    pub lazy_mode: llama_lazy_mode_int,
    /// the device where `split_mode` is none
    pub main_gpu: i32,
    /// share of each device, `llama_max_devices()` values; NULL: by free memory
    pub tensor_split: *const f32,
    pub progress_callback: llama_progress_callback,
    pub progress_callback_user_data: *mut c_void,
    /// ends with an empty key
    pub kv_overrides: *const llama_model_kv_override,
    /// no weights
    pub vocab_only: bool,
    /// look for invalid values in every tensor
    pub check_tensors: bool,
    /// allow repacked weights
    pub use_extra_bufts: bool,
    pub no_host: bool,
    /// metadata only, memory is simulated
    pub no_alloc: bool,
    /// with the layers for multi-token prediction
    pub load_mtp: bool,
}

/// A sampler chain that runs where the model runs, for one sequence.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct llama_sampler_seq_config {
    pub seq_id: llama_seq_id,
    pub sampler: *mut llama_sampler,
}

/// How to make a context.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct llama_context_params {
    /// cells of the KV store; 0: the training context
    pub n_ctx: u32,
    /// most tokens in one `llama_decode`
    pub n_batch: u32,
    /// most tokens computed at once
    pub n_ubatch: u32,
    pub n_seq_max: u32,
    /// snapshots of recurrent state per sequence
    pub n_rs_seq: u32,
    /// most outputs of a ubatch; 0: n_batch
    pub n_outputs_max: u32,
    /// most outputs of a sequence; 0: n_outputs_max
    pub n_outputs_max_per_seq: u32,
    /// threads for single tokens
    pub n_threads: i32,
    /// threads for prompts
    pub n_threads_batch: i32,
    pub ctx_type: llama_context_type_int,
    pub rope_scaling_type: llama_rope_scaling_type_int,
    pub pooling_type: llama_pooling_type_int,
    pub attention_type: llama_attention_type_int,
    pub flash_attn_type: llama_flash_attn_type_int,
    /// 0: from the model
    pub rope_freq_base: f32,
    /// 0: from the model
    pub rope_freq_scale: f32,
    /// negative: from the model; likewise the next three
    pub yarn_ext_factor: f32,
    pub yarn_attn_factor: f32,
    pub yarn_beta_fast: f32,
    pub yarn_beta_slow: f32,
    /// 0: from the model
    pub yarn_orig_ctx: u32,
    /// no longer used
    pub defrag_thold: f32,
    pub cb_eval: ggml_backend_sched_eval_callback,
    pub cb_eval_user_data: *mut c_void,
    /// type of the stored keys
    pub type_k: ggml_type_int,
    /// type of the stored values
    pub type_v: ggml_type_int,
    /// `true` stops a running `llama_decode`
    pub abort_callback: ggml_abort_callback,
    pub abort_callback_data: *mut c_void,
    /// keep embeddings too
    pub embeddings: bool,
    pub offload_kqv: bool,
    /// no timings
    pub no_perf: bool,
    pub op_offload: bool,
    /// windowed layers keep every position
    pub swa_full: bool,
    /// one store for all sequences
    pub kv_unified: bool,
    /// the caller keeps these chains alive
    pub samplers: *mut llama_sampler_seq_config,
    pub n_samplers: usize,
    /// a context to share with
    pub ctx_other: *mut llama_context,
}

/// The type of tensors whose name matches `pattern`; a list ends with a NULL pattern.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct llama_model_tensor_override {
    pub pattern: *const c_char,
    pub r#type: ggml_type_int,
}

/// The importance of one tensor's columns; a list ends with a NULL name.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct llama_model_imatrix_data {
    pub name: *const c_char,
    pub data: *const f32,
    pub size: usize,
}

/// How to quantise a model file.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct llama_model_quantize_params {
    /// 0 or less: as many as there are
    pub nthread: i32,
    pub ftype: llama_ftype_int,
    /// GGML_TYPE_COUNT: as `ftype` says; likewise the next
    pub output_tensor_type: ggml_type_int,
    pub token_embedding_type: ggml_type_int,
    pub allow_requantize: bool,
    pub quantize_output_tensor: bool,
    pub only_copy: bool,
    pub pure: bool,
    pub keep_split: bool,
    pub dry_run: bool,
    pub imatrix: *const llama_model_imatrix_data,
    pub kv_overrides: *const llama_model_kv_override,
    pub tt_overrides: *const llama_model_tensor_override,
    /// layers to leave out, ending with -1
    pub prune_layers: *const i32,
    /// most bytes of tensor rows in memory at once; 0: 8 GiB
    pub max_buf_size: usize,
}

/// Added to one token's logit.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct llama_logit_bias {
    pub token: llama_token,
    pub bias: f32,
}

/// How to make a sampler chain.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct llama_sampler_chain_params {
    /// no timings
    pub no_perf: bool,
}

/// One message of a chat.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct llama_chat_message {
    pub role: *const c_char,
    pub content: *const c_char,
}

/// Embedding rows for `llama_batch_ext_*`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct llama_embd {
    pub data: *const f32,
    pub n_rows: usize,
    /// floats in a row
    pub n_embd: usize,
}

/// Tensors between the samplers of a chain that runs where the model runs.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct llama_sampler_data {
    pub logits: *mut ggml_tensor,
    pub probs: *mut ggml_tensor,
    pub sampled: *mut ggml_tensor,
    pub candidates: *mut ggml_tensor,
}

/// What a sampler can do. Callers may bring their own: see `llama_sampler_init`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct llama_sampler_i {
    /// may be NULL
    pub name: Option<unsafe extern "C" fn(smpl: *const llama_sampler) -> *const c_char>,
    /// may be NULL
    pub accept: Option<unsafe extern "C" fn(smpl: *mut llama_sampler, token: llama_token)>,
    /// required
    pub apply: Option<unsafe extern "C" fn(smpl: *mut llama_sampler, cur_p: *mut llama_token_data_array)>,
    /// may be NULL
    pub reset: Option<unsafe extern "C" fn(smpl: *mut llama_sampler)>,
    /// may be NULL where `ctx` is NULL
    pub clone: Option<unsafe extern "C" fn(smpl: *const llama_sampler) -> *mut llama_sampler>,
    /// may be NULL where `ctx` is NULL
    pub free: Option<unsafe extern "C" fn(smpl: *mut llama_sampler)>,
    /// the rest is for chains that run where the model runs; all may be NULL
    pub backend_init:
        Option<unsafe extern "C" fn(smpl: *mut llama_sampler, buft: ggml_backend_buffer_type_t, n_outputs_max_per_seq: u32) -> bool>,
    pub backend_accept: Option<
        unsafe extern "C" fn(smpl: *mut llama_sampler, ctx: *mut ggml_context, gf: *mut ggml_cgraph, selected_token: *mut ggml_tensor),
    >,
    pub backend_apply:
        Option<unsafe extern "C" fn(smpl: *mut llama_sampler, ctx: *mut ggml_context, gf: *mut ggml_cgraph, data: *mut llama_sampler_data)>,
    pub backend_set_input: Option<unsafe extern "C" fn(smpl: *mut llama_sampler)>,
    pub backend_reset: Option<unsafe extern "C" fn(smpl: *mut llama_sampler)>,
    /// takes over another's state; same type and settings
    pub copy_state: Option<unsafe extern "C" fn(src: *const llama_sampler, dst: *mut llama_sampler)>,
}

/// A sampler: what it can do, and its state.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct llama_sampler {
    pub iface: *mut llama_sampler_i,
    pub ctx: llama_sampler_context_t,
}

/// Times of a context, in ms.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct llama_perf_context_data {
    /// when it began
    pub t_start_ms: f64,
    /// loading the model
    pub t_load_ms: f64,
    /// prompts
    pub t_p_eval_ms: f64,
    /// single tokens
    pub t_eval_ms: f64,
    /// tokens of prompts
    pub n_p_eval: i32,
    /// single tokens
    pub n_eval: i32,
    /// how often a plan was used again
    pub n_reused: i32,
}

/// Times of a sampler chain.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct llama_perf_sampler_data {
    pub t_sample_ms: f64,
    pub n_sample: i32,
}

/// Whether a tensor is trained.
pub type llama_opt_param_filter = Option<unsafe extern "C" fn(tensor: *const ggml_tensor, userdata: *mut c_void) -> bool>;
/// Fills a tensor of a model made by `llama_model_init_from_user`.
pub type llama_model_set_tensor_data_t = Option<unsafe extern "C" fn(tensor: *mut ggml_tensor, userdata: *mut c_void)>;

/// How to train.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct llama_opt_params {
    /// context that training assumes; 0: the context's
    pub n_ctx_train: u32,
    pub param_filter: llama_opt_param_filter,
    pub param_filter_ud: *mut c_void,
    pub get_opt_pars: ggml_opt_get_optimizer_params,
    pub get_opt_pars_ud: *mut c_void,
    pub optimizer_type: ggml_opt_optimizer_type_int,
}
