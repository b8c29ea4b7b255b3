//! Takes the largest logit, the first one among equals.
use super::row::Place;
use super::{Candidates, Row, Sampler, same_kind};
use std::any::Any;
use std::ffi::CStr;

#[derive(Default)]
struct Greedy(Place);

pub fn greedy() -> Box<dyn Sampler> {
    Box::new(Greedy::default())
}

impl Sampler for Greedy {
    fn name(&self) -> &CStr {
        self.0.of([c"greedy", c"+greedy", c"-greedy"])
    }
    fn apply(&mut self, c: &mut Candidates<'_>) {
        c.selected = c.argmax();
    }
    fn attach(&mut self, _: u32) -> bool {
        self.0 = Place::WithModel;
        true
    }
    fn run(&mut self, row: &mut Row) {
        row.token = row.argmax().map(|i| row.id(i));
    }
    fn clone_box(&self) -> Option<Box<dyn Sampler>> {
        Some(greedy())
    }
    fn copy_state(&mut self, src: &dyn Any) -> bool {
        same_kind(self, src)
    }
}
