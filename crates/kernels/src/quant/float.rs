//! F32, F16 and BF16 weights times f32 rows.
//!
//! The order of a sum: 16 lanes, lane `l` adds the elements `i` with `i % 16 == l` in order of `i`, each by one fused multiply-add
//! (a ragged end of `n` elements goes to lanes `0..n`); then the lanes fold 16 -> 8 -> 4 -> 2 -> 1, lane `l` taking lane `l + half`.
use crate::quant::oracle::{self, Oracle};
use crate::quant::{Act, Format};
use crate::{DType, Impl, Isa};

pub(crate) const F32: Format = format::<W32>(DType::F32);
pub(crate) const F16: Format = format::<W16>(DType::F16);
pub(crate) const BF16: Format = format::<WB16>(DType::BF16);

const fn format<W: Oracle + Elem>(ty: DType) -> Format {
    Format { ty, act: Act::F32, to_f32: to_f32::<W>, impls: Kernels::<W>::IMPLS }
}

struct Kernels<W>(W);
impl<W: Oracle> Kernels<W> {
    const IMPLS: &[Impl<crate::quant::MatMul>] = &[Impl { needs: Isa::Scalar, run: oracle::mat_mul::<W> }];
}

/// A weight element: how one is read.
pub(crate) trait Elem {
    /// # Safety
    /// `row` has an element `i`.
    unsafe fn get(row: *const u8, i: usize) -> f32;
}

pub(crate) struct W32;
pub(crate) struct W16;
pub(crate) struct WB16;
impl Elem for W32 {
    #[inline(always)]
    unsafe fn get(row: *const u8, i: usize) -> f32 {
        // SAFETY: the caller's contract, at any address.
        unsafe { row.cast::<f32>().add(i).read_unaligned() }
    }
}
impl Elem for W16 {
    #[inline(always)]
    unsafe fn get(row: *const u8, i: usize) -> f32 {
        // SAFETY: the caller's contract, at any address.
        oracle::f16(unsafe { row.cast::<u16>().add(i).read_unaligned() })
    }
}
impl Elem for WB16 {
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
        for half in [8, 4, 2, 1] {
            for l in 0..half {
                lanes[l] += lanes[l + half];
            }
        }
        lanes[0]
    }
}
