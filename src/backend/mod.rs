//! What computes, and what it computes on: buffers, the inputs of a step (`io`), the op vocabulary (`op`).
//!
//! Knows nothing of models, of what tokens mean, or of who sits in which cell. `cpu/` is the real thing; `far/` keeps
//! the interfaces honest: memory that host code cannot address, ops done by the scalar oracles.
pub mod buffer;
pub mod codec;
pub mod cpu;
pub mod device;
pub mod far;
pub mod io;
pub mod kv;
pub mod op;
mod picks;
mod system;
mod terms;
pub use buffer::*;
pub use device::{Device, DeviceKind, DeviceMemory, gpus};
pub use io::*;
/// The tensor types of ggml, for rooms above that must not know kernels.
pub use kernels::DType;
pub use kv::*;
pub use op::*;
pub use system::system_info;

use platform::numa::Nodes;
use platform::pool::{Stop, Team};
use platform::{Backing, Result};
use std::ops::Range;
use std::sync::Arc;

/// Most devices that a model can be divided over, as in the original.
pub const MAX_DEVICES: u16 = 16;

/// Largest row counts a lowered plan will be run with.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub tokens: usize,
    pub outputs: usize,
    pub workers: u32,
}

/// A pending K rotation: `len` cells from `slot` of `block` move by `delta` positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvShift {
    pub group: GroupId,
    pub block: BlockId,
    pub slot: u16,
    pub len: u16,
    pub delta: i32,
}

/// What one run of a lowered plan works on.
pub struct Io<'a> {
    pub ub: &'a Ubatch,
    /// Per group.
    pub views: &'a [Views],
    /// Token rows whose logits / embeddings are wanted, ascending.
    pub outputs: &'a [u32],
    /// Rotations for `Op::Shift` steps; empty in a decode.
    pub shifts: &'a [KvShift],
    pub team: &'a Team,
    pub active: u32,
    /// Asked between steps; true ends the run with `Stop::Aborted`.
    pub stop: &'a (dyn Fn() -> bool + Sync),
}

/// Everything a plan refers to by id.
#[derive(Clone)]
pub struct Bound {
    pub weights: Arc<Vec<Weight>>,
    pub kv: Arc<Vec<KvGroup>>,
}

/// Host bytes kept alive by their owner.
pub trait HostBytes: Send + Sync {
    fn bytes(&self) -> &[u8];
}

impl HostBytes for platform::mmap::FileMap {
    fn bytes(&self) -> &[u8] {
        platform::mmap::FileMap::bytes(self)
    }
}

