//! The vector body of a leaf: scores, softmax, P.V, over register tiles of queries. Knows no ISA; its order is told in `mod.rs`.
//!
//! A tile's queries share what they load, never what they add: every (query, cell) score and every (query, channel) chain is
//! computed as if alone. Where queries of a tile see different cells, the cells they all see are done together and the rest one by one.

use super::kv::{Bf16, F16, F32, Iq4Nl, KvRow, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};
use super::{Alibi, HeadRows, LEAF, LeafArgs, QUERY_BLOCK, state_len};
use crate::DType;
use crate::float::math;
use crate::float::simd::{N, Simd};
use std::marker::PhantomData;
use std::ops::Range;

/// Up to this many queries read stored rows as they stand; more are worth turning the leaf into f32 first.
const DIRECT: usize = 8;

/// Types that no tile reads as they stand: what it takes to unpack a number of four or five bits, twice, is more than a store and a load.
fn packed(ty: DType) -> bool {
    matches!(ty, DType::Q5_1 | DType::Q5_0 | DType::Q4_1 | DType::Q4_0 | DType::IQ4_NL)
}

/// An instruction set that functions can be compiled for. One function per piece of work: all in one would take the compiler minutes.
pub(super) trait Enter: Simd {
    /// # Safety
    /// The work's own contract.
    unsafe fn enter<W: Work>(self, work: &W);
}

/// What becomes a function of its own.
pub(super) trait Work {
    /// # Safety
    /// The work's own contract.
    unsafe fn run<S: Enter>(&self, s: S);
}

/// One row pointer per place; null where nobody looks.
type Places = [*const u8; LEAF];

/// K or V as the tiles read it.
#[derive(Clone, Copy)]
struct Side<'a> {
    rows: &'a Places,
    /// Bytes from a row pointer to the row.
    skip: usize,
    ty: DType,
    /// Elements of a row.
    width: usize,
    /// The rows of the next call and the bytes to them.
    next: &'a Places,
    next_skip: usize,
    /// Cache lines of one of them; 0: nothing is asked for.
    lines: usize,
}

impl<'a> Side<'a> {
    fn new(rows: &'a Places, skip: usize, ty: DType, width: usize) -> Side<'a> {
        Side { rows, skip, ty, width, next: rows, next_skip: 0, lines: 0 }
    }

    /// The same, and `ask` asks for these rows.
    fn with_next(self, next: &'a Places, next_skip: usize) -> Side<'a> {
        let bytes = self.width / self.ty.block_len() * self.ty.block_bytes();
        Side { next, next_skip, lines: bytes.div_ceil(64), ..self }
    }

    #[inline(always)]
    fn row(&self, j: usize) -> *const u8 {
        self.rows[j].wrapping_add(self.skip)
    }

    /// Asks for the next call's row at place `j`. A core keeps few lines in flight: what is asked for between sums arrives meanwhile, all at
    /// once it would stall, and the hardware foresees too little. Llama-1B's decode at depth 16k, one core: 6.8 GB/s asked for leaf by leaf or not
    /// at all, 6.5 for every other row, 17.8 for each.
    #[inline(always)]
    fn ask(&self, j: usize) {
        let mut p = self.next[j].wrapping_add(self.next_skip);
        for _ in 0..self.lines {
            // SAFETY: a hint, which may name any address.
            unsafe { std::arch::x86_64::_mm_prefetch(p.cast(), std::arch::x86_64::_MM_HINT_T0) };
            p = p.wrapping_add(64);
        }
    }
}

/// `n` queries of a block from `first` on (block-relative), and the places they see.
struct Tile {
    first: usize,
    n: usize,
    /// Places that at least one query sees: `from..to`.
    any: Range<usize>,
    /// Places that all see.
    all: Range<usize>,
}

impl Tile {
    const NONE: Tile = Tile { first: 0, n: 0, any: 0..0, all: 0..0 };
}

/// The smallest range around both.
#[inline(always)]
fn hull(a: Range<usize>, b: Range<usize>) -> Range<usize> {
    match (a.is_empty(), b.is_empty()) {
        (true, true) => 0..0,
        (true, false) => b,
        (false, true) => a,
        (false, false) => a.start.min(b.start)..a.end.max(b.end),
    }
}

/// What distance does to scores, per query; for one query where there is one.
#[derive(Clone, Copy)]
struct ByDistance<'a> {
    alibi: Option<&'a [Alibi]>,
    added: Option<&'a [[f32; LEAF]]>,
}

impl<'a> ByDistance<'a> {
    #[inline(always)]
    fn from(self, i: usize) -> ByDistance<'a> {
        ByDistance { alibi: self.alibi.map(|a| &a[i..]), added: self.added.map(|a| &a[i..]) }
    }
}

