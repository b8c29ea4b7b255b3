//! llama.h: Samplers: from logits to a token. A sampler is a table of functions and a state; C may bring its own.
#![allow(unused_variables, reason = "stubs keep the names of llama.h")]
use super::stubs::stub;
use super::types::*;
use std::ffi::c_char;

/// Runs a chain where the model runs, for one sequence; NULL removes it. false where that is not possible.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_set_sampler(ctx: ContextPtr<'_>, seq_id: llama_seq_id, smpl: *mut llama_sampler) -> bool {
    stub("llama_set_sampler", false)
}

/// A sampler with the caller's functions and state.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init(iface: *mut llama_sampler_i, ctx: llama_sampler_context_t) -> *mut llama_sampler {
    stub("llama_sampler_init", std::ptr::null_mut())
}

/// The sampler's name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_name(smpl: *const llama_sampler) -> *const c_char {
    stub("llama_sampler_name", std::ptr::null())
}

/// Tells the sampler which token was taken.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_accept(smpl: *mut llama_sampler, token: llama_token) {
    stub("llama_sampler_accept", ())
}

/// Lets the sampler work on candidates.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_apply(smpl: *mut llama_sampler, cur_p: *mut llama_token_data_array) {
    stub("llama_sampler_apply", ())
}

/// Forgets everything accepted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_reset(smpl: *mut llama_sampler) {
    stub("llama_sampler_reset", ())
}

/// A copy with its own state; NULL where the sampler cannot be copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_clone(smpl: *const llama_sampler) -> *mut llama_sampler {
    stub("llama_sampler_clone", std::ptr::null_mut())
}

/// Takes over the state of another sampler of the same kind.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_copy(src: *const llama_sampler, dst: *mut llama_sampler) {
    stub("llama_sampler_copy", ())
}

/// Frees a sampler; not one that was added to a chain.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_free(smpl: *mut llama_sampler) {
    stub("llama_sampler_free", ())
}

/// The parameters to start from.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_chain_default_params() -> llama_sampler_chain_params {
    llama_sampler_chain_params { no_perf: true }
}

/// An empty chain.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_chain_init(params: llama_sampler_chain_params) -> *mut llama_sampler {
    stub("llama_sampler_chain_init", std::ptr::null_mut())
}

/// Adds a sampler at the end; the chain owns it from now on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_chain_add(chain: *mut llama_sampler, smpl: *mut llama_sampler) {
    stub("llama_sampler_chain_add", ())
}

/// The i-th sampler, still owned by the chain; the chain itself for -1. NULL where there is none or this is not a chain.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_chain_get(chain: *mut llama_sampler, i: i32) -> *mut llama_sampler {
    stub("llama_sampler_chain_get", std::ptr::null_mut())
}

/// How many samplers there are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_chain_n(chain: *const llama_sampler) -> i32 {
    stub("llama_sampler_chain_n", 0)
}

/// Takes the i-th sampler out; the caller owns it from now on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_chain_remove(chain: *mut llama_sampler, i: i32) -> *mut llama_sampler {
    stub("llama_sampler_chain_remove", std::ptr::null_mut())
}

/// The seed in use, LLAMA_DEFAULT_SEED where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_get_seed(smpl: *const llama_sampler) -> u32 {
    stub("llama_sampler_get_seed", u32::MAX)
}

/// Takes the logits of the idx-th output, applies the sampler, accepts and returns the token it selects; LLAMA_TOKEN_NULL on failure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_sample(smpl: *mut llama_sampler, ctx: ContextPtr<'_>, idx: i32) -> llama_token {
    stub("llama_sampler_sample", LLAMA_TOKEN_NULL)
}
