//! Physical blocks of one group: which ids are taken, which were given back. No bytes: the store acts on what is told here.
use crate::backend::io::BlockId;
use crate::backend::{Rounds, home_of};

/// Ids `0..n`. A stack: what was given back last is taken first, so that undoing in reverse order gives every cell its own block again; one stack per
/// node where blocks go round.
#[derive(Clone, Debug)]
pub struct Pool {
    free: Vec<Vec<u32>>,
    rounds: Rounds,
    /// Streams that use each block.
    refs: Vec<u16>,
    /// Given back since the last `freed`; may hold ids that were taken again.
    back: Vec<u32>,
}

impl Pool {
    pub fn new(n: u32) -> Pool {
        Pool { free: vec![(0..n).rev().collect()], rounds: Rounds::from([]), refs: vec![0; n as usize], back: Vec::new() }
    }
    /// The same blocks, before any is taken, on the nodes that `rounds` say.
    #[must_use]
    pub fn on(self, rounds: &Rounds) -> Pool {
        let nodes = rounds.iter().map(|r| r.0 as usize + 1).max().unwrap_or(1);
        let mut pool = Pool { free: vec![Vec::new(); nodes], rounds: rounds.clone(), ..self };
        (0..pool.refs.len() as u32).rev().for_each(|b| pool.stack(b).push(b));
        pool
    }
    fn stack(&mut self, b: u32) -> &mut Vec<u32> {
        let node = if self.rounds.is_empty() { 0 } else { self.rounds[b as usize % self.rounds.len()].0 };
        &mut self.free[node as usize]
    }
    pub fn n_used(&self) -> u32 {
        (self.refs.len() - self.free.iter().map(Vec::len).sum::<usize>()) as u32
    }
    pub fn in_use(&self, b: BlockId) -> bool {
        self.refs.get(b.0 as usize).is_some_and(|r| *r > 0)
    }
    /// For cells from `pos` on: of the node that such positions are wanted on, or of the one that has most. Never empty: there is one id for every
    /// virtual block of every stream.
    pub fn take(&mut self, pos: i32) -> Option<BlockId> {
        let wanted = home_of(&self.rounds, pos) as usize;
        let from = if self.free[wanted].is_empty() { self.free.iter_mut().max_by_key(|f| f.len())? } else { &mut self.free[wanted] };
        let b = from.pop()?;
        self.refs[b as usize] = 1;
        Some(BlockId(b))
    }
    /// Another stream uses `b`; or one takes back what it gave last.
    pub fn join(&mut self, b: BlockId) {
        let r = &mut self.refs[b.0 as usize];
        *r += 1;
        if *r == 1 {
            // On top unless somebody undoes in another order.
            let free = self.stack(b.0);
            let at = free.iter().rposition(|f| *f == b.0);
            at.into_iter().for_each(|at| _ = free.remove(at));
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
            self.stack(b.0).push(b.0);
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
