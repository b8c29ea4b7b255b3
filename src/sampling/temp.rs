//! Temperature: a fixed one, and one that follows the entropy.
use super::{Candidates, Sampler, empty, same_kind};
use std::any::Any;
use std::ffi::CStr;

#[derive(Clone)]
struct Temp(f32);

pub fn temp(t: f32) -> Box<dyn Sampler> {
    if t == 1.0 {
        return empty(c"?temp");
    }
    Box::new(Temp(t))
}

/// Divides the logits; at zero and below only the first of the largest survives, the others become `-inf`.
fn scale(c: &mut Candidates<'_>, temp: f32) {
    if temp > 0.0 || temp.is_nan() {
        c.data.iter_mut().for_each(|t| t.logit /= temp);
        return;
    }
    let best = c.argmax();
    for (i, t) in c.data.iter_mut().enumerate() {
        if Some(i) != best {
            t.logit = f32::NEG_INFINITY;
        }
    }
}

impl Sampler for Temp {
    fn name(&self) -> &CStr {
        c"temp"
    }
    fn apply(&mut self, c: &mut Candidates<'_>) {
        scale(c, self.0);
    }
    fn clone_box(&self) -> Option<Box<dyn Sampler>> {
        Some(Box::new(self.clone()))
    }
    fn copy_state(&mut self, src: &dyn Any) -> bool {
        same_kind(self, src)
    }
}

/// Dynamic temperature: `temp - delta` where one token is certain, `temp + delta` where all are alike.
#[derive(Clone)]
struct TempExt {
    temp: f32,
    delta: f32,
    exponent: f32,
}

pub fn temp_ext(temp: f32, delta: f32, exponent: f32) -> Box<dyn Sampler> {
    if temp == 1.0 && delta <= 0.0 {
        return empty(c"?temp-ext");
    }
    Box::new(TempExt { temp, delta, exponent })
}

impl TempExt {
    fn dynamic(&self, c: &Candidates<'_>) -> f32 {
        let max_entropy = -(1.0 / c.data.len() as f32).ln();
        let mut entropy = 0.0_f32;
        for t in c.data.iter().filter(|t| t.p > 0.0) {
            entropy -= t.p * t.p.ln();
        }
        let min = super::candidates::max(0.0, self.temp - self.delta);
        let max = self.temp + self.delta;
        min + (max - min) * (entropy / max_entropy).powf(self.exponent)
    }
}

/// Softmax of a sorted list in double, stored as float.
fn softmax_f64(c: &mut Candidates<'_>) {
    let max = c.data.first().map_or(0.0, |t| f64::from(t.logit));
    let mut sum = 0.0_f64;
    for t in c.data.iter_mut() {
        let p = (f64::from(t.logit) - max).exp();
        t.p = p as f32;
        sum += p;
    }
    c.data.iter_mut().for_each(|t| t.p = (f64::from(t.p) / sum) as f32);
}

impl Sampler for TempExt {
    fn name(&self) -> &CStr {
        c"temp-ext"
    }
    fn apply(&mut self, c: &mut Candidates<'_>) {
        if self.delta.is_nan() || self.delta <= 0.0 {
            return scale(c, self.temp);
        }
        if c.data.len() <= 1 {
            return;
        }
        c.sorted_softmax();
        let temp = self.dynamic(c);
        scale(c, temp);
        softmax_f64(c);
    }
    fn clone_box(&self) -> Option<Box<dyn Sampler>> {
        Some(Box::new(self.clone()))
    }
    fn copy_state(&mut self, src: &dyn Any) -> bool {
        same_kind(self, src)
    }
}
