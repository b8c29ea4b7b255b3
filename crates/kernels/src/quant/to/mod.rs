//! Floats to rows as `llama_model_quantize` stores them: with the importance of every column where it is known. The bytes are the original's: every
//! float operation stands in its order. Rows without importance are `to_blocks` and `to_k_blocks`, but for the IQ types.
mod iq1;
mod iq4;
mod lattice;
pub(super) mod search;
mod signed;
mod weighted;

use super::to_blocks;
use crate::DType;

/// Stores `x` as a row of `ty`; `importance` has a number per column. `false`, and nothing written, if there is no quantiser for `ty`, the lengths do not
/// fit, or the type asks for an importance that is not there.
pub fn quantize(ty: DType, x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) -> bool {
    if ty.row_bytes(x.len()) != Some(out.len()) || importance.is_some_and(|w| w.len() != x.len()) {
        return false;
    }
    match (ty, importance) {
        (DType::IQ4_NL, w) => each(x, w, out, iq4::iq4_nl),
        (DType::IQ4_XS, w) => each(x, w, out, iq4::iq4_xs),
        (DType::IQ3_XXS, w) => each(x, w, out, signed::iq3_xxs),
        (DType::IQ3_S, w) => each(x, w, out, signed::iq3_s),
        (DType::IQ2_S, w) => each(x, w, out, signed::iq2_s),
        (DType::IQ1_M, w) => each(x, w, out, iq1::iq1_m),
        (DType::IQ2_XS, Some(_)) => each(x, importance, out, signed::iq2_xs),
        (DType::IQ2_XXS, Some(_)) => each(x, importance, out, signed::iq2_xxs),
        (DType::IQ1_S, Some(_)) => each(x, importance, out, iq1::iq1_s),
        (DType::IQ2_XS | DType::IQ2_XXS | DType::IQ1_S, None) => return false,
        (_, Some(w)) if weighted::row(ty, x, w, out) => {}
        _ => return to_blocks::from_f32(ty, x, out),
    }
    true
}

/// Whether the type has no quantiser without importance.
pub fn needs_importance(ty: DType) -> bool {
    matches!(ty, DType::IQ2_XXS | DType::IQ2_XS | DType::IQ1_S)
}

/// Every block by itself, with its part of the importance.
fn each<const N: usize, const BYTES: usize>(
    x: &[f32],
    importance: Option<&[f32]>,
    out: &mut [u8],
    f: impl Fn(&[f32; N], Option<&[f32; N]>, &mut [u8; BYTES]),
) {
    let weights = importance.map(|w| w.as_chunks::<N>().0);
    for (i, (x, out)) in x.as_chunks().0.iter().zip(out.as_chunks_mut().0).enumerate() {
        f(x, weights.and_then(|w| w.get(i)), out);
    }
}

fn sum_of_squares(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |s, v| s + v * v)
}

/// What an element counts: its column's importance, more where the number stands out of `sigma2`.
fn weigh<const N: usize>(x: &[f32; N], importance: &[f32; N], sigma2: f32) -> [f32; N] {
    std::array::from_fn(|i| importance[i] * (sigma2 + x[i] * x[i]).sqrt())
}
