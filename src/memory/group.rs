//! One group: its streams of cells, its blocks, and the rules by which a ubatch finds room. A ring gives up its oldest masked cells,
//! and only when it has no free ones left.
use super::blocks::Pool;
use super::cells::{Cell, CellExt, Cells, Log, Tx, Undo};
use super::runs::Runs;
use super::window::Window;
use super::{Full, GroupSpec, RowCopy, Stamp};
use crate::backend::Rounds;
use crate::backend::io::{BlockId, Ubatch};

/// The tokens of a ubatch that go to one stream, by index.
pub struct Part {
    pub stream: u32,
    pub tokens: Vec<usize>,
}

/// Stream and cell per token.
pub type Spots = Vec<(u32, u32)>;

#[derive(Clone, Debug)]
pub struct Group {
    pub spec: GroupSpec,
    pub streams: Vec<Cells>,
    pub pool: Pool,
    log: Log,
    copies: Vec<RowCopy>,
    /// Which one of the memory's.
    index: usize,
}

impl Group {
    pub fn new(index: usize, spec: GroupSpec, n_streams: u32, seqs_per_stream: u32) -> platform::Result<Group> {
        let n_blocks = spec.n_blocks_max(n_streams);
        let streams =
            (0..n_streams).map(|s| Cells::new(spec.size, spec.cells_per_block, s, seqs_per_stream)).collect::<platform::Result<_>>()?;
        Ok(Group { spec, streams, pool: Pool::new(n_blocks), log: Log::new(), copies: Vec::new(), index })
    }

    /// Before anything is placed.
    pub fn spread(&mut self, rounds: &Rounds) {
        self.pool = std::mem::replace(&mut self.pool, Pool::new(0)).on(rounds);
    }

    /// One stream, and what a change of it needs.
    pub fn open(&mut self, stream: u32) -> (&mut Cells, Tx<'_>) {
        let (log, copies) = (&mut self.log, &mut self.copies);
        (&mut self.streams[stream as usize], Tx { pool: &mut self.pool, log, copies, stream, group: self.index })
    }
    pub fn take_log(&mut self) -> Log {
        std::mem::take(&mut self.log)
    }
    pub fn take_copies(&mut self) -> Vec<RowCopy> {
        std::mem::take(&mut self.copies)
    }
    /// `seq` leaves the memory: never refused, never taken back.
    pub fn forget(&mut self, seq: u32) {
        let pool = &mut self.pool;
        self.streams.iter_mut().filter(|c| c.seqs().contains(&seq)).for_each(|c| c.forget(seq, pool));
    }
    pub fn runs(&self, stream: u32, seq: u32) -> Option<&Runs> {
        self.streams.get(stream as usize)?.runs(seq)
    }

    /// Puts every token somewhere, token i arriving as number `clock + i`; gives (stream, cell) per token and the log. Nothing changed when there is no room.
    pub fn place(&mut self, ub: &Ubatch, parts: &[Part], clock: u64, compat: bool) -> Result<(Spots, Log), Full> {
        let mut at = vec![(0, 0); ub.n_tokens()];
        for part in parts {
            if self.place_part(ub, part, clock, compat, &mut at).is_none() {
                let log = self.take_log();
                self.undo(&log);
                return Err(Full);
            }
        }
        Ok((at, self.take_log()))
    }

    fn place_part(&mut self, ub: &Ubatch, part: &Part, clock: u64, compat: bool, at: &mut [(u32, u32)]) -> Option<()> {
        self.make_room(part.stream, part.tokens.len(), compat)?;
        let (cells, mut tx) = self.open(part.stream);
        for &i in &part.tokens {
            let seq = ub.first_seq[i];
            let cell = cells.next_cell(seq)?;
            let what = Cell { pos: ub.pos_of(i), stamp: Stamp::of(clock + i as u64), ext: CellExt::of(ub, i), ..Cell::default() };
            cells.put(cell, what, Some(seq), &mut tx);
            let here = cells.seqs();
            for s in ub.seqs[i].iter().filter(|s| here.contains(s)) {
                cells.join(cell, s, &mut tx);
            }
            at[i] = (part.stream, cell);
        }
        Some(())
    }

    /// Frees masked cells until `n` tokens fit; `None` when they cannot.
    pub fn make_room(&mut self, stream: u32, n: usize, compat: bool) -> Option<()> {
        let cells = &self.streams[stream as usize];
        let free = (cells.size() - cells.used()) as usize;
        let Some(need) = n.checked_sub(free).filter(|need| *need > 0) else { return Some(()) };
        let may = self.spec.window != Window::All && (compat || !self.spec.keep_masked) && n <= cells.size() as usize;
        let victims = if may { oldest_masked(cells, self.spec.window, need, compat) } else { Vec::new() };
        if victims.len() < need {
            return None;
        }
        self.give_up(stream, &victims);
        Some(())
    }

