//! How a stored K or V row becomes floats, 16 at a time: one type per storage format. Knows nothing of attention.
//! A further format adds an implementation here and an arm in `leaf.rs`.

use crate::float::simd::{N, Simd};
use crate::quant::{FIFTH, VALUES};
use std::arch::x86_64::*;

pub(super) trait KvRow {
    /// Elements `i..i + n` of a row (`i` a multiple of 16, `n` 16 or 8), zeros after them.
    ///
    /// # Safety
    /// `row` points to a live row that has these elements, aligned as its element type.
    unsafe fn at<S: Simd>(s: S, row: *const u8, i: usize, n: usize) -> S::F;
}

pub(super) struct F32;
pub(super) struct F16;
pub(super) struct Bf16;
pub(super) struct Q8_0;

impl KvRow for F32 {
    #[inline(always)]
    unsafe fn at<S: Simd>(s: S, row: *const u8, i: usize, n: usize) -> S::F {
        // SAFETY: the caller's word.
        unsafe {
            let p = row.cast::<f32>().add(i);
            if n == N { s.load(&*p.cast()) } else { s.load(&eight(&*p.cast())) }
        }
    }
}

/// The half of a vector that a head of 8 mod 16 channels ends in. A fixed size: a `memcpy` call would spill every register.
#[inline(always)]
pub(super) fn eight<T: Copy + Default>(x: &[T; N / 2]) -> [T; N] {
    let mut b = [T::default(); N];
    b[..N / 2].copy_from_slice(x);
    b
}

/// `eight` elements of 2 bytes.
#[inline(always)]
fn eight_pairs(x: &[u8; N]) -> [u8; 2 * N] {
    let mut b = [0; 2 * N];
    b[..N].copy_from_slice(x);
    b
}

impl KvRow for F16 {
    #[inline(always)]
    unsafe fn at<S: Simd>(s: S, row: *const u8, i: usize, n: usize) -> S::F {
        // SAFETY: the caller's word.
        unsafe {
            let p = row.add(2 * i);
            if n == N { s.load_f16(&*p.cast()) } else { s.load_f16(&eight_pairs(&*p.cast())) }
        }
    }
}

impl KvRow for Bf16 {
    #[inline(always)]
    unsafe fn at<S: Simd>(s: S, row: *const u8, i: usize, n: usize) -> S::F {
        // SAFETY: the caller's word.
        unsafe {
            let p = row.add(2 * i);
            if n == N { s.load_bf16(&*p.cast()) } else { s.load_bf16(&eight_pairs(&*p.cast())) }
        }
    }
}

impl KvRow for Q8_0 {
    /// Rows are whole blocks of 32, so `n` is always 16.
    #[inline(always)]
    unsafe fn at<S: Simd>(s: S, row: *const u8, i: usize, _: usize) -> S::F {
        // SAFETY: the caller's word; a block is an f16 scale and 32 quanta.
        unsafe {
            let block = row.add(i / 32 * 34);
            s.mul(s.load_i8(&*block.add(2 + i % 32).cast()), s.splat_f16(*block.cast()))
        }
    }
}

/// Blocks of 32 four- or five-bit numbers, rows being whole blocks: read a half of a block at a time.
pub(super) struct Q4_0;
pub(super) struct Q4_1;
pub(super) struct Q5_0;
pub(super) struct Q5_1;
pub(super) struct Iq4Nl;

/// The low or high nibbles of 16 bytes: elements `half * 16 ..` of a block.
///
/// # Safety
/// The bytes are there. (SSE2 is part of x86-64.)
#[inline(always)]
unsafe fn nibbles(p: *const u8, half: usize) -> __m128i {
    // SAFETY: the caller's word.
    unsafe { _mm_and_si128(_mm_srl_epi16(_mm_loadu_si128(p.cast()), _mm_cvtsi32_si128(4 * half as i32)), _mm_set1_epi8(15)) }
}

/// The same with a fifth bit from two bytes at `top + 2 * half`.
///
/// # Safety
/// The bytes are there.
#[inline(always)]
unsafe fn five_bits(p: *const u8, top: *const u8, half: usize) -> __m128i {
    // SAFETY: the caller's word.
    unsafe {
        let top = [0, 1].map(|i| FIFTH[usize::from(*top.add(2 * half + i))] as i64);
        _mm_or_si128(nibbles(p, half), _mm_set_epi64x(top[1], top[0]))
    }
}

/// Signed bytes times the f16 at `d`.
///
/// # Safety
/// Two bytes at `d`.
#[inline(always)]
unsafe fn scaled<S: Simd>(s: S, q: __m128i, d: *const u8) -> S::F {
    let mut bytes = [0u8; N];
    // SAFETY: sixteen bytes for a vector of them; the caller's word.
    unsafe {
        _mm_storeu_si128(bytes.as_mut_ptr().cast(), q);
        s.mul(s.load_i8(&bytes), s.splat_f16(*d.cast()))
    }
}

impl KvRow for Q4_0 {
    #[inline(always)]
    unsafe fn at<S: Simd>(s: S, row: *const u8, i: usize, _: usize) -> S::F {
        let p = row.wrapping_add(i / 32 * 18);
        // SAFETY: the caller's word; a block is an f16 scale and the nibbles.
        unsafe { scaled(s, _mm_sub_epi8(nibbles(p.add(2), i % 32 / 16), _mm_set1_epi8(8)), p) }
    }
}

impl KvRow for Q5_0 {
    #[inline(always)]
    unsafe fn at<S: Simd>(s: S, row: *const u8, i: usize, _: usize) -> S::F {
        let p = row.wrapping_add(i / 32 * 22);
        // SAFETY: the caller's word; a block is an f16 scale, four bytes of top bits and the nibbles.
        unsafe { scaled(s, _mm_sub_epi8(five_bits(p.add(6), p.add(2), i % 32 / 16), _mm_set1_epi8(16)), p) }
    }
}

impl KvRow for Q4_1 {
    #[inline(always)]
    unsafe fn at<S: Simd>(s: S, row: *const u8, i: usize, _: usize) -> S::F {
        let p = row.wrapping_add(i / 32 * 20);
        // SAFETY: the caller's word; a block is an f16 scale, an f16 min and the nibbles.
        unsafe { s.add(scaled(s, nibbles(p.add(4), i % 32 / 16), p), s.splat_f16(*p.add(2).cast())) }
    }
}

impl KvRow for Q5_1 {
    #[inline(always)]
    unsafe fn at<S: Simd>(s: S, row: *const u8, i: usize, _: usize) -> S::F {
        let p = row.wrapping_add(i / 32 * 24);
        // SAFETY: the caller's word; a block is an f16 scale, an f16 min, four bytes of top bits and the nibbles.
        unsafe { s.add(scaled(s, five_bits(p.add(8), p.add(4), i % 32 / 16), p), s.splat_f16(*p.add(2).cast())) }
    }
}

impl KvRow for Iq4Nl {
    #[inline(always)]
    unsafe fn at<S: Simd>(s: S, row: *const u8, i: usize, _: usize) -> S::F {
        let p = row.wrapping_add(i / 32 * 18);
        // SAFETY: the caller's word; a block is an f16 scale and the nibbles; a CPU with any `Simd` has byte shuffles.
        unsafe { scaled(s, _mm_shuffle_epi8(_mm_loadu_si128(VALUES.as_ptr().cast()), nibbles(p.add(2), i % 32 / 16)), p) }
    }
}
