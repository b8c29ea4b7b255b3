//! A context's memory together with its bytes: what is decided about cells is done to blocks here (secured, copied, given back).
//! Knows neither tokens nor plans.
use super::params::{ContextParams, Sizes};
use crate::backend::{BlockId, DType, DeviceId, GroupId, KvGroup, KvShift, Rounds, Ubatch};
use crate::memory::hadamard;
use crate::memory::reaper::Reaper;
use crate::memory::restore::RowAt;
use crate::memory::snapshots::Back;
use crate::memory::store::{EmptyRows, InFiles, LayerRows, PlaneSpec, Store, cells_per_block};
use crate::memory::{Changed, Full, GroupSpec, Memory, Placed, Refused, RowCopy, Window, ring_size};
use crate::model::Model;
use crate::model::spec::{Halves, Index, LayerSpec};
use platform::{Backing, Error, Result, log};

/// Groups of a model: everything visible first (the base), then the keys of an index where there is one, as the original writes them, then one per
/// distinct window. `of[il]` is a layer's group.
pub struct Groups {
    windows: Vec<Window>,
    pub of: Vec<GroupId>,
    pub index: Option<GroupId>,
}

impl Groups {
    pub fn of(layers: &[LayerSpec]) -> Groups {
        let index = layers.iter().any(|l| l.own_index().is_some()).then_some(GroupId(1));
        let mut windows = vec![Window::All; 1 + usize::from(index.is_some())];
        let group = |w: Window, windows: &mut Vec<Window>| {
            let i = windows.iter().position(|x| *x == w).unwrap_or_else(|| {
                windows.push(w);
                windows.len() - 1
            });
            GroupId(i as u16)
        };
        let of = layers.iter().map(|l| group(l.attn.window, &mut windows)).collect();
        Groups { windows, of, index }
    }

    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// None where the model keeps nothing.
    fn layers(&self, m: &Model, g: usize, p: &ContextParams) -> Vec<LayerRows> {
        if self.index.is_some_and(|i| i.0 as usize == g) {
            let own = m.layers.iter().enumerate().filter_map(|(il, l)| Some((il, l.own_index()?)));
            return own.map(|(il, ix)| index_rows(ix, il, p.rows_at(m.place[il]), p.type_k)).collect();
        }
        let stores = |(il, l): &(usize, &LayerSpec)| m.arch.memory && self.of[*il].0 as usize == g && l.stores();
        let mine = m.layers.iter().enumerate().filter(stores);
        let mut rows: Vec<LayerRows> = mine.map(|(il, l)| layer_rows(l, il, p.rows_at(m.place[il]), [p.type_k, p.type_v])).collect();
        hadamard::set(&mut rows, m.layers.first().map_or([0; 2], |l| [l.attn.head_k, l.attn.head_v]));
        rows
    }
}

/// K and V of a layer.
pub fn layer_rows(l: &LayerSpec, il: usize, place: usize, types: [DType; 2]) -> LayerRows {
    let a = &l.attn;
    let [k, v] =
        [(types[0], a.head_k), (types[1], a.head_v)].map(|(ty, head_len)| PlaneSpec { ty, heads: a.n_head_kv, head_len, hadamard: 0 });
    // Latent rows are K, and V is the first part of them.
    let planes = if a.mla.is_some_and(|m| m.absorbed) { vec![k] } else { vec![k, v] };
    LayerRows { il, place, planes }
}

impl Groups {
    /// The original has rows, of no elements as a rule, for layers that do without; and its cache for an index of a model without latent attention
    /// has V as well.
    fn in_files(&self, m: &Model, g: usize, types: [DType; 2]) -> InFiles {
        let as_kept = self.index.is_some_and(|i| i.0 as usize == g);
        let empty = |(il, l): (usize, &LayerSpec)| {
            let (a, idle) = (&l.attn, m.arch.memory && l.halves != Halves::Both && self.of[il].0 as usize == g);
            let row = |plane, heads: u32, len: u32| EmptyRows { il, plane, ty: types[plane], n_embd: heads as usize * len as usize };
            match as_kept {
                true => l.own_index().filter(|_| a.mla.is_none()).map(|_| row(1, 1, a.head_v)).into_iter().collect(),
                false if idle => vec![row(0, a.n_head_kv, a.head_k), row(1, a.n_head_kv, a.head_v)],
                false => vec![],
            }
        };
        InFiles { empty: m.layers.iter().enumerate().flat_map(empty).collect(), as_kept }
    }
}

/// Keys of a layer's index. The plan transforms them, whatever their type.
fn index_rows(ix: &Index, il: usize, place: usize, ty: DType) -> LayerRows {
    LayerRows { il, place, planes: vec![PlaneSpec { ty, heads: 1, head_len: ix.head_size, hadamard: 0 }] }
}

