//! Limits and full disks: a return code, memory as before, and work that goes on where there is room again.
use crate::tiny::{Batch, Ctx, ctx_params, errors, said};
use crate::usage::alone;
use crate::wide;
use llama::capi::ext::*;
use llama::capi::memory::llama_memory_seq_rm;
use llama::capi::types::*;
use std::ffi::CString;
use std::path::{Path, PathBuf};

fn set_limit(what: libc::__rlimit_resource_t, bytes: u64) {
    let l = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: `l` outlives the call.
    assert_eq!(unsafe { libc::setrlimit(what, &raw const l) }, 0);
}

/// A line of /proc/self/status, in bytes.
fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find_map(|l| l.strip_prefix(name)).expect("a line");
    line.trim_start_matches(':').split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).expect("a number") * 1024
}

fn large() -> llama_context_params {
    llama_context_params { n_ctx: crate::N_CTX, ..ctx_params() }
}

/// Decodes 64 tokens at a time until that fails; the code, and how far it came.
fn until_it_fails(c: &Ctx, most: i32) -> (i32, i32) {
    for _ in 0..most / 64 {
        let next = c.max(0) + 1;
        let rc = c.decode(&Batch::new(&[1; 64]).at(next));
        if rc != 0 {
            return (rc, c.max(0));
        }
    }
    (0, c.max(0))
}

/// Refused, remembered as before, and usable: what is freed can be filled again.
fn goes_on(c: &Ctx, what: &str) {
    let (rc, max) = until_it_fails(c, 4096);
    assert_eq!(rc, -2, "{what}: at {max}");
    let e = errors(what);
    assert!(e.iter().any(|l| l.contains("memory") || l.contains("disk")), "{what}: {e:?}");
    assert!(max >= 63 && c.min(0) == 0, "{what}: stopped at {max}");
    // A failing ubatch leaves no trace; those before it stay.
    assert_eq!((max + 1) % 8, 0, "{what}");
    // SAFETY: a live memory.
    assert!(unsafe { llama_memory_seq_rm(c.mem(), 0, 0, -1) }, "{what}");
    let (_, again) = until_it_fails(c, 64);
    assert_eq!(again, 63, "{what}: after freeing, at once");
}

#[test]
fn address_space_that_is_refused_is_no_context() {
    if !alone("limits::address_space_that_is_refused_is_no_context") {
        return;
    }
    let m = wide().load("as");
    said();
    set_limit(libc::RLIMIT_AS, status("VmSize") + (256 << 20));
    assert!(m.context(large()).is_none());
    let e = errors("as");
    assert!(e.iter().any(|l| l.contains("KV store")), "{e:?}");
    let c = m.ctx(ctx_params());
    assert_eq!(until_it_fails(&c, 128), (0, 127));
}

/// As with vm.overcommit_memory=2: what could be touched counts, so it is only asked for as it is used, and then refused.
#[test]
fn memory_that_is_refused_is_a_return_code() {
    if !alone("limits::memory_that_is_refused_is_a_return_code") {
        return;
    }
    let m = wide().load("data");
    set_limit(libc::RLIMIT_DATA, status("VmData") + (160 << 20));
    let c = m.ctx(large());
    // Threads and their stacks are there before the limit is.
    assert_eq!(until_it_fails(&c, 64), (0, 63));
    said();
    set_limit(libc::RLIMIT_DATA, status("VmData") + (14 << 20));
    goes_on(&c, "data");
}

/// A file system of a mebibyte, in a mount namespace of this process.
fn small_disk() -> Option<PathBuf> {
    let dir = std::env::temp_dir().join(format!("camelid-disk-{}", std::process::id()));
    std::fs::create_dir_all(&dir).ok()?;
    let path = CString::new(dir.to_str()?).ok()?;
    // SAFETY: terminated strings; only this process sees the mount.
    let mounted = unsafe {
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(c"none".as_ptr(), c"/".as_ptr(), std::ptr::null(), libc::MS_REC | libc::MS_PRIVATE, std::ptr::null()) == 0
            && libc::mount(c"kv".as_ptr(), path.as_ptr(), c"tmpfs".as_ptr(), 0, c"size=1m".as_ptr().cast()) == 0
    };
    mounted.then_some(dir)
}

fn file_context(m: &crate::tiny::Model, dir: &Path) -> Option<Ctx> {
    let dir = CString::new(dir.to_str().expect("UTF-8")).expect("no NUL");
    // SAFETY: a live model, a terminated string.
    let c = unsafe {
        let more =
            camelid_context_params { kv: camelid_kv::CAMELID_KV_FILE as i32, kv_dir: dir.as_ptr(), ..camelid_context_default_params() };
        camelid_init_from_model(m.get(), large(), &raw const more)
    };
    (!c.is_null()).then_some(Ctx(c))
}

