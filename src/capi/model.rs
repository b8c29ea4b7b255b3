//! llama.h: Models: loading, freeing, what they are, their metadata.
#![allow(unused_variables, reason = "stubs keep the names of llama.h")]
use super::boundary::{attempt, guard, with};
use super::convert::{self, UserData};
use super::devices;
use super::handles::ModelHandle;
use super::ptr;
use super::types::*;
use super::user;
use crate::gguf::{LoadMode, Source};
use crate::model::spec::{RopeKind, Stacks};
use crate::model::{LoadParams, Model};
use crate::quantize;
use llama_rope_type::*;
use platform::Result;
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

/// A model from metadata alone, a context of the program's libggml; `set_tensor_data` fills every tensor that the architecture has or may have,
/// F32 or what the context says of its name. NULL on failure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_init_from_user(
    metadata: *mut gguf_context,
    set_tensor_data: llama_model_set_tensor_data_t,
    set_tensor_data_ud: *mut c_void,
    params: llama_model_params,
) -> *mut llama_model {
    // SAFETY: the same promise; a caller of ggml's functions passes a context of its own libggml.
    unsafe { load(&params, |_| user::source(metadata, set_tensor_data, set_tensor_data_ud)) }
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
    // SAFETY: NULL or a terminated string.
    unsafe { load(&params, |mode| Source::open(&convert::path(path_model)?, mode)) }
}

/// Loads a GGUF that starts at the file's current position. NULL on failure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_load_from_file_ptr(file: *mut libc::FILE, params: llama_model_params) -> *mut llama_model {
    // SAFETY: NULL or an open file.
    unsafe {
        load(&params, |mode| {
            let (file, start) = convert::open_file(file)?;
            Source::from_file(file, start, mode)
        })
    }
}

/// Loads a split file whose parts have any names, given in order. NULL on failure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_load_from_splits(
    paths: *mut *const c_char,
    n_paths: usize,
    params: llama_model_params,
) -> *mut llama_model {
    // SAFETY: NULL or n_paths terminated strings.
    unsafe {
        load(&params, |mode| {
            let paths = ptr::slice(paths, n_paths).unwrap_or_default();
            let paths = paths.iter().map(|p| convert::path(*p)).collect::<Result<Vec<_>>>()?;
            Source::open_splits(&paths, mode)
        })
    }
}

/// Writes the model as a GGUF file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_save_to_file(model: Option<&llama_model>, path_model: *const c_char) {
    with("llama_model_save_to_file", model, (), |m| {
        attempt((), || {
            // SAFETY: NULL or a terminated string.
            let path = unsafe { convert::path(path_model) }?;
            quantize::save(&m.0.model.meta, &m.0.model.origin, &path).map_err(|e| e.within("failed to save the model"))
        })
    });
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
    guard((), || {
        super::adapter::forget(model);
        // SAFETY: NULL or a handle from here that the caller gives up.
        unsafe { drop((!model.is_null()).then(|| Box::from_raw(model))) }
    })
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
    with("llama_model_get_vocab", model, std::ptr::null(), |m| std::ptr::from_ref(&m.0.vocab))
}

/// How the model turns positions into rotations.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_rope_type(model: Option<&llama_model>) -> llama_rope_type {
    with("llama_model_rope_type", model, LLAMA_ROPE_TYPE_NONE, |m| match (m.0.model.hp.mrope(), m.0.model.arch.interleaved) {
        (None, _) => rope_type(m.0.model.arch.rope),
        (Some(_), false) => LLAMA_ROPE_TYPE_MROPE,
        (Some(_), true) => LLAMA_ROPE_TYPE_IMROPE,
    })
}

/// Tokens of context the model was trained with.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_n_ctx_train(model: Option<&llama_model>) -> i32 {
    with("llama_model_n_ctx_train", model, 0, |m| count(m.0.model.hp.n_ctx_train))
}

/// Width of a hidden state.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_n_embd(model: Option<&llama_model>) -> i32 {
    with("llama_model_n_embd", model, 0, |m| count(m.0.model.hp.n_embd))
}

/// Floats in one row of `llama_batch.embd`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_n_embd_inp(model: Option<&llama_model>) -> i32 {
    with("llama_model_n_embd_inp", model, 0, |m| count(m.0.model.hp.n_embd))
}

/// Floats in one embedding.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_n_embd_out(model: Option<&llama_model>) -> i32 {
    with("llama_model_n_embd_out", model, 0, |m| count(m.0.model.hp.n_embd))
}

