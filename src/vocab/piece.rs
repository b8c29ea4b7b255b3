//! Tokens back to text.
use super::plamo2::byte_named;
use super::special::attr;
use super::{Vocab, VocabType, unicode};
use platform::{Error, Result};
use std::borrow::Cow;

/// U+2581, which stands for a space in SentencePiece texts.
pub const SPACE_MARK: &[u8] = "\u{2581}".as_bytes();

/// Longest text that `decode_text` repeats for a code point outside the byte alphabet: the output grows with its square.
const MAX_ECHO: usize = 4096;

impl Vocab {
    /// The text that a token stands for, less up to `lstrip` leading spaces; control tokens are empty unless `special`. `None`: no such token.
    pub fn token_to_piece(&self, id: i32, lstrip: i32, special: bool) -> Option<Cow<'_, [u8]>> {
        let hidden = !special && self.attr(id)? & (attr::UNKNOWN | attr::CONTROL) != 0;
        let piece = if hidden { Cow::Borrowed(&[][..]) } else { self.piece(id)? };
        let n_strip = piece.iter().zip(0..lstrip).take_while(|(b, _)| **b == b' ').count();
        Some(match piece {
            Cow::Borrowed(p) => Cow::Borrowed(&p[n_strip..]),
            Cow::Owned(mut p) => Cow::Owned(p.split_off(n_strip)),
        })
    }

    fn piece(&self, id: i32) -> Option<Cow<'_, [u8]>> {
        let (text, a) = (self.text(id)?, self.attr(id)?);
        let as_written = a & (attr::UNKNOWN | attr::CONTROL | attr::USER_DEFINED) != 0;
        Some(match self.kind {
            VocabType::None => Cow::Borrowed(&[]),
            VocabType::Test => Cow::Owned(format!("{id:x}").into_bytes()),
            VocabType::Rwkv => Cow::Owned(unescape_rwkv(text)),
            VocabType::Plamo2 => match byte_named(text).filter(|_| a & attr::BYTE != 0) {
                Some(byte) => Cow::Owned(vec![byte]),
                None => Cow::Borrowed(text),
            },
            _ if as_written => Cow::Borrowed(text),
            _ if a & attr::NORMAL != 0 && self.kind == VocabType::Bpe && !self.flags.escape_spaces => Cow::Owned(decode_text(text)),
            _ if a & attr::NORMAL != 0 => unescape_spaces(text),
            _ if a & attr::BYTE != 0 => Cow::Owned(vec![hex_byte(text)]),
            _ => Cow::Borrowed(&[]),
        })
    }

    /// The text of a sequence of tokens.
    pub fn detokenize(&self, tokens: &[i32], remove_special: bool, unparse_special: bool) -> Result<Vec<u8>> {
        self.detokenize_sized(tokens, remove_special, unparse_special).map(|(text, _)| text)
    }

    /// The same, and how many bytes it had before spaces were cleaned up: the buffer that the C function asks for.
    pub fn detokenize_sized(&self, tokens: &[i32], remove_special: bool, unparse_special: bool) -> Result<(Vec<u8>, usize)> {
        if self.kind == VocabType::None {
            return Ok((Vec::new(), 0));
        }
        let (mut rest, mut lstrip) = (tokens, i32::from(self.flags.add_space_prefix));
        if let Some((_, tail)) = rest.split_first().filter(|(t, _)| remove_special && self.flags.add_bos && **t == self.ids.bos) {
            (rest, lstrip) = (tail, 0);
        }
        if let Some((_, head)) = rest.split_last().filter(|(t, _)| remove_special && self.flags.add_eos && **t == self.ids.eos) {
            rest = head;
        }
        let mut text = Vec::new();
        for id in rest {
            let piece = self.token_to_piece(*id, lstrip, unparse_special).ok_or_else(|| Error::invalid(format!("no token {id}")))?;
            text.try_reserve(piece.len()).map_err(|_| Error::no_memory("no memory for detokenized text"))?;
            text.extend_from_slice(&piece);
            lstrip = 0;
        }
        let raw_len = text.len();
        if self.flags.clean_spaces {
            clean_spaces(&mut text);
        }
        Ok((text, raw_len))
    }
}

