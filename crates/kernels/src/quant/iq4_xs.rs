//! IQ4_XS: super-blocks of 256 nibbles that index a table of 16 values; every 32 have a 6-bit scale centred on 32.
use crate::DType;
use crate::lanes::{Floats, Lanes, Words};
use crate::quant::block256::{Kernels, Signed, Super};
use crate::quant::group::{At, Shape};
use crate::quant::oracle::{Factored, f16, factors_to_f32};
use crate::quant::q4_0::nibbles;
use crate::quant::{Act, Format, spread};

/// `w[i] = d * (scale[i / 32] - 32) * VALUES[q[i]]`. Sub-block `j` is bytes `16 j ..`: elements 0-15 in the low nibbles. Its scale has
/// its low 4 bits in nibble `j` of `scales_l`, its top 2 in bits `2 j ..` of `scales_h`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Block {
    pub d: u16,
    pub scales_h: u16,
    pub scales_l: [u8; 4],
    pub qs: [u8; 128],
}
const _: () = assert!(size_of::<Block>() == 136 && align_of::<Block>() == 2);

/// The non-linear 4-bit values of the IQ4 types.
pub(crate) const VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

pub(crate) struct Iq4Xs;
pub(crate) const FORMAT: Format = Format {
    ty: DType::IQ4_XS,
    act: Act::B256,
    to_f32: factors_to_f32::<Iq4Xs>,
    impls: Kernels::<Iq4Xs>::IMPLS,
    groups: Kernels::<Iq4Xs>::GROUPS,
};

impl Factored for Iq4Xs {
    type Block = Block;
    const PER: usize = 32;
    fn scale(b: &Block) -> f32 {
        f16(b.d)
    }
    fn factor_min(b: &Block, j: usize) -> (i32, i32) {
        let (low, high) = (b.scales_l[j / 2] >> (4 * (j % 2)) & 15, b.scales_h >> (2 * j) & 3);
        (i32::from(low) + 16 * i32::from(high) - 32, 0)
    }
    fn value(b: &Block, i: usize) -> i32 {
        let q = b.qs[i / 32 * 16 + i % 16] >> (4 * (i / 16 % 2)) & 15;
        i32::from(VALUES[usize::from(q)])
    }
}

impl Super for Iq4Xs {
    const BYTES: usize = size_of::<Block>();
    type Products = Signed;
    #[inline(always)]
    unsafe fn weights<L: Lanes>(p: *const u8) -> [L::V; 4] {
        // SAFETY: 128 bytes of nibbles follow the scales, 16 per sub-block.
        unsafe {
            let q = |j: usize| L::lookup(L::nibbles(p.add(8 + 32 * j), p.add(24 + 32 * j)), &VALUES);
            [q(0), q(1), q(2), q(3)]
        }
    }
    #[inline(always)]
    unsafe fn factors<L: Lanes>(p: *const u8) -> L::S {
        // SAFETY: two bytes of top bits and four of low ones, at any address.
        unsafe {
            let (high, low) = (p.add(2).cast::<u16>().read_unaligned(), p.add(4).cast::<u32>().read_unaligned());
            let s = spread::<4>(u64::from(low)) | spread::<2>(u64::from(high)) << 4;
            // Each byte is below 64: setting its top bit keeps the subtraction of 32 from borrowing, flipping it back gives the sign.
            L::factors8(((s | TOPS) - TOPS / 4) ^ TOPS)
        }
    }
    #[inline(always)]
    unsafe fn scales(p: *const u8) -> (u16, u16) {
        // SAFETY: the caller's contract, at any address.
        (unsafe { p.cast::<u16>().read_unaligned() }, 0)
    }

    const SHAPE: Shape = Shape::of(DType::IQ4_XS);
    #[inline(always)]
    unsafe fn sub_block<L: Lanes>(at: At, j: usize) -> [L::P; 8] {
        // SAFETY: 32 words of nibbles follow the scales, four per sub-block.
        unsafe {
            let mut q = nibbles::<L>(at, 2 + 4 * j);
            for q in &mut q {
                *q = q.lookup(&VALUES);
            }
            q
        }
    }
    #[inline(always)]
    unsafe fn group_factors<L: Lanes>(at: At) -> [L::P; 4] {
        // SAFETY: the top bits stand beside the scale, the low ones in the second word.
        unsafe {
            let (high, low) = (at.word::<L>(0).shr(16), at.word::<L>(1));
            let mut s = [L::P::splat(0); 4];
            for j in 0..8 {
                let (low, high) = (low.shr(4 * j).and_word(15), high.shr(2 * j).and_word(3));
                let byte = low.or(high.shl(4)).sub(L::P::splat(32)).and_word(255);
                s[j as usize / 4] = s[j as usize / 4].or(byte.shl(8 * (j % 4)));
            }
            s
        }
    }
    #[inline(always)]
    unsafe fn group_scales<L: Lanes>(at: At) -> (L::G, L::G) {
        // SAFETY: the caller's contract.
        unsafe { (L::low_halves(at.word::<L>(0)), L::G::splat(0.0)) }
    }
}

const TOPS: u64 = 0x8080_8080_8080_8080;
