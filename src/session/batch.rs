//! TEMPORARY
use crate::backend::SeqSet;
use crate::memory::Memory;
use platform::{Error, Result};
pub struct BatchView<'a> {
    pub n_tokens: usize,
    pub tokens: Option<&'a [i32]>,
    pub embd: Option<&'a [f32]>,
    pub pos: Option<&'a [i32]>,
    pub seqs: Option<Vec<Vec<i32>>>,
    pub logits: Option<&'a [i8]>,
}
pub struct Limits {
    pub n_vocab: u32,
    pub n_embd: u32,
    pub n_batch: u32,
    pub n_ubatch: u32,
    pub n_seq_max: u32,
    pub unified: bool,
    pub causal: bool,
    pub output_all: bool,
}
pub struct Batch {
    pub tokens: Vec<i32>,
    pub pos: Vec<i32>,
    pub seqs: Vec<Vec<i32>>,
    pub output: Vec<bool>,
}
impl Batch {
    pub fn n_tokens(&self) -> usize {
        self.output.len()
    }
}
pub fn check(b: &BatchView<'_>, l: &Limits, m: &Memory) -> Result<Batch> {
    let n = b.n_tokens;
    let tokens = b.tokens.ok_or_else(|| Error::invalid("no tokens"))?.to_vec();
    let seqs = b.seqs.clone().unwrap_or(vec![vec![0]; n]);
    let pos = match b.pos {
        Some(p) => p.to_vec(),
        None => {
            let p0 = m.pos_max(0).map_or(0, |p| p + 1);
            (p0..p0 + n as i32).collect()
        }
    };
    let output = (0..n).map(|i| l.output_all || b.logits.map_or(i + 1 == n, |x| x[i] != 0)).collect();
    Ok(Batch { tokens, pos, seqs, output })
}
pub fn set(v: &[i32]) -> SeqSet {
    let mut s = SeqSet::default();
    v.iter().for_each(|x| s.insert(*x as u32));
    s
}
