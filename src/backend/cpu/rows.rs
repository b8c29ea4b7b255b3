//! Steps that move or rotate rows: embeddings in, K and V into the store, outputs out.
use super::attend::heads_of;
use super::exec::{CpuOp, Ctx, Lower, Table};
use crate::backend::*;
use kernels::float;
use platform::pool::{Stop, Worker};
use platform::{Error, Result};
use std::ops::Range;

pub struct Embed {
    table: WeightId,
    by: Lookup,
    scale: f32,
    out: T,
    to_f32: unsafe fn(*const u8, usize, *mut f32),
    /// Rows below this stand in groups.
    grouped: usize,
    t: &'static float::Table,
}

impl Embed {
    pub fn lower(l: &mut Lower<'_>, table: WeightId, by: Lookup, scale: f32, out: T) -> Result<Embed> {
        let w = &l.bound.weights[table.0 as usize];
        if l.plan.value(out).width != w.shape[0] {
            return Err(Error::invalid(format!("{}: shape does not fit the plan", w.name)));
        }
        let to_f32 = kernels::quant::table(l.isa)
            .to_f32(w.ty)
            .ok_or_else(|| Error::unsupported(format!("{}: type {} cannot be read", w.name, w.ty.name())))?;
        let granule = kernels::quant::ROW_GRANULE;
        let grouped = if w.shards[0].layout == Layout::Groups { w.shape[1] as usize / granule * granule } else { 0 };
        l.needs.scratch(w.row_bytes());
        Ok(Embed { table, by, scale, out, to_f32, grouped, t: float::table(l.isa) })
    }

    /// Row `id` of the table, which has it.
    fn row(&self, c: &Ctx<'_>, w: &Worker<'_>, id: usize, out: &mut [f32]) {
        let (weight, granule) = (c.weight(self.table), kernels::quant::ROW_GRANULE);
        let row_bytes = weight.row_bytes();
        // SAFETY: the row, or its group, lies inside the weight; `out` is one row of k floats, the scratch was sized at lowering.
        unsafe {
            let mut row = c.rows(self.table, 0, id..id + 1);
            if id < self.grouped {
                let apart = std::slice::from_raw_parts_mut(c.scratch.mine(w).0, row_bytes);
                kernels::quant::group::row(weight.ty, row.sub(id % granule * row_bytes), id % granule, apart);
                row = apart.as_ptr();
            }
            (self.to_f32)(row, out.len(), out.as_mut_ptr());
        }
    }
}

impl Embed {
    fn token(&self, c: &Ctx<'_>, w: &Worker<'_>, i: usize, id: usize) {
        let out = c.arena.row_mut(w, self.out, i);
        self.row(c, w, id, out);
        if self.scale != 1.0 {
            self.t.scale(out, self.scale);
        }
    }
}

impl CpuOp for Embed {
    fn run(&self, c: &Ctx<'_>, w: &Worker<'_>) -> std::result::Result<(), Stop> {
        let ub = c.io.ub;
        let weight = c.weight(self.table);
        let n = ub.n_tokens();
        if self.by == Lookup::Tokens && ub.tokens.is_empty() {
            for i in w.share(n, 1) {
                let out = c.arena.row_mut(w, self.out, i);
                out.copy_from_slice(&ub.embd[i * out.len()..][..out.len()]);
            }
            return Ok(());
        }
        if self.by == Lookup::TokensOrNothing && ub.tokens.is_empty() {
            w.share(n, 1).for_each(|i| c.arena.row_mut(w, self.out, i).fill(0.0));
            return Ok(());
        }
        let ids: Vec<usize> = (0..n).map(|i| terms::row_of(ub, self.by, i)).collect();
        if let Some(id) = ids.iter().find(|id| **id >= weight.shape[1] as usize) {
            return Err(Stop::Failed(format!("{} has no row {id}", weight.name)));
        }
        let cuts = weight.cuts().unwrap_or(&[]);
        if cuts.is_empty() {
            w.share(n, 1).for_each(|i| self.token(c, w, i, ids[i]));
        }
        for s in cuts {
            let here: Vec<usize> = (0..n).filter(|i| s.rows.contains(&(ids[*i] as u32))).collect();
            here[c.part(w, s.node as usize, here.len())].iter().for_each(|i| self.token(c, w, *i, ids[*i]));
        }
        Ok(())
    }
}

