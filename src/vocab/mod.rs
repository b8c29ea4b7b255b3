//! A vocabulary: text to tokens and back, tokens with a role. Immutable after loading, shared by all threads.
//! It knows metadata keys and texts; it must not know models, sampling or chat.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `load` | metadata to [`Vocab`] |
//! | `special` | ids with a role, texts that end a generation, attributes |
//! | `partition` | special tokens in a text |
//! | `bpe`, `spm`, `merge` | byte pairs and SentencePiece, and the joining of neighbours that they share |
//! | `queue` | what comes first, for `merge` and `partition` |
//! | `session` | what some models do to a text before `bpe` |
//! | `pre/` | how BPE cuts text into words |
//! | `wpm`, `ugm`, `charsmap`, `rwkv`, `plamo2` | the other tokenizers, and the normaliser of `ugm` |
//! | `trie` | the tree of texts that they search |
//! | `piece`, `pieces` | tokens back to text; the texts of all tokens as a tree |
//! | `texts`, `unicode` | token texts by id and by text; code points and their classes |
#![forbid(unsafe_code)]
mod bpe;
mod charsmap;
mod load;
mod merge;
mod partition;
mod piece;
mod pieces;
mod plamo2;
mod pre;
mod queue;
mod rwkv;
mod session;
mod special;
mod spm;
mod texts;
mod trie;
mod ugm;
mod unicode;
mod wpm;

use bpe::Bpe;
use partition::{Fragment, Specials};
use piece::SPACE_MARK;
pub use pieces::Pieces;
use plamo2::Plamo2;
use platform::{Error, Result, log};
use rwkv::Rwkv;
use session::Session;
pub use special::{NONE, SpecialIds, attr};
use spm::Spm;
use std::collections::BTreeSet;
use std::ffi::CStr;
use std::sync::OnceLock;
pub use texts::Map;
use texts::Texts;
use ugm::Ugm;
pub use unicode::{code_points, encode as encode_code_point};
use wpm::Wpm;

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
    Wpm(Box<Wpm>),
    Ugm(Box<Ugm>),
    Rwkv(Box<Rwkv>),
    Plamo2(Box<Plamo2>),
    /// Of models made for tests: a number for every few bytes.
    Test,
    /// There are no tokens to speak of.
    None,
}

/// What tokenizers ask about tokens.
struct Lexicon<'a> {
    texts: &'a Texts,
    scores: &'a [f32],
    attrs: &'a [u32],
    unk: i32,
}

impl Lexicon<'_> {
    fn score(&self, id: u32) -> f32 {
        self.scores.get(id as usize).copied().unwrap_or(0.0)
    }
    fn attr(&self, id: u32) -> u32 {
        self.attrs.get(id as usize).copied().unwrap_or(0)
    }
    /// The token for what has none.
    fn unknown(&self, what: impl FnOnce() -> String) -> Result<i32> {
        if self.unk >= 0 {
            Ok(self.unk)
        } else {
            Err(Error::invalid(format!("the vocabulary has no token for {} and no unknown token", what())))
        }
    }
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
    pieces: OnceLock<Pieces>,
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
        if let Coder::None = self.coder {
            return Err(Error::invalid("the model has no vocabulary to tokenize with"));
        }
        if text.len() > MAX_TEXT {
            return Err(Error::invalid(format!("a text of {} bytes is too long to tokenize", text.len())));
        }
        let mut out = room(text.len() + 2)?;
        let (first, last) = if add_special { self.frame() } else { (None, None) };
        out.extend(first);
        self.tokenize_fragments(text, parse_special, &mut out)?;
        self.warn_if_doubled(&out, first, last);
        out.extend(last);
        Ok(out)
    }

    /// The tokens that go before and after a text.
    fn frame(&self) -> (Option<i32>, Option<i32>) {
        let (bos, eos) = match self.kind {
            VocabType::Spm | VocabType::Bpe | VocabType::Ugm => (self.flags.add_bos, self.flags.add_eos.then_some(self.ids.eos)),
            VocabType::Wpm => (true, Some(self.ids.sep)),
            // The others take no notice of their flags.
            VocabType::Rwkv | VocabType::Plamo2 | VocabType::Test | VocabType::None => (false, None),
        };
        (bos.then_some(self.ids.bos).filter(|id| *id != NONE), eos.filter(|id| *id != NONE))
    }

    fn tokenize_fragments(&self, text: &[u8], parse_special: bool, out: &mut Vec<i32>) -> Result<()> {
        let specials = if parse_special { &self.specials } else { &self.user_defined };
        let has = |id: u32, bit: u32| self.attrs.get(id as usize).is_some_and(|a| a & bit != 0);
        // A space goes before the text, and again after each special token.
        let mut needs_space = self.flags.add_space_prefix;
        for fragment in specials.split(text, |id| (has(id, attr::LSTRIP), has(id, attr::RSTRIP)))? {
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
        let lexicon = Lexicon { texts: &self.texts, scores: &self.scores, attrs: &self.attrs, unk: self.ids.unk };
        match &self.coder {
            Coder::Spm(_) => self.coder.tokenize(&lexicon, &escape_spaces(text, needs_space)?, out),
            Coder::Bpe(..) if self.flags.escape_spaces => self.coder.tokenize(&lexicon, &escape_spaces(text, false)?, out),
            coder => coder.tokenize(&lexicon, text, out),
        }
    }

    fn warn_if_doubled(&self, out: &[i32], first: Option<i32>, last: Option<i32>) {
        let twice = |what: &str| log::warn(format!("the prompt has {what} already, and the model asks for one more: now there are two"));
        if first.is_some() && out.get(1) == first.as_ref() {
            twice("a first token");
        }
        if last.is_some() && out.last() == last.as_ref() {
            twice("a last token");
        }
    }
}

impl Coder {
    /// Appends the tokens of a text without special tokens.
    fn tokenize(&self, lexicon: &Lexicon<'_>, text: &[u8], out: &mut Vec<i32>) -> Result<()> {
        match self {
            Coder::Spm(spm) => spm.tokenize(lexicon, text, out),
            Coder::Bpe(bpe, session) => session.tokenize(bpe, lexicon.texts, text, out),
            Coder::Wpm(wpm) => wpm.tokenize(lexicon, text, out),
            Coder::Ugm(ugm) => ugm.tokenize(lexicon, text, out),
            Coder::Rwkv(rwkv) => rwkv.tokenize(lexicon, text, out),
            Coder::Plamo2(plamo2) => plamo2.tokenize(text, out),
            Coder::Test => {
                hash_chunks(lexicon.texts.len(), text, out);
                Ok(())
            }
            Coder::None => Ok(()),
        }
    }
}

/// The vocabulary of test models: five bytes, read as a number to the base 31, are a token.
fn hash_chunks(n_tokens: usize, text: &[u8], out: &mut Vec<i32>) {
    let hash = |chunk: &[u8]| chunk.iter().fold(0_usize, |h, b| h * 31 + usize::from(*b));
    out.extend(text.chunks(5).filter_map(|chunk| Some(hash(chunk).checked_rem(n_tokens)? as i32)));
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
