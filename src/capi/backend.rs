//! llama.h: The process as a whole: start and end, limits, names of enum values, the log.
#![allow(unused_variables, reason = "stubs keep the names of llama.h")]
use super::boundary::guard;
use super::handles::with_context;
use super::host;
use super::ptr;
use super::types::*;
use crate::gguf::FType;
use crate::model::place::{MAX_DEVICES, gpus};
use llama_flash_attn_type::*;
use llama_load_mode::*;
use platform::numa::{self, Strategy};
use platform::{env, log};
use std::ffi::CString;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

/// The version of the API this library implements, "0.5.0".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_version() -> *const c_char {
    c"0.5.0".as_ptr()
}

/// Starts the library. With `CAMELID_HELP=1` it prints every environment switch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_backend_init() {
    guard((), || {
        started();
        if env::flag("CAMELID_HELP") {
            log::write(log::Level::Info, env::help().trim_end());
        }
    })
}

/// Ends the library. Contexts and models are freed by their own functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_backend_free() {
    // Nothing is kept between contexts.
}

/// How to place memory and threads on a machine of several NUMA nodes, `GGML_NUMA_STRATEGY_*`, for models loaded from now on. `CAMELID_NUMA` wins, and
/// knows one more: `shard`. What was found and decided goes to the log; `camelid_numa_report` tells it too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_numa_init(numa: ggml_numa_strategy_int) {
    guard((), || {
        let Some(strategy) = Strategy::numbered(numa) else {
            return log::error(format_args!("llama_numa_init: {numa} is not a NUMA strategy"));
        };
        let held = numa::set(strategy);
        if held.strategy != Strategy::Disabled {
            numa::topology().report().iter().for_each(log::info);
            log::info(&*held);
        }
    })
}

/// Accepted: a pool belongs to the program's own ggml, and is never looked into. Contexts compute with threads of their own, as many as
/// `llama_set_n_threads` says, on cores of their own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_attach_threadpool(ctx: ContextPtr<'_>, threadpool: ggml_threadpool_t, threadpool_batch: ggml_threadpool_t) {
    with_context("llama_attach_threadpool", ctx.map(|c| &c.0.ctx), (), |_| {
        log::debug("a threadpool was attached: the context keeps its own threads")
    })
}

/// Nothing was taken from a pool that was attached.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_detach_threadpool(ctx: ContextPtr<'_>) {
    with_context("llama_detach_threadpool", ctx.map(|c| &c.0.ctx), (), |_| ())
}

/// Microseconds since an arbitrary moment, never going back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_time_us() -> i64 {
    i64::try_from(started().elapsed().as_micros()).unwrap_or(i64::MAX)
}

/// Most devices a model can be divided over.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_max_devices() -> usize {
    usize::from(MAX_DEVICES)
}

/// Most sequences a context can hold.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_max_parallel_sequences() -> usize {
    256
}

/// Most elements of `llama_model_params.tensor_buft_overrides`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_max_tensor_buft_overrides() -> usize {
    4096
}

/// Whether `LLAMA_LOAD_MODE_MMAP` works here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_supports_mmap() -> bool {
    true
}

/// Whether `LLAMA_LOAD_MODE_MLOCK` works here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_supports_mlock() -> bool {
    true
}

/// Whether there is a device that layers can be kept on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_supports_gpu_offload() -> bool {
    guard(false, || !gpus().is_empty())
}

/// Whether layers can be kept on other machines.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_supports_rpc() -> bool {
    false
}

/// The instruction sets in use, as text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_print_system_info() -> *const c_char {
    static INFO: OnceLock<CString> = OnceLock::new();
    guard(c"".as_ptr(), || INFO.get_or_init(|| CString::new(crate::session::system_info()).unwrap_or_default()).as_ptr())
}

/// The callback that gets log lines, and its user data.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_log_get(log_callback: *mut ggml_log_callback, user_data: *mut *mut c_void) {
    let c = *CALLBACK.lock().unwrap_or_else(|p| p.into_inner());
    // SAFETY: NULL, or room for one value each.
    unsafe {
        ptr::put(log_callback, c.call);
        ptr::put(user_data, c.user_data);
    }
}

/// Sends log lines to a callback; NULL: to stderr. Lines come from any thread, also from several at once. The program's libggml is told too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_log_set(log_callback: ggml_log_callback, user_data: *mut c_void) {
    guard((), || {
        let c = Callback { call: log_callback, user_data };
        *CALLBACK.lock().unwrap_or_else(|p| p.into_inner()) = c;
        log::set_sink(log_callback.map(|_| -> log::Sink { Arc::new(move |level, line| c.write(level, line)) }));
        pass_on(c);
    })
}

/// To the libggml of the program, whose lines come to the same place in the original.
fn pass_on(c: Callback) {
    if let Some(set) = host::symbol(c"ggml_log_set") {
        // SAFETY: every libggml has this function with this type.
        unsafe {
            let set = std::mem::transmute::<*mut c_void, unsafe extern "C" fn(ggml_log_callback, *mut c_void)>(set.as_ptr());
            set(c.call, c.user_data);
        }
    }
}

