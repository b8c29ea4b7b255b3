//! AVX2 with FMA and F16C: 256-bit vectors, products of unsigned with signed bytes that saturate at 16 bits. Knows no format.
use crate::lanes::{Bytes, Floats, Kernel, Lanes, PAIRS, Words};
use core::arch::x86_64::*;
use core::marker::PhantomData;

pub(crate) type Avx2 = Ymm<Plain>;

/// Vectors of 256 bits with products `D`.
#[derive(Clone, Copy)]
pub(crate) struct Ymm<D>(PhantomData<D>);

/// Products of unsigned with signed bytes, and their sums in pairs.
#[derive(Clone, Copy)]
pub(crate) struct Plain;

/// How panels are multiplied with 256 bits. Safety of all: as `Lanes`.
pub(crate) trait Products: Copy + 'static {
    /// See `Lanes`, for all below.
    unsafe fn enter<K: Kernel>(k: &K);
    unsafe fn small_factor(s: __m256i) -> __m256i;
    unsafe fn panel_small<const BITS: u32, const N: usize, const T: usize>(
        acc: &mut [__m256i; T],
        w: &[__m256i; N],
        s: __m256i,
        x: &[*const i8; T],
    );
    unsafe fn panel_unit<const BITS: u32, const T: usize>(start: [__m256i; T], w: &[__m256i; 8], x: &[*const i8; T]) -> [__m256i; T];
    unsafe fn panel_signed<const T: usize>(w: &[__m256i; 8], x: &[*const i8; T], sums: &[i32; T]) -> [__m256i; T];
    unsafe fn panel_signed_small<const T: usize>(acc: &mut [__m256i; T], w: &[__m256i; 8], s: __m256i, x: &[*const i8; T], sums: &[i32; T]);
}

/// Two sub-blocks, or the partial sums of two.
pub(crate) type Two = [__m256i; 2];

// SAFETY of every block in this file: the traits' contract - the CPU has AVX2, FMA and F16C, and pointers have the bytes they promise.

impl Floats for __m256 {
    #[inline(always)]
    unsafe fn splat(v: f32) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm256_set1_ps(v) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: the file's contract.
        unsafe { _mm256_storeu_ps(p, self) }
    }
    #[inline(always)]
    unsafe fn from_f16(p: *const u16) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(p.cast())) }
    }
    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm256_mul_ps(self, b) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm256_fmadd_ps(self, b, c) }
    }
    #[inline(always)]
    unsafe fn neg_mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm256_fnmadd_ps(self, b, c) }
    }
}

/// The sums of eight vectors' lanes, a lane per vector: a tree of transposing adds.
///
/// # Safety
/// The file's contract.
#[inline(always)]
unsafe fn reduce8(a: [__m256i; 8]) -> __m256i {
    // SAFETY: the file's contract.
    unsafe {
        let [lo, hi] = lanes8(a);
        _mm256_add_epi32(lo, hi)
    }
}

/// The same with the lower and the upper 128 bits apart.
///
/// # Safety
/// The file's contract.
#[inline(always)]
unsafe fn lanes8(a: [__m256i; 8]) -> [__m256i; 2] {
    // SAFETY: the file's contract.
    unsafe {
        let lo = add4(add2(a[0], a[1]), add2(a[2], a[3]));
        let hi = add4(add2(a[4], a[5]), add2(a[6], a[7]));
        [_mm256_permute2x128_si256::<0x20>(lo, hi), _mm256_permute2x128_si256::<0x31>(lo, hi)]
    }
}

/// Sixteen signed bytes as i16, each eight of them in both 128-bit lanes.
///
/// # Safety
/// The file's contract.
#[inline(always)]
unsafe fn factors(s: __m128i) -> Two {
    // SAFETY: the file's contract.
    unsafe {
        let s = _mm256_cvtepi8_epi16(s);
        [_mm256_permute4x64_epi64::<0x44>(s), _mm256_permute4x64_epi64::<0xee>(s)]
    }
}

