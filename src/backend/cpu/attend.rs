//! Attention over position tiles (contract 2): leaves in order inside a span of 16 tiles, spans merged in order. The tree depends on
//! positions alone, so prefill, decode and every split give the same bits.
//!
//! A task is a tile of query tokens, some KV heads, and all spans or one. Heads of a leaf lie side by side, so few queries go through them leaf
//! by leaf and read in long stretches; many queries stay with one head. Spans become tasks where tiles and heads are too few for the workers.
use super::exec::{CpuOp, Ctx, Lower};
use super::homes::Queue;
use super::rows::{bytes_at, layer_of};
use super::tiles::{self, Tile};
use crate::backend::*;
use kernels::attn::{self, Alibi, AttnLeaf, HeadRows, KvRun, LeafArgs, Rows};
use kernels::float;
use platform::Result;
use platform::numa::Nodes;
use platform::pool::{Stop, Worker};
use std::ops::Range;

pub struct Attend {
    q: T,
    group: GroupId,
    spec: AttendSpec,
    out: T,
    layer: KvLayer,
    /// KV heads of each node; all in one where their rows are not cut.
    heads: Vec<Range<usize>>,
    kernel: AttnLeaf,
    t: &'static float::Table,
    /// The bucket of each distance, `-Buckets::FAR..=Buckets::FAR`.
    buckets: Vec<u32>,
    /// Of passes of a node, of joins, and of passes that are no node's.
    queues: [Queue; 3],
}

/// Query rows (tokens x heads) that a task keeps at hand: enough to pay for converting a leaf, few enough that their states stay
/// in the cache.
const QUERY_ROWS: usize = 64;

/// Tasks per worker that keep workers level when one of them is interrupted.
const TASKS: usize = 8;

/// Query rows that are done with a leaf before the next has arrived by itself.
const FEW: usize = 8;

/// Tokens of a tile whose spans may be tasks of their own; more of them are enough work in one piece.
const SPLIT_TOKENS: usize = 16;

/// Most bytes of states that spans have between pass and join: 64 query rows of 128 channels over a million positions. Runs that want more
/// are cut by tiles and heads alone.
const SPAN_BYTES: usize = 64 << 20;

/// Where a task keeps its floats in the worker's scratch.
struct Room<'a> {
    /// [heads][n_q][head_k]
    q: &'a mut [f32],
    /// [heads][n_q][2 + head_v]: of the span at hand, and of all spans before it.
    span: &'a mut [f32],
    total: &'a mut [f32],
    kernel: *mut u8,
}

/// A leaf as the queries of a task see it.
#[derive(Default)]
struct Sight {
    len: u8,
    /// Position of its first place.
    pos: i32,
    /// Per query row of a head, the places it sees.
    vis: Vec<(u8, u8)>,
    /// Of the task's first head.
    rows: Rows,
}

impl Sight {
    /// Rows of the task's head `h`.
    fn rows(&self, h: usize, k: &PlaneAt, v: &PlaneAt) -> HeadRows<'_> {
        HeadRows { rows: &self.rows, k: h * k.head_pitch(), v: h * v.head_pitch() }
    }
}

/// How the work of one run is cut.
struct Cut {
    tiles: Vec<Tile>,
    /// KV heads of a task.
    heads: usize,
    /// Tile and span of each task, where spans are tasks.
    spans: Option<Vec<(usize, usize)>>,
}

impl Attend {
    pub fn lower(l: &mut Lower<'_>, group: GroupId, q: T, spec: AttendSpec, out: T) -> Result<Attend> {
        let layer = layer_of(l, group, spec.layer.unwrap_or(l.il))?.clone();
        let queues = [l.needs.queue(), l.needs.queue(), l.needs.queue()];
        let heads = heads_of(l.nodes, &layer, spec.n_head_kv);
        let a = Attend {
            heads,
            q,
            group,
            out,
            layer,
            kernel: attn::attn_leaf(l.isa),
            t: float::table(l.isa),
            buckets: buckets_of(&spec),
            queues,
            spec,
        };
        let [q, state, kernel] = a.room_sizes();
        // A span holds 1024 positions: with that many cells and some spans begun, one state per span. Reserved, not touched.
        let cells = a.layer.cells();
        let spans = cells / (attn::LEAF * attn::SPAN_LEAVES) + SPLIT_TOKENS;
        l.needs.scratch((q + 2 * state) * 4 + kernel);
        l.needs.scratch_of_all((spans * a.span_bytes(l.limits.tokens.min(SPLIT_TOKENS))).min(SPAN_BYTES));
        Ok(a)
    }

