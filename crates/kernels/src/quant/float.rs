//! F32, F16 and BF16 weights times f32 rows.
//!
//! The order of a sum: 16 lanes, lane `l` adds the elements `i` with `i % 16 == l` in order of `i`, each by one fused multiply-add
//! (a ragged end of `n` elements goes to lanes `0..n`, the others add 0 * 0); then the lanes fold 16 -> 8 -> 4 -> 2 -> 1, lane `l` taking lane `l + half`.
use crate::lanes::{Kernel, Lanes, Sixteen};
use crate::quant::oracle::{self, Oracle};
use crate::quant::{Act, Format, MatArgs, MatMul};
use crate::{DType, Impl, Isa, lanes};
use core::marker::PhantomData;

pub(crate) const F32: Format = format::<W32>(DType::F32);
pub(crate) const F16: Format = format::<W16>(DType::F16);
pub(crate) const BF16: Format = format::<WB16>(DType::BF16);

const fn format<W: Elem>(ty: DType) -> Format {
    Format { ty, act: Act::F32, to_f32: to_f32::<W>, impls: Kernels::<W>::IMPLS, groups: &[] }
}

struct Kernels<W>(W);
impl<W: Elem> Kernels<W> {
    const IMPLS: &[Impl<MatMul>] = &[
        // VNNI has nothing for floats; bf16 dot products round differently.
        #[cfg(target_arch = "x86_64")]
        Impl { needs: Isa::Avx512, run: mat_mul::<W, lanes::avx512::Avx512> },
        #[cfg(target_arch = "x86_64")]
        Impl { needs: Isa::Avx2, run: mat_mul::<W, lanes::avx2::Avx2> },
        Impl { needs: Isa::Scalar, run: oracle::mat_mul::<W> },
    ];
}

/// A weight element: how one is read, and how sixteen.
pub(crate) trait Elem: 'static {
    const BYTES: usize;
    /// # Safety
    /// Sixteen elements at `p`, on a CPU with the instruction set of `E`.
    unsafe fn load<E: Sixteen>(p: *const u8) -> E;
    /// # Safety
    /// `row` has an element `i`.
    unsafe fn get(row: *const u8, i: usize) -> f32;
}

pub(crate) struct W32;
pub(crate) struct W16;
pub(crate) struct WB16;
impl Elem for W32 {
    const BYTES: usize = 4;
    #[inline(always)]
    unsafe fn load<E: Sixteen>(p: *const u8) -> E {
        // SAFETY: the caller's contract.
        unsafe { E::load_f32(p.cast()) }
    }
    #[inline(always)]
    unsafe fn get(row: *const u8, i: usize) -> f32 {
        // SAFETY: the caller's contract, at any address.
        unsafe { row.cast::<f32>().add(i).read_unaligned() }
    }
}
impl Elem for W16 {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load<E: Sixteen>(p: *const u8) -> E {
        // SAFETY: the caller's contract.
        unsafe { E::load_f16(p.cast()) }
    }
    #[inline(always)]
    unsafe fn get(row: *const u8, i: usize) -> f32 {
        // SAFETY: the caller's contract, at any address.
        oracle::f16(unsafe { row.cast::<u16>().add(i).read_unaligned() })
    }
}
impl Elem for WB16 {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load<E: Sixteen>(p: *const u8) -> E {
        // SAFETY: the caller's contract.
        unsafe { E::load_bf16(p.cast()) }
    }
    #[inline(always)]
    unsafe fn get(row: *const u8, i: usize) -> f32 {
        // SAFETY: the caller's contract, at any address. A bf16 is the upper half of a float.
        f32::from_bits(u32::from(unsafe { row.cast::<u16>().add(i).read_unaligned() }) << 16)
    }
}

/// # Safety
/// `row` has `k` elements, `out` room for `k`.
unsafe fn to_f32<W: Elem>(row: *const u8, k: usize, out: *mut f32) {
    for i in 0..k {
        // SAFETY: the caller's contract.
        unsafe { *out.add(i) = W::get(row, i) };
    }
}

impl<W: Elem> Oracle for W {
    unsafe fn dot(w: *const u8, x: *const u8, k: usize) -> f32 {
        let mut lanes = [0.0f32; 16];
        for i in 0..k {
            // SAFETY: element `i` of both rows.
            let (w, x) = unsafe { (W::get(w, i), W32::get(x, i)) };
            lanes[i % 16] = w.mul_add(x, lanes[i % 16]);
        }
        if !k.is_multiple_of(16) {
            lanes[k % 16..].iter_mut().for_each(|lane| *lane += 0.0);
        }
        for half in [8, 4, 2, 1] {
            for l in 0..half {
                lanes[l] += lanes[l + half];
            }
        }
        lanes[0]
    }
}

