//! The walk over rows that are written out: sixteen of them at a time become a group's words, which meet all tokens as any unpacked chunk.
//! Knows no format: it is given a function that writes a row's next 256 elements.
use super::{Blocks, LEN, Plain};
use crate::lanes::{Floats, Kernel, Lanes, Words};
use crate::quant::block32::{self, Centred};
use crate::quant::block256::{Products, Rest, Tiles};
use crate::quant::group::ROWS;
use crate::quant::panel::{self, GROUPS, Kind, Many, Scratch, Tokens, Unpacked};
use crate::quant::{MatArgs, act};
use core::marker::PhantomData;

/// Scratch: the rows of a group, and one of their lines turned.
const _: () = assert!(ROWS * (size_of::<Plain>() + 64) <= panel::RAW);

/// What turned lines become.
pub(super) trait Vectors: Kind {
    /// Few tokens take rows as they are written out, eight at a time. Elements of a block of the input; 0: they do not.
    const ROWS_FOR_FEW: usize = 0;
    /// `acc` plus `n` elements of eight rows, written out at `lines`, times elements `at..` of a token.
    ///
    /// # Safety
    /// They are there; the CPU has `L`.
    unsafe fn eight<L: Lanes>(_lines: *const Plain, _x: act::Row, _at: usize, _n: usize, acc: L::F) -> L::F {
        acc
    }
    /// Stores what stands beside the weights. `words`: 16 words of a vector's rows, 64 bytes apart.
    ///
    /// # Safety
    /// They are there, the scratch has room, the CPU has `L`.
    unsafe fn rest<L: Lanes>(words: *const u8, to: Unpacked<L>);
}

/// The products of `super::Wide`.
pub(super) struct Sevens;
impl Products for Sevens {
    const BITS: Option<u32> = Some(7);
    const GROUP: usize = 16;
    const REST: Rest = Rest::Centre;
}
pub(super) type Wide = Tiles<Sevens>;

impl Vectors for Wide {
    const ROWS_FOR_FEW: usize = LEN;
    #[inline(always)]
    unsafe fn eight<L: Lanes>(lines: *const Plain, x: act::Row, at: usize, _: usize, acc: L::F) -> L::F {
        // SAFETY: the caller's contract.
        unsafe { super_block::<L>(lines, x, at / LEN, acc) }
    }
    #[inline(always)]
    unsafe fn rest<L: Lanes>(words: *const u8, to: Unpacked<L>) {
        // SAFETY: the caller's contract. Four words of factors, four of what goes with the sums, the scale.
        unsafe {
            let word = |i: usize| L::P::load(words.wrapping_add(64 * i));
            for i in 0..16 {
                L::small_factor(word(i / 4).byte(i % 4)).store(to.factors(i));
            }
            for i in 0..8 {
                word(4 + i / 2).pair(2 * i % 4, 2 * i % 4 + 1).store(to.pairs(i));
            }
            L::G::load(words.wrapping_add(64 * 8).cast()).store(to.scales(0));
        }
    }
}

pub(super) type ThirtyTwos = block32::Tiles<Centred<5, 12>>;

impl Vectors for ThirtyTwos {
    const ROWS_FOR_FEW: usize = 32;
    #[inline(always)]
    unsafe fn eight<L: Lanes>(lines: *const Plain, x: act::Row, at: usize, n: usize, acc: L::F) -> L::F {
        // SAFETY: the caller's contract.
        unsafe { pairs::<L>(lines, x, at, n, acc) }
    }
    #[inline(always)]
    unsafe fn rest<L: Lanes>(words: *const u8, to: Unpacked<L>) {
        for i in 0..8 {
            // SAFETY: the caller's contract; the words are floats.
            unsafe { L::G::load(words.wrapping_add(64 * i).cast()).store(to.scales(i)) };
        }
    }
}

pub(super) struct Sixteens;
impl Kind for Sixteens {
    const BLOCK: usize = 32;
    #[inline(always)]
    unsafe fn unpacked<L: Lanes, const T: usize>(from: Unpacked<L>, n: usize, x: &Tokens<T>) {
        // SAFETY: the caller's contract.
        unsafe { sixteens::<L, T>(from, 2 * n, x) }
    }
}

impl Vectors for Sixteens {
    #[inline(always)]
    unsafe fn rest<L: Lanes>(words: *const u8, to: Unpacked<L>) {
        for i in 0..16 {
            // SAFETY: the caller's contract; the words are floats.
            unsafe { L::G::load(words.wrapping_add(64 * i).cast()).store(to.scales(i)) };
        }
    }
}

