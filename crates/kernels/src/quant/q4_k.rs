//! Q4_K: super-blocks of 256 nibbles; every 32 have a 6-bit scale and a 6-bit min, the super-block an f16 scale for each kind.
use crate::DType;
use crate::lanes::{Lanes, Words};
use crate::quant::block256::{Kernels, Mins, Super};
use crate::quant::group::{At, Shape};
use crate::quant::oracle::{Factored, f16, factors_to_f32};
use crate::quant::{Act, Format};

/// `w[i] = d * sc[i / 32] * q[i] - dmin * m[i / 32]`. Bytes `32 j ..` hold sub-blocks `2 j` (low nibbles) and `2 j + 1`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Block {
    pub d: u16,
    pub dmin: u16,
    pub scales: [u8; 12],
    pub qs: [u8; 128],
}
const _: () = assert!(size_of::<Block>() == 144 && align_of::<Block>() == 2);

/// Scale and min of sub-block `j`: the first four stand in the low 6 bits of bytes 0-3 and 4-7, the others in the nibbles of
/// bytes 8-11 with their top bits in the top bits of bytes 0-7.
pub(crate) fn scale_min(s: &[u8; 12], j: usize) -> (i32, i32) {
    let (sc, m) = match j {
        0..4 => (s[j] & 63, s[j + 4] & 63),
        _ => (s[j + 4] & 15 | s[j - 4] >> 6 << 4, s[j + 4] >> 4 | s[j] >> 6 << 4),
    };
    (i32::from(sc), i32::from(m))
}

pub(crate) struct Q4K;
pub(crate) const FORMAT: Format =
    Format { ty: DType::Q4_K, act: Act::B256, to_f32: factors_to_f32::<Q4K>, impls: Kernels::<Q4K>::IMPLS, groups: Kernels::<Q4K>::GROUPS };

impl Factored for Q4K {
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
        i32::from(b.qs[i / 64 * 32 + i % 32] >> (4 * (i / 32 % 2)) & 15)
    }
}

/// The eight scales and the eight mins as bytes: what `scale_min` gives, four at a time.
///
/// # Safety
/// Twelve bytes at `p`.
#[inline(always)]
pub(crate) unsafe fn scales_mins(p: *const u8) -> (u64, u64) {
    // SAFETY: the caller's contract, at any address.
    let [a, b, c] = unsafe { p.cast::<[u32; 3]>().read_unaligned() };
    let (low, top) = (0x3f3f_3f3f, 0x0303_0303);
    let (sc, m) = (c & 0x0f0f_0f0f | (a >> 6 & top) << 4, c >> 4 & 0x0f0f_0f0f | (b >> 6 & top) << 4);
    (u64::from(a & low) | u64::from(sc) << 32, u64::from(b & low) | u64::from(m) << 32)
}

/// The two f16 at the start of a block.
///
/// # Safety
/// Four bytes at `p`.
#[inline(always)]
pub(crate) unsafe fn d_dmin(p: *const u8) -> (u16, u16) {
    // SAFETY: the caller's contract, at any address.
    unsafe { (p.cast::<u16>().read_unaligned(), p.cast::<u16>().add(1).read_unaligned()) }
}

impl Super for Q4K {
    const BYTES: usize = size_of::<Block>();
    type Products = Mins<4>;
    #[inline(always)]
    unsafe fn weights<L: Lanes>(p: *const u8) -> [L::V; 4] {
        // SAFETY: 128 bytes of nibbles follow the scales.
        unsafe {
            let q = |j: usize| p.add(16 + 32 * j);
            [low_high::<L>(q(0)), low_high::<L>(q(1)), low_high::<L>(q(2)), low_high::<L>(q(3))]
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

    const SHAPE: Shape = Shape::of(DType::Q4_K);
    #[inline(always)]
    unsafe fn sub_block<L: Lanes>(at: At, j: usize) -> [L::P; 8] {
        // SAFETY: 32 words of nibbles follow the scales.
        unsafe { nibbles::<L>(at, 4 + j / 2 * 8, j % 2) }
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

/// The low (`half` 0) or high nibbles of eight words from `first` on.
///
/// # Safety
/// The words are there, on a CPU with `L`.
#[inline(always)]
pub(crate) unsafe fn nibbles<L: Lanes>(at: At, first: usize, half: usize) -> [L::P; 8] {
    // SAFETY: the caller's contract.
    unsafe {
        let mut q = [L::P::splat(0); 8];
        for (i, q) in q.iter_mut().enumerate() {
            *q = at.word::<L>(first + i).shr(4 * half as u32).and(15);
        }
        q
    }
}

/// `scales_mins` of a group.
///
/// # Safety
/// A block that starts with two f16 and twelve bytes of scales, on a CPU with `L`.
#[inline(always)]
pub(crate) unsafe fn group_scales_mins<L: Lanes>(at: At) -> ([L::P; 4], [L::P; 4]) {
    // SAFETY: the caller's contract.
    unsafe {
        let (a, b, c) = (at.word::<L>(1), at.word::<L>(2), at.word::<L>(3));
        let sc = c.and(15).or(a.shr(2).and(0x30));
        let m = c.shr(4).and(15).or(b.shr(2).and(0x30));
        ([a.and(63), sc, sc, sc], [b.and(63), m, m, m])
    }
}

/// `d_dmin` of a group.
///
/// # Safety
/// A block that starts with two f16, on a CPU with `L`.
#[inline(always)]
pub(crate) unsafe fn group_d_dmin<L: Lanes>(at: At) -> (L::G, L::G) {
    // SAFETY: the caller's contract.
    unsafe { (L::low_halves(at.word::<L>(0)), L::low_halves(at.word::<L>(0).shr(16))) }
}

/// The low nibbles of 32 bytes, then the high ones.
///
/// # Safety
/// 32 bytes at `p`, on a CPU with `L`.
#[inline(always)]
pub(crate) unsafe fn low_high<L: Lanes>(p: *const u8) -> L::V {
    // SAFETY: the caller's contract.
    unsafe { L::and(L::shr::<0, 4>(L::load(p, p)), 15) }
}
