//! Instructions one by one: each on ends of ranges and on numbers of no pattern, against the same in Rust.
mod common;
use common::Arg::P;
use common::Bench;
use mockcuda::float::{f16_to_f32, narrow};
use mockcuda::isa::{Class, Round, Ty};

const HEAD: &str = ".version 8.2\n.target sm_90\n.address_size 64\n";

/// Runs `text` in a thread for each row of inputs: they are in %rd1..%rd3 and %r1..%r3, %f1..%f3 have the same bits; the result is %rd0.
fn run(text: &str, inputs: &[[u64; 3]]) -> Vec<u64> {
    let kernel = format!(
        "{HEAD}.visible .entry k(.param .u64 k_0, .param .u64 k_1)\n{{\n.reg .pred %p<8>;\n.reg .b16 %h<16>;\n.reg .b32 %r<32>;\n.reg .f32 %f<8>;
        .reg .b64 %rd<32>;\n.reg .f64 %d<8>;\nmov.u32 %r20, %ctaid.x;\nmov.u32 %r21, %tid.x;\nmad.lo.s32 %r21, %r20, 64, %r21;
        ld.param.u64 %rd20, [k_0];\nmul.wide.u32 %rd21, %r21, 24;\nadd.s64 %rd20, %rd20, %rd21;\nld.global.u64 %rd1, [%rd20];
        ld.global.u64 %rd2, [%rd20+8];\nld.global.u64 %rd3, [%rd20+16];\ncvt.u32.u64 %r1, %rd1;\ncvt.u32.u64 %r2, %rd2;\ncvt.u32.u64 %r3, %rd3;
        mov.b32 %f1, %r1;\nmov.b32 %f2, %r2;\nmov.b32 %f3, %r3;\nmov.b64 %d1, %rd1;\nmov.b64 %d2, %rd2;\nmov.b64 %d3, %rd3;
        cvt.u16.u32 %h1, %r1;\ncvt.u16.u32 %h2, %r2;\ncvt.u16.u32 %h3, %r3;
        {text}\nld.param.u64 %rd22, [k_1];\nmul.wide.u32 %rd23, %r21, 8;\nadd.s64 %rd22, %rd22, %rd23;\nst.global.u64 [%rd22], %rd0;\nret;\n}}\n"
    );
    let mut b = Bench::try_new(&kernel).unwrap_or_else(|r| panic!("{text}: {}", r.what));
    let mut rows = inputs.to_vec();
    rows.resize(inputs.len().next_multiple_of(64), [0; 3]);
    let flat: Vec<u64> = rows.iter().flatten().copied().collect();
    let (x, y) = (b.put(&flat, u64::to_le_bytes), b.room(8 * rows.len()));
    b.run("k", [(rows.len() / 64) as u32, 1, 1], [64, 1, 1], 0, &[P(x), P(y)]);
    let bytes = b.memory.read(y, 8 * inputs.len() as u64).expect("memory");
    bytes.chunks_exact(8).map(|c| u64::from_le_bytes(c.try_into().expect("eight"))).collect()
}

fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    (*seed >> 32) ^ (*seed << 21)
}

/// Triples of `special` values, and of any.
fn inputs(special: &[u64]) -> Vec<[u64; 3]> {
    let mut seed = 7;
    let mut all: Vec<[u64; 3]> = special.iter().flat_map(|a| special.iter().map(move |b| [*a, *b, a ^ b.rotate_left(7)])).collect();
    all.extend((0..300).map(|_| [random(&mut seed), random(&mut seed), random(&mut seed)]));
    all
}

const WHOLE: [u64; 12] = [0, 1, 2, 31, 32, 33, 63, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, i64::MAX as u64, u64::MAX];

fn check32(text: &str, want: impl Fn(u32, u32, u32) -> u32) {
    let rows = inputs(&WHOLE);
    let got = run(&format!("{text}\ncvt.u64.u32 %rd0, %r0;"), &rows);
    for (row, got) in rows.iter().zip(got) {
        let [a, b, c] = row.map(|v| v as u32);
        assert_eq!(got, u64::from(want(a, b, c)), "{text}: {a:#x} {b:#x} {c:#x}, got {got:#x}");
    }
}

