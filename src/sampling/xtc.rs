//! Exclude top choices: by chance, drops all but the last of the tokens above a threshold.
use super::rng::{Mt19937, actual_seed};
use super::{Candidates, Sampler, copy_whole, empty};
use std::any::Any;
use std::ffi::CStr;

#[derive(Clone)]
struct Xtc {
    probability: f32,
    threshold: f32,
    min_keep: usize,
    seed: u32,
    rng: Mt19937,
}

/// Above one half at most one token can be over the threshold, so there is nothing to drop.
pub fn xtc(probability: f32, threshold: f32, min_keep: usize, seed: u32) -> Box<dyn Sampler> {
    if probability <= 0.0 || threshold > 0.5 {
        return empty(c"?xtc");
    }
    Box::new(Xtc { probability, threshold, min_keep, seed, rng: Mt19937::new(actual_seed(seed)) })
}

impl Sampler for Xtc {
    fn name(&self) -> &CStr {
        c"xtc"
    }
    fn apply(&mut self, c: &mut Candidates<'_>) {
        if c.data.len() < 2 || self.rng.unit_f32() > self.probability {
            return;
        }
        c.sorted_softmax();
        let over = c.data.iter().take_while(|t| t.p >= self.threshold).count();
        let drop = over.saturating_sub(1);
        if c.data.len() - drop >= self.min_keep {
            c.drop_front(drop);
        }
    }
    fn reset(&mut self) {
        self.rng = Mt19937::new(actual_seed(self.seed));
    }
    fn clone_box(&self) -> Option<Box<dyn Sampler>> {
        Some(Box::new(self.clone()))
    }
    fn copy_state(&mut self, src: &dyn Any) -> bool {
        copy_whole(self, src)
    }
}
