//! Random weights: a block's random bytes are made into a block whose weights have a wanted spread and no mean. A mean would be a
//! direction that every matrix amplifies by sqrt(k): all tokens would end up in it, and at the same experts. Must not know models.
use llama::gguf::{DType, TensorInfo};
use llama::{Error, Result};
use std::io::Write;

/// A type's block: given random bytes and a spread, leaves weights.
struct Codec {
    ty: DType,
    shape_up: fn(&mut [u8], f32),
}

/// The divisors are the standard deviation of a block of random bytes whose scale is 1.
const CODECS: &[Codec] = &[
    Codec { ty: DType::F32, shape_up: |b, std| float(b, std, 23) },
    Codec { ty: DType::F16, shape_up: f16 },
    Codec { ty: DType::BF16, shape_up: |b, std| float(b, std, 7) },
    Codec { ty: DType::Q8_0, shape_up: q8_0 },
    Codec { ty: DType::Q4_0, shape_up: |b, std| signed_scale(b, std / 4.6) },
    Codec { ty: DType::Q5_0, shape_up: |b, std| signed_scale(b, std / 9.2) },
    Codec { ty: DType::Q5_1, shape_up: q5_1 },
    Codec { ty: DType::IQ4_NL, shape_up: |b, std| signed_scale(b, std / 67.0) },
    Codec { ty: DType::IQ4_XS, shape_up: |b, std| signed_scale(b, std / 1247.0) },
    Codec { ty: DType::Q4_K, shape_up: |b, std| scale_and_min(b, std / 258.0, 7.5) },
    Codec { ty: DType::Q5_K, shape_up: |b, std| scale_and_min(b, std / 526.0, 15.5) },
    Codec { ty: DType::Q6_K, shape_up: q6_k },
    Codec { ty: DType::Q4_1, shape_up: q4_1 },
    Codec { ty: DType::Q2_K, shape_up: q2_k },
    Codec { ty: DType::Q3_K, shape_up: |b, std| last_scale(b, std / 43.0) },
    Codec { ty: DType::IQ3_S, shape_up: |b, std| signed_scale(b, std / 157.0) },
    Codec { ty: DType::IQ3_XXS, shape_up: |b, std| signed_scale(b, std / 142.0) },
    Codec { ty: DType::IQ2_S, shape_up: |b, std| signed_scale(b, std / 62.0) },
    Codec { ty: DType::IQ2_XS, shape_up: |b, std| signed_scale(b, std / 62.0) },
    Codec { ty: DType::IQ2_XXS, shape_up: |b, std| signed_scale(b, std / 62.0) },
    Codec { ty: DType::IQ1_S, shape_up: |b, std| signed_scale(b, std / 7.4) },
    Codec { ty: DType::IQ1_M, shape_up: iq1_m },
    Codec { ty: DType::TQ1_0, shape_up: |b, std| last_scale(b, std / 0.82) },
    Codec { ty: DType::TQ2_0, shape_up: tq2_0 },
    Codec { ty: DType::Q1_0, shape_up: signed_scale },
    Codec { ty: DType::Q2_0, shape_up: |b, std| signed_scale(b, std / 1.22) },
    Codec { ty: DType::MXFP4, shape_up: mxfp4 },
    Codec { ty: DType::NVFP4, shape_up: nvfp4 },
];

/// Writes weights of standard deviation `std`; they depend on the tensor's name, type and size only.
pub fn random(t: &TensorInfo, std: f32, out: &mut dyn Write) -> Result<()> {
    let codec = CODECS.iter().find(|c| c.ty == t.ty).ok_or_else(|| Error::invalid(format!("no random weights of type {}", t.ty.name())))?;
    let block = t.ty.block_bytes();
    let mut random = Random(t.name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3)));
    let (mut left, mut buf) = (t.bytes, vec![0; block * 4096]);
    while left > 0 {
        let piece = &mut buf[..left.min(block as u64 * 4096) as usize];
        random.fill(piece);
        piece.chunks_exact_mut(block).for_each(|b| (codec.shape_up)(b, std));
        out.write_all(piece).map_err(|e| Error::io("cannot write weights", e))?;
        left -= piece.len() as u64;
    }
    Ok(())
}

/// Writes the same number `n` times.
pub fn constant(v: f32, n: u64, out: &mut dyn Write) -> Result<()> {
    (0..n).try_for_each(|_| out.write_all(&v.to_le_bytes())).map_err(|e| Error::io("cannot write weights", e))
}

/// The exponent whose octave is closest to `std`: its numbers have 1.53 times its start. Biased as an f32's.
fn octave(std: f32) -> u32 {
    (std / 1.53 * std::f32::consts::SQRT_2).to_bits() >> 23
}

