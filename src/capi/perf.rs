//! llama.h: Times.
use super::backend::since_start_ms;
use super::boundary::with;
use super::handles::with_context;
use super::links::{self, LinkChain};
use super::types::*;
use crate::session::perf::Perf;
use platform::log;

/// Times of a context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_perf_context(ctx: Option<&llama_context>) -> llama_perf_context_data {
    with_context("llama_perf_context", ctx.map(|c| &c.0.ctx), llama_perf_context_data::default(), |c| context_data(&c.perf))
}

/// Logs the times of a context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_perf_context_print(ctx: Option<&llama_context>) {
    with_context("llama_perf_context_print", ctx.map(|c| &c.0.ctx), (), |c| print(&context_data(&c.perf)))
}

/// Starts counting anew.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_perf_context_reset(ctx: ContextPtr<'_>) {
    with_context("llama_perf_context_reset", ctx.map(|c| &c.0.ctx), (), |c| c.perf.reset())
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

fn context_data(p: &Perf) -> llama_perf_context_data {
    let ms = |us: i64| us as f64 / 1e3;
    llama_perf_context_data {
        t_start_ms: since_start_ms(p.start),
        t_load_ms: ms(p.load_us),
        t_p_eval_ms: ms(p.p_eval_us),
        t_eval_ms: ms(p.eval_us),
        // At least 1, as in the original: hosts divide by them.
        n_p_eval: p.n_p_eval.max(1),
        n_eval: p.n_eval.max(1),
        n_reused: p.n_reused.max(0),
    }
}

fn print(d: &llama_perf_context_data) {
    let line = |what: &str, ms: f64, n: i32, unit: &str| {
        let (each, rate) = (ms / f64::from(n), 1e3 / ms * f64::from(n));
        log::info(format_args!(
            "llama_perf_context_print: {what} time = {ms:10.2} ms / {n:5} {unit} ({each:8.2} ms per token, {rate:8.2} tokens per second)"
        ));
    };
    let total = since_start_ms(std::time::Instant::now()) - d.t_start_ms;
    log::info(format_args!("llama_perf_context_print:        load time = {:10.2} ms", d.t_load_ms));
    line("prompt eval", d.t_p_eval_ms, d.n_p_eval, "tokens");
    line("       eval", d.t_eval_ms, d.n_eval, "runs  ");
    log::info(format_args!("llama_perf_context_print:       total time = {total:10.2} ms / {:5} tokens", d.n_p_eval + d.n_eval));
    log::info(format_args!("llama_perf_context_print:    graphs reused = {:10}", d.n_reused));
}
