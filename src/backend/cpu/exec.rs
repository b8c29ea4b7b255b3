//! A lowered segment: its steps, its activation memory, and the run loop with tracing.
use super::arena::Arena;
use super::audit::Audit;
use super::homes::{Homes, Queue};
use super::{attend, elementwise, experts, fuse, heads, linear, low, pick, rows};
use crate::backend::*;
use kernels::Isa;
use platform::numa::Nodes;
use platform::pool::{Pieces, Stop, Worker};
use platform::{Error, Result, mmap::Anon};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// One step on the CPU. Called by every active worker; the driver puts a barrier after it.
pub trait CpuOp: Send + Sync {
    fn run(&self, c: &Ctx<'_>, w: &Worker<'_>) -> std::result::Result<(), Stop>;
    /// Bytes of weights and KV that one run streams, about; for the trace.
    fn bytes(&self, _c: &Ctx<'_>) -> u64 {
        0
    }
}

/// What every step sees, as a worker of one node does.
#[derive(Clone, Copy)]
pub struct Ctx<'a> {
    pub io: &'a Io<'a>,
    pub arena: &'a Arena,
    pub isa: Isa,
    pub weights: &'a [Weight],
    pub homes: &'a Homes,
    /// Of the worker.
    pub node: usize,
    pub scratch: &'a Scratch,
    queues: &'a [Pieces],
    tables: &'a Anon,
    audit: Option<&'a Audit>,
}

/// Bytes that live as long as a step: each worker's own, each node's (inputs in the formats of weights), and everybody's. Those of
/// nodes are told where to go; the others go where they are touched first.
pub struct Scratch {
    map: Anon,
    per_worker: usize,
    per_node: usize,
    nodes: usize,
    shared: usize,
}

impl Scratch {
    fn new(needs: &Needs, workers: u32, on: &Nodes) -> Result<Scratch> {
        let nodes = on.len();
        // A page apart, so that two workers never share a line or a page's first touch.
        let [per_worker, per_node, shared] = [needs.per_worker, needs.per_node, needs.shared].map(|n| n.next_multiple_of(4096));
        let map = Anon::new((shared + per_node * nodes + per_worker * workers as usize).max(4096)).map_err(|e| e.within("scratch"))?;
        by_first_touch(&map, nodes);
        for node in (0..nodes).filter(|_| nodes > 1 && per_node > 0) {
            on.tell(node, map.as_ptr().wrapping_add(shared + node * per_node), per_node);
        }
        Ok(Scratch { map, per_worker, per_node, nodes, shared })
    }
    /// This worker's own bytes, 64-byte aligned.
    pub fn mine(&self, w: &Worker<'_>) -> (*mut u8, usize) {
        let at = self.shared + self.nodes * self.per_node + w.id as usize * self.per_worker;
        // SAFETY: worker ids stay below the count that the map was sized for.
        (unsafe { self.map.as_ptr().add(at) }, self.per_worker)
    }
    /// What the workers of the caller's node share, written by disjoint rows between barriers.
    pub fn of_node(&self, c: &Ctx<'_>) -> *mut u8 {
        // SAFETY: the map was sized for every node.
        unsafe { self.map.as_ptr().add(self.shared + c.node * self.per_node) }
    }
    /// What all share.
    pub fn shared(&self) -> (*mut u8, usize) {
        (self.map.as_ptr(), self.shared)
    }
}

/// With several nodes a huge page would go where the first of its 512 pages is touched.
pub fn by_first_touch(map: &Anon, nodes: usize) {
    if nodes > 1 {
        map.huge_pages(0..map.len(), false);
    }
}

