//! llama.h: The samplers that come with the library. NULL is returned where there is no memory or a parameter makes no sense.
#![allow(unused_variables, reason = "the names of llama.h")]
use super::boundary::{attempt, guard, with};
use super::links;
use super::ptr;
use super::types::*;
use crate::grammar::Pattern;
use crate::sampling::{self, Bias, Sampler, Triggers, Words};
use crate::vocab::{Pieces, Vocab};
use std::ffi::c_char;
use std::sync::Arc;

/// The most likely token.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_greedy() -> *mut llama_sampler {
    new(|| sampling::greedy())
}

/// A random token, by probability. LLAMA_DEFAULT_SEED: a random seed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_dist(seed: u32) -> *mut llama_sampler {
    new(|| sampling::dist(seed))
}

/// Keeps the k most likely tokens; all of them for k <= 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_top_k(k: i32) -> *mut llama_sampler {
    new(|| sampling::top_k(k))
}

/// Keeps the most likely tokens that together have probability p, at least min_keep.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_top_p(p: f32, min_keep: usize) -> *mut llama_sampler {
    new(|| sampling::top_p(p, min_keep))
}

/// Keeps tokens at least p times as likely as the most likely one, at least min_keep.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_min_p(p: f32, min_keep: usize) -> *mut llama_sampler {
    new(|| sampling::min_p(p, min_keep))
}

/// Keeps tokens whose surprise is close to the expected one (arXiv 2202.00666), at least min_keep.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_typical(p: f32, min_keep: usize) -> *mut llama_sampler {
    new(|| sampling::typical(p, min_keep))
}

/// Divides logits by t; for t <= 0 only the largest is left.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_temp(t: f32) -> *mut llama_sampler {
    new(|| sampling::temp(t))
}

/// A temperature between t - delta and t + delta, by entropy (arXiv 2309.02772).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_temp_ext(t: f32, delta: f32, exponent: f32) -> *mut llama_sampler {
    new(|| sampling::temp_ext(t, delta, exponent))
}

/// With probability p, removes all tokens above t but the least likely of them, at least min_keep stay.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_xtc(p: f32, t: f32, min_keep: usize, seed: u32) -> *mut llama_sampler {
    new(|| sampling::xtc(p, t, min_keep, seed))
}

/// Keeps tokens whose logit is within n standard deviations of the largest (arXiv 2411.07641).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_top_n_sigma(n: f32) -> *mut llama_sampler {
    new(|| sampling::top_n_sigma(n))
}

/// Keeps the surprise near tau by learning rate eta, estimated from m tokens (arXiv 2007.14966).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_mirostat(n_vocab: i32, seed: u32, tau: f32, eta: f32, m: i32) -> *mut llama_sampler {
    new(|| sampling::mirostat(n_vocab, seed, tau, eta, m))
}

/// Keeps the surprise near tau by learning rate eta, by truncation (arXiv 2007.14966).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_mirostat_v2(seed: u32, tau: f32, eta: f32) -> *mut llama_sampler {
    new(|| sampling::mirostat_v2(seed, tau, eta))
}

/// Only what a GBNF grammar allows. NULL where the grammar cannot be read; an empty one allows everything.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_grammar(
    vocab: Option<&llama_vocab>,
    grammar_str: *const c_char,
    grammar_root: *const c_char,
) -> *mut llama_sampler {
    // SAFETY: NULL or terminated strings.
    let (text, root) = unsafe { (ptr::text(grammar_str), ptr::text(grammar_root)) };
    grammar("llama_sampler_init_grammar", vocab, text, root, || Ok(None))
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
    // SAFETY: NULL or terminated strings, NULL or as many of them and as many tokens as the numbers say.
    let (text, root, words, tokens) = unsafe {
        (
            ptr::text(grammar_str),
            ptr::text(grammar_root),
            texts(trigger_words, num_trigger_words),
            ptr::slice(trigger_tokens, num_trigger_tokens),
        )
    };
    grammar("llama_sampler_init_grammar_lazy", vocab, text, root, || {
        let patterns = if words.is_empty() { Vec::new() } else { vec![Pattern::of_words(&words)?] };
        Ok(Some(Triggers { patterns, tokens: tokens.unwrap_or_default().to_vec() }))
    })
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
    // SAFETY: NULL or terminated strings, NULL or as many of them and as many tokens as the numbers say.
    let (text, root, patterns, tokens) = unsafe {
        let patterns = texts(trigger_patterns, num_trigger_patterns);
        (ptr::text(grammar_str), ptr::text(grammar_root), patterns, ptr::slice(trigger_tokens, num_trigger_tokens))
    };
    grammar("llama_sampler_init_grammar_lazy_patterns", vocab, text, root, || {
        let patterns = patterns.iter().map(|p| Pattern::new(p)).collect::<platform::Result<_>>()?;
        Ok(Some(Triggers { patterns, tokens: tokens.unwrap_or_default().to_vec() }))
    })
}

