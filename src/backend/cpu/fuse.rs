//! Neighbouring steps that need no barrier between them: what makes an input, what multiplies it and what adapters add, what turns heads and what
//! stores them.
use super::elementwise::{Glu, Norm};
use super::exec::{CpuOp, Ctx, Lower};
use super::linear::{Before, Linear};
use super::rows::{Rope, Store};
use crate::backend::{Delta, Op, Proj, Step, T};
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
    if let [first, Step { op: Op::Linear { x, outs, fine }, il, .. }, rest @ ..] = steps
        && let Some(before) = before(l, &first.op, *x)
    {
        l.il = *il;
        let after = after(outs, rest);
        return Ok(Some((Box::new(Linear::lower(l, before, *x, outs, *fine, after)?), 2 + usize::from(!after.is_empty()))));
    }
    if let [Step { op: Op::Linear { x, outs, fine }, .. }, rest @ ..] = steps
        && let after @ [_, ..] = after(outs, rest)
    {
        return Ok(Some((Box::new(Linear::lower(l, Before::Nothing, *x, outs, *fine, after)?), 2)));
    }
    turn(l, steps)
}

/// What adapters add to products that make all that is needed for it.
fn after<'a>(outs: &[Proj], rest: &'a [Step]) -> &'a [Delta] {
    match rest {
        [Step { op: Op::AddLow { deltas }, .. }, ..] if Linear::makes(outs, deltas) => deltas,
        _ => &[],
    }
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
        let filled = self.ropes.iter().filter(|r| r.fill(c, w)).count();
        if filled > 0 {
            w.sync()?;
        }
        let k = self.store.as_ref().map(|s| s.0);
        let rest = || self.ropes.iter().enumerate().filter(|(i, _)| Some(*i) != k).map(|r| r.1);
        let heads = rest().map(|r| r.n_head).sum::<usize>();
        for item in w.share(c.io.ub.n_tokens() * heads, 1) {
            let (token, mut h) = (item / heads, item % heads);
            for rope in rest() {
                if h < rope.n_head {
                    rope.head(c, w, token, h);
                    break;
                }
                h -= rope.n_head;
            }
        }
        if let Some((k, store)) = &self.store {
            store.each(c, w, |token, h| {
                self.ropes[*k].head(c, w, token, h);
                store.head(c, w, token, h);
            });
        }
        Ok(())
    }
}
