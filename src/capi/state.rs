//! llama.h: States: of a whole context or of one sequence, in memory and in files.
use super::boundary::attempt;
use super::convert;
use super::handles::with_context;
use super::ptr;
use super::types::*;
use crate::session::Context;
use crate::state::io::Source;
use crate::state::{self, What};
use platform::{Error, Result, log};
use std::ffi::c_char;

/// `LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY`. ON_DEVICE (2) asks where to keep it: with us always in the caller's memory.
const PARTIAL_ONLY: llama_state_seq_flags = 1;

fn seq(seq: llama_seq_id, flags: llama_state_seq_flags) -> What {
    What::Seq { seq, partial: flags & PARTIAL_ONLY != 0 }
}

/// Runs `f` on a context; an error is a log line and `failure`.
fn run<R: Copy>(name: &str, ctx: ContextPtr<'_>, failure: R, f: impl FnOnce(&mut Context) -> Result<R>) -> R {
    with_context(name, ctx.map(|c| &c.0.ctx), failure, |c| f(c).unwrap_or_else(|e| failed(name, &e, failure)))
}

fn failed<R>(name: &str, e: &Error, failure: R) -> R {
    log::error(format_args!("{name}: {e}"));
    failure
}

/// # Safety
/// `dst` is NULL or has room for `size` bytes, or for the whole state where that is less.
unsafe fn save(name: &str, ctx: ContextPtr<'_>, what: What, dst: *mut u8, size: usize) -> usize {
    run(name, ctx, 0, |c| {
        let n = state::size(c, what)?;
        if n > size {
            return Err(Error::invalid(format!("the state has {n} bytes, the buffer {size}")));
        }
        // SAFETY: the caller's promise; n is at most `size`.
        let dst = unsafe { ptr::slice_mut(dst, n) }.ok_or_else(|| Error::invalid("the buffer is NULL"))?;
        state::save(c, what, dst)
    })
}

/// # Safety
/// `src` is NULL or has `size` bytes, or, where that is more than can be, as many as the state says.
unsafe fn load(name: &str, ctx: ContextPtr<'_>, what: What, src: *const u8, size: usize) -> usize {
    run(name, ctx, 0, |c| {
        if src.is_null() {
            return Err(Error::invalid("the buffer is NULL"));
        }
        state::load(c, what, &Caller { src, size })
    })
}

/// A caller's buffer. The old functions do not say how long it is (`size` is then the largest there is).
struct Caller {
    src: *const u8,
    size: usize,
}

// SAFETY: the caller's bytes are only read, and stay as they are until the call returns.
unsafe impl Sync for Caller {}

impl Source for Caller {
    fn len(&self) -> u64 {
        self.size as u64
    }
    fn read(&self, at: u64, dst: &mut [u8]) -> Result<()> {
        let src = self.bytes(at, dst.len()).ok_or_else(|| Error::invalid("the state ends too early"))?;
        dst.copy_from_slice(src);
        Ok(())
    }
    fn bytes(&self, at: u64, n: usize) -> Option<&[u8]> {
        let at = usize::try_from(at).ok()?;
        let inside = at.checked_add(n)? <= self.size.min(isize::MAX as usize);
        // SAFETY: `inside` the caller's buffer.
        inside.then(|| unsafe { std::slice::from_raw_parts(self.src.add(at), n) })
    }
}

/// # Safety
/// `tokens_out` is NULL or has room for `n` tokens, and `n_out` is NULL or for a count.
unsafe fn put_tokens(tokens: &[llama_token], tokens_out: *mut llama_token, n: usize, n_out: *mut usize) {
    // SAFETY: the caller's promise; as many tokens as fit were asked for.
    unsafe {
        if let Some(out) = ptr::slice_mut(tokens_out, n.min(tokens.len())) {
            out.copy_from_slice(&tokens[..out.len()]);
        }
        ptr::put(n_out, tokens.len());
    }
}

/// The tokens to save; NULL is none.
fn given(tokens: Option<&[llama_token]>, n: usize) -> Result<&[llama_token]> {
    match tokens {
        None if n > 0 => Err(Error::invalid(format!("{n} tokens at NULL"))),
        t => Ok(t.unwrap_or_default()),
    }
}

