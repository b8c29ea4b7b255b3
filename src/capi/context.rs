//! llama.h: A context: making one, its sizes and settings, decoding.
use super::boundary::{attempt, guard, with};
use super::convert;
use super::handles::{ContextHandle, with_context};
use super::picking;
use super::types::*;
use super::watch;
use crate::session::batch::BatchView;
use crate::session::{Context, ContextParams};
use llama_pooling_type::*;
use platform::{Error, Result, log};
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
    attempt(std::ptr::null_mut(), || init(model, &params, |_| {}))
}

/// A context; `more` adds what llama.h cannot say.
pub(super) fn init(
    model: ModelPtr<'_>,
    params: &llama_context_params,
    more: impl FnOnce(&mut ContextParams),
) -> Result<*mut llama_context> {
    let m = model.ok_or_else(|| Error::invalid("the model is NULL"))?;
    let mut p = convert::context_params(params)?;
    more(&mut p);
    let watch = watch::watcher(params.cb_eval, params.cb_eval_user_data);
    let mut ctx = Context::watched(m.0.model.clone(), p, watch).map_err(|e| e.within("cannot make a context"))?;
    ctx.set_abort(convert::abort_callback(params.abort_callback, params.abort_callback_data));
    // SAFETY: the caller of `llama_init_from_model` promises n_samplers entries of live samplers.
    unsafe { picking::set_all(&mut ctx, params) }?;
    Ok(Box::into_raw(Box::new(llama_context(ContextHandle::new(ctx, m)))))
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
    // SAFETY: NULL or a handle from here that the caller gives up.
    guard((), || unsafe { drop((!ctx.is_null()).then(|| Box::from_raw(ctx))) })
}

/// Cells of the KV store, over all sequences.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_n_ctx(ctx: Option<&llama_context>) -> u32 {
    with("llama_n_ctx", ctx, 0, |c| c.0.sizes.n_ctx)
}

/// Cells that one sequence can use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_n_ctx_seq(ctx: Option<&llama_context>) -> u32 {
    with("llama_n_ctx_seq", ctx, 0, |c| c.0.sizes.n_ctx_seq)
}

/// Most tokens in one `llama_decode`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_n_batch(ctx: Option<&llama_context>) -> u32 {
    with("llama_n_batch", ctx, 0, |c| c.0.sizes.n_batch)
}

/// Most tokens computed at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_n_ubatch(ctx: Option<&llama_context>) -> u32 {
    with("llama_n_ubatch", ctx, 0, |c| c.0.sizes.n_ubatch)
}

/// Most sequences.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_n_seq_max(ctx: Option<&llama_context>) -> u32 {
    with("llama_n_seq_max", ctx, 0, |c| c.0.sizes.n_seq_max)
}

/// Snapshots of recurrent state per sequence.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_n_rs_seq(ctx: Option<&llama_context>) -> u32 {
    // No recurrent state, no snapshots of it.
    with("llama_n_rs_seq", ctx, 0, |_| 0)
}

/// The context's model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_get_model(ctx: Option<&llama_context>) -> *const llama_model {
    with("llama_get_model", ctx, std::ptr::null(), |c| c.0.model)
}

/// The context's KV store; lives as long as the context. NULL for models that keep nothing (encoders, diffusion models).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_get_memory(ctx: Option<&llama_context>) -> llama_memory_t {
    with("llama_get_memory", ctx, std::ptr::null_mut(), |c| match c.0.has_memory {
        true => std::ptr::from_ref(&c.0.memory).cast_mut(),
        false => std::ptr::null_mut(),
    })
}

/// How embeddings of a sequence become one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_pooling_type(ctx: Option<&llama_context>) -> llama_pooling_type {
    with("llama_pooling_type", ctx, LLAMA_POOLING_TYPE_UNSPECIFIED, |c| pooling(c.0.pooling_type))
}

/// Runs the encoder over a batch, all of it at once (`n_ubatch`). 0 on success, 2 when aborted, negative on failure; the memory is as before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_encode(ctx: ContextPtr<'_>, batch: llama_batch) -> i32 {
    compute("llama_encode", ctx, &batch, |_, ctx, view| ctx.encode(view))
}

