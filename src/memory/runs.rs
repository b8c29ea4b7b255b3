//! The cells of one sequence in order of (position, arrival), kept as runs of consecutive positions in consecutive cells.
//! Every question is answered in O(log runs) or O(runs asked for), never by a scan over cells. Knows no blocks and no windows.

/// `len` cells from `cell` on hold positions `pos..pos + len`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub pos: i32,
    pub cell: u32,
    pub len: u32,
}

impl Run {
    /// One past the last position.
    pub fn end(self) -> i64 {
        i64::from(self.pos) + i64::from(self.len)
    }
    fn skip(self, k: u32) -> Run {
        Run { pos: self.pos + k as i32, cell: self.cell + k, len: self.len - k }
    }
    /// The part of it with positions in `p0..p1`; `len` 0 when there is none.
    pub fn cut(self, p0: i64, p1: i64) -> Run {
        let (lo, hi) = (p0.max(i64::from(self.pos)), p1.min(self.end()));
        if hi <= lo {
            return Run { len: 0, ..self };
        }
        Run { len: (hi - lo) as u32, ..self.skip((lo - i64::from(self.pos)) as u32) }
    }
    fn leads_to(self, next: Run) -> bool {
        self.end() == i64::from(next.pos) && self.cell + self.len == next.cell
    }
}

/// Sorted by (pos, arrival); within a run positions rise by one, so cells that share a position sit in different runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    runs: Vec<Run>,
    n: u32,
}

impl Runs {
    pub fn n_cells(&self) -> u32 {
        self.n
    }
    pub fn all(&self) -> &[Run] {
        &self.runs
    }
    pub fn min(&self) -> Option<i32> {
        self.runs.first().map(|r| r.pos)
    }
    pub fn max(&self) -> Option<i32> {
        self.last().map(|(pos, _)| pos)
    }
    /// Position and cell of the last one.
    pub fn last(&self) -> Option<(i32, u32)> {
        self.runs.last().map(|r| ((r.end() - 1) as i32, r.cell + r.len - 1))
    }
    /// The runs that reach `pos` or lie behind it.
    pub fn from(&self, pos: i64) -> &[Run] {
        &self.runs[self.runs.partition_point(|r| r.end() <= pos)..]
    }
    /// The pieces with positions in `p0..p1`, in order.
    pub fn within(&self, p0: i64, p1: i64) -> impl Iterator<Item = Run> + '_ {
        self.from(p0).iter().take_while(move |r| i64::from(r.pos) < p1).map(move |r| r.cut(p0, p1)).filter(|r| r.len > 0)
    }
    /// Whether some position has several cells.
    pub fn has_twins(&self) -> bool {
        self.runs.windows(2).any(|w| w[0].end() > i64::from(w[1].pos))
    }
    pub fn count(&self, p0: i64, p1: i64) -> u64 {
        self.within(p0, p1).map(|r| u64::from(r.len)).sum()
    }
    /// Cells with positions in `p0..p1`, in order.
    pub fn cells(&self, p0: i64, p1: i64) -> Vec<u32> {
        self.within(p0, p1).flat_map(|r| r.cell..r.cell + r.len).collect()
    }

    /// Index of the run that starts at or before (pos, stamp), plus one.
    fn after(&self, pos: i32, stamp: u64, stamp_of: impl Fn(u32) -> u64) -> usize {
        self.runs.partition_point(|r| (r.pos, stamp_of(r.cell)) <= (pos, stamp))
    }

    /// Adds `cell` at `pos`; `stamp` is its arrival, `stamp_of` that of any cell already here.
    pub fn insert(&mut self, pos: i32, cell: u32, stamp: u64, stamp_of: impl Fn(u32) -> u64) {
        self.n += 1;
        let mut at = self.after(pos, stamp, &stamp_of);
        if let Some(r) = at.checked_sub(1).and_then(|i| self.runs.get(i)).copied().filter(|r| r.end() > i64::from(pos)) {
            // The run reaches past `pos`: it is cut before the first of its cells that sort behind the new one.
            let same = (pos - r.pos) as u32;
            let keep = same + u32::from(stamp_of(r.cell + same) <= stamp);
            self.split(at - 1, keep);
            at -= usize::from(keep == 0);
        }
        let one = Run { pos, cell, len: 1 };
        if at > 0 && self.runs[at - 1].leads_to(one) {
            self.runs[at - 1].len += 1;
        } else {
            self.runs.insert(at, one);
            at += 1;
        }
        self.merge_at(at);
    }

    /// Makes one run of those before and behind the gap `at`, if they are one.
    fn merge_at(&mut self, at: usize) {
        if at > 0 && at < self.runs.len() && self.runs[at - 1].leads_to(self.runs[at]) {
            self.runs[at - 1].len += self.runs.remove(at).len;
        }
    }

    /// Splits run `i` after `keep` cells; nothing to do at either end.
    fn split(&mut self, i: usize, keep: u32) {
        let r = self.runs[i];
        if keep > 0 && keep < r.len {
            self.runs[i].len = keep;
            self.runs.insert(i + 1, r.skip(keep));
        }
    }

    /// Removes `cell`, which sits at `pos` and arrived at `stamp`.
    pub fn remove(&mut self, pos: i32, cell: u32, stamp: u64, stamp_of: impl Fn(u32) -> u64) {
        let Some(i) = self.after(pos, stamp, stamp_of).checked_sub(1) else { return };
        let r = self.runs[i];
        let k = pos - r.pos;
        debug_assert!(i64::from(pos) < r.end() && r.cell + k as u32 == cell, "cell {cell} at {pos} is not in {r:?}");
        self.n -= 1;
        if k == 0 && r.len == 1 {
            self.runs.remove(i);
            self.merge_at(i);
        } else if k == 0 {
            self.runs[i] = r.skip(1);
        } else {
            self.split(i, k as u32 + 1);
            self.runs[i].len -= 1;
        }
    }
}
