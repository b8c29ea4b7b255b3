//! Machines of many shapes: from hwloc's files (`testdata/`), from its words, from small trees like `/sys`.
use super::*;
use std::path::PathBuf;

const GIB: u64 = 1 << 30;

/// Tests that need libhwloc where there is none: skipped aloud; not allowed under `make test`, which brings one.
fn no_hwloc(test: &str) -> bool {
    let missing = !hwloc::available();
    assert!(!missing || std::env::var_os("CAMELID_TEST_HWLOC").is_none(), "{test}: libhwloc.so.15 is not there");
    if missing {
        eprintln!("SKIPPED: {test}. There is no libhwloc.so.15 (make test brings one)");
    }
    missing
}

fn xml(name: &str) -> Topology {
    from_xml(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)).expect(name)
}

/// Node, package and CPUs of each core.
fn shape(t: &Topology) -> Vec<(u32, u32, Vec<u32>)> {
    t.nodes.iter().flat_map(|n| n.cores.iter().map(|c| (n.os, c.package, c.cpus.clone()))).collect()
}
fn memory(t: &Topology) -> Vec<(u32, u64)> {
    t.nodes.iter().map(|n| (n.os, n.memory)).collect()
}

#[test]
fn siblings_in_the_upper_half_and_alternating() {
    if no_hwloc("siblings") {
        return;
    }
    let upper: Vec<_> = (0..8).map(|c| (c / 4, c / 4, vec![c, c + 8])).collect();
    assert_eq!(shape(&xml("upper.xml")), upper);
    let alternating: Vec<_> = (0..8).map(|c| (c / 4, c / 4, vec![2 * c, 2 * c + 1])).collect();
    assert_eq!(shape(&xml("alternating.xml")), alternating);
    assert_eq!(memory(&xml("upper.xml")), [(0, 64 * GIB), (1, 64 * GIB)]);
    assert_eq!(xml("upper.xml").origin, Origin::Injected);
}

#[test]
fn several_nodes_a_package_and_one_in_all() {
    if no_hwloc("nodes") {
        return;
    }
    let snc4: Vec<_> = (0..16).map(|c| (c / 2, c / 8, vec![c, c + 16])).collect();
    assert_eq!(shape(&xml("snc4.xml")), snc4);
    let one: Vec<_> = (0..4).map(|c| (0, 0, vec![c, c + 4])).collect();
    assert_eq!(shape(&xml("one.xml")), one);
}

#[test]
fn numbers_with_gaps() {
    if no_hwloc("gaps") {
        return;
    }
    let t = xml("sparse.xml");
    assert_eq!(memory(&t), [(0, 128 * GIB), (8, 128 * GIB)]);
    assert_eq!(shape(&t)[4], (8, 1, vec![16, 17, 18, 19]));
}

#[test]
fn memory_without_cores() {
    if no_hwloc("memory only") {
        return;
    }
    let t = xml("memory_only.xml");
    assert_eq!(t.nodes.iter().map(|n| (n.os, n.memory > 0, n.cores.len())).collect::<Vec<_>>(), [(0, true, 3), (1, true, 1), (2, true, 0)]);
    // HBM that hwloc shows beside the cores of its package: they compute beside ordinary memory.
    let hbm = xml("hbm.xml");
    assert_eq!(
        hbm.nodes.iter().map(|n| (n.os, n.memory / GIB, n.cores.len())).collect::<Vec<_>>(),
        [(0, 64, 3), (1, 64, 3), (2, 16, 0), (3, 16, 0)]
    );
}

#[test]
fn what_the_cgroup_leaves() {
    if no_hwloc("restricted") {
        return;
    }
    let t = xml("restricted.xml");
    assert_eq!(shape(&t), [(0, 0, vec![1]), (0, 0, vec![2, 3]), (1, 1, vec![4])]);
    assert_eq!(t.nodes[1].memory, 0, "cpuset.mems leaves node 0");
    assert_eq!((t.home(0), t.home(1)), (0, 0));
}

#[test]
fn fast_and_slow_cores() {
    if no_hwloc("hybrid") {
        return;
    }
    let t = xml("hybrid.xml");
    assert_eq!(t.nodes[0].cores.iter().map(|c| c.efficiency).collect::<Vec<_>>(), [1, 1, 1, 1, 0, 0]);
}

#[test]
fn more_than_eight_nodes_and_a_thousand_cpus() {
    if no_hwloc("large") {
        return;
    }
    let t = from_synthetic("package:16 [numa(memory=512GiB)] core:48 pu:2").expect("a machine");
    assert_eq!((t.nodes.len(), t.n_cores(), t.n_cpus()), (16, 768, 1536));
    assert_eq!(t.nodes[15].cores[47], Core { cpus: vec![1534, 1535], package: 15, efficiency: 0 });
}

