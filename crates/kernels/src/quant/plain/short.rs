//! Blocks of small values with a scale for every 32 or 16, times inputs with a scale for every 32. Know no format.
use super::{Blocks, Kind, Plain, value};
use crate::lanes::{Floats, Lanes, Words};
use crate::quant::act::{Act, Row};
use crate::quant::block32::{Centred, Tiles};
use crate::quant::oracle::{act_block, f16};
use crate::quant::panel::{self, Tokens, Unpacked};

/// One scale for all of a block.
pub(super) struct ThirtyTwos;
/// A scale for every 16 of 64 elements.
pub(super) struct Sixteens;

impl Kind for ThirtyTwos {
    const ACT: Act = Act::B32;
    const CENTRE: i8 = 12;
    /// The bits of an f16.
    type Scales = u16;
    type Tiles = Tiles<Centred<5, 12>>;
    fn put<F: Blocks<Kind = Self>>(d: u16, at: usize, rest: &mut [u32; 16]) {
        rest[at / 32..(at + F::ELEMENTS) / 32].fill(f16(d).to_bits());
    }
    fn scale(p: &Plain, i: usize) -> (f32, i32) {
        (f32::from_bits(p.rest[i / 32]), 1)
    }
    unsafe fn dot(p: &Plain, n: usize, x: *const u8, k: usize, at: usize, acc: f32) -> f32 {
        // SAFETY: the caller's contract.
        unsafe { dot::<Self, 32>(p, n, x, k, at, acc) }
    }
    #[inline(always)]
    unsafe fn stream8<F: Blocks<Kind = Self>, L: Lanes>(rows: &[*const u8; 8], x: Row, n: usize, ahead: usize) -> L::F {
        // SAFETY: the caller's contract.
        unsafe {
            let mut acc = L::F::splat(0.0);
            for b in (0..n).step_by(2) {
                let (mut dots, mut d) = ([L::zero(); 8], [0; 8]);
                for r in 0..8 {
                    (dots[r], d[r]) = products::<F, L>(rows[r], x, b, ahead);
                }
                let (isum, d) = (L::reduce_halves(dots), L::F::from_f16(d.as_ptr()));
                for (i, isum) in isum.into_iter().enumerate() {
                    acc = d.mul(L::F::splat(x.d(b + i))).mul_add(L::floats(isum), acc);
                }
            }
            acc
        }
    }
    #[inline(always)]
    unsafe fn rest<L: Lanes>(words: *const u8, to: Unpacked<L>) {
        // SAFETY: the caller's contract.
        unsafe { scales::<L>(8, words, to) }
    }
}

impl Kind for Sixteens {
    const ACT: Act = Act::B32;
    const CENTRE: i8 = 12;
    type Scales = [f32; 4];
    type Tiles = Self;
    fn put<F: Blocks<Kind = Self>>(d: [f32; 4], at: usize, rest: &mut [u32; 16]) {
        for (rest, d) in rest[at / 16..].iter_mut().zip(d) {
            *rest = d.to_bits();
        }
    }
    fn scale(p: &Plain, i: usize) -> (f32, i32) {
        (f32::from_bits(p.rest[i / 16]), 1)
    }
    unsafe fn dot(p: &Plain, n: usize, x: *const u8, k: usize, at: usize, acc: f32) -> f32 {
        // SAFETY: the caller's contract.
        unsafe { dot::<Self, 16>(p, n, x, k, at, acc) }
    }
    #[inline(always)]
    unsafe fn stream8<F: Blocks<Kind = Self>, L: Lanes>(rows: &[*const u8; 8], x: Row, n: usize, ahead: usize) -> L::F {
        // SAFETY: the caller's contract.
        unsafe {
            let mut acc = L::F::splat(0.0);
            for b in (0..n).step_by(2) {
                let (mut dots, mut d) = ([L::zero(); 8], [[0.0; 8]; 4]);
                for r in 0..8 {
                    let scales;
                    (dots[r], scales) = products::<F, L>(rows[r], x, b, ahead);
                    for (d, scale) in d.iter_mut().zip(scales) {
                        d[r] = scale;
                    }
                }
                for (i, (d, isum)) in d.iter().zip(L::reduce_quarters(dots)).enumerate() {
                    acc = L::F::load(d.as_ptr()).mul(L::F::splat(x.d(b + i / 2))).mul_add(L::floats(isum), acc);
                }
            }
            acc
        }
    }
    #[inline(always)]
    unsafe fn rest<L: Lanes>(words: *const u8, to: Unpacked<L>) {
        // SAFETY: the caller's contract.
        unsafe { scales::<L>(16, words, to) }
    }
}

/// The products of a row's elements `32 b..32 b + 64`, and the scales of their block. What is wanted next is `ahead` bytes further.
///
/// # Safety
/// They are there, on a CPU with `L`.
#[inline(always)]
unsafe fn products<F: Blocks, L: Lanes>(row: *const u8, x: Row, b: usize, ahead: usize) -> (L::A, <F::Kind as Kind>::Scales) {
    let (at, j) = (32 * b / F::ELEMENTS * size_of::<F::Block>(), 32 * b % F::ELEMENTS / 64);
    panel::ahead(row.wrapping_add(at + ahead), size_of::<F::Block>());
    // SAFETY: the caller's contract.
    unsafe {
        let w = &*row.add(at).cast();
        if F::SIGNS {
            let x = L::load(x.qs.add(32 * b).cast(), x.qs.add(32 * b + 32).cast());
            return (L::sum_signed(x, F::negative::<L>(w, j)), F::scales::<L>(w));
        }
        let q = L::signed(-F::CENTRE, F::values::<L>(w, j), F::negative::<L>(w, j));
        (L::dot_plain(q, L::input(x.qs.add(32 * b), x.qs.add(32 * b + 32))), F::scales::<L>(w))
    }
}

/// `n` floats for each row.
///
/// # Safety
/// As `Kind::rest`.
#[inline(always)]
unsafe fn scales<L: Lanes>(n: usize, words: *const u8, to: Unpacked<L>) {
    for i in 0..n {
        // SAFETY: the caller's contract.
        unsafe { L::G::load(words.wrapping_add(64 * i).cast()).store(to.scales(i)) };
    }
}

/// `Kind::dot` where every `PER` elements have a scale.
///
/// # Safety
/// As there.
unsafe fn dot<K: Kind, const PER: usize>(p: &Plain, n: usize, x: *const u8, k: usize, at: usize, mut acc: f32) -> f32 {
    for j in (0..n).step_by(PER) {
        // SAFETY: the caller's contract.
        let (dx, x) = unsafe { act_block::<32>(x, k, (at + j) / 32) };
        let isum: i32 = (0..PER).map(|i| value::<K>(p, j + i) * i32::from(x[j % 32 + i])).sum();
        acc = (K::scale(p, j).0 * dx).mul_add(isum as f32, acc);
    }
    acc
}

impl panel::Kind for Sixteens {
    const BLOCK: usize = 32;
    #[inline(always)]
    unsafe fn unpacked<L: Lanes, const T: usize>(from: Unpacked<L>, n: usize, x: &Tokens<T>) {
        // SAFETY: the caller's contract.
        unsafe { sixteens::<L, T>(from, 2 * n, x) }
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
                *isum = L::P::splat(-i32::from(Sixteens::CENTRE) * sum);
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