impl Ctx<'_> {
    /// Token `i`'s row of a table, to read after the barrier that follows its filling.
    pub fn table_row(&self, t: Table, i: usize) -> &[f32] {
        assert!((t.at + (i + 1) * t.n_rot) * 4 <= self.tables.len());
        // SAFETY: inside the map (just checked), aligned, zero-initialised or written before a barrier.
        unsafe { std::slice::from_raw_parts(self.tables.as_ptr().cast::<f32>().add(t.at + i * t.n_rot), t.n_rot) }
    }
    #[allow(clippy::mut_from_ref, reason = "one worker per token (Worker::share)")]
    pub fn table_row_mut(&self, _w: &Worker<'_>, t: Table, i: usize) -> &mut [f32] {
        assert!((t.at + (i + 1) * t.n_rot) * 4 <= self.tables.len());
        // SAFETY: as above; the filling step gives each row to one worker.
        unsafe { std::slice::from_raw_parts_mut(self.tables.as_ptr().cast::<f32>().add(t.at + i * t.n_rot), t.n_rot) }
    }
    pub fn n_rows(&self, d: Dim) -> usize {
        match d {
            Dim::Tokens => self.io.ub.n_tokens(),
            Dim::Outputs => self.io.outputs.len(),
        }
    }
    pub fn weight(&self, w: WeightId) -> &Weight {
        &self.weights[w.0 as usize]
    }
    /// Address of rows `rows` of matrix `i` of a weight. They are of one shard.
    pub fn rows(&self, w: WeightId, i: usize, rows: Range<usize>) -> *const u8 {
        let weight = self.weight(w);
        let s = weight.shard(self.node, rows.start);
        // Lowering refused weights whose buffers the host cannot address.
        let mem = s.buf.host().unwrap_or_else(|| panic!("weight {} is not host memory", weight.name));
        let (at, n) = (weight.at(s, i, rows.start), rows.len() * weight.row_bytes());
        assert!(rows.end <= s.rows.end as usize && at + n <= mem.len, "{}: rows {rows:?} of {:?}", weight.name, s.rows);
        // SAFETY: the rows lie inside the buffer (just checked).
        let start: *const u8 = unsafe { mem.base.add(at) };
        self.note(Class::Weights, start, n);
        start
    }
    /// The worker touches these bytes.
    pub fn note(&self, class: Class, start: *const u8, len: usize) {
        if let Some(a) = self.audit {
            a.note(class, start, len);
        }
    }
    pub fn is_audited(&self) -> bool {
        self.audit.is_some()
    }
    /// The worker's next piece of a step's work; `count` says how many each node has.
    pub fn take(&self, w: &Worker<'_>, q: Queue, count: impl Fn(usize) -> usize) -> Option<(usize, usize)> {
        self.homes.take(w, self.queues, q, count)
    }
    /// The worker's part of `0..n` items that every node does for itself.
    pub fn mine(&self, w: &Worker<'_>, n: usize) -> Range<usize> {
        w.share_in_node(n, 1)
    }
    /// The worker's part of `0..n` items of a node.
    pub fn part(&self, w: &Worker<'_>, home: usize, n: usize) -> Range<usize> {
        self.homes.part(w, home, n)
    }
    /// The same of `nodes` nodes, where one stands for all of them.
    pub fn part_of(&self, w: &Worker<'_>, nodes: usize, home: usize, n: usize) -> Range<usize> {
        if nodes > 1 { self.part(w, home, n) } else { w.share(n, 1) }
    }
    /// The same of `n` nodes, where one stands for all of them.
    pub fn take_of(&self, w: &Worker<'_>, q: Queue, n: usize, count: impl Fn(usize) -> usize) -> Option<(usize, usize)> {
        if n > 1 { self.take(w, q, count) } else { self.take_any(q, count(0)).map(|i| (0, i)) }
    }
    /// The same where it is nobody's in particular.
    pub fn take_any(&self, q: Queue, n: usize) -> Option<usize> {
        self.queues[q.0].take(n)
    }
    /// A small f32 weight (norm, bias, sinks) as a slice.
    pub fn floats(&self, w: WeightId) -> &[f32] {
        let [_, rows, stack] = self.weight(w).shape.map(|d| d as usize);
        let n = self.weight(w).n_elements() as usize;
        let p = self.rows(w, 0, 0..rows * stack).cast::<f32>();
        assert!(p.is_aligned() && self.weight(w).ty == kernels::DType::F32, "{} is not aligned f32", self.weight(w).name);
        // SAFETY: `n` f32 values lie at `p` (bounds checked in `rows`) and nobody writes weights while a plan runs.
        unsafe { std::slice::from_raw_parts(p, n) }
    }
}

