//! camelid.h: where memory of several nodes went.
use super::boundary::guard;
use super::handles::with_context;
use super::types::*;
use crate::session::numa;
use std::cell::RefCell;
use std::ffi::{CString, c_char};

thread_local! { static LAST: RefCell<CString> = RefCell::default(); }

fn lend(text: String) -> *const c_char {
    LAST.with_borrow_mut(|l| {
        *l = CString::new(text).unwrap_or_default();
        l.as_ptr()
    })
}

/// Nodes, cores, strategy, the rung that placement stands on and why, as JSON; of a context also its threads and weights by node and the share of
/// weights that threads of other nodes read. `ctx` may be NULL. Good until this thread asks again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn camelid_numa_report(ctx: Option<&llama_context>) -> *const c_char {
    guard(c"".as_ptr(), || match ctx {
        None => lend(numa::report(None)),
        Some(c) => with_context("camelid_numa_report", Some(&c.0.ctx), c"".as_ptr(), |c| lend(numa::report(Some(c)))),
    })
}

/// Bytes that a context's decodes read and wrote so far by class (weights, KV, inputs of products, activations), and how many of them lay on the
/// node of the thread, as JSON: threads are asked where they ran, the kernel where pages lie. Only with `CAMELID_NUMA_AUDIT=1` at the context's
/// start ("audited": true); decodes are slow then. Good until this thread asks again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn camelid_numa_audit(ctx: Option<&llama_context>) -> *const c_char {
    with_context("camelid_numa_audit", ctx.map(|c| &c.0.ctx), c"".as_ptr(), |c| lend(numa::audit(c)))
}
