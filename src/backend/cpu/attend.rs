//! Attention over position tiles (contract 2): for each KV head and tile of query tokens, leaves in order inside a span of 16
//! tiles, spans merged in order. The tree depends on positions alone, so prefill, decode and every split give the same bits.
use super::exec::{CpuOp, Ctx, Lower};
use super::rows::{bytes_at, layer_of};
use crate::backend::*;
use kernels::attn::{self, AttnLeaf, KvRun, LeafArgs};
use platform::Result;
use platform::pool::{Stop, Worker};

pub struct Attend {
    q: T,
    group: GroupId,
    spec: AttendSpec,
    out: T,
    layer: KvLayer,
    leaf: AttnLeaf,
    queue: usize,
}

/// Query rows (tokens x heads of one KV head) that share a pass over the KV rows: enough to pay for converting a leaf, few
/// enough that their states stay in the cache.
const QUERY_ROWS: usize = 64;

/// Query rows that are done with a leaf before the next has arrived by itself.
const FEW: usize = 8;

/// Consecutive tokens of one sequence.
struct Tile {
    tokens: std::ops::Range<usize>,
}

/// Where a task keeps its floats in the worker's scratch.
struct Room<'a> {
    /// [n_q][head_k]
    q: &'a mut [f32],
    /// [n_q][2 + head_v]: of the span at hand, and of all spans before it.
    span: &'a mut [f32],
    total: &'a mut [f32],
    kernel: *mut u8,
}

impl Attend {
    pub fn lower(l: &mut Lower<'_>, group: GroupId, q: T, spec: AttendSpec, out: T) -> Result<Attend> {
        let layer = layer_of(l, group)?.clone();
        let a = Attend { q, group, out, layer, leaf: attn::attn_leaf(l.isa), queue: l.needs.queue(), spec };
        let [q, state, kernel] = a.room_sizes();
        l.needs.scratch((q + 2 * state) * 4 + kernel, 0);
        Ok(a)
    }

    fn per_kv(&self) -> usize {
        (self.spec.n_head / self.spec.n_head_kv) as usize
    }
    /// Tokens of a tile.
    fn tile_tokens(&self) -> usize {
        (QUERY_ROWS / self.per_kv()).max(1)
    }

    /// Floats of queries, floats of one set of states, bytes of the kernel's scratch. Each a multiple of 64 bytes.
    fn room_sizes(&self) -> [usize; 3] {
        let n_q = self.tile_tokens() * self.per_kv();
        let (k, v) = (self.spec.head_k as usize, self.spec.head_v as usize);
        [
            (n_q * k).next_multiple_of(16),
            (n_q * attn::state_len(v)).next_multiple_of(16),
            attn::scratch_bytes(k, v, n_q).next_multiple_of(64),
        ]
    }

    fn room<'a>(&self, c: &Ctx<'a>, w: &Worker<'_>, n_q: usize) -> Room<'a> {
        let [q, state, kernel] = self.room_sizes();
        let (base, len) = c.scratch.mine(w);
        assert!((q + 2 * state) * 4 + kernel <= len);
        let floats = base.cast::<f32>();
        let (nq, ns) = (n_q * self.spec.head_k as usize, n_q * attn::state_len(self.spec.head_v as usize));
        // SAFETY: three disjoint ranges of this worker's own scratch, sized at lowering; zero-initialised memory is valid f32.
        unsafe {
            Room {
                q: std::slice::from_raw_parts_mut(floats, nq),
                span: std::slice::from_raw_parts_mut(floats.add(q), ns),
                total: std::slice::from_raw_parts_mut(floats.add(q + state), ns),
                kernel: floats.add(q + 2 * state).cast(),
            }
        }
    }

    /// Tiles of consecutive tokens of one sequence.
    fn tiles(&self, ub: &Ubatch) -> Vec<Tile> {
        let most = self.tile_tokens();
        let mut out: Vec<Tile> = Vec::new();
        for i in 0..ub.n_tokens() {
            match out.last_mut() {
                Some(t) if t.tokens.len() < most && ub.first_seq[t.tokens.start] == ub.first_seq[i] => t.tokens.end = i + 1,
                _ => out.push(Tile { tokens: i..i + 1 }),
            }
        }
        out
    }

    /// Copies the tile's queries of KV head `h` together: [token][head][head_k].
    fn gather(&self, c: &Ctx<'_>, tile: &Tile, h: usize, q: &mut [f32]) {
        let len = self.per_kv() * self.spec.head_k as usize;
        for (i, dst) in tile.tokens.clone().zip(q.chunks_exact_mut(len)) {
            dst.copy_from_slice(&c.arena.row(self.q, i)[h * len..(h + 1) * len]);
        }
    }

    /// The part `[a, b)` of a leaf that each query row sees. Returns false when nobody sees anything.
    fn visible(&self, v: &Views, tile: &Tile, il: u32, vis: &mut Vec<(u8, u8)>) -> bool {
        let leaf = &v.leaves[il as usize];
        vis.clear();
        let mut any = false;
        for row in &v.rows[tile.tokens.clone()] {
            let cut = if row.leaves.contains(&il) { leaf.within(row.lo, row.hi) } else { (0, 0) };
            let cut = if cut.0 < cut.1 { cut } else { (0, 0) };
            any |= cut.0 < cut.1;
            vis.extend(std::iter::repeat_n(cut, self.per_kv()));
        }
        any
    }

