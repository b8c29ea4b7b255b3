//! Rows of one ubatch, for attention that keeps nothing: what a layer stores is read by the same layer, or by the layers of a decoder until the
//! next ubatch comes. Knows no models.
use super::store::{LayerRows, Store, cells_per_block};
use super::{GroupSpec, Memory, Window};
use crate::backend::{Backend, DeviceId, GroupId, KvGroup, QueryRow, SeqSet, Ubatch, Views};
use platform::{Backing, Error, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A layer's rows and what its queries see.
pub struct WithinLayer {
    pub rows: LayerRows,
    pub group: GroupId,
}

pub struct Within {
    memory: Memory,
    stores: Vec<Store>,
    /// Per window.
    groups: Vec<KvGroup>,
    /// Of the ubatch at hand.
    views: Vec<Views>,
    /// The leaves of each of its sequences, in the first group.
    seqs: BTreeMap<u32, std::ops::Range<u32>>,
}

/// Cells are made of so many at a time.
const PAD: u32 = 256;

impl Within {
    /// `windows` are the groups', the first sees everything. With `shared` the layers of a group take turns on the rows of one.
    pub fn new(
        layers: &[WithinLayer],
        windows: &[Window],
        backends: &[Arc<dyn Backend>],
        n_tokens: u32,
        n_seq_max: u32,
        shared: bool,
    ) -> Result<Within> {
        let n_layer = layers.iter().map(|l| l.rows.il + 1).max().unwrap_or(0);
        let (mut specs, mut stores, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        for (g, window) in windows.iter().enumerate() {
            let mine: Vec<&LayerRows> = layers.iter().filter(|l| usize::from(l.group.0) == g).map(|l| &l.rows).collect();
            let stored: Vec<LayerRows> = if shared { one_of_each(&mine) } else { mine.iter().map(|l| (*l).clone()).collect() };
            let size = n_tokens.max(1).checked_next_multiple_of(PAD).ok_or_else(|| Error::invalid(format!("n_ubatch is {n_tokens}")))?;
            let spec = GroupSpec { window: *window, size, cells_per_block: cells_per_block(&stored)?, keep_masked: true };
            let store = Store::new(&stored, backends, n_layer, spec.cells_per_block, spec.n_blocks_max(1), &Backing::from_env())?;
            groups.push(spread(store.group(), &stored, &mine));
            stores.push(store);
            specs.push(spec);
        }
        Ok(Within { memory: Memory::new(specs, n_seq_max, true)?, stores, groups, views: Vec::new(), seqs: BTreeMap::new() })
    }

    pub fn groups(&self) -> &[KvGroup] {
        &self.groups
    }
    /// Address space reserved on each device, not memory used.
    pub fn bytes(&self) -> impl Iterator<Item = (DeviceId, usize)> + '_ {
        self.stores.iter().flat_map(Store::bytes)
    }

    /// Gives the rows to a new ubatch: its tokens see those of the sequence that they are named with first, on both sides.
    pub fn place(&mut self, ub: &Ubatch) -> Result<&[Views]> {
        self.views.clear();
        self.seqs.clear();
        self.memory.clear();
        let seqs = ub.first_seq.iter().map(|s| SeqSet::one(*s)).collect();
        let placed = self.memory.apply(&Ubatch { seqs, ..ub.clone() }, false);
        let placed = placed.map_err(|_| Error::invalid(format!("no room for {} tokens at once", ub.n_tokens())))?;
        for (store, v) in self.stores.iter().zip(&placed.views) {
            store.secure_cells(v.dst.iter().copied())?;
        }
        if let Some(v) = placed.views.first() {
            self.seqs = ub.first_seq.iter().zip(&v.rows).map(|(s, r)| (*s, r.leaves.clone())).collect();
        }
        self.views.clone_from(&placed.views);
        self.memory.commit(placed);
        Ok(&self.views)
    }

    /// What `place` has said.
    pub fn views(&self) -> &[Views] {
        &self.views
    }

    /// All of the first group for the tokens of another ubatch, which sees its sequences' rows; the error is a sequence without rows.
    pub fn seen_by(&self, ub: &Ubatch) -> std::result::Result<Views, u32> {
        let row = |s: &u32| Ok(QueryRow { leaves: self.seqs.get(s).cloned().ok_or(*s)?, lo: 0, hi: i32::MAX });
        let rows = ub.first_seq.iter().map(row).collect::<std::result::Result<Vec<_>, u32>>()?;
        let of = self.views.first().cloned().unwrap_or_default();
        Ok(Views { dst: Vec::new(), rows, ..of })
    }
    /// The rows were not made.
    pub fn forget(&mut self) {
        self.seqs.clear();
    }
}

fn alike(a: &LayerRows, b: &LayerRows) -> bool {
    let sizes = |l: &LayerRows| l.planes.iter().map(|p| (p.ty, p.heads, p.head_len)).collect::<Vec<_>>();
    a.place == b.place && sizes(a) == sizes(b)
}

/// The first of the layers that are alike.
fn one_of_each(layers: &[&LayerRows]) -> Vec<LayerRows> {
    let mut out: Vec<LayerRows> = Vec::new();
    for l in layers {
        if !out.iter().any(|o| alike(o, l)) {
            out.push((*l).clone());
        }
    }
    out
}

/// Each layer gets the rows of the one that is stored for it.
fn spread(group: &KvGroup, stored: &[LayerRows], layers: &[&LayerRows]) -> KvGroup {
    let mut out = group.clone();
    for l in layers {
        let of = stored.iter().find(|s| s.il == l.il).or_else(|| stored.iter().find(|s| alike(s, l)));
        out.layers[l.il] = of.and_then(|s| group.layers[s.il].clone());
    }
    out
}
