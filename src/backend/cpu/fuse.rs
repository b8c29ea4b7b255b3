//! Neighbouring steps that need no barrier between them: what turns heads and what stores them.
use super::exec::{CpuOp, Ctx, Lower};
use super::rows::{Rope, Store};
use crate::backend::{Op, Step, T};
use platform::Result;
use platform::pool::{Stop, Worker};

/// Rotations of a layer's heads, and the store of the K and V heads among them.
pub struct Turn {
    ropes: Vec<Rope>,
    /// With the index of the rope that makes K.
    store: Option<(usize, Store)>,
}

/// One lowered op for the first steps of `steps`, and how many those are; `None` where nothing is to be fused.
pub fn lower(l: &mut Lower<'_>, steps: &[Step]) -> Result<Option<(Box<dyn CpuOp>, usize)>> {
    let heads = turned(steps);
    let store = match steps.get(heads.len()).map(|s| &s.op) {
        Some(Op::Store { group, k, v }) if heads.iter().all(|h| h.0 != *v) => {
            let store = Store::lower(l, *group, *k, *v)?;
            heads.iter().position(|h| h.0 == *k && store.has_heads(h.1 as usize)).map(|i| (i, store))
        }
        _ => None,
    };
    let used = heads.len() + usize::from(store.is_some());
    if heads.is_empty() || used < 2 {
        return Ok(None);
    }
    let mut ropes = Vec::new();
    for s in &steps[..heads.len()] {
        if let Op::Rope { x, n_head, norm, rope } = s.op.clone() {
            ropes.push(Rope::lower(l, x, n_head, norm, rope)?);
        }
    }
    Ok(Some((Box::new(Turn { ropes, store }), used)))
}

/// The values that the first steps turn, and their heads; a second turn of the same heads waits for the first.
fn turned(steps: &[Step]) -> Vec<(T, u32)> {
    let mut heads: Vec<(T, u32)> = Vec::new();
    for s in steps {
        match s.op {
            Op::Rope { x, n_head, .. } if s.il == steps[0].il && heads.iter().all(|h| h.0 != x) => heads.push((x, n_head)),
            _ => break,
        }
    }
    heads
}

impl CpuOp for Turn {
    fn run(&self, c: &Ctx<'_>, w: &Worker<'_>) -> std::result::Result<(), Stop> {
        if self.ropes.iter().fold(false, |any, r| r.fill(c, w) || any) {
            w.sync()?;
        }
        let (n, heads) = (c.io.ub.n_tokens(), self.ropes.iter().map(|r| r.n_head).sum::<usize>());
        for item in w.share(n * heads, 1) {
            let (token, mut h) = (item / heads, item % heads);
            for (i, rope) in self.ropes.iter().enumerate() {
                if h < rope.n_head {
                    rope.head(c, w, token, h);
                    self.store.iter().filter(|s| s.0 == i).for_each(|s| s.1.head(c, token, h));
                    break;
                }
                h -= rope.n_head;
            }
        }
        Ok(())
    }
}