struct LoweredStep {
    op: Box<dyn CpuOp>,
    name: &'static str,
    ns: AtomicU64,
    calls: AtomicU64,
    bytes: AtomicU64,
    barriers: AtomicU64,
}

pub struct CpuExec {
    isa: Isa,
    nodes: Arc<Nodes>,
    bound: Bound,
    arena: Arena,
    steps: Vec<LoweredStep>,
    queues: Vec<Pieces>,
    scratch: Scratch,
    tables: Anon,
    audit: Option<Audit>,
    trace: bool,
    fault: Option<Fault>,
    n_runs: u64,
}

/// A panic to be injected (`CAMELID_FAULT`).
struct Fault {
    worker: u32,
    run: u64,
}

impl Fault {
    fn from_env() -> Option<Fault> {
        let v = platform::env::get("CAMELID_FAULT")?;
        let (worker, run) = v.split_once('@')?;
        Some(Fault { worker: worker.parse().ok()?, run: run.parse().ok()? })
    }
}

/// A rotation table of a run, [n_tokens][n_rot]: one per distinct rope, filled by the first step that uses it.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    at: usize,
    n_rot: usize,
    pub fills: bool,
}

/// What lowering a step asks for.
pub struct Needs {
    tokens: usize,
    per_worker: usize,
    per_node: usize,
    shared: usize,
    queues: usize,
    nodes: usize,
    ropes: Vec<(RopeSpec, Table)>,
    tables: usize,
}

impl Needs {
    /// The table of `rope`; the first to ask fills it.
    pub fn table(&mut self, rope: &RopeSpec) -> Table {
        if let Some((_, t)) = self.ropes.iter().find(|(r, _)| r == rope) {
            return Table { fills: false, ..*t };
        }
        let t = Table { at: self.tables, n_rot: rope.n_rot as usize, fills: true };
        self.tables += (self.tokens * t.n_rot).next_multiple_of(16);
        self.ropes.push((rope.clone(), t));
        t
    }
    /// Work queues for this step.
    pub fn queue(&mut self) -> Queue {
        self.queues += self.nodes;
        Queue(self.queues - self.nodes)
    }
    pub fn scratch(&mut self, per_worker: usize) {
        self.per_worker = self.per_worker.max(per_worker);
    }
    pub fn scratch_of_node(&mut self, bytes: usize) {
        self.per_node = self.per_node.max(bytes);
    }
    pub fn scratch_of_all(&mut self, bytes: usize) {
        self.shared = self.shared.max(bytes);
    }
}

/// What lowering a step sees; `needs` grows as it goes.
pub struct Lower<'a> {
    pub isa: Isa,
    pub plan: &'a Plan,
    pub bound: &'a Bound,
    pub limits: Limits,
    pub nodes: &'a Nodes,
    pub needs: Needs,
    /// Layer of the step at hand.
    pub il: i16,
}

