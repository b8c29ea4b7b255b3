//! IQ4_XS: super-blocks of 256 nibbles that index a table of 16 values; every 32 have a 6-bit scale centred on 32.
use crate::quant::oracle::{Oracle, act_block, dot, f16};
use crate::quant::{Act, Format, oracle};
use crate::{DType, Impl, Isa};

/// `w[i] = d * (scale[i / 32] - 32) * VALUES[q[i]]`. Sub-block `j` is bytes `16 j ..`: elements 0-15 in the low nibbles. Its scale has
/// its low 4 bits in nibble `j` of `scales_l`, its top 2 in bits `2 j ..` of `scales_h`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Block {
    pub d: u16,
    pub scales_h: u16,
    pub scales_l: [u8; 4],
    pub qs: [u8; 128],
}
const _: () = assert!(size_of::<Block>() == 136 && align_of::<Block>() == 2);

/// The non-linear 4-bit values of the IQ4 types.
pub(crate) const VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

impl Block {
    fn scale(&self, j: usize) -> i32 {
        let (low, high) = (self.scales_l[j / 2] >> (4 * (j % 2)) & 15, self.scales_h >> (2 * j) & 3);
        i32::from(low) + 16 * i32::from(high) - 32
    }
    fn value(&self, i: usize) -> i32 {
        let q = self.qs[i / 32 * 16 + i % 16] >> (4 * (i / 16 % 2)) & 15;
        i32::from(VALUES[usize::from(q)])
    }
}

pub(crate) struct Iq4Xs;
pub(crate) const FORMAT: Format =
    Format { ty: DType::IQ4_XS, act: Act::B256, to_f32, impls: &[Impl { needs: Isa::Scalar, run: oracle::mat_mul::<Iq4Xs> }] };

/// # Safety
/// `row` has `k` elements, `out` room for `k`.
unsafe fn to_f32(row: *const u8, k: usize, out: *mut f32) {
    for b in 0..k / 256 {
        // SAFETY: block `b` of the row and of `out`.
        let (w, out) = unsafe { (row.cast::<Block>().add(b).read_unaligned(), out.add(256 * b)) };
        for i in 0..256 {
            // SAFETY: as above.
            unsafe { *out.add(i) = f16(w.d) * w.scale(i / 32) as f32 * w.value(i) as f32 };
        }
    }
}

impl Oracle for Iq4Xs {
    unsafe fn dot(w: *const u8, x: *const u8, k: usize) -> f32 {
        let mut acc = 0.0f32;
        for b in 0..k / 256 {
            // SAFETY: block `b` of both rows.
            let (w, (dx, x)) = unsafe { (w.cast::<Block>().add(b).read_unaligned(), act_block::<256>(x, k, b)) };
            let mut isum = 0;
            for j in 0..8 {
                let q: [i32; 32] = std::array::from_fn(|i| w.value(32 * j + i));
                isum += w.scale(j) * dot(&q, &x[32 * j..32 * j + 32]);
            }
            acc = (f16(w.d) * dx).mul_add(isum as f32, acc);
        }
        acc
    }
}
