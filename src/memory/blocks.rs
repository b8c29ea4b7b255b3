//! Physical blocks of one group: which ids are taken, which were given back. No bytes: the store acts on what is told here.
use crate::backend::io::BlockId;

/// Ids `0..n`. A stack: what was given back last is taken first, so that undoing in reverse order gives every cell its own block again.
#[derive(Clone, Debug)]
pub struct Pool {
    free: Vec<u32>,
    /// Streams that use each block.
    refs: Vec<u16>,
    /// Given back since the last `freed`; may hold ids that were taken again.
    back: Vec<u32>,
}

impl Pool {
    pub fn new(n: u32) -> Pool {
        Pool { free: (0..n).rev().collect(), refs: vec![0; n as usize], back: Vec::new() }
    }
    pub fn n_used(&self) -> u32 {
        (self.refs.len() - self.free.len()) as u32
    }
    pub fn in_use(&self, b: BlockId) -> bool {
        self.refs.get(b.0 as usize).is_some_and(|r| *r > 0)
    }
    /// Never empty: there is one id for every virtual block of every stream.
    pub fn take(&mut self) -> Option<BlockId> {
        let b = self.free.pop()?;
        self.refs[b as usize] = 1;
        Some(BlockId(b))
    }
    /// Another stream uses `b`; or one takes back what it gave last.
    pub fn join(&mut self, b: BlockId) {
        let r = &mut self.refs[b.0 as usize];
        *r += 1;
        if *r == 1 {
            // On top unless somebody undoes in another order.
            let at = self.free.iter().rposition(|f| *f == b.0);
            at.into_iter().for_each(|at| _ = self.free.remove(at));
        }
    }
    /// A write to it would be seen by another stream.
    pub fn is_shared(&self, b: BlockId) -> bool {
        self.refs[b.0 as usize] > 1
    }
    pub fn give(&mut self, b: BlockId) {
        let r = &mut self.refs[b.0 as usize];
        *r -= 1;
        if *r == 0 {
            self.free.push(b.0);
            self.back.push(b.0);
        }
    }
    /// Marks where `forget_freed` goes back to.
    pub fn n_freed(&self) -> usize {
        self.back.len()
    }
    /// A trial run gives back blocks that were never written: they are no news.
    pub fn forget_freed(&mut self, n: usize) {
        self.back.truncate(n);
    }
    /// Blocks given back since the last call and not in use now.
    pub fn freed(&mut self) -> Vec<BlockId> {
        let mut back = std::mem::take(&mut self.back);
        back.sort_unstable();
        back.dedup();
        back.into_iter().map(BlockId).filter(|b| !self.in_use(*b)).collect()
    }

    #[cfg(test)]
    pub fn state(&self) -> impl PartialEq + use<> {
        (self.free.clone(), self.refs.clone())
    }
}
