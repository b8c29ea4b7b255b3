//! A persistent team of workers: one broadcast per decode, a light barrier between steps. rayon's only door.
//!
//! Threads start at the first `run`, never in rayon's global pool, so a fork between load and first decode works. The
//! caller never computes and its affinity is never touched. Nobody waits for a dead worker: a panic, an abort or a failed
//! step makes every `sync` return `Stop`, and the team stays usable.
use crate::log;
use crate::numa::{self, Nodes, apportion};
use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Duration;

/// Why a run ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The abort callback said so.
    Aborted,
    /// A worker panicked; the message is its payload.
    Panicked(String),
    /// A step could not be done.
    Failed(String),
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Stop::Aborted => f.write_str("aborted by the callback"),
            Stop::Panicked(m) => write!(f, "a worker panicked: {m}"),
            Stop::Failed(m) => f.write_str(m),
        }
    }
}

/// Workers of one context. At most `max` take part; `run` says how many do.
pub struct Team {
    nodes: Arc<Nodes>,
    /// Most workers of each node.
    room: Vec<usize>,
    pool: OnceLock<rayon::ThreadPool>,
}

/// One participant of a run. Consecutive ids share a node; ids of real cores are taken before those of their siblings.
pub struct Worker<'a> {
    pub id: u32,
    pub n: u32,
    pub node: u32,
    pub id_in_node: u32,
    pub n_in_node: u32,
    run: &'a Run,
    epoch: Cell<u32>,
}

impl Team {
    /// A team of up to `max` threads (at least one) on the nodes that hold now. Nothing is started yet.
    pub fn new(max: u32) -> Team {
        Team::on(numa::nodes(), max)
    }

    pub fn on(nodes: Arc<Nodes>, max: u32) -> Team {
        let cpus: Vec<usize> = nodes.homes.iter().map(|h| h.cpus.len()).collect();
        let mut room = apportion(max.max(1) as usize, &cpus);
        // More workers than there is anything to run on: as many for each.
        let more = max.max(1) as usize - room.iter().sum::<usize>();
        (0..more).for_each(|i| room[i % cpus.len()] += 1);
        Team { nodes, room, pool: OnceLock::new() }
    }

    pub fn max(&self) -> u32 {
        self.room.iter().sum::<usize>() as u32
    }

    /// How many of `active` workers sit on each node.
    pub fn seats(&self, active: u32) -> Vec<usize> {
        apportion(active.max(1) as usize, &self.room)
    }

    /// Started on first use. What fails is tried again next time: the system may have threads then.
    fn pool(&self) -> Result<&rayon::ThreadPool, Stop> {
        if let Some(p) = self.pool.get() {
            return Ok(p);
        }
        let p = self.start().map_err(|e| Stop::Failed(format!("cannot start {} threads: {e}", self.max())))?;
        Ok(self.pool.get_or_init(|| p))
    }

    fn start(&self) -> Result<rayon::ThreadPool, String> {
        let pins = self.pins();
        rayon::ThreadPoolBuilder::new()
            .num_threads(self.max() as usize)
            .thread_name(|i| format!("camelid-{i}"))
            .start_handler(move |i| pins.get(i).into_iter().for_each(|cpu| stay(*cpu)))
            .build()
            .map_err(|e| e.to_string())
    }

    /// The CPU of each thread, node by node. Empty (no pinning) where there are more threads than CPUs.
    fn pins(&self) -> Vec<u32> {
        let fits = self.nodes.homes.iter().zip(&self.room).all(|(h, n)| *n <= h.cpus.len());
        if !fits || crate::env::get("CAMELID_PIN").as_deref() == Some("0") {
            return Vec::new();
        }
        self.nodes.homes.iter().zip(&self.room).flat_map(|(h, n)| h.seats(*n)).collect()
    }

