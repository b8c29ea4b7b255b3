//! Memory nodes and the cores beside them, as far as placement cares. Knows nothing of weights, threads or models.
pub mod cpus;
mod ladder;
pub mod pages;

pub use ladder::{Ladder, Rung, ladder, spread};

/// What this process may use of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// In order of `os`. Never empty: a machine without nodes is one node.
    pub nodes: Vec<Node>,
    pub origin: Origin,
}

/// Where a topology was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Hwloc,
    /// libhwloc is absent: `/sys/devices/system`.
    Sysfs,
    /// Given by somebody (`CAMELID_NUMA_TOPOLOGY`, a test): nodes and CPUs that may not exist here.
    Injected,
}

/// A memory node that this process may allocate on or compute beside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The system's number; numbers may have gaps.
    pub os: u32,
    /// Bytes of local memory; 0: cores only.
    pub memory: u64,
    /// Real cores; none: memory only.
    pub cores: Vec<Core>,
}

/// A real core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Core {
    /// The system's CPU numbers of its hardware threads, allowed ones only; never empty.
    pub cpus: Vec<u32>,
    pub package: u32,
    /// 0 for the slowest kind of the machine, more for faster ones; 0 for all where the kinds are not known.
    pub efficiency: u32,
}

impl Topology {
    /// One node of unknown (`u64::MAX`) memory with these CPUs, each a core.
    pub fn flat(cpus: &[usize]) -> Topology {
        let cores = cpus.iter().map(|c| Core { cpus: vec![*c as u32], package: 0, efficiency: 0 }).collect();
        Topology { nodes: vec![Node { os: 0, memory: u64::MAX, cores }], origin: Origin::Sysfs }
    }
    /// Real cores of all nodes.
    pub fn n_cores(&self) -> usize {
        self.nodes.iter().map(|n| n.cores.len()).sum()
    }
}

/// What there is, found once.
pub fn topology() -> &'static Topology {
    static FOUND: std::sync::OnceLock<Topology> = std::sync::OnceLock::new();
    FOUND.get_or_init(|| Topology::flat(&crate::pool::allowed_cores()))
}
