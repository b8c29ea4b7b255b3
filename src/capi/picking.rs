//! Sampler chains that run with a context: C owns them and may free them while they are set, so a context asks the chain's mark before it looks.
use super::links::{self, LinkChain};
use super::ptr;
use super::types::*;
use crate::sampling::{Attachment, Row, Sampler};
use crate::session::Context;
use crate::session::sampled::{self, Picker};
use platform::{Error, Result, log};
use std::ptr::NonNull;
use std::sync::Arc;

struct Set {
    chain: NonNull<LinkChain>,
    mark: Arc<Attachment>,
}

// SAFETY: a chain is used by one thread at a time, and not freed while a call with its context runs; llama.h asks both of the caller.
unsafe impl Send for Set {}

impl Set {
    fn chain(&mut self) -> Option<&mut LinkChain> {
        if self.mark.is_gone() {
            return None;
        }
        // SAFETY: the mark says that the chain is alive, and nobody else uses it during this call.
        Some(unsafe { self.chain.as_mut() })
    }
}

impl Picker for Set {
    fn is_gone(&self) -> bool {
        self.mark.is_gone()
    }
    fn begin(&mut self) {
        self.chain().into_iter().for_each(|c| c.begin());
    }
    fn run(&mut self, row: &mut Row) {
        self.chain().into_iter().for_each(|c| c.run(row));
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        if self.mark.leave() {
            self.chain().into_iter().for_each(|c| c.detach());
        }
    }
}

/// Lets `smpl` run for `seq`; NULL, and what cannot run, leave the sequence without a sampler. False for what cannot.
///
/// # Safety
/// NULL or a live sampler that nobody else is using.
pub unsafe fn set(ctx: &mut Context, seq: llama_seq_id, smpl: *mut llama_sampler) -> bool {
    let Some(at) = sampled::seq(seq) else {
        log::error(format_args!("llama_set_sampler: there is no sequence {seq}"));
        return false;
    };
    ctx.outputs.sampled.remove(at);
    if smpl.is_null() {
        return true;
    }
    // SAFETY: the caller's promise.
    let chain = unsafe { links::as_chain(smpl) }.filter(|c| !c.is_empty());
    let Some(chain) = chain else {
        log::warn(format_args!("llama_set_sampler: what runs for sequence {seq} must be a chain with samplers in it"));
        return false;
    };
    if (0..chain.len()).any(|i| chain.get(i).is_some_and(links::Link::needs_a_graph)) {
        log::warn(format_args!("llama_set_sampler: a sampler for sequence {seq} has only functions that write graphs of ggml"));
        return false;
    }
    let mark = chain.attach_to(ctx.outputs_per_seq());
    ctx.outputs.sampled.set(at, Box::new(Set { chain: NonNull::from(chain), mark }));
    true
}

/// Those of `llama_context_params`.
///
/// # Safety
/// `samplers` is NULL or has `n_samplers` entries, each with NULL or a live sampler.
pub unsafe fn set_all(ctx: &mut Context, p: &llama_context_params) -> Result<()> {
    // SAFETY: the caller's promise; likewise below.
    for s in unsafe { ptr::slice(p.samplers.cast_const(), p.n_samplers) }.unwrap_or_default() {
        // SAFETY: as above.
        if unsafe { links::as_chain(s.sampler) }.is_none() {
            return Err(Error::invalid(format!("the sampler for sequence {} is no chain (llama_sampler_chain_init)", s.seq_id)));
        }
        // SAFETY: as above.
        unsafe { set(ctx, s.seq_id, s.sampler) };
    }
    Ok(())
}
