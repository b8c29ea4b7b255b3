//! llama.h: Training.
#![allow(unused_variables, reason = "stubs keep the names of llama.h")]
use super::stubs::stub;
use super::types::*;
use std::ffi::c_void;

/// A filter that trains everything: always true.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_opt_param_filter_all(tensor: *const ggml_tensor, userdata: *mut c_void) -> bool {
    true
}

/// Prepares a context for training.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_opt_init(lctx: ContextPtr<'_>, model: ModelPtr<'_>, lopt_params: llama_opt_params) {
    stub("llama_opt_init", ())
}

/// Trains on the data before idata_split and evaluates on the rest.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_opt_epoch(
    lctx: ContextPtr<'_>,
    dataset: ggml_opt_dataset_t,
    result_train: ggml_opt_result_t,
    result_eval: ggml_opt_result_t,
    idata_split: i64,
    callback_train: ggml_opt_epoch_callback,
    callback_eval: ggml_opt_epoch_callback,
) {
    stub("llama_opt_epoch", ())
}
