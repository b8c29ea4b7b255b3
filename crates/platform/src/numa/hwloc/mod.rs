//! Topology through libhwloc, where the machine has one. `hwlocality`'s only door.
mod load;

use super::cpus::{Set, allowed_cpus};
use super::found::{Found, FoundNode};
use super::{Core, Origin, Topology, sysfs};
use crate::{Error, Result};
use hwlocality::Topology as Hwloc;
use hwlocality::bitmap::Bitmap;
use hwlocality::object::TopologyObject;
use hwlocality::object::attributes::ObjectAttributes;
use hwlocality::object::types::ObjectType;
use hwlocality::topology::builder::{BuildFlags, TopologyBuilder, TypeFilter};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

pub(super) use load::available;

/// The machine, as far as this process may use it.
pub(super) fn this_machine() -> Result<Topology> {
    found(Ok)
}

/// What `lstopo --of xml` wrote.
pub(super) fn from_xml(path: &Path) -> Result<Topology> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path.display(), e))?;
    found(|b| b.from_xml(&text).map_err(|e| Error::invalid(e.to_string()))).map_err(|e| e.within(path.display()))
}

/// `package:2 [numa(memory=64GiB)] core:4 pu:2`.
pub(super) fn from_synthetic(text: &str) -> Result<Topology> {
    found(|b| b.from_synthetic(text).map_err(|e| Error::invalid(e.to_string()))).map_err(|e| e.within(text))
}

/// `source` says where the builder is to look. Errors that `hwlocality` takes for impossible are panics.
fn found(source: impl FnOnce(TopologyBuilder) -> Result<TopologyBuilder>) -> Result<Topology> {
    if !available() {
        return Err(Error::unsupported("there is no libhwloc.so.15 of version 2.5 or later"));
    }
    let read = || build(source(TopologyBuilder::new())?).map(|h| read(&h));
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err(Error::invalid("libhwloc's answer is not understood")))
}

fn build(b: TopologyBuilder) -> Result<Hwloc> {
    let refused = |e: &dyn std::fmt::Display| Error::invalid(format!("libhwloc: {e}"));
    // Without the second flag, CPUs whose node may not be allocated on would have no node.
    let b = b.with_flags(BuildFlags::DONT_CHANGE_BINDING | BuildFlags::INCLUDE_DISALLOWED).map_err(|e| refused(&e))?;
    let b = b.with_io_type_filter(TypeFilter::KeepNone).map_err(|e| refused(&e))?;
    b.build().map_err(|e| refused(&e))
}

fn read(h: &Hwloc) -> Topology {
    let mut cpus = set(&*h.allowed_cpuset());
    let mut nodes: Vec<FoundNode> = h.objects_with_type(ObjectType::NUMANode).filter_map(node).collect();
    if h.is_this_system() {
        // hwloc knows the cgroup's limits, not the affinity.
        let process = allowed_cpus();
        cpus.retain(|c| process.is_empty() || process.contains(c));
        as_the_kernel_has_them(&mut nodes, sysfs::nodes(Path::new("/")));
    }
    let mems = Some(set(&*h.allowed_nodeset()));
    let origin = if h.is_this_system() { Origin::Hwloc } else { Origin::Injected };
    Found { nodes, cores: cores(h), cpus, mems }.topology(origin)
}

/// hwloc gives a node without CPUs those that are nearest to it, and leaves out nodes without memory.
fn as_the_kernel_has_them(nodes: &mut Vec<FoundNode>, kernel: Vec<FoundNode>) {
    for k in kernel {
        match nodes.iter_mut().find(|n| n.os == k.os) {
            Some(n) => n.cpus = k.cpus,
            None if k.memory == 0 => nodes.push(k),
            None => {}
        }
    }
}

fn node(o: &TopologyObject) -> Option<FoundNode> {
    let memory = match o.attributes() {
        Some(ObjectAttributes::NUMANode(a)) => a.local_memory().map_or(0, u64::from),
        _ => 0,
    };
    let special = o.subtype().is_some_and(|s| s.to_bytes() != b"DRAM");
    Some(FoundNode { os: number(o)?, memory, cpus: o.cpuset().map(|s| set(&*s)).unwrap_or_default(), special })
}

fn cores(h: &Hwloc) -> Vec<Core> {
    let kinds: Vec<(Set, u32)> = match h.cpu_kinds() {
        Ok(kinds) => kinds.map(|k| (set(&k.cpuset), k.efficiency.map_or(0, |e| e as u32))).collect(),
        Err(_) => Vec::new(),
    };
    let core = |o: &TopologyObject| {
        let cpus: Vec<u32> = o.cpuset().map(|s| set(&*s)).unwrap_or_default().into_iter().collect();
        let kind = kinds.iter().find(|(k, _)| cpus.first().is_some_and(|c| k.contains(c)));
        let package = o.first_ancestor_with_type(ObjectType::Package).and_then(number).unwrap_or(0);
        Core { cpus, package, efficiency: kind.map_or(0, |(_, e)| *e) }
    };
    let cores: Vec<Core> = h.objects_with_type(ObjectType::Core).map(core).collect();
    // Some virtual machines show hardware threads only.
    let all: Set = cores.iter().flat_map(|c| c.cpus.iter().copied()).collect();
    let threads = h.objects_with_type(ObjectType::PU).map(core).filter(|c| c.cpus.iter().all(|t| !all.contains(t)));
    cores.iter().cloned().chain(threads).collect()
}

fn number(o: &TopologyObject) -> Option<u32> {
    o.os_index().and_then(|i| u32::try_from(i).ok())
}

/// The numbers in one of hwloc's sets; the sets of a topology are finite.
fn set(bits: &impl AsRef<Bitmap>) -> Set {
    bits.as_ref().iter_set().map(|i| usize::from(i) as u32).collect()
}
