//! Functions whose work comes later: loud once, then their documented failure value. Each is a `stub` row of docs/MATRIX.md.
use platform::log;
use std::collections::BTreeSet;
use std::sync::Mutex;

static TOLD: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());

/// `failure`, after the first call of `name` has been logged.
pub fn stub<R>(name: &'static str, failure: R) -> R {
    let first = TOLD.lock().unwrap_or_else(|p| p.into_inner()).insert(name);
    if first {
        log::error(format_args!("{name} is not built yet"));
    }
    failure
}
