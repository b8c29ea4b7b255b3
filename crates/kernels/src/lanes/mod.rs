//! What a format needs of an instruction set: operations on one or two sub-blocks of 32 values, and on panels of rows.
//!
//! Nothing here says how wide a vector is, or which operand of an 8-bit product must be unsigned: a format says what range its values
//! have, an ISA does the rest. One file per ISA implements `Lanes`; every format gets it. Integer results are exact everywhere, and the
//! float operations are single correctly rounded ones, so that every ISA gives the oracles' bits.
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512_vnni;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx_vnni;
pub(crate) mod bytes;
#[cfg(target_arch = "x86_64")]
pub(crate) mod sums;

pub(crate) use bytes::Bytes;

/// A body that runs inside `Lanes::enter`, compiled for that instruction set.
pub(crate) trait Kernel {
    /// # Safety
    /// The CPU has `L`; the kernel's own contract.
    unsafe fn run<L: Lanes>(&self);
}

/// A vector of floats, a lane per row.
pub(crate) trait Floats: Copy {
    /// # Safety (of all): the CPU has the instruction set; a pointer has a vector's worth of elements, at any address.
    unsafe fn splat(v: f32) -> Self;
    unsafe fn load(p: *const f32) -> Self;
    unsafe fn store(self, p: *mut f32);
    unsafe fn from_f16(p: *const u16) -> Self;
    unsafe fn mul(self, b: Self) -> Self;
    /// `self * b + c`, rounded once.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    /// `c - self * b`, rounded once.
    unsafe fn neg_mul_add(self, b: Self, c: Self) -> Self;
}

/// A vector of 32-bit words, a lane per row: four bytes, two i16 or an integer, as a format says.
pub(crate) trait Words: Copy {
    /// # Safety (of all): as `Floats`; loads read a vector's worth of words.
    unsafe fn load(p: *const u8) -> Self;
    unsafe fn store(self, p: *mut u8);
    unsafe fn splat(v: i32) -> Self;
    /// Every byte with `mask`.
    unsafe fn and(self, mask: u8) -> Self;
    /// Every word with `mask`.
    unsafe fn and_word(self, mask: i32) -> Self;
    unsafe fn or(self, b: Self) -> Self;
    unsafe fn sub(self, b: Self) -> Self;
    /// Words moved down or up; a neighbouring byte's bits come in: mask them.
    unsafe fn shr(self, n: u32) -> Self;
    unsafe fn shl(self, n: u32) -> Self;
    /// Each byte below 16 replaced by its value.
    unsafe fn lookup(self, table: &[i8; 16]) -> Self;
    /// Byte `i` of every word as a signed integer.
    unsafe fn byte(self, i: usize) -> Self;
    /// Bytes `a` and `b` of every word as two signed i16.
    unsafe fn pair(self, a: usize, b: usize) -> Self;
}

/// An instruction set.
///
/// `V` (of `Bytes`) holds the 8-bit values of two sub-blocks of 32 ("a pair"); `S` the sixteen factors of a super-block, one per 16 elements; `A` the
/// partial sums of one row's dot; `I`, `F` eight rows' integers and floats; `P`, `G` the words and floats of `ROWS` rows of a group.
///
/// Safety of every function: the CPU has the instruction set, and pointers have as many bytes as the comment says, at any address.
pub(crate) trait Lanes: Bytes {
    /// Rows of a vector of words: 16, or 8 (half a group).
    const ROWS: usize;
    /// Tokens of the largest register tile of a panel product: 4 or 8.
    const TILE: usize;
    /// Two sub-blocks of input, with what a product with signed weights wants to know of them.
    type X: Copy;
    type S: Copy;
    type A: Copy;
    type I: Copy;
    type F: Floats;
    type P: Words;
    type G: Floats;

    /// Runs `k` with this instruction set enabled.
    unsafe fn enter<K: Kernel>(k: &K);