fn make_memory(m: &Model, p: &ContextParams, s: &Sizes, groups: &Groups) -> Result<(Memory, Vec<Store>)> {
    let (mut specs, mut stores) = (Vec::new(), Vec::new());
    let backing = p.kv.clone().unwrap_or_else(Backing::from_env);
    let n_streams = if p.kv_unified { 1 } else { s.n_seq_max };
    for (g, window) in groups.windows.iter().enumerate() {
        let layers = groups.layers(m, g, p);
        let size = match window {
            Window::All => s.n_ctx_seq,
            w => ring_size(s.n_ctx_seq, w.n_swa(), p.kv_unified, s.n_seq_max, s.n_ubatch, p.swa_full),
        };
        let spec = GroupSpec { window: *window, size, cells_per_block: cells_per_block(&layers)?, keep_masked: p.swa_full };
        let (cells, n_blocks) = (spec.cells_per_block, spec.n_blocks_max(n_streams));
        let store = Store::new(&layers, &m.backends, m.layers.len(), cells, n_blocks, &backing)?;
        stores.push(store.as_in_files(groups.in_files(m, g, [p.type_k, p.type_v])));
        specs.push(spec);
    }
    let rounds: Vec<Rounds> = stores.iter().map(Store::rounds).collect();
    let memory = Memory::new(specs, s.n_seq_max, p.kv_unified)?.on(&rounds).with_compat(platform::env::flag("CAMELID_COMPAT"));
    Ok((memory, stores))
}

/// Why a ubatch found no place. Memory is as before.
pub enum NoPlace {
    Full,
    NoMemory(Error),
}

/// Cells of a group, as block and slot.
type Cells<'a> = (usize, &'a [(BlockId, u16)]);

pub struct Kv {
    memory: Memory,
    /// Per group.
    stores: Vec<Store>,
    reaper: Reaper,
}

