//! Kernels as NVRTC compiles them, for sm_75 and sm_80, against the same sums on the CPU. The .cu texts stand beside the PTX in tests/fixtures.
mod common;
use common::Arg::{F, I, P};
use common::{Bench, noise};
use mockcuda::float::{f16_to_f32, narrow};
use mockcuda::isa::{Round, Ty};

const MATVEC: [&str; 2] = [include_str!("fixtures/matvec.sm75.ptx"), include_str!("fixtures/matvec.sm80.ptx")];
const ROWS: [&str; 2] = [include_str!("fixtures/rows.sm75.ptx"), include_str!("fixtures/rows.sm80.ptx")];
const MATMUL: &str = include_str!("fixtures/matmul.sm80.ptx");

fn to_f16(x: f32) -> u16 {
    narrow(Ty::F16, x.into(), Round::Near) as u16
}

fn close(got: &[f32], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len());
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((f64::from(*g) - w).abs() <= tolerance * (1.0 + w.abs()), "{i}: {g} for {w}");
    }
}

/// Blocks of 32 as Q8_0 has them.
fn q8_0(values: &[f32]) -> (Vec<u8>, Vec<f64>) {
    let (mut bytes, mut back) = (Vec::new(), Vec::new());
    for block in values.chunks(32) {
        let d = to_f16(block.iter().fold(0f32, |m, x| m.max(x.abs())) / 127.0);
        bytes.extend(d.to_le_bytes());
        let d = f16_to_f32(d.into());
        for x in block {
            let q = (x / d).round().clamp(-127.0, 127.0) as i8;
            bytes.push(q as u8);
            back.push(f64::from(q) * f64::from(d));
        }
    }
    (bytes, back)
}

#[test]
fn products_of_q8_0_rows() {
    for text in MATVEC {
        let mut b = Bench::new(text);
        let (rows, n) = (5, 32 * 200);
        let (w, w_back) = q8_0(&noise(rows * n, 1));
        let (x, x_back) = q8_0(&noise(n, 2));
        let (w, x, y) = (b.bytes(&w), b.bytes(&x), b.room(4 * rows));
        b.run("matvec_q8_0", [rows as u32 + 1, 1, 1], [128, 1, 1], 0, &[P(w), P(x), P(y), I(200), I(rows as i32)]);
        let want: Vec<f64> = w_back.chunks(n).map(|r| r.iter().zip(&x_back).map(|(a, b)| a * b).sum()).collect();
        close(&b.get_f32(y, rows), &want, 1e-5);
    }
}

#[test]
fn nibbles_through_a_table_and_a_function() {
    let table = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
    for text in MATVEC {
        let mut b = Bench::new(text);
        let (rows, blocks) = (3, 70);
        let q: Vec<u8> = noise(rows * blocks * 16, 3).iter().map(|x| (x.to_bits() >> 7) as u8).collect();
        let (s, x) = (noise(rows * blocks, 4), noise(blocks * 32, 5));
        let want: Vec<f64> = (0..rows)
            .map(|r| {
                let value = |i: usize, half: usize, k: usize| f64::from(table[(q[16 * i + k] >> (4 * half) & 15) as usize]);
                let block = |j: usize| {
                    let i = r * blocks + j;
                    let sum: f64 = (0..32).map(|e| value(i, e / 16, e % 16) * f64::from(x[32 * j + e])).sum();
                    sum * f64::from(s[i])
                };
                (0..blocks).map(block).sum()
            })
            .collect();
        let (q, s, x, y) = (b.bytes(&q), b.f32s(&s), b.f32s(&x), b.room(4 * rows));
        b.run("matvec_iq4", [rows as u32, 1, 1], [64, 1, 1], 4 * 64, &[P(q), P(s), P(x), P(y), I(blocks as i32)]);
        close(&b.get_f32(y, rows), &want, 1e-4);
        let (done, _) = b.program.globals["rows_done"];
        assert_eq!(b.get_u32(done, 1), [rows as u32]);
    }
}

