//! Q1_0: blocks of 128 signs with an f16 scale.
use super::{Blocks, Plain, Sixteens, format};
use crate::DType;
use crate::quant::Format;
use crate::quant::oracle::f16;

pub(crate) const Q1_0: Format = format::<Bits>();

/// `w[i] = d` where bit `i` is set, else `-d`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Block {
    d: [u8; 2],
    qs: [u8; 16],
}
const _: () = assert!(size_of::<Block>() == 18);

struct Bits;
impl Blocks for Bits {
    type Block = Block;
    type Kind = Sixteens;
    const TYPE: DType = DType::Q1_0;
    const ELEMENTS: usize = 128;
    #[inline(always)]
    fn unpack(b: &Block, at: usize, to: &mut Plain) {
        let d = f16(u16::from_le_bytes(b.d));
        for (i, q) in b.qs.iter().enumerate() {
            let out = &mut to.q[at + 8 * i..at + 8 * i + 8];
            for (j, out) in out.iter_mut().enumerate() {
                *out = 11 + 2 * (q >> j & 1);
            }
        }
        for i in 0..8 {
            to.put_scale(at / 16 + i, d);
        }
    }
}
