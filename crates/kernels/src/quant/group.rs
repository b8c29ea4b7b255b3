//! Groups: sixteen rows side by side, the layout that products read. Same bytes as sixteen rows of the file, in another order, so a
//! group stands where its rows stood. Knows block sizes, not what is in a block.
//!
//! Per block of the format: first the odd bytes of each row (those beyond a multiple of four: a scale), then its 4-byte words, word `j`
//! of all sixteen rows in 64 bytes. One stream instead of sixteen, and a vector lane is a row without any shuffle.
use crate::isa::Impl;
use crate::lanes::{Kernel, Lanes, Words};
use crate::{DType, Isa, lanes};

/// Rows of a group, for every instruction set.
pub const ROWS: usize = 16;

/// How a block of a format is taken apart.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub bytes: usize,
    /// Where the odd bytes stand: at the start or after the words.
    odd_at: usize,
}

impl Shape {
    pub const fn of(ty: DType) -> Shape {
        let bytes = block_bytes(ty);
        // These have their scale at the end.
        Shape { bytes, odd_at: if matches!(ty, DType::Q6_K | DType::Q3_K | DType::TQ2_0) { bytes / 4 * 4 } else { 0 } }
    }
    const fn odd(self) -> usize {
        self.bytes % 4
    }
    const fn words_at(self) -> usize {
        if self.odd_at == 0 { self.odd() } else { 0 }
    }
    const fn words(self) -> usize {
        self.bytes / 4
    }
}

/// `DType::block_bytes`, at compile time.
const fn block_bytes(ty: DType) -> usize {
    let mut i = 0;
    while i < DType::TABLE.len() {
        if DType::TABLE[i].0 as u32 == ty as u32 {
            return DType::TABLE[i].3;
        }
        i += 1;
    }
    0
}

/// A block of a group, seen by a vector that starts at one of its rows.
#[derive(Clone, Copy)]
pub(crate) struct At {
    words: *const u8,
    /// The odd bytes of the vector's rows.
    pub odd: *const u8,
}

impl At {
    /// # Safety
    /// A group's block starts at `block`; `row` is 0, or 8 for a vector of eight.
    #[inline(always)]
    pub unsafe fn new(block: *const u8, shape: Shape, row: usize) -> At {
        // SAFETY: the offsets lie inside the block.
        unsafe { At { words: block.add(ROWS * shape.odd() + 4 * row), odd: block.add(row * shape.odd()) } }
    }
    /// Word `j` of the vector's rows.
    ///
    /// # Safety
    /// A block has a word `j`; the CPU has `L`.
    #[inline(always)]
    pub unsafe fn word<L: Lanes>(self, j: usize) -> L::P {
        // SAFETY: the caller's contract.
        unsafe { L::P::load(self.words.add(64 * j)) }
    }
    /// Block `n` after this one.
    #[inline(always)]
    pub fn later(self, n: usize, shape: Shape) -> At {
        let bytes = n * ROWS * shape.bytes;
        At { words: self.words.wrapping_add(bytes), odd: self.odd.wrapping_add(bytes) }
    }
    /// Asks for part `i` of `n` of the block that lies `bytes` further on.
    #[inline(always)]
    pub fn ahead(self, bytes: usize, shape: Shape, i: usize, n: usize) {
        let part = ROWS * shape.bytes / n;
        super::panel::ahead(self.words.wrapping_add(bytes + i * part), part);
    }
}

/// Brings one block of sixteen rows into a group's order. `rows`: where the block starts in each.
///
/// # Safety
/// Every row has the block, `out` room for `ROWS * shape.bytes`; the CPU has `L`.
#[inline(always)]
pub(crate) unsafe fn pack<L: Lanes>(rows: &[*const u8; ROWS], shape: Shape, out: *mut u8) {
    let words = out.wrapping_add(ROWS * shape.odd());
    let mut from = *rows;
    // SAFETY: bytes of the block, and of the part of `out` that is theirs.
    unsafe {
        for (r, row) in rows.iter().enumerate() {
            row.add(shape.odd_at).copy_to_nonoverlapping(out.add(r * shape.odd()), shape.odd());
            from[r] = row.add(shape.words_at());
        }
        let whole = shape.words() / 16 * 16;
        for j in (0..whole).step_by(16) {
            L::transpose(&from, words.add(64 * j));
            for p in &mut from {
                *p = p.wrapping_add(64);
            }
        }
        for j in whole..shape.words() {
            for (r, row) in from.iter().enumerate() {
                let word = row.add(4 * (j - whole)).cast::<u32>().read_unaligned();
                words.add(64 * j + 4 * r).cast::<u32>().write_unaligned(word);
            }
        }
    }
}

/// Brings `n_groups` times sixteen rows of the file's layout, `row_bytes` each, into groups.
pub type ToGroups = unsafe fn(ty: DType, rows: *const u8, row_bytes: usize, n_groups: usize, out: *mut u8);

