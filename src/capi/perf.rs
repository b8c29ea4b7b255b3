//! llama.h: Times.
#![allow(unused_variables, reason = "stubs keep the names of llama.h")]
use super::stubs::stub;
use super::types::*;

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
    stub("llama_perf_sampler", llama_perf_sampler_data::default())
}

/// Logs the times of a chain.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_perf_sampler_print(chain: *const llama_sampler) {
    stub("llama_perf_sampler_print", ())
}

/// Starts counting anew.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_perf_sampler_reset(chain: *mut llama_sampler) {
    stub("llama_perf_sampler_reset", ())
}
