//! Runs a lowered plan: segments in order, values moved between devices where the plan says so.
use super::hidden::Hidden;
use super::outputs::Outputs;
use super::pooling::Pool;
use super::watch::{self, Nodes, Watcher};
use crate::backend::*;
use crate::blocks::{Planned, Settings, Tapped, Taps};
use crate::model::Model;
use crate::model::adapter::Adapted;
use platform::Result;
use platform::pool::Stop;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

enum Part {
    Run {
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
        let runner = Runner { watch: ground.watch.clone(), ..runner };
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
        let segments = plan.segments();
        let (mut parts, mut shapes) = (Vec::new(), HashMap::new());
        let mut nodes = if plan.watched { watch::nodes(plan, bound) } else { Vec::new() }.into_iter();
        for (s, (incoming, outgoing)) in segments.iter().zip(carried(plan, &segments)) {
            let shape = |t: &T| (*t, (plan.value(*t).width as usize, plan.value(*t).rows));
            shapes.extend(outgoing.iter().map(shape));
            parts.push(match s {
                Segment::Run { dev, steps } => {
                    let b = backends.iter().find(|b| b.device() == *dev);
                    let b = b.ok_or_else(|| platform::Error::invalid(format!("no backend for device {}", dev.0)))?;
                    Part::Run { exec: b.lower(plan, steps.clone(), bound, limits)?, nodes: nodes.next(), incoming, outgoing }
                }
                Segment::Move { x, to } => Part::Move { x: *x, to: *to },
            });
        }
        Ok(Runner { parts, shapes, watch: None })
    }

    pub fn run(&mut self, io: &Io<'_>) -> std::result::Result<(), Stop> {
        let failed = |e: platform::Error| Stop::Failed(e.to_string());
        let mut carried: HashMap<T, Vec<f32>> = HashMap::new();
        for p in &mut self.parts {
            match p {
                Part::Move { x, to } => {
                    let v = carried.get(x).cloned().ok_or_else(|| Stop::Failed(format!("{x:?} is moved before it is made")))?;
                    carried.insert(*to, v);
                }
                Part::Run { exec, nodes, incoming, outgoing } => {
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
        match self.parts.last() {
            Some(Part::Run { exec, .. }) => exec.read(t, rows, dst),
            _ => Err(platform::Error::invalid("the plan has no results")),
        }
    }

    /// Rows of an input, for the next run.
    pub fn write(&mut self, t: T, src: &[f32]) -> Result<()> {
        match self.parts.first_mut() {
            Some(Part::Run { exec, .. }) => exec.write(t, src),
            _ => Err(platform::Error::invalid("the plan has no inputs")),
        }
    }

    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|p| if let Part::Run { exec, .. } = p { exec.bytes() } else { 0 }).sum()
    }

    /// Over all devices.
    pub fn traffic(&self) -> Vec<Traffic> {
        self.parts.iter().flat_map(|p| if let Part::Run { exec, .. } = p { exec.traffic() } else { Vec::new() }).collect()
    }
    /// Per op kind, over all devices.
    pub fn trace(&self) -> Vec<TraceRow> {
        self.parts.iter().flat_map(|p| if let Part::Run { exec, .. } = p { exec.trace() } else { Vec::new() }).collect()
    }
}
