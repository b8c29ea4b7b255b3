//! TQ2_0: super-blocks of 256 ternary values, two bits each, with an f16 scale.
//!
//! Kernels see the values 31 larger, centred on 32 as Q6_K's are, each with a factor of 1, and share its products.
use crate::DType;
use crate::lanes::{Floats, Lanes, Words};
use crate::quant::block256::{Centred, Kernels, Super};
use crate::quant::group::{At, Shape};
use crate::quant::oracle::{Factored, f16, factors_to_f32};
use crate::quant::{Act, Format, ONES};

/// `w[i] = d * (q[i] - 1)`. Per half of 128, `qs[l]` holds elements `l`, `l + 32`, `l + 64`, `l + 96` from its low end up.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Block {
    pub qs: [u8; 64],
    pub d: u16,
}
const _: () = assert!(size_of::<Block>() == 66 && align_of::<Block>() == 2);

pub(crate) struct Tq2;
pub(crate) const FORMAT: Format = Format {
    ty: DType::TQ2_0,
    act: Act::B256,
    to_f32: factors_to_f32::<Tq2>,
    impls: Kernels::<Tq2>::IMPLS,
    groups: Kernels::<Tq2>::GROUPS,
};

impl Factored for Tq2 {
    type Block = Block;
    const PER: usize = 256;
    fn scale(b: &Block) -> f32 {
        f16(b.d)
    }
    fn factor_min(_: &Block, _: usize) -> (i32, i32) {
        (1, 0)
    }
    fn value(b: &Block, i: usize) -> i32 {
        i32::from(b.qs[i / 128 * 32 + i % 32] >> (2 * (i / 32 % 4)) & 3) - 1
    }
}

/// Two bits as kernels see them.
const VALUES: [i8; 16] = [31, 32, 33, 34, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const FACTORS: [u64; 2] = [ONES; 2];

impl Super for Tq2 {
    const BYTES: usize = size_of::<Block>();
    type Products = Centred;
    #[inline(always)]
    unsafe fn weights<L: Lanes>(p: *const u8) -> [L::V; 4] {
        // SAFETY: 32 bytes for each half.
        unsafe {
            let (a, b) = (L::load(p, p), L::load(p.add(32), p.add(32)));
            let q = |v| L::lookup(L::and(v, 3), &VALUES);
            [q(L::shr::<0, 2>(a)), q(L::shr::<4, 6>(a)), q(L::shr::<0, 2>(b)), q(L::shr::<4, 6>(b))]
        }
    }
    #[inline(always)]
    unsafe fn factors<L: Lanes>(_: *const u8) -> L::S {
        // SAFETY: sixteen bytes.
        unsafe { L::factors16(FACTORS.as_ptr().cast()) }
    }
    #[inline(always)]
    unsafe fn scales(p: *const u8) -> (u16, u16) {
        // SAFETY: the caller's contract, at any address.
        (unsafe { p.add(64).cast::<u16>().read_unaligned() }, 0)
    }

    const SHAPE: Shape = Shape::of(DType::TQ2_0);
    #[inline(always)]
    unsafe fn sub_block<L: Lanes>(at: At, j: usize) -> [L::P; 8] {
        // SAFETY: eight words for each half.
        unsafe {
            let mut q = [L::P::splat(0); 8];
            for (i, q) in q.iter_mut().enumerate() {
                *q = at.word::<L>(j / 4 * 8 + i).shr(2 * (j % 4) as u32).and(3).lookup(&VALUES);
            }
            q
        }
    }
    #[inline(always)]
    unsafe fn group_factors<L: Lanes>(_: At) -> [L::P; 4] {
        // SAFETY: the caller's contract.
        unsafe { [L::P::splat(ONES as i32); 4] }
    }
    #[inline(always)]
    unsafe fn group_scales<L: Lanes>(at: At) -> (L::G, L::G) {
        // SAFETY: the odd bytes are the scales.
        unsafe { (L::G::from_f16(at.odd.cast()), L::G::splat(0.0)) }
    }
}
