//! A handful of independent jobs on a few threads that end with the call. For long calls outside of a decode; knows nothing of what is done.
use crate::error::{Error, Result};
use crate::pool::allowed_cores;
use std::sync::atomic::{AtomicUsize, Ordering};

/// More threads than this do not move bytes faster on the machines we know.
const MOST: usize = 8;

/// `f` on every job, by as many threads as there are cores and jobs; the calling thread is one of them. The first error ends it.
pub fn share<T: Sync>(jobs: &[T], f: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let (next, f) = (AtomicUsize::new(0), &f);
    let work = || {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            f(job).inspect_err(|_| next.store(jobs.len(), Ordering::Relaxed))?;
        }
        Ok(())
    };
    let helpers = allowed_cores().len().clamp(1, MOST).min(jobs.len().max(1)) - 1;
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
        share(&jobs, |j| {
            sum.fetch_add(*j, Ordering::Relaxed);
            Ok(())
        })
        .unwrap();
        assert_eq!(sum.into_inner(), 499_500);
        assert!(share(&jobs, |j| if *j == 500 { Err(Error::invalid("no")) } else { Ok(()) }).is_err());
        assert!(share::<u8>(&[], |_| Ok(())).is_ok());
    }
}
