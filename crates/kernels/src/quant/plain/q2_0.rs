//! Q2_0: blocks of 64 two-bit values, -1 to 2, with an f16 scale.
use super::{Blocks, Plain, Sixteens, format};
use crate::DType;
use crate::quant::Format;
use crate::quant::oracle::f16;

pub(crate) const Q2_0: Format = format::<Twos>();

/// `w[i] = d * (q[i] - 1)`, four to a byte from its low end up.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Block {
    d: [u8; 2],
    qs: [u8; 16],
}
const _: () = assert!(size_of::<Block>() == 18);

struct Twos;
impl Blocks for Twos {
    type Block = Block;
    type Kind = Sixteens;
    const TYPE: DType = DType::Q2_0;
    const ELEMENTS: usize = 64;
    #[inline(always)]
    fn unpack(b: &Block, at: usize, to: &mut Plain) {
        let d = f16(u16::from_le_bytes(b.d));
        for (i, q) in b.qs.iter().enumerate() {
            let out = &mut to.q[at + 4 * i..at + 4 * i + 4];
            for (j, out) in out.iter_mut().enumerate() {
                *out = 11 + (q >> (2 * j) & 3);
            }
        }
        for i in 0..4 {
            to.put_scale(at / 16 + i, d);
        }
    }
}
