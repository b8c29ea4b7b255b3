//! Q4_0: blocks of 32 nibbles, centred on 8, with an f16 scale.
use crate::DType;
use crate::lanes::{Lanes, Words};
use crate::quant::block32::{Centred, Kernels, Small};
use crate::quant::group::{At, Shape};
use crate::quant::oracle::{Scaled, f16, to_f32};
use crate::quant::{Act, Format};

/// `w[i] = d * (q[i] - 8)`; byte `j` holds elements `j` (low nibble) and `j + 16`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Block {
    pub d: u16,
    pub qs: [u8; 16],
}
const _: () = assert!(size_of::<Block>() == 18 && align_of::<Block>() == 2);

pub(crate) struct Q4_0;
pub(crate) const FORMAT: Format =
    Format { ty: DType::Q4_0, act: Act::B32, to_f32: to_f32::<Q4_0>, impls: Kernels::<Q4_0>::IMPLS, groups: Kernels::<Q4_0>::GROUPS };

impl Scaled for Q4_0 {
    type Block = Block;
    fn scale(b: &Block) -> f32 {
        f16(b.d)
    }
    fn values(b: &Block) -> [i32; 32] {
        std::array::from_fn(|i| i32::from(b.qs[i % 16] >> (4 * (i / 16)) & 15) - 8)
    }
}

impl Small for Q4_0 {
    type D = u16;
    const BYTES: usize = size_of::<Block>();
    #[inline(always)]
    unsafe fn weights<L: Lanes>(a: *const u8, b: *const u8) -> L::V {
        // SAFETY: the nibbles follow the two bytes of the scale.
        unsafe { L::sub(L::nibbles(a.add(2), b.add(2)), 8) }
    }

    const SHAPE: Shape = Shape::of(DType::Q4_0);
    type Products = Centred<4, 8>;
    #[inline(always)]
    unsafe fn block<L: Lanes>(at: At) -> [L::P; 8] {
        // SAFETY: the caller's contract.
        unsafe { nibbles::<L>(at, 0) }
    }
}

/// The nibbles of four words from `first` on: the low ones of all, then the high ones.
///
/// # Safety
/// The words are there, on a CPU with `L`.
#[inline(always)]
pub(crate) unsafe fn nibbles<L: Lanes>(at: At, first: usize) -> [L::P; 8] {
    // SAFETY: the caller's contract.
    unsafe {
        let mut q = [L::P::splat(0); 8];
        for i in 0..4 {
            let w = at.word::<L>(first + i);
            (q[i], q[4 + i]) = (w.and(15), w.shr(4).and(15));
        }
        q
    }
}