/// # Safety
/// The file's contract.
#[inline(always)]
unsafe fn add2(a: __m256i, b: __m256i) -> __m256i {
    // SAFETY: the file's contract.
    unsafe { _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b)) }
}

/// # Safety
/// The file's contract.
#[inline(always)]
unsafe fn add4(a: __m256i, b: __m256i) -> __m256i {
    // SAFETY: the file's contract.
    unsafe { _mm256_add_epi32(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b)) }
}

/// Byte shuffles that spread factors `i` and `i + 1` of eight i16 over the two 128-bit lanes.
const SPREAD: [[u8; 32]; 4] = {
    let mut t = [[0; 32]; 4];
    let mut i = 0;
    while i < 128 {
        let (row, lane) = (i / 32, i % 32 / 16);
        t[row][i % 32] = (2 * (2 * row + lane) + i % 2) as u8;
        i += 1;
    }
    t
};

/// The factors of half `H` of pair `J`, spread over the 16-bit lanes of their elements' products.
///
/// # Safety
/// The file's contract.
#[inline(always)]
unsafe fn spread<const J: usize>(s: Two, half: usize) -> __m256i {
    // SAFETY: the file's contract.
    unsafe { _mm256_shuffle_epi8(s[J / 2], _mm256_loadu_si256(SPREAD[J % 2 * 2 + half].as_ptr().cast())) }
}

/// Products of signed bytes, added in fours: |w| times x with w's sign. |w| <= 128 and |x| <= 127 keep a pair below 2^15.
///
/// # Safety
/// The file's contract.
#[inline(always)]
unsafe fn signed16(w: __m256i, x: __m256i) -> __m256i {
    // SAFETY: the file's contract.
    unsafe { _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w)) }
}

/// Bytes of ones where bits are set.
///
/// # Safety
/// The file's contract.
#[inline(always)]
unsafe fn where_set(bits: u64) -> Two {
    // SAFETY: the file's contract.
    unsafe {
        let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201u64 as i64);
        let byte = _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303);
        let mut out = [bit; 2];
        for (i, v) in out.iter_mut().enumerate() {
            let here = _mm256_shuffle_epi8(_mm256_set1_epi32((bits >> (32 * i)) as i32), byte);
            *v = _mm256_cmpeq_epi8(_mm256_and_si256(here, bit), bit);
        }
        out
    }
}

/// Four bytes of a token's input, in every lane.
///
/// # Safety
/// Four bytes at `p`.
#[inline(always)]
pub(crate) unsafe fn splat4(p: *const i8) -> __m256i {
    // SAFETY: the file's contract.
    unsafe { _mm256_set1_epi32(p.cast::<i32>().read_unaligned()) }
}

impl Words for __m256i {
    #[inline(always)]
    unsafe fn load(p: *const u8) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm256_loadu_si256(p.cast()) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut u8) {
        // SAFETY: the file's contract.
        unsafe { _mm256_storeu_si256(p.cast(), self) }
    }
    #[inline(always)]
    unsafe fn splat(v: i32) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm256_set1_epi32(v) }
    }
    #[inline(always)]
    unsafe fn and(self, mask: u8) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm256_and_si256(self, _mm256_set1_epi8(mask as i8)) }
    }
    #[inline(always)]
    unsafe fn and_word(self, mask: i32) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm256_and_si256(self, _mm256_set1_epi32(mask)) }
    }
    #[inline(always)]
    unsafe fn or(self, b: Self) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm256_or_si256(self, b) }
    }
    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm256_sub_epi32(self, b) }
    }
    #[inline(always)]
    unsafe fn shr(self, n: u32) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm256_srl_epi32(self, _mm_cvtsi32_si128(n as i32)) }
    }
    #[inline(always)]
    unsafe fn shl(self, n: u32) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm256_sll_epi32(self, _mm_cvtsi32_si128(n as i32)) }
    }
    #[inline(always)]
    unsafe fn lookup(self, table: &[i8; 16]) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast())), self) }
    }
    #[inline(always)]
    unsafe fn byte(self, i: usize) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm256_srai_epi32::<24>(self.shl(24 - 8 * i as u32)) }
    }
    #[inline(always)]
    unsafe fn pair(self, a: usize, b: usize) -> Self {
        // SAFETY: the file's contract.
        unsafe {
            let at = _mm_loadu_si128(PAIRS[4 * a + b].as_ptr().cast());
            _mm256_srai_epi16::<8>(_mm256_shuffle_epi8(self, _mm256_broadcastsi128_si256(at)))
        }
    }
}

