//! llama.h: Tokenizers: tokens, their texts and attributes, text to tokens and back.
#![allow(unused_variables, reason = "stubs keep the names of llama.h")]
use super::stubs::stub;
use super::types::*;
use std::ffi::c_char;

/// The kind of tokenizer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_type(vocab: Option<&llama_vocab>) -> llama_vocab_type {
    stub("llama_vocab_type", llama_vocab_type::LLAMA_VOCAB_TYPE_NONE)
}

/// How many tokens there are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_n_tokens(vocab: Option<&llama_vocab>) -> i32 {
    stub("llama_vocab_n_tokens", 0)
}

/// Old name of `llama_vocab_n_tokens`.
#[deprecated(note = "use llama_vocab_n_tokens instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_n_vocab(vocab: Option<&llama_vocab>) -> i32 {
    // SAFETY: the same promise.
    unsafe { llama_vocab_n_tokens(vocab) }
}

/// The token as the file spells it; NULL for a token that does not exist.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_get_text(vocab: Option<&llama_vocab>, token: llama_token) -> *const c_char {
    stub("llama_vocab_get_text", std::ptr::null())
}

/// The token's score.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_get_score(vocab: Option<&llama_vocab>, token: llama_token) -> f32 {
    stub("llama_vocab_get_score", 0.0)
}

/// The token's attributes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_get_attr(vocab: Option<&llama_vocab>, token: llama_token) -> llama_token_attr {
    stub("llama_vocab_get_attr", llama_token_attr::LLAMA_TOKEN_ATTR_UNDEFINED)
}

/// Whether generation ends at this token.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_is_eog(vocab: Option<&llama_vocab>, token: llama_token) -> bool {
    stub("llama_vocab_is_eog", false)
}

/// Whether this token is not text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_is_control(vocab: Option<&llama_vocab>, token: llama_token) -> bool {
    stub("llama_vocab_is_control", false)
}

/// Beginning of sentence; LLAMA_TOKEN_NULL where there is none, here and below.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_bos(vocab: Option<&llama_vocab>) -> llama_token {
    stub("llama_vocab_bos", LLAMA_TOKEN_NULL)
}

/// End of sentence.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_eos(vocab: Option<&llama_vocab>) -> llama_token {
    stub("llama_vocab_eos", LLAMA_TOKEN_NULL)
}

/// End of turn.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_eot(vocab: Option<&llama_vocab>) -> llama_token {
    stub("llama_vocab_eot", LLAMA_TOKEN_NULL)
}

/// Sentence separator.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_sep(vocab: Option<&llama_vocab>) -> llama_token {
    stub("llama_vocab_sep", LLAMA_TOKEN_NULL)
}

/// Line feed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_nl(vocab: Option<&llama_vocab>) -> llama_token {
    stub("llama_vocab_nl", LLAMA_TOKEN_NULL)
}

/// Padding.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_pad(vocab: Option<&llama_vocab>) -> llama_token {
    stub("llama_vocab_pad", LLAMA_TOKEN_NULL)
}

/// Mask.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_mask(vocab: Option<&llama_vocab>) -> llama_token {
    stub("llama_vocab_mask", LLAMA_TOKEN_NULL)
}

/// Whether `llama_tokenize` puts the beginning-of-sentence token first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_get_add_bos(vocab: Option<&llama_vocab>) -> bool {
    stub("llama_vocab_get_add_bos", false)
}

/// Whether `llama_tokenize` puts the end-of-sentence token last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_get_add_eos(vocab: Option<&llama_vocab>) -> bool {
    stub("llama_vocab_get_add_eos", false)
}

/// Whether `llama_tokenize` puts a separator last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_get_add_sep(vocab: Option<&llama_vocab>) -> bool {
    stub("llama_vocab_get_add_sep", false)
}

/// Tokens that the model should never write; their number goes to n_suppress_tokens.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_get_suppress_tokens(vocab: Option<&llama_vocab>, n_suppress_tokens: *mut i32) -> *const llama_token {
    stub("llama_vocab_get_suppress_tokens", std::ptr::null())
}

/// Fill in the middle: before the prefix.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_fim_pre(vocab: Option<&llama_vocab>) -> llama_token {
    stub("llama_vocab_fim_pre", LLAMA_TOKEN_NULL)
}

/// Fill in the middle: before the suffix.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_fim_suf(vocab: Option<&llama_vocab>) -> llama_token {
    stub("llama_vocab_fim_suf", LLAMA_TOKEN_NULL)
}

/// Fill in the middle: before the middle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_fim_mid(vocab: Option<&llama_vocab>) -> llama_token {
    stub("llama_vocab_fim_mid", LLAMA_TOKEN_NULL)
}

/// Fill in the middle: padding.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_fim_pad(vocab: Option<&llama_vocab>) -> llama_token {
    stub("llama_vocab_fim_pad", LLAMA_TOKEN_NULL)
}

/// Fill in the middle: repository name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_fim_rep(vocab: Option<&llama_vocab>) -> llama_token {
    stub("llama_vocab_fim_rep", LLAMA_TOKEN_NULL)
}

/// Fill in the middle: between files.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_fim_sep(vocab: Option<&llama_vocab>) -> llama_token {
    stub("llama_vocab_fim_sep", LLAMA_TOKEN_NULL)
}

/// The beginning-of-sentence token of classifiers.
#[deprecated(note = "use llama_vocab_bos instead")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_cls(vocab: Option<&llama_vocab>) -> llama_token {
    // SAFETY: the same promise.
    unsafe { llama_vocab_bos(vocab) }
}

/// Text to tokens. Their number; negative: n_tokens_max is too small and the number would have been its absolute value; INT32_MIN: too many to count.
/// add_special: with BOS and EOS where the model asks for them; parse_special: a special token spelled out in the text is that token, not its letters.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_tokenize(
    vocab: Option<&llama_vocab>,
    text: *const c_char,
    text_len: i32,
    tokens: *mut llama_token,
    n_tokens_max: i32,
    add_special: bool,
    parse_special: bool,
) -> i32 {
    stub("llama_tokenize", -1)
}

/// Writes the text of a token, without NUL, leaving out up to lstrip leading spaces. Its length; negative: length is too small and its absolute value is needed.
/// special: control tokens are written too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_token_to_piece(
    vocab: Option<&llama_vocab>,
    token: llama_token,
    buf: *mut c_char,
    length: i32,
    lstrip: i32,
    special: bool,
) -> i32 {
    stub("llama_token_to_piece", -1)
}

/// Tokens to text, without NUL. Its length; negative: text_len_max is too small and its absolute value is needed.
/// remove_special: without BOS and EOS; unparse_special: control tokens are written too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_detokenize(
    vocab: Option<&llama_vocab>,
    tokens: *const llama_token,
    n_tokens: i32,
    text: *mut c_char,
    text_len_max: i32,
    remove_special: bool,
    unparse_special: bool,
) -> i32 {
    stub("llama_detokenize", -1)
}
