//! Chains that run with a context: freed while they are set, set twice, in two contexts, of parts that cannot run there, changed afterwards.
use crate::tiny::{Batch, Ctx, Model, Tiny, ctx_params, errors, one_error, said};
use llama::capi::outputs::*;
use llama::capi::samplers::*;
use llama::capi::sampling::*;
use llama::capi::types::*;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicI32, Ordering};

fn model() -> Model {
    Tiny::new("llama").load("picking")
}

/// A chain of these; freed by the test.
fn chain(of: &[*mut llama_sampler]) -> *mut llama_sampler {
    // SAFETY: live samplers, which the chain takes over.
    unsafe {
        let c = llama_sampler_chain_init(llama_sampler_chain_default_params());
        of.iter().for_each(|s| llama_sampler_chain_add(c, *s));
        c
    }
}

fn greedy() -> *mut llama_sampler {
    // SAFETY: takes nothing.
    unsafe { llama_sampler_init_greedy() }
}

fn token(c: &Ctx, i: i32) -> i32 {
    // SAFETY: a live context.
    unsafe { llama_get_sampled_token_ith(c.get(), i) }
}

fn best(c: &Ctx) -> i32 {
    let l = c.logits(-1).expect("logits");
    (0..).zip(&l).max_by(|a, b| a.1.total_cmp(b.1)).map(|x| x.0).expect("a largest")
}

#[test]
fn a_chain_that_is_freed_while_it_is_set() {
    let m = model();
    let c = m.ctx(ctx_params());
    let (a, b) = (chain(&[greedy()]), chain(&[greedy()]));
    // SAFETY: live handles, each freed once.
    unsafe {
        assert!(llama_set_sampler(c.get(), 0, a));
        assert_eq!(c.decode(&Batch::new(&[1])), 0);
        let picked = token(&c, 0);
        assert!(picked >= 0 && c.logits(-1).is_none(), "only the chain reads these logits");
        llama_sampler_free(a);
        assert_eq!(token(&c, 0), picked, "what it said stays");
        assert_eq!(c.decode(&Batch::new(&[2])), 0);
        assert_eq!(token(&c, 0), -1);
        assert_eq!(llama_sampler_sample(b, c.get(), -1), best(&c));
        assert!(llama_set_sampler(c.get(), 0, b));
        llama_sampler_free(b);
        assert!(llama_set_sampler(c.get(), 0, null_mut()));
    }
    // The other order: a context goes first, and its chain works apart again.
    let a = chain(&[greedy()]);
    // SAFETY: as above.
    unsafe {
        assert!(llama_set_sampler(c.get(), 0, a));
        drop(c);
        let c = m.ctx(ctx_params());
        assert_eq!(c.decode(&Batch::new(&[1])), 0);
        assert_eq!(llama_sampler_sample(a, c.get(), -1), best(&c));
        llama_sampler_free(a);
    }
    errors("lives");
}

#[test]
fn one_chain_for_two_contexts() {
    let m = model();
    let (c, d) = (m.ctx(ctx_params()), m.ctx(ctx_params()));
    let a = chain(&[greedy()]);
    // SAFETY: live handles, each freed once.
    unsafe {
        assert!(llama_set_sampler(c.get(), 0, a) && llama_set_sampler(d.get(), 0, a) && llama_set_sampler(c.get(), 0, a));
        assert_eq!((c.decode(&Batch::new(&[1])), d.decode(&Batch::new(&[1]))), (0, 0));
        assert!(token(&c, 0) >= 0 && token(&c, 0) == token(&d, 0));
        assert!(llama_set_sampler(c.get(), 0, null_mut()));
        assert_eq!((c.decode(&Batch::new(&[2])), d.decode(&Batch::new(&[2]))), (0, 0));
        assert_eq!((token(&c, 0), token(&d, 0)), (-1, best(&c)));
        assert_eq!((llama_sampler_sample(a, c.get(), 0), llama_sampler_sample(a, d.get(), 0)), (best(&c), best(&c)));
        llama_sampler_free(a);
    }
    errors("two contexts");
}

static APPLIED: AtomicI32 = AtomicI32::new(0);
unsafe extern "C" fn count(_: *mut llama_sampler, _: *mut llama_token_data_array) {
    APPLIED.fetch_add(1, Ordering::Relaxed);
}
unsafe extern "C" fn write_graph(_: *mut llama_sampler, _: *mut ggml_context, _: *mut ggml_cgraph, _: *mut llama_sampler_data) {
    std::process::abort();
}

