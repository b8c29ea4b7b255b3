//! Super-blocks of 256 with a scale, and a small factor for every 16. Knows no format.
use super::{Blocks, Kind, Plain, value};
use crate::lanes::{Floats, Lanes, Words};
use crate::quant::act::{Act, Row};
use crate::quant::block256::{Products, Rest, Tiles};
use crate::quant::oracle::{act_block, f16};
use crate::quant::panel::{self, Unpacked};

pub(super) struct Wide;

/// How values are multiplied once they are written out.
pub(super) struct Sevens;
impl Products for Sevens {
    const BITS: Option<u32> = Some(7);
    const GROUP: usize = 16;
    const REST: Rest = Rest::Centre;
}

impl Kind for Wide {
    const ACT: Act = Act::B256;
    const CENTRE: i8 = 64;
    /// The bits of an f16, and sixteen bytes below 64.
    type Scales = (u16, [u64; 2]);
    type Tiles = Tiles<Sevens>;
    fn put<F: Blocks<Kind = Self>>((d, factors): Self::Scales, _: usize, rest: &mut [u32; 16]) {
        for (i, f) in factors.into_iter().enumerate() {
            (rest[2 * i], rest[2 * i + 1]) = (f as u32, (f >> 32) as u32);
            // The doubled ones are what `Rest::Centre` takes 32 times the inputs of.
            (rest[4 + 2 * i], rest[5 + 2 * i]) = ((f << 1) as u32, (f << 1 >> 32) as u32);
        }
        rest[8] = (f16(d) * F::UNIT).to_bits();
    }
    fn scale(p: &Plain, i: usize) -> (f32, i32) {
        (f32::from_bits(p.rest[8]), (p.rest[i / 64] >> (i / 16 % 4 * 8) & 255) as i32)
    }
    unsafe fn dot(p: &Plain, _: usize, x: *const u8, k: usize, at: usize, acc: f32) -> f32 {
        // SAFETY: the caller's contract.
        let (dx, x) = unsafe { act_block::<256>(x, k, at / 256) };
        let isum: i32 = (0..256).map(|i| Self::scale(p, i).1 * value::<Self>(p, i) * i32::from(x[i])).sum();
        (Self::scale(p, 0).0 * dx).mul_add(isum as f32, acc)
    }
    #[inline(always)]
    unsafe fn stream8<F: Blocks<Kind = Self>, L: Lanes>(rows: &[*const u8; 8], x: Row, n: usize, ahead: usize) -> L::F {
        const { assert!(F::CENTRE == 0 || F::CENTRE == 32) };
        // SAFETY: block `b` of every row.
        unsafe {
            let mut acc = L::F::splat(0.0);
            for b in 0..n {
                let (mut dots, mut sums, mut d) = ([L::zero(); 8], [L::zero(); 8], [0u16; 8]);
                for r in 0..8 {
                    let p = rows[r].add(b * size_of::<F::Block>());
                    panel::ahead(p.wrapping_add(ahead), size_of::<F::Block>());
                    let (bits, factors) = F::scales::<L>(&*p.cast());
                    let s = L::factors(factors);
                    dots[r] = dot::<F, L>(&*p.cast(), s, x.qs.add(256 * b));
                    sums[r] = L::dot_sums(s, x.sums16(b));
                    d[r] = bits;
                }
                let mut isum = L::reduce(dots);
                if F::CENTRE != 0 {
                    isum = L::centre(isum, L::reduce(sums));
                }
                let d = L::F::from_f16(d.as_ptr()).mul(L::F::splat(F::UNIT));
                acc = d.mul(L::F::splat(x.d(b))).mul_add(L::floats(isum), acc);
            }
            acc
        }
    }
    #[inline(always)]
    unsafe fn rest<L: Lanes>(words: *const u8, to: Unpacked<L>) {
        // SAFETY: the caller's contract. Four words of factors, four of what goes with the sums, the scale.
        unsafe {
            let word = |i: usize| L::P::load(words.wrapping_add(64 * i));
            for i in 0..16 {
                L::small_factor(word(i / 4).byte(i % 4)).store(to.factors(i));
            }
            for i in 0..8 {
                word(4 + i / 2).pair(2 * i % 4, 2 * i % 4 + 1).store(to.pairs(i));
            }
            L::G::load(words.wrapping_add(64 * 8).cast()).store(to.scales(0));
        }
    }
}

/// A super-block, `CENTRE` too large, times 256 inputs, with factors `s`.
///
/// # Safety
/// They are there; the CPU has `L`.
#[inline(always)]
unsafe fn dot<F: Blocks, L: Lanes>(b: &F::Block, s: L::S, x: *const i8) -> L::A {
    // SAFETY: the caller's contract.
    unsafe {
        let a = L::dot_small::<0>(L::zero(), F::values::<L>(b, 0), inputs::<F, L>(b, 0, x), s);
        let a = L::dot_small::<1>(a, F::values::<L>(b, 1), inputs::<F, L>(b, 1, x), s);
        let a = L::dot_small::<2>(a, F::values::<L>(b, 2), inputs::<F, L>(b, 2, x), s);
        L::dot_small::<3>(a, F::values::<L>(b, 3), inputs::<F, L>(b, 3, x), s)
    }
}

/// Inputs `64 j..` of a super-block with the signs of its values.
///
/// # Safety
/// As `dot`.
#[inline(always)]
unsafe fn inputs<F: Blocks, L: Lanes>(b: &F::Block, j: usize, x: *const i8) -> L::V {
    // SAFETY: the caller's contract.
    unsafe { L::signed(0, L::load(x.add(64 * j).cast(), x.add(64 * j + 32).cast()), F::negative::<L>(b, j)) }
}
