//! Many at once, in threads and in processes: what one sees of another's work is all of it or nothing.
use super::*;
use std::process::Command;

const MARK: &str = "PREFIX_CACHE_SHARED";

/// Stores, restores and lets go, with prompts that have beginnings in common; how many tokens came from disk.
fn work(dir: &Path, seed: u64, steps: usize, max_bytes: u64) -> usize {
    let (mut rng, mut found) = (Rng(seed), 0);
    for _ in 0..steps {
        let cache = Cache::open(dir, max_bytes).expect("opens");
        let name = if rng.below(2) == 0 { LLAMA } else { GEMMA };
        let t = [&tokens(1, 40 + rng.below(60))[..], &tokens(rng.below(4) as u64, 33 + rng.below(60))].concat();
        let p = ContextParams { n_ctx: 256, ..params() };
        let mut c = context(name, p.clone());
        let n = cache.restore(&mut c, 0, &t).expect("no error");
        found += n;
        assert!(decode(&mut c, 0, &t[n..]) == computed(name, &p, &t), "other bits after {n} tokens from disk");
        // Another's eviction may take what is written to, but never breaks it.
        let _ = cache.store(&mut c, 0, &t);
    }
    found
}

#[test]
fn threads_and_processes_share_a_folder() {
    if let Some(dir) = std::env::var_os(MARK) {
        let found = work(Path::new(&dir), u64::from(std::process::id()), 40, 600_000);
        return println!("child found {found}");
    }
    let d = Dir::unique();
    let me = std::env::current_exe().expect("this program");
    let start = |_| {
        let mut c = Command::new(&me);
        c.args(["sharing::threads_and_processes_share_a_folder", "--exact", "--nocapture"]).env(MARK, &d.0).env("CAMELID_LOG", "warn");
        c.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().expect("runs")
    };
    let children: Vec<_> = (0..2).map(start).collect();
    let found: Vec<usize> = std::thread::scope(|s| {
        let jobs: Vec<_> = (0..2)
            .map(|i| {
                s.spawn({
                    let dir = &d.0;
                    move || work(dir, i, 40, 600_000)
                })
            })
            .collect();
        jobs.into_iter().map(|j| j.join().expect("no panic")).collect()
    });
    for c in children {
        let out = c.wait_with_output().expect("ends");
        let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success() && said.contains("child found"), "{said}");
        assert!(!said.contains("removed"), "an entry of another was not whole: {said}");
    }
    assert!(found.iter().all(|n| *n > 0), "{found:?}");
    // All of them together may pass the budget by what was in the making.
    assert!(d.bytes() < 1_200_000, "{} bytes", d.bytes());
    assert!(d.names("entries").iter().all(|n| n.ends_with(".seq")), "{:?}", d.names("entries"));
}
