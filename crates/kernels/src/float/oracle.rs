//! The scalar truth for every float kernel: plain loops, written to be read, never to be fast.
//! Shares nothing with the vector bodies; must not be optimised.

use super::{Act, RopeKind, STREAMS};

pub fn rms_norm(x: &[f32], w: Option<&[f32]>, eps: f32, out: &mut [f32]) {
    let sum: f64 = x.iter().map(|v| f64::from(v * v)).sum();
    let scale = 1.0 / ((sum / x.len() as f64) as f32 + eps).sqrt();
    for (i, o) in out.iter_mut().enumerate() {
        *o = x[i] * scale * w.map_or(1.0, |w| w[i]);
    }
}

pub fn layer_norm(x: &[f32], w: Option<&[f32]>, b: Option<&[f32]>, eps: f32, out: &mut [f32]) {
    let n = x.len() as f64;
    let mean = (x.iter().map(|v| f64::from(*v)).sum::<f64>() / n) as f32;
    let var = (x.iter().map(|v| f64::from((v - mean) * (v - mean))).sum::<f64>() / n) as f32;
    let scale = 1.0 / (var + eps).sqrt();
    for (i, o) in out.iter_mut().enumerate() {
        *o = (x[i] - mean) * scale * w.map_or(1.0, |w| w[i]) + b.map_or(0.0, |b| b[i]);
    }
}

pub fn l2_norm(x: &[f32], eps: f32, out: &mut [f32]) {
    let sum: f64 = x.iter().map(|v| f64::from(v * v)).sum();
    let scale = 1.0 / (sum as f32).sqrt().max(eps);
    for (o, v) in out.iter_mut().zip(x) {
        *o = v * scale;
    }
}

pub fn add(x: &[f32], y: &[f32], out: &mut [f32]) {
    for (i, o) in out.iter_mut().enumerate() {
        *o = x[i] + y[i];
    }
}

pub fn add_to(x: &mut [f32], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}

pub fn mul(x: &[f32], y: &[f32], out: &mut [f32]) {
    for (i, o) in out.iter_mut().enumerate() {
        *o = x[i] * y[i];
    }
}

pub fn scale(x: &mut [f32], s: f32) {
    x.iter_mut().for_each(|v| *v *= s);
}

pub fn add_scaled(x: &mut [f32], y: &[f32], s: f32) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y * s;
    }
}

pub fn low_rank(y: &mut [&mut [f32]], z: &[&[f32]], b: &[f32], width: usize, s: f32) {
    for (y, z) in y.iter_mut().zip(z) {
        for (i, y) in y.iter_mut().enumerate() {
            *y += s * z.iter().enumerate().fold(0.0, |sum, (r, z)| z.mul_add(b[r * width + i], sum));
        }
    }
}

pub fn softcap(x: &mut [f32], cap: f32) {
    x.iter_mut().for_each(|v| *v = cap * (*v / cap).tanh());
}

/// One activation of one value, in f64 so that the vector forms have a truth to be measured against.
pub fn act_one(kind: Act, x: f32) -> f32 {
    let x = f64::from(x);
    let y = match kind {
        Act::Silu => x / (1.0 + (-x).exp()),
        Act::GeluTanh => 0.5 * x * (1.0 + (0.797_884_560_802_865_4 * x * (1.0 + 0.044715 * x * x)).tanh()),
        Act::GeluErf => 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)),
        Act::GeluQuick => x / (1.0 + (-1.702 * x).exp()),
        // `max` would turn a NaN into 0.
        Act::Relu => {
            if x < 0.0 {
                0.0
            } else {
                x
            }
        }
        Act::ReluSqr => {
            if x < 0.0 {
                0.0
            } else {
                x * x
            }
        }
        Act::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Act::Softplus => {
            if x > 20.0 {
                x
            } else {
                (1.0 + x.exp()).ln()
            }
        }
        Act::Tanh => x.tanh(),
        Act::Exp => x.exp(),
    };
    // 0 * inf far out on the negative side is a limit of 0, not NaN.
    if x == f64::NEG_INFINITY && y.is_nan() { 0.0 } else { y as f32 }
}

/// The error function: Taylor's series in the middle, Laplace's continued fraction outside.
fn erf(x: f64) -> f64 {
    if x.abs() < 2.5 {
        let (mut term, mut sum) = (x, x);
        for n in 1..60 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return sum * std::f64::consts::FRAC_2_SQRT_PI;
    }
    let t = x.abs();
    let tail = (1..=60).rev().fold(t, |f, k| t + 0.5 * f64::from(k) / f);
    (1.0 - (-t * t).exp() / (tail * std::f64::consts::PI.sqrt())).copysign(x)
}

pub fn act(kind: Act, x: &mut [f32]) {
    x.iter_mut().for_each(|v| *v = act_one(kind, *v));
}