fn check64(text: &str, want: impl Fn(u64, u64, u64) -> u64) {
    let rows = inputs(&WHOLE);
    for (row, got) in rows.iter().zip(run(text, &rows)) {
        assert_eq!(got, want(row[0], row[1], row[2]), "{text}: {row:x?}, got {got:#x}");
    }
}

#[test]
fn whole_numbers() {
    check32("add.s32 %r0, %r1, %r2;", |a, b, _| a.wrapping_add(b));
    check32("add.u32 %r0, %r1, -5;", |a, _, _| a.wrapping_sub(5));
    check32("sub.s32 %r0, %r1, %r2;", |a, b, _| a.wrapping_sub(b));
    check32("add.sat.s32 %r0, %r1, %r2;", |a, b, _| (a as i32).saturating_add(b as i32) as u32);
    check32("mul.lo.s32 %r0, %r1, %r2;", |a, b, _| a.wrapping_mul(b));
    check32("mul.hi.s32 %r0, %r1, %r2;", |a, b, _| ((i64::from(a as i32) * i64::from(b as i32)) >> 32) as u32);
    check32("mul.hi.u32 %r0, %r1, %r2;", |a, b, _| ((u64::from(a) * u64::from(b)) >> 32) as u32);
    check64("mul.hi.u64 %rd0, %rd1, %rd2;", |a, b, _| ((u128::from(a) * u128::from(b)) >> 64) as u64);
    check64("mul.wide.s32 %rd0, %r1, %r2;", |a, b, _| (i64::from(a as i32) * i64::from(b as i32)) as u64);
    check64("mul.wide.u32 %rd0, %r1, %r2;", |a, b, _| u64::from(a as u32) * u64::from(b as u32));
    check32("mul.wide.s16 %r0, %h1, %h2;", |a, b, _| (i32::from(a as i16) * i32::from(b as i16)) as u32);
    check32("mad.lo.s32 %r0, %r1, %r2, %r3;", |a, b, c| a.wrapping_mul(b).wrapping_add(c));
    check64("mad.wide.s32 %rd0, %r1, %r2, %rd3;", |a, b, c| ((i64::from(a as i32) * i64::from(b as i32)) as u64).wrapping_add(c));
    check32("mad.hi.u32 %r0, %r1, %r2, %r3;", |a, b, c| (((u64::from(a) * u64::from(b)) >> 32) as u32).wrapping_add(c));
    check32("min.s32 %r0, %r1, %r2;", |a, b, _| (a as i32).min(b as i32) as u32);
    check32("max.u32 %r0, %r1, %r2;", |a, b, _| a.max(b));
    check64("min.s64 %rd0, %rd1, %rd2;", |a, b, _| (a as i64).min(b as i64) as u64);
    check32("neg.s32 %r0, %r1;", |a, _, _| a.wrapping_neg());
    check32("abs.s32 %r0, %r1;", |a, _, _| (a as i32).unsigned_abs());
    check32("div.s32 %r0, %r1, %r2;", |a, b, _| if b == 0 { u32::MAX } else { (a as i32).wrapping_div(b as i32) as u32 });
    check32("rem.u32 %r0, %r1, %r2;", |a, b, _| if b == 0 { a } else { a % b });
    check64("div.u64 %rd0, %rd1, %rd2;", |a, b, _| a.checked_div(b).unwrap_or(u64::MAX));
    check64("rem.s64 %rd0, %rd1, %rd2;", |a, b, _| if b == 0 { a } else { (a as i64).wrapping_rem(b as i64) as u64 });
    check32("sad.s32 %r0, %r1, %r2, %r3;", |a, b, c| (a as i32).abs_diff(b as i32).wrapping_add(c));
}

/// 128 bits from 32-bit pieces and 64-bit ones: carries go through.
#[test]
fn carries() {
    let text = "add.cc.u32 %r4, %r1, %r2;\naddc.u32 %r5, %r3, 7;\nmov.b64 %rd0, {%r4, %r5};";
    check64(text, |a, b, c| {
        let low = u64::from(a as u32) + u64::from(b as u32);
        low & 0xffff_ffff | u64::from((c as u32).wrapping_add(7).wrapping_add((low >> 32) as u32)) << 32
    });
    let text = "sub.cc.u64 %rd4, %rd1, %rd2;\nsubc.cc.u64 %rd5, %rd3, 0;\nsubc.u64 %rd0, 0, 0;";
    check64(text, |a, b, c| if a < b && c == 0 { u64::MAX } else { 0 });
}

