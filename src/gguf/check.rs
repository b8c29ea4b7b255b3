//! `check_tensors`: are a tensor's floats and block scales finite? Knows where each format keeps its scales, nothing of their use.
use super::{DType, TensorInfo};
use platform::{Error, Result};

/// A number inside a block that must be finite.
#[derive(Clone, Copy)]
enum Float {
    F16,
    Bf16,
    F32,
    F64,
    /// A bare exponent, 0xff is its NaN.
    E8m0,
    /// IQ1_M spreads an f16 over the high nibbles of four u16.
    Nibbles,
}

/// (offset in the block, what stands there); empty where every bit pattern is a number. `None`: no file may hold such a tensor.
fn scales(ty: DType) -> Option<&'static [(usize, Float)]> {
    use Float::*;
    Some(match ty {
        DType::F32 | DType::Q8_K => &[(0, F32)],
        DType::F64 => &[(0, F64)],
        DType::F16 => &[(0, F16)],
        DType::BF16 => &[(0, Bf16)],
        DType::Q1_0 | DType::Q2_0 | DType::Q4_0 | DType::Q5_0 | DType::Q8_0 => &[(0, F16)],
        DType::IQ1_S | DType::IQ2_XXS | DType::IQ2_XS | DType::IQ2_S | DType::IQ3_XXS | DType::IQ3_S => &[(0, F16)],
        DType::IQ4_NL | DType::IQ4_XS => &[(0, F16)],
        DType::Q4_1 | DType::Q5_1 | DType::Q4_K | DType::Q5_K => &[(0, F16), (2, F16)],
        DType::Q2_K => &[(80, F16), (82, F16)],
        DType::Q3_K => &[(108, F16)],
        DType::Q6_K => &[(208, F16)],
        DType::TQ1_0 => &[(52, F16)],
        DType::TQ2_0 => &[(64, F16)],
        DType::IQ1_M => &[(48, Nibbles)],
        DType::MXFP4 => &[(0, E8m0)],
        DType::NVFP4 | DType::I8 | DType::I16 | DType::I32 | DType::I64 => &[],
        DType::Q8_1 => return None,
    })
}

/// Checks whole blocks of a tensor: all of it, or a piece. The error names the tensor and the first bad block of `bytes`.
pub fn check_data(t: &TensorInfo, bytes: &[u8]) -> Result<()> {
    let invalid = |why: String| Err(Error::invalid(format!("tensor '{}' has invalid data: {why}", t.name)));
    let stride = t.ty.block_bytes();
    if !bytes.len().is_multiple_of(stride) {
        return invalid(format!("{} bytes are not whole blocks of {stride}", bytes.len()));
    }
    let Some(scales) = scales(t.ty) else { return invalid(format!("{} is no type for a file", t.ty.name())) };
    for &(at, float) in scales {
        let bad = bytes.chunks_exact(stride).position(|block| !finite(&block[at..], float));
        if let Some(i) = bad {
            return invalid(format!("a number that is not finite in block {i} ({})", t.ty.name()));
        }
    }
    Ok(())
}

/// `b` starts at the number; the table's offsets leave room for it.
fn finite(b: &[u8], float: Float) -> bool {
    let u16_at = |i: usize| u16::from_le_bytes([b[2 * i], b[2 * i + 1]]);
    match float {
        Float::F16 => u16_at(0) & 0x7c00 != 0x7c00,
        Float::Bf16 => u16_at(0) & 0x7f80 != 0x7f80,
        Float::F32 => u16_at(1) & 0x7f80 != 0x7f80,
        Float::F64 => u16_at(3) & 0x7ff0 != 0x7ff0,
        Float::E8m0 => b[0] != 0xff,
        // The exponent of the f16 is in bits 10..=14: the top of the third nibble and three bits of the fourth.
        Float::Nibbles => (u16_at(2) >> 4 & 0x0c00 | u16_at(3) & 0x7000) != 0x7c00,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(ty: DType) -> TensorInfo {
        TensorInfo { name: "t".into(), ty, shape: [1; 4], n_dims: 1, file: 0, offset: 0, bytes: 0 }
    }

    /// All-zero blocks are finite in every format; a number with all exponent bits set, at each place the table names, is found.
    #[test]
    fn every_scale_of_every_format_is_looked_at() {
        for &(ty, name, _, n) in DType::TABLE {
            let t = tensor(ty);
            let mut bytes = vec![0u8; 3 * n];
            let Some(scales) = scales(ty) else {
                assert!(check_data(&t, &bytes).is_err());
                continue;
            };
            check_data(&t, &bytes).unwrap();
            for &(at, float) in scales {
                let (skip, inf): (usize, &[u8]) = match float {
                    Float::F16 => (0, &[0x00, 0x7c]),
                    Float::Bf16 => (0, &[0x80, 0x7f]),
                    Float::F32 => (0, &[0, 0, 0x80, 0x7f]),
                    Float::F64 => (0, &[0, 0, 0, 0, 0, 0, 0xf0, 0x7f]),
                    Float::E8m0 => (0, &[0xff]),
                    Float::Nibbles => (4, &[0x00, 0xc0, 0x00, 0x70]),
                };
                let range = 2 * n + at + skip..2 * n + at + skip + inf.len();
                bytes[range.clone()].copy_from_slice(inf);
                let e = check_data(&t, &bytes).unwrap_err().to_string();
                assert!(e.contains("'t'") && e.contains("block 2"), "{name}: {e}");
                bytes[range.clone()].iter_mut().for_each(|b| *b = b.wrapping_sub(0x10));
                check_data(&t, &bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
                bytes.fill(0);
            }
            assert!(n == 1 || check_data(&t, &bytes[1..]).is_err(), "{name}");
        }
    }
}
