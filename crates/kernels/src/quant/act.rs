//! How input rows are stored: plain floats, bf16, or int8 blocks with a float scale. Knows no weight type.
//!
//! An int8 row of `k` elements is three arrays, one after another: `k` int8 values, one f32 scale per block, then the sums of the
//! values (B32: one i32 per block; B256: one i16 per 16 values). The arrays apart keep the values of a row contiguous and aligned.
use crate::isa::Impl;
use crate::lanes::{Kernel, Lanes};
use crate::quant::QuantizeAct;
use crate::{Isa, lanes};
use core::ops::Range;

/// How an input row is stored for a weight type: one way per weight type, for decode and prefill alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Act {
    F32,
    /// int8 blocks of 32, f32 scale, i32 sum of each block
    B32,
    /// int8 blocks of 256, f32 scale, i16 sums of each 16
    B256,
    /// rounded to bf16, half to even
    Bf16,
}

impl Act {
    pub const ALL: [Act; 4] = [Act::F32, Act::B32, Act::B256, Act::Bf16];

    /// Elements that share a scale; `k` is a multiple of it.
    pub const fn block_len(self) -> usize {
        match self {
            Act::F32 | Act::Bf16 => 1,
            Act::B32 => 32,
            Act::B256 => 256,
        }
    }
    /// Bytes of a row of `k` elements. Quantised rows are padded to cache lines.
    pub const fn row_bytes(self, k: usize) -> usize {
        match self {
            Act::F32 => 4 * k,
            Act::Bf16 => (2 * k).next_multiple_of(64),
            Act::B32 => (k + k / 32 * 8).next_multiple_of(64),
            Act::B256 => (k + k / 256 * (4 + 32)).next_multiple_of(64),
        }
    }
}

impl Act {
    /// What rounding a row lost: `x` minus the values that `row` stands for.
    ///
    /// # Safety
    /// `x` and `out` have `k` floats, `row` is that `x` stored in this format, not `F32`.
    pub unsafe fn lost(self, x: *const f32, k: usize, row: *const u8, out: *mut f32) {
        if self == Act::Bf16 {
            for i in 0..k {
                // SAFETY: element `i` of all three.
                unsafe { *out.add(i) = *x.add(i) - f32::from_bits(u32::from(row.cast::<u16>().add(i).read_unaligned()) << 16) };
            }
            return;
        }
        let n = self.block_len();
        // SAFETY: the caller's contract.
        let row = unsafe { Row::new(row, k, n) };
        for i in 0..k {
            // SAFETY: element `i` and its block's scale.
            unsafe { *out.add(i) = *x.add(i) - f32::from(*row.qs.add(i)) * row.d(i / n) };
        }
    }
}

/// An int8 row taken apart: the three arrays of the module's comment.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub qs: *const i8,
    d: *const f32,
    sums: *const u8,
}

impl Row {
    /// # Safety
    /// `x` starts an int8 row of `k` elements in blocks of `block`.
    #[inline(always)]
    pub unsafe fn new(x: *const u8, k: usize, block: usize) -> Row {
        // SAFETY: the offsets lie inside the row by its layout.
        unsafe { Row { qs: x.cast(), d: x.add(k).cast(), sums: x.add(k + k / block * 4) } }
    }
    /// The scale of block `b`.
    ///
    /// # Safety
    /// `b` is a block of the row.
    #[inline(always)]
    pub unsafe fn d(&self, b: usize) -> f32 {
        // SAFETY: inside the scales; rows may stand at any address.
        unsafe { self.d.add(b).read_unaligned() }
    }
    /// The sum of block `b` of a B32 row.
    ///
    /// # Safety
    /// A B32 row with a block `b`.
    #[inline(always)]
    pub unsafe fn sum32(&self, b: usize) -> i32 {
        // SAFETY: inside the sums.
        unsafe { self.sums.cast::<i32>().add(b).read_unaligned() }
    }
    /// The sixteen sums of block `b` of a B256 row.
    ///
    /// # Safety
    /// A B256 row with a block `b`.
    #[inline(always)]
    pub unsafe fn sums16(&self, b: usize) -> *const i16 {
        // SAFETY: inside the sums.
        unsafe { self.sums.add(b * 32).cast() }
    }
}

/// The kernels that store a row as `a`.
pub(crate) fn impls(a: Act) -> &'static [Impl<QuantizeAct>] {
    match a {
        Act::F32 => &[Impl { needs: Isa::Scalar, run: copy_row }],
        Act::B32 => Kernels::<32>::IMPLS,
        Act::B256 => Kernels::<256>::IMPLS,
        Act::Bf16 => Kernels::<1>::IMPLS,
    }
}

/// The same plain loops, compiled for each instruction set: every operation is one correctly rounded float or integer.
struct Kernels<const N: usize>;
impl<const N: usize> Kernels<N> {
    const IMPLS: &[Impl<QuantizeAct>] = &[
        #[cfg(target_arch = "x86_64")]
        Impl { needs: Isa::Avx512, run: quantize::<lanes::avx512::Avx512, N> },
        #[cfg(target_arch = "x86_64")]
        Impl { needs: Isa::Avx2, run: quantize::<lanes::avx2::Avx2, N> },
        Impl { needs: Isa::Scalar, run: body::<N> },
    ];
}

