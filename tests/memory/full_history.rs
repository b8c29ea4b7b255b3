//! A memory that forgets nothing, written from llama.h alone: every row that was ever computed stays where it is and is never written again, no
//! window is cut, nothing is shared or packed. The plan and the kernels are a context's own, so that what a context says must be the same bits.
//! Must not know how src/memory keeps its cells.
use llama::backend::{BlockId, Bound, Exec, GroupId, Io, KvShift, Leaf, Limits, QueryRow, Seg, SeqSet, T, Ubatch, Views};
use llama::blocks::{self, Settings};
use llama::memory::Window;
use llama::memory::hadamard;
use llama::memory::store::{LayerRows, PlaneSpec, Store};
use llama::model::Model;
use llama::model::spec::LayerSpec;
use llama::session::ContextParams;
use llama::session::params::rope_settings;
use platform::pool::Team;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

/// A token of one sequence in one group.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cell {
    pub pos: i32,
    /// Order among equal positions.
    pub arrival: u64,
    /// Cells with one id are one cell where memory is shared.
    pub id: u64,
    /// Where its K and V are.
    row: u32,
    /// Positions that K has yet to be turned by: operations only say so, the next decode or save does it.
    turn: i32,
    pub token: i32,
    /// A memory with windows may have given it up.
    pub lost: bool,
}

impl Cell {
    /// One that is only counted.
    pub fn at(pos: i32, id: u64) -> Cell {
        Cell { pos, id, ..Cell::default() }
    }
}

/// The cells of a sequence by (pos, arrival).
pub type Cells = Vec<Cell>;
/// [group][sequence]
pub type Lists = Vec<Vec<Cells>>;

#[derive(Clone, Debug)]
pub struct Token {
    pub id: i32,
    pub pos: i32,
    /// The first one is whose past it sees.
    pub seqs: Vec<u32>,
}

pub struct FullHistory {
    pub windows: Vec<Window>,
    pub lists: Lists,
    stores: Vec<Store>,
    decoder: Box<dyn Exec>,
    shifter: Box<dyn Exec>,
    team: Team,
    logits: T,
    n_vocab: usize,
    n_rows: u32,
    /// Tokens and ids so far.
    clock: u64,
}

const ROWS_PER_BLOCK: u32 = 256;
const N_BLOCKS: u32 = 400;
/// Tokens at a time: another number than any context here has.
const STEP: usize = 23;

/// What a token at `p` sees, by the table of the original's swa types.
pub fn visible_from(w: Window, p: i32) -> i32 {
    match w {
        Window::All => 0,
        Window::Sliding(n) => (p - n as i32 + 1).max(0),
        Window::Chunked(n) => p / n as i32 * n as i32,
        Window::Symmetric(n) => (p - n as i32 / 2).max(0),
    }
}

fn place(row: u32) -> (BlockId, u16) {
    (BlockId(row / ROWS_PER_BLOCK), (row % ROWS_PER_BLOCK) as u16)
}

/// The group of an index's keys, which stand behind the base.
fn index_of(m: &Model) -> Option<GroupId> {
    m.layers.iter().any(|l| l.own_index().is_some()).then_some(GroupId(1))
}

/// Distinct windows, everything visible first (once more for the keys of an index); and each layer's.
pub fn groups(m: &Model) -> (Vec<Window>, Vec<GroupId>) {
    let mut windows = vec![Window::All; 1 + usize::from(index_of(m).is_some())];
    for l in m.layers.iter().filter(|l| l.attn.window != Window::All) {
        if !windows.contains(&l.attn.window) {
            windows.push(l.attn.window);
        }
    }
    let of = m.layers.iter().map(|l| GroupId(windows.iter().position(|w| *w == l.attn.window).expect("listed") as u16)).collect();
    (windows, of)
}

fn store(m: &Model, p: &ContextParams, of: &[GroupId], g: usize) -> Store {
    let make = |layers: &[LayerRows]| {
        Store::new(layers, &m.backends, m.layers.len(), ROWS_PER_BLOCK, N_BLOCKS, &platform::Backing::Mmap).expect("a store")
    };
    if index_of(m).is_some_and(|i| i.0 as usize == g) {
        let keys = |(il, l): (usize, &LayerSpec)| {
            let plane = PlaneSpec { ty: p.type_k, heads: 1, head_len: l.own_index()?.head_size, hadamard: 0 };
            Some(LayerRows { il, place: m.place[il], planes: vec![plane] })
        };
        return make(&m.layers.iter().enumerate().filter_map(keys).collect::<Vec<_>>());
    }
    let mut layers: Vec<LayerRows> = (0..m.layers.len())
        .filter(|il| of[*il].0 as usize == g && m.layers[*il].stores())
        .map(|il| {
            let a = &m.layers[il].attn;
            let plane = |ty, head_len| PlaneSpec { ty, heads: a.n_head_kv, head_len, hadamard: 0 };
            let mut planes = vec![plane(p.type_k, a.head_k)];
            if !a.mla.is_some_and(|m| m.absorbed) {
                planes.push(plane(p.type_v, a.head_v));
            }
            LayerRows { il, place: m.place[il], planes }
        })
        .collect();
    hadamard::set(&mut layers, [m.layers[0].attn.head_k, m.layers[0].attn.head_v]);
    make(&layers)
}

