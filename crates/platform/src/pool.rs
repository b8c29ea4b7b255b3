//! A persistent team of workers: one broadcast per decode, a light barrier between steps. rayon's only door.
//!
//! Threads start at the first `run`, never in rayon's global pool, so a fork between load and first decode works. The
//! caller never computes and its affinity is never touched. Nobody waits for a dead worker: a panic, an abort or a failed
//! step makes every `sync` return `Stop`, and the team stays usable.
use crate::log;
use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, OnceLock};
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
    max: u32,
    pool: OnceLock<rayon::ThreadPool>,
}

/// One participant of a run. Consecutive ids share a node; there is one node until NUMA placement exists.
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
    /// A team of up to `max` threads (at least one). Nothing is started yet.
    pub fn new(max: u32) -> Team {
        Team { max: max.max(1), pool: OnceLock::new() }
    }

    pub fn max(&self) -> u32 {
        self.max
    }

    /// Started on first use. What fails is tried again next time: the system may have threads then.
    fn pool(&self) -> Result<&rayon::ThreadPool, Stop> {
        if let Some(p) = self.pool.get() {
            return Ok(p);
        }
        let p = start(self.max).map_err(|e| Stop::Failed(format!("cannot start {} threads: {e}", self.max)))?;
        Ok(self.pool.get_or_init(|| p))
    }

    /// Runs `f` on `active` workers and returns when all have; the first `Stop` wins.
    pub fn run(&self, active: u32, f: &(dyn Fn(&Worker<'_>) -> Result<(), Stop> + Sync)) -> Result<(), Stop> {
        let pool = self.pool()?;
        let n = active.clamp(1, self.max);
        let run = Run::new(n);
        pool.broadcast(|c| {
            let id = c.index() as u32;
            if id < n {
                run.work(&run.worker(id), f);
            }
        });
        run.outcome()
    }
}

fn start(max: u32) -> Result<rayon::ThreadPool, String> {
    let cores = cores_for(max);
    rayon::ThreadPoolBuilder::new()
        .num_threads(max as usize)
        .thread_name(|i| format!("camelid-{i}"))
        .start_handler(move |i| {
            if let Some(c) = cores.get(i) {
                pin(*c);
            }
        })
        .build()
        .map_err(|e| e.to_string())
}

/// The cores to pin `n` workers to: the caller's allowed ones, starting where the last team ended so that two contexts
/// do not share cores when they need not. Empty (no pinning) when there are more workers than cores.
fn cores_for(n: u32) -> Vec<usize> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let allowed = allowed_cores();
    let n = n as usize;
    if n > allowed.len() || crate::env::get("CAMELID_PIN").as_deref() == Some("0") {
        return Vec::new();
    }
    let first = NEXT.fetch_add(n, Ordering::Relaxed);
    (0..n).map(|i| allowed[(first + i) % allowed.len()]).collect()
}

/// Cores this process may run on.
pub fn allowed_cores() -> Vec<usize> {
    // SAFETY: an all-zero cpu_set_t is a valid empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is a writable cpu_set_t of the size given; pid 0 is the calling thread.
    if unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) } != 0 {
        return Vec::new();
    }
    // SAFETY: the index stays below CPU_SETSIZE.
    (0..libc::CPU_SETSIZE as usize).filter(|c| unsafe { libc::CPU_ISSET(*c, &set) }).collect()
}

fn pin(core: usize) {
    // SAFETY: an all-zero cpu_set_t is a valid empty set; `core` came from the kernel's own set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `core` < CPU_SETSIZE.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: `set` is initialised and of the size given; pid 0 is this worker thread. A refusal leaves it unpinned, which is only slower.
    unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) };
}

/// State of one `Team::run`.
struct Run {
    n: u32,
    arrived: AtomicU32,
    generation: AtomicU32,
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
    fn new(n: u32) -> Run {
        Run {
            n,
            arrived: AtomicU32::new(0),
            generation: AtomicU32::new(0),
            stopped: AtomicBool::new(false),
            why: Mutex::new(None),
            sleepers: AtomicU32::new(0),
            bed: Mutex::new(()),
            bell: Condvar::new(),
        }
    }

    fn worker(&self, id: u32) -> Worker<'_> {
        Worker { id, n: self.n, node: 0, id_in_node: id, n_in_node: self.n, run: self, epoch: Cell::new(0) }
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

    fn sync(&self) -> Result<(), Stop> {
        let g = self.generation.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.n {
            self.arrived.store(0, Ordering::Relaxed);
            self.generation.store(g.wrapping_add(1), Ordering::SeqCst);
            if self.sleepers.load(Ordering::SeqCst) > 0 {
                let _bed = self.bed.lock().unwrap_or_else(|p| p.into_inner());
                self.bell.notify_all();
            }
        } else {
            self.wait(g);
        }
        if self.stopped.load(Ordering::Acquire) { Err(self.current()) } else { Ok(()) }
    }

    fn done(&self, g: u32) -> bool {
        self.generation.load(Ordering::Acquire) != g || self.stopped.load(Ordering::Acquire)
    }

    fn wait(&self, g: u32) {
        for _ in 0..SPINS {
            if self.done(g) {
                return;
            }
            std::hint::spin_loop();
        }
        for _ in 0..YIELDS {
            if self.done(g) {
                return;
            }
            std::thread::yield_now();
        }
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let mut bed = self.bed.lock().unwrap_or_else(|p| p.into_inner());
        while !self.done(g) {
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
        self.run.sync()
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
        let pieces = total.div_ceil(granule);
        let at = |i: u32| (pieces * i as usize / self.n as usize * granule).min(total);
        at(self.id)..at(self.id + 1)
    }
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

    #[test]
    fn barrier_orders_steps() {
        let team = Team::new(4);
        let sum = AtomicUsize::new(0);
        for _ in 0..50 {
            sum.store(0, Ordering::Relaxed);
            let r = team.run(4, &|w| {
                for round in 0..20 {
                    sum.fetch_add(1, Ordering::Relaxed);
                    w.sync()?;
                    assert_eq!(sum.load(Ordering::Relaxed), (round + 1) * 4);
                    w.sync()?;
                }
                Ok(())
            });
            assert_eq!(r, Ok(()));
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
        let run = Run::new(3);
        for (total, granule) in [(0, 8), (5, 8), (64, 8), (100, 16), (7, 1)] {
            let mut next = 0;
            for id in 0..3 {
                let w = run.worker(id);
                let r = w.share(total, granule);
                assert_eq!(r.start, next);
                next = r.end;
            }
            assert_eq!(next, total);
        }
    }
}
