//! The walk over rows that are written out: sixteen of them at a time become a group's words, which meet all tokens as any unpacked chunk.
//! Knows no format: it is given a function that writes out a row's next 256 elements.
use super::{Blocks, Kernels, Kind, LEN, Plain};
use crate::lanes::{Kernel, Lanes, Words};
use crate::quant::MatArgs;
use crate::quant::act::Row;
use crate::quant::group::ROWS;
use crate::quant::panel::{self, GROUPS, Many, Scratch, Stream};
use core::marker::PhantomData;

/// Scratch: the rows of a group, and one of their lines turned.
const _: () = assert!(ROWS * (size_of::<Plain>() + 64) <= panel::RAW);

/// Up to this many tokens, writing rows out and turning them costs more than taking them apart for each token.
const FEW: usize = 2;

impl<F: Blocks> panel::Rows for Kernels<F> {
    const BLOCK: usize = <<F::Kind as Kind>::Tiles as panel::Kind>::BLOCK;
    #[inline(always)]
    unsafe fn stream8<L: Lanes>(rows: &[*const u8; 8], x: Row, n: usize, ahead: usize) -> L::F {
        // SAFETY: the caller's contract.
        unsafe { F::Kind::stream8::<F, L>(rows, x, n, ahead) }
    }
}

/// # Safety
/// The contract of `MatArgs`, on a CPU with `L`.
pub(super) unsafe fn mat_mul<F: Blocks, L: Lanes>(a: &MatArgs) {
    let chunk_bytes = LEN / F::ELEMENTS * size_of::<F::Block>();
    // SAFETY: the caller's contract.
    unsafe {
        if a.n_tokens <= FEW {
            L::enter(&Stream::<Kernels<F>>(a, PhantomData));
        } else {
            L::enter(&Walk::<F::Kind> { a, write_out: write_out::<F, L>, chunk_bytes, kind: PhantomData });
        }
    }
}

/// Writes out `n` elements of a row from block `p` on.
type WriteOut = unsafe fn(p: *const u8, n: usize, to: *mut Plain);

struct Line<F> {
    p: *const u8,
    n: usize,
    to: *mut Plain,
    format: PhantomData<F>,
}

impl<F: Blocks> Kernel for Line<F> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(&self) {
        // SAFETY: the caller's contract.
        unsafe { super::write_out::<F, L>(self.p, self.n, &mut *self.to) }
    }
}

/// # Safety
/// The elements are there, `to` is a `Plain`; the CPU has `L`.
unsafe fn write_out<F: Blocks, L: Lanes>(p: *const u8, n: usize, to: *mut Plain) {
    // SAFETY: the caller's contract.
    unsafe { L::enter(&Line::<F> { p, n, to, format: PhantomData }) }
}

struct Walk<'a, K> {
    a: &'a MatArgs,
    write_out: WriteOut,
    /// Bytes of 256 elements.
    chunk_bytes: usize,
    kind: PhantomData<K>,
}

impl<K: Kind> Kernel for Walk<'_, K> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(&self) {
        let (a, s) = (self.a, Scratch::new(self.a));
        for first in (0..a.n_rows).step_by(GROUPS * ROWS) {
            let n_groups = (a.n_rows - first).min(GROUPS * ROWS).div_ceil(ROWS);
            // SAFETY: the sums of `n_groups` groups lie in the scratch; the rest by the caller's contract.
            unsafe {
                s.clear(n_groups);
                for k in (0..a.k).step_by(LEN) {
                    let n = LEN.min(a.k - k);
                    for g in 0..n_groups {
                        self.group::<L>(&s, first + g * ROWS, g, k, n);
                    }
                    L::enter(&Many::<K::Tiles> { a, s: &s, n_groups, k, n: n / <K::Tiles as panel::Kind>::BLOCK, kind: PhantomData });
                }
                for g in 0..n_groups {
                    s.put(a, first, g);
                }
            }
        }
    }
}

impl<K: Kind> Walk<'_, K> {
    /// Elements `k..k + n` of rows `r..r + 16`, unpacked as group `g`.
    ///
    /// # Safety
    /// The contract of `MatArgs`, on a CPU with `L`.
    #[inline(always)]
    unsafe fn group<L: Lanes>(&self, s: &Scratch, r: usize, g: usize, k: usize, n: usize) {
        let (lines, turned) = (s.raw.cast::<Plain>(), s.raw.wrapping_add(ROWS * size_of::<Plain>()));
        // SAFETY: the caller's contract; past the last row stands the last again.
        unsafe {
            for (i, row) in panel::rows::<ROWS>(self.a, r).into_iter().enumerate() {
                let p = row.wrapping_add(k / LEN * self.chunk_bytes);
                panel::ahead(p.wrapping_add(self.chunk_bytes), self.chunk_bytes);
                (self.write_out)(p, n, lines.add(i));
            }
            for line in 0..5 {
                let rows = std::array::from_fn(|i| lines.wrapping_add(i).cast::<u8>().cast_const().wrapping_add(64 * line));
                L::transpose(&rows, turned);
                for row in (0..ROWS).step_by(L::ROWS) {
                    let (from, to) = (turned.wrapping_add(4 * row), s.unpacked::<L>(g, row));
                    if line == 4 {
                        K::rest::<L>(from, to);
                        continue;
                    }
                    for i in 0..16 {
                        L::P::load(from.add(64 * i)).store(to.weights(16 * line + i));
                    }
                }
            }
        }
    }
}