/// A place that computes. Implementations: `cpu::Cpu`, `far::Far`.
pub trait Backend: Send + Sync {
    fn name(&self) -> &str;
    /// The name, and what else decides the bits it computes.
    fn identity(&self) -> String {
        self.name().to_owned()
    }
    fn device(&self) -> DeviceId;
    /// Whether this backend has a kernel for weights of type `ty`.
    fn supports(&self, ty: DType) -> bool;
    /// Whether K or V rows can be stored as `ty` here.
    fn stores(&self, ty: DType) -> bool;
    /// Zeroed memory, lazily touched where the platform can.
    fn alloc(&self, bytes: usize, what: &str) -> Result<Arc<dyn Buffer>>;
    /// Memory that is secured before use and released after it, in what `backing` says where the device has the choice.
    fn alloc_in(&self, bytes: usize, what: &str, backing: &Backing) -> Result<Arc<dyn Buffer>>;
    /// Read-only host memory (a mapped file) as a buffer of this device; `None` where the device cannot use it in place.
    fn adopt(&self, owner: Arc<dyn HostBytes>) -> Option<Arc<dyn Buffer>>;
    /// The layout in which products read rows of this weight fastest.
    fn layout(&self, weight: &Weight) -> Layout {
        let _ = weight;
        Layout::File
    }
    /// `0..n` in a part for each node that work is spread over; borders are multiples of `granule`.
    fn cut(&self, n: usize, granule: usize) -> Vec<Range<usize>> {
        let _ = granule;
        std::iter::once(0..n).collect()
    }
    /// What its work is spread over, where that is a choice.
    fn nodes(&self) -> Option<&Arc<Nodes>> {
        None
    }
    /// Whether all weights leave the file for memory of chosen nodes.
    fn places(&self) -> bool {
        false
    }
    /// Which rows of each weight go to which nodes: a list per weight, whose parts are all rows or borders at multiples of 32.
    fn spread(&self, weights: &[&Weight]) -> Vec<Vec<(u32, Range<u32>)>> {
        weights.iter().map(|w| vec![(0, 0..w.shape[1])]).collect()
    }
    /// Memory for weights on a node, in which nothing is touched yet.
    fn alloc_on(&self, node: u32, bytes: usize, what: &str) -> Result<Arc<dyn Buffer>> {
        let _ = node;
        self.alloc_in(bytes, what, &Backing::Mmap)
    }
    /// `f(node, i)` for every `i` below `counts[node]`, on several threads of that node.
    fn share(&self, counts: &[usize], f: &(dyn Fn(usize, usize) -> Result<()> + Sync)) -> Result<()> {
        let all: Vec<(usize, usize)> = counts.iter().enumerate().flat_map(|(node, n)| (0..*n).map(move |i| (node, i))).collect();
        platform::share::share(&all, |(node, i)| f(*node, *i))
    }
    /// Bytes that may be taken for copies of weights.
    fn room(&self) -> u64 {
        0
    }
    /// Copies rows (whole groups of `Layout::Groups`, or the rest) of a weight in the file's layout to `at` of `to` in `layout`.
    fn relay(&self, weight: &Weight, rows: Range<usize>, layout: Layout, to: &dyn Buffer, at: usize) -> Result<()> {
        let _ = (rows, layout, to, at);
        Err(platform::Error::unsupported(format!("{}: no other layout on this device", weight.name)))
    }
    /// Turns the steps `range` of a plan into something that runs.
    fn lower(&self, plan: &Plan, range: Range<usize>, bound: &Bound, limits: Limits) -> Result<Box<dyn Exec>>;
}

/// A lowered part of a plan with its activation buffers.
pub trait Exec: Send {
    fn run(&mut self, io: &Io<'_>) -> std::result::Result<(), Stop>;
    /// The same in pieces, for plans that are watched: so many steps from the `first` of the lowered ones on.
    fn run_steps(&mut self, io: &Io<'_>, first: usize, n: usize) -> std::result::Result<(), Stop>;
    /// Rows `rows` of value `t` after a run, `dst` is [rows][width].
    fn read(&self, t: T, rows: Range<usize>, dst: &mut [f32]) -> Result<()>;
    /// Rows from 0 on of value `t` before a run (a value that crosses devices).
    fn write(&mut self, t: T, src: &[f32]) -> Result<()>;
    /// Time, calls and bytes per op kind so far, for `CAMELID_TRACE`.
    fn trace(&self) -> Vec<TraceRow>;
    /// Bytes of activation buffers, as reserved.
    fn bytes(&self) -> usize;
    /// What was read and written so far, under `CAMELID_NUMA_AUDIT`.
    fn traffic(&self) -> Vec<Traffic> {
        Vec::new()
    }
}

/// What bytes are, to an audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Weights,
    Kv,
    /// Of products, in the formats of weights.
    Inputs,
    Activations,
}

impl Class {
    pub const ALL: [Class; 4] = [Class::Weights, Class::Kv, Class::Inputs, Class::Activations];
    pub fn name(self) -> &'static str {
        ["weights", "kv", "inputs", "activations"][self as usize]
    }
}

/// Bytes of a class that threads on a node touched.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    pub class: Class,
    pub node: u32,
    pub pages: u64,
    pub bytes: u64,
    /// On pages of the same node.
    pub local: u64,
    /// On pages of which the kernel tells nothing.
    pub unknown: u64,
}

#[derive(Clone, Debug)]
pub struct TraceRow {
    pub op: &'static str,
    pub calls: u64,
    pub ns: u64,
    pub bytes: u64,
    /// Times that the workers waited for each other.
    pub barriers: u64,
}
