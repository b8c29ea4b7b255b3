//! Adaptive-p: favours tokens whose probability is near a target that follows what was taken lately. Selects.
use super::rng::{Mt19937, actual_seed};
use super::{Candidates, Sampler, copy_whole};
use std::any::Any;
use std::ffi::CStr;

/// The shape of the transform: width of the peak, its logit, and how fast it falls beside it.
const INV_WIDTH: f32 = 1.0 / 0.3;
const PEAK_LOGIT: f32 = 5.0;
const SHARPNESS: f32 = 10.0;

#[derive(Clone)]
struct AdaptiveP {
    /// Negative: draw from the list as it is.
    target: f32,
    /// History is about `1 / (1 - decay)` tokens.
    decay: f32,
    seed: u32,
    rng: Mt19937,
    /// Sums of `p * decay^i` and of `decay^i` over the tokens taken.
    weighted_sum: f32,
    total_weight: f32,
    /// The token selected and its probability before the transform, until it is accepted or another is.
    pending: Option<(i32, f32)>,
}

pub fn adaptive_p(target: f32, decay: f32, seed: u32) -> Box<dyn Sampler> {
    Box::new(AdaptiveP::new(target, decay.clamp(0.0, 0.99), seed))
}

impl AdaptiveP {
    fn new(target: f32, decay: f32, seed: u32) -> AdaptiveP {
        // As if an endless history had met the target.
        let total_weight = 1.0 / (1.0 - decay);
        let rng = Mt19937::new(actual_seed(seed));
        AdaptiveP { target, decay, seed, rng, weighted_sum: target / (1.0 - decay), total_weight, pending: None }
    }

    fn adapted_target(&self) -> f32 {
        let target = self.target.clamp(0.0, 1.0);
        let wanted = if self.total_weight == 0.0 { target } else { 2.0 * target - (self.weighted_sum / self.total_weight) };
        wanted.clamp(0.0, 1.0)
    }

    /// Quadratic near the target, linear far from it; masked tokens stay masked.
    fn transform(c: &mut Candidates<'_>, target: f32) {
        for t in c.data.iter_mut().filter(|t| t.logit != f32::NEG_INFINITY) {
            let d = ((t.p - target) * INV_WIDTH).abs();
            t.logit = PEAK_LOGIT - SHARPNESS * d * d / (1.0 + d);
        }
    }

    fn draw(&mut self, c: &Candidates<'_>) -> Option<usize> {
        let drawn = self.rng.pick(c.data.iter().map(|t| t.p));
        (drawn < c.data.len()).then_some(drawn)
    }
}

impl Sampler for AdaptiveP {
    fn name(&self) -> &CStr {
        c"adaptive-p"
    }
    fn apply(&mut self, c: &mut Candidates<'_>) {
        c.softmax();
        if self.target < 0.0 {
            c.selected = self.draw(c);
            return;
        }
        let before: Vec<f32> = c.data.iter().map(|t| t.p).collect();
        AdaptiveP::transform(c, self.adapted_target());
        c.softmax();
        c.selected = self.draw(c);
        self.pending = c.selected.map(|i| (c.data[i].id, before[i]));
    }
    fn accept(&mut self, token: i32) {
        if let Some((_, p)) = self.pending.take().filter(|(id, _)| *id == token) {
            self.weighted_sum = p + self.decay * self.weighted_sum;
            self.total_weight = 1.0 + self.decay * self.total_weight;
        }
    }
    fn reset(&mut self) {
        *self = AdaptiveP::new(self.target, self.decay, self.seed);
    }
    fn clone_box(&self) -> Option<Box<dyn Sampler>> {
        Some(Box::new(self.clone()))
    }
    fn copy_state(&mut self, src: &dyn Any) -> bool {
        copy_whole(self, src)
    }
}