pub struct Rows {
    pub x: T,
    pub out: T,
}

impl CpuOp for Rows {
    fn run(&self, c: &Ctx<'_>, w: &Worker<'_>) -> std::result::Result<(), Stop> {
        for o in w.share(c.io.outputs.len(), 1) {
            c.arena.row_mut(w, self.out, o).copy_from_slice(c.arena.row(self.x, c.io.outputs[o] as usize));
        }
        Ok(())
    }
}

/// The kernels' view of a rope spec; `factors` are looked up in the bound weights.
fn freq<'a>(c: &'a Ctx<'_>, r: &RopeSpec) -> float::RopeFreq<'a> {
    terms::freq(r, r.factors.map(|w| c.floats(w)))
}

/// Floats of a head that is normed before its rotation: a copy fits on the stack, and real heads have a few hundred.
const MAX_NORMED_HEAD: usize = 1024;

pub struct Rope {
    pub x: T,
    pub n_head: usize,
    norm: Option<HeadNorm>,
    rope: Option<(RopeSpec, Table)>,
    t: &'static float::Table,
}

impl Rope {
    pub fn lower(l: &mut Lower<'_>, x: T, n_head: u32, norm: Option<HeadNorm>, rope: Option<RopeSpec>) -> Result<Rope> {
        let head = l.plan.value(x).width / n_head.max(1);
        if norm.is_some() && head as usize > MAX_NORMED_HEAD {
            return Err(Error::unsupported(format!("norms of heads of {head}, at most {MAX_NORMED_HEAD} are possible")));
        }
        let rope = rope.map(|r| (l.needs.table(&r), r)).map(|(t, r)| (r, t));
        Ok(Rope { x, n_head: n_head as usize, norm, rope, t: float::table(l.isa) })
    }

    fn one(&self, c: &Ctx<'_>, token: usize, h: usize, head: &mut [f32]) {
        if let Some(n) = &self.norm {
            let v = terms::HeadWeights { w: n.w.map(|w| c.floats(w)), b: n.b.map(|w| c.floats(w)) };
            // The norm reads what it writes.
            terms::head_norm(self.t, n, v, h, head, &mut [0.0; MAX_NORMED_HEAD]);
        }
        if let Some((r, table)) = &self.rope {
            self.t.rope_rows(terms::rope_kind(r.kind), &mut head[r.at as usize..], r.n_rot as usize, c.table_row(*table, token));
        }
    }
}

impl Rope {
    /// This worker's rows of the table, where this step is the one that fills it; true asks for a barrier.
    pub fn fill(&self, c: &Ctx<'_>, w: &Worker<'_>) -> bool {
        let Some((r, table)) = self.rope.as_ref().filter(|(_, t)| t.fills) else { return false };
        let factors = r.factors.map(|w| c.floats(w));
        for i in w.share(c.io.ub.n_tokens(), 1) {
            terms::angles(c.io.ub, i, r, factors, c.table_row_mut(w, *table, i));
        }
        true
    }

    pub fn head(&self, c: &Ctx<'_>, w: &Worker<'_>, token: usize, h: usize) {
        let len = c.arena.width(self.x) / self.n_head;
        self.one(c, token, h, c.arena.cols_mut(w, self.x, token, h * len..(h + 1) * len));
    }
}

impl CpuOp for Rope {
    fn run(&self, c: &Ctx<'_>, w: &Worker<'_>) -> std::result::Result<(), Stop> {
        if self.fill(c, w) {
            w.sync()?;
        }
        w.share(c.io.ub.n_tokens() * self.n_head, 1).for_each(|item| self.head(c, w, item / self.n_head, item % self.n_head));
        Ok(())
    }
}

