//! Saves that cannot end: a full disk, a folder that is read-only, a process that dies in the middle. There is the old file or the new one, whole.
//! What needs a process of its own is an ignored test that its parent starts.
use super::files::Dir;
use super::*;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Where a child works; the parent says.
pub const FOLDER: &str = "CAMELID_TEST_FOLDER";

/// This program again, with one ignored test, by way of `sh`: `before` is what the shell does first.
fn child(test: &str, folder: &Dir, before: &str) -> Command {
    let mut c = Command::new("sh");
    c.arg("-c").arg(format!("{before} exec \"$@\"")).arg("sh");
    c.arg(std::env::current_exe().expect("a test")).args(["--ignored", "--exact", test, "--test-threads", "1", "--nocapture"]);
    c.env(FOLDER, folder.path("")).stdin(Stdio::null());
    c
}

/// Whether it ended well; `None` where `before` could not be done.
pub fn run(test: &str, folder: &Dir, before: &str) -> Option<bool> {
    let out = child(test, folder, before).output().expect("a shell");
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    if !said.contains("running 1 test") {
        eprintln!("skipped: {}", said.trim());
        return None;
    }
    assert!(out.status.success(), "{said}");
    Some(true)
}

fn folder() -> PathBuf {
    std::env::var_os(FOLDER).expect("started by a test").into()
}

fn names(d: &Path) -> Vec<String> {
    let name = |e: std::io::Result<fs::DirEntry>| e.expect("an entry").file_name().to_string_lossy().into_owned();
    fs::read_dir(d).expect("a folder").map(name).collect()
}

#[test]
#[ignore = "a child of the tests below"]
fn saves_that_must_fail() {
    let d = folder();
    let mut c = context(LLAMA, params());
    decode(&mut c, 0, &tokens(1, 400));
    let before = save(&mut c, What::Everything);
    let s = d.join("s");
    assert!(state::save_session(&mut c, &s, &tokens(1, 400)).is_err());
    assert!(state::save_seq(&mut c, &s, 0, &[]).is_err());
    assert_eq!((fs::read(&s).expect("there"), names(&d)), (b"old".to_vec(), vec!["s".to_owned()]));
    // The context goes on.
    assert!(save(&mut c, What::Everything) == before);
    decode(&mut c, 0, &tokens(2, 5));
}

/// A folder with an old file in it.
fn with_old_file(name: &str) -> Dir {
    let d = Dir::new(name);
    fs::write(d.path("s"), b"old").expect("writes");
    d
}

#[test]
fn a_file_that_may_not_grow_is_a_save_that_fails() {
    // 64 blocks of 512 bytes; the signal ignored, so that a write says so.
    let done = run("crash::saves_that_must_fail", &with_old_file("limit"), "trap '' XFSZ; ulimit -f 64;");
    assert_eq!(done, Some(true));
}

#[test]
fn a_full_disk_and_a_disk_that_is_read_only_are_saves_that_fail() {
    let d = Dir::new("disks");
    let old = format!("printf old > \"${FOLDER}/s\" &&");
    let mount = |more: &str| {
        format!("exec unshare -rm sh -c 'mount -t tmpfs -o size=64k none \"${FOLDER}\" && {old} {more} exec \"$@\"' sh \"$@\";")
    };
    let full = run("crash::saves_that_must_fail", &d, &mount(""));
    let read_only = run("crash::saves_that_must_fail", &d, &mount(&format!("mount -o remount,ro \"${FOLDER}\" &&")));
    if (full, read_only) != (Some(true), Some(true)) {
        eprintln!("skipped: no file system can be mounted here ({full:?}, {read_only:?})");
    }
}

#[test]
fn a_folder_that_may_not_be_written_is_a_save_that_fails() {
    use std::os::unix::fs::PermissionsExt;
    let d = with_old_file("rights");
    let mut c = context(LLAMA, params());
    decode(&mut c, 0, &tokens(1, 10));
    // Under a file there is no folder, for root neither.
    assert!(state::save_session(&mut c, &d.path("s/t"), &[]).is_err());
    fs::set_permissions(d.path(""), fs::Permissions::from_mode(0o500)).expect("ours");
    if fs::write(d.path("probe"), b"").is_ok() {
        eprintln!("skipped: rights do not bind this user");
        fs::remove_file(d.path("probe")).expect("ours");
    } else {
        assert!(state::save_session(&mut c, &d.path("s"), &[]).is_err());
    }
    fs::set_permissions(d.path(""), fs::Permissions::from_mode(0o700)).expect("ours");
    assert_eq!((fs::read(d.path("s")).expect("there"), d.names()), (b"old".to_vec(), vec!["s".to_owned()]));
}

/// Two pasts that differ in length.
const PASTS: [usize; 2] = [40, 450];

#[test]
#[ignore = "a child of the test below"]
fn saves_until_it_is_killed() {
    let d = folder();
    let mut both = PASTS.map(|n| {
        let mut c = context(LLAMA, params());
        decode(&mut c, 0, &tokens(1, n));
        c
    });
    fs::write(d.join("ready"), b"").expect("writes");
    loop {
        for c in &mut both {
            state::save_session(c, &d.join("s"), &[7]).expect("saves");
        }
    }
}

struct Killed(Child);
impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_process_that_dies_leaves_the_old_file_or_the_new_one() {
    let mut c = context(LLAMA, params());
    let whole = PASTS.map(|n| {
        c.memory_clear();
        decode(&mut c, 0, &tokens(1, n));
        save(&mut c, What::Everything)
    });
    let (mut r, mut seen, mut torn) = (Rng(5), [0; 2], 0);
    for round in 0..12 {
        let d = Dir::new(&format!("kill-{round}"));
        state::save_session(&mut c, &d.path("s"), &[7]).expect("saves");
        let mut p =
            Killed(child("crash::saves_until_it_is_killed", &d, "").stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a shell"));
        while !d.path("ready").exists() {
            assert!(p.0.try_wait().expect("a child").is_none(), "the child has ended by itself");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(r.below(30_000) as u64));
        drop(p);
        torn += usize::from(d.names().iter().any(|n| n.ends_with(".tmp")));
        let got = state::load_session(&mut c, &d.path("s"), 10).expect("whole");
        assert_eq!(got.tokens, [7]);
        let now = save(&mut c, What::Everything);
        let which = whole.iter().position(|w| *w == now);
        seen[which.expect("one of the two")] += 1;
    }
    println!("{seen:?} files of each kind, {torn} of 12 processes died in a save");
}
