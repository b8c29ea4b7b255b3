//! IQ3_XXS, IQ3_S: super-blocks of 256; four elements at a time are an entry of a code book with signs, every 32 have a 4-bit scale.
use super::iq2::{factors_of_32, signs, top_factors};
use super::{Blocks, Bytes, Wide, format, grids};
use crate::DType;
use crate::quant::Format;

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

struct Xxs;
impl Blocks for Xxs {
    type Block = BlockXxs;
    type Kind = Wide;
    const TYPE: DType = DType::IQ3_XXS;
    const ELEMENTS: usize = 256;
    const UNIT: f32 = 0.25;
    #[inline(always)]
    unsafe fn values<B: Bytes>(b: &BlockXxs, j: usize) -> B::V {
        let mut words = [0; 16];
        for (i, w) in words.iter_mut().enumerate() {
            *w = grids::IQ3_XXS[usize::from(b.qs[2 * j + i / 8][i % 8])];
        }
        // SAFETY: the caller's contract.
        unsafe { B::half_words(words) }
    }
    #[inline(always)]
    unsafe fn negative<B: Bytes>(b: &BlockXxs, j: usize) -> u64 {
        // SAFETY: the caller's contract.
        unsafe { signs::<B>([b.rest[2 * j], b.rest[2 * j + 1]]) }
    }
    #[inline(always)]
    unsafe fn scales<B: Bytes>(b: &BlockXxs) -> (u16, [u64; 2]) {
        (u16::from_le_bytes(b.d), top_factors(b.rest))
    }
}

struct S;
impl Blocks for S {
    type Block = BlockS;
    type Kind = Wide;
    const TYPE: DType = DType::IQ3_S;
    const ELEMENTS: usize = 256;
    #[inline(always)]
    unsafe fn values<B: Bytes>(b: &BlockS, j: usize) -> B::V {
        let mut numbers = [0; 4];
        // SAFETY: the caller's contract.
        unsafe {
            for (i, n) in numbers.iter_mut().enumerate() {
                let (low, high) = (u64::from_le_bytes(b.qs[2 * j + i / 2]), u64::from(b.qh[2 * j + i / 2]));
                *n = B::deposit(low >> (32 * (i % 2)), 0x00ff_00ff_00ff_00ff) | B::deposit(high >> (4 * (i % 2)), 0x0100_0100_0100_0100);
            }
            B::half_words(grids::entries(&grids::IQ3_S, numbers))
        }
    }
    #[inline(always)]
    unsafe fn negative<B: Bytes>(b: &BlockS, j: usize) -> u64 {
        u64::from_le_bytes(b.signs[j])
    }
    #[inline(always)]
    unsafe fn scales<B: Bytes>(b: &BlockS) -> (u16, [u64; 2]) {
        let s = u64::from(u32::from_le_bytes(b.scales));
        // SAFETY: the caller's contract.
        let [low, high] = unsafe { [B::deposit(s, 0x000f_000f_000f_000f), B::deposit(s >> 16, 0x000f_000f_000f_000f)] };
        (u16::from_le_bytes(b.d), [factors_of_32(low), factors_of_32(high)])
    }
}
