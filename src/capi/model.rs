//! llama.h: Models: loading, freeing, what they are, their metadata.
#![allow(unused_variables, reason = "stubs keep the names of llama.h")]
use super::stubs::stub;
use super::types::*;
use std::ffi::{CStr, c_char, c_int, c_void};

/// The parameters to start from.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_default_params() -> llama_model_params {
    llama_model_params {
        devices: std::ptr::null_mut(),
        tensor_buft_overrides: std::ptr::null(),
        n_gpu_layers: -1,
        split_mode: llama_split_mode::LLAMA_SPLIT_MODE_LAYER as c_int,
        load_mode: llama_load_mode::LLAMA_LOAD_MODE_AUTO as c_int,
        lazy_mode: llama_lazy_mode::LLAMA_LAZY_MODE_AUTO as c_int,
        main_gpu: 0,
        tensor_split: std::ptr::null(),
        progress_callback: None,
        progress_callback_user_data: std::ptr::null_mut(),
        kv_overrides: std::ptr::null(),
        vocab_only: false,
        check_tensors: false,
        use_extra_bufts: true,
        no_host: false,
        no_alloc: false,
        load_mtp: false,
    }
}

/// A model from metadata alone; `set_tensor_data` fills every tensor. NULL on failure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_init_from_user(
    metadata: *mut gguf_context,
    set_tensor_data: llama_model_set_tensor_data_t,
    set_tensor_data_ud: *mut c_void,
    params: llama_model_params,
) -> *mut llama_model {
    stub("llama_model_init_from_user", std::ptr::null_mut())
}

/// Old name of `llama_model_load_from_file`.
#[deprecated(note = "use llama_model_load_from_file instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_load_model_from_file(path_model: *const c_char, params: llama_model_params) -> *mut llama_model {
    // SAFETY: the same promise.
    unsafe { llama_model_load_from_file(path_model, params) }
}

/// Loads a GGUF file. Of a split file (`NAME-00001-of-00003.gguf`) give any part. NULL on failure, with one log line that says why.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_load_from_file(path_model: *const c_char, params: llama_model_params) -> *mut llama_model {
    stub("llama_model_load_from_file", std::ptr::null_mut())
}

/// Loads a GGUF that starts at the file's current position. NULL on failure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_load_from_file_ptr(file: *mut libc::FILE, params: llama_model_params) -> *mut llama_model {
    stub("llama_model_load_from_file_ptr", std::ptr::null_mut())
}

/// Loads a split file whose parts have any names, given in order. NULL on failure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_load_from_splits(
    paths: *mut *const c_char,
    n_paths: usize,
    params: llama_model_params,
) -> *mut llama_model {
    stub("llama_model_load_from_splits", std::ptr::null_mut())
}

/// Writes the model as a GGUF file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_save_to_file(model: Option<&llama_model>, path_model: *const c_char) {
    stub("llama_model_save_to_file", ())
}

/// Old name of `llama_model_free`.
#[deprecated(note = "use llama_model_free instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_free_model(model: *mut llama_model) {
    // SAFETY: the same promise.
    unsafe { llama_model_free(model) }
}

/// Frees a model. Its contexts must be freed before, its adapters go with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_free(model: *mut llama_model) {
    stub("llama_model_free", ())
}

/// Old name of `llama_model_n_ctx_train`.
#[deprecated(note = "use llama_model_n_ctx_train instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_n_ctx_train(model: Option<&llama_model>) -> i32 {
    // SAFETY: the same promise.
    unsafe { llama_model_n_ctx_train(model) }
}

/// Old name of `llama_model_n_embd`.
#[deprecated(note = "use llama_model_n_embd instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_n_embd(model: Option<&llama_model>) -> i32 {
    // SAFETY: the same promise.
    unsafe { llama_model_n_embd(model) }
}

/// Old name of `llama_model_n_layer`.
#[deprecated(note = "use llama_model_n_layer instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_n_layer(model: Option<&llama_model>) -> i32 {
    // SAFETY: the same promise.
    unsafe { llama_model_n_layer(model) }
}

/// Old name of `llama_model_n_head`.
#[deprecated(note = "use llama_model_n_head instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_n_head(model: Option<&llama_model>) -> i32 {
    // SAFETY: the same promise.
    unsafe { llama_model_n_head(model) }
}

/// The model's tokenizer; lives as long as the model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_get_vocab(model: Option<&llama_model>) -> *const llama_vocab {
    stub("llama_model_get_vocab", std::ptr::null())
}

/// How the model turns positions into rotations.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_rope_type(model: Option<&llama_model>) -> llama_rope_type {
    stub("llama_model_rope_type", llama_rope_type::LLAMA_ROPE_TYPE_NONE)
}

/// Tokens of context the model was trained with.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_n_ctx_train(model: Option<&llama_model>) -> i32 {
    stub("llama_model_n_ctx_train", 0)
}

/// Width of a hidden state.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_n_embd(model: Option<&llama_model>) -> i32 {
    stub("llama_model_n_embd", 0)
}

/// Floats in one row of `llama_batch.embd`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_n_embd_inp(model: Option<&llama_model>) -> i32 {
    stub("llama_model_n_embd_inp", 0)
}

