//! How much memory may still be touched before the kernel ends somebody: the machine's, and that of every cgroup this process is in
//! (versions 1 and 2). Knows who counts, not what for.
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Left to everybody else: stacks, other allocations, what the kernel needs on its way. Less in small cgroups.
const MARGIN: u64 = 64 << 20;
/// An answer is good for this share of what is there, and for this long: asking reads a handful of files (50 microseconds), and a token must
/// not notice.
const SHARE: u64 = 8;
const GOOD_FOR: Duration = Duration::from_millis(500);

/// Asked before memory is touched.
pub struct Guard {
    /// `/`, or what a test made up.
    root: PathBuf,
    granted: Mutex<Option<Granted>>,
}

struct Granted {
    bytes: u64,
    at: Instant,
}

impl Guard {
    /// The one of this process.
    pub fn system() -> Arc<Guard> {
        static G: OnceLock<Arc<Guard>> = OnceLock::new();
        G.get_or_init(|| Arc::new(Guard::at(Path::new("/")))).clone()
    }
    /// `root` stands for `/`: below it are `proc` and `sys`.
    pub fn at(root: &Path) -> Guard {
        Guard { root: root.to_owned(), granted: Mutex::default() }
    }
    /// Bytes that can be touched now: the least of what the machine and its cgroups have.
    pub fn room(&self) -> u64 {
        room(&self.root)
    }
    /// Whether `bytes` more may be touched. An error changes nothing: the next one asks again.
    pub fn allow(&self, bytes: usize) -> Result<()> {
        let (bytes, now) = (bytes as u64, Instant::now());
        let mut granted = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = granted.as_mut().filter(|g| now.duration_since(g.at) < GOOD_FOR && g.bytes >= bytes);
        if let Some(g) = fresh {
            g.bytes -= bytes;
            return Ok(());
        }
        let left = room(&self.root).checked_sub(bytes);
        *granted = left.map(|l| Granted { bytes: l / SHARE, at: now });
        left.map(drop)
            .ok_or_else(|| Error::no_memory(format!("no memory for {bytes} bytes: the machine or a cgroup is close to its limit")))
    }
}

/// Bytes that can be touched; the least of the machine's and the cgroups'.
fn room(root: &Path) -> u64 {
    let swap = swap_free(root);
    let groups = limits(root).into_iter().map(|g| g.room(swap));
    groups.chain([available(root).saturating_sub(MARGIN)]).min().unwrap_or(u64::MAX)
}

fn number(path: PathBuf) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The value in the line that starts with `name`.
fn line(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix([' ', ':']))?;
    rest.split_whitespace().next()?.parse().ok()
}

fn meminfo(root: &Path, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(root.join("proc/meminfo")).unwrap_or_default();
    line(&text, name)?.checked_mul(1024)
}

fn swap_free(root: &Path) -> u64 {
    meminfo(root, "SwapFree").unwrap_or(0)
}

/// What the machine has, page cache that it would give up and swap included; all there is where that cannot be read.
pub fn available(root: &Path) -> u64 {
    meminfo(root, "MemAvailable").map_or(u64::MAX, |a| a.saturating_add(swap_free(root)))
}

/// What the machine has in all; 0 where that cannot be read.
pub fn total(root: &Path) -> u64 {
    meminfo(root, "MemTotal").unwrap_or(0)
}

/// A cgroup with a limit.
struct Limit {
    max: u64,
    used: u64,
    /// Page cache, which goes before anybody is ended.
    cache: u64,
    /// Swap that it may still take.
    swap: u64,
}

impl Limit {
    fn room(&self, swap_free: u64) -> u64 {
        let free = self.max.saturating_sub(self.used.saturating_sub(self.cache));
        free.saturating_add(self.swap.min(swap_free)).saturating_sub(MARGIN.min(self.max / 16))
    }
    fn v2(dir: &Path) -> Option<Limit> {
        let max = number(dir.join("memory.max"))?; // "max": no number, no limit
        let stat = std::fs::read_to_string(dir.join("memory.stat")).unwrap_or_default();
        let swap_used = number(dir.join("memory.swap.current")).unwrap_or(0);
        let swap_max = match std::fs::read_to_string(dir.join("memory.swap.max")) {
            Ok(s) => s.trim().parse().unwrap_or(u64::MAX),
            Err(_) => 0,
        };
        Some(Limit {
            max,
            used: number(dir.join("memory.current"))?,
            cache: line(&stat, "active_file").unwrap_or(0) + line(&stat, "inactive_file").unwrap_or(0),
            swap: swap_max.saturating_sub(swap_used),
        })
    }
    fn v1(dir: &Path) -> Option<Limit> {
        /// What the kernel writes for no limit is this or a little less.
        const NONE: u64 = 1 << 62;
        let max = number(dir.join("memory.limit_in_bytes")).filter(|m| *m < NONE)?;
        let stat = std::fs::read_to_string(dir.join("memory.stat")).unwrap_or_default();
        let of = |name: &str| line(&stat, &format!("total_{name}")).or_else(|| line(&stat, name)).unwrap_or(0);
        let both = number(dir.join("memory.memsw.limit_in_bytes")).unwrap_or(max);
        let both_used = number(dir.join("memory.memsw.usage_in_bytes")).unwrap_or(both);
        Some(Limit {
            max,
            used: number(dir.join("memory.usage_in_bytes"))?,
            cache: of("active_file") + of("inactive_file"),
            swap: both.saturating_sub(both_used).min(both.saturating_sub(max)),
        })
    }
}