/// The block of queries being worked on.
struct Block<'a> {
    vis: &'a [(u8, u8)],
    q: *const f32,
    q_stride: usize,
    /// `[vis.len()][2 + head_v]`
    state: *mut f32,
    /// Scores, then probabilities. `[QUERY_BLOCK][LEAF]`
    p: *mut [f32; LEAF],
    len: usize,
    by: ByDistance<'a>,
    tiles: [Tile; QUERY_BLOCK],
    n_tiles: usize,
}

impl Block<'_> {
    /// Cuts the queries into tiles.
    #[inline(always)]
    fn cut(&mut self, wide: bool) {
        let mut first = 0;
        while first < self.vis.len() {
            let t = self.tile(first, wide);
            first += t.n;
            self.tiles[self.n_tiles] = t;
            self.n_tiles += 1;
        }
    }

    fn tiles(&self) -> &[Tile] {
        &self.tiles[..self.n_tiles]
    }

    /// Visible places of query `i`; empty is `0..0`.
    #[inline(always)]
    fn sees(&self, i: usize) -> Range<usize> {
        let (a, b) = (usize::from(self.vis[i].0), usize::from(self.vis[i].1).min(self.len));
        if a < b { a..b } else { 0..0 }
    }

    /// The tile that starts at query `first`: 4 (where registers allow), 2 or 1 queries.
    #[inline(always)]
    fn tile(&self, first: usize, wide: bool) -> Tile {
        let n = match self.vis.len() - first {
            4.. if wide => 4,
            2.. => 2,
            _ => 1,
        };
        let (mut any, mut all) = (0..0, 0..LEAF);
        for i in first..first + n {
            let r = self.sees(i);
            all = all.start.max(r.start)..all.end.min(r.end);
            any = hull(any, r);
        }
        Tile { first, n, any, all }
    }
}

/// The places that some query of the call sees.
#[inline(always)]
fn seen(a: &LeafArgs) -> Range<usize> {
    a.vis.iter().take(a.n_q).fold(0..0, |r, v| hull(r, usize::from(v.0)..usize::from(v.1.min(a.len))))
}

/// Writes the seen rows as f32 to `to` `[LEAF][width up to a multiple of 16]` and points `at` at them.
///
/// # Safety
/// The rows are live; `to` has the room.
#[inline(always)]
unsafe fn unpack<'a, S: Simd, R: KvRow>(s: S, side: &Side<'_>, seen: &Range<usize>, to: *mut f32, at: &'a mut Places) -> Side<'a> {
    let pitch = side.width.next_multiple_of(N);
    for j in seen.clone() {
        side.ask(j);
        let (row, out) = (side.row(j), to.wrapping_add(j * pitch));
        for c in (0..side.width).step_by(N) {
            // SAFETY: the caller's word; `c + 16` stays within the pitch.
            unsafe { s.store(R::at(s, row, c, N.min(side.width - c)), &mut *out.add(c).cast()) };
        }
        at[j] = out.cast();
    }
    Side::new(at, 0, DType::F32, side.width)
}

/// `unpack` by type; f32 stays where it is.
///
/// # Safety
/// As `unpack`.
#[inline(always)]
unsafe fn unpack_any<'a, S: Enter>(s: S, side: Side<'a>, seen: &Range<usize>, to: *mut f32, at: &'a mut Places) -> Side<'a> {
    // SAFETY: the caller's word.
    unsafe {
        match side.ty {
            DType::F16 => unpack::<S, F16>(s, &side, seen, to, at),
            DType::BF16 => unpack::<S, Bf16>(s, &side, seen, to, at),
            DType::Q8_0 => unpack::<S, Q8_0>(s, &side, seen, to, at),
            DType::Q5_1 => unpack::<S, Q5_1>(s, &side, seen, to, at),
            DType::Q5_0 => unpack::<S, Q5_0>(s, &side, seen, to, at),
            DType::Q4_1 => unpack::<S, Q4_1>(s, &side, seen, to, at),
            DType::Q4_0 => unpack::<S, Q4_0>(s, &side, seen, to, at),
            DType::IQ4_NL => unpack::<S, Iq4Nl>(s, &side, seen, to, at),
            _ => Side { lines: 0, ..side },
        }
    }
}

