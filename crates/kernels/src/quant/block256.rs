//! The products of all formats with super-blocks of 256: groups of rows, and for few tokens a stream of rows as the file has them.
//!
//! The order of a sum: per super-block exact integers, `isum = sum_j factor_j * sum_i q_i x_i` (and `msum = sum_j min_j * sum_i x_i`);
//! then one chain over super-blocks in order of k, `acc = fma(d * dx, isum, acc)`, with mins also `acc = fma(dmin * dx, -msum, acc)`.
//! A vector lane is a row, so that every ISA and both paths run the scalar chain.
use crate::lanes::{Floats, Lanes, Words};
use crate::quant::act::Row;
use crate::quant::group::{At, Shape};
use crate::quant::oracle::{Factored, Factors};
use crate::quant::panel::{self, Chunks, Kind, Tokens, Unpacked};
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

/// Which products and sums a super-block is made of.
pub(crate) trait Products: 'static {
    /// Unsigned weights are below `1 << BITS`, `BITS <= 7`; `None`: any signed byte.
    const BITS: Option<u32>;
    /// Elements per factor: 16 or 32.
    const GROUP: usize;
    const REST: Rest;
}

/// Unsigned weights of `BITS` bits, with a min per 32 (Q4_K, Q5_K).
pub(crate) struct Mins<const BITS: u32>;
impl<const BITS: u32> Products for Mins<BITS> {
    const BITS: Option<u32> = Some(BITS);
    const GROUP: usize = 32;
    const REST: Rest = Rest::Mins;
}

/// Unsigned weights of at most four bits, with a min per 16 (Q2_K).
pub(crate) struct FineMins;
impl Products for FineMins {
    const BITS: Option<u32> = Some(4);
    const GROUP: usize = 16;
    const REST: Rest = Rest::Mins;
}

/// Six bits centred on 32, a factor per 16 (Q6_K, Q3_K).
pub(crate) struct Centred;
impl Products for Centred {
    const BITS: Option<u32> = Some(6);
    const GROUP: usize = 16;
    const REST: Rest = Rest::Centre;
}

/// Signed bytes, a factor per 32 (what is looked up in a table).
pub(crate) struct Signed;
impl Products for Signed {
    const BITS: Option<u32> = None;
    const GROUP: usize = 32;
    const REST: Rest = Rest::Nothing;
}

/// A format with super-blocks of 256. Safety of all: `p` starts a block.
pub(crate) trait Super: Factored + 'static {
    /// Bytes of a block.
    const BYTES: usize;
    type Products: Products;
    /// The weights in order of k.
    unsafe fn weights<L: Lanes>(p: *const u8) -> [L::V; 4];
    unsafe fn factors<L: Lanes>(p: *const u8) -> L::S;
    /// The mins, or whatever factors the sums of the inputs have.
    #[inline(always)]
    unsafe fn mins<L: Lanes>(p: *const u8) -> L::S {
        // SAFETY: the caller's contract.
        unsafe { Self::factors::<L>(p) }
    }
    /// Bits of the f16 scale, and of the f16 scale of the mins.
    unsafe fn scales(p: *const u8) -> (u16, u16);

    // ---- of a vector's rows in a group
    const SHAPE: Shape;
    /// The 32 weights of sub-block `j`, four to a word.
    unsafe fn sub_block<L: Lanes>(at: At, j: usize) -> [L::P; 8];
    /// A signed byte per factor, four to a word; with factors of 32 elements, the first two words count.
    unsafe fn group_factors<L: Lanes>(at: At) -> [L::P; 4];
    /// Likewise the mins, or whatever factors the sums of the inputs have.
    #[inline(always)]
    unsafe fn group_mins<L: Lanes>(at: At) -> [L::P; 4] {
        // SAFETY: the caller's contract.
        unsafe { Self::group_factors::<L>(at) }
    }
    /// The scale, and the scale of the mins.
    unsafe fn group_scales<L: Lanes>(at: At) -> (L::G, L::G);
}

/// The kernels of a format.
pub(crate) type Kernels<F> = panel::Kernels<Blocks<F>>;

