//! Where Rust ends: a panic is caught, logged and turned into the failure value that llama.h documents. Knows nothing of what was called.
use platform::log;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! { static DEPTH: Cell<u32> = const { Cell::new(0) }; }

/// Runs `f`; after a panic, `fallback`.
///
/// Whoever changes a shared state inside `f` poisons that state itself (a context refuses further calls): here nothing is known about it.
pub fn guard<R>(fallback: R, f: impl FnOnce() -> R) -> R {
    route_panics_to_log();
    DEPTH.set(DEPTH.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(f));
    DEPTH.set(DEPTH.get() - 1);
    result.unwrap_or(fallback)
}

/// The same for a function of a handle: NULL is an error that names the function.
pub fn with<H, R>(name: &str, handle: Option<H>, failure: R, f: impl FnOnce(H) -> R) -> R {
    let result = guard(None, || match handle {
        Some(h) => Some(f(h)),
        None => {
            log::error(format_args!("{name}: NULL"));
            None
        }
    });
    result.unwrap_or(failure)
}

/// The same for what can fail in words: the error goes to the log and to `camelid_last_error`.
pub fn attempt<R>(fallback: R, f: impl FnOnce() -> platform::Result<R>) -> R {
    let result = guard(None, || f().map_err(log::error).ok());
    result.unwrap_or(fallback)
}

/// Panics inside `guard` are log lines; all others keep the hook they had. The hook belongs to our copy of std, not to the host's.
fn route_panics_to_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| match DEPTH.try_with(Cell::get) {
            Ok(1..) => log::error(format_args!("internal error, the call failed: {info}")),
            _ => before(info),
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform::Error;

    #[test]
    fn a_panic_becomes_the_fallback_and_a_message() {
        assert_eq!(guard(-1, || 7), 7);
        assert_eq!(guard(-1, || panic!("the roof")), -1);
        assert!(log::last_error().contains("the roof"), "{}", log::last_error());
        assert_eq!(DEPTH.get(), 0);
    }

    #[test]
    fn an_error_becomes_the_fallback_and_a_message() {
        assert_eq!(attempt(-1, || Ok(7)), 7);
        assert_eq!(attempt(-1, || Err(Error::invalid("no such door"))), -1);
        assert_eq!(log::last_error(), "no such door");
    }
}