/// `n` times sixteen elements of a vector's rows times `T` tokens.
///
/// # Safety
/// They are there, on a CPU with `L`.
#[inline(always)]
unsafe fn sixteens<L: Lanes, const T: usize>(from: Unpacked<L>, n: usize, x: &Tokens<T>) {
    // SAFETY: the caller's contract.
    unsafe {
        let (one, mut acc) = (L::small_factor(L::P::splat(1)), [L::G::splat(0.0); T]);
        for (i, acc) in acc.iter_mut().enumerate() {
            *acc = L::G::load(x.sums(i));
        }
        for j in 0..n {
            let (q, mut w, mut isum) = (x.values(16 * j), [L::P::splat(0); 4], [L::P::splat(0); T]);
            for (i, w) in w.iter_mut().enumerate() {
                *w = L::P::load(from.weights(4 * j + i));
            }
            for (isum, q) in isum.iter_mut().zip(q) {
                let sum: i32 = q.cast::<[i8; 16]>().read().iter().map(|&v| i32::from(v)).sum();
                *isum = L::P::splat(-<super::Sixteens as super::Kind>::CENTRE * sum);
            }
            L::panel_small::<5, 4, T>(&mut isum, &w, one, &q);
            let d = L::G::load(from.scales(j));
            for i in 0..T {
                acc[i] = d.mul(L::G::splat(x.x[i].d(x.k / 32 + j / 2))).mul_add(L::panel_floats(isum[i]), acc[i]);
            }
        }
        for (i, acc) in acc.into_iter().enumerate() {
            acc.store(x.sums(i));
        }
    }
}

/// `acc` plus super-block `b` of eight rows, written out at `lines`, times a token.
///
/// # Safety
/// They are there, on a CPU with `L`.
#[inline(always)]
unsafe fn super_block<L: Lanes>(lines: *const Plain, x: act::Row, b: usize, acc: L::F) -> L::F {
    // SAFETY: the caller's contract.
    unsafe {
        let (mut dots, mut mins, mut d, q) = ([L::zero(); 8], [L::zero(); 8], [0.0; 8], x.qs.add(LEN * b));
        for r in 0..8 {
            let p = &*lines.add(r);
            let (w, rest) = (|j: usize| pair::<L>(p.q.as_ptr(), j), p.rest.as_ptr().cast::<i8>());
            let s = L::factors16(rest);
            let acc = L::dot_small::<0>(L::zero(), w(0), pair::<L>(q.cast(), 0), s);
            let acc = L::dot_small::<1>(acc, w(1), pair::<L>(q.cast(), 1), s);
            let acc = L::dot_small::<2>(acc, w(2), pair::<L>(q.cast(), 2), s);
            dots[r] = L::dot_small::<3>(acc, w(3), pair::<L>(q.cast(), 3), s);
            mins[r] = L::dot_sums(L::factors16(rest.add(16)), x.sums16(b));
            d[r] = f32::from_bits(p.rest[8]);
        }
        let isum = L::centre(L::reduce(dots), L::reduce(mins));
        L::F::load(d.as_ptr()).mul(L::F::splat(x.d(b))).mul_add(L::floats(isum), acc)
    }
}

/// `acc` plus `n` elements, a multiple of 64, of eight rows with a scale per 32 times elements `at..` of a token.
///
/// # Safety
/// They are there, on a CPU with `L`.
#[inline(always)]
unsafe fn pairs<L: Lanes>(lines: *const Plain, x: act::Row, at: usize, n: usize, mut acc: L::F) -> L::F {
    // SAFETY: the caller's contract.
    unsafe {
        for j in 0..n / 64 {
            let b = at / 32 + 2 * j;
            let sums = [x.sum32(b), x.sum32(b + 1)];
            let v = L::input(x.qs.add(32 * b), x.qs.add(32 * b + 32), sums);
            let (mut dots, mut d) = ([L::zero(); 8], [[0.0; 8]; 2]);
            for r in 0..8 {
                let p = &*lines.add(r);
                dots[r] = L::dot_plain(pair::<L>(p.q.as_ptr(), j), v);
                (d[0][r], d[1][r]) = (f32::from_bits(p.rest[2 * j]), f32::from_bits(p.rest[2 * j + 1]));
            }
            let isum = L::reduce_halves(dots);
            for i in 0..2 {
                // Exact: both are far below 2^24.
                let centre = L::F::splat((-<super::ThirtyTwos as super::Kind>::CENTRE * sums[i]) as f32);
                let isum = L::F::splat(1.0).mul_add(L::floats(isum[i]), centre);
                acc = L::F::load(d[i].as_ptr()).mul(L::F::splat(x.d(b + i))).mul_add(isum, acc);
            }
        }
        acc
    }
}

/// 64 bytes from `64 j` on.
///
/// # Safety
/// They are there, on a CPU with `L`.
#[inline(always)]
unsafe fn pair<L: Lanes>(p: *const u8, j: usize) -> L::V {
    // SAFETY: the caller's contract.
    unsafe { L::load(p.add(64 * j), p.add(64 * j + 32)) }
}

/// Writes out `n` elements of a row from block `p` on.
type WriteOut = unsafe fn(p: *const u8, n: usize, to: *mut Plain);

struct Row<F> {
    p: *const u8,
    n: usize,
    to: *mut Plain,
    format: PhantomData<F>,
}

impl<F: Blocks> Kernel for Row<F> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(&self) {
        // SAFETY: the caller's contract.
        unsafe { super::unpack::<F>(self.p, self.n, &mut *self.to) }
    }
}