    /// Runs `f` on `active` workers and returns when all have; the first `Stop` wins.
    pub fn run(&self, active: u32, f: &(dyn Fn(&Worker<'_>) -> Result<(), Stop> + Sync)) -> Result<(), Stop> {
        let pool = self.pool()?;
        let run = Run::new(&self.seats(active));
        pool.broadcast(|c| {
            // Threads stand node by node; the first ones of each take part.
            let (mut node, mut at) = (0, c.index());
            while at >= self.room[node] {
                at -= self.room[node];
                node += 1;
            }
            if let Some(w) = run.worker(node, at) {
                run.work(&w, f);
            }
        });
        run.outcome()
    }
}

/// Keeps the calling thread on a CPU. A refusal leaves it where it is, which is only slower.
fn stay(cpu: u32) {
    let _ = numa::cpus::pin(&[cpu].into());
}

/// CPUs the calling thread may run on.
pub fn allowed_cores() -> Vec<usize> {
    numa::cpus::affinity(0).unwrap_or_default().into_iter().map(|c| c as usize).collect()
}

/// Where workers meet: how many have come, and how often all had. Two cache lines of its own, which the prefetcher takes as one.
#[repr(align(128))]
#[derive(Default)]
struct Gate {
    arrived: AtomicU32,
    generation: AtomicU32,
}

impl Gate {
    /// Whether the caller is the last of `n`.
    fn last(&self, n: u32) -> bool {
        let last = self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == n;
        if last {
            self.arrived.store(0, Ordering::Relaxed);
        }
        last
    }
    fn now(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }
    fn open(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }
}

/// The workers of a node, and their gates: one that opens when all workers have come, one for the node alone.
struct Crew {
    n: u32,
    /// Id of the first.
    first: u32,
    all: Gate,
    own: Gate,
}

/// State of one `Team::run`. A barrier has two levels: the last of each node goes to `across`, the last of those opens the gates of all nodes, so
/// that every worker waits at a line of its node.
struct Run {
    n: u32,
    crews: Vec<Crew>,
    across: Gate,
    stopped: AtomicBool,
    why: Mutex<Option<Stop>>,
    sleepers: AtomicU32,
    bed: Mutex<()>,
    bell: Condvar,
}

/// Waiting goes through three stages: a step of a decode takes microseconds, so spin first; give the core away when it takes
/// longer; sleep when somebody else needs the cores (an oversubscribed machine must not collapse).
const SPINS: u32 = 4000;
const YIELDS: u32 = 200;
const NAP: Duration = Duration::from_millis(1);

impl Run {
    fn new(seats: &[usize]) -> Run {
        let mut first = 0;
        let crew = |n: &usize| {
            let n = *n as u32;
            first += n;
            Crew { n, first: first - n, all: Gate::default(), own: Gate::default() }
        };
        Run {
            crews: seats.iter().map(crew).collect(),
            n: first,
            across: Gate::default(),
            stopped: AtomicBool::new(false),
            why: Mutex::new(None),
            sleepers: AtomicU32::new(0),
            bed: Mutex::new(()),
            bell: Condvar::new(),
        }
    }

    /// Worker `at` of a node, if it takes part.
    fn worker(&self, node: usize, at: usize) -> Option<Worker<'_>> {
        let (crew, at) = (&self.crews[node], at as u32);
        let w =
            Worker { id: crew.first + at, n: self.n, node: node as u32, id_in_node: at, n_in_node: crew.n, run: self, epoch: Cell::new(0) };
        (at < crew.n).then_some(w)
    }

    fn work(&self, w: &Worker<'_>, f: &(dyn Fn(&Worker<'_>) -> Result<(), Stop> + Sync)) {
        // A panic may leave half-written activations; they are rewritten by the next run, so unwind safety holds.
        match catch_unwind(AssertUnwindSafe(|| f(w))) {
            Ok(Ok(())) => {}
            Ok(Err(s)) => self.stop(s),
            Err(p) => self.stop(Stop::Panicked(panic_text(&*p))),
        }
    }

    fn stop(&self, s: Stop) {
        // A poisoned lock means that a holder panicked between two plain writes; the value is whole.
        self.why.lock().unwrap_or_else(|p| p.into_inner()).get_or_insert(s);
        self.stopped.store(true, Ordering::Release);
        self.bell.notify_all();
    }

    fn current(&self) -> Stop {
        self.why.lock().unwrap_or_else(|p| p.into_inner()).clone().unwrap_or(Stop::Aborted)
    }

    fn outcome(self) -> Result<(), Stop> {
        match self.why.into_inner().unwrap_or_else(|p| p.into_inner()) {
            None => Ok(()),
            Some(s) => Err(s),
        }
    }

    fn sync(&self, node: u32) -> Result<(), Stop> {
        let crew = &self.crews[node as usize];
        let g = crew.all.now();
        if !crew.all.last(crew.n) {
            self.wait(&crew.all, g);
        } else if self.across.last(self.crews.iter().filter(|c| c.n > 0).count() as u32) {
            self.crews.iter().for_each(|c| c.all.open());
            self.wake();
        } else {
            self.wait(&crew.all, g);
        }
        self.go_on()
    }

    fn sync_node(&self, node: u32) -> Result<(), Stop> {
        let crew = &self.crews[node as usize];
        let g = crew.own.now();
        if crew.own.last(crew.n) {
            crew.own.open();
            self.wake();
        } else {
            self.wait(&crew.own, g);
        }
        self.go_on()
    }

    fn go_on(&self) -> Result<(), Stop> {
        if self.stopped.load(Ordering::Acquire) { Err(self.current()) } else { Ok(()) }
    }

    fn wake(&self) {
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            let _bed = self.bed.lock().unwrap_or_else(|p| p.into_inner());
            self.bell.notify_all();
        }
    }

    fn wait(&self, gate: &Gate, g: u32) {
        let done = || gate.now() != g || self.stopped.load(Ordering::Acquire);
        for _ in 0..SPINS {
            if done() {
                return;
            }
            std::hint::spin_loop();
        }
        for _ in 0..YIELDS {
            if done() {
                return;
            }
            std::thread::yield_now();
        }
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let mut bed = self.bed.lock().unwrap_or_else(|p| p.into_inner());
        while !done() {
            // The nap bounds a wake-up lost between the check and the wait.
            bed = self.bell.wait_timeout(bed, NAP).unwrap_or_else(|p| p.into_inner()).0;
        }
        drop(bed);
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }
}

