//! Which bytes of a group's store are in memory: made sure of when cells are taken, given back some time after their block lost its last one.
//! Knows blocks, cells and byte ranges, neither rows nor who sits where; `reaper` knows when.
use crate::backend::{BlockId, Buffer, DeviceId, Rounds, TILE};
use platform::{Error, Result, mmap};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The part of every block that is on one device.
pub struct Device {
    pub buf: Arc<dyn Buffer>,
    /// Offset of the first block.
    pub base: usize,
    pub block_bytes: usize,
    /// Where each plane starts in a block and what a cell takes there; ascending, in tiles of cells.
    pub planes: Vec<(usize, usize)>,
    /// Where blocks go round: which of them are here. Empty: a part of each.
    pub round: Rounds,
    pub region: u32,
}

pub struct Resident {
    devices: Vec<Device>,
    cells_per_block: u16,
    page: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Per block: so many cells from its start on have all their rows in memory.
    marks: Vec<u16>,
    /// Blocks without cells that are in memory. One that is taken leaves this set before anything else happens to it.
    idle: BTreeSet<u32>,
    /// Blocks given back so far.
    released: u64,
}

/// Bytes given back while the lock is held: who takes a block waits that long (1 ms).
const AT_A_TIME: usize = 4 << 20;

impl Resident {
    pub fn new(devices: Vec<Device>, cells_per_block: u32, n_blocks: u32) -> Result<Resident> {
        let marks = platform::error::try_zeroed(n_blocks as usize, "KV block table")?;
        let state = Mutex::new(State { marks, ..State::default() });
        Ok(Resident { devices, cells_per_block: cells_per_block as u16, page: mmap::page_size(), state })
    }
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic leaves at worst a block marked that is not there, and that context is dead.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- in

    /// Makes cells safe to write, and with each those below it in its block. Refused memory is an error here and no surprise in a kernel.
    pub fn secure(&self, cells: impl Iterator<Item = (BlockId, u16)>) -> Result<()> {
        let missing = self.missing(cells)?;
        if missing.is_empty() {
            return Ok(());
        }
        let mut marks = vec![self.cells_per_block; missing.len()];
        for d in &self.devices {
            let mut ranges = Vec::new();
            for (m, mark) in missing.iter().zip(&mut marks) {
                *mark = (*mark).min(d.ranges(m, self.cells_per_block, self.page, &mut ranges));
            }
            ranges.into_iter().try_for_each(|r| d.buf.secure(r))?;
        }
        let mut state = self.lock();
        for (m, mark) in missing.iter().zip(marks) {
            state.marks[m.block as usize] = mark;
        }
        Ok(())
    }

    /// What is not in memory of these cells, by block. From here on their blocks are in use.
    fn missing(&self, cells: impl Iterator<Item = (BlockId, u16)>) -> Result<Vec<Missing>> {
        let mut state = self.lock();
        let mut missing: Vec<Missing> = Vec::new();
        for (b, slot) in cells {
            if !state.idle.is_empty() {
                state.idle.remove(&b.0);
            }
            let Some(&from) = state.marks.get(b.0 as usize).filter(|_| slot < self.cells_per_block) else {
                return Err(Error::invalid(format!("cell {slot} of block {} is not in this store", b.0)));
            };
            match missing.last_mut() {
                Some(m) if m.block == b.0 => m.to = m.to.max(self.tile_end(slot)),
                _ if slot >= from => missing.push(Missing { block: b.0, from, to: self.tile_end(slot) }),
                _ => {}
            }
        }
        drop(state);
        // By block, the highest cell first: one entry each.
        missing.sort_unstable_by_key(|m| (m.block, std::cmp::Reverse(m.to)));
        missing.dedup_by_key(|m| m.block);
        Ok(missing)
    }

    /// Up to where cells come with this one.
    fn tile_end(&self, slot: u16) -> u16 {
        (slot + 1).next_multiple_of(TILE).min(self.cells_per_block)
    }

    // ---- out