/// The name of a file type, like "Q4_K - Medium"; with "(guessed) " before it where the flag is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_ftype_name(ftype: llama_ftype_int) -> *const c_char {
    guard(std::ptr::null(), || {
        let n = u32::try_from(ftype & !GUESSED).map_or(UNKNOWN_FTYPE, |n| n.min(UNKNOWN_FTYPE)) as usize;
        let half = if ftype & GUESSED != 0 { UNKNOWN_FTYPE as usize + 1 } else { 0 };
        ftype_names().get(half + n).map_or(std::ptr::null(), |name| name.as_ptr())
    })
}

/// "auto", "disabled" or "enabled"; NULL for any other value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_flash_attn_type_name(flash_attn_type: llama_flash_attn_type_int) -> *const c_char {
    FLASH_ATTN_TYPES.iter().find(|(t, _)| *t as c_int == flash_attn_type).map_or(std::ptr::null(), |(_, n)| n.as_ptr())
}

/// "auto", "none", "mmap", "mlock", "mmap+mlock" or "dio"; NULL for any other value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_load_mode_name(load_mode: llama_load_mode_int) -> *const c_char {
    LOAD_MODES.iter().find(|(m, _)| *m as c_int == load_mode).map_or(std::ptr::null(), |(_, n)| n.as_ptr())
}

/// The inverse of `llama_load_mode_name`; `LLAMA_LOAD_MODE_AUTO` and a log line for any other text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_load_mode_from_str(str: *const c_char) -> llama_load_mode {
    // SAFETY: NULL or a terminated string.
    let text = unsafe { ptr::text(str) }.unwrap_or_default();
    guard(llama_load_mode::LLAMA_LOAD_MODE_AUTO, || match LOAD_MODES.iter().find(|(_, n)| n.to_bytes() == text) {
        Some((mode, _)) => *mode,
        None => {
            log::error(format_args!("unknown load mode: \"{}\"", String::from_utf8_lossy(text)));
            llama_load_mode::LLAMA_LOAD_MODE_AUTO
        }
    })
}

/// The moment that `llama_time_us` counts from: the first call of it or of `llama_backend_init`.
fn started() -> Instant {
    static T0: OnceLock<Instant> = OnceLock::new();
    *T0.get_or_init(Instant::now)
}

/// A moment on the clock of `llama_time_us`, in ms.
pub fn since_start_ms(at: Instant) -> f64 {
    at.saturating_duration_since(started()).as_secs_f64() * 1e3
}

/// What `llama_log_set` was given.
#[derive(Clone, Copy)]
struct Callback {
    call: ggml_log_callback,
    user_data: *mut c_void,
}

static CALLBACK: Mutex<Callback> = Mutex::new(Callback { call: None, user_data: std::ptr::null_mut() });

// SAFETY: the pointer is never followed here, only handed back to the callback, whose owner knows that lines come from any thread.
unsafe impl Send for Callback {}
// SAFETY: as above.
unsafe impl Sync for Callback {}

impl Callback {
    fn write(&self, level: log::Level, line: &str) {
        // A line may quote a file; NUL would cut it short.
        let text = CString::new(line.replace('\0', "\u{fffd}")).unwrap_or_default();
        if let Some(call) = self.call {
            // SAFETY: the caller of llama_log_set promises a function of this type.
            unsafe { call(level as ggml_log_level_int, text.as_ptr(), self.user_data) }
        }
    }
}

const FLASH_ATTN_TYPES: &[(llama_flash_attn_type, &CStr)] =
    &[(LLAMA_FLASH_ATTN_TYPE_AUTO, c"auto"), (LLAMA_FLASH_ATTN_TYPE_DISABLED, c"disabled"), (LLAMA_FLASH_ATTN_TYPE_ENABLED, c"enabled")];

const LOAD_MODES: &[(llama_load_mode, &CStr)] = &[
    (LLAMA_LOAD_MODE_AUTO, c"auto"),
    (LLAMA_LOAD_MODE_NONE, c"none"),
    (LLAMA_LOAD_MODE_MMAP, c"mmap"),
    (LLAMA_LOAD_MODE_MLOCK, c"mlock"),
    (LLAMA_LOAD_MODE_MMAP_MLOCK, c"mmap+mlock"),
    (LLAMA_LOAD_MODE_DIRECT_IO, c"dio"),
];

/// Numbers above the last file type share the name of an unknown one.
const UNKNOWN_FTYPE: u32 = 63;
const GUESSED: c_int = llama_ftype::LLAMA_FTYPE_GUESSED as c_int;

/// The names of all file types, as C has them: said by the file, then guessed.
fn ftype_names() -> &'static [CString] {
    static NAMES: OnceLock<Vec<CString>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let both = [0, FType::GUESSED].into_iter().flat_map(|flag| (0..=UNKNOWN_FTYPE).map(move |n| FType(n | flag)));
        both.map(|t| CString::new(t.name()).unwrap_or_default()).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_types_have_names_whatever_the_number() {
        let name = |t| {
            // SAFETY: a terminated string that is never freed.
            unsafe { CStr::from_ptr(llama_ftype_name(t)) }.to_str().expect("UTF-8")
        };
        assert_eq!((name(15), name(15 | GUESSED)), ("Q4_K - Medium", "(guessed) Q4_K - Medium"));
        for t in [5, 63, 64, 1 << 20, -1, i32::MIN, i32::MAX] {
            assert!(name(t).ends_with("unknown, may not work"), "{t}: {}", name(t));
        }
    }
}
