//! How a stored K or V row becomes floats, 16 at a time: one type per storage format. Knows nothing of attention.
//! A further format adds an implementation here and an arm in `leaf.rs`.

use crate::float::simd::{N, Simd};

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
