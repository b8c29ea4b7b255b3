//! Whole numbers. Values are 64 bits whatever their type: a type is a mask, and a shift that brings the sign to the top.
use super::{Lanes, lanes, map1, map2, map3, mask_of, put};
use crate::isa::{Cmp, Int1, Int2, Int3, Op, Prmt, SetP, Ty, mask};

/// The value with its sign, of a type's low bits.
#[inline(always)]
pub fn signed(v: u64, bits: u32) -> i64 {
    (v << (64 - bits)) as i64 >> (64 - bits)
}

#[inline(always)]
pub fn int1(r: &mut [Lanes], m: u32, op: Int1, ty: Ty, d: u32, a: u32) {
    let (bits, all) = (ty.bits, ty.mask());
    match op {
        Int1::Neg => map1(r, m, d, a, |x| x.wrapping_neg() & all),
        Int1::Abs => map1(r, m, d, a, |x| signed(x, bits).unsigned_abs() & all),
        Int1::Not => map1(r, m, d, a, |x| !x & all),
        Int1::Cnot => map1(r, m, d, a, |x| u64::from(x & all == 0)),
        Int1::Popc => map1(r, m, d, a, |x| u64::from((x & all).count_ones())),
        Int1::Clz => map1(r, m, d, a, |x| u64::from((x & all).leading_zeros() - (64 - bits))),
        Int1::Brev => map1(r, m, d, a, |x| x.reverse_bits() >> (64 - bits)),
        Int1::Bfind | Int1::BfindShift => map1(r, m, d, a, |x| find_top(x & all, ty, op == Int1::BfindShift)),
    }
}

/// The place of the highest bit that says something about the size; all ones where there is none.
fn find_top(x: u64, ty: Ty, shift: bool) -> u64 {
    let x = if ty.is_signed() && signed(x, ty.bits) < 0 { !x & ty.mask() } else { x };
    match x.checked_ilog2() {
        None => u64::from(u32::MAX),
        Some(i) if shift => u64::from(ty.bits - 1 - i),
        Some(i) => u64::from(i),
    }
}

#[inline(always)]
pub fn int2(r: &mut [Lanes], m: u32, op: Int2, ty: Ty, [d, a, b]: [u32; 3]) {
    let (bits, all, neg) = (ty.bits, ty.mask(), ty.is_signed());
    match op {
        Int2::Add => map2(r, m, d, a, b, |x, y| x.wrapping_add(y) & all),
        Int2::Sub => map2(r, m, d, a, b, |x, y| x.wrapping_sub(y) & all),
        Int2::MulLo => map2(r, m, d, a, b, |x, y| x.wrapping_mul(y) & all),
        Int2::MulWide if neg => map2(r, m, d, a, b, |x, y| signed(x, bits).wrapping_mul(signed(y, bits)) as u64 & mask(2 * bits)),
        Int2::MulWide => map2(r, m, d, a, b, |x, y| (x & all).wrapping_mul(y & all)),
        Int2::MulHi => map2(r, m, d, a, b, |x, y| mul_hi(x, y, ty)),
        Int2::And => map2(r, m, d, a, b, |x, y| x & y & all),
        Int2::Or => map2(r, m, d, a, b, |x, y| (x | y) & all),
        Int2::Xor => map2(r, m, d, a, b, |x, y| (x ^ y) & all),
        Int2::Shl => map2(r, m, d, a, b, |x, y| if y & 0xffff_ffff < u64::from(bits) { x << (y & 63) & all } else { 0 }),
        Int2::Shr if neg => map2(r, m, d, a, b, |x, y| (signed(x, bits) >> (y & 0xffff_ffff).min(63)) as u64 & all),
        Int2::Shr => map2(r, m, d, a, b, |x, y| if y & 0xffff_ffff < 64 { (x & all) >> (y & 63) } else { 0 }),
        Int2::Min if neg => map2(r, m, d, a, b, |x, y| signed(x, bits).min(signed(y, bits)) as u64 & all),
        Int2::Max if neg => map2(r, m, d, a, b, |x, y| signed(x, bits).max(signed(y, bits)) as u64 & all),
        Int2::Min => map2(r, m, d, a, b, |x, y| (x & all).min(y & all)),
        Int2::Max => map2(r, m, d, a, b, |x, y| (x & all).max(y & all)),
        Int2::Div | Int2::Rem => divide(r, m, op == Int2::Rem, ty, [d, a, b]),
        Int2::AddSat => map2(r, m, d, a, b, |x, y| (signed(x, 32) + signed(y, 32)).clamp(i32::MIN.into(), i32::MAX.into()) as u64 & all),
        Int2::SubSat => map2(r, m, d, a, b, |x, y| (signed(x, 32) - signed(y, 32)).clamp(i32::MIN.into(), i32::MAX.into()) as u64 & all),
        Int2::Bmsk => map2(r, m, d, a, b, |x, y| mask((y & 0xffff_ffff).min(32) as u32).checked_shl(x as u32).unwrap_or(0) & all),
    }
}