/// This layer's rows in host memory.
pub fn layer_of<'a>(l: &Lower<'a>, group: GroupId, il: i16) -> Result<&'a KvLayer> {
    let layer = l.bound.kv.get(group.0 as usize).and_then(|g| g.layers.get(usize::try_from(il).ok()?)?.as_ref());
    let layer = layer.ok_or_else(|| Error::invalid(format!("layer {il} has no rows in group {}", group.0)))?;
    if layer.buf.host().is_none() {
        return Err(Error::invalid(format!("rows of layer {il} are not host memory")));
    }
    Ok(layer)
}

/// Address of a row of the store.
pub fn row_ptr(l: &KvLayer, plane: usize, b: BlockId, slot: u16, h: u32) -> *mut u8 {
    bytes_at(l, l.row_at(plane, b, slot, h), l.planes[plane].head_bytes)
}

/// Address of `n` bytes of the store.
pub fn bytes_at(l: &KvLayer, at: usize, n: usize) -> *mut u8 {
    let mem = l.buf.host().filter(|m| at + n <= m.len).unwrap_or_else(|| panic!("byte {at} is outside the store"));
    // SAFETY: just checked.
    unsafe { mem.base.add(at) }
}

pub struct Store {
    layer: KvLayer,
    group: GroupId,
    /// By node, where rows are cut by heads; all in one where they are not.
    heads: Vec<Range<usize>>,
    /// K, V
    values: [T; 2],
    t: &'static float::Table,
}

impl Store {
    pub fn lower(l: &mut Lower<'_>, group: GroupId, k: T, v: T) -> Result<Store> {
        let layer = layer_of(l, group, l.il)?.clone();
        l.needs.scratch(layer.planes.iter().map(|p| 4 * p.head_len as usize).max().unwrap_or(0));
        if let Some(p) = layer.planes.iter().find(|p| !kernels::attn::supports(p.ty)) {
            return Err(Error::unsupported(format!("KV cache type {}", p.ty.name())));
        }
        let heads = layer.planes.iter().map(|p| p.heads).max().unwrap_or(0);
        Ok(Store { heads: heads_of(l.nodes, &layer, heads), layer, group, values: [k, v], t: float::table(l.isa) })
    }
}

impl Store {
    /// Whether K and V have that many heads.
    pub fn has_heads(&self, n: usize) -> bool {
        self.layer.planes.iter().all(|p| p.heads as usize == n)
    }

    /// This worker's (token, head): of the heads of its node, or of the tokens whose blocks are there.
    pub fn each(&self, c: &Ctx<'_>, w: &Worker<'_>, mut f: impl FnMut(usize, usize)) {
        let dst = &c.io.views[self.group.0 as usize].dst;
        for (node, heads) in self.heads.iter().enumerate().filter(|_| self.layer.rounds.is_empty()) {
            let items = c.part_of(w, self.heads.len(), node, dst.len() * heads.len());
            items.for_each(|item| f(item / heads.len(), heads.start + item % heads.len()));
        }
        let heads = self.heads[0].len();
        for node in (0..c.homes.len()).filter(|_| !self.layer.rounds.is_empty()) {
            let here: Vec<usize> = (0..dst.len()).filter(|i| self.layer.node_of(dst[*i].0) == node as u32).collect();
            c.part(w, node, here.len() * heads).for_each(|item| f(here[item / heads], item % heads));
        }
    }

