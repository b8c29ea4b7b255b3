//! What one ubatch is to a backend: its tokens, where their rows are stored, and which rows each query sees.

/// A set of sequence ids, `0..256` (LLAMA_MAX_SEQ).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SeqSet([u64; 4]);

impl SeqSet {
    pub const MAX: u32 = 256;
    pub const EMPTY: SeqSet = SeqSet([0; 4]);
    pub fn one(s: u32) -> SeqSet {
        let mut x = SeqSet::default();
        x.insert(s);
        x
    }
    pub fn insert(&mut self, s: u32) {
        self.0[(s / 64) as usize] |= 1 << (s % 64);
    }
    pub fn remove(&mut self, s: u32) {
        self.0[(s / 64) as usize] &= !(1 << (s % 64));
    }
    pub fn contains(&self, s: u32) -> bool {
        s < Self::MAX && self.0[(s / 64) as usize] >> (s % 64) & 1 == 1
    }
    pub fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }
    pub fn len(&self) -> u32 {
        self.0.iter().map(|w| w.count_ones()).sum()
    }
    /// Ids in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..4u32).flat_map(move |w| {
            let mut bits = self.0[w as usize];
            std::iter::from_fn(move || {
                let b = (bits != 0).then(|| bits.trailing_zeros())?;
                bits &= bits - 1;
                Some(w * 64 + b)
            })
        })
    }
}

/// At most `n_ubatch` tokens that are computed together. All vectors have one entry per token unless said otherwise.
#[derive(Clone, Debug, Default)]
pub struct Ubatch {
    /// Token ids; empty when `embd` is used.
    pub tokens: Vec<i32>,
    /// Input embeddings [n_tokens][n_embd]; empty when `tokens` is used.
    pub embd: Vec<f32>,
    /// Positions [n_tokens][n_pos_per_token]; the first of each token is the one memory goes by.
    pub pos: Vec<i32>,
    pub n_pos_per_token: usize,
    /// Sequences of each token, and the one it was named with first (its queries see that one's cells).
    pub seqs: Vec<SeqSet>,
    pub first_seq: Vec<u32>,
    /// Whether this token's logits / embeddings are wanted.
    pub output: Vec<bool>,
    /// Index of each token in the caller's batch.
    pub index: Vec<u32>,
}

impl Ubatch {
    pub fn n_tokens(&self) -> usize {
        self.seqs.len()
    }
    /// The position memory goes by.
    pub fn pos_of(&self, i: usize) -> i32 {
        self.pos[i * self.n_pos_per_token]
    }
    pub fn n_outputs(&self) -> usize {
        self.output.iter().filter(|o| **o).count()
    }
}

/// A physical block of cells of a group's store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockId(pub u32);

/// `len` rows of `block` from `slot` on, sitting at `at..at + len` of their leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seg {
    pub block: BlockId,
    pub slot: u16,
    pub at: u8,
    pub len: u8,
}

/// Cells of one sequence with `pos / 64` equal at consecutive positions, each at place `pos % 64`. What does not follow its predecessor in order of
/// (pos, arrival) by one position, behind a hole or at a position that several cells share, begins a further leaf with the same `tile`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// `pos / 64` of every cell in it.
    pub tile: i32,
    /// Range in `Views::segs`; the segments are disjoint and ascending in `at`.
    pub segs: std::ops::Range<u32>,
    /// The places `from..to` hold cells.
    pub from: u8,
    pub to: u8,
}

impl Leaf {
    /// Its places whose positions are in `lo..=hi`.
    pub fn within(&self, lo: i32, hi: i32) -> (u8, u8) {
        let base = i64::from(self.tile) * 64;
        let place = |p: i64| (p - base).clamp(self.from.into(), self.to.into()) as u8;
        (place(lo.into()), place(i64::from(hi) + 1))
    }
}

/// What one query token sees: the cells of `leaves` whose position is in `lo..=hi`. `leaves` is already cut to those that can hold one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryRow {
    pub leaves: std::ops::Range<u32>,
    pub lo: i32,
    pub hi: i32,
}

/// One group's side of one ubatch: where the new rows go and what each query sees. Leaves of a sequence are consecutive and in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Views {
    /// Per token: the block and slot its rows are stored to.
    pub dst: Vec<(BlockId, u16)>,
    pub leaves: Vec<Leaf>,
    pub segs: Vec<Seg>,
    /// Per token.
    pub rows: Vec<QueryRow>,
}
