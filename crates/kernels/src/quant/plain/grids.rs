//! The code books of the IQ formats: `grids.bin`, written by `grids.py` from what the gguf package holds, made into bytes at compile time.

static PACKED: &[u8; 2 * 4608] = include_bytes!("grids.bin");

/// Entries `first..first + N` as the bytes of their elements: `BITS` bits each that index `values`.
const fn expand<const N: usize, const BITS: usize>(first: usize, values: &[u8]) -> [u64; N] {
    let (mut out, mut i) = ([0; N], 0);
    while i < N {
        let code = PACKED[2 * (first + i)] as usize | (PACKED[2 * (first + i) + 1] as usize) << 8;
        let mut e = 0;
        while e < if BITS == 2 { 8 } else { 4 } {
            out[i] |= (values[code >> (BITS * e) & (values.len() - 1)] as u64) << (8 * e);
            e += 1;
        }
        i += 1;
    }
    out
}

/// Entries of four elements.
const fn halves<const N: usize>(entries: [u64; N]) -> [i32; N] {
    let (mut out, mut i) = ([0; N], 0);
    while i < N {
        out[i] = entries[i] as i32;
        i += 1;
    }
    out
}

/// Entries with one more in every element, then with one less.
const fn eighths(entries: [u64; 2048]) -> [u64; 4096] {
    let (mut out, mut i) = ([0; 4096], 0);
    while i < entries.len() {
        (out[i], out[entries.len() + i]) = (entries[i] + super::ONES, entries[i] - super::ONES);
        i += 1;
    }
    out
}

/// The `M` entries of a code book whose numbers are the 16-bit parts of `numbers`, from the low end of the first up.
#[inline(always)]
pub(super) fn entries<T: Copy + Default, const G: usize, const N: usize, const M: usize>(grid: &[T; G], numbers: [u64; N]) -> [T; M] {
    const { assert!(M == 4 * N && G.is_power_of_two()) };
    let mut out = [T::default(); M];
    for (i, e) in out.iter_mut().enumerate() {
        *e = grid[(numbers[i / 4] >> (16 * (i % 4))) as usize & (G - 1)];
    }
    out
}

/// The sizes of the IQ2 types' values; the fourth code is not used.
const TWO: &[u8; 4] = &[8, 25, 43, 0];
/// Eight times -1, 0, 1, 32 too large.
const ONE: &[u8; 4] = &[24, 32, 40, 32];

pub(super) static IQ2_XXS: [u64; 256] = expand::<256, 2>(0, TWO);
pub(super) static IQ2_XS: [u64; 512] = expand::<512, 2>(256, TWO);
pub(super) static IQ2_S: [u64; 1024] = expand::<1024, 2>(768, TWO);
/// The entries an eighth larger, then an eighth less: 32 KiB, and an addition less for each entry.
pub(super) static IQ1: [u64; 4096] = eighths(expand::<2048, 2>(1792, ONE));
pub(super) static IQ3_XXS: [i32; 256] = halves(expand::<256, 3>(3840, &[4, 12, 20, 28, 36, 44, 52, 62]));
pub(super) static IQ3_S: [i32; 512] = halves(expand::<512, 3>(4096, &[1, 3, 5, 7, 9, 11, 13, 15]));

/// All of them as bytes, for devices with memory of their own: entries of eight bytes of IQ2_XXS, IQ2_XS, IQ2_S and IQ1, then of four of IQ3_XXS and IQ3_S.
pub fn code_books() -> [Vec<u8>; 6] {
    let wide = |b: &[u64]| b.iter().flat_map(|e| e.to_le_bytes()).collect();
    let small = |b: &[i32]| b.iter().flat_map(|e| e.to_le_bytes()).collect();
    [wide(&IQ2_XXS), wide(&IQ2_XS), wide(&IQ2_S), wide(&IQ1), small(&IQ3_XXS), small(&IQ3_S)]
}
