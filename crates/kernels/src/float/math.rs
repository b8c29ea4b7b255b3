//! exp, tanh, erf and the activations made of them, on 16 lanes. The polynomials are Chebyshev fits of ours.

#![allow(clippy::excessive_precision, reason = "the nearest f32 is meant; the next digit says how it was rounded")]

use super::simd::Simd;

/// c[0] x^(n-1) + ... + c[n-1].
#[inline(always)]
fn poly<S: Simd, const N: usize>(s: S, x: S::F, c: [f32; N]) -> S::F {
    let mut p = s.splat(c[0]);
    for c in &c[1..] {
        p = s.fma(p, x, s.splat(*c));
    }
    p
}

/// e^x within 1.5 ulp, subnormal results included; -inf gives 0, inf gives inf, NaN stays.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    // Beyond these the result is 0 or infinite anyway, and n stays where `mul_pow2` is exact. `x` second: a NaN passes.
    let x = s.min(s.splat(89.0), s.max(s.splat(-104.5), x));
    let n = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    // ln 2 in two parts, the first short enough for n times it to be exact.
    let r = s.fma(n, s.splat(-0.693_359_4), x);
    let r = s.fma(n, s.splat(2.121_944_4e-4), r);
    // (e^r - 1 - r) / r^2 on |r| <= ln 2 / 2, within 8e-8.
    let q = poly(s, r, [0.001_392_768_5, 0.008_364_381, 0.041_666_545, 0.166_665_7, 0.5]);
    let p = s.add(s.fma(q, s.mul(r, r), r), s.splat(1.0));
    s.mul_pow2(p, n)
}

/// Within 2 ulp.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(s: S, x: S::F) -> S::F {
    let a = s.abs(x);
    let z = s.mul(x, x);
    // (tanh x / x - 1) / x^2 on x^2 <= 0.4, within 5e-8.
    let q = poly(s, z, [-0.006_045_165_3, 0.020_961_329, -0.053_843_264, 0.133_327_19, -0.333_333_28]);
    let near = s.fma(s.mul(q, z), x, x);
    let e = exp(s, s.add(a, a));
    let far = s.sub(s.splat(1.0), s.div(s.splat(2.0), s.add(e, s.splat(1.0))));
    s.if_lt(z, s.splat(0.4), near, s.copysign(far, x))
}

/// Within 2 ulp.
#[inline(always)]
fn erf<S: Simd>(s: S, x: S::F) -> S::F {
    // erf x / x on |x| <= 1, in x^2.
    let near =
        [7.875_875e-5, -8.016_864_6e-4, 0.005_189_087_4, -0.026_854_213, 0.112_835_95, -0.376_126_26, std::f32::consts::FRAC_2_SQRT_PI];
    // -ln(1 - erf x) on 1 <= x <= 4; beyond 4 the result is 1.
    let far = [
        -1.638_637_3e-6,
        4.608_744_7e-5,
        -5.970_529_5e-4,
        0.004_760_747_6,
        -0.026_424_37,
        0.110_085_68,
        0.631_820_26,
        1.130_236_7,
        -3.209_143_8e-4,
    ];
    let t = s.min(s.splat(4.0), s.abs(x));
    let tail = exp(s, s.sub(s.splat(0.0), poly(s, t, far)));
    let far = s.copysign(s.sub(s.splat(1.0), tail), x);
    s.if_lt(t, s.splat(1.0), s.mul(poly(s, s.mul(x, x), near), x), far)
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::F) -> S::F {
    let one = s.splat(1.0);
    s.div(one, s.add(one, exp(s, s.sub(s.splat(0.0), x))))
}

/// x * sigmoid(k x); the limit 0 at -inf.
#[inline(always)]
pub(crate) fn swish<S: Simd>(s: S, x: S::F, k: f32) -> S::F {
    let d = s.add(s.splat(1.0), exp(s, s.mul(x, s.splat(-k))));
    // Where e^-kx is infinite the quotient is a zero already, but for x = -inf.
    s.if_lt(x, s.splat(f32::MIN), s.splat(-0.0), s.div(x, d))
}

#[inline(always)]
pub(crate) fn gelu_tanh<S: Simd>(s: S, x: S::F) -> S::F {
    let cube = s.fma(s.mul(s.splat(0.044715), x), x, s.splat(1.0));
    // 0.5 x (1 + tanh u) = x / (1 + e^-2u), without the cancellation far out on the left.
    let u = s.mul(s.mul(s.splat(-2.0 * 0.797_884_6), x), cube);
    let d = s.add(s.splat(1.0), exp(s, u));
    s.if_lt(x, s.splat(-1e6), s.splat(-0.0), s.div(x, d))
}

#[inline(always)]
pub(crate) fn gelu_erf<S: Simd>(s: S, x: S::F) -> S::F {
    let e = erf(s, s.mul(x, s.splat(std::f32::consts::FRAC_1_SQRT_2)));
    let y = s.mul(s.mul(s.splat(0.5), x), s.add(s.splat(1.0), e));
    s.if_lt(x, s.splat(-1e6), s.splat(-0.0), y)
}

#[inline(always)]
pub(crate) fn relu<S: Simd>(s: S, x: S::F) -> S::F {
    s.max(s.splat(0.0), x)
}
