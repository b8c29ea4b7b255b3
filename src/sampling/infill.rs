//! For fill-in-the-middle, after top-k and top-p: merges tokens that begin alike and ends the text when the end is likely enough.
use super::words::Words;
use super::{Candidates, Sampler, TokenData, copy_whole};
use std::any::Any;
use std::ffi::CStr;
use std::sync::Arc;

#[derive(Clone)]
struct Infill(Arc<dyn Words>);

pub fn infill(words: Arc<dyn Words>) -> Box<dyn Sampler> {
    Box::new(Infill(words))
}

/// Below this a merged token is not kept.
const LEAST: f32 = 0.2;

impl Infill {
    /// The mass of text and of end-of-generation tokens.
    fn masses(&self, c: &Candidates<'_>) -> (f32, f32) {
        let (mut text, mut end) = (0.0_f32, 0.0_f32);
        for t in c.data.iter() {
            let sum = if self.0.is_eog(t.id) { &mut end } else { &mut text };
            *sum += t.p;
        }
        (text, end)
    }

    /// Where one token is the beginning of another, the more probable one takes both masses, the other is masked.
    fn merge_prefixes(&self, c: &mut Candidates<'_>) {
        let pieces: Vec<Vec<u8>> = c.data.iter().map(|t| self.0.piece(t.id)).collect();
        for i in 0..c.data.len() {
            for j in 0..c.data.len() {
                if c.data[i].logit == f32::NEG_INFINITY {
                    break;
                }
                let both = i != j && c.data[j].logit != f32::NEG_INFINITY;
                if both && !pieces[i].is_empty() && pieces[j].starts_with(&pieces[i]) {
                    let (to, from) = if c.data[j].p > c.data[i].p { (j, i) } else { (i, j) };
                    c.data[to].p += c.data[from].p;
                    c.data[from].logit = f32::NEG_INFINITY;
                    c.data[from].p = 0.0;
                }
            }
        }
    }

    fn keeps(&self, t: &TokenData, least: f32) -> bool {
        // A NaN is not below anything.
        t.p >= least || t.p.is_nan() || self.0.is_eog(t.id)
    }

    /// No text is left: one candidate, the end. A vocabulary without one keeps the first token's id.
    fn end_only(&self, c: &mut Candidates<'_>) {
        let first = c.data.iter().position(|t| self.0.is_eog(t.id)).unwrap_or(0);
        c.drop_front(first);
        c.truncate(1);
        if let Some(t) = c.data.first_mut() {
            *t = TokenData { id: self.0.end().unwrap_or(t.id), logit: 1.0, p: t.p };
        }
    }
}

fn normalize(c: &mut Candidates<'_>) {
    let sum = c.data.iter().fold(0.0_f32, |s, t| s + t.p);
    c.data.iter_mut().for_each(|t| t.p /= sum);
}

impl Sampler for Infill {
    fn name(&self) -> &CStr {
        c"infill"
    }
    fn apply(&mut self, c: &mut Candidates<'_>) {
        c.sorted_softmax();
        let (text, end) = self.masses(c);
        if 3.0 * end * c.data.len() as f32 > text {
            c.retain(|t| self.0.is_eog(t.id));
            return normalize(c);
        }
        self.merge_prefixes(c);
        let n_text = c.data.iter().filter(|t| !self.0.is_eog(t.id) && self.keeps(t, LEAST)).count();
        if n_text == 0 {
            return self.end_only(c);
        }
        c.retain(|t| self.keeps(t, LEAST));
        normalize(c);
        let even_share = (1.0 / (n_text + 1) as f64) as f32;
        c.retain(|t| self.keeps(t, even_share));
        normalize(c);
    }
    fn clone_box(&self) -> Option<Box<dyn Sampler>> {
        Some(Box::new(self.clone()))
    }
    fn copy_state(&mut self, src: &dyn Any) -> bool {
        copy_whole(self, src)
    }
}
