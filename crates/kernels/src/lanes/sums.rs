//! What a float product needs of an instruction set: registers of sums over k. Knows no format and no order beyond one fold.
//!
//! A row's product with a token is sixteen sums (`quant::float` says of what); a register holds `LANES` of them.
use core::arch::x86_64::*;

/// A body that runs inside `Sums::enter`, compiled for that instruction set.
pub(crate) trait Body {
    /// # Safety
    /// The CPU has the instruction set it is entered with; the body's own contract.
    unsafe fn run(&self);
}

/// A register of sums.
///
/// Safety of every function: the CPU has the instruction set, and a pointer has `LANES` elements, at any address.
pub(crate) trait Sums: Copy + 'static {
    const LANES: usize;
    /// Runs `b` with this instruction set enabled, in a function of its own.
    unsafe fn enter<B: Body>(b: &B);
    unsafe fn zero() -> Self;
    unsafe fn load(p: *const f32) -> Self;
    unsafe fn load_f16(p: *const u16) -> Self;
    unsafe fn load_bf16(p: *const u16) -> Self;
    unsafe fn store(self, p: *mut f32);
    /// `self * b + c`, rounded once.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    /// Four times sixteen sums, `[4][16]` at `p`, to four floats at `out`: folded 16 -> 8 -> 4 -> 2 -> 1, lane `l` taking lane `l + half`.
    unsafe fn fold4(p: *const f32, out: *mut f32);
}

// SAFETY of every block in this file: the trait's contract.

impl Sums for __m512 {
    const LANES: usize = 16;
    unsafe fn enter<B: Body>(b: &B) {
        // SAFETY: the file's contract, and the body's.
        unsafe { in512(b) }
    }
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm512_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(p.cast())) }
    }
    #[inline(always)]
    unsafe fn load_bf16(p: *const u16) -> Self {
        // SAFETY: the file's contract. A bf16 is the upper half of a float.
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast())))) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: the file's contract.
        unsafe { _mm512_storeu_ps(p, self) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm512_fmadd_ps(self, b, c) }
    }
    #[inline(always)]
    unsafe fn fold4(p: *const f32, out: *mut f32) {
        // SAFETY: the file's contract.
        unsafe {
            let (a, b) =
                (eights(_mm512_loadu_ps(p), _mm512_loadu_ps(p.add(16))), eights(_mm512_loadu_ps(p.add(32)), _mm512_loadu_ps(p.add(48))));
            // The 128-bit lanes of `a`: two of the first sum's eight, two of the second's; `fours`: one lane a sum.
            let fours = _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
            let twos = _mm512_add_ps(fours, _mm512_permute_ps::<0b11_10_11_10>(fours));
            let ones = _mm512_add_ps(twos, _mm512_permute_ps::<0b01_01_01_01>(twos));
            _mm_storeu_ps(out, _mm512_castps512_ps128(_mm512_maskz_compress_ps(0x1111, ones)));
        }
    }
}

/// The first folds of two vectors: eight lanes of `a`, eight of `b`.
///
/// # Safety
/// The CPU has AVX-512 F.
#[inline(always)]
unsafe fn eights(a: __m512, b: __m512) -> __m512 {
    // SAFETY: the file's contract.
    unsafe { _mm512_add_ps(_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0xee>(a, b)) }
}

impl Sums for __m256 {
    const LANES: usize = 8;
    unsafe fn enter<B: Body>(b: &B) {
        // SAFETY: the file's contract, and the body's.
        unsafe { in256(b) }
    }
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm256_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(p.cast())) }
    }
    #[inline(always)]
    unsafe fn load_bf16(p: *const u16) -> Self {
        // SAFETY: the file's contract. A bf16 is the upper half of a float.
        unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast())))) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: the file's contract.
        unsafe { _mm256_storeu_ps(p, self) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: the file's contract.
        unsafe { _mm256_fmadd_ps(self, b, c) }
    }
    #[inline(always)]
    unsafe fn fold4(p: *const f32, out: *mut f32) {
        // SAFETY: the file's contract.
        unsafe {
            let four = |p: *const f32| {
                let eight = _mm256_add_ps(_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8)));
                _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight))
            };
            let (a, b, c, d) = (four(p), four(p.add(16)), four(p.add(32)), four(p.add(48)));
            // Two lanes of `a`, two of `b`; then one each.
            let ab = _mm_add_ps(_mm_movelh_ps(a, b), _mm_movehl_ps(b, a));
            let cd = _mm_add_ps(_mm_movelh_ps(c, d), _mm_movehl_ps(d, c));
            _mm_storeu_ps(out, _mm_add_ps(_mm_shuffle_ps::<0b10_00_10_00>(ab, cd), _mm_shuffle_ps::<0b11_01_11_01>(ab, cd)));
        }
    }
}

/// # Safety
/// The file's contract, and the body's.
#[target_feature(enable = "avx2,fma,f16c,bmi2,avx512f,avx512bw,avx512vl,avx512dq")]
unsafe fn in512<B: Body>(b: &B) {
    // SAFETY: the file's contract, and the body's.
    unsafe { b.run() }
}

/// # Safety
/// The file's contract, and the body's.
#[target_feature(enable = "avx2,fma,f16c,bmi2")]
unsafe fn in256<B: Body>(b: &B) {
    // SAFETY: the file's contract, and the body's.
    unsafe { b.run() }
}

/// Runs `b` with AVX-512 and bf16 dot products enabled.
///
/// # Safety
/// The CPU has them; the body's contract.
#[target_feature(enable = "avx2,fma,f16c,bmi2,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
pub(crate) unsafe fn in512_bf16<B: Body>(b: &B) {
    // SAFETY: the file's contract, and the body's.
    unsafe { b.run() }
}

/// `acc` plus the products of bf16 pairs; see `quant::float::pairs` for what exactly.
///
/// # Safety
/// The CPU has AVX-512 BF16.
#[inline(always)]
pub(crate) unsafe fn pairs(acc: __m512, a: __m512, b: __m512) -> __m512 {
    // SAFETY: the file's contract; vectors of 64 bytes whatever they hold.
    unsafe { _mm512_dpbf16_ps(acc, core::mem::transmute::<__m512, __m512bh>(a), core::mem::transmute::<__m512, __m512bh>(b)) }
}

/// Asks for the cache line of `p`, in the L2.
#[inline(always)]
pub(crate) fn ahead(p: *const u8) {
    // SAFETY: a prefetch of any address is only a hint.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) };
}