impl FullHistory {
    /// `p`: the types of K and V, and the rotation.
    pub fn new(m: &Arc<Model>, p: &ContextParams, n_seq: u32) -> FullHistory {
        let (windows, of) = groups(m);
        let stores: Vec<Store> = (0..windows.len()).map(|g| store(m, p, &of, g)).collect();
        let settings = Settings {
            rope: rope_settings(m, p),
            cross: None,
            index: index_of(m),
            groups: of,
            n_ctx_seq: llama::session::params::Sizes::of(m, p).expect("sizes").n_ctx_seq,
            compat: false,
            taps: blocks::Taps::default(),
            watched: false,
            op_offload: false,
            adapted: Arc::default(),
        };
        let kv = Arc::new(stores.iter().map(|s| s.group().clone()).collect());
        let bound = Bound { weights: m.weights.clone(), kv };
        let lower = |plan: &llama::backend::Plan| {
            let limits = Limits { tokens: STEP, outputs: STEP, workers: 1 };
            m.backends[0].lower(plan, 0..plan.steps.len(), &bound, limits).expect("one device")
        };
        let planned = blocks::plan(m, &settings);
        FullHistory {
            lists: vec![vec![Cells::new(); n_seq as usize]; windows.len()],
            decoder: lower(&planned.plan),
            shifter: lower(&blocks::shift_plan(m, &settings)),
            windows,
            stores,
            team: Team::new(1),
            logits: planned.logits.expect("a decoder"),
            n_vocab: m.hp.n_vocab as usize,
            n_rows: 0,
            clock: 0,
        }
    }

    /// As new.
    pub fn reset(&mut self, n_seq: u32) {
        self.lists = vec![vec![Cells::new(); n_seq as usize]; self.windows.len()];
        (self.n_rows, self.clock) = (0, 0);
    }

    fn new_row(&mut self) -> u32 {
        assert!(self.n_rows < N_BLOCKS * ROWS_PER_BLOCK, "the full history is full: shorter sequences of operations, please");
        if self.n_rows.is_multiple_of(ROWS_PER_BLOCK) {
            let last = (BlockId(self.n_rows / ROWS_PER_BLOCK), ROWS_PER_BLOCK as u16 - 1);
            self.stores.iter().for_each(|s| s.secure_cells(std::iter::once(last)).expect("memory"));
        }
        self.n_rows += 1;
        self.n_rows - 1
    }
    /// The last arrival.
    pub fn clock(&self) -> u64 {
        self.clock
    }
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    // ---- a decode

    /// The logits of every token.
    pub fn decode(&mut self, tokens: &[Token]) -> Vec<Vec<f32>> {
        self.settle();
        tokens.chunks(STEP).flat_map(|t| self.step(t)).collect()
    }

    fn step(&mut self, tokens: &[Token]) -> Vec<Vec<f32>> {
        let mut dst = Vec::new();
        for t in tokens {
            let (row, now) = (self.new_row(), self.tick());
            let cell = Cell { pos: t.pos, arrival: now, id: now, row, turn: 0, token: t.id, lost: false };
            for group in &mut self.lists {
                t.seqs.iter().for_each(|s| insert(&mut group[*s as usize], cell));
            }
            dst.push(place(row));
        }
        let views: Vec<Views> = (0..self.windows.len()).map(|g| self.views(g, tokens, &dst)).collect();
        let one = |t: &Token| t.seqs.iter().fold(SeqSet::default(), |mut s, i| (s.insert(*i), s).1);
        let ub = Ubatch {
            tokens: tokens.iter().map(|t| t.id).collect(),
            pos: tokens.iter().map(|t| t.pos).collect(),
            n_pos_per_token: 1,
            seqs: tokens.iter().map(one).collect(),
            first_seq: tokens.iter().map(|t| t.seqs[0]).collect(),
            output: vec![true; tokens.len()],
            index: (0..tokens.len() as u32).collect(),
            ..Ubatch::default()
        };
        let outputs: Vec<u32> = (0..tokens.len() as u32).collect();
        let io = Io { ub: &ub, views: &views, outputs: &outputs, shifts: &[], team: &self.team, active: 1, stop: &|| false };
        self.decoder.run(&io).expect("computes");
        let read = |i| {
            let mut row = vec![0.0; self.n_vocab];
            self.decoder.read(self.logits, i..i + 1, &mut row).expect("a row");
            row
        };
        (0..tokens.len()).map(read).collect()
    }

