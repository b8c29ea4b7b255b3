//! What is placed where: the nodes that threads and memory are spread over, decided once (`llama_numa_init`, `CAMELID_NUMA`) and asked by teams
//! and backends. Knows shares and cuts, nothing of matrices.
use super::{Rung, Topology, cpus, ladder, pages, topology};
use crate::mmap::page_size;
use crate::{env, log};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// `ggml_numa_strategy`, and one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Threads on all cores, memory where it happens to be.
    Disabled,
    /// Threads on all nodes, pages of weights on all nodes in turn.
    Distribute,
    /// Threads and memory on the node of the caller.
    Isolate,
    /// Threads on the CPUs and memory by the policy that the process was started with.
    Numactl,
    /// A copy of all weights on every node.
    Mirror,
    /// Every matrix cut by rows.
    Shard,
}

impl Strategy {
    const NAMES: [(&str, Strategy); 6] = [
        ("disabled", Strategy::Disabled),
        ("distribute", Strategy::Distribute),
        ("isolate", Strategy::Isolate),
        ("numactl", Strategy::Numactl),
        ("mirror", Strategy::Mirror),
        ("shard", Strategy::Shard),
    ];
    /// By the original's number (0 to 4).
    pub fn numbered(n: i32) -> Option<Strategy> {
        usize::try_from(n).ok().filter(|n| *n < 5).map(|n| Self::NAMES[n].1)
    }
    pub fn named(name: &str) -> Option<Strategy> {
        Self::NAMES.iter().find(|s| s.0 == name).map(|s| s.1)
    }
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|s| s.1 == self).map_or("", |s| s.0)
    }
    /// Whether weights leave the file for memory of chosen nodes.
    pub fn places(self) -> bool {
        !matches!(self, Strategy::Disabled | Strategy::Numactl)
    }
}

/// A node that work is done beside, or several that are not told apart.
#[derive(Debug)]
pub struct Home {
    /// The system's number; `None` where memory is left to the system.
    pub os: Option<u32>,
    /// Hardware threads to work on: the first ones of real cores, then their siblings.
    pub cpus: Vec<u32>,
    pub n_cores: usize,
    /// Seats given away so far: two teams do not sit on the same cores when they need not.
    taken: AtomicUsize,
}

impl Home {
    fn new(os: Option<u32>, cores: &[&super::Core], smt: bool) -> Home {
        let first = cores.iter().map(|c| c.cpus[0]);
        let cpus: Vec<u32> = if smt {
            cores.iter().flat_map(|c| c.cpus.iter().copied()).collect()
        } else {
            let longest = cores.iter().map(|c| c.cpus.len()).max().unwrap_or(0);
            let siblings = (1..longest).flat_map(|i| cores.iter().filter_map(move |c| c.cpus.get(i).copied()));
            first.chain(siblings).collect()
        };
        let n_cores = if smt { cpus.len() } else { cores.len() };
        Home { os, cpus, n_cores, taken: AtomicUsize::new(0) }
    }

    /// CPUs for `n` threads, each its own: real cores first, after those that the last team got.
    pub fn seats(&self, n: usize) -> Vec<u32> {
        let (cores, siblings) = self.cpus.split_at(self.n_cores);
        let first = self.taken.fetch_add(n, Ordering::Relaxed);
        let turned = |list: &[u32]| -> Vec<u32> { (0..list.len()).map(|i| list[(first + i) % list.len()]).collect() };
        let mut seats = turned(cores);
        seats.extend(turned(siblings));
        seats.truncate(n);
        seats
    }
}

/// The decision.
#[derive(Debug)]
pub struct Nodes {
    pub strategy: Strategy,
    /// Never empty.
    pub homes: Vec<Home>,
}

impl Nodes {
    /// What `strategy` makes of a machine; `here` is the node of the caller.
    pub fn of(t: &Topology, strategy: Strategy, here: Option<u32>, smt: bool) -> Nodes {
        let fake = t.origin == super::Origin::Injected;
        let apart = matches!(strategy, Strategy::Distribute | Strategy::Isolate | Strategy::Mirror | Strategy::Shard);
        let all = || t.nodes.iter().flat_map(|n| &n.cores).collect::<Vec<_>>();
        let mut homes: Vec<(Option<u32>, Vec<&super::Core>)> = Vec::new();
        if apart {
            // Cores without memory work beside the memory that serves them.
            let beside = |i: usize| if fake { i } else { t.home(i) };
            for (i, n) in t.nodes.iter().enumerate() {
                let cores = t.nodes.iter().enumerate().filter(|(k, _)| beside(*k) == i).flat_map(|(_, n)| &n.cores).collect::<Vec<_>>();
                if !cores.is_empty() {
                    homes.push(((!fake).then_some(n.os), cores));
                }
            }
        }
        if strategy == Strategy::Isolate && homes.len() > 1 {
            let at = homes.iter().position(|h| h.0.is_some() && h.0 == here).unwrap_or(0);
            homes = vec![homes.swap_remove(at)];
        }
        if homes.is_empty() {
            homes.push((None, all()));
        }
        Nodes { strategy, homes: homes.into_iter().map(|(os, cores)| Home::new(os, &cores, smt)).collect() }
    }

