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
    let mut heads = store.planes(plane).map(|r| r.head_len());
    let Some(head) = heads.next().filter(|h| *h > 0 && h.is_multiple_of(64)) else { return 0 };
    match plane {
        _ if heads.any(|h| h != head) => 0,
        0 => 1 << head.trailing_zeros(),
        _ => 64,
    }
}
