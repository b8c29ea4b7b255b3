//! A backend whose memory the host cannot address, and whose ops are the scalar oracles, one after the other, on one worker.
//!
//! It is here to keep the interfaces honest: whatever runs half on `cpu` and half on `far` will run half on a GPU. Tests use it, and
//! `CAMELID_FAR=N` makes N of them the GPUs of a process.
mod device;
mod ops;

use super::*;
use device::{Held, Room};
pub use device::{devices, of_environment};
use kernels::Isa;
use platform::{Error, Result};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

pub struct Far {
    device: DeviceId,
    counts: Arc<Counts>,
    room: Arc<Room>,
}

impl Far {
    /// With memory without end.
    pub fn new(device: DeviceId) -> Far {
        Far::within(device, Arc::default())
    }
    fn within(device: DeviceId, room: Arc<Room>) -> Far {
        Far { device, counts: Arc::default(), room }
    }
    /// Of all its buffers so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

/// What copies between host and device have cost.
#[derive(Debug, Default)]
pub struct Counts {
    pub writes: AtomicU64,
    pub reads: AtomicU64,
    /// Runs that calls named: rows of their copies.
    pub runs: AtomicU64,
    pub bytes: AtomicU64,
}

impl Counts {
    fn add(&self, calls: &AtomicU64, list: &[Copy2d]) {
        let sum = |f: fn(&Copy2d) -> usize| list.iter().map(f).sum::<usize>() as u64;
        calls.fetch_add(1, Ordering::Relaxed);
        self.runs.fetch_add(sum(|c| c.rows), Ordering::Relaxed);
        self.bytes.fetch_add(sum(|c| c.rows * c.width), Ordering::Relaxed);
    }
    /// (writes, reads, runs, bytes) since the last call.
    pub fn take(&self) -> (u64, u64, u64, u64) {
        let t = |n: &AtomicU64| n.swap(0, Ordering::Relaxed);
        (t(&self.writes), t(&self.reads), t(&self.runs), t(&self.bytes))
    }
}

/// Bytes behind a lock: reachable by `read` and `write`, and by this backend's own ops.
pub struct FarBuffer {
    device: DeviceId,
    len: usize,
    bytes: Mutex<Vec<u8>>,
    counts: Arc<Counts>,
    /// Given back with the buffer.
    _held: Held,
}

impl FarBuffer {
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        // A poisoned lock only says that an op panicked; bytes are bytes.
        self.bytes.lock().unwrap_or_else(|p| p.into_inner())
    }
}

fn copy(list: &[Copy2d], dst: &mut [u8], src: &[u8]) -> Result<()> {
    if !list.iter().all(|c| c.fits(dst.len(), src.len())) {
        return Err(Error::invalid("copy outside a buffer"));
    }
    for c in list {
        for r in 0..c.rows {
            let (at, from) = (c.at + r * c.at_pitch, c.from + r * c.from_pitch);
            dst[at..at + c.width].copy_from_slice(&src[from..from + c.width]);
        }
    }
    Ok(())
}

impl Buffer for FarBuffer {
    fn device(&self) -> DeviceId {
        self.device
    }
    fn len(&self) -> usize {
        self.len
    }
    fn host(&self) -> Option<HostMem> {
        None
    }
    fn write(&self, list: &[Copy2d], src: &[u8]) -> Result<()> {
        self.counts.add(&self.counts.writes, list);
        copy(list, &mut self.lock(), src)
    }
    fn read(&self, list: &[Copy2d], dst: &mut [u8]) -> Result<()> {
        self.counts.add(&self.counts.reads, list);
        copy(list, dst, &self.lock())
    }
    fn secure(&self, _: Range<usize>) -> Result<()> {
        Ok(())
    }
    fn release(&self, range: Range<usize>) {
        self.lock()[range].fill(0);
    }
}

impl Backend for Far {
    fn name(&self) -> &str {
        "FAR"
    }
    fn device(&self) -> DeviceId {
        self.device
    }
    fn supports(&self, ty: DType) -> bool {
        kernels::quant::table(Isa::Scalar).mat_mul(ty).is_some()
    }
    fn stores(&self, ty: DType) -> bool {
        kernels::attn::supports(ty)
    }
    fn alloc(&self, bytes: usize, what: &str) -> Result<Arc<dyn Buffer>> {
        let held = self.room.take(bytes, what)?;
        let v = platform::error::try_zeroed(bytes, what)?;
        Ok(Arc::new(FarBuffer { device: self.device, len: bytes, bytes: Mutex::new(v), counts: self.counts.clone(), _held: held }))
    }
    fn alloc_in(&self, bytes: usize, what: &str, _: &Backing) -> Result<Arc<dyn Buffer>> {
        self.alloc(bytes, what)
    }
    fn adopt(&self, _: Arc<dyn HostBytes>) -> Option<Arc<dyn Buffer>> {
        None
    }
    fn lower(&self, plan: &Plan, range: Range<usize>, bound: &Bound, limits: Limits) -> Result<Box<dyn Exec>> {
        if let Some(s) = plan.steps[range.clone()].iter().find(|s| matches!(s.op, Op::Move { .. })) {
            return Err(Error::invalid(format!("step {} of layer {} is not for one device", s.op.name(), s.il)));
        }
        Ok(Box::new(FarExec { plan: plan.clone(), range, bound: bound.clone(), limits, values: HashMap::new() }))
    }
}

struct FarExec {
    plan: Plan,
    range: Range<usize>,
    bound: Bound,
    limits: Limits,
    /// [rows][width]
    values: HashMap<T, Vec<f32>>,
}

impl Exec for FarExec {
    fn run(&mut self, io: &Io<'_>) -> std::result::Result<(), Stop> {
        self.run_steps(io, 0, self.range.len())
    }
    fn run_steps(&mut self, io: &Io<'_>, first: usize, n: usize) -> std::result::Result<(), Stop> {
        let range = self.range.start + first..(self.range.start + first + n).min(self.range.end);
        let (plan, bound) = (&self.plan, &self.bound);
        let values = Mutex::new(std::mem::take(&mut self.values));
        let done = io.team.run(1, &|_| {
            let mut v = values.lock().unwrap_or_else(|p| p.into_inner());
            for s in &plan.steps[range.clone()] {
                if (io.stop)() {
                    return Err(Stop::Aborted);
                }
                ops::run(&mut ops::Far { plan, bound, io, values: &mut v }, s).map_err(|e| Stop::Failed(e.to_string()))?;
            }
            Ok(())
        });
        self.values = values.into_inner().unwrap_or_else(|p| p.into_inner());
        done
    }
    fn read(&self, t: T, rows: Range<usize>, dst: &mut [f32]) -> Result<()> {
        let width = self.plan.value(t).width as usize;
        let v = self.values.get(&t).and_then(|v| v.get(rows.start * width..rows.end * width)).filter(|v| v.len() == dst.len());
        dst.copy_from_slice(v.ok_or_else(|| Error::invalid(format!("reading rows {rows:?} of {t:?}")))?);
        Ok(())
    }
    fn write(&mut self, t: T, src: &[f32]) -> Result<()> {
        self.values.insert(t, src.to_vec());
        Ok(())
    }
    fn trace(&self) -> Vec<TraceRow> {
        Vec::new()
    }
    fn bytes(&self) -> usize {
        self.range
            .clone()
            .flat_map(|i| self.plan.steps[i].op.outputs())
            .map(|t| self.plan.value(t).width as usize * 4 * self.limits.tokens)
            .sum()
    }
}
