//! UTF-8 as grammars read it, a byte at a time: a token may end inside a character. As lenient as the original.

/// The bits of a character that is not complete, and how many bytes it lacks. A token that cannot be read leaves -1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Partial {
    pub bits: u32,
    pub n_missing: i32,
}

/// Where reading is: a character begun in an earlier token must go on as one, one begun in this token is taken as it comes.
#[derive(Clone, Copy)]
pub struct Reader {
    pub partial: Partial,
    carried: bool,
}

pub enum Step {
    /// This byte cannot stand here: the token cannot be read.
    Invalid,
    Incomplete(Reader),
    Char(u32, Reader),
}

impl Reader {
    pub fn new(partial: Partial) -> Reader {
        Reader { partial, carried: partial.n_missing > 0 }
    }

    pub fn feed(self, byte: u8) -> Step {
        if self.partial.n_missing > 0 {
            if self.carried && byte >> 6 != 0b10 {
                return Step::Invalid;
            }
            let bits = (self.partial.bits << 6).wrapping_add(u32::from(byte & 0x3F));
            return self.after(bits, self.partial.n_missing - 1, self.carried);
        }
        let (n_missing, head) = match byte {
            0x00..=0x7F => (0, byte),
            0x80..=0xBF => return Step::Invalid,
            0xC0..=0xDF => (1, byte & 0x3F),
            0xE0..=0xEF => (2, byte & 0x1F),
            0xF0..=0xFF => (3, byte & 0x0F),
        };
        self.after(head.into(), n_missing, false)
    }

    fn after(self, bits: u32, n_missing: i32, carried: bool) -> Step {
        let reader = Reader { partial: Partial { bits, n_missing }, carried };
        if n_missing == 0 { Step::Char(bits, reader) } else { Step::Incomplete(reader) }
    }
}

/// The characters of a token's text up to a NUL, and what is left. `None`: it cannot be read.
pub fn decode(text: &[u8], partial: Partial) -> Option<(Vec<u32>, Partial)> {
    let (mut reader, mut chars) = (Reader::new(partial), Vec::new());
    for byte in until_nul(text) {
        reader = match reader.feed(*byte) {
            Step::Invalid => return None,
            Step::Incomplete(r) => r,
            Step::Char(c, r) => {
                chars.push(c);
                r
            }
        };
    }
    Some((chars, if reader.partial.n_missing > 0 { reader.partial } else { Partial::default() }))
}

pub fn until_nul(text: &[u8]) -> &[u8] {
    text.split(|b| *b == 0).next().unwrap_or_default()
}

/// The characters that a partial one may become; `None` if it is no beginning of one.
pub fn range(partial: Partial) -> Option<(u32, u32)> {
    let Partial { bits, n_missing } = partial;
    if n_missing < 0 || (n_missing == 1 && bits < 2) {
        return None;
    }
    let low = bits << (6 * n_missing);
    let high = low | ((1 << (6 * n_missing)) - 1);
    // Shorter forms are not counted.
    let least = match (low, n_missing) {
        (0, 2) => 1 << 11,
        (0, 3) => 1 << 16,
        _ => low,
    };
    Some((least, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_across_tokens() {
        let none = Partial::default();
        assert_eq!(decode("aé\0b".as_bytes(), none), Some((vec![0x61, 0xE9], none)));
        let half = decode(b"\xE4\xBD", none).unwrap().1;
        assert_eq!(half, Partial { bits: 0x13D, n_missing: 1 });
        assert_eq!(range(half), Some((0x4F40, 0x4F7F)));
        assert_eq!(decode(b"\xA0x", half).unwrap().0, [0x4F60, 0x78]);
        assert_eq!((decode(b"x", half), decode(b"\x80", none)), (None, None));
        assert_eq!(decode(b"\xC3A", none).unwrap().0, [0xC1]); // begun here: not looked at
        assert_eq!(range(Partial { bits: 1, n_missing: 1 }), None);
        assert_eq!(range(Partial { bits: 0, n_missing: 3 }), Some((1 << 16, (1 << 18) - 1)));
    }
}
