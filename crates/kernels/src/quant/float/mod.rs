//! F32, F16 and BF16 weights times f32 rows.
//!
//! The order of a sum: 16 lanes, lane `l` adds the elements `i` with `i % 16 == l` in order of `i`, each by one fused multiply-add
//! (a ragged end of `n` elements goes to lanes `0..n`, the others add 0 * 0); then the lanes fold 16 -> 8 -> 4 -> 2 -> 1, lane `l` taking lane `l + half`.
mod pairs;
#[cfg(target_arch = "x86_64")]
mod tiles;

pub(crate) use pairs::BF16_PAIRS;

#[cfg(target_arch = "x86_64")]
use crate::lanes::sums::{Body, Sums};
use crate::quant::oracle::{self, Oracle};
use crate::quant::{Act, Format, MatMul};
use crate::{DType, Impl, Isa};
#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::{__m256, __m512};
#[cfg(target_arch = "x86_64")]
use core::marker::PhantomData;
#[cfg(target_arch = "x86_64")]
use tiles::Unit;

pub(crate) const F32: Format = format::<W32>(DType::F32);
pub(crate) const F16: Format = format::<W16>(DType::F16);
pub(crate) const BF16: Format = format::<WB16>(DType::BF16);

const fn format<W: Elem>(ty: DType) -> Format {
    Format { ty, act: Act::F32, to_f32: to_f32::<W>, impls: Kernels::<W>::IMPLS, groups: &[] }
}

/// See `quant::scratch_bytes`.
pub(crate) fn scratch_bytes(n_tokens: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    let bytes = tiles::scratch_bytes(n_tokens);
    #[cfg(not(target_arch = "x86_64"))]
    let bytes = 0;
    bytes
}

struct Kernels<W>(W);
impl<W: Elem> Kernels<W> {
    const IMPLS: &[Impl<MatMul>] = &[
        // VNNI has nothing for floats; bf16 dot products round differently (`pairs`).
        #[cfg(target_arch = "x86_64")]
        Impl { needs: Isa::Avx512, run: tiles::mat_mul::<Fma<W, __m512>> },
        #[cfg(target_arch = "x86_64")]
        Impl { needs: Isa::Avx2, run: tiles::mat_mul::<Fma<W, __m256>> },
        Impl { needs: Isa::Scalar, run: oracle::mat_mul::<Folded<W>> },
    ];
}

/// A weight element: how one is read, and how a register's worth.
pub(crate) trait Elem: 'static {
    const BYTES: usize;
    /// # Safety
    /// A register's elements at `p`, on a CPU with the instruction set of `V`.
    #[cfg(target_arch = "x86_64")]
    unsafe fn load<V: Sums>(p: *const u8) -> V;
    /// # Safety
    /// `row` has an element `i`.
    unsafe fn get(row: *const u8, i: usize) -> f32;
}

pub(crate) struct W32;
pub(crate) struct W16;
pub(crate) struct WB16;
impl Elem for W32 {
    const BYTES: usize = 4;
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn load<V: Sums>(p: *const u8) -> V {
        // SAFETY: the caller's contract.
        unsafe { V::load(p.cast()) }
    }
    #[inline(always)]
    unsafe fn get(row: *const u8, i: usize) -> f32 {
        // SAFETY: the caller's contract, at any address.
        unsafe { row.cast::<f32>().add(i).read_unaligned() }
    }
}
impl Elem for W16 {
    const BYTES: usize = 2;
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn load<V: Sums>(p: *const u8) -> V {
        // SAFETY: the caller's contract.
        unsafe { V::load_f16(p.cast()) }
    }
    #[inline(always)]
    unsafe fn get(row: *const u8, i: usize) -> f32 {
        // SAFETY: the caller's contract, at any address.
        oracle::f16(unsafe { row.cast::<u16>().add(i).read_unaligned() })
    }
}
impl Elem for WB16 {
    const BYTES: usize = 2;
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn load<V: Sums>(p: *const u8) -> V {
        // SAFETY: the caller's contract.
        unsafe { V::load_bf16(p.cast()) }
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

/// Rows of `W`, sixteen chains folded.
struct Folded<W>(PhantomData<W>);

impl<W: Elem> Oracle for Folded<W> {
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
        fold(lanes)
    }
}

/// 16 -> 8 -> 4 -> 2 -> 1, lane `l` taking lane `l + half`.
fn fold(mut lanes: [f32; 16]) -> f32 {
    for half in [8, 4, 2, 1] {
        for l in 0..half {
            lanes[l] += lanes[l + half];
        }
    }
    lanes[0]
}

/// One fused multiply-add per element, sixteen elements a step.
#[cfg(target_arch = "x86_64")]
struct Fma<W, V>(PhantomData<(W, V)>);
#[cfg(target_arch = "x86_64")]
impl<W: Elem, V: Sums> Unit for Fma<W, V> {
    type V = V;
    const STEP: usize = 16;
    const W_BYTES: usize = W::BYTES;
    const X_BYTES: usize = 4;
    unsafe fn enter<B: Body>(b: &B) {
        // SAFETY: the caller's contract.
        unsafe { V::enter(b) }
    }
    #[inline(always)]
    unsafe fn w(p: *const u8) -> V {
        // SAFETY: the caller's contract.
        unsafe { W::load(p) }
    }
    #[inline(always)]
    unsafe fn x(p: *const u8) -> V {
        // SAFETY: the caller's contract.
        unsafe { V::load(p.cast()) }
    }
    #[inline(always)]
    unsafe fn mul_add(w: V, x: V, acc: V) -> V {
        // SAFETY: the caller's contract.
        unsafe { w.mul_add(x, acc) }
    }
}
