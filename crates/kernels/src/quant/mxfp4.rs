//! MXFP4: blocks of 32 four-bit floats (one sign, two exponent, one mantissa bit) with a bare exponent for a scale (OCP Microscaling
//! Formats, 2023). The expert weights of gpt-oss.
use crate::DType;
use crate::lanes::{Floats, Lanes, Words};
use crate::quant::block32::{Centred, Kernels, Scale, Small};
use crate::quant::group::{At, ROWS, Shape};
use crate::quant::oracle::{Scaled, to_f32};
use crate::quant::q4_0::nibbles;
use crate::quant::{Act, Format};

/// `w[i] = 2^(e - 128) * VALUES[q[i]]`; byte `j` holds elements `j` (low nibble) and `j + 16`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Block {
    pub e: u8,
    pub qs: [u8; 16],
}
const _: () = assert!(size_of::<Block>() == 17 && align_of::<Block>() == 1);

/// Twice the values of the four bits, so that they are integers; the scale is halved instead.
pub(crate) const VALUES: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// 2^(e - 128): half of what the exponent says. The two smallest are subnormal.
pub(crate) fn scale(e: u8) -> f32 {
    f32::from_bits(if e < 2 { 0x0020_0000 << e } else { (u32::from(e) - 1) << 23 })
}

pub(crate) struct Mxfp4;
pub(crate) const FORMAT: Format =
    Format { ty: DType::MXFP4, act: Act::B32, to_f32: to_f32::<Mxfp4>, impls: Kernels::<Mxfp4>::IMPLS, groups: Kernels::<Mxfp4>::GROUPS };

impl Scaled for Mxfp4 {
    type Block = Block;
    fn scale(b: &Block) -> f32 {
        scale(b.e)
    }
    fn values(b: &Block) -> [i32; 32] {
        std::array::from_fn(|i| i32::from(VALUES[usize::from(b.qs[i % 16] >> (4 * (i / 16)) & 15)]))
    }
}

/// The float that the first byte of a block stands for.
impl Scale for f32 {
    #[inline(always)]
    unsafe fn read(block: *const u8) -> f32 {
        // SAFETY: the caller's contract.
        scale(unsafe { *block })
    }
    #[inline(always)]
    unsafe fn floats<F: Floats>(scales: *const f32) -> F {
        // SAFETY: the caller's contract.
        unsafe { F::load(scales) }
    }
}

impl Small for Mxfp4 {
    type D = f32;
    const BYTES: usize = size_of::<Block>();
    #[inline(always)]
    unsafe fn weights<L: Lanes>(a: *const u8, b: *const u8) -> L::V {
        // SAFETY: the nibbles follow the byte of the scale.
        unsafe { L::lookup(L::nibbles(a.add(1), b.add(1)), &VALUES) }
    }

    const SHAPE: Shape = Shape::of(DType::MXFP4);
    type Products = Centred<5, 12>;
    #[inline(always)]
    unsafe fn block<L: Lanes>(at: At) -> [L::P; 8] {
        // SAFETY: the caller's contract.
        unsafe {
            let mut q = nibbles::<L>(at, 0);
            for q in &mut q {
                *q = q.lookup(&ABOVE);
            }
            q
        }
    }
    #[inline(always)]
    unsafe fn group_scales<L: Lanes>(at: At) -> L::G {
        let mut d = [0.0; ROWS];
        for (i, d) in d.iter_mut().enumerate().take(L::ROWS) {
            // SAFETY: a byte of scale per row.
            *d = scale(unsafe { *at.odd.add(i) });
        }
        // SAFETY: a vector's worth of floats.
        unsafe { L::G::load(d.as_ptr()) }
    }
}

/// `VALUES`, 12 larger: unsigned.
const ABOVE: [i8; 16] = [12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0];
