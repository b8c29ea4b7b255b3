//! A topology and what limits it, in a few lines for the log.
use super::cpus::list;
use super::{Ladder, Limits, Node, Origin, Topology};
use std::collections::BTreeSet;
use std::fmt;

impl Topology {
    /// What was found, a line each: the whole, every node, what this process is kept from.
    pub fn report(&self) -> Vec<String> {
        self.report_with(&Limits::of_this_process())
    }
    pub(super) fn report_with(&self, limits: &Limits) -> Vec<String> {
        let mut lines = vec![self.headline(limits)];
        lines.extend(self.nodes.iter().map(Node::line));
        if self.origin != Origin::Injected {
            lines.extend(limits.lines());
        }
        lines
    }
    fn headline(&self, limits: &Limits) -> String {
        let from = match self.origin {
            Origin::Hwloc => "found by hwloc",
            Origin::Sysfs => "read from /sys",
            Origin::Injected => "not this machine's: made up or from a file",
        };
        let balancing = limits.balancing.map_or("absent".into(), |b| b.to_string());
        let [nodes, cores, cpus] = [(self.nodes.len(), "node"), (self.n_cores(), "core"), (self.n_cpus(), "CPU")].map(count);
        format!("numa: {nodes}, {cores}, {cpus} ({from}); kernel.numa_balancing {balancing}")
    }
}

impl Node {
    fn line(&self) -> String {
        let memory = match self.memory {
            0 => "no memory".into(),
            u64::MAX => "memory of unknown size".into(),
            bytes => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
        };
        if self.cores.is_empty() {
            return format!("numa: node {}: {memory}, memory only", self.os);
        }
        let packages: BTreeSet<u32> = self.cores.iter().map(|c| c.package).collect();
        let kinds: BTreeSet<u32> = self.cores.iter().map(|c| c.efficiency).collect();
        let of_kind = |k: &u32| (count((self.cores.iter().filter(|c| c.efficiency == *k).count(), "core")), *k);
        let kinds = match kinds.len() {
            1 => String::new(),
            _ => kinds.iter().rev().map(of_kind).map(|(n, k)| format!(", {n} of kind {k}")).collect(),
        };
        let cpus = list(self.cores.iter().flat_map(|c| c.cpus.iter().copied()));
        let threads = self.cores.iter().map(|c| c.cpus.len()).max().unwrap_or(1);
        let threads = if threads > 1 { format!(" (up to {threads} a core)") } else { String::new() };
        let cores = count((self.cores.len(), "core"));
        format!("numa: node {}: {memory}, {cores} of package {}{kinds}, CPUs {cpus}{threads}", self.os, list(packages))
    }
}

impl Limits {
    /// Nothing to say where nothing limits.
    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.allowed.len() < self.online.len() {
            // The cgroup may take CPUs away later on, and the kernel keeps the narrower of the two.
            let by_cgroup = self.cgroup.as_ref().is_some_and(|c| c.len() < self.online.len());
            let by_affinity = self.cgroup.as_ref().is_none_or(|c| !c.is_subset(&self.allowed));
            let by = match (by_cgroup, by_affinity) {
                (true, true) => "its cgroup and its affinity",
                (true, false) => "its cgroup",
                _ => "its affinity",
            };
            let (some, all) = (list(self.allowed.iter().copied()), list(self.online.iter().copied()));
            lines.push(format!("numa: this process may run on CPUs {some} of {all}, by {by}"));
        }
        if let Some(n) = self.cpu_time.filter(|n| *n < self.allowed.len() as f64) {
            lines.push(format!("numa: its cgroup gives it the time of {n:.1} CPUs: more threads wait for each other"));
        }
        lines
    }
}

impl fmt::Display for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "numa: placement: {} ({})", self.rung.word(), self.why)
    }
}

fn count((n, what): (usize, &str)) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
