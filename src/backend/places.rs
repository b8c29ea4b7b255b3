//! Where the values of a lowered plan lie in the memory for activations: each gets a place, places are reused once a value is dead.
use super::{Dim, Limits, Plan, T};
use platform::{Error, Result};
use std::collections::HashMap;
use std::ops::Range;

/// Bytes: places start on cache lines, so that two values never share one.
pub const ALIGN: usize = 64;

#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub at: usize,
    pub width: usize,
    pub rows: usize,
}

fn rows_of(d: Dim, l: Limits) -> usize {
    match d {
        Dim::Tokens => l.tokens,
        Dim::Outputs => l.outputs,
    }
}

/// Offsets for the values used in `range`, and the total. A value lives from its first to its last mention; those that other
/// segments touch live throughout.
pub fn place(plan: &Plan, range: Range<usize>, limits: Limits) -> Result<(HashMap<T, Place>, usize)> {
    let mut life: HashMap<T, (usize, usize)> = HashMap::new();
    for (i, s) in plan.steps.iter().enumerate() {
        for t in s.op.inputs().into_iter().chain(s.op.outputs()) {
            let inside = range.contains(&i);
            let e = life.entry(t).or_insert((i, i));
            if inside { e.1 = i } else { *e = (e.0.min(i), usize::MAX) }
        }
    }
    // Values that nobody reads are results: they live to the end.
    let read: std::collections::HashSet<T> =
        plan.steps.iter().flat_map(|s| s.op.inputs().into_iter().chain(s.op.shown().iter().copied())).collect();
    let mut places = HashMap::new();
    let mut live: Vec<(usize, usize, usize)> = Vec::new(); // (at, end, dies)
    let mut total = 0;
    // What comes in from another segment is there before the first step.
    let mut incoming: Vec<T> = range.clone().flat_map(|i| plan.steps[i].op.inputs()).filter(|t| life[t].0 < range.start).collect();
    incoming.dedup();
    for i in range.clone() {
        live.retain(|l| l.2 >= i);
        let op = &plan.steps[i].op;
        for t in incoming.drain(..).chain(op.outputs()).chain(op.inputs()) {
            if places.contains_key(&t) {
                continue;
            }
            let v = plan.value(t);
            let rows = rows_of(v.rows, limits);
            let bytes = (v.width as usize).checked_mul(4 * rows).ok_or_else(|| Error::no_memory("activations too large"))?;
            let (first, last) = life[&t];
            let dies = if read.contains(&t) && first >= range.start { last } else { usize::MAX };
            live.sort_unstable();
            let at = first_gap(&live, bytes);
            live.push((at, at + bytes, dies));
            total = total.max(at + bytes);
            places.insert(t, Place { at, width: v.width as usize, rows });
        }
    }
    Ok((places, total))
}

/// The lowest aligned offset where `bytes` fit between the live ranges (sorted by start).
fn first_gap(live: &[(usize, usize, usize)], bytes: usize) -> usize {
    let mut at = 0usize;
    for l in live {
        if at + bytes <= l.0 {
            break;
        }
        at = at.max(l.1.next_multiple_of(ALIGN));
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{DeviceId, MapFn, Op, Step, Value};

    fn plan(n: u32) -> Plan {
        let value = Value { width: 16, rows: Dim::Tokens, dev: DeviceId(0) };
        let step = |i: u32| Step {
            op: Op::Map { x: T(i), y: None, f: MapFn::Scale(2.0), out: T(i + 1) },
            il: 0,
            dev: DeviceId(0),
            seen_as: vec![],
        };
        Plan { values: vec![value; n as usize + 1], steps: (0..n).map(step).collect(), watched: false }
    }

    #[test]
    fn places_are_reused_and_never_shared_while_live() {
        let p = plan(10);
        let limits = Limits { tokens: 4, outputs: 1, workers: 1 };
        let (places, total) = place(&p, 0..10, limits).expect("small");
        let one = 16 * 4 * 4;
        assert!(total <= 3 * one, "two live values and the first: {total}");
        for i in 0..10 {
            let (a, b) = (places[&T(i)], places[&T(i + 1)]);
            assert!(a.at.abs_diff(b.at) >= one, "step {i} reads and writes the same place");
        }
    }
}