#[test]
fn bad_descriptions_are_errors() {
    for text in ["cpus:", "cpus:3+x", "cpus:0", "cpus:99999999999999999999", "cpus:4096+1", "lstopo", "xml:/nowhere.xml", "synthetic:core"]
    {
        assert!(injected(text).is_err(), "{text}");
    }
    if no_hwloc("bad files") {
        return;
    }
    let dir = Tree::new("bad");
    let whole = std::fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/one.xml")).expect("a file");
    // No machine, half of one, one without processors that may be used.
    let texts = ["", "<topology>", &whole[..whole.len() / 2], &whole.replace("allowed_cpuset=\"0x000000ff\"", "allowed_cpuset=\"0x0\"")];
    for (i, text) in texts.iter().enumerate() {
        let name = format!("{i}.xml");
        dir.put(&name, text);
        assert!(from_xml(&dir.0.join(&name)).is_err(), "{i}");
    }
}

#[test]
fn fake_nodes_take_this_machines_cpus_in_turn() {
    let own: Vec<u32> = cpus::allowed_cpus().into_iter().collect();
    let t = fake(&[3, 1, 0]).expect("a topology");
    let got: Vec<u32> = t.nodes.iter().flat_map(|n| n.cores.iter().map(|c| c.cpus[0])).collect();
    assert_eq!(got, (0..4).map(|i| own[i % own.len()]).collect::<Vec<_>>());
    assert_eq!(t.nodes.iter().map(|n| n.cores.len()).collect::<Vec<_>>(), [3, 1, 0]);
    assert!(t.nodes.iter().all(|n| n.memory > 0) && t.origin == Origin::Injected);
    assert_eq!(injected("cpus:3+1+0").expect("the same"), t);
}

/// What hwloc and the kernel's tables say of this machine is the same, and it is what this process may use.
#[test]
fn this_machine() {
    let sys = from_sysfs();
    let all: cpus::Set = sys.nodes.iter().flat_map(|n| &n.cores).flat_map(|c| c.cpus.iter().copied()).collect();
    assert_eq!(all, cpus::allowed_cpus());
    assert!(sys.nodes.iter().any(|n| n.memory > 0));
    if no_hwloc("this machine") {
        return;
    }
    let before = cpus::affinity(0).expect("known");
    let t = hwloc::this_machine().expect("a machine");
    assert_eq!(cpus::affinity(0).expect("known"), before);
    let numbers =
        |t: &Topology| t.nodes.iter().map(|n| (n.os, n.cores.iter().map(|c| c.cpus.clone()).collect())).collect::<Vec<(u32, Vec<_>)>>();
    assert_eq!(numbers(&t), numbers(&sys));
}

