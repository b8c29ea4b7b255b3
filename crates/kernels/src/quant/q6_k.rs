//! Q6_K: super-blocks of 256 six-bit values, centred on 32; every 16 have a signed byte as scale, the super-block an f16.
use crate::DType;
use crate::lanes::{Floats, Lanes, Words};
use crate::quant::block256::{Centred, Kernels, Super};
use crate::quant::group::{At, Shape};
use crate::quant::oracle::{Factored, f16, factors_to_f32};
use crate::quant::q4_k::nibbles;
use crate::quant::{Act, Format};

/// `w[i] = d * scales[i / 16] * (q[i] - 32)`. Per half of 128: `ql[0..64]` holds the low 4 bits of elements 0-63 (low nibbles) and
/// 64-127, `qh[l]` the top bits of elements `l`, `l + 32`, `l + 64`, `l + 96` from its low end up.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Block {
    pub ql: [u8; 128],
    pub qh: [u8; 64],
    pub scales: [i8; 16],
    pub d: u16,
}
const _: () = assert!(size_of::<Block>() == 210 && align_of::<Block>() == 2);

pub(crate) struct Q6K;
pub(crate) const FORMAT: Format =
    Format { ty: DType::Q6_K, act: Act::B256, to_f32: factors_to_f32::<Q6K>, impls: Kernels::<Q6K>::IMPLS, groups: Kernels::<Q6K>::GROUPS };

impl Factored for Q6K {
    type Block = Block;
    const PER: usize = 16;
    fn scale(b: &Block) -> f32 {
        f16(b.d)
    }
    fn factor_min(b: &Block, j: usize) -> (i32, i32) {
        (i32::from(b.scales[j]), 0)
    }
    fn value(b: &Block, i: usize) -> i32 {
        let (half, i) = (i / 128, i % 128);
        let low = b.ql[64 * half + i % 64] >> (4 * (i / 64)) & 15;
        let high = b.qh[32 * half + i % 32] >> (2 * (i / 32)) & 3;
        i32::from(low | high << 4) - 32
    }
}

impl Super for Q6K {
    const BYTES: usize = size_of::<Block>();
    type Products = Centred;
    #[inline(always)]
    unsafe fn weights<L: Lanes>(p: *const u8) -> [L::V; 4] {
        // SAFETY: two halves of 64 bytes, then their top bits in two halves of 32.
        unsafe {
            let [a, b] = half::<L>(p, p.add(128));
            let [c, d] = half::<L>(p.add(64), p.add(160));
            [a, b, c, d]
        }
    }
    #[inline(always)]
    unsafe fn factors<L: Lanes>(p: *const u8) -> L::S {
        // SAFETY: the caller's contract.
        unsafe { L::factors16(p.add(192).cast()) }
    }
    #[inline(always)]
    unsafe fn scales(p: *const u8) -> (u16, u16) {
        // SAFETY: the caller's contract, at any address.
        (unsafe { p.add(208).cast::<u16>().read_unaligned() }, 0)
    }

    const SHAPE: Shape = Shape::of(DType::Q6_K);
    #[inline(always)]
    unsafe fn sub_block<L: Lanes>(at: At, j: usize) -> [L::P; 8] {
        let (half, j) = (j / 4, j % 4);
        // SAFETY: 32 words of low bits, then 16 of top bits.
        unsafe {
            let mut q = nibbles::<L>(at, 16 * half + j % 2 * 8, j / 2);
            for (i, q) in q.iter_mut().enumerate() {
                *q = q.or(at.word::<L>(32 + 8 * half + i).shr(2 * j as u32).and(3).shl(4));
            }
            q
        }
    }
    #[inline(always)]
    unsafe fn group_factors<L: Lanes>(at: At) -> [L::P; 4] {
        // SAFETY: four words of scales after the weights.
        unsafe { [at.word::<L>(48), at.word::<L>(49), at.word::<L>(50), at.word::<L>(51)] }
    }
    #[inline(always)]
    unsafe fn group_scales<L: Lanes>(at: At) -> (L::G, L::G) {
        // SAFETY: the odd bytes are the scales.
        unsafe { (L::G::from_f16(at.odd.cast()), L::G::splat(0.0)) }
    }
}

/// Half a super-block: 128 values from 64 bytes of low and 32 of top bits.
///
/// # Safety
/// The bytes are there, on a CPU with `L`.
#[inline(always)]
unsafe fn half<L: Lanes>(ql: *const u8, qh: *const u8) -> [L::V; 2] {
    // SAFETY: the caller's contract.
    unsafe {
        let (low, h) = (L::load(ql, ql.add(32)), L::load(qh, qh));
        let top = |v| L::shl4(L::and(v, 3));
        [L::or(L::and(low, 15), top(L::shr::<0, 2>(h))), L::or(L::and(L::shr::<4, 4>(low), 15), top(L::shr::<4, 6>(h)))]
    }
}