/// The limits of this process's cgroup and all above it.
fn limits(root: &Path) -> Vec<Limit> {
    let text = std::fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mut found = Vec::new();
    for entry in text.lines() {
        let mut parts = entry.splitn(3, ':');
        let (Some(id), Some(names), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        if id == "0" && names.is_empty() {
            found.extend(upwards(root.join("sys/fs/cgroup"), path).iter().filter_map(|d| Limit::v2(d)));
        } else if names.split(',').any(|n| n == "memory") {
            found.extend(upwards(root.join("sys/fs/cgroup/memory"), path).iter().filter_map(|d| Limit::v1(d)));
        }
    }
    found
}

/// `mount/path` and every folder up to `mount`. A container may see its own cgroup as `mount` and not know `path`: what is missing is skipped.
pub(crate) fn upwards(mount: PathBuf, path: &str) -> Vec<PathBuf> {
    let names: Vec<&str> = path.split('/').filter(|n| !n.is_empty() && *n != "..").collect();
    (0..=names.len()).rev().map(|n| names[..n].iter().fold(mount.clone(), |d, name| d.join(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    const MIB: u64 = 1 << 20;

    /// A made-up `/`, gone when dropped.
    struct Root(PathBuf);
    impl Root {
        fn new(name: &str, available: u64, cgroup: &str) -> Root {
            let dir = std::env::current_exe().expect("a test").with_file_name(format!("pressure-{}-{name}", std::process::id()));
            let r = Root(dir);
            r.put("proc/meminfo", &format!("MemTotal: 99999999 kB\nMemAvailable: {} kB\nSwapFree: 1024 kB\n", available / 1024));
            r.put("proc/self/cgroup", cgroup);
            r
        }
        fn put(&self, path: &str, text: &str) {
            let path = self.0.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        fn v2(&self, path: &str, max: &str, used: u64, cache: u64) {
            self.put(&format!("sys/fs/cgroup{path}/memory.max"), max);
            self.put(&format!("sys/fs/cgroup{path}/memory.current"), &used.to_string());
            self.put(&format!("sys/fs/cgroup{path}/memory.stat"), &format!("anon 5\nactive_file {cache}\ninactive_file 0\n"));
        }
        fn room(&self) -> u64 {
            room(&self.0)
        }
    }
    impl Drop for Root {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_tightest_of_all_limits_counts() {
        let r = Root::new("tight", 8192 * MIB, "0::/a/b\n");
        assert_eq!(r.room(), 8193 * MIB - MARGIN, "the machine's, swap included");
        r.v2("/a/b", "max", 4096 * MIB, 0);
        assert_eq!(r.room(), 8193 * MIB - MARGIN);
        r.v2("/a", &(6144 * MIB).to_string(), 5120 * MIB, 0);
        assert_eq!(r.room(), 1024 * MIB - MARGIN, "an ancestor");
        r.v2("/a/b", &(4096 * MIB).to_string(), 4000 * MIB, 0);
        assert_eq!(r.room(), 96 * MIB - MARGIN);
        r.v2("/a/b", &(4096 * MIB).to_string(), 4000 * MIB, 500 * MIB);
        assert_eq!(r.room(), 596 * MIB - MARGIN, "page cache goes first");
        r.put("sys/fs/cgroup/a/b/memory.swap.max", "max");
        assert_eq!(r.room(), 597 * MIB - MARGIN, "swap, as much as there is");
    }

    #[test]
    fn version_one_too() {
        let r = Root::new("one", 8192 * MIB, "5:devices:/x\n4:cpu,memory:/box\n0::/\n");
        r.put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712");
        r.put("sys/fs/cgroup/memory/memory.usage_in_bytes", "5");
        assert_eq!(r.room(), 8193 * MIB - MARGIN);
        r.put("sys/fs/cgroup/memory/box/memory.limit_in_bytes", &(512 * MIB).to_string());
        r.put("sys/fs/cgroup/memory/box/memory.usage_in_bytes", &(500 * MIB).to_string());
        r.put("sys/fs/cgroup/memory/box/memory.stat", &format!("cache 1\ntotal_inactive_file {}\n", 100 * MIB));
        assert_eq!(r.room(), (112 - 32) * MIB);
    }

    #[test]
    fn an_answer_is_used_for_a_while_and_a_refusal_is_not() {
        let r = Root::new("while", 8192 * MIB, "0::/a\n");
        let g = Guard::at(&r.0);
        g.allow(1 << 20).unwrap();
        r.v2("/a", &(1024 * MIB).to_string(), 1020 * MIB, 0);
        g.allow(1 << 20).unwrap();
        let e = g.allow(1 << 30).unwrap_err();
        assert_eq!(e.kind, Kind::NoMemory);
        assert!(g.allow(1 << 20).is_err(), "nothing is left of the first answer");
        r.v2("/a", &(1024 * MIB).to_string(), 20 * MIB, 0);
        g.allow(1 << 20).unwrap();
    }

    #[test]
    fn this_machine_answers() {
        assert!(room(Path::new("/")) > 0);
        assert_eq!(room(Path::new("/nowhere")), u64::MAX - MARGIN);
    }
}
