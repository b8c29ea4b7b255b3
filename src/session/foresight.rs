//! What a batch would do, without doing it: for those who look for a shorter way to the same end. Changes nothing.
use super::Context;
use super::batch::{self, BatchView};
use super::context::code;
use super::ubatch;
use crate::memory::Memory;

impl Context {
    /// Who sits where after a decode of `b`; or the code with which `decode` would refuse it.
    pub fn foresee(&self, b: &BatchView<'_>) -> Result<Memory, i32> {
        let (mut memory, limits) = (self.memory().clone(), self.limits());
        let batch = batch::check(b, &limits, &memory).map_err(|_| code::INVALID)?;
        for how in ubatch::ways(limits.unified) {
            if let Ok(ubs) = ubatch::split_as(&batch, limits.n_ubatch, *how)
                && memory.check(&ubs).is_ok()
            {
                return memory.occupy(&ubs).map(|()| memory).map_err(|_| code::FULL);
            }
        }
        Err(code::FULL)
    }
}
