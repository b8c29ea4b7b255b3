//! llama.h: The KV store of a context, sequence by sequence.
#![allow(unused_variables, reason = "stubs keep the names of llama.h")]
use super::stubs::stub;
use super::types::*;
use std::ffi::c_int;

/// Empties the store; with `data` the bytes too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_memory_clear(mem: MemoryPtr<'_>, data: bool) {
    stub("llama_memory_clear", ())
}

/// Removes positions [p0, p1) of a sequence; negative p0: from the start, negative p1: to the end, negative seq_id: of all sequences.
/// false: this part cannot be removed (a window or a recurrent state has lost what comes before); nothing has changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_memory_seq_rm(mem: MemoryPtr<'_>, seq_id: llama_seq_id, p0: llama_pos, p1: llama_pos) -> bool {
    stub("llama_memory_seq_rm", false)
}

/// Makes positions [p0, p1) of one sequence part of another too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_memory_seq_cp(
    mem: MemoryPtr<'_>,
    seq_id_src: llama_seq_id,
    seq_id_dst: llama_seq_id,
    p0: llama_pos,
    p1: llama_pos,
) {
    stub("llama_memory_seq_cp", ())
}

/// Removes all other sequences.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_memory_seq_keep(mem: MemoryPtr<'_>, seq_id: llama_seq_id) {
    stub("llama_memory_seq_keep", ())
}

/// Moves positions [p0, p1) by delta.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_memory_seq_add(mem: MemoryPtr<'_>, seq_id: llama_seq_id, p0: llama_pos, p1: llama_pos, delta: llama_pos) {
    stub("llama_memory_seq_add", ())
}

/// Divides positions [p0, p1) by d > 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_memory_seq_div(mem: MemoryPtr<'_>, seq_id: llama_seq_id, p0: llama_pos, p1: llama_pos, d: c_int) {
    stub("llama_memory_seq_div", ())
}

/// The smallest position from which on all are present; -1 for an empty sequence.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_memory_seq_pos_min(mem: MemoryPtr<'_>, seq_id: llama_seq_id) -> llama_pos {
    stub("llama_memory_seq_pos_min", -1)
}

/// The largest position; -1 for an empty sequence.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_memory_seq_pos_max(mem: MemoryPtr<'_>, seq_id: llama_seq_id) -> llama_pos {
    stub("llama_memory_seq_pos_max", -1)
}

/// Whether `llama_memory_seq_add` works.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_memory_can_shift(mem: MemoryPtr<'_>) -> bool {
    stub("llama_memory_can_shift", false)
}