#[test]
fn bits() {
    check32("and.b32 %r0, %r1, %r2;", |a, b, _| a & b);
    check32("xor.b32 %r0, %r1, 0xff00ff00;", |a, _, _| a ^ 0xff00_ff00);
    check64("or.b64 %rd0, %rd1, %rd2;", |a, b, _| a | b);
    check32("not.b32 %r0, %r1;", |a, _, _| !a);
    check32("shl.b32 %r0, %r1, %r2;", |a, b, _| a.checked_shl(b).unwrap_or(0));
    check32("shr.u32 %r0, %r1, %r2;", |a, b, _| a.checked_shr(b).unwrap_or(0));
    check32("shr.s32 %r0, %r1, %r2;", |a, b, _| ((a as i32) >> b.min(31)) as u32);
    check64("shr.s64 %rd0, %rd1, %r2;", |a, b, _| ((a as i64) >> (b as u32).min(63)) as u64);
    check64("shl.b64 %rd0, %rd1, %r2;", |a, b, _| a.checked_shl(b as u32).unwrap_or(0));
    check32("shf.l.wrap.b32 %r0, %r1, %r2, %r3;", |a, b, c| ((u64::from(b) << 32 | u64::from(a)) << (c & 31) >> 32) as u32);
    check32("shf.r.clamp.b32 %r0, %r1, %r2, %r3;", |a, b, c| ((u64::from(b) << 32 | u64::from(a)) >> c.min(32)) as u32);
    check32("popc.b32 %r0, %r1;", |a, _, _| a.count_ones());
    check64("popc.b64 %r4, %rd1;\ncvt.u64.u32 %rd0, %r4;", |a, _, _| a.count_ones().into());
    check32("clz.b32 %r0, %r1;", |a, _, _| a.leading_zeros());
    check64("clz.b64 %r4, %rd1;\ncvt.u64.u32 %rd0, %r4;", |a, _, _| a.leading_zeros().into());
    check32("brev.b32 %r0, %r1;", |a, _, _| a.reverse_bits());
    check32("bfind.u32 %r0, %r1;", |a, _, _| a.checked_ilog2().unwrap_or(u32::MAX));
    check32("bfind.shiftamt.u32 %r0, %r1;", |a, _, _| if a == 0 { u32::MAX } else { a.leading_zeros() });
    check32("bfind.s32 %r0, %r1;", |a, _, _| (if (a as i32) < 0 { !a } else { a }).checked_ilog2().unwrap_or(u32::MAX));
    check32("and.b32 %r4, %r2, 31;\nbfe.u32 %r0, %r1, %r4, 9;", |a, b, _| a >> (b & 31) & 0x1ff);
    check32("bfe.s32 %r0, %r1, 20, 8;", |a, _, _| ((a << 4) as i32 >> 24) as u32);
    check32("bfe.s32 %r0, %r1, 28, 8;", |a, _, _| (a as i32 >> 28) as u32);
    check32("bfi.b32 %r0, %r1, %r2, 8, 12;", |a, b, _| b & !0xfff00 | (a & 0xfff) << 8);
    check64("bfi.b64 %rd0, %rd1, %rd2, 32, 32;", |a, b, _| b & 0xffff_ffff | a << 32);
    check32("lop3.b32 %r0, %r1, %r2, %r3, 0xe8;", |a, b, c| a & b | b & c | a & c);
    check32("lop3.b32 %r0, %r1, %r2, %r3, 0x96;", |a, b, c| a ^ b ^ c);
    check32("prmt.b32 %r0, %r1, %r2, %r3;", |a, b, c| {
        let bytes = [a.to_le_bytes(), b.to_le_bytes()].concat();
        let pick = |s: u32| {
            if s & 8 == 0 {
                bytes[s as usize]
            } else if bytes[s as usize & 7] >= 128 {
                255
            } else {
                0
            }
        };
        u32::from_le_bytes([0, 4, 8, 12].map(|i| pick(c >> i & 15)))
    });
    check32("prmt.b32.f4e %r0, %r1, %r2, 1;", |a, b, _| a >> 8 | b << 24);
}

