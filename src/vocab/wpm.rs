//! WordPiece, as BERT has it: the text is normalised and cut into words, and each word taken apart into the longest tokens from the left.
use super::piece::SPACE_MARK;
use super::texts::Texts;
use super::trie::Trie;
use super::unicode::{self, CONTROL, MARK, PUNCT, SPACE, SYMBOL};
use super::{Lexicon, room};
use platform::Result;

pub struct Wpm {
    tokens: Trie,
    pub lowercase: bool,
    pub strip_accents: bool,
}

impl Wpm {
    pub fn new(tokens: &Texts, lowercase: bool, strip_accents: bool) -> Result<Wpm> {
        let texts = (0..tokens.len() as u32).map(|id| (tokens.get(id), id));
        Ok(Wpm { tokens: Trie::new(texts)?, lowercase, strip_accents })
    }

    pub fn tokenize(&self, lexicon: &Lexicon<'_>, text: &[u8], out: &mut Vec<i32>) -> Result<()> {
        let mut word = room(SPACE_MARK.len() + text.len())?;
        for cp in unicode::code_points(text) {
            let cp = if self.strip_accents { unicode::without_accents(cp) } else { cp };
            match self.role(cp) {
                Role::Dropped => {}
                Role::Space => self.finish(lexicon, &mut word, out)?,
                Role::Letter => self.append(cp, &mut word),
                Role::Word => {
                    self.finish(lexicon, &mut word, out)?;
                    self.append(cp, &mut word);
                    self.finish(lexicon, &mut word, out)?;
                }
            }
        }
        self.finish(lexicon, &mut word, out)
    }

    fn role(&self, cp: u32) -> Role {
        let class = unicode::class(cp);
        match class {
            SPACE => Role::Space,
            _ if cp == 0 || cp == unicode::REPLACEMENT || class == CONTROL => Role::Dropped,
            MARK if self.strip_accents => Role::Dropped,
            PUNCT => Role::Word,
            SYMBOL if cp < 0x7F => Role::Word,
            _ if is_ideograph(cp) => Role::Word,
            _ => Role::Letter,
        }
    }

    fn append(&self, cp: u32, word: &mut Vec<u8>) {
        if word.is_empty() {
            word.extend_from_slice(SPACE_MARK);
        }
        unicode::encode(if self.lowercase { unicode::to_lower(cp) } else { cp }, word);
    }

    /// The tokens of a word: all of it must be known, or the whole word is unknown.
    fn finish(&self, lexicon: &Lexicon<'_>, word: &mut Vec<u8>, out: &mut Vec<i32>) -> Result<()> {
        let (n_before, mut rest) = (out.len(), &word[..]);
        while let Some((len, id)) = self.tokens.longest(rest) {
            out.push(id as i32);
            rest = &rest[len..];
        }
        if !rest.is_empty() {
            out.truncate(n_before);
            out.push(lexicon.unknown(|| format!("the word '{}'", String::from_utf8_lossy(&word[SPACE_MARK.len()..])))?);
        }
        word.clear();
        Ok(())
    }
}

enum Role {
    Dropped,
    /// Ends a word and goes.
    Space,
    /// A word of its own.
    Word,
    Letter,
}

/// The blocks that BERT takes apart. 2B920 is its own slip: the block starts at 2B820.
fn is_ideograph(cp: u32) -> bool {
    matches!(cp, 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x2A6DF | 0x2A700..=0x2B73F | 0x2B740..=0x2B81F
        | 0x2B920..=0x2CEAF | 0x2F800..=0x2FA1F)
}