    fn per_kv(&self) -> usize {
        (self.spec.n_head / self.spec.n_head_kv) as usize
    }
    fn n_kv(&self) -> usize {
        self.spec.n_head_kv as usize
    }
    fn head_v(&self) -> usize {
        self.spec.head_v as usize
    }
    /// Floats of one query's state.
    fn state(&self) -> usize {
        attn::state_len(self.head_v())
    }
    /// Tokens of a tile.
    fn tile_tokens(&self) -> usize {
        (QUERY_ROWS / self.per_kv()).max(1)
    }
    /// Bytes of the states of one span, all heads of `tokens` tokens.
    fn span_bytes(&self, tokens: usize) -> usize {
        tokens * self.spec.n_head as usize * self.state() * 4
    }
    /// What a part of this run has in the shared scratch.
    fn part_bytes(&self, c: &Ctx<'_>) -> usize {
        self.span_bytes(c.io.ub.n_tokens().min(SPLIT_TOKENS))
    }

    /// Floats of queries, floats of one set of states, bytes of the kernel's scratch. Each a multiple of 64 bytes.
    fn room_sizes(&self) -> [usize; 3] {
        let rows = QUERY_ROWS.max(self.per_kv());
        let (k, v) = (self.spec.head_k as usize, self.head_v());
        [
            (rows * k).next_multiple_of(16),
            (rows * attn::state_len(v)).next_multiple_of(16),
            attn::scratch_bytes(k, v, rows).next_multiple_of(64),
        ]
    }

