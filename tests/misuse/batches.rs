//! Batches that are filled by calls: NULL, corners, a batch that outlives its context or goes to another one, calls from inside a decode.
use crate::tiny::{Ctx, Tiny, ctx_params, errors, said};
use llama::capi::batch::*;
use llama::capi::context::*;
use llama::capi::outputs::*;
use llama::capi::types::*;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};

const DECODE: i32 = 1;
const NO_EMBD: llama_embd = llama_embd { data: std::ptr::null(), n_rows: 1, n_embd: 64 };

/// A batch for this context, freed at its end.
struct Filled(*mut llama_batch_ext);

impl Filled {
    fn new(c: &Ctx) -> Filled {
        // SAFETY: a live context.
        let p = unsafe { llama_batch_ext_init(c.get()) };
        assert!(!p.is_null());
        Filled(p)
    }
    fn get(&self) -> BatchExtPtr<'_> {
        // SAFETY: alive until drop.
        unsafe { self.0.as_ref() }
    }
    fn token(&self, id: i32, pos: i32) -> i32 {
        // SAFETY: a live batch; one position, as a token has.
        unsafe {
            let i = llama_batch_ext_add_token(self.get(), 0, id);
            llama_batch_ext_set_pos(self.get(), i, &raw const pos);
            llama_batch_ext_set_output_logits(self.get(), i, true);
            i
        }
    }
    fn run(&self, c: &Ctx) -> i32 {
        // SAFETY: live handles.
        unsafe { llama_process(c.get(), DECODE, self.get()) }
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        // SAFETY: made here, freed once.
        unsafe { llama_batch_ext_free(self.0) }
    }
}

#[test]
fn null_gives_the_documented_values() {
    let m = Tiny::new("llama").load("ext-null");
    let c = m.ctx(ctx_params());
    let b = Filled::new(&c);
    let pos = 0;
    // SAFETY: NULL, or live handles.
    unsafe {
        assert!(llama_batch_ext_init(None).is_null());
        llama_batch_ext_free(null_mut());
        llama_batch_ext_clear(None);
        assert_eq!(
            [llama_batch_ext_add(None, 0), llama_batch_ext_add_token(None, 0, 1), llama_batch_ext_add_embd(None, 0, NO_EMBD)],
            [-1; 3]
        );
        let done = [
            llama_batch_ext_add_seq(None, 0, 0),
            llama_batch_ext_set_embd_token(None, 0, NO_EMBD),
            llama_batch_ext_set_embd_state(None, 0, NO_EMBD),
            llama_batch_ext_set_output_embd(None, 0, true),
            llama_batch_ext_set_output_logits(None, 0, true),
            llama_batch_ext_set_pos(None, 0, &raw const pos),
        ];
        assert_eq!(done, [false; 6]);
        assert_eq!([llama_process(None, DECODE, b.get()), llama_process(c.get(), DECODE, None), llama_process(None, 7, None)], [-1; 3]);
        assert_eq!(llama_batch_ext_add_embd(b.get(), 0, NO_EMBD), -2);
        assert!(!llama_batch_ext_set_pos(b.get(), 0, std::ptr::null()));
    }
    errors("NULL");
}

#[test]
fn corners_change_nothing() {
    let m = Tiny::new("llama").load("ext-corners");
    let c = m.ctx(llama_context_params { n_seq_max: 2, ..ctx_params() });
    let b = Filled::new(&c);
    b.token(1, 0);
    let (row, pos) = ([0.5_f32; 64], [0; 4]);
    for i in [i32::MIN, -1, 1, 300, i32::MAX] {
        // SAFETY: live handles; sizes that are wrong are not followed.
        unsafe {
            assert!(!llama_batch_ext_add_seq(b.get(), i, 0) && !llama_batch_ext_set_pos(b.get(), i, pos.as_ptr()));
            assert!(!llama_batch_ext_set_output_embd(b.get(), i, true) && !llama_batch_ext_set_output_logits(b.get(), i, true));
            assert!(i == 1 || !llama_batch_ext_add_seq(b.get(), 0, i));
            assert!(i == 1 || llama_batch_ext_add(b.get(), i) == -3);
            for (n_rows, n_embd) in [(usize::MAX, 2), (2, usize::MAX), (1, 63), (65, 64), (0, 64)] {
                let embd = llama_embd { data: row.as_ptr(), n_rows, n_embd };
                assert!(!llama_batch_ext_set_embd_token(b.get(), 0, embd));
            }
            assert_eq!(llama_process(c.get(), if i == 1 { 2 } else { i }, b.get()), -1);
        }
    }
    said();
    assert_eq!((b.run(&c), c.max(0)), (0, 0));
}

#[test]
fn a_batch_may_outlive_its_context_and_go_to_another() {
    let (m, small) = (Tiny::new("llama").load("ext-life"), llama_context_params { n_batch: 2, n_ubatch: 2, ..ctx_params() });
    let c = m.ctx(llama_context_params { n_seq_max: 4, ..ctx_params() });
    let b = Filled::new(&c);
    drop(c);
    assert_eq!([b.token(1, 0), b.token(2, 1), b.token(3, 2)], [0, 1, 2]);
    let (other, few) = (m.ctx(ctx_params()), m.ctx(small));
    assert_eq!((b.run(&few), few.max(0)), (-1, -1), "more than n_batch of that one");
    assert_eq!((b.run(&other), other.max(0)), (0, 2));
    // SAFETY: a live batch.
    let in_3 = unsafe {
        llama_batch_ext_clear(b.get());
        llama_batch_ext_add_token(b.get(), 3, 1)
    };
    assert_eq!((in_3, b.run(&other)), (0, -1), "a sequence that this one has not");
    errors("lives");
}

static BATCH: AtomicPtr<llama_batch_ext> = AtomicPtr::new(null_mut());
static ADDED: AtomicI32 = AtomicI32::new(0);

unsafe extern "C" fn meddle(_: *mut c_void) -> bool {
    // SAFETY: the batch is alive while its decode runs.
    unsafe {
        let b = BATCH.load(Ordering::Relaxed).as_ref();
        llama_batch_ext_clear(b);
        ADDED.store(llama_batch_ext_add_token(b, 0, 1), Ordering::Relaxed);
    }
    false
}

#[test]
fn a_batch_at_work_is_left_alone() {
    let m = Tiny::new("llama").load("ext-busy");
    let c = m.ctx(ctx_params());
    let b = Filled::new(&c);
    b.token(1, 0);
    b.token(2, 1);
    BATCH.store(b.0, Ordering::Relaxed);
    // SAFETY: a live context; the callback lives as long as the program.
    unsafe { llama_set_abort_callback(c.get(), Some(meddle), null_mut()) };
    assert_eq!(b.run(&c), 0);
    assert_eq!(ADDED.load(Ordering::Relaxed), -1, "the callback was called and refused");
    // SAFETY: a live context.
    assert!(unsafe { !llama_get_logits_ith(c.get(), 1).is_null() });
    errors("busy");
}