    fn views(&self, g: usize, tokens: &[Token], dst: &[(BlockId, u16)]) -> Views {
        let mut v = Views { dst: dst.to_vec(), ..Views::default() };
        let mut of = BTreeMap::<u32, Range<u32>>::new();
        for t in tokens {
            let all = of.entry(t.seqs[0]).or_insert_with_key(|s| add_leaves(&mut v, &self.lists[g][*s as usize])).clone();
            let (lo, hi) = (visible_from(self.windows[g], t.pos), t.pos);
            let seen: Vec<u32> = all.filter(|l| (lo..=hi).any(|p| holds(&v.leaves[*l as usize], p))).collect();
            let leaves = seen.first().map_or(0..0, |first| *first..seen[seen.len() - 1] + 1);
            v.rows.push(QueryRow { leaves, lo, hi });
        }
        v
    }

    /// Turns what waits, each into a row of its own.
    pub fn settle(&mut self) {
        let mut shifts = Vec::new();
        let mut lists = std::mem::take(&mut self.lists);
        for (g, group) in lists.iter_mut().enumerate() {
            for c in group.iter_mut().flatten().filter(|c| c.turn != 0) {
                let to = place(self.new_row());
                self.stores[g].copy(place(c.row), to, 1).expect("rows");
                shifts.push(KvShift { group: GroupId(g as u16), block: to.0, slot: to.1, len: 1, delta: c.turn });
                *c = Cell { row: self.n_rows - 1, turn: 0, ..*c };
            }
        }
        self.lists = lists;
        let none = Ubatch::default();
        let io = Io { ub: &none, views: &[], outputs: &[], shifts: &shifts, team: &self.team, active: 1, stop: &|| false };
        if !shifts.is_empty() {
            self.shifter.run(&io).expect("turns");
        }
    }
}

fn insert(list: &mut Cells, c: Cell) {
    let at = list.partition_point(|x| (x.pos, x.arrival) < (c.pos, c.arrival));
    list.insert(at, c);
}

fn holds(l: &Leaf, p: i32) -> bool {
    p / 64 == l.tile && (i32::from(l.from)..i32::from(l.to)).contains(&(p % 64))
}

/// The cells cut into leaves: consecutive positions of one tile of 64, each at its position's place in the tile.
fn add_leaves(v: &mut Views, cells: &[Cell]) -> Range<u32> {
    let start = v.leaves.len() as u32;
    for leaf in cells.chunk_by(|a, b| a.pos + 1 == b.pos && b.pos % 64 != 0) {
        add_leaf(v, leaf[0].pos as usize % 64, leaf);
    }
    start..v.leaves.len() as u32
}

/// `cells` at places `at..`.
fn add_leaf(v: &mut Views, at: usize, cells: &[Cell]) {
    let segs = v.segs.len() as u32;
    for (i, c) in cells.iter().enumerate() {
        let (block, slot) = place(c.row);
        v.segs.push(Seg { block, slot, at: (at + i) as u8, len: 1 });
    }
    v.leaves.push(Leaf { tile: cells[0].pos / 64, segs: segs..v.segs.len() as u32, from: at as u8, to: (at + cells.len()) as u8 });
}

/// What llama.h says of the operations.
impl FullHistory {
    pub fn n_seq(&self) -> u32 {
        self.lists[0].len() as u32
    }
    pub fn cells(&self, seq: u32) -> &Cells {
        &self.lists[0][seq as usize]
    }
    pub fn pos_max(&self, seq: u32) -> Option<i32> {
        self.cells(seq).last().map(|c| c.pos)
    }
    pub fn pos_min(&self, seq: u32) -> Option<i32> {
        self.cells(seq).first().map(|c| c.pos)
    }