/// Runs the decoder over a batch.
/// 0: done
/// 1: no room in the KV store; the memory is as before
/// 2: aborted; the ubatches that were finished stay
/// -1: a bad batch; the memory is as before
/// Contexts without a memory encode instead.
/// below -1: failed; the ubatches that were finished stay, `llama_memory_seq_pos_max` tells how far
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_decode(ctx: ContextPtr<'_>, batch: llama_batch) -> i32 {
    compute("llama_decode", ctx, &batch, ContextHandle::decode)
}

/// A batch through `f`: the code that it gives, or -1.
fn compute(
    name: &str,
    ctx: ContextPtr<'_>,
    batch: &llama_batch,
    f: impl FnOnce(&ContextHandle, &mut Context, &BatchView<'_>) -> i32,
) -> i32 {
    with(name, ctx, -1, |c| {
        // SAFETY: the arrays of the batch have n_tokens elements, by the promise of the caller of `name`.
        let view = unsafe { convert::batch(batch, c.0.n_embd, c.0.n_pos, c.0.sizes.n_batch) };
        match view {
            Ok(view) => with_context(name, Some(&c.0.ctx), -3, |ctx| f(&c.0, ctx, &view)),
            Err(e) => {
                log::error(format_args!("{name}: {e}"));
                -1
            }
        }
    })
}

/// Threads for single tokens and for prompts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_set_n_threads(ctx: ContextPtr<'_>, n_threads: i32, n_threads_batch: i32) {
    with_context("llama_set_n_threads", ctx.map(|c| &c.0.ctx), (), |c| c.set_threads(n_threads, n_threads_batch))
}

/// Threads for single tokens.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_n_threads(ctx: ContextPtr<'_>) -> i32 {
    with_context("llama_n_threads", ctx.map(|c| &c.0.ctx), 0, |c| c.params.n_threads)
}

/// Threads for prompts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_n_threads_batch(ctx: ContextPtr<'_>) -> i32 {
    with_context("llama_n_threads_batch", ctx.map(|c| &c.0.ctx), 0, |c| c.params.n_threads_batch)
}

/// Whether embeddings are kept too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_set_embeddings(ctx: ContextPtr<'_>, embeddings: bool) {
    with_context("llama_set_embeddings", ctx.map(|c| &c.0.ctx), (), |c| c.set_embeddings(embeddings))
}

/// Whether a token sees only what comes before it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_set_causal_attn(ctx: ContextPtr<'_>, causal_attn: bool) {
    with_context("llama_set_causal_attn", ctx.map(|c| &c.0.ctx), (), |c| c.set_causal(causal_attn))
}

/// Whether a token sees only what comes before it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_get_causal_attn(ctx: Option<&llama_context>) -> bool {
    with_context("llama_get_causal_attn", ctx.map(|c| &c.0.ctx), false, |c| c.causal())
}

/// Has no effect.
#[deprecated(note = "user code should do warmup runs manually [TAG_LLAMA_GRAPH_NO_WARMUP]")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_set_warmup(ctx: ContextPtr<'_>, _warmup: bool) {
    // Nothing to warm up: weights are where they will be read.
    with("llama_set_warmup", ctx, (), |_| ())
}

/// `true` from this callback stops a running `llama_decode`, which then returns 2.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_set_abort_callback(
    ctx: ContextPtr<'_>,
    abort_callback: ggml_abort_callback,
    abort_callback_data: *mut c_void,
) {
    with_context("llama_set_abort_callback", ctx.map(|c| &c.0.ctx), (), |c| {
        c.set_abort(convert::abort_callback(abort_callback, abort_callback_data))
    })
}

/// Waits until everything is computed. The getters of outputs do so by themselves.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_synchronize(ctx: ContextPtr<'_>) {
    // A decode returns when it is done.
    with("llama_synchronize", ctx, (), |_| ())
}

const F16: ggml_type_int = 1; // GGML_TYPE_F16

fn pooling(v: c_int) -> llama_pooling_type {
    match v {
        0 => LLAMA_POOLING_TYPE_NONE,
        1 => LLAMA_POOLING_TYPE_MEAN,
        2 => LLAMA_POOLING_TYPE_CLS,
        3 => LLAMA_POOLING_TYPE_LAST,
        4 => LLAMA_POOLING_TYPE_RANK,
        _ => LLAMA_POOLING_TYPE_UNSPECIFIED,
    }
}
