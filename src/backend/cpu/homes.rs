//! Whose work is whose. Work on rows belongs to the node that has them; workers take pieces of their own node, and of others only where those have
//! fewer workers than rows (none at all, or less than their share). With one node everything is its own. Knows pieces, not what they are.
use platform::numa::Nodes;
use platform::pool::{Pieces, Worker};
use std::ops::Range;

/// Work queues of one step, one a node.
#[derive(Clone, Copy, Debug)]
pub struct Queue(pub usize);

/// How the nodes are manned in one run.
pub struct Homes {
    /// Workers of each.
    crews: Vec<u32>,
    /// Nodes that a worker of each looks after, its own first.
    rounds: Vec<Vec<usize>>,
}

impl Homes {
    /// `seats`: workers by node.
    pub fn new(nodes: &Nodes, seats: &[usize]) -> Homes {
        let n = nodes.len().min(seats.len());
        let crews: Vec<u32> = seats[..n].iter().map(|s| *s as u32).collect();
        let cores = |h: usize| nodes.homes[h].n_cores.max(1) as u64;
        let (workers, all) = (crews.iter().sum::<u32>(), (0..n).map(cores).sum::<u64>());
        let short = |h: usize| u64::from(crews[h]) * all < u64::from(workers) * cores(h);
        let others = |h: usize| (1..n).map(move |i| (h + i) % n).filter(|o| short(*o));
        let rounds = (0..n).map(|h| std::iter::once(h).chain(others(h)).collect()).collect();
        Homes { crews, rounds }
    }
    pub fn len(&self) -> usize {
        self.crews.len()
    }
    /// The worker's next piece: (node, number) below `count(node)`.
    pub fn take(&self, w: &Worker<'_>, queues: &[Pieces], q: Queue, count: impl Fn(usize) -> usize) -> Option<(usize, usize)> {
        self.rounds[w.node as usize].iter().find_map(|h| Some((*h, queues[q.0 + h].take(count(*h))?)))
    }
    /// The worker's part of `0..n` items of node `home`, where each knows his from the start.
    pub fn part(&self, w: &Worker<'_>, home: usize, n: usize) -> Range<usize> {
        match self.crews[home] {
            0 => w.share(n, 1),
            _ if home != w.node as usize => 0..0,
            _ => w.share_in_node(n, 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform::numa::{Origin, Strategy, Topology};

    fn nodes(cores: &[usize]) -> Nodes {
        let node = |n: &usize| Topology::flat(&(0..*n).collect::<Vec<_>>()).nodes.remove(0);
        Nodes::of(&Topology { nodes: cores.iter().map(node).collect(), origin: Origin::Injected }, Strategy::Shard, None, false)
    }

    #[test]
    fn who_is_short_is_helped() {
        let rounds = |cores: &[usize], seats: &[usize]| Homes::new(&nodes(cores), seats).rounds;
        assert_eq!(rounds(&[4, 4], &[2, 2]), [vec![0], vec![1]]);
        assert_eq!(rounds(&[3, 1], &[3, 1]), [vec![0], vec![1]]);
        assert_eq!(rounds(&[4, 4], &[2, 1]), [vec![0, 1], vec![1]]);
        assert_eq!(rounds(&[1, 1, 1], &[1, 0, 0]), [vec![0, 1, 2], vec![1, 2], vec![2, 1]]);
        assert_eq!(rounds(&[4], &[3, 3]), [vec![0]]);
    }
}
