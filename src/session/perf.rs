//! Times and counts of a context, as `llama_perf_context` reports them.
use std::time::Instant;

#[derive(Clone, Debug)]
pub struct Perf {
    pub start: Instant,
    pub load_us: i64,
    pub p_eval_us: i64,
    pub eval_us: i64,
    pub n_p_eval: i32,
    pub n_eval: i32,
    /// Runs of the one plan there is after the first.
    pub n_reused: i32,
}

impl Perf {
    pub fn new(load_us: i64) -> Perf {
        Perf { start: Instant::now(), load_us, p_eval_us: 0, eval_us: 0, n_p_eval: 0, n_eval: 0, n_reused: 0 }
    }
    /// A decode of one token counts as generation, more as prompt.
    pub fn count(&mut self, n_tokens: usize, since: Instant) {
        let us = since.elapsed().as_micros() as i64;
        if n_tokens == 1 {
            self.eval_us += us;
            self.n_eval += 1;
        } else {
            self.p_eval_us += us;
            self.n_p_eval += n_tokens as i32;
        }
    }
    pub fn reset(&mut self) {
        *self = Perf { load_us: self.load_us, ..Perf::new(0) };
    }
}