    /// These blocks have no cells any more.
    pub fn free(&self, blocks: impl Iterator<Item = BlockId>) {
        self.lock().idle.extend(blocks.map(|b| b.0));
    }
    pub fn has_idle(&self) -> bool {
        !self.lock().idle.is_empty()
    }
    /// Gives a few idle blocks back to the system; how many.
    pub fn release_some(&self) -> usize {
        let mut state = self.lock();
        let Some(first) = state.idle.pop_first() else { return 0 };
        let bytes: usize = self.devices.iter().map(|d| d.block_bytes).sum();
        // Neighbours go together: a huge page is free when all of it is.
        let most = (AT_A_TIME / bytes.max(1)).max(1) as u32;
        let mut end = first + 1;
        while end - first < most && state.idle.remove(&end) {
            end += 1;
        }
        for d in &self.devices {
            let (from, to) = (d.before(first), d.before(end));
            d.buf.release(d.base + from * d.block_bytes..d.base + to * d.block_bytes);
        }
        state.marks[first as usize..end as usize].fill(0);
        state.released += u64::from(end - first);
        (end - first) as usize
    }
    /// Blocks given back so far.
    pub fn released(&self) -> u64 {
        self.lock().released
    }

    pub fn releases(&self) -> bool {
        self.apart().any(|d| d.buf.releases())
    }

    // ---- at rest

    pub fn rests(&self) -> bool {
        self.apart().any(|d| d.buf.rests())
    }
    pub fn rest(&self, busy: &dyn Fn() -> bool) {
        self.apart().for_each(|d| d.buf.rest(busy));
    }

    // ---- reports

    /// Bytes that are in memory now.
    pub fn bytes(&self) -> usize {
        self.apart().map(|d| d.buf.resident(0..d.buf.len())).sum()
    }
    /// Address space reserved, by buffer.
    pub fn reserved(&self) -> impl Iterator<Item = (DeviceId, usize)> + '_ {
        self.apart().map(|d| (d.buf.device(), d.buf.len()))
    }
    /// One for each buffer.
    fn apart(&self) -> impl Iterator<Item = &Device> {
        self.devices.iter().filter(|d| d.region == 0)
    }
}

/// Cells `from..to` of a block are wanted and not in memory.
struct Missing {
    block: u32,
    from: u16,
    to: u16,
}

impl Device {
    /// Blocks here of those below `b`.
    fn before(&self, b: u32) -> usize {
        if self.round.is_empty() {
            return b as usize;
        }
        let (round, rest) = (b as usize / self.round.len(), b as usize % self.round.len());
        let here = |part: &[(u32, u32)]| part.iter().filter(|r| r.0 == self.region).count();
        round * here(&self.round) + here(&self.round[..rest])
    }