/// Layers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_n_layer(model: Option<&llama_model>) -> i32 {
    with("llama_model_n_layer", model, 0, |m| count(m.0.model.hp.n_layer))
}

/// Layers for multi-token prediction.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_n_layer_nextn(model: Option<&llama_model>) -> i32 {
    // None of the architectures here has such layers.
    with("llama_model_n_layer_nextn", model, 0, |_| 0)
}

/// Attention heads, of the first layer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_n_head(model: Option<&llama_model>) -> i32 {
    with("llama_model_n_head", model, 0, |m| count(m.0.model.hp.n_head.first().copied().unwrap_or(0)))
}

/// Heads of the KV store, of the first layer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_n_head_kv(model: Option<&llama_model>) -> i32 {
    with("llama_model_n_head_kv", model, 0, |m| count(m.0.model.hp.n_head_kv.first().copied().unwrap_or(0)))
}

/// Positions a windowed layer sees; 0 where no layer has a window.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_n_swa(model: Option<&llama_model>) -> i32 {
    with("llama_model_n_swa", model, 0, |m| count(m.0.model.n_swa()))
}

/// The RoPE frequency factor the model was trained with.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_rope_freq_scale_train(model: Option<&llama_model>) -> f32 {
    with("llama_model_rope_freq_scale_train", model, 0.0, |m| m.0.model.hp.rope.freq_scale)
}

/// Outputs of a classifier.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_n_cls_out(model: Option<&llama_model>) -> u32 {
    with("llama_model_n_cls_out", model, 0, |m| u32::try_from(m.0.labels.len()).unwrap_or(u32::MAX).max(1))
}

/// The name of a classifier's output; NULL where it has none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_cls_label(model: Option<&llama_model>, i: u32) -> *const c_char {
    with("llama_model_cls_label", model, std::ptr::null(), |m| m.0.labels.get(i as usize).map_or(std::ptr::null(), |l| l.as_ptr()))
}

/// Writes the value of a metadata key as text. The length of the whole text, or -1 and an empty buffer. Arrays are not shown.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_meta_val_str(
    model: Option<&llama_model>,
    key: *const c_char,
    buf: *mut c_char,
    buf_size: usize,
) -> i32 {
    // SAFETY: NULL or a terminated string.
    let key = unsafe { ptr::text(key) }.unwrap_or_default();
    let found = with("llama_model_meta_val_str", model, None, |m| m.0.text(key));
    // SAFETY: NULL or buf_size bytes.
    unsafe { ptr::put_found(buf, buf_size, found) }
}

/// How many metadata keys there are, arrays left out.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_meta_count(model: Option<&llama_model>) -> i32 {
    with("llama_model_meta_count", model, 0, |m| i32::try_from(m.0.texts.len()).unwrap_or(i32::MAX))
}

/// The metadata key of a recommended sampling setting; NULL where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_meta_key_str(key: llama_model_meta_key_int) -> *const c_char {
    usize::try_from(key).ok().and_then(|i| META_KEYS.get(i)).map_or(std::ptr::null(), |k| k.as_ptr())
}

/// Writes the name of the i-th key. The length of the whole text, or -1 and an empty buffer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_meta_key_by_index(model: Option<&llama_model>, i: i32, buf: *mut c_char, buf_size: usize) -> i32 {
    let found = with("llama_model_meta_key_by_index", model, None, |m| m.0.at(i).map(|(key, _)| key.as_bytes()));
    // SAFETY: NULL or buf_size bytes.
    unsafe { ptr::put_found(buf, buf_size, found) }
}

/// Writes the value of the i-th key as text. The length of the whole text, or -1 and an empty buffer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_meta_val_str_by_index(model: Option<&llama_model>, i: i32, buf: *mut c_char, buf_size: usize) -> i32 {
    let found = with("llama_model_meta_val_str_by_index", model, None, |m| m.0.at(i).map(|(_, value)| value.as_slice()));
    // SAFETY: NULL or buf_size bytes.
    unsafe { ptr::put_found(buf, buf_size, found) }
}

/// Writes a short description, like "llama 1B Q4_K - Medium". The length of the whole text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_desc(model: Option<&llama_model>, buf: *mut c_char, buf_size: usize) -> i32 {
    let text = with("llama_model_desc", model, String::new(), |m| m.0.description());
    // SAFETY: NULL or buf_size bytes.
    unsafe { ptr::put_text(buf, buf_size, text.as_bytes()) }
}

