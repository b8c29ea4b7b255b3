//! SentencePiece BPE as the original does it: join the neighbours whose joined text is the token with the highest score;
//! what is no token in the end is spelled in byte tokens.
use super::merge::{Merger, Symbol};
use super::piece::SPACE_MARK;
use super::texts::Texts;
use super::{Lexicon, unicode};
use platform::Result;

const UNKNOWN: u32 = u32::MAX;

#[derive(Clone)]
pub struct Spm {
    /// Length of the longest token: longer texts need no look-up.
    longest: usize,
    /// No token has a U+2581 behind another character. Then words cannot be joined, and each is merged by itself: the result
    /// is the same, and the queue stays short.
    by_word: bool,
    byte_token: [Option<u32>; 256],
}

impl Spm {
    pub fn new(tokens: &Texts) -> Spm {
        Spm {
            longest: (0..tokens.len() as u32).map(|id| tokens.get(id).len()).max().unwrap_or(0),
            by_word: (0..tokens.len() as u32).all(|id| marks_lead(tokens.get(id))),
            byte_token: std::array::from_fn(|b| byte_token(tokens, b as u8)),
        }
    }

    #[cfg(test)]
    pub fn with_words(self: Box<Spm>, by_word: bool) -> Spm {
        assert!(self.by_word);
        Spm { by_word, ..*self }
    }

    /// Appends the tokens of `text`, in which spaces are already U+2581.
    pub fn tokenize(&self, lexicon: &Lexicon<'_>, text: &[u8], out: &mut Vec<i32>) -> Result<()> {
        let mut merger = Merger::default();
        let mut rest = text;
        while !rest.is_empty() {
            let (word, tail) = rest.split_at(self.word_len(rest));
            self.merge(lexicon, word, &mut merger)?;
            merger.symbols().try_for_each(|s| self.emit(lexicon, word, s, out))?;
            rest = tail;
        }
        Ok(())
    }

    /// Length of the stretch at the start of `text` that nothing can join to what follows.
    fn word_len(&self, text: &[u8]) -> usize {
        if !self.by_word {
            return text.len();
        }
        let (mut at, mut after_mark) = (0, true);
        while let Some(lead) = text.get(at) {
            let is_mark = text[at..].starts_with(SPACE_MARK);
            if is_mark && !after_mark {
                return at;
            }
            (at, after_mark) = (at + unicode::len_by_lead(*lead), is_mark);
        }
        text.len()
    }

    fn merge(&self, lexicon: &Lexicon<'_>, word: &[u8], merger: &mut Merger) -> Result<()> {
        merger.begin(word.len())?;
        let mut rest = word;
        while let Some(lead) = rest.first() {
            let (head, tail) = rest.split_at(unicode::len_by_lead(*lead).min(rest.len()));
            merger.push(head.len(), lexicon.texts.find(head).unwrap_or(UNKNOWN));
            rest = tail;
        }
        merger.run(|l, r| {
            let joined = word.get(l.start as usize..(r.start + r.len) as usize).filter(|t| t.len() <= self.longest)?;
            let id = lexicon.texts.find(joined)?;
            Some((best_first(lexicon.score(id)), id))
        })
    }

    fn emit(&self, lexicon: &Lexicon<'_>, text: &[u8], symbol: &Symbol, out: &mut Vec<i32>) -> Result<()> {
        if symbol.id != UNKNOWN {
            out.push(symbol.id as i32);
            return Ok(());
        }
        for b in text.get(symbol.start as usize..(symbol.start + symbol.len) as usize).unwrap_or_default() {
            match self.byte_token[usize::from(*b)] {
                Some(id) => out.push(id as i32),
                None => out.push(lexicon.unknown(|| format!("byte 0x{b:02X}"))?),
            }
        }
        Ok(())
    }
}

/// Every U+2581 in `text` stands at its start or behind another.
fn marks_lead(text: &[u8]) -> bool {
    let n = SPACE_MARK.len();
    let is_inside = |at: usize| text[at..].starts_with(SPACE_MARK) && !text[..at].ends_with(SPACE_MARK);
    !(1..text.len().saturating_sub(n - 1)).any(is_inside)
}

/// `<0xXX>`, or else the byte itself.
pub fn byte_token(tokens: &Texts, b: u8) -> Option<u32> {
    tokens.find(format!("<0x{b:02X}>").as_bytes()).or_else(|| tokens.find(&[b]))
}

/// A key that is smaller for a higher score; NaN comes last, below the `u32::MAX` that no key may be.
fn best_first(score: f32) -> u32 {
    if score.is_nan() {
        return u32::MAX - 1;
    }
    let bits = (score + 0.0).to_bits(); // + 0.0: minus zero and zero are one score
    if bits >> 31 == 1 { bits } else { !bits & 0x7FFF_FFFF }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_inside_a_token_are_seen() {
        assert!(["", "a", "▁", "▁▁a", "▁ab"].iter().all(|t| marks_lead(t.as_bytes())));
        assert!(["a▁", "▁a▁", "▁a▁▁b"].iter().all(|t| !marks_lead(t.as_bytes())));
        assert!(!marks_lead(b"\xF0\xE2\x96\x81\xE2\x96\x81"));
    }

    #[test]
    fn keys_order_scores_downwards() {
        let scores = [f32::INFINITY, 3.5, 1e-40, 0.0, -1e-40, -2.0, -1e9, f32::NEG_INFINITY, f32::NAN];
        assert!(scores.windows(2).all(|w| best_first(w[0]) < best_first(w[1])));
        assert_eq!(best_first(0.0), best_first(-0.0));
    }
}