/// `n` strings; NULLs among them are skipped.
///
/// # Safety
/// `p` is NULL or has `n` pointers, each NULL or a terminated string.
unsafe fn texts<'a>(p: *mut *const c_char, n: usize) -> Vec<&'a [u8]> {
    // SAFETY: the caller's promise.
    let list = unsafe { ptr::slice(p, n) }.unwrap_or_default();
    // SAFETY: as above.
    list.iter().filter_map(|s| unsafe { ptr::text(*s) }).collect()
}

fn grammar(
    name: &str,
    vocab: Option<&llama_vocab>,
    text: Option<&[u8]>,
    root: Option<&[u8]>,
    triggers: impl FnOnce() -> platform::Result<Option<Triggers>>,
) -> *mut llama_sampler {
    let Some(text) = text.filter(|t| !t.is_empty()) else { return new(|| sampling::empty(c"grammar")) };
    with(name, vocab.zip(root), std::ptr::null_mut(), |(v, root)| {
        attempt(std::ptr::null_mut(), || Ok(links::single(sampling::grammar(Arc::new(VocabWords(v.0.clone())), text, root, triggers()?)?)))
    })
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
    new(|| sampling::penalties(penalty_last_n, penalty_repeat, penalty_freq, penalty_present))
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
    // SAFETY: NULL or num_breakers pointers, each NULL or a terminated string.
    let strings = unsafe { texts(seq_breakers, num_breakers) };
    with("llama_sampler_init_dry", vocab, std::ptr::null_mut(), |v| {
        let find = || sampling::breakers(&VocabWords(v.0.clone()), &strings);
        new(|| sampling::dry(dry_multiplier, dry_base, dry_allowed_length, dry_penalty_last_n, find))
    })
}

/// Prefers tokens near a target probability, corrected by a moving average of what was taken. The last of a chain.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_adaptive_p(target: f32, decay: f32, seed: u32) -> *mut llama_sampler {
    new(|| sampling::adaptive_p(target, decay, seed))
}

/// Adds to the logits of some tokens.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_logit_bias(
    n_vocab: i32,
    n_logit_bias: i32,
    logit_bias: *const llama_logit_bias,
) -> *mut llama_sampler {
    // SAFETY: NULL or n_logit_bias elements.
    let biases = unsafe { ptr::slice(logit_bias, n_logit_bias) }.unwrap_or_default();
    new(|| sampling::logit_bias(&biases.iter().map(|b| Bias { token: b.token, bias: b.bias }).collect::<Vec<_>>()))
}

/// For fill-in-the-middle: joins tokens with the same prefix, ends where ending is likely. After top_k and top_p.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init_infill(vocab: Option<&llama_vocab>) -> *mut llama_sampler {
    with("llama_sampler_init_infill", vocab, std::ptr::null_mut(), |v| new(|| sampling::infill(Arc::new(VocabWords(v.0.clone())))))
}

fn new(make: impl FnOnce() -> Box<dyn Sampler>) -> *mut llama_sampler {
    guard(std::ptr::null_mut(), || links::single(make()))
}

/// What samplers ask of a vocabulary.
struct VocabWords(Arc<Vocab>);

impl Words for VocabWords {
    fn n_tokens(&self) -> i32 {
        i32::try_from(self.0.n_tokens()).unwrap_or(i32::MAX)
    }
    fn is_eog(&self, token: i32) -> bool {
        self.0.is_eog(token)
    }
    fn end(&self) -> Option<i32> {
        [self.0.eot(), self.0.eos()].into_iter().find(|t| *t != LLAMA_TOKEN_NULL)
    }
    fn piece(&self, token: i32) -> Vec<u8> {
        self.0.token_to_piece(token, 0, false).unwrap_or_default().into_owned()
    }
    fn whole_piece(&self, token: i32) -> Vec<u8> {
        self.0.token_to_piece(token, 0, true).unwrap_or_default().into_owned()
    }
    fn pieces(&self) -> platform::Result<&Pieces> {
        self.0.pieces()
    }
    fn ends(&self) -> Vec<i32> {
        self.0.eog_tokens().collect()
    }
    fn special(&self, text: &[u8]) -> Option<i32> {
        let tokens = self.0.tokenize(text, false, true).ok()?;
        if let [token] = tokens[..] { Some(token) } else { None }
    }
    fn text(&self, token: i32) -> Vec<u8> {
        self.0.detokenize(&[token], false, true).unwrap_or_default()
    }
    fn tokenize(&self, text: &[u8]) -> Vec<i32> {
        self.0.tokenize(text, false, false).unwrap_or_default()
    }
}
