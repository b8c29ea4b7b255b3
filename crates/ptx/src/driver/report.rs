//! Counts of calls and copies, for tests that say how few there may be.
use super::{In, State, state};
use std::ffi::c_char;
use std::fmt::Write;

impl State {
    pub fn count_copy(&mut self, kind: &'static str, len: u64) {
        let (n, bytes) = self.copied.entry(kind).or_default();
        (*n, *bytes) = (*n + 1, *bytes + len);
    }

    fn report(&self) -> String {
        let mut calls: Vec<_> = self.calls.iter().collect();
        calls.sort();
        let mut out = String::new();
        for (name, n) in calls {
            let _ = writeln!(out, "{name} {n}");
        }
        for (kind, (n, bytes)) in &self.copied {
            let _ = writeln!(out, "copies {kind} {n} {bytes}");
        }
        out
    }
}

/// How often a function of the driver was called since the start, or since `camelid_mock_reset`; all calls for NULL.
#[unsafe(no_mangle)]
extern "C" fn camelid_mock_calls(name: In<c_char>) -> u64 {
    let s = state();
    if name.is_null() {
        return s.calls.values().sum();
    }
    name.text().ok().and_then(|n| s.calls.get(n).copied()).unwrap_or(0)
}

/// Bytes that copies of a kind (HtoD, DtoH, DtoD, HtoH, rows) moved.
#[unsafe(no_mangle)]
extern "C" fn camelid_mock_bytes(kind: In<c_char>) -> u64 {
    let s = state();
    kind.text().ok().and_then(|k| s.copied.get(k).map(|c| c.1)).unwrap_or(0)
}

/// Counts begin anew.
#[unsafe(no_mangle)]
extern "C" fn camelid_mock_reset() {
    let mut s = state();
    s.calls.clear();
    s.copied.clear();
}

/// Writes the counts to the file that CAMELID_MOCK_CUDA_COUNT names.
#[unsafe(no_mangle)]
extern "C" fn cuMockReport() {
    let s = state();
    let Some(file) = &s.config.count_file else { return };
    if let Err(e) = std::fs::write(file, s.report()) {
        eprintln!("mock libcuda: {file}: {e}");
    }
}

/// What the loader runs when the process ends.
#[unsafe(link_section = ".fini_array")]
#[used]
static AT_EXIT: extern "C" fn() = cuMockReport;