    /// Pages of a range that nobody has touched go to a home: at once where ranges can be told so, else when `settle` takes them. A full node's go
    /// elsewhere; nothing is killed for it.
    pub fn tell(&self, home: usize, start: *const u8, len: usize) {
        let Some(os) = self.homes[home].os.filter(|_| ladder().rung == Rung::Bound) else { return };
        if let Err(e) = pages::prefer(start, len, os) {
            log::warn(format!("numa: {} bytes could not be given to node {os}: {e}", len));
        }
    }
    /// Pages of a range go to all homes in turn.
    pub fn tell_all(&self, start: *const u8, len: usize) {
        let (all, len): (Vec<u32>, usize) = (self.homes.iter().filter_map(|h| h.os).collect(), len.next_multiple_of(page_size()));
        if all.len() > 1
            && ladder().rung == Rung::Bound
            && let Err(e) = pages::interleave(start, len, &all)
        {
            log::warn(format!("numa: {len} bytes could not be spread: {e}"));
        }
    }
    /// Runs `f`, which touches a range of whole pages of a home for the first time: on the calling thread where they know where to go, else on one
    /// beside them; or they are spread where that is all that can be had.
    pub fn beside<T: Send>(&self, home: usize, start: *const u8, len: usize, f: impl FnOnce() -> T + Send) -> T {
        if self.homes.len() == 1 || ladder().rung != Rung::Touched {
            if self.homes.len() > 1 && ladder().rung == Rung::Interleaved {
                // A refusal leaves them to the system: the rung below.
                let _ = super::spread(start, len, &topology().nodes);
            }
            return f();
        }
        let cpus = &self.homes[home].cpus;
        let mut f = Some(f);
        let done = std::thread::scope(|s| {
            let there = || {
                let _ = cpus::pin(&cpus.iter().copied().collect());
                f.take().map(|f| f())
            };
            let t = std::thread::Builder::new().spawn_scoped(s, there).ok();
            t.and_then(|t| t.join().unwrap_or_else(|p| std::panic::resume_unwind(p)))
        });
        match (done, f) {
            (Some(done), _) => done,
            (None, Some(f)) => f(),
            (None, None) => unreachable!("it was run or it was not"),
        }
    }

    pub fn len(&self) -> usize {
        self.homes.len()
    }
    pub fn is_empty(&self) -> bool {
        self.homes.is_empty()
    }
    /// Hardware threads of all homes.
    pub fn n_cpus(&self) -> usize {
        self.homes.iter().map(|h| h.cpus.len()).sum()
    }

    /// `0..n` in one part per home, in proportion to their cores; borders are multiples of `granule`.
    pub fn cut(&self, n: usize, granule: usize) -> Vec<Range<usize>> {
        let (all, pieces) = (self.homes.iter().map(|h| h.n_cores).sum::<usize>().max(1), n.div_ceil(granule));
        let mut cores = 0;
        let mut ends = self.homes.iter().map(|h| {
            cores += h.n_cores;
            ((pieces * cores + all / 2) / all * granule).min(n)
        });
        let mut start = 0;
        let mut parts: Vec<_> = ends.by_ref().map(|end| std::mem::replace(&mut start, end)..end).collect();
        parts.iter_mut().next_back().into_iter().for_each(|p| p.end = n);
        parts
    }
}

impl std::fmt::Display for Nodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let l = ladder();
        write!(f, "numa: {}, placement by {} ({}); work on", self.strategy.name(), l.rung.word(), l.why)?;
        for (i, h) in self.homes.iter().enumerate() {
            let node = h.os.map_or("all nodes".into(), |n| format!("node {n}"));
            write!(f, "{} {node}: {} cores, CPUs {}", if i > 0 { ";" } else { "" }, h.n_cores, cpus::list(h.cpus.iter().copied()))?;
        }
        Ok(())
    }
}

/// `n` divided in proportion to `room`, nobody above his room; all of it where there is room for all.
pub fn apportion(n: usize, room: &[usize]) -> Vec<usize> {
    let all = room.iter().sum::<usize>();
    let n = n.min(all);
    let mut parts: Vec<usize> = room.iter().map(|r| n * r / all.max(1)).collect();
    let mut order: Vec<usize> = (0..room.len()).collect();
    // The largest remainder first, the first of equal ones.
    order.sort_by_key(|i| std::cmp::Reverse(n * room[*i] % all.max(1)));
    let left = n - parts.iter().sum::<usize>();
    order.iter().take(left).for_each(|i| parts[*i] += 1);
    parts
}

static CURRENT: OnceLock<Mutex<Arc<Nodes>>> = OnceLock::new();

