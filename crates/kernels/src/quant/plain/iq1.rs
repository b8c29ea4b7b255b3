//! IQ1_S, IQ1_M: super-blocks of 256; eight elements at a time are an entry of a ternary code book, moved up or down by an eighth; every 32 or
//! 16 have a 3-bit scale.
use super::iq2::{factors, factors_of_32};
use super::{Blocks, Bytes, Wide, format, grids};
use crate::DType;
use crate::quant::Format;

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
    qs: [[u8; 4]; 8],
    qh: [[u8; 2]; 8],
    scales: [[u8; 2]; 4],
}
const _: () = assert!(size_of::<BlockM>() == 56);

/// The low bits of the numbers of four entries, which are eighths, 32 too large; of twelve the highest is the sign of the eighth.
const LOW: u64 = 0x00ff_00ff_00ff_00ff;

struct S;
impl Blocks for S {
    type Block = BlockS;
    type Kind = Wide;
    const TYPE: DType = DType::IQ1_S;
    const ELEMENTS: usize = 256;
    const CENTRE: i8 = 32;
    const UNIT: f32 = 0.125;
    #[inline(always)]
    unsafe fn values<B: Bytes>(b: &BlockS, j: usize) -> B::V {
        // SAFETY: the caller's contract.
        unsafe {
            let mut numbers = [0; 2];
            for (i, n) in numbers.iter_mut().enumerate() {
                let (qs, qh) = (u32::from_le_bytes(b.qs[2 * j + i]), u64::from(u16::from_le_bytes(b.qh[2 * j + i])));
                *n = B::deposit(u64::from(qs), LOW) | B::deposit(qh, 0x0700_0700_0700_0700) | ((qh >> 15) * 0x0800_0800_0800_0800);
            }
            B::words(grids::entries(&grids::IQ1, numbers))
        }
    }
    #[inline(always)]
    unsafe fn scales<B: Bytes>(b: &BlockS) -> (u16, [u64; 2]) {
        let mut f = [0; 2];
        for (f, qh) in f.iter_mut().zip(b.qh.as_flattened().as_chunks().0) {
            *f = factors_of_32(u64::from_le_bytes(*qh) >> 12 & 0x0007_0007_0007_0007);
        }
        (u16::from_le_bytes(b.d), f)
    }
}

struct M;
impl Blocks for M {
    type Block = BlockM;
    type Kind = Wide;
    const TYPE: DType = DType::IQ1_M;
    const ELEMENTS: usize = 256;
    const CENTRE: i8 = 32;
    const UNIT: f32 = 0.125;
    #[inline(always)]
    unsafe fn values<B: Bytes>(b: &BlockM, j: usize) -> B::V {
        // SAFETY: the caller's contract.
        unsafe {
            let mut numbers = [0; 2];
            for (i, n) in numbers.iter_mut().enumerate() {
                let (qs, qh) = (u32::from_le_bytes(b.qs[2 * j + i]), u16::from_le_bytes(b.qh[2 * j + i]));
                *n = B::deposit(u64::from(qs), LOW) | B::deposit(u64::from(qh), !LOW & 0x0fff_0fff_0fff_0fff);
            }
            B::words(grids::entries(&grids::IQ1, numbers))
        }
    }
    #[inline(always)]
    unsafe fn scales<B: Bytes>(b: &BlockM) -> (u16, [u64; 2]) {
        let (mut d, mut f) = (0, [0; 2]);
        for (i, s) in b.scales.iter().enumerate() {
            let s = u16::from_le_bytes(*s);
            d |= (s >> 12) << (4 * i);
            f[i / 2] |= u64::from(s & 0xfff) << (12 * (i % 2));
        }
        for f in &mut f {
            // SAFETY: the caller's contract.
            *f = factors(unsafe { B::deposit(*f, 0x0707_0707_0707_0707) });
        }
        (d, f)
    }
}
