//! What keeps this process from the whole machine: affinity, cgroup, CPU time. For reports; the kernel enforces them.
use super::cpus::{Set, allowed_cpus, parse_list};
use super::{pages, sysfs};
use crate::pressure::upwards;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// CPUs that run.
    pub online: Set,
    /// Those that the cgroup leaves; `None`: it does not say.
    pub cgroup: Option<Set>,
    /// Those that this process may run on.
    pub allowed: Set,
    /// Nodes that it may allocate on.
    pub mems: Set,
    /// How many CPUs' time the cgroup gives; `None`: as much as there is.
    pub cpu_time: Option<f64>,
    /// `kernel.numa_balancing`: 0 off, 1 on; 2 moves what is seldom used to slower memory; `None`: a kernel without it.
    pub balancing: Option<i32>,
}

impl Limits {
    pub fn of_this_process() -> Limits {
        Limits::at(Path::new("/"), allowed_cpus())
    }
    pub(super) fn at(root: &Path, allowed: Set) -> Limits {
        let groups = groups(root);
        Limits {
            online: sysfs::online_cpus(root).unwrap_or_else(|| allowed.clone()),
            cgroup: groups.iter().find_map(|g| cpuset(g)),
            allowed,
            mems: pages::mems_allowed_at(root),
            cpu_time: groups.iter().filter_map(|g| cpu_time(g)).min_by(f64::total_cmp),
            balancing: text(&root.join("proc/sys/kernel/numa_balancing")).and_then(|t| t.parse().ok()),
        }
    }
}

/// Folders of this process's cgroups, each from the innermost outwards.
fn groups(root: &Path) -> Vec<PathBuf> {
    let lines = std::fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mut found = Vec::new();
    for line in lines.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(names), Some(path)) = (parts.next(), parts.next()) else { continue };
        if names.is_empty() {
            found.extend(upwards(root.join("sys/fs/cgroup"), path));
        }
        let ours = names.split(',').filter(|n| ["cpuset", "cpu"].contains(n));
        found.extend(ours.flat_map(|n| upwards(root.join("sys/fs/cgroup").join(n), path)));
    }
    found
}

/// Version 2, then version 1.
fn cpuset(group: &Path) -> Option<Set> {
    let names = ["cpuset.cpus.effective", "cpuset.effective_cpus"];
    let set = names.iter().find_map(|n| parse_list(&text(&group.join(n))?))?;
    (!set.is_empty()).then_some(set)
}

fn cpu_time(group: &Path) -> Option<f64> {
    let v2 = text(&group.join("cpu.max")).and_then(|t| t.split_once(' ').map(|(q, p)| (q.to_owned(), p.to_owned())));
    let v1 = || Some((text(&group.join("cpu.cfs_quota_us"))?, text(&group.join("cpu.cfs_period_us"))?));
    let (quota, period) = v2.or_else(v1)?;
    // "max", or -1: no limit.
    let (quota, period) = (quota.parse::<f64>().ok()?, period.parse::<f64>().ok()?);
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

fn text(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|t| t.trim().to_owned())
}