/// A format's blocks, as `panel` walks them.
pub(crate) struct Blocks<F>(PhantomData<F>);

/// # Safety
/// Eight rows and an input row of `n` blocks, on a CPU with `L`. The rows wanted next are `ahead` bytes further.
#[inline(always)]
unsafe fn stream8<F: Super, L: Lanes>(rows: &[*const u8; 8], x: Row, n: usize, ahead: usize) -> L::F {
    // SAFETY: block `b` of every row.
    unsafe {
        let mut acc = L::F::splat(0.0);
        for b in 0..n {
            let (mut dots, mut mins, mut d, mut dmin) = ([L::zero(); 8], [L::zero(); 8], [0u16; 8], [0u16; 8]);
            for r in 0..8 {
                let p = rows[r].add(b * F::BYTES);
                panel::ahead(p.wrapping_add(ahead), F::BYTES);
                dots[r] = dot::<F, L>(p, x.qs.add(256 * b));
                if F::Products::REST != Rest::Nothing {
                    mins[r] = L::dot_sums(F::mins::<L>(p), x.sums16(b));
                }
                (d[r], dmin[r]) = F::scales(p);
            }
            let dx = L::F::splat(x.d(b));
            let mut isum = L::reduce(dots);
            if F::Products::REST == Rest::Centre {
                isum = L::centre(isum, L::reduce(mins));
            }
            acc = L::F::from_f16(d.as_ptr()).mul(dx).mul_add(L::floats(isum), acc);
            if F::Products::REST == Rest::Mins {
                acc = L::F::from_f16(dmin.as_ptr()).mul(dx).neg_mul_add(L::floats(L::reduce(mins)), acc);
            }
        }
        acc
    }
}

