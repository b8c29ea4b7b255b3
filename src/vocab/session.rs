//! What some models do to a text before byte-pair encoding sees it.
use super::bpe::Bpe;
use super::texts::Texts;
use super::unicode;
use platform::Result;

pub enum Session {
    Plain,
    /// White space only separates words and goes.
    Words {
        lowercase: bool,
    },
    /// Between `<dna>` and `</dna>`: one token for every six bases.
    Dna(Dna),
}

/// Ends the texts of six-base tokens, so that they differ from ordinary tokens that look the same. Not shown.
pub const DNA_MARK: &[u8] = "\u{E000}".as_bytes();
const BASES: usize = 6;
const OPEN: &[u8] = b"<dna>";
const CLOSE: &[u8] = b"</dna>";

pub struct Dna {
    open: u32,
    close: u32,
    unknown: u32,
}

impl Session {
    /// By the value of `tokenizer.ggml.model`.
    pub fn new(model: &str, lowercase: bool, tokens: &Texts) -> Session {
        match model {
            "whitespace" => Session::Words { lowercase },
            "hybriddna" => Dna::new(tokens).map_or(Session::Plain, Session::Dna),
            _ => Session::Plain,
        }
    }

    pub fn tokenize(&self, bpe: &Bpe, tokens: &Texts, text: &[u8], out: &mut Vec<i32>) -> Result<()> {
        match self {
            Session::Plain => bpe.tokenize(tokens, text, out),
            Session::Words { lowercase } => words(bpe, tokens, text, *lowercase, out),
            Session::Dna(dna) => dna.tokenize(bpe, tokens, text, out),
        }
    }
}

fn words(bpe: &Bpe, tokens: &Texts, text: &[u8], lowercase: bool, out: &mut Vec<i32>) -> Result<()> {
    let mut word = Vec::new();
    for cp in unicode::code_points(text).chain([u32::from(b' ')]) {
        if unicode::class(cp) != unicode::SPACE {
            unicode::encode(if lowercase { unicode::to_lower(cp) } else { cp }, &mut word);
        } else if !word.is_empty() {
            bpe.tokenize(tokens, &word, out)?;
            word.clear();
        }
    }
    Ok(())
}

/// Where `needle` starts in `text`.
fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len()).position(|w| w == needle)
}

impl Dna {
    /// The id of `<oov>`; six-base tokens follow it.
    pub fn unknown(tokens: &Texts) -> Option<u32> {
        tokens.find(b"<oov>")
    }

    fn new(tokens: &Texts) -> Option<Dna> {
        Some(Dna { open: tokens.find(OPEN)?, close: tokens.find(CLOSE)?, unknown: Dna::unknown(tokens)? })
    }

    fn tokenize(&self, bpe: &Bpe, tokens: &Texts, text: &[u8], out: &mut Vec<i32>) -> Result<()> {
        let mut rest = text;
        while let Some(at) = find(rest, OPEN) {
            bpe.tokenize(tokens, &rest[..at], out)?;
            out.push(self.open as i32);
            rest = &rest[at + OPEN.len()..];
            let end = find(rest, CLOSE);
            self.bases(tokens, &rest[..end.unwrap_or(rest.len())], out);
            let Some(end) = end else { return Ok(()) };
            out.push(self.close as i32);
            rest = &rest[end + CLOSE.len()..];
        }
        bpe.tokenize(tokens, rest, out)
    }

    /// The last group is filled up with A.
    fn bases(&self, tokens: &Texts, bases: &[u8], out: &mut Vec<i32>) {
        for group in bases.chunks(BASES) {
            let mut text = group.to_ascii_uppercase();
            text.resize(BASES, b'A');
            text.extend_from_slice(DNA_MARK);
            out.push(tokens.find(&text).unwrap_or(self.unknown) as i32);
        }
    }
}
