//! Q3_K: super-blocks of 256 three-bit values, centred on 4; every 16 have a 6-bit scale centred on 32, the super-block an f16.
//!
//! Kernels see the values 28 larger, centred on 32 as Q6_K's are, and share its products.
use crate::DType;
use crate::lanes::{Floats, Lanes, Words};
use crate::quant::block256::{Centred, Kernels, Super};
use crate::quant::group::{At, Shape};
use crate::quant::oracle::{Factored, f16, factors_to_f32};
use crate::quant::{Act, Format};

/// `w[i] = d * (scale[i / 16] - 32) * (q[i] - 4)`. Per half of 128, `qs[l]` holds the low bits of elements `l`, `l + 32`, `l + 64`, `l + 96`
/// from its low end up; bit `j` of `hmask[l]` is the top bit of element `32 j + l`. Scale `j` has its low four bits in nibble `j / 8` of byte
/// `j % 8`, its top two in bits `2 (j / 4)` of byte `8 + j % 4`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Block {
    pub hmask: [u8; 32],
    pub qs: [u8; 64],
    pub scales: [u8; 12],
    pub d: u16,
}
const _: () = assert!(size_of::<Block>() == 110 && align_of::<Block>() == 2);

pub(crate) struct Q3K;
pub(crate) const FORMAT: Format =
    Format { ty: DType::Q3_K, act: Act::B256, to_f32: factors_to_f32::<Q3K>, impls: Kernels::<Q3K>::IMPLS, groups: Kernels::<Q3K>::GROUPS };

impl Factored for Q3K {
    type Block = Block;
    const PER: usize = 16;
    fn scale(b: &Block) -> f32 {
        f16(b.d)
    }
    fn factor_min(b: &Block, j: usize) -> (i32, i32) {
        let (low, high) = (b.scales[j % 8] >> (4 * (j / 8)) & 15, b.scales[8 + j % 4] >> (2 * (j / 4)) & 3);
        (i32::from(low | high << 4) - 32, 0)
    }
    fn value(b: &Block, i: usize) -> i32 {
        let low = b.qs[i / 128 * 32 + i % 32] >> (2 * (i / 32 % 4)) & 3;
        i32::from(low | (b.hmask[i % 32] >> (i / 32) & 1) << 2) - 4
    }
}

/// What a top bit makes of a value that is centred on 32.
const TOP: [i8; 16] = [28, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// What the top two bits make of a scale that is centred on 0.
const SCALE_TOP: [i8; 16] = [-32, -16, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

impl Super for Q3K {
    const BYTES: usize = size_of::<Block>();
    type Products = Centred;
    #[inline(always)]
    unsafe fn weights<L: Lanes>(p: *const u8) -> [L::V; 4] {
        // SAFETY: 32 bytes of top bits, then 32 for each half.
        unsafe {
            let (h, a, b) = (L::load(p, p), L::load(p.add(32), p.add(32)), L::load(p.add(64), p.add(64)));
            let q = |low, high| L::or(L::and(low, 3), L::lookup(L::and(high, 1), &TOP));
            [
                q(L::shr::<0, 2>(a), L::shr::<0, 1>(h)),
                q(L::shr::<4, 6>(a), L::shr::<2, 3>(h)),
                q(L::shr::<0, 2>(b), L::shr::<4, 5>(h)),
                q(L::shr::<4, 6>(b), L::shr::<6, 7>(h)),
            ]
        }
    }
    #[inline(always)]
    unsafe fn factors<L: Lanes>(p: *const u8) -> L::S {
        // SAFETY: twelve bytes of scales, at any address.
        unsafe {
            let [a, b, high] = p.add(96).cast::<[u32; 3]>().read_unaligned();
            let s = [(a, high), (b, high >> 2), (a >> 4, high >> 4), (b >> 4, high >> 6)].map(|(low, high)| {
                let s = low & 0x0f0f_0f0f | (high & 0x0303_0303) << 4;
                // Each byte is below 64: setting its top bit keeps the subtraction of 32 from borrowing, flipping it back gives the sign.
                ((s | 0x8080_8080) - 0x2020_2020) ^ 0x8080_8080
            });
            L::factors16(s.as_ptr().cast())
        }
    }
    #[inline(always)]
    unsafe fn scales(p: *const u8) -> (u16, u16) {
        // SAFETY: the caller's contract, at any address.
        (unsafe { p.add(108).cast::<u16>().read_unaligned() }, 0)
    }

    const SHAPE: Shape = Shape::of(DType::Q3_K);
    #[inline(always)]
    unsafe fn sub_block<L: Lanes>(at: At, j: usize) -> [L::P; 8] {
        // SAFETY: eight words of top bits, then eight for each half.
        unsafe {
            let mut q = [L::P::splat(0); 8];
            for (i, q) in q.iter_mut().enumerate() {
                let low = at.word::<L>(8 + j / 4 * 8 + i).shr(2 * (j % 4) as u32).and(3);
                *q = low.or(at.word::<L>(i).shr(j as u32).and(1).lookup(&TOP));
            }
            q
        }
    }
    #[inline(always)]
    unsafe fn group_factors<L: Lanes>(at: At) -> [L::P; 4] {
        // SAFETY: three words of scales after the weights.
        unsafe {
            let (a, b, high) = (at.word::<L>(24), at.word::<L>(25), at.word::<L>(26));
            let mut s = [a, b, a.shr(4), b.shr(4)];
            for (i, s) in s.iter_mut().enumerate() {
                *s = s.and(15).or(high.shr(2 * i as u32).and(3).lookup(&SCALE_TOP));
            }
            s
        }
    }
    #[inline(always)]
    unsafe fn group_scales<L: Lanes>(at: At) -> (L::G, L::G) {
        // SAFETY: the odd bytes are the scales.
        unsafe { (L::G::from_f16(at.odd.cast()), L::G::splat(0.0)) }
    }
}
