//! Activation memory of a lowered plan: every value gets a place, places are reused once a value is dead. Rows are borrowed
//! by region; debug builds check that no two workers hold the same bytes between two barriers.
use super::exec::by_first_touch;
use crate::backend::{Dim, Limits, Plan, T};
use platform::pool::Worker;
use platform::{Error, Result, mmap::Anon};
use std::collections::HashMap;
use std::ops::Range;

/// Bytes: places start on cache lines, so that two values never share one.
const ALIGN: usize = 64;

pub struct Arena {
    map: Anon,
    /// By value, of those that the segment has: steps ask for every row.
    places: Vec<Option<Place>>,
    #[cfg(debug_assertions)]
    claims: std::sync::Mutex<Vec<Claim>>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    at: usize,
    width: usize,
    rows: usize,
}

#[cfg(debug_assertions)]
struct Claim {
    epoch: u32,
    worker: u32,
    range: Range<usize>,
}

fn rows_of(d: Dim, l: Limits) -> usize {
    match d {
        Dim::Tokens => l.tokens,
        Dim::Outputs => l.outputs,
    }
}

/// Offsets for the values used in `range`, and the total. A value lives from its first to its last mention; those that other
/// segments touch live throughout.
fn place(plan: &Plan, range: Range<usize>, limits: Limits) -> Result<(HashMap<T, Place>, usize)> {
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

impl Arena {
    pub fn new(plan: &Plan, range: Range<usize>, limits: Limits, nodes: usize) -> Result<Arena> {
        let (by_value, total) = place(plan, range, limits)?;
        let places = (0..plan.values.len() as u32).map(|t| by_value.get(&T(t)).copied()).collect();
        let map = Anon::new(total.max(ALIGN)).map_err(|e| e.within("activations"))?;
        by_first_touch(&map, nodes);
        Ok(Arena {
            map,
            places,
            #[cfg(debug_assertions)]
            claims: std::sync::Mutex::new(Vec::new()),
        })
    }

    pub fn bytes(&self) -> usize {
        self.map.len()
    }

    /// Called before a run: epochs start anew.
    pub fn begin(&self) {
        #[cfg(debug_assertions)]
        self.claims.lock().unwrap_or_else(|p| p.into_inner()).clear();
    }

    fn get(&self, t: T) -> Place {
        // Every value of the segment was placed when it was lowered.
        self.places.get(t.0 as usize).copied().flatten().unwrap_or_else(|| panic!("value {t:?} has no place in this segment"))
    }

    pub fn width(&self, t: T) -> usize {
        self.get(t).width
    }
    pub fn max_rows(&self, t: T) -> usize {
        self.get(t).rows
    }

    /// Row `i` of `t`, to read. Nobody writes it between the same two barriers, except this worker earlier.
    pub fn row(&self, t: T, i: usize) -> &[f32] {
        let p = self.get(t);
        assert!(i < p.rows, "row {i} of {}", p.rows);
        // SAFETY: the place lies inside the map (sized to the sum of places) and is 64-byte aligned; initialised because anonymous
        // memory reads as zero; writers are separated by barriers (checked in debug builds by `claim`).
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(p.at + i * p.width * 4).cast(), p.width) }
    }

    /// Columns `cols` of row `i` of `t`, to write, claimed for this worker until the next barrier.
    #[allow(clippy::mut_from_ref, reason = "regions are disjoint per worker between barriers; debug builds check")]
    pub fn cols_mut(&self, w: &Worker<'_>, t: T, i: usize, cols: Range<usize>) -> &mut [f32] {
        let p = self.get(t);
        assert!(i < p.rows && cols.end <= p.width, "row {i} of {}, columns {cols:?} of {}", p.rows, p.width);
        let at = p.at + (i * p.width + cols.start) * 4;
        self.claim(w, at..at + cols.len() * 4);
        // SAFETY: bounds as in `row`; the claim says that no other worker writes here between these barriers.
        unsafe { std::slice::from_raw_parts_mut(self.map.as_ptr().add(at).cast(), cols.len()) }
    }

    #[allow(clippy::mut_from_ref, reason = "as cols_mut")]
    pub fn row_mut(&self, w: &Worker<'_>, t: T, i: usize) -> &mut [f32] {
        let width = self.get(t).width;
        self.cols_mut(w, t, i, 0..width)
    }

    /// Base address of `t` and floats per row, for kernels that write a block of columns over many rows; the caller claims what it writes.
    pub fn base(&self, t: T) -> (*mut f32, usize) {
        let p = self.get(t);
        // SAFETY: the offset lies inside the map.
        (unsafe { self.map.as_ptr().add(p.at).cast() }, p.width)
    }

    #[cfg(debug_assertions)]
    fn claim(&self, w: &Worker<'_>, range: Range<usize>) {
        // Enough to catch a wrong split without making debug runs quadratic.
        const LOOK_BACK: usize = 64;
        let mut c = self.claims.lock().unwrap_or_else(|p| p.into_inner());
        let epoch = w.epoch();
        for x in c.iter().rev().take(LOOK_BACK).filter(|x| x.epoch == epoch && x.worker != w.id) {
            assert!(x.range.end <= range.start || range.end <= x.range.start, "workers {} and {} both write {range:?}", x.worker, w.id);
        }
        if c.len() > 16 * LOOK_BACK {
            c.drain(..8 * LOOK_BACK);
        }
        c.push(Claim { epoch, worker: w.id, range });
    }
    #[cfg(not(debug_assertions))]
    #[inline(always)]
    fn claim(&self, _: &Worker<'_>, _: Range<usize>) {}
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
