//! Makes tokens that came lately less likely: by factor, by count, by presence.
use super::row::Place;
use super::{Candidates, Row, Sampler, empty};
use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::ffi::CStr;

#[derive(Clone)]
struct Penalties {
    last_n: usize,
    repeat: f32,
    freq: f32,
    present: f32,
    place: Place,
    /// The last `last_n` tokens, oldest first; grows as they come, whatever `last_n` says.
    prev: VecDeque<i32>,
    /// How often each of `prev` is in it.
    count: HashMap<i32, u32>,
}

/// `last_n` tokens are looked back at; `repeat` 1, `freq` 0 and `present` 0 do nothing each.
pub fn penalties(last_n: i32, repeat: f32, freq: f32, present: f32) -> Box<dyn Sampler> {
    let last_n = usize::try_from(last_n).unwrap_or(0);
    if last_n == 0 || (repeat == 1.0 && freq == 0.0 && present == 0.0) {
        return empty(c"?penalties");
    }
    Box::new(Penalties { last_n, repeat, freq, present, place: Place::Apart, prev: VecDeque::new(), count: HashMap::new() })
}

impl Penalties {
    fn forget_oldest(&mut self) {
        let Some(old) = self.prev.pop_front() else { return };
        if let Some(n) = self.count.get_mut(&old) {
            *n -= 1;
            if *n == 0 {
                self.count.remove(&old);
            }
        }
    }

    fn lowered(&self, logit: f32, count: u32) -> f32 {
        // Dividing a negative logit would raise it.
        let scaled = if logit <= 0.0 { logit * self.repeat } else { logit / self.repeat };
        scaled - (count as f32 * self.freq + self.present)
    }
    /// The same with the model's rounding: by factors, one after the other.
    fn lowered_with_model(&self, logit: f32, count: f32) -> f32 {
        let factor = if logit > 0.0 { 1.0 / self.repeat } else { self.repeat };
        let scaled = if self.repeat == 1.0 { logit } else { logit * factor };
        scaled - count * self.freq - self.present
    }
}

impl Sampler for Penalties {
    fn name(&self) -> &CStr {
        self.place.of([c"penalties", c"+penalties", c"-penalties"])
    }
    fn apply(&mut self, c: &mut Candidates<'_>) {
        for t in c.data.iter_mut() {
            if let Some(&n) = self.count.get(&t.id) {
                t.logit = self.lowered(t.logit, n);
            }
        }
        c.sorted = false;
    }
    fn accept(&mut self, token: i32) {
        if self.prev.len() >= self.last_n {
            self.forget_oldest();
        }
        *self.count.entry(token).or_insert(0) += 1;
        self.prev.push_back(token);
    }
    /// Several outputs of a sequence would each need the tokens before them.
    fn attach(&mut self, outputs_per_seq: u32) -> bool {
        self.place = if outputs_per_seq > 1 { Place::Refused } else { Place::WithModel };
        self.place == Place::WithModel
    }
    fn run(&mut self, row: &mut Row) {
        for i in 0..row.logits.len() {
            if let Some(n) = self.count.get(&row.id(i)) {
                row.logits[i] = self.lowered_with_model(row.logits[i], *n as f32);
            }
        }
    }
    fn reset(&mut self) {
        self.prev.clear();
        self.count.clear();
    }
    fn clone_box(&self) -> Option<Box<dyn Sampler>> {
        Some(Box::new(Penalties { place: Place::Apart, ..self.clone() }))
    }
    /// The tokens seen; a shorter memory keeps the newest of them.
    fn copy_state(&mut self, src: &dyn Any) -> bool {
        let Some(src) = src.downcast_ref::<Penalties>() else { return false };
        (self.prev, self.count) = (src.prev.clone(), src.count.clone());
        while self.prev.len() > self.last_n {
            self.forget_oldest();
        }
        true
    }
}
