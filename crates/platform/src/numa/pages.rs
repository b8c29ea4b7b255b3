//! Where pages lie and where they shall lie: the kernel's calls about memory nodes, one function each. Nodes are the system's numbers. Errors are
//! values, for containers refuse most of these calls. No call changes a byte.
use super::cpus::{Set, mask, parse_list};
use crate::mmap::page_size;
use std::io;
use std::path::Path;

/// Pages of the range come from `node` only, when they are touched: bind before touch. Without a page left there, the kernel ends somebody
/// instead of taking another node's: ask `free_memory` first.
pub fn bind(start: *const u8, len: usize, node: u32) -> io::Result<()> {
    mbind(start, len, libc::MPOL_BIND, &[node])
}

/// The same, but from another node when this one is full.
pub fn prefer(start: *const u8, len: usize, node: u32) -> io::Result<()> {
    mbind(start, len, libc::MPOL_PREFERRED, &[node])
}

/// Pages of the range come from these nodes in turn.
pub fn interleave(start: *const u8, len: usize, nodes: &[u32]) -> io::Result<()> {
    mbind(start, len, libc::MPOL_INTERLEAVE, nodes)
}

fn mbind(start: *const u8, len: usize, mode: i32, nodes: &[u32]) -> io::Result<()> {
    whole(start, len)?;
    let (mask, bits) = node_mask(nodes);
    // SAFETY: the mask is readable for `bits` bits. Only the placement of pages not yet touched changes; a range that is not mapped is an error.
    done(unsafe { libc::syscall(libc::SYS_mbind, start, len, mode, mask.as_ptr(), bits, 0) })
}

/// Pages that the calling thread touches first come from these nodes in turn, where no range says otherwise: for threads of ours that end with
/// their work, for what the thread did before is forgotten.
pub fn interleave_thread(nodes: &[u32]) -> io::Result<()> {
    let (mask, bits) = node_mask(nodes);
    // SAFETY: the mask is readable for `bits` bits. The calling thread's policy only.
    done(unsafe { libc::syscall(libc::SYS_set_mempolicy, libc::MPOL_INTERLEAVE, mask.as_ptr(), bits) })
}

/// Takes the pages of a range as if the calling thread had written to them; what is in them stays.
pub fn populate(start: *const u8, len: usize) -> io::Result<()> {
    whole(start, len)?;
    loop {
        // SAFETY: populating changes no byte; a range that is not mapped is an error.
        match unsafe { libc::madvise(start.cast_mut().cast(), len, libc::MADV_POPULATE_WRITE) } {
            0 => return Ok(()),
            _ => match io::Error::last_os_error() {
                e if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) => {}
                e => return Err(e),
            },
        }
    }
}

/// The node of one page every `step` bytes (rounded up to pages); what is negative is an error number: `-ENOENT` for a page nobody has touched.
pub fn nodes_of(start: *const u8, len: usize, step: usize) -> io::Result<Vec<i32>> {
    /// Pages asked for at once: 48 KB of lists.
    const BATCH: usize = 4096;
    let step = step.max(1).next_multiple_of(page_size());
    let mut found = Vec::new();
    found.try_reserve_exact(len.div_ceil(step)).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut pages = Vec::with_capacity(BATCH.min(len.div_ceil(step)));
    for first in (0..len).step_by(step * BATCH) {
        pages.clear();
        pages.extend((first..len).step_by(step).take(BATCH).map(|at| start.wrapping_add(at)));
        query(&pages, &mut found)?;
    }
    Ok(found)
}

fn query(pages: &[*const u8], found: &mut Vec<i32>) -> io::Result<()> {
    let mut status = vec![-libc::ENOENT; pages.len()];
    let nowhere = std::ptr::null::<i32>();
    // SAFETY: both lists are as long as is said. Without target nodes nothing is moved; addresses that are not mapped get an error as their status.
    done(unsafe { libc::syscall(libc::SYS_move_pages, 0, pages.len(), pages.as_ptr(), nowhere, status.as_mut_ptr(), 0) })?;
    found.extend(status);
    Ok(())
}

/// The CPU that the calling thread is on just now, and its node.
pub fn current_cpu_and_node() -> io::Result<(u32, u32)> {
    let (mut cpu, mut node) = (0u32, 0u32);
    // SAFETY: both are writable; the third argument has no meaning any more.
    done(unsafe { libc::syscall(libc::SYS_getcpu, &raw mut cpu, &raw mut node, std::ptr::null::<u8>()) })?;
    Ok((cpu, node))
}

/// Nodes with memory that this process may allocate on. Not empty: node 0 where the system does not tell.
pub fn mems_allowed() -> Set {
    mems_allowed_at(Path::new("/"))
}

pub(super) fn mems_allowed_at(root: &Path) -> Set {
    let status = std::fs::read_to_string(root.join("proc/self/status")).unwrap_or_default();
    let allowed = status.lines().find_map(|l| l.strip_prefix("Mems_allowed_list:")).and_then(parse_list);
    let there = std::fs::read_to_string(root.join("sys/devices/system/node/has_memory")).ok().as_deref().and_then(parse_list);
    // The first list may name nodes that could be plugged in.
    let both: Set = match (allowed, there) {
        (Some(a), Some(t)) => a.intersection(&t).copied().collect(),
        (a, t) => a.or(t).unwrap_or_default(),
    };
    if both.is_empty() { Set::from([0]) } else { both }
}