impl Kv {
    pub fn new(m: &Model, p: &ContextParams, s: &Sizes, groups: &Groups) -> Result<Kv> {
        let (memory, stores) = make_memory(m, p, s, groups)?;
        let reaper = Reaper::new(stores.iter().map(|s| s.resident().clone()).collect());
        let mut kv = Kv { memory, stores, reaper };
        // Snapshots at most double what a context may come to take: whoever made room for its cells knows how much that is.
        let budget = p.swa_snapshot_bytes.unwrap_or(kv.bytes());
        kv.memory.keep_past(super::rewind::every(p.swa_snapshots), budget);
        Ok(kv)
    }
    pub fn memory(&self) -> &Memory {
        &self.memory
    }
    pub fn parts(&mut self) -> (&mut Memory, &[Store]) {
        (&mut self.memory, &self.stores)
    }
    pub fn groups(&self) -> Vec<KvGroup> {
        self.stores.iter().map(|s| s.group().clone()).collect()
    }
    /// Address space reserved, not memory used.
    pub fn bytes(&self) -> usize {
        self.bytes_by_device().map(|b| b.1).sum()
    }
    pub fn bytes_by_device(&self) -> impl Iterator<Item = (DeviceId, usize)> + '_ {
        self.stores.iter().flat_map(Store::bytes)
    }
    /// Bytes in memory now.
    pub fn resident(&self) -> usize {
        self.stores.iter().map(|s| s.resident().bytes()).sum()
    }
    /// Blocks given back so far.
    pub fn released(&self) -> u64 {
        self.stores.iter().map(|s| s.resident().released()).sum()
    }

    // ---- a decode

    pub fn check(&mut self, ubs: &[Ubatch]) -> std::result::Result<(), Full> {
        self.memory.check(ubs)
    }
    /// Cells for every token of `ub`, safe to write.
    pub fn place(&mut self, ub: &Ubatch, causal: bool) -> std::result::Result<Placed, NoPlace> {
        self.tell_freed();
        let placed = self.memory.apply(ub, causal).map_err(|Full| NoPlace::Full)?;
        self.secured(placed)
    }
    fn secured(&mut self, placed: Placed) -> std::result::Result<Placed, NoPlace> {
        self.reaper.begin();
        let cells: Vec<Cells<'_>> = placed.views.iter().map(|v| v.dst.as_slice()).enumerate().collect();
        match self.secure(&cells).and_then(|()| self.copy(&placed.copies)) {
            Ok(()) => Ok(placed),
            Err(e) => {
                self.memory.unplace(placed);
                self.reaper.release_now(&self.memory.freed());
                self.reaper.end(false);
                Err(NoPlace::NoMemory(e))
            }
        }
    }
    pub fn commit(&mut self, p: Placed, ub: &Ubatch, causal: bool) {
        self.memory.commit(p);
        self.memory.remember(&self.stores, ub, causal);
        self.reaper.end(true);
        self.tell_freed();
    }
    pub fn revert(&mut self, p: Placed) {
        self.memory.revert(p);
        self.reaper.end(true);
        self.tell_freed();
    }
    /// When memory is short, what nobody uses any more goes first; not what a placement has displaced, which may come back.
    fn secure(&mut self, cells: &[Cells<'_>]) -> Result<()> {
        let all = |stores: &[Store]| cells.iter().try_for_each(|(g, c)| stores[*g].secure_cells(c.iter().copied()));
        all(&self.stores).or_else(|e| match self.reaper.release_now(&[]) {
            0 => Err(e),
            _ => all(&self.stores),
        })
    }
    /// Rows follow cells that left a shared block or a shared cell.
    fn copy(&mut self, copies: &[RowCopy]) -> Result<()> {
        for c in copies {
            self.secure(&[(c.group, &[(c.to.0, c.to.1 + c.len.saturating_sub(1))])])?;
            self.stores[c.group].copy(c.from, c.to, c.len)?;
        }
        Ok(())
    }
    /// An operation's rows follow, or it did not happen.
    fn finish(&mut self, c: Changed) -> std::result::Result<(), Refused> {
        let copied = self.copy(&c.copies);
        match copied {
            Ok(()) => self.memory.keep_change(c),
            Err(_) => self.memory.take_back_change(&c),
        }
        self.tell_freed();
        copied.map_err(|e| {
            log::error(e);
            Refused("no memory for copies of shared cells")
        })
    }
    /// Blocks that lost their last cell are given back some time later.
    fn tell_freed(&mut self) {
        self.reaper.freed(&self.memory.freed());
    }

    // ---- a window that is brought back

    /// Kept rows into the windows of `seq` at `p`.
    pub fn put_back(&mut self, seq: u32, p: i32) -> std::result::Result<(), NoPlace> {
        let back = self.memory.put_back(seq, p).map_err(|Full| NoPlace::Full)?;
        self.reaper.begin();
        let done = self.fill_back(back);
        self.reaper.end(done.is_ok());
        self.tell_freed();
        done.map_err(NoPlace::NoMemory)
    }
    fn fill_back(&mut self, back: Back) -> Result<()> {
        let places = |at: &Vec<RowAt>| at.iter().map(|r| (r.block, r.slot)).collect::<Vec<_>>();
        let cells: Vec<Vec<(BlockId, u16)>> = back.placed.rows.iter().map(places).collect();
        let cells: Vec<Cells<'_>> = cells.iter().map(Vec::as_slice).enumerate().collect();
        if let Err(e) = self.secure(&cells).and_then(|()| self.copy(&back.placed.copies)) {
            self.memory.take_back(back.placed);
            return Err(e);
        }
        match self.memory.fill_back(&self.stores, &back) {
            Ok(()) => self.memory.keep_back(back),
            Err(e) => {
                self.memory.drop_back(&back);
                return Err(e);
            }
        }
        Ok(())
    }
    /// Cells for tokens that the base has.
    pub fn place_again(&mut self, ub: &Ubatch) -> std::result::Result<Placed, NoPlace> {
        let placed = self.memory.apply_again(ub).map_err(|Full| NoPlace::Full)?;
        self.secured(placed)
    }
    pub fn commit_again(&mut self, p: Placed) {
        self.memory.commit(p);
        self.reaper.end(true);
        self.tell_freed();
    }

    /// Pending rotations, told once.
    pub fn take_shifts(&mut self) -> Vec<KvShift> {
        let of =
            |s: crate::memory::Shift| KvShift { group: GroupId(s.group as u16), block: s.block, slot: s.slot, len: s.len, delta: s.delta };
        self.memory.take_shifts().into_iter().map(of).collect()
    }

    // ---- between decodes

    pub fn clear(&mut self) {
        self.memory.clear();
        self.tell_freed();
    }
    pub fn seq_rm(&mut self, seq: Option<u32>, p0: i32, p1: i32) -> std::result::Result<(), Refused> {
        self.memory.seq_rm(seq, p0, p1)?;
        self.tell_freed();
        Ok(())
    }
    pub fn seq_cp(&mut self, src: u32, dst: u32, p0: i32, p1: i32) -> std::result::Result<(), Refused> {
        self.memory.seq_cp(src, dst, p0, p1)?;
        self.tell_freed();
        Ok(())
    }
    pub fn seq_keep(&mut self, seq: u32) -> std::result::Result<(), Refused> {
        self.memory.seq_keep(seq)?;
        self.tell_freed();
        Ok(())
    }
    pub fn seq_add(&mut self, seq: u32, p0: i32, p1: i32, delta: i32) -> std::result::Result<(), Refused> {
        let changed = self.memory.seq_add(seq, p0, p1, delta)?;
        self.finish(changed)
    }
    pub fn seq_div(&mut self, seq: u32, p0: i32, p1: i32, d: i32) -> std::result::Result<(), Refused> {
        let changed = self.memory.seq_div(seq, p0, p1, d)?;
        self.finish(changed)
    }
}
