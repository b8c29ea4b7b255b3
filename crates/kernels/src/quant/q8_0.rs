//! Q8_0: blocks of 32 signed bytes with an f16 scale.
use crate::DType;
use crate::lanes::{Lanes, Words};
use crate::quant::block32::{Kernels, Small};
use crate::quant::group::{At, Shape};
use crate::quant::oracle::{Oracle, act_block, dot, f16};
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
    Format { ty: DType::Q8_0, act: Act::B32, to_f32, impls: Kernels::<Q8_0>::IMPLS, groups: Kernels::<Q8_0>::GROUPS };

/// # Safety
/// `row` has `k` elements, `out` room for `k`.
unsafe fn to_f32(row: *const u8, k: usize, out: *mut f32) {
    for i in 0..k {
        // SAFETY: element `i` is in block `i / 32`, whose bytes are read at any address.
        unsafe {
            let b = row.cast::<Block>().add(i / 32).read_unaligned();
            *out.add(i) = f16(b.d) * f32::from(b.qs[i % 32]);
        }
    }
}

impl Oracle for Q8_0 {
    unsafe fn dot(w: *const u8, x: *const u8, k: usize) -> f32 {
        let mut acc = 0.0f32;
        for b in 0..k / 32 {
            // SAFETY: block `b` of both rows.
            let (w, (dx, x)) = unsafe { (w.cast::<Block>().add(b).read_unaligned(), act_block::<32>(x, k, b)) };
            let isum = dot(&w.qs.map(i32::from), &x);
            acc = (f16(w.d) * dx).mul_add(isum as f32, acc);
        }
        acc
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
