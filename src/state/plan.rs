//! How the rows of one plane of a layer get to their places: runs of cells become transfers. Pure: no bytes, no device. What the tests see here is
//! what a restore does, on any device.
use crate::memory::rows::{Piece, within};
use std::ops::Range;

/// How one part of a plane goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The source reads straight into the places: nothing lies in between.
    Direct,
    /// The source has the rows in memory as they are wanted: one call that names all runs.
    Batched,
    /// Through a buffer, where rows are brought together or changed; then one call that names all runs.
    Staged,
}

/// Rows `rows` of a plane in one call of its buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    pub rows: Range<u32>,
    pub how: How,
    pub runs: u32,
}

/// What is known of a plane before a byte moves.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Bytes of a row, in the state.
    pub row: usize,
    /// The bytes of the state are in memory.
    pub at_hand: bool,
    /// Rows are wanted as they are.
    pub as_is: bool,
    /// Rows of neighbouring cells touch.
    pub flat: bool,
    /// The host can address the places.
    pub host: bool,
}

/// Bytes of one transfer where a call costs nothing: a few of them, one per worker, stay in the last-level cache, and a disk answers requests of this
/// size at its full speed (4 MiB against 1 MiB: 2.7 and 1.2 GB/s for one reader past the page cache, 2.9 and 1.7 for four).
const HOST: usize = 4 << 20;
/// Where a call costs microseconds (a device): the least that is worth a second one. A plane is at most two calls, a layer four.
const DEVICE: usize = 64 << 20;
/// Shortest run that a file is read straight into, on average: below, the kernel's work per run costs more than a copy through the cache.
const LONG: usize = 16 << 10;

/// The transfers of rows `0..n`, which lie at `pieces` (ascending in row). Rows without a place move with their neighbours or not at all.
pub fn plan(pieces: &[Piece], n: u32, s: &Shape) -> Vec<Transfer> {
    let total = n as usize * s.row;
    let unit = if s.host { HOST } else { DEVICE.max(total.div_ceil(2)) };
    let step = u32::try_from((unit / s.row.max(1)).max(1)).unwrap_or(u32::MAX);
    let parts = (0..n).step_by(step as usize).map(|i| i..i.saturating_add(step).min(n));
    let one = |rows: Range<u32>| {
        // How far rows have a place, and one only.
        let (mut runs, mut whole) = (0, 0);
        within(pieces, &rows).for_each(|p| (runs, whole) = (runs + 1, if p.row == whole { whole + p.len } else { whole }));
        let long = whole as usize * s.row >= runs as usize * LONG;
        let how = match s {
            Shape { as_is: true, at_hand: true, .. } => How::Batched,
            // Without a place for every row there would be nowhere to read it to.
            Shape { as_is: true, host: true, flat: true, .. } if long && whole == rows.len() as u32 => How::Direct,
            _ => How::Staged,
        };
        Transfer { rows, how, runs }
    };
    parts.map(one).filter(|t| t.runs > 0).collect()
}

/// The one transfer of a plane that the state has channel by channel: no part of it is all of a row.
pub fn turned(pieces: &[Piece], n: u32) -> Vec<Transfer> {
    let rows = 0..n;
    let runs = within(pieces, &rows).count() as u32;
    vec![Transfer { rows, how: How::Staged, runs }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::restore::RowAt;
    use crate::memory::rows::{BlockId, pieces};

    fn at(cells: impl IntoIterator<Item = u32>) -> Vec<Piece> {
        let one = |(i, c): (usize, u32)| RowAt { row: i as u32, block: BlockId(c / 64), slot: (c % 64) as u16 };
        pieces(&cells.into_iter().enumerate().map(one).collect::<Vec<_>>())
    }
    const FILE: Shape = Shape { row: 1024, at_hand: false, as_is: true, flat: true, host: true };

    #[test]
    fn the_seed_case_is_four_runs_in_one_call() {
        let p = at([10, 15, 16, 23, 24, 25, 45, 46]);
        assert_eq!(p.iter().map(|p| (p.row, p.slot, p.len)).collect::<Vec<_>>(), [(0, 10, 1), (1, 15, 2), (3, 23, 3), (6, 45, 2)]);
        let one = |how| vec![Transfer { rows: 0..8, how, runs: 4 }];
        assert_eq!(plan(&p, 8, &FILE), one(How::Staged));
        assert_eq!(plan(&p, 8, &Shape { at_hand: true, ..FILE }), one(How::Batched));
        assert_eq!(plan(&p, 8, &Shape { at_hand: true, as_is: false, ..FILE }), one(How::Staged));
        // Runs of 8 KiB a row are worth a read each.
        assert_eq!(plan(&p, 8, &Shape { row: 8192, ..FILE }), one(How::Direct));
    }

    #[test]
    fn whole_blocks_are_read_straight_into_place_and_single_cells_are_not() {
        let n = 32 << 10;
        for t in plan(&at(0..n), n, &FILE) {
            assert_eq!((t.how, t.runs, t.rows.len()), (How::Direct, 64, 4096));
        }
        let apart = at((0..n).map(|i| 2 * i));
        let t = plan(&apart, n, &FILE);
        assert!(t.len() == 8 && t.iter().all(|t| t.how == How::Staged && t.runs == 4096));
        for s in [Shape { flat: false, ..FILE }, Shape { as_is: false, ..FILE }] {
            assert!(plan(&at(0..n), n, &s).iter().all(|t| t.how == How::Staged));
        }
    }

    #[test]
    fn a_device_is_called_at_most_twice_a_plane() {
        for (n, cells) in [(32 << 10, 1), (32 << 10, 2), (1 << 20, 1), (1 << 20, 2), (3, 9)] {
            let t = plan(&at((0..n).map(|i| cells * i)), n, &Shape { host: false, ..FILE });
            assert!(t.len() == 1 + usize::from(n as usize * FILE.row > DEVICE), "{n} rows: {} calls", t.len());
            assert_eq!(t.iter().map(|t| t.rows.len()).sum::<usize>(), n as usize);
        }
    }

    #[test]
    fn rows_without_a_place_are_left_out() {
        let mut p = at(0..10_000);
        p.retain(|p| p.row >= 9000);
        let t = plan(&p, 10_000, &FILE);
        assert_eq!(t.iter().map(|t| (t.rows.clone(), t.how)).collect::<Vec<_>>(), [(8192..10_000, How::Staged)]);
        assert_eq!(plan(&[], 0, &FILE), []);
        // One row twice, another not at all: as many as there are, but not theirs.
        let mut p = at(0..64);
        p.push(Piece { row: 0, block: BlockId(9), slot: 0, len: 64 });
        p.sort_by_key(|p| p.row);
        assert_eq!(plan(&p, 128, &FILE)[0].how, How::Staged);
    }
}
