//! A plan on a device: its steps become kernels, started one after the other on the device's stream.
//!
//! Steps are gone through twice: once when the plan is lowered, at the largest sizes and without starting anything, which finds what they lack and how
//! much scratch memory they take; then for each ubatch.
use super::driver::{Memory, Pinned};
use super::gpu::{Arg, Gpu};
use super::views::Seen;
use super::{attend, products, rows};
use crate::backend::places::{Place, place};
use crate::backend::*;
use platform::pool::Stop;
use platform::{Error, Result};
use std::collections::HashMap;

/// Scratch of a step starts at multiples of this.
const ALIGN: usize = 256;
/// Bytes of the first piece of memory for what a run brings along (ids, angles, views).
const INPUTS: usize = 1 << 20;

pub struct CudaExec {
    gpu: Arc<Gpu>,
    plan: Plan,
    range: Range<usize>,
    bound: Bound,
    places: HashMap<T, Place>,
    /// Of the activations, then of scratch.
    memory: Memory,
    scratch: usize,
    inputs: Vec<(Pinned, Memory)>,
    /// Of rotations with factors: what they are.
    factors: HashMap<WeightId, Vec<f32>>,
}

/// One pass over the steps.
pub struct Run<'a> {
    pub gpu: &'a Gpu,
    pub plan: &'a Plan,
    pub bound: &'a Bound,
    /// `None`: nothing is started.
    pub io: Option<&'a Io<'a>>,
    pub factors: &'a HashMap<WeightId, Vec<f32>>,
    /// Rows of values.
    tokens: usize,
    outputs: usize,
    places: &'a HashMap<T, Place>,
    values: u64,
    scratch: Scratch,
    inputs: &'a mut Vec<(Pinned, Memory)>,
    /// Which piece of `inputs` is being filled, and how far.
    filled: (usize, usize),
    /// Angles that were brought already.
    pub angles: Vec<(RopeSpec, u64)>,
    /// Per group.
    pub seen: HashMap<u16, Seen>,
}

#[derive(Default)]
struct Scratch {
    at: u64,
    /// Bytes there are; `None`: as many as are asked for.
    len: Option<usize>,
    used: usize,
    most: usize,
}

impl CudaExec {
    pub fn lower(gpu: &Arc<Gpu>, plan: &Plan, range: Range<usize>, bound: &Bound, limits: Limits) -> Result<CudaExec> {
        let (places, total) = place(plan, range.clone(), limits)?;
        let mut factors = HashMap::new();
        for s in &plan.steps[range.clone()] {
            let (Op::Rope { rope: Some(RopeSpec { factors: Some(w), .. }), .. }
            | Op::Shift { rope: RopeSpec { factors: Some(w), .. }, .. }) = &s.op
            else {
                continue;
            };
            factors.insert(*w, floats(&bound.weights[w.0 as usize])?);
        }
        let mut inputs = Vec::new();
        let mut run = Run {
            gpu,
            plan,
            bound,
            io: None,
            factors: &factors,
            tokens: limits.tokens,
            outputs: limits.outputs,
            places: &places,
            values: 0,
            scratch: Scratch::default(),
            inputs: &mut inputs,
            filled: (0, 0),
            angles: Vec::new(),
            seen: HashMap::new(),
        };
        for s in &plan.steps[range.clone()] {
            run.step(s).map_err(|e| e.within(format!("{}, layer {}", s.op.name(), s.il)))?;
        }
        let most = run.scratch.most;
        let (total, most) = (total.next_multiple_of(ALIGN), most.next_multiple_of(ALIGN));
        let memory = Memory::new(&gpu.ctx, total + most, "activations")?;
        Ok(CudaExec { gpu: gpu.clone(), plan: plan.clone(), range, bound: bound.clone(), places, memory, scratch: total, inputs, factors })
    }

    /// Where rows from `first` on of a value are, `n` of them.
    fn rows(&self, t: T, first: usize, n: usize) -> Result<(u64, usize)> {
        let p = self.places.get(&t).filter(|p| first + n <= p.rows).ok_or_else(|| Error::invalid(format!("rows {first}.. of {t:?}")))?;
        Ok((self.memory.at + (p.at + 4 * p.width * first) as u64, 4 * p.width * n))
    }
}

