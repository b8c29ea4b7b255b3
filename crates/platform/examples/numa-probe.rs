//! What `platform::numa` finds and can do on a machine, for `tests/numa`: each word is a check, in order; the first that fails ends it with 1.
//!
//! topology: nodes and cores; limits: the log's lines; rung: what placement stands on; bind, prefer, interleave: where pages lie after each call;
//! place: pages put where the rung can put them; free: the free memory of every node; short N: more pages than node N has, with `prefer`;
//! fill N KIB: leaves so much of node N, until the machine is turned off.
use platform::mmap::{Anon, page_size};
use platform::numa::{Node, Rung, cpus, ladder, pages, spread, topology};
use std::collections::BTreeMap;
use std::io::{Error, Result};
use std::os::fd::AsRawFd;

const HUGE: usize = 2 << 20;

fn main() {
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let before = cpus::affinity(0).expect("known");
        let done = match word.as_str() {
            "topology" => show_topology(),
            "limits" => topology().report().iter().try_for_each(|l| print(l)),
            "rung" => print(&format!("rung {}", ladder().rung.word())).and_then(|()| print(&ladder().to_string())),
            "bind" => each_node(pages::bind, "bound"),
            "prefer" => each_node(pages::prefer, "preferred"),
            "interleave" => interleaved(),
            "place" => place(),
            "free" => free(),
            "short" => short(words.next().and_then(|n| n.parse().ok()).expect("a node")),
            "fill" => {
                fill(words.next().and_then(|n| n.parse().ok()).expect("a node"), words.next().and_then(|n| n.parse().ok()).expect("KiB"))
            }
            _ => Err(Error::other("not a check")),
        };
        let after = cpus::affinity(0).expect("known");
        let done = done.and_then(|()| if before == after { Ok(()) } else { Err(Error::other("this thread's affinity has changed")) });
        if let Err(e) = done {
            println!("{word}: FAILED: {e}");
            std::process::exit(1);
        }
    }
}

fn print(line: &str) -> Result<()> {
    println!("{line}");
    Ok(())
}

fn show_topology() -> Result<()> {
    let t = topology();
    println!("origin {:?}", t.origin);
    for n in &t.nodes {
        let cores: Vec<String> = n.cores.iter().map(|c| cpus::list(c.cpus.iter().copied())).collect();
        println!("node {} memory {} cores [{}]", n.os, if n.memory > 0 { "yes" } else { "no" }, cores.join(" "));
    }
    Ok(())
}

/// Fresh memory whose small pages are nobody else's, and its first huge-page border.
fn fresh(len: usize) -> (Anon, *const u8) {
    let a = Anon::new(len + 2 * HUGE).expect("address space");
    a.huge_pages(0..len + 2 * HUGE, false);
    let at = (a.as_ptr() as usize).next_multiple_of(HUGE) as *const u8;
    (a, at)
}

fn with_memory() -> Vec<&'static Node> {
    topology().nodes.iter().filter(|n| n.memory > 0).collect()
}

/// How many of these pages lie on which node; an error number for those that lie nowhere.
fn where_they_lie(at: *const u8, len: usize) -> Result<BTreeMap<i32, usize>> {
    let mut count = BTreeMap::new();
    pages::nodes_of(at, len, page_size())?.into_iter().for_each(|n| *count.entry(n).or_insert(0) += 1);
    Ok(count)
}

fn all_on(at: *const u8, len: usize, node: u32, how: &str) -> Result<()> {
    let found = where_they_lie(at, len)?;
    println!("{how} {node}: {found:?}");
    let wanted = BTreeMap::from([(node as i32, len / page_size())]);
    if found == wanted { Ok(()) } else { Err(Error::other(format!("wanted {wanted:?}"))) }
}

/// Pages given to each node in turn are there after this thread, wherever it runs, has touched them.
fn each_node(give: impl Fn(*const u8, usize, u32) -> Result<()>, how: &str) -> Result<()> {
    for node in with_memory() {
        let (_memory, at) = fresh(HUGE);
        give(at, HUGE, node.os)?;
        pages::populate(at, HUGE)?;
        all_on(at, HUGE, node.os, how)?;
    }
    Ok(())
}

