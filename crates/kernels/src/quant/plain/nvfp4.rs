//! NVFP4: blocks of 64 four-bit floats, as in MXFP4; every 16 have an unsigned 8-bit float for a scale.
use super::{Blocks, Bytes, Sixteens, format};
use crate::DType;
use crate::quant::Format;
use crate::quant::mxfp4::VALUES;

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

struct Nvfp4;
impl Blocks for Nvfp4 {
    type Block = Block;
    type Kind = Sixteens;
    const TYPE: DType = DType::NVFP4;
    const ELEMENTS: usize = 64;
    #[inline(always)]
    unsafe fn values<B: Bytes>(b: &Block, _: usize) -> B::V {
        let mut words = [0; 8];
        for (w, qs) in words.as_chunks_mut().0.iter_mut().zip(b.qs) {
            let qs = u64::from_le_bytes(qs);
            *w = [qs, qs >> 4];
        }
        // SAFETY: the caller's contract.
        unsafe { B::lookup(B::and(B::words(words), 15), &VALUES) }
    }
    #[inline(always)]
    unsafe fn scales<B: Bytes>(b: &Block) -> [f32; 4] {
        let [i, j, k, l] = b.d;
        [SCALES[usize::from(i)], SCALES[usize::from(j)], SCALES[usize::from(k)], SCALES[usize::from(l)]]
    }
}