impl Lower<'_> {
    pub fn rows(&self, t: T) -> Dim {
        self.plan.value(t).rows
    }

    fn op(&mut self, op: Op) -> Result<Box<dyn CpuOp>> {
        let t = kernels::float::table(self.isa);
        Ok(match op {
            Op::Embed { table, by, scale, out } => Box::new(rows::Embed::lower(self, table, by, scale, out)?),
            Op::Rows { x, out } => Box::new(rows::Rows { x, out }),
            Op::Norm { x, add, w, b, kind, eps, sum, out } => {
                Box::new(elementwise::Norm { x, add, w, b, kind, eps, sum, out, rows: self.rows(x), t })
            }
            Op::Linear { x, outs, fine } => Box::new(linear::Linear::lower(self, linear::Before::Nothing, x, &outs, fine, &[])?),
            Op::AddLow { deltas } => Box::new(low::AddLow::lower(self, &deltas)?),
            Op::Rope { x, n_head, norm, rope } => Box::new(rows::Rope::lower(self, x, n_head, norm, rope)?),
            Op::Store { group, k, v } => Box::new(rows::Store::lower(self, group, k, v)?),
            Op::Attend { q, group, spec, out } => Box::new(attend::Attend::lower(self, group, q, spec, out)?),
            Op::Pick { q, weights, group, spec, out } => Box::new(pick::Pick::lower(self, group, [Some(q), weights], spec, out)?),
            Op::Route { logits, spec, ids, weights } => Box::new(experts::Route { logits, spec, ids, weights, rows: self.rows(logits), t }),
            Op::Experts { .. } => Box::new(experts::Experts::lower(self, &op)?),
            Op::Heads { x, w, out } => Box::new(heads::Heads::lower(self, x, w, out)?),
            Op::Gather { parts, n, out } => Box::new(elementwise::Gather { parts, n, rows: self.rows(out), out }),
            Op::Mix { x, coef, width, out } => Box::new(elementwise::Mix { x, coef, width: width as usize, out, rows: self.rows(x), t }),
            Op::Glu { gate, up, act, out } => Box::new(elementwise::Glu { gate, up, act, out, rows: self.rows(gate), t }),
            Op::Map { y: None, f, .. } if f.is_binary() => return Err(Error::invalid("a function of two values without the second")),
            Op::Map { x, y, f, out } => Box::new(elementwise::Map { x, y, f, out, rows: self.rows(x), t }),
            Op::Shift { group, rope, hadamard } => Box::new(rows::Shift::lower(self, group, rope, hadamard as usize)?),
            Op::Move { .. } => return Err(Error::invalid("a move is not a step of one device")),
        })
    }
}

impl CpuExec {
    pub fn lower(isa: Isa, nodes: &Arc<Nodes>, plan: &Plan, range: Range<usize>, bound: &Bound, limits: Limits) -> Result<CpuExec> {
        let n_nodes = nodes.len();
        let needs =
            Needs { tokens: limits.tokens, per_worker: 0, per_node: 0, shared: 0, queues: 0, nodes: n_nodes, ropes: Vec::new(), tables: 0 };
        let mut l = Lower { isa, plan, bound, limits, nodes, needs, il: -1 };
        let mut steps = Vec::new();
        let mut left = &plan.steps[range.clone()];
        while let Some(step) = left.first() {
            l.il = step.il;
            let fused = if plan.watched { None } else { fuse::lower(&mut l, left)? };
            let (op, n) = match fused {
                Some(fused) => fused,
                None => (l.op(step.op.clone())?, 1),
            };
            let zero = || AtomicU64::new(0);
            // What adapters add belongs to the products it is a part of.
            let named = left[..n].iter().rfind(|s| !matches!(s.op, Op::AddLow { .. })).unwrap_or(step);
            steps.push(LoweredStep { op, name: named.op.name(), ns: zero(), calls: zero(), bytes: zero(), barriers: zero() });
            left = &left[n..];
        }
        let needs = l.needs;
        Ok(CpuExec {
            isa,
            nodes: nodes.clone(),
            bound: bound.clone(),
            arena: Arena::new(plan, range, limits, n_nodes)?,
            steps,
            queues: (0..needs.queues).map(|_| Pieces::default()).collect(),
            scratch: Scratch::new(&needs, limits.workers, nodes)?,
            tables: Anon::new((needs.tables * 4).max(64)).map_err(|e| e.within("rope tables"))?,
            audit: platform::env::flag("CAMELID_NUMA_AUDIT").then(Audit::default),
            trace: platform::env::flag("CAMELID_TRACE"),
            fault: Fault::from_env(),
            n_runs: 0,
        })
    }

    /// A step is done that began at `since`, after so many barriers.
    fn traced(&self, s: &LoweredStep, c: &Ctx<'_>, w: &Worker<'_>, since: &mut (Instant, u32)) {
        let now = (Instant::now(), w.epoch());
        s.ns.fetch_add(now.0.duration_since(since.0).as_nanos() as u64, Ordering::Relaxed);
        s.barriers.fetch_add(u64::from(now.1 - since.1), Ordering::Relaxed);
        s.calls.fetch_add(1, Ordering::Relaxed);
        s.bytes.fetch_add(s.op.bytes(c), Ordering::Relaxed);
        *since = now;
    }
}

