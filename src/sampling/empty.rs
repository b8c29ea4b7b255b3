//! The sampler that does nothing, under the name of the one whose settings asked for nothing.
use super::{Candidates, Sampler, copy_whole};
use std::any::Any;
use std::ffi::CStr;

#[derive(Clone)]
struct Empty(&'static CStr);

/// `name` begins with `?`: a chain's listing shows what was switched off.
pub fn empty(name: &'static CStr) -> Box<dyn Sampler> {
    Box::new(Empty(name))
}

impl Sampler for Empty {
    fn name(&self) -> &CStr {
        self.0
    }
    fn apply(&mut self, _: &mut Candidates<'_>) {}
    fn attach(&mut self, _: u32) -> bool {
        true
    }
    fn clone_box(&self) -> Option<Box<dyn Sampler>> {
        Some(Box::new(self.clone()))
    }
    fn copy_state(&mut self, src: &dyn Any) -> bool {
        copy_whole(self, src)
    }
}