/// Lane sums of NQ x NK dot products, not yet joined.
///
/// # Safety
/// The pointers lead to rows of `width` elements.
#[inline(always)]
unsafe fn dots<S: Simd, R: KvRow, const NQ: usize, const NK: usize>(
    s: S,
    q: [*const f32; NQ],
    k: [*const u8; NK],
    width: usize,
) -> [[S::F; NK]; NQ] {
    let mut acc = [[s.splat(0.0); NK]; NQ];
    let whole = width / N * N;
    for c in (0..whole).step_by(N) {
        let mut x = [s.splat(0.0); NK];
        for (x, k) in x.iter_mut().zip(k) {
            // SAFETY: c + 16 <= width.
            *x = unsafe { R::at(s, k, c, N) };
        }
        for (acc, q) in acc.iter_mut().zip(q) {
            // SAFETY: as above.
            let q = unsafe { F32::at(s, q.cast(), c, N) };
            for (acc, x) in acc.iter_mut().zip(x) {
                *acc = s.fma(q, x, *acc);
            }
        }
    }
    if whole < width {
        let n = width - whole;
        for (acc, q) in acc.iter_mut().zip(q) {
            for (acc, k) in acc.iter_mut().zip(k) {
                // SAFETY: n elements are left.
                let (q, k) = unsafe { (F32::at(s, q.cast(), whole, n), R::at(s, k, whole, n)) };
                *acc = s.fma(q, k, *acc);
            }
        }
    }
    acc
}

/// The four scores from place `j` on for a tile's queries; places nobody of the tile sees repeat a seen one.
///
/// # Safety
/// The block's and the side's pointers are live.
#[inline(always)]
unsafe fn score4<S: Simd, R: KvRow>(s: S, b: &Block, t: &Tile, side: &Side<'_>, j: usize) {
    let k: [*const u8; 4] = std::array::from_fn(|e| side.row((j + e).max(t.any.start).min(t.any.end - 1)));
    let q = |i: usize| b.q.wrapping_add((t.first + i) * b.q_stride);
    // SAFETY: rows by the caller's word; j + 4 <= LEAF.
    unsafe {
        let put = |i: usize, at: usize, v: &[f32]| (&mut (*b.p.add(t.first + i)))[at..at + v.len()].copy_from_slice(v);
        match t.n {
            4 => {
                let r = s.sum16(dots::<S, R, 4, 4>(s, [q(0), q(1), q(2), q(3)], k, side.width));
                put(0, j, &r[0]);
                put(1, j, &r[1]);
                put(2, j, &r[2]);
                put(3, j, &r[3]);
            }
            2 if S::WIDE => {
                let [r0, r1] = dots::<S, R, 2, 4>(s, [q(0), q(1)], k, side.width);
                put(0, j, &s.sum4(r0));
                put(1, j, &s.sum4(r1));
            }
            2 => {
                for h in [0, 2] {
                    let [[a, b], [c, d]] = dots::<S, R, 2, 2>(s, [q(0), q(1)], [k[h], k[h + 1]], side.width);
                    let r = s.sum4([a, b, c, d]);
                    put(0, j + h, &r[..2]);
                    put(1, j + h, &r[2..]);
                }
            }
            _ => {
                let [r] = dots::<S, R, 1, 4>(s, [q(0)], k, side.width);
                put(0, j, &s.sum4(r));
            }
        }
    }
}

/// q.k of a block: four places outside, tiles inside, so that four K rows stay near while queries pass.
///
/// # Safety
/// As `score4`.
#[inline(always)]
unsafe fn scores<S: Simd, R: KvRow>(s: S, b: &Block, side: &Side<'_>) {
    for j in (0..b.len).step_by(4) {
        (j..j + 4).for_each(|j| side.ask(j));
        for t in b.tiles().iter().filter(|t| j < t.any.end && t.any.start < j + 4) {
            // SAFETY: the caller's word.
            unsafe { score4::<S, R>(s, b, t, side, j) };
        }
    }
}

const PLACES: [f32; N] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0];

