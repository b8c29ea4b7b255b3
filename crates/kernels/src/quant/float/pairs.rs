//! BF16 weights times bf16 inputs, where the CPU has a dot product of pairs: two elements a lane and instruction.
//!
//! The order of a sum: 16 lanes; of every 32 elements lane `l` adds the product of element `2 l + 1`, then that of `2 l`, each rounded once
//! into the sum (a ragged end is filled up with zeros); then the lanes fold as those of the other float formats. The instruction takes
//! denormal numbers for zeros of their sign and gives such zeros for results that would be denormal with 24 bits; it always rounds to nearest.
use crate::quant::oracle::{self, Oracle};
use crate::quant::{Act, Format};
use crate::{DType, Impl, Isa};

pub(crate) const BF16_PAIRS: Format = Format {
    ty: DType::BF16,
    act: Act::Bf16,
    to_f32: super::to_f32::<super::WB16>,
    impls: &[
        #[cfg(target_arch = "x86_64")]
        Impl { needs: Isa::Avx512Bf16, run: super::tiles::mat_mul::<vector::Pairs> },
        Impl { needs: Isa::Scalar, run: oracle::mat_mul::<Plain> },
    ],
    groups: &[],
};

struct Plain;

/// Without what a denormal has: its sign stays.
fn normal(v: f32) -> f32 {
    if v.is_subnormal() { 0f32.copysign(v) } else { v }
}

/// `w * x + sum` as the instruction does it.
fn mul_add(w: f32, x: f32, sum: f32) -> f32 {
    let (w, x, sum) = (normal(w), normal(x), normal(sum));
    let v = w.mul_add(x, sum);
    // Just below the smallest normal number, 24 bits tell what a denormal's 23 round up.
    const TINY: f64 = f32::MIN_POSITIVE as f64 * (1.0 - 1.0 / (1u64 << 25) as f64);
    if v.abs() == f32::MIN_POSITIVE && (f64::from(w) * f64::from(x) + f64::from(sum)).abs() < TINY {
        return 0f32.copysign(v);
    }
    normal(v)
}

impl Oracle for Plain {
    unsafe fn dot(w: *const u8, x: *const u8, k: usize) -> f32 {
        // SAFETY: element `i` of a row of bf16, at any address.
        let get = |p: *const u8, i: usize| if i < k { unsafe { <super::WB16 as super::Elem>::get(p, i) } } else { 0.0 };
        let mut lanes = [0.0f32; 16];
        for i in (0..k).step_by(32) {
            for (l, lane) in lanes.iter_mut().enumerate() {
                for i in [i + 2 * l + 1, i + 2 * l] {
                    *lane = mul_add(get(w, i), get(x, i), *lane);
                }
            }
        }
        super::fold(lanes)
    }
}

#[cfg(target_arch = "x86_64")]
mod vector {
    use crate::lanes::sums::{self, Body};
    use crate::quant::float::tiles::Unit;
    use core::arch::x86_64::{__m512, _mm512_loadu_ps};

    /// Thirty-two elements a step.
    pub(crate) struct Pairs;
    impl Unit for Pairs {
        type V = __m512;
        const STEP: usize = 32;
        const W_BYTES: usize = 2;
        const X_BYTES: usize = 2;
        unsafe fn enter<B: Body>(b: &B) {
            // SAFETY: the caller's contract.
            unsafe { sums::in512_bf16(b) }
        }
        #[inline(always)]
        unsafe fn w(p: *const u8) -> __m512 {
            // SAFETY: the caller's contract. Sixteen pairs.
            unsafe { _mm512_loadu_ps(p.cast()) }
        }
        #[inline(always)]
        unsafe fn x(p: *const u8) -> __m512 {
            // SAFETY: the caller's contract.
            unsafe { Self::w(p) }
        }
        #[inline(always)]
        unsafe fn mul_add(w: __m512, x: __m512, acc: __m512) -> __m512 {
            // SAFETY: the caller's contract.
            unsafe { sums::pairs(acc, w, x) }
        }
    }
}
