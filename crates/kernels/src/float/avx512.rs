//! `Simd` in AVX-512: one register of 16 lanes.

use super::simd::{N, Simd};
use std::arch::x86_64::*;

/// The proof of AVX-512 F, BW, VL, DQ (and with them AVX2, FMA, F16C).
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
    pub(crate) fn new() -> Avx512 {
        Avx512(())
    }
}

/// Runs intrinsics that need only the ISA, or a reference of the right size.
macro_rules! isa {
    ($e:expr) => {
        // SAFETY: `self` exists only where the CPU has the ISA; pointers come from references that cover what is read or written.
        unsafe { $e }
    };
}

/// Eight lanes: 4, 2, 1 apart.
///
/// # Safety
/// The CPU has AVX2.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn sum8(x: __m256) -> f32 {
    let x = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
    let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)))
}

/// Four lanes: 2, 1 apart.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn sum4d(x: __m256d) -> f64 {
    let x = _mm_add_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd::<1>(x));
    _mm_cvtsd_f64(_mm_add_sd(x, _mm_unpackhi_pd(x, x)))
}

/// Lanes 8 apart of `a` (low half) and `b` (high half).
#[inline]
#[target_feature(enable = "avx512f")]
fn fold8(a: __m512, b: __m512) -> __m512 {
    _mm512_add_ps(_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0xEE>(a, b))
}

/// Lanes 4 apart of two `fold8`s: one 128-bit block per input.
#[inline]
#[target_feature(enable = "avx512f")]
fn fold4(x: [__m512; 4]) -> __m512 {
    let (a, b) = (fold8(x[0], x[1]), fold8(x[2], x[3]));
    _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xDD>(a, b))
}

/// Lanes 2 apart inside each block: [a, a, b, b] per block.
#[inline]
#[target_feature(enable = "avx512f")]
fn fold2(a: __m512, b: __m512) -> __m512 {
    _mm512_add_ps(_mm512_shuffle_ps::<0x44>(a, b), _mm512_shuffle_ps::<0xEE>(a, b))
}

/// Neighbours inside each block: [a's two, b's two].
#[inline]
#[target_feature(enable = "avx512f")]
fn fold1(a: __m512, b: __m512) -> __m512 {
    _mm512_add_ps(_mm512_shuffle_ps::<0x88>(a, b), _mm512_shuffle_ps::<0xDD>(a, b))
}

impl Simd for Avx512 {
    type F = __m512;
    type D = [__m512d; 2];
    const WIDE: bool = true;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        isa!(_mm512_set1_ps(x))
    }
    #[inline(always)]
    fn load(self, x: &[f32; N]) -> __m512 {
        isa!(_mm512_loadu_ps(x.as_ptr()))
    }
    #[inline(always)]
    fn store(self, x: __m512, out: &mut [f32; N]) {
        isa!(_mm512_storeu_ps(out.as_mut_ptr(), x))
    }
    #[inline(always)]
    fn load_f16(self, x: &[u8; 32]) -> __m512 {
        isa!(_mm512_cvtph_ps(_mm256_loadu_si256(x.as_ptr().cast())))
    }
    #[inline(always)]
    fn splat_f16(self, x: [u8; 2]) -> __m512 {
        isa!(_mm512_cvtph_ps(_mm256_set1_epi16(i16::from_le_bytes(x))))
    }
    #[inline(always)]
    fn store_f16(self, x: __m512, out: &mut [u8; 32]) {
        isa!(_mm256_storeu_si256(out.as_mut_ptr().cast(), _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x)))
    }
    #[inline(always)]
    fn load_bf16(self, x: &[u8; 32]) -> __m512 {
        isa!(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(x.as_ptr().cast())))))
    }
    #[inline(always)]
    fn load_i8(self, x: &[u8; N]) -> __m512 {
        isa!(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(x.as_ptr().cast()))))
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        isa!(_mm512_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        isa!(_mm512_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        isa!(_mm512_mul_ps(a, b))
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        isa!(_mm512_div_ps(a, b))
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        isa!(_mm512_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        isa!(_mm512_max_ps(a, b))
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        isa!(_mm512_min_ps(a, b))
    }
    #[inline(always)]
    fn round(self, a: __m512) -> __m512 {
        isa!(_mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a))
    }
    #[inline(always)]
    fn mul_pow2(self, a: __m512, n: __m512) -> __m512 {
        isa!(_mm512_scalef_ps(a, n))
    }
    #[inline(always)]
    fn abs(self, a: __m512) -> __m512 {
        isa!(_mm512_abs_ps(a))
    }
    #[inline(always)]
    fn copysign(self, a: __m512, b: __m512) -> __m512 {
        isa!(_mm512_or_ps(_mm512_abs_ps(a), _mm512_and_ps(b, _mm512_set1_ps(-0.0))))
    }
    #[inline(always)]
    fn if_lt(self, a: __m512, b: __m512, x: __m512, y: __m512) -> __m512 {
        isa!(_mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), y, x))
    }
    #[inline(always)]
    fn pick(self, m: u16, x: __m512, y: __m512) -> __m512 {
        isa!(_mm512_mask_blend_ps(m, y, x))
    }
    #[inline(always)]
    fn zero_d(self) -> [__m512d; 2] {
        isa!([_mm512_setzero_pd(); 2])
    }
    #[inline(always)]
    fn add_d(self, acc: [__m512d; 2], x: __m512) -> [__m512d; 2] {
        isa!({
            let (lo, hi) = (_mm512_castps512_ps256(x), _mm512_extractf32x8_ps::<1>(x));
            [_mm512_add_pd(acc[0], _mm512_cvtps_pd(lo)), _mm512_add_pd(acc[1], _mm512_cvtps_pd(hi))]
        })
    }
    #[inline(always)]
    fn sum_d(self, x: [__m512d; 2]) -> f64 {
        isa!({
            let x = _mm512_add_pd(x[0], x[1]);
            sum4d(_mm256_add_pd(_mm512_castpd512_pd256(x), _mm512_extractf64x4_pd::<1>(x)))
        })
    }
    #[inline(always)]
    fn sum(self, x: __m512) -> f32 {
        isa!(sum8(_mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps::<1>(x))))
    }
    #[inline(always)]
    fn max_lane(self, x: __m512) -> f32 {
        isa!(_mm512_reduce_max_ps(x))
    }
    #[inline(always)]
    fn sum4(self, x: [__m512; 4]) -> [f32; 4] {
        isa!({
            let x = fold4(x);
            let x = fold2(x, x);
            let x = fold1(x, x);
            // One sum per block, in each of its lanes.
            let blocks = _mm512_permutexvar_ps(_mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), x);
            let mut out = [0.0; 4];
            _mm_storeu_ps(out.as_mut_ptr(), _mm512_castps512_ps128(blocks));
            out
        })
    }
    #[inline(always)]
    fn sum16(self, x: [[__m512; 4]; 4]) -> [[f32; 4]; 4] {
        isa!({
            // Block b of quad e: input [b][e], so that a block ends up as one row of the answer.
            let [r, s, t, u] = x;
            let (a, b) = (fold4([r[0], s[0], t[0], u[0]]), fold4([r[1], s[1], t[1], u[1]]));
            let (c, d) = (fold4([r[2], s[2], t[2], u[2]]), fold4([r[3], s[3], t[3], u[3]]));
            let all = fold1(fold2(a, b), fold2(c, d));
            let mut out = [[0.0; 4]; 4];
            _mm512_storeu_ps(out.as_mut_ptr().cast(), all);
            out
        })
    }
}