/// The file type.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_ftype(model: Option<&llama_model>) -> llama_ftype_int {
    with("llama_model_ftype", model, 0, |m| m.0.ftype.0 as llama_ftype_int)
}

/// Bytes of all tensors.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_size(model: Option<&llama_model>) -> u64 {
    with("llama_model_size", model, 0, |m| m.0.model.n_bytes)
}

/// A chat template of the file, the default one for NULL; NULL where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_chat_template(model: Option<&llama_model>, name: *const c_char) -> *const c_char {
    // SAFETY: NULL or a terminated string.
    let name = unsafe { ptr::text(name) };
    with("llama_model_chat_template", model, std::ptr::null(), |m| m.0.template(name).map_or(std::ptr::null(), |t| t.as_ptr()))
}

/// Parameters of all tensors.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_n_params(model: Option<&llama_model>) -> u64 {
    with("llama_model_n_params", model, 0, |m| m.0.model.n_params)
}

/// Whether `llama_encode` is to be called first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_has_encoder(model: Option<&llama_model>) -> bool {
    with("llama_model_has_encoder", model, false, |m| !matches!(m.0.model.arch.stacks, Stacks::One))
}

/// Whether `llama_decode` is of use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_has_decoder(model: Option<&llama_model>) -> bool {
    with("llama_model_has_decoder", model, false, |m| !matches!(m.0.model.arch.stacks, Stacks::Encoder))
}

/// The token that an encoder-decoder's answer starts with; -1 for other models.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_decoder_start_token(model: Option<&llama_model>) -> llama_token {
    with("llama_model_decoder_start_token", model, LLAMA_TOKEN_NULL, |m| match m.0.model.arch.stacks {
        Stacks::EncoderDecoder { .. } => m.0.model.hp.dec_start_token,
        _ => LLAMA_TOKEN_NULL,
    })
}

/// Whether the state of a sequence has a fixed size (Mamba, RWKV).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_is_recurrent(model: Option<&llama_model>) -> bool {
    with("llama_model_is_recurrent", model, false, |_| false)
}

/// Whether recurrent layers and attention are mixed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_is_hybrid(model: Option<&llama_model>) -> bool {
    with("llama_model_is_hybrid", model, false, |_| false)
}

/// Whether the model fills in masked tokens instead of writing on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_is_diffusion(model: Option<&llama_model>) -> bool {
    with("llama_model_is_diffusion", model, false, |m| m.0.model.arch.diffusion)
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

/// A model from the files that `open` opens.
///
/// # Safety
/// The pointers of `p` are NULL or as llama.h describes them.
unsafe fn load(p: &llama_model_params, open: impl FnOnce(LoadMode) -> Result<Source>) -> *mut llama_model {
    attempt(std::ptr::null_mut(), || {
        let result = open_and_bind(p, open);
        result.map(|m| Box::into_raw(Box::new(llama_model(m)))).map_err(|e| e.within("cannot load the model"))
    })
}

fn open_and_bind(p: &llama_model_params, open: impl FnOnce(LoadMode) -> Result<Source>) -> Result<ModelHandle> {
    let mut source = open(convert::load_mode(p)?)?;
    // SAFETY: the caller of `load` promises a list that ends.
    source.meta_mut().apply_overrides(&unsafe { convert::overrides(p.kv_overrides) }?);
    let data = UserData(p.progress_callback_user_data);
    // SAFETY: a function of this type, called on the caller's own thread.
    let mut progress = |x| p.progress_callback.is_none_or(|f| unsafe { f(x, data.get()) });
    let how = LoadParams {
        vocab_only: p.vocab_only,
        check_tensors: p.check_tensors && !p.no_alloc,
        extra_bufts: p.use_extra_bufts && !p.no_alloc,
        // SAFETY: as above.
        offload: unsafe { devices::offload(p) }?,
        nodes: None,
        progress: &mut progress,
    };
    ModelHandle::new(Model::load(&source, how)?, &source)
}

fn rope_type(kind: Option<RopeKind>) -> llama_rope_type {
    match kind {
        None => LLAMA_ROPE_TYPE_NONE,
        Some(RopeKind::Norm) => LLAMA_ROPE_TYPE_NORM,
        Some(RopeKind::Neox) => LLAMA_ROPE_TYPE_NEOX,
    }
}

fn count(n: u32) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}