fn interleaved() -> Result<()> {
    let (_memory, at) = fresh(2 * HUGE);
    let nodes: Vec<u32> = with_memory().iter().map(|n| n.os).collect();
    pages::interleave(at, 2 * HUGE, &nodes)?;
    pages::populate(at, 2 * HUGE)?;
    evenly(at, 2 * HUGE)
}

/// No node with memory has more than its part and one piece.
fn evenly(at: *const u8, len: usize) -> Result<()> {
    let (found, nodes) = (where_they_lie(at, len)?, with_memory());
    println!("interleaved: {found:?}");
    let part = len / page_size() / nodes.len();
    let near = |n: &&Node| found.get(&(n.os as i32)).is_some_and(|pages| pages.abs_diff(part) <= HUGE / page_size());
    if nodes.iter().all(near) { Ok(()) } else { Err(Error::other(format!("wanted {part} pages each"))) }
}

/// As the rung says: bound, or touched by a thread beside the node, or in turn.
fn place() -> Result<()> {
    match ladder().rung {
        Rung::Bound => each_node(pages::bind, "placed"),
        Rung::Touched => with_memory().iter().filter(|n| !n.cores.is_empty()).try_for_each(|n| touched(n)),
        Rung::Interleaved => {
            let (_memory, at) = fresh(8 * HUGE);
            spread(at, 8 * HUGE, &topology().nodes)?;
            evenly(at, 8 * HUGE)
        }
        Rung::Plain => print("nothing is placed"),
    }
}

fn touched(node: &Node) -> Result<()> {
    let (_memory, at) = fresh(HUGE);
    let (from, seats) = (at as usize, node.cores.iter().flat_map(|c| c.cpus.iter().copied()).collect());
    let touch = move || cpus::pin(&seats).and_then(|()| pages::populate(from as *const u8, HUGE));
    std::thread::spawn(touch).join().expect("no panic")?;
    all_on(at, HUGE, node.os, "touched")
}

fn free() -> Result<()> {
    for n in &topology().nodes {
        let free = pages::free_memory(n.os).ok_or_else(|| Error::other("no such node"))?;
        println!("free {}: {}", n.os, if free > n.memory { "too much" } else { "less than it has" });
    }
    Ok(())
}

/// What a node cannot hold lies elsewhere, and nobody is killed.
fn short(node: u32) -> Result<()> {
    let free = pages::free_memory(node).ok_or_else(|| Error::other("no such node"))? as usize;
    let len = (free + free / 2).next_multiple_of(HUGE);
    let (_memory, at) = fresh(len);
    pages::prefer(at, len, node)?;
    pages::populate(at, len)?;
    let found = where_they_lie(at, len)?;
    let there = found.get(&(node as i32)).copied().unwrap_or(0) * page_size();
    println!(
        "short {node}: {} nodes, {}",
        found.len(),
        if there > free / 2 { "most of what was free is taken" } else { "little is taken" }
    );
    if found.len() > 1 && found.keys().all(|n| *n >= 0) { Ok(()) } else { Err(Error::other(format!("{found:?}"))) }
}

/// A file in memory keeps what it was given after this program has ended.
fn fill(node: u32, leave: u64) -> Result<()> {
    const STEP: usize = 64 << 10;
    let file = std::fs::File::create_new("/dev/shm/full")?;
    let len = topology().nodes.iter().find(|n| n.os == node).map_or(0, |n| n.memory as usize).next_multiple_of(STEP);
    file.set_len(len as u64)?;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a fresh mapping at a place of the kernel's choice, of a file that nobody else has.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), len, access, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    if at == libc::MAP_FAILED {
        return Err(Error::last_os_error());
    }
    pages::prefer(at.cast(), len, node)?;
    let more = || pages::free_memory(node).is_some_and(|free| free > leave * 1024);
    (0..len).step_by(STEP).take_while(|_| more()).try_for_each(|i| pages::populate(at.wrapping_byte_add(i).cast(), STEP))
}
