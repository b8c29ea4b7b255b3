//! What the writer and the reader of a blob agree on.
use std::ops::Range;

/// `LLAMA_SESSION_VERSION`: 10, which is what is written; 9, whose cells of several positions have no token; or 11, which adds two words per
/// stream: the lengths of the transforms that K and V are under. In 10 they follow from the rows, and from `LLAMA_ATTN_ROT_DISABLE` on the side
/// that reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    V9,
    V10,
    V11,
}

/// In the ids of the cells of one sequence, which no reader goes by: quantised rows are as they are, because `LLAMA_ATTN_ROT_DISABLE` said so on the
/// side that wrote. A whole context has no place for it.
pub const AS_THEY_ARE: u32 = 1 << 30;

/// The part of a memory that a blob is of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// `None`: everything.
    pub seq: Option<u32>,
    pub groups: Range<usize>,
    pub n_seq_max: u32,
    /// Also cells that the sequence's own window hides from its last position: what can still be rewound to.
    pub masked: bool,
    /// Cells carry their place in a plane and their token (`CellExt`): those of models whose tokens have several positions.
    pub ext: bool,
}

impl Parts {
    /// One sequence with all its cells is written in order of position and row by row, so that any first part of it can be read by itself.
    pub fn in_order(&self) -> bool {
        self.masked && self.seq.is_some()
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
