//! IQ4_NL: blocks of 32 nibbles that index the table of 16 values of `iq4_xs`, with an f16 scale.
use crate::DType;
use crate::lanes::{Lanes, Words};
use crate::quant::block32::{Kernels, Signed, Small};
use crate::quant::group::{At, Shape};
use crate::quant::iq4_xs::VALUES;
use crate::quant::oracle::{Scaled, f16, to_f32};
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

pub(crate) struct Iq4Nl;
pub(crate) const FORMAT: Format =
    Format { ty: DType::IQ4_NL, act: Act::B32, to_f32: to_f32::<Iq4Nl>, impls: Kernels::<Iq4Nl>::IMPLS, groups: Kernels::<Iq4Nl>::GROUPS };

impl Scaled for Iq4Nl {
    type Block = Block;
    fn scale(b: &Block) -> f32 {
        f16(b.d)
    }
    fn values(b: &Block) -> [i32; 32] {
        std::array::from_fn(|i| i32::from(VALUES[usize::from(b.qs[i % 16] >> (4 * (i / 16)) & 15)]))
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
    type Products = Signed;
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
