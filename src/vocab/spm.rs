//! SentencePiece BPE as the original does it: join the neighbours whose joined text is the token with the highest score;
//! what is no token in the end is spelled in byte tokens.
use super::merge::{Merger, Symbol};
use super::texts::Texts;
use super::unicode;
use platform::{Error, Result};

const UNKNOWN: u32 = u32::MAX;

pub struct Spm {
    /// Length of the longest token: longer texts need no look-up.
    longest: usize,
    byte_token: [Option<u32>; 256],
}

impl Spm {
    pub fn new(tokens: &Texts) -> Spm {
        Spm {
            longest: (0..tokens.len() as u32).map(|id| tokens.get(id).len()).max().unwrap_or(0),
            byte_token: std::array::from_fn(|b| byte_token(tokens, b as u8)),
        }
    }

    /// Appends the tokens of `text`, in which spaces are already U+2581. `unknown` stands for bytes that have no token.
    pub fn tokenize(&self, tokens: &Texts, scores: &[f32], text: &[u8], unknown: i32, out: &mut Vec<i32>) -> Result<()> {
        let mut merger = Merger::default();
        merger.begin(text.len())?;
        let mut rest = text;
        while let Some(lead) = rest.first() {
            let (head, tail) = rest.split_at(unicode::len_by_lead(*lead).min(rest.len()));
            merger.push(head.len(), tokens.find(head).unwrap_or(UNKNOWN));
            rest = tail;
        }
        merger.run(|l, r| {
            let joined = text.get(l.start as usize..(r.start + r.len) as usize).filter(|t| t.len() <= self.longest)?;
            let id = tokens.find(joined)?;
            Some((best_first(scores.get(id as usize).copied().unwrap_or(0.0)), id))
        });
        merger.symbols().try_for_each(|s| self.emit(text, s, unknown, out))
    }

    fn emit(&self, text: &[u8], symbol: &Symbol, unknown: i32, out: &mut Vec<i32>) -> Result<()> {
        if symbol.id != UNKNOWN {
            out.push(symbol.id as i32);
            return Ok(());
        }
        for b in text.get(symbol.start as usize..(symbol.start + symbol.len) as usize).unwrap_or_default() {
            match self.byte_token[usize::from(*b)] {
                Some(id) => out.push(id as i32),
                None if unknown >= 0 => out.push(unknown),
                None => return Err(Error::invalid(format!("the vocabulary has neither a token for byte 0x{b:02X} nor an unknown token"))),
            }
        }
        Ok(())
    }
}

/// `<0xXX>`, or else the byte itself.
pub fn byte_token(tokens: &Texts, b: u8) -> Option<u32> {
    tokens.find(format!("<0x{b:02X}>").as_bytes()).or_else(|| tokens.find(&[b]))
}

/// A key that is smaller for a higher score; NaN comes last.
fn best_first(score: f32) -> u32 {
    if score.is_nan() {
        return u32::MAX;
    }
    let bits = (score + 0.0).to_bits(); // + 0.0: minus zero and zero are one score
    if bits >> 31 == 1 { bits } else { !bits & 0x7FFF_FFFF }
}

#[cfg(test)]
mod tests {
    use super::best_first;

    #[test]
    fn keys_order_scores_downwards() {
        let scores = [f32::INFINITY, 3.5, 1e-40, 0.0, -1e-40, -2.0, -1e9, f32::NEG_INFINITY, f32::NAN];
        assert!(scores.windows(2).all(|w| best_first(w[0]) < best_first(w[1])));
        assert_eq!(best_first(0.0), best_first(-0.0));
    }
}
