//! Q5_0: Q4_0 with a fifth bit: blocks of 32 five-bit values, centred on 16, with an f16 scale.
use crate::DType;
use crate::lanes::{Lanes, Words};
use crate::quant::block32::{Centred, Kernels, Small};
use crate::quant::group::{At, Shape};
use crate::quant::oracle::{Scaled, f16, to_f32};
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

pub(crate) struct Q5_0;
pub(crate) const FORMAT: Format =
    Format { ty: DType::Q5_0, act: Act::B32, to_f32: to_f32::<Q5_0>, impls: Kernels::<Q5_0>::IMPLS, groups: Kernels::<Q5_0>::GROUPS };

impl Scaled for Q5_0 {
    type Block = Block;
    fn scale(b: &Block) -> f32 {
        f16(b.d)
    }
    fn values(b: &Block) -> [i32; 32] {
        let qh = u32::from_le_bytes(b.qh);
        std::array::from_fn(|i| i32::from(b.qs[i % 16] >> (4 * (i / 16)) & 15) + ((qh >> i & 1) << 4) as i32 - 16)
    }
}

/// The bits of a byte as the fifth bits of eight bytes.
pub(crate) static FIFTH: [u64; 256] = {
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
        // SAFETY: top bits and nibbles follow the two bytes of the scale.
        unsafe { L::sub(five_bits::<L>(a.add(2), b.add(2)), 16) }
    }

    const SHAPE: Shape = Shape::of(DType::Q5_0);
    type Products = Centred<5, 16>;
    #[inline(always)]
    unsafe fn block<L: Lanes>(at: At) -> [L::P; 8] {
        // SAFETY: the caller's contract.
        unsafe { five_bits_of_rows::<L>(at, 0) }
    }
}

/// Two blocks' values, unsigned: four bytes of top bits from each place on, then the nibbles.
///
/// # Safety
/// The bytes are there, on a CPU with `L`.
#[inline(always)]
pub(crate) unsafe fn five_bits<L: Lanes>(a: *const u8, b: *const u8) -> L::V {
    let mut top = [0u64; 8];
    // SAFETY: the caller's contract.
    unsafe {
        for (i, top) in top.iter_mut().enumerate() {
            *top = FIFTH[usize::from(*(if i < 4 { a } else { b }).add(i % 4))];
        }
        let top: *const u8 = top.as_ptr().cast();
        L::or(L::nibbles(a.add(4), b.add(4)), L::load(top, top.add(32)))
    }
}

/// The same of a vector's rows: word `first` holds the top bits, four of nibbles follow.
///
/// # Safety
/// The words are there, on a CPU with `L`.
#[inline(always)]
pub(crate) unsafe fn five_bits_of_rows<L: Lanes>(at: At, first: usize) -> [L::P; 8] {
    // SAFETY: the caller's contract. The product moves four neighbouring bits to the ends of four bytes.
    unsafe {
        let (top, mut q) = (at.word::<L>(first), nibbles::<L>(at, first + 1));
        for (i, q) in q.iter_mut().enumerate() {
            let four = top.shr(4 * i as u32).and_word(15);
            let apart = L::panel_mul_add(L::P::splat(0), four, L::P::splat(0x0020_4081)).and(1);
            *q = q.or(apart.shl(4));
        }
        q
    }
}
