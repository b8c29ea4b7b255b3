//! A batch that is filled call by call, with the original's rules of what each call takes; what it holds becomes a `BatchView` at the end.
//! Must not know C types, nor the context it was made for: it holds numbers only, so it may outlive that one or go to another.
use super::batch::BatchView;
use crate::backend::io::SeqSet;

/// What the context allows that the batch was made for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shape {
    pub n_tokens_max: usize,
    pub n_seq_max: u32,
    pub n_vocab: u32,
    /// Floats in an input embedding.
    pub n_embd: usize,
    /// Positions per embedding: 1, or 4 for M-RoPE.
    pub n_pos: usize,
}

/// Why nothing usable was added. llama.h's codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    Full,
    /// The entry is there all the same, empty: as in the original, the batch will not run until it is cleared.
    Content,
    Seq,
}

impl Refused {
    pub fn code(self) -> i32 {
        match self {
            Refused::Full => -1,
            Refused::Content => -2,
            Refused::Seq => -3,
        }
    }
}

/// Positions that an embedding can have (M-RoPE's sections).
pub const MAX_POS: usize = 4;

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    id: Option<i32>,
    embd: bool,
    pos: [i32; MAX_POS],
    first_seq: u32,
    seqs: SeqSet,
    output: bool,
}

#[derive(Debug, Default)]
pub struct BatchExt {
    shape: Shape,
    entries: Vec<Entry>,
    /// [entries][n_embd]; empty until an entry has an embedding
    embd: Vec<f32>,
}

/// What an entry of a batch is made of, in arrays; all entries hold the same things.
#[derive(Debug, Default, PartialEq)]
pub struct Arrays {
    tokens: Option<Vec<i32>>,
    /// [n_tokens], or [n_pos][n_tokens] for embeddings
    pos: Vec<i32>,
    seqs: Option<Vec<Vec<i32>>>,
    output: Vec<i8>,
    has_embd: bool,
}

impl BatchExt {
    pub fn new(shape: Shape) -> BatchExt {
        BatchExt { shape, ..BatchExt::default() }
    }
    pub fn len(&self) -> usize {
        self.entries.len()
    }
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
    pub fn clear(&mut self) {
        self.entries.clear();
        self.embd.clear();
    }

    /// An entry without id, embedding or position; its index.
    pub fn add(&mut self, seq: i32) -> Result<usize, Refused> {
        if self.entries.len() >= self.shape.n_tokens_max || self.entries.try_reserve(1).is_err() {
            return Err(Refused::Full);
        }
        let seq = self.seq(seq).ok_or(Refused::Seq)?;
        let (first_seq, seqs) = (seq, SeqSet::one(seq));
        self.entries.push(Entry { id: None, embd: false, pos: [0; MAX_POS], first_seq, seqs, output: false });
        Ok(self.entries.len() - 1)
    }
    pub fn add_token(&mut self, seq: i32, id: i32) -> Result<usize, Refused> {
        let i = self.add(seq)?;
        if !u32::try_from(id).is_ok_and(|t| t < self.shape.n_vocab) {
            return Err(Refused::Content);
        }
        self.entries[i].id = Some(id);
        Ok(i)
    }
    pub fn add_embd(&mut self, seq: i32, row: Option<&[f32]>) -> Result<usize, Refused> {
        let i = self.add(seq)?;
        if self.set_embd(i, row) { Ok(i) } else { Err(Refused::Content) }
    }

    fn seq(&self, seq: i32) -> Option<u32> {
        u32::try_from(seq).ok().filter(|s| *s < self.shape.n_seq_max.min(SeqSet::MAX))
    }
    pub fn add_seq(&mut self, i: usize, seq: i32) -> bool {
        let seq = self.seq(seq);
        self.entries.get_mut(i).zip(seq).map(|(e, s)| e.seqs.insert(s)).is_some()
    }

    /// Floats that an embedding must have.
    pub fn n_embd(&self) -> usize {
        self.shape.n_embd
    }
    /// Once per entry.
    pub fn set_embd(&mut self, i: usize, row: Option<&[f32]>) -> bool {
        let n = self.shape.n_embd;
        let (Some(e), Some(row)) = (self.entries.get_mut(i), row.filter(|r| r.len() == n)) else { return false };
        if e.embd || self.embd.try_reserve(((i + 1) * n).saturating_sub(self.embd.len())).is_err() {
            return false;
        }
        e.embd = true;
        // The order of entries is not the order of calls.
        if self.embd.len() < (i + 1) * n {
            self.embd.resize((i + 1) * n, 0.0);
        }
        self.embd[i * n..(i + 1) * n].copy_from_slice(row);
        true
    }

    /// How many positions this entry takes now: a token has one. `None`: there is no such entry.
    pub fn n_pos(&self, i: usize) -> Option<usize> {
        let n = if self.entries.get(i)?.id.is_some() { 1 } else { self.shape.n_pos };
        Some(n.min(MAX_POS))
    }
    pub fn set_pos(&mut self, i: usize, pos: &[i32]) -> bool {
        self.entries.get_mut(i).map(|e| e.pos.iter_mut().zip(pos).for_each(|(to, p)| *to = *p)).is_some()
    }
    pub fn set_output(&mut self, i: usize, on: bool) -> bool {
        self.entries.get_mut(i).map(|e| e.output = on).is_some()
    }

