//! Floats. Plain f32 is the machine's own arithmetic, which is IEEE's; all else goes through f64, rounded once. What PTX only approximates
//! (ex2, sin, ..) is computed in f64 and rounded to nearest: closer than a device is, so never bit for bit its answer.
use super::{Lanes, lanes, map1, map2, map3, mask_of, put};
use crate::float::{add_odd, canonical, flush, narrow, widen};
use crate::isa::{Class, Cmp, Convert, Cvt, Float1, Float2, Manner, Op, Round, SetP, Ty, mask};

#[inline(always)]
fn f(x: u64) -> f32 {
    f32::from_bits(x as u32)
}

#[inline(always)]
fn bits(x: f32) -> u64 {
    u64::from(canonical(x))
}

/// What the result has to go through after rounding: sat, relu, ftz.
fn finish(how: &Manner, v: u64) -> u64 {
    let mut v = v;
    let is_nan = widen(how.ty, v).is_nan();
    if how.sat {
        let x = widen(how.ty, v);
        v = narrow(how.ty, if is_nan || x <= 0.0 { 0.0 } else { x.min(1.0) }, Round::Near);
    }
    if how.relu && !is_nan && widen(how.ty, v) <= 0.0 {
        v = 0;
    }
    if how.ftz { flush(v) } else { v }
}

/// One half of two, as a type of its own.
fn half_of(ty: Ty) -> Option<Ty> {
    match ty.class {
        Class::Float2 => Some(Ty::F16),
        Class::Brain2 => Some(Ty { class: Class::Brain, bits: 16 }),
        _ => None,
    }
}

/// Applies `g` to a value, or to each of two halves.
#[inline(always)]
fn halves(how: Manner, v: [u64; 3], g: impl Fn(&Manner, [u64; 3]) -> u64) -> u64 {
    let Some(ty) = half_of(how.ty) else { return g(&how, if how.ftz { v.map(flush) } else { v }) };
    let how = Manner { ty, ..how };
    g(&how, v.map(|v| v & 0xffff)) | g(&how, v.map(|v| v >> 16 & 0xffff)) << 16
}

fn one(op: Float1, how: &Manner, a: u64) -> u64 {
    let top = 1u64 << (how.ty.bits - 1);
    match op {
        Float1::Neg => return a ^ top,
        Float1::Abs => return a & !top,
        _ => {}
    }
    if how.ty.bits == 32 && matches!(op, Float1::Sqrt | Float1::Rcp) {
        return finish(how, bits(if op == Float1::Sqrt { f(a).sqrt() } else { 1.0 / f(a) }));
    }
    let x = widen(how.ty, a);
    let y = match op {
        Float1::Sqrt => x.sqrt(),
        Float1::Rsqrt => 1.0 / x.sqrt(),
        Float1::Rcp => 1.0 / x,
        Float1::Ex2 => x.exp2(),
        Float1::Lg2 => x.log2(),
        Float1::Sin => x.sin(),
        Float1::Cos => x.cos(),
        Float1::Tanh => x.tanh(),
        Float1::Neg | Float1::Abs => x,
    };
    finish(how, narrow(how.ty, y, how.round))
}

fn two(op: Float2, how: &Manner, a: u64, b: u64) -> u64 {
    let top = 1u64 << (how.ty.bits - 1);
    let (x, y) = (widen(how.ty, a), widen(how.ty, b));
    let value = match op {
        Float2::Copysign => return b & !top | a & top,
        Float2::Add => sum(x, y, how),
        Float2::Sub => sum(x, -y, how),
        Float2::Mul => x * y,
        Float2::Div if how.ty.bits == 32 => f64::from(f(a) / f(b)),
        Float2::Div => x / y,
        Float2::Min | Float2::MinNan => return extreme(a, b, x, y, op == Float2::MinNan, how, x < y || lower_zero(a, b, x, y, top)),
        Float2::Max | Float2::MaxNan => return extreme(a, b, x, y, op == Float2::MaxNan, how, x > y || lower_zero(b, a, y, x, top)),
    };
    finish(how, narrow(how.ty, value, how.round))
}

/// -0 is smaller than +0.
fn lower_zero(a: u64, b: u64, x: f64, y: f64, top: u64) -> bool {
    x == 0.0 && y == 0.0 && a & top != 0 && b & top == 0
}

fn extreme(a: u64, b: u64, x: f64, y: f64, nan: bool, how: &Manner, first: bool) -> u64 {
    let v = match (x.is_nan(), y.is_nan()) {
        (true, true) => narrow(how.ty, f64::NAN, Round::Near),
        (true, _) | (_, true) if nan => narrow(how.ty, f64::NAN, Round::Near),
        (true, false) => b,
        (false, true) => a,
        _ if first => a,
        _ => b,
    };
    finish(how, v)
}

