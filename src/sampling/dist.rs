//! Draws from the softmax of the logits.
use super::rng::{Mt19937, actual_seed};
use super::{Candidates, Sampler};
use std::any::Any;
use std::ffi::CStr;

#[derive(Clone)]
struct Dist {
    /// What was asked for; `seed_cur` is what is used.
    seed: u32,
    seed_cur: u32,
    rng: Mt19937,
}

pub fn dist(seed: u32) -> Box<dyn Sampler> {
    let seed_cur = actual_seed(seed);
    Box::new(Dist { seed, seed_cur, rng: Mt19937::new(seed_cur) })
}

/// Softmax with a sum in double; returns that sum, before the division.
fn weigh(c: &mut Candidates<'_>, max: f32) -> f64 {
    let mut sum = 0.0_f64;
    for t in c.data.iter_mut() {
        t.p = (t.logit - max).exp();
        sum += f64::from(t.p);
    }
    sum
}

impl Sampler for Dist {
    fn name(&self) -> &CStr {
        c"dist"
    }
    fn apply(&mut self, c: &mut Candidates<'_>) {
        c.selected = None;
        let Some(max) = c.max_logit() else { return };
        // One draw per call, also for a single candidate: the stream must not depend on how many are left.
        let draw = self.rng.unit_f64();
        if let [only] = &mut *c.data {
            only.p = 1.0;
            c.selected = Some(0);
            return;
        }
        let sum = weigh(c, max);
        let mut run = 0.0_f64;
        let reached = c.data.iter().position(|t| {
            run += f64::from(t.p);
            run >= sum * draw
        });
        // NaN sums reach nothing: the last one, as in the original.
        c.selected = Some(reached.unwrap_or(c.data.len() - 1));
        c.data.iter_mut().for_each(|t| t.p = (f64::from(t.p) / sum) as f32);
    }
    fn reset(&mut self) {
        self.seed_cur = actual_seed(self.seed);
        self.rng = Mt19937::new(self.seed_cur);
    }
    fn clone_box(&self) -> Option<Box<dyn Sampler>> {
        Some(Box::new(self.clone()))
    }
    fn copy_state(&mut self, src: &dyn Any) -> bool {
        let Some(src) = src.downcast_ref::<Dist>() else { return false };
        *self = Dist { seed: self.seed, ..src.clone() };
        true
    }
    fn seed(&self) -> Option<u32> {
        Some(self.seed_cur)
    }
}
