//! Threads, forks, memory that the system refuses, workers that break. What needs a process of its own runs in a child of this test program.
use crate::tiny::{Batch, Ctx, Model, Tiny, ctx_params, errors, said};
use llama::capi::model::llama_model_free;
use llama::capi::types::*;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Logits of a prompt and twenty greedy steps.
fn run(c: &Ctx, first: i32) -> Vec<f32> {
    let mut out = Vec::new();
    let mut next = vec![first, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
    for _ in 0..20 {
        assert_eq!(c.decode(&Batch::new(&next)), 0);
        let l = c.logits(next.len() as i32 - 1).expect("wanted");
        next = vec![(0..l.len()).max_by(|a, b| l[*a].total_cmp(&l[*b])).unwrap_or(0) as i32];
        out.extend(l);
    }
    out
}

#[test]
fn two_threads_two_contexts_one_model() {
    for arch in ["llama", "gemma3", "qwen3moe"] {
        let m = Tiny::new(arch).load("threads");
        // Contexts of different kinds: each has threads, buffers and a store of its own.
        let kind = |i: i32| llama_context_params {
            n_threads: 1 + i % 2,
            n_threads_batch: 2 - i % 2,
            swa_full: i < 2,
            n_seq_max: 1 + i as u32,
            n_ctx: 1024,
            type_k: [0, 1, 8, 1][i as usize],
            ..ctx_params()
        };
        let alone: Vec<_> = (0..4).map(|i| run(&m.ctx(kind(i)), i)).collect();
        let both: Vec<_> = std::thread::scope(|s| {
            let m = &m;
            let jobs: Vec<_> = (0..4).map(|i| s.spawn(move || run(&m.ctx(kind(i)), i))).collect();
            jobs.into_iter().map(|j| j.join().expect("no panic")).collect()
        });
        assert_eq!(alone, both, "{arch}");
    }
}

/// Contexts of one model come and go, in the middle of what another one does: its bits stay what they are alone.
#[test]
fn contexts_are_freed_while_another_works() {
    for arch in ["llama", "gemma3", "qwen3moe"] {
        let m = Tiny::new(arch).load("freed");
        let want = run(&m.ctx(ctx_params()), 1);
        let rounds = AtomicU32::new(0);
        std::thread::scope(|s| {
            let (m, rounds) = (&m, &rounds);
            let worker = s.spawn(move || {
                for _ in 0..10 {
                    let c = m.ctx(ctx_params());
                    rounds.fetch_add(1, Ordering::Release);
                    assert_eq!(run(&c, 1), want, "{arch}");
                }
                rounds.store(u32::MAX, Ordering::Release);
            });
            let mut freed = 0;
            while rounds.load(Ordering::Acquire) != u32::MAX && !worker.is_finished() {
                // One that was never used, one whose threads have worked, one with half of a batch refused.
                drop(m.ctx(ctx_params()));
                let c = m.ctx(llama_context_params { n_threads: 1, n_threads_batch: 1, ..ctx_params() });
                assert_eq!(c.decode(&Batch::new(&[1, 2, 3])), 0);
                assert_eq!(c.decode(&Batch::new(&[1]).at(9)), -1);
                freed += 2;
            }
            worker.join().expect("no panic");
            assert!(freed > 0);
        });
    }
}

/// llama.h: contexts first. Who does it the other way round still gets no crash: a context keeps what it needs.
#[test]
fn a_model_freed_before_its_context() {
    let m = Tiny::new("llama").load("order");
    let want = run(&m.ctx(ctx_params()), 1);
    let c = m.ctx(ctx_params());
    // SAFETY: freed once, here; the owner is forgotten.
    unsafe { llama_model_free(m.0) };
    std::mem::forget(m);
    assert_eq!(run(&c, 1), want);
}

/// Runs the test `name` again in a process where `env` is set; gives what it printed.
pub fn child(name: &str, env: &[(&str, String)]) -> String {
    let mut c = Command::new(std::env::current_exe().expect("this program"));
    c.args([name, "--exact", "--nocapture", "--test-threads=1"]).envs(env.iter().map(|(k, v)| (*k, v)));
    let out = c.output().expect("runs");
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{name} {env:?}: {}\n{said}", out.status);
    said
}

pub const MARK: &str = "MISUSE_CHILD";

pub fn in_child() -> Option<String> {
    std::env::var(MARK).ok()
}

/// A worker that panics: a code below -1, the ubatches before it stay, the rest leaves no trace, the context works on with the same bits.
#[test]
fn a_broken_worker() {
    if in_child().is_some() {
        let m = Tiny::new("gemma3").load("worker");
        let c = m.ctx(llama_context_params { n_seq_max: 2, kv_unified: true, ..ctx_params() });
        let b = Batch::new(&(0..29).collect::<Vec<_>>()).at(0).of(&[0, 1]);
        said();
        let rc = c.decode(&b);
        let lines = said();
        assert!(lines.iter().any(|(_, l)| l.contains("CAMELID_FAULT")), "{lines:?}");
        println!("rc {rc} max {} {}", c.max(0), c.max(1));
        let rest = Batch::new(&(c.max(0) + 1..29).collect::<Vec<_>>()).at(c.max(0) + 1).of(&[0, 1]);
        assert_eq!(c.decode(&rest), 0);
        let whole = m.ctx(llama_context_params { n_seq_max: 2, kv_unified: true, n_ubatch: 64, ..ctx_params() });
        whole.decode(&b); // the fault may come here too: then again
        if whole.max(0) < 0 {
            assert_eq!(whole.decode(&b), 0);
        }
        assert_eq!(c.logits(rest.tokens.len() as i32 - 1), whole.logits(28));
        return;
    }
    for (at, max) in [(0, -1), (1, 7), (3, 23)] {
        for worker in 0..2 {
            let env = [(MARK, "1".to_owned()), ("CAMELID_FAULT", format!("{worker}@{at}"))];
            if std::thread::available_parallelism().is_ok_and(|n| n.get() > worker) {
                let said = child("processes::a_broken_worker", &env);
                assert!(said.contains(&format!("rc -3 max {max} {max}")), "{said}");
            }
        }
    }
}

/// fork after loading, and after a context was made, before the first decode: parent and child decode alike, in that context and in new ones.
#[test]
fn fork_before_the_first_decode() {
    if in_child().is_none() {
        child("processes::fork_before_the_first_decode", &[(MARK, "1".to_owned())]);
        return;
    }
    for arch in ["llama", "gemma3"] {
        let m = Tiny::new(arch).load("fork");
        let c = m.ctx(ctx_params());
        let work = || [run(&c, 1), run(&m.ctx(ctx_params()), 1)].map(|l| bits(&l));
        let mut ends = [0; 2];
        // SAFETY: room for two descriptors.
        assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
        // SAFETY: the child works with what it has and leaves by _exit.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0);
        if pid == 0 {
            let got = work();
            // SAFETY: two numbers; no destructors, no test harness in the child.
            unsafe {
                let n = libc::write(ends[1], got.as_ptr().cast(), size_of_val(&got));
                libc::_exit(i32::from(n != size_of_val(&got) as isize));
            }
        }
        let (want, mut got, mut status) = (work(), [0u64; 2], -1);
        // SAFETY: our own child and pipe, room for two numbers.
        unsafe {
            libc::waitpid(pid, &raw mut status, 0);
            assert_eq!(status, 0, "the child failed");
            assert_eq!(libc::read(ends[0], got.as_mut_ptr().cast(), size_of_val(&got)), size_of_val(&got) as isize);
        }
        assert_eq!(got, want, "{arch}: the child computes other logits");
        assert_eq!(want[0], want[1], "{arch}");
    }
}

fn bits(logits: &[f32]) -> u64 {
    logits.iter().fold(0xcbf2_9ce4_8422_2325, |h, v| (h ^ u64::from(v.to_bits())).wrapping_mul(0x0100_0000_01b3))
}

pub fn address_space() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("linux");
    let pages: u64 = text.split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
    pages * 4096
}

