//! NVFP4: blocks of 64 four-bit floats, as in MXFP4; every 16 have an unsigned 8-bit float for a scale.
use super::{Blocks, ONES, Plain, Sixteens, format};
use crate::DType;
use crate::quant::Format;

pub(crate) const NVFP4: Format = format::<Nvfp4>();

/// `w[i] = d[i / 16] / 2 * VALUES[q[i]]` with MXFP4's doubled values; of the eight bytes of 16 elements, byte `j` holds elements `j` (low nibble)
/// and `j + 8`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Block {
    d: [u8; 4],
    qs: [[u8; 8]; 4],
}
const _: () = assert!(size_of::<Block>() == 36);

/// Half of a float of four exponent and three mantissa bits; 0x7f is nothing.
pub(crate) const fn half_scale(e: u8) -> f32 {
    let (exponent, mantissa) = (e >> 3 & 15, (e & 7) as f32);
    match e {
        0x7f => 0.0,
        _ if exponent == 0 => mantissa / 1024.0,
        _ => (8.0 + mantissa) / 2048.0 * (1u32 << exponent) as f32,
    }
}

/// The float of four exponent and three mantissa bits nearest to `x`, halves up; all of the highest exponent are its
/// second largest (the largest is no number).
pub(crate) fn small_float(x: f32) -> u8 {
    if x.is_nan() || x <= 0.0 {
        return 0;
    }
    let bits = x.min(448.0).to_bits();
    let exponent = (bits >> 23) as i32 - 127 + 7;
    if exponent <= 0 {
        return (x * 512.0 + 0.5).min(7.0) as u8;
    }
    // Three bits of the mantissa, and the next one added: a carry belongs to the exponent.
    let rounded = (exponent << 3 | (bits >> 20 & 7) as i32) + (bits >> 19 & 1) as i32;
    if rounded >= 15 << 3 { 0x7e } else { rounded as u8 }
}

static SCALES: [f32; 256] = {
    let (mut t, mut i) = ([0.0; 256], 0);
    while i < 256 {
        t[i] = half_scale(i as u8);
        i += 1;
    }
    t
};

/// The values of eight codes, one to a byte, each 12 larger: `mxfp4::ABOVE` by arithmetic.
#[inline(always)]
fn above(q: u64) -> u64 {
    // Sizes 0 to 3 stand for themselves, 4 to 7 for 4, 6, 8, 12.
    let (size, large) = (q & (7 * ONES), q >> 2 & ONES);
    let size = size + (size & (3 * large)) + ((size & size >> 1 & large) << 1);
    12 * ONES + size - ((size << 1) & ((q >> 3 & ONES) * 255))
}

struct Nvfp4;
impl Blocks for Nvfp4 {
    type Block = Block;
    type Kind = Sixteens;
    const TYPE: DType = DType::NVFP4;
    const ELEMENTS: usize = 64;
    #[inline(always)]
    fn unpack(b: &Block, at: usize, to: &mut Plain) {
        let mut q = [0; 8];
        for (s, qs) in b.qs.iter().enumerate() {
            let qs = u64::from_le_bytes(*qs);
            (q[2 * s], q[2 * s + 1]) = (qs & (15 * ONES), qs >> 4 & (15 * ONES));
            to.put_scale(at / 16 + s, SCALES[usize::from(b.d[s])]);
        }
        for (q, out) in q.iter().zip(to.q[at..at + 64].as_chunks_mut().0) {
            *out = above(*q).to_le_bytes();
        }
    }
}