struct Quantize<const N: usize> {
    x: *const f32,
    k: usize,
    part: Range<usize>,
    out: *mut u8,
}

impl<const N: usize> Kernel for Quantize<N> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(&self) {
        // SAFETY: the caller's contract.
        unsafe { body::<N>(self.x, self.k, self.part.clone(), self.out) }
    }
}

/// # Safety
/// As `body`, on a CPU with `L`.
unsafe fn quantize<L: Lanes, const N: usize>(x: *const f32, k: usize, part: Range<usize>, out: *mut u8) {
    // SAFETY: the caller's contract.
    unsafe { L::enter(&Quantize::<N> { x, k, part, out }) }
}

/// # Safety
/// `x` has `k` floats, a multiple of `N`; `part` is whole blocks of them; `out` has the row's bytes.
#[inline(always)]
unsafe fn body<const N: usize>(x: *const f32, k: usize, part: Range<usize>, out: *mut u8) {
    // SAFETY: the caller's contract.
    unsafe {
        match N {
            1 => bf16(x, part, out),
            32 => b32(x, k, part, out),
            _ => b256(x, k, part, out),
        }
    }
}

/// # Safety
/// `x` has the floats of `part`, `out` room for them; they do not overlap.
unsafe fn copy_row(x: *const f32, _: usize, part: Range<usize>, out: *mut u8) {
    // SAFETY: the caller's contract; bytes have no alignment.
    unsafe { x.add(part.start).cast::<u8>().copy_to_nonoverlapping(out.add(4 * part.start), 4 * part.len()) }
}

/// The upper halves, rounded half to even; a nan stays one (made quiet), and inf comes of what is nearer to it than to the largest bf16.
///
/// # Safety
/// As `body`.
#[inline(always)]
unsafe fn bf16(x: *const f32, part: Range<usize>, out: *mut u8) {
    for i in part {
        // SAFETY: element `i` of the floats and of `out`.
        unsafe {
            let bits = (*x.add(i)).to_bits();
            let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
            let quiet = bits | 0x40_0000;
            let top = if bits & 0x7fff_ffff > 0x7f80_0000 { quiet } else { rounded };
            out.cast::<u16>().add(i).write_unaligned((top >> 16) as u16);
        }
    }
}

/// # Safety
/// As `body`.
#[inline(always)]
unsafe fn b32(x: *const f32, k: usize, part: Range<usize>, out: *mut u8) {
    for b in part.start / 32..part.end / 32 {
        // SAFETY: block `b` of the floats and of the three arrays of `out`.
        unsafe {
            let (d, q) = block::<32>(&x.add(32 * b).cast::<[f32; 32]>().read_unaligned());
            let sum: i32 = q.iter().map(|&v| i32::from(v)).sum();
            out.add(32 * b).cast::<[i8; 32]>().write(q);
            out.add(k + 4 * b).cast::<f32>().write_unaligned(d);
            out.add(k + k / 8 + 4 * b).cast::<i32>().write_unaligned(sum);
        }
    }
}

/// # Safety
/// As `body`.
#[inline(always)]
unsafe fn b256(x: *const f32, k: usize, part: Range<usize>, out: *mut u8) {
    for b in part.start / 256..part.end / 256 {
        // SAFETY: block `b` of the floats and of the three arrays of `out`.
        unsafe {
            let (d, q) = block::<256>(&x.add(256 * b).cast::<[f32; 256]>().read_unaligned());
            let sums: [i16; 16] = std::array::from_fn(|j| q[16 * j..16 * j + 16].iter().map(|&v| i16::from(v)).sum());
            out.add(256 * b).cast::<[i8; 256]>().write(q);
            out.add(k + 4 * b).cast::<f32>().write_unaligned(d);
            out.add(k + k / 64 + 32 * b).cast::<[i16; 16]>().write_unaligned(sums);
        }
    }
}

/// The rule of both formats: scale amax / 127, values rounded half to even (what the original does on x86 for 32, and for 256 up to a
/// sign that scale and values share). A block with an inf or a nan has a nan scale and zeros, so that its products are nan; a
/// block too small for a finite 127 / amax is zero.
#[inline(always)]
fn block<const N: usize>(x: &[f32; N]) -> (f32, [i8; N]) {
    // Without their sign, floats order like integers, with inf and nan on top.
    let top = x.iter().map(|v| v.to_bits() & 0x7fff_ffff).fold(0, u32::max);
    let amax = f32::from_bits(top);
    let scale = 127.0 / amax;
    if !amax.is_finite() || !scale.is_finite() {
        return (if amax.is_finite() { 0.0 } else { f32::NAN }, [0; N]);
    }
    let mut q = [0; N];
    for (q, v) in q.iter_mut().zip(x) {
        // Adding and taking away 1.5 * 2^23 rounds half to even whatever is below 2^22; |v * scale| <= 127.00002.
        const ROUND: f32 = 12_582_912.0;
        *q = ((v * scale + ROUND).to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32) as i8;
    }
    (amax / 127.0, q)
}
