//! Takes the largest logit, the first one among equals.
use super::{Candidates, Sampler, same_kind};
use std::any::Any;
use std::ffi::CStr;

#[derive(Clone)]
struct Greedy;

pub fn greedy() -> Box<dyn Sampler> {
    Box::new(Greedy)
}

impl Sampler for Greedy {
    fn name(&self) -> &CStr {
        c"greedy"
    }
    fn apply(&mut self, c: &mut Candidates<'_>) {
        c.selected = c.argmax();
    }
    fn clone_box(&self) -> Option<Box<dyn Sampler>> {
        Some(Box::new(self.clone()))
    }
    fn copy_state(&mut self, src: &dyn Any) -> bool {
        same_kind(self, src)
    }
}
