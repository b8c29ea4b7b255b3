//! ggml-opt.h: training, which there is none of: data sets are refused, with a line that says so.
use crate::abi::{AdamW, Sgd, ggml_opt_optimizer_params, ggml_tensor};
use crate::log;
use std::ffi::{c_char, c_int, c_void};

fn refused(name: &str) {
    log::error(&format!("{name}: this library does not train models"));
}

/// NULL, and a line in the log: there is no training.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_opt_dataset_init(
    _type_data: c_int,
    _type_label: c_int,
    _ne_datapoint: i64,
    _ne_label: i64,
    _ndata: i64,
    _ndata_shard: i64,
) -> *mut c_void {
    refused("ggml_opt_dataset_init");
    std::ptr::null_mut()
}

/// There is none to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_opt_dataset_free(_dataset: *mut c_void) {}

/// 0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_opt_dataset_ndata(_dataset: *mut c_void) -> i64 {
    refused("ggml_opt_dataset_ndata");
    0
}

/// NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_opt_dataset_data(_dataset: *mut c_void) -> *mut ggml_tensor {
    refused("ggml_opt_dataset_data");
    std::ptr::null_mut()
}

/// NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_opt_dataset_labels(_dataset: *mut c_void) -> *mut ggml_tensor {
    refused("ggml_opt_dataset_labels");
    std::ptr::null_mut()
}

/// The parameters that the original starts from.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_opt_get_default_optimizer_params(_userdata: *mut c_void) -> ggml_opt_optimizer_params {
    ggml_opt_optimizer_params {
        adamw: AdamW { alpha: 0.001, beta1: 0.9, beta2: 0.999, eps: 1e-8, wd: 0.0 },
        sgd: Sgd { alpha: 0.001, wd: 0.0 },
    }
}

/// Those that `userdata` points to; the default ones for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_opt_get_constant_optimizer_params(userdata: *mut c_void) -> ggml_opt_optimizer_params {
    // SAFETY: NULL or such parameters.
    let given = unsafe { userdata.cast::<ggml_opt_optimizer_params>().as_ref() }.copied();
    // SAFETY: the argument is not looked at.
    given.unwrap_or_else(|| unsafe { ggml_opt_get_default_optimizer_params(userdata) })
}

/// "adamw" or "sgd"; "undefined" for any other number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_opt_optimizer_name(optimizer: c_int) -> *const c_char {
    match optimizer {
        0 => c"adamw".as_ptr(),
        1 => c"sgd".as_ptr(),
        _ => c"undefined".as_ptr(),
    }
}