/// A made-up `/`, gone when dropped.
struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Tree {
        let tree = Tree(std::env::current_exe().expect("a test").with_file_name(format!("numa-{}-{name}", std::process::id())));
        std::fs::create_dir_all(&tree.0).expect("a folder");
        tree
    }
    fn put(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().expect("below the root")).expect("a folder");
        std::fs::write(path, text).expect("written");
    }
    fn system(&self, path: &str, text: &str) {
        self.put(&format!("sys/devices/system/{path}"), text);
    }
    fn cpu(&self, cpu: u32, package: i32, siblings: &str) {
        self.system(&format!("cpu/cpu{cpu}/topology/physical_package_id"), &format!("{package}\n"));
        self.system(&format!("cpu/cpu{cpu}/topology/thread_siblings_list"), &format!("{siblings}\n"));
    }
    fn node(&self, os: u32, cpus: &str, gib: u64) {
        self.system(&format!("node/node{os}/cpulist"), &format!("{cpus}\n"));
        let kib = gib * GIB / 1024;
        let text = format!(
            "Node {os} MemTotal: {kib} kB\nNode {os} MemFree: {} kB\nNode {os} Inactive(file): 2048 kB\nNode {os} Dirty: 24 kB\n",
            kib / 2
        );
        self.system(&format!("node/node{os}/meminfo"), &text);
    }
    fn read(&self, cpus: impl IntoIterator<Item = u32>) -> Topology {
        sysfs::read(&self.0, &cpus.into_iter().collect())
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Nodes 0 (CPUs 0 1, siblings 4 5), 3 (2 3, siblings 6 7), 5 (memory only), 6 (CPU 8, no memory); CPU 9 is off.
fn two_sockets(name: &str) -> Tree {
    let t = Tree::new(name);
    t.system("cpu/online", "0-8\n");
    t.system("node/online", "0,3,5-6\n");
    t.system("node/has_memory", "0,3,5\n");
    t.put("proc/self/status", "Name:\tx\nMems_allowed:\tff\nMems_allowed_list:\t0-1023\n");
    for c in 0..8 {
        t.cpu(c, (c % 4 / 2) as i32, &format!("{},{}", c % 4, c % 4 + 4));
    }
    t.cpu(8, -1, "8");
    t.node(0, "0-1,4-5", 64);
    t.node(3, "2-3,6-7", 32);
    t.node(5, "", 16);
    t.node(6, "8", 0);
    t
}

#[test]
fn the_kernels_tables() {
    let tree = two_sockets("tables");
    let t = tree.read(0..10);
    assert_eq!(shape(&t), [(0, 0, vec![0, 4]), (0, 0, vec![1, 5]), (3, 1, vec![2, 6]), (3, 1, vec![3, 7]), (6, 0, vec![8])]);
    assert_eq!(memory(&t), [(0, 64 * GIB), (3, 32 * GIB), (5, 16 * GIB), (6, 0)]);
    assert_eq!([0, 1, 2, 3].map(|i| t.home(i)), [0, 1, 2, 0]);
    assert_eq!(pages::free_memory_at(&tree.0, 3), Some(16 * GIB + 2024 * 1024));
    assert_eq!(pages::free_memory_at(&tree.0, 1), None);
    let zones = [(0, "DMA", 7), (3, "Normal", 20), (3, "Movable", 1), (30, "Normal", 900)];
    let zone = |(n, z, low)| {
        format!("Node {n}, zone {z:>8}\n  pages free     9\n        min      5\n        low      {low}\n        high     30\n")
    };
    tree.put("proc/zoneinfo", &zones.map(zone).concat());
    assert_eq!(pages::free_memory_at(&tree.0, 3), Some(16 * GIB + 2024 * 1024 - 21 * crate::mmap::page_size() as u64));
}

#[test]
fn the_kernels_tables_as_far_as_allowed() {
    let tree = two_sockets("allowed");
    tree.put("proc/self/status", "Mems_allowed_list:\t3\n");
    let t = tree.read([5, 6, 2, 9]);
    assert_eq!(shape(&t), [(0, 0, vec![5]), (3, 1, vec![2, 6])]);
    assert_eq!(memory(&t), [(0, 0), (3, 32 * GIB)]);
}

#[test]
fn a_kernel_without_nodes_and_one_that_tells_nothing() {
    let tree = Tree::new("bare");
    tree.put("proc/meminfo", "MemTotal:        1024 kB\nMemFree: 1 kB\n");
    tree.system("cpu/online", "0-3\n");
    let t = tree.read(0..4);
    assert_eq!(memory(&t), [(0, 1 << 20)]);
    assert_eq!(t.n_cores(), 4);
    let nothing = Tree::new("nothing").read([7, 9]);
    assert_eq!((shape(&nothing), memory(&nothing)), (vec![(0, 0, vec![7]), (0, 0, vec![9])], vec![(0, u64::MAX)]));
}

#[test]
fn kinds_from_capacities_and_from_counters() {
    let arm = two_sockets("arm");
    for (cpu, capacity) in [(0, 500), (4, 500), (1, 1024), (5, 1024), (2, 250), (3, 500)] {
        arm.system(&format!("cpu/cpu{cpu}/cpu_capacity"), &capacity.to_string());
    }
    let kinds = |t: Topology| t.nodes.iter().flat_map(|n| &n.cores).map(|c| c.efficiency).collect::<Vec<_>>();
    assert_eq!(kinds(arm.read(0..8)), [1, 2, 0, 1]);
    let intel = two_sockets("intel");
    intel.put("sys/devices/cpu_core/cpus", "0-1,4-5\n");
    assert_eq!(kinds(intel.read(0..8)), [0, 0, 0, 0], "one kind alone is no kind");
    intel.put("sys/devices/cpu_atom/cpus", "2-3,6-8\n");
    assert_eq!(kinds(intel.read(0..9)), [1, 1, 0, 0, 0]);
}

#[test]
fn a_report_says_what_was_found_and_what_limits_it() {
    let tree = two_sockets("report");
    tree.put("proc/self/cgroup", "0::/a/b\n");
    tree.put("proc/sys/kernel/numa_balancing", "1\n");
    tree.put("sys/fs/cgroup/a/cpuset.cpus.effective", "0-6\n");
    tree.put("sys/fs/cgroup/a/b/cpuset.cpus.effective", "\n");
    tree.put("sys/fs/cgroup/a/b/cpu.max", "150000 100000\n");
    tree.put("sys/fs/cgroup/a/cpu.max", "max 100000\n");
    let cpus: cpus::Set = [0, 4, 2, 3, 6].into();
    let lines = tree.read(cpus.clone()).report_with(&Limits::at(&tree.0, cpus));
    assert_eq!(
        lines,
        [
            "numa: 3 nodes, 3 cores, 5 CPUs (read from /sys); kernel.numa_balancing 1",
            "numa: node 0: 64.0 GiB, 1 core of package 0, CPUs 0,4 (up to 2 a core)",
            "numa: node 3: 32.0 GiB, 2 cores of package 1, CPUs 2-3,6 (up to 2 a core)",
            "numa: node 5: 16.0 GiB, memory only",
            "numa: this process may run on CPUs 0,2-4,6 of 0-8, by its cgroup and its affinity",
            "numa: its cgroup gives it the time of 1.5 CPUs: more threads wait for each other",
        ]
    );
}

#[test]
fn version_one_cgroups_limit_too() {
    let tree = Tree::new("one");
    tree.put("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:cpuset:/y\nbroken\n");
    tree.put("sys/fs/cgroup/cpuset/y/cpuset.effective_cpus", "2-3\n");
    tree.put("sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "-1\n");
    tree.put("sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "100000\n");
    tree.put("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n");
    tree.put("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    let l = Limits::at(&tree.0, [2].into());
    assert_eq!((l.cgroup, l.cpu_time, l.balancing), (Some([2, 3].into()), Some(0.5), None));
}
