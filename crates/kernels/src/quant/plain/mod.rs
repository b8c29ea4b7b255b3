//! Formats whose blocks are first written out as bytes and factors, 256 elements of a row at a time: code books, ternary digits, single bits,
//! scales of 16. What multiplies is compiled once per kind and instruction set (`walk`); a format is its block and one function in plain
//! Rust, which its dequantiser and its oracle read through too.
//!
//! The order of a sum. `Wide`: as `block256` has it, `acc = fma(d * dx, isum, acc)` per super-block. `Sixteens`: per 16 elements the exact
//! integer `isum = sum_i q_i x_i`, then `acc = fma(d * dx, isum, acc)` in order of k, `dx` being that of the 32 elements they stand in.
//! `ThirtyTwos`: the same per 32.
mod bits;
mod grids;
mod iq1;
mod iq2;
mod iq3;
mod nvfp4;

mod tq1_0;
#[cfg(target_arch = "x86_64")]
mod walk;

pub(crate) use bits::{Q1_0, Q2_0};
pub(crate) use iq1::{IQ1_M, IQ1_S};
pub(crate) use iq2::{IQ2_S, IQ2_XS, IQ2_XXS};
pub(crate) use iq3::{IQ3_S, IQ3_XXS};
pub(crate) use nvfp4::{NVFP4, half_scale, small_float};

pub(crate) use tq1_0::TQ1_0;

use crate::isa::Impl;
use crate::quant::oracle::{self, Oracle, act_block};
use crate::quant::{Act, Format, MatMul, ONES};
use crate::{DType, Isa};
use core::marker::PhantomData;

/// Elements that are written out at a time.
const LEN: usize = 256;

/// 256 elements of a row: five lines of 64 bytes that become words of a group, and signs.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Plain {
    /// Values, the kind's `CENTRE` too large; with `Blocks::SIGNS` their sizes.
    q: [u8; LEN],
    /// What stands beside them, as the kind has it.
    rest: [u32; 16],
    /// With `Blocks::SIGNS`: bit `i % 64` of word `i / 64` is set where element `i` is negative.
    signs: [u64; 4],
}
const _: () = assert!(size_of::<Plain>() == 384);

impl Plain {
    const ZERO: Plain = Plain { q: [0; LEN], rest: [0; 16], signs: [0; 4] };

    /// For `Wide`: `w[i] = d * factors[i / 16] * value[i]`, factors are bytes below 64.
    #[inline(always)]
    fn put_factors(&mut self, d: f32, factors: [u64; 2]) {
        for (i, f) in factors.into_iter().enumerate() {
            (self.rest[2 * i], self.rest[2 * i + 1]) = (f as u32, (f >> 32) as u32);
            // The doubled ones are what `block256::Rest::Centre` takes 32 times the inputs of.
            (self.rest[4 + 2 * i], self.rest[5 + 2 * i]) = ((f << 1) as u32, (f << 1 >> 32) as u32);
        }
        self.rest[8] = d.to_bits();
    }
    /// For `Sixteens` and `ThirtyTwos`: `w[i] = scale[i / 16] * value[i]`, or `i / 32`.
    #[inline(always)]
    fn put_scale(&mut self, i: usize, d: f32) {
        self.rest[i] = d.to_bits();
    }
}

/// A format.
trait Blocks: 'static {
    /// Bytes only, so that it stands at any address.
    type Block: Copy;
    type Kind: Kind;
    const TYPE: DType;
    /// Elements of a block; divides 256.
    const ELEMENTS: usize;
    const SIGNS: bool = false;
    /// Writes a block out from element `at` on.
    fn unpack(b: &Self::Block, at: usize, to: &mut Plain);
}

/// Values centred on 64, a factor per 16, a scale per 256.
struct Wide;
/// Values centred on 12 and below 32, a scale per 16.
struct Sixteens;
/// The same, a scale per 32.
struct ThirtyTwos;

/// What a kind makes of `Plain`; in vectors, see `walk`.
trait Kind: 'static {
    const ACT: Act;
    const CENTRE: i32;
    #[cfg(target_arch = "x86_64")]
    type Vectors: walk::Vectors;
    /// What value `i` is multiplied with: a float and an integer.
    fn scale(p: &Plain, i: usize) -> (f32, i32);
    /// `acc` plus `n` elements times elements `at..` of the input row `x` of `k` elements.
    ///
    /// # Safety
    /// The row has them.
    unsafe fn dot(p: &Plain, n: usize, value: impl Fn(usize) -> i32, x: *const u8, k: usize, at: usize, acc: f32) -> f32;
}

impl Kind for Wide {
    const ACT: Act = Act::B256;
    const CENTRE: i32 = 64;
    #[cfg(target_arch = "x86_64")]
    type Vectors = walk::Wide;
    fn scale(p: &Plain, i: usize) -> (f32, i32) {
        (f32::from_bits(p.rest[8]), (p.rest[i / 64] >> (i / 16 % 4 * 8) & 255) as i32)
    }
    unsafe fn dot(p: &Plain, _: usize, value: impl Fn(usize) -> i32, x: *const u8, k: usize, at: usize, acc: f32) -> f32 {
        // SAFETY: the caller's contract.
        let (dx, x) = unsafe { act_block::<256>(x, k, at / 256) };
        let isum: i32 = (0..256).map(|i| Self::scale(p, i).1 * value(i) * i32::from(x[i])).sum();
        (Self::scale(p, 0).0 * dx).mul_add(isum as f32, acc)
    }
}

