//! Q8_0: blocks of 32 signed bytes with an f16 scale.
use crate::DType;
use crate::lanes::{Lanes, Words};
use crate::quant::block32::{Kernels, Signed, Small};
use crate::quant::group::{At, Shape};
use crate::quant::oracle::{Scaled, f16, to_f32};
use crate::quant::{Act, Format};

/// `w[i] = d * qs[i]`
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Block {
    pub d: u16,
    pub qs: [i8; 32],
}
const _: () = assert!(size_of::<Block>() == 34 && align_of::<Block>() == 2);

pub(crate) struct Q8_0;
pub(crate) const FORMAT: Format =
    Format { ty: DType::Q8_0, act: Act::B32, to_f32: to_f32::<Q8_0>, impls: Kernels::<Q8_0>::IMPLS, groups: Kernels::<Q8_0>::GROUPS };

impl Scaled for Q8_0 {
    type Block = Block;
    fn scale(b: &Block) -> f32 {
        f16(b.d)
    }
    fn values(b: &Block) -> [i32; 32] {
        b.qs.map(i32::from)
    }
}

impl Small for Q8_0 {
    type D = u16;
    const BYTES: usize = size_of::<Block>();
    #[inline(always)]
    unsafe fn weights<L: Lanes>(a: *const u8, b: *const u8) -> L::V {
        // SAFETY: the values follow the two bytes of the scale.
        unsafe { L::load(a.add(2), b.add(2)) }
    }

    const SHAPE: Shape = Shape::of(DType::Q8_0);
    type Products = Signed;
    #[inline(always)]
    unsafe fn block<L: Lanes>(at: At) -> [L::P; 8] {
        // SAFETY: eight words of values.
        unsafe {
            let mut q = [L::P::splat(0); 8];
            for (i, q) in q.iter_mut().enumerate() {
                *q = at.word::<L>(i);
            }
            q
        }
    }
}
