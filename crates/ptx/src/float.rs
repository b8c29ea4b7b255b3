//! Floats of all sizes: bits to values and back, rounded as one says. Sums that f64 cannot hold are rounded to odd there, so that the last rounding
//! is the only one that counts.
use crate::isa::{Class, Round, Ty};

#[derive(Clone, Copy)]
pub struct Format {
    /// Bits behind the point, and of the exponent.
    mantissa: u32,
    exponent: u32,
}

impl Format {
    pub fn of(ty: Ty) -> Format {
        let (mantissa, exponent) = match (ty.class, ty.bits) {
            (Class::Brain | Class::Brain2, _) => (7, 8),
            (Class::Float2, _) | (_, 16) => (10, 5),
            (Class::Tf32, _) => (10, 8),
            (_, 64) => (52, 11),
            _ => (23, 8),
        };
        Format { mantissa, exponent }
    }

    fn infinity(self) -> u64 {
        ((1 << self.exponent) - 1) << self.mantissa
    }

    fn sign(self) -> u64 {
        1 << (self.mantissa + self.exponent)
    }

    /// The NaN that the hardware answers: all ones behind the sign.
    pub fn nan(self) -> u64 {
        if self.mantissa == 52 { 0xfff8_0000_0000_0000 } else { self.sign() - 1 }
    }

    /// (-1)^negative * m * 2^e, rounded.
    pub fn assemble(self, negative: bool, m: u64, e: i32, round: Round) -> u64 {
        let sign = if negative { self.sign() } else { 0 };
        if m == 0 {
            return sign;
        }
        let bias = (1 << (self.exponent - 1)) - 1;
        let lead = m.leading_zeros();
        let m = m << lead;
        let e = e - lead as i32 + 63;
        let below = (1 - bias - e).max(0) as u32;
        let drop = 63 - self.mantissa + below;
        let kept = if drop > 63 { 0 } else { m >> drop };
        let half = drop <= 64 && m >> (drop - 1) & 1 == 1;
        let rest = drop > 64 || m & ((1 << (drop - 1)) - 1) != 0;
        let up = match round {
            Round::Near => half && (rest || kept & 1 == 1),
            Round::Away => half,
            Round::Zero => false,
            Round::Down => negative && (half || rest),
            Round::Up => !negative && (half || rest),
        };
        let biased = if below > 0 { 0 } else { (e + bias - 1) as u64 };
        let bits = (biased << self.mantissa) + kept + u64::from(up);
        if bits < self.infinity() {
            return sign | bits;
        }
        let stays = match round {
            Round::Near | Round::Away => false,
            Round::Zero => true,
            Round::Down => !negative,
            Round::Up => negative,
        };
        sign | if stays { self.infinity() - 1 } else { self.infinity() }
    }

    pub fn narrow(self, x: f64, round: Round) -> u64 {
        if x.is_nan() {
            return self.nan();
        }
        if x.is_infinite() {
            return self.infinity() | if x < 0.0 { self.sign() } else { 0 };
        }
        let bits = x.to_bits();
        let e = (bits >> 52 & 0x7ff) as i32;
        let m = bits & ((1 << 52) - 1) | u64::from(e > 0) << 52;
        self.assemble(x.is_sign_negative(), m, e.max(1) - 1075, round)
    }
}

pub fn f16_to_f32(h: u64) -> f32 {
    let (sign, size) = ((h as u32 & 0x8000) << 16, h as u32 & 0x7fff);
    if size >= 0x7c00 {
        return f32::from_bits(sign | 0x7f80_0000 | (size & 0x3ff) << 13);
    }
    // The exponent's bias goes from 15 to 127 by a product, which is exact, of subnormals too.
    f32::from_bits((f32::from_bits(size << 13) * f32::from_bits(0x7780_0000)).to_bits() | sign)
}

pub fn widen(ty: Ty, bits: u64) -> f64 {
    match (ty.class, ty.bits) {
        (Class::Brain | Class::Brain2, _) => f64::from(f32::from_bits((bits as u32 & 0xffff) << 16)),
        (Class::Float2, _) | (_, 16) => f64::from(f16_to_f32(bits & 0xffff)),
        (_, 64) => f64::from_bits(bits),
        _ => f64::from(f32::from_bits(bits as u32)),
    }
}