/// Floats in one embedding.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_n_embd_out(model: Option<&llama_model>) -> i32 {
    stub("llama_model_n_embd_out", 0)
}

/// Layers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_n_layer(model: Option<&llama_model>) -> i32 {
    stub("llama_model_n_layer", 0)
}

/// Layers for multi-token prediction.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_n_layer_nextn(model: Option<&llama_model>) -> i32 {
    stub("llama_model_n_layer_nextn", 0)
}

/// Attention heads, of the first layer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_n_head(model: Option<&llama_model>) -> i32 {
    stub("llama_model_n_head", 0)
}

/// Heads of the KV store, of the first layer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_n_head_kv(model: Option<&llama_model>) -> i32 {
    stub("llama_model_n_head_kv", 0)
}

/// Positions a windowed layer sees; 0 where no layer has a window.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_n_swa(model: Option<&llama_model>) -> i32 {
    stub("llama_model_n_swa", 0)
}

/// The RoPE frequency factor the model was trained with.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_rope_freq_scale_train(model: Option<&llama_model>) -> f32 {
    stub("llama_model_rope_freq_scale_train", 0.0)
}

/// Outputs of a classifier.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_n_cls_out(model: Option<&llama_model>) -> u32 {
    stub("llama_model_n_cls_out", 0)
}

/// The name of a classifier's output; NULL where it has none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_cls_label(model: Option<&llama_model>, i: u32) -> *const c_char {
    stub("llama_model_cls_label", std::ptr::null())
}

/// Writes the value of a metadata key as text. The length of the whole text, or -1 and an empty buffer. Arrays are written as JSON.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_meta_val_str(
    model: Option<&llama_model>,
    key: *const c_char,
    buf: *mut c_char,
    buf_size: usize,
) -> i32 {
    stub("llama_model_meta_val_str", -1)
}

/// How many metadata keys there are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_meta_count(model: Option<&llama_model>) -> i32 {
    stub("llama_model_meta_count", 0)
}

/// The metadata key of a recommended sampling setting; NULL where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_meta_key_str(key: llama_model_meta_key_int) -> *const c_char {
    usize::try_from(key).ok().and_then(|i| META_KEYS.get(i)).map_or(std::ptr::null(), |k| k.as_ptr())
}

/// Writes the name of the i-th key. The length of the whole text, or -1 and an empty buffer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_meta_key_by_index(model: Option<&llama_model>, i: i32, buf: *mut c_char, buf_size: usize) -> i32 {
    stub("llama_model_meta_key_by_index", -1)
}

/// Writes the value of the i-th key as text. The length of the whole text, or -1 and an empty buffer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_meta_val_str_by_index(model: Option<&llama_model>, i: i32, buf: *mut c_char, buf_size: usize) -> i32 {
    stub("llama_model_meta_val_str_by_index", -1)
}

/// Writes a short description, like "llama 1B Q4_K - Medium". The length of the whole text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_desc(model: Option<&llama_model>, buf: *mut c_char, buf_size: usize) -> i32 {
    stub("llama_model_desc", -1)
}

/// The file type.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_ftype(model: Option<&llama_model>) -> llama_ftype_int {
    stub("llama_model_ftype", 0)
}

/// Bytes of all tensors.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_size(model: Option<&llama_model>) -> u64 {
    stub("llama_model_size", 0)
}

/// A chat template of the file, the default one for NULL; NULL where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_chat_template(model: Option<&llama_model>, name: *const c_char) -> *const c_char {
    stub("llama_model_chat_template", std::ptr::null())
}

/// Parameters of all tensors.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_n_params(model: Option<&llama_model>) -> u64 {
    stub("llama_model_n_params", 0)
}

/// Whether `llama_encode` is to be called first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_has_encoder(model: Option<&llama_model>) -> bool {
    stub("llama_model_has_encoder", false)
}

/// Whether `llama_decode` is of use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_has_decoder(model: Option<&llama_model>) -> bool {
    stub("llama_model_has_decoder", false)
}

/// The token that an encoder-decoder's answer starts with; -1 for other models.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_decoder_start_token(model: Option<&llama_model>) -> llama_token {
    stub("llama_model_decoder_start_token", LLAMA_TOKEN_NULL)
}

/// Whether the state of a sequence has a fixed size (Mamba, RWKV).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_is_recurrent(model: Option<&llama_model>) -> bool {
    stub("llama_model_is_recurrent", false)
}

/// Whether recurrent layers and attention are mixed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_is_hybrid(model: Option<&llama_model>) -> bool {
    stub("llama_model_is_hybrid", false)
}

/// Whether the model fills in masked tokens instead of writing on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_is_diffusion(model: Option<&llama_model>) -> bool {
    stub("llama_model_is_diffusion", false)
}

/// In the order of `llama_model_meta_key`.
const META_KEYS: [&CStr; 12] = [
    c"general.sampling.sequence",
    c"general.sampling.top_k",
    c"general.sampling.top_p",
    c"general.sampling.min_p",
    c"general.sampling.xtc_probability",
    c"general.sampling.xtc_threshold",
    c"general.sampling.temp",
    c"general.sampling.penalty_last_n",
    c"general.sampling.penalty_repeat",
    c"general.sampling.mirostat",
    c"general.sampling.mirostat_tau",
    c"general.sampling.mirostat_eta",
];