#[test]
fn samplers_of_the_callers_run_apart() {
    let m = model();
    let c = m.ctx(ctx_params());
    let none = llama_sampler_i {
        name: None,
        accept: None,
        apply: None,
        reset: None,
        clone: None,
        free: None,
        backend_init: None,
        backend_accept: None,
        backend_apply: Some(write_graph),
        backend_set_input: None,
        backend_reset: None,
        copy_state: None,
    };
    let (mut graph, mut both) = (none, llama_sampler_i { apply: Some(count), ..none });
    // SAFETY: live handles, each freed once; the tables outlive their samplers.
    unsafe {
        let a = chain(&[llama_sampler_init(&raw mut graph, null_mut()), greedy()]);
        assert!(!llama_set_sampler(c.get(), 0, a), "it could do nothing at all");
        let b = chain(&[llama_sampler_init_temp(0.5), llama_sampler_init(&raw mut both, null_mut()), greedy()]);
        assert!(llama_set_sampler(c.get(), 0, b));
        assert_eq!(c.decode(&Batch::new(&[1])), 0);
        assert_eq!((token(&c, 0), APPLIED.load(Ordering::Relaxed)), (-1, 0));
        assert!(llama_sampler_sample(b, c.get(), 0) >= 0);
        assert_eq!(APPLIED.load(Ordering::Relaxed), 1);
        llama_sampler_free(a);
        llama_sampler_free(b);
    }
    errors("foreign");
}

#[test]
fn what_cannot_run_is_refused() {
    let m = model();
    let c = m.ctx(llama_context_params { n_outputs_max_per_seq: 2, ..ctx_params() });
    let (empty, a, alone) = (chain(&[]), chain(&[greedy()]), greedy());
    // SAFETY: live handles, each freed once.
    unsafe {
        assert!(!llama_set_sampler(None, 0, a) && !llama_set_sampler(c.get(), 0, empty) && !llama_set_sampler(c.get(), 0, alone));
        assert!(!llama_set_sampler(c.get(), -1, a) && !llama_set_sampler(c.get(), 256, a) && llama_set_sampler(c.get(), 0, null_mut()));
        for (samplers, works) in [([(0, alone), (1, a)], false), ([(0, null_mut()), (1, a)], false), ([(0, empty), (0, a)], true)] {
            let mut list = samplers.map(|(seq_id, sampler)| llama_sampler_seq_config { seq_id, sampler });
            let p = llama_context_params { samplers: list.as_mut_ptr(), n_samplers: 2, ..ctx_params() };
            said();
            assert_eq!(m.context(p).is_some(), works);
            if !works {
                one_error("no chain", "sampler for sequence 0");
            }
        }
        let nothing = llama_context_params { samplers: null::<llama_sampler_seq_config>().cast_mut(), n_samplers: 5, ..ctx_params() };
        assert!(m.context(nothing).is_some());
        assert!(llama_set_sampler(c.get(), 0, a));
        said();
        assert_eq!((c.decode(&Batch::new(&[1, 2, 3])), c.max(0)), (-1, -1));
        one_error("too many outputs", "sequence 0");
        assert_eq!(c.decode(&Batch::new(&[1, 2])), 0);
        for i in [2, -3, i32::MAX, i32::MIN] {
            assert_eq!((token(&c, i), llama_get_sampled_logits_count_ith(c.get(), i)), (-1, 0));
            assert!(llama_get_sampled_logits_ith(c.get(), i).is_null() && llama_get_sampled_probs_ith(c.get(), i).is_null());
            assert!(!llama_get_sampled_candidates_ith(c.get(), i).is_null(), "all tokens, as in the original");
            assert_eq!(llama_sampler_sample(a, c.get(), i), -1);
        }
        assert_eq!((token(&c, 1), token(&c, -2)), (llama_sampler_sample(a, c.get(), -1), llama_sampler_sample(a, c.get(), 0)));
        llama_sampler_free(llama_sampler_chain_remove(a, 0));
        assert_eq!((c.decode(&Batch::new(&[4])), token(&c, 0)), (0, -1), "a chain that was emptied");
        [empty, a, alone].into_iter().for_each(|s| llama_sampler_free(s));
        assert_eq!([llama_get_sampled_token_ith(None, 0), llama_get_sampled_probs_count_ith(None, 0) as i32], [-1, 0]);
    }
    errors("refused");
}
