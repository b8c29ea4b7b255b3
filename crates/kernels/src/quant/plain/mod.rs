//! Formats whose blocks become bytes by other means than masks and shifts: code books, ternary digits, single bits, scales of 16. A format is its
//! block and what makes vectors of 64 bytes of it (`Bytes`): with few tokens they meet the input as they are, with many they are first written
//! out, 256 elements of a row at a time (`walk`), and the dequantiser and the oracle read what plain Rust writes out.
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
mod short;
mod tq1_0;
mod walk;
mod wide;

pub(crate) use bits::{Q1_0, Q2_0};
pub use grids::code_books;
pub(crate) use iq1::{IQ1_M, IQ1_S};
pub(crate) use iq2::{IQ2_S, IQ2_XS, IQ2_XXS};
pub(crate) use iq3::{IQ3_S, IQ3_XXS};
pub(crate) use nvfp4::{NVFP4, half_scale, small_float};
pub(crate) use tq1_0::TQ1_0;

use crate::isa::Impl;
use crate::lanes::bytes::{Bytes, Portable};
use crate::lanes::{self, Lanes};
use crate::quant::act::Row;
use crate::quant::oracle::{self, Oracle};
use crate::quant::panel::{self, Unpacked};
use crate::quant::{Act, Format, MatMul, ONES};
use crate::{DType, Isa};
use core::marker::PhantomData;
use short::{Sixteens, ThirtyTwos};
use wide::Wide;

/// Elements that are written out at a time.
const LEN: usize = 256;

/// 256 elements of a row: five lines of 64 bytes that become words of a group.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Plain {
    /// Values, the kind's `CENTRE` too large.
    q: [u8; LEN],
    /// What stands beside them, as the kind has it.
    rest: [u32; 16],
}
const _: () = assert!(size_of::<Plain>() == 320);

impl Plain {
    const ZERO: Plain = Plain { q: [0; LEN], rest: [0; 16] };
}

/// A format. Safety of all: the CPU has `B`.
///
/// (Loops and no closures where bytes are made: what is not inlined is compiled without the instruction set.)
trait Blocks: 'static {
    /// Bytes only, so that it stands at any address.
    type Block: Copy;
    type Kind: Kind;
    const TYPE: DType;
    /// Elements of a block; divides 256.
    const ELEMENTS: usize;
    /// How much too large `values` are; nothing where some are `negative`.
    const CENTRE: i8 = 0;
    /// What the scale is multiplied with.
    const UNIT: f32 = 1.0;
    /// Elements `64 j..` of a block.
    unsafe fn values<B: Bytes>(b: &Self::Block, j: usize) -> B::V;
    /// All sizes are 1: inputs are added with the signs of values.
    const SIGNS: bool = false;
    /// Which of them are less than zero: `values` are their sizes.
    unsafe fn negative<B: Bytes>(_b: &Self::Block, _j: usize) -> u64 {
        0
    }
    unsafe fn scales<B: Bytes>(b: &Self::Block) -> <Self::Kind as Kind>::Scales;
}

/// Which scales stand beside the values of a format, and how both are multiplied.
trait Kind: Sized + 'static {
    const ACT: Act;
    /// How much too large values are written out.
    const CENTRE: i8;
    /// Of a block.
    type Scales;
    /// What lines, turned, become.
    type Tiles: panel::Kind;
    /// Writes down the scales of the block from element `at` on.
    fn put<F: Blocks<Kind = Self>>(scales: Self::Scales, at: usize, rest: &mut [u32; 16]);
    /// What value `i` is multiplied with: a float and an integer.
    fn scale(p: &Plain, i: usize) -> (f32, i32);
    /// `acc` plus `n` elements times elements `at..` of the input row `x` of `k` elements.
    ///
    /// # Safety
    /// The row has them.
    unsafe fn dot(p: &Plain, n: usize, x: *const u8, k: usize, at: usize, acc: f32) -> f32;
    /// See `panel::Rows`, for rows of `F`.
    ///
    /// # Safety
    /// As there.
    unsafe fn stream8<F: Blocks<Kind = Self>, L: Lanes>(rows: &[*const u8; 8], x: Row, n: usize, ahead: usize) -> L::F;
    /// Stores `Plain::rest`, turned: 16 words of a vector's rows, 64 bytes apart.
    ///
    /// # Safety
    /// They are there, the scratch has room, the CPU has `L`.
    unsafe fn rest<L: Lanes>(words: *const u8, to: Unpacked<L>);
}

/// Writes out `n` elements from block `p` on.
///
/// # Safety
/// They are there: whole blocks, at most 256 elements; the CPU has `B`.
#[inline(always)]
unsafe fn write_out<F: Blocks, B: Bytes>(p: *const u8, n: usize, to: &mut Plain) {
    const { assert!(align_of::<F::Block>() == 1 && LEN.is_multiple_of(F::ELEMENTS) && F::ELEMENTS.is_multiple_of(64)) };
    for at in (0..n).step_by(F::ELEMENTS) {
        // SAFETY: the block is there, at any address, and `to` has room for its elements.
        unsafe {
            let b = &*p.cast::<F::Block>().add(at / F::ELEMENTS);
            for j in 0..F::ELEMENTS / 64 {
                let v = B::signed(F::Kind::CENTRE - F::CENTRE, F::values::<B>(b, j), F::negative::<B>(b, j));
                B::store(v, to.q.as_mut_ptr().add(at + 64 * j));
            }
            F::Kind::put::<F>(F::scales::<B>(b), at, &mut to.rest);
        }
    }
}

fn value<K: Kind>(p: &Plain, i: usize) -> i32 {
    i32::from(p.q[i]) - i32::from(K::CENTRE)
}

const fn format<F: Blocks>() -> Format {
    Format { ty: F::TYPE, act: F::Kind::ACT, to_f32: to_f32::<F>, impls: Kernels::<F>::IMPLS, groups: &[] }
}

struct Kernels<F>(PhantomData<F>);
impl<F: Blocks> Kernels<F> {
    const IMPLS: &[Impl<MatMul>] = &[
        #[cfg(target_arch = "x86_64")]
        Impl { needs: Isa::Avx512Vnni, run: walk::mat_mul::<F, lanes::avx512_vnni::Avx512Vnni> },
        #[cfg(target_arch = "x86_64")]
        Impl { needs: Isa::Avx512, run: walk::mat_mul::<F, lanes::avx512::Avx512> },
        #[cfg(target_arch = "x86_64")]
        Impl { needs: Isa::AvxVnni, run: walk::mat_mul::<F, lanes::avx_vnni::AvxVnni> },
        #[cfg(target_arch = "x86_64")]
        Impl { needs: Isa::Avx2, run: walk::mat_mul::<F, lanes::avx2::Avx2> },
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
            write_out::<F, Portable>(row.add(at / F::ELEMENTS * size_of::<F::Block>()), n, &mut p);
            for i in 0..n {
                let (d, factor) = F::Kind::scale(&p, i);
                *out.add(at + i) = d * (factor * value::<F::Kind>(&p, i)) as f32;
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
                write_out::<F, Portable>(w.add(at / F::ELEMENTS * size_of::<F::Block>()), n, &mut p);
                acc = F::Kind::dot(&p, n, x, k, at, acc);
            }
        }
        acc
    }
}
