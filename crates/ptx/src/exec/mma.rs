//! Products of tiles: m16n8 results, each `c + a[0] b[0] + a[1] b[1] + ..`, as f64 in that order and rounded once at the end. Products of halves
//! and of tf32 are exact there. A device adds in groups and cuts bits off: it comes close to this, no more.
use super::{FULL, Lanes, put};
use crate::float::{narrow, widen};
use crate::isa::{Class, Mma, MmaKind, Round, Ty};

const BRAIN: Ty = Ty { class: Class::Brain, bits: 16 };

/// Elements in a register.
fn per_register(kind: MmaKind) -> usize {
    match kind {
        MmaKind::Tf32 => 1,
        MmaKind::Int8(..) => 4,
        _ => 2,
    }
}

/// Row `row` of A or column `row` of B, all k of it: register j of lane 4 g + t holds k = 4 p (j / step) + p t + e of row g (+ 8 for every other one of A).
fn line(regs: &[Lanes], fragment: &[u32], mma: &Mma, row: usize, is_a: bool, value: impl Fn(u64) -> f64) -> [f64; 32] {
    let p = per_register(mma.kind);
    let bits = 32 / p as u32;
    let mut out = [0.0; 32];
    for (j, r) in fragment.iter().enumerate() {
        let block = if is_a { j / 2 } else { j };
        if is_a && j % 2 != row / 8 {
            continue;
        }
        for t in 0..4 {
            let word = regs[*r as usize][4 * (row % 8) + t];
            for e in 0..p {
                out[4 * p * block + p * t + e] = value(word >> (bits * e as u32) & crate::isa::mask(bits));
            }
        }
    }
    out
}

pub fn run(regs: &mut [Lanes], m: &Mma) {
    let value = |is_a: bool| {
        move |v: u64| match m.kind {
            MmaKind::Half | MmaKind::HalfInHalf => widen(Ty::F16, v),
            MmaKind::Brain => widen(BRAIN, v),
            // The lower bits are not looked at.
            MmaKind::Tf32 => widen(Ty::F32, v & !0x1fff),
            MmaKind::Int8(a, b, _) if if is_a { a } else { b } => f64::from(v as i8),
            MmaKind::Int8(..) => f64::from(v as u8),
        }
    };
    let a: Vec<[f64; 32]> = (0..16).map(|i| line(regs, &m.a, m, i, true, value(true))).collect();
    let b: Vec<[f64; 32]> = (0..8).map(|i| line(regs, &m.b, m, i, false, value(false))).collect();
    let c: Vec<Lanes> = m.c.iter().map(|r| regs[*r as usize]).collect();
    for (i, d) in m.d.iter().enumerate() {
        put(&mut regs[*d as usize], FULL, |l| {
            if m.kind != MmaKind::HalfInHalf {
                return one(m, &a[l / 4 + 8 * (i / 2)], &b[2 * (l % 4) + i % 2], c[i][l]);
            }
            let half = |e: usize| one(m, &a[l / 4 + 8 * i], &b[2 * (l % 4) + e], c[i][l] >> (16 * e) & 0xffff);
            half(0) | half(1) << 16
        });
    }
}

/// One result.
fn one(m: &Mma, a: &[f64; 32], b: &[f64; 32], c: u64) -> u64 {
    let k = m.k as usize;
    let products = a.iter().zip(b).take(k).map(|(x, y)| x * y);
    match m.kind {
        // Whole numbers: f64 has their sum exactly.
        MmaKind::Int8(_, _, stops) => {
            let sum = i64::from(c as i32) + products.sum::<f64>() as i64;
            u64::from(if stops { sum.clamp(i32::MIN.into(), i32::MAX.into()) as u32 } else { sum as u32 })
        }
        MmaKind::HalfInHalf => narrow(Ty::F16, products.fold(widen(Ty::F16, c), |s, p| s + p), Round::Near),
        _ => narrow(Ty::F32, products.fold(widen(Ty::F32, c), |s, p| s + p), Round::Near),
    }
}
