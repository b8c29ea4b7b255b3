//! The CPU backend: plans become steps that a team of workers runs with a barrier in between.
//!
//! Knows kernels and workers; does not know which model is running or what a layer is.
mod arena;
mod attend;
mod audit;
mod buffer;
mod elementwise;
mod exec;
mod expert_lows;
mod experts;
mod fuse;
mod heads;
mod homes;
mod linear;
mod low;
mod pick;
mod place;
mod rows;
mod tiles;

pub use buffer::CpuBuffer;

use super::{Backend, Bound, Buffer, DeviceId, Exec, HostBytes, Layout, Limits, Plan, Weight};
use kernels::{DType, Isa};
use platform::numa::{self, Nodes, Strategy};
use platform::pressure::Guard;
use platform::{Backing, Result};
use std::ops::Range;
use std::sync::Arc;

/// Rows of a group.
const GRANULE: u32 = kernels::quant::ROW_GRANULE as u32;

pub struct Cpu {
    device: DeviceId,
    isa: Isa,
    /// What weights, KV and work are spread over.
    nodes: Arc<Nodes>,
    /// Asked before memory is touched.
    guard: Arc<Guard>,
}

impl Cpu {
    /// A CPU backend whose kernels use `isa` at most.
    pub fn new(device: DeviceId, isa: Isa) -> Cpu {
        Cpu { device, isa: isa.or_less(), nodes: numa::nodes(), guard: Guard::system() }
    }
    /// For tests: other nodes than those that hold in this process.
    #[must_use]
    pub fn on(self, nodes: Arc<Nodes>) -> Cpu {
        Cpu { nodes, ..self }
    }
    /// For tests: somebody else says what memory there is.
    #[must_use]
    pub fn guarded_by(self, guard: Arc<Guard>) -> Cpu {
        Cpu { guard, ..self }
    }

    /// The level that `CAMELID_ISA` allows, or the best this CPU has.
    pub fn isa_from_env() -> Isa {
        let asked = platform::env::get("CAMELID_ISA");
        match asked.as_deref().map(|s| (s, Isa::from_name(s))) {
            Some((s, None)) => {
                platform::log::warn(format!("CAMELID_ISA={s}: unknown, using what the CPU has"));
                Isa::detect()
            }
            Some((_, Some(i))) => i.or_less(),
            None => Isa::detect(),
        }
    }

    pub fn isa(&self) -> Isa {
        self.isa
    }
}

impl Backend for Cpu {
    fn name(&self) -> &str {
        "CPU"
    }
    fn identity(&self) -> String {
        format!("CPU {}", self.isa.name())
    }
    fn device(&self) -> DeviceId {
        self.device
    }
    fn supports(&self, ty: DType) -> bool {
        kernels::quant::table(self.isa).mat_mul(ty).is_some()
    }
    fn stores(&self, ty: DType) -> bool {
        kernels::attn::supports(ty)
    }
    fn alloc(&self, bytes: usize, what: &str) -> Result<Arc<dyn Buffer>> {
        Ok(Arc::new(CpuBuffer::lazy(self.device, bytes, what)?))
    }
    fn alloc_in(&self, bytes: usize, what: &str, backing: &Backing) -> Result<Arc<dyn Buffer>> {
        Ok(Arc::new(CpuBuffer::backed(self.device, bytes, what, backing, &self.guard)?.on(&self.nodes)))
    }
    fn adopt(&self, owner: Arc<dyn HostBytes>) -> Option<Arc<dyn Buffer>> {
        Some(Arc::new(CpuBuffer::foreign(self.device, owner)))
    }
    fn layout(&self, weight: &Weight) -> Layout {
        // A stack of matrices is groups only where none of them ends inside one; two halves of a matrix may be used by themselves.
        let whole = weight.shape[1].is_multiple_of(2 * GRANULE) || weight.shape[2] == 1 && weight.shape[1] >= GRANULE;
        if whole && kernels::quant::table(self.isa).group_mul(weight.ty).is_some() { Layout::Groups } else { Layout::File }
    }
    fn cut(&self, n: usize, granule: usize) -> Vec<Range<usize>> {
        self.nodes.cut(n, granule)
    }
    fn nodes(&self) -> Option<&Arc<Nodes>> {
        Some(&self.nodes)
    }
    fn places(&self) -> bool {
        self.nodes.strategy.places()
    }
    fn spread(&self, weights: &[&Weight]) -> Vec<Vec<(u32, Range<u32>)>> {
        place::spread(&self.nodes, weights)
    }
    fn alloc_on(&self, node: u32, bytes: usize, what: &str) -> Result<Arc<dyn Buffer>> {
        let buf = CpuBuffer::backed(self.device, bytes, what, &Backing::Mmap, &self.guard)?.on(&self.nodes);
        match self.nodes.strategy {
            Strategy::Distribute => buf.everywhere(),
            _ => buf.home(0..bytes, node),
        }
        Ok(Arc::new(buf))
    }
    fn share(&self, counts: &[usize], f: &(dyn Fn(usize, usize) -> Result<()> + Sync)) -> Result<()> {
        platform::share::share_on(&self.nodes, counts, f)
    }
    fn room(&self) -> u64 {
        self.guard.room()
    }
    fn relay(&self, weight: &Weight, rows: Range<usize>, layout: Layout, to: &dyn Buffer, at: usize) -> Result<()> {
        buffer::relay(self.isa, weight, rows, layout, to, at)
    }
    fn lower(&self, plan: &Plan, range: Range<usize>, bound: &Bound, limits: Limits) -> Result<Box<dyn Exec>> {
        Ok(Box::new(exec::CpuExec::lower(self.isa, &self.nodes, plan, range, bound, limits)?))
    }
}
