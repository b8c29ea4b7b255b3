//! The cells of one stream of one group: who sits where. Every change goes through primitives that write an undo log.
//! Knows neither bytes nor windows; which cells may be given up is decided in `place`.
use super::RowCopy;
use super::blocks::Pool;
use super::room::{Left, Room};
use super::runs::Runs;
use crate::backend::io::{BlockId, SeqSet, Ubatch};
use platform::error::try_zeroed;
use platform::{Error, Result};

/// What positions in a plane and ids a cell came with, where tokens have several positions: nobody here goes by it, states carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellExt {
    pub x: i32,
    pub y: i32,
    /// -1: it was an embedding.
    pub token: i32,
}

impl CellExt {
    pub const NONE: CellExt = CellExt { x: 0, y: 0, token: -1 };

    /// Of token `i`.
    pub fn of(ub: &Ubatch, i: usize) -> CellExt {
        match ub.pos.get(i * ub.n_pos_per_token..(i + 1) * ub.n_pos_per_token) {
            Some(&[_, y, x, ..]) => CellExt { x, y, token: ub.tokens.get(i).copied().unwrap_or(-1) },
            _ => CellExt::NONE,
        }
    }
}

impl Default for CellExt {
    fn default() -> CellExt {
        CellExt::NONE
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    pub pos: i32,
    /// Added to `pos` since its K row was last rotated.
    pub shift: i32,
    /// Arrival (see `Stamp`), the same number in every group: cells of equal position are ordered by it.
    pub stamp: u64,
    pub seqs: SeqSet,
    pub ext: CellExt,
}

impl Cell {
    const FREE: Cell = Cell { pos: 0, shift: 0, stamp: 0, seqs: SeqSet::EMPTY, ext: CellExt::NONE };
}

fn room_for(size: u32) -> Result<Vec<Cell>> {
    let mut cells = Vec::new();
    let refused = |_| Error::no_memory(format!("no memory for {size} KV cells"));
    cells.try_reserve_exact(size as usize).map_err(refused)?;
    Ok(cells)
}

/// One step of a change, as what takes it back.
#[derive(Clone, Copy, Debug)]
pub enum Undo {
    Put {
        cell: u32,
        home: u32,
    },
    /// `block`: what its block was, where it was the last cell in it.
    Take {
        cell: u32,
        was: Cell,
        block: Option<BlockId>,
    },
    /// A block shared with another stream was left for one of its own.
    Own {
        vb: u32,
        was: BlockId,
    },
    Join {
        cell: u32,
        seq: u32,
    },
    Leave {
        cell: u32,
        seq: u32,
    },
    Move {
        cell: u32,
        pos: i32,
        shift: i32,
    },
}

/// Stream and step, in order of happening.
pub type Log = Vec<(u32, Undo)>;

/// What a change needs besides the cells: the group's blocks and its log.
pub struct Tx<'a> {
    pub pool: &'a mut Pool,
    pub log: &'a mut Log,
    /// Rows that have to follow, in this order, before any is written.
    pub copies: &'a mut Vec<RowCopy>,
    pub stream: u32,
    pub group: usize,
}

