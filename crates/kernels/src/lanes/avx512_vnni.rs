//! AVX-512 with VNNI: products of unsigned with signed bytes added in fours without saturation. Knows no format.
use crate::lanes::Kernel;
use crate::lanes::avx512::{Input, Products, Zmm, splat4};
use core::arch::x86_64::*;

pub(crate) type Avx512Vnni = Zmm<Vnni>;
#[derive(Clone, Copy)]
pub(crate) struct Vnni;

// SAFETY of every block in this file: the traits' contract - the CPU has AVX-512 F, BW, VL, DQ and VNNI, and pointers have the bytes they
// promise.

/// Signed weights become unsigned by adding 128 (flipping the top bit), which adds 128 times the sum of the inputs.
///
/// # Safety
/// The file's contract.
#[inline(always)]
unsafe fn plus128(w: __m512i) -> __m512i {
    // SAFETY: the file's contract.
    unsafe { _mm512_xor_si512(w, _mm512_set1_epi8(-128)) }
}

impl Products for Vnni {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,bmi2,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn enter<K: Kernel>(k: &K) {
        // SAFETY: the CPU has this level by the caller's promise, which also covers the kernel's own contract.
        unsafe { k.run::<Avx512Vnni>() }
    }
    #[inline(always)]
    unsafe fn input(v: __m512i) -> Input {
        // SAFETY: the file's contract.
        unsafe {
            let zero = _mm512_setzero_si512();
            Input { v, start: _mm512_sub_epi32(zero, _mm512_dpbusd_epi32(zero, _mm512_set1_epi8(-128), v)) }
        }
    }
    #[inline(always)]
    unsafe fn pairs(acc: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the file's contract.
        unsafe { _mm512_dpwssd_epi32(acc, a, b) }
    }
    #[inline(always)]
    unsafe fn signed(w: __m512i, x: Input) -> __m512i {
        // SAFETY: the file's contract.
        unsafe { _mm512_dpbusd_epi32(x.start, plus128(w), x.v) }
    }
    #[inline(always)]
    unsafe fn small_factor(s: __m512i) -> __m512i {
        s
    }
    #[inline(always)]
    unsafe fn panel_small<const BITS: u32, const N: usize, const T: usize>(
        acc: &mut [__m512i; T],
        w: &[__m512i; N],
        s: __m512i,
        x: &[*const i8; T],
    ) {
        // SAFETY: the file's contract.
        unsafe {
            let mut sums = [_mm512_setzero_si512(); T];
            for (i, &w) in w.iter().enumerate() {
                for t in 0..T {
                    sums[t] = _mm512_dpbusd_epi32(sums[t], w, splat4(x[t].add(4 * i)));
                }
            }
            for t in 0..T {
                acc[t] = _mm512_add_epi32(acc[t], _mm512_mullo_epi32(sums[t], s));
            }
        }
    }
    #[inline(always)]
    unsafe fn panel_unit<const BITS: u32, const T: usize>(start: [__m512i; T], w: &[__m512i; 8], x: &[*const i8; T]) -> [__m512i; T] {
        let mut acc = start;
        for (i, &w) in w.iter().enumerate() {
            for t in 0..T {
                // SAFETY: the file's contract.
                acc[t] = unsafe { _mm512_dpbusd_epi32(acc[t], w, splat4(x[t].add(4 * i))) };
            }
        }
        acc
    }
    #[inline(always)]
    unsafe fn panel_signed<const T: usize>(w: &[__m512i; 8], x: &[*const i8; T], sums: &[i32; T]) -> [__m512i; T] {
        // SAFETY: the file's contract.
        unsafe {
            let mut acc = [_mm512_setzero_si512(); T];
            for t in 0..T {
                acc[t] = _mm512_set1_epi32(-128 * sums[t]);
            }
            for (i, &w) in w.iter().enumerate() {
                let w = plus128(w);
                for t in 0..T {
                    acc[t] = _mm512_dpbusd_epi32(acc[t], w, splat4(x[t].add(4 * i)));
                }
            }
            acc
        }
    }
    #[inline(always)]
    unsafe fn panel_signed_small<const T: usize>(
        acc: &mut [__m512i; T],
        w: &[__m512i; 8],
        s: __m512i,
        x: &[*const i8; T],
        sums: &[i32; T],
    ) {
        // SAFETY: the file's contract.
        unsafe {
            let dots = Self::panel_signed::<T>(w, x, sums);
            for t in 0..T {
                acc[t] = _mm512_add_epi32(acc[t], _mm512_mullo_epi32(dots[t], s));
            }
        }
    }
}
