//! IQ1_S, IQ1_M: super-blocks of 256; eight elements at a time are an entry of a ternary code book, moved up or down by an eighth; every 32 or
//! 16 have a 3-bit scale.
use super::iq2::factors_of_32;
use super::{Blocks, ONES, Plain, Wide, format, grids};
use crate::DType;
use crate::quant::Format;
use crate::quant::oracle::f16;

pub(crate) const IQ1_S: Format = format::<S>();
pub(crate) const IQ1_M: Format = format::<M>();

/// `w[i] = d * (2 scale + 1) * (value[i] + 1/8)`, or `- 1/8`. Per 32 elements a word of `qh`: the top three bits of four entries from the low
/// end up, the scale, and the sign of the eighth.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct BlockS {
    d: [u8; 2],
    qs: [[u8; 4]; 8],
    qh: [[u8; 2]; 8],
}
const _: () = assert!(size_of::<BlockS>() == 50);

/// The same with a nibble of `qh` per entry: its top three bits and the sign of the eighth. Word `j` of `scales` has four scales of 16
/// elements each, and nibble `j` of the bits of `d` on top.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct BlockM {
    qs: [[u8; 2]; 16],
    qh: [u8; 16],
    scales: [[u8; 2]; 4],
}
const _: () = assert!(size_of::<BlockM>() == 56);

/// What is added to an entry: an eighth, or less by one. A table: the signs of neighbours have nothing in common, a branch would be foretold wrongly.
const EIGHTH: [u64; 2] = [ONES, 0u64.wrapping_sub(ONES)];

/// One entry as eighths.
#[inline(always)]
fn put(to: &mut Plain, i: usize, entry: usize, eighth: u64) {
    let e = grids::IQ1[entry & 2047].wrapping_add(eighth);
    to.q[8 * i..8 * i + 8].copy_from_slice(&e.to_le_bytes());
}

struct S;
impl Blocks for S {
    type Block = BlockS;
    type Kind = Wide;
    const TYPE: DType = DType::IQ1_S;
    const ELEMENTS: usize = 256;
    #[inline(always)]
    fn unpack(b: &BlockS, _: usize, to: &mut Plain) {
        for (j, (qs, qh)) in b.qs.iter().zip(b.qh).enumerate() {
            let qh = usize::from(u16::from_le_bytes(qh));
            for (l, &q) in qs.iter().enumerate() {
                put(to, 4 * j + l, usize::from(q) | (qh >> (3 * l) & 7) << 8, EIGHTH[qh >> 15 & 1]);
            }
        }
        let mut scales = [0; 8];
        for (s, qh) in scales.iter_mut().zip(b.qh) {
            *s = (u16::from_le_bytes(qh) >> 12) as u8 & 7;
        }
        to.put_factors(f16(u16::from_le_bytes(b.d)) / 8.0, factors_of_32(scales));
    }
}

struct M;
impl Blocks for M {
    type Block = BlockM;
    type Kind = Wide;
    const TYPE: DType = DType::IQ1_M;
    const ELEMENTS: usize = 256;
    #[inline(always)]
    fn unpack(b: &BlockM, _: usize, to: &mut Plain) {
        for (j, (qs, &qh)) in b.qs.iter().zip(&b.qh).enumerate() {
            let qh = usize::from(qh);
            put(to, 2 * j, usize::from(qs[0]) | (qh & 7) << 8, EIGHTH[qh >> 3 & 1]);
            put(to, 2 * j + 1, usize::from(qs[1]) | (qh & 0x70) << 4, EIGHTH[qh >> 7 & 1]);
        }
        let (mut d, mut factors) = (0, [ONES; 2]);
        for (i, s) in b.scales.iter().enumerate() {
            let s = u64::from(u16::from_le_bytes(*s));
            d |= (s as u16 >> 12) << (4 * i);
            let four = s & 7 | (s & 0x38) << 5 | (s & 0x1c0) << 10 | (s & 0xe00) << 15;
            factors[i / 2] += (2 * four) << (32 * (i % 2));
        }
        to.put_factors(f16(d) / 8.0, factors);
    }
}
