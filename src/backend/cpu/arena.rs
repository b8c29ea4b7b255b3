//! Activation memory of a lowered plan: every value gets a place, places are reused once a value is dead. Rows are borrowed
//! by region; debug builds check that no two workers hold the same bytes between two barriers.
use super::exec::by_first_touch;
use crate::backend::places::{ALIGN, Place, place};
use crate::backend::{Limits, Plan, T};
use platform::pool::Worker;
use platform::{Result, mmap::Anon};
use std::ops::Range;

pub struct Arena {
    map: Anon,
    /// By value, of those that the segment has: steps ask for every row.
    places: Vec<Option<Place>>,
    #[cfg(debug_assertions)]
    claims: std::sync::Mutex<Vec<Claim>>,
}

#[cfg(debug_assertions)]
struct Claim {
    epoch: u32,
    worker: u32,
    range: Range<usize>,
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
