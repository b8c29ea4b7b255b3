//! The products of all formats with super-blocks of 256: a stream of rows for few tokens, panels of unpacked rows for many.
//!
//! The order of a sum: per super-block exact integers, `isum = sum_j factor_j * sum_i q_i x_i` (and `msum = sum_j min_j * sum_i x_i`);
//! then one chain over super-blocks in order of k, `acc = fma(d * dx, isum, acc)`, with mins also `acc = fma(dmin * dx, -msum, acc)`.
//! A vector lane is a row, so that every ISA and both paths run the scalar chain.
use crate::isa::Impl;
use crate::lanes::{Floats, Kernel, Lanes};
use crate::quant::act::Row;
use crate::quant::oracle::{self, Oracle};
use crate::quant::panel::{self, Panel};
use crate::quant::{MatArgs, MatMul};
use crate::{Isa, lanes};
use core::marker::PhantomData;

/// What stands beside the plain sum of a super-block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    Nothing,
    /// Weights are stored 32 too large: `32 * sum_j factor_j * sum_i x_i` is taken away.
    Centre,
    /// A min per sub-block, with a scale of its own.
    Mins,
}

/// A format with super-blocks of 256. Safety of all: `p` starts a block.
pub(crate) trait Super: Oracle + 'static {
    /// Bytes of a block.
    const BYTES: usize;
    /// Unsigned weights are below `1 << BITS`, `BITS <= 6`; `None`: any signed byte.
    const BITS: Option<u32>;
    /// Elements per factor: 16 or 32.
    const GROUP: usize;
    const REST: Rest;
    /// The weights in order of k.
    unsafe fn weights<L: Lanes>(p: *const u8) -> [L::V; 4];
    unsafe fn factors<L: Lanes>(p: *const u8) -> L::S;
    /// The mins, or whatever factors the sums of the inputs have.
    unsafe fn mins<L: Lanes>(p: *const u8) -> L::S {
        // SAFETY: the caller's contract.
        unsafe { Self::factors::<L>(p) }
    }
    /// Bits of the f16 scale, and of the f16 scale of the mins.
    unsafe fn scales(p: *const u8) -> (u16, u16);
}

/// The kernels of a format.
pub(crate) struct Kernels<F>(PhantomData<F>);