pub fn narrow(ty: Ty, x: f64, round: Round) -> u64 {
    match (ty.class, ty.bits, round) {
        (Class::Float, 64, _) => {
            if x.is_nan() {
                Format::of(ty).nan()
            } else {
                x.to_bits()
            }
        }
        (Class::Float, 32, Round::Near) => u64::from(canonical(x as f32)),
        // A tf32 stands in the upper bits of an f32.
        (Class::Tf32, ..) => Format::of(ty).narrow(x, round) << 13,
        _ => Format::of(ty).narrow(x, round),
    }
}

/// The bits of an f32, every NaN being the one that the hardware answers.
#[inline(always)]
pub fn canonical(x: f32) -> u32 {
    if x.is_nan() { 0x7fff_ffff } else { x.to_bits() }
}

/// p + c: exact, or rounded to odd.
pub fn add_odd(p: f64, c: f64) -> f64 {
    let s = p + c;
    if !s.is_finite() {
        return s;
    }
    let b = s - p;
    let rest = (p - (s - b)) + (c - b);
    if rest == 0.0 || s.to_bits() & 1 == 1 {
        return s;
    }
    let away = (rest > 0.0) == (s > 0.0);
    f64::from_bits(if away { s.to_bits() + 1 } else { s.to_bits() - 1 })
}

/// Subnormal f32 become zeros of their sign.
#[inline(always)]
pub fn flush(bits: u64) -> u64 {
    if bits & 0x7f80_0000 == 0 { bits & 0x8000_0000 } else { bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn f32s(x: f64, round: Round) -> f32 {
        f32::from_bits(Format::of(Ty::F32).narrow(x, round) as u32)
    }

    #[test]
    fn narrowing_to_nearest_is_what_the_machine_does() {
        let mut s = 1u64;
        for _ in 0..200_000 {
            s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let x = f64::from_bits(s & !(0x7ff << 52) | (700 + (s >> 20) % 500) << 52);
            assert_eq!(f32s(x, Round::Near).to_bits(), (x as f32).to_bits(), "{x:e}");
        }
    }

    #[test]
    fn other_roundings_enclose_the_value() {
        for x in [1.0 + 1e-12, 3.3e-40, -7.7e-42, 1e-60, -1e-60, 3.5e38, -3.5e38, 0.1] {
            let (down, up) = (f32s(x, Round::Down), f32s(x, Round::Up));
            assert!(f64::from(down) <= x && x <= f64::from(up), "{x:e}: {down:e} {up:e}");
            let zero = f32s(x, Round::Zero);
            assert_eq!(zero.to_bits(), if x > 0.0 { down } else { up }.to_bits(), "{x:e}");
            assert!(up == down || f32::from_bits(if x > 0.0 { down.to_bits() + 1 } else { down.to_bits() - 1 }) == up, "{x:e}");
        }
    }

    #[test]
    fn halves_go_round() {
        for h in 0..=0xffffu64 {
            let x = f64::from(f16_to_f32(h));
            if !x.is_nan() {
                assert_eq!(narrow(Ty::F16, x, Round::Near), h);
            }
        }
        assert_eq!(narrow(Ty::F16, 65519.0, Round::Near), 0x7bff);
        assert_eq!(narrow(Ty::F16, 65520.0, Round::Near), 0x7c00);
        assert_eq!(narrow(Ty::F16, 2f64.powi(-25), Round::Near), 0);
        assert_eq!(narrow(Ty::F16, 2f64.powi(-25) * 1.001, Round::Near), 1);
        assert_eq!(narrow(Ty { class: Class::Brain, bits: 16 }, 1.0 + 1.0 / 256.0, Round::Near), 0x3f80);
    }

    #[test]
    fn sums_are_rounded_to_odd() {
        assert_eq!(add_odd(1.0, 2f64.powi(-80)).to_bits(), 1f64.to_bits() + 1);
        assert_eq!(add_odd(1.0, -2f64.powi(-80)).to_bits(), 1f64.to_bits() - 1);
        assert_eq!(add_odd(3.0, 4.0), 7.0);
    }
}
