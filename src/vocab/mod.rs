//! A vocabulary: text to tokens and back, tokens with a role. Immutable after loading, shared by all threads.
//! It knows metadata keys and texts; it must not know models, sampling or chat.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `load` | metadata to [`Vocab`] |
//! | `special` | ids with a role, texts that end a generation, attributes |
//! | `partition` | special tokens in a text |
//! | `bpe`, `spm`, `merge` | the tokenizers, and the joining of neighbours that they share |
//! | `session` | what some models do to a text before `bpe` |
//! | `pre/` | how BPE cuts text into words |
//! | `piece` | tokens back to text |
//! | `texts`, `unicode` | token texts by id and by text; code points and their classes |
#![forbid(unsafe_code)]
mod bpe;
mod load;
mod merge;
mod partition;
mod piece;
mod pre;
mod session;
mod special;
mod spm;
mod texts;
mod unicode;

use bpe::Bpe;
use partition::{Fragment, Specials};
use piece::SPACE_MARK;
use platform::{Error, Result, log};
use session::Session;
pub use special::{NONE, SpecialIds, attr};
use spm::Spm;
use std::collections::BTreeSet;
use std::ffi::CStr;
use texts::Texts;

/// Longest text in bytes: three times as much, which is what replacement characters may need, still counts in u32.
const MAX_TEXT: usize = 1 << 30;

/// Numbers of `llama_vocab_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum VocabType {
    None = 0,
    Spm = 1,
    Bpe = 2,
    Wpm = 3,
    Ugm = 4,
    Rwkv = 5,
    Plamo2 = 6,
    Test = 7,
}

/// The tokenizer proper.
enum Coder {
    Spm(Box<Spm>),
    Bpe(Box<Bpe>, Session),
    /// Known by name, not built yet.
    Missing(&'static str),
}

#[derive(Clone, Debug, Default)]
struct Flags {
    /// A text starts with a space.
    add_space_prefix: bool,
    add_bos: bool,
    add_eos: bool,
    add_sep: bool,
    /// Spaces before punctuation go when detokenizing.
    clean_spaces: bool,
    /// Spaces are written as U+2581.
    escape_spaces: bool,
    #[expect(dead_code, reason = "the Unigram tokenizer will ask")]
    remove_extra_whitespaces: bool,
}

pub struct Vocab {
    kind: VocabType,
    n_tokens: u32,
    texts: Texts,
    /// Texts as they are shown, where that differs.
    shown: Option<Texts>,
    scores: Vec<f32>,
    attrs: Vec<u32>,
    ids: SpecialIds,
    eog: BTreeSet<i32>,
    suppress: Vec<i32>,
    flags: Flags,
    coder: Coder,
    /// All special tokens, and those that are found even when special tokens are not to be parsed.
    specials: Specials,
    user_defined: Specials,
}

impl Vocab {
    pub fn kind(&self) -> VocabType {
        self.kind
    }
    pub fn n_tokens(&self) -> u32 {
        self.n_tokens
    }
    fn index(&self, id: i32) -> Option<usize> {
        usize::try_from(id).ok().filter(|i| *i < self.n_tokens as usize)
    }
    fn shown(&self) -> &Texts {
        self.shown.as_ref().unwrap_or(&self.texts)
    }
    /// A token as it is written in the vocabulary.
    pub fn text(&self, id: i32) -> Option<&[u8]> {
        self.index(id).map(|i| self.shown().get(i as u32))
    }
    /// The same for C; lives as long as the vocabulary.
    pub fn text_c(&self, id: i32) -> Option<&CStr> {
        self.index(id).map(|i| self.shown().get_c(i as u32).unwrap_or_default())
    }
    pub fn score(&self, id: i32) -> Option<f32> {
        self.index(id).map(|i| self.scores.get(i).copied().unwrap_or(0.0))
    }
    /// Bits of `llama_token_attr`.
    pub fn attr(&self, id: i32) -> Option<u32> {
        self.index(id).map(|i| self.attrs.get(i).copied().unwrap_or(0))
    }
    /// The token with this text.
    pub fn find(&self, text: &[u8]) -> Option<i32> {
        self.texts.find(text).map(|id| id as i32)
    }
    pub fn is_eog(&self, id: i32) -> bool {
        self.eog.contains(&id)
    }
    pub fn is_control(&self, id: i32) -> bool {
        self.attr(id).is_some_and(|a| a & attr::CONTROL != 0)
    }
    /// All tokens that end a generation, ascending.
    pub fn eog_tokens(&self) -> impl Iterator<Item = i32> {
        self.eog.iter().copied()
    }
    /// Tokens that a sampler should never choose.
    pub fn suppress_tokens(&self) -> &[i32] {
        &self.suppress
    }
    /// Tokens with a role, -1 where there is none.
    pub fn ids(&self) -> &SpecialIds {
        &self.ids
    }
    pub fn bos(&self) -> i32 {
        self.ids.bos
    }
    /// The original's name for BOS in encoders.
    pub fn cls(&self) -> i32 {
        self.ids.bos
    }
    pub fn eos(&self) -> i32 {
        self.ids.eos
    }
    pub fn eot(&self) -> i32 {
        self.ids.eot
    }
    pub fn sep(&self) -> i32 {
        self.ids.sep
    }
    pub fn nl(&self) -> i32 {
        self.ids.nl
    }
    pub fn pad(&self) -> i32 {
        self.ids.pad
    }
    pub fn mask(&self) -> i32 {
        self.ids.mask
    }
    pub fn fim_pre(&self) -> i32 {
        self.ids.fim_pre
    }
    pub fn fim_suf(&self) -> i32 {
        self.ids.fim_suf
    }
    pub fn fim_mid(&self) -> i32 {
        self.ids.fim_mid
    }
    pub fn fim_pad(&self) -> i32 {
        self.ids.fim_pad
    }
    pub fn fim_rep(&self) -> i32 {
        self.ids.fim_rep
    }
    pub fn fim_sep(&self) -> i32 {
        self.ids.fim_sep
    }
    pub fn add_bos(&self) -> bool {
        self.flags.add_bos
    }
    pub fn add_eos(&self) -> bool {
        self.flags.add_eos
    }
    pub fn add_sep(&self) -> bool {
        self.flags.add_sep
    }