struct Mat<'a, W>(&'a MatArgs, PhantomData<W>);

/// # Safety
/// The contract of `MatArgs`, on a CPU with `L`.
unsafe fn mat_mul<W: Elem, L: Lanes>(a: &MatArgs) {
    // SAFETY: the caller's contract.
    unsafe { L::enter(&Mat::<W>(a, PhantomData)) }
}

impl<W: Elem> Kernel for Mat<'_, W> {
    /// Tiles of rows and tokens as large as the registers allow: 4 x 4 where a vector is sixteen lanes, else 2 x 2; 8 or 4 rows for
    /// the tokens that are left.
    #[inline(always)]
    unsafe fn run<L: Lanes>(&self) {
        // SAFETY: the caller's contract.
        unsafe { if L::WIDE { tiles::<W, L, 4, 8>(self.0) } else { tiles::<W, L, 2, 4>(self.0) } }
    }
}

/// Tiles of `N x N`, then of `R` rows with one token.
///
/// # Safety
/// The contract of `MatArgs`, on a CPU with `L`.
#[inline(always)]
unsafe fn tiles<W: Elem, L: Lanes, const N: usize, const R: usize>(a: &MatArgs) {
    let square = a.n_tokens / N * N;
    // SAFETY: the rows and tokens are the caller's.
    unsafe {
        for r in (0..a.n_rows).step_by(N) {
            for t in (0..square).step_by(N) {
                tile::<W, L::E, N, N>(a, r, t);
            }
        }
        for r in (0..a.n_rows).step_by(R) {
            for t in square..a.n_tokens {
                tile::<W, L::E, R, 1>(a, r, t);
            }
        }
    }
}

/// Rows `r..r + R` (the last row again past the end) times tokens `t..t + T`.
///
/// # Safety
/// As `tiles`.
#[inline(always)]
unsafe fn tile<W: Elem, E: Sixteen, const R: usize, const T: usize>(a: &MatArgs, r: usize, t: usize) {
    // SAFETY: `r` is a row, by the caller's contract.
    let w: [*const u8; R] = unsafe { crate::quant::panel::rows(a, r) };
    let mut x = [a.x; T];
    for (i, x) in x.iter_mut().enumerate() {
        *x = a.x.wrapping_add((t + i) * a.x_stride);
    }
    // SAFETY: `k` elements in every row; the rest of fewer than sixteen is copied to where sixteen can be read.
    unsafe {
        let mut acc = [[E::zero(); T]; R];
        for k in (0..a.k / 16 * 16).step_by(16) {
            step::<W, E, R, T>(&mut acc, &w.map(|w| w.wrapping_add(k * W::BYTES)), &x.map(|x| x.wrapping_add(k * 4)));
        }
        if !a.k.is_multiple_of(16) {
            let (k, n) = (a.k / 16 * 16, a.k % 16);
            let (mut wt, mut xt) = ([[0u8; 64]; R], [[0u8; 64]; T]);
            for (to, w) in wt.iter_mut().zip(w) {
                w.add(k * W::BYTES).copy_to_nonoverlapping(to.as_mut_ptr(), n * W::BYTES);
            }
            for (to, x) in xt.iter_mut().zip(x) {
                x.add(k * 4).copy_to_nonoverlapping(to.as_mut_ptr(), n * 4);
            }
            step::<W, E, R, T>(&mut acc, &wt.each_ref().map(|w| w.as_ptr()), &xt.each_ref().map(|x| x.as_ptr()));
        }
        for (i, acc) in acc.iter().enumerate().take(a.n_rows - r) {
            for (j, acc) in acc.iter().enumerate() {
                *a.y.add((t + j) * a.y_stride + r + i) = acc.fold();
            }
        }
    }
}

/// Sixteen elements of every row and token.
///
/// # Safety
/// They can be read, on a CPU with the instruction set of `E`.
#[inline(always)]
unsafe fn step<W: Elem, E: Sixteen, const R: usize, const T: usize>(acc: &mut [[E; T]; R], w: &[*const u8; R], x: &[*const u8; T]) {
    // SAFETY: the caller's contract.
    unsafe {
        let mut xs = [E::zero(); T];
        for (v, x) in xs.iter_mut().zip(x) {
            *v = E::load_f32(x.cast());
        }
        for (acc, &w) in acc.iter_mut().zip(w) {
            let w = W::load::<E>(w);
            for (acc, &x) in acc.iter_mut().zip(&xs) {
                *acc = w.mul_add(x, *acc);
            }
        }
    }
}
