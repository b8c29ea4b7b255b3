//! Q1_0, Q2_0: 16 bytes of one-bit or two-bit values with an f16 scale.
use super::{Blocks, ONES, Plain, ThirtyTwos, format};
use crate::DType;
use crate::quant::oracle::f16;
use crate::quant::{Format, spread};

pub(crate) const Q1_0: Format = format::<Bits<1>>();
pub(crate) const Q2_0: Format = format::<Bits<2>>();

/// Q1_0: `w[i] = d * (2 q[i] - 1)`; Q2_0: `w[i] = d * (q[i] - 1)`. A byte's values from its low end up.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Block {
    d: [u8; 2],
    qs: [u8; 16],
}
const _: () = assert!(size_of::<Block>() == 18);

struct Bits<const B: u32>;
impl<const B: u32> Blocks for Bits<B> {
    type Block = Block;
    type Kind = ThirtyTwos;
    const TYPE: DType = if B == 1 { DType::Q1_0 } else { DType::Q2_0 };
    const ELEMENTS: usize = 128 / B as usize;
    #[inline(always)]
    fn unpack(b: &Block, at: usize, to: &mut Plain) {
        let qs = u128::from_le_bytes(b.qs);
        for (i, out) in to.q[at..at + Self::ELEMENTS].as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let x = spread::<B>((qs >> (8 * B as usize * i)) as u64 & ((1 << (8 * B)) - 1));
            // One less than the centre, and the value; a bit counts two.
            *out = (11 * ONES + if B == 1 { 2 * x } else { x }).to_le_bytes();
        }
        let d = f16(u16::from_le_bytes(b.d));
        for i in 0..Self::ELEMENTS / 32 {
            to.put_scale(at / 32 + i, d);
        }
    }
}
