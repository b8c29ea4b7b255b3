//! camelid.h: what the original does not have.
use super::boundary::guard;
use platform::log;
use std::cell::RefCell;
use std::ffi::{CString, c_char};

thread_local! { static LAST: RefCell<CString> = RefCell::default(); }

/// The newest error of this thread, in words; "" where there was none. Good until this thread asks again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn camelid_last_error() -> *const c_char {
    guard(c"".as_ptr(), || {
        let text = CString::new(log::last_error().replace('\0', "\u{fffd}")).unwrap_or_default();
        LAST.with_borrow_mut(|l| {
            *l = text;
            l.as_ptr()
        })
    })
}

/// The version of this library; `llama_version` is the one of the API.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn camelid_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}
