//! Files that are not what was written, disks that are full, folders that cannot be written to: a miss, a line, and memory as it was.
use super::*;
use llama::state::{self, What};
use std::process::Command;

fn memory(c: &mut Context) -> Vec<u8> {
    let mut b = vec![0; state::size(c, What::Everything).expect("a size")];
    state::save(c, What::Everything, &mut b).expect("saves");
    b
}

/// One entry of 200 tokens, its bytes, and a context with something in it.
fn one(name: &'static str) -> (Dir, Vec<i32>, PathBuf, Vec<u8>, Context) {
    let (d, t) = (Dir::unique(), tokens(1, 200));
    stored(&d.cache(ANY_SIZE), name, &params(), &t);
    let path = d.entries().remove(0);
    let bytes = fs::read(&path).expect("there");
    let mut c = context(name, params());
    decode(&mut c, 0, &tokens(3, 30));
    (d, t, path, bytes, c)
}

#[test]
fn a_damaged_entry_is_removed_before_anything_changes() {
    for name in [LLAMA, GEMMA] {
        let (d, t, path, bytes, mut c) = one(name);
        let (cache, before) = (d.cache(ANY_SIZE), memory(&mut c));
        let mut rng = Rng(4);
        let n = bytes.len();
        let mut bad: Vec<Vec<u8>> = vec![vec![], bytes[..n - 1].to_vec(), bytes[..n / 2].to_vec(), [&bytes[..], &[0]].concat(), vec![0; n]];
        bad.extend((0..40).map(|_| bytes[..rng.below(n)].to_vec()));
        bad.extend((0..150).map(|i| {
            let mut b = bytes.clone();
            // Everywhere; then in the header, the tokens and the end, of which there is less.
            let at = if i < 50 {
                rng.below(n)
            } else if i < 100 {
                rng.below(820)
            } else {
                n - 1 - rng.below(100)
            };
            b[at] ^= 1 << rng.below(8);
            b
        }));
        let mut removed = 0;
        for (i, b) in bad.iter().enumerate() {
            fs::write(&path, b).expect("writes");
            let got = cache.restore(&mut c, 0, &t).expect("no error");
            if got > 0 {
                // A bit of a token: what is before it is as good as it was, if nobody looks at the rest. Somebody does.
                panic!("case {i}: {got} tokens of a damaged entry");
            }
            assert!(memory(&mut c) == before, "case {i}");
            removed += usize::from(!path.exists());
        }
        assert!(removed > bad.len() - 60, "{removed} of {} removed", bad.len());
        // What is stored in its place is good again.
        stored(&cache, name, &params(), &t);
        assert_eq!(restored(&cache, name, &params(), &t), 199);
    }
}

#[test]
fn names_are_not_believed() {
    let (d, t, path, bytes, mut c) = one(LLAMA);
    let (cache, before) = (d.cache(ANY_SIZE), memory(&mut c));
    // The entry of another prompt under this one's names, then of another model.
    let other = Dir::unique();
    for (name, seed) in [(LLAMA, 2), (GEMMA, 1)] {
        stored(&other.cache(ANY_SIZE), name, &params(), &tokens(seed, 200));
        let theirs = other.entries().remove(0);
        fs::copy(&theirs, &path).expect("copies");
        fs::remove_file(theirs).expect("ours");
        assert_eq!(cache.restore(&mut c, 0, &t).expect("no error"), 0);
        assert!(memory(&mut c) == before);
    }
    // Links that lead nowhere, outside, to a folder, to themselves; files in place of links; strange files.
    fs::write(&path, &bytes).expect("writes");
    let links: Vec<PathBuf> = d.names("prefixes").iter().map(|n| d.0.join("prefixes").join(n)).collect();
    for target in ["../entries/none.seq", "/dev/zero", "..", "../../../../etc/passwd.seq", "../entries"] {
        for l in &links {
            fs::remove_file(l).expect("ours");
            std::os::unix::fs::symlink(target, l).expect("a link");
        }
        assert_eq!(cache.restore(&mut c, 0, &t).expect("no error"), 0, "{target}");
    }
    links.iter().for_each(|l| fs::remove_file(l).and_then(|()| fs::write(l, b"x")).expect("ours"));
    assert_eq!(cache.restore(&mut c, 0, &t).expect("no error"), 0);
    fs::create_dir(d.0.join("entries").join("0.seq")).expect("a folder");
    fs::write(d.0.join("entries/stray"), b"x").expect("writes");
    assert!(memory(&mut c) == before);
    stored(&cache, LLAMA, &params(), &t);
    assert_eq!(restored(&cache, LLAMA, &params(), &t), 199);
}

