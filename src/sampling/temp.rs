//! Temperature: a fixed one, and one that follows the entropy.
use super::row::Place;
use super::{Candidates, Row, Sampler, empty, same_kind};
use std::any::Any;
use std::ffi::CStr;

struct Temp(f32, Place);

pub fn temp(t: f32) -> Box<dyn Sampler> {
    if t == 1.0 {
        return empty(c"?temp");
    }
    Box::new(Temp(t, Place::Apart))
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

/// With the model: the factor is what is rounded, and at zero and below the list has one entry.
fn scale_row(row: &mut Row, temp: f32) {
    if temp > 0.0 || temp.is_nan() {
        let factor = 1.0 / temp;
        return row.logits.iter_mut().for_each(|l| *l *= factor);
    }
    if let Some(best) = row.argmax() {
        row.keep(&[best]);
    }
}

impl Sampler for Temp {
    fn name(&self) -> &CStr {
        self.1.of([c"temp", c"+temp", c"-temp"])
    }
    fn apply(&mut self, c: &mut Candidates<'_>) {
        scale(c, self.0);
    }
    fn attach(&mut self, _: u32) -> bool {
        self.1 = Place::WithModel;
        true
    }
    fn run(&mut self, row: &mut Row) {
        scale_row(row, self.0);
    }
    fn clone_box(&self) -> Option<Box<dyn Sampler>> {
        Some(Box::new(Temp(self.0, Place::Apart)))
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
    place: Place,
}

pub fn temp_ext(temp: f32, delta: f32, exponent: f32) -> Box<dyn Sampler> {
    if temp == 1.0 && delta <= 0.0 {
        return empty(c"?temp-ext");
    }
    Box::new(TempExt { temp, delta, exponent, place: Place::Apart })
}

impl TempExt {
    fn dynamic(&self, c: &Candidates<'_>) -> f32 {
        let max_entropy = -(1.0 / c.data.len() as f32).ln();
        let mut entropy = 0.0_f32;
        for t in c.data.iter().filter(|t| t.p > 0.0) {
            entropy -= t.p * t.p.ln();
        }
        self.between(entropy / max_entropy)
    }
    /// The temperature of an entropy between 0 and 1.
    fn between(&self, entropy: f32) -> f32 {
        let min = super::candidates::max(0.0, self.temp - self.delta);
        let max = self.temp + self.delta;
        min + (max - min) * entropy.powf(self.exponent)
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
        self.place.of([c"temp-ext", c"+temp-ext", c"-temp-ext"])
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
    fn attach(&mut self, _: u32) -> bool {
        self.place = Place::WithModel;
        true
    }
    fn run(&mut self, row: &mut Row) {
        if !(self.delta > 0.0 && self.temp > 0.0) {
            return scale_row(row, self.temp);
        }
        // What is masked counts with the least probability there is.
        let surprise = |p: &f32| f64::from(p.max(1e-10)) * f64::from(p.max(1e-10).ln());
        let entropy = -row.softmax().iter().map(surprise).sum::<f64>() as f32;
        let temp = self.between(entropy / (row.logits.len() as f32).ln());
        row.logits.iter_mut().for_each(|l| *l /= temp);
    }
    fn clone_box(&self) -> Option<Box<dyn Sampler>> {
        Some(Box::new(TempExt { place: Place::Apart, ..*self }))
    }
    fn copy_state(&mut self, src: &dyn Any) -> bool {
        same_kind(self, src)
    }
}
