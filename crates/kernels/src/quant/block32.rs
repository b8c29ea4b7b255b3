//! The products of all formats with blocks of 32 and one scale each: a stream of rows for few tokens, panels for many.
//!
//! The order of a sum: per block the exact integer `isum = sum_i q_i x_i`, then one chain over blocks in order of k,
//! `acc = fma(d * dx, isum, acc)`. A vector lane is a row, so that every ISA and both paths run the scalar chain.
use crate::isa::Impl;
use crate::lanes::{Floats, Kernel, Lanes};
use crate::quant::act::Row;
use crate::quant::oracle::{self, Oracle};
use crate::quant::panel::{self, Panel};
use crate::quant::{MatArgs, MatMul};
use crate::{Isa, lanes};
use core::marker::PhantomData;

/// A block's scale as it is gathered from rows. Safety of all: a pointer starts a block, or a vector's worth of scales.
pub(crate) trait Scale: Copy + Default {
    unsafe fn read(block: *const u8) -> Self;
    unsafe fn floats<F: Floats>(scales: *const Self) -> F;
}

/// The bits of an f16 at the start of a block.
impl Scale for u16 {
    #[inline(always)]
    unsafe fn read(block: *const u8) -> u16 {
        // SAFETY: the caller's contract, at any address.
        unsafe { block.cast::<u16>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn floats<F: Floats>(scales: *const u16) -> F {
        // SAFETY: the caller's contract.
        unsafe { F::from_f16(scales) }
    }
}

/// A format with blocks of 32. Safety of all: a pointer starts a block.
pub(crate) trait Small: Oracle + 'static {
    type D: Scale;
    /// Bytes of a block.
    const BYTES: usize;
    /// The signed weights of two blocks.
    unsafe fn weights<L: Lanes>(a: *const u8, b: *const u8) -> L::V;
}

/// The kernels of a format.
pub(crate) struct Kernels<F>(PhantomData<F>);

impl<F: Small> Kernels<F> {
    pub const IMPLS: &[Impl<MatMul>] = &[
        #[cfg(target_arch = "x86_64")]
        Impl { needs: Isa::Avx512Vnni, run: mat_mul::<F, lanes::avx512_vnni::Avx512Vnni> },
        #[cfg(target_arch = "x86_64")]
        Impl { needs: Isa::Avx512, run: mat_mul::<F, lanes::avx512::Avx512> },
        #[cfg(target_arch = "x86_64")]
        Impl { needs: Isa::Avx2, run: mat_mul::<F, lanes::avx2::Avx2> },
        Impl { needs: Isa::Scalar, run: oracle::mat_mul::<F> },
    ];
}

struct Mat<'a, F>(&'a MatArgs, PhantomData<F>);

/// # Safety
/// The contract of `MatArgs`, on a CPU with `L`.
unsafe fn mat_mul<F: Small, L: Lanes>(a: &MatArgs) {
    // SAFETY: the caller's contract.
    unsafe { L::enter(&Mat::<F>(a, PhantomData)) }
}

impl<F: Small> Kernel for Mat<'_, F> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(&self) {
        // SAFETY: the caller's contract.
        unsafe {
            if panel::wants(self.0.n_tokens) {
                panels::<F, L>(self.0);
            } else {
                stream::<F, L>(self.0);
            }
        }
    }
}

/// Eight rows at a time, straight from the file's layout; the tokens come inside, so that rows are read from memory once.
///
/// # Safety
/// The contract of `MatArgs`, on a CPU with `L`.
#[inline(always)]
unsafe fn stream<F: Small, L: Lanes>(a: &MatArgs) {
    for r in (0..a.n_rows).step_by(8) {
        // SAFETY: rows `r..` and the tokens are the caller's.
        unsafe {
            let rows = panel::rows::<8>(a, r);
            for t in 0..a.n_tokens {
                let x = Row::new(a.x.add(t * a.x_stride), a.k, 32);
                let y = stream8::<F, L>(&rows, x, a.k / 32, 8 * a.w_stride);
                panel::put8(y, a.y.add(t * a.y_stride + r), a.n_rows - r);
            }
        }
    }
}

/// # Safety
/// Eight rows and an input row of `n` blocks, on a CPU with `L`. The rows wanted next are `ahead` bytes further.
#[inline(always)]
unsafe fn stream8<F: Small, L: Lanes>(rows: &[*const u8; 8], x: Row, n: usize, ahead: usize) -> L::F {
    // SAFETY: blocks `b` and `b + 1` of every row; the last of an odd number stands for both, and its second result is dropped.
    unsafe {
        let mut acc = L::F::splat(0.0);
        for b in (0..n).step_by(2) {
            let next = (b + 1).min(n - 1);
            let v = L::input(x.qs.add(32 * b), x.qs.add(32 * next), [x.sum32(b), x.sum32(next)]);
            let (mut dots, mut d) = ([L::zero(); 8], [[F::D::default(); 8]; 2]);
            for r in 0..8 {
                let (p, q) = (rows[r].add(b * F::BYTES), rows[r].add(next * F::BYTES));
                panel::ahead(p.wrapping_add(ahead), 2 * F::BYTES);
                dots[r] = L::dot_plain(F::weights::<L>(p, q), v);
                (d[0][r], d[1][r]) = (F::D::read(p), F::D::read(q));
            }
            let isum = L::reduce_halves(dots);
            acc = F::D::floats::<L::F>(d[0].as_ptr()).mul(L::F::splat(x.d(b))).mul_add(L::floats(isum[0]), acc);
            if next > b {
                acc = F::D::floats::<L::F>(d[1].as_ptr()).mul(L::F::splat(x.d(next))).mul_add(L::floats(isum[1]), acc);
            }
        }
        acc
    }
}

