//! camelid.h: the prefix cache.
use super::boundary::{attempt, guard};
use super::convert;
use super::handles::with_context;
use super::ptr;
use super::types::*;
use crate::cache::Cache;
use crate::session::Context;
use platform::{Error, Result};
use std::ffi::c_char;

/// A directory of sequences that were computed before, for prompts that begin as one of them did. Any number of threads and processes may use one.
#[allow(non_camel_case_types, reason = "a name of camelid.h")]
pub struct camelid_cache(Cache);

/// cbindgen:ignore
pub type CachePtr<'a> = Option<&'a camelid_cache>;

/// Opens the prefix cache in `dir`, which is made if it is not there. Its entries take at most `max_bytes` (bytes); the least recently used go
/// first. A directory that cannot be written to can still be restored from. NULL on failure, with one log line that says why.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn camelid_cache_open(dir: *const c_char, max_bytes: u64) -> *mut camelid_cache {
    attempt(std::ptr::null_mut(), || {
        // SAFETY: NULL or a terminated string.
        let dir = unsafe { convert::path(dir) }.map_err(|e| e.within("camelid_cache_open"))?;
        Ok(Box::into_raw(Box::new(camelid_cache(Cache::open(&dir, max_bytes)?))))
    })
}

/// Frees what `camelid_cache_open` gave. The directory stays.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn camelid_cache_free(cache: *mut camelid_cache) {
    // SAFETY: NULL or a handle from here that the caller gives up.
    guard((), || unsafe { drop((!cache.is_null()).then(|| Box::from_raw(cache))) })
}

/// Puts the longest stored beginning of a prompt into a sequence, in place of what the sequence has: positions 0 to the returned number of tokens,
/// less than `n_tokens` because the last one must be decoded to have logits. The rows are those that a decode of the tokens would compute, bit by
/// bit: entries of another model, other RoPE settings, KV types, kernels or another build of the library are not taken.
/// 0: there is none, or an error (a log line); the sequence is as it was.
/// With sliding windows and without `swa_full` an earlier part may be refused by `llama_memory_seq_rm` that a decode would have left there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn camelid_cache_restore(
    cache: CachePtr<'_>,
    ctx: ContextPtr<'_>,
    seq_id: llama_seq_id,
    tokens: *const llama_token,
    n_tokens: i32,
) -> i32 {
    // SAFETY: NULL or n_tokens tokens.
    let tokens = unsafe { ptr::slice(tokens, n_tokens) };
    let n = run("camelid_cache_restore", cache, ctx, tokens, 0, |c, ctx, t| c.restore(ctx, seq_id, t));
    i32::try_from(n).unwrap_or(0)
}

/// Stores a sequence that holds exactly `tokens` at positions 0 to `n_tokens`, as decodes of them left it (not moved, divided or loaded from
/// elsewhere: nothing can check that). At least 32 tokens. Returns when it is on disk; stored before: only marks it as used.
/// false: not stored, with a log line (a full disk, no right to write, larger than the budget, tokens that are not what the sequence holds);
/// what was in the cache is still there, but entries may have made room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn camelid_cache_store(
    cache: CachePtr<'_>,
    ctx: ContextPtr<'_>,
    seq_id: llama_seq_id,
    tokens: *const llama_token,
    n_tokens: i32,
) -> bool {
    // SAFETY: NULL or n_tokens tokens.
    let tokens = unsafe { ptr::slice(tokens, n_tokens) };
    run("camelid_cache_store", cache, ctx, tokens, false, |c, ctx, t| c.store(ctx, seq_id, t).map(|()| true))
}

/// `f` on what must not be NULL; an error is a log line and `failure`.
fn run<R: Copy>(
    name: &str,
    cache: CachePtr<'_>,
    ctx: ContextPtr<'_>,
    tokens: Option<&[llama_token]>,
    failure: R,
    f: impl FnOnce(&Cache, &mut Context, &[llama_token]) -> Result<R>,
) -> R {
    let null = |what: &str| Error::invalid(format!("{name}: {what} is NULL"));
    attempt(failure, || {
        let cache = cache.ok_or_else(|| null("the cache"))?;
        let (ctx, tokens) = (ctx.ok_or_else(|| null("the context"))?, tokens.ok_or_else(|| null("tokens"))?);
        with_context(name, Some(&ctx.0.ctx), Ok(failure), |c| f(&cache.0, c, tokens).map_err(|e| e.within(name)))
    })
}
