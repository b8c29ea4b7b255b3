//! Draws from the softmax of the logits.
use super::rng::{Mt19937, actual_seed};
use super::row::Place;
use super::{Candidates, Row, Sampler};
use std::any::Any;
use std::ffi::CStr;

#[derive(Clone)]
struct Dist {
    /// What was asked for; `seed_cur` is what is used.
    seed: u32,
    seed_cur: u32,
    rng: Mt19937,
    place: Place,
    /// With several outputs of a sequence in a batch: what is drawn counts when its token is accepted.
    drawn: Option<Drawn>,
}

/// Draws of the batch at hand.
#[derive(Clone)]
struct Drawn {
    rng: Mt19937,
    n: usize,
    n_accepted: usize,
}

pub fn dist(seed: u32) -> Box<dyn Sampler> {
    let seed_cur = actual_seed(seed);
    Box::new(Dist { seed, seed_cur, rng: Mt19937::new(seed_cur), place: Place::Apart, drawn: None })
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

impl Dist {
    /// In double, rounded once.
    fn draw(&mut self) -> f32 {
        let rng = match &mut self.drawn {
            Some(d) => {
                d.n += 1;
                &mut d.rng
            }
            None => &mut self.rng,
        };
        rng.unit_f64() as f32
    }
}

impl Sampler for Dist {
    fn name(&self) -> &CStr {
        self.place.of([c"dist", c"+dist", c"-dist"])
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
    fn accept(&mut self, _: i32) {
        if let Some(d) = self.drawn.as_mut().filter(|d| d.n_accepted < d.n) {
            d.n_accepted += 1;
            self.rng.unit_f64();
        }
    }
    fn attach(&mut self, outputs_per_seq: u32) -> bool {
        self.place = Place::WithModel;
        self.drawn = (outputs_per_seq > 1).then(|| Drawn { rng: self.rng.clone(), n: 0, n_accepted: 0 });
        true
    }
    fn detach(&mut self) {
        self.drawn = None;
    }
    fn begin(&mut self) {
        if let Some(d) = &mut self.drawn {
            *d = Drawn { rng: self.rng.clone(), n: 0, n_accepted: 0 };
        }
    }
    fn run(&mut self, row: &mut Row) {
        let draw = self.draw();
        let probs = row.softmax();
        let mut sum = 0.0_f32;
        let reached = probs.iter().position(|p| {
            sum += p;
            sum - draw > 0.0
        });
        let at = reached.or(probs.len().checked_sub(1));
        row.token = at.map(|i| row.id(i));
        row.probs = Some(probs);
    }
    fn reset(&mut self) {
        self.seed_cur = actual_seed(self.seed);
        self.rng = Mt19937::new(self.seed_cur);
        self.begin();
    }
    fn clone_box(&self) -> Option<Box<dyn Sampler>> {
        Some(Box::new(Dist { place: Place::Apart, ..self.clone() }))
    }
    fn copy_state(&mut self, src: &dyn Any) -> bool {
        let Some(src) = src.downcast_ref::<Dist>() else { return false };
        let drawn = self.drawn.take().map(|own| src.drawn.clone().unwrap_or(own));
        *self = Dist { seed: self.seed, place: self.place, drawn, ..src.clone() };
        true
    }
    fn seed(&self) -> Option<u32> {
        Some(self.seed_cur)
    }
}
