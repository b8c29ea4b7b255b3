//! When memory is given back: some time after nothing happens any more, by a thread that sleeps otherwise; at once when memory is short.
//! A chat that clears and refills its context keeps its pages. Knows no bytes: `resident` does it.
use super::resident::Resident;
use crate::backend::BlockId;
use platform::log;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Nothing ran, was placed or freed for so long: what is free now will stay so. Longer than a host takes between two calls, well under the second
/// within which memory is to be back.
const QUIET: Duration = Duration::from_millis(300);
/// Where something always happens, what is free goes after this long: taking 1 GiB again costs a tenth of a second in huge pages.
const LONG: Duration = Duration::from_secs(10);
/// Idle for so long that bytes which are on a disk can leave memory: reading them back costs more than faulting empty pages in.
const ASLEEP: Duration = Duration::from_millis(700);

/// The thread calls the kernel and writes log lines.
const STACK: usize = 256 << 10;

pub struct Reaper {
    shared: Arc<Shared>,
    /// With the process that started it: a fork has no such thread.
    thread: Option<(u32, JoinHandle<()>)>,
    /// Some store has something to do at rest.
    rests: bool,
    /// Some store gives anything back.
    releases: bool,
}

struct Shared {
    stores: Vec<Arc<Resident>>,
    state: Mutex<State>,
    wake: Condvar,
}

struct State {
    /// When something happened last.
    last: Instant,
    /// Between placing and the end of a run.
    running: bool,
    /// The first of what waits to be given back became free.
    freed: Option<Instant>,
    used: bool,
    quit: bool,
}

enum Due {
    Never,
    In(Duration),
    Release,
    Rest,
}

impl State {
    fn due(&self) -> Due {
        let quiet = if self.running { Duration::ZERO } else { self.last.elapsed() };
        let (left, what) = match (self.freed, self.used) {
            (Some(since), _) => (QUIET.saturating_sub(quiet).min(LONG.saturating_sub(since.elapsed())), Due::Release),
            (None, true) => (ASLEEP.saturating_sub(quiet), Due::Rest),
            (None, false) => return Due::Never,
        };
        if left.is_zero() { what } else { Due::In(left) }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Flags and a time: whole at any moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn busy(&self) -> bool {
        let s = self.lock();
        s.quit || s.running || s.last.elapsed() < ASLEEP
    }

    /// The thread.
    fn work(&self) {
        let mut s = self.lock();
        while !s.quit {
            match s.due() {
                Due::Never => s = self.wake.wait(s).unwrap_or_else(PoisonError::into_inner),
                Due::In(rest) => s = self.wake.wait_timeout(s, rest).unwrap_or_else(PoisonError::into_inner).0,
                Due::Release => {
                    s.freed = None;
                    drop(s);
                    self.release();
                    s = self.lock();
                }
                Due::Rest => {
                    s.used = false;
                    drop(s);
                    self.stores.iter().for_each(|r| r.rest(&|| self.busy()));
                    s = self.lock();
                }
            }
        }
    }
    fn free(&self, blocks: &[(usize, BlockId)]) {
        for (g, store) in self.stores.iter().enumerate() {
            store.free(blocks.iter().filter(|b| b.0 == g).map(|b| b.1));
        }
    }
    /// Everything that is idle, a few blocks at a time.
    fn release(&self) -> usize {
        self.stores.iter().map(|r| std::iter::from_fn(|| Some(r.release_some()).filter(|n| *n > 0)).sum::<usize>()).sum()
    }
}

impl Reaper {
    pub fn new(stores: Vec<Arc<Resident>>) -> Reaper {
        let rests = stores.iter().any(|r| r.rests());
        let releases = stores.iter().any(|r| r.releases());
        let state = State { last: Instant::now(), running: false, freed: None, used: false, quit: false };
        Reaper { shared: Arc::new(Shared { stores, state: Mutex::new(state), wake: Condvar::new() }), thread: None, rests, releases }
    }

    /// Something begins to work on the bytes.
    pub fn begin(&mut self) {
        let mut s = self.shared.lock();
        (s.last, s.running) = (Instant::now(), true);
    }
    /// And has ended; well, or for want of memory.
    pub fn end(&mut self, well: bool) {
        let mut s = self.shared.lock();
        (s.last, s.running) = (Instant::now(), false);
        let news = self.rests && !s.used;
        s.used |= self.rests;
        drop(s);
        // Started here and not when it is needed: memory may be short then, and a thread is born by allocating.
        if well && (news || !self.alive()) {
            self.wake();
        }
    }
    /// These (group, block) have no cells any more.
    pub fn freed(&mut self, blocks: &[(usize, BlockId)]) {
        if blocks.is_empty() || !self.releases {
            return;
        }
        self.shared.free(blocks);
        let mut s = self.shared.lock();
        s.last = Instant::now();
        s.used |= self.rests;
        let news = s.freed.is_none();
        s.freed.get_or_insert(Instant::now());
        drop(s);
        if news || !self.alive() {
            self.wake();
        }
    }
    /// Memory is short: these go now, and everything else that is idle. How many blocks.
    pub fn release_now(&self, freed: &[(usize, BlockId)]) -> usize {
        self.shared.free(freed);
        self.shared.release()
    }

    /// A fork has no thread of before.
    fn alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|t| t.0 == std::process::id())
    }
    /// Wakes the thread, or starts it.
    fn wake(&mut self) {
        if self.alive() {
            return self.shared.wake.notify_one();
        }
        if !self.releases {
            return;
        }
        let shared = self.shared.clone();
        match std::thread::Builder::new().name("camelid-kv".into()).stack_size(STACK).spawn(move || shared.work()) {
            // The old one, if there is any, is another process's and cannot be waited for.
            Ok(t) => std::mem::forget(self.thread.replace((std::process::id(), t))),
            Err(e) => {
                log::debug(format!("no thread to give memory back: {e}; doing it at once"));
                self.shared.release();
            }
        }
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        self.shared.lock().quit = true;
        self.shared.wake.notify_one();
        match self.thread.take() {
            Some((pid, t)) if pid == std::process::id() => drop(t.join()),
            other => std::mem::forget(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_first_and_ten_seconds_at_most() {
        let ago = |ms: u64| Instant::now() - Duration::from_millis(ms);
        let at = |last, running, freed| State { last: ago(last), running, freed, used: false, quit: false };
        assert!(matches!(at(5000, false, None).due(), Due::Never));
        assert!(matches!(at(10, false, Some(ago(10))).due(), Due::In(d) if d < QUIET));
        assert!(matches!(at(301, false, Some(ago(301))).due(), Due::Release));
        assert!(matches!(at(5000, true, Some(ago(5000))).due(), Due::In(_)), "a long run is not quiet");
        assert!(matches!(at(1, true, Some(ago(10_000))).due(), Due::Release));
        assert!(matches!(at(1, false, Some(ago(10_000))).due(), Due::Release));
        let used = |last, running| State { used: true, ..at(last, running, None) };
        assert!(matches!(used(701, false).due(), Due::Rest));
        assert!(matches!(used(701, true).due(), Due::In(_)));
    }
}
