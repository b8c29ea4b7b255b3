//! The kernel's own tables, `/sys/devices/system`: what is left where libhwloc is absent. Any root will do, so tests bring their own.
use super::cpus::{Set, parse_list};
use super::found::{Found, FoundNode};
use super::pages::{meminfo, meminfo_bytes, mems_allowed_at};
use super::{Core, Origin, Topology};
use std::collections::BTreeMap;
use std::path::Path;

/// The machine below `root`, as far as `allowed` goes.
pub(super) fn read(root: &Path, allowed: &Set) -> Topology {
    let cpus = match online_cpus(root) {
        Some(online) => online.intersection(allowed).copied().collect(),
        None => allowed.clone(),
    };
    let mut nodes = nodes(root);
    // A kernel without nodes.
    if nodes.is_empty() {
        nodes.push(FoundNode { os: 0, memory: memory(root), cpus: cpus.clone(), special: false });
    }
    Found { nodes, cores: cores(root, &cpus), cpus, mems: Some(mems_allowed_at(root)) }.topology(Origin::Sysfs)
}

/// CPUs that run; `None` where that is not told.
pub(super) fn online_cpus(root: &Path) -> Option<Set> {
    numbers(root, "cpu/online")
}

/// Nodes as the kernel has them, those without CPUs or memory too.
pub(super) fn nodes(root: &Path) -> Vec<FoundNode> {
    numbers(root, "node/online").unwrap_or_default().into_iter().map(|os| node(root, os)).collect()
}

fn node(root: &Path, os: u32) -> FoundNode {
    let memory = meminfo(root, os).and_then(|t| meminfo_bytes(&t, "MemTotal")).unwrap_or(0);
    FoundNode { os, memory, cpus: numbers(root, &format!("node/node{os}/cpulist")).unwrap_or_default(), special: false }
}

/// Of the whole machine.
fn memory(root: &Path) -> u64 {
    let text = std::fs::read_to_string(root.join("proc/meminfo")).unwrap_or_default();
    let total = text.lines().find_map(|l| l.strip_prefix("MemTotal:"));
    total.and_then(|t| t.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()).map_or(u64::MAX, |kib| kib.saturating_mul(1024))
}

/// CPUs by the lowest number among their siblings.
fn cores(root: &Path, cpus: &Set) -> Vec<Core> {
    let kinds = Kinds::read(root, cpus);
    let mut found: BTreeMap<u32, Core> = BTreeMap::new();
    for cpu in cpus {
        let of = |name: &str| numbers(root, &format!("cpu/cpu{cpu}/topology/{name}"));
        let siblings = of("thread_siblings_list").or_else(|| of("core_cpus_list")).unwrap_or_default();
        let first = siblings.first().copied().unwrap_or(*cpu);
        let new = || Core { cpus: Vec::new(), package: package(root, *cpu), efficiency: kinds.of(*cpu) };
        found.entry(first).or_insert_with(new).cpus.push(*cpu);
    }
    found.into_values().collect()
}

/// -1 where a machine does not say.
fn package(root: &Path, cpu: u32) -> u32 {
    text(root, &format!("cpu/cpu{cpu}/topology/physical_package_id")).and_then(|t| t.parse().ok()).unwrap_or(0)
}

/// Kinds of cores: Arm tells a capacity of each; Intel has one folder of counters per kind.
struct Kinds {
    capacities: BTreeMap<u32, u64>,
    /// Distinct capacities, least first.
    ranks: Vec<u64>,
    /// CPUs of the fast kind of two.
    fast: Set,
}

impl Kinds {
    fn read(root: &Path, cpus: &Set) -> Kinds {
        let capacity = |c: &u32| Some((*c, text(root, &format!("cpu/cpu{c}/cpu_capacity"))?.parse().ok()?));
        let capacities: BTreeMap<u32, u64> = cpus.iter().filter_map(capacity).collect();
        let mut ranks: Vec<u64> = capacities.values().copied().collect();
        ranks.sort_unstable();
        ranks.dedup();
        let kind = |name: &str| std::fs::read_to_string(root.join(format!("sys/devices/{name}/cpus"))).ok().as_deref().and_then(parse_list);
        let fast = kind("cpu_core").filter(|_| kind("cpu_atom").is_some_and(|slow| !slow.is_empty())).unwrap_or_default();
        Kinds { capacities, ranks, fast }
    }
    fn of(&self, cpu: u32) -> u32 {
        match self.capacities.get(&cpu) {
            Some(c) => self.ranks.partition_point(|r| r < c) as u32,
            None => u32::from(self.fast.contains(&cpu)),
        }
    }
}

fn numbers(root: &Path, name: &str) -> Option<Set> {
    parse_list(&text(root, name)?)
}

fn text(root: &Path, name: &str) -> Option<String> {
    let path = root.join("sys/devices/system").join(name);
    std::fs::read_to_string(path).ok().map(|t| t.trim().to_owned())
}
