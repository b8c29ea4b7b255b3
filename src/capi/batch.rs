//! llama.h: Batches: arrays that C fills, and the newer ones that are filled by calls.
use super::boundary::{guard, with};
use super::handles::with_context;
use super::ptr;
use super::types::*;
use crate::session::batch_ext::{BatchExt, Refused, Shape};
use llama_process_type::*;
use platform::log;
use std::ffi::{c_int, c_void};
use std::sync::{Mutex, TryLockError};

/// A batch of one sequence that goes on where it ended. It borrows `tokens` and must not be freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_batch_get_one(tokens: *mut llama_token, n_tokens: i32) -> llama_batch {
    llama_batch { n_tokens, token: tokens, ..EMPTY }
}

/// A batch with room for n_tokens tokens of up to n_seq_max sequences each; with `embd` floats per token instead of ids where embd is not 0.
/// All pointers are NULL where there is no memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_batch_init(n_tokens: i32, embd: i32, n_seq_max: i32) -> llama_batch {
    let count = |n: i32| usize::try_from(n).unwrap_or(0);
    guard(EMPTY, || match allocate(count(n_tokens), count(embd), count(n_seq_max)) {
        Some(batch) => batch,
        None => {
            log::error(format_args!("llama_batch_init: no memory for {n_tokens} tokens of {n_seq_max} sequences, embd {embd}"));
            EMPTY
        }
    })
}

/// Frees a batch made by `llama_batch_init`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_batch_free(batch: llama_batch) {
    // SAFETY: the caller made this batch by llama_batch_init and frees it once.
    unsafe { free(&batch) }
}

/// An empty batch for this context; room for n_batch tokens. NULL on failure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_batch_ext_init(ctx: ContextPtr<'_>) -> *mut llama_batch_ext {
    with("llama_batch_ext_init", ctx, std::ptr::null_mut(), |c| {
        let h = &c.0;
        let (n_tokens_max, n_seq_max) = (h.sizes.n_batch as usize, h.sizes.n_seq_max);
        let shape = Shape { n_tokens_max, n_seq_max, n_vocab: h.n_vocab, n_embd: h.n_embd, n_pos: h.n_pos };
        Box::into_raw(Box::new(llama_batch_ext(Mutex::new(BatchExt::new(shape)))))
    })
}

/// Frees a batch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_batch_ext_free(batch: *mut llama_batch_ext) {
    // SAFETY: NULL or a handle from here that the caller gives up.
    guard((), || unsafe { drop((!batch.is_null()).then(|| Box::from_raw(batch))) })
}

/// Empties a batch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_batch_ext_clear(batch: BatchExtPtr<'_>) {
    with_batch("llama_batch_ext_clear", batch, (), BatchExt::clear)
}

/// Adds a token without id, embedding or position. Its index, or -1: full, -2: bad token, -3: bad sequence.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_batch_ext_add(batch: BatchExtPtr<'_>, seq_id: llama_seq_id) -> i32 {
    with_batch("llama_batch_ext_add", batch, -1, |b| index(b.add(seq_id)))
}

/// Adds a token id. Its index, or -1: full, -2: bad token, -3: bad sequence.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_batch_ext_add_token(batch: BatchExtPtr<'_>, seq_id: llama_seq_id, id: llama_token) -> i32 {
    with_batch("llama_batch_ext_add_token", batch, -1, |b| index(b.add_token(seq_id, id)))
}

/// Adds an embedding. Its index, or -1: full, -2: bad embedding, -3: bad sequence.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_batch_ext_add_embd(batch: BatchExtPtr<'_>, seq_id: llama_seq_id, embd: llama_embd) -> i32 {
    with_batch("llama_batch_ext_add_embd", batch, -1, |b| {
        // SAFETY: n_rows * n_embd floats, by the caller's promise.
        let row = unsafe { row("llama_batch_ext_add_embd", b, &embd) };
        index(b.add_embd(seq_id, row))
    })
}

/// Puts a token into one more sequence, at the same position.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_batch_ext_add_seq(batch: BatchExtPtr<'_>, idx: i32, seq_id: llama_seq_id) -> bool {
    with_entry("llama_batch_ext_add_seq", batch, idx, |b, i| b.add_seq(i, seq_id))
}

