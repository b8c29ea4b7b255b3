//! llama.h: The process as a whole: start and end, limits, names of enum values, the log.
#![allow(unused_variables, reason = "stubs keep the names of llama.h")]
use super::boundary::guard;
use super::ptr;
use super::stubs::stub;
use super::types::*;
use llama_flash_attn_type::*;
use llama_ftype::*;
use llama_load_mode::*;
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

/// How to place memory on a machine of several NUMA nodes, `GGML_NUMA_STRATEGY_*`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_numa_init(numa: ggml_numa_strategy_int) {
    guard((), || match numa {
        0 => {}
        1..=4 => log::info(format_args!("llama_numa_init: strategy {numa} is noted; placement by node is not built yet")),
        _ => log::error(format_args!("llama_numa_init: {numa} is not a NUMA strategy")),
    })
}

/// Computes with the caller's threads.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_attach_threadpool(ctx: ContextPtr<'_>, threadpool: ggml_threadpool_t, threadpool_batch: ggml_threadpool_t) {
    stub("llama_attach_threadpool", ())
}

/// Goes back to the context's own threads.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_detach_threadpool(ctx: ContextPtr<'_>) {
    stub("llama_detach_threadpool", ())
}

/// Microseconds since an arbitrary moment, never going back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_time_us() -> i64 {
    i64::try_from(started().elapsed().as_micros()).unwrap_or(i64::MAX)
}

/// Most devices a model can be divided over.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_max_devices() -> usize {
    16
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
    false
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

/// Sends log lines to a callback; NULL: to stderr. Lines come from any thread, also from several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_log_set(log_callback: ggml_log_callback, user_data: *mut c_void) {
    guard((), || {
        let c = Callback { call: log_callback, user_data };
        *CALLBACK.lock().unwrap_or_else(|p| p.into_inner()) = c;
        log::set_sink(log_callback.map(|_| -> log::Sink { Arc::new(move |level, line| c.write(level, line)) }));
    })
}

/// The name of a file type, like "Q4_K - Medium"; with "(guessed) " before it where the flag is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_ftype_name(ftype: llama_ftype_int) -> *const c_char {
    let name = FTYPES.iter().find(|(t, _)| *t as c_int == ftype & !GUESSED).map_or(c"(guessed) unknown, may not work", |(_, n)| n);
    // The mark is part of the text and skipped where it does not apply.
    if ftype & GUESSED != 0 { name.as_ptr() } else { name.to_bytes_with_nul()[b"(guessed) ".len()..].as_ptr().cast() }
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

const GUESSED: c_int = LLAMA_FTYPE_GUESSED as c_int;
const FTYPES: &[(llama_ftype, &CStr)] = &[
    (LLAMA_FTYPE_ALL_F32, c"(guessed) all F32"),
    (LLAMA_FTYPE_MOSTLY_F16, c"(guessed) F16"),
    (LLAMA_FTYPE_MOSTLY_BF16, c"(guessed) BF16"),
    (LLAMA_FTYPE_MOSTLY_Q1_0, c"(guessed) Q1_0"),
    (LLAMA_FTYPE_MOSTLY_Q2_0, c"(guessed) Q2_0"),
    (LLAMA_FTYPE_MOSTLY_Q4_0, c"(guessed) Q4_0"),
    (LLAMA_FTYPE_MOSTLY_Q4_1, c"(guessed) Q4_1"),
    (LLAMA_FTYPE_MOSTLY_Q5_0, c"(guessed) Q5_0"),
    (LLAMA_FTYPE_MOSTLY_Q5_1, c"(guessed) Q5_1"),
    (LLAMA_FTYPE_MOSTLY_Q8_0, c"(guessed) Q8_0"),
    (LLAMA_FTYPE_MOSTLY_MXFP4_MOE, c"(guessed) MXFP4 MoE"),
    (LLAMA_FTYPE_MOSTLY_NVFP4, c"(guessed) NVFP4"),
    (LLAMA_FTYPE_MOSTLY_Q2_K, c"(guessed) Q2_K - Medium"),
    (LLAMA_FTYPE_MOSTLY_Q2_K_S, c"(guessed) Q2_K - Small"),
    (LLAMA_FTYPE_MOSTLY_Q3_K_S, c"(guessed) Q3_K - Small"),
    (LLAMA_FTYPE_MOSTLY_Q3_K_M, c"(guessed) Q3_K - Medium"),
    (LLAMA_FTYPE_MOSTLY_Q3_K_L, c"(guessed) Q3_K - Large"),
    (LLAMA_FTYPE_MOSTLY_Q4_K_S, c"(guessed) Q4_K - Small"),
    (LLAMA_FTYPE_MOSTLY_Q4_K_M, c"(guessed) Q4_K - Medium"),
    (LLAMA_FTYPE_MOSTLY_Q5_K_S, c"(guessed) Q5_K - Small"),
    (LLAMA_FTYPE_MOSTLY_Q5_K_M, c"(guessed) Q5_K - Medium"),
    (LLAMA_FTYPE_MOSTLY_Q6_K, c"(guessed) Q6_K"),
    (LLAMA_FTYPE_MOSTLY_TQ1_0, c"(guessed) TQ1_0 - 1.69 bpw ternary"),
    (LLAMA_FTYPE_MOSTLY_TQ2_0, c"(guessed) TQ2_0 - 2.06 bpw ternary"),
    (LLAMA_FTYPE_MOSTLY_IQ2_XXS, c"(guessed) IQ2_XXS - 2.0625 bpw"),
    (LLAMA_FTYPE_MOSTLY_IQ2_XS, c"(guessed) IQ2_XS - 2.3125 bpw"),
    (LLAMA_FTYPE_MOSTLY_IQ2_S, c"(guessed) IQ2_S - 2.5 bpw"),
    (LLAMA_FTYPE_MOSTLY_IQ2_M, c"(guessed) IQ2_M - 2.7 bpw"),
    (LLAMA_FTYPE_MOSTLY_IQ3_XS, c"(guessed) IQ3_XS - 3.3 bpw"),
    (LLAMA_FTYPE_MOSTLY_IQ3_XXS, c"(guessed) IQ3_XXS - 3.0625 bpw"),
    (LLAMA_FTYPE_MOSTLY_IQ1_S, c"(guessed) IQ1_S - 1.5625 bpw"),
    (LLAMA_FTYPE_MOSTLY_IQ1_M, c"(guessed) IQ1_M - 1.75 bpw"),
    (LLAMA_FTYPE_MOSTLY_IQ4_NL, c"(guessed) IQ4_NL - 4.5 bpw"),
    (LLAMA_FTYPE_MOSTLY_IQ4_XS, c"(guessed) IQ4_XS - 4.25 bpw"),
    (LLAMA_FTYPE_MOSTLY_IQ3_S, c"(guessed) IQ3_S - 3.4375 bpw"),
    (LLAMA_FTYPE_MOSTLY_IQ3_M, c"(guessed) IQ3_S mix - 3.66 bpw"),
];
