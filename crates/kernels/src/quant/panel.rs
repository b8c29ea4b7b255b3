//! The scratch of the panel products, and how rows and results are addressed when their number is ragged. Knows no format.
use crate::lanes::{Floats, Lanes};
use crate::quant::MatArgs;
use core::marker::PhantomData;

/// Rows of the widest panel; smaller ISAs use a part.
const ROWS: usize = 16;
/// From this many tokens on, unpacking a panel pays.
const MIN_TOKENS: usize = 4;

/// Whether a product with `n_tokens` goes by panels.
#[inline(always)]
pub(crate) fn wants(n_tokens: usize) -> bool {
    n_tokens >= MIN_TOKENS
}

/// Bytes of scratch.
pub(crate) fn scratch_bytes(n_tokens: usize) -> usize {
    if wants(n_tokens) { ROWS * FIXED + n_tokens * ROWS * 4 } else { 0 }
}

/// Bytes per row: unpacked weights twice (by row, interleaved), factors and mins likewise, two f32 scales of 8 blocks.
const FIXED: usize = 2 * 256 + 2 * 64 + 2 * 64 + 64;

/// A slice of 256 k of `L::ROWS` rows, unpacked, and the sums of every token.
pub(crate) struct Panel<L> {
    /// `[ROWS][256]`, then `[64][ROWS][4]`
    pub rows: *mut u8,
    pub weights: *mut u8,
    /// `[ROWS][16]` words, then `[16][ROWS]`
    pub factor_rows: *mut u8,
    pub factors: *mut u8,
    /// `[ROWS][16]` i16 in 64 bytes, then `[8][ROWS][2]`
    pub min_rows: *mut u8,
    pub mins: *mut u8,
    /// `[8][ROWS]`: scales of up to eight blocks
    pub d: *mut f32,
    pub dmin: *mut f32,
    /// `[n_tokens][ROWS]`
    pub acc: *mut f32,
    n_tokens: usize,
    isa: PhantomData<L>,
}

impl<L: Lanes> Panel<L> {
    /// # Safety
    /// `a.scratch` has `scratch_bytes(a.n_tokens)` bytes.
    #[inline(always)]
    pub unsafe fn new(a: &MatArgs) -> Self {
        let at = |bytes_per_row: usize| a.scratch.wrapping_add(ROWS * bytes_per_row);
        Panel {
            rows: at(0),
            weights: at(256),
            factor_rows: at(512),
            factors: at(576),
            min_rows: at(640),
            mins: at(704),
            // A super-block has one scale and one min scale, eight small blocks have eight scales.
            d: at(768).cast(),
            dmin: at(772).cast(),
            acc: at(FIXED).cast(),
            n_tokens: a.n_tokens,
            isa: PhantomData,
        }
    }
    /// Zeroes the sums.
    ///
    /// # Safety
    /// As `new`.
    #[inline(always)]
    pub unsafe fn clear(&self) {
        // SAFETY: the sums are the scratch's last part. The spare half of `min_rows` is read by the transpose, never used.
        unsafe {
            self.acc.write_bytes(0, self.n_tokens * L::ROWS);
            self.min_rows.write_bytes(0, 64 * L::ROWS);
        }
    }
    /// Writes the sums of rows `r..` to `y`.
    ///
    /// # Safety
    /// As `new`, with the rows and tokens of `a`.
    #[inline(always)]
    pub unsafe fn put(&self, a: &MatArgs, r: usize) {
        let n = L::ROWS.min(a.n_rows - r);
        for t in 0..a.n_tokens {
            // SAFETY: `n` rows from `r` of token `t`.
            unsafe { self.acc.add(t * L::ROWS).copy_to_nonoverlapping(a.y.add(t * a.y_stride + r), n) };
        }
    }
}

/// `N` rows from `r`; past the last row, the last row again, whose result is dropped.
///
/// # Safety
/// `r < a.n_rows`.
#[inline(always)]
pub(crate) unsafe fn rows<const N: usize>(a: &MatArgs, r: usize) -> [*const u8; N] {
    let mut rows = [a.w; N];
    for (i, row) in rows.iter_mut().enumerate() {
        *row = a.w.wrapping_add((r + i).min(a.n_rows - 1) * a.w_stride);
    }
    rows
}

/// Asks for `bytes` bytes at `p`, which the next eight rows will want. Eight rows are read side by side, a block at a time: no hardware
/// prefetcher sees a stream in that. Measured with a 1B Q4_K_M model on one core of a Zen 5: 9 GB/s without, 20 GB/s with.
#[inline(always)]
pub(crate) fn ahead(p: *const u8, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..bytes).step_by(64) {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch of any address is only a hint.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.wrapping_add(line).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (p, bytes);
}

/// Writes the first `n` of eight results.
///
/// # Safety
/// `y` has room for `min(n, 8)`.
#[inline(always)]
pub(crate) unsafe fn put8<F: Floats>(v: F, y: *mut f32, n: usize) {
    // SAFETY: the caller's contract.
    unsafe {
        if n >= 8 {
            return v.store(y);
        }
        let mut all = [0.0; 8];
        v.store(all.as_mut_ptr());
        all.as_ptr().copy_to_nonoverlapping(y, n);
    }
}