fn panic_text(p: &(dyn std::any::Any + Send)) -> String {
    let text = p.downcast_ref::<&str>().map(|s| (*s).to_string()).or_else(|| p.downcast_ref::<String>().cloned());
    let text = text.unwrap_or_else(|| "no message".into());
    log::debug(format!("worker panic: {text}"));
    text
}

impl Worker<'_> {
    /// Waits for every active worker of this run; `Err` when any of them stopped.
    pub fn sync(&self) -> Result<(), Stop> {
        self.epoch.set(self.epoch.get() + 1);
        self.run.sync(self.node)
    }

    /// Waits for the active workers of this worker's node.
    pub fn sync_node(&self) -> Result<(), Stop> {
        if self.n_in_node == self.n {
            return self.sync();
        }
        self.run.sync_node(self.node)
    }

    /// How many times this worker has passed `sync` in this run: the same for all workers between two barriers.
    pub fn epoch(&self) -> u32 {
        self.epoch.get()
    }

    /// Whether some worker has stopped: long loops may ask between pieces.
    pub fn stopped(&self) -> bool {
        self.run.stopped.load(Ordering::Relaxed)
    }

    /// This worker's share of `0..total`, in multiples of `granule` (the last share takes the rest).
    pub fn share(&self, total: usize, granule: usize) -> Range<usize> {
        part(total, granule, self.id, self.n)
    }

    /// The same among the workers of this worker's node.
    pub fn share_in_node(&self, total: usize, granule: usize) -> Range<usize> {
        part(total, granule, self.id_in_node, self.n_in_node)
    }
}

/// Part `i` of `n` of `0..total`, in multiples of `granule`.
fn part(total: usize, granule: usize, i: u32, n: u32) -> Range<usize> {
    let pieces = total.div_ceil(granule);
    let at = |i: u32| (pieces * i as usize / n as usize * granule).min(total);
    at(i)..at(i + 1)
}

/// A queue of pieces `0..n` that workers take one by one; reset before each run. Which worker takes a piece changes no bit of its result.
#[derive(Debug, Default)]
pub struct Pieces(AtomicUsize);

