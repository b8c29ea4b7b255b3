//! Neighbouring steps that need no barrier between them: what turns heads and what stores them.
use super::exec::{CpuOp, Ctx, Lower};
use super::rows::{Rope, Store};
use crate::backend::{Op, Step};
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
    let mut ropes: Vec<Rope> = Vec::new();
    for s in steps.iter().take_while(|s| s.il == steps[0].il) {
        match s.op.clone() {
            // A second turn of the same heads waits for the first.
            Op::Rope { x, n_head, norm, rope } if ropes.iter().all(|r| r.x != x) => ropes.push(Rope::lower(l, x, n_head, norm, rope)?),
            _ => break,
        }
    }
    let n = ropes.len();
    let store = match steps.get(n).map(|s| &s.op) {
        Some(Op::Store { group, k, v }) if ropes.iter().all(|r| r.x != *v) => {
            let store = Store::lower(l, *group, *k, *v)?;
            ropes.iter().position(|r| r.x == *k && store.has_heads(r.n_head)).map(|i| (i, store))
        }
        _ => None,
    };
    let used = n + usize::from(store.is_some());
    Ok((used > 1).then(|| (Box::new(Turn { ropes, store }) as Box<dyn CpuOp>, used)))
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