fn mul_hi(x: u64, y: u64, ty: Ty) -> u64 {
    let product = if ty.is_signed() {
        (i128::from(signed(x, ty.bits)) * i128::from(signed(y, ty.bits))) as u128
    } else {
        u128::from(x & ty.mask()) * u128::from(y & ty.mask())
    };
    (product >> ty.bits) as u64 & ty.mask()
}

/// By zero the hardware answers all ones, and the dividend as rest.
fn divide(r: &mut [Lanes], m: u32, rest: bool, ty: Ty, [d, a, b]: [u32; 3]) {
    map2(r, m, d, a, b, |x, y| {
        let (x, y) = (x & ty.mask(), y & ty.mask());
        if y == 0 {
            return if rest { x } else { ty.mask() };
        }
        let (p, q) = (signed(x, ty.bits), signed(y, ty.bits));
        let value = match (ty.is_signed(), rest) {
            (false, false) => x / y,
            (false, true) => x % y,
            (true, false) => p.wrapping_div(q) as u64,
            (true, true) => p.wrapping_rem(q) as u64,
        };
        value & ty.mask()
    });
}

#[inline(always)]
pub fn int3(r: &mut [Lanes], m: u32, op: Int3, ty: Ty, at: [u32; 4]) {
    let (bits, all, neg) = (ty.bits, ty.mask(), ty.is_signed());
    match op {
        Int3::MadLo => map3(r, m, at, |x, y, z| x.wrapping_mul(y).wrapping_add(z) & all),
        Int3::MadWide if neg => {
            map3(r, m, at, |x, y, z| (signed(x, bits).wrapping_mul(signed(y, bits)) as u64).wrapping_add(z) & mask(2 * bits))
        }
        Int3::MadWide => map3(r, m, at, |x, y, z| (x & all).wrapping_mul(y & all).wrapping_add(z) & mask(2 * bits)),
        Int3::MadHi => map3(r, m, at, |x, y, z| mul_hi(x, y, ty).wrapping_add(z) & all),
        Int3::Bfe => map3(r, m, at, |x, y, z| extract(x, y, z, ty)),
        Int3::Sad if neg => map3(r, m, at, |x, y, z| signed(x, bits).abs_diff(signed(y, bits)).wrapping_add(z) & all),
        Int3::Sad => map3(r, m, at, |x, y, z| (x & all).abs_diff(y & all).wrapping_add(z) & all),
        Int3::Lop3(table) => map3(r, m, at, |x, y, z| lop3(x, y, z, table)),
        Int3::Prmt(Prmt::Index) => map3(r, m, at, permute),
        Int3::Prmt(mode) => map3(r, m, at, |x, y, z| permute(x, y, selector(mode, z as u32 & 3))),
        Int3::Dp4a(false, false) => map3(r, m, at, |x, y, z| dot(x, y, z, |v| v as u8 as i32, |v| v as u8 as i32)),
        Int3::Dp4a(true, true) => map3(r, m, at, |x, y, z| dot(x, y, z, |v| v as i8 as i32, |v| v as i8 as i32)),
        Int3::Dp4a(true, false) => map3(r, m, at, |x, y, z| dot(x, y, z, |v| v as i8 as i32, |v| v as u8 as i32)),
        Int3::Dp4a(false, true) => map3(r, m, at, |x, y, z| dot(x, y, z, |v| v as u8 as i32, |v| v as i8 as i32)),
        Int3::Dp2a(sa, sb, hi) => map3(r, m, at, |x, y, z| dot2(x, if hi { y >> 16 } else { y }, z, sa, sb)),
        Int3::Shf(left, wrap) => map3(r, m, at, |x, y, z| funnel(x, y, z as u32, left, wrap)),
        Int3::Slct => map3(r, m, at, |x, y, z| if z as i32 >= 0 { x & all } else { y & all }),
    }
}

