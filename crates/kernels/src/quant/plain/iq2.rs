//! IQ2_XXS, IQ2_XS, IQ2_S: super-blocks of 256; eight elements at a time are an entry of a code book with signs, every 32 or 16 have a 4-bit
//! scale.
use super::{Blocks, Plain, Wide, format, grids};
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

/// The same with `qs[i]` eight elements each: nine bits of entry, seven of signs; `scales[j]`: of elements `32 j ..` (low nibble) and `32 j + 16 ..`
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct BlockXs {
    d: [u8; 2],
    qs: [[u8; 2]; 32],
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

/// Four times seven bits, each with an eighth on top that makes the number of ones even: what is stored of eight signs.
#[inline(always)]
pub(super) fn signs(sevens: u32) -> u64 {
    let b = sevens & 0x7f | (sevens & 0x3f80) << 1 | (sevens & 0x1f_c000) << 2 | (sevens & 0xfe0_0000) << 3;
    let odd = b ^ b >> 4;
    let odd = odd ^ odd >> 2;
    u64::from(b | ((odd ^ odd >> 1) & 0x0101_0101) << 7)
}

/// The factors of 4-bit scales, two to a byte.
#[inline(always)]
fn factors(scales: &[u8; 8]) -> [u8; 16] {
    let low = u64::from_le_bytes(*scales);
    let (low, high) = (low & 0x0f0f_0f0f_0f0f_0f0f, low >> 4 & 0x0f0f_0f0f_0f0f_0f0f);
    let (low, high) = (low.to_le_bytes(), high.to_le_bytes());
    let mut f = [0; 16];
    for i in 0..8 {
        (f[2 * i], f[2 * i + 1]) = (2 * low[i] + 1, 2 * high[i] + 1);
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
        let mut f = [0; 16];
        for (j, [entries, rest]) in b.qs.iter().enumerate() {
            let rest = u32::from_le_bytes(*rest);
            for (l, e) in entries.iter().enumerate() {
                put(to, 4 * j + l, grids::IQ2_XXS[usize::from(*e)]);
            }
            f[2 * j..2 * j + 2].fill(2 * (rest >> 28) as u8 + 1);
            to.signs[j / 2] |= signs(rest) << (32 * (j % 2));
        }
        to.put_factors(f16(u16::from_le_bytes(b.d)) / 8.0, f);
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
        for (j, qs) in b.qs.as_chunks::<4>().0.iter().enumerate() {
            let mut sevens = 0;
            for (l, q) in qs.iter().enumerate() {
                let q = u16::from_le_bytes(*q);
                put(to, 4 * j + l, grids::IQ2_XS[usize::from(q & 511)]);
                sevens |= u32::from(q >> 9) << (7 * l);
            }
            to.signs[j / 2] |= signs(sevens) << (32 * (j % 2));
        }
        to.put_factors(f16(u16::from_le_bytes(b.d)) / 8.0, factors(&b.scales));
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
        to.signs = b.signs.map(u64::from_le_bytes);
        to.put_factors(f16(u16::from_le_bytes(b.d)) / 8.0, factors(&b.scales));
    }
}