    /// Text to tokens. `add_special`: with BOS and EOS as the model wants them. `parse_special`: control tokens in the text are read as such.
    /// Text that is not UTF-8 is read with a replacement character for each wrong byte (SPM keeps the bytes).
    pub fn tokenize(&self, text: &[u8], add_special: bool, parse_special: bool) -> Result<Vec<i32>> {
        if let Coder::Missing(name) = self.coder {
            return Err(Error::unsupported(format!("tokenizer '{name}'")));
        }
        if text.len() > MAX_TEXT {
            return Err(Error::invalid(format!("a text of {} bytes is too long to tokenize", text.len())));
        }
        let mut out = room(text.len() + 2)?;
        if add_special && self.flags.add_bos && self.ids.bos != NONE {
            out.push(self.ids.bos);
        }
        self.tokenize_fragments(text, parse_special, &mut out)?;
        let add_eos = add_special && self.flags.add_eos && self.ids.eos != NONE;
        if add_special {
            self.warn_if_doubled(&out, add_eos);
        }
        if add_eos {
            out.push(self.ids.eos);
        }
        Ok(out)
    }

    fn tokenize_fragments(&self, text: &[u8], parse_special: bool, out: &mut Vec<i32>) -> Result<()> {
        let specials = if parse_special { &self.specials } else { &self.user_defined };
        let has = |id: u32, bit: u32| self.attrs.get(id as usize).is_some_and(|a| a & bit != 0);
        // A space goes before the text, and again after each special token.
        let mut needs_space = self.flags.add_space_prefix;
        for fragment in specials.split(&self.texts, text, |id| (has(id, attr::LSTRIP), has(id, attr::RSTRIP)))? {
            match fragment {
                Fragment::Token(id) => {
                    out.push(id as i32);
                    needs_space = self.flags.add_space_prefix;
                }
                Fragment::Text(range) => {
                    self.tokenize_raw(&text[range], needs_space, out)?;
                    needs_space = false;
                }
            }
        }
        Ok(())
    }

    fn tokenize_raw(&self, text: &[u8], needs_space: bool, out: &mut Vec<i32>) -> Result<()> {
        match &self.coder {
            Coder::Spm(spm) => spm.tokenize(&self.texts, &self.scores, &escape_spaces(text, needs_space)?, self.ids.unk, out),
            Coder::Bpe(bpe, session) if self.flags.escape_spaces => session.tokenize(bpe, &self.texts, &escape_spaces(text, false)?, out),
            Coder::Bpe(bpe, session) => session.tokenize(bpe, &self.texts, text, out),
            Coder::Missing(_) => Ok(()),
        }
    }

    fn warn_if_doubled(&self, out: &[i32], add_eos: bool) {
        let twice = |what: &str| log::warn(format!("the prompt has {what} already, and the model asks for one more: now there are two"));
        if self.flags.add_bos && out.len() >= 2 && out[1] == self.ids.bos {
            twice("a BOS token");
        }
        if add_eos && out.last() == Some(&self.ids.eos) {
            twice("an EOS token");
        }
    }
}

/// Spaces as U+2581, with one more in front if asked for.
fn escape_spaces(text: &[u8], prefix: bool) -> Result<Vec<u8>> {
    let n_spaces = text.iter().filter(|b| **b == b' ').count() + usize::from(prefix);
    let mut out = room(text.len() + n_spaces * SPACE_MARK.len())?;
    if prefix {
        out.extend_from_slice(SPACE_MARK);
    }
    for b in text {
        if *b == b' ' { out.extend_from_slice(SPACE_MARK) } else { out.push(*b) }
    }
    Ok(out)
}

/// An empty vector with room for what a caller's text may need: refused memory is an error, not an abort.
fn room<T>(n: usize) -> Result<Vec<T>> {
    let mut v = Vec::new();
    v.try_reserve(n).map_err(|_| Error::no_memory(format!("no memory to tokenize: {n} x {} bytes", size_of::<T>())))?;
    Ok(v)
}

#[cfg(test)]
mod tests;