/// A random sign and mantissa over one exponent, of the upper bits of an f32: `mantissa` 23 or, for BF16, 7.
fn float(b: &mut [u8], std: f32, mantissa: u32) {
    let mask = (1u32 << mantissa) - 1;
    let mut wide = [0; 4];
    wide[..b.len()].copy_from_slice(b);
    let random = u32::from_le_bytes(wide);
    let sign = random >> (b.len() * 8 - 1) << (b.len() * 8 - 1);
    let bits = sign | octave(std) << mantissa | random & mask;
    b.copy_from_slice(&bits.to_le_bytes()[..b.len()]);
}

fn f16(b: &mut [u8], std: f32) {
    let exponent = octave(std).saturating_sub(127 - 15).clamp(1, 30) as u16;
    let bits = u16::from_le_bytes([b[0], b[1]]) & 0x83ff | exponent << 10;
    b.copy_from_slice(&bits.to_le_bytes());
}

/// The nearest f16 of a small positive number.
fn to_f16(v: f32) -> u16 {
    let exponent = (v.to_bits() >> 23) as i32 - 127;
    let step = (exponent.max(-14) - 10) as f32;
    let mantissa = (v / step.exp2()).round() as u16;
    mantissa + ((exponent.max(-14) + 14) as u16) * 1024
}

/// A scale that differs from block to block: `d` plus or minus an eighth.
fn set_scale(at: &mut [u8], d: f32) -> f32 {
    let d = d * (0.875 + f32::from(at[0] & 63) / 256.0);
    at.copy_from_slice(&to_f16(d).to_le_bytes());
    d
}

/// The values of these blocks are not centred; a random sign per block centres the tensor. The original's quantiser writes both signs.
fn signed_scale(b: &mut [u8], d: f32) {
    let sign = b[1] & 0x80;
    set_scale(&mut b[..2], d);
    b[1] |= sign;
}

/// d, 32 signed bytes.
fn q8_0(b: &mut [u8], std: f32) {
    set_scale(&mut b[..2], std / 73.0);
    // Quantisers are symmetric: -128 never occurs.
    b[2..].iter_mut().filter(|q| **q == 128).for_each(|q| *q = 127);
}

/// d, m, values of 0 to 31.
fn q5_1(b: &mut [u8], std: f32) {
    let d = set_scale(&mut b[..2], std / 9.2);
    b[2..4].copy_from_slice(&(to_f16(15.5 * d) | 0x8000).to_le_bytes());
}

/// d, m, values of 0 to 15.
fn q4_1(b: &mut [u8], std: f32) {
    let d = set_scale(&mut b[..2], std / 4.6);
    b[2..4].copy_from_slice(&(to_f16(7.5 * d) | 0x8000).to_le_bytes());
}

/// Scales and minima of four bits, values of 0 to 3, d, dmin.
fn q2_k(b: &mut [u8], std: f32) {
    scale_and_min(&mut b[80..], std / 14.0, 1.5);
}

/// A scale at the end, of either sign.
fn last_scale(b: &mut [u8], d: f32) {
    let at = b.len() - 2;
    signed_scale(&mut b[at..], d);
}

/// Two bits each: 3 is no ternary value.
fn tq2_0(b: &mut [u8], std: f32) {
    b.iter_mut().for_each(|q| *q &= !((*q & *q >> 1 & 0x55) << 1));
    last_scale(b, std / 0.7);
}

/// The scale's bits are the top nibbles of the last four words.
fn iq1_m(b: &mut [u8], std: f32) {
    let mut d = [b[0], b[1]];
    signed_scale(&mut d, std / 7.4);
    for j in 0..4 {
        let nibble = (u16::from_le_bytes(d) >> (4 * j) & 15) as u8;
        b[49 + 2 * j] = b[49 + 2 * j] & 15 | nibble << 4;
    }
}

/// A power of two, and values that are twice 0 to 6 (their root mean square: 5.9).
fn mxfp4(b: &mut [u8], std: f32) {
    b[0] = ((std / 5.9).to_bits() >> 23) as u8 + 1 + (b[0] & 1);
}

/// Four scales of three bits below the smallest normal number of their format, 2^-6; values 0 to 6.
fn nvfp4(b: &mut [u8], std: f32) {
    let d = (std / 2.9 * 512.0).round().clamp(1.0, 6.0) as u8;
    b[..4].iter_mut().for_each(|s| *s = d + (*s & 1));
}

/// d, dmin, 12 bytes of 6-bit scales and minima, values around `middle`.
fn scale_and_min(b: &mut [u8], d: f32, middle: f32) {
    set_scale(&mut b[..2], d);
    set_scale(&mut b[2..4], middle * d);
}

/// Values, scales of either sign, d.
fn q6_k(b: &mut [u8], std: f32) {
    set_scale(&mut b[208..], std / 1366.0);
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    fn fill(&mut self, out: &mut [u8]) {
        for part in out.chunks_mut(8) {
            part.copy_from_slice(&self.next().to_le_bytes()[..part.len()]);
        }
    }
}