    /// Room for `rows` query rows.
    fn room<'a>(&self, c: &Ctx<'a>, w: &Worker<'_>, rows: usize) -> Room<'a> {
        let [q, state, kernel] = self.room_sizes();
        let (base, len) = c.scratch.mine(w);
        assert!((q + 2 * state) * 4 + kernel <= len && rows <= QUERY_ROWS.max(self.per_kv()));
        let floats = base.cast::<f32>();
        let (nq, ns) = (rows * self.spec.head_k as usize, rows * self.state());
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

    /// Depends on what is asked and on the number of workers; the same for each of them.
    fn cut(&self, c: &Ctx<'_>, w: &Worker<'_>) -> Cut {
        let most = if self.spec.among.is_some() { 1 } else { self.tile_tokens() };
        let mut tiles = tiles::cut(&c.io.views[self.group.0 as usize], c.io.ub, most);
        let lists = self.spec.among.map_or(1, |a| self.picked(c, &a, &mut tiles));
        let (enough, kv) = (if w.n == 1 { 1 } else { TASKS * w.n as usize }, self.n_kv());
        let tokens = tiles.iter().map(|t| t.tokens().len()).max().unwrap_or(0).max(1);
        let spans: Vec<(usize, usize)> = tiles.iter().enumerate().flat_map(|(i, t)| (0..t.spans.len()).map(move |s| (i, s))).collect();
        let fits = tokens <= SPLIT_TOKENS && spans.len() * self.part_bytes(c) <= c.scratch.shared().1;
        let split = w.n > 1 && tiles.len() * kv < 2 * enough && spans.len() > tiles.len() && fits;
        let n = if split { spans.len() } else { tiles.len() };
        // Heads with lists of their own have no rows in common.
        let most = if lists > 1 { 1 } else { (QUERY_ROWS / (tokens * self.per_kv())).clamp(1, kv) };
        // Heads of a task are of one node.
        let most = most.min(self.heads.iter().map(Range::len).max().unwrap_or(1));
        Cut { heads: (kv * n / enough).clamp(1, most), spans: split.then_some(spans), tiles }
    }

    /// Tasks whose spans are all of one node, by node, and the rest; late ones first. Many tokens are worth more hands than a node has.
    fn by_node(&self, c: &Ctx<'_>, cut: &Cut, n: usize) -> (Vec<Vec<usize>>, Vec<usize>) {
        let v = &c.io.views[self.group.0 as usize];
        let groups = self.heads[0].len().div_ceil(cut.heads);
        let (mut of, mut rest) = (vec![Vec::new(); c.homes.len()], Vec::new());
        for i in (0..n).rev() {
            let (tile, spans) = match &cut.spans {
                Some(spans) => (&cut.tiles[spans[i / groups].0], spans[i / groups].1..spans[i / groups].1 + 1),
                None => (&cut.tiles[i / groups], 0..cut.tiles[i / groups].spans.len()),
            };
            let few = tile.tokens().len() <= SPLIT_TOKENS && !tile.picked;
            let mut homes = spans.filter(|_| few).map(|s| tile.pos_of(v, s).map(|pos| home_of(&self.layer.rounds, pos)));
            let first = homes.next().flatten();
            match first.filter(|h| homes.all(|o| o == Some(*h))) {
                Some(home) => of[home as usize].push(i),
                None => rest.push(i),
            }
        }
        (of, rest)
    }

    /// Tells the tiles, a token each, whose cells were picked. The most lists that one of them has.
    fn picked(&self, c: &Ctx<'_>, a: &Among, tiles: &mut [Tile]) -> usize {
        let mut lists = 1;
        for t in tiles {
            let picks = c.arena.row(a.picks, t.tokens().start);
            let longest = (0..a.n_list as usize).map(|h| picks::of_head(a, picks, h)).max_by_key(|l| l.len()).unwrap_or_default();
            if !longest.is_empty() {
                (t.picked, t.spans, lists) = (true, picks::spans(a, longest), a.n_list as usize);
            }
        }
        lists
    }

    /// Copies the tile's queries of KV heads `heads` together, transformed as K are: [head][token][per_kv][head_k].
    fn gather(&self, c: &Ctx<'_>, tile: &Tile, heads: &Range<usize>, q: &mut [f32]) {
        let len = self.per_kv() * self.spec.head_k as usize;
        let mut parts = q.chunks_exact_mut(len);
        for h in heads.clone() {
            for (i, dst) in tile.tokens().zip(&mut parts) {
                dst.copy_from_slice(&c.arena.row(self.q, i)[h * len..(h + 1) * len]);
                self.layer.planes[0].parts().into_iter().for_each(|n| self.t.hadamard(dst, n));
            }
        }
    }

    /// Adds span `s` of a tile to the states `[heads][n_q][2 + head_v]`.
    #[allow(clippy::too_many_arguments, reason = "what is read and what is written, by tile, span and heads")]
    fn span(&self, c: &Ctx<'_>, tile: &Tile, s: usize, heads: &Range<usize>, q: &[f32], states: &mut [f32], kernel: *mut u8) {
        let (mut v, mut rows) = (&c.io.views[self.group.0 as usize], tile.spans[s].clone());
        let packed;
        if let Some(a) = self.spec.among.as_ref().filter(|_| tile.picked) {
            let i = tile.tokens().start;
            let list = picks::of_head(a, c.arena.row(a.picks, i), heads.start);
            packed = picks::packed(v, &v.rows[i], a, list, rows);
            (v, rows) = (&packed, 0..packed.leaves.len());
        }
        let (this, next) = (&mut Sight::default(), &mut Sight::default());
        let (mut this, mut next) = (this, next);
        let mut more = self.look(c, v, tile, &mut rows, heads, this);
        while more {
            more = self.look(c, v, tile, &mut rows, heads, next);
            self.leaf(c, tile, this, more.then_some(next), heads, q, states, kernel);
            std::mem::swap(&mut this, &mut next);
        }
    }

    /// The next of the leaves `left` that somebody sees.
    fn look(&self, c: &Ctx<'_>, v: &Views, tile: &Tile, left: &mut Range<usize>, heads: &Range<usize>, sight: &mut Sight) -> bool {
        let leaf = match tile.picked {
            false => left.find_map(|row| tile.visible(v, row, self.per_kv(), &mut sight.vis)),
            true => left.next().map(|row| &v.leaves[row]),
        };
        let Some(leaf) = leaf else { return false };
        if tile.picked {
            sight.vis.clear();
            sight.vis.resize(self.per_kv(), (leaf.from, leaf.to));
        }
        (sight.len, sight.pos) = (leaf.to, leaf.tile * attn::LEAF as i32);
        sight.rows.clear();
        let segs = &v.segs[leaf.segs.start as usize..leaf.segs.end as usize];
        segs.iter().for_each(|s| self.rows(s, heads.start as u32, &mut sight.rows));
        if c.is_audited() {
            self.note(c, segs, heads);
        }
        true
    }

    /// Rows of a leaf are read for some heads.
    fn note(&self, c: &Ctx<'_>, segs: &[Seg], heads: &Range<usize>) {
        for (s, (plane, p)) in segs.iter().flat_map(|s| self.layer.planes.iter().enumerate().map(move |p| (s, p))) {
            for h in heads.clone() {
                let parts = self.layer.stretches(plane, s.block, s.slot, u16::from(s.len), h as u32);
                parts.for_each(|t| c.note(Class::Kv, bytes_at(&self.layer, t.at, 0), t.n as usize * p.head_bytes));
            }
        }
    }

    /// How scores of KV head `h` fall with distance, per query row of a tile.
    fn slopes(&self, c: &Ctx<'_>, tile: &Tile, pos: i32, h: usize) -> Option<Vec<Alibi>> {
        let s = &self.spec;
        let of = |head: usize| alibi_slope(s.alibi, head as u32, s.n_head);
        let heads = h * self.per_kv()..(h + 1) * self.per_kv();
        let row = |i: usize| {
            let first = (pos - c.io.ub.pos_of(i)) as f32;
            heads.clone().map(move |head| Alibi { slope: of(head), first })
        };
        (s.alibi > 0.0).then(|| tile.tokens().flat_map(row).collect())
    }

    /// What distance adds to scores of KV head `h`, per query row of a tile.
    fn added(&self, c: &Ctx<'_>, tile: &Tile, pos: i32, h: usize) -> Option<Vec<[f32; attn::LEAF]>> {
        let table = c.floats(self.spec.buckets?.w);
        let (n_head, heads) = (self.spec.n_head as usize, h * self.per_kv()..(h + 1) * self.per_kv());
        let row = |i: usize| {
            let first = pos - c.io.ub.pos_of(i) + Buckets::FAR;
            let at = move |j: usize| self.buckets[(first + j as i32).clamp(0, 2 * Buckets::FAR) as usize] as usize * n_head;
            heads.clone().map(move |head| std::array::from_fn(|j| table[at(j) + head]))
        };
        Some(tile.tokens().flat_map(row).collect())
    }

    /// A leaf for `heads`.
    #[allow(clippy::too_many_arguments, reason = "as `span`")]
    fn leaf(
        &self,
        c: &Ctx<'_>,
        tile: &Tile,
        this: &Sight,
        next: Option<&Sight>,
        heads: &Range<usize>,
        q: &[f32],
        states: &mut [f32],
        kernel: *mut u8,
    ) {
        let n = heads.len();
        // Who sees nothing of it at either end of the tile is left out.
        let first = this.vis.iter().position(|v| v.0 < v.1).unwrap_or(0);
        let end = this.vis.iter().rposition(|v| v.0 < v.1).map_or(0, |i| i + 1);
        let [k, v] = [&self.layer.planes[0], &self.layer.planes[self.layer.plane_of_v()]];
        for h in 0..n {
            let at = h * this.vis.len() + first;
            let alibi = self.slopes(c, tile, this.pos, heads.start + h);
            let added = self.added(c, tile, this.pos, heads.start + h);
            let next = if h + 1 < n { Some(this.rows(h + 1, k, v)) } else { next.map(|s| s.rows(0, k, v)) };
            let args = LeafArgs {
                at: this.rows(h, k, v),
                next: next.filter(|_| end - first <= FEW),
                len: this.len,
                head_k: k.head_len as usize,
                head_v: self.head_v(),
                k_type: k.ty,
                v_type: v.ty,
                q: q[at * self.spec.head_k as usize..].as_ptr(),
                q_stride: self.spec.head_k as usize,
                n_q: end - first,
                vis: &this.vis[first..end],
                scale: self.spec.scale,
                softcap: self.spec.softcap,
                alibi: alibi.as_ref().map(|a| &a[first..end]),
                added: added.as_ref().map(|a| &a[first..end]),
                state: states[at * self.state()..].as_mut_ptr(),
                scratch: kernel,
            };
            // SAFETY: picked by ISA level; rows were checked against the store for all heads, the rest is this task's own.
            unsafe { (self.kernel)(&args) };
        }
    }

    /// All spans of a tile for some heads.
    fn whole(&self, c: &Ctx<'_>, w: &Worker<'_>, tile: &Tile, heads: Range<usize>) {
        let state = self.state();
        let Room { q, span, total, kernel } = self.room(c, w, heads.len() * tile.tokens().len() * self.per_kv());
        self.gather(c, tile, &heads, q);
        total.chunks_exact_mut(state).for_each(attn::span_init);
        for s in 0..tile.spans.len() {
            span.chunks_exact_mut(state).for_each(attn::span_init);
            self.span(c, tile, s, &heads, q, span, kernel);
            merge(total, span, self.head_v());
        }
        self.finish(c, w, tile, heads, total);
    }

    /// One span of a tile for some heads, to where `join` finds it.
    fn part(&self, c: &Ctx<'_>, w: &Worker<'_>, cut: &Cut, spans: &[(usize, usize)], i: usize, heads: Range<usize>) {
        let (tile, s) = (&cut.tiles[spans[i].0], spans[i].1);
        let room = self.room(c, w, heads.len() * tile.tokens().len() * self.per_kv());
        self.gather(c, tile, &heads, room.q);
        let states = self.shared_states(c, tile, i, heads.clone());
        states.chunks_exact_mut(self.state()).for_each(attn::span_init);
        self.span(c, tile, s, &heads, room.q, states, room.kernel);
    }

    /// Merges the spans of a tile for one head.
    fn join(&self, c: &Ctx<'_>, w: &Worker<'_>, tile: &Tile, first: usize, h: usize) {
        let total = self.room(c, w, tile.tokens().len() * self.per_kv()).total;
        total.chunks_exact_mut(self.state()).for_each(attn::span_init);
        for s in 0..tile.spans.len() {
            merge(total, self.shared_states(c, tile, first + s, h..h + 1), self.head_v());
        }
        self.finish(c, w, tile, h..h + 1, total);
    }

    /// States of heads `heads` in part `i` of the run, which is a span of `tile`.
    #[allow(clippy::mut_from_ref, reason = "one worker per part and heads, a barrier before they are read")]
    fn shared_states<'a>(&self, c: &Ctx<'a>, tile: &Tile, i: usize, heads: Range<usize>) -> &'a mut [f32] {
        let (base, len) = c.scratch.shared();
        let n_q = tile.tokens().len() * self.per_kv() * self.state();
        let at = i * self.part_bytes(c) / 4 + heads.start * n_q;
        assert!((at + heads.len() * n_q) * 4 <= len);
        // SAFETY: inside the shared scratch (just checked), aligned, initialised; disjoint by part and head.
        unsafe { std::slice::from_raw_parts_mut(base.cast::<f32>().add(at), heads.len() * n_q) }
    }

    /// The rows of head `h` in a segment; those of head `h + n` are `n` pitches further.
    fn rows(&self, s: &Seg, h: u32, rows: &mut Rows) {
        let mut at = s.at;
        let stretches = |plane| self.layer.stretches(plane, s.block, s.slot, u16::from(s.len), h);
        let of_v = self.layer.plane_of_v();
        for (k, v) in stretches(0).zip(stretches(of_v)) {
            let run = KvRun { k: self.rows_at(0, k, h), v: self.rows_at(of_v, v, h), at, len: k.n as u8 };
            rows.add(&run, self.layer.planes[0].head_bytes, self.layer.planes[of_v].head_bytes);
            at += k.n as u8;
        }
    }

    /// Address of rows that lie in the store, as do those of the heads after `h` in its region.
    fn rows_at(&self, plane: usize, s: Stretch, h: u32) -> *const u8 {
        let (p, after) = (&self.layer.planes[plane], self.layer.together(plane, h).end - 1 - h);
        bytes_at(&self.layer, s.at, after as usize * p.head_pitch() + s.n as usize * p.head_bytes)
    }

    fn finish(&self, c: &Ctx<'_>, w: &Worker<'_>, tile: &Tile, heads: Range<usize>, total: &[f32]) {
        let (per_kv, head_v, state) = (self.per_kv(), self.head_v(), self.state());
        let (sinks, of_v) = (self.spec.sinks.map(|s| c.floats(s)), &self.layer.planes[self.layer.plane_of_v()]);
        let (tokens, n_q) = (tile.tokens(), tile.tokens().len() * per_kv);
        for (n, s) in total.chunks_exact(state).enumerate() {
            let head = (heads.start + n / n_q) * per_kv + n % per_kv;
            let out = c.arena.cols_mut(w, self.out, tokens.start + n % n_q / per_kv, head * head_v..(head + 1) * head_v);
            attn::span_finish(s, sinks.map(|s| s[head]), out);
            of_v.parts().into_iter().for_each(|n| self.t.hadamard(out, n));
        }
    }
}