/// One super-block of one row with one token.
///
/// # Safety
/// A block at `p`, 256 values at `x`, on a CPU with `L`.
#[inline(always)]
unsafe fn dot<F: Super, L: Lanes>(p: *const u8, x: *const i8) -> L::A {
    // SAFETY: the caller's contract.
    unsafe {
        let (w, s) = (F::weights::<L>(p), F::factors::<L>(p));
        let mut a = L::zero();
        if F::Products::BITS.is_some() {
            a = L::dot_small::<0>(a, w[0], pair::<L>(x, 0), s);
            a = L::dot_small::<1>(a, w[1], pair::<L>(x, 1), s);
            a = L::dot_small::<2>(a, w[2], pair::<L>(x, 2), s);
            a = L::dot_small::<3>(a, w[3], pair::<L>(x, 3), s);
        } else {
            a = L::dot_signed::<0>(a, w[0], pair_signed::<L>(x, 0), s);
            a = L::dot_signed::<1>(a, w[1], pair_signed::<L>(x, 1), s);
            a = L::dot_signed::<2>(a, w[2], pair_signed::<L>(x, 2), s);
            a = L::dot_signed::<3>(a, w[3], pair_signed::<L>(x, 3), s);
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
unsafe fn pair_signed<L: Lanes>(x: *const i8, j: usize) -> L::X {
    // SAFETY: the caller's contract.
    unsafe { L::input(x.add(64 * j), x.add(64 * j + 32)) }
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

/// A super-block of a vector's rows: what a tile of tokens wants of it.
trait Source<L: Lanes> {
    /// # Safety (of all): the super-block is there; the CPU has `L`.
    /// The 32 weights of sub-block `j`.
    unsafe fn weights(&self, j: usize) -> [L::P; 8];
    /// Factor `i`, as the product wants it.
    unsafe fn factor(&self, i: usize) -> L::P;
    /// What two sums of sixteen inputs are multiplied with.
    unsafe fn pair(&self, i: usize) -> L::P;
    /// The scale, and the scale of the mins.
    unsafe fn scales(&self) -> (L::G, L::G);
}

/// As it stands in its group, with its factors and mins taken apart.
struct Packed<F, L: Lanes> {
    at: At,
    factors: [L::P; 4],
    mins: [L::P; 4],
    format: PhantomData<F>,
}

impl<F: Super, L: Lanes> Packed<F, L> {
    /// # Safety
    /// A super-block at `at`, on a CPU with `L`.
    #[inline(always)]
    unsafe fn new(at: At) -> Self {
        // SAFETY: the caller's contract.
        unsafe { Packed { at, factors: F::group_factors::<L>(at), mins: F::group_mins::<L>(at), format: PhantomData } }
    }
}

impl<F: Super, L: Lanes> Source<L> for Packed<F, L> {
    #[inline(always)]
    unsafe fn weights(&self, j: usize) -> [L::P; 8] {
        self.at.ahead(AHEAD, F::SHAPE, j, 8);
        // SAFETY: the caller's contract.
        unsafe { F::sub_block::<L>(self.at, j) }
    }
    #[inline(always)]
    unsafe fn factor(&self, i: usize) -> L::P {
        // SAFETY: the caller's contract.
        unsafe { L::small_factor(self.factors[i / 4].byte(i % 4)) }
    }
    #[inline(always)]
    unsafe fn pair(&self, i: usize) -> L::P {
        // SAFETY: the caller's contract. A factor of 32 elements goes with both of their sums.
        unsafe {
            if F::Products::GROUP == 16 { self.mins[i / 2].pair(2 * i % 4, 2 * i % 4 + 1) } else { self.mins[i / 4].pair(i % 4, i % 4) }
        }
    }
    #[inline(always)]
    unsafe fn scales(&self) -> (L::G, L::G) {
        // SAFETY: the caller's contract.
        unsafe { F::group_scales::<L>(self.at) }
    }
}

impl<L: Lanes> Source<L> for Unpacked<L> {
    #[inline(always)]
    unsafe fn weights(&self, j: usize) -> [L::P; 8] {
        // SAFETY: the caller's contract.
        unsafe { self.sub_block(j) }
    }
    #[inline(always)]
    unsafe fn factor(&self, i: usize) -> L::P {
        // SAFETY: the caller's contract.
        unsafe { L::P::load(self.factors(i)) }
    }
    #[inline(always)]
    unsafe fn pair(&self, i: usize) -> L::P {
        // SAFETY: the caller's contract.
        unsafe { L::P::load(self.pairs(i)) }
    }
    #[inline(always)]
    unsafe fn scales(&self) -> (L::G, L::G) {
        // SAFETY: the caller's contract.
        unsafe { (L::G::load(Unpacked::scales(*self, 0)), L::G::load(Unpacked::scales(*self, 1))) }
    }
}

/// How far before its use a group is asked for, in bytes: at 30 GB/s about 150 ns, what memory takes.
const AHEAD: usize = 4608;

/// Unpacked super-blocks.
pub(crate) struct Tiles<K>(PhantomData<K>);

impl<K: Products> Kind for Tiles<K> {
    const BLOCK: usize = 256;
    #[inline(always)]
    unsafe fn unpacked<L: Lanes, const T: usize>(from: Unpacked<L>, _: usize, x: &Tokens<T>) {
        // SAFETY: the caller's contract.
        unsafe { tile::<K, L, _, T>(&from, x) }
    }
}

impl<F: Super> panel::Rows for Blocks<F> {
    const BLOCK: usize = 256;
    #[inline(always)]
    unsafe fn stream8<L: Lanes>(rows: &[*const u8; 8], x: Row, n: usize, ahead: usize) -> L::F {
        // SAFETY: the caller's contract.
        unsafe { stream8::<F, L>(rows, x, n, ahead) }
    }
}

impl<F: Super> Chunks for Blocks<F> {
    type Kind = Tiles<F::Products>;
    type Oracle = Factors<F>;
    const SHAPE: Shape = F::SHAPE;
    #[inline(always)]
    unsafe fn unpack<L: Lanes>(at: At, _: usize, to: Unpacked<L>) {
        // SAFETY: the caller's contract.
        unsafe {
            let from = Packed::<F, L>::new(at);
            for j in 0..8 {
                to.put_sub_block(j, from.weights(j));
            }
            for i in 0..256 / F::Products::GROUP {
                from.factor(i).store(to.factors(i));
            }
            for i in 0..if F::Products::REST == Rest::Nothing { 0 } else { 8 } {
                from.pair(i).store(to.pairs(i));
            }
            let (d, dmin) = from.scales();
            d.store(to.scales(0));
            dmin.store(to.scales(1));
        }
    }
    #[inline(always)]
    unsafe fn direct<L: Lanes, const T: usize>(at: At, _: usize, x: &Tokens<T>) {
        // SAFETY: the caller's contract.
        unsafe { tile::<F::Products, L, _, T>(&Packed::<F, L>::new(at), x) }
    }
}

/// A super-block of a vector's rows times `T` tokens.
///
/// # Safety
/// They are there, on a CPU with `L`.
#[inline(always)]
unsafe fn tile<K: Products, L: Lanes, S: Source<L>, const T: usize>(w: &S, x: &Tokens<T>) {
    // SAFETY: the caller's contract.
    unsafe {
        let mut isum = [L::P::splat(0); T];
        for j in 0..8 {
            sub_block::<K, L, S, T>(w, x, j, &mut isum);
        }
        let rest = if K::REST == Rest::Nothing { isum } else { rest::<L, S, T>(w, x) };
        let (d, dmin) = w.scales();
        for i in 0..T {
            if K::REST == Rest::Centre {
                isum[i] = isum[i].sub(rest[i].shl(5));
            }
            let (y, dx) = (x.sums(i), L::G::splat(x.x[i].d(x.k / 256)));
            let mut acc = d.mul(dx).mul_add(L::panel_floats(isum[i]), L::G::load(y));
            if K::REST == Rest::Mins {
                acc = dmin.mul(dx).neg_mul_add(L::panel_floats(rest[i]), acc);
            }
            acc.store(y);
        }
    }
}

/// # Safety
/// As `tile`.
#[inline(always)]
unsafe fn sub_block<K: Products, L: Lanes, S: Source<L>, const T: usize>(w: &S, x: &Tokens<T>, j: usize, isum: &mut [L::P; T]) {
    let q = x.values(32 * j);
    // SAFETY: the caller's contract.
    unsafe {
        let v = w.weights(j);
        match (K::BITS, K::GROUP) {
            (Some(4), 32) => L::panel_small::<4, 8, T>(isum, &v, w.factor(j), &q),
            (Some(5), 32) => L::panel_small::<5, 8, T>(isum, &v, w.factor(j), &q),
            (Some(bits), _) => {
                let [a, b, c, d, e, f, g, h] = v;
                for (i, half) in [[a, b, c, d], [e, f, g, h]].iter().enumerate() {
                    let (s, x) = (w.factor(2 * j + i), x.values(32 * j + 16 * i));
                    match bits {
                        4 => L::panel_small::<4, 4, T>(isum, half, s, &x),
                        6 => L::panel_small::<6, 4, T>(isum, half, s, &x),
                        _ => L::panel_small::<7, 4, T>(isum, half, s, &x),
                    }
                }
            }
            (None, _) => {
                let mut sums = [0; T];
                for (s, x32) in sums.iter_mut().zip(&x.x) {
                    *s = sum32(x32.sums16(x.k / 256), j);
                }
                L::panel_signed_small::<T>(isum, &v, w.factor(j), &q, &sums);
            }
        }
    }
}

/// `sum_j m_j * sums_j` of every token.
///
/// # Safety
/// As `tile`.
#[inline(always)]
unsafe fn rest<L: Lanes, S: Source<L>, const T: usize>(w: &S, x: &Tokens<T>) -> [L::P; T] {
    // SAFETY: the caller's contract.
    unsafe {
        let mut acc = [L::P::splat(0); T];
        for i in 0..8 {
            let c = w.pair(i);
            for (acc, row) in acc.iter_mut().zip(&x.x) {
                *acc = L::panel_pairs(*acc, c, row.sums16(x.k / 256).add(2 * i));
            }
        }
        acc
    }
}
