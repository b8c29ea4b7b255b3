//! Byte-pair encoding: words from the pre-tokenizer, merged by rank. Texts are interned, so that a merge is a look-up of two numbers.
//! Knows nothing of special tokens.
use super::merge::{Merger, Symbol};
use super::pre::{self, Pre};
use super::texts::{Map, Texts};
use super::unicode;
use platform::{Error, Result};

/// The id of a text that takes part in no merge and is no token.
const UNKNOWN: u32 = u32::MAX;

pub struct Bpe {
    pub pre: &'static Pre,
    /// (left, right) -> (rank, joined). Ids below the vocabulary's size are tokens, those above are `extra` texts.
    merges: Map<(u32, u32), (u32, u32)>,
    /// Texts that merges name but that are no tokens.
    extra: Texts,
    /// What byte `b` is a symbol of, in byte-encoded words.
    byte_symbol: [u32; 256],
    /// The token for a byte of a symbol that is no token.
    byte_token: [Option<u32>; 256],
}

impl Bpe {
    /// `merges` are lines "left right", best first.
    pub fn new(tokens: &Texts, merges: &[Vec<u8>], pre: &'static Pre) -> Result<Bpe> {
        let mut bpe = Bpe {
            pre,
            merges: Map::default(),
            extra: Texts::default(),
            byte_symbol: [UNKNOWN; 256],
            byte_token: std::array::from_fn(|b| tokens.find(&byte_text(b as u8, pre.byte_encode))),
        };
        bpe.merges.try_reserve(merges.len()).map_err(|_| Error::no_memory(format!("no memory for {} merges", merges.len())))?;
        for (rank, line) in merges.iter().enumerate() {
            bpe.add_merge(tokens, rank as u32, line);
        }
        let mut text = Vec::new();
        for b in 0..=255u8 {
            text.clear();
            unicode::encode_bytes(&[b], &mut text);
            bpe.byte_symbol[usize::from(b)] = bpe.symbol(tokens, &text);
        }
        Ok(bpe)
    }

    fn add_merge(&mut self, tokens: &Texts, rank: u32, line: &[u8]) {
        let line = line.split(|b| *b == 0).next().unwrap_or_default();
        // The first byte belongs to the left text even if it is a space.
        let Some(at) = line.iter().skip(1).position(|b| *b == b' ').map(|i| i + 1) else { return };
        let (left, right) = (&line[..at], &line[at + 1..]);
        if right.is_empty() {
            return; // no symbol is empty
        }
        let joined = self.intern(tokens, &[left, right].concat());
        let pair = (self.intern(tokens, left), self.intern(tokens, right));
        self.merges.entry(pair).or_insert((rank, joined));
    }

    fn intern(&mut self, tokens: &Texts, text: &[u8]) -> u32 {
        match self.symbol(tokens, text) {
            UNKNOWN => {
                let id = (tokens.len() + self.extra.len()) as u32;
                self.extra.push(text);
                id
            }
            id => id,
        }
    }

    fn symbol(&self, tokens: &Texts, text: &[u8]) -> u32 {
        tokens.find(text).or_else(|| self.extra.find(text).map(|id| id + tokens.len() as u32)).unwrap_or(UNKNOWN)
    }

    /// Appends the tokens of `text`.
    pub fn tokenize(&self, tokens: &Texts, text: &[u8], out: &mut Vec<i32>) -> Result<()> {
        let text = unicode::well_formed(text)?;
        let (mut merger, mut spelled) = (Merger::default(), Vec::new());
        let mut start = 0;
        for end in pre::split(&text, self.pre.splits)? {
            let word = &text[start..end];
            start = end;
            if let Some(id) = self.whole_word(tokens, word, &mut spelled) {
                out.push(id as i32);
                continue;
            }
            self.seed(tokens, word, &mut merger)?;
            merger.run(|l, r| self.merges.get(&(l.id, r.id)).copied())?;
            merger.symbols().for_each(|s| self.emit(tokens, word, s, out));
        }
        Ok(())
    }

    /// The token of a word that is not to be merged.
    fn whole_word(&self, tokens: &Texts, word: &[u8], spelled: &mut Vec<u8>) -> Option<u32> {
        let newlines = self.pre.gemma4 && word.iter().all(|b| *b == b'\n');
        if !self.pre.ignore_merges && !newlines {
            return None;
        }
        if !self.pre.byte_encode {
            return tokens.find(word);
        }
        spelled.clear();
        unicode::encode_bytes(word, spelled);
        tokens.find(spelled)
    }

    /// One symbol a byte, or one a code point where words stay UTF-8.
    fn seed(&self, tokens: &Texts, word: &[u8], merger: &mut Merger) -> Result<()> {
        merger.begin(word.len())?;
        if self.pre.byte_encode {
            word.iter().for_each(|b| merger.push(1, self.byte_symbol[usize::from(*b)]));
            return Ok(());
        }
        let mut rest = word;
        while let Some(lead) = rest.first() {
            let (head, tail) = rest.split_at(unicode::len_by_lead(*lead).min(rest.len()));
            merger.push(head.len(), self.symbol(tokens, head));
            rest = tail;
        }
        Ok(())
    }

    fn emit(&self, tokens: &Texts, word: &[u8], symbol: &Symbol, out: &mut Vec<i32>) {
        if (symbol.id as usize) < tokens.len() {
            return out.push(symbol.id as i32);
        }
        let bytes = word.get(symbol.start as usize..(symbol.start + symbol.len) as usize).unwrap_or_default();
        let mut push = |b: &u8| out.extend(self.byte_token[usize::from(*b)].map(|id| id as i32));
        if !self.pre.byte_encode {
            return bytes.iter().for_each(push);
        }
        // The original looks up the bytes of the spelling, not those of the text.
        let mut spelled = Vec::new();
        unicode::encode_bytes(bytes, &mut spelled);
        spelled.iter().for_each(&mut push);
    }
}

/// How the token of a single byte is written.
fn byte_text(b: u8, byte_encode: bool) -> Vec<u8> {
    if byte_encode { vec![b] } else { format!("<0x{b:02X}>").into_bytes() }
}
