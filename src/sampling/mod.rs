//! From logits to a token: the samplers of llama.h as plain Rust, one file each or per small family. Knows no model, no context, no C.
//!
//! Each follows the original's arithmetic (float or double, order of sums) and its order among equals, so that the same logits and seed
//! give the same token; see [`order`] and [`rng`]. No input makes a sampler panic: an empty list stays empty and selects nothing, a NaN
//! or a list of only `-inf` still selects some token of the list, ids are only compared, never used as an index unchecked.
#![forbid(unsafe_code)]
mod adaptive_p;
mod best;
mod candidates;
mod chain;
mod dist;
mod dry;
mod empty;
mod grammar;
mod greedy;
mod infill;
mod logit_bias;
mod mirostat;
pub mod order;
mod penalties;
pub mod rng;
pub mod row;
mod temp;
mod top;
mod words;
mod xtc;

pub use adaptive_p::adaptive_p;
pub use candidates::{Candidates, TokenData};
pub use chain::{Attachment, Chain, Perf, TryClone, sample, sample_list};
pub use dist::dist;
pub use dry::{Breakers, breakers, dry};
pub use empty::empty;
pub use grammar::{Triggers, grammar};
pub use greedy::greedy;
pub use infill::infill;
pub use logit_bias::{Bias, logit_bias};
pub use mirostat::{mirostat, mirostat_v2};
pub use penalties::penalties;
pub use rng::DEFAULT_SEED;
pub use row::Row;
pub use temp::{temp, temp_ext};
pub use top::{min_p, top_k, top_n_sigma, top_p, typical};
pub use words::Words;
pub use xtc::xtc;

use std::any::Any;
use std::ffi::CStr;

/// One step on the way to a token. `Any` lets [`Sampler::copy_state`] see whether two are of a kind.
pub trait Sampler: Any + Send {
    /// The name `llama_sampler_name` shows; a C string since C keeps the pointer. A `?` in front marks a step whose settings do nothing.
    fn name(&self) -> &CStr;
    fn apply(&mut self, c: &mut Candidates<'_>);
    /// All but so many of the largest logits are thrown away before anything else: nobody need make a list of them.
    fn keeps_best(&self) -> Option<usize> {
        None
    }
    /// A token was taken: remember it.
    fn accept(&mut self, _token: i32) {}
    /// Whether it can run with the model, for at most so many outputs of a sequence in a batch; it is told by its name from then on.
    fn attach(&mut self, _outputs_per_seq: u32) -> bool {
        false
    }
    /// It runs with no model any more.
    fn detach(&mut self) {}
    /// A batch begins: draws of the one before that nobody accepted did not happen.
    fn begin(&mut self) {}
    /// `apply` of those that can run with the model.
    fn run(&mut self, _row: &mut Row) {}
    fn reset(&mut self) {}
    /// `None`: a sampler from outside that cannot be cloned.
    fn clone_box(&self) -> Option<Box<dyn Sampler>>;
    /// Takes over the state of `src`, which must be of the same type: false if it is not. Settings stay where the original leaves them.
    fn copy_state(&mut self, src: &dyn Any) -> bool;
    /// The seed in use, where there is one to report.
    fn seed(&self) -> Option<u32> {
        None
    }
}

impl Sampler for Box<dyn Sampler> {
    fn name(&self) -> &CStr {
        (**self).name()
    }
    fn apply(&mut self, c: &mut Candidates<'_>) {
        (**self).apply(c);
    }
    fn keeps_best(&self) -> Option<usize> {
        (**self).keeps_best()
    }
    fn accept(&mut self, token: i32) {
        (**self).accept(token);
    }
    fn attach(&mut self, outputs_per_seq: u32) -> bool {
        (**self).attach(outputs_per_seq)
    }
    fn detach(&mut self) {
        (**self).detach();
    }
    fn begin(&mut self) {
        (**self).begin();
    }
    fn run(&mut self, row: &mut Row) {
        (**self).run(row);
    }
    fn reset(&mut self) {
        (**self).reset();
    }
    fn clone_box(&self) -> Option<Box<dyn Sampler>> {
        (**self).clone_box()
    }
    fn copy_state(&mut self, src: &dyn Any) -> bool {
        match src.downcast_ref::<Box<dyn Sampler>>() {
            Some(inner) => (**self).copy_state(&**inner),
            None => (**self).copy_state(src),
        }
    }
    fn seed(&self) -> Option<u32> {
        (**self).seed()
    }
}

/// `copy_state` of samplers that hold settings only: nothing moves, the kinds must agree.
fn same_kind<T: 'static>(_: &T, src: &dyn Any) -> bool {
    src.is::<T>()
}

/// `copy_state` of samplers that the original copies whole, settings included.
fn copy_whole<T: Clone + 'static>(dst: &mut T, src: &dyn Any) -> bool {
    src.downcast_ref::<T>().map(|s| dst.clone_from(s)).is_some()
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_row;
#[cfg(test)]
mod tests_words;