#[test]
fn dot_products() {
    let bytes = |v: u32| v.to_le_bytes().map(|b| i32::from(b as i8));
    let plain = |v: u32| v.to_le_bytes().map(i32::from);
    let dot = |a: [i32; 4], b: [i32; 4], c: u32| a.iter().zip(b).fold(c as i32, |s, (x, y)| s.wrapping_add(x * y)) as u32;
    check32("dp4a.s32.s32 %r0, %r1, %r2, %r3;", |a, b, c| dot(bytes(a), bytes(b), c));
    check32("dp4a.u32.s32 %r0, %r1, %r2, %r3;", |a, b, c| dot(plain(a), bytes(b), c));
    check32("dp4a.s32.u32 %r0, %r1, %r2, %r3;", |a, b, c| dot(bytes(a), plain(b), c));
    check32("dp4a.u32.u32 %r0, %r1, %r2, %r3;", |a, b, c| dot(plain(a), plain(b), c));
    let halves = |v: u32| [i32::from(v as i16), i32::from((v >> 16) as i16)];
    let dot2 = |a: [i32; 2], b: &[i32], c: u32| (c as i32).wrapping_add(a[0] * b[0]).wrapping_add(a[1] * b[1]) as u32;
    check32("dp2a.lo.s32.s32 %r0, %r1, %r2, %r3;", |a, b, c| dot2(halves(a), &bytes(b)[..2], c));
    check32("dp2a.hi.s32.s32 %r0, %r1, %r2, %r3;", |a, b, c| dot2(halves(a), &bytes(b)[2..], c));
}

#[test]
fn choices_and_comparisons() {
    let pick = |op: &str, ty: &str| format!("setp.{op}.{ty} %p1, %r1, %r2;\nselp.u32 %r0, 1, 0, %p1;");
    check32(&pick("lt", "s32"), |a, b, _| ((a as i32) < (b as i32)).into());
    check32(&pick("lt", "u32"), |a, b, _| (a < b).into());
    check32(&pick("ls", "u32"), |a, b, _| (a <= b).into());
    check32(&pick("ne", "b32"), |a, b, _| (a != b).into());
    check32("setp.ge.s16 %p1, %h1, %h2;\nselp.u32 %r0, %r1, %r2, %p1;", |a, b, _| if a as i16 >= b as i16 { a } else { b });
    check32(
        "setp.gt.u32 %p2, %r1, %r3;\nsetp.lt.or.s32 %p1|%p3, %r1, %r2, !%p2;\nselp.u32 %r4, 1, 0, %p1;\nselp.u32 %r5, 2, 0, %p3;\nor.b32 %r0, %r4, %r5;",
        |a, b, c| {
            let (less, other) = ((a as i32) < (b as i32), a <= c);
            u32::from(less || other) | u32::from(!less || other) << 1
        },
    );
    check32(
        "setp.lt.u32 %p1, %r1, %r2;\nsetp.lt.u32 %p2, %r2, %r3;\nxor.pred %p3, %p1, %p2;\nnot.pred %p4, %p3;\nand.pred %p5, %p4, %p1;\n@%p5 bra YES;\nmov.u32 %r0, 0;\nbra.uni END;\nYES:\nmov.u32 %r0, 1;\nEND:",
        |a, b, c| (a < b && b < c).into(),
    );
    check32("set.eq.u32.u32 %r0, %r1, %r2;", |a, b, _| if a == b { u32::MAX } else { 0 });
    check32("slct.u32.s32 %r0, %r1, %r2, %r3;", |a, b, c| if c as i32 >= 0 { a } else { b });
    check32("@!%p0 mov.u32 %r0, 3;\nsetp.eq.u32 %p1, %r1, 0;\n@%p1 mov.u32 %r0, 4;", |a, _, _| if a == 0 { 4 } else { 3 });
}

