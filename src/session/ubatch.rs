//! TEMPORARY
use super::batch::{Batch, Limits, set};
use crate::backend::Ubatch;
use platform::Result;
pub fn split(b: &Batch, l: &Limits) -> Result<Vec<Ubatch>> {
    let all: Vec<usize> = (0..b.n_tokens()).collect();
    Ok(all
        .chunks(l.n_ubatch as usize)
        .map(|c| Ubatch {
            tokens: c.iter().map(|i| b.tokens[*i]).collect(),
            embd: vec![],
            pos: c.iter().map(|i| b.pos[*i]).collect(),
            n_pos_per_token: 1,
            seqs: c.iter().map(|i| set(&b.seqs[*i])).collect(),
            first_seq: c.iter().map(|i| b.seqs[*i][0] as u32).collect(),
            output: c.iter().map(|i| b.output[*i]).collect(),
            index: c.iter().map(|i| *i as u32).collect(),
        })
        .collect())
}