impl Products for Plain {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,bmi2")]
    unsafe fn enter<K: Kernel>(k: &K) {
        // SAFETY: the CPU has AVX2 by the caller's promise, which also covers the kernel's own contract.
        unsafe { k.run::<Avx2>() }
    }
    #[inline(always)]
    unsafe fn small_factor(s: __m256i) -> __m256i {
        // SAFETY: the file's contract. Its i16 twice: both halves of a lane's products are multiplied by it.
        unsafe { _mm256_or_si256(_mm256_and_si256(s, _mm256_set1_epi32(0xffff)), _mm256_slli_epi32::<16>(s)) }
    }
    #[inline(always)]
    unsafe fn panel_small<const BITS: u32, const N: usize, const T: usize>(
        acc: &mut [__m256i; T],
        w: &[__m256i; N],
        s: __m256i,
        x: &[*const i8; T],
    ) {
        // How many products of two fit 16 bits: 8 * 2 * 15 * 127, 4 * 2 * 31 * 127, 2 * 2 * 63 * 127 and 2 * 127 * 127 are below 2^15.
        let run = (1 << (7 - BITS)).min(N);
        // SAFETY: the file's contract.
        unsafe {
            for first in (0..N).step_by(run) {
                let mut sums = [_mm256_setzero_si256(); T];
                for (i, &w) in w.iter().enumerate().skip(first).take(run) {
                    for t in 0..T {
                        sums[t] = _mm256_add_epi16(sums[t], _mm256_maddubs_epi16(w, splat4(x[t].add(4 * i))));
                    }
                }
                for t in 0..T {
                    acc[t] = _mm256_add_epi32(acc[t], _mm256_madd_epi16(sums[t], s));
                }
            }
        }
    }
    #[inline(always)]
    unsafe fn panel_unit<const BITS: u32, const T: usize>(start: [__m256i; T], w: &[__m256i; 8], x: &[*const i8; T]) -> [__m256i; T] {
        let mut acc = start;
        // SAFETY: the file's contract.
        unsafe { Self::panel_small::<BITS, 8, T>(&mut acc, w, _mm256_set1_epi16(1), x) };
        acc
    }
    #[inline(always)]
    unsafe fn panel_signed<const T: usize>(w: &[__m256i; 8], x: &[*const i8; T], sums: &[i32; T]) -> [__m256i; T] {
        // SAFETY: the file's contract.
        unsafe {
            let mut acc = [_mm256_setzero_si256(); T];
            Self::panel_signed_small::<T>(&mut acc, w, _mm256_set1_epi16(1), x, sums);
            acc
        }
    }
    #[inline(always)]
    unsafe fn panel_signed_small<const T: usize>(
        acc: &mut [__m256i; T],
        w: &[__m256i; 8],
        s: __m256i,
        x: &[*const i8; T],
        _sums: &[i32; T],
    ) {
        for (i, &w) in w.iter().enumerate() {
            for t in 0..T {
                // SAFETY: the file's contract.
                acc[t] = unsafe { _mm256_add_epi32(acc[t], _mm256_madd_epi16(signed16(w, splat4(x[t].add(4 * i))), s)) };
            }
        }
    }
}

impl<D: Products> Bytes for Ymm<D> {
    type V = Two;