#[test]
fn what_a_crash_left_goes_and_what_is_in_the_making_stays() {
    let (d, t, ..) = one(LLAMA);
    for folder in ["entries", "prefixes"] {
        for (name, old) in [(".0.seq.1-0.tmp", true), (".0.seq.2-0.tmp", false)] {
            let path = d.0.join(folder).join(name);
            fs::write(&path, vec![0; 1000]).expect("writes");
            let age = std::time::Duration::from_secs(if old { 3600 } else { 5 });
            let f = fs::File::options().write(true).open(&path).expect("ours");
            f.set_modified(std::time::SystemTime::now() - age).expect("ours");
        }
    }
    let cache = d.cache(ANY_SIZE);
    for folder in ["entries", "prefixes"] {
        let left: Vec<String> = d.names(folder).into_iter().filter(|n| n.ends_with("tmp")).collect();
        assert_eq!(left, [".0.seq.2-0.tmp"]);
    }
    assert_eq!(restored(&cache, LLAMA, &params(), &t), 199);
}

// ---- what needs a process of its own

const MARK: &str = "PREFIX_CACHE_CHILD";

/// Runs the test `name` again in a process that knows `dir`.
fn child(name: &str, dir: &Path) -> Option<PathBuf> {
    if let Some(dir) = std::env::var_os(MARK) {
        return Some(dir.into());
    }
    let mut c = Command::new(std::env::current_exe().expect("this program"));
    let out = c.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(MARK, dir).output().expect("runs");
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && said.contains("child is done"), "{said}");
    None
}

#[test]
fn a_full_disk_is_a_line() {
    let d = Dir::unique();
    let t = tokens(1, 200);
    let Some(dir) = child("damage::a_full_disk_is_a_line", &d.0) else {
        assert_eq!(d.entries().len(), 2);
        assert!(d.names("entries").iter().all(|n| n.ends_with(".seq")), "a temporary is left");
        return;
    };
    let cache = Cache::open(&dir, ANY_SIZE).expect("opens");
    stored(&cache, LLAMA, &params(), &t);
    let limit = |bytes: u64| {
        let l = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
        // SAFETY: plain values; the signal that comes with the limit is ignored, so that a write fails as on a full disk.
        unsafe { assert!(libc::signal(libc::SIGXFSZ, libc::SIG_IGN) != libc::SIG_ERR && libc::setrlimit(libc::RLIMIT_FSIZE, &l) == 0) };
    };
    let mut c = context(LLAMA, params());
    let u = tokens(2, 200);
    let expected = decode(&mut c, 0, &u);
    for bytes in [0, 1000, 300_000] {
        limit(bytes);
        let failed = cache.store(&mut c, 0, &u);
        limit(libc::RLIM_INFINITY);
        assert!(failed.is_err(), "with {bytes} bytes");
        assert_eq!(restored(&cache, LLAMA, &params(), &t), 199, "what was there works");
        assert_eq!(cache.restore(&mut context(LLAMA, params()), 0, &u).expect("no error"), 0);
    }
    cache.store(&mut c, 0, &u).expect("stores");
    assert!(computed(LLAMA, &params(), &u) == expected);
    assert_eq!(restored(&cache, LLAMA, &params(), &u), 199);
    println!("child is done");
}

#[test]
fn a_folder_that_can_only_be_read() {
    use std::os::unix::fs::PermissionsExt;
    let (d, t) = (Dir::unique(), tokens(1, 200));
    let folders = |d: &Path| [d.to_owned(), d.join("entries"), d.join("prefixes")];
    let rights = |d: &Path, mode: u32| {
        for f in folders(d) {
            fs::set_permissions(f, fs::Permissions::from_mode(mode)).expect("ours");
        }
    };
    if std::env::var_os(MARK).is_none() {
        stored(&d.cache(ANY_SIZE), LLAMA, &params(), &t);
        fs::set_permissions(&d.entries()[0], fs::Permissions::from_mode(0o444)).expect("ours");
        rights(&d.0, 0o555);
    }
    let Some(dir) = child("damage::a_folder_that_can_only_be_read", &d.0) else { return rights(&d.0, 0o755) };
    let _ = model(LLAMA);
    // SAFETY: no memory; root may write anywhere, so it becomes nobody.
    unsafe { assert!(libc::geteuid() != 0 || libc::setresuid(65534, 65534, 65534) == 0) };
    let cache = Cache::open(&dir, ANY_SIZE).expect("opens");
    assert_eq!(restored(&cache, LLAMA, &params(), &t), 199);
    let mut c = context(LLAMA, params());
    decode(&mut c, 0, &tokens(2, 100));
    assert!(cache.store(&mut c, 0, &tokens(2, 100)).is_err());
    assert_eq!(restored(&cache, LLAMA, &params(), &t), 199);
    assert!(Cache::open(&dir.join("entries/none"), ANY_SIZE).is_err());
    println!("child is done");
}
