//! What the writer and the reader of a blob agree on.
use crate::memory::store::Store;
use std::ops::Range;

/// `LLAMA_SESSION_VERSION`: 10 (and 9, which is the same for what we read), or 11, which adds two words per stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    V10,
    V11,
}

/// The part of a memory that a blob is of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// `None`: everything.
    pub seq: Option<u32>,
    pub groups: Range<usize>,
    pub n_seq_max: u32,
    /// Also cells that the sequence's own window hides from its last position: what can still be rewound to.
    pub masked: bool,
}

impl Parts {
    /// One sequence with all its cells is written in order of position and row by row, so that any first part of it can be read by itself.
    pub fn in_order(&self) -> bool {
        self.masked && self.seq.is_some()
    }
}

/// Length of the Hadamard rotation under which the original keeps rows of these shapes if they are quantised; 0: none. In 64s: K the largest power
/// of two that divides all heads, V 64.
pub fn rotation(store: &Store, plane: usize) -> usize {
    if store.in_files().is_some() {
        return 0;
    }
    let mut heads = store.planes(plane).map(|r| r.head_len());
    let Some(head) = heads.next().filter(|h| *h > 0 && h.is_multiple_of(64)) else { return 0 };
    match plane {
        _ if heads.any(|h| h != head) => 0,
        0 => 1 << head.trailing_zeros(),
        _ => 64,
    }
}

/// `to[c][r] = from[r][c]`: elements of `size` bytes, rows that are `from_pitch` and `to_pitch` bytes apart.
pub fn transpose(from: &[u8], from_pitch: usize, to: &mut [u8], to_pitch: usize, [rows, cols]: [usize; 2], size: usize) {
    match size {
        2 => tiles::<2>(from, from_pitch, to, to_pitch, rows, cols),
        4 => tiles::<4>(from, from_pitch, to, to_pitch, rows, cols),
        _ => debug_assert!(false, "elements of {size} bytes"),
    }
}

/// A square of this many elements a side lies in the first-level cache on both sides.
const TILE: usize = 32;

fn tiles<const SIZE: usize>(from: &[u8], from_pitch: usize, to: &mut [u8], to_pitch: usize, rows: usize, cols: usize) {
    for r0 in (0..rows).step_by(TILE) {
        for c0 in (0..cols).step_by(TILE) {
            let (height, width) = (TILE.min(rows - r0), TILE.min(cols - c0));
            for r in r0..r0 + height {
                let line = from[r * from_pitch + c0 * SIZE..][..width * SIZE].as_chunks::<SIZE>().0;
                for (c, v) in line.iter().enumerate() {
                    to[(c0 + c) * to_pitch + r * SIZE..][..SIZE].copy_from_slice(v);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turned_twice_is_as_before() {
        for (rows, cols, size) in [(1, 1, 2), (33, 70, 2), (64, 31, 4), (0, 5, 4)] {
            let from: Vec<u8> = (0..rows * cols * size).map(|i| (i * 7 + i / 256) as u8).collect();
            let (mut to, mut back) = (vec![0; from.len()], vec![0; from.len()]);
            transpose(&from, cols * size, &mut to, rows * size, [rows, cols], size);
            for (r, c) in (0..rows).flat_map(|r| (0..cols).map(move |c| (r, c))) {
                assert_eq!(to[(c * rows + r) * size..][..size], from[(r * cols + c) * size..][..size]);
            }
            transpose(&to, rows * size, &mut back, cols * size, [cols, rows], size);
            assert_eq!(back, from);
        }
    }
}