    /// The arrays of a context with so many positions per embedding; the error says what they cannot be made of.
    pub fn arrays(&self, n_pos: usize) -> Result<Arrays, &'static str> {
        let Some(first) = self.entries.first() else { return Err("n_tokens == 0") };
        let (has_id, has_embd) = (first.id.is_some(), first.embd);
        if self.entries.iter().any(|e| (e.id.is_some(), e.embd) != (has_id, has_embd)) {
            return Err("all entries in the batch must have the same content types");
        }
        if !has_id && !has_embd {
            return Err("batch has neither token ids nor embeddings");
        }
        let n_pos = if has_id { 1 } else { n_pos.min(MAX_POS) };
        Ok(Arrays {
            tokens: has_id.then(|| self.entries.iter().filter_map(|e| e.id).collect()),
            pos: (0..n_pos).flat_map(|j| self.entries.iter().map(move |e| e.pos[j])).collect(),
            seqs: self.seqs(),
            output: self.entries.iter().map(|e| i8::from(e.output)).collect(),
            has_embd,
        })
    }

    /// Per entry its sequences, the one it was added with first; `None` where all is sequence 0.
    fn seqs(&self) -> Option<Vec<Vec<i32>>> {
        let list = |e: &Entry| {
            let others = e.seqs.iter().filter(|s| *s != e.first_seq);
            std::iter::once(e.first_seq).chain(others).map(|s| s as i32).collect()
        };
        let zero = SeqSet::one(0);
        self.entries.iter().any(|e| e.seqs != zero).then(|| self.entries.iter().map(list).collect())
    }

    /// The batch as a context takes it.
    pub fn view<'a>(&'a self, a: &'a Arrays) -> BatchView<'a> {
        BatchView {
            n_tokens: a.output.len(),
            tokens: a.tokens.as_deref(),
            embd: a.has_embd.then_some(&self.embd),
            pos: Some(&a.pos),
            seqs: a.seqs.clone(),
            logits: Some(&a.output),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(n_pos: usize) -> BatchExt {
        BatchExt::new(Shape { n_tokens_max: 3, n_seq_max: 2, n_vocab: 10, n_embd: 2, n_pos })
    }

    #[test]
    fn calls_are_answered_in_the_originals_order() {
        let mut b = batch(1);
        assert_eq!(b.add_token(0, 9), Ok(0));
        assert_eq!(b.add_token(2, 9), Err(Refused::Seq));
        assert_eq!(b.add(-1), Err(Refused::Seq));
        assert_eq!(b.add_token(1, 10), Err(Refused::Content), "the entry stays");
        assert_eq!(b.arrays(1), Err("all entries in the batch must have the same content types"));
        assert_eq!(b.add_embd(1, None), Err(Refused::Content));
        assert_eq!(b.add_token(7, 10), Err(Refused::Full), "full comes before the sequence");
        assert_eq!([Refused::Full, Refused::Content, Refused::Seq].map(Refused::code), [-1, -2, -3]);
        assert!(b.add_seq(0, 1) && !b.add_seq(3, 0) && !b.add_seq(0, 2) && !b.add_seq(0, -1));
        b.clear();
        assert_eq!((b.arrays(1), b.add(0)), (Err("n_tokens == 0"), Ok(0)));
        assert_eq!(b.arrays(1), Err("batch has neither token ids nor embeddings"));
    }

    #[test]
    fn tokens_become_arrays() {
        let mut b = batch(4);
        for (id, seq) in [(3, 1), (4, 0)] {
            let i = b.add_token(seq, id).unwrap();
            assert_eq!(b.n_pos(i), Some(1));
            assert!(b.set_pos(i, &[id + 10]));
        }
        assert!(b.add_seq(0, 0) && b.set_output(1, true) && !b.set_output(2, true) && b.n_pos(2).is_none());
        let a = b.arrays(4).unwrap();
        let v = b.view(&a);
        assert_eq!((v.n_tokens, v.tokens, v.pos, v.logits), (2, Some(&[3, 4][..]), Some(&[13, 14][..]), Some(&[0, 1][..])));
        assert_eq!((v.seqs, v.embd), (Some(vec![vec![1, 0], vec![0]]), None));
    }

    #[test]
    fn embeddings_lie_where_their_entries_are() {
        let mut b = batch(4);
        let rows = [[1.0, 2.0], [3.0, 4.0]];
        assert_eq!((b.add(0), b.add(0)), (Ok(0), Ok(1)));
        assert!(b.set_embd(1, Some(&rows[1])) && b.set_embd(0, Some(&rows[0])));
        assert!(!b.set_embd(0, Some(&rows[0])), "once");
        assert!(!b.set_embd(2, Some(&rows[0])) && !b.set_embd(1, Some(&rows[0][..1])));
        assert_eq!(b.n_pos(0), Some(4));
        assert!(b.set_pos(0, &[5, 6, 7, 8]) && b.set_pos(1, &[9, 10, 11, 12]));
        let a = b.arrays(4).unwrap();
        let v = b.view(&a);
        assert_eq!(v.embd, Some(&[1.0, 2.0, 3.0, 4.0][..]));
        assert_eq!((v.pos, v.tokens, v.seqs), (Some(&[5, 9, 6, 10, 7, 11, 8, 12][..]), None, None));
    }

    #[test]
    fn an_entry_may_have_both() {
        let mut b = batch(4);
        let i = b.add_token(0, 3).unwrap();
        assert!(b.set_embd(i, Some(&[1.0, 2.0])) && b.set_pos(i, &[7]));
        let a = b.arrays(4).unwrap();
        let v = b.view(&a);
        assert_eq!((v.tokens, v.embd, v.pos), (Some(&[3][..]), Some(&[1.0, 2.0][..]), Some(&[7][..])));
    }
}