    #[inline(always)]
    unsafe fn deposit(bits: u64, mask: u64) -> u64 {
        // SAFETY: the file's contract.
        unsafe { _pdep_u64(bits, mask) }
    }
    #[inline(always)]
    unsafe fn extract(bits: u64, mask: u64) -> u64 {
        // SAFETY: the file's contract.
        unsafe { _pext_u64(bits, mask) }
    }
    #[inline(always)]
    unsafe fn words(w: [u64; 8]) -> Two {
        let [a, b, c, d, e, f, g, h] = w;
        // SAFETY: the file's contract.
        unsafe {
            let low = _mm256_setr_epi64x(a as i64, b as i64, c as i64, d as i64);
            [low, _mm256_setr_epi64x(e as i64, f as i64, g as i64, h as i64)]
        }
    }
    #[inline(always)]
    unsafe fn half_words(w: [i32; 16]) -> Two {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = w;
        // SAFETY: the file's contract.
        unsafe { [_mm256_setr_epi32(a, b, c, d, e, f, g, h), _mm256_setr_epi32(i, j, k, l, m, n, o, p)] }
    }
    #[inline(always)]
    unsafe fn store(v: Two, p: *mut u8) {
        // SAFETY: the file's contract.
        unsafe { p.cast::<Two>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn and(v: Two, mask: u8) -> Two {
        // SAFETY: the file's contract.
        unsafe { [_mm256_and_si256(v[0], _mm256_set1_epi8(mask as i8)), _mm256_and_si256(v[1], _mm256_set1_epi8(mask as i8))] }
    }
    #[inline(always)]
    unsafe fn lookup(v: Two, table: &[i8; 16]) -> Two {
        // SAFETY: the file's contract.
        unsafe {
            let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()));
            [_mm256_shuffle_epi8(table, v[0]), _mm256_shuffle_epi8(table, v[1])]
        }
    }
    #[inline(always)]
    unsafe fn signed(centre: i8, v: Two, negative: u64) -> Two {
        // SAFETY: the file's contract.
        unsafe {
            let (centre, mut out) = (_mm256_set1_epi8(centre), v);
            for (v, minus) in out.iter_mut().zip(where_set(negative)) {
                *v = _mm256_add_epi8(centre, _mm256_sub_epi8(_mm256_xor_si256(*v, minus), minus));
            }
            out
        }
    }
    #[inline(always)]
    unsafe fn times(v: Two, by: &[u16; 32]) -> Two {
        // SAFETY: the file's contract.
        unsafe {
            let (low, mut out) = (_mm256_set1_epi16(255), v);
            for (v, by) in out.iter_mut().zip(by.as_chunks::<16>().0) {
                let by = _mm256_loadu_si256(by.as_ptr().cast());
                let odd = _mm256_mullo_epi16(_mm256_andnot_si256(low, *v), by);
                *v = _mm256_or_si256(_mm256_and_si256(_mm256_mullo_epi16(*v, by), low), odd);
            }
            out
        }
    }
    #[inline(always)]
    unsafe fn thirds(v: Two) -> Two {
        let mut out = v;
        for v in &mut out {
            // SAFETY: the file's contract.
            *v = unsafe {
                let (one, third) = (_mm256_set1_epi8(1), _mm256_set1_epi8(85));
                let (a, b) = (_mm256_subs_epu8(*v, third), _mm256_subs_epu8(*v, _mm256_add_epi8(third, third)));
                _mm256_add_epi8(_mm256_min_epu8(a, one), _mm256_min_epu8(b, one))
            };
        }
        out
    }
}

impl<D: Products> Lanes for Ymm<D> {
    const ROWS: usize = 8;
    const TILE: usize = 8;
    type X = Two;
    type S = Two;
    type A = Two;
    type I = __m256i;
    type F = __m256;
    type P = __m256i;
    type G = __m256;

