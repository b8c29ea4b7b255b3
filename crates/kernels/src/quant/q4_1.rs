//! Q4_1: blocks of 32 nibbles with an f16 scale and an f16 min.
use crate::DType;
use crate::lanes::{Lanes, Words};
use crate::quant::block32::{Kernels, Mins, Small};
use crate::quant::group::{At, Shape};
use crate::quant::oracle::{Scaled, f16, to_f32};
use crate::quant::q4_0::nibbles;
use crate::quant::{Act, Format};

/// `w[i] = d * q[i] + m`; byte `j` holds elements `j` (low nibble) and `j + 16`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Block {
    pub d: u16,
    pub m: u16,
    pub qs: [u8; 16],
}
const _: () = assert!(size_of::<Block>() == 20 && align_of::<Block>() == 2);

pub(crate) struct Q4_1;
pub(crate) const FORMAT: Format =
    Format { ty: DType::Q4_1, act: Act::B32, to_f32: to_f32::<Q4_1>, impls: Kernels::<Q4_1>::IMPLS, groups: Kernels::<Q4_1>::GROUPS };

impl Scaled for Q4_1 {
    type Block = Block;
    fn scale(b: &Block) -> f32 {
        f16(b.d)
    }
    fn min(b: &Block) -> Option<f32> {
        Some(f16(b.m))
    }
    fn values(b: &Block) -> [i32; 32] {
        std::array::from_fn(|i| i32::from(b.qs[i % 16] >> (4 * (i / 16)) & 15))
    }
}

impl Small for Q4_1 {
    type D = u16;
    const BYTES: usize = size_of::<Block>();
    #[inline(always)]
    unsafe fn weights<L: Lanes>(a: *const u8, b: *const u8) -> L::V {
        // SAFETY: the nibbles follow scale and min.
        unsafe { L::nibbles(a.add(4), b.add(4)) }
    }

    const SHAPE: Shape = Shape::of(DType::Q4_1);
    type Products = Mins;
    #[inline(always)]
    unsafe fn block<L: Lanes>(at: At) -> [L::P; 8] {
        // SAFETY: the nibbles follow the word of scale and min.
        unsafe { nibbles::<L>(at, 1) }
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