impl Kind for Sixteens {
    const ACT: Act = Act::B32;
    const CENTRE: i32 = 12;
    #[cfg(target_arch = "x86_64")]
    type Vectors = walk::Sixteens;
    fn scale(p: &Plain, i: usize) -> (f32, i32) {
        (f32::from_bits(p.rest[i / 16]), 1)
    }
    unsafe fn dot(p: &Plain, n: usize, value: impl Fn(usize) -> i32, x: *const u8, k: usize, at: usize, acc: f32) -> f32 {
        // SAFETY: the caller's contract.
        unsafe { dot_by::<Self, 16>(p, n, value, x, k, at, acc) }
    }
}

impl Kind for ThirtyTwos {
    const ACT: Act = Act::B32;
    const CENTRE: i32 = 12;
    #[cfg(target_arch = "x86_64")]
    type Vectors = walk::ThirtyTwos;
    fn scale(p: &Plain, i: usize) -> (f32, i32) {
        (f32::from_bits(p.rest[i / 32]), 1)
    }
    unsafe fn dot(p: &Plain, n: usize, value: impl Fn(usize) -> i32, x: *const u8, k: usize, at: usize, acc: f32) -> f32 {
        // SAFETY: the caller's contract.
        unsafe { dot_by::<Self, 32>(p, n, value, x, k, at, acc) }
    }
}

/// `Kind::dot` where every `PER` elements have a scale.
///
/// # Safety
/// As there.
unsafe fn dot_by<K: Kind, const PER: usize>(
    p: &Plain,
    n: usize,
    value: impl Fn(usize) -> i32,
    x: *const u8,
    k: usize,
    at: usize,
    mut acc: f32,
) -> f32 {
    for j in (0..n).step_by(PER) {
        // SAFETY: the caller's contract.
        let (dx, x) = unsafe { act_block::<32>(x, k, (at + j) / 32) };
        let isum: i32 = (0..PER).map(|i| value(j + i) * i32::from(x[j % 32 + i])).sum();
        acc = (K::scale(p, j).0 * dx).mul_add(isum as f32, acc);
    }
    acc
}

/// `n` elements from block `p` on.
///
/// # Safety
/// They are there: whole blocks, at most 256 elements.
#[inline(always)]
unsafe fn unpack<F: Blocks>(p: *const u8, n: usize, to: &mut Plain) {
    const { assert!(align_of::<F::Block>() == 1 && LEN.is_multiple_of(F::ELEMENTS)) };
    to.signs = [0; 4];
    for (i, at) in (0..n).step_by(F::ELEMENTS).enumerate() {
        // SAFETY: block `i`, at any address.
        F::unpack(unsafe { &*p.cast::<F::Block>().add(i) }, at, to);
    }
}

fn value<F: Blocks>(p: &Plain, i: usize) -> i32 {
    let q = i32::from(p.q[i]);
    match (F::SIGNS, p.signs[i / 64] >> (i % 64) & 1) {
        (false, _) => q - F::Kind::CENTRE,
        (true, 0) => q,
        (true, _) => -q,
    }
}

const fn format<F: Blocks>() -> Format {
    Format { ty: F::TYPE, act: F::Kind::ACT, to_f32: to_f32::<F>, impls: Kernels::<F>::IMPLS, groups: &[] }
}

struct Kernels<F>(PhantomData<F>);
impl<F: Blocks> Kernels<F> {
    const IMPLS: &[Impl<MatMul>] = &[
        #[cfg(target_arch = "x86_64")]
        Impl { needs: Isa::Avx512Vnni, run: walk::mat_mul::<F, crate::lanes::avx512_vnni::Avx512Vnni> },
        #[cfg(target_arch = "x86_64")]
        Impl { needs: Isa::Avx512, run: walk::mat_mul::<F, crate::lanes::avx512::Avx512> },
        #[cfg(target_arch = "x86_64")]
        Impl { needs: Isa::AvxVnni, run: walk::mat_mul::<F, crate::lanes::avx_vnni::AvxVnni> },
        #[cfg(target_arch = "x86_64")]
        Impl { needs: Isa::Avx2, run: walk::mat_mul::<F, crate::lanes::avx2::Avx2> },
        Impl { needs: Isa::Scalar, run: oracle::mat_mul::<Truth<F>> },
    ];
}

/// # Safety
/// `row` has `k` elements, `out` room for `k`.
unsafe fn to_f32<F: Blocks>(row: *const u8, k: usize, out: *mut f32) {
    let mut p = Plain::ZERO;
    for at in (0..k).step_by(LEN) {
        let n = LEN.min(k - at);
        // SAFETY: these elements of the row and of `out`.
        unsafe {
            unpack::<F>(row.add(at / F::ELEMENTS * size_of::<F::Block>()), n, &mut p);
            for i in 0..n {
                let (d, factor) = F::Kind::scale(&p, i);
                *out.add(at + i) = d * (factor * value::<F>(&p, i)) as f32;
            }
        }
    }
}

struct Truth<F>(PhantomData<F>);
impl<F: Blocks> Oracle for Truth<F> {
    unsafe fn dot(w: *const u8, x: *const u8, k: usize) -> f32 {
        let (mut p, mut acc) = (Plain::ZERO, 0.0);
        for at in (0..k).step_by(LEN) {
            let n = LEN.min(k - at);
            // SAFETY: these elements of both rows.
            unsafe {
                unpack::<F>(w.add(at / F::ELEMENTS * size_of::<F::Block>()), n, &mut p);
                acc = F::Kind::dot(&p, n, |i| value::<F>(&p, i), x, k, at, acc);
            }
        }
        acc
    }
}
