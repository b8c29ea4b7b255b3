//! Q5_K: Q4_K with a fifth bit: super-blocks of 256; every 32 have a 6-bit scale and a 6-bit min, as in `q4_k`.
use crate::DType;
use crate::lanes::{Lanes, Words};
use crate::quant::block256::{Kernels, Mins, Super};
use crate::quant::group::{At, Shape};
use crate::quant::oracle::{Factored, f16, factors_to_f32};
use crate::quant::q4_k::{d_dmin, group_d_dmin, group_scales_mins, low_high, nibbles, scale_min, scales_mins};
use crate::quant::{Act, Format};

/// `w[i] = d * sc[i / 32] * q[i] - dmin * m[i / 32]`. Bytes `32 j ..` hold sub-blocks `2 j` (low nibbles) and `2 j + 1`;
/// bit `j` of `qh[l]` is the top bit of element `32 j + l`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Block {
    pub d: u16,
    pub dmin: u16,
    pub scales: [u8; 12],
    pub qh: [u8; 32],
    pub qs: [u8; 128],
}
const _: () = assert!(size_of::<Block>() == 176 && align_of::<Block>() == 2);

pub(crate) struct Q5K;
pub(crate) const FORMAT: Format =
    Format { ty: DType::Q5_K, act: Act::B256, to_f32: factors_to_f32::<Q5K>, impls: Kernels::<Q5K>::IMPLS, groups: Kernels::<Q5K>::GROUPS };

impl Factored for Q5K {
    type Block = Block;
    const PER: usize = 32;
    fn scale(b: &Block) -> f32 {
        f16(b.d)
    }
    fn min_scale(b: &Block) -> Option<f32> {
        Some(f16(b.dmin))
    }
    fn factor_min(b: &Block, j: usize) -> (i32, i32) {
        scale_min(&b.scales, j)
    }
    fn value(b: &Block, i: usize) -> i32 {
        let (low, high) = (b.qs[i / 64 * 32 + i % 32] >> (4 * (i / 32 % 2)) & 15, b.qh[i % 32] >> (i / 32) & 1);
        i32::from(low | high << 4)
    }
}

impl Super for Q5K {
    const BYTES: usize = size_of::<Block>();
    type Products = Mins<5>;
    #[inline(always)]
    unsafe fn weights<L: Lanes>(p: *const u8) -> [L::V; 4] {
        // SAFETY: 32 bytes of top bits and 128 of nibbles follow the scales.
        unsafe {
            let (q, h) = (|j: usize| low_high::<L>(p.add(48 + 32 * j)), L::load(p.add(16), p.add(16)));
            let top = |v| L::shl4(L::and(v, 1));
            [
                L::or(q(0), top(L::shr::<0, 1>(h))),
                L::or(q(1), top(L::shr::<2, 3>(h))),
                L::or(q(2), top(L::shr::<4, 5>(h))),
                L::or(q(3), top(L::shr::<6, 7>(h))),
            ]
        }
    }
    #[inline(always)]
    unsafe fn factors<L: Lanes>(p: *const u8) -> L::S {
        // SAFETY: the caller's contract.
        unsafe { L::factors8(scales_mins(p.add(4)).0) }
    }
    #[inline(always)]
    unsafe fn mins<L: Lanes>(p: *const u8) -> L::S {
        // SAFETY: the caller's contract.
        unsafe { L::factors8(scales_mins(p.add(4)).1) }
    }
    #[inline(always)]
    unsafe fn scales(p: *const u8) -> (u16, u16) {
        // SAFETY: the caller's contract.
        unsafe { d_dmin(p) }
    }

    const SHAPE: Shape = Shape::of(DType::Q5_K);
    #[inline(always)]
    unsafe fn sub_block<L: Lanes>(at: At, j: usize) -> [L::P; 8] {
        // SAFETY: 8 words of top bits and 32 of nibbles follow the scales.
        unsafe {
            let mut q = nibbles::<L>(at, 12 + j / 2 * 8, j % 2);
            for (i, q) in q.iter_mut().enumerate() {
                *q = q.or(at.word::<L>(4 + i).shr(j as u32).and(1).shl(4));
            }
            q
        }
    }
    #[inline(always)]
    unsafe fn group_factors<L: Lanes>(at: At) -> [L::P; 4] {
        // SAFETY: the caller's contract.
        unsafe { group_scales_mins::<L>(at).0 }
    }
    #[inline(always)]
    unsafe fn group_mins<L: Lanes>(at: At) -> [L::P; 4] {
        // SAFETY: the caller's contract.
        unsafe { group_scales_mins::<L>(at).1 }
    }
    #[inline(always)]
    unsafe fn group_scales<L: Lanes>(at: At) -> (L::G, L::G) {
        // SAFETY: the caller's contract.
        unsafe { group_d_dmin::<L>(at) }
    }
}
