//! Q5_1: Q4_1 with a fifth bit: blocks of 32 five-bit values with an f16 scale and an f16 min.
use crate::DType;
use crate::lanes::{Lanes, Words};
use crate::quant::block32::{Kernels, Mins, Small};
use crate::quant::group::{At, Shape};
use crate::quant::oracle::{Scaled, f16, to_f32};
use crate::quant::q5_0::{five_bits, five_bits_of_rows};
use crate::quant::{Act, Format};

/// `w[i] = d * q[i] + m`; byte `j` holds the low bits of elements `j` (low nibble) and `j + 16`, bit `i` of `qh` the top bit of element `i`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Block {
    pub d: u16,
    pub m: u16,
    pub qh: [u8; 4],
    pub qs: [u8; 16],
}
const _: () = assert!(size_of::<Block>() == 24 && align_of::<Block>() == 2);

pub(crate) struct Q5_1;
pub(crate) const FORMAT: Format =
    Format { ty: DType::Q5_1, act: Act::B32, to_f32: to_f32::<Q5_1>, impls: Kernels::<Q5_1>::IMPLS, groups: Kernels::<Q5_1>::GROUPS };

impl Scaled for Q5_1 {
    type Block = Block;
    fn scale(b: &Block) -> f32 {
        f16(b.d)
    }
    fn min(b: &Block) -> Option<f32> {
        Some(f16(b.m))
    }
    fn values(b: &Block) -> [i32; 32] {
        let qh = u32::from_le_bytes(b.qh);
        std::array::from_fn(|i| i32::from(b.qs[i % 16] >> (4 * (i / 16)) & 15) + ((qh >> i & 1) << 4) as i32)
    }
}

impl Small for Q5_1 {
    type D = u16;
    const BYTES: usize = size_of::<Block>();
    #[inline(always)]
    unsafe fn weights<L: Lanes>(a: *const u8, b: *const u8) -> L::V {
        // SAFETY: top bits and nibbles follow scale and min.
        unsafe { five_bits::<L>(a.add(4), b.add(4)) }
    }

    const SHAPE: Shape = Shape::of(DType::Q5_1);
    type Products = Mins;
    #[inline(always)]
    unsafe fn block<L: Lanes>(at: At) -> [L::P; 8] {
        // SAFETY: they follow the word of scale and min.
        unsafe { five_bits_of_rows::<L>(at, 1) }
    }
    #[inline(always)]
    unsafe fn group_scales<L: Lanes>(at: At) -> L::G {
        // SAFETY: the caller's contract.
        unsafe { L::low_halves(at.word::<L>(0)) }
    }
    #[inline(always)]
    unsafe fn group_mins<L: Lanes>(at: At) -> L::G {
        // SAFETY: the caller's contract.
        unsafe { L::low_halves(at.word::<L>(0).shr(16)) }
    }
}
