//! AVX2 with AVX-VNNI: 256-bit products of unsigned with signed bytes added in fours without saturation (Intel cores without AVX-512, since
//! Alder Lake). Knows no format.
use crate::lanes::Kernel;
use crate::lanes::avx2::{Products, Ymm, splat4};
use core::arch::x86_64::*;

pub(crate) type AvxVnni = Ymm<Vnni>;
#[derive(Clone, Copy)]
pub(crate) struct Vnni;

// SAFETY of every block in this file: the traits' contract - the CPU has AVX2, FMA, F16C and AVX-VNNI, and pointers have the bytes they
// promise.

/// Adds the products of `4 * N` elements.
///
/// # Safety
/// The file's contract.
#[inline(always)]
unsafe fn dots<const N: usize, const T: usize>(mut acc: [__m256i; T], w: &[__m256i; N], x: &[*const i8; T]) -> [__m256i; T] {
    for (i, &w) in w.iter().enumerate() {
        for t in 0..T {
            // SAFETY: the file's contract.
            acc[t] = unsafe { _mm256_dpbusd_avx_epi32(acc[t], w, splat4(x[t].add(4 * i))) };
        }
    }
    acc
}

/// Adds `s` times `sums`.
///
/// # Safety
/// The file's contract.
#[inline(always)]
unsafe fn add_times<const T: usize>(acc: &mut [__m256i; T], sums: [__m256i; T], s: __m256i) {
    for t in 0..T {
        // SAFETY: the file's contract.
        acc[t] = unsafe { _mm256_add_epi32(acc[t], _mm256_mullo_epi32(sums[t], s)) };
    }
}

impl Products for Vnni {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,bmi2,avxvnni")]
    unsafe fn enter<K: Kernel>(k: &K) {
        // SAFETY: the CPU has this level by the caller's promise, which also covers the kernel's own contract.
        unsafe { k.run::<AvxVnni>() }
    }
    #[inline(always)]
    unsafe fn small_factor(s: __m256i) -> __m256i {
        s
    }
    #[inline(always)]
    unsafe fn panel_small<const BITS: u32, const N: usize, const T: usize>(
        acc: &mut [__m256i; T],
        w: &[__m256i; N],
        s: __m256i,
        x: &[*const i8; T],
    ) {
        // SAFETY: the file's contract.
        unsafe { add_times(acc, dots([_mm256_setzero_si256(); T], w, x), s) }
    }
    #[inline(always)]
    unsafe fn panel_unit<const BITS: u32, const T: usize>(start: [__m256i; T], w: &[__m256i; 8], x: &[*const i8; T]) -> [__m256i; T] {
        // SAFETY: the file's contract.
        unsafe { dots(start, w, x) }
    }
    /// Signed weights become unsigned by adding 128 (flipping the top bit), which adds 128 times the sum of the inputs.
    #[inline(always)]
    unsafe fn panel_signed<const T: usize>(w: &[__m256i; 8], x: &[*const i8; T], sums: &[i32; T]) -> [__m256i; T] {
        // SAFETY: the file's contract.
        unsafe {
            let (mut start, mut above) = ([_mm256_setzero_si256(); T], *w);
            for (start, sum) in start.iter_mut().zip(sums) {
                *start = _mm256_set1_epi32(-128 * sum);
            }
            for w in &mut above {
                *w = _mm256_xor_si256(*w, _mm256_set1_epi8(-128));
            }
            dots(start, &above, x)
        }
    }
    #[inline(always)]
    unsafe fn panel_signed_small<const T: usize>(
        acc: &mut [__m256i; T],
        w: &[__m256i; 8],
        s: __m256i,
        x: &[*const i8; T],
        sums: &[i32; T],
    ) {
        // SAFETY: the file's contract.
        unsafe { add_times(acc, Self::panel_signed::<T>(w, x, sums), s) }
    }
}