    // ---- two sub-blocks
    /// 32 bytes from each place.
    unsafe fn load(a: *const u8, b: *const u8) -> Self::V;
    /// 16 bytes from each place; a sub-block is their low 4 bits, then their high 4 bits.
    unsafe fn nibbles(a: *const u8, b: *const u8) -> Self::V;
    /// The first sub-block's bytes shifted down by `A`, the second's by `B`. A neighbour's bits may come in at the top: mask them.
    unsafe fn shr<const A: u32, const B: u32>(v: Self::V) -> Self::V;
    /// Bytes below 16, shifted up by 4.
    unsafe fn shl4(v: Self::V) -> Self::V;
    unsafe fn or(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(v: Self::V, b: u8) -> Self::V;
    /// Input values for `dot_signed`: 32 from each place.
    unsafe fn input(a: *const i8, b: *const i8) -> Self::X;

    // ---- factors of a super-block
    /// Eight signed bytes, each the factor of 32 elements.
    unsafe fn factors8(s: u64) -> Self::S;
    /// Sixteen signed bytes.
    unsafe fn factors(s: [u64; 2]) -> Self::S;
    /// The same at `p`.
    unsafe fn factors16(p: *const i8) -> Self::S;
    /// `sum_j s[j] * sums[j]`, spread over lanes that `reduce` adds up.
    unsafe fn dot_sums(s: Self::S, sums: *const i16) -> Self::A;

    // ---- one row
    unsafe fn zero() -> Self::A;
    /// Adds the products of pair `J` of a super-block times their factors. `w` in `0..128`, factors 8-bit.
    unsafe fn dot_small<const J: usize>(acc: Self::A, w: Self::V, x: Self::V, s: Self::S) -> Self::A;
    /// The same for any signed `w`.
    unsafe fn dot_signed<const J: usize>(acc: Self::A, w: Self::V, x: Self::X, s: Self::S) -> Self::A;
    /// The products of any signed `w`, those of sixteen elements each kept apart.
    unsafe fn dot_plain(w: Self::V, x: Self::X) -> Self::A;
    /// The sums of `x` (not -128) with the signs of `negative`, those of each sub-block kept apart.
    unsafe fn sum_signed(x: Self::V, negative: u64) -> Self::A;
    /// Eight rows' sums, a lane per row; `reduce_halves`: the two sub-blocks apart; `reduce_quarters`: sixteen elements each.
    unsafe fn reduce(a: [Self::A; 8]) -> Self::I;
    unsafe fn reduce_halves(a: [Self::A; 8]) -> [Self::I; 2];
    unsafe fn reduce_quarters(a: [Self::A; 8]) -> [Self::I; 4];
    /// `a - 32 * c`
    unsafe fn centre(a: Self::I, c: Self::I) -> Self::I;
    unsafe fn floats(a: Self::I) -> Self::F;

    // ---- words of ROWS rows
    /// 64 bytes of sixteen rows, to `[16][16 rows][4]`.
    unsafe fn transpose(rows: &[*const u8; 16], out: *mut u8);
    /// An integer as `panel_small` and `panel_signed_small` want it.
    unsafe fn small_factor(s: Self::P) -> Self::P;
    /// Adds factor times products of `4 * N` elements (`N` 4 or 8); weights in `0..1 << BITS`. `x`: each token's values.
    unsafe fn panel_small<const BITS: u32, const N: usize, const T: usize>(
        acc: &mut [Self::P; T],
        w: &[Self::P; N],
        s: Self::P,
        x: &[*const i8; T],
    );
    /// `start` plus the products of 32 elements, weights in `0..1 << BITS`.
    unsafe fn panel_unit<const BITS: u32, const T: usize>(start: [Self::P; T], w: &[Self::P; 8], x: &[*const i8; T]) -> [Self::P; T];
    /// The products of 32 elements, any signed weights; `sums`: the sum of each token's 32 values.
    unsafe fn panel_signed<const T: usize>(w: &[Self::P; 8], x: &[*const i8; T], sums: &[i32; T]) -> [Self::P; T];
    /// Adds factor (of `small_factor`) times such products.
    unsafe fn panel_signed_small<const T: usize>(acc: &mut [Self::P; T], w: &[Self::P; 8], s: Self::P, x: &[*const i8; T], sums: &[i32; T]);
    /// `acc` plus the products of each lane's two i16 with the two at `x`.
    unsafe fn panel_pairs(acc: Self::P, c: Self::P, x: *const i16) -> Self::P;
    /// `acc + a * s`
    unsafe fn panel_mul_add(acc: Self::P, a: Self::P, s: Self::P) -> Self::P;
    unsafe fn panel_floats(a: Self::P) -> Self::G;
    /// The f16 in the lower half of each word.
    unsafe fn low_halves(a: Self::P) -> Self::G;
}

/// Shuffles of the bytes of four words that put bytes `a` and `b` of each on top of its two halves, at `4 a + b`.
pub(crate) const PAIRS: [[u8; 16]; 16] = {
    let mut t = [[0x80; 16]; 16];
    let mut i = 0;
    while i < 64 {
        let (pair, word) = (i / 4, i % 4);
        t[pair][4 * word + 1] = (4 * word + pair / 4) as u8;
        t[pair][4 * word + 3] = (4 * word + pair % 4) as u8;
        i += 1;
    }
    t
};