    pub fn clear(&mut self) {
        self.lists.iter_mut().flatten().for_each(Vec::clear);
    }
    pub fn rm(&mut self, seq: Option<u32>, p0: i32, p1: i32) {
        for (_, list) in self.lists.iter_mut().flat_map(|g| g.iter_mut().enumerate()).filter(|(s, _)| seq.is_none_or(|x| x as usize == *s))
        {
            list.retain(|c| !range(p0, p1).contains(&c.pos));
        }
    }
    pub fn keep(&mut self, seq: u32) {
        (0..self.n_seq()).filter(|s| *s != seq).for_each(|s| self.rm(Some(s), -1, -1));
    }
    /// Into another stream (`apart`) a copy replaces what is there, else it joins it.
    pub fn cp(&mut self, src: u32, dst: u32, p0: i32, p1: i32, apart: bool) {
        if src == dst {
            return;
        }
        for g in 0..self.lists.len() {
            let cells: Cells = self.lists[g][src as usize].iter().filter(|c| range(p0, p1).contains(&c.pos)).copied().collect();
            let to = &mut self.lists[g][dst as usize];
            if apart {
                to.clear();
            }
            for mut c in cells {
                if apart {
                    self.clock += 1;
                    c.id = self.clock;
                }
                if to.iter().all(|x| x.id != c.id) {
                    insert(to, c);
                }
            }
        }
    }
    pub fn add(&mut self, seq: u32, p0: i32, p1: i32, delta: i32) {
        self.each_in(seq, p0, p1, |p| p + delta);
    }
    pub fn div(&mut self, seq: u32, p0: i32, p1: i32, d: i32) {
        self.each_in(seq, p0, p1, |p| p / d);
    }

    /// Moves the cells of one sequence; what it shared with others it has a copy of now. Below 0 there is nothing.
    fn each_in(&mut self, seq: u32, p0: i32, p1: i32, to: impl Fn(i32) -> i32) {
        for g in 0..self.lists.len() {
            let others: BTreeSet<u64> =
                self.lists[g].iter().enumerate().filter(|(s, _)| *s != seq as usize).flat_map(|(_, l)| l.iter().map(|c| c.id)).collect();
            let old = std::mem::take(&mut self.lists[g][seq as usize]);
            let mut new = Cells::new();
            for c in old {
                let pos = if range(p0, p1).contains(&c.pos) { to(c.pos) } else { c.pos };
                let id = if pos != c.pos && others.contains(&c.id) { self.tick() } else { c.id };
                if pos >= 0 {
                    insert(&mut new, Cell { pos, id, turn: c.turn + pos - c.pos, ..c });
                }
            }
            self.lists[g][seq as usize] = new;
        }
    }

    // ---- states: rows stay what they are, so a list says all but who came first; restored cells came in order of position

    /// What a state of one sequence holds, per group.
    pub fn save(&mut self, seq: u32) -> Vec<Cells> {
        self.settle();
        self.lists.iter().map(|g| g[seq as usize].clone()).collect()
    }
    /// In place of what `seq` has in the groups from `first` on.
    pub fn restore(&mut self, seq: u32, state: &[Cells], first: usize) {
        self.settle();
        for (g, saved) in state.iter().enumerate().skip(first) {
            let mut cells = saved.clone();
            cells.iter_mut().for_each(|c| (c.arrival, c.id) = (self.tick(), self.clock));
            if first > 0 {
                // Windows alone: their tokens came when the base's did.
                as_in_base(&mut cells, &self.lists[0][seq as usize]);
            }
            self.lists[g][seq as usize] = cells;
        }
    }
    /// `apart`: sequences share nothing afterwards.
    pub fn restore_all(&mut self, state: &Lists, apart: bool) {
        self.settle();
        let mut lists = state.clone();
        for group in &mut lists {
            let all: BTreeSet<(i32, u64, u64)> = group.iter().flatten().map(|c| (c.pos, c.arrival, c.id)).collect();
            let now: BTreeMap<(i32, u64, u64), u64> = all.into_iter().map(|c| (c, self.tick())).collect();
            group.iter_mut().flatten().for_each(|c| c.arrival = now[&(c.pos, c.arrival, c.id)]);
        }
        lists.iter_mut().flatten().flatten().filter(|_| apart).for_each(|c| c.id = self.tick());
        self.lists = lists;
    }
}

/// Gives the cells of a window the arrivals of the base's at the same positions, one for one.
fn as_in_base(window: &mut [Cell], base: &[Cell]) {
    for part in window.chunk_by_mut(|a, b| a.pos == b.pos) {
        let pos = part[0].pos;
        part.iter_mut().zip(base.iter().filter(|b| b.pos == pos)).for_each(|(c, b)| c.arrival = b.arrival);
    }
}

/// `p0..p1` where a negative end is open.
pub fn range(p0: i32, p1: i32) -> Range<i32> {
    p0.max(0)..if p1 < 0 { i32::MAX } else { p1 }
}
