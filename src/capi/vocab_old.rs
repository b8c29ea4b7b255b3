//! llama.h: Old names of the tokenizer's functions; each does what the new one does.
use super::types::*;
use std::ffi::c_char;

/// Old name of `llama_vocab_get_text`.
#[deprecated(note = "use llama_vocab_get_text instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_token_get_text(vocab: Option<&llama_vocab>, token: llama_token) -> *const c_char {
    // SAFETY: the same promise.
    unsafe { super::vocab::llama_vocab_get_text(vocab, token) }
}

/// Old name of `llama_vocab_get_score`.
#[deprecated(note = "use llama_vocab_get_score instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_token_get_score(vocab: Option<&llama_vocab>, token: llama_token) -> f32 {
    // SAFETY: the same promise.
    unsafe { super::vocab::llama_vocab_get_score(vocab, token) }
}

/// Old name of `llama_vocab_get_attr`.
#[deprecated(note = "use llama_vocab_get_attr instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_token_get_attr(vocab: Option<&llama_vocab>, token: llama_token) -> llama_token_attr_int {
    // SAFETY: the same promise.
    unsafe { super::vocab::llama_vocab_get_attr(vocab, token) }
}

/// Old name of `llama_vocab_is_eog`.
#[deprecated(note = "use llama_vocab_is_eog instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_token_is_eog(vocab: Option<&llama_vocab>, token: llama_token) -> bool {
    // SAFETY: the same promise.
    unsafe { super::vocab::llama_vocab_is_eog(vocab, token) }
}

/// Old name of `llama_vocab_is_control`.
#[deprecated(note = "use llama_vocab_is_control instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_token_is_control(vocab: Option<&llama_vocab>, token: llama_token) -> bool {
    // SAFETY: the same promise.
    unsafe { super::vocab::llama_vocab_is_control(vocab, token) }
}

/// Old name of `llama_vocab_bos`.
#[deprecated(note = "use llama_vocab_bos instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_token_bos(vocab: Option<&llama_vocab>) -> llama_token {
    // SAFETY: the same promise.
    unsafe { super::vocab::llama_vocab_bos(vocab) }
}

/// Old name of `llama_vocab_eos`.
#[deprecated(note = "use llama_vocab_eos instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_token_eos(vocab: Option<&llama_vocab>) -> llama_token {
    // SAFETY: the same promise.
    unsafe { super::vocab::llama_vocab_eos(vocab) }
}

/// Old name of `llama_vocab_eot`.
#[deprecated(note = "use llama_vocab_eot instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_token_eot(vocab: Option<&llama_vocab>) -> llama_token {
    // SAFETY: the same promise.
    unsafe { super::vocab::llama_vocab_eot(vocab) }
}

/// Old name of `llama_vocab_cls`.
#[deprecated(note = "use llama_vocab_cls instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_token_cls(vocab: Option<&llama_vocab>) -> llama_token {
    // SAFETY: the same promise.
    unsafe { super::vocab::llama_vocab_bos(vocab) }
}

/// Old name of `llama_vocab_sep`.
#[deprecated(note = "use llama_vocab_sep instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_token_sep(vocab: Option<&llama_vocab>) -> llama_token {
    // SAFETY: the same promise.
    unsafe { super::vocab::llama_vocab_sep(vocab) }
}

/// Old name of `llama_vocab_nl`.
#[deprecated(note = "use llama_vocab_nl instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_token_nl(vocab: Option<&llama_vocab>) -> llama_token {
    // SAFETY: the same promise.
    unsafe { super::vocab::llama_vocab_nl(vocab) }
}

/// Old name of `llama_vocab_pad`.
#[deprecated(note = "use llama_vocab_pad instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_token_pad(vocab: Option<&llama_vocab>) -> llama_token {
    // SAFETY: the same promise.
    unsafe { super::vocab::llama_vocab_pad(vocab) }
}

/// Old name of `llama_vocab_get_add_bos`.
#[deprecated(note = "use llama_vocab_get_add_bos instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_add_bos_token(vocab: Option<&llama_vocab>) -> bool {
    // SAFETY: the same promise.
    unsafe { super::vocab::llama_vocab_get_add_bos(vocab) }
}

/// Old name of `llama_vocab_get_add_eos`.
#[deprecated(note = "use llama_vocab_get_add_eos instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_add_eos_token(vocab: Option<&llama_vocab>) -> bool {
    // SAFETY: the same promise.
    unsafe { super::vocab::llama_vocab_get_add_eos(vocab) }
}

/// Old name of `llama_vocab_fim_pre`.
#[deprecated(note = "use llama_vocab_fim_pre instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_token_fim_pre(vocab: Option<&llama_vocab>) -> llama_token {
    // SAFETY: the same promise.
    unsafe { super::vocab::llama_vocab_fim_pre(vocab) }
}

/// Old name of `llama_vocab_fim_suf`.
#[deprecated(note = "use llama_vocab_fim_suf instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_token_fim_suf(vocab: Option<&llama_vocab>) -> llama_token {
    // SAFETY: the same promise.
    unsafe { super::vocab::llama_vocab_fim_suf(vocab) }
}

/// Old name of `llama_vocab_fim_mid`.
#[deprecated(note = "use llama_vocab_fim_mid instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_token_fim_mid(vocab: Option<&llama_vocab>) -> llama_token {
    // SAFETY: the same promise.
    unsafe { super::vocab::llama_vocab_fim_mid(vocab) }
}

/// Old name of `llama_vocab_fim_pad`.
#[deprecated(note = "use llama_vocab_fim_pad instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_token_fim_pad(vocab: Option<&llama_vocab>) -> llama_token {
    // SAFETY: the same promise.
    unsafe { super::vocab::llama_vocab_fim_pad(vocab) }
}

/// Old name of `llama_vocab_fim_rep`.
#[deprecated(note = "use llama_vocab_fim_rep instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_token_fim_rep(vocab: Option<&llama_vocab>) -> llama_token {
    // SAFETY: the same promise.
    unsafe { super::vocab::llama_vocab_fim_rep(vocab) }
}

/// Old name of `llama_vocab_fim_sep`.
#[deprecated(note = "use llama_vocab_fim_sep instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_token_fim_sep(vocab: Option<&llama_vocab>) -> llama_token {
    // SAFETY: the same promise.
    unsafe { super::vocab::llama_vocab_fim_sep(vocab) }
}
