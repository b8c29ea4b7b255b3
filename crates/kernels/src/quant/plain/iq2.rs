//! IQ2_XXS, IQ2_XS, IQ2_S: super-blocks of 256; eight elements at a time are an entry of a code book with signs, every 32 or 16 have a 4-bit
//! scale.
use super::{Blocks, ONES, Plain, Wide, format, grids};
use crate::DType;
use crate::quant::Format;
use crate::quant::oracle::f16;

pub(crate) const IQ2_XXS: Format = format::<Xxs>();
pub(crate) const IQ2_XS: Format = format::<Xs>();
pub(crate) const IQ2_S: Format = format::<S>();

/// `w[i] = d / 8 * (2 scale + 1) * value[i]`. Per 32 elements eight bytes: four entries, then a word with four times seven signs and,
/// on top, the scale.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct BlockXxs {
    d: [u8; 2],
    qs: [[[u8; 4]; 2]; 8],
}
const _: () = assert!(size_of::<BlockXxs>() == 66);

/// The same with four words in each of `qs`, eight elements each: nine bits of entry, seven of signs; `scales[j]`: of elements `32 j ..` (low nibble) and `32 j + 16 ..`
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct BlockXs {
    d: [u8; 2],
    qs: [[u8; 8]; 8],
    scales: [u8; 8],
}
const _: () = assert!(size_of::<BlockXs>() == 74);

/// The same with the low bits of entries in `qs`, the top two of four of them in a byte of `qh`, all eight signs in `signs`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct BlockS {
    d: [u8; 2],
    qs: [u8; 32],
    signs: [[u8; 8]; 4],
    qh: [u8; 8],
    scales: [u8; 8],
}
const _: () = assert!(size_of::<BlockS>() == 82);

// (Loops and no closures here and in `Blocks::unpack`: what is not inlined is compiled without the instruction set.)

/// What is stored of eight signs: seven of them, and the number of ones is even. Twice four times seven, from the low end of each word up.
#[inline(always)]
fn signs(words: [u32; 2]) -> u64 {
    let v = u64::from(words[0]) | u64::from(words[1]) << 32;
    let mask = 0x0000_007f_0000_007f;
    even(v & mask | (v & mask << 7) << 1 | (v & mask << 14) << 2 | (v & mask << 21) << 3)
}

/// The same of eight bytes.
#[inline(always)]
fn even(b: u64) -> u64 {
    let odd = b ^ b >> 4;
    let odd = odd ^ odd >> 2;
    b | ((odd ^ odd >> 1) & ONES) << 7
}

/// `signs` of eight words, and the factors of the scales on top of them, one for each 32 elements.
#[inline(always)]
pub(super) fn signs_and_factors(words: [u32; 8], signs_of: &mut [u64; 4]) -> [u64; 2] {
    for (i, s) in signs_of.iter_mut().enumerate() {
        *s = signs([words[2 * i], words[2 * i + 1]]);
    }
    let mut scales = [0; 8];
    for (s, word) in scales.iter_mut().zip(words) {
        *s = (word >> 28) as u8;
    }
    factors_of_32(scales)
}

/// The factors of a scale for each 32 elements.
#[inline(always)]
pub(super) fn factors_of_32(scales: [u8; 8]) -> [u64; 2] {
    let mut f = [ONES; 2];
    for (j, s) in scales.into_iter().enumerate() {
        f[j / 4] += (u64::from(s) * 0x0202) << (16 * (j % 4));
    }
    f
}

/// The factors of 4-bit scales, two to a byte from its low end up.
#[inline(always)]
fn factors_of_16(scales: &[u8; 8]) -> [u64; 2] {
    let all = u64::from_le_bytes(*scales);
    let mut f = [all & 0xffff_ffff, all >> 32];
    for s in &mut f {
        *s = (*s | *s << 16) & 0x0000_ffff_0000_ffff;
        *s = (*s | *s << 8) & 0x00ff_00ff_00ff_00ff;
        *s = 2 * ((*s | *s << 4) & (15 * ONES)) + ONES;
    }
    f
}

#[inline(always)]
fn put(to: &mut Plain, i: usize, entry: u64) {
    to.q[8 * i..8 * i + 8].copy_from_slice(&entry.to_le_bytes());
}

struct Xxs;
impl Blocks for Xxs {
    type Block = BlockXxs;
    type Kind = Wide;
    const TYPE: DType = DType::IQ2_XXS;
    const ELEMENTS: usize = 256;
    const SIGNS: bool = true;
    #[inline(always)]
    fn unpack(b: &BlockXxs, _: usize, to: &mut Plain) {
        let mut words = [0; 8];
        for (j, [entries, word]) in b.qs.iter().enumerate() {
            for (l, e) in entries.iter().enumerate() {
                put(to, 4 * j + l, grids::IQ2_XXS[usize::from(*e)]);
            }
            words[j] = u32::from_le_bytes(*word);
        }
        let factors = signs_and_factors(words, &mut to.signs);
        to.put_factors(f16(u16::from_le_bytes(b.d)) / 8.0, factors);
    }
}

struct Xs;
impl Blocks for Xs {
    type Block = BlockXs;
    type Kind = Wide;
    const TYPE: DType = DType::IQ2_XS;
    const ELEMENTS: usize = 256;
    const SIGNS: bool = true;
    #[inline(always)]
    fn unpack(b: &BlockXs, _: usize, to: &mut Plain) {
        for (i, four) in b.qs.iter().enumerate() {
            let q = u64::from_le_bytes(*four);
            for l in 0..4 {
                put(to, 4 * i + l, grids::IQ2_XS[(q >> (16 * l) & 511) as usize]);
            }
            let s = q >> 9 & 0x007f_007f_007f_007f;
            let s = (s | s >> 8) & 0x0000_ffff_0000_ffff;
            let s = (s | s >> 16) & 0xffff_ffff;
            to.signs[i / 2] |= s << (32 * (i % 2));
        }
        for s in &mut to.signs {
            *s = even(*s);
        }
        to.put_factors(f16(u16::from_le_bytes(b.d)) / 8.0, factors_of_16(&b.scales));
    }
}

struct S;
impl Blocks for S {
    type Block = BlockS;
    type Kind = Wide;
    const TYPE: DType = DType::IQ2_S;
    const ELEMENTS: usize = 256;
    const SIGNS: bool = true;
    #[inline(always)]
    fn unpack(b: &BlockS, _: usize, to: &mut Plain) {
        for (j, (qs, &qh)) in b.qs.as_chunks::<4>().0.iter().zip(&b.qh).enumerate() {
            for (l, &q) in qs.iter().enumerate() {
                put(to, 4 * j + l, grids::IQ2_S[usize::from(q) | usize::from(qh) << (8 - 2 * l) & 0x300]);
            }
        }
        for (s, stored) in to.signs.iter_mut().zip(b.signs) {
            *s = u64::from_le_bytes(stored);
        }
        to.put_factors(f16(u16::from_le_bytes(b.d)) / 8.0, factors_of_16(&b.scales));
    }
}