/// KV heads by node, as the rows of a layer are cut.
pub fn heads_of(nodes: &Nodes, layer: &KvLayer, n: u32) -> Vec<Range<usize>> {
    let Some(cuts) = layer.cuts() else { return std::iter::once(0..n as usize).collect() };
    let mut heads = vec![0..0; nodes.len()];
    cuts.for_each(|(node, part)| heads[(node as usize).min(nodes.len() - 1)] = part.start as usize..part.end as usize);
    heads
}

fn buckets_of(s: &AttendSpec) -> Vec<u32> {
    let all = |b: Buckets| (-Buckets::FAR..=Buckets::FAR).map(|apart| b.of(apart)).collect();
    s.buckets.map(all).unwrap_or_default()
}

/// Adds each query's span to its total.
fn merge(total: &mut [f32], span: &[f32], head_v: usize) {
    let state = attn::state_len(head_v);
    for (t, s) in total.chunks_exact_mut(state).zip(span.chunks_exact(state)) {
        attn::span_merge(t, s, head_v);
    }
}

impl CpuOp for Attend {
    fn run(&self, c: &Ctx<'_>, w: &Worker<'_>) -> std::result::Result<(), Stop> {
        let cut = self.cut(c, w);
        let kv = self.n_kv();
        let n = cut.spans.as_ref().map_or(cut.tiles.len(), Vec::len);
        let groups = |home: usize| self.heads[home].len().div_ceil(cut.heads);
        // Late tiles see the most; taking them first keeps the workers level at the end.
        let task = |home: usize, i: usize| {
            let (groups, all) = (groups(home), &self.heads[home]);
            let first = all.start + i % groups * cut.heads;
            let heads = first..(first + cut.heads).min(all.end);
            match &cut.spans {
                Some(spans) => self.part(c, w, &cut, spans, i / groups, heads),
                None => self.whole(c, w, &cut.tiles[i / groups], heads),
            }
        };
        if self.layer.rounds.is_empty() || c.homes.len() == 1 {
            while let Some((home, i)) = c.take_of(w, self.queues[0], self.heads.len(), |home| n * groups(home)) {
                task(home, n * groups(home) - 1 - i);
            }
        } else {
            let (of, rest) = self.by_node(c, &cut, n * groups(0));
            while let Some((home, i)) = c.take(w, self.queues[0], |home| of[home].len()) {
                task(0, of[home][i]);
            }
            while let Some(i) = c.take_any(self.queues[2], rest.len()) {
                task(0, rest[i]);
            }
        }
        let Some(spans) = &cut.spans else { return Ok(()) };
        w.sync()?;
        while let Some(i) = c.take_any(self.queues[1], cut.tiles.len() * kv) {
            let first = spans.partition_point(|s| s.0 < i / kv);
            self.join(c, w, &cut.tiles[i / kv], first, i % kv);
        }
        Ok(())
    }
    fn bytes(&self, c: &Ctx<'_>) -> u64 {
        let v = &c.io.views[self.group.0 as usize];
        let cells: u64 = v.leaves.iter().map(|l| u64::from(l.to - l.from)).sum();
        cells * self.layer.planes.iter().map(|p| (p.heads as usize * p.head_bytes) as u64).sum::<u64>()
    }
}
