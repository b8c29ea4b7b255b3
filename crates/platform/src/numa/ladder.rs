//! What placement stands on here: containers refuse `mbind`, some refuse pinning too. Found once by trying, then known to everybody.
use super::cpus::{Set, affinity, pin};
use super::pages::{bind, current_cpu_and_node, interleave, interleave_thread, mems_allowed, nodes_of, populate};
use super::{Node, pages};
use crate::mmap::{Anon, page_size};
use std::sync::OnceLock;

/// From the best to none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rung {
    /// A range is bound to its node before anybody touches it.
    Bound,
    /// Binding is refused: threads pinned beside the node touch its pages first.
    Touched,
    /// Neither works: pages lie on all nodes in turn, so that no node is everybody's.
    Interleaved,
    /// Pages lie where the system puts them.
    Plain,
}

impl Rung {
    pub const ALL: [Rung; 4] = [Rung::Bound, Rung::Touched, Rung::Interleaved, Rung::Plain];
    pub fn word(self) -> &'static str {
        ["bound", "touched", "interleaved", "plain"][self as usize]
    }
    fn of(word: &str) -> Option<Rung> {
        Rung::ALL.into_iter().find(|r| r.word() == word)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ladder {
    pub rung: Rung,
    /// Why not a better one; why this one, if it is the best.
    pub why: String,
}

/// The rung that this process stands on; tried at the first call.
pub fn ladder() -> &'static Ladder {
    static FOUND: OnceLock<Ladder> = OnceLock::new();
    FOUND.get_or_init(|| match forced() {
        Some(rung) => Ladder { rung, why: "CAMELID_NUMA_RUNG says so".into() },
        None => decide([try_bind, try_pin, try_interleave]),
    })
}

fn forced() -> Option<Rung> {
    let word = crate::env::get("CAMELID_NUMA_RUNG")?;
    let rung = Rung::of(&word);
    if rung.is_none() {
        crate::log::warn(format!("CAMELID_NUMA_RUNG={word}: not one of bound, touched, interleaved, plain"));
    }
    rung
}

/// The first rung whose trial succeeds. A trial says what it saw, or why it failed.
fn decide(trials: [impl FnOnce() -> Result<String, String>; 3]) -> Ladder {
    let mut refused = Vec::new();
    for (rung, trial) in Rung::ALL.into_iter().zip(trials) {
        match trial() {
            Ok(seen) if refused.is_empty() => return Ladder { rung, why: seen },
            Ok(_) => return Ladder { rung, why: refused.join("; ") },
            Err(e) => refused.push(e),
        }
    }
    Ladder { rung: Rung::Plain, why: refused.join("; ") }
}

/// A node that this thread is not on, if there is one: there, luck cannot be taken for success. The one with most room, for on a full one the kernel
/// would end somebody for a page.
fn elsewhere() -> u32 {
    let here = current_cpu_and_node().map_or(0, |(_, node)| node);
    let room = |n: &u32| pages::free_memory(*n).unwrap_or(0);
    let others = mems_allowed().into_iter().filter(|n| *n != here && room(n) >= ROOM);
    others.max_by_key(room).unwrap_or(here)
}

/// Far above what the kernel keeps back of a node.
const ROOM: u64 = 64 << 20;

/// Binds one page.
fn try_bind() -> Result<String, String> {
    if cfg!(camelid_no_mmap) {
        return Err("this build has no memory maps to bind".into());
    }
    let node = elsewhere();
    let page = Anon::new(page_size()).map_err(|e| e.to_string())?;
    let start = page.as_ptr().cast_const();
    bind(start, page_size(), node).map_err(|e| format!("mbind: {e}"))?;
    // SAFETY: the page is ours and zeroed.
    unsafe { page.as_ptr().write_volatile(1) };
    match nodes_of(start, page_size(), page_size()) {
        Ok(at) if at == [node.cast_signed()] => Ok(format!("a page bound to node {node} lies there")),
        Ok(at) => Err(format!("a page bound to node {node} lies on {at:?}")),
        Err(e) => Ok(format!("mbind is accepted; where pages lie is not told ({e})")),
    }
}