    /// Adds what is to be touched for `m`; gives the cells that are in memory then: what shares their pages comes along.
    fn ranges(&self, m: &Missing, cells_per_block: u16, page: usize, out: &mut Vec<Range<usize>>) -> u16 {
        let index = self.before(m.block);
        if self.before(m.block + 1) == index {
            return cells_per_block;
        }
        let base = self.base + index * self.block_bytes;
        let mut add = |r: Range<usize>| match out.last_mut() {
            Some(last) if last.end >= r.start => last.end = last.end.max(r.end),
            _ => out.push(r),
        };
        if m.from == 0 && m.to == cells_per_block {
            add(base..base + self.block_bytes);
            return cells_per_block;
        }
        let mut mark = cells_per_block;
        for &(at, cell) in self.planes.iter().filter(|p| p.1 > 0) {
            let start = base + at + m.from as usize * cell;
            // The page of the cell before is there.
            let start = if m.from > 0 { start.next_multiple_of(page) } else { start / page * page };
            let end = (base + at + m.to as usize * cell).next_multiple_of(page);
            if start < end {
                add(start..end.min(self.buf.len()));
            }
            mark = mark.min(((end - base - at) / cell).min(cells_per_block as usize) as u16);
        }
        if mark < cells_per_block { mark / TILE * TILE } else { mark }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::cpu::Cpu;
    use crate::backend::{Backend, DeviceId};
    use platform::Backing;
    use platform::pressure::Guard;

    const CELLS: u16 = 64;

    fn cpu() -> Cpu {
        Cpu::new(DeviceId(0), Cpu::isa_from_env())
    }

    /// Two planes of 256 and 128 bytes a cell: 16 and 8 KiB of a block.
    fn store(cpu: &Cpu, backing: &Backing, n_blocks: u32) -> Resident {
        let block_bytes = 384 * CELLS as usize;
        let buf = cpu.alloc_in(block_bytes * n_blocks as usize, "a test", backing).unwrap();
        let planes = vec![(0, 256), (256 * CELLS as usize, 128)];
        let device = Device { buf, base: 0, block_bytes, planes, round: Rounds::from([]), region: 0 };
        Resident::new(vec![device], u32::from(CELLS), n_blocks).unwrap()
    }
    fn cells(b: u32, r: Range<u16>) -> impl Iterator<Item = (BlockId, u16)> {
        r.map(move |c| (BlockId(b), c))
    }

    #[test]
    #[cfg_attr(camelid_no_mmap, ignore = "all memory is heap")]
    fn what_is_used_is_what_it_costs() {
        let r = store(&cpu(), &Backing::Mmap, 100);
        assert_eq!(r.bytes(), 0);
        r.secure(cells(7, 0..1)).unwrap();
        assert_eq!(r.bytes(), 2 * 4096, "a page per plane");
        r.secure(cells(7, 1..16)).unwrap();
        assert_eq!(r.bytes(), 2 * 4096, "which hold sixteen cells of both");
        r.secure(cells(7, 16..17)).unwrap();
        assert_eq!(r.bytes(), 3 * 4096);
        r.secure(cells(7, 17..64)).unwrap();
        assert_eq!(r.bytes(), 6 * 4096);
        r.secure(cells(9, 20..21)).unwrap();
        assert_eq!(r.bytes(), (6 + 2 + 1) * 4096, "and those below");
        r.secure((20..40).flat_map(|b| cells(b, 0..64))).unwrap();
        assert_eq!(r.bytes(), (6 + 3 + 20 * 6) * 4096);
        assert!(r.secure(cells(100, 0..1)).is_err() && r.secure(cells(3, 64..65)).is_err());
    }

    #[test]
    #[cfg_attr(camelid_no_mmap, ignore = "all memory is heap")]
    fn a_freed_block_is_given_back_unless_it_is_taken_again() {
        let r = store(&cpu(), &Backing::Mmap, 10);
        r.secure((0..10).flat_map(|b| cells(b, 0..64))).unwrap();
        r.free([3, 4, 5, 8].into_iter().map(BlockId));
        r.secure(cells(4, 0..1)).unwrap();
        let mut given = 0;
        while r.has_idle() {
            given += r.release_some();
        }
        assert_eq!((given, r.released(), r.release_some()), (3, 3, 0));
        assert_eq!(r.bytes(), 7 * 6 * 4096);
        r.secure(cells(3, 0..2)).unwrap();
        assert_eq!(r.bytes(), (7 * 6 + 2) * 4096, "as if it had never been used");
    }

    #[test]
    fn the_heap_keeps_what_it_has() {
        let r = store(&cpu(), &Backing::Heap, 3);
        r.secure(cells(0, 0..64)).unwrap();
        r.free([BlockId(0)].into_iter());
        assert_eq!((r.release_some(), r.bytes()), (1, r.reserved().map(|b| b.1).sum()));
    }

    #[test]
    #[cfg_attr(camelid_no_mmap, ignore = "all memory is heap")]
    fn memory_that_is_short_is_an_error_before_it_is_touched() {
        let root = std::env::current_exe().expect("a test").with_file_name(format!("resident-{}", std::process::id()));
        std::fs::create_dir_all(root.join("proc")).unwrap();
        std::fs::write(root.join("proc/meminfo"), "MemAvailable: 66000 kB\n").unwrap();
        let guarded = cpu().guarded_by(Arc::new(Guard::at(&root)));
        let r = store(&guarded, &Backing::Mmap, 1000);
        r.secure(cells(0, 0..64)).unwrap();
        let e = r.secure((0..1000).flat_map(|b| cells(b, 0..64))).unwrap_err();
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(e.kind, platform::error::Kind::NoMemory);
        assert_eq!(r.bytes(), 6 * 4096);
    }
}
