//! The blocked product of the float formats: tiles of rows and tokens whose sums stay in registers, blocks that stay in caches.
//!
//! Tokens go in tiles of up to six; under one tile, a block of weight rows passes by that the L2 keeps for the next tile, in chunks of k that
//! keep the tile's tokens in the L1. Between chunks sums wait as they are, so that cutting changes no order. A few tokens (decode) are one tile:
//! every weight is read once, in one stream per row.
use crate::lanes::sums::{Body, Sums};
use crate::quant::MatArgs;
use core::marker::PhantomData;
use core::mem::MaybeUninit;

/// What one step along k does with a register of sums.
pub(crate) trait Unit: 'static {
    type V: Sums;
    /// Elements of a step of sixteen sums, and their bytes in a row of weights and in a token.
    const STEP: usize;
    /// Elements of a step that one register's sums want.
    const PART: usize = Self::STEP * Self::V::LANES / 16;
    const W_BYTES: usize;
    const X_BYTES: usize;
    /// Runs `b` on this instruction set.
    ///
    /// # Safety
    /// The CPU has it; the body's contract.
    unsafe fn enter<B: Body>(b: &B);
    /// # Safety (of all three): the CPU has the unit's instruction set; a register's part of a step can be read.
    unsafe fn w(p: *const u8) -> Self::V;
    unsafe fn x(p: *const u8) -> Self::V;
    unsafe fn mul_add(w: Self::V, x: Self::V, acc: Self::V) -> Self::V;
}

/// Tokens of the widest tile.
const TOKENS: usize = 6;
/// Sums of the largest tile.
const TILE: usize = 24;
/// Bytes of a tile's tokens that stay in the L1 (32 to 48 KiB) beside four rows of weights.
const L1: usize = 24 << 10;
/// Bytes of a block of weight rows that stays in the L2.
const L2: usize = 384 << 10;
/// Rows of a block, at most.
const ROWS: usize = 64;

/// Sums of a block of rows with a tile of tokens: `[ROWS / R][T][R][16]`.
#[repr(align(64))]
struct Waiting(MaybeUninit<[f32; (ROWS * TOKENS + 4) * 16]>);

/// Sums that begin. Loaded as others are: a branch there costs the compiler its view of the registers.
#[repr(align(64))]
struct Zeros([f32; TILE * 16]);
static ZEROS: Zeros = Zeros([0.0; TILE * 16]);

/// `MatArgs`, for unit `U`.
pub(crate) struct Mat<'a, U>(pub &'a MatArgs, pub PhantomData<U>);

/// # Safety
/// The contract of `MatArgs`, on a CPU with `U`.
pub(crate) unsafe fn mat_mul<U: Unit>(a: &MatArgs) {
    // SAFETY: the caller's contract.
    unsafe { U::enter(&Mat::<U>(a, PhantomData)) }
}

impl<U: Unit> Body for Mat<'_, U> {
    /// Tiles of equal width, as far as that goes: eight tokens are 4 + 4, not 6 + 2.
    #[inline(always)]
    unsafe fn run(&self) {
        let a = self.0;
        let n_tiles = a.n_tokens.div_ceil(TOKENS);
        let one_row = a.k * U::W_BYTES;
        let block = if n_tiles > 1 { (L2 / one_row.max(1) / 8 * 8).clamp(8, ROWS) } else { ROWS };
        for r in (0..a.n_rows).step_by(block) {
            for i in 0..n_tiles {
                let (t, end) = (a.n_tokens * i / n_tiles, a.n_tokens * (i + 1) / n_tiles);
                let b = Block { r, n: block.min(a.n_rows - r), t, whole: n_tiles == 1 };
                // SAFETY: rows and tokens of `a`.
                unsafe {
                    match (U::V::LANES == 16, end - t) {
                        (true, 1) => tile::<U, 8, 1, 1>(a, b),
                        (true, 2) => tile::<U, 8, 2, 1>(a, b),
                        (true, 3) => tile::<U, 8, 3, 1>(a, b),
                        (true, 4) => tile::<U, 4, 4, 1>(a, b),
                        (true, 5) => tile::<U, 4, 5, 1>(a, b),
                        (true, _) => tile::<U, 4, 6, 1>(a, b),
                        (false, 1) => tile::<U, 4, 1, 2>(a, b),
                        (false, 2) => tile::<U, 2, 2, 2>(a, b),
                        (false, 3) => tile::<U, 2, 3, 2>(a, b),
                        (false, 4) => tile::<U, 2, 4, 1>(a, b),
                        (false, 5) => tile::<U, 2, 5, 1>(a, b),
                        (false, _) => tile::<U, 2, 6, 1>(a, b),
                    }
                }
            }
        }
    }
}

