//! llama.h: The samplers that come with the library. NULL is returned where there is no memory or a parameter makes no sense.
#![allow(unused_variables, reason = "stubs keep the names of llama.h")]
use super::stubs::stub;
use super::types::*;
use std::ffi::c_char;

/// The most likely token.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_greedy() -> *mut llama_sampler {
    stub("llama_sampler_init_greedy", std::ptr::null_mut())
}

/// A random token, by probability. LLAMA_DEFAULT_SEED: a random seed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_dist(seed: u32) -> *mut llama_sampler {
    stub("llama_sampler_init_dist", std::ptr::null_mut())
}

/// Keeps the k most likely tokens; all of them for k <= 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_top_k(k: i32) -> *mut llama_sampler {
    stub("llama_sampler_init_top_k", std::ptr::null_mut())
}

/// Keeps the most likely tokens that together have probability p, at least min_keep.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_top_p(p: f32, min_keep: usize) -> *mut llama_sampler {
    stub("llama_sampler_init_top_p", std::ptr::null_mut())
}

/// Keeps tokens at least p times as likely as the most likely one, at least min_keep.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_min_p(p: f32, min_keep: usize) -> *mut llama_sampler {
    stub("llama_sampler_init_min_p", std::ptr::null_mut())
}

/// Keeps tokens whose surprise is close to the expected one (arXiv 2202.00666), at least min_keep.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_typical(p: f32, min_keep: usize) -> *mut llama_sampler {
    stub("llama_sampler_init_typical", std::ptr::null_mut())
}

/// Divides logits by t; for t <= 0 only the largest is left.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_temp(t: f32) -> *mut llama_sampler {
    stub("llama_sampler_init_temp", std::ptr::null_mut())
}

/// A temperature between t - delta and t + delta, by entropy (arXiv 2309.02772).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_temp_ext(t: f32, delta: f32, exponent: f32) -> *mut llama_sampler {
    stub("llama_sampler_init_temp_ext", std::ptr::null_mut())
}

/// With probability p, removes all tokens above t but the least likely of them, at least min_keep stay.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_xtc(p: f32, t: f32, min_keep: usize, seed: u32) -> *mut llama_sampler {
    stub("llama_sampler_init_xtc", std::ptr::null_mut())
}

/// Keeps tokens whose logit is within n standard deviations of the largest (arXiv 2411.07641).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_top_n_sigma(n: f32) -> *mut llama_sampler {
    stub("llama_sampler_init_top_n_sigma", std::ptr::null_mut())
}

/// Keeps the surprise near tau by learning rate eta, estimated from m tokens (arXiv 2007.14966).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_mirostat(n_vocab: i32, seed: u32, tau: f32, eta: f32, m: i32) -> *mut llama_sampler {
    stub("llama_sampler_init_mirostat", std::ptr::null_mut())
}

/// Keeps the surprise near tau by learning rate eta, by truncation (arXiv 2007.14966).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_mirostat_v2(seed: u32, tau: f32, eta: f32) -> *mut llama_sampler {
    stub("llama_sampler_init_mirostat_v2", std::ptr::null_mut())
}

/// Only what a GBNF grammar allows. NULL where the grammar cannot be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_grammar(
    vocab: Option<&llama_vocab>,
    grammar_str: *const c_char,
    grammar_root: *const c_char,
) -> *mut llama_sampler {
    stub("llama_sampler_init_grammar", std::ptr::null_mut())
}

/// Old name of `llama_sampler_init_grammar_lazy_patterns`.
#[deprecated(note = "use llama_sampler_init_grammar_lazy_patterns instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_grammar_lazy(
    vocab: Option<&llama_vocab>,
    grammar_str: *const c_char,
    grammar_root: *const c_char,
    trigger_words: *mut *const c_char,
    num_trigger_words: usize,
    trigger_tokens: *const llama_token,
    num_trigger_tokens: usize,
) -> *mut llama_sampler {
    stub("llama_sampler_init_grammar_lazy", std::ptr::null_mut())
}

/// A grammar that starts when the output matches a pattern (it then gets the first group) or has a trigger token.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_grammar_lazy_patterns(
    vocab: Option<&llama_vocab>,
    grammar_str: *const c_char,
    grammar_root: *const c_char,
    trigger_patterns: *mut *const c_char,
    num_trigger_patterns: usize,
    trigger_tokens: *const llama_token,
    num_trigger_tokens: usize,
) -> *mut llama_sampler {
    stub("llama_sampler_init_grammar_lazy_patterns", std::ptr::null_mut())
}

/// Makes the last n tokens less likely: repeat divides or multiplies the logit, freq and present are subtracted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_penalties(
    n_vocab: i32,
    penalty_last_n: i32,
    penalty_repeat: f32,
    penalty_freq: f32,
    penalty_present: f32,
) -> *mut llama_sampler {
    stub("llama_sampler_init_penalties", std::ptr::null_mut())
}

/// Makes repetitions of longer passages less likely (DRY), except across breakers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_dry(
    vocab: Option<&llama_vocab>,
    dry_multiplier: f32,
    dry_base: f32,
    dry_allowed_length: i32,
    dry_penalty_last_n: i32,
    seq_breakers: *mut *const c_char,
    num_breakers: usize,
) -> *mut llama_sampler {
    stub("llama_sampler_init_dry", std::ptr::null_mut())
}

/// Prefers tokens near a target probability, corrected by a moving average of what was taken. The last of a chain.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_adaptive_p(target: f32, decay: f32, seed: u32) -> *mut llama_sampler {
    stub("llama_sampler_init_adaptive_p", std::ptr::null_mut())
}

/// Adds to the logits of some tokens.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_logit_bias(
    n_vocab: i32,
    n_logit_bias: i32,
    logit_bias: *const llama_logit_bias,
) -> *mut llama_sampler {
    stub("llama_sampler_init_logit_bias", std::ptr::null_mut())
}

/// For fill-in-the-middle: joins tokens with the same prefix, ends where ending is likely. After top_k and top_p.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_infill(vocab: Option<&llama_vocab>) -> *mut llama_sampler {
    stub("llama_sampler_init_infill", std::ptr::null_mut())
}
