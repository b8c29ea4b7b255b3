//! IQ3_XXS, IQ3_S: super-blocks of 256; four elements at a time are an entry of a code book with signs, every 32 have a 4-bit scale.
use super::iq2::{factors_of_32, signs_and_factors};
use super::{Blocks, Plain, Wide, format, grids};
use crate::DType;
use crate::quant::Format;
use crate::quant::oracle::f16;

pub(crate) const IQ3_XXS: Format = format::<Xxs>();
pub(crate) const IQ3_S: Format = format::<S>();

/// `w[i] = d / 4 * (2 scale + 1) * value[i]`: the entries, then per 32 elements a word with four times seven signs and, on top, the scale.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct BlockXxs {
    d: [u8; 2],
    qs: [[u8; 8]; 8],
    rest: [[u8; 4]; 8],
}
const _: () = assert!(size_of::<BlockXxs>() == 98);

/// `w[i] = d * (2 scale + 1) * value[i]`: the low bits of entries, their top bits from the lowest up, signs, scales from the low nibble up.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct BlockS {
    d: [u8; 2],
    qs: [[u8; 8]; 8],
    qh: [u8; 8],
    signs: [[u8; 8]; 4],
    scales: [u8; 4],
}
const _: () = assert!(size_of::<BlockS>() == 110);

#[inline(always)]
fn put(to: &mut Plain, i: usize, entry: u32) {
    to.q[4 * i..4 * i + 4].copy_from_slice(&entry.to_le_bytes());
}

struct Xxs;
impl Blocks for Xxs {
    type Block = BlockXxs;
    type Kind = Wide;
    const TYPE: DType = DType::IQ3_XXS;
    const ELEMENTS: usize = 256;
    const SIGNS: bool = true;
    #[inline(always)]
    fn unpack(b: &BlockXxs, _: usize, to: &mut Plain) {
        let mut words = [0; 8];
        for (j, (entries, word)) in b.qs.iter().zip(b.rest).enumerate() {
            for (l, e) in entries.iter().enumerate() {
                put(to, 8 * j + l, grids::IQ3_XXS[usize::from(*e)]);
            }
            words[j] = u32::from_le_bytes(word);
        }
        let factors = signs_and_factors(words, &mut to.signs);
        to.put_factors(f16(u16::from_le_bytes(b.d)) / 4.0, factors);
    }
}

struct S;
impl Blocks for S {
    type Block = BlockS;
    type Kind = Wide;
    const TYPE: DType = DType::IQ3_S;
    const ELEMENTS: usize = 256;
    const SIGNS: bool = true;
    #[inline(always)]
    fn unpack(b: &BlockS, _: usize, to: &mut Plain) {
        for (j, (qs, &qh)) in b.qs.iter().zip(&b.qh).enumerate() {
            for (l, &q) in qs.iter().enumerate() {
                put(to, 8 * j + l, grids::IQ3_S[usize::from(q) | usize::from(qh) << (8 - l) & 256]);
            }
        }
        for (s, stored) in to.signs.iter_mut().zip(b.signs) {
            *s = u64::from_le_bytes(stored);
        }
        let mut scales = [0; 8];
        for (j, s) in scales.iter_mut().enumerate() {
            *s = b.scales[j / 2] >> (4 * (j % 2)) & 15;
        }
        to.put_factors(f16(u16::from_le_bytes(b.d)), factors_of_32(scales));
    }
}
