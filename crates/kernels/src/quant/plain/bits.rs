//! Q1_0, Q2_0: 16 bytes of one-bit or two-bit values with an f16 scale.
use super::{Blocks, Bytes, ONES, ThirtyTwos, format};
use crate::DType;
use crate::quant::Format;

pub(crate) const Q1_0: Format = format::<Q1>();
pub(crate) const Q2_0: Format = format::<Q2>();

/// Q1_0: `w[i] = d * (2 q[i] - 1)`; Q2_0: `w[i] = d * (q[i] - 1)`. A byte's values from its low end up.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Block {
    d: [u8; 2],
    qs: [[u8; 8]; 2],
}
const _: () = assert!(size_of::<Block>() == 18);

struct Q1;
impl Blocks for Q1 {
    type Block = Block;
    type Kind = ThirtyTwos;
    const TYPE: DType = DType::Q1_0;
    const SIGNS: bool = true;
    const ELEMENTS: usize = 128;
    #[inline(always)]
    unsafe fn values<B: Bytes>(_: &Block, _: usize) -> B::V {
        // SAFETY: the caller's contract.
        unsafe { B::words([ONES; 8]) }
    }
    #[inline(always)]
    unsafe fn negative<B: Bytes>(b: &Block, j: usize) -> u64 {
        !u64::from_le_bytes(b.qs[j])
    }
    #[inline(always)]
    unsafe fn scales<B: Bytes>(b: &Block) -> u16 {
        u16::from_le_bytes(b.d)
    }
}

struct Q2;
impl Blocks for Q2 {
    type Block = Block;
    type Kind = ThirtyTwos;
    const TYPE: DType = DType::Q2_0;
    const ELEMENTS: usize = 64;
    const CENTRE: i8 = 1;
    #[inline(always)]
    unsafe fn values<B: Bytes>(b: &Block, _: usize) -> B::V {
        let mut words = [0; 8];
        for (i, w) in words.iter_mut().enumerate() {
            // SAFETY: the caller's contract.
            *w = unsafe { B::deposit(u64::from_le_bytes(b.qs[i / 4]) >> (16 * (i % 4)), 3 * ONES) };
        }
        // SAFETY: the caller's contract.
        unsafe { B::words(words) }
    }
    #[inline(always)]
    unsafe fn scales<B: Bytes>(b: &Block) -> u16 {
        u16::from_le_bytes(b.d)
    }
}