/// A small weight's numbers, from wherever it is.
fn floats(w: &Weight) -> Result<Vec<f32>> {
    let mut bytes = platform::error::try_zeroed::<u8>(w.bytes(), &w.name)?;
    let s = &w.shards[0];
    s.buf.read(&[Copy2d::flat(0, s.at, bytes.len())], &mut bytes)?;
    Ok(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
}

fn failed(e: Error) -> Stop {
    Stop::Failed(e.to_string())
}

impl Exec for CudaExec {
    fn run(&mut self, io: &Io<'_>) -> std::result::Result<(), Stop> {
        self.run_steps(io, 0, self.range.len())
    }

    fn run_steps(&mut self, io: &Io<'_>, first: usize, n: usize) -> std::result::Result<(), Stop> {
        let range = self.range.start + first..(self.range.start + first + n).min(self.range.end);
        let mut run = Run {
            gpu: &self.gpu,
            plan: &self.plan,
            bound: &self.bound,
            io: Some(io),
            factors: &self.factors,
            tokens: io.ub.n_tokens(),
            outputs: io.outputs.len(),
            places: &self.places,
            values: self.memory.at,
            scratch: Scratch { at: self.memory.at + self.scratch as u64, len: Some(self.memory.len - self.scratch), used: 0, most: 0 },
            inputs: &mut self.inputs,
            filled: (0, 0),
            angles: Vec::new(),
            seen: HashMap::new(),
        };
        let done = self.plan.steps[range].iter().try_for_each(|s| {
            if (io.stop)() {
                return Err(Stop::Aborted);
            }
            run.step(s).map_err(|e| failed(e.within(format!("{}, layer {}", s.op.name(), s.il))))
        });
        // Also after an error: nothing may run on memory that is used again.
        done.and(self.gpu.ctx.wait().map_err(failed))
    }

    fn read(&self, t: T, rows: Range<usize>, dst: &mut [f32]) -> Result<()> {
        let (at, len) = self.rows(t, rows.start, rows.len())?;
        if len != size_of_val(dst) {
            return Err(Error::invalid(format!("reading rows {rows:?} of {t:?}")));
        }
        // SAFETY: inside of our memory; `dst` is ours until the wait.
        unsafe { self.gpu.ctx.read(dst.as_mut_ptr().cast(), at, len) }?;
        self.gpu.ctx.wait()
    }

    fn write(&mut self, t: T, src: &[f32]) -> Result<()> {
        let width = self.plan.value(t).width.max(1) as usize;
        let (at, len) = self.rows(t, 0, src.len() / width)?;
        // SAFETY: as in `read`.
        unsafe { self.gpu.ctx.write(at, src.as_ptr().cast(), len) }?;
        self.gpu.ctx.wait()
    }

    fn trace(&self) -> Vec<TraceRow> {
        Vec::new()
    }

    fn bytes(&self) -> usize {
        self.memory.len + self.inputs.iter().map(|i| i.1.len).sum::<usize>()
    }
}

impl Run<'_> {
    fn step(&mut self, s: &Step) -> Result<()> {
        self.scratch.used = 0;
        match &s.op {
            Op::Embed { table, by, scale, out } => products::embed(self, *table, *by, *scale, *out),
            Op::Norm { .. } => rows::norm(self, &s.op),
            Op::Linear { x, outs, fine } => products::linear(self, *x, outs, *fine),
            Op::AddLow { deltas } => deltas.iter().try_for_each(|d| rows::add_low(self, d)),
            Op::Rope { x, n_head, norm, rope } => rows::rope(self, *x, *n_head, norm.as_ref(), rope.as_ref()),
            Op::Store { group, k, v } => attend::store(self, *group, s.il, [*k, *v]),
            Op::Attend { q, group, spec, out } => attend::attend(self, *q, *group, s.il, spec, *out),
            Op::Shift { group, rope, hadamard } => attend::shift(self, *group, s.il, rope, *hadamard),
            Op::Route { logits, spec, ids, weights } => rows::route(self, *logits, spec, *ids, *weights),
            Op::Experts { .. } => products::experts(self, &s.op),
            Op::Glu { gate, up, act, out } => rows::glu(self, *gate, *up, *act, *out),
            Op::Heads { x, w, out } => products::heads(self, *x, *w, *out),
            Op::Gather { parts, n, out } => rows::gather(self, parts, *n, *out),
            Op::Mix { x, coef, width, out } => rows::mix(self, *x, *coef, *width, *out),
            Op::Map { x, y, f, out } => rows::map(self, *x, *y, *f, *out),
            Op::Rows { x, out } => rows::pick(self, *x, *out),
            Op::Pick { .. } => Err(Error::unsupported("choosing cells by an index is not built for GPUs yet")),
            Op::Move { .. } => Err(Error::invalid("a move is not a step of one device")),
        }
    }

    /// Rows of a value.
    pub fn n(&self, t: T) -> usize {
        match self.plan.value(t).rows {
            Dim::Tokens => self.tokens,
            Dim::Outputs => self.outputs,
        }
    }
    pub fn width(&self, t: T) -> u32 {
        self.plan.value(t).width
    }
    /// Where a value is.
    pub fn at(&self, t: T) -> Result<u64> {
        let p = self.places.get(&t).ok_or_else(|| Error::invalid(format!("{t:?} has no place")))?;
        Ok(self.values + p.at as u64)
    }
    /// Where a weight's bytes are on this device.
    pub fn weight(&self, w: WeightId) -> Result<u64> {
        let weight = &self.bound.weights[w.0 as usize];
        let s = &weight.shards[0];
        let at = s.buf.address().ok_or_else(|| Error::invalid(format!("{} is on another device", weight.name)))?;
        Ok(at + s.at as u64)
    }
    /// 0: none.
    pub fn maybe(&self, w: Option<WeightId>) -> Result<u64> {
        w.map_or(Ok(0), |w| self.weight(w))
    }

    /// Scratch memory until the next step.
    pub fn scratch(&mut self, bytes: usize) -> Result<u64> {
        let s = &mut self.scratch;
        let at = s.used;
        s.used += bytes.next_multiple_of(ALIGN);
        s.most = s.most.max(s.used);
        if s.len.is_some_and(|len| s.used > len) {
            return Err(Error::invalid("a step wants more scratch memory than it said"));
        }
        Ok(s.at + at as u64)
    }
    /// How much scratch memory is left; `None`: as much as is asked for.
    pub fn scratch_left(&self) -> Option<usize> {
        self.scratch.len.map(|len| len - self.scratch.used)
    }

    /// Small things that this run brings along, on the device when what is started next runs.
    pub fn input<V: Copy>(&mut self, values: &[V]) -> Result<u64> {
        let len = size_of_val(values);
        if self.io.is_none() || len == 0 {
            return Ok(0);
        }
        while self.inputs.get(self.filled.0).is_some_and(|p| p.1.len < self.filled.1 + len) {
            self.filled = (self.filled.0 + 1, 0);
        }
        if self.inputs.len() == self.filled.0 {
            let size = len.next_multiple_of(INPUTS);
            self.inputs.push((Pinned::new(&self.gpu.ctx, size)?, Memory::new(&self.gpu.ctx, size, "inputs")?));
        }
        let (host, device) = &mut self.inputs[self.filled.0];
        let at = self.filled.1;
        self.filled.1 = (at + len).next_multiple_of(ALIGN);
        // SAFETY: `V` are numbers and structs of them without gaps; the place was not used in this run, and the last one was waited for.
        unsafe {
            let to = host.bytes()[at..at + len].as_mut_ptr();
            std::ptr::copy_nonoverlapping(values.as_ptr().cast(), to, len);
            self.gpu.ctx.write(device.at + at as u64, to, len)?;
        }
        Ok(device.at + at as u64)
    }

    /// Starts a kernel, if anything is started in this pass; it is loaded in any case.
    ///
    /// # Safety
    /// `args` are what the kernel takes, and the addresses in them are those of rows, weights and scratch of this step, as large as it makes of them.
    pub unsafe fn launch(
        &self,
        module: Module,
        name: &'static str,
        grid: [usize; 3],
        threads: u32,
        shared: usize,
        args: &[Arg],
    ) -> Result<()> {
        let f = self.gpu.function(module, name)?;
        if shared > super::gpu::SHARED as usize {
            return Err(Error::unsupported(format!("{name}: rows too wide for the device's shared memory")));
        }
        if self.io.is_none() {
            return Ok(());
        }
        let mut to = [0; 3];
        for (to, n) in to.iter_mut().zip(grid) {
            *to = u32::try_from(n).map_err(|_| Error::unsupported(format!("{name}: too many rows")))?;
        }
        // SAFETY: the caller's contract.
        unsafe { self.gpu.launch(f, to, threads, shared as u32, args) }
    }
}

pub type Module = &'static cuda_kernels::Module;

/// One of the modules that have no format.
pub fn module(name: &str) -> Result<Module> {
    cuda_kernels::module(name).ok_or_else(|| Error::invalid(format!("no kernels {name}")))
}