#[test]
fn moves_of_parts() {
    check64("mov.b64 %rd0, {%r2, %r1};", |a, b, _| a << 32 | b & 0xffff_ffff);
    check64("mov.b64 {%r4, %r5}, %rd1;\ncvt.u64.u32 %rd0, %r5;", |a, _, _| a >> 32);
    check64("mov.b64 {%r4, _}, %rd1;\ncvt.u64.u32 %rd0, %r4;", |a, _, _| a & 0xffff_ffff);
    check32("mov.b32 {%h4, %h5}, %r1;\nmov.b32 %r0, {%h5, %h4};", |a, _, _| a.rotate_left(16));
}

const FLOATS: [f32; 22] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    1.5,
    0.5,
    2.5,
    -2.5,
    3.3333333,
    1e-45,
    -1e-40,
    1.1754944e-38,
    3.4028235e38,
    -3.4028235e38,
    65504.0,
    65520.0,
    6e-8,
    1e10,
    0.1,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
];

fn float_rows() -> Vec<[u64; 3]> {
    inputs(&FLOATS.map(|f| f.to_bits().into()))
}

/// Bits, every NaN being the device's.
fn out(x: f32) -> u32 {
    if x.is_nan() { 0x7fff_ffff } else { x.to_bits() }
}

fn check_f32(text: &str, want: impl Fn(f32, f32, f32) -> u32) {
    let rows = float_rows();
    let got = run(&format!("{text}\nmov.b32 %r0, %f0;\ncvt.u64.u32 %rd0, %r0;"), &rows);
    for (row, got) in rows.iter().zip(got) {
        let [a, b, c] = row.map(|v| f32::from_bits(v as u32));
        assert_eq!(got, u64::from(want(a, b, c)), "{text}: {a:e} {b:e} {c:e}, got {:e}", f32::from_bits(got as u32));
    }
}

fn flush(x: f32) -> f32 {
    if x.is_subnormal() { 0f32.copysign(x) } else { x }
}

#[test]
fn floats() {
    check_f32("add.f32 %f0, %f1, %f2;", |a, b, _| out(a + b));
    check_f32("sub.rn.f32 %f0, %f1, %f2;", |a, b, _| out(a - b));
    check_f32("mul.f32 %f0, %f1, 0f3FC00000;", |a, _, _| out(a * 1.5));
    check_f32("fma.rn.f32 %f0, %f1, %f2, %f3;", |a, b, c| out(a.mul_add(b, c)));
    check_f32("div.rn.f32 %f0, %f1, %f2;", |a, b, _| out(a / b));
    check_f32("sqrt.rn.f32 %f0, %f1;", |a, _, _| out(a.sqrt()));
    check_f32("rcp.rn.f32 %f0, %f1;", |a, _, _| out(1.0 / a));
    check_f32("neg.f32 %f0, %f1;", |a, _, _| a.to_bits() ^ 1 << 31);
    check_f32("abs.f32 %f0, %f1;", |a, _, _| a.to_bits() & !(1 << 31));
    check_f32("add.ftz.f32 %f0, %f1, %f2;", |a, b, _| out(flush(flush(a) + flush(b))));
    check_f32("mul.ftz.f32 %f0, %f1, %f2;", |a, b, _| out(flush(flush(a) * flush(b))));
    check_f32("add.sat.f32 %f0, %f1, %f2;", |a, b, _| {
        let s = a + b;
        if s > 0.0 { s.min(1.0).to_bits() } else { 0 }
    });
    let less = |a: f32, b: f32| a < b || a == b && a.is_sign_negative();
    check_f32("min.f32 %f0, %f1, %f2;", |a, b, _| {
        if a.is_nan() {
            out(b)
        } else if b.is_nan() || less(a, b) {
            out(a)
        } else {
            out(b)
        }
    });
    check_f32("max.f32 %f0, %f1, %f2;", |a, b, _| {
        if a.is_nan() {
            out(b)
        } else if b.is_nan() || less(b, a) {
            out(a)
        } else {
            out(b)
        }
    });
    check_f32("max.NaN.f32 %f0, %f1, %f2;", |a, b, _| {
        if a.is_nan() || b.is_nan() {
            0x7fff_ffff
        } else if less(b, a) {
            out(a)
        } else {
            out(b)
        }
    });
    check_f32("copysign.f32 %f0, %f1, %f2;", |a, b, _| b.copysign(a).to_bits());
    check_f32("ex2.approx.ftz.f32 %f0, %f1;", |a, _, _| out(flush(f64::from(flush(a)).exp2() as f32)));
    check_f32("rsqrt.approx.f32 %f0, %f1;", |a, _, _| out((1.0 / f64::from(a).sqrt()) as f32));
}

