//! IQ4_NL: blocks of 32 nibbles that index the table of 16 values of `iq4_xs`, with an f16 scale.
use crate::DType;
use crate::lanes::{Lanes, Words};
use crate::quant::block32::{Kernels, Small};
use crate::quant::group::{At, Shape};
use crate::quant::iq4_xs::VALUES;
use crate::quant::oracle::{Oracle, act_block, dot, f16};
use crate::quant::q4_0::nibbles;
use crate::quant::{Act, Format};

/// `w[i] = d * VALUES[q[i]]`; byte `j` holds elements `j` (low nibble) and `j + 16`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Block {
    pub d: u16,
    pub qs: [u8; 16],
}
const _: () = assert!(size_of::<Block>() == 18 && align_of::<Block>() == 2);

impl Block {
    fn values(&self) -> [i32; 32] {
        std::array::from_fn(|i| i32::from(VALUES[usize::from(self.qs[i % 16] >> (4 * (i / 16)) & 15)]))
    }
}

pub(crate) struct Iq4Nl;
pub(crate) const FORMAT: Format =
    Format { ty: DType::IQ4_NL, act: Act::B32, to_f32, impls: Kernels::<Iq4Nl>::IMPLS, groups: Kernels::<Iq4Nl>::GROUPS };

/// # Safety
/// `row` has `k` elements, `out` room for `k`.
unsafe fn to_f32(row: *const u8, k: usize, out: *mut f32) {
    for b in 0..k / 32 {
        // SAFETY: block `b` of the row and of `out`.
        let (w, out) = unsafe { (row.cast::<Block>().add(b).read_unaligned(), out.add(32 * b).cast::<[f32; 32]>()) };
        let y = w.values().map(|q| f16(w.d) * q as f32);
        // SAFETY: as above.
        unsafe { out.write_unaligned(y) };
    }
}

impl Oracle for Iq4Nl {
    unsafe fn dot(w: *const u8, x: *const u8, k: usize) -> f32 {
        let mut acc = 0.0f32;
        for b in 0..k / 32 {
            // SAFETY: block `b` of both rows.
            let (w, (dx, x)) = unsafe { (w.cast::<Block>().add(b).read_unaligned(), act_block::<32>(x, k, b)) };
            acc = (f16(w.d) * dx).mul_add(dot(&w.values(), &x) as f32, acc);
        }
        acc
    }
}

impl Small for Iq4Nl {
    type D = u16;
    const BYTES: usize = size_of::<Block>();
    #[inline(always)]
    unsafe fn weights<L: Lanes>(a: *const u8, b: *const u8) -> L::V {
        // SAFETY: the nibbles follow the two bytes of the scale.
        unsafe { L::lookup(L::nibbles(a.add(2), b.add(2)), &VALUES) }
    }

    const SHAPE: Shape = Shape::of(DType::IQ4_NL);
    #[inline(always)]
    unsafe fn block<L: Lanes>(at: At) -> [L::P; 8] {
        // SAFETY: the caller's contract.
        unsafe {
            let mut q = nibbles::<L>(at, 0);
            for q in &mut q {
                *q = q.lookup(&VALUES);
            }
            q
        }
    }
}