impl Exec for CpuExec {
    fn run(&mut self, io: &Io<'_>) -> std::result::Result<(), Stop> {
        self.run_steps(io, 0, self.steps.len())
    }

    fn run_steps(&mut self, io: &Io<'_>, first: usize, n: usize) -> std::result::Result<(), Stop> {
        let fault = self.fault.as_ref().filter(|f| f.run == self.n_runs).map(|f| f.worker);
        self.n_runs += 1;
        self.arena.begin();
        self.queues.iter().for_each(Pieces::reset);
        let this = &*self;
        let steps = this.steps.get(first..first + n).ok_or_else(|| Stop::Failed(format!("no steps {first} to {}", first + n)))?;
        let seats = io.team.seats(io.active);
        if seats.len() != this.nodes.len() {
            return Err(Stop::Failed(format!("a team on {} nodes for work on {}", seats.len(), this.nodes.len())));
        }
        let homes = Homes::new(&this.nodes, &seats);
        let c = Ctx {
            io,
            arena: &this.arena,
            isa: this.isa,
            weights: &this.bound.weights,
            homes: &homes,
            node: 0,
            queues: &this.queues,
            scratch: &this.scratch,
            tables: &this.tables,
            audit: this.audit.as_ref(),
        };
        io.team.run(io.active, &|w| {
            let c = Ctx { node: w.node as usize, ..c };
            let mut since = (Instant::now(), 0);
            for (i, s) in steps.iter().enumerate() {
                assert!(fault != Some(w.id) || i < steps.len() / 2, "CAMELID_FAULT");
                // One worker asks for all, so that the callback is never entered twice at once.
                if w.id == 0 && (io.stop)() {
                    return Err(Stop::Aborted);
                }
                s.op.run(&c, w)?;
                w.sync()?;
                if this.trace && w.id == 0 {
                    this.traced(s, &c, w, &mut since);
                }
            }
            Ok(())
        })
    }

    fn read(&self, t: T, rows: Range<usize>, dst: &mut [f32]) -> Result<()> {
        let width = self.arena.width(t);
        if rows.end > self.arena.max_rows(t) || dst.len() != rows.len() * width {
            return Err(Error::invalid(format!("reading rows {rows:?} of {t:?}")));
        }
        for (i, d) in rows.zip(dst.chunks_exact_mut(width)) {
            d.copy_from_slice(self.arena.row(t, i));
        }
        Ok(())
    }

    fn write(&mut self, t: T, src: &[f32]) -> Result<()> {
        let (base, width) = self.arena.base(t);
        if !src.len().is_multiple_of(width) || src.len() / width > self.arena.max_rows(t) {
            return Err(Error::invalid(format!("writing {} floats to {t:?}", src.len())));
        }
        // SAFETY: the length was checked against the place; `&mut self` excludes workers.
        unsafe { std::ptr::copy_nonoverlapping(src.as_ptr(), base, src.len()) };
        Ok(())
    }

    fn trace(&self) -> Vec<TraceRow> {
        let mut out: Vec<TraceRow> = Vec::new();
        for s in &self.steps {
            let [ns, calls, bytes, barriers] = [&s.ns, &s.calls, &s.bytes, &s.barriers].map(|n| n.load(Ordering::Relaxed));
            match out.iter_mut().find(|r| r.op == s.name) {
                Some(r) => {
                    r.ns += ns;
                    r.calls += calls;
                    r.bytes += bytes;
                    r.barriers += barriers;
                }
                None => out.push(TraceRow { op: s.name, calls, ns, bytes, barriers }),
            }
        }
        out
    }

    fn bytes(&self) -> usize {
        self.arena.bytes()
    }

    fn traffic(&self) -> Vec<Traffic> {
        self.audit.as_ref().map(Audit::traffic).unwrap_or_default()
    }
}
