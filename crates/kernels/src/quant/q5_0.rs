//! Q5_0: Q4_0 with a fifth bit: blocks of 32 five-bit values, centred on 16, with an f16 scale.
use crate::DType;
use crate::lanes::{Lanes, Words};
use crate::quant::block32::{Kernels, Small};
use crate::quant::group::{At, Shape};
use crate::quant::oracle::{Oracle, act_block, dot, f16};
use crate::quant::q4_0::nibbles;
use crate::quant::{Act, Format};

/// `w[i] = d * (q[i] - 16)`; byte `j` holds the low bits of elements `j` (low nibble) and `j + 16`, bit `i` of `qh` the top bit of element `i`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Block {
    pub d: u16,
    pub qh: [u8; 4],
    pub qs: [u8; 16],
}
const _: () = assert!(size_of::<Block>() == 22 && align_of::<Block>() == 2);

impl Block {
    fn values(&self) -> [i32; 32] {
        let qh = u32::from_le_bytes(self.qh);
        std::array::from_fn(|i| i32::from(self.qs[i % 16] >> (4 * (i / 16)) & 15) + ((qh >> i & 1) << 4) as i32 - 16)
    }
}

pub(crate) struct Q5_0;
pub(crate) const FORMAT: Format =
    Format { ty: DType::Q5_0, act: Act::B32, to_f32, impls: Kernels::<Q5_0>::IMPLS, groups: Kernels::<Q5_0>::GROUPS };

/// # Safety
/// `row` has `k` elements, `out` room for `k`.
unsafe fn to_f32(row: *const u8, k: usize, out: *mut f32) {
    for b in 0..k / 32 {
        // SAFETY: block `b` of the row and of `out`.
        let (w, out) = unsafe { (row.cast::<Block>().add(b).read_unaligned(), out.add(32 * b).cast::<[f32; 32]>()) };
        let y = w.values().map(|q| f16(w.d) * q as f32);
        // SAFETY: as above.
        unsafe { out.write_unaligned(y) };
    }
}

impl Oracle for Q5_0 {
    unsafe fn dot(w: *const u8, x: *const u8, k: usize) -> f32 {
        let mut acc = 0.0f32;
        for b in 0..k / 32 {
            // SAFETY: block `b` of both rows.
            let (w, (dx, x)) = unsafe { (w.cast::<Block>().add(b).read_unaligned(), act_block::<32>(x, k, b)) };
            acc = (f16(w.d) * dx).mul_add(dot(&w.values(), &x) as f32, acc);
        }
        acc
    }
}

/// The bits of a byte as the fifth bits of eight bytes.
const FIFTH: [u64; 256] = {
    let mut t = [0; 256];
    let mut i = 0;
    while i < 256 * 8 {
        t[i / 8] |= (((i / 8) >> (i % 8) & 1) as u64) << (8 * (i % 8) + 4);
        i += 1;
    }
    t
};

impl Small for Q5_0 {
    type D = u16;
    const BYTES: usize = size_of::<Block>();
    #[inline(always)]
    unsafe fn weights<L: Lanes>(a: *const u8, b: *const u8) -> L::V {
        // SAFETY: four bytes of top bits follow the two of the scale, then the nibbles.
        unsafe {
            let mut top = [0u64; 8];
            for (i, top) in top.iter_mut().enumerate() {
                let block = if i < 4 { a } else { b };
                *top = FIFTH[usize::from(*block.add(2 + i % 4))];
            }
            let top: *const u8 = top.as_ptr().cast();
            L::sub(L::or(L::nibbles(a.add(6), b.add(6)), L::load(top, top.add(32))), 16)
        }
    }

    const SHAPE: Shape = Shape::of(DType::Q5_0);
    const BITS: Option<u32> = Some(5);
    const CENTRE: i32 = 16;
    #[inline(always)]
    unsafe fn block<L: Lanes>(at: At) -> [L::P; 8] {
        // SAFETY: a word of top bits, then four of nibbles. The product moves four neighbouring bits to the ends of four bytes.
        unsafe {
            let (top, mut q) = (at.word::<L>(0), nibbles::<L>(at, 1));
            for (i, q) in q.iter_mut().enumerate() {
                let four = top.shr(4 * i as u32).and_word(15);
                let apart = L::panel_mul_add(L::P::splat(0), four, L::P::splat(0x0020_4081)).and(1);
                *q = q.or(apart.shl(4));
            }
            q
        }
    }
}
