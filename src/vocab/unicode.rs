//! Code points as the tokenizers see them: lenient UTF-8, one class bit per code point, the GPT-2 byte alphabet.
//! The only door to `unicode-properties`, whose version is pinned because a category decides where a word ends, and to
//! `unicode-normalization`, which is asked about assigned code points only: their decompositions never change.
use super::room;
use platform::Result;
use std::borrow::Cow;
use std::sync::OnceLock;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup as Group, UnicodeGeneralCategory};

/// Class bits. Every code point has exactly one: no white space is also a letter, number, mark, punctuation or symbol.
pub const NUMBER: u8 = 1;
pub const LETTER: u8 = 2;
pub const MARK: u8 = 4;
pub const PUNCT: u8 = 8;
pub const SYMBOL: u8 = 16;
/// The regex `\s`: the 25 code points of White_Space.
pub const SPACE: u8 = 32;
/// Control, format, private use, surrogates.
pub const CONTROL: u8 = 64;
/// Unassigned, separators that are no white space, beyond Unicode.
pub const OTHER: u8 = 128;

/// What a byte that is no part of a code point reads as.
pub const REPLACEMENT: u32 = 0xFFFD;
const PAGE: usize = 256;
const N_PAGES: usize = 0x11_0000 / PAGE;

/// The class of a code point; `OTHER` beyond Unicode.
pub fn class(cp: u32) -> u8 {
    // A page is looked up once: 256 binary searches the first time a script appears, one load afterwards.
    static PAGES: [OnceLock<Box<[u8; PAGE]>>; N_PAGES] = [const { OnceLock::new() }; N_PAGES];
    let Some(page) = PAGES.get(cp as usize / PAGE) else { return OTHER };
    page.get_or_init(|| Box::new(std::array::from_fn(|i| look_up(cp / PAGE as u32 * PAGE as u32 + i as u32))))[cp as usize % PAGE]
}

fn look_up(cp: u32) -> u8 {
    let Some(c) = char::from_u32(cp) else { return CONTROL }; // a surrogate
    if c.is_whitespace() {
        return SPACE;
    }
    match c.general_category_group() {
        Group::Number => NUMBER,
        Group::Letter => LETTER,
        Group::Mark => MARK,
        Group::Punctuation => PUNCT,
        Group::Symbol => SYMBOL,
        Group::Other if c.general_category() != GeneralCategory::Unassigned => CONTROL,
        Group::Separator | Group::Other => OTHER,
    }
}

/// The simple lower case, for code points that Unicode 15.1 knows.
pub fn to_lower(cp: u32) -> u32 {
    if cp < 0x80 {
        return (cp as u8).to_ascii_lowercase().into();
    }
    if class(cp) == OTHER {
        return cp;
    }
    char::from_u32(cp).and_then(|c| c.to_lowercase().next()).map_or(cp, u32::from)
}

/// The first code point of the canonical decomposition: a letter without what stands on it.
pub fn without_accents(cp: u32) -> u32 {
    let mut first = None;
    if let Some(c) = char::from_u32(cp).filter(|c| !c.is_ascii() && class(cp) != OTHER) {
        unicode_normalization::char::decompose_canonical(c, |part| first = first.or(Some(part)));
    }
    first.map_or(cp, u32::from)
}

/// Length of a UTF-8 sequence by its first byte; 1 for a byte that cannot start one.
pub fn len_by_lead(lead: u8) -> usize {
    match lead {
        0xC0..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xFF => 4,
        _ => 1,
    }
}

/// The code point at the start of `bytes` (not empty) and its length. As lenient as the original: overlong forms and surrogates
/// are read; anything else that is wrong, also a code point beyond Unicode (on which the original dies), is one replacement a byte.
pub fn decode(bytes: &[u8]) -> (u32, usize) {
    let lead = bytes.first().copied().unwrap_or(0);
    if lead < 0x80 {
        return (lead.into(), 1);
    }
    let len = len_by_lead(lead);
    let Some(tail) = bytes.get(1..len).filter(|t| lead < 0xF8 && len > 1 && t.iter().all(|b| b & 0xC0 == 0x80)) else {
        return (REPLACEMENT, 1);
    };
    let head = u32::from(lead) & (0x7F >> len);
    let cp = tail.iter().fold(head, |cp, b| cp << 6 | u32::from(b & 0x3F));
    if cp <= 0x10_FFFF { (cp, len) } else { (REPLACEMENT, 1) }
}

