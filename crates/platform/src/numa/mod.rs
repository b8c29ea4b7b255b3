//! Memory nodes and the cores beside them, as far as placement cares. Knows nothing of weights, threads or models.
pub mod cpus;
mod found;
#[cfg(hwloc)]
mod hwloc;
#[cfg(not(hwloc))]
#[path = "no_hwloc.rs"]
mod hwloc;
mod ladder;
mod limits;
mod nodes;
pub mod pages;
mod report;
mod sysfs;

pub use ladder::{Ladder, Rung, ladder, spread};
pub use limits::Limits;
pub use nodes::{Home, Nodes, Strategy, apportion, nodes, set};

use crate::{Error, Result, env, log};
use std::path::Path;
use std::sync::OnceLock;

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
    /// Bytes of local memory that this process may use; 0: cores only; `u64::MAX`: not known.
    pub memory: u64,
    /// Real cores, by package and number; none: memory only.
    pub cores: Vec<Core>,
}

/// A real core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Core {
    /// The system's CPU numbers of its hardware threads, lowest first, allowed ones only; never empty.
    pub cpus: Vec<u32>,
    pub package: u32,
    /// 0 for the slowest kind of the machine, more for faster ones; 0 for all where the kinds are not known.
    pub efficiency: u32,
}

impl Topology {
    /// One node of unknown memory with these CPUs, each a core.
    pub fn flat(cpus: &[usize]) -> Topology {
        let cores = cpus.iter().map(|c| Core { cpus: vec![*c as u32], package: 0, efficiency: 0 }).collect();
        Topology { nodes: vec![Node { os: 0, memory: u64::MAX, cores }], origin: Origin::Sysfs }
    }
    /// Real cores of all nodes.
    pub fn n_cores(&self) -> usize {
        self.nodes.iter().map(|n| n.cores.len()).sum()
    }
    /// Where the memory of node `i` (an index, as is the answer) is: its own, else that of its package, else the first node's that has any.
    pub fn home(&self, i: usize) -> usize {
        let packages = |i: usize| self.nodes[i].cores.iter().map(|c| c.package);
        let has = |n: &usize| self.nodes[*n].memory > 0;
        let near = |n: &usize| packages(*n).any(|p| packages(i).any(|q| p == q));
        let all = || (0..self.nodes.len()).filter(has);
        Some(i).filter(has).or_else(|| all().find(near)).or_else(|| all().next()).unwrap_or(i)
    }
    /// Hardware threads of all nodes.
    pub fn n_cpus(&self) -> usize {
        self.nodes.iter().flat_map(|n| &n.cores).map(|c| c.cpus.len()).sum()
    }
}

/// What there is, found once.
pub fn topology() -> &'static Topology {
    static FOUND: OnceLock<Topology> = OnceLock::new();
    FOUND.get_or_init(|| match env::get("CAMELID_NUMA_TOPOLOGY") {
        None => machine(),
        Some(text) => injected(&text).unwrap_or_else(|e| {
            log::warn(format!("CAMELID_NUMA_TOPOLOGY={text}: {e}; this machine's own is used"));
            machine()
        }),
    })
}

/// This machine, as far as this process may use it.
fn machine() -> Topology {
    let found = if hwloc::available() { hwloc::this_machine() } else { Err(Error::unsupported("there is no libhwloc")) };
    let found = found.inspect_err(|e| log::debug(format!("numa: {e}; reading /sys"))).ok();
    found.filter(|t| t.n_cores() > 0).unwrap_or_else(from_sysfs)
}

fn from_sysfs() -> Topology {
    sysfs::read(Path::new("/"), &cpus::allowed_cpus())
}

/// What `CAMELID_NUMA_TOPOLOGY` asks for.
fn injected(text: &str) -> Result<Topology> {
    match text.split_once(':') {
        Some(("xml", path)) => from_xml(Path::new(path)),
        Some(("synthetic", description)) => from_synthetic(description),
        Some(("cpus", counts)) => fake(&parse_counts(counts)?),
        None if text == "sysfs" => Ok(from_sysfs()),
        _ => Err(Error::invalid("not xml:PATH, synthetic:TEXT, cpus:N+N... or sysfs")),
    }
}

/// `3+1`.
fn parse_counts(text: &str) -> Result<Vec<usize>> {
    let count = |c: &str| c.trim().parse().map_err(|_| Error::invalid(format!("'{c}' is not a number of CPUs")));
    text.split('+').map(count).collect()
}

/// A machine from a file that `lstopo --of xml` wrote; needs libhwloc.
pub fn from_xml(path: &Path) -> Result<Topology> {
    hwloc::from_xml(path).and_then(with_cores)
}

/// A machine from hwloc's words, such as `package:2 [numa(memory=64GiB)] core:4 pu:2`; needs libhwloc.
pub fn from_synthetic(text: &str) -> Result<Topology> {
    hwloc::from_synthetic(text).and_then(with_cores)
}

fn with_cores(t: Topology) -> Result<Topology> {
    match t.origin {
        Origin::Injected if t.n_cores() > 0 => Ok(t),
        Origin::Injected => Err(Error::invalid("no core may be used")),
        _ => Err(Error::invalid("hwloc gives this machine instead")),
    }
}

/// More fake CPUs than this are a slip of the pen.
const MOST_FAKE: usize = 4096;

/// Nodes that are none: so many of this process's CPUs each, in order, from the first again when they run out. Memory is this machine's, in equal parts.
pub fn fake(counts: &[usize]) -> Result<Topology> {
    let total = counts.iter().try_fold(0usize, |sum, n| sum.checked_add(*n)).filter(|n| (1..=MOST_FAKE).contains(n));
    let own: Vec<u32> = cpus::allowed_cpus().into_iter().collect();
    if total.is_none() || own.is_empty() || counts.len() > MOST_FAKE {
        return Err(Error::invalid(format!("fake nodes need 1 to {MOST_FAKE} CPUs in all")));
    }
    let memory = from_sysfs().nodes.iter().fold(0u64, |sum, n| sum.saturating_add(n.memory)) / counts.len() as u64;
    let mut cycle = own.into_iter().cycle();
    let mut core = || cycle.next().map(|c| Core { cpus: vec![c], package: 0, efficiency: 0 });
    let node = |(os, n): (usize, &usize)| Node { os: os as u32, memory, cores: (0..*n).filter_map(|_| core()).collect() };
    Ok(Topology { nodes: counts.iter().enumerate().map(node).collect(), origin: Origin::Injected })
}

#[cfg(test)]
mod tests;