/// A sum that is still to be rounded: f64 has it exactly or to odd, but f64's own sums are rounded already.
fn sum(x: f64, y: f64, how: &Manner) -> f64 {
    let s = if how.ty.bits == 64 { x + y } else { add_odd(x, y) };
    if s == 0.0 && x != 0.0 && how.round == Round::Down { -0.0 } else { s }
}

fn fused(how: &Manner, v: [u64; 3]) -> u64 {
    let [x, y, z] = v.map(|v| widen(how.ty, v));
    // A product of two f32 has 48 bits: exact.
    let value = if how.ty.bits == 64 { x.mul_add(y, z) } else { sum(x * y, z, how) };
    finish(how, narrow(how.ty, value, how.round))
}

#[inline(always)]
fn compare(r: &[Lanes], s: &SetP) -> u32 {
    let (a, b) = (&r[s.a as usize], &r[s.b as usize]);
    if s.ty == Ty::F32 && !s.ftz {
        return ordered(s.cmp, |l| f(a[l]), |l| f(b[l]));
    }
    let value = |v: u64| widen(s.ty, if s.ftz { flush(v) } else { v });
    ordered(s.cmp, |l| value(a[l]), |l| value(b[l]))
}

#[inline(always)]
fn ordered<T: PartialOrd>(cmp: Cmp, x: impl Fn(usize) -> T, y: impl Fn(usize) -> T) -> u32 {
    let nan = |l: usize| x(l).partial_cmp(&y(l)).is_none();
    match cmp {
        Cmp::Eq => mask_of(|l| x(l) == y(l)),
        Cmp::Ne => mask_of(|l| x(l) != y(l) && !nan(l)),
        Cmp::Lt => mask_of(|l| x(l) < y(l)),
        Cmp::Le => mask_of(|l| x(l) <= y(l)),
        Cmp::Gt => mask_of(|l| x(l) > y(l)),
        Cmp::Ge => mask_of(|l| x(l) >= y(l)),
        Cmp::Equ => mask_of(|l| x(l) == y(l) || nan(l)),
        Cmp::Neu => mask_of(|l| x(l) != y(l)),
        Cmp::Ltu => mask_of(|l| x(l) < y(l) || nan(l)),
        Cmp::Leu => mask_of(|l| x(l) <= y(l) || nan(l)),
        Cmp::Gtu => mask_of(|l| x(l) > y(l) || nan(l)),
        Cmp::Geu => mask_of(|l| x(l) >= y(l) || nan(l)),
        Cmp::Num => mask_of(|l| !nan(l)),
        Cmp::Nan => mask_of(nan),
    }
}

/// The lanes where a comparison holds, before it is combined with anything.
#[inline(always)]
pub fn compared(r: &[Lanes], s: &SetP) -> u32 {
    if s.ty.is_float() { compare(r, s) } else { super::alu::compare(r, s) }
}

pub fn testp(r: &[Lanes], kind: u8, ty: Ty, a: u32) -> u32 {
    let a = &r[a as usize];
    let is = |v: u64| {
        let class = if ty.bits == 64 { f64::from_bits(v).classify() } else { f32::from_bits(v as u32).classify() };
        use std::num::FpCategory::{Infinite, Nan, Normal, Subnormal};
        match kind {
            0 => !matches!(class, Nan | Infinite),
            1 => class == Infinite,
            2 => class != Nan,
            3 => class == Nan,
            4 => class == Normal,
            _ => class == Subnormal,
        }
    };
    mask_of(|l| is(a[l]))
}

fn cvt(r: &mut [Lanes], m: u32, c: &Cvt) {
    match (c.how, c.from, c.to) {
        // The ones that kernels are full of.
        (Convert::IntToInt, from, to) if !c.sat && from.is_signed() => {
            map1(r, m, c.d, c.a, |x| super::alu::signed(x, from.bits) as u64 & to.mask())
        }
        (Convert::IntToInt, from, to) if !c.sat => map1(r, m, c.d, c.a, |x| x & from.mask() & to.mask()),
        (Convert::IntToInt, from, to) => map1(r, m, c.d, c.a, |x| clamp(whole(x, from), to)),
        (Convert::IntToFloat, from, Ty::F32) if c.round == Round::Near && from.is_signed() && from.bits <= 32 => {
            map1(r, m, c.d, c.a, |x| u64::from((super::alu::signed(x, from.bits) as i32 as f32).to_bits()));
        }
        (Convert::FloatToFloat, Ty::F16, Ty::F32) if !c.sat && !c.whole => {
            map1(r, m, c.d, c.a, |x| bits(crate::float::f16_to_f32(x & 0xffff)));
        }
        (Convert::IntToFloat, from, to) => map1(r, m, c.d, c.a, |x| {
            let v = whole(x, from);
            let out = crate::float::Format::of(to).assemble(v < 0, v.unsigned_abs() as u64, 0, c.round);
            finish(&manner(c), out)
        }),
        (Convert::FloatToInt, from, to) => map1(r, m, c.d, c.a, |x| to_whole(widen(from, ftz(c, x)), to, c.round)),
        (Convert::FloatToFloat, from, _) => map1(r, m, c.d, c.a, |x| float_to_float(c, widen(from, ftz(c, x)))),
        (Convert::Pair, from, to) => {
            let half = Ty { class: if to.class == Class::Float2 { Class::Float } else { Class::Brain }, bits: 16 };
            let how = Manner { ty: half, ..manner(c) };
            let low = |x: u64| finish(&how, narrow(half, widen(from, x), c.round));
            map2(r, m, c.d, c.a, c.b, |hi, lo| low(hi) << 16 | low(lo));
        }
    }
}

