//! Mirostat 1 and 2: keep the surprise of the text near a target by moving a bound after every token. Both select.
use super::rng::{Mt19937, actual_seed};
use super::top::keep_top;
use super::{Candidates, Sampler, copy_whole};
use std::any::Any;
use std::ffi::CStr;

/// What both versions share: the target, the bound, the generator.
#[derive(Clone)]
struct Control {
    seed: u32,
    seed_cur: u32,
    tau: f32,
    eta: f32,
    /// The bound on surprise in bits, twice the target at first.
    mu: f32,
    rng: Mt19937,
}

impl Control {
    fn new(seed: u32, tau: f32, eta: f32) -> Control {
        let seed_cur = actual_seed(seed);
        Control { seed, seed_cur, tau, eta, mu: 2.0 * tau, rng: Mt19937::new(seed_cur) }
    }

    /// Draws from the shortened list and moves the bound by how surprising the draw was.
    fn draw(&mut self, c: &mut Candidates<'_>) {
        c.sorted_softmax();
        let drawn = self.rng.pick(c.data.iter().map(|t| t.p));
        let Some(t) = c.data.get(drawn) else { return };
        let surprise = -t.p.log2();
        self.mu -= self.eta * (surprise - self.tau);
        c.selected = Some(drawn);
    }

    fn reset(&mut self) {
        *self = Control::new(self.seed, self.tau, self.eta);
    }
}

#[derive(Clone)]
struct Mirostat {
    n_vocab: i32,
    /// How many of the best tokens the estimate looks at.
    m: i32,
    control: Control,
}

pub fn mirostat(n_vocab: i32, seed: u32, tau: f32, eta: f32, m: i32) -> Box<dyn Sampler> {
    Box::new(Mirostat { n_vocab, m, control: Control::new(seed, tau, eta) })
}

impl Mirostat {
    /// The exponent of the Zipf law that fits the `m` best.
    fn s_hat(&self, c: &Candidates<'_>) -> f32 {
        // `m` below 1 looks at all: in the original it wraps around.
        let pairs = usize::try_from(i64::from(self.m) - 1).unwrap_or(usize::MAX);
        let (mut tb, mut tt) = (0.0_f32, 0.0_f32);
        for (i, w) in c.data.windows(2).take(pairs).enumerate() {
            let t = ((i + 2) as f32 / (i + 1) as f32).ln();
            let b = (w[0].p / w[1].p).ln();
            tb += t * b;
            tt += t * t;
        }
        tb / tt
    }

    /// How many tokens that law allows under the bound; 1 when it gives no number.
    fn k(&self, s_hat: f32) -> i32 {
        let epsilon = s_hat - 1.0;
        let k = ((epsilon * 2.0_f32.powf(self.control.mu)) / (1.0 - (self.n_vocab as f32).powf(-epsilon))).powf(1.0 / s_hat);
        // A number beyond an int becomes the smallest one on the original's machine, so an endless k means 1, not all. Kept: flat
        // logits get there, and a seed should give the same text.
        if k < 2_147_483_648.0 { (k as i32).max(1) } else { 1 }
    }
}

impl Sampler for Mirostat {
    fn name(&self) -> &CStr {
        c"mirostat"
    }
    fn apply(&mut self, c: &mut Candidates<'_>) {
        c.sorted_softmax();
        let k = self.k(self.s_hat(c));
        keep_top(c, k as usize);
        self.control.draw(c);
    }
    fn reset(&mut self) {
        self.control.reset();
    }
    fn clone_box(&self) -> Option<Box<dyn Sampler>> {
        Some(Box::new(self.clone()))
    }
    fn copy_state(&mut self, src: &dyn Any) -> bool {
        copy_whole(self, src)
    }
    fn seed(&self) -> Option<u32> {
        Some(self.control.seed_cur)
    }
}

#[derive(Clone)]
struct MirostatV2(Control);

pub fn mirostat_v2(seed: u32, tau: f32, eta: f32) -> Box<dyn Sampler> {
    Box::new(MirostatV2(Control::new(seed, tau, eta)))
}

impl Sampler for MirostatV2 {
    fn name(&self) -> &CStr {
        c"mirostat-v2"
    }
    fn apply(&mut self, c: &mut Candidates<'_>) {
        c.sorted_softmax();
        let too_surprising = c.data.iter().position(|t| -t.p.log2() > self.0.mu);
        if let Some(n) = too_surprising {
            c.truncate(n.max(1));
        }
        self.0.draw(c);
    }
    fn reset(&mut self) {
        self.0.reset();
    }
    fn clone_box(&self) -> Option<Box<dyn Sampler>> {
        Some(Box::new(self.clone()))
    }
    fn copy_state(&mut self, src: &dyn Any) -> bool {
        copy_whole(self, src)
    }
    fn seed(&self) -> Option<u32> {
        Some(self.0.seed_cur)
    }
}
