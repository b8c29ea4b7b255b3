//! Every environment switch, in one table. Nothing else in the project calls `getenv`.
use crate::log::Level;
use std::sync::OnceLock;

pub struct Switch {
    pub name: &'static str,
    pub values: &'static str,
    pub help: &'static str,
}

pub const SWITCHES: &[Switch] = &[
    Switch { name: "CAMELID_HELP", values: "1", help: "print this table at llama_backend_init" },
    Switch {
        name: "CAMELID_LOG",
        values: "debug|info|warn|error|none",
        help: "least level printed to stderr while no log callback is set (default info)",
    },
    Switch {
        name: "CAMELID_ISA",
        values: "scalar|avx2|avxvnni|avx512|avx512vnni|avx512bf16",
        help: "highest instruction set the kernels may use (default: what the CPU has)",
    },
    Switch {
        name: "CAMELID_WEIGHTS",
        values: "file|groups",
        help: "keep weights as the file has them, or copy them into groups of rows even where memory is short (default: where half of it is free)",
    },
    Switch { name: "CAMELID_TRACE", values: "1", help: "print time, bytes, GB/s and barriers per op when a context is freed" },
    Switch { name: "CAMELID_COMPAT", values: "1", help: "do as the original does where we deviate on purpose (README, deviations)" },
    Switch {
        name: "CAMELID_KV",
        values: "mmap|heap|file:DIR",
        help: "what a context's KV store lies in (default mmap: pages come and go with use)",
    },
    Switch { name: "CAMELID_KV_KEEP_PAGES", values: "1", help: "state files and idle KV files stay in the page cache like any other file" },
    Switch {
        name: "CAMELID_PREFIX_CACHE",
        values: "DIR[:BYTES]",
        help: "beginnings of prompts are kept in DIR and not computed again (BYTES may end in K, M, G, T; default 4G)",
    },
    Switch {
        name: "CAMELID_SWA_SNAPSHOTS",
        values: "on|K",
        help: "contexts can be rewound past their sliding windows: windows are kept every K tokens (on: 512), at most K are computed again",
    },
    Switch {
        name: "LLAMA_ATTN_ROT_DISABLE",
        values: "1",
        help: "quantised K and V are kept as they are, not under a Hadamard transform (the original's)",
    },
    Switch {
        name: "CAMELID_NUMA",
        values: "disabled|distribute|isolate|numactl|mirror|shard",
        help: "where weights, KV and threads go on a machine of several memory nodes; wins over llama_numa_init",
    },
    Switch {
        name: "CAMELID_SMT",
        values: "1",
        help: "a hardware thread counts as a core (default: siblings only where there are more threads than cores)",
    },
    Switch { name: "CAMELID_NUMA_AUDIT", values: "1", help: "record which pages decodes touch, for camelid_numa_audit (slow)" },
    Switch { name: "CAMELID_PIN", values: "0", help: "do not pin worker threads to cores" },
    Switch {
        name: "CAMELID_NUMA_TOPOLOGY",
        values: "xml:PATH|synthetic:TEXT|cpus:N+N..|sysfs",
        help: "tests: nodes and cores from an hwloc file or description, fake nodes of so many CPUs, or read without libhwloc",
    },
    Switch {
        name: "CAMELID_NUMA_RUNG",
        values: "bound|touched|interleaved|plain",
        help: "what NUMA placement stands on (default: what the system allows, tried in this order)",
    },
    Switch { name: "CAMELID_FAULT", values: "K@R", help: "tests: worker K panics in the middle of a context's R-th ubatch (from 0)" },
    Switch {
        name: "CAMELID_FAR",
        values: "N[:BYTES+BYTES..]",
        help: "tests: N devices FAR0.. whose memory the host cannot address stand for GPUs, with so much memory each (K, M, G, T)",
    },
];

/// The value of a switch of the table; `None` when unset or empty.
pub fn get(name: &str) -> Option<String> {
    debug_assert!(SWITCHES.iter().any(|s| s.name == name), "{name} is not in the table");
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

/// Set, and neither empty nor `0`.
pub fn flag(name: &str) -> bool {
    get(name).is_some_and(|v| v != "0")
}

/// What C's `atoi` makes of it: 0 where there is no number.
pub fn number(name: &str) -> i64 {
    get(name).map_or(0, |v| leading_number(&v))
}

/// A number of bytes that may end in K, M, G or T.
pub fn bytes(s: &str) -> Option<u64> {
    let (digits, shift) = match s.chars().last()? {
        'K' => (&s[..s.len() - 1], 10),
        'M' => (&s[..s.len() - 1], 20),
        'G' => (&s[..s.len() - 1], 30),
        'T' => (&s[..s.len() - 1], 40),
        _ => (s, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn leading_number(s: &str) -> i64 {
    let s = s.trim_start();
    let sign = usize::from(s.starts_with(['-', '+']));
    let end = s[sign..].find(|c: char| !c.is_ascii_digit()).map_or(s.len(), |i| sign + i);
    s[..end].parse().unwrap_or(0)
}

/// The table as text for `CAMELID_HELP=1`.
pub fn help() -> String {
    let mut s = String::from("environment switches of camelid:\n");
    for w in SWITCHES {
        s += &format!("  {:<16} {:<28} {}\n", w.name, w.values, w.help);
    }
    s
}

/// The least level that goes to stderr while there is no sink; `None`: nothing does.
pub(crate) fn log_level() -> Option<Level> {
    static L: OnceLock<Option<Level>> = OnceLock::new();
    *L.get_or_init(|| match get("CAMELID_LOG").as_deref() {
        Some("debug") => Some(Level::Debug),
        Some("warn") => Some(Level::Warn),
        Some("error") => Some(Level::Error),
        Some("none") => None,
        _ => Some(Level::Info),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_c_reads_them() {
        let pairs = [("1", 1), (" -7x", -7), ("+3", 3), ("yes", 0), ("", 0), ("-", 0), ("0", 0), ("12.9", 12)];
        assert!(pairs.iter().all(|(s, n)| leading_number(s) == *n));
    }
}