fn manner(c: &Cvt) -> Manner {
    Manner { ty: c.to, round: c.round, ftz: c.ftz && c.to == Ty::F32, sat: c.sat, relu: c.relu }
}

fn ftz(c: &Cvt, x: u64) -> u64 {
    if c.ftz && c.from == Ty::F32 { flush(x) } else { x }
}

fn float_to_float(c: &Cvt, x: f64) -> u64 {
    let x = if c.whole { to_round(x, c.round) } else { x };
    finish(&manner(c), narrow(c.to, x, c.round))
}

fn to_round(x: f64, round: Round) -> f64 {
    match round {
        Round::Near => x.round_ties_even(),
        Round::Zero => x.trunc(),
        Round::Down => x.floor(),
        Round::Up => x.ceil(),
        Round::Away => x.round(),
    }
}

/// A whole number of any type, exactly.
fn whole(x: u64, ty: Ty) -> i128 {
    if ty.is_signed() { i128::from(super::alu::signed(x, ty.bits)) } else { i128::from(x & ty.mask()) }
}

fn clamp(v: i128, ty: Ty) -> u64 {
    let (low, high) =
        if ty.is_signed() { (-(1i128 << (ty.bits - 1)), (1i128 << (ty.bits - 1)) - 1) } else { (0, i128::from(mask(ty.bits))) };
    v.clamp(low, high) as u64 & ty.mask()
}

/// NaN is 0, what is too large is the largest.
fn to_whole(x: f64, ty: Ty, round: Round) -> u64 {
    if x.is_nan() { 0 } else { clamp(to_round(x, round) as i128, ty) }
}

/// True where the instruction was one of this file.
#[inline(always)]
pub fn run(r: &mut [Lanes], m: u32, op: &Op) -> bool {
    match op {
        Op::AddF32 { d, a, b } => map2(r, m, *d, *a, *b, |x, y| bits(f(x) + f(y))),
        Op::MulF32 { d, a, b } => map2(r, m, *d, *a, *b, |x, y| bits(f(x) * f(y))),
        Op::FmaF32 { d, a, b, c } => map3(r, m, [*d, *a, *b, *c], |x, y, z| bits(f(x).mul_add(f(y), f(z)))),
        Op::Float1 { op, how, d, a } => map1(r, m, *d, *a, |x| halves(*how, [x, 0, 0], |h, v| one(*op, h, v[0]))),
        Op::Float2 { op: Float2::Sub, how, d, a, b } if how.is_plain_f32() => map2(r, m, *d, *a, *b, |x, y| bits(f(x) - f(y))),
        Op::Float2 { op, how, d, a, b } => map2(r, m, *d, *a, *b, |x, y| halves(*how, [x, y, 0], |h, v| two(*op, h, v[0], v[1]))),
        Op::Fma { how, d, a, b, c } => map3(r, m, [*d, *a, *b, *c], |x, y, z| halves(*how, [x, y, z], fused)),
        Op::Cvt(c) => cvt(r, m, c),
        _ => return false,
    }
    true
}

/// All ones or 1.0 where the mask says so.
pub fn fill(r: &mut [Lanes], m: u32, d: u32, truth: u32, as_float: bool) {
    let yes = if as_float { u64::from(1f32.to_bits()) } else { 0xffff_ffff };
    put(&mut r[d as usize], m, |l| if truth >> l & 1 == 1 { yes } else { 0 });
}

/// What an atomic addition of floats does.
pub fn add(ty: Ty, a: u64, b: u64) -> u64 {
    let how = Manner { ty, round: Round::Near, ftz: false, sat: false, relu: false };
    halves(how, [a, b, 0], |h, v| two(Float2::Add, h, v[0], v[1]))
}

/// The lanes that a test leaves, for messages.
pub fn first_lane(m: u32) -> u32 {
    lanes(m).next().unwrap_or(0) as u32
}
