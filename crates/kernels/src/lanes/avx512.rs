//! AVX-512 F/BW/VL/DQ: 512-bit vectors. What VNNI does better is left to `Products`. Knows no format.
use crate::lanes::{Bytes, Floats, Kernel, Lanes, PAIRS, Words};
use core::arch::x86_64::*;
use core::marker::PhantomData;

/// 512-bit vectors with the byte products of `D`.
#[derive(Clone, Copy)]
pub(crate) struct Zmm<D>(PhantomData<D>);

/// AVX-512 without VNNI.
pub(crate) type Avx512 = Zmm<Plain>;
#[derive(Clone, Copy)]
pub(crate) struct Plain;

// SAFETY of every block in this file: the traits' contract - the CPU has AVX-512 F, BW, VL and DQ (and `D`'s level), and pointers have the
// bytes they promise.

/// Input values and what `Products::signed` starts its sums from.
#[derive(Clone, Copy)]
pub(crate) struct Input {
    pub v: __m512i,
    pub start: __m512i,
}

/// The products that differ between the AVX-512 levels. Safety of all: the CPU has the level.
pub(crate) trait Products: Copy + 'static {
    unsafe fn enter<K: Kernel>(k: &K);
    unsafe fn input(v: __m512i) -> Input;
    /// `acc` plus products of 16-bit pairs.
    unsafe fn pairs(acc: __m512i, a: __m512i, b: __m512i) -> __m512i;
    /// Products of signed bytes, added in fours.
    unsafe fn signed(w: __m512i, x: Input) -> __m512i;
    /// See `Lanes`.
    unsafe fn small_factor(s: __m512i) -> __m512i;
    /// See `Lanes`.
    unsafe fn panel_small<const BITS: u32, const N: usize, const T: usize>(
        acc: &mut [__m512i; T],
        w: &[__m512i; N],
        s: __m512i,
        x: &[*const i8; T],
    );
    /// See `Lanes`.
    unsafe fn panel_unit<const BITS: u32, const T: usize>(start: [__m512i; T], w: &[__m512i; 8], x: &[*const i8; T]) -> [__m512i; T];
    /// See `Lanes`.
    unsafe fn panel_signed<const T: usize>(w: &[__m512i; 8], x: &[*const i8; T], sums: &[i32; T]) -> [__m512i; T];
    /// See `Lanes`.
    unsafe fn panel_signed_small<const T: usize>(acc: &mut [__m512i; T], w: &[__m512i; 8], s: __m512i, x: &[*const i8; T], sums: &[i32; T]);
}

impl Words for __m512i {
    #[inline(always)]
    unsafe fn load(p: *const u8) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm512_loadu_si512(p.cast()) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut u8) {
        // SAFETY: the file's contract.
        unsafe { _mm512_storeu_si512(p.cast(), self) }
    }
    #[inline(always)]
    unsafe fn splat(v: i32) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm512_set1_epi32(v) }
    }
    #[inline(always)]
    unsafe fn and(self, mask: u8) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm512_and_si512(self, _mm512_set1_epi8(mask as i8)) }
    }
    #[inline(always)]
    unsafe fn and_word(self, mask: i32) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm512_and_si512(self, _mm512_set1_epi32(mask)) }
    }
    #[inline(always)]
    unsafe fn or(self, b: Self) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm512_or_si512(self, b) }
    }
    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm512_sub_epi32(self, b) }
    }
    #[inline(always)]
    unsafe fn shr(self, n: u32) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm512_srl_epi32(self, _mm_cvtsi32_si128(n as i32)) }
    }
    #[inline(always)]
    unsafe fn shl(self, n: u32) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm512_sll_epi32(self, _mm_cvtsi32_si128(n as i32)) }
    }
    #[inline(always)]
    unsafe fn lookup(self, table: &[i8; 16]) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast())), self) }
    }
    #[inline(always)]
    unsafe fn byte(self, i: usize) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm512_srai_epi32::<24>(self.shl(24 - 8 * i as u32)) }
    }
    #[inline(always)]
    unsafe fn pair(self, a: usize, b: usize) -> Self {
        // SAFETY: the file's contract.
        unsafe {
            let at = _mm_loadu_si128(PAIRS[4 * a + b].as_ptr().cast());
            _mm512_srai_epi16::<8>(_mm512_shuffle_epi8(self, _mm512_broadcast_i32x4(at)))
        }
    }
}

