//! The blocked product of the float formats: tiles of rows and tokens whose sums stay in registers, blocks that stay in caches.
//!
//! Tokens go in tiles of up to six; under one tile, a block of weight rows passes by that the L2 keeps for the next tile, in chunks of k that
//! keep the tile's tokens in the L1. Between chunks sums wait as they are, so that cutting changes no order. A few tokens are one tile, and
//! every weight is read once; one token has a walk of its own (`one_token`).
use crate::lanes::sums::{Body, Sums};
use crate::quant::MatArgs;
use core::marker::PhantomData;

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
/// Bytes of a tile's tokens that stay in the L1 (32 to 48 KiB) beside rows of weights.
const L1: usize = 24 << 10;
/// Bytes of a block of weights that stays in the L2 (1 MiB and more) beside the sums.
const L2: usize = 384 << 10;
/// Rows of a block, at most; of the blocks of a single tile, which pass by once.
const ROWS: usize = 64;
const FEW: usize = 8;
/// Tiles that pass before the next block along k comes.
const TILES: usize = 16;

/// Sums of one row and one token, `[16]`.
const SUMS: usize = 16 * size_of::<f32>();

/// Bytes of sums: of a block of rows with as many tiles as wait for the rest of k, and what `put` reads beyond.
pub(crate) fn scratch_bytes(n_tokens: usize) -> usize {
    (if n_tokens > TOKENS { ROWS * TOKENS * TILES.min(n_tokens.div_ceil(TOKENS)) } else { FEW * TOKENS } + 4) * SUMS
}

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
    #[inline(always)]
    unsafe fn run(&self) {
        let a = self.0;
        if a.n_tokens == 1 {
            // SAFETY: the caller's contract.
            return unsafe { one_token::<U>(a) };
        }
        let n_tiles = a.n_tokens.div_ceil(TOKENS);
        let full = a.k / U::STEP * U::STEP;
        let (rows, depth) = if n_tiles > 1 { block_size::<U>(full) } else { (FEW, full.max(1)) };
        for r in (0..a.n_rows).step_by(rows) {
            for first in (0..n_tiles).step_by(TILES) {
                let tiles = first..(first + TILES).min(n_tiles);
                for from in (0..full.max(1)).step_by(depth) {
                    let b = Block { r, n: rows.min(a.n_rows - r), from, to: (from + depth).min(full), tile: 0, n_tiles };
                    for tile in tiles.clone() {
                        let sums = a.scratch.wrapping_add((tile - first) * ROWS * TOKENS * SUMS).cast();
                        // SAFETY: rows and tokens of `a`, and sums for as many.
                        unsafe { one_tile::<U>(a, Block { tile, ..b }, sums) };
                    }
                }
            }
        }
    }
}

/// Rows that are read side by side for one token.
const STREAMS: usize = 4;

/// One token: as many equal parts of the rows side by side, each read from its first row to its last. What a hardware prefetcher sees are a
/// few long streams: with both cores of a Zen 5 97 % of the best read bandwidth, 86 % by rows in order, four at a time and asked for ahead.
///
/// # Safety
/// The contract of `MatArgs` with one token, on a CPU with `U`.
#[inline(always)]
unsafe fn one_token<U: Unit>(a: &MatArgs) {
    let (part, full) = (a.n_rows.div_ceil(STREAMS), a.k / U::STEP * U::STEP);
    for r in 0..part {
        let mut w = [a.w; STREAMS];
        for (i, w) in w.iter_mut().enumerate() {
            *w = a.w.wrapping_add((r + i * part).min(a.n_rows - 1) * a.w_stride);
        }
        let at = Place { r, k: 0, sums: a.scratch.cast() };
        let mut folded = [0.0; STREAMS];
        // SAFETY: `k` elements of every row and the token; the scratch holds sums of four rows.
        unsafe {
            if U::V::LANES == 16 {
                products::<U, 1>(&w, a, full, at);
            } else {
                products::<U, 2>(&w, a, full, at);
            }
            U::V::fold4(at.sums, folded.as_mut_ptr());
            for (i, v) in folded.into_iter().enumerate().take_while(|(i, _)| r + i * part < a.n_rows) {
                *a.y.add(r + i * part) = v;
            }
        }
    }
}

/// Sums of `STREAMS` rows with the one token.
///
/// # Safety
/// As `one_token`.
#[inline(always)]
unsafe fn products<U: Unit, const P: usize>(w: &[*const u8; STREAMS], a: &MatArgs, full: usize, at: Place) {
    // SAFETY: the caller's contract.
    unsafe {
        chunk_of::<U, STREAMS, 1, P>(w, &[a.x], full, at, true, Ahead::NOTHING);
        if full < a.k {
            rest::<U, STREAMS, 1, P>(w, &[a.x], a.k - full, Place { k: full, ..at });
        }
    }
}

/// Rows and elements of k of a block: k is cut only where fewer than all rows would fit.
#[inline(always)]
fn block_size<U: Unit>(full: usize) -> (usize, usize) {
    let most = L2 / ROWS / U::W_BYTES / U::STEP * U::STEP;
    (ROWS, full.div_ceil(full.div_ceil(most).max(1)).next_multiple_of(U::STEP).max(1))
}

/// Rows `r..r + n`, elements `from..to` of k (whole steps), tile `tile` of `n_tiles`.
#[derive(Clone, Copy)]
struct Block {
    r: usize,
    n: usize,
    from: usize,
    to: usize,
    tile: usize,
    n_tiles: usize,
}