/// Lowers the soft limit, or lifts it as far as it goes.
pub fn limit(bytes: u64) {
    let mut l = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: valid structs.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_AS, &raw mut l), 0);
        l.rlim_cur = bytes.min(l.rlim_max);
        assert_eq!(libc::setrlimit(libc::RLIMIT_AS, &raw const l), 0);
    }
}

/// Address space that is too small for a context, in steps: NULL and one line, or a context that decodes or says no.
#[test]
fn memory_that_is_refused() {
    if in_child().is_none() {
        let said = child("processes::memory_that_is_refused", &[(MARK, "1".to_owned())]);
        assert!(said.contains("refused") && said.contains("made"), "{said}");
        return;
    }
    let m = Tiny::new("llama").load("refused");
    // The allocator and the log have been through it once.
    drop(run(&m.ctx(ctx_params()), 1));
    assert!(m.context(llama_context_params { n_ctx: u32::MAX, ..ctx_params() }).is_none());
    let big = llama_context_params { n_ctx: 1 << 16, n_batch: 4096, n_ubatch: 4096, ..ctx_params() };
    let (mut refused, mut made, mut failed) = (0, 0, 0);
    for mib in 1..80 {
        limit(address_space() + (mib << 20));
        said();
        match m.context(big) {
            None => {
                let e = errors("refused");
                assert!(e.len() == 1 && e[0].contains("memory"), "{e:?}");
                refused += 1;
            }
            Some(c) => {
                made += 1;
                let rc = c.decode(&Batch::new(&[1, 2, 3]));
                let e = errors("made");
                assert!((rc == 0 && e.is_empty()) || (rc < -1 && e.len() == 1), "{rc} {e:?}");
                failed += i32::from(rc != 0);
                limit(libc::RLIM_INFINITY);
                if rc != 0 {
                    assert_eq!(c.max(0), -1);
                    assert_eq!(c.decode(&Batch::new(&[1, 2, 3])), 0, "memory is there again");
                }
            }
        }
        limit(libc::RLIM_INFINITY);
    }
    println!("refused {refused}, made {made}, of which {failed} could not decode at once");
}

/// A model that does not fit.
#[test]
fn a_model_that_finds_no_memory() {
    if in_child().is_none() {
        child("processes::a_model_that_finds_no_memory", &[(MARK, "1".to_owned())]);
        return;
    }
    let mut t = Tiny::new("llama");
    t.tensors.iter_mut().filter(|t| t.name.contains("norm")).for_each(|t| t.fill(1.0));
    // 64 MiB that no map can save: a mode that reads
    let mut big = t.tensors[0].clone();
    big.name = "unused".into();
    big.reshape(&[1 << 12, 1 << 12]);
    t.tensors.push(big);
    let file = t.file("nomemory");
    for mode in [-1, 0, 1, 2, 3, 4] {
        let p = llama_model_params { load_mode: mode, ..crate::tiny::params() };
        drop(Model::load(&file, &p));
        limit(address_space() + (8 << 20));
        said();
        let m = Model::load(&file, &p);
        let e = errors("model");
        assert!(m.is_some() || e.len() == 1, "mode {mode}: {e:?}");
        limit(libc::RLIM_INFINITY);
    }
}
