//! Adds to the logits of chosen tokens.
use super::row::Place;
use super::{Candidates, Row, Sampler, empty, same_kind};
use std::any::Any;
use std::ffi::CStr;

/// The layout of `llama_logit_bias`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bias {
    pub token: i32,
    pub bias: f32,
}

struct LogitBias {
    biases: Vec<Bias>,
    place: Place,
    /// Those whose token does not sit at its own index; kept for its memory.
    elsewhere: Vec<Bias>,
}

pub fn logit_bias(biases: &[Bias]) -> Box<dyn Sampler> {
    if biases.is_empty() {
        return empty(c"?logit-bias");
    }
    Box::new(LogitBias { biases: biases.to_vec(), place: Place::Apart, elsewhere: Vec::new() })
}

impl Sampler for LogitBias {
    fn name(&self) -> &CStr {
        self.place.of([c"logit-bias", c"+logit-bias", c"-logit-bias"])
    }
    fn apply(&mut self, c: &mut Candidates<'_>) {
        self.elsewhere.clear();
        for b in &self.biases {
            let own_place = usize::try_from(b.token).ok().and_then(|i| c.data.get_mut(i));
            match own_place.filter(|t| t.id == b.token) {
                Some(t) => t.logit += b.bias,
                None => self.elsewhere.push(*b),
            }
        }
        if self.elsewhere.is_empty() {
            return;
        }
        for t in c.data.iter_mut() {
            if let Some(b) = self.elsewhere.iter().find(|b| b.token == t.id) {
                t.logit += b.bias;
            }
        }
    }
    fn attach(&mut self, _: u32) -> bool {
        self.place = Place::WithModel;
        true
    }
    /// Of several biases of one token the last counts.
    fn run(&mut self, row: &mut Row) {
        let last = |i: usize, b: &Bias| !self.biases[i + 1..].iter().any(|later| later.token == b.token);
        for (_, b) in self.biases.iter().enumerate().filter(|(i, b)| last(*i, b)) {
            let at = match &row.candidates {
                Some(c) => c.iter().position(|t| *t == b.token),
                None => usize::try_from(b.token).ok(),
            };
            if let Some(l) = at.and_then(|i| row.logits.get_mut(i)) {
                *l += b.bias;
            }
        }
    }
    fn clone_box(&self) -> Option<Box<dyn Sampler>> {
        Some(logit_bias(&self.biases))
    }
    fn copy_state(&mut self, src: &dyn Any) -> bool {
        same_kind(self, src)
    }
}
