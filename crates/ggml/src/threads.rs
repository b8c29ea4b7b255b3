//! ggml.h and ggml-cpu.h: parameters of threadpools, and pools without threads: contexts have threads of their own.
use crate::abi::{MAX_N_THREADS, ggml_threadpool_params};
use crate::ptr;
use std::ffi::c_int;

/// Nobody outside looks into it.
pub struct Pool {
    n_threads: c_int,
}

/// Any cores, normal priority, half of the polling.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_threadpool_params_default(n_threads: c_int) -> ggml_threadpool_params {
    ggml_threadpool_params { cpumask: [false; MAX_N_THREADS], n_threads, prio: 0, poll: 50, strict_cpu: false, paused: false }
}

/// The same into `p`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_threadpool_params_init(p: *mut ggml_threadpool_params, n_threads: c_int) {
    // SAFETY: NULL or room for one.
    unsafe { ptr::put(p, ggml_threadpool_params_default(n_threads)) }
}

/// Whether both ask for the same, but for `paused`; false where one is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_threadpool_params_match(p0: Option<&ggml_threadpool_params>, p1: Option<&ggml_threadpool_params>) -> bool {
    let what = |p: &ggml_threadpool_params| (p.n_threads, p.prio, p.poll, p.strict_cpu);
    p0.zip(p1).is_some_and(|(a, b)| what(a) == what(b) && a.cpumask == b.cpumask)
}

/// A handle for `llama_attach_threadpool`, which starts no threads: contexts have their own, as many as `llama_set_n_threads` says. NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_threadpool_new(params: Option<&ggml_threadpool_params>) -> *mut Pool {
    params.map_or(std::ptr::null_mut(), |p| Box::into_raw(Box::new(Pool { n_threads: p.n_threads })))
}

/// NULL: nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_threadpool_free(threadpool: *mut Pool) {
    if !threadpool.is_null() {
        // SAFETY: made above, freed once.
        drop(unsafe { Box::from_raw(threadpool) });
    }
}

/// What it was made for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_threadpool_get_n_threads(threadpool: Option<&Pool>) -> c_int {
    threadpool.map_or(0, |p| p.n_threads)
}

/// Nothing runs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_threadpool_pause(_threadpool: Option<&Pool>) {}

/// Nothing was stopped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_threadpool_resume(_threadpool: Option<&Pool>) {}