#[test]
fn a_full_disk_is_a_return_code() {
    if !alone("limits::a_full_disk_is_a_return_code") {
        return;
    }
    let m = wide().load("disk");
    let Some(dir) = small_disk() else {
        eprintln!("skipped: a full disk needs the right to mount one");
        return;
    };
    let c = file_context(&m, &dir).expect("sparse: it fits");
    said();
    goes_on(&c, "disk");
}

/// A memory cgroup of this size that this process moved into: version 1 or 2, where we may make one.
fn small_cgroup(bytes: u64) -> Option<PathBuf> {
    let roots = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "tasks"), ("/sys/fs/cgroup", "memory.max", "cgroup.procs")];
    let (dir, limit, procs) = roots.into_iter().find_map(|(root, limit, procs)| {
        let dir = Path::new(root).join(format!("camelid-{}", std::process::id()));
        std::fs::create_dir(&dir).ok()?;
        (dir.join(limit).exists() || std::fs::remove_dir(&dir).is_err()).then_some((dir, limit, procs))
    })?;
    std::fs::write(dir.join(limit), bytes.to_string()).ok()?;
    std::fs::write(dir.join(procs), std::process::id().to_string()).ok()?;
    Some(dir)
}

/// Where the kernel would kill: a return code from the map, and a file that goes on, because its pages can be written back.
#[test]
fn a_cgroup_that_is_too_small_kills_nobody() {
    if !alone("limits::a_cgroup_that_is_too_small_kills_nobody") {
        return;
    }
    // Rows alone are as much as there is; more would only read and write the same pages again and again.
    const LIMIT: u64 = 32 << 20;
    let n = LIMIT as i32 / crate::CELL as i32;
    let m = wide().load("cgroup");
    let Some(group) = small_cgroup(LIMIT) else {
        eprintln!("skipped: a cgroup needs the right to make one");
        return;
    };
    let c = m.ctx(large());
    said();
    let (rc, max) = until_it_fails(&c, n);
    assert!(rc == -2 && max >= 63, "{rc} at {max}");
    assert!(errors("cgroup").iter().any(|l| l.contains("cgroup")));
    drop(c);
    let dir = std::env::current_exe().expect("a test").with_file_name("");
    let c = file_context(&m, &dir).expect("sparse: it fits");
    assert_eq!(until_it_fails(&c, n), (0, n - 1));
    drop(c);
    // Back where everybody is, or the group could not be removed.
    let procs = if group.parent().is_some_and(|p| p.ends_with("memory")) { "tasks" } else { "cgroup.procs" };
    let _ = std::fs::write(group.with_file_name(procs), std::process::id().to_string());
    let _ = std::fs::remove_dir(&group);
}

/// The kernel would not refuse this file but send a signal.
#[test]
fn a_file_beyond_the_limit_is_no_context() {
    if !alone("limits::a_file_beyond_the_limit_is_no_context") {
        return;
    }
    let m = wide().load("fsize");
    said();
    set_limit(libc::RLIMIT_FSIZE, 64 << 20);
    assert!(file_context(&m, &std::env::temp_dir()).is_none());
    assert!(errors("fsize").iter().any(|l| l.contains("ulimit")));
    assert!(file_context(&m, Path::new("/nowhere/at/all")).is_none());
}

/// What C says wins over the environment, nonsense is refused by name, and a caller of an older header is understood.
#[test]
fn what_the_caller_says() {
    let m = wide().load("params");
    // SAFETY: takes nothing.
    let d = unsafe { camelid_context_default_params() };
    let make = |p: *const camelid_context_params| {
        said();
        // SAFETY: a live model; NULL or a struct of ours.
        let c = unsafe { camelid_init_from_model(m.get(), llama_context_params { n_ctx: 256, ..large() }, p) };
        (!c.is_null()).then_some(Ctx(c))
    };
    // SAFETY: a live context.
    let resident = |c: &Ctx| unsafe { camelid_kv_resident(c.get()) };
    assert_eq!(resident(&make(&d).expect("defaults")), 0);
    assert_eq!(resident(&make(std::ptr::null()).expect("none")), 0);
    let heap = camelid_context_params { kv: camelid_kv::CAMELID_KV_HEAP as i32, ..d };
    assert_eq!(resident(&make(&heap).expect("heap")), 256 * crate::CELL as u64);
    let old = camelid_context_params { size: size_of::<usize>(), kv: 99, ..d };
    assert!(make(&old).is_some(), "a caller that knows no `kv`");
    for (bad, name) in [
        (camelid_context_params { kv: 99, ..d }, "kv is 99"),
        (camelid_context_params { size: 0, ..d }, "size"),
        (camelid_context_params { kv: camelid_kv::CAMELID_KV_FILE as i32, ..d }, "kv_dir"),
    ] {
        assert!(make(&bad).is_none());
        let e = errors(name);
        assert!(e.len() == 1 && e[0].contains(name), "{e:?}");
    }
}
