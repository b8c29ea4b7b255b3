//! Logits and embeddings of the last decode, by row and by the caller's batch index.
use super::sampled::Sampled;
use crate::backend::SeqSet;
use crate::sampling::Row;
use platform::Result;
use platform::error::try_zeroed;
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Outputs {
    n_vocab: usize,
    n_embd: usize,
    /// [n_rows][n_vocab], rows in batch order
    logits: Vec<f32>,
    /// [n_rows][n_embd]; empty unless embeddings are on
    embd: Vec<f32>,
    /// Row of each batch token; `None` when it has no output (yet).
    row_of: Vec<Option<u32>>,
    planned: Vec<Option<u32>>,
    n_rows: usize,
    /// Which rows of the batch at hand have logits: an encoder gives none, and those that only a chain reads stay with it.
    has_logits: Vec<bool>,
    pub sampled: Sampled,
    /// Pooled embeddings per sequence.
    seq: BTreeMap<u32, Vec<f32>>,
}

impl Outputs {
    pub fn new(n_vocab: usize, n_embd: usize) -> Outputs {
        Outputs { n_vocab, n_embd, sampled: Sampled::new(n_vocab), ..Outputs::default() }
    }

    /// Makes room for a batch in which token i is wanted where `wanted[i]`; refused memory changes nothing.
    pub fn begin(&mut self, wanted: &[bool], embeddings: bool) -> Result<()> {
        let n = wanted.iter().filter(|w| **w).count();
        if self.logits.len() < n * self.n_vocab {
            self.logits = try_zeroed(n * self.n_vocab, "logits")?;
        }
        if embeddings && self.embd.len() < n * self.n_embd {
            self.embd = try_zeroed(n * self.n_embd, "embeddings")?;
        }
        let mut next = 0;
        self.planned = wanted.iter().map(|w| w.then(|| (next, next += 1).0)).collect();
        self.row_of = vec![None; wanted.len()];
        self.n_rows = n;
        self.has_logits.clear();
        self.has_logits.resize(n, false);
        self.seq.clear();
        Ok(())
    }

    /// Where the logits of batch token `i` go, and that they are there now.
    pub fn place(&mut self, i: u32) -> Option<usize> {
        let row = self.planned.get(i as usize).copied().flatten()?;
        self.row_of[i as usize] = Some(row);
        Some(row as usize)
    }
    /// The logits of a row, which is of these sequences: to the chain of the first of them, and to the caller unless all have chains.
    pub fn take_logits(&mut self, row: usize, first: u32, seqs: &SeqSet, read: impl Fn(&mut [f32]) -> Result<()>) -> Result<()> {
        self.sampled.take(row, first, &read)?;
        let taken = self.sampled.is_on() && seqs.iter().all(|s| self.sampled.has(s));
        if taken { Ok(()) } else { read(self.logits_row(row)) }
    }
    /// To be filled.
    pub fn logits_row(&mut self, row: usize) -> &mut [f32] {
        self.has_logits[row] = true;
        &mut self.logits[row * self.n_vocab..(row + 1) * self.n_vocab]
    }
    pub fn embd_row(&mut self, row: usize) -> &mut [f32] {
        &mut self.embd[row * self.n_embd..(row + 1) * self.n_embd]
    }
    /// Clients read `n_embd` floats even where there are fewer scores: so many are there to be read.
    pub fn set_seq(&mut self, seq: u32, mut v: Vec<f32>) {
        v.reserve(self.n_embd.saturating_sub(v.len()));
        self.seq.insert(seq, v);
    }

    /// Token i of what was computed is token `index[i]` of the caller's batch of `n`.
    pub fn renumber(&mut self, index: &[u32], n: usize) {
        let mut row_of = vec![None; n];
        for (row, i) in self.row_of.iter().zip(index) {
            row_of[*i as usize] = *row;
        }
        self.row_of = row_of;
    }

    /// The row that index `i` of llama.h means: a batch index, or from the end when negative.
    fn row(&self, i: i32) -> Option<usize> {
        let row = if i < 0 { self.n_rows as i64 + i64::from(i) } else { i64::from(self.row_of.get(i as usize).copied().flatten()?) };
        let row = usize::try_from(row).ok().filter(|r| *r < self.n_rows)?;
        self.row_of.contains(&Some(row as u32)).then_some(row)
    }

    /// The same, for rows that are kept beside these.
    pub fn row_at(&self, i: i32) -> Option<usize> {
        self.row(i)
    }
    /// The row of batch token `i`, which was wanted.
    pub fn row_of(&self, i: u32) -> Option<usize> {
        self.planned.get(i as usize).copied().flatten().map(|r| r as usize)
    }

    pub fn logits_ith(&mut self, i: i32) -> Option<&mut [f32]> {
        let row = self.row(i).filter(|r| self.has_logits[*r])?;
        Some(self.logits_row(row))
    }
    /// What a chain made of index `i`. The error: there is no such output.
    pub fn sampled_ith(&mut self, i: i32) -> std::result::Result<Option<&mut Row>, ()> {
        self.row(i).map(|row| self.sampled.row(row)).ok_or(())
    }
    pub fn embd_ith(&mut self, i: i32) -> Option<&mut [f32]> {
        let row = self.row(i).filter(|r| (r + 1) * self.n_embd <= self.embd.len())?;
        Some(self.embd_row(row))
    }
    pub fn embd_seq(&mut self, seq: u32) -> Option<&mut [f32]> {
        self.seq.get_mut(&seq).map(Vec::as_mut_slice)
    }
    /// All rows; `None` before the first decode, and where it gave none.
    pub fn logits(&mut self) -> Option<&mut [f32]> {
        self.has_logits.contains(&true).then_some(&mut self.logits[..self.n_rows * self.n_vocab])
    }
    pub fn embd(&mut self) -> Option<&mut [f32]> {
        let n = self.n_rows * self.n_embd;
        (n > 0 && self.embd.len() >= n).then(|| &mut self.embd[..n])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_follow_the_batch_not_the_order_of_computation() {
        let mut o = Outputs::new(2, 1);
        o.begin(&[true, false, true], false).expect("small");
        for i in [2, 0] {
            let row = o.place(i).expect("wanted");
            o.logits_row(row).fill(i as f32);
        }
        assert_eq!(o.place(1), None);
        assert_eq!(o.logits_ith(0).map(|r| r[0]), Some(0.0));
        assert_eq!(o.logits_ith(2).map(|r| r[0]), Some(2.0));
        assert_eq!(o.logits_ith(-1).map(|r| r[0]), Some(2.0));
        assert_eq!(o.logits_ith(-2).map(|r| r[0]), Some(0.0));
        assert!(o.logits_ith(1).is_none() && o.logits_ith(3).is_none() && o.logits_ith(-3).is_none());
        assert!(o.embd_ith(0).is_none());
    }

    #[test]
    fn an_output_that_was_not_reached_is_not_there() {
        let mut o = Outputs::new(1, 1);
        o.begin(&[true, true], false).expect("small");
        let row = o.place(0).expect("wanted");
        o.logits_row(row);
        assert!(o.logits_ith(1).is_none() && o.logits_ith(-1).is_none() && o.logits_ith(-2).is_some());
    }
}
