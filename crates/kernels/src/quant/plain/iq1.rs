//! IQ1_S, IQ1_M: super-blocks of 256; eight elements at a time are an entry of a ternary code book, moved up or down by an eighth; every 32 or
//! 16 have a 3-bit scale.
use super::{Blocks, Plain, Wide, format, grids};
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

/// One entry as eighths.
#[inline(always)]
fn put(to: &mut Plain, i: usize, entry: usize, down: bool) {
    const ONES: u64 = u64::MAX / 255;
    let e = grids::IQ1[entry & 2047];
    let e = if down { e - ONES } else { e + ONES };
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
        let mut f = [0; 16];
        for (j, (qs, qh)) in b.qs.iter().zip(b.qh).enumerate() {
            let qh = usize::from(u16::from_le_bytes(qh));
            for (l, &q) in qs.iter().enumerate() {
                put(to, 4 * j + l, usize::from(q) | (qh >> (3 * l) & 7) << 8, qh >> 15 == 1);
            }
            f[2 * j..2 * j + 2].fill(2 * (qh >> 12 & 7) as u8 + 1);
        }
        to.put_factors(f16(u16::from_le_bytes(b.d)) / 8.0, f);
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
        let scales = b.scales.map(u16::from_le_bytes);
        let mut f = [0; 16];
        for (j, (qs, &qh)) in b.qs.iter().zip(&b.qh).enumerate() {
            for (l, &q) in qs.iter().enumerate() {
                let top = usize::from(qh >> (4 * l));
                put(to, 2 * j + l, usize::from(q) | (top & 7) << 8, top & 8 != 0);
            }
            f[j] = 2 * (scales[j / 4] >> (3 * (j % 4)) & 7) as u8 + 1;
        }
        let d = scales.iter().enumerate().fold(0, |d, (i, s)| d | (s >> 12) << (4 * i));
        to.put_factors(f16(d) / 8.0, f);
    }
}
