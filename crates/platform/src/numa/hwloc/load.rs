//! libhwloc, loaded when it is first wanted. The linker finds its functions in this file (`build.rs`): jumps through `TABLE`.
use std::ffi::c_void;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

include!(concat!(env!("OUT_DIR"), "/hwloc.rs"));

/// Where the jumps go; read by code that the compiler does not see.
static TABLE: [AtomicPtr<c_void>; N] = [const { AtomicPtr::new(missing as *mut c_void) }; N];

/// Called by nobody: `hwlocality` is used only after `available`.
extern "C" fn missing() -> ! {
    std::process::abort()
}

/// Whether there is a libhwloc, of version 2.5 or later: it has all the functions. Nothing of `hwlocality` may be called where there is none.
pub fn available() -> bool {
    static LOADED: OnceLock<bool> = OnceLock::new();
    *LOADED.get_or_init(load)
}

fn load() -> bool {
    // SAFETY: names that end in zero; the library's constructors are its own business. It is never unloaded. RTLD_LOCAL: its names are nobody else's.
    let library = unsafe { libc::dlopen(c"libhwloc.so.15".as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if library.is_null() {
        return false;
    }
    // SAFETY: a live handle and names that end in zero.
    let found = NAMES.map(|name| unsafe { libc::dlsym(library, name.as_ptr()) });
    if found.iter().any(|f| f.is_null()) {
        return false;
    }
    for (entry, function) in TABLE.iter().zip(found) {
        entry.store(function, Ordering::Release);
    }
    true
}