/// Sums that are rounded down and up enclose the exact ones, and are neighbours where they differ.
#[test]
fn roundings_of_floats() {
    let rows = float_rows();
    let get = |op: &str| -> Vec<f32> {
        let got = run(&format!("{op} %f0, %f1, %f2, %f3;\nmov.b32 %r0, %f0;\ncvt.u64.u32 %rd0, %r0;"), &rows);
        got.into_iter().map(|v| f32::from_bits(v as u32)).collect()
    };
    let (near, zero, down, up) = (get("fma.rn.f32"), get("fma.rz.f32"), get("fma.rm.f32"), get("fma.rp.f32"));
    for i in 0..rows.len() {
        let (n, z, d, u) = (near[i], zero[i], down[i], up[i]);
        assert_eq!(n.is_nan(), d.is_nan() && u.is_nan() && z.is_nan());
        if !n.is_nan() {
            assert!(d <= n && n <= u && (n == d || n == u), "{:x?}: {d:e} {n:e} {u:e}", rows[i]);
            assert_eq!(z.abs(), d.abs().min(u.abs()), "{:x?}", rows[i]);
            assert!(d == u || d.next_up() == u, "{:x?}: {d:e} {u:e}", rows[i]);
        }
    }
}

#[test]
fn comparisons_of_floats() {
    let rows = float_rows();
    let check = |op: &str, want: fn(f32, f32) -> bool| {
        let got = run(&format!("setp.{op}.f32 %p1, %f1, %f2;\nselp.u64 %rd0, 1, 0, %p1;"), &rows);
        for (row, got) in rows.iter().zip(got) {
            let [a, b, _] = row.map(|v| f32::from_bits(v as u32));
            assert_eq!(got == 1, want(a, b), "{op} {a:e} {b:e}");
        }
    };
    check("eq", |a, b| a == b);
    check("ne", |a, b| a.partial_cmp(&b).is_some_and(|o| o.is_ne()));
    check("lt", |a, b| a < b);
    check("geu", |a, b| a.partial_cmp(&b).is_none_or(|o| o.is_ge()));
    check("ltu", |a, b| a.partial_cmp(&b).is_none_or(|o| o.is_lt()));
    check("neu", |a, b| a != b);
    check("equ", |a, b| a == b || a.is_nan() || b.is_nan());
    check("num", |a, b| !a.is_nan() && !b.is_nan());
    check("nan", |a, b| a.is_nan() || b.is_nan());
}

fn half(x: f64) -> u32 {
    narrow(Ty::F16, x, Round::Near) as u32
}

fn brain(x: f64) -> u32 {
    narrow(Ty { class: Class::Brain, bits: 16 }, x, Round::Near) as u32
}