#[test]
fn norms_and_softmax() {
    for text in ROWS {
        let mut b = Bench::new(text);
        let (rows, n) = (3, 300);
        let (x, w) = (noise(rows * n, 6), noise(n, 7));
        let (px, pw, y) = (b.f32s(&x), b.f32s(&w), b.room(4 * rows * n));
        b.run("rms_norm", [rows as u32, 1, 1], [128, 1, 1], 0, &[P(px), P(pw), P(y), I(n as i32), F(1e-5)]);
        let row = |r: &[f32]| {
            let mean: f64 = r.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / n as f64;
            let scale = 1.0 / (mean + 1e-5).sqrt();
            r.iter().zip(&w).map(|(v, w)| f64::from(*v) * scale * f64::from(*w)).collect::<Vec<_>>()
        };
        close(&b.get_f32(y, rows * n), &x.chunks(n).flat_map(row).collect::<Vec<_>>(), 1e-5);
        b.run("softmax", [rows as u32, 1, 1], [64, 1, 1], 0, &[P(px), P(y), I(n as i32), F(3.0)]);
        let row = |r: &[f32]| {
            let e: Vec<f64> = r.iter().map(|v| (3.0 * f64::from(*v)).exp()).collect();
            let sum: f64 = e.iter().sum();
            e.into_iter().map(move |v| v / sum)
        };
        close(&b.get_f32(y, rows * n), &x.chunks(n).flat_map(row).collect::<Vec<_>>(), 1e-6);
    }
}

/// Positions up to a million go through the reduction of angles that CUDA does for large ones.
#[test]
fn rope_near_and_far() {
    for text in ROWS {
        let mut b = Bench::new(text);
        let (n, positions) = (64usize, [0u32, 1, 77, 4095, 131_071, 1_000_003]);
        let x = noise(n * positions.len(), 8);
        let (px, pos) = (b.f32s(&x), b.u32s(&positions));
        b.run("rope", [positions.len() as u32, 2, 1], [16, 1, 1], 0, &[P(px), P(pos), I(n as i32), F(10000.0), I(0)]);
        let got = b.get_f32(px, x.len());
        for (r, pos) in positions.iter().enumerate() {
            for i in 0..n / 2 {
                // The angle as f32 arithmetic has it: its own error grows with the position.
                let theta = f64::from((*pos as f32) * (10000f32.powf(-2.0 * i as f32 / n as f32)));
                let (a, c) = (f64::from(x[r * n + i]), f64::from(x[r * n + i + n / 2]));
                let tolerance = 1e-5 + theta * 4e-7;
                let (g, h) = (f64::from(got[r * n + i]), f64::from(got[r * n + i + n / 2]));
                assert!((g - (a * theta.cos() - c * theta.sin())).abs() < tolerance, "{pos} {i}: {g}");
                assert!((h - (a * theta.sin() + c * theta.cos())).abs() < tolerance, "{pos} {i}: {h}");
            }
        }
    }
}

#[test]
fn products_of_tiles() {
    let mut b = Bench::new(MATMUL);
    let (m, n, k) = (32usize, 24usize, 48usize);
    let halves = |v: &[f32]| v.iter().map(|x| to_f16(*x)).collect::<Vec<u16>>();
    let (x, w) = (halves(&noise(m * k, 9)), halves(&noise(n * k, 10)));
    let (px, pw, y) = (b.put(&x, u16::to_le_bytes), b.put(&w, u16::to_le_bytes), b.room(4 * m * n));
    b.run("matmul_f16", [(n / 8) as u32, (m / 16) as u32, 1], [32, 1, 1], 0, &[P(px), P(pw), P(y), I(m as i32), I(n as i32), I(k as i32)]);
    let value = |h: u16| f64::from(f16_to_f32(h.into()));
    let dot = |i: usize| (0..k).map(|e| value(x[i / n * k + e]) * value(w[i % n * k + e])).sum();
    close(&b.get_f32(y, m * n), &(0..m * n).map(dot).collect::<Vec<_>>(), 1e-6);
}

#[test]
fn products_of_tiles_of_bytes() {
    let mut b = Bench::new(MATMUL);
    let (m, n, k) = (16usize, 16usize, 64usize);
    let bytes = |seed| noise(m * k, seed).iter().map(|x| (x * 127.0) as i8 as u8).collect::<Vec<_>>();
    let (x, w) = (bytes(11), bytes(12));
    let (px, pw, y) = (b.bytes(&x), b.bytes(&w), b.room(4 * m * n));
    b.run("matmul_s8", [(n / 8) as u32, (m / 16) as u32, 1], [32, 1, 1], 0, &[P(px), P(pw), P(y), I(n as i32), I(k as i32)]);
    let dot = |i: usize| (0..k).map(|e| i32::from(x[i / n * k + e] as i8) * i32::from(w[i % n * k + e] as i8)).sum::<i32>();
    assert_eq!(b.get_u32(y, m * n), (0..m * n).map(|i| dot(i) as u32).collect::<Vec<_>>());
}
