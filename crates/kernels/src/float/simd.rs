//! Sixteen lanes of f32: the few operations that every vector body in `float/` and `attn/` is written in.
//! Knows no kernel. One file per ISA implements it.
//!
//! A value of an implementing type is the proof that the CPU has the ISA: only a function compiled for the ISA can make one.
//! So bodies that take a `Simd` are safe code, and must be `#[inline(always)]` to be compiled for the ISA of their caller.
//! An operation gives the same bits on every ISA, except where NaN payloads differ.

/// Lanes.
pub(crate) const N: usize = 16;

pub(crate) trait Simd: Copy {
    /// 16 floats.
    type F: Copy;
    /// 16 doubles.
    type D: Copy;
    /// 32 vector registers of 16 lanes, not 16 of 8: tiles may be twice as wide each way.
    const WIDE: bool;

    fn splat(self, x: f32) -> Self::F;
    fn load(self, x: &[f32; N]) -> Self::F;
    fn store(self, x: Self::F, out: &mut [f32; N]);
    /// 16 little-endian f16.
    fn load_f16(self, x: &[u8; 32]) -> Self::F;
    /// One f16 in every lane.
    fn splat_f16(self, x: [u8; 2]) -> Self::F;
    /// To nearest even.
    fn store_f16(self, x: Self::F, out: &mut [u8; 32]);
    fn load_bf16(self, x: &[u8; 32]) -> Self::F;
    fn load_i8(self, x: &[u8; N]) -> Self::F;

    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// a * b + c, one rounding.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// a > b ? a : b, so a NaN on either side gives `b`.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// a < b ? a : b.
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    /// To the nearest integer, ties to even.
    fn round(self, a: Self::F) -> Self::F;
    /// a * 2^n for integral n in -160..=130, one rounding.
    fn mul_pow2(self, a: Self::F, n: Self::F) -> Self::F;
    fn abs(self, a: Self::F) -> Self::F;
    /// The size of `a` with the sign of `b`.
    fn copysign(self, a: Self::F, b: Self::F) -> Self::F;
    /// a < b ? x : y, lane by lane; NaN picks `y`.
    fn if_lt(self, a: Self::F, b: Self::F, x: Self::F, y: Self::F) -> Self::F;
    /// Bit i of `m` set: `x`, else `y`.
    fn pick(self, m: u16, x: Self::F, y: Self::F) -> Self::F;

    fn zero_d(self) -> Self::D;
    fn add_d(self, acc: Self::D, x: Self::F) -> Self::D;
    /// Lanes i and i + 8, then 4, 2, 1 apart: the tree of every sum here.
    fn sum_d(self, x: Self::D) -> f64;
    fn sum(self, x: Self::F) -> f32;
    fn max_lane(self, x: Self::F) -> f32;
    /// Four `sum`s, same tree, fewer shuffles.
    fn sum4(self, x: [Self::F; 4]) -> [f32; 4];
    /// Sixteen `sum`s.
    #[inline(always)]
    fn sum16(self, x: [[Self::F; 4]; 4]) -> [[f32; 4]; 4] {
        [self.sum4(x[0]), self.sum4(x[1]), self.sum4(x[2]), self.sum4(x[3])]
    }

    /// Up to 16 floats; the missing ones are 0.
    #[inline(always)]
    fn load_part(self, x: &[f32]) -> Self::F {
        let mut b = [0.0; N];
        b[..x.len()].copy_from_slice(x);
        self.load(&b)
    }
    /// The first `out.len()` lanes, up to 16.
    #[inline(always)]
    fn store_part(self, x: Self::F, out: &mut [f32]) {
        let mut b = [0.0; N];
        self.store(x, &mut b);
        let n = out.len();
        out.copy_from_slice(&b[..n]);
    }
}