/// # Safety
/// The elements are there, `to` is a `Plain`; the CPU has `L`.
unsafe fn write_out<F: Blocks, L: Lanes>(p: *const u8, n: usize, to: *mut Plain) {
    // SAFETY: the caller's contract.
    unsafe { L::enter(&Row::<F> { p, n, to, format: PhantomData }) }
}

/// # Safety
/// The contract of `MatArgs`, on a CPU with `L`.
pub(super) unsafe fn mat_mul<F: Blocks, L: Lanes>(a: &MatArgs) {
    let chunk_bytes = LEN / F::ELEMENTS * size_of::<F::Block>();
    let walk =
        Walk::<<F::Kind as super::Kind>::Vectors> { a, write_out: write_out::<F, L>, chunk_bytes, signs: F::SIGNS, kind: PhantomData };
    // SAFETY: the caller's contract.
    unsafe { L::enter(&walk) }
}

struct Walk<'a, K> {
    a: &'a MatArgs,
    write_out: WriteOut,
    /// Bytes of 256 elements.
    chunk_bytes: usize,
    signs: bool,
    kind: PhantomData<K>,
}

impl<K: Vectors> Kernel for Walk<'_, K> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(&self) {
        let a = self.a;
        let s = Scratch::new(a);
        if K::ROWS_FOR_FEW > 0 && a.n_tokens <= FEW {
            // SAFETY: the caller's contract.
            return unsafe { self.few::<L>(s.raw.cast()) };
        }
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
                    L::enter(&Many::<K> { a, s: &s, n_groups, k, n: n / K::BLOCK, kind: PhantomData });
                }
                for g in 0..n_groups {
                    s.put(a, first, g);
                }
            }
        }
    }
}

/// Up to this many tokens, turning rows into words costs more than it saves.
const FEW: usize = 3;

impl<K: Vectors> Walk<'_, K> {
    /// Eight rows at a time, each 256 elements written out and met by all tokens.
    ///
    /// # Safety
    /// The contract of `MatArgs`, at most `FEW` tokens, eight `Plain` at `lines`, on a CPU with `L`.
    #[inline(always)]
    unsafe fn few<L: Lanes>(&self, lines: *mut Plain) {
        let a = self.a;
        for r in (0..a.n_rows).step_by(8) {
            // SAFETY: the caller's contract.
            unsafe {
                let (rows, mut acc) = (panel::rows::<8>(a, r), [L::F::splat(0.0); FEW]);
                for at in (0..a.k).step_by(LEN) {
                    let n = LEN.min(a.k - at);
                    self.write_rows::<L, 8>(&rows, at / LEN, n, lines, 8 * a.w_stride);
                    for (t, acc) in acc.iter_mut().enumerate().take(a.n_tokens) {
                        let x = act::Row::new(a.x.add(t * a.x_stride), a.k, K::ROWS_FOR_FEW);
                        *acc = K::eight::<L>(lines, x, at, n, *acc);
                    }
                }
                for (t, acc) in acc.into_iter().enumerate().take(a.n_tokens) {
                    panel::put8(acc, a.y.add(t * a.y_stride + r), a.n_rows - r);
                }
            }
        }
    }

    /// Chunk `b` of `N` rows, `n` elements each, to `lines`. What is wanted next is `ahead` bytes further.
    ///
    /// # Safety
    /// They are there; the CPU has `L`.
    #[inline(always)]
    unsafe fn write_rows<L: Lanes, const N: usize>(&self, rows: &[*const u8; N], b: usize, n: usize, lines: *mut Plain, ahead: usize) {
        // SAFETY: the caller's contract.
        unsafe {
            for (i, row) in rows.iter().enumerate() {
                let p = row.wrapping_add(b * self.chunk_bytes);
                panel::ahead(p.wrapping_add(ahead), self.chunk_bytes);
                (self.write_out)(p, n, lines.add(i));
            }
            // Not right after each: eight bytes stored are no 64 to load for a while.
            for i in 0..if self.signs { N } else { 0 } {
                let p = &mut *lines.add(i);
                for (q, &signs) in p.q.as_chunks_mut::<64>().0.iter_mut().zip(&p.signs) {
                    L::centre64(q.as_mut_ptr(), signs);
                }
            }
        }
    }

    /// Elements `k..k + n` of rows `r..r + 16`, unpacked as group `g`.
    ///
    /// # Safety
    /// The contract of `MatArgs`, on a CPU with `L`.
    #[inline(always)]
    unsafe fn group<L: Lanes>(&self, s: &Scratch, r: usize, g: usize, k: usize, n: usize) {
        let (lines, turned) = (s.raw.cast::<Plain>(), s.raw.wrapping_add(ROWS * size_of::<Plain>()));
        // SAFETY: the caller's contract; past the last row stands the last again.
        unsafe {
            self.write_rows::<L, ROWS>(&panel::rows::<ROWS>(self.a, r), k / LEN, n, lines, self.chunk_bytes);
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