impl Floats for __m512 {
    #[inline(always)]
    unsafe fn splat(v: f32) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm512_set1_ps(v) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: the file's contract.
        unsafe { _mm512_storeu_ps(p, self) }
    }
    #[inline(always)]
    unsafe fn from_f16(p: *const u16) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(p.cast())) }
    }
    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm512_mul_ps(self, b) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm512_fmadd_ps(self, b, c) }
    }
    #[inline(always)]
    unsafe fn neg_mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm512_fnmadd_ps(self, b, c) }
    }
}

/// Shuffles that spread factors `4 j .. 4 j + 4` of sixteen i16 over the four 128-bit lanes.
const SPREAD: [[u16; 32]; 4] = {
    let mut t = [[0; 32]; 4];
    let mut i = 0;
    while i < 128 {
        t[i / 32][i % 32] = (i / 8) as u16;
        i += 1;
    }
    t
};

/// The factors of pair `J`, spread over the 16-bit lanes of their elements' products.
///
/// # Safety
/// The file's contract.
#[inline(always)]
unsafe fn spread<const J: usize>(s: __m256i) -> __m512i {
    // SAFETY: the file's contract.
    unsafe { _mm512_permutexvar_epi16(_mm512_loadu_si512(SPREAD[J].as_ptr().cast()), _mm512_castsi256_si512(s)) }
}

/// Four bytes of a token's input, in every lane.
///
/// # Safety
/// Four bytes at `p`.
#[inline(always)]
pub(crate) unsafe fn splat4(p: *const i8) -> __m512i {
    // SAFETY: the file's contract.
    unsafe { _mm512_set1_epi32(p.cast::<i32>().read_unaligned()) }
}

/// `x` with the sign of the bytes marked in `neg`, times `|w|`, added in pairs: below 2^15 for |w| <= 128 and |x| <= 127.
///
/// # Safety
/// The file's contract.
#[inline(always)]
unsafe fn signed16(abs: __m512i, neg: __mmask64, x: __m512i) -> __m512i {
    // SAFETY: the file's contract.
    unsafe { _mm512_maddubs_epi16(abs, _mm512_mask_sub_epi8(x, neg, _mm512_setzero_si512(), x)) }
}

impl Products for Plain {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,bmi2,avx512f,avx512bw,avx512vl,avx512dq")]
    unsafe fn enter<K: Kernel>(k: &K) {
        // SAFETY: the CPU has this level by the caller's promise, which also covers the kernel's own contract.
        unsafe { k.run::<Avx512>() }
    }
    #[inline(always)]
    unsafe fn input(v: __m512i) -> Input {
        Input { v, start: v }
    }
    #[inline(always)]
    unsafe fn pairs(acc: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the file's contract.
        unsafe { _mm512_add_epi32(acc, _mm512_madd_epi16(a, b)) }
    }
    #[inline(always)]
    unsafe fn signed(w: __m512i, x: Input) -> __m512i {
        // SAFETY: the file's contract.
        unsafe { _mm512_madd_epi16(signed16(_mm512_abs_epi8(w), _mm512_movepi8_mask(w), x.v), _mm512_set1_epi16(1)) }
    }
    #[inline(always)]
    unsafe fn small_factor(s: __m512i) -> __m512i {
        // SAFETY: the file's contract. Its i16 twice: both halves of a lane's products are multiplied by it.
        unsafe { _mm512_or_si512(_mm512_and_si512(s, _mm512_set1_epi32(0xffff)), _mm512_slli_epi32::<16>(s)) }
    }
    #[inline(always)]
    unsafe fn panel_small<const BITS: u32, const N: usize, const T: usize>(
        acc: &mut [__m512i; T],
        w: &[__m512i; N],
        s: __m512i,
        x: &[*const i8; T],
    ) {
        // How many products of two fit 16 bits: 8 * 2 * 15 * 127, 4 * 2 * 31 * 127, 2 * 2 * 63 * 127 and 2 * 127 * 127 are below 2^15.
        let run = (1 << (7 - BITS)).min(N);
        // SAFETY: the file's contract.
        unsafe {
            for first in (0..N).step_by(run) {
                let mut sums = [_mm512_setzero_si512(); T];
                for (i, &w) in w.iter().enumerate().skip(first).take(run) {
                    for t in 0..T {
                        sums[t] = _mm512_add_epi16(sums[t], _mm512_maddubs_epi16(w, splat4(x[t].add(4 * i))));
                    }
                }
                for t in 0..T {
                    acc[t] = Self::pairs(acc[t], sums[t], s);
                }
            }
        }
    }
    #[inline(always)]
    unsafe fn panel_unit<const BITS: u32, const T: usize>(start: [__m512i; T], w: &[__m512i; 8], x: &[*const i8; T]) -> [__m512i; T] {
        let mut acc = start;
        // SAFETY: the file's contract.
        unsafe { Self::panel_small::<BITS, 8, T>(&mut acc, w, _mm512_set1_epi16(1), x) };
        acc
    }
    #[inline(always)]
    unsafe fn panel_signed<const T: usize>(w: &[__m512i; 8], x: &[*const i8; T], sums: &[i32; T]) -> [__m512i; T] {
        // SAFETY: the file's contract.
        unsafe {
            let mut acc = [_mm512_setzero_si512(); T];
            Self::panel_signed_small::<T>(&mut acc, w, _mm512_set1_epi16(1), x, sums);
            acc
        }
    }
    #[inline(always)]
    unsafe fn panel_signed_small<const T: usize>(
        acc: &mut [__m512i; T],
        w: &[__m512i; 8],
        s: __m512i,
        x: &[*const i8; T],
        _sums: &[i32; T],
    ) {
        // SAFETY: the file's contract.
        unsafe {
            for (i, &w) in w.iter().enumerate() {
                let (abs, neg) = (_mm512_abs_epi8(w), _mm512_movepi8_mask(w));
                for t in 0..T {
                    acc[t] = Self::pairs(acc[t], signed16(abs, neg, splat4(x[t].add(4 * i))), s);
                }
            }
        }
    }
}

