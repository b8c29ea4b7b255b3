//! Where messages go: one process-wide sink (the C API has one), stderr until somebody sets it. Errors are also kept per thread.
use std::cell::RefCell;
use std::fmt::Display;
use std::sync::{Arc, RwLock};

/// `ggml_log_level`'s numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
pub enum Level {
    Debug = 1,
    Info = 2,
    Warn = 3,
    Error = 4,
}

/// Receives whole lines, each ending in `\n`.
pub type Sink = Arc<dyn Fn(Level, &str) + Send + Sync>;

static SINK: RwLock<Option<Sink>> = RwLock::new(None);
thread_local! { static LAST: RefCell<String> = const { RefCell::new(String::new()) }; }

/// Replaces the sink; `None` restores stderr.
pub fn set_sink(sink: Option<Sink>) {
    // A poisoned lock only means that a sink panicked; the value is still whole.
    *SINK.write().unwrap_or_else(|p| p.into_inner()) = sink;
}

/// This thread's newest error message, empty if there was none.
pub fn last_error() -> String {
    LAST.with_borrow(Clone::clone)
}

pub fn write(level: Level, message: &str) {
    // The sink runs outside the lock: it may log, or replace itself.
    let sink = SINK.read().unwrap_or_else(|p| p.into_inner()).clone();
    let line = format!("{message}\n");
    match sink {
        Some(s) => s(level, &line),
        // Debug lines are for those who asked for them by setting a sink or CAMELID_LOG.
        None if crate::env::log_level().is_some_and(|least| level >= least) => eprint!("{line}"),
        None => {}
    }
}

pub fn debug(m: impl Display) {
    write(Level::Debug, &m.to_string());
}
pub fn info(m: impl Display) {
    write(Level::Info, &m.to_string());
}
pub fn warn(m: impl Display) {
    write(Level::Warn, &m.to_string());
}
/// Logs and keeps the message for `last_error`.
pub fn error(m: impl Display) {
    let m = m.to_string();
    LAST.with_borrow_mut(|l| l.clone_from(&m));
    write(Level::Error, &m);
}