/// Bytes that could be taken from a node: free ones above what the kernel keeps back, and pages of files that are clean. `None`: no such node.
pub fn free_memory(node: u32) -> Option<u64> {
    free_memory_at(Path::new("/"), node)
}

pub(super) fn free_memory_at(root: &Path, node: u32) -> Option<u64> {
    let text = meminfo(root, node)?;
    let of = |name: &str| meminfo_bytes(&text, name).unwrap_or(0);
    let files = of("Active(file)") + of("Inactive(file)");
    let clean = files.saturating_sub(of("Dirty") + of("Writeback"));
    Some((meminfo_bytes(&text, "MemFree")? + clean).saturating_sub(kept_back(root, node)))
}

/// Below this many free bytes the kernel takes another node's pages.
fn kept_back(root: &Path, node: u32) -> u64 {
    let text = std::fs::read_to_string(root.join("proc/zoneinfo")).unwrap_or_default();
    let (title, mut inside, mut pages) = (format!("Node {node},"), false, 0u64);
    for line in text.lines() {
        if line.starts_with("Node ") {
            inside = line.starts_with(&title);
        } else if inside && let Some(n) = line.trim_start().strip_prefix("low ") {
            pages = pages.saturating_add(n.trim().parse().unwrap_or(0));
        }
    }
    pages.saturating_mul(page_size() as u64)
}

pub(super) fn meminfo(root: &Path, node: u32) -> Option<String> {
    std::fs::read_to_string(root.join(format!("sys/devices/system/node/node{node}/meminfo"))).ok()
}

/// `Node 0 MemFree:   123 kB`.
pub(super) fn meminfo_bytes(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().map(|l| l.split_whitespace());
    lines.find_map(|mut w| (w.nth(2)?.strip_suffix(':')? == name).then(|| w.next()?.parse::<u64>().ok()?.checked_mul(1024))?)
}

/// A range that ends inside a page would place a neighbour's bytes too.
fn whole(start: *const u8, len: usize) -> io::Result<()> {
    match (start as usize | len) & (page_size() - 1) {
        0 => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "the range is not of whole pages")),
    }
}

/// The kernel reads one bit less than it is told.
fn node_mask(nodes: &[u32]) -> (Vec<u64>, usize) {
    let mask = mask(nodes.iter().copied());
    let bits = mask.len() * 64 + 1;
    (mask, bits)
}

fn done(result: libc::c_long) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_reach_as_far_as_the_node() {
        assert_eq!(node_mask(&[0, 2]), (vec![5], 65));
        assert_eq!(node_mask(&[70]), (vec![0, 64], 129));
    }

    #[test]
    fn meminfo_is_read_per_node() {
        let text = "Node 3 MemTotal:       1000 kB\nNode 3 MemFree:          10 kB\nNode 3 Active(file):     7 kB\n";
        assert_eq!(meminfo_bytes(text, "MemTotal"), Some(1_024_000));
        assert_eq!(meminfo_bytes(text, "Active(file)"), Some(7168));
        assert_eq!(meminfo_bytes(text, "Active"), None);
        assert_eq!(meminfo_bytes("\nNode\nNode 3 MemFree:\nNode 3 MemFree: x kB", "MemFree"), None);
    }

    #[test]
    fn ranges_are_of_whole_pages() {
        let page = page_size() as *const u8;
        for (start, len) in [(page, 1), (page.wrapping_add(1), page_size())] {
            for r in [bind(start, len, 0), prefer(start, len, 0), interleave(start, len, &[0]), populate(start, len)] {
                assert_eq!(r.map_err(|e| e.kind()), Err(io::ErrorKind::InvalidInput));
            }
        }
    }

    #[cfg(not(camelid_no_mmap))]
    #[test]
    fn pages_are_asked_for_in_steps_and_batches() {
        let page = page_size();
        let a = crate::mmap::Anon::new(10_000 * page).expect("mapped");
        a.huge_pages(0..10_000 * page, false);
        populate(a.as_ptr().wrapping_add(5000 * page), 2 * page).expect("there is memory");
        let node = i32::try_from(current_cpu_and_node().expect("known").1).expect("small");
        match nodes_of(a.as_ptr(), 10_000 * page, 1) {
            Ok(at) => {
                assert_eq!(at.len(), 10_000);
                let lies: Vec<usize> = (0..at.len()).filter(|i| at[*i] >= 0).collect();
                assert_eq!(lies, [5000, 5001]);
                // On a machine of several nodes the thread may have moved on meanwhile.
                assert!(at[5000] == node || mems_allowed().len() > 1);
                assert_eq!(at[0], -libc::ENOENT);
            }
            // A machine that does not tell (a container): the wrapper says so.
            Err(e) => assert!(matches!(e.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)), "{e}"),
        }
        assert_eq!(nodes_of(a.as_ptr(), 10_000 * page, 3 * page).map_or(3334, |v| v.len()), 3334);
    }

    #[test]
    fn errors_are_values() {
        let far = (1usize << 46) as *const u8; // not mapped in a test
        assert!(bind(far, page_size(), 0).is_err());
        assert!(bind(far, page_size(), 5000).is_err());
        assert!(free_memory(5000).is_none());
        assert!(!mems_allowed().is_empty());
    }
}