    fn task(&self, c: &Ctx<'_>, w: &Worker<'_>, tile: &Tile, h: usize) {
        let v = &c.io.views[self.group.0 as usize];
        let (head_v, n_q) = (self.spec.head_v as usize, tile.tokens.len() * self.per_kv());
        let state = attn::state_len(head_v);
        let room = self.room(c, w, n_q);
        self.gather(c, tile, h, room.q);
        room.total.chunks_exact_mut(state).for_each(attn::span_init);
        room.span.chunks_exact_mut(state).for_each(attn::span_init);
        let rows = &v.rows[tile.tokens.clone()];
        let first = rows.iter().filter(|r| !r.leaves.is_empty()).map(|r| r.leaves.start).min().unwrap_or(0);
        let last = rows.iter().filter(|r| !r.leaves.is_empty()).map(|r| r.leaves.end).max().unwrap_or(0);
        let (mut vis, mut runs) = (Vec::with_capacity(n_q), Vec::new());
        let mut span = None;
        for il in first..last {
            if !self.visible(v, tile, il, &mut vis) {
                continue;
            }
            let leaf = &v.leaves[il as usize];
            let this = leaf.tile.div_euclid(attn::SPAN_LEAVES as i32);
            if span.is_some_and(|s| s != this) {
                merge(room.total, room.span, state, head_v);
            }
            span = Some(this);
            // Many queries compute longer than a leaf takes to arrive.
            if il + 1 < last && n_q <= FEW {
                self.read_ahead(v, il + 1, h as u32, &mut runs);
            }
            self.runs(v, leaf, h as u32, &mut runs);
            let [k, val] = [&self.layer.planes[0], &self.layer.planes[1]];
            let args = LeafArgs {
                runs: &runs,
                len: leaf.to,
                k_stride: k.head_bytes,
                v_stride: val.head_bytes,
                head_k: k.head_len as usize,
                head_v,
                k_type: k.ty,
                v_type: val.ty,
                q: room.q.as_ptr(),
                q_stride: self.spec.head_k as usize,
                n_q,
                vis: &vis,
                scale: self.spec.scale,
                softcap: self.spec.softcap,
                state: room.span.as_mut_ptr(),
                scratch: room.kernel,
            };
            // SAFETY: picked by ISA level; runs were checked against the store, the rest is this worker's scratch.
            unsafe { (self.leaf)(&args) };
        }
        merge(room.total, room.span, state, head_v);
        self.finish(c, w, tile, h, room.total, state);
    }

    fn runs(&self, v: &Views, leaf: &Leaf, h: u32, runs: &mut Vec<KvRun>) {
        runs.clear();
        for s in &v.segs[leaf.segs.start as usize..leaf.segs.end as usize] {
            let mut at = s.at;
            let stretches = |plane| self.layer.stretches(plane, s.block, s.slot, u16::from(s.len), h);
            for (k, val) in stretches(0).zip(stretches(1)) {
                runs.push(KvRun { k: self.rows_at(0, k), v: self.rows_at(1, val), at, len: k.n as u8 });
                at += k.n as u8;
            }
        }
    }

    /// Address of rows that lie in the store.
    fn rows_at(&self, plane: usize, s: Stretch) -> *const u8 {
        bytes_at(&self.layer, s.at, s.n as usize * self.layer.planes[plane].head_bytes)
    }

    /// Starts reading the next leaf while this one is computed: rows of one head are in pieces that the hardware does not foresee.
    fn read_ahead(&self, v: &Views, il: u32, h: u32, runs: &mut Vec<KvRun>) {
        self.runs(v, &v.leaves[il as usize], h, runs);
        let [k, val] = [&self.layer.planes[0], &self.layer.planes[1]];
        runs.iter().for_each(|r| attn::prefetch(r, k.head_bytes, val.head_bytes));
    }

    fn finish(&self, c: &Ctx<'_>, w: &Worker<'_>, tile: &Tile, h: usize, total: &[f32], state: usize) {
        let (per_kv, head_v) = (self.per_kv(), self.spec.head_v as usize);
        let sinks = self.spec.sinks.map(|s| c.floats(s));
        for (n, s) in total.chunks_exact(state).enumerate() {
            let head = h * per_kv + n % per_kv;
            let out = c.arena.cols_mut(w, self.out, tile.tokens.start + n / per_kv, head * head_v..(head + 1) * head_v);
            attn::span_finish(s, sinks.map(|s| s[head]), out);
        }
    }
}

/// Adds each query's span to its total and empties the span.
fn merge(total: &mut [f32], span: &mut [f32], state: usize, head_v: usize) {
    for (t, s) in total.chunks_exact_mut(state).zip(span.chunks_exact_mut(state)) {
        attn::span_merge(t, s, head_v);
        attn::span_init(s);
    }
}

impl CpuOp for Attend {
    fn run(&self, c: &Ctx<'_>, w: &Worker<'_>) -> std::result::Result<(), Stop> {
        let (tiles, heads) = (self.tiles(c.io.ub), self.spec.n_head_kv as usize);
        // Late tiles see the most; taking them first keeps the workers level at the end.
        while let Some(i) = c.queues[self.queue].take(tiles.len() * heads) {
            let i = tiles.len() * heads - 1 - i;
            self.task(c, w, &tiles[i / heads], i % heads);
        }
        Ok(())
    }
    fn bytes(&self, c: &Ctx<'_>) -> u64 {
        let v = &c.io.views[self.group.0 as usize];
        let cells: u64 = v.leaves.iter().map(|l| u64::from(l.to - l.from)).sum();
        cells * self.layer.planes.iter().map(|p| (p.heads as usize * p.head_bytes) as u64).sum::<u64>()
    }
}
