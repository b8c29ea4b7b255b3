//! IQ4_NL and IQ4_XS: indices into a table of sixteen values.
use super::search::{all_under_table, fit_table, round};
use super::{sum_of_squares, weigh};
use crate::quant::to_blocks::{farthest, inverse, nearest, put_f16, put_low_bits};

/// What the elements count.
fn weights<const N: usize>(x: &[f32; N], importance: Option<&[f32; N]>, sigma2: f32) -> [f32; N] {
    importance.map_or_else(|| x.map(|v| v * v), |w| weigh(x, w, sigma2))
}

pub(super) fn iq4_nl(x: &[f32; 32], importance: Option<&[f32; 32]>, out: &mut [u8; 18]) {
    let d = fit_table(x, &weights(x, importance, sum_of_squares(x) * (2.0 / 32.0)));
    put_f16(out, d);
    let id = inverse(d);
    put_low_bits(&x.map(|v| nearest(id * v) as u8), &mut out[2..]);
}

pub(super) fn iq4_xs(x: &[f32; 256], importance: Option<&[f32; 256]>, out: &mut [u8; 136]) {
    let sigma2 = sum_of_squares(x) * (2.0 / 256.0);
    let scales = all_under_table(x, &weights(x, importance, sigma2));
    out.fill(0);
    let d = -farthest(&scales) / 32.0;
    put_f16(out, d);
    for (j, (x, scale)) in x.as_chunks::<32>().0.iter().zip(scales).enumerate() {
        let sc = round(inverse(d) * scale).clamp(-32, 31);
        let id = inverse(d * sc as f32);
        let bits = (sc + 32) as u8;
        out[4 + j / 2] |= (bits & 15) << (4 * (j % 2));
        out[2 + j / 4] |= (bits >> 4) << (2 * (j % 4));
        put_low_bits(&x.map(|v| nearest(id * v) as u8), &mut out[8 + 16 * j..24 + 16 * j]);
    }
}
