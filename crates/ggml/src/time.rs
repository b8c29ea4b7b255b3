//! ggml.h: clocks.
use std::ffi::c_char;
use std::sync::OnceLock;
use std::time::Instant;

fn started() -> Instant {
    static T0: OnceLock<Instant> = OnceLock::new();
    *T0.get_or_init(Instant::now)
}

/// Time counts from here, or from the first time that it is asked for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_time_init() {
    started();
}

/// Milliseconds since an arbitrary moment, never going back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_time_ms() -> i64 {
    i64::try_from(started().elapsed().as_millis()).unwrap_or(i64::MAX)
}

/// Microseconds since an arbitrary moment, never going back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_time_us() -> i64 {
    i64::try_from(started().elapsed().as_micros()).unwrap_or(i64::MAX)
}

/// Nanoseconds, whatever the processor's clock is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_cycles() -> i64 {
    i64::try_from(started().elapsed().as_nanos()).unwrap_or(i64::MAX)
}

/// How many `ggml_cycles` a millisecond has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_cycles_per_ms() -> i64 {
    1_000_000
}

/// The version of ggml's interface that this library implements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_version() -> *const c_char {
    c"0.25.1".as_ptr()
}

/// "camelid".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_commit() -> *const c_char {
    c"camelid".as_ptr()
}