    /// Takes `seq` out of the cells that it does not see any more: those it shares need no copies then.
    pub fn leave_masked(&mut self, stream: u32, seq: u32) {
        let (window, keep) = (self.spec.window, self.spec.keep_masked || self.spec.window == Window::All);
        let (cells, mut tx) = self.open(stream);
        let Some((runs, max)) = cells.runs(seq).filter(|_| !keep).and_then(|r| Some((r, r.max()?))) else { return };
        let gone = runs.cells(0, i64::from(window.lo(max.saturating_add(1))));
        gone.into_iter().for_each(|c| cells.drop_from(c, seq, &mut tx));
    }

    /// Evicts `victims`, and with each every cell of its sequences up to its position, so that [pos_min, pos_max] stays without holes.
    fn give_up(&mut self, stream: u32, victims: &[u32]) {
        let (cells, mut tx) = self.open(stream);
        let mut up_to = std::collections::BTreeMap::new();
        for &cell in victims {
            let c = cells.cell(cell);
            for seq in c.seqs.iter() {
                let p = up_to.entry(seq).or_insert(c.pos);
                *p = c.pos.max(*p);
            }
        }
        for (seq, p) in up_to {
            let gone = cells.runs(seq).map(|r| r.cells(0, i64::from(p) + 1)).unwrap_or_default();
            for cell in gone {
                cells.drop_from(cell, seq, &mut tx);
            }
        }
    }

    /// Takes a whole log back: exactly the state before it.
    pub fn undo(&mut self, log: &Log) {
        self.undo_if(log, |_| true);
    }

    /// Takes back placing, but not what was given up for it: those rows may have been written over.
    pub fn undo_placing(&mut self, log: &Log) {
        self.undo_if(log, |u| matches!(u, Undo::Put { .. } | Undo::Join { .. }));
    }

    fn undo_if(&mut self, log: &Log, want: impl Fn(&Undo) -> bool) {
        for (stream, u) in log.iter().rev().filter(|(_, u)| want(u)) {
            let (cells, mut tx) = self.open(*stream);
            cells.undo(*u, &mut tx);
            self.log.clear();
        }
        self.copies.clear();
    }

    /// Frees everything.
    pub fn clear(&mut self) {
        self.streams.iter_mut().for_each(|s| s.reset(&mut self.pool));
    }

    pub fn place_of(&self, stream: u32, cell: u32) -> Option<(BlockId, u16)> {
        self.streams[stream as usize].place_of(cell)
    }
}

/// `need` cells that none of their sequences will see again from its pos_max + 1 on: of each sequence its lowest positions (higher ones would take
/// those along), of all these the ones that have been masked the longest. So a rewind of the last tokens, whatever sequences they are of, finds its
/// windows while there is room for them and these tokens. The original asks for exactly one sequence per cell; so does `compat`.
fn oldest_masked(cells: &Cells, window: Window, need: usize, compat: bool) -> Vec<u32> {
    let lo_of = |seq: u32| cells.runs(seq).and_then(Runs::max).map_or(0, |m| window.lo(m.saturating_add(1)));
    let masked = |cell: u32| {
        let c = cells.cell(cell);
        c.seqs.iter().all(|s| c.pos < lo_of(s)) && !(compat && c.seqs.len() > 1)
    };
    let since = |cell: u32| cells.cell(cell).seqs.iter().filter_map(|s| masked_since(cells, window, s, cells.cell(cell).pos)).max();
    let mut found = Vec::new();
    for seq in cells.seqs() {
        let Some(runs) = cells.runs(seq) else { continue };
        let old = runs.within(0, i64::from(lo_of(seq))).flat_map(|r| r.cell..r.cell + r.len);
        found.extend(old.filter(|c| masked(*c)).take(need).map(|c| (since(c), cells.cell(c).stamp, c)));
    }
    found.sort_unstable();
    found.dedup();
    found.truncate(need);
    found.into_iter().map(|(.., c)| c).collect()
}

/// Arrival of the token of `seq` behind which `pos` is not seen any more.
fn masked_since(cells: &Cells, window: Window, seq: u32, pos: i32) -> Option<u64> {
    let last = window.last_to_leave(pos);
    let run = cells.runs(seq)?.from(last).first()?;
    let cell = run.cell + (last - i64::from(run.pos)).max(0) as u32;
    Some(cells.cell(cell).stamp)
}