fn bytes(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// # Safety
/// `filepath` is NULL or a terminated string, `n_out` NULL or room for a count.
unsafe fn count_tokens(filepath: *const c_char, n_out: *mut usize) -> usize {
    attempt(0, || {
        // SAFETY: the caller's promise.
        let path = unsafe { convert::path(filepath) }?;
        let (n, at) = state::count_tokens(&path).map_err(|e| e.within("llama_state_seq_load_file"))?;
        // SAFETY: the caller's promise.
        unsafe { ptr::put(n_out, n as usize) };
        Ok(bytes(at))
    })
}

/// How many tokens may be handed out.
fn capacity(tokens_out: *mut llama_token, n: usize) -> usize {
    if tokens_out.is_null() { 0 } else { n }
}

/// Bytes that `llama_state_get_data` writes now.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_state_get_size(ctx: ContextPtr<'_>) -> usize {
    run("llama_state_get_size", ctx, 0, |c| state::size(c, What::Everything))
}

/// Old name of `llama_state_get_size`.
#[deprecated(note = "use llama_state_get_size instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_get_state_size(ctx: ContextPtr<'_>) -> usize {
    // SAFETY: the same promise.
    unsafe { llama_state_get_size(ctx) }
}

/// Writes the state. The bytes written, or 0 on failure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_state_get_data(ctx: ContextPtr<'_>, dst: *mut u8, size: usize) -> usize {
    // SAFETY: the caller's promise.
    unsafe { save("llama_state_get_data", ctx, What::Everything, dst, size) }
}

/// Old name of `llama_state_get_data`.
#[deprecated(note = "use llama_state_get_data instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_copy_state_data(ctx: ContextPtr<'_>, dst: *mut u8) -> usize {
    // SAFETY: the caller promises room for what `llama_get_state_size` says.
    unsafe { save("llama_copy_state_data", ctx, What::Everything, dst, usize::MAX) }
}

/// Restores a state. The bytes read, or 0 on failure, and then nothing has changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_state_set_data(ctx: ContextPtr<'_>, src: *const u8, size: usize) -> usize {
    // SAFETY: the caller's promise.
    unsafe { load("llama_state_set_data", ctx, What::Everything, src, size) }
}

/// Old name of `llama_state_set_data`.
#[deprecated(note = "use llama_state_set_data instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_set_state_data(ctx: ContextPtr<'_>, src: *const u8) -> usize {
    // SAFETY: the caller promises a whole state.
    unsafe { load("llama_set_state_data", ctx, What::Everything, src, usize::MAX) }
}

/// Restores a session file and the tokens it was saved with. false on failure, and then nothing has changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_state_load_file(
    ctx: ContextPtr<'_>,
    path_session: *const c_char,
    tokens_out: *mut llama_token,
    n_token_capacity: usize,
    n_token_count_out: *mut usize,
) -> bool {
    run("llama_state_load_file", ctx, false, |c| {
        // SAFETY: NULL or a terminated string.
        let path = unsafe { convert::path(path_session) }?;
        let file = state::load_session(c, &path, capacity(tokens_out, n_token_capacity))?;
        // SAFETY: the caller's promise.
        unsafe { put_tokens(&file.tokens, tokens_out, n_token_capacity, n_token_count_out) };
        Ok(true)
    })
}

/// Old name of `llama_state_load_file`.
#[deprecated(note = "use llama_state_load_file instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_load_session_file(
    ctx: ContextPtr<'_>,
    path_session: *const c_char,
    tokens_out: *mut llama_token,
    n_token_capacity: usize,
    n_token_count_out: *mut usize,
) -> bool {
    // SAFETY: the same promise.
    unsafe { llama_state_load_file(ctx, path_session, tokens_out, n_token_capacity, n_token_count_out) }
}

/// Saves a session file with these tokens.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_state_save_file(
    ctx: ContextPtr<'_>,
    path_session: *const c_char,
    tokens: *const llama_token,
    n_token_count: usize,
) -> bool {
    run("llama_state_save_file", ctx, false, |c| {
        // SAFETY: NULL or a terminated string; NULL or n_token_count tokens.
        let (path, tokens) = unsafe { (convert::path(path_session)?, ptr::slice(tokens, n_token_count)) };
        state::save_session(c, &path, given(tokens, n_token_count)?).map(|_| true)
    })
}

