//! The way up: what is taken is what is used.
use crate::*;
use std::process::Command;

const MARK: &str = "MEMORY_RSS_CHILD";

/// Runs a test of this program again, alone in a process.
pub fn alone(name: &str) -> bool {
    alone_with(name, &[])
}

pub fn alone_with(name: &str, env: &[(&str, &str)]) -> bool {
    if std::env::var(MARK).is_ok() {
        return true;
    }
    let mut c = Command::new(std::env::current_exe().expect("this program"));
    c.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(MARK, "1").envs(env.iter().copied());
    let out = c.output().expect("runs");
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{name}: {}\n{said}", out.status);
    said.lines().filter(|l| l.starts_with("skipped")).for_each(|l| eprintln!("{l}"));
    false
}

fn process_rss() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    text.split(' ').nth(1).and_then(|n| n.parse::<usize>().ok()).expect("a number") * platform::mmap::page_size()
}

/// Bookkeeping counts too: everything that a context of this size brings into the process.
#[test]
fn an_empty_context_costs_under_a_hundredth() {
    if !alone("usage::an_empty_context_costs_under_a_hundredth") {
        return;
    }
    let m = model("empty");
    drop(kv(&m, &ContextParams { n_ctx: 256, ..params() }));
    let before = process_rss();
    let kv = kv(&m, &params());
    let (grown, capacity) = (process_rss().saturating_sub(before), kv.bytes());
    assert_eq!((capacity, kv.resident()), (N_CTX as usize * CELL, 0));
    assert!(grown * 100 < capacity, "{grown} of {capacity} bytes");
}

#[test]
fn one_sequence_of_100k() {
    let m = model("one");
    let mut kv = kv(&m, &params());
    let at = fill(&mut kv, 0, 100_000);
    let used = 100_000 * CELL;
    assert!(kv.resident() <= used + 4 * 4096 + MIB, "{} for {used}", kv.resident());
    assert!(intact(&kv, 0, 0, &at[..1000]) && intact(&kv, 0, 99_000, &at[99_000..]));
}

#[test]
fn thirty_two_of_1k() {
    let m = model("many");
    let mut kv = kv(&m, &params());
    (0..32).for_each(|s| drop(fill(&mut kv, s, 1000)));
    // Cells come in tiles of sixteen.
    let used = 32 * 1008 * CELL;
    let pages = 32 * N_LAYER * PLANES_PER_LAYER * 4096;
    assert!(kv.resident() <= used + pages, "{} for {used}", kv.resident());
}

/// Used bytes and a page per plane and sequence, whether the tokens come at once or one by one, in a shared store or in one of their own.
#[test]
fn two_hundred_and_fifty_six_of_sixteen() {
    let m = model("small");
    for unified in [true, false] {
        for piece in [16, 1] {
            let mut kv = kv(&m, &ContextParams { kv_unified: unified, ..params() });
            for pos in (0..16).step_by(piece) {
                (0..256).for_each(|s| drop(put(&mut kv, s, pos, piece)));
            }
            let (used, pages) = (256 * 16 * CELL, 256 * N_LAYER * PLANES_PER_LAYER * 4096);
            assert!(kv.resident() <= used + pages, "unified {unified}, {piece} at a time: {} for {used}", kv.resident());
        }
    }
}

/// The record of the mapping that holds the store, from /proc/self/smaps.
fn mapping(kv: &Kv) -> String {
    let base = kv.groups()[0].layers.iter().flatten().next().and_then(|l| l.buf.host()).expect("host memory").base as usize;
    let text = std::fs::read_to_string("/proc/self/smaps").expect("Linux");
    let holds = |head: &str| {
        let ends = head.split(' ').next().and_then(|r| r.split_once('-'));
        let hex = |s: &str| usize::from_str_radix(s, 16).ok();
        ends.and_then(|(a, b)| Some((hex(a)?..hex(b)?).contains(&base))).unwrap_or(false)
    };
    let mut lines = text.lines().skip_while(|l| !holds(l));
    let head = lines.next().expect("it is mapped").to_owned();
    lines.take_while(|l| l.starts_with(char::is_uppercase)).fold(head, |s, l| s + "\n" + l)
}

/// Huge pages are declined for all of the store, before and after a prompt that asked for some: the system's setting does not matter, and the store
/// stays one mapping.
#[test]
fn a_few_cells_never_bring_a_huge_page() {
    if !std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists() {
        eprintln!("skipped: this kernel has no huge pages");
        return;
    }
    let m = model("huge");
    let mut kv = kv(&m, &params());
    for n in [1, 4096] {
        kv.clear();
        fill(&mut kv, 0, n);
        let record = mapping(&kv);
        assert!(record.lines().any(|l| l.starts_with("VmFlags:") && l.contains(" nh")), "{n} tokens: {record}");
        assert!(record.contains(&format!("{} kB", N_CTX as usize * CELL / 1024)), "{n} tokens: {record}");
    }
}

#[test]
fn the_heap_is_there_from_the_start() {
    let m = model("heap");
    let mut kv = kv(&m, &ContextParams { n_ctx: 4096, kv: Some(platform::Backing::Heap), ..params() });
    assert_eq!(kv.resident(), 4096 * CELL);
    let at = fill(&mut kv, 0, 4096);
    assert!(intact(&kv, 0, 0, &at));
    kv.clear();
    assert_eq!(kv.resident(), 4096 * CELL);
}

/// A file's pages are there while it is worked on and gone when nothing happens; the bytes come back.
#[test]
fn a_file_leaves_memory_at_rest() {
    let dir = std::env::current_exe().expect("this program").with_file_name("");
    let m = model("file");
    let p = ContextParams { kv: Some(platform::Backing::File(dir)), ..params() };
    let mut kv = kv(&m, &p);
    let at = fill(&mut kv, 0, 4096);
    let left = settled(&kv, 4096 * CELL / 100);
    assert!(left * 100 <= 4096 * CELL || platform::env::flag("CAMELID_KV_KEEP_PAGES"), "{left} bytes stayed");
    assert!(intact(&kv, 0, 0, &at));
    kv.clear();
    assert_eq!(settled(&kv, 0), 0, "cleared");
    let at = fill(&mut kv, 0, 600);
    assert!(intact(&kv, 0, 0, &at));
}

#[test]
fn the_switch_keeps_a_file_in_memory() {
    if !alone_with("usage::the_switch_keeps_a_file_in_memory", &[("CAMELID_KV_KEEP_PAGES", "1")]) {
        return;
    }
    let dir = std::env::current_exe().expect("this program").with_file_name("");
    let m = model("keep");
    let mut kv = kv(&m, &ContextParams { kv: Some(platform::Backing::File(dir)), ..params() });
    fill(&mut kv, 0, 1024);
    // Longer than pages would have stayed.
    std::thread::sleep(Duration::from_secs(2));
    assert!(kv.resident() >= 1024 * CELL, "{}", kv.resident());
}
