//! Q6_K: super-blocks of 256 six-bit values, centred on 32; every 16 have a signed byte as scale, the super-block an f16.
use crate::quant::oracle::{Oracle, act_block, dot, f16};
use crate::quant::{Act, Format, oracle};
use crate::{DType, Impl, Isa};

/// `w[i] = d * scales[i / 16] * (q[i] - 32)`. Per half of 128: `ql[0..64]` holds the low 4 bits of elements 0-63 (low nibbles) and
/// 64-127, `qh[l]` the top bits of elements `l`, `l + 32`, `l + 64`, `l + 96` from its low end up.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Block {
    pub ql: [u8; 128],
    pub qh: [u8; 64],
    pub scales: [i8; 16],
    pub d: u16,
}
const _: () = assert!(size_of::<Block>() == 210 && align_of::<Block>() == 2);

impl Block {
    fn value(&self, i: usize) -> i32 {
        let (half, i) = (i / 128, i % 128);
        let low = self.ql[64 * half + i % 64] >> (4 * (i / 64)) & 15;
        let high = self.qh[32 * half + i % 32] >> (2 * (i / 32)) & 3;
        i32::from(low | high << 4) - 32
    }
}

pub(crate) struct Q6K;
pub(crate) const FORMAT: Format =
    Format { ty: DType::Q6_K, act: Act::B256, to_f32, impls: &[Impl { needs: Isa::Scalar, run: oracle::mat_mul::<Q6K> }] };

/// # Safety
/// `row` has `k` elements, `out` room for `k`.
unsafe fn to_f32(row: *const u8, k: usize, out: *mut f32) {
    for b in 0..k / 256 {
        // SAFETY: block `b` of the row and of `out`.
        let (w, out) = unsafe { (row.cast::<Block>().add(b).read_unaligned(), out.add(256 * b)) };
        for i in 0..256 {
            // SAFETY: as above.
            unsafe { *out.add(i) = f16(w.d) * f32::from(w.scales[i / 16]) * w.value(i) as f32 };
        }
    }
}

impl Oracle for Q6K {
    unsafe fn dot(w: *const u8, x: *const u8, k: usize) -> f32 {
        let mut acc = 0.0f32;
        for b in 0..k / 256 {
            // SAFETY: block `b` of both rows.
            let (w, (dx, x)) = unsafe { (w.cast::<Block>().add(b).read_unaligned(), act_block::<256>(x, k, b)) };
            let mut isum = 0;
            for j in 0..16 {
                let q: [i32; 16] = std::array::from_fn(|i| w.value(16 * j + i));
                isum += i32::from(w.scales[j]) * dot(&q, &x[16 * j..16 * j + 16]);
            }
            acc = (f16(w.d) * dx).mul_add(isum as f32, acc);
        }
        acc
    }
}
