//! llama.h: What a decode gives: logits, embeddings, and what a chain that ran with the model picked.
#![allow(unused_variables, reason = "stubs keep the names of llama.h")]
use super::handles::with_context;
use super::stubs::stub;
use super::types::*;

/// Logits of the last decode: a row of n_vocab floats per wanted token, in batch order. NULL where there are none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_get_logits(ctx: ContextPtr<'_>) -> *mut f32 {
    with_context("llama_get_logits", ctx.map(|c| &c.0.ctx), std::ptr::null_mut(), |c| first(c.outputs.logits()))
}

/// Logits of the i-th token of the batch; -1 is the last wanted one. NULL where there are none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_get_logits_ith(ctx: ContextPtr<'_>, i: i32) -> *mut f32 {
    with_context("llama_get_logits_ith", ctx.map(|c| &c.0.ctx), std::ptr::null_mut(), |c| first(c.outputs.logits_ith(i)))
}

/// Embeddings of the last decode: a row per wanted token, in batch order. NULL where there are none or they are pooled.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_get_embeddings(ctx: ContextPtr<'_>) -> *mut f32 {
    with_context("llama_get_embeddings", ctx.map(|c| &c.0.ctx), std::ptr::null_mut(), |c| first(c.outputs.embd()))
}

/// Embedding of the i-th token of the batch; -1 is the last wanted one. NULL where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_get_embeddings_ith(ctx: ContextPtr<'_>, i: i32) -> *mut f32 {
    with_context("llama_get_embeddings_ith", ctx.map(|c| &c.0.ctx), std::ptr::null_mut(), |c| first(c.outputs.embd_ith(i)))
}

/// Pooled embedding of a sequence, or n_cls_out scores of a reranker. NULL where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_get_embeddings_seq(ctx: ContextPtr<'_>, seq_id: llama_seq_id) -> *mut f32 {
    with_context("llama_get_embeddings_seq", ctx.map(|c| &c.0.ctx), std::ptr::null_mut(), |c| {
        first(u32::try_from(seq_id).ok().and_then(|s| c.outputs.embd_seq(s)))
    })
}

/// The token that the sequence's chain picked for the i-th token of the batch; LLAMA_TOKEN_NULL where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_get_sampled_token_ith(ctx: ContextPtr<'_>, i: i32) -> llama_token {
    stub("llama_get_sampled_token_ith", LLAMA_TOKEN_NULL)
}

/// The probabilities of that pick; NULL where there are none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_get_sampled_probs_ith(ctx: ContextPtr<'_>, i: i32) -> *mut f32 {
    stub("llama_get_sampled_probs_ith", std::ptr::null_mut())
}

/// How many probabilities there are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_get_sampled_probs_count_ith(ctx: ContextPtr<'_>, i: i32) -> u32 {
    stub("llama_get_sampled_probs_count_ith", 0)
}

/// The logits of that pick; NULL where there are none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_get_sampled_logits_ith(ctx: ContextPtr<'_>, i: i32) -> *mut f32 {
    stub("llama_get_sampled_logits_ith", std::ptr::null_mut())
}

/// How many logits there are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_get_sampled_logits_count_ith(ctx: ContextPtr<'_>, i: i32) -> u32 {
    stub("llama_get_sampled_logits_count_ith", 0)
}

/// The tokens these probabilities and logits belong to; NULL where there are none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_get_sampled_candidates_ith(ctx: ContextPtr<'_>, i: i32) -> *mut llama_token {
    stub("llama_get_sampled_candidates_ith", std::ptr::null_mut())
}

/// How many candidates there are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_get_sampled_candidates_count_ith(ctx: ContextPtr<'_>, i: i32) -> u32 {
    stub("llama_get_sampled_candidates_count_ith", 0)
}

fn first(row: Option<&mut [f32]>) -> *mut f32 {
    row.map_or(std::ptr::null_mut(), |r| r.as_mut_ptr())
}