    #[inline(always)]
    unsafe fn enter<K: Kernel>(k: &K) {
        // SAFETY: the caller's contract.
        unsafe { D::enter(k) }
    }
    #[inline(always)]
    unsafe fn load(a: *const u8, b: *const u8) -> Two {
        // SAFETY: the file's contract.
        unsafe { [_mm256_loadu_si256(a.cast()), _mm256_loadu_si256(b.cast())] }
    }
    #[inline(always)]
    unsafe fn nibbles(a: *const u8, b: *const u8) -> Two {
        // SAFETY: the file's contract.
        unsafe {
            let (a, b) = (_mm_loadu_si128(a.cast()), _mm_loadu_si128(b.cast()));
            Self::and([_mm256_set_m128i(_mm_srli_epi16::<4>(a), a), _mm256_set_m128i(_mm_srli_epi16::<4>(b), b)], 15)
        }
    }
    #[inline(always)]
    unsafe fn shr<const A: u32, const B: u32>(v: Two) -> Two {
        // SAFETY: the file's contract.
        unsafe { [_mm256_srl_epi16(v[0], _mm_cvtsi32_si128(A as i32)), _mm256_srl_epi16(v[1], _mm_cvtsi32_si128(B as i32))] }
    }
    #[inline(always)]
    unsafe fn shl4(v: Two) -> Two {
        // SAFETY: the file's contract.
        unsafe { [_mm256_slli_epi16::<4>(v[0]), _mm256_slli_epi16::<4>(v[1])] }
    }
    #[inline(always)]
    unsafe fn or(a: Two, b: Two) -> Two {
        // SAFETY: the file's contract.
        unsafe { [_mm256_or_si256(a[0], b[0]), _mm256_or_si256(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn sub(v: Two, b: u8) -> Two {
        // SAFETY: the file's contract.
        unsafe { [_mm256_sub_epi8(v[0], _mm256_set1_epi8(b as i8)), _mm256_sub_epi8(v[1], _mm256_set1_epi8(b as i8))] }
    }
    #[inline(always)]
    unsafe fn input(a: *const i8, b: *const i8) -> Two {
        // SAFETY: the file's contract.
        unsafe { Self::load(a.cast(), b.cast()) }
    }

    #[inline(always)]
    unsafe fn factors8(s: u64) -> Two {
        // SAFETY: the file's contract.
        unsafe {
            let b = _mm_cvtsi64_si128(s as i64);
            factors(_mm_unpacklo_epi8(b, b))
        }
    }
    #[inline(always)]
    unsafe fn factors(s: [u64; 2]) -> Two {
        // SAFETY: the file's contract.
        unsafe { factors(_mm_set_epi64x(s[1] as i64, s[0] as i64)) }
    }
    #[inline(always)]
    unsafe fn factors16(p: *const i8) -> Two {
        // SAFETY: the file's contract.
        unsafe { factors(_mm_loadu_si128(p.cast())) }
    }
    #[inline(always)]
    unsafe fn dot_sums(s: Two, sums: *const i16) -> Two {
        // SAFETY: the file's contract.
        unsafe {
            let s = _mm256_blend_epi32::<0xf0>(s[0], s[1]);
            [_mm256_madd_epi16(s, _mm256_loadu_si256(sums.cast())), _mm256_setzero_si256()]
        }
    }

    #[inline(always)]
    unsafe fn zero() -> Two {
        // SAFETY: the file's contract.
        unsafe { [_mm256_setzero_si256(); 2] }
    }
    #[inline(always)]
    unsafe fn dot_small<const J: usize>(acc: Two, w: Two, x: Two, s: Two) -> Two {
        // SAFETY: the file's contract. 2 * 127 * 127 < 2^15.
        unsafe {
            let p = _mm256_madd_epi16(_mm256_maddubs_epi16(w[0], x[0]), spread::<J>(s, 0));
            let q = _mm256_madd_epi16(_mm256_maddubs_epi16(w[1], x[1]), spread::<J>(s, 1));
            [_mm256_add_epi32(acc[0], p), _mm256_add_epi32(acc[1], q)]
        }
    }
    #[inline(always)]
    unsafe fn dot_signed<const J: usize>(acc: Two, w: Two, x: Two, s: Two) -> Two {
        // SAFETY: the file's contract.
        unsafe {
            let p = _mm256_madd_epi16(signed16(w[0], x[0]), spread::<J>(s, 0));
            let q = _mm256_madd_epi16(signed16(w[1], x[1]), spread::<J>(s, 1));
            [_mm256_add_epi32(acc[0], p), _mm256_add_epi32(acc[1], q)]
        }
    }
    #[inline(always)]
    unsafe fn dot_plain(w: Two, x: Two) -> Two {
        // SAFETY: the file's contract.
        unsafe {
            let one = _mm256_set1_epi16(1);
            [_mm256_madd_epi16(signed16(w[0], x[0]), one), _mm256_madd_epi16(signed16(w[1], x[1]), one)]
        }
    }
    #[inline(always)]
    unsafe fn sum_signed(x: Two, negative: u64) -> Two {
        // SAFETY: the file's contract.
        unsafe {
            let (negative, mut out) = (where_set(negative), x);
            for (v, negative) in out.iter_mut().zip(negative) {
                // From 0 it is `127 + x` to there, from 254 `127 - x`.
                let above = _mm256_add_epi8(*v, _mm256_set1_epi8(127));
                let sums = _mm256_sad_epu8(above, _mm256_and_si256(negative, _mm256_set1_epi8(254u8 as i8)));
                *v = _mm256_sub_epi32(sums, _mm256_set1_epi64x(8 * 127));
            }
            out
        }
    }
    #[inline(always)]
    unsafe fn reduce(a: [Two; 8]) -> __m256i {
        // SAFETY: the file's contract.
        unsafe {
            let mut sums = [_mm256_setzero_si256(); 8];
            for (s, a) in sums.iter_mut().zip(&a) {
                *s = _mm256_add_epi32(a[0], a[1]);
            }
            reduce8(sums)
        }
    }
    #[inline(always)]
    unsafe fn reduce_halves(a: [Two; 8]) -> [__m256i; 2] {
        // SAFETY: the file's contract.
        unsafe {
            let mut halves = [[_mm256_setzero_si256(); 8]; 2];
            for (i, a) in a.iter().enumerate() {
                (halves[0][i], halves[1][i]) = (a[0], a[1]);
            }
            [reduce8(halves[0]), reduce8(halves[1])]
        }
    }
    #[inline(always)]
    unsafe fn reduce_quarters(a: [Two; 8]) -> [__m256i; 4] {
        // SAFETY: the file's contract.
        unsafe {
            let mut halves = [[_mm256_setzero_si256(); 8]; 2];
            for (i, a) in a.iter().enumerate() {
                (halves[0][i], halves[1][i]) = (a[0], a[1]);
            }
            let ([a, b], [c, d]) = (lanes8(halves[0]), lanes8(halves[1]));
            [a, b, c, d]
        }
    }
    #[inline(always)]
    unsafe fn centre(a: __m256i, c: __m256i) -> __m256i {
        // SAFETY: the file's contract.
        unsafe { _mm256_sub_epi32(a, _mm256_slli_epi32::<5>(c)) }
    }
    #[inline(always)]
    unsafe fn floats(a: __m256i) -> __m256 {
        // SAFETY: the file's contract.
        unsafe { _mm256_cvtepi32_ps(a) }
    }

    #[inline(always)]
    unsafe fn transpose(rows: &[*const u8; 16], out: *mut u8) {
        // SAFETY: the file's contract: 64 bytes of each row, 1024 bytes out; by quarters of 8 rows and 8 words.
        unsafe {
            for quarter in 0..4 {
                let (first, word) = (quarter / 2 * 8, quarter % 2 * 8);
                let mut r = [_mm256_setzero_si256(); 8];
                for (i, r) in r.iter_mut().enumerate() {
                    *r = _mm256_loadu_si256(rows[first + i].add(4 * word).cast());
                }
                for (i, v) in transpose8(r).into_iter().enumerate() {
                    _mm256_storeu_si256(out.add(64 * (word + i) + 4 * first).cast(), v);
                }
            }
        }
    }
    #[inline(always)]
    unsafe fn small_factor(s: __m256i) -> __m256i {
        // SAFETY: the file's contract.
        unsafe { D::small_factor(s) }
    }
    #[inline(always)]
    unsafe fn panel_small<const BITS: u32, const N: usize, const T: usize>(
        acc: &mut [__m256i; T],
        w: &[__m256i; N],
        s: __m256i,
        x: &[*const i8; T],
    ) {
        // SAFETY: the file's contract.
        unsafe { D::panel_small::<BITS, N, T>(acc, w, s, x) }
    }
    #[inline(always)]
    unsafe fn panel_unit<const BITS: u32, const T: usize>(start: [__m256i; T], w: &[__m256i; 8], x: &[*const i8; T]) -> [__m256i; T] {
        // SAFETY: the file's contract.
        unsafe { D::panel_unit::<BITS, T>(start, w, x) }
    }
    #[inline(always)]
    unsafe fn panel_signed<const T: usize>(w: &[__m256i; 8], x: &[*const i8; T], sums: &[i32; T]) -> [__m256i; T] {
        // SAFETY: the file's contract.
        unsafe { D::panel_signed::<T>(w, x, sums) }
    }
    #[inline(always)]
    unsafe fn panel_signed_small<const T: usize>(
        acc: &mut [__m256i; T],
        w: &[__m256i; 8],
        s: __m256i,
        x: &[*const i8; T],
        sums: &[i32; T],
    ) {
        // SAFETY: the file's contract.
        unsafe { D::panel_signed_small::<T>(acc, w, s, x, sums) }
    }
    #[inline(always)]
    unsafe fn panel_pairs(acc: __m256i, c: __m256i, x: *const i16) -> __m256i {
        // SAFETY: the file's contract.
        unsafe { _mm256_add_epi32(acc, _mm256_madd_epi16(c, splat4(x.cast()))) }
    }
    #[inline(always)]
    unsafe fn panel_mul_add(acc: __m256i, a: __m256i, s: __m256i) -> __m256i {
        // SAFETY: the file's contract.
        unsafe { _mm256_add_epi32(acc, _mm256_mullo_epi32(a, s)) }
    }
    #[inline(always)]
    unsafe fn panel_floats(a: __m256i) -> __m256 {
        // SAFETY: the file's contract.
        unsafe { _mm256_cvtepi32_ps(a) }
    }
    #[inline(always)]
    unsafe fn low_halves(a: __m256i) -> __m256 {
        // SAFETY: the file's contract.
        unsafe {
            let v = _mm256_and_si256(a, _mm256_set1_epi32(0xffff));
            let v = _mm256_permute4x64_epi64::<0x08>(_mm256_packus_epi32(v, v));
            _mm256_cvtph_ps(_mm256_castsi256_si128(v))
        }
    }
}

/// An 8 x 8 transpose of 32-bit words: 4 x 4 inside the 128-bit lanes, then of the lanes.
///
/// # Safety
/// The file's contract.
#[inline(always)]
unsafe fn transpose8(r: [__m256i; 8]) -> [__m256i; 8] {
    let mut q = r;
    // SAFETY: the file's contract.
    unsafe {
        for g in [0, 4] {
            let (ab0, ab1) = (_mm256_unpacklo_epi32(r[g], r[g + 1]), _mm256_unpackhi_epi32(r[g], r[g + 1]));
            let (cd0, cd1) = (_mm256_unpacklo_epi32(r[g + 2], r[g + 3]), _mm256_unpackhi_epi32(r[g + 2], r[g + 3]));
            q[g] = _mm256_unpacklo_epi64(ab0, cd0);
            q[g + 1] = _mm256_unpackhi_epi64(ab0, cd0);
            q[g + 2] = _mm256_unpacklo_epi64(ab1, cd1);
            q[g + 3] = _mm256_unpackhi_epi64(ab1, cd1);
        }
        let mut out = q;
        for i in 0..4 {
            out[i] = _mm256_permute2x128_si256::<0x20>(q[i], q[4 + i]);
            out[4 + i] = _mm256_permute2x128_si256::<0x31>(q[i], q[4 + i]);
        }
        out
    }
}
