//! IQ2_XXS, IQ2_XS, IQ2_S: super-blocks of 256; eight elements at a time are an entry of a code book with signs, every 32 or 16 have a 4-bit
//! scale.
use super::{Blocks, Bytes, ONES, Wide, format, grids};
use crate::DType;
use crate::quant::Format;

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
    qs: [[u8; 4]; 8],
    signs: [[u8; 8]; 4],
    qh: [u8; 8],
    scales: [u8; 8],
}
const _: () = assert!(size_of::<BlockS>() == 82);

/// Signs are stored as seven of eight; the number of ones is even. All of eight times eight.
///
/// # Safety
/// The CPU has `B`.
#[inline(always)]
unsafe fn eights<B: Bytes>(sevens: u64) -> u64 {
    // SAFETY: the caller's contract.
    let b = unsafe { B::deposit(sevens, 127 * ONES) };
    let odd = b ^ b >> 4;
    let odd = odd ^ odd >> 2;
    b | ((odd ^ odd >> 1) & ONES) << 7
}

/// The signs in two words, four times seven in each.
///
/// # Safety
/// The CPU has `B`.
#[inline(always)]
pub(super) unsafe fn signs<B: Bytes>(words: [[u8; 4]; 2]) -> u64 {
    let [a, b] = words.map(|w| u64::from(u32::from_le_bytes(w)));
    // SAFETY: the caller's contract.
    unsafe { eights::<B>(a & 0x0fff_ffff | b << 28) }
}

/// The factors of the scales on top of such words, one for each 32 elements.
#[inline(always)]
pub(super) fn top_factors(words: [[u8; 4]; 8]) -> [u64; 2] {
    let mut f = [0; 2];
    for (i, word) in words.into_iter().enumerate() {
        f[i / 4] |= u64::from(word[3] >> 4) << (16 * (i % 4));
    }
    [factors_of_32(f[0]), factors_of_32(f[1])]
}

/// The factors of four scales, one in each 16 bits, of 32 elements each.
#[inline(always)]
pub(super) fn factors_of_32(scales: u64) -> u64 {
    (2 * scales + 0x0001_0001_0001_0001) * 0x0101
}

/// The factors of eight scales.
#[inline(always)]
pub(super) fn factors(scales: u64) -> u64 {
    2 * scales + ONES
}

/// The factors of 4-bit scales, two to a byte from its low end up.
///
/// # Safety
/// The CPU has `B`.
#[inline(always)]
unsafe fn nibble_factors<B: Bytes>(scales: [u8; 8]) -> [u64; 2] {
    let s = u64::from_le_bytes(scales);
    // SAFETY: the caller's contract.
    unsafe { [factors(B::deposit(s, 15 * ONES)), factors(B::deposit(s >> 32, 15 * ONES))] }
}

struct Xxs;
impl Blocks for Xxs {
    type Block = BlockXxs;
    type Kind = Wide;
    const TYPE: DType = DType::IQ2_XXS;
    const ELEMENTS: usize = 256;
    const UNIT: f32 = 0.125;
    #[inline(always)]
    unsafe fn values<B: Bytes>(b: &BlockXxs, j: usize) -> B::V {
        let mut words = [0; 8];
        for (i, w) in words.iter_mut().enumerate() {
            *w = grids::IQ2_XXS[usize::from(b.qs[2 * j + i / 4][0][i % 4])];
        }
        // SAFETY: the caller's contract.
        unsafe { B::words(words) }
    }
    #[inline(always)]
    unsafe fn negative<B: Bytes>(b: &BlockXxs, j: usize) -> u64 {
        // SAFETY: the caller's contract.
        unsafe { signs::<B>([b.qs[2 * j][1], b.qs[2 * j + 1][1]]) }
    }
    #[inline(always)]
    unsafe fn scales<B: Bytes>(b: &BlockXxs) -> (u16, [u64; 2]) {
        (u16::from_le_bytes(b.d), top_factors(b.qs.map(|q| q[1])))
    }
}

struct Xs;
impl Blocks for Xs {
    type Block = BlockXs;
    type Kind = Wide;
    const TYPE: DType = DType::IQ2_XS;
    const ELEMENTS: usize = 256;
    const UNIT: f32 = 0.125;
    #[inline(always)]
    unsafe fn values<B: Bytes>(b: &BlockXs, j: usize) -> B::V {
        let mut numbers = [0; 2];
        for (i, n) in numbers.iter_mut().enumerate() {
            *n = u64::from_le_bytes(b.qs[2 * j + i]);
        }
        // SAFETY: the caller's contract.
        unsafe { B::words(grids::entries(&grids::IQ2_XS, numbers)) }
    }
    #[inline(always)]
    unsafe fn negative<B: Bytes>(b: &BlockXs, j: usize) -> u64 {
        let [mut sevens, top] = [0, 0xfe00_fe00_fe00_fe00];
        // SAFETY: the caller's contract.
        unsafe {
            for i in 0..2 {
                sevens |= B::extract(u64::from_le_bytes(b.qs[2 * j + i]), top) << (28 * i);
            }
            eights::<B>(sevens)
        }
    }
    #[inline(always)]
    unsafe fn scales<B: Bytes>(b: &BlockXs) -> (u16, [u64; 2]) {
        // SAFETY: the caller's contract.
        (u16::from_le_bytes(b.d), unsafe { nibble_factors::<B>(b.scales) })
    }
}

struct S;
impl Blocks for S {
    type Block = BlockS;
    type Kind = Wide;
    const TYPE: DType = DType::IQ2_S;
    const ELEMENTS: usize = 256;
    const UNIT: f32 = 0.125;
    #[inline(always)]
    unsafe fn values<B: Bytes>(b: &BlockS, j: usize) -> B::V {
        let mut numbers = [0; 2];
        // SAFETY: the caller's contract.
        unsafe {
            for (i, n) in numbers.iter_mut().enumerate() {
                let (low, high) = (u32::from_le_bytes(b.qs[2 * j + i]), b.qh[2 * j + i]);
                *n = B::deposit(u64::from(low), 0x00ff_00ff_00ff_00ff) | B::deposit(u64::from(high), 0x0300_0300_0300_0300);
            }
            B::words(grids::entries(&grids::IQ2_S, numbers))
        }
    }
    #[inline(always)]
    unsafe fn negative<B: Bytes>(b: &BlockS, j: usize) -> u64 {
        u64::from_le_bytes(b.signs[j])
    }
    #[inline(always)]
    unsafe fn scales<B: Bytes>(b: &BlockS) -> (u16, [u64; 2]) {
        // SAFETY: the caller's contract.
        (u16::from_le_bytes(b.d), unsafe { nibble_factors::<B>(b.scales) })
    }
}