/// Turns one query's scores into probabilities (0 where it sees nothing) and brings m, l and acc of its state up to them.
#[inline(always)]
fn soften<S: Simd>(s: S, p: &mut [f32; LEAF], sees: Range<usize>, a: &LeafArgs, by: ByDistance<'_>, state: &mut [f32]) {
    let (scale, softcap) = (a.scale, a.softcap);
    let mask = (u64::MAX >> (LEAF - sees.len())) << sees.start;
    let rows = p.as_chunks_mut::<N>().0;
    let none = s.splat(f32::NEG_INFINITY);
    let mut x = [none; LEAF / N];
    let mut top = none;
    for (i, x) in x.iter_mut().enumerate() {
        let mut v = s.mul(s.load(&rows[i]), s.splat(scale));
        if softcap != 0.0 {
            v = s.mul(s.splat(softcap), math::tanh(s, s.div(v, s.splat(softcap))));
        }
        if let Some(f) = by.alibi.and_then(<[_]>::first) {
            let apart = s.abs(s.add(s.load(&PLACES), s.splat(f.first + (i * N) as f32)));
            v = s.fma(s.splat(-f.slope), apart, v);
        }
        if let Some(f) = by.added.and_then(<[_]>::first) {
            v = s.add(v, s.load(&f.as_chunks::<N>().0[i]));
        }
        *x = s.pick((mask >> (i * N)) as u16, v, none);
        top = s.max(*x, top);
    }
    let top = s.max_lane(top);
    let before = state[0];
    let m = if top > before { top } else { before };
    // All scores -inf: any finite base gives the zeros they stand for.
    let base = if m == f32::NEG_INFINITY { 0.0 } else { m };
    for (x, row) in x.iter_mut().zip(&mut *rows) {
        *x = math::exp(s, s.sub(*x, s.splat(base)));
        s.store(*x, row);
    }
    let sum = s.sum(s.add(s.add(x[0], x[1]), s.add(x[2], x[3])));
    let mut rescale = [0.0; N];
    s.store(math::exp(s, s.splat(before - base)), &mut rescale);
    state[0] = m;
    state[1] = state[1] * rescale[0] + sum;
    if rescale[0] != 1.0 {
        state[2..].iter_mut().for_each(|a| *a *= rescale[0]);
    }
}

/// acc[c..c + 16 NV] += p[j] V[j] for j in `places`, one chain per channel, for NQ queries; `n` channels of the last vector count.
///
/// # Safety
/// The pointers are live for these places and channels.
#[inline(always)]
unsafe fn chains<S: Simd, R: KvRow, const NQ: usize, const NV: usize>(
    s: S,
    acc: [*mut f32; NQ],
    p: [*const f32; NQ],
    side: &Side<'_>,
    places: Range<usize>,
    c: usize,
    n: usize,
) {
    // SAFETY: the caller's word, for all pointers below; n is 8 only where NV is 1.
    unsafe {
        let mut sum = [[s.splat(0.0); NV]; NQ];
        for (sum, acc) in sum.iter_mut().zip(acc) {
            for (v, sum) in sum.iter_mut().enumerate() {
                *sum = F32::at(s, acc.cast_const().cast(), c + v * N, n);
            }
        }
        for j in places {
            let row = side.row(j);
            if c == 0 {
                side.ask(j);
            }
            let mut x = [s.splat(0.0); NV];
            for (v, x) in x.iter_mut().enumerate() {
                *x = R::at(s, row, c + v * N, n);
            }
            for (sum, p) in sum.iter_mut().zip(p) {
                let w = s.splat(*p.add(j));
                for (sum, x) in sum.iter_mut().zip(x) {
                    *sum = s.fma(w, x, *sum);
                }
            }
        }
        for (sum, acc) in sum.into_iter().zip(acc) {
            for (v, sum) in sum.into_iter().enumerate() {
                let out = acc.add(c + v * N);
                if n == N {
                    s.store(sum, &mut *out.cast());
                } else {
                    let mut b = [0.0; N];
                    s.store(sum, &mut b);
                    std::ptr::copy_nonoverlapping(b.as_ptr(), out, N / 2);
                }
            }
        }
    }
}

/// `chains` over as many whole groups of NV vectors as are left from channel `c` on; gives where it stopped.
///
/// # Safety
/// As `chains`.
#[inline(always)]
unsafe fn groups<S: Simd, R: KvRow, const NQ: usize, const NV: usize>(
    s: S,
    acc: [*mut f32; NQ],
    p: [*const f32; NQ],
    side: &Side<'_>,
    places: &Range<usize>,
    mut c: usize,
) -> usize {
    while c + NV * N <= side.width {
        // SAFETY: the caller's word; the group lies within the row.
        unsafe { chains::<S, R, NQ, NV>(s, acc, p, side, places.clone(), c, N) };
        c += NV * N;
    }
    c
}

