//! Runs a lowered plan: each step where its weights and rows are, values moved between devices in between.
use super::hidden::Hidden;
use super::outputs::Outputs;
use super::pooling::Pool;
use super::watch::{self, Nodes, Watcher};
use crate::backend::*;
use crate::blocks::{Planned, Settings, Tapped, Taps};
use crate::model::Model;
use crate::model::adapter::Adapted;
use platform::pool::Stop;
use platform::{Error, Result};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

enum Part {
    Run {
        dev: DeviceId,
        exec: Box<dyn Exec>,
        /// Where somebody looks.
        nodes: Option<Nodes>,
        /// Values made by earlier parts that this one uses.
        incoming: Vec<T>,
        /// Values of this part that later ones use.
        outgoing: Vec<T>,
    },
    Move {
        x: T,
        to: T,
    },
}

pub struct Runner {
    parts: Vec<Part>,
    /// Of the values that go from part to part.
    shapes: HashMap<T, (usize, Dim)>,
    /// The names of results, and the part that makes each value last.
    results: Settled,
    made_in: HashMap<T, usize>,
    /// For batches of at least so many tokens another: it has weights brought over.
    streaming: Option<(usize, Box<Runner>)>,
    /// That one ran last.
    streamed: bool,
    watch: Option<Watcher>,
}

/// What a part reads and makes.
fn uses(plan: &Plan, s: &Segment) -> (HashSet<T>, HashSet<T>) {
    match s {
        Segment::Run { steps, .. } => {
            let ops = || plan.steps[steps.clone()].iter().map(|s| &s.op);
            (ops().flat_map(Op::inputs).collect(), ops().flat_map(Op::outputs).collect())
        }
        Segment::Move { x, to } => ([*x].into(), [*to].into()),
    }
}

/// For each part: what comes in, what goes out.
fn carried(plan: &Plan, segments: &[Segment]) -> Vec<(Vec<T>, Vec<T>)> {
    let all: Vec<_> = segments.iter().map(|s| uses(plan, s)).collect();
    let made_before = |i: usize, t: &T| all[..i].iter().any(|p| p.1.contains(t));
    let used_later = |i: usize, t: &T| all[i + 1..].iter().any(|p| p.0.contains(t));
    let sorted = |set: &HashSet<T>, keep: &dyn Fn(&T) -> bool| {
        let mut v: Vec<T> = set.iter().copied().filter(keep).collect();
        v.sort_unstable();
        v
    };
    all.iter().enumerate().map(|(i, p)| (sorted(&p.0, &|t| made_before(i, t)), sorted(&p.1, &|t| used_later(i, t)))).collect()
}

/// The plan with its steps where what they need is.
fn settle(plan: &Plan, bound: &Bound, stream: Option<DeviceId>) -> Settled {
    let weights: Vec<DeviceId> = bound.weights.iter().map(device_of).collect();
    let rows = |g: GroupId, il: i16| {
        let layers = &bound.kv.get(usize::from(g.0))?.layers;
        layers.get(usize::try_from(il).ok()?)?.as_ref().map(|l| l.buf.device())
    };
    plan.settle(&Whereabouts { weights: &weights, rows: &rows, stream })
}

/// Tokens that are worth bringing weights over, as the original says.
fn min_stream() -> usize {
    match platform::env::get("GGML_OP_OFFLOAD_MIN_BATCH") {
        Some(_) => usize::try_from(platform::env::number("GGML_OP_OFFLOAD_MIN_BATCH")).unwrap_or(0),
        None => 32,
    }
}

fn device_of(w: &Weight) -> DeviceId {
    w.shards.first().map_or(DeviceId(0), |s| s.buf.device())
}

fn on(dev: DeviceId, backends: &[Arc<dyn Backend>]) -> Result<&dyn Backend> {
    let b = backends.iter().find(|b| b.device() == dev);
    b.map(Arc::as_ref).ok_or_else(|| Error::invalid(format!("no backend for device {}", dev.0)))
}

/// The weights, and behind them copies of small ones for other devices.
fn with_copies(bound: &Bound, copies: &[(WeightId, DeviceId)], backends: &[Arc<dyn Backend>]) -> Result<Bound> {
    if copies.is_empty() {
        return Ok(bound.clone());
    }
    let copy = |(w, dev): &(WeightId, DeviceId)| copied(&bound.weights[w.0 as usize], on(*dev, backends)?);
    let more = copies.iter().map(copy).collect::<Result<Vec<_>>>()?;
    Ok(Bound { weights: Arc::new(bound.weights.iter().cloned().chain(more).collect()), kv: bound.kv.clone() })
}