impl Pieces {
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
    /// The next piece below `n`.
    pub fn take(&self, n: usize) -> Option<usize> {
        let i = self.0.fetch_add(1, Ordering::Relaxed);
        (i < n).then_some(i)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes of these cores each.
    fn nodes(cores: &[u32]) -> Arc<Nodes> {
        let mut cpu = 0;
        let mut node = |n: &u32| {
            let cpus: Vec<usize> = (cpu..cpu + *n as usize).collect();
            cpu += *n as usize;
            numa::Topology::flat(&cpus).nodes.remove(0)
        };
        let t = numa::Topology { nodes: cores.iter().map(&mut node).collect(), origin: numa::Origin::Injected };
        Arc::new(Nodes::of(&t, numa::Strategy::Shard, None, false))
    }

    #[test]
    fn barriers_order_steps() {
        for cores in [vec![4], vec![2, 2], vec![3, 1], vec![1, 1, 2]] {
            let team = Team::on(nodes(&cores), 4);
            let (sum, of_node) = (AtomicUsize::new(0), [const { AtomicUsize::new(0) }; 3]);
            for _ in 0..20 {
                sum.store(0, Ordering::Relaxed);
                let r = team.run(4, &|w| {
                    let (node, crew) = (&of_node[w.node as usize], cores[w.node as usize] as usize);
                    for round in 0..20 {
                        sum.fetch_add(1, Ordering::Relaxed);
                        w.sync()?;
                        assert_eq!(sum.load(Ordering::Relaxed), (round + 1) * 4);
                        node.fetch_add(1, Ordering::Relaxed);
                        w.sync_node()?;
                        assert_eq!(node.load(Ordering::Relaxed) % crew, 0);
                        w.sync()?;
                    }
                    Ok(())
                });
                assert_eq!(r, Ok(()));
            }
        }
    }

    #[test]
    fn ids_of_a_node_follow_each_other() {
        let team = Team::on(nodes(&[3, 1]), 4);
        let seen = Mutex::new(Vec::new());
        for (active, want) in [
            (4, vec![(0, 0, 0, 3), (1, 0, 1, 3), (2, 0, 2, 3), (3, 1, 0, 1)]),
            (2, vec![(0, 0, 0, 2), (1, 0, 1, 2)]),
            (3, vec![(0, 0, 0, 2), (1, 0, 1, 2), (2, 1, 0, 1)]),
        ] {
            seen.lock().unwrap().clear();
            team.run(active, &|w| {
                seen.lock().unwrap().push((w.id, w.node, w.id_in_node, w.n_in_node));
                w.sync()
            })
            .unwrap();
            let mut seen = seen.lock().unwrap();
            seen.sort_unstable();
            assert_eq!(*seen, want);
        }
    }

    #[test]
    fn a_panic_in_any_worker_ends_the_run_and_the_team_lives() {
        let team = Team::new(3);
        for k in 0..3 {
            let r = team.run(3, &|w| {
                w.sync()?;
                assert!(w.id != k, "injected");
                w.sync()?;
                w.sync()
            });
            assert!(matches!(r, Err(Stop::Panicked(ref m)) if m.contains("injected")), "{r:?}");
            assert_eq!(team.run(3, &|w| w.sync()), Ok(()));
        }
    }

    #[test]
    fn fewer_active_workers_than_threads() {
        let team = Team::new(3);
        let seen = AtomicU32::new(0);
        assert_eq!(
            team.run(2, &|w| {
                seen.fetch_add(1 << (8 * w.id), Ordering::Relaxed);
                w.sync()
            }),
            Ok(())
        );
        assert_eq!(seen.load(Ordering::Relaxed), 0x0101);
    }

    #[test]
    fn shares_cover_everything_once() {
        let run = Run::new(&[2, 0, 1]);
        for (total, granule) in [(0, 8), (5, 8), (64, 8), (100, 16), (7, 1)] {
            let mut next = 0;
            for (node, at) in [(0, 0), (0, 1), (2, 0)] {
                let w = run.worker(node, at).expect("it takes part");
                let r = w.share(total, granule);
                assert_eq!(r.start, next);
                next = r.end;
            }
            assert_eq!(next, total);
        }
    }
}
