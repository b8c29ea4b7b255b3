//! Pointers from C: NULL is `None`. What the caller promises is said in `lib.rs`.
use std::ffi::{CStr, c_char};

/// # Safety
/// NULL or a terminated string.
pub unsafe fn text<'a>(p: *const c_char) -> Option<&'a CStr> {
    // SAFETY: not NULL, and the caller's promise.
    (!p.is_null()).then(|| unsafe { CStr::from_ptr(p) })
}

/// # Safety
/// NULL or `n` elements.
pub unsafe fn slice<'a, T>(p: *const T, n: usize) -> Option<&'a [T]> {
    // SAFETY: not NULL, and the caller's promise.
    (!p.is_null()).then(|| unsafe { std::slice::from_raw_parts(p, n) })
}

/// # Safety
/// NULL or `n` elements that nobody else uses.
pub unsafe fn slice_mut<'a, T>(p: *mut T, n: usize) -> Option<&'a mut [T]> {
    // SAFETY: not NULL, and the caller's promise.
    (!p.is_null()).then(|| unsafe { std::slice::from_raw_parts_mut(p, n) })
}

/// # Safety
/// NULL or room for a T.
pub unsafe fn put<T>(p: *mut T, v: T) {
    if !p.is_null() {
        // SAFETY: not NULL, and the caller's promise.
        unsafe { p.write(v) }
    }
}