/// Norms, biases, factors: what steps have beside their matrices.
fn copied(w: &Weight, to: &dyn Backend) -> Result<Weight> {
    if w.ty != DType::F32 || w.shape[2] != 1 || w.shards.iter().any(|s| s.layout != Layout::File) {
        return Err(Error::unsupported(format!("tensor '{}' is not on the device of its step, and no part of it can be", w.name)));
    }
    let mut bytes = platform::error::try_zeroed::<u8>(w.bytes(), &w.name)?;
    for s in &w.shards {
        let (row, first, n) = (w.row_bytes(), s.rows.start as usize, s.rows.len());
        s.buf.read(&[Copy2d::flat(first * row, s.at, n * row)], &mut bytes)?;
    }
    let buf = to.alloc(bytes.len(), &w.name)?;
    buf.write(&[Copy2d::flat(0, 0, bytes.len())], &bytes)?;
    let rows = 0..w.shape[1];
    Ok(Weight { shards: vec![Shard { node: 0, rows, layout: Layout::File, buf, at: 0 }], ..w.clone() })
}

/// What a plan is made and lowered from.
#[derive(Clone)]
pub struct Ground {
    pub plan: fn(&Model, &Settings) -> Planned,
    pub settings: Settings,
    pub bound: Bound,
    pub limits: Limits,
    pub watch: Option<Watcher>,
}

/// A plan that gives outputs, lowered, and where they are.
pub struct Lowered {
    pub runner: Runner,
    ground: Ground,
    /// Weights that products are made with.
    pub matrices: HashSet<WeightId>,
    embd: T,
    logits: Option<T>,
    tapped: Tapped,
}

impl Lowered {
    pub fn new(m: &Model, ground: Ground) -> Result<Lowered> {
        let p = (ground.plan)(m, &ground.settings);
        let runner = Runner::new(&p.plan, &m.backends, &ground.bound, ground.limits)?;
        let streaming = Runner::streaming(&p.plan, m, &ground)?;
        let runner = Runner { watch: ground.watch.clone(), streaming, ..runner };
        let matrices = p.plan.steps.iter().flat_map(|s| s.op.matrices()).collect();
        Ok(Lowered { runner, ground, matrices, embd: p.embd, logits: p.logits, tapped: p.tapped })
    }

    /// The same with what adapters add, whose weights stand behind the model's in `weights`.
    pub fn with(&self, m: &Model, weights: &Arc<Vec<Weight>>, adapted: &Arc<Adapted>) -> Result<Lowered> {
        let mut ground = self.ground.clone();
        (ground.bound.weights, ground.settings.adapted) = (weights.clone(), adapted.clone());
        Lowered::new(m, ground)
    }

    /// The same with these hidden states left behind.
    pub fn tapping(&self, m: &Model, taps: Taps) -> Result<Lowered> {
        let mut ground = self.ground.clone();
        ground.settings.taps = taps;
        Lowered::new(m, ground)
    }
    pub fn taps(&self) -> &Taps {
        &self.ground.settings.taps
    }

    /// Hidden states of the last run.
    pub fn hidden(&self, ub: &Ubatch, rows: &[u32], outputs: &Outputs, to: &mut Hidden) -> Result<()> {
        to.take(&self.tapped, ub, rows, outputs, &|t, rows, dst| self.runner.read(t, rows, dst))
    }

    /// The outputs of the last run, which was one of `ub` with `rows` wanted.
    pub fn collect(&self, ub: &Ubatch, rows: &[u32], embeddings: bool, out: &mut Outputs, mut pool: Option<&mut Pool>) -> Result<()> {
        for (o, i) in rows.iter().enumerate() {
            let Some(row) = out.place(ub.index[*i as usize]) else { continue };
            if let Some(t) = self.logits {
                let i = *i as usize;
                out.take_logits(row, ub.first_seq[i], &ub.seqs[i], |dst| self.runner.read(t, o..o + 1, dst))?;
            }
            if embeddings {
                self.runner.read(self.embd, o..o + 1, out.embd_row(row))?;
                pool.iter_mut().for_each(|p| p.add(ub, *i as usize, out.embd_row(row)));
            }
        }
        Ok(())
    }
}

impl Runner {
    pub fn new(plan: &Plan, backends: &[Arc<dyn Backend>], bound: &Bound, limits: Limits) -> Result<Runner> {
        Runner::lower(plan, backends, bound, limits, None)
    }

    /// One that has weights of the CPU brought to a device, where that is wanted, there is such a device, and there are such weights.
    fn streaming(plan: &Plan, m: &Model, g: &Ground) -> Result<Option<(usize, Box<Runner>)>> {
        let (min, on) = (min_stream(), m.backends.iter().find(|b| b.streams()));
        let Some(on) = on.filter(|_| g.settings.op_offload && g.limits.tokens >= min) else { return Ok(None) };
        let of_cpu = || {
            plan.steps
                .iter()
                .filter_map(|s| s.op.bound_to())
                .map(|w| &g.bound.weights[w.0 as usize])
                .filter(|w| device_of(w) == DeviceId(0))
        };
        if of_cpu().count() == 0 || !of_cpu().all(|w| w.shards.len() == 1 && w.shards[0].layout == Layout::File) {
            return Ok(None);
        }
        let runner = Runner::lower(plan, &m.backends, &g.bound, g.limits, Some(on.device()))?;
        Ok(Some((min, Box::new(Runner { watch: g.watch.clone(), ..runner }))))
    }

