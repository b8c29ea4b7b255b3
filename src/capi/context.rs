//! llama.h: A context: making one, its sizes and settings, decoding.
#![allow(unused_variables, reason = "stubs keep the names of llama.h")]
use super::stubs::stub;
use super::types::*;
use std::ffi::{c_int, c_void};

/// The parameters to start from.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_context_default_params() -> llama_context_params {
    llama_context_params {
        n_ctx: 512,
        n_batch: 2048,
        n_ubatch: 512,
        n_seq_max: 1,
        n_rs_seq: 0,
        n_outputs_max: 0,
        n_outputs_max_per_seq: 1,
        n_threads: 4,
        n_threads_batch: 4,
        ctx_type: llama_context_type::LLAMA_CONTEXT_TYPE_DEFAULT as c_int,
        rope_scaling_type: llama_rope_scaling_type::LLAMA_ROPE_SCALING_TYPE_UNSPECIFIED as c_int,
        pooling_type: llama_pooling_type::LLAMA_POOLING_TYPE_UNSPECIFIED as c_int,
        attention_type: llama_attention_type::LLAMA_ATTENTION_TYPE_UNSPECIFIED as c_int,
        flash_attn_type: llama_flash_attn_type::LLAMA_FLASH_ATTN_TYPE_AUTO as c_int,
        rope_freq_base: 0.0,
        rope_freq_scale: 0.0,
        yarn_ext_factor: -1.0,
        yarn_attn_factor: -1.0,
        yarn_beta_fast: -1.0,
        yarn_beta_slow: -1.0,
        yarn_orig_ctx: 0,
        defrag_thold: -1.0,
        cb_eval: None,
        cb_eval_user_data: std::ptr::null_mut(),
        type_k: F16,
        type_v: F16,
        abort_callback: None,
        abort_callback_data: std::ptr::null_mut(),
        embeddings: false,
        offload_kqv: true,
        no_perf: true,
        op_offload: true,
        swa_full: true,
        kv_unified: false,
        samplers: std::ptr::null_mut(),
        n_samplers: 0,
        ctx_other: std::ptr::null_mut(),
    }
}

/// Makes a context. NULL on failure, with one log line that says why.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_init_from_model(model: ModelPtr<'_>, params: llama_context_params) -> *mut llama_context {
    stub("llama_init_from_model", std::ptr::null_mut())
}

/// Old name of `llama_init_from_model`.
#[deprecated(note = "use llama_init_from_model instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_new_context_with_model(model: ModelPtr<'_>, params: llama_context_params) -> *mut llama_context {
    // SAFETY: the same promise.
    unsafe { llama_init_from_model(model, params) }
}

/// Frees a context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_free(ctx: *mut llama_context) {
    stub("llama_free", ())
}

/// Cells of the KV store, over all sequences.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_n_ctx(ctx: Option<&llama_context>) -> u32 {
    stub("llama_n_ctx", 0)
}

/// Cells that one sequence can use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_n_ctx_seq(ctx: Option<&llama_context>) -> u32 {
    stub("llama_n_ctx_seq", 0)
}

/// Most tokens in one `llama_decode`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_n_batch(ctx: Option<&llama_context>) -> u32 {
    stub("llama_n_batch", 0)
}

/// Most tokens computed at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_n_ubatch(ctx: Option<&llama_context>) -> u32 {
    stub("llama_n_ubatch", 0)
}

/// Most sequences.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_n_seq_max(ctx: Option<&llama_context>) -> u32 {
    stub("llama_n_seq_max", 0)
}

/// Snapshots of recurrent state per sequence.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_n_rs_seq(ctx: Option<&llama_context>) -> u32 {
    stub("llama_n_rs_seq", 0)
}

/// The context's model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_get_model(ctx: Option<&llama_context>) -> *const llama_model {
    stub("llama_get_model", std::ptr::null())
}

/// The context's KV store; lives as long as the context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_get_memory(ctx: Option<&llama_context>) -> llama_memory_t {
    stub("llama_get_memory", std::ptr::null_mut())
}

/// How embeddings of a sequence become one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_pooling_type(ctx: Option<&llama_context>) -> llama_pooling_type {
    stub("llama_pooling_type", llama_pooling_type::LLAMA_POOLING_TYPE_UNSPECIFIED)
}

/// Runs the encoder over a batch. 0 on success, negative on failure, and then the memory is as before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_encode(ctx: ContextPtr<'_>, batch: llama_batch) -> i32 {
    stub("llama_encode", -1)
}

/// Runs the decoder over a batch.
/// 0: done
/// 1: no room in the KV store; the memory is as before
/// 2: aborted; the ubatches that were finished stay
/// -1: a bad batch; the memory is as before
/// below -1: failed; the ubatches that were finished stay, `llama_memory_seq_pos_max` tells how far
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_decode(ctx: ContextPtr<'_>, batch: llama_batch) -> i32 {
    stub("llama_decode", -1)
}

/// Threads for single tokens and for prompts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_set_n_threads(ctx: ContextPtr<'_>, n_threads: i32, n_threads_batch: i32) {
    stub("llama_set_n_threads", ())
}

/// Threads for single tokens.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_n_threads(ctx: ContextPtr<'_>) -> i32 {
    stub("llama_n_threads", 0)
}

/// Threads for prompts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_n_threads_batch(ctx: ContextPtr<'_>) -> i32 {
    stub("llama_n_threads_batch", 0)
}

/// Whether embeddings are kept too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_set_embeddings(ctx: ContextPtr<'_>, embeddings: bool) {
    stub("llama_set_embeddings", ())
}

/// Whether a token sees only what comes before it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_set_causal_attn(ctx: ContextPtr<'_>, causal_attn: bool) {
    stub("llama_set_causal_attn", ())
}

/// Whether a token sees only what comes before it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_get_causal_attn(ctx: Option<&llama_context>) -> bool {
    stub("llama_get_causal_attn", false)
}

/// Uses every weight in the next decodes.
#[deprecated(note = "user code should do warmup runs manually [TAG_LLAMA_GRAPH_NO_WARMUP]")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_set_warmup(ctx: ContextPtr<'_>, warmup: bool) {
    stub("llama_set_warmup", ())
}

/// `true` from this callback stops a running `llama_decode`, which then returns 2.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_set_abort_callback(
    ctx: ContextPtr<'_>,
    abort_callback: ggml_abort_callback,
    abort_callback_data: *mut c_void,
) {
    stub("llama_set_abort_callback", ())
}

/// Waits until everything is computed. The getters of outputs do so by themselves.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_synchronize(ctx: ContextPtr<'_>) {
    stub("llama_synchronize", ())
}

const F16: ggml_type_int = 1; // GGML_TYPE_F16