/// Gives a token an embedding beside its id.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_batch_ext_set_embd_token(batch: BatchExtPtr<'_>, idx: i32, embd: llama_embd) -> bool {
    with_entry("llama_batch_ext_set_embd_token", batch, idx, |b, i| {
        // SAFETY: n_rows * n_embd floats, by the caller's promise.
        let row = unsafe { row("llama_batch_ext_set_embd_token", b, &embd) };
        b.set_embd(i, row)
    })
}

/// Gives a token hidden states of an earlier stage (MTP, deepstack). false: llama.h has this function before anything takes such states;
/// deepstack rows go into the embedding itself, behind the token's (`llama_model_n_embd_inp`).
#[expect(unused_variables, reason = "the names of llama.h")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_batch_ext_set_embd_state(batch: BatchExtPtr<'_>, idx: i32, embd: llama_embd) -> bool {
    with_batch("llama_batch_ext_set_embd_state", batch, false, |_| false)
}

/// Whether this token's embedding is wanted; its logits are then too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_batch_ext_set_output_embd(batch: BatchExtPtr<'_>, idx: i32, value: bool) -> bool {
    with_entry("llama_batch_ext_set_output_embd", batch, idx, |b, i| b.set_output(i, value))
}

/// Whether this token's logits are wanted; its embedding is then too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_batch_ext_set_output_logits(batch: BatchExtPtr<'_>, idx: i32, value: bool) -> bool {
    with_entry("llama_batch_ext_set_output_logits", batch, idx, |b, i| b.set_output(i, value))
}

/// Sets a token's position; several numbers for M-RoPE embeddings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_batch_ext_set_pos(batch: BatchExtPtr<'_>, idx: i32, pos: *const llama_pos) -> bool {
    with_entry("llama_batch_ext_set_pos", batch, idx, |b, i| {
        // SAFETY: as many positions as the entry takes, by the caller's promise.
        let pos = b.n_pos(i).and_then(|n| unsafe { ptr::slice(pos, n) });
        pos.is_some_and(|pos| b.set_pos(i, pos))
    })
}

/// Runs the encoder or the decoder over a batch. Returns what `llama_encode` and `llama_decode` return; -1 where `type` is neither.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_process(ctx: ContextPtr<'_>, r#type: llama_process_type_int, batch: BatchExtPtr<'_>) -> i32 {
    const NAME: &str = "llama_process";
    let (encode, decode) = (LLAMA_PROCESS_TYPE_ENCODE as c_int, LLAMA_PROCESS_TYPE_DECODE as c_int);
    with(NAME, ctx, -1, |c| {
        with_batch(NAME, batch, -1, |b| {
            let view = b.arrays(c.0.n_pos).map_err(String::from);
            let known = [encode, decode].contains(&r#type);
            match view.and_then(|v| if known { Ok(v) } else { Err(format!("type is {type}, allowed are {encode} and {decode}")) }) {
                Ok(arrays) if r#type == encode => with_context(NAME, Some(&c.0.ctx), -3, |ctx| ctx.encode(&b.view(&arrays))),
                Ok(arrays) => with_context(NAME, Some(&c.0.ctx), -3, |ctx| c.0.decode(ctx, &b.view(&arrays))),
                Err(e) => {
                    log::error(format_args!("{NAME}: {e}"));
                    -1
                }
            }
        })
    })
}

fn index(added: std::result::Result<usize, Refused>) -> i32 {
    added.map_or_else(Refused::code, |i| i32::try_from(i).unwrap_or(i32::MAX))
}

/// The floats of an embedding; `None` for NULL, and, with a log line, where they are not as many as an embedding has.
///
/// # Safety
/// NULL or n_rows * n_embd floats.
unsafe fn row<'a>(name: &str, b: &BatchExt, embd: &llama_embd) -> Option<&'a [f32]> {
    let n = embd.n_rows.checked_mul(embd.n_embd);
    if !embd.data.is_null() && n != Some(b.n_embd()) {
        log::error(format_args!("{name}: the embedding is {} rows of {}, expected are {} floats", embd.n_rows, embd.n_embd, b.n_embd()));
        return None;
    }
    // SAFETY: the caller's promise.
    unsafe { ptr::slice(embd.data, b.n_embd()) }
}

/// Runs `f` on a batch; one that is being processed (the call comes from a callback or another thread) is left alone.
fn with_batch<R>(name: &str, batch: BatchExtPtr<'_>, failure: R, f: impl FnOnce(&mut BatchExt) -> R) -> R {
    let done = with(name, batch, None, |b| match b.0.try_lock() {
        Ok(mut b) => Some(f(&mut b)),
        Err(TryLockError::Poisoned(b)) => Some(f(&mut b.into_inner())),
        Err(TryLockError::WouldBlock) => {
            log::error(format_args!("{name}: the batch is in use by another call"));
            None
        }
    });
    done.unwrap_or(failure)
}

