//! llama.h: Tokenizers: tokens, their texts and attributes, text to tokens and back.
use super::boundary::with;
use super::ptr;
use super::types::*;
use crate::vocab::VocabType;
use llama_vocab_type::*;
use platform::{Error, log};
use std::ffi::{CStr, c_char};

/// The kind of tokenizer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_type(vocab: Option<&llama_vocab>) -> llama_vocab_type {
    with("llama_vocab_type", vocab, LLAMA_VOCAB_TYPE_NONE, |v| kind(v.0.kind()))
}

/// How many tokens there are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_n_tokens(vocab: Option<&llama_vocab>) -> i32 {
    with("llama_vocab_n_tokens", vocab, 0, |v| i32::try_from(v.0.n_tokens()).unwrap_or(i32::MAX))
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
    with("llama_vocab_get_text", vocab, std::ptr::null(), |v| known(v.0.text_c(token), token).map_or(std::ptr::null(), CStr::as_ptr))
}

/// The token's score.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_get_score(vocab: Option<&llama_vocab>, token: llama_token) -> f32 {
    with("llama_vocab_get_score", vocab, 0.0, |v| known(v.0.score(token), token).unwrap_or(0.0))
}

/// The token's attributes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_get_attr(vocab: Option<&llama_vocab>, token: llama_token) -> llama_token_attr_int {
    with("llama_vocab_get_attr", vocab, 0, |v| known(v.0.attr(token), token).unwrap_or(0) as llama_token_attr_int)
}

/// Whether generation ends at this token.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_is_eog(vocab: Option<&llama_vocab>, token: llama_token) -> bool {
    with("llama_vocab_is_eog", vocab, false, |v| v.0.is_eog(token))
}

/// Whether this token is not text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_is_control(vocab: Option<&llama_vocab>, token: llama_token) -> bool {
    with("llama_vocab_is_control", vocab, false, |v| v.0.is_control(token))
}

/// Beginning of sentence; LLAMA_TOKEN_NULL where there is none, here and below.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_bos(vocab: Option<&llama_vocab>) -> llama_token {
    with("llama_vocab_bos", vocab, LLAMA_TOKEN_NULL, |v| v.0.bos())
}

/// End of sentence.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_eos(vocab: Option<&llama_vocab>) -> llama_token {
    with("llama_vocab_eos", vocab, LLAMA_TOKEN_NULL, |v| v.0.eos())
}

/// End of turn.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_eot(vocab: Option<&llama_vocab>) -> llama_token {
    with("llama_vocab_eot", vocab, LLAMA_TOKEN_NULL, |v| v.0.eot())
}

/// Sentence separator.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_sep(vocab: Option<&llama_vocab>) -> llama_token {
    with("llama_vocab_sep", vocab, LLAMA_TOKEN_NULL, |v| v.0.sep())
}

/// Line feed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_nl(vocab: Option<&llama_vocab>) -> llama_token {
    with("llama_vocab_nl", vocab, LLAMA_TOKEN_NULL, |v| v.0.nl())
}

/// Padding.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_pad(vocab: Option<&llama_vocab>) -> llama_token {
    with("llama_vocab_pad", vocab, LLAMA_TOKEN_NULL, |v| v.0.pad())
}

/// Mask.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_mask(vocab: Option<&llama_vocab>) -> llama_token {
    with("llama_vocab_mask", vocab, LLAMA_TOKEN_NULL, |v| v.0.mask())
}

/// Whether `llama_tokenize` puts the beginning-of-sentence token first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_get_add_bos(vocab: Option<&llama_vocab>) -> bool {
    with("llama_vocab_get_add_bos", vocab, false, |v| v.0.add_bos())
}

/// Whether `llama_tokenize` puts the end-of-sentence token last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_get_add_eos(vocab: Option<&llama_vocab>) -> bool {
    with("llama_vocab_get_add_eos", vocab, false, |v| v.0.add_eos())
}

/// Whether `llama_tokenize` puts a separator last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_get_add_sep(vocab: Option<&llama_vocab>) -> bool {
    with("llama_vocab_get_add_sep", vocab, false, |v| v.0.add_sep())
}

/// Tokens that the model should never write; their number goes to n_suppress_tokens.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_get_suppress_tokens(vocab: Option<&llama_vocab>, n_suppress_tokens: *mut i32) -> *const llama_token {
    with("llama_vocab_get_suppress_tokens", vocab, std::ptr::null(), |v| {
        let list = v.0.suppress_tokens();
        // SAFETY: NULL or room for one number.
        unsafe { ptr::put(n_suppress_tokens, i32::try_from(list.len()).unwrap_or(i32::MAX)) };
        if list.is_empty() { std::ptr::null() } else { list.as_ptr() }
    })
}

