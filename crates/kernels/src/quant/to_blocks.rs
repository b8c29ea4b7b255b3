//! Floats to F16, BF16 and Q8_0 rows, bit-identical to the original's reference quantisers. The K types come with the quantise tool.
use crate::DType;
use crate::quant::q8_0::Block;

/// Stores `x` as a row of `ty`. `false`, and nothing written, if there is no quantiser for `ty` or the lengths do not fit.
pub fn from_f32(ty: DType, x: &[f32], out: &mut [u8]) -> bool {
    if ty.row_bytes(x.len()) != Some(out.len()) {
        return false;
    }
    match ty {
        DType::F32 => each(x, out, f32::to_le_bytes),
        DType::F16 => each(x, out, |v| half::f16::from_f32(v).to_le_bytes()),
        DType::BF16 => each(x, out, |v| bf16(v).to_le_bytes()),
        DType::Q8_0 => x.chunks_exact(32).zip(out.chunks_exact_mut(34)).for_each(|(x, out)| q8_0(x, out)),
        _ => return false,
    }
    true
}

fn each<const N: usize>(x: &[f32], out: &mut [u8], f: impl Fn(f32) -> [u8; N]) {
    x.iter().zip(out.chunks_exact_mut(N)).for_each(|(&v, out)| out.copy_from_slice(&f(v)));
}

/// Rounds half to even; a nan keeps its upper bits and becomes quiet.
fn bf16(v: f32) -> u16 {
    let b = v.to_bits();
    if v.is_nan() {
        return (b >> 16) as u16 | 64;
    }
    (b.wrapping_add(0x7fff + (b >> 16 & 1)) >> 16) as u16
}

/// Scale amax / 127, values rounded half away from zero by the scale *before* it is cut to f16.
fn q8_0(x: &[f32], out: &mut [u8]) {
    let amax = x.iter().fold(0.0f32, |a, v| if a > v.abs() { a } else { v.abs() });
    let d = amax / 127.0;
    let id = if d != 0.0 { 1.0 / d } else { 0.0 };
    out[..2].copy_from_slice(&half::f16::from_f32(d).to_le_bytes());
    for (q, v) in out[2..].iter_mut().zip(x) {
        *q = (v * id).round() as i8 as u8;
    }
    const _: () = assert!(size_of::<Block>() == 34);
}
