//! Chains that run with the model: which sequence has one, and what they made of the last batch, by row of the outputs. Knows no sampler and not
//! who owns one.
use crate::backend::SeqSet;
use crate::sampling::Row;
use platform::Result;
use std::collections::BTreeMap;

/// A chain as a context holds it; whoever made it may free it at any time between two calls.
pub trait Picker: Send {
    fn is_gone(&self) -> bool;
    fn begin(&mut self);
    fn run(&mut self, row: &mut Row);
}

/// A sequence as callers name it.
pub fn seq(id: i32) -> Option<u32> {
    u32::try_from(id).ok().filter(|s| *s < SeqSet::MAX)
}

#[derive(Default)]
pub struct Sampled {
    pickers: BTreeMap<u32, Box<dyn Picker>>,
    /// Of the last batch; kept for their memory where `made` says no.
    rows: Vec<Row>,
    made: Vec<bool>,
    /// The last batch was one that chains ran with.
    on: bool,
    n_vocab: usize,
    /// All tokens in order: the candidates of a row that has no others.
    all: Vec<i32>,
}

impl Sampled {
    pub fn new(n_vocab: usize) -> Sampled {
        Sampled { n_vocab, ..Sampled::default() }
    }
    pub fn set(&mut self, seq: u32, p: Box<dyn Picker>) {
        self.pickers.insert(seq, p);
    }
    pub fn remove(&mut self, seq: u32) {
        self.pickers.remove(&seq);
    }
    /// No sequence has a chain.
    pub fn is_empty(&self) -> bool {
        self.pickers.is_empty()
    }
    /// Whether `seq` has a chain.
    pub fn has(&self, seq: u32) -> bool {
        self.pickers.contains_key(&seq)
    }
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// For a batch with so many outputs; `None`: no chain runs with it.
    pub fn begin(&mut self, n_rows: Option<usize>) {
        self.pickers.retain(|_, p| !p.is_gone());
        self.on = n_rows.is_some() && !self.pickers.is_empty();
        let n = if self.on { n_rows.unwrap_or(0) } else { 0 };
        self.made.clear();
        self.made.resize(n, false);
        self.rows.resize_with(n, Row::default);
        if self.on {
            self.pickers.values_mut().for_each(|p| p.begin());
        }
    }

    /// Runs the chain of `seq` on what `read` gives; nothing where it has none.
    pub fn take(&mut self, row: usize, seq: u32, read: impl FnOnce(&mut [f32]) -> Result<()>) -> Result<()> {
        let (Some(r), Some(p)) = (self.rows.get_mut(row).filter(|_| self.on), self.pickers.get_mut(&seq)) else { return Ok(()) };
        read(r.begin(self.n_vocab))?;
        p.run(r);
        self.made[row] = true;
        Ok(())
    }

    pub fn row(&mut self, row: usize) -> Option<&mut Row> {
        let made = self.made.get(row).copied().unwrap_or(false);
        self.rows.get_mut(row).filter(|_| made)
    }
    pub fn all_tokens(&mut self) -> &mut [i32] {
        if self.all.is_empty() {
            self.all = (0..self.n_vocab as i32).collect();
        }
        &mut self.all
    }
    pub fn n_vocab(&self) -> usize {
        self.n_vocab
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Takes the first token; gone when it is told so.
    struct First(Arc<AtomicBool>);

    impl Picker for First {
        fn is_gone(&self) -> bool {
            self.0.load(Ordering::Relaxed)
        }
        fn begin(&mut self) {}
        fn run(&mut self, row: &mut Row) {
            assert!(!self.is_gone(), "nobody asks what is gone");
            row.token = Some(row.id(0));
        }
    }

    #[test]
    fn only_sequences_with_a_chain_are_sampled() {
        let (gone, mut s) = (Arc::new(AtomicBool::new(false)), Sampled::new(2));
        s.begin(Some(1));
        assert!(!s.is_on() && s.row(0).is_none());
        s.set(1, Box::new(First(gone.clone())));
        let fill = |to: &mut [f32]| {
            to.fill(3.0);
            Ok(())
        };
        s.begin(Some(2));
        s.take(0, 0, fill).expect("no chain");
        s.take(1, 1, fill).expect("a chain");
        s.take(2, 1, fill).expect("no such row");
        assert!(s.is_on() && s.row(0).is_none() && s.row(2).is_none());
        assert_eq!(s.row(1).map(|r| (r.token, r.logits.clone())), Some((Some(0), vec![3.0; 2])));
        gone.store(true, Ordering::Relaxed);
        s.begin(Some(2));
        assert!(!s.is_on() && !s.has(1) && s.row(1).is_none());
    }
}