/// Tiles have equal width, as far as that goes: eight tokens are 4 + 4, not 6 + 2.
///
/// # Safety
/// Rows and tokens of `b` are there, sums for as many, on a CPU with `U`.
#[inline(always)]
unsafe fn one_tile<U: Unit>(a: &MatArgs, b: Block, sums: *mut f32) {
    let (t, end) = (a.n_tokens * b.tile / b.n_tiles, a.n_tokens * (b.tile + 1) / b.n_tiles);
    // SAFETY: the caller's contract. Shapes are what the registers allow: 32 of sixteen lanes, or 16 of eight.
    unsafe {
        match (U::V::LANES == 16, end - t) {
            (true, 2) => tile::<U, 8, 2, 1>(a, b, t, sums),
            (true, 3) => tile::<U, 8, 3, 1>(a, b, t, sums),
            (true, 4) => tile::<U, 4, 4, 1>(a, b, t, sums),
            (true, 5) => tile::<U, 4, 5, 1>(a, b, t, sums),
            (true, _) => tile::<U, 4, 6, 1>(a, b, t, sums),
            (false, 2) => tile::<U, 2, 2, 2>(a, b, t, sums),
            (false, 3) => tile::<U, 2, 3, 2>(a, b, t, sums),
            (false, 4) => tile::<U, 2, 4, 1>(a, b, t, sums),
            (false, 5) => tile::<U, 2, 5, 1>(a, b, t, sums),
            (false, _) => tile::<U, 2, 6, 1>(a, b, t, sums),
        }
    }
}

/// `T` tokens from `t`, in chunks of k that stay in the L1; `R` rows and `P` registers of a row's sums at a time.
///
/// # Safety
/// As `one_tile`.
#[inline(always)]
unsafe fn tile<U: Unit, const R: usize, const T: usize, const P: usize>(a: &MatArgs, b: Block, t: usize, sums: *mut f32) {
    let mut x = [a.x; T];
    for (i, x) in x.iter_mut().enumerate() {
        *x = a.x.wrapping_add((t + i) * a.x_stride);
    }
    let full = a.k / U::STEP * U::STEP;
    // One tile alone reads each row once, from memory: as far as it goes.
    let chunk = if b.n_tiles == 1 && P * U::V::LANES == 16 { full.max(1) } else { L1 / (T * U::X_BYTES) / U::STEP * U::STEP };
    let mut k = b.from;
    loop {
        let n = chunk.min(b.to - k);
        for r in (0..b.n).step_by(R) {
            let at = Place { r: b.r + r, k, sums: sums.wrapping_add(r * T * 16) };
            let ahead = Ahead::new::<U, P>(a, b, r, R, k);
            // SAFETY: `n` elements from `k` of the rows and tokens; sums of `R` rows with `T` tokens lie at their place.
            unsafe {
                let w: [*const u8; R] = crate::quant::panel::rows(a, at.r);
                chunk_of::<U, R, T, P>(&w, &x, n, at, k == 0, ahead);
                if k + n == full {
                    if full < a.k {
                        rest::<U, R, T, P>(&w, &x, a.k - full, Place { k: full, ..at });
                    }
                    put::<U, R, T>(a, at, t);
                }
            }
        }
        k += n;
        if k == b.to {
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

/// What memory is asked for meanwhile: bytes from `at` on, so many per step. Each tile of a block asks for its share of the next block. Measured on
/// one core of a Zen 5 with weights in memory that gives 30 GB/s: eight tokens 11 GB/s without, 17 with.
#[derive(Clone, Copy)]
struct Ahead {
    at: *const u8,
    step: usize,
}

impl Ahead {
    /// For `n` rows from row `r` of the block, from `k` on.
    #[inline(always)]
    fn new<U: Unit, const P: usize>(a: &MatArgs, b: Block, r: usize, n: usize, k: usize) -> Ahead {
        let steps = a.k / U::STEP * (16 / U::V::LANES / P);
        let share = (n * a.w_stride).div_ceil(b.n_tiles);
        let step = share.div_ceil(steps.max(1));
        let next = (b.r + r + b.n) * a.w_stride + b.tile * share;
        Ahead { at: a.w.wrapping_add(next + k / U::STEP * (16 / U::V::LANES / P) * step), step }
    }
    const NOTHING: Ahead = Ahead { at: core::ptr::null(), step: 0 };
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
    ahead: Ahead,
) {
    let from = if first { ZEROS.0.as_ptr() } else { at.sums };
    for part in (0..16 / U::V::LANES).step_by(P) {
        // Inlined into the loops around it, register allocation fails: sums go through memory at every step.
        let apart: unsafe fn(&Chunk<U, R, T, P>) = core::hint::black_box(U::enter::<Chunk<U, R, T, P>>);
        // SAFETY: the caller's contract.
        unsafe {
            apart(&Chunk {
                w: *w,
                x: *x,
                k: at.k,
                n,
                from,
                sums: at.sums,
                part,
                ahead: Ahead { at: ahead.at.wrapping_add(part / P * (n / U::STEP) * ahead.step), ..ahead },
                unit: PhantomData,
            })
        };
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
    ahead: Ahead,
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
            let mut ahead = self.ahead.at;
            for k in (0..self.n).step_by(U::STEP) {
                // One token's rows are long streams, which hardware foresees.
                for line in 0..if T == 1 { 0 } else { R * U::STEP * U::W_BYTES / 64 } {
                    crate::lanes::sums::ahead(ahead.wrapping_add(64 * line));
                }
                ahead = ahead.wrapping_add(self.ahead.step);
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
        chunk_of::<U, R, T, P>(&w, &x, U::STEP, Place { k: 0, ..at }, false, Ahead::NOTHING);
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