/// Rows `r..r + n` with a tile of tokens from `t`; `whole`: k is not cut.
#[derive(Clone, Copy)]
struct Block {
    r: usize,
    n: usize,
    t: usize,
    whole: bool,
}

/// # Safety
/// Rows of `b` and `T` tokens are there, on a CPU with `U`.
#[inline(always)]
unsafe fn tile<U: Unit, const R: usize, const T: usize, const P: usize>(a: &MatArgs, b: Block) {
    let mut waiting = Waiting(MaybeUninit::uninit());
    let waiting: *mut f32 = waiting.0.as_mut_ptr().cast();
    let mut x = [a.x; T];
    for (i, x) in x.iter_mut().enumerate() {
        *x = a.x.wrapping_add((b.t + i) * a.x_stride);
    }
    let full = a.k / U::STEP * U::STEP;
    let chunk = if b.whole && P * U::V::LANES == 16 { full.max(1) } else { L1 / (T * U::X_BYTES) / U::STEP * U::STEP };
    let mut k = 0;
    loop {
        let n = chunk.min(full - k);
        let last = k + n == full;
        for r in (0..b.n).step_by(R) {
            let at = Place { r: b.r + r, k, sums: waiting.wrapping_add(r * T * 16) };
            // SAFETY: `n` elements from `k` of the rows and tokens; sums of `R` rows with `T` tokens lie at their place.
            unsafe {
                let w: [*const u8; R] = crate::quant::panel::rows(a, at.r);
                chunk_of::<U, R, T, P>(&w, &x, n, at, k == 0);
                if last {
                    if full < a.k {
                        rest::<U, R, T, P>(&w, &x, a.k - full, Place { k: full, ..at });
                    }
                    put::<U, R, T>(a, at, b.t);
                }
            }
        }
        k += n;
        if last {
            return;
        }
    }
}

/// A tile's place: its first row, the first element of k, and its sums `[T][R][16]`, which count from `k` 0.
#[derive(Clone, Copy)]
struct Place {
    r: usize,
    k: usize,
    sums: *mut f32,
}

/// Adds `n` elements from `at.k` to the sums, or begins with them.
///
/// # Safety
/// They can be read, and the sums written (those that do not begin: also read), on a CPU with `U`.
#[inline(always)]
unsafe fn chunk_of<U: Unit, const R: usize, const T: usize, const P: usize>(
    w: &[*const u8; R],
    x: &[*const u8; T],
    n: usize,
    at: Place,
    first: bool,
) {
    let from = if first { ZEROS.0.as_ptr() } else { at.sums };
    for part in (0..16 / U::V::LANES).step_by(P) {
        // Inlined into the loops around it, register allocation fails: sums go through memory at every step.
        let apart: unsafe fn(&Chunk<U, R, T, P>) = core::hint::black_box(U::enter::<Chunk<U, R, T, P>>);
        // SAFETY: the caller's contract.
        unsafe { apart(&Chunk { w: *w, x: *x, k: at.k, n, from, sums: at.sums, part, unit: PhantomData }) };
    }
}

/// Adds `n` elements of every row and token, whole steps, to `P` registers of the sums from `part`. A function of its own: registers are
/// scarce, and what the loops around it hold must not take any.
struct Chunk<U, const R: usize, const T: usize, const P: usize> {
    w: [*const u8; R],
    x: [*const u8; T],
    /// First element, and how many.
    k: usize,
    n: usize,
    /// Sums before and after.
    from: *const f32,
    sums: *mut f32,
    part: usize,
    unit: PhantomData<U>,
}

impl<U: Unit, const R: usize, const T: usize, const P: usize> Body for Chunk<U, R, T, P> {
    #[inline(always)]
    unsafe fn run(&self) {
        let first = self.k + self.part * U::PART;
        let (w, x) = (self.w.map(|w| w.wrapping_add(first * U::W_BYTES)), self.x.map(|x| x.wrapping_add(first * U::X_BYTES)));
        // SAFETY: the elements can be read, and the sums written (those that do not begin: also read), on a CPU with `U`.
        unsafe {
            let mut acc = [[[U::V::zero(); P]; T]; R];
            sums::<U, R, T, P>(self.from.cast_mut(), self.part, |r, t, p, at| acc[r][t][p] = U::V::load(at));
            for k in (0..self.n).step_by(U::STEP) {
                step::<U, R, T, P>(&mut acc, &w, &x, k);
            }
            sums::<U, R, T, P>(self.sums, self.part, |r, t, p, at| acc[r][t][p].store(at));
        }
    }
}

