//! Neighbouring steps that need no barrier between them: what makes an input and what multiplies it, what turns heads and what stores them.
use super::elementwise::{Glu, Norm};
use super::exec::{CpuOp, Ctx, Lower};
use super::linear::{Before, Linear};
use super::rows::{Rope, Store};
use crate::backend::{Op, Step, T};
use platform::Result;
use platform::pool::{Stop, Worker};
use std::ops::Range;

/// Rotations of a layer's heads, and the store of the K and V heads among them.
pub struct Turn {
    ropes: Vec<Rope>,
    /// Heads of each rope by node, where K is cut by heads; all in one where it is not. [nodes][ropes]
    heads: Vec<Vec<Range<usize>>>,
    /// With the index of the rope that makes K.
    store: Option<(usize, Store)>,
}

/// One lowered op for the first steps of `steps`, and how many those are; `None` where nothing is to be fused.
pub fn lower(l: &mut Lower<'_>, steps: &[Step]) -> Result<Option<(Box<dyn CpuOp>, usize)>> {
    if let [first, Step { op: Op::Linear { x, outs, fine }, il, .. }, ..] = steps
        && let Some(before) = before(l, &first.op, *x)
    {
        l.il = *il;
        return Ok(Some((Box::new(Linear::lower(l, before, *x, outs, *fine)?), 2)));
    }
    turn(l, steps)
}

/// A step that makes `input`, row by row or column by column.
fn before(l: &Lower<'_>, op: &Op, input: T) -> Option<Before> {
    let t = kernels::float::table(l.isa);
    match *op {
        Op::Norm { x, add, w, b, kind, eps, sum, out } if out == input => {
            Some(Before::Norm(Norm { x, add, w, b, kind, eps, sum, out, rows: l.rows(x), t }))
        }
        Op::Glu { gate, up, act, out } if out == input => Some(Before::Glu(Glu { gate, up, act, out, rows: l.rows(gate), t })),
        _ => None,
    }
}

fn turn(l: &mut Lower<'_>, steps: &[Step]) -> Result<Option<(Box<dyn CpuOp>, usize)>> {
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
    let cut = store.as_ref().map_or(0, |s| s.1.heads.len()).max(1);
    let of_rope = |node: usize, (i, r): (usize, &Rope)| match &store {
        Some((k, s)) if *k == i => s.heads[node].clone(),
        _ if cut == 1 => 0..r.n_head,
        _ => l.nodes.cut(r.n_head, 1).swap_remove(node),
    };
    let heads = (0..cut).map(|node| ropes.iter().enumerate().map(|r| of_rope(node, r)).collect()).collect();
    Ok(Some((Box::new(Turn { ropes, heads, store }), used)))
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
        let filled = self.ropes.iter().filter(|r| r.fill(c, w)).count();
        if filled > 0 {
            w.sync()?;
        }
        let n = c.io.ub.n_tokens();
        for (node, parts) in self.heads.iter().enumerate() {
            let heads = parts.iter().map(Range::len).sum::<usize>();
            for item in c.part_of(w, self.heads.len(), node, n * heads) {
                let (token, mut h) = (item / heads, item % heads);
                for (i, (rope, part)) in self.ropes.iter().zip(parts).enumerate() {
                    if h < part.len() {
                        rope.head(c, w, token, part.start + h);
                        self.store.iter().filter(|s| s.0 == i).for_each(|s| s.1.head(c, w, token, part.start + h));
                        break;
                    }
                    h -= part.len();
                }
            }
        }
        Ok(())
    }
}