fn extract(x: u64, pos: u64, len: u64, ty: Ty) -> u64 {
    let (pos, len, bits) = (pos as u32 & 0xff, len as u32 & 0xff, ty.bits);
    let x = x & ty.mask();
    let sign = if !ty.is_signed() || len == 0 { 0 } else { x >> (pos + len - 1).min(bits - 1) & 1 };
    let field = x.checked_shr(pos).unwrap_or(0) & mask(len);
    // Bits beyond the top of the value are its sign.
    let have = if pos >= bits { 0 } else { len.min(bits - pos) };
    (if sign == 1 { field | !mask(have) } else { field }) & ty.mask()
}

fn lop3(x: u64, y: u64, z: u64, table: u8) -> u64 {
    let mut out = 0;
    for i in 0..8u32 {
        if table >> i & 1 == 1 {
            let term = (if i & 4 == 0 { !x } else { x }) & (if i & 2 == 0 { !y } else { y }) & (if i & 1 == 0 { !z } else { z });
            out |= term;
        }
    }
    out & 0xffff_ffff
}

#[inline(always)]
fn permute(x: u64, y: u64, by: u64) -> u64 {
    let bytes = x & 0xffff_ffff | y << 32;
    let mut out = 0;
    for i in 0..4 {
        let s = by >> (4 * i) & 15;
        let byte = bytes >> (8 * (s & 7)) & 0xff;
        let byte = if s & 8 == 0 { byte } else { (byte >> 7) * 0xff };
        out |= byte << (8 * i);
    }
    out
}

fn selector(mode: Prmt, by: u32) -> u64 {
    let tables: [u64; 4] = match mode {
        Prmt::F4e => [0x3210, 0x4321, 0x5432, 0x6543],
        Prmt::B4e => [0x5670, 0x6701, 0x7012, 0x0123],
        Prmt::Rc8 => [0x0000, 0x1111, 0x2222, 0x3333],
        Prmt::Ecl => [0x3210, 0x3211, 0x3222, 0x3333],
        Prmt::Ecr => [0x0000, 0x1110, 0x2210, 0x3210],
        Prmt::Rc16 => [0x1010, 0x3232, 0x1010, 0x3232],
        Prmt::Index => [0; 4],
    };
    tables[by as usize]
}

#[inline(always)]
fn dot(x: u64, y: u64, z: u64, a: impl Fn(u64) -> i32, b: impl Fn(u64) -> i32) -> u64 {
    let mut sum = z as i32;
    for i in 0..4 {
        sum = sum.wrapping_add(a(x >> (8 * i)) * b(y >> (8 * i)));
    }
    u64::from(sum as u32)
}

fn dot2(x: u64, y: u64, z: u64, sa: bool, sb: bool) -> u64 {
    let word = |v: u64| if sa { v as i16 as i32 } else { v as u16 as i32 };
    let byte = |v: u64| if sb { v as i8 as i32 } else { v as u8 as i32 };
    let first = word(x).wrapping_mul(byte(y));
    let second = word(x >> 16).wrapping_mul(byte(y >> 8));
    u64::from((z as i32).wrapping_add(first).wrapping_add(second) as u32)
}

fn funnel(lo: u64, hi: u64, by: u32, left: bool, wrap: bool) -> u64 {
    let both = lo & 0xffff_ffff | hi << 32;
    let n = if wrap { by & 31 } else { by.min(32) };
    (if left { both << n >> 32 } else { both >> n }) & 0xffff_ffff
}

pub fn bfi(r: &mut [Lanes], m: u32, bits: u32, [d, a, b, pos, len]: [u32; 5]) {
    for l in lanes(m) {
        let at = |r: &[Lanes], i: u32| r[i as usize][l];
        let (pos, len) = (at(r, pos) as u32 & 0xff, at(r, len) as u32 & 0xff);
        let field = mask(len).checked_shl(pos).unwrap_or(0) & mask(bits);
        let value = at(r, a).checked_shl(pos).unwrap_or(0);
        r[d as usize][l] = at(r, b) & mask(bits) & !field | value & field;
    }
}

