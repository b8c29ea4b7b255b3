//! `Simd` in AVX2 with FMA and F16C: two registers of 8 lanes.

use super::avx512::{sum4d, sum8};
use super::simd::{N, Simd};
use std::arch::x86_64::*;

/// The proof of AVX2, FMA and F16C.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(crate) fn new() -> Avx2 {
        Avx2(())
    }
}

/// Runs intrinsics that need only the ISA, or a reference of the right size.
macro_rules! isa {
    ($e:expr) => {
        // SAFETY: `self` exists only where the CPU has the ISA; pointers come from references that cover what is read or written.
        unsafe { $e }
    };
}

/// 2^n for integral n in -126..=127, built in the exponent.
#[inline]
#[target_feature(enable = "avx2")]
fn pow2(n: __m256) -> __m256 {
    let n = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    _mm256_castsi256_ps(_mm256_slli_epi32::<23>(n))
}

/// Multiplies by 2^(n/2) and the rest; the first product is exact, so the pair rounds once.
#[inline]
#[target_feature(enable = "avx2")]
fn mul_pow2(a: __m256, n: __m256) -> __m256 {
    let half = _mm256_floor_ps(_mm256_mul_ps(n, _mm256_set1_ps(0.5)));
    _mm256_mul_ps(_mm256_mul_ps(a, pow2(half)), pow2(_mm256_sub_ps(n, half)))
}

/// Lanes whose bit in the low byte of `m` is set.
#[inline]
#[target_feature(enable = "avx2")]
fn bits(m: u16) -> __m256 {
    let bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(i32::from(m)), bit), bit))
}

#[inline]
#[target_feature(enable = "avx2")]
fn bf16(x: __m128i) -> __m256 {
    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(x)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn int8(x: __m128i) -> __m256 {
    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(x))
}

#[inline]
#[target_feature(enable = "avx2")]
fn round(x: __m256) -> __m256 {
    _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x)
}

/// a < b ? x : y.
#[inline]
#[target_feature(enable = "avx2")]
fn if_lt(a: __m256, b: __m256, x: __m256, y: __m256) -> __m256 {
    _mm256_blendv_ps(y, x, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b))
}

#[inline]
#[target_feature(enable = "avx2")]
fn copysign(a: __m256, b: __m256) -> __m256 {
    let sign = _mm256_set1_ps(-0.0);
    _mm256_or_ps(_mm256_andnot_ps(sign, a), _mm256_and_ps(b, sign))
}

#[inline]
#[target_feature(enable = "avx2")]
fn add_d(acc: [__m256d; 2], x: __m256) -> [__m256d; 2] {
    let (lo, hi) = (_mm256_cvtps_pd(_mm256_castps256_ps128(x)), _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(x)));
    [_mm256_add_pd(acc[0], lo), _mm256_add_pd(acc[1], hi)]
}

/// Lanes 4 apart of `a` (low half) and `b` (high half).
#[inline]
#[target_feature(enable = "avx2")]
fn fold4(a: __m256, b: __m256) -> __m256 {
    _mm256_add_ps(_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b))
}

/// Four sums of 8 lanes, 4, 2, 1 apart.
#[inline]
#[target_feature(enable = "avx2")]
fn sum4x8(x: [__m256; 4]) -> [f32; 4] {
    let (a, b) = (fold4(x[0], x[1]), fold4(x[2], x[3]));
    // Halves now hold [x0 | x1] and [x2 | x3]; then [x0 x0 x2 x2 | x1 x1 x3 x3].
    let c = _mm256_add_ps(_mm256_shuffle_ps::<0x44>(a, b), _mm256_shuffle_ps::<0xEE>(a, b));
    let d = _mm256_add_ps(_mm256_shuffle_ps::<0x88>(c, c), _mm256_shuffle_ps::<0xDD>(c, c));
    let mut out = [0.0; 4];
    let both = _mm_unpacklo_ps(_mm256_castps256_ps128(d), _mm256_extractf128_ps::<1>(d));
    // SAFETY: `out` has room for four floats.
    unsafe { _mm_storeu_ps(out.as_mut_ptr(), both) };
    out
}