/// All channels of NQ queries, in groups of NV vectors, then one by one.
///
/// # Safety
/// As `chains`.
#[inline(always)]
unsafe fn channels<S: Simd, R: KvRow, const NQ: usize, const NV: usize>(
    s: S,
    b: &Block,
    first: usize,
    side: &Side<'_>,
    places: Range<usize>,
) {
    if places.is_empty() {
        return;
    }
    let acc = std::array::from_fn(|i| b.state.wrapping_add((first + i) * state_len(side.width) + 2));
    let p = std::array::from_fn(|i| b.p.wrapping_add(first + i).cast::<f32>().cast_const());
    // SAFETY: the caller's word.
    unsafe {
        let mut c = groups::<S, R, NQ, NV>(s, acc, p, side, &places, 0);
        if NV > 2 {
            c = groups::<S, R, NQ, 2>(s, acc, p, side, &places, c);
        }
        let c = groups::<S, R, NQ, 1>(s, acc, p, side, &places, c);
        if c < side.width {
            chains::<S, R, NQ, 1>(s, acc, p, side, places, c, side.width - c);
        }
    }
}

/// P.V of one query: as many chains side by side as hide the latency of a fused add.
///
/// # Safety
/// As `chains`.
#[inline(always)]
unsafe fn alone<S: Simd, R: KvRow>(s: S, b: &Block, i: usize, side: &Side<'_>, places: Range<usize>) {
    // SAFETY: the caller's word.
    unsafe {
        match side.width / N {
            5 => channels::<S, R, 1, 5>(s, b, i, side, places),
            6 => channels::<S, R, 1, 6>(s, b, i, side, places),
            n if S::WIDE && n.is_multiple_of(8) => channels::<S, R, 1, 8>(s, b, i, side, places),
            _ => channels::<S, R, 1, 4>(s, b, i, side, places),
        }
    }
}

/// `alone` as a function.
struct Alone<'a, R> {
    b: &'a Block<'a>,
    i: usize,
    side: &'a Side<'a>,
    places: Range<usize>,
    row: PhantomData<R>,
}

impl<R: KvRow> Work for Alone<'_, R> {
    #[inline(always)]
    unsafe fn run<S: Enter>(&self, s: S) {
        // SAFETY: the caller's word.
        unsafe { alone::<S, R>(s, self.b, self.i, self.side, self.places.clone()) }
    }
}

/// Most often nothing is left for a query alone, and a call would be a part of what a leaf takes.
///
/// # Safety
/// As `chains`.
#[inline(always)]
unsafe fn enter_alone<S: Enter, R: KvRow>(s: S, b: &Block, i: usize, side: &Side<'_>, places: Range<usize>) {
    if !places.is_empty() {
        // SAFETY: the caller's word.
        unsafe { s.enter(&Alone::<R> { b, i, side, places, row: PhantomData }) };
    }
}

/// P.V of a block.
///
/// # Safety
/// The block's and the side's pointers are live.
#[inline(always)]
unsafe fn values<S: Enter, R: KvRow>(s: S, b: &Block, side: &Side<'_>) {
    let quiet = Side { lines: 0, ..*side };
    for t in b.tiles() {
        let first = t.first;
        let side = if first == 0 { side } else { &quiet };
        let together = if t.n > 1 && !t.all.is_empty() { t.all.clone() } else { LEAF..LEAF };
        // SAFETY: the caller's word.
        unsafe {
            for i in first..first + t.n {
                let r = b.sees(i);
                enter_alone::<S, R>(s, b, i, side, r.start..r.end.min(together.start));
            }
            match t.n {
                4 => channels::<S, R, 4, 4>(s, b, first, side, together.clone()),
                2 if S::WIDE && side.width.is_multiple_of(8 * N) => channels::<S, R, 2, 8>(s, b, first, side, together.clone()),
                2 if S::WIDE => channels::<S, R, 2, 4>(s, b, first, side, together.clone()),
                2 => channels::<S, R, 2, 2>(s, b, first, side, together.clone()),
                _ => {}
            }
            for i in first..first + t.n {
                let r = b.sees(i);
                enter_alone::<S, R>(s, b, i, side, together.end.max(r.start)..r.end);
            }
        }
    }
}