/// What the user said by environment, which wins over programs.
fn asked() -> Option<Strategy> {
    let name = env::get("CAMELID_NUMA")?;
    let found = Strategy::named(&name);
    if found.is_none() {
        log::warn(format!("CAMELID_NUMA={name} is no strategy: decided as if it were not set"));
    }
    found
}

fn decide(strategy: Strategy) -> Arc<Nodes> {
    let here = pages::current_cpu_and_node().ok().map(|(_, node)| node);
    Arc::new(Nodes::of(topology(), strategy, here, env::flag("CAMELID_SMT")))
}

fn current() -> &'static Mutex<Arc<Nodes>> {
    CURRENT.get_or_init(|| Mutex::new(decide(asked().unwrap_or(Strategy::Disabled))))
}

/// What holds for models and contexts made from now on.
pub fn nodes() -> Arc<Nodes> {
    current().lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// A program's wish; what holds then.
pub fn set(strategy: Strategy) -> Arc<Nodes> {
    let strategy = asked().unwrap_or(strategy);
    let mut held = current().lock().unwrap_or_else(PoisonError::into_inner);
    if held.strategy != strategy {
        *held = decide(strategy);
    }
    held.clone()
}

#[cfg(test)]
mod tests {
    use super::super::{Core, Node, Origin};
    use super::*;

    fn machine(nodes: &[(u32, u64, &[&[u32]])]) -> Topology {
        let core = |cpus: &&[u32]| Core { cpus: cpus.to_vec(), package: 0, efficiency: 0 };
        let node = |(os, memory, cores): &(u32, u64, &[&[u32]])| Node { os: *os, memory: *memory, cores: cores.iter().map(core).collect() };
        Topology { nodes: nodes.iter().map(node).collect(), origin: Origin::Sysfs }
    }

    #[test]
    fn parts_follow_room() {
        assert_eq!(apportion(8, &[8, 8]), [4, 4]);
        assert_eq!(apportion(3, &[8, 8]), [2, 1]);
        assert_eq!(apportion(4, &[3, 1]), [3, 1]);
        assert_eq!(apportion(9, &[3, 1]), [3, 1]);
        assert_eq!(apportion(2, &[4, 4, 4]), [1, 1, 0]);
        assert_eq!(apportion(5, &[0, 4, 2]), [0, 3, 2]);
        for n in 0..40 {
            let parts = apportion(n, &[7, 13, 1, 9]);
            assert!(parts.iter().sum::<usize>() == n.min(30) && parts.iter().zip([7, 13, 1, 9]).all(|(p, r)| *p <= r), "{n}: {parts:?}");
        }
    }

    #[test]
    fn homes_are_nodes_with_cores() {
        let sparse = machine(&[(0, 1, &[&[0, 4], &[1, 5]]), (2, 0, &[&[2, 6]]), (5, 1, &[&[3, 7]]), (8, 1, &[])]);
        let of = |s, here, smt| {
            let n = Nodes::of(&sparse, s, here, smt);
            n.homes.iter().map(|h| (h.os, h.cpus.clone(), h.n_cores)).collect::<Vec<_>>()
        };
        assert_eq!(of(Strategy::Shard, None, false), [(Some(0), vec![0, 1, 2, 4, 5, 6], 3), (Some(5), vec![3, 7], 1)]);
        assert_eq!(of(Strategy::Isolate, Some(5), false), [(Some(5), vec![3, 7], 1)]);
        assert_eq!(of(Strategy::Disabled, None, false), [(None, vec![0, 1, 2, 3, 4, 5, 6, 7], 4)]);
        assert_eq!(of(Strategy::Numactl, None, true), [(None, vec![0, 4, 1, 5, 2, 6, 3, 7], 8)]);
    }

    #[test]
    fn cuts_cover_everything_at_borders_of_the_granule() {
        let t = machine(&[(0, 1, &[&[0], &[1], &[2]]), (1, 1, &[&[3]])]);
        let n = Nodes::of(&t, Strategy::Shard, None, false);
        assert_eq!(n.cut(4096, 32), [0..3072, 3072..4096]);
        assert_eq!(n.cut(100, 32), [0..96, 96..100]);
        assert_eq!(n.cut(8, 1), [0..6, 6..8]);
        assert_eq!(n.cut(0, 32), [0..0, 0..0]);
        assert_eq!(n.cut(5, 32), [0..5, 5..5]);
    }

    #[test]
    fn teams_sit_apart_and_on_cores_first() {
        let t = machine(&[(0, 1, &[&[0, 4], &[1, 5], &[2, 6], &[3, 7]])]);
        let h = &Nodes::of(&t, Strategy::Shard, None, false).homes[0];
        assert_eq!((h.seats(2), h.seats(2), h.seats(2)), (vec![0, 1], vec![2, 3], vec![0, 1]));
        assert_eq!(h.seats(6), [2, 3, 0, 1, 6, 7]);
    }
}