#[test]
fn conversions() {
    check32("cvt.s32.s8 %r0, %r1;", |a, _, _| i32::from(a as i8) as u32);
    check32("cvt.u32.u8 %r0, %r1;", |a, _, _| a & 255);
    check64("cvt.s64.s32 %rd0, %r1;", |a, _, _| i64::from(a as i32) as u64);
    check64("cvt.u64.u32 %rd0, %r1;", |a, _, _| u64::from(a as u32));
    check32("cvt.sat.s8.s32 %r0, %r1;", |a, _, _| (a as i32).clamp(-128, 127) as u8 as u32);
    check32("cvt.sat.u16.s32 %r0, %r1;", |a, _, _| (a as i32).clamp(0, 65535) as u32);
    check32("cvt.rn.f32.s32 %f0, %r1;\nmov.b32 %r0, %f0;", |a, _, _| (a as i32 as f32).to_bits());
    check32("cvt.rn.f32.u32 %f0, %r1;\nmov.b32 %r0, %f0;", |a, _, _| (a as f32).to_bits());
    check64("cvt.rn.f32.s64 %f0, %rd1;\nmov.b32 %r0, %f0;\ncvt.u64.u32 %rd0, %r0;", |a, _, _| (a as i64 as f32).to_bits().into());
    check64("cvt.rn.f64.u64 %d0, %rd1;\nmov.b64 %rd0, %d0;", |a, _, _| (a as f64).to_bits());
    check_f32("cvt.rni.s32.f32 %r0, %f1;\nmov.b32 %f0, %r0;", |a, _, _| a.round_ties_even() as i32 as u32);
    check_f32("cvt.rzi.u32.f32 %r0, %f1;\nmov.b32 %f0, %r0;", |a, _, _| a as u32);
    check_f32("cvt.rmi.s32.f32 %r0, %f1;\nmov.b32 %f0, %r0;", |a, _, _| a.floor() as i32 as u32);
    check_f32("cvt.rpi.f32.f32 %f0, %f1;", |a, _, _| out(a.ceil()));
    check_f32("cvt.rni.f32.f32 %f0, %f1;", |a, _, _| out(a.round_ties_even()));
    check_f32("cvt.sat.f32.f32 %f0, %f1;", |a, _, _| if a > 0.0 { a.min(1.0).to_bits() } else { 0 });
    check_f32("cvt.f64.f32 %d0, %f1;\ncvt.rn.f32.f64 %f0, %d0;", |a, _, _| out(a));
    check_f32("cvt.rn.f16.f32 %h4, %f1;\ncvt.u32.u16 %r0, %h4;\nmov.b32 %f0, %r0;", |a, _, _| half(a.into()));
    check_f32("cvt.rn.bf16.f32 %h4, %f1;\ncvt.u32.u16 %r0, %h4;\nmov.b32 %f0, %r0;", |a, _, _| brain(a.into()));
    check_f32("cvt.rn.f16x2.f32 %r0, %f1, %f2;\nmov.b32 %f0, %r0;", |a, b, _| half(a.into()) << 16 | half(b.into()));
    check_f32("cvt.rn.relu.bf16x2.f32 %r0, %f1, %f2;\nmov.b32 %f0, %r0;", |a, b, _| {
        let relu = |x: f32| if x <= 0.0 { 0 } else { brain(x.into()) };
        relu(a) << 16 | relu(b)
    });
    check_f32("cvt.rna.tf32.f32 %r0, %f1;\nmov.b32 %f0, %r0;", |a, _, _| {
        if a.is_nan() {
            0x7fff_e000
        } else if a.is_infinite() {
            a.to_bits()
        } else {
            a.to_bits().wrapping_add(0x1000) & !0x1fff
        }
    });
    let wide = |h: u32| f16_to_f32(h.into());
    check32("cvt.f32.f16 %f0, %h1;\nmov.b32 %r0, %f0;", |a, _, _| out(wide(a & 0xffff)));
}

/// f16 arithmetic: exact in f64 (fused products of halves have 22 bits, sums are within its 53 for these inputs), rounded once.
#[test]
fn halves() {
    let mut seed = 3;
    let rows: Vec<[u64; 3]> = (0..2000).map(|_| [random(&mut seed), random(&mut seed), random(&mut seed)]).collect();
    let check = |op: &str, want: fn(f64, f64, f64) -> f64| {
        for (row, got) in rows.iter().zip(run(&format!("{op}\ncvt.u64.u32 %rd0, %r0;"), &rows)) {
            for shift in [0, 16] {
                let [a, b, c] = row.map(|v| f64::from(f16_to_f32(v >> shift & 0xffff)));
                let want = want(a, b, c);
                if want.abs() < 1e4 && want.abs() > 1e-3 && c.abs() > 1e-6 && a.abs() > 1e-3 && b.abs() > 1e-3 {
                    assert_eq!(got as u32 >> shift & 0xffff, half(want), "{op} {a} {b} {c}");
                }
            }
        }
    };
    check("add.f16x2 %r0, %r1, %r2;", |a, b, _| a + b);
    check("mul.f16x2 %r0, %r1, %r2;", |a, b, _| a * b);
    check("fma.rn.f16x2 %r0, %r1, %r2, %r3;", |a, b, c| a * b + c);
    check("max.f16x2 %r0, %r1, %r2;", |a, b, _| a.max(b));
}