/// Appends `cp` (at most 0x10FFFF) in its shortest form; surrogates too, which `char` would refuse.
pub fn encode(cp: u32, out: &mut Vec<u8>) {
    let tail = |shift: u32| 0x80 | (cp >> shift & 0x3F) as u8;
    match cp {
        0..0x80 => out.push(cp as u8),
        0x80..0x800 => out.extend([0xC0 | (cp >> 6) as u8, tail(0)]),
        0x800..0x1_0000 => out.extend([0xE0 | (cp >> 12) as u8, tail(6), tail(0)]),
        _ => out.extend([0xF0 | (cp >> 18 & 7) as u8, tail(12), tail(6), tail(0)]),
    }
}

/// All code points of `bytes`.
pub fn code_points(bytes: &[u8]) -> impl Iterator<Item = u32> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (cp, len) = decode(rest);
        rest = &rest[len..];
        Some(cp)
    })
}

/// The text that the code points of `text` spell: itself unless it is malformed.
pub fn well_formed(text: &[u8]) -> Result<Cow<'_, [u8]>> {
    if std::str::from_utf8(text).is_ok() {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = room(3 * text.len())?; // a wrong byte becomes three
    code_points(text).for_each(|cp| encode(cp, &mut out));
    Ok(Cow::Owned(out))
}

/// One past the largest code point of the byte alphabet: 256 + the 68 bytes that have no printable Latin-1 form.
const ALPHABET_END: usize = 256 + 68;

/// GPT-2's byte alphabet: printable Latin-1 stands for itself, the others follow from U+0100 on.
pub const BYTE_TO_CP: [u32; 256] = byte_alphabet();
const CP_TO_BYTE: [i16; ALPHABET_END] = byte_alphabet_inverse();

const fn byte_alphabet() -> [u32; 256] {
    let (mut table, mut byte, mut next) = ([0; 256], 0, 256);
    while byte < 256 {
        table[byte] = byte as u32;
        if !matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF) {
            table[byte] = next;
            next += 1;
        }
        byte += 1;
    }
    table
}

const fn byte_alphabet_inverse() -> [i16; ALPHABET_END] {
    let (mut table, mut byte) = ([-1; ALPHABET_END], 0);
    while byte < 256 {
        table[BYTE_TO_CP[byte] as usize] = byte as i16;
        byte += 1;
    }
    table
}

/// The byte that a code point of the byte alphabet stands for.
pub fn cp_to_byte(cp: u32) -> Option<u8> {
    u8::try_from(*CP_TO_BYTE.get(cp as usize)?).ok()
}

/// Appends `bytes` in the byte alphabet.
pub fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    bytes.iter().for_each(|b| encode(BYTE_TO_CP[usize::from(*b)], out));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        for (c, want) in [
            ('a', LETTER),
            ('ß', LETTER),
            ('٣', NUMBER),
            ('Ⅷ', NUMBER),
            ('\u{301}', MARK),
            ('$', SYMBOL),
            ('_', PUNCT),
            ('\u{85}', SPACE),
            ('\u{3000}', SPACE),
            ('\u{200b}', CONTROL),
            ('\u{2ffc}', SYMBOL), // new in 15.1
            ('\u{1c89}', OTHER),  // a letter from 16.0 on
            ('\u{10ffff}', OTHER),
        ] {
            assert_eq!(class(c.into()), want, "{c:?}");
        }
        assert_eq!(class(u32::MAX), OTHER);
        assert_eq!(class(0xD800), CONTROL);
    }

    #[test]
    fn decompositions() {
        for (c, first) in [('é', 'e'), ('a', 'a'), ('한', '\u{1112}'), ('\u{212b}', 'A'), ('ǖ', 'u'), ('ß', 'ß'), ('が', 'か')] {
            assert_eq!(without_accents(c.into()), u32::from(first), "{c}");
        }
        assert_eq!(without_accents(0xD800), 0xD800);
    }

    #[test]
    fn malformed_bytes_are_one_replacement_each() {
        let cps = |b: &[u8]| code_points(b).collect::<Vec<_>>();
        assert_eq!(cps(b"a\x80b"), [0x61, 0xFFFD, 0x62]);
        assert_eq!(cps(b"\xE4\xBD"), [0xFFFD, 0xFFFD]);
        assert_eq!(cps(b"\xED\xA0\x80\xC0\x80"), [0xD800, 0]);
        assert_eq!(cps(b"\xF7\xBF\xBF\xBF\xFF"), [0xFFFD; 5]);
        assert_eq!(well_formed(b"\xFFa").unwrap().as_ref(), "\u{FFFD}a".as_bytes());
    }

    #[test]
    fn byte_alphabet_is_one_to_one() {
        for b in 0..=255u8 {
            assert_eq!(cp_to_byte(BYTE_TO_CP[usize::from(b)]), Some(b));
        }
        assert_eq!((BYTE_TO_CP[0x20], BYTE_TO_CP[0x0A], cp_to_byte(0x20), cp_to_byte(0x5000)), (0x120, 0x10A, None, None));
    }
}