/// Old name of `llama_state_save_file`.
#[deprecated(note = "use llama_state_save_file instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_save_session_file(
    ctx: ContextPtr<'_>,
    path_session: *const c_char,
    tokens: *const llama_token,
    n_token_count: usize,
) -> bool {
    // SAFETY: the same promise.
    unsafe { llama_state_save_file(ctx, path_session, tokens, n_token_count) }
}

/// Bytes that `llama_state_seq_get_data` writes now.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_state_seq_get_size(ctx: ContextPtr<'_>, seq_id: llama_seq_id) -> usize {
    // SAFETY: the same promise.
    unsafe { llama_state_seq_get_size_ext(ctx, seq_id, 0) }
}

/// Writes the state of one sequence. The bytes written, or 0 on failure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_state_seq_get_data(ctx: ContextPtr<'_>, dst: *mut u8, size: usize, seq_id: llama_seq_id) -> usize {
    // SAFETY: the same promise.
    unsafe { llama_state_seq_get_data_ext(ctx, dst, size, seq_id, 0) }
}

/// Restores a state into a sequence. The bytes read, or 0 on failure, and then nothing has changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_state_seq_set_data(ctx: ContextPtr<'_>, src: *const u8, size: usize, dest_seq_id: llama_seq_id) -> usize {
    // SAFETY: the same promise.
    unsafe { llama_state_seq_set_data_ext(ctx, src, size, dest_seq_id, 0) }
}

/// Saves one sequence with these tokens. The bytes written, or 0 on failure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_state_seq_save_file(
    ctx: ContextPtr<'_>,
    filepath: *const c_char,
    seq_id: llama_seq_id,
    tokens: *const llama_token,
    n_token_count: usize,
) -> usize {
    run("llama_state_seq_save_file", ctx, 0, |c| {
        // SAFETY: NULL or a terminated string; NULL or n_token_count tokens.
        let (path, tokens) = unsafe { (convert::path(filepath)?, ptr::slice(tokens, n_token_count)) };
        state::save_seq(c, &path, seq_id, given(tokens, n_token_count)?).map(bytes)
    })
}

/// Restores a sequence file. The bytes read, or 0 on failure, and then nothing has changed.
/// tokens_out NULL: only the number of tokens is reported.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_state_seq_load_file(
    ctx: ContextPtr<'_>,
    filepath: *const c_char,
    dest_seq_id: llama_seq_id,
    tokens_out: *mut llama_token,
    n_token_capacity: usize,
    n_token_count_out: *mut usize,
) -> usize {
    if tokens_out.is_null() {
        // SAFETY: the same promise.
        return unsafe { count_tokens(filepath, n_token_count_out) };
    }
    run("llama_state_seq_load_file", ctx, 0, |c| {
        // SAFETY: NULL or a terminated string.
        let path = unsafe { convert::path(filepath) }?;
        let file = state::load_seq(c, &path, dest_seq_id, n_token_capacity)?;
        // SAFETY: the caller's promise.
        unsafe { put_tokens(&file.tokens, tokens_out, n_token_capacity, n_token_count_out) };
        Ok(bytes(file.n_read))
    })
}

/// `llama_state_seq_get_size` with `LLAMA_STATE_SEQ_FLAGS_*`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_state_seq_get_size_ext(ctx: ContextPtr<'_>, seq_id: llama_seq_id, flags: llama_state_seq_flags) -> usize {
    run("llama_state_seq_get_size", ctx, 0, |c| state::size(c, seq(seq_id, flags)))
}

/// `llama_state_seq_get_data` with `LLAMA_STATE_SEQ_FLAGS_*`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_state_seq_get_data_ext(
    ctx: ContextPtr<'_>,
    dst: *mut u8,
    size: usize,
    seq_id: llama_seq_id,
    flags: llama_state_seq_flags,
) -> usize {
    // SAFETY: the caller's promise.
    unsafe { save("llama_state_seq_get_data", ctx, seq(seq_id, flags), dst, size) }
}

/// `llama_state_seq_set_data` with `LLAMA_STATE_SEQ_FLAGS_*`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_state_seq_set_data_ext(
    ctx: ContextPtr<'_>,
    src: *const u8,
    size: usize,
    dest_seq_id: llama_seq_id,
    flags: llama_state_seq_flags,
) -> usize {
    // SAFETY: the caller's promise.
    unsafe { load("llama_state_seq_set_data", ctx, seq(dest_seq_id, flags), src, size) }
}
