//! Sixty-four bytes of a row, and the few ways in which a format makes them: what `Lanes` begins with, and plain Rust for every CPU. Knows no format.

/// Safety of every function: the CPU has the instruction set, and pointers have 64 bytes, at any address.
pub(crate) trait Bytes: Copy + 'static {
    /// 64 bytes.
    type V: Copy;

    /// The lowest bits of `bits`, one after the other, to where `mask` has ones.
    unsafe fn deposit(bits: u64, mask: u64) -> u64;
    /// The bits of `bits` where `mask` has ones, one after the other.
    unsafe fn extract(bits: u64, mask: u64) -> u64;
    /// The bytes of eight words, each from its low end up.
    unsafe fn words(w: [u64; 8]) -> Self::V;
    unsafe fn half_words(w: [i32; 16]) -> Self::V;
    unsafe fn store(v: Self::V, p: *mut u8);
    unsafe fn and(v: Self::V, mask: u8) -> Self::V;
    /// Each byte below 16 replaced by its value.
    unsafe fn lookup(v: Self::V, table: &[i8; 16]) -> Self::V;
    /// `centre` plus each byte, or less it where its bit of `negative` is set.
    unsafe fn signed(centre: i8, v: Self::V, negative: u64) -> Self::V;
    /// Each byte times the number, below 256, of its pair, modulo 256.
    unsafe fn times(v: Self::V, by: &[u16; 32]) -> Self::V;
    /// Each byte's first digit as a fraction of 256 in base 3.
    unsafe fn thirds(v: Self::V) -> Self::V;
}

/// Plain Rust.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

impl Bytes for Portable {
    type V = [u8; 64];

    unsafe fn deposit(bits: u64, mut mask: u64) -> u64 {
        let (mut out, mut n) = (0, 0);
        while mask != 0 {
            out |= (bits >> n & 1) << mask.trailing_zeros();
            (mask, n) = (mask & (mask - 1), n + 1);
        }
        out
    }
    unsafe fn extract(bits: u64, mut mask: u64) -> u64 {
        let (mut out, mut n) = (0, 0);
        while mask != 0 {
            out |= (bits >> mask.trailing_zeros() & 1) << n;
            (mask, n) = (mask & (mask - 1), n + 1);
        }
        out
    }
    unsafe fn words(w: [u64; 8]) -> [u8; 64] {
        std::array::from_fn(|i| (w[i / 8] >> (i % 8 * 8)) as u8)
    }
    unsafe fn half_words(w: [i32; 16]) -> [u8; 64] {
        std::array::from_fn(|i| (w[i / 4] >> (i % 4 * 8)) as u8)
    }
    unsafe fn store(v: [u8; 64], p: *mut u8) {
        // SAFETY: the trait's contract.
        unsafe { p.cast::<[u8; 64]>().write(v) }
    }
    unsafe fn and(v: [u8; 64], mask: u8) -> [u8; 64] {
        v.map(|v| v & mask)
    }
    unsafe fn lookup(v: [u8; 64], table: &[i8; 16]) -> [u8; 64] {
        v.map(|v| table[usize::from(v & 15)] as u8)
    }
    unsafe fn signed(centre: i8, v: [u8; 64], negative: u64) -> [u8; 64] {
        let centre = centre as u8;
        std::array::from_fn(|i| if negative >> i & 1 == 0 { centre.wrapping_add(v[i]) } else { centre.wrapping_sub(v[i]) })
    }
    unsafe fn times(v: [u8; 64], by: &[u16; 32]) -> [u8; 64] {
        std::array::from_fn(|i| v[i].wrapping_mul(by[i / 2] as u8))
    }
    unsafe fn thirds(v: [u8; 64]) -> [u8; 64] {
        v.map(|v| ((u16::from(v) * 3) >> 8) as u8)
    }
}