/// Eight vectors' sums with the lower and the upper 256 bits apart, a lane per vector: a tree of transposing adds.
///
/// # Safety
/// The file's contract.
#[inline(always)]
unsafe fn reduce8(a: [__m512i; 8]) -> [__m256i; 2] {
    // SAFETY: the file's contract.
    unsafe {
        let [lo, hi] = halves8(a);
        // 128-bit lanes: [lo first half, lo second, hi first, hi second]
        let v = _mm512_add_epi32(_mm512_shuffle_i32x4::<0x88>(lo, hi), _mm512_shuffle_i32x4::<0xdd>(lo, hi));
        let v = _mm512_shuffle_i32x4::<0xd8>(v, v);
        [_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64::<1>(v)]
    }
}

/// Four vectors' sums of each 128 bits, a lane per vector, and those of the other four.
///
/// # Safety
/// The file's contract.
#[inline(always)]
unsafe fn halves8(a: [__m512i; 8]) -> [__m512i; 2] {
    // SAFETY: the file's contract.
    unsafe { [add4(add2(a[0], a[1]), add2(a[2], a[3])), add4(add2(a[4], a[5]), add2(a[6], a[7]))] }
}

/// # Safety
/// The file's contract.
#[inline(always)]
unsafe fn add2(a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: the file's contract.
    unsafe { _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b)) }
}

/// # Safety
/// The file's contract.
#[inline(always)]
unsafe fn add4(a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: the file's contract.
    unsafe { _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b)) }
}