/// Panels of `L::ROWS` rows: eight blocks are unpacked once, then meet every token.
///
/// # Safety
/// The contract of `MatArgs`, on a CPU with `L`.
#[inline(always)]
unsafe fn panels<F: Small, L: Lanes>(a: &MatArgs) {
    for r in (0..a.n_rows).step_by(L::ROWS) {
        // SAFETY: rows `r..`, the tokens and the scratch are the caller's.
        unsafe {
            let p = Panel::<L>::new(a);
            let rows = panel::rows::<16>(a, r);
            p.clear();
            for first in (0..a.k / 32).step_by(8) {
                let blocks = first..(first + 8).min(a.k / 32);
                unpack::<F, L>(&p, &rows, blocks.clone());
                let mut t = 0;
                while L::TILE == 8 && t + 8 <= a.n_tokens {
                    tile::<L, 8>(&p, a, blocks.clone(), t);
                    t += 8;
                }
                while t + 4 <= a.n_tokens {
                    tile::<L, 4>(&p, a, blocks.clone(), t);
                    t += 4;
                }
                while t < a.n_tokens {
                    tile::<L, 1>(&p, a, blocks.clone(), t);
                    t += 1;
                }
            }
            p.put(a, r);
        }
    }
}

/// Blocks of a panel's rows: weights interleaved, scales as floats.
///
/// # Safety
/// As `panels`; at most eight blocks.
#[inline(always)]
unsafe fn unpack<F: Small, L: Lanes>(p: &Panel<L>, rows: &[*const u8; 16], blocks: core::ops::Range<usize>) {
    for (i, b) in blocks.clone().enumerate().step_by(2) {
        let next = (b + 1).min(blocks.end - 1);
        let mut d = [[F::D::default(); 16]; 2];
        // SAFETY: blocks `b` and `next` of every row; the panel has room for eight blocks.
        unsafe {
            for r in 0..L::ROWS {
                let (u, v) = (rows[r].add(b * F::BYTES), rows[r].add(next * F::BYTES));
                panel::ahead(u.wrapping_add(16 * F::BYTES), 2 * F::BYTES);
                L::store(F::weights::<L>(u, v), p.rows.add(64 * r));
                (d[0][r], d[1][r]) = (F::D::read(u), F::D::read(v));
            }
            L::transpose(p.rows, 64, p.weights.add(32 * i * L::ROWS));
            F::D::floats::<L::G>(d[0].as_ptr()).store(p.d.add(i * L::ROWS));
            F::D::floats::<L::G>(d[1].as_ptr()).store(p.d.add((i + 1) * L::ROWS));
        }
    }
}

/// The unpacked blocks times tokens `t..t + T`.
///
/// # Safety
/// As `panels`, after `unpack`.
#[inline(always)]
unsafe fn tile<L: Lanes, const T: usize>(p: &Panel<L>, a: &MatArgs, blocks: core::ops::Range<usize>, t: usize) {
    // SAFETY: tokens `t..t + T` have the blocks; the panel holds them unpacked.
    unsafe {
        let mut x = [Row::new(a.x.add(t * a.x_stride), a.k, 32); T];
        let mut acc = [L::G::splat(0.0); T];
        for i in 0..T {
            x[i] = Row::new(a.x.add((t + i) * a.x_stride), a.k, 32);
            acc[i] = L::G::load(p.acc.add((t + i) * L::ROWS));
            panel::ahead(x[i].qs.cast::<u8>().wrapping_add(32 * blocks.start + T * a.x_stride), 256);
        }
        for (j, b) in blocks.enumerate() {
            let (mut q, mut s) = ([x[0].qs; T], [0; T]);
            for i in 0..T {
                (q[i], s[i]) = (x[i].qs.add(32 * b), x[i].sum32(b));
            }
            let isum = L::panel_plain(p.weights.add(32 * j * L::ROWS), &q, &s);
            let d = L::G::load(p.d.add(j * L::ROWS));
            for i in 0..T {
                acc[i] = d.mul(L::G::splat(x[i].d(b))).mul_add(L::panel_floats(isum[i]), acc[i]);
            }
        }
        for (i, acc) in acc.into_iter().enumerate() {
            acc.store(p.acc.add((t + i) * L::ROWS));
        }
    }
}
