//! llama.h: States: of a whole context or of one sequence, in memory and in files.
#![allow(unused_variables, reason = "stubs keep the names of llama.h")]
use super::stubs::stub;
use super::types::*;
use std::ffi::c_char;

/// Bytes that `llama_state_get_data` writes now.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_state_get_size(ctx: ContextPtr<'_>) -> usize {
    stub("llama_state_get_size", 0)
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
    stub("llama_state_get_data", 0)
}

/// Old name of `llama_state_get_data`.
#[deprecated(note = "use llama_state_get_data instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_copy_state_data(ctx: ContextPtr<'_>, dst: *mut u8) -> usize {
    stub("llama_copy_state_data", 0)
}

/// Restores a state. The bytes read, or 0 on failure, and then nothing has changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_state_set_data(ctx: ContextPtr<'_>, src: *const u8, size: usize) -> usize {
    stub("llama_state_set_data", 0)
}

/// Old name of `llama_state_set_data`.
#[deprecated(note = "use llama_state_set_data instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_set_state_data(ctx: ContextPtr<'_>, src: *const u8) -> usize {
    stub("llama_set_state_data", 0)
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
    stub("llama_state_load_file", false)
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
    stub("llama_state_save_file", false)
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
    stub("llama_state_seq_get_size", 0)
}

/// Writes the state of one sequence. The bytes written, or 0 on failure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_state_seq_get_data(ctx: ContextPtr<'_>, dst: *mut u8, size: usize, seq_id: llama_seq_id) -> usize {
    stub("llama_state_seq_get_data", 0)
}

/// Restores a state into a sequence. The bytes read, or 0 on failure, and then nothing has changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_state_seq_set_data(ctx: ContextPtr<'_>, src: *const u8, size: usize, dest_seq_id: llama_seq_id) -> usize {
    stub("llama_state_seq_set_data", 0)
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
    stub("llama_state_seq_save_file", 0)
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
    stub("llama_state_seq_load_file", 0)
}

/// `llama_state_seq_get_size` with `LLAMA_STATE_SEQ_FLAGS_*`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_state_seq_get_size_ext(ctx: ContextPtr<'_>, seq_id: llama_seq_id, flags: llama_state_seq_flags) -> usize {
    stub("llama_state_seq_get_size_ext", 0)
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
    stub("llama_state_seq_get_data_ext", 0)
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
    stub("llama_state_seq_set_data_ext", 0)
}