/// `P` registers from `part` of each sum: `f(row, token, register, place)`.
#[inline(always)]
fn sums<U: Unit, const R: usize, const T: usize, const P: usize>(
    sums: *mut f32,
    part: usize,
    mut f: impl FnMut(usize, usize, usize, *mut f32),
) {
    for t in 0..T {
        for r in 0..R {
            for p in 0..P {
                f(r, t, p, sums.wrapping_add((t * R + r) * 16 + (part + p) * U::V::LANES));
            }
        }
    }
}

/// One step of every row and token. The side with fewer registers is loaded first and kept.
///
/// # Safety
/// `P` registers' part of a step from `k` can be read.
#[inline(always)]
unsafe fn step<U: Unit, const R: usize, const T: usize, const P: usize>(
    acc: &mut [[[U::V; P]; T]; R],
    w: &[*const u8; R],
    x: &[*const u8; T],
    k: usize,
) {
    // SAFETY: the caller's contract.
    unsafe {
        for p in 0..P {
            let k = k + p * U::PART;
            if R <= T {
                let mut ws = [U::V::zero(); R];
                for (v, w) in ws.iter_mut().zip(w) {
                    *v = U::w(w.add(k * U::W_BYTES));
                }
                for (t, x) in x.iter().enumerate() {
                    let x = U::x(x.add(k * U::X_BYTES));
                    for (acc, &w) in acc.iter_mut().zip(&ws) {
                        acc[t][p] = U::mul_add(w, x, acc[t][p]);
                    }
                }
            } else {
                let mut xs = [U::V::zero(); T];
                for (v, x) in xs.iter_mut().zip(x) {
                    *v = U::x(x.add(k * U::X_BYTES));
                }
                for (acc, w) in acc.iter_mut().zip(w) {
                    let w = U::w(w.add(k * U::W_BYTES));
                    for (acc, &x) in acc.iter_mut().zip(&xs) {
                        acc[p] = U::mul_add(w, x, acc[p]);
                    }
                }
            }
        }
    }
}

/// The last `n` elements, fewer than a step, from `at.k`: copied to where a step can be read, zeros after them.
///
/// # Safety
/// As `chunk_of`; sums are there.
#[inline(always)]
unsafe fn rest<U: Unit, const R: usize, const T: usize, const P: usize>(w: &[*const u8; R], x: &[*const u8; T], n: usize, at: Place) {
    let (mut wt, mut xt) = ([[0u8; 64]; R], [[0u8; 64]; T]);
    // SAFETY: `n` elements from `at.k`; a step has at most 64 bytes.
    unsafe {
        for (to, w) in wt.iter_mut().zip(w) {
            w.add(at.k * U::W_BYTES).copy_to_nonoverlapping(to.as_mut_ptr(), n * U::W_BYTES);
        }
        for (to, x) in xt.iter_mut().zip(x) {
            x.add(at.k * U::X_BYTES).copy_to_nonoverlapping(to.as_mut_ptr(), n * U::X_BYTES);
        }
        let (w, x) = (wt.each_ref().map(|w| w.as_ptr()), xt.each_ref().map(|x| x.as_ptr()));
        chunk_of::<U, R, T, P>(&w, &x, U::STEP, Place { k: 0, ..at }, false);
    }
}

/// Folds the sums and writes those of rows that are there.
///
/// # Safety
/// Sums and the rows' and tokens' places in `y` are there, on a CPU with `U`.
#[inline(always)]
unsafe fn put<U: Unit, const R: usize, const T: usize>(a: &MatArgs, at: Place, t: usize) {
    let n = R.min(a.n_rows - at.r);
    let mut folded = [0.0; TILE];
    for i in (0..R * T).step_by(4) {
        // SAFETY: room for sums of four more than there are is at their place.
        unsafe { U::V::fold4(at.sums.add(16 * i), folded.as_mut_ptr().add(i)) };
    }
    for (i, row) in folded.chunks_exact(R).take(T).enumerate() {
        let y = a.y.wrapping_add((t + i) * a.y_stride + at.r);
        // SAFETY: `n` rows from `at.r` of token `t + i`.
        unsafe {
            if n == R {
                y.cast::<[f32; R]>().write_unaligned(*row.as_ptr().cast::<[f32; R]>());
            } else {
                row.as_ptr().copy_to_nonoverlapping(y, n);
            }
        }
    }
}
