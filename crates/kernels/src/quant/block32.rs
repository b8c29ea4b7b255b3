//! The products of all formats with blocks of 32 and one scale each: groups of rows, and for few tokens a stream of rows as the file has them.
//!
//! The order of a sum: per block the exact integer `isum = sum_i q_i x_i`, then one chain over blocks in order of k,
//! `acc = fma(d * dx, isum, acc)`, with mins also `acc = fma(m * dx, sum_i x_i, acc)`. A vector lane is a row, so that every ISA and both paths run the scalar chain.
use crate::lanes::{Floats, Lanes, Words};
use crate::quant::act::Row;
use crate::quant::group::{At, Shape};
use crate::quant::oracle::Oracle;
use crate::quant::panel::{self, Chunks, Kind, Tokens, Unpacked};
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

/// Which products a block is made of.
pub(crate) trait Products: 'static {
    /// Weights are unsigned, below `1 << BITS` (4 or 5), and `CENTRE` too large; `None`: any signed byte.
    const BITS: Option<u32>;
    const CENTRE: i32;
    /// Beside the scale there is a min, which all weights of the block have on top.
    const MINS: bool = false;
}

/// Unsigned weights of at most five bits, and a min.
pub(crate) struct Mins;
impl Products for Mins {
    const BITS: Option<u32> = Some(5);
    const CENTRE: i32 = 0;
    const MINS: bool = true;
}

/// Unsigned weights of `BITS` bits, `CENTRE` too large.
pub(crate) struct Centred<const BITS: u32, const CENTRE: i32>;
impl<const BITS: u32, const CENTRE: i32> Products for Centred<BITS, CENTRE> {
    const BITS: Option<u32> = Some(BITS);
    const CENTRE: i32 = CENTRE;
}

/// Signed bytes.
pub(crate) struct Signed;
impl Products for Signed {
    const BITS: Option<u32> = None;
    const CENTRE: i32 = 0;
}

/// A format with blocks of 32. Safety of all: a pointer starts a block.
pub(crate) trait Small: Oracle + 'static {
    type D: Scale;
    /// Bytes of a block.
    const BYTES: usize;
    /// The signed weights of two blocks.
    unsafe fn weights<L: Lanes>(a: *const u8, b: *const u8) -> L::V;

    // ---- of a vector's rows in a group
    const SHAPE: Shape;
    /// Of what `block` gives.
    type Products: Products;
    /// The 32 weights, four to a word.
    unsafe fn block<L: Lanes>(at: At) -> [L::P; 8];
    #[inline(always)]
    unsafe fn group_scales<L: Lanes>(at: At) -> L::G {
        // SAFETY: the odd bytes of a block are its scale.
        unsafe { Self::D::floats(at.odd.cast()) }
    }
    /// The mins, where there are some: in a row they follow the scale.
    #[inline(always)]
    unsafe fn group_mins<L: Lanes>(_: At) -> L::G {
        // SAFETY: the CPU has `L`.
        unsafe { L::G::splat(0.0) }
    }
}

/// The kernels of a format.
pub(crate) type Kernels<F> = panel::Kernels<Blocks<F>>;

/// A format's blocks, as `panel` walks them.
pub(crate) struct Blocks<F>(PhantomData<F>);

/// # Safety
/// Eight rows and an input row of `n` blocks, on a CPU with `L`. The rows wanted next are `ahead` bytes further.
#[inline(always)]
unsafe fn stream8<F: Small, L: Lanes>(rows: &[*const u8; 8], x: Row, n: usize, ahead: usize) -> L::F {
    // SAFETY: blocks `b` and `b + 1` of every row; the last of an odd number stands for both, and its second result is dropped.
    unsafe {
        let mut acc = L::F::splat(0.0);
        for b in (0..n).step_by(2) {
            let next = (b + 1).min(n - 1);
            let v = L::input(x.qs.add(32 * b), x.qs.add(32 * next));
            let (mut dots, mut d, mut m) = ([L::zero(); 8], [[F::D::default(); 8]; 2], [[F::D::default(); 8]; 2]);
            for r in 0..8 {
                let (p, q) = (rows[r].add(b * F::BYTES), rows[r].add(next * F::BYTES));
                panel::ahead(p.wrapping_add(ahead), 2 * F::BYTES);
                dots[r] = L::dot_plain(F::weights::<L>(p, q), v);
                (d[0][r], d[1][r]) = (F::D::read(p), F::D::read(q));
                if F::Products::MINS {
                    (m[0][r], m[1][r]) = (F::D::read(p.add(size_of::<F::D>())), F::D::read(q.add(size_of::<F::D>())));
                }
            }
            let isum = L::reduce_halves(dots);
            for (i, b) in [b, next].into_iter().enumerate().take(1 + next - b) {
                let dx = L::F::splat(x.d(b));
                acc = F::D::floats::<L::F>(d[i].as_ptr()).mul(dx).mul_add(L::floats(isum[i]), acc);
                if F::Products::MINS {
                    acc = F::D::floats::<L::F>(m[i].as_ptr()).mul(dx).mul_add(L::F::splat(x.sum32(b) as f32), acc);
                }
            }
        }
        acc
    }
}

/// Eight blocks of a vector's rows: what a tile of tokens wants of them.
trait Source<L: Lanes> {
    /// # Safety (of all): the block is there; the CPU has `L`.
    unsafe fn weights(&self, j: usize) -> [L::P; 8];
    unsafe fn scale(&self, j: usize) -> L::G;
    unsafe fn min(&self, j: usize) -> L::G;
}

/// As they stand in their group.
struct Packed<F>(At, PhantomData<F>);