impl Simd for Avx2 {
    type F = [__m256; 2];
    type D = [[__m256d; 2]; 2];
    const WIDE: bool = false;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        isa!([_mm256_set1_ps(x); 2])
    }
    #[inline(always)]
    fn load(self, x: &[f32; N]) -> Self::F {
        isa!([_mm256_loadu_ps(x.as_ptr()), _mm256_loadu_ps(x.as_ptr().add(8))])
    }
    #[inline(always)]
    fn store(self, x: Self::F, out: &mut [f32; N]) {
        isa!({
            _mm256_storeu_ps(out.as_mut_ptr(), x[0]);
            _mm256_storeu_ps(out.as_mut_ptr().add(8), x[1]);
        })
    }
    #[inline(always)]
    fn load_f16(self, x: &[u8; 32]) -> Self::F {
        isa!([_mm256_cvtph_ps(_mm_loadu_si128(x.as_ptr().cast())), _mm256_cvtph_ps(_mm_loadu_si128(x.as_ptr().add(16).cast()))])
    }
    #[inline(always)]
    fn splat_f16(self, x: [u8; 2]) -> Self::F {
        isa!([_mm256_cvtph_ps(_mm_set1_epi16(i16::from_le_bytes(x))); 2])
    }
    #[inline(always)]
    fn store_f16(self, x: Self::F, out: &mut [u8; 32]) {
        isa!({
            _mm_storeu_si128(out.as_mut_ptr().cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x[0]));
            _mm_storeu_si128(out.as_mut_ptr().add(16).cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x[1]));
        })
    }
    #[inline(always)]
    fn load_bf16(self, x: &[u8; 32]) -> Self::F {
        isa!([bf16(_mm_loadu_si128(x.as_ptr().cast())), bf16(_mm_loadu_si128(x.as_ptr().add(16).cast()))])
    }
    #[inline(always)]
    fn load_i8(self, x: &[u8; N]) -> Self::F {
        isa!({
            let x = _mm_loadu_si128(x.as_ptr().cast());
            [int8(x), int8(_mm_srli_si128::<8>(x))]
        })
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        isa!([_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])])
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        isa!([_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])])
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        isa!([_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])])
    }
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        isa!([_mm256_div_ps(a[0], b[0]), _mm256_div_ps(a[1], b[1])])
    }
    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        isa!([_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])])
    }
    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        isa!([_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])])
    }
    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        isa!([_mm256_min_ps(a[0], b[0]), _mm256_min_ps(a[1], b[1])])
    }
    #[inline(always)]
    fn round(self, a: Self::F) -> Self::F {
        isa!([round(a[0]), round(a[1])])
    }
    #[inline(always)]
    fn mul_pow2(self, a: Self::F, n: Self::F) -> Self::F {
        isa!([mul_pow2(a[0], n[0]), mul_pow2(a[1], n[1])])
    }
    #[inline(always)]
    fn abs(self, a: Self::F) -> Self::F {
        isa!([_mm256_andnot_ps(_mm256_set1_ps(-0.0), a[0]), _mm256_andnot_ps(_mm256_set1_ps(-0.0), a[1])])
    }
    #[inline(always)]
    fn copysign(self, a: Self::F, b: Self::F) -> Self::F {
        isa!([copysign(a[0], b[0]), copysign(a[1], b[1])])
    }
    #[inline(always)]
    fn if_lt(self, a: Self::F, b: Self::F, x: Self::F, y: Self::F) -> Self::F {
        isa!([if_lt(a[0], b[0], x[0], y[0]), if_lt(a[1], b[1], x[1], y[1])])
    }
    #[inline(always)]
    fn pick(self, m: u16, x: Self::F, y: Self::F) -> Self::F {
        isa!([_mm256_blendv_ps(y[0], x[0], bits(m)), _mm256_blendv_ps(y[1], x[1], bits(m >> 8))])
    }
    #[inline(always)]
    fn zero_d(self) -> Self::D {
        isa!([[_mm256_setzero_pd(); 2]; 2])
    }
    #[inline(always)]
    fn add_d(self, acc: Self::D, x: Self::F) -> Self::D {
        isa!([add_d(acc[0], x[0]), add_d(acc[1], x[1])])
    }
    #[inline(always)]
    fn sum_d(self, x: Self::D) -> f64 {
        isa!({
            let (a, b) = (_mm256_add_pd(x[0][0], x[1][0]), _mm256_add_pd(x[0][1], x[1][1]));
            sum4d(_mm256_add_pd(a, b))
        })
    }
    #[inline(always)]
    fn sum(self, x: Self::F) -> f32 {
        isa!(sum8(_mm256_add_ps(x[0], x[1])))
    }
    #[inline(always)]
    fn max_lane(self, x: Self::F) -> f32 {
        isa!({
            let x = _mm256_max_ps(x[0], x[1]);
            let x = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let x = _mm_max_ps(x, _mm_movehl_ps(x, x));
            _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)))
        })
    }
    #[inline(always)]
    fn sum4(self, x: [Self::F; 4]) -> [f32; 4] {
        isa!({
            let (a, b) = (_mm256_add_ps(x[0][0], x[0][1]), _mm256_add_ps(x[1][0], x[1][1]));
            let (c, d) = (_mm256_add_ps(x[2][0], x[2][1]), _mm256_add_ps(x[3][0], x[3][1]));
            sum4x8([a, b, c, d])
        })
    }
}