impl Tx<'_> {
    fn note(&mut self, u: Undo) {
        self.log.push((self.stream, u));
    }
    /// A row is to be copied, with those before it where they lie together on both sides.
    fn follow(&mut self, from: (BlockId, u16), to: (BlockId, u16)) {
        let next = |(b, slot): (BlockId, u16), len: u16| (b, slot + len);
        match self.copies.last_mut() {
            Some(c) if c.group == self.group && next(c.from, c.len) == from && next(c.to, c.len) == to => c.len += 1,
            _ => self.copies.push(RowCopy { group: self.group, from, to, len: 1 }),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Cells {
    size: u32,
    /// Up to the last block that was ever used; room for all is reserved, not touched.
    cells: Vec<Cell>,
    /// One bit per cell.
    taken: Vec<u64>,
    /// Per sequence from `first` on.
    runs: Vec<Runs>,
    first: u32,
    used: u32,
    cells_per_block: u32,
    /// Its logarithm: a division per row piece of a long sequence is most of what a token costs.
    block_bits: u32,
    /// Per virtual block: physical block, cells in use, sequence that opened it.
    table: Vec<Option<BlockId>>,
    count: Vec<u16>,
    home: Vec<u32>,
    room: Room,
    /// Some cell may have a `shift`.
    pub shifted: bool,
}

impl Cells {
    /// `size` cells for sequences `first..first + n_seqs`.
    pub fn new(size: u32, cells_per_block: u32, first: u32, n_seqs: u32) -> Result<Cells> {
        let n_blocks = size.div_ceil(cells_per_block) as usize;
        Ok(Cells {
            size,
            cells: room_for(size)?,
            taken: try_zeroed((size as usize).div_ceil(64), "KV cells")?,
            runs: vec![Runs::default(); n_seqs as usize],
            first,
            used: 0,
            cells_per_block,
            block_bits: cells_per_block.trailing_zeros(),
            table: try_zeroed(n_blocks, "KV block table")?,
            count: try_zeroed(n_blocks, "KV block table")?,
            home: try_zeroed(n_blocks, "KV block table")?,
            room: Room::new(n_blocks)?,
            shifted: false,
        })
    }
    pub fn size(&self) -> u32 {
        self.size
    }
    pub fn used(&self) -> u32 {
        self.used
    }
    fn vb(&self, cell: u32) -> usize {
        (cell >> self.block_bits) as usize
    }
    fn slot(&self, cell: u32) -> u16 {
        (cell & (self.cells_per_block - 1)) as u16
    }
    pub fn cells_per_block(&self) -> u32 {
        self.cells_per_block
    }
    pub fn cell(&self, i: u32) -> &Cell {
        self.cells.get(i as usize).unwrap_or(&Cell::FREE)
    }
    /// For who keeps the order of arrival.
    pub fn set_stamp(&mut self, cell: u32, stamp: u64) {
        self.cells[cell as usize].stamp = stamp;
    }
    /// Sequences that may live here.
    pub fn seqs(&self) -> std::ops::Range<u32> {
        self.first..self.first + self.runs.len() as u32
    }
    pub fn runs(&self, seq: u32) -> Option<&Runs> {
        self.runs.get(seq.checked_sub(self.first)? as usize)
    }
    fn runs_mut(&mut self, seq: u32) -> (&mut Runs, &[Cell]) {
        (&mut self.runs[(seq - self.first) as usize], &self.cells)
    }
    /// Block and slot of a cell in use.
    pub fn place_of(&self, cell: u32) -> Option<(BlockId, u16)> {
        let block = self.table[self.vb(cell)]?;
        Some((block, self.slot(cell)))
    }
    pub fn is_free(&self, cell: u32) -> bool {
        self.taken[(cell / 64) as usize] >> (cell % 64) & 1 == 0
    }
    // ---- the primitives

    /// Takes a free cell to write to. A block of which it is the first gets its physical block; `home` says for which sequence it is opened.
    pub fn put(&mut self, cell: u32, what: Cell, home: Option<u32>, tx: &mut Tx<'_>) {
        let vb = self.vb(cell) as u32;
        self.own(vb, what.pos, tx);
        let block = self.table[vb as usize].is_none().then(|| tx.pool.take(what.pos)).flatten();
        self.put_in(cell, what, home, block, tx);
    }

    /// The same, without a word about writing: its row is there. `block`: where a block that it opens lies.
    pub fn put_in(&mut self, cell: u32, what: Cell, home: Option<u32>, block: Option<BlockId>, tx: &mut Tx<'_>) {
        debug_assert!(self.is_free(cell), "cell {cell} is in use");
        let vb = self.vb(cell);
        tx.note(Undo::Put { cell, home: self.home[vb] });
        if self.count[vb] == 0 {
            self.table[vb] = block;
        }
        let opened_for = home.filter(|_| self.count[vb] == 0).unwrap_or(self.home[vb]);
        self.fill(vb, self.count[vb] + 1, opened_for);
        self.used += 1;
        self.taken[(cell / 64) as usize] |= 1 << (cell % 64);
        self.reach(vb);
        self.cells[cell as usize] = Cell { seqs: SeqSet::default(), ..what };
        self.shifted |= what.shift != 0;
    }

    /// A cell whose row another stream has in `block`: used by both until one of them writes.
    pub fn put_shared(&mut self, cell: u32, what: Cell, home: u32, block: Option<BlockId>, tx: &mut Tx<'_>) {
        if self.count[self.vb(cell)] == 0 {
            block.into_iter().for_each(|b| tx.pool.join(b));
        }
        self.put_in(cell, what, Some(home), block, tx);
    }

    /// Cells of `seq` with positions in `range` that other sequences have too, as far as they are `wanted`.
    pub fn shared_in(&self, seq: u32, (p0, p1): (i64, i64), wanted: impl Fn(&Cell) -> bool) -> usize {
        let cells = self.runs(seq).into_iter().flat_map(|r| r.within(p0, p1)).flat_map(|r| r.cell..r.cell + r.len);
        cells.filter(|c| self.cell(*c).seqs.len() > 1 && wanted(self.cell(*c))).count()
    }

    /// Cells of block `vb` and those before it can be written.
    fn reach(&mut self, vb: usize) {
        let end = self.cells_of(vb).end as usize;
        if self.cells.len() < end {
            self.cells.resize(end, Cell::FREE);
        }
    }

    /// Frees a cell that no sequence holds.
    pub fn take(&mut self, cell: u32, tx: &mut Tx<'_>) {
        let vb = self.vb(cell);
        self.fill(vb, self.count[vb] - 1, self.home[vb]);
        let block = if self.count[vb] == 0 { self.table[vb].take() } else { None };
        tx.note(Undo::Take { cell, was: self.cells[cell as usize], block });
        block.into_iter().for_each(|b| tx.pool.give(b));
        self.used -= 1;
        self.taken[(cell / 64) as usize] &= !(1 << (cell % 64));
        self.cells[cell as usize] = Cell::default();
    }

    pub fn join(&mut self, cell: u32, seq: u32, tx: &mut Tx<'_>) {
        let c = self.cells[cell as usize];
        if c.seqs.contains(seq) {
            return;
        }
        tx.note(Undo::Join { cell, seq });
        self.cells[cell as usize].seqs.insert(seq);
        let (runs, cells) = self.runs_mut(seq);
        runs.insert(c.pos, cell, c.stamp, |i| cells[i as usize].stamp);
    }

    pub fn leave(&mut self, cell: u32, seq: u32, tx: &mut Tx<'_>) {
        let c = self.cells[cell as usize];
        if !c.seqs.contains(seq) {
            return;
        }
        tx.note(Undo::Leave { cell, seq });
        self.cells[cell as usize].seqs.remove(seq);
        let (runs, cells) = self.runs_mut(seq);
        runs.remove(c.pos, cell, c.stamp, |i| cells[i as usize].stamp);
    }

    /// Before rows of a virtual block (of positions about `pos`) are written: it gets a block of its own where it shares one, and its rows follow.
    fn own(&mut self, vb: u32, pos: i32, tx: &mut Tx<'_>) {
        let Some(was) = self.table[vb as usize].filter(|b| tx.pool.is_shared(*b)) else { return };
        let Some(b) = tx.pool.take(pos) else { return };
        tx.note(Undo::Own { vb, was });
        tx.pool.give(was);
        self.table[vb as usize] = Some(b);
        let cells = self.cells_of(vb as usize);
        let first = cells.start;
        for slot in cells.filter(|c| !self.is_free(*c)).map(|c| (c - first) as u16) {
            tx.follow((was, slot), (b, slot));
        }
    }

    /// Gives a cell another position, for all its sequences.
    pub fn move_to(&mut self, cell: u32, pos: i32, shift: i32, tx: &mut Tx<'_>) {
        if shift != self.cells[cell as usize].shift {
            self.own(self.vb(cell) as u32, self.cells[cell as usize].pos, tx);
        }
        self.moved(cell, pos, shift, tx);
    }

    fn moved(&mut self, cell: u32, pos: i32, shift: i32, tx: &mut Tx<'_>) {
        let c = self.cells[cell as usize];
        tx.note(Undo::Move { cell, pos: c.pos, shift: c.shift });
        for seq in c.seqs.iter() {
            let (runs, cells) = self.runs_mut(seq);
            runs.remove(c.pos, cell, c.stamp, |i| cells[i as usize].stamp);
            runs.insert(pos, cell, c.stamp, |i| cells[i as usize].stamp);
        }
        self.cells[cell as usize].pos = pos;
        self.cells[cell as usize].shift = shift;
        self.shifted |= shift != 0;
    }

    // ---- made of them

    /// Takes `seq` out of a cell, which is freed when it was the last one.
    pub fn drop_from(&mut self, cell: u32, seq: u32, tx: &mut Tx<'_>) {
        self.leave(cell, seq, tx);
        if self.cells[cell as usize].seqs.is_empty() && !self.is_free(cell) {
            self.take(cell, tx);
        }
    }

    /// Gives `seq` alone a copy of a cell that it shares, at another position; the row follows.
    pub fn part(&mut self, cell: u32, seq: u32, what: Cell, tx: &mut Tx<'_>) -> Option<()> {
        let to = self.next_cell(seq)?;
        let from = self.place_of(cell)?;
        self.leave(cell, seq, tx);
        self.put(to, what, Some(seq), tx);
        self.join(to, seq, tx);
        let to = self.place_of(to)?;
        tx.follow(from, to);
        Some(())
    }

    /// Takes everyone out of a cell.
    pub fn evict(&mut self, cell: u32, tx: &mut Tx<'_>) {
        let seqs = self.cells[cell as usize].seqs;
        for seq in seqs.iter() {
            self.drop_from(cell, seq, tx);
        }
    }

    /// Takes `seq` out of all its cells for good: no log, for this is never taken back.
    pub fn forget(&mut self, seq: u32, pool: &mut Pool) {
        let Some(runs) = self.runs(seq).map(|r| r.all().to_vec()) else { return };
        self.runs[(seq - self.first) as usize] = Runs::default();
        let (mut log, mut copies) = (Log::new(), Vec::new());
        let mut tx = Tx { pool, log: &mut log, copies: &mut copies, stream: 0, group: 0 };
        for cell in runs.iter().flat_map(|r| r.cell..r.cell + r.len) {
            let seqs = &mut self.cells[cell as usize].seqs;
            seqs.remove(seq);
            if seqs.is_empty() {
                self.take(cell, &mut tx);
            }
            tx.log.clear();
        }
    }

    pub fn undo(&mut self, u: Undo, tx: &mut Tx<'_>) {
        match u {
            Undo::Put { cell, home, .. } => {
                self.take(cell, tx);
                let vb = self.vb(cell);
                self.fill(vb, self.count[vb], home);
            }
            Undo::Take { cell, was, block } => {
                block.into_iter().for_each(|b| tx.pool.join(b));
                self.put_in(cell, was, None, block, tx);
            }
            Undo::Own { vb, was } => {
                tx.pool.join(was);
                let own = self.table[vb as usize].replace(was);
                own.into_iter().for_each(|b| tx.pool.give(b));
            }
            Undo::Join { cell, seq } => self.leave(cell, seq, tx),
            Undo::Leave { cell, seq } => self.join(cell, seq, tx),
            Undo::Move { cell, pos, shift } => self.moved(cell, pos, shift, tx),
        }
    }

    /// Empties everything. What was never used is not touched: it costs no memory.
    pub fn reset(&mut self, pool: &mut Pool) {
        let n = self.cells_per_block as usize;
        for vb in 0..self.table.len() {
            let Some(b) = self.table[vb].take() else { continue };
            pool.give(b);
            let cells = vb * n..((vb + 1) * n).min(self.cells.len());
            self.taken[cells.start / 64..cells.end.div_ceil(64)].fill(0);
            self.cells[cells].fill(Cell::default());
        }
        self.count.fill(0);
        self.room.reset(self.count.len());
        self.runs.fill(Runs::default());
        (self.used, self.shifted) = (0, false);
    }

    /// Forgets pending shifts and tells them: (cell, delta).
    pub fn take_shifts(&mut self) -> Vec<(u32, i32)> {
        if !std::mem::take(&mut self.shifted) {
            return Vec::new();
        }
        let shifted = |(i, c): (usize, &mut Cell)| (c.shift != 0).then(|| (i as u32, std::mem::take(&mut c.shift)));
        self.cells.iter_mut().enumerate().filter_map(shifted).collect()
    }

    // ---- finding room

    /// The one way to change how full a block is and for whom it was opened.
    fn fill(&mut self, vb: usize, count: u16, home: u32) {
        let was = self.left(vb);
        (self.count[vb], self.home[vb]) = (count, home);
        self.room.turn(vb, was, self.left(vb));
    }

    fn left(&self, vb: usize) -> Left {
        match u32::from(self.count[vb]) {
            0 => Left::All,
            n if n == self.cells_of(vb).len() as u32 => Left::None,
            _ => Left::Some(self.home[vb]),
        }
    }

    fn cells_of(&self, vb: usize) -> std::ops::Range<u32> {
        let from = vb as u32 * self.cells_per_block;
        from..(from + self.cells_per_block).min(self.size())
    }

    /// The cell where the next token of `seq` goes: behind its last one, in another block it opened, in an empty block, anywhere.
    pub fn next_cell(&self, seq: u32) -> Option<u32> {
        let behind = self.runs(seq).and_then(Runs::last).map(|(_, cell)| cell + 1).filter(|c| *c < self.size() && self.is_free(*c));
        let vb = |c: u32| self.vb(c);
        let block = || {
            let own = self.room.first_open_of(seq, |b| self.home[b]);
            own.or_else(|| self.room.first_empty()).or_else(|| self.room.first_open())
        };
        behind
            .filter(|c| c % self.cells_per_block > 0 || self.count[vb(*c)] == 0 || self.home[vb(*c)] == seq)
            .or_else(|| self.free_in(self.cells_of(block()?)).next())
    }

    /// The free cells of a range, a word of 64 at a time.
    pub fn free_in(&self, cells: std::ops::Range<u32>) -> impl Iterator<Item = u32> + '_ {
        let mut at = cells.start;
        std::iter::from_fn(move || {
            while at < cells.end {
                let free = !self.taken[(at / 64) as usize] >> (at % 64);
                if free != 0 {
                    let cell = at + free.trailing_zeros();
                    at = cell + 1;
                    return Some(cell).filter(|c| *c < cells.end);
                }
                at = (at / 64 + 1) * 64;
            }
            None
        })
    }

    #[cfg(test)]
    pub fn state(&self) -> impl PartialEq + use<> {
        let mut c = self.clone();
        c.cells.resize(c.size as usize, Cell::FREE);
        (c.cells, c.taken, c.runs, c.used, c.table, c.count, c.home, c.room)
    }
}