/// The same for one entry; a negative index names none.
fn with_entry(name: &str, batch: BatchExtPtr<'_>, idx: i32, f: impl FnOnce(&mut BatchExt, usize) -> bool) -> bool {
    with_batch(name, batch, false, |b| usize::try_from(idx).is_ok_and(|i| f(b, i)))
}

const EMPTY: llama_batch = llama_batch {
    n_tokens: 0,
    token: std::ptr::null_mut(),
    embd: std::ptr::null_mut(),
    pos: std::ptr::null_mut(),
    n_seq_id: std::ptr::null_mut(),
    seq_id: std::ptr::null_mut(),
    logits: std::ptr::null_mut(),
};

/// Room for `n` elements, zeroed; from C's allocator, because hosts are known to call `free` on parts of a batch. `None`: no memory.
fn room<T>(n: usize) -> Option<*mut T> {
    // SAFETY: calloc checks the product; one element at least, so that NULL means failure.
    let p = unsafe { libc::calloc(n.max(1), size_of::<T>()) };
    (!p.is_null()).then_some(p.cast())
}

/// More tokens than any context takes: each costs an allocation of its own (hosts free them singly), so a senseless count would fill the machine.
const MAX_TOKENS: usize = 1 << 24;

fn allocate(n: usize, n_embd: usize, n_seq: usize) -> Option<llama_batch> {
    let mut b = EMPTY;
    if n > MAX_TOKENS {
        return None;
    }
    let whole = fill(&mut b, n, n_embd, n_seq);
    if whole.is_none() {
        // SAFETY: what `fill` made, and nobody else has it.
        unsafe { free(&b) };
    }
    whole.map(|()| b)
}

/// Fills `b` in; what was done before memory ran out stays in it.
fn fill(b: &mut llama_batch, n: usize, n_embd: usize, n_seq: usize) -> Option<()> {
    match n_embd {
        0 => b.token = room(n)?,
        _ => b.embd = room(n.checked_mul(n_embd)?)?,
    }
    b.pos = room(n)?;
    b.n_seq_id = room(n)?;
    b.logits = room(n)?;
    b.seq_id = room(n.checked_add(1)?)?; // one more: NULL ends the list
    for i in 0..n {
        let list = room(n_seq)?;
        // SAFETY: the list has n + 1 elements.
        unsafe { b.seq_id.add(i).write(list) }
    }
    Some(())
}

/// # Safety
/// Every part is NULL or from `room`, and not used after.
unsafe fn free(b: &llama_batch) {
    let parts = [b.token.cast(), b.embd.cast(), b.pos.cast(), b.n_seq_id.cast(), b.logits.cast::<c_void>()];
    // SAFETY: as stated; the list of lists ends with NULL.
    unsafe {
        let mut list = b.seq_id;
        while !list.is_null() && !(*list).is_null() {
            libc::free((*list).cast());
            list = list.add(1);
        }
        libc::free(b.seq_id.cast());
        parts.into_iter().for_each(|p| libc::free(p));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_the_room_it_says() {
        // SAFETY: indices within the sizes asked for; freed once.
        unsafe {
            let b = llama_batch_init(3, 0, 2);
            assert!(b.embd.is_null() && b.n_tokens == 0);
            for i in 0..3 {
                b.token.add(i).write(7);
                (*b.seq_id.add(i)).add(1).write(7);
                b.logits.add(i).write(1);
            }
            assert!((*b.seq_id.add(3)).is_null());
            llama_batch_free(b);
            let b = llama_batch_init(3, 64, 1);
            assert!(b.token.is_null());
            b.embd.add(3 * 64 - 1).write(1.0);
            llama_batch_free(b);
        }
    }

    #[test]
    fn senseless_sizes_give_an_empty_batch() {
        for (n, embd, n_seq) in [(i32::MAX, i32::MAX, 1), (i32::MAX, 0, 1), (0, 0, 0), (-1, -1, -1), (i32::MIN, 3, i32::MIN)] {
            // SAFETY: nothing is read from the batch but its own parts.
            unsafe {
                let b = llama_batch_init(n, embd, n_seq);
                assert_eq!(b.n_tokens, 0);
                llama_batch_free(b);
            }
        }
    }
}