/// Sums and differences that carry: the new flag of each lane.
pub fn carry(r: &mut [Lanes], m: u32, ty: Ty, subtract: bool, flag_in: u32, [d, a, b]: [u32; 3]) -> u32 {
    let (x, y) = (r[a as usize], r[b as usize]);
    let mut out = 0;
    for l in lanes(m) {
        let (p, q) = (u128::from(x[l] & ty.mask()), u128::from(y[l] & ty.mask()));
        let c = u128::from(flag_in >> l & 1);
        let sum = if subtract { p.wrapping_sub(q).wrapping_sub(c) } else { p + q + c };
        r[d as usize][l] = sum as u64 & ty.mask();
        out |= ((sum >> ty.bits & 1) as u32) << l;
    }
    out
}

#[inline(always)]
pub fn compare(r: &[Lanes], s: &SetP) -> u32 {
    let (a, b, bits, all) = (&r[s.a as usize], &r[s.b as usize], s.ty.bits, s.ty.mask());
    if s.ty.is_signed() {
        let (x, y) = (|l: usize| signed(a[l], bits), |l: usize| signed(b[l], bits));
        return match s.cmp {
            Cmp::Eq | Cmp::Equ => mask_of(|l| x(l) == y(l)),
            Cmp::Ne | Cmp::Neu => mask_of(|l| x(l) != y(l)),
            Cmp::Lt | Cmp::Ltu => mask_of(|l| x(l) < y(l)),
            Cmp::Le | Cmp::Leu => mask_of(|l| x(l) <= y(l)),
            Cmp::Gt | Cmp::Gtu => mask_of(|l| x(l) > y(l)),
            Cmp::Ge | Cmp::Geu => mask_of(|l| x(l) >= y(l)),
            Cmp::Num | Cmp::Nan => 0,
        };
    }
    let (x, y) = (|l: usize| a[l] & all, |l: usize| b[l] & all);
    match s.cmp {
        Cmp::Eq | Cmp::Equ => mask_of(|l| x(l) == y(l)),
        Cmp::Ne | Cmp::Neu => mask_of(|l| x(l) != y(l)),
        Cmp::Lt | Cmp::Ltu => mask_of(|l| x(l) < y(l)),
        Cmp::Le | Cmp::Leu => mask_of(|l| x(l) <= y(l)),
        Cmp::Gt | Cmp::Gtu => mask_of(|l| x(l) > y(l)),
        Cmp::Ge | Cmp::Geu => mask_of(|l| x(l) >= y(l)),
        Cmp::Num | Cmp::Nan => 0,
    }
}

/// Values to one register and back: {lo, .., hi}.
pub fn pack(r: &mut [Lanes], m: u32, d: u32, parts: &[u32], bits: u32) {
    let mut out = [0u64; 32];
    for (i, p) in parts.iter().enumerate() {
        for (o, v) in out.iter_mut().zip(&r[*p as usize]) {
            *o |= (v & mask(bits)) << (bits * i as u32);
        }
    }
    put(&mut r[d as usize], m, |l| out[l]);
}

pub fn unpack(r: &mut [Lanes], m: u32, d: &[Option<u32>], a: u32, bits: u32) {
    let a = r[a as usize];
    for (i, d) in d.iter().enumerate() {
        if let Some(d) = d {
            put(&mut r[*d as usize], m, |l| a[l] >> (bits * i as u32) & mask(bits));
        }
    }
}

/// True where the instruction was one of this file.
#[inline(always)]
pub fn run(r: &mut [Lanes], m: u32, op: &Op) -> bool {
    match op {
        Op::Mov { d, a } => map1(r, m, *d, *a, |x| x),
        Op::Int1 { op, ty, d, a } => int1(r, m, *op, *ty, *d, *a),
        Op::Int2 { op, ty, d, a, b } => int2(r, m, *op, *ty, [*d, *a, *b]),
        Op::Int3 { op, ty, d, a, b, c } => int3(r, m, *op, *ty, [*d, *a, *b, *c]),
        Op::Bfi { bits, d, a, b, pos, len } => bfi(r, m, *bits, [*d, *a, *b, *pos, *len]),
        Op::Pack { d, parts, bits } => pack(r, m, *d, parts, *bits),
        Op::Unpack { d, a, bits } => unpack(r, m, d, *a, *bits),
        _ => return false,
    }
    true
}