impl<F: Super> Kernels<F> {
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
unsafe fn mat_mul<F: Super, L: Lanes>(a: &MatArgs) {
    // SAFETY: the caller's contract.
    unsafe { L::enter(&Mat::<F>(a, PhantomData)) }
}

impl<F: Super> Kernel for Mat<'_, F> {
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
unsafe fn stream<F: Super, L: Lanes>(a: &MatArgs) {
    for r in (0..a.n_rows).step_by(8) {
        // SAFETY: rows `r..` and the tokens are the caller's.
        unsafe {
            let rows = panel::rows::<8>(a, r);
            for t in 0..a.n_tokens {
                let x = Row::new(a.x.add(t * a.x_stride), a.k, 256);
                let y = stream8::<F, L>(&rows, x, a.k / 256, 8 * a.w_stride);
                panel::put8(y, a.y.add(t * a.y_stride + r), a.n_rows - r);
            }
        }
    }
}

/// # Safety
/// Eight rows and an input row of `n` blocks, on a CPU with `L`. The rows wanted next are `ahead` bytes further.
#[inline(always)]
unsafe fn stream8<F: Super, L: Lanes>(rows: &[*const u8; 8], x: Row, n: usize, ahead: usize) -> L::F {
    // SAFETY: block `b` of every row.
    unsafe {
        let mut acc = L::F::splat(0.0);
        for b in 0..n {
            let (mut dots, mut mins, mut d, mut dmin) = ([L::zero(); 8], [L::zero(); 8], [0u16; 8], [0u16; 8]);
            let sums = x.sums16(b);
            for r in 0..8 {
                let p = rows[r].add(b * F::BYTES);
                panel::ahead(p.wrapping_add(ahead), F::BYTES);
                dots[r] = dot::<F, L>(p, x.qs.add(256 * b), sums);
                if F::REST != Rest::Nothing {
                    mins[r] = L::dot_sums(F::mins::<L>(p), sums);
                }
                (d[r], dmin[r]) = F::scales(p);
            }
            let dx = L::F::splat(x.d(b));
            let mut isum = L::reduce(dots);
            if F::REST == Rest::Centre {
                isum = L::centre(isum, L::reduce(mins));
            }
            acc = L::F::from_f16(d.as_ptr()).mul(dx).mul_add(L::floats(isum), acc);
            if F::REST == Rest::Mins {
                acc = L::F::from_f16(dmin.as_ptr()).mul(dx).neg_mul_add(L::floats(L::reduce(mins)), acc);
            }
        }
        acc
    }
}

/// One super-block of one row with one token.
///
/// # Safety
/// A block at `p`, 256 values at `x` with 16 sums, on a CPU with `L`.
#[inline(always)]
unsafe fn dot<F: Super, L: Lanes>(p: *const u8, x: *const i8, sums: *const i16) -> L::A {
    // SAFETY: the caller's contract.
    unsafe {
        let (w, s) = (F::weights::<L>(p), F::factors::<L>(p));
        let mut a = L::zero();
        if F::BITS.is_some() {
            a = L::dot_small::<0>(a, w[0], pair::<L>(x, 0), s);
            a = L::dot_small::<1>(a, w[1], pair::<L>(x, 1), s);
            a = L::dot_small::<2>(a, w[2], pair::<L>(x, 2), s);
            a = L::dot_small::<3>(a, w[3], pair::<L>(x, 3), s);
        } else {
            a = L::dot_signed::<0>(a, w[0], pair_signed::<L>(x, 0, sums), s);
            a = L::dot_signed::<1>(a, w[1], pair_signed::<L>(x, 1, sums), s);
            a = L::dot_signed::<2>(a, w[2], pair_signed::<L>(x, 2, sums), s);
            a = L::dot_signed::<3>(a, w[3], pair_signed::<L>(x, 3, sums), s);
        }
        a
    }
}

/// Pair `j` of a super-block of input.
///
/// # Safety
/// As `dot`.
#[inline(always)]
unsafe fn pair<L: Lanes>(x: *const i8, j: usize) -> L::V {
    // SAFETY: the caller's contract.
    unsafe { L::load(x.add(64 * j).cast(), x.add(64 * j + 32).cast()) }
}

/// # Safety
/// As `dot`.
#[inline(always)]
unsafe fn pair_signed<L: Lanes>(x: *const i8, j: usize, sums: *const i16) -> L::X {
    // SAFETY: the caller's contract.
    unsafe { L::input(x.add(64 * j), x.add(64 * j + 32), [sum32(sums, 2 * j), sum32(sums, 2 * j + 1)]) }
}

/// The sum of the 32 inputs of sub-block `j`.
///
/// # Safety
/// Sixteen sums at `sums`.
#[inline(always)]
unsafe fn sum32(sums: *const i16, j: usize) -> i32 {
    // SAFETY: the caller's contract, at any address.
    unsafe { i32::from(sums.add(2 * j).read_unaligned()) + i32::from(sums.add(2 * j + 1).read_unaligned()) }
}

/// Panels of `L::ROWS` rows: a super-block is unpacked once, then meets every token.
///
/// # Safety
/// The contract of `MatArgs`, on a CPU with `L`.
#[inline(always)]
unsafe fn panels<F: Super, L: Lanes>(a: &MatArgs) {
    for r in (0..a.n_rows).step_by(L::ROWS) {
        // SAFETY: rows `r..`, the tokens and the scratch are the caller's.
        unsafe {
            let p = Panel::<L>::new(a);
            let rows = panel::rows::<16>(a, r);
            p.clear();
            for b in 0..a.k / 256 {
                unpack::<F, L>(&p, &rows, b);
                let mut t = 0;
                while L::TILE == 8 && t + 8 <= a.n_tokens {
                    tile::<F, L, 8>(&p, a, b, t);
                    t += 8;
                }
                while t + 4 <= a.n_tokens {
                    tile::<F, L, 4>(&p, a, b, t);
                    t += 4;
                }
                while t < a.n_tokens {
                    tile::<F, L, 1>(&p, a, b, t);
                    t += 1;
                }
            }
            p.put(a, r);
        }
    }
}

/// Super-block `b` of a panel's rows: weights, factors and mins interleaved, scales as floats.
///
/// # Safety
/// As `panels`.
#[inline(always)]
unsafe fn unpack<F: Super, L: Lanes>(p: &Panel<L>, rows: &[*const u8; 16], b: usize) {
    // SAFETY: block `b` of every row; the panel's parts have room for `L::ROWS` rows.
    unsafe {
        let (mut d, mut dmin) = ([0u16; 16], [0u16; 16]);
        for r in 0..L::ROWS {
            let w = rows[r].add(b * F::BYTES);
            panel::ahead(w.wrapping_add(2 * F::BYTES), F::BYTES);
            let v = F::weights::<L>(w);
            for (j, v) in v.into_iter().enumerate() {
                L::store(v, p.rows.add(256 * r + 64 * j));
            }
            match F::BITS {
                Some(_) => L::store_small(F::factors::<L>(w), p.factor_rows.add(64 * r)),
                None => L::store_i32(F::factors::<L>(w), p.factor_rows.add(64 * r)),
            }
            if F::REST != Rest::Nothing {
                L::store_i16(F::mins::<L>(w), p.min_rows.add(64 * r));
            }
            (d[r], dmin[r]) = F::scales(w);
        }
        for j in 0..4 {
            L::transpose(p.rows.add(64 * j), 256, p.weights.add(64 * j * L::ROWS));
        }
        L::transpose(p.factor_rows, 64, p.factors);
        if F::REST != Rest::Nothing {
            L::transpose(p.min_rows, 64, p.mins);
        }
        L::G::from_f16(d.as_ptr()).store(p.d);
        L::G::from_f16(dmin.as_ptr()).store(p.dmin);
    }
}

/// The unpacked super-block `b` times tokens `t..t + T`.
///
/// # Safety
/// As `panels`, after `unpack`.
#[inline(always)]
unsafe fn tile<F: Super, L: Lanes, const T: usize>(p: &Panel<L>, a: &MatArgs, b: usize, t: usize) {
    // SAFETY: tokens `t..t + T` have a block `b`; the panel holds it unpacked.
    unsafe {
        let mut x = [Row::new(a.x.add(t * a.x_stride), a.k, 256); T];
        let (mut q, mut sums, mut isum) = ([x[0].qs; T], [x[0].sums16(0); T], [L::panel_zero(); T]);
        for i in 0..T {
            x[i] = Row::new(a.x.add((t + i) * a.x_stride), a.k, 256);
            (q[i], sums[i]) = (x[i].qs.add(256 * b), x[i].sums16(b));
            // The next tile's tokens: so short a piece of each row is nothing a hardware prefetcher would find.
            panel::ahead(q[i].cast::<u8>().wrapping_add(T * a.x_stride), 256);
        }
        if F::BITS.is_some() {
            small::<F, L, T>(p, &mut isum, &q);
        } else {
            signed::<L, T>(p, &mut isum, &q, &sums);
        }
        let rest = if F::REST == Rest::Nothing { isum } else { L::panel_sums(p.mins, &sums) };
        let (d, dmin) = (L::G::load(p.d), L::G::load(p.dmin));
        for i in 0..T {
            if F::REST == Rest::Centre {
                isum[i] = L::panel_centre(isum[i], rest[i]);
            }
            let (y, dx) = (p.acc.add((t + i) * L::ROWS), L::G::splat(x[i].d(b)));
            let mut acc = d.mul(dx).mul_add(L::panel_floats(isum[i]), L::G::load(y));
            if F::REST == Rest::Mins {
                acc = dmin.mul(dx).neg_mul_add(L::panel_floats(rest[i]), acc);
            }
            acc.store(y);
        }
    }
}

/// # Safety
/// As `tile`.
#[inline(always)]
unsafe fn small<F: Super, L: Lanes, const T: usize>(p: &Panel<L>, isum: &mut [L::P; T], q: &[*const i8; T]) {
    for g in 0..256 / F::GROUP {
        // SAFETY: group `g` of the panel and of every token. Factors stand once per 16 elements.
        unsafe {
            let (w, s) = (p.weights.add(g * F::GROUP * L::ROWS), p.factors.add(g * (F::GROUP / 16) * 4 * L::ROWS));
            let mut x = *q;
            for x in &mut x {
                *x = x.add(g * F::GROUP);
            }
            match (F::BITS, F::GROUP) {
                (Some(4), _) => L::panel_small::<4, 8, T>(isum, w, s, &x),
                (Some(5), _) => L::panel_small::<5, 8, T>(isum, w, s, &x),
                _ => L::panel_small::<6, 4, T>(isum, w, s, &x),
            }
        }
    }
}

/// # Safety
/// As `tile`.
#[inline(always)]
unsafe fn signed<L: Lanes, const T: usize>(p: &Panel<L>, isum: &mut [L::P; T], q: &[*const i8; T], sums: &[*const i16; T]) {
    for j in 0..8 {
        // SAFETY: sub-block `j` of the panel and of every token. Factors stand once per 16 elements.
        unsafe {
            let (mut x, mut s) = (*q, [0; T]);
            for i in 0..T {
                (x[i], s[i]) = (q[i].add(32 * j), sum32(sums[i], j));
            }
            let dots = L::panel_plain(p.weights.add(32 * j * L::ROWS), &x, &s);
            for i in 0..T {
                isum[i] = L::panel_mul_add(isum[i], dots[i], p.factors.add(2 * j * 4 * L::ROWS));
            }
        }
    }
}