/// Undoes the spaces that some tokenizers leave before punctuation and contractions; three passes, each on what the one before left.
fn clean_spaces(text: &mut Vec<u8>) {
    rewrite(text, |prev, rest| match (prev, rest) {
        (b' ', [b'?' | b'!' | b'.' | b',', ..]) => Edit::DropSpaceBefore,
        _ => Edit::Keep,
    });
    rewrite(text, |prev, rest| match (prev, rest) {
        (b' ', [b'\'', b' ', ..]) => Edit::DropSpacesAround,
        _ => Edit::Keep,
    });
    rewrite(text, |prev, rest| match (prev, rest) {
        (b' ', [b'\'', b's' | b'm', ..] | [b'\'', b'r' | b'v', b'e', ..]) => Edit::DropSpaceBefore,
        _ => Edit::Keep,
    });
}

enum Edit {
    Keep,
    DropSpaceBefore,
    DropSpacesAround,
}

/// One pass: `edit` sees the byte before and the text from there on.
fn rewrite(text: &mut Vec<u8>, edit: impl Fn(u8, &[u8]) -> Edit) {
    let mut out: Vec<u8> = Vec::with_capacity(text.len());
    out.extend(text.first());
    let (mut i, mut prev) = (1, text.first().copied().unwrap_or(0));
    while let Some(b) = text.get(i) {
        let edit = edit(prev, &text[i..]);
        if !matches!(edit, Edit::Keep) {
            out.pop();
        }
        out.push(*b);
        // A space that was swallowed no longer counts as one.
        (i, prev) = if matches!(edit, Edit::DropSpacesAround) { (i + 2, 0) } else { (i + 1, *b) };
    }
    *text = out;
}

/// Byte alphabet to bytes. What lies outside it is shown as the original shows it, the whole text repeated after each such code point.
fn decode_text(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for cp in unicode::code_points(text) {
        if let Some(b) = unicode::cp_to_byte(cp) {
            out.push(b);
            continue;
        }
        let mut utf8 = Vec::new();
        unicode::encode(cp, &mut utf8);
        out.extend_from_slice(b"[UNK_BYTE_0x");
        utf8.iter().for_each(|b| out.extend_from_slice(format!("{b:02x}").as_bytes()));
        out.extend_from_slice(&text[..text.len().min(MAX_ECHO)]);
        out.push(b']');
    }
    out
}

fn unescape_spaces(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = text.windows(SPACE_MARK.len()).position(|w| w == SPACE_MARK) else { return Cow::Borrowed(text) };
    let (mut out, mut rest) = (text[..first].to_vec(), &text[first..]);
    while let Some(b) = rest.first() {
        let n = if rest.starts_with(SPACE_MARK) { SPACE_MARK.len() } else { 1 };
        out.push(if n > 1 { b' ' } else { *b });
        rest = &rest[n..];
    }
    Cow::Owned(out)
}

/// The byte that `<0xXX>` names; 0 if it names none.
fn hex_byte(text: &[u8]) -> u8 {
    let digits = text.iter().skip(3).take(2).map_while(|b| char::from(*b).to_digit(16));
    digits.fold(0, |n, d| n * 16 + d as u8)
}

/// RWKV texts are written with the escapes of a Python literal.
pub fn unescape_rwkv(text: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some((b, tail)) = rest.split_first() {
        let escape = tail.first().filter(|_| *b == b'\\');
        let hex = |from: &[u8]| from.iter().take(2).map_while(|b| char::from(*b).to_digit(16)).fold(0, |n, d| n * 16 + d as u8);
        let (byte, used) = match escape {
            None => (*b, 1),
            Some(b't') => (b'\t', 2),
            Some(b'n') => (b'\n', 2),
            Some(b'r') => (b'\r', 2),
            Some(b'x') => (hex(&rest[2..]), 4),
            Some(other) => (*other, 2),
        };
        out.push(byte);
        rest = rest.get(used..).unwrap_or_default();
    }
    out
}
