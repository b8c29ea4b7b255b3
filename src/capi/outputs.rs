//! llama.h: What a decode gives: logits, embeddings, and what a chain that ran with the model picked.
use super::handles::with_context;
use super::types::*;
use crate::sampling::Row;
use platform::log;

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
    sampled("llama_get_sampled_token_ith", ctx, i, LLAMA_TOKEN_NULL, |r| r.token)
}

/// The probabilities of that pick; NULL where there are none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_get_sampled_probs_ith(ctx: ContextPtr<'_>, i: i32) -> *mut f32 {
    sampled("llama_get_sampled_probs_ith", ctx, i, std::ptr::null_mut(), |r| r.probs.as_mut().map(|p| p.as_mut_ptr()))
}

/// How many probabilities there are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_get_sampled_probs_count_ith(ctx: ContextPtr<'_>, i: i32) -> u32 {
    sampled("llama_get_sampled_probs_count_ith", ctx, i, 0, |r| r.probs.as_ref().map(|p| count(p.len())))
}

/// The logits of that pick; NULL where there are none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_get_sampled_logits_ith(ctx: ContextPtr<'_>, i: i32) -> *mut f32 {
    sampled("llama_get_sampled_logits_ith", ctx, i, std::ptr::null_mut(), |r| Some(r.logits.as_mut_ptr()))
}

/// How many logits there are; n_vocab where no chain runs with this context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_get_sampled_logits_count_ith(ctx: ContextPtr<'_>, i: i32) -> u32 {
    const NAME: &str = "llama_get_sampled_logits_count_ith";
    let alone =
        with_context(NAME, ctx.map(|c| &c.0.ctx), Some(0), |c| (!c.outputs.sampled.is_on()).then(|| count(c.outputs.sampled.n_vocab())));
    alone.unwrap_or_else(|| sampled(NAME, ctx, i, 0, |r| Some(count(r.logits.len()))))
}

/// The tokens these probabilities and logits belong to; all tokens in order where a chain made no choice among them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_get_sampled_candidates_ith(ctx: ContextPtr<'_>, i: i32) -> *mut llama_token {
    with_context("llama_get_sampled_candidates_ith", ctx.map(|c| &c.0.ctx), std::ptr::null_mut(), |c| {
        let own = c.outputs.sampled_ith(i).ok().flatten().and_then(|r| r.candidates.as_mut().map(|c| c.as_mut_ptr()));
        own.unwrap_or_else(|| c.outputs.sampled.all_tokens().as_mut_ptr())
    })
}

/// How many candidates there are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_get_sampled_candidates_count_ith(ctx: ContextPtr<'_>, i: i32) -> u32 {
    sampled("llama_get_sampled_candidates_count_ith", ctx, i, 0, |r| r.candidates.as_ref().map(|c| count(c.len())))
}

/// What `f` finds in a row that a chain made; an index without an output is an error only where chains run.
fn sampled<R>(name: &str, ctx: ContextPtr<'_>, i: i32, none: R, f: impl FnOnce(&mut Row) -> Option<R>) -> R {
    let found = with_context(name, ctx.map(|c| &c.0.ctx), None, |c| match (c.outputs.sampled.is_on(), c.outputs.sampled_ith(i)) {
        (true, Ok(row)) => row.and_then(f),
        (true, Err(())) => {
            log::error(format_args!("{name}: there is no output for index {i}"));
            None
        }
        (false, _) => None,
    });
    found.unwrap_or(none)
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn first(row: Option<&mut [f32]>) -> *mut f32 {
    row.map_or(std::ptr::null_mut(), |r| r.as_mut_ptr())
}