impl<D: Products> Bytes for Zmm<D> {
    type V = __m512i;

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
    unsafe fn words(w: [u64; 8]) -> __m512i {
        let [a, b, c, d, e, f, g, h] = w;
        // SAFETY: the file's contract.
        unsafe { _mm512_setr_epi64(a as i64, b as i64, c as i64, d as i64, e as i64, f as i64, g as i64, h as i64) }
    }
    #[inline(always)]
    unsafe fn half_words(w: [i32; 16]) -> __m512i {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = w;
        // SAFETY: the file's contract.
        unsafe { _mm512_setr_epi32(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p) }
    }
    #[inline(always)]
    unsafe fn store(v: __m512i, p: *mut u8) {
        // SAFETY: the file's contract.
        unsafe { _mm512_storeu_si512(p.cast(), v) }
    }
    #[inline(always)]
    unsafe fn and(v: __m512i, mask: u8) -> __m512i {
        // SAFETY: the file's contract.
        unsafe { _mm512_and_si512(v, _mm512_set1_epi8(mask as i8)) }
    }
    #[inline(always)]
    unsafe fn lookup(v: __m512i, table: &[i8; 16]) -> __m512i {
        // SAFETY: the file's contract.
        unsafe { _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast())), v) }
    }
    #[inline(always)]
    unsafe fn signed(centre: i8, v: __m512i, negative: u64) -> __m512i {
        // SAFETY: the file's contract.
        unsafe {
            let centre = _mm512_set1_epi8(centre);
            _mm512_mask_sub_epi8(_mm512_add_epi8(centre, v), negative, centre, v)
        }
    }
    #[inline(always)]
    unsafe fn times(v: __m512i, by: &[u16; 32]) -> __m512i {
        // SAFETY: the file's contract.
        unsafe {
            let (by, low) = (_mm512_loadu_si512(by.as_ptr().cast()), _mm512_set1_epi16(255));
            let odd = _mm512_mullo_epi16(_mm512_andnot_si512(low, v), by);
            _mm512_or_si512(_mm512_and_si512(_mm512_mullo_epi16(v, by), low), odd)
        }
    }
    #[inline(always)]
    unsafe fn thirds(v: __m512i) -> __m512i {
        // SAFETY: the file's contract.
        unsafe {
            let (one, third) = (_mm512_set1_epi8(1), _mm512_set1_epi8(85));
            let (a, b) = (_mm512_subs_epu8(v, third), _mm512_subs_epu8(v, _mm512_add_epi8(third, third)));
            _mm512_add_epi8(_mm512_min_epu8(a, one), _mm512_min_epu8(b, one))
        }
    }
}

impl<D: Products> Lanes for Zmm<D> {
    const ROWS: usize = 16;
    const TILE: usize = 8;
    type X = Input;
    type S = __m256i;
    type A = __m512i;
    type I = __m256i;
    type F = __m256;
    type P = __m512i;
    type G = __m512;

    #[inline(always)]
    unsafe fn enter<K: Kernel>(k: &K) {
        // SAFETY: the file's contract.
        unsafe { D::enter(k) }
    }