    fn lower(plan: &Plan, backends: &[Arc<dyn Backend>], bound: &Bound, limits: Limits, stream: Option<DeviceId>) -> Result<Runner> {
        let results = settle(plan, bound, stream);
        let (plan, bound) = (&results.plan, &with_copies(bound, &results.copies, backends)?);
        let segments = plan.segments();
        let (mut parts, mut shapes, mut made_in) = (Vec::new(), HashMap::new(), HashMap::new());
        let mut nodes = if plan.watched { watch::nodes(plan, bound) } else { Vec::new() }.into_iter();
        for (s, (incoming, outgoing)) in segments.iter().zip(carried(plan, &segments)) {
            made_in.extend(uses(plan, s).1.into_iter().map(|t| (t, parts.len())));
            let shape = |t: &T| (*t, (plan.value(*t).width as usize, plan.value(*t).rows));
            shapes.extend(outgoing.iter().map(shape));
            parts.push(match s {
                Segment::Run { dev, steps } => {
                    let b = on(*dev, backends)?;
                    Part::Run { dev: *dev, exec: b.lower(plan, steps.clone(), bound, limits)?, nodes: nodes.next(), incoming, outgoing }
                }
                Segment::Move { x, to } => Part::Move { x: *x, to: *to },
            });
        }
        Ok(Runner { parts, shapes, results, made_in, streaming: None, streamed: false, watch: None })
    }

    pub fn run(&mut self, io: &Io<'_>) -> std::result::Result<(), Stop> {
        let large = self.streaming.as_mut().filter(|s| io.ub.n_tokens() >= s.0);
        self.streamed = large.is_some();
        if let Some((_, runner)) = large {
            return runner.run(io);
        }
        let failed = |e: Error| Stop::Failed(e.to_string());
        let mut carried: HashMap<T, Vec<f32>> = HashMap::new();
        for p in &mut self.parts {
            match p {
                Part::Move { x, to } => {
                    let v = carried.get(x).cloned().ok_or_else(|| Stop::Failed(format!("{x:?} is moved before it is made")))?;
                    carried.insert(*to, v);
                }
                Part::Run { exec, nodes, incoming, outgoing, .. } => {
                    for t in incoming.iter() {
                        let v = carried.get(t).ok_or_else(|| Stop::Failed(format!("{t:?} is used before it is made")))?;
                        exec.write(*t, v).map_err(failed)?;
                    }
                    match (nodes, &self.watch) {
                        (Some(nodes), Some(watch)) => nodes.run(exec.as_mut(), io, watch)?,
                        _ => exec.run(io)?,
                    }
                    for t in outgoing.iter() {
                        let (width, rows) = self.shapes[t];
                        let n = if rows == Dim::Tokens { io.ub.n_tokens() } else { io.outputs.len() };
                        let mut v = platform::error::try_zeroed(n * width, "values between devices").map_err(failed)?;
                        exec.read(*t, 0..n, &mut v).map_err(failed)?;
                        carried.insert(*t, v);
                    }
                }
            }
        }
        Ok(())
    }

    /// Rows of a result, which the last run made.
    pub fn read(&self, t: T, rows: std::ops::Range<usize>, dst: &mut [f32]) -> Result<()> {
        if let Some((_, runner)) = self.streaming.as_ref().filter(|_| self.streamed) {
            return runner.read(t, rows, dst);
        }
        let t = self.results.name(t);
        match self.made_in.get(&t).and_then(|i| self.parts.get(*i)) {
            Some(Part::Run { exec, .. }) => exec.read(t, rows, dst),
            _ => Err(Error::invalid("the plan has no results")),
        }
    }

    /// Rows of an input, for the next run.
    pub fn write(&mut self, t: T, src: &[f32]) -> Result<()> {
        match self.parts.first_mut() {
            Some(Part::Run { exec, .. }) => exec.write(t, src),
            _ => Err(Error::invalid("the plan has no inputs")),
        }
    }

    /// What runs, on which device.
    fn execs(&self) -> impl Iterator<Item = (DeviceId, &dyn Exec)> {
        let large = self.streaming.iter().flat_map(|s| &s.1.parts);
        self.parts.iter().chain(large).filter_map(|p| if let Part::Run { dev, exec, .. } = p { Some((*dev, exec.as_ref())) } else { None })
    }
    /// Whether bits depend on how many tokens come at once.
    pub fn streams(&self) -> bool {
        self.streaming.is_some()
    }
    /// Bytes of activations on each device that has some.
    pub fn bytes(&self) -> impl Iterator<Item = (DeviceId, usize)> + '_ {
        self.execs().map(|(dev, exec)| (dev, exec.bytes()))
    }

    /// Over all devices.
    pub fn traffic(&self) -> Vec<Traffic> {
        self.execs().flat_map(|(_, exec)| exec.traffic()).collect()
    }
    /// Per op kind, over all devices.
    pub fn trace(&self) -> Vec<TraceRow> {
        self.execs().flat_map(|(_, exec)| exec.trace()).collect()
    }
}