pub(crate) const TO_GROUPS: &[Impl<ToGroups>] = &[
    #[cfg(target_arch = "x86_64")]
    Impl { needs: Isa::Avx512, run: to_groups::<lanes::avx512::Avx512> },
    #[cfg(target_arch = "x86_64")]
    Impl { needs: Isa::Avx2, run: to_groups::<lanes::avx2::Avx2> },
    Impl { needs: Isa::Scalar, run: to_groups_plain },
];

struct Packing {
    shape: Shape,
    rows: *const u8,
    row_bytes: usize,
    n_groups: usize,
    out: *mut u8,
}

impl Kernel for Packing {
    #[inline(always)]
    unsafe fn run<L: Lanes>(&self) {
        for g in 0..self.n_groups {
            let first = self.rows.wrapping_add(g * ROWS * self.row_bytes);
            let out = self.out.wrapping_add(g * ROWS * self.row_bytes);
            for b in 0..self.row_bytes / self.shape.bytes {
                let rows = std::array::from_fn(|r| first.wrapping_add(r * self.row_bytes + b * self.shape.bytes));
                // SAFETY: block `b` of the group's rows, and its place in the group.
                unsafe { pack::<L>(&rows, self.shape, out.add(b * ROWS * self.shape.bytes)) };
            }
        }
    }
}

/// # Safety
/// The rows and `out` have the bytes; the CPU has `L`.
unsafe fn to_groups<L: Lanes>(ty: DType, rows: *const u8, row_bytes: usize, n_groups: usize, out: *mut u8) {
    // SAFETY: the caller's contract.
    unsafe { L::enter(&Packing { shape: Shape::of(ty), rows, row_bytes, n_groups, out }) }
}

/// The oracle: byte by byte.
///
/// # Safety
/// As `to_groups`.
unsafe fn to_groups_plain(ty: DType, rows: *const u8, row_bytes: usize, n_groups: usize, out: *mut u8) {
    for r in 0..n_groups * ROWS {
        let group = r / ROWS * ROWS * row_bytes;
        for i in 0..row_bytes {
            // SAFETY: byte `i` of row `r`, and its place.
            unsafe { *out.add(group + place(Shape::of(ty), r % ROWS, i)) = *rows.add(r * row_bytes + i) };
        }
    }
}

/// Where byte `i` of row `r` of a group stands in it.
fn place(s: Shape, r: usize, i: usize) -> usize {
    let (block, i) = (i / s.bytes * ROWS * s.bytes, i % s.bytes);
    if i >= s.odd_at && i < s.odd_at + s.odd() {
        return block + r * s.odd() + i - s.odd_at;
    }
    let i = i - s.words_at();
    block + ROWS * s.odd() + i / 4 * 64 + 4 * r + i % 4
}

/// Row `r` of the group at `group` as it stood in the file. `out`: `row_bytes` bytes.
///
/// # Safety
/// A group of rows of `out.len()` bytes at `group`.
pub unsafe fn row(ty: DType, group: *const u8, r: usize, out: &mut [u8]) {
    let s = Shape::of(ty);
    for (b, out) in out.chunks_exact_mut(s.bytes).enumerate() {
        let block = group.wrapping_add(b * ROWS * s.bytes);
        let (words, odd) = (block.wrapping_add(ROWS * s.odd() + 4 * r), block.wrapping_add(r * s.odd()));
        // SAFETY: the block's odd bytes and words of row `r`, by the caller's contract.
        unsafe {
            odd.copy_to_nonoverlapping(out[s.odd_at..].as_mut_ptr(), s.odd());
            for (j, out) in out[s.words_at()..].chunks_exact_mut(4).enumerate().take(s.words()) {
                out.copy_from_slice(&words.add(64 * j).cast::<[u8; 4]>().read());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::pick;

    #[test]
    fn groups_hold_the_same_bytes_and_rows_come_back() {
        for ty in super::super::FORMATS.iter().filter(|f| !f.groups.is_empty()).map(|f| f.ty) {
            let (row_bytes, n_groups) = (3 * ty.block_bytes(), 2);
            let rows: Vec<u8> = (0..row_bytes * n_groups * ROWS).map(|i| (i * 31 % 251) as u8 ^ (i >> 8) as u8).collect();
            let mut want = vec![0; rows.len()];
            // SAFETY: both have the bytes of all rows.
            unsafe { to_groups_plain(ty, rows.as_ptr(), row_bytes, n_groups, want.as_mut_ptr()) };
            for isa in Isa::all_here() {
                let mut got = vec![0; rows.len()];
                // SAFETY: as above.
                unsafe { pick(TO_GROUPS, isa)(ty, rows.as_ptr(), row_bytes, n_groups, got.as_mut_ptr()) };
                assert!(got == want, "{ty:?} {isa:?}");
            }
            for r in 0..n_groups * ROWS {
                let mut back = vec![0; row_bytes];
                // SAFETY: the group of row `r`.
                unsafe { row(ty, want[r / ROWS * ROWS * row_bytes..].as_ptr(), r % ROWS, &mut back) };
                assert_eq!(back, rows[r * row_bytes..][..row_bytes], "{ty:?} row {r}");
            }
        }
    }
}
