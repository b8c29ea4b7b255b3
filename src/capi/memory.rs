//! llama.h: The KV store of a context, sequence by sequence.
use super::handles::{accepted, one_seq, with_context};
use super::types::*;
use crate::memory::Refused;
use crate::session::Context;
use std::ffi::c_int;

/// Empties the store; with `data` the bytes too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_memory_clear(mem: MemoryPtr<'_>, data: bool) {
    // `data` asks for what happens anyway: bytes without cells go back to the system and read as zero.
    let _ = data;
    of_memory("llama_memory_clear", mem, (), |c| c.memory_clear())
}

/// Removes positions [p0, p1) of a sequence; negative p0: from the start, negative p1: to the end, negative seq_id: of all sequences.
/// false: this part cannot be removed (a window or a recurrent state has lost what comes before); nothing has changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_memory_seq_rm(mem: MemoryPtr<'_>, seq_id: llama_seq_id, p0: llama_pos, p1: llama_pos) -> bool {
    of_memory("llama_memory_seq_rm", mem, true, |c| accepted("llama_memory_seq_rm", c.seq_rm(u32::try_from(seq_id).ok(), p0, p1)))
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
    let Some((src, dst)) = one_seq("llama_memory_seq_cp", seq_id_src).zip(one_seq("llama_memory_seq_cp", seq_id_dst)) else { return };
    of_memory("llama_memory_seq_cp", mem, (), |c| done("llama_memory_seq_cp", c.seq_cp(src, dst, p0, p1)))
}

/// Removes all other sequences.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_memory_seq_keep(mem: MemoryPtr<'_>, seq_id: llama_seq_id) {
    let Some(seq) = one_seq("llama_memory_seq_keep", seq_id) else { return };
    of_memory("llama_memory_seq_keep", mem, (), |c| done("llama_memory_seq_keep", c.seq_keep(seq)))
}

/// Moves positions [p0, p1) by delta.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_memory_seq_add(mem: MemoryPtr<'_>, seq_id: llama_seq_id, p0: llama_pos, p1: llama_pos, delta: llama_pos) {
    let Some(seq) = one_seq("llama_memory_seq_add", seq_id) else { return };
    of_memory("llama_memory_seq_add", mem, (), |c| done("llama_memory_seq_add", c.seq_add(seq, p0, p1, delta)))
}

/// Divides positions [p0, p1) by d > 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_memory_seq_div(mem: MemoryPtr<'_>, seq_id: llama_seq_id, p0: llama_pos, p1: llama_pos, d: c_int) {
    let Some(seq) = one_seq("llama_memory_seq_div", seq_id) else { return };
    of_memory("llama_memory_seq_div", mem, (), |c| done("llama_memory_seq_div", c.seq_div(seq, p0, p1, d)))
}

/// The smallest position from which on all are present; -1 for an empty sequence.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_memory_seq_pos_min(mem: MemoryPtr<'_>, seq_id: llama_seq_id) -> llama_pos {
    of_memory("llama_memory_seq_pos_min", mem, -1, |c| u32::try_from(seq_id).ok().and_then(|s| c.memory().pos_min(s)).unwrap_or(-1))
}

/// The largest position; -1 for an empty sequence.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_memory_seq_pos_max(mem: MemoryPtr<'_>, seq_id: llama_seq_id) -> llama_pos {
    of_memory("llama_memory_seq_pos_max", mem, -1, |c| u32::try_from(seq_id).ok().and_then(|s| c.memory().pos_max(s)).unwrap_or(-1))
}

/// Whether `llama_memory_seq_add` works.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_memory_can_shift(mem: MemoryPtr<'_>) -> bool {
    of_memory("llama_memory_can_shift", mem, false, |c| c.memory().can_shift())
}

/// For operations that cannot say no: the refusal is told.
fn done(name: &str, result: Result<(), Refused>) {
    accepted(name, result);
}

/// As `with_context`. A context without a memory gives NULL, and clients pass it on: there is nothing to do then, and nothing to tell.
fn of_memory<R>(name: &str, mem: MemoryPtr<'_>, nothing: R, f: impl FnOnce(&mut Context) -> R) -> R {
    match mem {
        Some(m) => with_context(name, Some(&m.0), nothing, f),
        None => nothing,
    }
}
