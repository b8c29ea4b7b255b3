//! llama.h: Times.
#![allow(unused_variables, reason = "stubs keep the names of llama.h")]
use super::boundary::with;
use super::links::{self, LinkChain};
use super::stubs::stub;
use super::types::*;
use platform::log;

/// Times of a context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_perf_context(ctx: Option<&llama_context>) -> llama_perf_context_data {
    stub("llama_perf_context", llama_perf_context_data::default())
}

/// Logs the times of a context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_perf_context_print(ctx: Option<&llama_context>) {
    stub("llama_perf_context_print", ())
}

/// Starts counting anew.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_perf_context_reset(ctx: ContextPtr<'_>) {
    stub("llama_perf_context_reset", ())
}

/// Times of a chain.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_perf_sampler(chain: *const llama_sampler) -> llama_perf_sampler_data {
    // SAFETY: NULL or a live sampler.
    with("llama_perf_sampler (of a chain)", unsafe { links::as_chain(chain) }, llama_perf_sampler_data::default(), |c| sampler_data(c))
}

/// Logs the times of a chain.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_perf_sampler_print(chain: *const llama_sampler) {
    // SAFETY: NULL or a live sampler.
    with("llama_perf_sampler_print (of a chain)", unsafe { links::as_chain(chain) }, (), |c| {
        let d = sampler_data(c);
        log::info(format_args!("llama_perf_sampler_print:    samplers time = {:10.2} ms / {:5} runs", d.t_sample_ms, d.n_sample));
    })
}

/// Starts counting anew.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_perf_sampler_reset(chain: *mut llama_sampler) {
    // SAFETY: NULL or a live sampler.
    with("llama_perf_sampler_reset (of a chain)", unsafe { links::as_chain(chain) }, (), |c| c.reset_perf())
}

fn sampler_data(c: &LinkChain) -> llama_perf_sampler_data {
    let p = c.perf();
    llama_perf_sampler_data { t_sample_ms: p.t_sample.as_secs_f64() * 1e3, n_sample: p.n_sample }
}
