//! Unigram, as T5 and XLM-R have it: the text is normalised, then taken apart so that the sum of the tokens' scores is greatest.
use super::charsmap::Charsmap;
use super::piece::SPACE_MARK;
use super::special::attr;
use super::trie::Trie;
use super::{Lexicon, room, unicode};
use platform::{Error, Result};

pub struct Ugm {
    tokens: Trie,
    /// Texts that the normaliser leaves alone.
    user_defined: Trie,
    charsmap: Charsmap,
    /// What a code point without a token costs.
    unknown_score: f64,
    /// A space goes before the text.
    prefix: bool,
    /// Runs of spaces are one, and none is at the end.
    merge_spaces: bool,
}

/// How much worse than the worst token an unknown one is.
const UNKNOWN_PENALTY: f32 = 10.0;

/// The best way to a place of the text: its last token, where that starts, and the sum of the scores.
#[derive(Clone, Copy)]
struct Best {
    token: i32,
    start: u32,
    score: f64,
}

impl Ugm {
    pub fn new(lexicon: &Lexicon<'_>, charsmap: Charsmap, prefix: bool, merge_spaces: bool) -> Result<Ugm> {
        let with = |bits: u32| {
            let ids = (0..lexicon.texts.len() as u32).filter(move |id| lexicon.attr(*id) & bits != 0);
            ids.map(|id| (lexicon.texts.get(id), id))
        };
        let worst = with(attr::NORMAL).fold(f32::MAX, |min, (_, id)| min.min(lexicon.score(id)));
        Ok(Ugm {
            tokens: Trie::new(with(attr::NORMAL | attr::USER_DEFINED | attr::UNUSED))?,
            user_defined: Trie::new(with(attr::USER_DEFINED))?,
            charsmap,
            unknown_score: f64::from(worst - UNKNOWN_PENALTY),
            prefix,
            merge_spaces,
        })
    }

    pub fn tokenize(&self, lexicon: &Lexicon<'_>, text: &[u8], out: &mut Vec<i32>) -> Result<()> {
        let text = self.normalized(text)?;
        if text.len() > u32::MAX as usize {
            return Err(Error::invalid("a text is too long to tokenize"));
        }
        let best = self.best_ways(lexicon, &text)?;
        let (start, mut at, mut after_unknown) = (out.len(), text.len(), false);
        while at > 0 {
            let Best { token, start, .. } = best[at];
            let is_unknown = token == UNKNOWN || token == lexicon.unk;
            if is_unknown && !after_unknown {
                out.push(lexicon.unknown(|| format!("'{}'", String::from_utf8_lossy(&text[start as usize..at])))?);
            } else if !is_unknown {
                out.push(token);
            }
            (at, after_unknown) = (start as usize, is_unknown);
        }
        out[start..].reverse();
        Ok(())
    }

    /// For every place of the text the best way to it.
    fn best_ways(&self, lexicon: &Lexicon<'_>, text: &[u8]) -> Result<Vec<Best>> {
        let mut best = room(text.len() + 1)?;
        best.resize(text.len() + 1, Best { token: UNKNOWN, start: 0, score: -f64::MAX });
        best[0].score = 0.0;
        let mut at = 0;
        while at < text.len() {
            let (so_far, n_char) = (best[at].score, unicode::len_by_lead(text[at]).min(text.len() - at));
            let mut offer = |len: usize, token: i32, score: f64| {
                let way = &mut best[at + len];
                if so_far + score > way.score {
                    *way = Best { token, start: at as u32, score: so_far + score };
                }
            };
            let mut is_known = false;
            for (len, id) in self.tokens.prefixes(&text[at..]) {
                is_known |= len == n_char;
                // Tokens of the user come first: others have logarithms of probabilities.
                let score = if lexicon.attr(id) & attr::USER_DEFINED != 0 { 0.0 } else { f64::from(lexicon.score(id)) };
                offer(len, id as i32, score);
            }
            if !is_known {
                offer(n_char, UNKNOWN, self.unknown_score);
            }
            at += n_char;
        }
        Ok(best)
    }

    fn normalized(&self, text: &[u8]) -> Result<Vec<u8>> {
        let mut out = Normalized { text: room(text.len() + SPACE_MARK.len())?, in_word: false, wants_prefix: self.prefix };
        let mut rest = text;
        while !rest.is_empty() {
            let (n_read, replacement) = self.normalized_start(rest)?;
            out.text.try_reserve(replacement.len() * SPACE_MARK.len()).map_err(|_| Error::no_memory("no memory to normalise a text"))?;
            replacement.iter().for_each(|b| out.push(*b, self.merge_spaces));
            rest = &rest[n_read..];
        }
        Ok(out.text)
    }

    /// How many bytes at the start of `text` are replaced by what.
    fn normalized_start<'a>(&'a self, text: &'a [u8]) -> Result<(usize, &'a [u8])> {
        // The original asks how far the text agrees with any of them, not whether one ends there.
        let untouched = self.user_defined.agreement(text);
        if untouched > 0 {
            return Ok((untouched, &text[..untouched]));
        }
        if let Some(found) = self.charsmap.longest(text)? {
            return Ok(found);
        }
        Ok(match unicode::decode(text) {
            (unicode::REPLACEMENT, 1) => (1, "\u{FFFD}".as_bytes()),
            (_, len) => (len, &text[..len]),
        })
    }
}

/// In `Best`: no token, whatever the vocabulary calls that.
const UNKNOWN: i32 = -1;

struct Normalized {
    text: Vec<u8>,
    in_word: bool,
    /// The space before the text is yet to come.
    wants_prefix: bool,
}

impl Normalized {
    fn push(&mut self, byte: u8, merge_spaces: bool) {
        if byte == b' ' {
            self.in_word = false;
            if !merge_spaces {
                self.text.extend_from_slice(SPACE_MARK);
            }
            return;
        }
        if !self.in_word {
            self.in_word = true;
            if self.wants_prefix || merge_spaces {
                self.text.extend_from_slice(SPACE_MARK);
                self.wants_prefix = false;
            }
        }
        self.text.push(byte);
    }
}
