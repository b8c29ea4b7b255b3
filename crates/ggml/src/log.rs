//! ggml.h: the log of this library. Until somebody sets a callback, lines go where libllama's go.
use crate::ask;
use crate::ptr;
use std::ffi::{CString, c_char, c_int, c_void};
use std::sync::Mutex;

pub type ggml_log_callback = Option<unsafe extern "C" fn(level: c_int, text: *const c_char, user_data: *mut c_void)>;

const ERROR: c_int = 4;

struct Callback {
    call: ggml_log_callback,
    user_data: *mut c_void,
}

// SAFETY: the pointer is only handed back to the callback, whose owner knows that lines come from any thread.
unsafe impl Send for Callback {}

static CALLBACK: Mutex<Callback> = Mutex::new(Callback { call: None, user_data: std::ptr::null_mut() });

fn current() -> (ggml_log_callback, *mut c_void) {
    let c = CALLBACK.lock().unwrap_or_else(|p| p.into_inner());
    (c.call, c.user_data)
}

pub fn error(line: &str) {
    let text = CString::new(format!("{line}\n").replace('\0', "\u{fffd}")).unwrap_or_default();
    let (call, user_data) = current();
    // SAFETY: the caller of ggml_log_set promises a function of this type; the default is ours.
    unsafe { call.unwrap_or(default_log)(ERROR, text.as_ptr(), user_data) }
}

/// To libllama's log; to stderr where there is none.
unsafe extern "C" fn default_log(level: c_int, text: *const c_char, _user_data: *mut c_void) {
    static WITHIN: Mutex<()> = Mutex::new(());
    // Looking for libllama may itself have something to say: then it is said to stderr.
    let table = WITHIN.try_lock().ok().and_then(|_one| ask::table());
    // SAFETY: NULL or a terminated string, passed on.
    match (table, unsafe { ptr::text(text) }) {
        // SAFETY: as above.
        (Some(t), _) => unsafe { (t.log)(level, text) },
        (None, Some(text)) => eprint!("{}", text.to_string_lossy()),
        (None, None) => {}
    }
}

/// Sends the lines of this library to a callback; NULL: to where libllama's go. `llama_log_set` calls it too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_log_set(log_callback: ggml_log_callback, user_data: *mut c_void) {
    *CALLBACK.lock().unwrap_or_else(|p| p.into_inner()) = Callback { call: log_callback, user_data };
}

/// The callback that gets lines, never NULL, and its user data.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_log_get(log_callback: *mut ggml_log_callback, user_data: *mut *mut c_void) {
    let (call, data) = current();
    // SAFETY: NULL, or room for one each.
    unsafe {
        ptr::put(log_callback, call.or(Some(default_log)));
        ptr::put(user_data, data);
    }
}
