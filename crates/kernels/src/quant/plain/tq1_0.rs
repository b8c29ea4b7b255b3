//! TQ1_0: super-blocks of 256 ternary values, five to a byte, with an f16 scale.
use super::{Blocks, Bytes, ONES, Wide, format};
use crate::DType;
use crate::quant::Format;

pub(crate) const TQ1_0: Format = format::<Tq1>();

/// `w[i] = d * (digit[i] - 1)`. A byte is a fraction of 256 in base 3, its first five digits count: of `qs[m]`, `m < 32`, they are elements
/// `m`, `m + 32`, ...; of the next 16 bytes elements `160 + m`, `176 + m`, ...; of `qh` four digits, elements `240 + m`, `244 + m`, ...
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Block {
    qs: [[u8; 8]; 6],
    qh: [u8; 4],
    d: [u8; 2],
}
const _: () = assert!(size_of::<Block>() == 54);

/// What brings the digit of every two elements to the front of their bytes, 64 elements at a time: powers of 3, modulo 256.
const POWERS: [[u16; 32]; 4] = {
    let (mut t, mut i) = ([[0; 32]; 4], 0);
    while i < 128 {
        let digit = match i {
            0..80 => i / 16,
            80..120 => (i - 80) / 8,
            _ => (i - 120) / 2,
        };
        t[i / 32][i % 32] = [1, 3, 9, 27, 81][digit];
        i += 1;
    }
    t
};

struct Tq1;
impl Blocks for Tq1 {
    type Block = Block;
    type Kind = Wide;
    const TYPE: DType = DType::TQ1_0;
    const ELEMENTS: usize = 256;
    const CENTRE: i8 = 32;
    #[inline(always)]
    unsafe fn values<B: Bytes>(b: &Block, j: usize) -> B::V {
        let mut q = [0; 6];
        for (q, qs) in q.iter_mut().zip(b.qs) {
            *q = u64::from_le_bytes(qs);
        }
        let h = u64::from(u32::from_le_bytes(b.qh)) * 0x1_0000_0001;
        // SAFETY: the caller's contract.
        unsafe {
            let bytes = match j {
                0 | 1 => [q[0], q[1], q[2], q[3], q[0], q[1], q[2], q[3]],
                2 => [q[0], q[1], q[2], q[3], q[4], q[5], q[4], q[5]],
                _ => [q[4], q[5], q[4], q[5], q[4], q[5], h, h],
            };
            B::signed(Self::CENTRE - 1, B::thirds(B::times(B::words(bytes), &POWERS[j])), 0)
        }
    }
    #[inline(always)]
    unsafe fn scales<B: Bytes>(b: &Block) -> (u16, [u64; 2]) {
        (u16::from_le_bytes(b.d), [ONES; 2])
    }
}