    #[inline(always)]
    unsafe fn load(a: *const u8, b: *const u8) -> __m512i {
        // SAFETY: the file's contract.
        unsafe { _mm512_inserti64x4::<1>(_mm512_castsi256_si512(_mm256_loadu_si256(a.cast())), _mm256_loadu_si256(b.cast())) }
    }
    #[inline(always)]
    unsafe fn nibbles(a: *const u8, b: *const u8) -> __m512i {
        // SAFETY: the file's contract.
        unsafe {
            let a = _mm256_broadcastsi128_si256(_mm_loadu_si128(a.cast()));
            let b = _mm256_broadcastsi128_si256(_mm_loadu_si128(b.cast()));
            let v = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(a), b);
            _mm512_and_si512(_mm512_srlv_epi64(v, _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4)), _mm512_set1_epi8(15))
        }
    }
    #[inline(always)]
    unsafe fn shr<const A: u32, const B: u32>(v: __m512i) -> __m512i {
        let (a, b) = (i64::from(A), i64::from(B));
        // SAFETY: the file's contract.
        unsafe { _mm512_srlv_epi64(v, _mm512_setr_epi64(a, a, a, a, b, b, b, b)) }
    }
    #[inline(always)]
    unsafe fn shl4(v: __m512i) -> __m512i {
        // SAFETY: the file's contract.
        unsafe { _mm512_slli_epi16::<4>(v) }
    }
    #[inline(always)]
    unsafe fn or(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the file's contract.
        unsafe { _mm512_or_si512(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(v: __m512i, b: u8) -> __m512i {
        // SAFETY: the file's contract.
        unsafe { _mm512_sub_epi8(v, _mm512_set1_epi8(b as i8)) }
    }
    #[inline(always)]
    unsafe fn input(a: *const i8, b: *const i8) -> Input {
        // SAFETY: the file's contract.
        unsafe { D::input(Self::load(a.cast(), b.cast())) }
    }

    #[inline(always)]
    unsafe fn factors8(s: u64) -> __m256i {
        // SAFETY: the file's contract.
        unsafe {
            let b = _mm_cvtsi64_si128(s as i64);
            _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(b, b))
        }
    }
    #[inline(always)]
    unsafe fn factors(s: [u64; 2]) -> __m256i {
        // SAFETY: the file's contract.
        unsafe { _mm256_cvtepi8_epi16(_mm_set_epi64x(s[1] as i64, s[0] as i64)) }
    }
    #[inline(always)]
    unsafe fn factors16(p: *const i8) -> __m256i {
        // SAFETY: the file's contract.
        unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(p.cast())) }
    }
    #[inline(always)]
    unsafe fn dot_sums(s: __m256i, sums: *const i16) -> __m512i {
        // SAFETY: the file's contract.
        unsafe { _mm512_zextsi256_si512(_mm256_madd_epi16(s, _mm256_loadu_si256(sums.cast()))) }
    }

    #[inline(always)]
    unsafe fn zero() -> __m512i {
        // SAFETY: the file's contract.
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    unsafe fn dot_small<const J: usize>(acc: __m512i, w: __m512i, x: __m512i, s: __m256i) -> __m512i {
        // SAFETY: the file's contract. 2 * 127 * 127 < 2^15.
        unsafe { D::pairs(acc, _mm512_maddubs_epi16(w, x), spread::<J>(s)) }
    }
    #[inline(always)]
    unsafe fn dot_signed<const J: usize>(acc: __m512i, w: __m512i, x: Input, s: __m256i) -> __m512i {
        // SAFETY: the file's contract. The shift leaves the signed factor in each 32-bit lane.
        unsafe { _mm512_add_epi32(acc, _mm512_mullo_epi32(D::signed(w, x), _mm512_srai_epi32::<16>(spread::<J>(s)))) }
    }
    #[inline(always)]
    unsafe fn dot_plain(w: __m512i, x: Input) -> __m512i {
        // SAFETY: the file's contract.
        unsafe { D::signed(w, x) }
    }
    #[inline(always)]
    unsafe fn sum_signed(x: __m512i, negative: u64) -> __m512i {
        // SAFETY: the file's contract. From 0 it is `127 + x` to there, from 254 `127 - x`.
        unsafe {
            let above = _mm512_add_epi8(x, _mm512_set1_epi8(127));
            let sums = _mm512_sad_epu8(above, _mm512_maskz_set1_epi8(negative, 254u8 as i8));
            _mm512_sub_epi32(sums, _mm512_set1_epi64(8 * 127))
        }
    }
    #[inline(always)]
    unsafe fn reduce(a: [__m512i; 8]) -> __m256i {
        // SAFETY: the file's contract.
        unsafe {
            let [lo, hi] = reduce8(a);
            _mm256_add_epi32(lo, hi)
        }
    }
    #[inline(always)]
    unsafe fn reduce_halves(a: [__m512i; 8]) -> [__m256i; 2] {
        // SAFETY: the file's contract.
        unsafe { reduce8(a) }
    }
    #[inline(always)]
    unsafe fn reduce_quarters(a: [__m512i; 8]) -> [__m256i; 4] {
        // SAFETY: the file's contract.
        unsafe {
            let [a, b] = halves8(a);
            let [ab0, ab1] = [_mm512_shuffle_i32x4::<0x44>(a, b), _mm512_shuffle_i32x4::<0xee>(a, b)];
            let [v, w] = [_mm512_shuffle_i32x4::<0xd8>(ab0, ab0), _mm512_shuffle_i32x4::<0xd8>(ab1, ab1)];
            let low = _mm512_castsi512_si256;
            [low(v), _mm512_extracti64x4_epi64::<1>(v), low(w), _mm512_extracti64x4_epi64::<1>(w)]
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
        // SAFETY: the file's contract: 64 bytes of each row, 1024 bytes out.
        unsafe {
            let mut r = [_mm512_setzero_si512(); 16];
            for (r, row) in r.iter_mut().zip(rows) {
                *r = _mm512_loadu_si512(row.cast());
            }
            let r = transpose16(r);
            for (i, v) in r.into_iter().enumerate() {
                _mm512_storeu_si512(out.add(64 * i).cast(), v);
            }
        }
    }
    #[inline(always)]
    unsafe fn small_factor(s: __m512i) -> __m512i {
        // SAFETY: the file's contract.
        unsafe { D::small_factor(s) }
    }
    #[inline(always)]
    unsafe fn panel_small<const BITS: u32, const N: usize, const T: usize>(
        acc: &mut [__m512i; T],
        w: &[__m512i; N],
        s: __m512i,
        x: &[*const i8; T],
    ) {
        // SAFETY: the file's contract.
        unsafe { D::panel_small::<BITS, N, T>(acc, w, s, x) }
    }
    #[inline(always)]
    unsafe fn panel_unit<const BITS: u32, const T: usize>(start: [__m512i; T], w: &[__m512i; 8], x: &[*const i8; T]) -> [__m512i; T] {
        // SAFETY: the file's contract.
        unsafe { D::panel_unit::<BITS, T>(start, w, x) }
    }
    #[inline(always)]
    unsafe fn panel_signed<const T: usize>(w: &[__m512i; 8], x: &[*const i8; T], sums: &[i32; T]) -> [__m512i; T] {
        // SAFETY: the file's contract.
        unsafe { D::panel_signed::<T>(w, x, sums) }
    }
    #[inline(always)]
    unsafe fn panel_signed_small<const T: usize>(
        acc: &mut [__m512i; T],
        w: &[__m512i; 8],
        s: __m512i,
        x: &[*const i8; T],
        sums: &[i32; T],
    ) {
        // SAFETY: the file's contract.
        unsafe { D::panel_signed_small::<T>(acc, w, s, x, sums) }
    }
    #[inline(always)]
    unsafe fn panel_pairs(acc: __m512i, c: __m512i, x: *const i16) -> __m512i {
        // SAFETY: the file's contract.
        unsafe { D::pairs(acc, c, splat4(x.cast())) }
    }
    #[inline(always)]
    unsafe fn panel_mul_add(acc: __m512i, a: __m512i, s: __m512i) -> __m512i {
        // SAFETY: the file's contract.
        unsafe { _mm512_add_epi32(acc, _mm512_mullo_epi32(a, s)) }
    }
    #[inline(always)]
    unsafe fn panel_floats(a: __m512i) -> __m512 {
        // SAFETY: the file's contract.
        unsafe { _mm512_cvtepi32_ps(a) }
    }
    #[inline(always)]
    unsafe fn low_halves(a: __m512i) -> __m512 {
        // SAFETY: the file's contract.
        unsafe { _mm512_cvtph_ps(_mm512_cvtepi32_epi16(a)) }
    }
}

/// A 16 x 16 transpose of 32-bit words: 4 x 4 inside the 128-bit lanes, then of the lanes.
///
/// # Safety
/// The file's contract.
#[inline(always)]
unsafe fn transpose16(r: [__m512i; 16]) -> [__m512i; 16] {
    let mut q = r;
    // SAFETY: the file's contract.
    unsafe {
        for g in 0..4 {
            let (a, b, c, d) = (r[4 * g], r[4 * g + 1], r[4 * g + 2], r[4 * g + 3]);
            let (ab0, ab1) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
            let (cd0, cd1) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
            q[4 * g] = _mm512_unpacklo_epi64(ab0, cd0);
            q[4 * g + 1] = _mm512_unpackhi_epi64(ab0, cd0);
            q[4 * g + 2] = _mm512_unpacklo_epi64(ab1, cd1);
            q[4 * g + 3] = _mm512_unpackhi_epi64(ab1, cd1);
        }
        // q[4 g + i], lane l: word 4 l + i of rows 4 g .. 4 g + 4
        let mut out = q;
        for i in 0..4 {
            let (a, b, c, d) = (q[i], q[4 + i], q[8 + i], q[12 + i]);
            let (ab0, ab1) = (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b));
            let (cd0, cd1) = (_mm512_shuffle_i32x4::<0x88>(c, d), _mm512_shuffle_i32x4::<0xdd>(c, d));
            out[i] = _mm512_shuffle_i32x4::<0x88>(ab0, cd0);
            out[4 + i] = _mm512_shuffle_i32x4::<0x88>(ab1, cd1);
            out[8 + i] = _mm512_shuffle_i32x4::<0xdd>(ab0, cd0);
            out[12 + i] = _mm512_shuffle_i32x4::<0xdd>(ab1, cd1);
        }
        out
    }
}
