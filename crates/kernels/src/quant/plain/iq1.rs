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

/// One entry as eighths: its code book number, and on top of its eleven bits the sign of its eighth.
#[inline(always)]
fn put(to: &mut Plain, i: usize, code: usize) {
    to.q[8 * i..8 * i + 8].copy_from_slice(&grids::IQ1[code & 4095].to_le_bytes());
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
            let sign = qh >> 4 & 0x800;
            for (l, &q) in qs.iter().enumerate() {
                put(to, 4 * j + l, usize::from(q) | qh << 8 >> (3 * l) & 0x700 | sign);
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
            put(to, 2 * j, usize::from(qs[0]) | (usize::from(qh) & 15) << 8);
            put(to, 2 * j + 1, usize::from(qs[1]) | (usize::from(qh) & 0xf0) << 4);
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
