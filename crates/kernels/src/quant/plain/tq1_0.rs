//! TQ1_0: super-blocks of 256 ternary values, five to a byte, with an f16 scale.
use super::{Blocks, ONES, Plain, Wide, format};
use crate::DType;
use crate::quant::Format;
use crate::quant::oracle::f16;

pub(crate) const TQ1_0: Format = format::<Tq1>();

/// `w[i] = d * (digit[i] - 1)`. A byte is a fraction of 256 in base 3, its first five digits count: of `qs[m]`, `m < 32`, they are elements
/// `m`, `m + 32`, ...; of the next 16 bytes elements `160 + m`, `176 + m`, ...; of `qh` four digits, elements `240 + m`, `244 + m`, ...
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Block {
    qs: [u8; 48],
    qh: [u8; 4],
    d: [u8; 2],
}
const _: () = assert!(size_of::<Block>() == 54);

/// A digit of 0 is one below the centre.
const ZERO: u8 = 63;

/// The first digits of `bytes` to the first as many of `out`, the second ones behind them, until `out` is full.
#[inline(always)]
fn digits<const N: usize>(mut bytes: [u8; N], out: &mut [u8]) {
    for out in out.as_chunks_mut::<N>().0 {
        for (q, out) in bytes.iter_mut().zip(out) {
            *out = ZERO + ((u16::from(*q) * 3) >> 8) as u8;
            *q = q.wrapping_mul(3);
        }
    }
}

struct Tq1;
impl Blocks for Tq1 {
    type Block = Block;
    type Kind = Wide;
    const TYPE: DType = DType::TQ1_0;
    const ELEMENTS: usize = 256;
    #[inline(always)]
    fn unpack(b: &Block, _: usize, to: &mut Plain) {
        let (qs, rest) = b.qs.split_at(32);
        digits(<[u8; 32]>::try_from(qs).unwrap_or([0; 32]), &mut to.q[..160]);
        digits(<[u8; 16]>::try_from(rest).unwrap_or([0; 16]), &mut to.q[160..240]);
        digits(b.qh, &mut to.q[240..]);
        to.put_factors(f16(u16::from_le_bytes(b.d)), [ONES; 2]);
    }
}
