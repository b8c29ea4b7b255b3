//! SentencePiece's precompiled normaliser: which stretches of a text are replaced by what. A double array (S. Kanda, 2018) and the
//! replacements it points to, as the file has them: every index is checked where it is used.
use platform::{Error, Result};

#[derive(Default)]
pub struct Charsmap {
    /// The double array. Bits of a unit: 0-7 the byte that leads to it, 8 whether a text ends there, 9 whether the offset counts in
    /// 256s, 10-30 the offset to its children; where a text ends, the unit at the offset holds the place of the replacement.
    units: Vec<u32>,
    /// Texts, each followed by a NUL.
    replacements: Vec<u8>,
}

const IS_END: u32 = 1 << 8;
const IS_WIDE: u32 = 1 << 9;
const IS_VALUE: u32 = 1 << 31;

fn broken() -> Error {
    Error::invalid("key tokenizer.ggml.precompiled_charsmap is broken")
}

impl Charsmap {
    /// `bytes`: the array's size in bytes as u32, the array, the replacements.
    pub fn new(bytes: &[u8]) -> Result<Charsmap> {
        let (size, rest) = bytes.split_first_chunk::<4>().ok_or_else(broken)?;
        let size = u32::from_le_bytes(*size) as usize;
        let (array, replacements) = rest.split_at_checked(size).filter(|(_, r)| !r.is_empty()).ok_or_else(broken)?;
        let units = array.chunks_exact(4).map(|u| u32::from_le_bytes([u[0], u[1], u[2], u[3]])).collect();
        Ok(Charsmap { units, replacements: replacements.to_vec() })
    }

    /// The longest stretch at the start of `text` that is replaced: its length and what stands for it.
    pub fn longest(&self, text: &[u8]) -> Result<Option<(usize, &[u8])>> {
        let mut found = None;
        if !self.units.is_empty() {
            let mut at = offset(self.unit(0)?);
            for (byte, len) in text.iter().zip(1..).take_while(|(b, _)| **b != 0) {
                at ^= u32::from(*byte);
                let unit = self.unit(at)?;
                if unit & (IS_VALUE | 0xFF) != u32::from(*byte) {
                    break;
                }
                at ^= offset(unit);
                if unit & IS_END != 0 {
                    found = Some((len, self.unit(at)? & !IS_VALUE));
                }
            }
        }
        found.map(|(len, place)| Ok((len, self.replacement(place)?))).transpose()
    }

    fn unit(&self, at: u32) -> Result<u32> {
        self.units.get(at as usize).copied().ok_or_else(broken)
    }

    fn replacement(&self, place: u32) -> Result<&[u8]> {
        let rest = self.replacements.get(place as usize..).ok_or_else(broken)?;
        let len = rest.iter().position(|b| *b == 0).ok_or_else(broken)?;
        Ok(&rest[..len])
    }
}

fn offset(unit: u32) -> u32 {
    (unit >> 10) << if unit & IS_WIDE != 0 { 8 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a` becomes "xy" and `ab` nothing: root 0 with offset 0x80, children at 0x80 ^ byte.
    fn bytes() -> Vec<u8> {
        let mut units = vec![0_u32; 256];
        units[0] = 0x80 << 10;
        let a = 0x80 ^ usize::from(b'a');
        units[a] = u32::from(b'a') | IS_END | (0x10 ^ a as u32) << 10; // offset leads to 0x10, where the value lies
        units[0x10] = IS_VALUE; // place 0
        let b = 0x10 ^ usize::from(b'b');
        units[b] = u32::from(b'b') | IS_END | (0x11 ^ b as u32) << 10;
        units[0x11] = IS_VALUE | 3; // place 3
        let array: Vec<u8> = units.iter().flat_map(|u| u.to_le_bytes()).collect();
        [&(array.len() as u32).to_le_bytes()[..], &array, b"xy\0\0"].concat()
    }

    #[test]
    fn replaces_the_longest() {
        let map = Charsmap::new(&bytes()).unwrap();
        assert_eq!(map.longest(b"ac").unwrap(), Some((1, &b"xy"[..])));
        assert_eq!(map.longest(b"abc").unwrap(), Some((2, &b""[..])));
        assert_eq!((map.longest(b"b").unwrap(), map.longest(b"").unwrap()), (None, None));
        assert_eq!(Charsmap::default().longest(b"a").unwrap(), None);
    }

    #[test]
    fn broken_maps_are_refused() {
        let good = bytes();
        for bad in [&b""[..], b"\x04\0\0", b"\0\0\0\0", b"\xFF\xFF\xFF\xFFabc", &good[..good.len() - 4]] {
            assert!(Charsmap::new(bad).is_err());
        }
        let unterminated = Charsmap::new(&good[..good.len() - 2]).unwrap();
        assert!(unterminated.longest(b"a").is_err() && unterminated.longest(b"ab").is_err());
        let short = Charsmap::new(b"\x04\0\0\0\0\xFC\xFF\x7F\0").unwrap(); // an offset beyond the array
        assert!(short.longest(b"a").is_err());
    }
}
