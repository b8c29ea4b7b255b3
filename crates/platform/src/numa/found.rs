//! From what a reader saw to a topology: one set of rules for hwloc and for `/sys`.
use super::cpus::Set;
use super::{Core, Node, Origin, Topology};

/// What a reader saw of the machine.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub nodes: Vec<FoundNode>,
    /// All cores, with all their hardware threads, in any order.
    pub cores: Vec<Core>,
    /// CPUs that may be used.
    pub cpus: Set,
    /// Nodes that may be allocated on; `None`: all.
    pub mems: Option<Set>,
}

#[derive(Debug)]
pub(super) struct FoundNode {
    pub os: u32,
    pub memory: u64,
    /// CPUs beside it. Several nodes may name the same: fast and slow memory of one package.
    pub cpus: Set,
    /// Not ordinary memory (HBM, NVM, CXL): its CPUs have a node of their own, if there is one.
    pub special: bool,
}

impl Found {
    pub fn topology(mut self, origin: Origin) -> Topology {
        self.nodes.sort_by_key(|n| n.os);
        if self.nodes.is_empty() {
            self.nodes.push(FoundNode { os: 0, memory: u64::MAX, cpus: self.cpus.clone(), special: false });
        }
        let cores = self.usable_cores();
        let homes = self.homes(&cores);
        let mut nodes: Vec<Node> = self.nodes.iter().map(|n| Node { os: n.os, memory: self.usable_memory(n), cores: Vec::new() }).collect();
        for (core, home) in cores.into_iter().zip(homes) {
            nodes[home].cores.push(core);
        }
        nodes.retain(|n| n.memory > 0 || !n.cores.is_empty());
        Topology { nodes, origin }
    }

    fn usable_memory(&self, n: &FoundNode) -> u64 {
        let may = self.mems.as_ref().is_none_or(|m| m.contains(&n.os));
        if may { n.memory } else { 0 }
    }

    /// Cores with the threads that may be used, by package and number.
    fn usable_cores(&self) -> Vec<Core> {
        let usable = |c: &Core| Core { cpus: c.cpus.iter().copied().filter(|t| self.cpus.contains(t)).collect(), ..c.clone() };
        let mut cores: Vec<Core> = self.cores.iter().map(usable).filter(|c| !c.cpus.is_empty()).collect();
        cores.iter_mut().for_each(|c| c.cpus.sort_unstable());
        cores.sort_by_key(|c| (c.package, c.cpus[0]));
        cores
    }

    /// For each core, which node it computes beside: an index into `nodes`.
    fn homes(&self, cores: &[Core]) -> Vec<usize> {
        let beside: Vec<Option<usize>> = cores.iter().map(|c| self.beside(c.cpus[0])).collect();
        // CPUs that no node names (a socket without memory): their package's first node, or the first of all.
        let of_package = |p: u32| cores.iter().zip(&beside).find_map(|(c, n)| n.filter(|_| c.package == p));
        cores.iter().zip(&beside).map(|(c, n)| n.or_else(|| of_package(c.package)).unwrap_or(0)).collect()
    }

    /// Of the nodes that name a CPU: ordinary memory before other, then the one with fewest CPUs, then the lowest number.
    fn beside(&self, cpu: u32) -> Option<usize> {
        let named = self.nodes.iter().enumerate().filter(|(_, n)| n.cpus.contains(&cpu));
        named.min_by_key(|(_, n)| (n.special, n.cpus.len(), n.os)).map(|(i, _)| i)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn core(package: u32, cpus: &[u32]) -> Core {
        Core { cpus: cpus.to_vec(), package, efficiency: 0 }
    }
    fn node(os: u32, memory: u64, cpus: impl IntoIterator<Item = u32>, special: bool) -> FoundNode {
        FoundNode { os, memory, cpus: cpus.into_iter().collect(), special }
    }
    /// Node number, memory, CPUs of each core.
    fn shape(t: &Topology) -> Vec<(u32, u64, Vec<Vec<u32>>)> {
        t.nodes.iter().map(|n| (n.os, n.memory, n.cores.iter().map(|c| c.cpus.clone()).collect())).collect()
    }

    #[test]
    fn fast_memory_beside_the_same_cpus_is_memory_only() {
        let found = Found {
            nodes: vec![node(2, 16, 0..2, true), node(1, 64, 2..4, false), node(0, 64, 0..2, false), node(9, 32, [], false)],
            cores: vec![core(1, &[3]), core(1, &[2]), core(0, &[1]), core(0, &[0])],
            cpus: (0..4).collect(),
            mems: None,
        };
        let t = found.topology(Origin::Hwloc);
        assert_eq!(shape(&t), [(0, 64, vec![vec![0], vec![1]]), (1, 64, vec![vec![2], vec![3]]), (2, 16, vec![]), (9, 32, vec![])]);
    }

    #[test]
    fn what_is_not_allowed_is_not_there() {
        let found = Found {
            nodes: vec![node(0, 64, [0, 1, 4, 5], false), node(1, 64, [2, 3, 6, 7], false), node(2, 64, [], false)],
            cores: vec![core(0, &[4, 0]), core(0, &[1, 5]), core(1, &[2, 6]), core(1, &[3, 7])],
            cpus: [4, 2, 6].into(),
            mems: Some([0, 2].into()),
        };
        assert_eq!(shape(&found.topology(Origin::Sysfs)), [(0, 64, vec![vec![4]]), (1, 0, vec![vec![2, 6]]), (2, 64, vec![])]);
    }

    #[test]
    fn cores_without_a_node_go_to_their_package_and_no_node_at_all_is_one() {
        let cores = || vec![core(0, &[0]), core(1, &[1]), core(1, &[2]), core(2, &[3])];
        let found =
            Found { nodes: vec![node(0, 8, [0], false), node(3, 8, [1], false)], cores: cores(), cpus: (0..4).collect(), mems: None };
        assert_eq!(shape(&found.topology(Origin::Sysfs)), [(0, 8, vec![vec![0], vec![3]]), (3, 8, vec![vec![1], vec![2]])]);
        let none = Found { nodes: vec![], cores: cores(), cpus: (0..4).collect(), mems: None };
        assert_eq!(none.topology(Origin::Sysfs).n_cores(), 4);
    }
}
