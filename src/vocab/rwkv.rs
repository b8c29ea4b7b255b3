//! RWKV: the longest token, again and again. Its texts are written with the escapes of a Python literal.
use super::texts::Texts;
use super::trie::Trie;
use super::{Lexicon, piece};
use platform::Result;

pub struct Rwkv(Trie);

impl Rwkv {
    pub fn new(tokens: &Texts) -> Result<Rwkv> {
        let texts: Vec<Vec<u8>> = (0..tokens.len() as u32).map(|id| piece::unescape_rwkv(tokens.get(id))).collect();
        Ok(Rwkv(Trie::new(texts.iter().map(Vec::as_slice).zip(0..))?))
    }

    pub fn tokenize(&self, lexicon: &Lexicon<'_>, text: &[u8], out: &mut Vec<i32>) -> Result<()> {
        let mut rest = text;
        while let Some(byte) = rest.first() {
            let (len, id) = match self.0.longest(rest) {
                Some((len, id)) => (len, id as i32),
                None => (1, lexicon.unknown(|| format!("byte 0x{byte:02X}"))?),
            };
            out.push(id);
            rest = &rest[len..];
        }
        Ok(())
    }
}
