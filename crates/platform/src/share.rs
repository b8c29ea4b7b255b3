//! A handful of independent jobs on a few threads that end with the call. For long calls outside of a decode; knows nothing of what is done.
use crate::error::{Error, Result};
use crate::numa::{Nodes, cpus};
use crate::pool::allowed_cores;
use std::sync::atomic::{AtomicUsize, Ordering};

/// More threads than this do not move bytes faster on the machines we know.
const MOST: usize = 8;
/// Bytes that are worth a thread: they take longer than its start.
const WORTH: usize = 2 << 20;
/// Threads that wait for a disk, at least: it answers several requests in the time of one.
const WAITING: usize = 4;

/// `f` on every job, in order of their beginning, by as many threads as there are cores and jobs; the calling thread is one of them.
/// The first error ends it.
pub fn share<T: Sync>(jobs: &[T], f: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    run(jobs, allowed_cores().len().min(MOST), || (), |(), job| f(job))
}

/// The same for jobs that compute, by `threads` of them, at most one a core (0: one a core), with something that every thread makes once and keeps.
pub fn share_by<T: Sync, S>(
    threads: usize,
    jobs: &[T],
    start: impl Fn() -> S + Sync,
    f: impl Fn(&mut S, &T) -> Result<()> + Sync,
) -> Result<()> {
    let cores = allowed_cores().len();
    run(jobs, if threads == 0 { cores } else { threads.min(cores) }, start, f)
}

/// The same for jobs that move `bytes` in all: a few need no help.
pub fn share_bytes<T: Sync>(bytes: usize, jobs: &[T], f: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    run(jobs, allowed_cores().len().min(bytes / WORTH).min(MOST), || (), |(), job| f(job))
}

/// The same for jobs that wait for a disk, with something that every thread makes once and keeps: a buffer.
pub fn share_reads<T: Sync, S>(jobs: &[T], start: impl Fn() -> S + Sync, f: impl Fn(&mut S, &T) -> Result<()> + Sync) -> Result<()> {
    run(jobs, allowed_cores().len().clamp(WAITING, MOST), start, f)
}

/// `f(node, i)` for every `i` below `counts[node]`, by threads that stay on the CPUs of the node; what those cannot do the caller does.
/// The first error ends it.
pub fn share_on(nodes: &Nodes, counts: &[usize], f: impl Fn(usize, usize) -> Result<()> + Sync) -> Result<()> {
    let next: Vec<AtomicUsize> = counts.iter().map(|_| AtomicUsize::new(0)).collect();
    let (next, f) = (&next, &f);
    let work = move |node: usize| {
        while let Some(i) = Some(next[node].fetch_add(1, Ordering::Relaxed)).filter(|i| *i < counts[node]) {
            f(node, i).inspect_err(|_| next.iter().zip(counts).for_each(|(n, c)| n.store(*c, Ordering::Relaxed)))?;
        }
        Ok(())
    };
    std::thread::scope(|s| {
        let mut started = Vec::new();
        for (node, home) in nodes.homes.iter().enumerate().take(counts.len()) {
            let there = move || {
                let _ = cpus::pin(&home.cpus.iter().copied().collect());
                work(node)
            };
            let threads = home.n_cores.clamp(1, MOST).min(counts[node]);
            started.extend((0..threads).filter_map(|_| std::thread::Builder::new().spawn_scoped(s, there).ok()));
        }
        let ends = started.into_iter().map(|t| t.join().unwrap_or_else(|_| Err(Error::invalid("a helper thread panicked"))));
        ends.fold(Ok(()), Result::and)
    })?;
    (0..counts.len()).try_for_each(work)
}

fn run<T: Sync, S>(jobs: &[T], threads: usize, start: impl Fn() -> S + Sync, f: impl Fn(&mut S, &T) -> Result<()> + Sync) -> Result<()> {
    let (next, start, f) = (AtomicUsize::new(0), &start, &f);
    let work = || {
        let mut own = start();
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            f(&mut own, job).inspect_err(|_| next.store(jobs.len(), Ordering::Relaxed))?;
        }
        Ok(())
    };
    let helpers = threads.max(1).min(jobs.len().max(1)) - 1;
    std::thread::scope(|s| {
        // A thread that cannot be had is work for the others.
        let started: Vec<_> = (0..helpers).filter_map(|_| std::thread::Builder::new().spawn_scoped(s, work).ok()).collect();
        let mine = work();
        let ends = started.into_iter().map(|t| t.join().unwrap_or_else(|_| Err(Error::invalid("a helper thread panicked"))));
        ends.fold(mine, Result::and)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_is_done_once_and_an_error_is_told() {
        let jobs: Vec<usize> = (0..1000).collect();
        let sum = AtomicUsize::new(0);
        let add = |j: &usize| {
            sum.fetch_add(*j, Ordering::Relaxed);
            Ok(())
        };
        share(&jobs, add).unwrap();
        share_bytes(1 << 30, &jobs, add).unwrap();
        share_reads(
            &jobs,
            || 0,
            |own, j| {
                *own += 1;
                add(&(j * usize::from(*own > 0)))
            },
        )
        .unwrap();
        assert_eq!(sum.into_inner(), 3 * 499_500);
        assert!(share(&jobs, |j| if *j == 500 { Err(Error::invalid("no")) } else { Ok(()) }).is_err());
        assert!(share::<u8>(&[], |_| Ok(())).is_ok());
    }
}
