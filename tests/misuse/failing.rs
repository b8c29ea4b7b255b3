//! Decodes that do not come to their end: aborted, no room. What stays is exactly what llama.h says, and going on gives the bits of an undisturbed run.
use crate::tiny::{Batch, Ctx, Model, Tiny, ctx_params, errors, said};
use llama::capi::context::*;
use llama::capi::types::*;
use std::ffi::c_void;
use std::sync::atomic::{AtomicI64, Ordering};

/// Says "stop" at the n-th question.
unsafe extern "C" fn countdown(left: *mut c_void) -> bool {
    // SAFETY: the tests pass a counter that outlives the context's use of it.
    unsafe { &*left.cast::<AtomicI64>() }.fetch_sub(1, Ordering::Relaxed) <= 0
}

fn stop_after(c: &Ctx, left: &AtomicI64, n: i64) {
    left.store(n, Ordering::Relaxed);
    // SAFETY: a live handle; the counter lives longer.
    unsafe { llama_set_abort_callback(c.get(), Some(countdown), std::ptr::from_ref(left).cast_mut().cast()) };
}

fn go(c: &Ctx) {
    // SAFETY: a live handle.
    unsafe { llama_set_abort_callback(c.get(), None, std::ptr::null_mut()) };
}

const N: usize = 29;

/// `N` tokens, each in all of `seqs`, from position `from` on.
fn shared(from: usize, seqs: &[i32]) -> Batch {
    let tokens: Vec<i32> = (from..N).map(|i| (i * 7 % 31) as i32).collect();
    Batch::new(&tokens).at(from as i32).of(seqs)
}

fn undisturbed(m: &Model, p: llama_context_params, seqs: &[i32]) -> Vec<Vec<f32>> {
    let c = m.ctx(p);
    assert_eq!(c.decode(&shared(0, seqs)), 0);
    (0..N as i32).map(|i| c.logits(i).expect("wanted")).collect()
}

/// Aborted at every step of every ubatch, for one sequence and for tokens that three share.
#[test]
fn an_abort_leaves_whole_ubatches_for_every_sequence() {
    for arch in ["llama", "gemma3", "qwen3moe"] {
        let m = Tiny::new(arch).load("abort");
        for seqs in [vec![0], vec![1, 0, 2]] {
            let p = llama_context_params { n_seq_max: 3, kv_unified: seqs.len() > 1, swa_full: false, ..ctx_params() };
            let want = undisturbed(&m, p, &seqs);
            let (left, mut lengths) = (AtomicI64::new(0), Vec::new());
            for n in (0..).step_by(5) {
                let c = m.ctx(p);
                stop_after(&c, &left, n);
                said();
                let rc = c.decode(&shared(0, &seqs));
                if rc == 0 {
                    break;
                }
                assert_eq!((rc, errors(arch).len()), (2, 1), "{arch} {n}");
                let done = (c.max(0) + 1) as usize;
                assert!(done.is_multiple_of(8) && done < N, "{arch} {n}: {done} tokens");
                for s in 0..3 {
                    let end = if seqs.contains(&s) { done as i32 - 1 } else { -1 };
                    assert_eq!((c.max(s), c.min(s)), (end, end.min(0)), "{arch} {n}, sequence {s}");
                }
                let reached: Vec<bool> = (0..N as i32).map(|i| c.logits(i).is_some()).collect();
                assert!(reached.iter().enumerate().all(|(i, r)| *r == (i < done)), "{arch} {n}: outputs of what was not computed");
                lengths.push(done);
                go(&c);
                assert_eq!(c.decode(&shared(done, &seqs)), 0, "{arch} {n}");
                let same = (done..N).all(|i| c.logits((i - done) as i32).as_ref() == Some(&want[i]));
                assert!(same, "{arch} {n}: other bits after going on at {done}");
            }
            lengths.dedup();
            assert_eq!(lengths, [0, 8, 16, 24], "{arch}");
        }
    }
}

/// A window's ring: what the failing ubatch displaced was masked, so going on needs nothing that is gone.
#[test]
fn an_abort_in_a_full_ring() {
    let m = Tiny::new("gemma3").load("ring");
    let p = llama_context_params { n_ctx: 512, n_batch: 512, n_ubatch: 64, swa_full: false, ..ctx_params() };
    let tokens: Vec<i32> = (0..450).map(|i| i * 11 % 29).collect();
    let c = m.ctx(p);
    assert_eq!(c.decode(&Batch::new(&tokens)), 0);
    let want: Vec<_> = (0..450).map(|i| c.logits(i)).collect();
    let left = AtomicI64::new(0);
    for n in (0..400).step_by(23) {
        let c = m.ctx(p);
        stop_after(&c, &left, n);
        let rc = c.decode(&Batch::new(&tokens));
        let done = c.max(0) + 1;
        assert!(rc == 2 || (rc == 0 && done == 450));
        go(&c);
        if rc == 2 {
            assert_eq!(c.decode(&Batch::new(&tokens[done as usize..])), 0, "at {done}");
            assert!((done..450).all(|i| c.logits(i - done) == want[i as usize]), "other bits after {done}");
        }
    }
    errors("ring");
}

#[test]
fn a_full_memory_is_code_1_and_nothing_changes() {
    for unified in [false, true] {
        let m = Tiny::new("llama").load("full");
        let c = m.ctx(llama_context_params { kv_unified: unified, ..ctx_params() });
        let two = m.ctx(llama_context_params { kv_unified: unified, ..ctx_params() });
        for i in 0..4 {
            let tokens: Vec<i32> = (0..60).map(|k| (k + i) % 30).collect();
            assert_eq!((c.decode(&Batch::new(&tokens)), two.decode(&Batch::new(&tokens))), (0, 0));
        }
        assert_eq!(c.max(0), 239);
        let logits = c.logits(59);
        for n in [17, 40, 64, 17] {
            assert_eq!(c.decode(&Batch::new(&vec![1; n])), 1, "{n} tokens into 16 cells");
            assert_eq!((c.min(0), c.max(0), c.logits(59) == logits), (0, 239, true));
        }
        let last = Batch::new(&(0..16).collect::<Vec<_>>());
        assert_eq!((c.decode(&last), two.decode(&last)), (0, 0));
        assert_eq!(c.logits(15), two.logits(15));
        assert_eq!(c.decode(&Batch::new(&[1])), 1);
        assert_eq!(c.max(0), 255);
    }
    errors("full");
}
