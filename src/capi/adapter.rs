//! llama.h: LoRA adapters and control vectors.
#![allow(unused_variables, reason = "stubs keep the names of llama.h")]
use super::stubs::stub;
use super::types::*;
use std::ffi::c_char;

/// Loads a LoRA adapter; it lives at most as long as the model. NULL on failure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_adapter_lora_init(model: ModelPtr<'_>, path_lora: *const c_char) -> *mut llama_adapter_lora {
    stub("llama_adapter_lora_init", std::ptr::null_mut())
}

/// Loads a LoRA adapter that starts at the file's current position. NULL on failure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_adapter_lora_init_from_file_ptr(model: ModelPtr<'_>, file: *mut libc::FILE) -> *mut llama_adapter_lora {
    stub("llama_adapter_lora_init_from_file_ptr", std::ptr::null_mut())
}

/// Writes the value of a metadata key as text. The length of the whole text, or -1 and an empty buffer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_adapter_meta_val_str(
    adapter: Option<&llama_adapter_lora>,
    key: *const c_char,
    buf: *mut c_char,
    buf_size: usize,
) -> i32 {
    stub("llama_adapter_meta_val_str", -1)
}

/// How many metadata keys there are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_adapter_meta_count(adapter: Option<&llama_adapter_lora>) -> i32 {
    stub("llama_adapter_meta_count", 0)
}

/// Writes the name of the i-th key. The length of the whole text, or -1 and an empty buffer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_adapter_meta_key_by_index(
    adapter: Option<&llama_adapter_lora>,
    i: i32,
    buf: *mut c_char,
    buf_size: usize,
) -> i32 {
    stub("llama_adapter_meta_key_by_index", -1)
}

/// Writes the value of the i-th key as text. The length of the whole text, or -1 and an empty buffer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_adapter_meta_val_str_by_index(
    adapter: Option<&llama_adapter_lora>,
    i: i32,
    buf: *mut c_char,
    buf_size: usize,
) -> i32 {
    stub("llama_adapter_meta_val_str_by_index", -1)
}

/// Frees an adapter before its model is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_adapter_lora_free(adapter: *mut llama_adapter_lora) {
    stub("llama_adapter_lora_free", ())
}

/// How many tokens switch an activated LoRA on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_adapter_get_alora_n_invocation_tokens(adapter: Option<&llama_adapter_lora>) -> u64 {
    stub("llama_adapter_get_alora_n_invocation_tokens", 0)
}

/// The tokens that switch an activated LoRA on; NULL for other adapters.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_adapter_get_alora_invocation_tokens(adapter: Option<&llama_adapter_lora>) -> *const llama_token {
    stub("llama_adapter_get_alora_invocation_tokens", std::ptr::null())
}

/// Uses these adapters from now on, each with its scale. 0 on success.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_set_adapters_lora(
    ctx: ContextPtr<'_>,
    adapters: *mut *mut llama_adapter_lora,
    n_adapters: usize,
    scales: *mut f32,
) -> i32 {
    stub("llama_set_adapters_lora", -1)
}

/// Adds a control vector to the layers `il_start..=il_end`: rows of n_embd floats from layer 1 on; NULL removes it. 0 on success.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_set_adapter_cvec(
    ctx: ContextPtr<'_>,
    data: *const f32,
    len: usize,
    n_embd: i32,
    il_start: i32,
    il_end: i32,
) -> i32 {
    stub("llama_set_adapter_cvec", -1)
}