    /// Head `h` of a token, of K and V.
    pub fn head(&self, c: &Ctx<'_>, w: &Worker<'_>, token: usize, h: usize) {
        let (block, slot) = c.io.views[self.group.0 as usize].dst[token];
        for (plane, (p, x)) in self.layer.planes.iter().zip(self.values).enumerate().filter(|(_, (p, _))| h < p.heads as usize) {
            let (len, out) = (p.head_len as usize, row_ptr(&self.layer, plane, block, slot, h as u32));
            c.note(Class::Kv, out, p.head_bytes);
            // SAFETY: a row of `head_bytes` inside the store; each (cell, head) belongs to one worker of this step.
            let out = unsafe { std::slice::from_raw_parts_mut(out, p.head_bytes) };
            self.t.encode_row(p.ty, self.transformed(c, w, p, &c.arena.row(x, token)[h * len..(h + 1) * len]), out);
        }
    }

    /// A head as the plane keeps it.
    fn transformed<'a>(&self, c: &Ctx<'a>, w: &Worker<'_>, p: &PlaneAt, x: &'a [f32]) -> &'a [f32] {
        let Some(n) = p.parts() else { return x };
        // SAFETY: this worker's scratch holds a head (sized at lowering), 64-byte aligned; nobody else has it now.
        let head = unsafe { std::slice::from_raw_parts_mut(c.scratch.mine(w).0.cast::<f32>(), x.len()) };
        head.copy_from_slice(x);
        self.t.hadamard(head, n);
        head
    }
}

impl CpuOp for Store {
    fn run(&self, c: &Ctx<'_>, w: &Worker<'_>) -> std::result::Result<(), Stop> {
        self.each(c, w, |token, h| self.head(c, w, token, h));
        Ok(())
    }
}

/// Rotates stored K rows by the pending deltas.
pub struct Shift {
    layer: KvLayer,
    heads: Vec<Range<usize>>,
    group: GroupId,
    rope: RopeSpec,
    /// Length of the transform that rows are under; 0: none.
    hadamard: usize,
    t: &'static float::Table,
}

impl Shift {
    pub fn lower(l: &mut Lower<'_>, group: GroupId, rope: RopeSpec, hadamard: usize) -> Result<Shift> {
        let layer = layer_of(l, group, l.il)?.clone();
        l.needs.scratch(4 * (layer.planes[0].head_len as usize + rope.n_rot as usize) + 64);
        let heads = heads_of(l.nodes, &layer, layer.planes[0].heads);
        Ok(Shift { layer, heads, group, rope, hadamard, t: float::table(l.isa) })
    }
}

impl CpuOp for Shift {
    fn run(&self, c: &Ctx<'_>, w: &Worker<'_>) -> std::result::Result<(), Stop> {
        let p = self.layer.planes[0];
        let (len, n_rot) = (p.head_len as usize, self.rope.n_rot as usize);
        // SAFETY: this worker's scratch holds a head and a table row (sized at lowering), 64-byte aligned.
        let floats = unsafe { std::slice::from_raw_parts_mut(c.scratch.mine(w).0.cast::<f32>(), len + n_rot) };
        let (head, table) = floats.split_at_mut(len);
        let f = freq(c, &self.rope);
        let mine: Vec<&KvShift> = c.io.shifts.iter().filter(|s| s.group == self.group).collect();
        for (node, heads) in self.heads.iter().enumerate() {
            for s in &mine[c.part_of(w, self.heads.len(), node, mine.len())] {
                float::rope_cache(s.delta, &f, table);
                for (slot, h) in (s.slot..s.slot + s.len).flat_map(|slot| heads.clone().map(move |h| (slot, h))) {
                    let row = row_ptr(&self.layer, 0, s.block, slot, h as u32);
                    // SAFETY: as in `Store`; entries name disjoint cells.
                    let row = unsafe { std::slice::from_raw_parts_mut(row, p.head_bytes) };
                    self.t.decode_row(p.ty, row, head);
                    // By the store, and by the plan.
                    terms::under(self.t, p.parts().unwrap_or(0), head, |head| {
                        terms::under(self.t, self.hadamard, head, |head| {
                            self.t.rope_rows(terms::rope_kind(self.rope.kind), &mut head[self.rope.at as usize..], n_rot, table);
                        });
                    });
                    self.t.encode_row(p.ty, head, row);
                }
            }
        }
        Ok(())
    }
}