/// `scores` and `values` as functions.
struct Scores<'a, R>(&'a Block<'a>, &'a Side<'a>, PhantomData<R>);
struct Values<'a, R>(&'a Block<'a>, &'a Side<'a>, PhantomData<R>);

impl<R: KvRow> Work for Scores<'_, R> {
    #[inline(always)]
    unsafe fn run<S: Enter>(&self, s: S) {
        // SAFETY: the caller's word.
        unsafe { scores::<S, R>(s, self.0, self.1) }
    }
}

impl<R: KvRow> Work for Values<'_, R> {
    #[inline(always)]
    unsafe fn run<S: Enter>(&self, s: S) {
        // SAFETY: the caller's word.
        unsafe { values::<S, R>(s, self.0, self.1) }
    }
}

/// One block of queries through the leaf.
///
/// # Safety
/// See `AttnLeaf`.
#[inline(always)]
unsafe fn block<S: Enter>(s: S, a: &LeafArgs, b: &Block, k: &Side<'_>, v: &Side<'_>) {
    // SAFETY: the caller's word; the states of a block are its own.
    unsafe {
        match k.ty {
            DType::F16 => s.enter(&Scores::<F16>(b, k, PhantomData)),
            DType::BF16 => s.enter(&Scores::<Bf16>(b, k, PhantomData)),
            DType::Q8_0 => s.enter(&Scores::<Q8_0>(b, k, PhantomData)),
            _ => s.enter(&Scores::<F32>(b, k, PhantomData)),
        }
        for i in 0..b.vis.len() {
            let sees = b.sees(i);
            if !sees.is_empty() {
                let n = state_len(a.head_v);
                let state = std::slice::from_raw_parts_mut(b.state.add(i * n), n);
                soften(s, &mut *b.p.add(i), sees, a, b.by.from(i), state);
            }
        }
        match v.ty {
            DType::F16 => s.enter(&Values::<F16>(b, v, PhantomData)),
            DType::BF16 => s.enter(&Values::<Bf16>(b, v, PhantomData)),
            DType::Q8_0 => s.enter(&Values::<Q8_0>(b, v, PhantomData)),
            _ => s.enter(&Values::<F32>(b, v, PhantomData)),
        }
    }
}

/// As `AttnLeaf` says.
///
/// # Safety
/// See `AttnLeaf`.
#[inline(always)]
pub(super) unsafe fn leaf<S: Enter>(s: S, a: &LeafArgs) {
    let seen = seen(a);
    if seen.is_empty() {
        return;
    }
    let HeadRows { rows, k, v } = a.at;
    let mut k = Side::new(&rows.k, k, a.k_type, a.head_k);
    let mut v = Side::new(&rows.v, v, a.v_type, a.head_v);
    if let Some(next) = a.next {
        k = k.with_next(&next.rows.k, next.k);
        v = v.with_next(&next.rows.v, next.v);
    }
    let (mut k_at, mut v_at);
    // SAFETY: `scratch_bytes` counts these three parts and 64 bytes to align them; the rest is the caller's word.
    unsafe {
        let p = a.scratch.add(a.scratch.align_offset(64)).cast::<f32>();
        let wide_k = p.add(QUERY_BLOCK.min(a.n_q) * LEAF);
        let wide_v = wide_k.add(LEAF * a.head_k.next_multiple_of(N));
        if a.n_q > DIRECT || packed(k.ty) {
            k_at = [std::ptr::null(); LEAF];
            k = unpack_any(s, k, &seen, wide_k, &mut k_at);
        }
        if a.n_q > DIRECT || packed(v.ty) {
            v_at = [std::ptr::null(); LEAF];
            v = unpack_any(s, v, &seen, wide_v, &mut v_at);
        }
        for (i, vis) in a.vis[..a.n_q.min(a.vis.len())].chunks(QUERY_BLOCK).enumerate() {
            let first = i * QUERY_BLOCK;
            let q = a.q.add(first * a.q_stride);
            let state = a.state.add(first * state_len(a.head_v));
            let (len, by) = (usize::from(a.len), ByDistance { alibi: a.alibi, added: a.added }.from(first));
            let tiles = [const { Tile::NONE }; QUERY_BLOCK];
            let mut b = Block { vis, q, q_stride: a.q_stride, state, p: p.cast(), len, by, tiles, n_tiles: 0 };
            b.cut(S::WIDE);
            block(s, a, &b, &k, &v);
        }
    }
}
