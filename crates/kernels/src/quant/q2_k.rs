//! Q2_K: super-blocks of 256 two-bit values; every 16 have a 4-bit scale and a 4-bit min, the super-block an f16 scale for each kind.
use crate::DType;
use crate::lanes::{Lanes, Words};
use crate::quant::block256::{FineMins, Kernels, Super};
use crate::quant::group::{At, Shape};
use crate::quant::oracle::{Factored, f16, factors_to_f32};
use crate::quant::q4_k::d_dmin;
use crate::quant::{Act, Format};

/// `w[i] = d * sc[i / 16] * q[i] - dmin * m[i / 16]`; scales stand in the low nibbles, mins in the high ones. Per half of 128, `qs[l]` holds
/// elements `l`, `l + 32`, `l + 64`, `l + 96` from its low end up.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Block {
    pub scales: [u8; 16],
    pub qs: [u8; 64],
    pub d: u16,
    pub dmin: u16,
}
const _: () = assert!(size_of::<Block>() == 84 && align_of::<Block>() == 2);

pub(crate) struct Q2K;
pub(crate) const FORMAT: Format =
    Format { ty: DType::Q2_K, act: Act::B256, to_f32: factors_to_f32::<Q2K>, impls: Kernels::<Q2K>::IMPLS, groups: Kernels::<Q2K>::GROUPS };

impl Factored for Q2K {
    type Block = Block;
    const PER: usize = 16;
    fn scale(b: &Block) -> f32 {
        f16(b.d)
    }
    fn min_scale(b: &Block) -> Option<f32> {
        Some(f16(b.dmin))
    }
    fn factor_min(b: &Block, j: usize) -> (i32, i32) {
        (i32::from(b.scales[j] & 15), i32::from(b.scales[j] >> 4))
    }
    fn value(b: &Block, i: usize) -> i32 {
        i32::from(b.qs[i / 128 * 32 + i % 32] >> (2 * (i / 32 % 4)) & 3)
    }
}

/// The scales of a block as bytes, or the mins (`shift` 4).
///
/// # Safety
/// Sixteen bytes at `p`, on a CPU with `L`.
#[inline(always)]
unsafe fn nibbles<L: Lanes>(p: *const u8, shift: u32) -> L::S {
    // SAFETY: the caller's contract, at any address.
    unsafe {
        let both = p.cast::<u128>().read_unaligned() >> shift & (u128::MAX / 255 * 15);
        L::factors16((&raw const both).cast())
    }
}

impl Super for Q2K {
    const BYTES: usize = size_of::<Block>();
    type Products = FineMins;
    #[inline(always)]
    unsafe fn weights<L: Lanes>(p: *const u8) -> [L::V; 4] {
        // SAFETY: 32 bytes for each half follow the scales.
        unsafe {
            let (a, b) = (L::load(p.add(16), p.add(16)), L::load(p.add(48), p.add(48)));
            [L::and(L::shr::<0, 2>(a), 3), L::and(L::shr::<4, 6>(a), 3), L::and(L::shr::<0, 2>(b), 3), L::and(L::shr::<4, 6>(b), 3)]
        }
    }
    #[inline(always)]
    unsafe fn factors<L: Lanes>(p: *const u8) -> L::S {
        // SAFETY: the caller's contract.
        unsafe { nibbles::<L>(p, 0) }
    }
    #[inline(always)]
    unsafe fn mins<L: Lanes>(p: *const u8) -> L::S {
        // SAFETY: the caller's contract.
        unsafe { nibbles::<L>(p, 4) }
    }
    #[inline(always)]
    unsafe fn scales(p: *const u8) -> (u16, u16) {
        // SAFETY: the two f16 at the end.
        unsafe { d_dmin(p.add(80)) }
    }

    const SHAPE: Shape = Shape::of(DType::Q2_K);
    #[inline(always)]
    unsafe fn sub_block<L: Lanes>(at: At, j: usize) -> [L::P; 8] {
        // SAFETY: eight words for each half follow the scales.
        unsafe {
            let mut q = [L::P::splat(0); 8];
            for (i, q) in q.iter_mut().enumerate() {
                *q = at.word::<L>(4 + j / 4 * 8 + i).shr(2 * (j % 4) as u32).and(3);
            }
            q
        }
    }
    #[inline(always)]
    unsafe fn group_factors<L: Lanes>(at: At) -> [L::P; 4] {
        // SAFETY: four words of scales.
        unsafe { [at.word::<L>(0).and(15), at.word::<L>(1).and(15), at.word::<L>(2).and(15), at.word::<L>(3).and(15)] }
    }
    #[inline(always)]
    unsafe fn group_mins<L: Lanes>(at: At) -> [L::P; 4] {
        // SAFETY: the same four words.
        unsafe {
            let m = |i: usize| at.word::<L>(i).shr(4);
            [m(0).and(15), m(1).and(15), m(2).and(15), m(3).and(15)]
        }
    }
    #[inline(always)]
    unsafe fn group_scales<L: Lanes>(at: At) -> (L::G, L::G) {
        // SAFETY: the last word is the two f16.
        unsafe { (L::low_halves(at.word::<L>(20)), L::low_halves(at.word::<L>(20).shr(16))) }
    }
}