/// Fill in the middle: before the prefix.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_fim_pre(vocab: Option<&llama_vocab>) -> llama_token {
    with("llama_vocab_fim_pre", vocab, LLAMA_TOKEN_NULL, |v| v.0.fim_pre())
}

/// Fill in the middle: before the suffix.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_fim_suf(vocab: Option<&llama_vocab>) -> llama_token {
    with("llama_vocab_fim_suf", vocab, LLAMA_TOKEN_NULL, |v| v.0.fim_suf())
}

/// Fill in the middle: before the middle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_fim_mid(vocab: Option<&llama_vocab>) -> llama_token {
    with("llama_vocab_fim_mid", vocab, LLAMA_TOKEN_NULL, |v| v.0.fim_mid())
}

/// Fill in the middle: padding.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_fim_pad(vocab: Option<&llama_vocab>) -> llama_token {
    with("llama_vocab_fim_pad", vocab, LLAMA_TOKEN_NULL, |v| v.0.fim_pad())
}

/// Fill in the middle: repository name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_fim_rep(vocab: Option<&llama_vocab>) -> llama_token {
    with("llama_vocab_fim_rep", vocab, LLAMA_TOKEN_NULL, |v| v.0.fim_rep())
}

/// Fill in the middle: between files.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_vocab_fim_sep(vocab: Option<&llama_vocab>) -> llama_token {
    with("llama_vocab_fim_sep", vocab, LLAMA_TOKEN_NULL, |v| v.0.fim_sep())
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
    with("llama_tokenize", vocab, i32::MIN, |v| {
        // SAFETY: NULL or text_len bytes; NULL or room for n_tokens_max ids.
        let (text, out) = unsafe { (ptr::text_n(text, text_len), ptr::slice_mut(tokens, n_tokens_max)) };
        match v.0.tokenize(text.unwrap_or_default(), add_special, parse_special) {
            Ok(ids) => deliver(&ids, ids.len(), out),
            Err(e) => refused("llama_tokenize", &e, i32::MIN),
        }
    })
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
    with("llama_token_to_piece", vocab, 0, |v| {
        // SAFETY: NULL or room for length bytes.
        let out = unsafe { ptr::slice_mut(buf.cast::<u8>(), length) };
        known(v.0.token_to_piece(token, lstrip, special), token).map_or(0, |piece| deliver(&piece, piece.len(), out))
    })
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
    with("llama_detokenize", vocab, 0, |v| {
        // SAFETY: NULL or n_tokens ids; NULL or room for text_len_max bytes.
        let (ids, out) = unsafe { (ptr::slice(tokens, n_tokens), ptr::slice_mut(text.cast::<u8>(), text_len_max)) };
        match v.0.detokenize_sized(ids.unwrap_or_default(), remove_special, unparse_special) {
            // The original cleans spaces up inside the caller's buffer, so that is what it asks room for.
            Ok((text, needed)) => deliver(&text, needed, out),
            Err(e) => refused("llama_detokenize", &e, 0),
        }
    })
}

fn kind(k: VocabType) -> llama_vocab_type {
    match k {
        VocabType::None => LLAMA_VOCAB_TYPE_NONE,
        VocabType::Spm => LLAMA_VOCAB_TYPE_SPM,
        VocabType::Bpe => LLAMA_VOCAB_TYPE_BPE,
        VocabType::Wpm => LLAMA_VOCAB_TYPE_WPM,
        VocabType::Ugm => LLAMA_VOCAB_TYPE_UGM,
        VocabType::Rwkv => LLAMA_VOCAB_TYPE_RWKV,
        VocabType::Plamo2 => LLAMA_VOCAB_TYPE_PLAMO2,
        VocabType::Test => LLAMA_VOCAB_TYPE_TEST,
    }
}

/// What a token has, with a word in the log where there is no such token.
fn known<T>(found: Option<T>, token: llama_token) -> Option<T> {
    if found.is_none() {
        log::error(format_args!("token {token} is not in the vocabulary"));
    }
    found
}

fn refused(name: &str, e: &Error, failure: i32) -> i32 {
    log::error(format_args!("{name}: {e}"));
    failure
}

/// `items` into the caller's buffer: how many there are, or minus `needed` where `needed` do not fit.
fn deliver<T: Copy>(items: &[T], needed: usize, out: Option<&mut [T]>) -> i32 {
    let (Ok(n), Ok(needed)) = (i32::try_from(items.len()), i32::try_from(needed)) else { return i32::MIN };
    match out.unwrap_or_default().get_mut(..needed as usize) {
        None => -needed,
        Some(room) => {
            room[..items.len()].copy_from_slice(items);
            n
        }
    }
}