/// In a thread of its own: the caller's affinity is not touched.
fn try_pin() -> Result<String, String> {
    in_a_thread(|| {
        let own = affinity(0)?;
        let one = own.first().copied();
        pin(&one.into_iter().collect())
    })
    .map(|()| "threads can be pinned".into())
    .map_err(|e| format!("sched_setaffinity: {e}"))
}

fn try_interleave() -> Result<String, String> {
    let nodes: Vec<u32> = mems_allowed().into_iter().collect();
    in_a_thread(move || interleave_thread(&nodes)).map(|()| "threads can interleave".into()).map_err(|e| format!("set_mempolicy: {e}"))
}

fn in_a_thread(f: impl FnOnce() -> std::io::Result<()> + Send) -> std::io::Result<()> {
    std::thread::scope(|s| {
        let t = std::thread::Builder::new().spawn_scoped(s, f)?;
        t.join().unwrap_or_else(|_| Err(std::io::Error::other("the thread died")))
    })
}

/// Pieces that threads of different nodes touch in turn: one huge page.
const PIECE: usize = 2 << 20;

/// Spreads a range of whole pages that nobody has touched over nodes, in the first way that works: a policy of the range (nothing is touched yet),
/// a policy of a thread that takes the pages, threads pinned beside each node that take pieces in turn.
pub fn spread(start: *const u8, len: usize, nodes: &[Node]) -> std::io::Result<()> {
    let (from, with_memory): (usize, Vec<&Node>) = (start as usize, nodes.iter().filter(|n| n.memory > 0).collect());
    if with_memory.is_empty() {
        return Err(std::io::Error::other("no node has memory"));
    }
    let numbers: Vec<u32> = with_memory.iter().map(|n| n.os).collect();
    if ladder().rung == Rung::Bound {
        return interleave(start, len, &numbers);
    }
    let taken = in_a_thread(|| {
        interleave_thread(&numbers)?;
        populate(from as *const u8, len)
    });
    taken.or_else(|_| in_turn(from, len, &with_memory))
}

fn in_turn(from: usize, len: usize, nodes: &[&Node]) -> std::io::Result<()> {
    let beside: Vec<Set> = nodes.iter().map(|n| n.cores.iter().flat_map(|c| c.cpus.iter().copied()).collect()).collect();
    let beside: Vec<Set> = beside.into_iter().filter(|s: &Set| !s.is_empty()).collect();
    for (k, cpus) in beside.iter().enumerate() {
        let n = beside.len();
        in_a_thread(move || {
            pin(cpus)?;
            let pieces = (k * PIECE..len).step_by(n * PIECE);
            pieces.map(|at| (at, PIECE.min(len - at))).try_for_each(|(at, size)| pages::populate((from + at) as *const u8, size))
        })?;
    }
    if beside.is_empty() { Err(std::io::Error::other("no node has CPUs of ours")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Trial = fn() -> Result<String, String>;
    const YES: Trial = || Ok("yes".into());
    const NO: Trial = || Err("no".into());

    #[test]
    fn the_first_that_works_counts_and_the_reason_is_what_failed() {
        let at = |t: [Trial; 3]| decide(t);
        assert_eq!(at([YES, NO, NO]), Ladder { rung: Rung::Bound, why: "yes".into() });
        assert_eq!(at([NO, YES, NO]), Ladder { rung: Rung::Touched, why: "no".into() });
        assert_eq!(at([NO, NO, YES]), Ladder { rung: Rung::Interleaved, why: "no; no".into() });
        assert_eq!(at([NO, NO, NO]), Ladder { rung: Rung::Plain, why: "no; no; no".into() });
    }

    #[test]
    fn words_and_rungs() {
        assert_eq!(Rung::ALL.map(|r| Rung::of(r.word())), Rung::ALL.map(Some));
        assert_eq!(Rung::of("high"), None);
        assert!(Rung::Bound < Rung::Plain);
    }

    #[test]
    fn trials_leave_this_thread_as_it_was() {
        let before = affinity(0).expect("known");
        try_pin().expect("this machine pins");
        assert_eq!(affinity(0).expect("known"), before);
    }
}