impl<F: Small> Packed<F> {
    #[inline(always)]
    fn block(&self, j: usize) -> At {
        self.0.later(j, F::SHAPE)
    }
}

impl<F: Small, L: Lanes> Source<L> for Packed<F> {
    #[inline(always)]
    unsafe fn weights(&self, j: usize) -> [L::P; 8] {
        self.block(j).ahead(AHEAD, F::SHAPE, 0, 1);
        // SAFETY: the caller's contract.
        unsafe { F::block::<L>(self.block(j)) }
    }
    #[inline(always)]
    unsafe fn scale(&self, j: usize) -> L::G {
        // SAFETY: the caller's contract.
        unsafe { F::group_scales::<L>(self.block(j)) }
    }
    #[inline(always)]
    unsafe fn min(&self, j: usize) -> L::G {
        // SAFETY: the caller's contract.
        unsafe { F::group_mins::<L>(self.block(j)) }
    }
}

impl<L: Lanes> Source<L> for Unpacked<L> {
    #[inline(always)]
    unsafe fn weights(&self, j: usize) -> [L::P; 8] {
        // SAFETY: the caller's contract.
        unsafe { self.sub_block(j) }
    }
    #[inline(always)]
    unsafe fn scale(&self, j: usize) -> L::G {
        // SAFETY: the caller's contract.
        unsafe { L::G::load(Unpacked::scales(*self, j)) }
    }
    #[inline(always)]
    unsafe fn min(&self, j: usize) -> L::G {
        // SAFETY: the caller's contract.
        unsafe { L::G::load(Unpacked::scales(*self, 8 + j)) }
    }
}

/// How far before its use a group is asked for, in bytes: at 30 GB/s about 150 ns, what memory takes.
const AHEAD: usize = 4608;

/// Unpacked blocks.
pub(crate) struct Tiles<K>(PhantomData<K>);

impl<K: Products> Kind for Tiles<K> {
    const BLOCK: usize = 32;
    #[inline(always)]
    unsafe fn unpacked<L: Lanes, const T: usize>(from: Unpacked<L>, n: usize, x: &Tokens<T>) {
        // SAFETY: the caller's contract.
        unsafe { tile::<K, L, _, T>(&from, n, x) }
    }
}

impl<F: Small> panel::Rows for Blocks<F> {
    const BLOCK: usize = 32;
    #[inline(always)]
    unsafe fn stream8<L: Lanes>(rows: &[*const u8; 8], x: Row, n: usize, ahead: usize) -> L::F {
        // SAFETY: the caller's contract.
        unsafe { stream8::<F, L>(rows, x, n, ahead) }
    }
}

impl<F: Small> Chunks for Blocks<F> {
    type Kind = Tiles<F::Products>;
    type Oracle = F;
    const SHAPE: Shape = F::SHAPE;
    #[inline(always)]
    unsafe fn unpack<L: Lanes>(at: At, n: usize, to: Unpacked<L>) {
        let from = Packed::<F>(at, PhantomData);
        for j in 0..n {
            // SAFETY: the caller's contract.
            unsafe {
                to.put_sub_block(j, Source::<L>::weights(&from, j));
                Source::<L>::scale(&from, j).store(to.scales(j));
                if F::Products::MINS {
                    Source::<L>::min(&from, j).store(to.scales(8 + j));
                }
            }
        }
    }
    #[inline(always)]
    unsafe fn direct<L: Lanes, const T: usize>(at: At, n: usize, x: &Tokens<T>) {
        // SAFETY: the caller's contract.
        unsafe { tile::<F::Products, L, _, T>(&Packed::<F>(at, PhantomData), n, x) }
    }
}

/// `n` blocks of a vector's rows times `T` tokens.
///
/// # Safety
/// They are there, on a CPU with `L`.
#[inline(always)]
unsafe fn tile<K: Products, L: Lanes, S: Source<L>, const T: usize>(w: &S, n: usize, x: &Tokens<T>) {
    // SAFETY: the caller's contract.
    unsafe {
        let mut acc = [L::G::splat(0.0); T];
        for (i, acc) in acc.iter_mut().enumerate() {
            *acc = L::G::load(x.sums(i));
        }
        for j in 0..n {
            let (b, mut sums) = (x.k / 32 + j, [0; T]);
            for (s, row) in sums.iter_mut().zip(&x.x) {
                *s = row.sum32(b);
            }
            let isum = block::<K, L, T>(&w.weights(j), &x.values(32 * j), &sums);
            let d = w.scale(j);
            for i in 0..T {
                acc[i] = d.mul(L::G::splat(x.x[i].d(b))).mul_add(L::panel_floats(isum[i]), acc[i]);
                if K::MINS {
                    acc[i] = w.min(j).mul(L::G::splat(x.x[i].d(b))).mul_add(L::G::splat(sums[i] as f32), acc[i]);
                }
            }
        }
        for (i, acc) in acc.into_iter().enumerate() {
            acc.store(x.sums(i));
        }
    }
}

/// The products of a block, with what is taken from unsigned weights given back.
///
/// # Safety
/// As `tile`.
#[inline(always)]
unsafe fn block<K: Products, L: Lanes, const T: usize>(w: &[L::P; 8], x: &[*const i8; T], sums: &[i32; T]) -> [L::P; T] {
    // SAFETY: the caller's contract.
    unsafe {
        if K::BITS.is_none() {
            return L::panel_signed::<T>(w, x, sums);
        }
        let mut start = [L::P::splat(0); T];
        for (start, sum) in start.iter_mut().zip(sums) {
            *start = L::P::splat(-K::CENTRE * sum);
        }
        match K::BITS {
            Some(4) => L::panel_unit::<4, T>(start, w, x),
            _ => L::panel_unit::<5, T>(start, w, x),
        }
    }
}