pub fn glu(kind: Act, gate: &[f32], up: &[f32], out: &mut [f32]) {
    for (i, o) in out.iter_mut().enumerate() {
        *o = act_one(kind, gate[i]) * up[i];
    }
}

pub fn glu_oai(gate: &[f32], up: &[f32], alpha: f32, limit: f32, out: &mut [f32]) {
    for (i, o) in out.iter_mut().enumerate() {
        let (g, u) = (gate[i].min(limit), up[i].max(-limit).min(limit));
        *o = g / (1.0 + (-alpha * g).exp()) * (u + 1.0);
    }
}

pub fn rope_rows(kind: RopeKind, x: &mut [f32], n_rot: usize, cos_sin: &[f32]) {
    for i in 0..n_rot / 2 {
        let (a, b) = match kind {
            RopeKind::Norm => (2 * i, 2 * i + 1),
            RopeKind::Neox => (i, i + n_rot / 2),
        };
        let (c, s) = (cos_sin[2 * i], cos_sin[2 * i + 1]);
        (x[a], x[b]) = (x[a] * c - x[b] * s, x[a] * s + x[b] * c);
    }
}

pub fn hadamard(x: &mut [f32], n: usize) {
    debug_assert!(n.is_power_of_two());
    let scale = 1.0 / (n as f32).sqrt();
    for x in x.chunks_exact_mut(n) {
        x.iter_mut().for_each(|v| *v *= scale);
        for apart in (0..n.ilog2()).map(|i| 1 << i) {
            for pair in x.chunks_exact_mut(2 * apart) {
                let (a, b) = pair.split_at_mut(apart);
                a.iter_mut().zip(b).for_each(|(a, b)| (*a, *b) = (*a + *b, *a - *b));
            }
        }
    }
}

pub fn softmax(x: &mut [f32]) {
    let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = x.iter().map(|v| f64::from((v - max).exp())).sum();
    let inv = (1.0 / sum) as f32;
    x.iter_mut().for_each(|v| *v = (*v - max).exp() * inv);
}

pub fn argmax(x: &[f32]) -> usize {
    let mut best = 0;
    for i in 1..x.len() {
        if x[i] > x[best] || (x[best].is_nan() && !x[i].is_nan()) {
            best = i;
        }
    }
    best
}

pub fn max_of_middles(x: &[&[f32]; STREAMS], out: &mut [f32; STREAMS]) {
    let max = |x: &&[f32]| x.as_chunks::<3>().0.iter().map(|t| t[1]).filter(|v| !v.is_nan()).fold(f32::NEG_INFINITY, f32::max);
    *out = x.each_ref().map(max);
}

pub fn dot(x: &[f32], y: &[f32]) -> f32 {
    x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>() as f32
}

pub fn f32_to_f16(x: &[f32], out: &mut [u8]) {
    for (v, o) in x.iter().zip(out.chunks_exact_mut(2)) {
        o.copy_from_slice(&half::f16::from_f32_const(*v).to_le_bytes());
    }
}

pub fn f16_to_f32(x: &[u8], out: &mut [f32]) {
    for (b, o) in x.chunks_exact(2).zip(out) {
        *o = half::f16::from_le_bytes([b[0], b[1]]).to_f32_const();
    }
}

pub fn f32_to_bf16(x: &[f32], out: &mut [u8]) {
    for (v, o) in x.iter().zip(out.chunks_exact_mut(2)) {
        o.copy_from_slice(&half::bf16::from_f32_const(*v).to_le_bytes());
    }
}

pub fn bf16_to_f32(x: &[u8], out: &mut [f32]) {
    for (b, o) in x.chunks_exact(2).zip(out) {
        *o = half::bf16::from_le_bytes([b[0], b[1]]).to_f32_const();
    }
}

pub fn f32_to_q8_0(x: &[f32], out: &mut [u8]) {
    for (x, o) in x.chunks_exact(32).zip(out.chunks_exact_mut(34)) {
        let amax = x.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let d = amax / 127.0;
        let id = if d == 0.0 { 0.0 } else { 1.0 / d };
        o[..2].copy_from_slice(&half::f16::from_f32_const(d).to_le_bytes());
        for (v, q) in x.iter().zip(&mut o[2..]) {
            *q = (v * id).round() as i8 as u8;
        }
    }
}

pub fn q8_0_to_f32(x: &[u8], out: &mut [f32]) {
    for (b, o) in x.chunks_exact(34).zip(out.chunks_exact_mut(32)) {
        let d = half::f16::from_le_bytes([b[0], b[1]]).to_f32_const();
        for (q, o) in b[2..].iter().zip(o) {
            *o = f32::from(*q as i8) * d;
        }
    }
}
