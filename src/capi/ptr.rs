//! Pointers from C into Rust and text back out: NULL is `None`, a negative size is an empty thing, a short buffer is cut. Knows no llama type.
//!
//! What no function can check, and what every entry point's caller promises (llama.h's contract): a pointer that is not NULL points to as
//! many initialised elements as the call says, alive and unshared with writers until the call returns.
use std::ffi::{CStr, c_char};

/// `n` elements at `p`; `None` for NULL, also where `n` is 0; empty where `n` is negative.
///
/// # Safety
/// See the head of this file.
pub unsafe fn slice<'a, T>(p: *const T, n: impl TryInto<usize>) -> Option<&'a [T]> {
    let n = n.try_into().unwrap_or(0);
    // SAFETY: `p` is not NULL and the caller promises n elements.
    (!p.is_null()).then(|| unsafe { std::slice::from_raw_parts(p, n) })
}

/// Like `slice`, to write into.
///
/// # Safety
/// See the head of this file.
pub unsafe fn slice_mut<'a, T>(p: *mut T, n: impl TryInto<usize>) -> Option<&'a mut [T]> {
    let n = n.try_into().unwrap_or(0);
    // SAFETY: `p` is not NULL, the caller promises n elements and that nobody else uses them.
    (!p.is_null()).then(|| unsafe { std::slice::from_raw_parts_mut(p, n) })
}

/// The bytes of a NUL-terminated string; they need not be UTF-8.
///
/// # Safety
/// See the head of this file.
pub unsafe fn text<'a>(p: *const c_char) -> Option<&'a [u8]> {
    // SAFETY: `p` is not NULL and the caller promises a terminated string.
    (!p.is_null()).then(|| unsafe { CStr::from_ptr(p) }.to_bytes())
}

/// Text of `n` bytes, or up to its NUL where `n` is negative.
///
/// # Safety
/// See the head of this file.
pub unsafe fn text_n<'a>(p: *const c_char, n: i32) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise is passed on.
    if n < 0 { unsafe { text(p) } } else { unsafe { slice(p.cast(), n) } }
}

/// Writes `v` where the caller asked for it.
///
/// # Safety
/// See the head of this file.
pub unsafe fn put<T>(p: *mut T, v: T) {
    if !p.is_null() {
        // SAFETY: `p` is not NULL and the caller promises room for one T.
        unsafe { p.write(v) }
    }
}

/// `s` into a buffer as `snprintf` would: cut to `size - 1` bytes, terminated; gives the length of the whole.
///
/// # Safety
/// See the head of this file.
pub unsafe fn put_text(buf: *mut c_char, size: usize, s: &[u8]) -> i32 {
    // SAFETY: the caller's promise is passed on.
    if let Some(out) = unsafe { slice_mut(buf.cast::<u8>(), size) }
        && let Some(room) = size.checked_sub(1)
    {
        let n = room.min(s.len());
        out[..n].copy_from_slice(&s[..n]);
        out[n] = 0;
    }
    i32::try_from(s.len()).unwrap_or(i32::MAX)
}

/// What the getters of metadata do: the length, or -1 and an empty buffer where there is nothing.
///
/// # Safety
/// See the head of this file.
pub unsafe fn put_found(buf: *mut c_char, size: usize, s: Option<&[u8]>) -> i32 {
    // SAFETY: the caller's promise is passed on.
    let n = unsafe { put_text(buf, size, s.unwrap_or_default()) };
    if s.is_some() { n } else { -1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_negative_sizes() {
        // SAFETY: NULL, or pointers to live arrays of the stated length.
        unsafe {
            assert_eq!(slice(std::ptr::null::<i32>(), 5), None);
            assert_eq!(slice([1, 2].as_ptr(), -5_i32), Some(&[][..]));
            assert_eq!(slice([1, 2].as_ptr(), 2_i32), Some(&[1, 2][..]));
            assert_eq!(text(std::ptr::null()), None);
            assert_eq!(text_n(c"abc".as_ptr(), -1), Some(&b"abc"[..]));
            assert_eq!(text_n(c"abc".as_ptr(), 2), Some(&b"ab"[..]));
            put(std::ptr::null_mut(), 3);
            assert_eq!(put_text(std::ptr::null_mut(), 10, b"abc"), 3);
        }
    }

    #[test]
    fn text_is_cut_and_terminated() {
        for size in 0..6 {
            let mut b = [7 as c_char; 6];
            // SAFETY: `size` is at most the array's length.
            assert_eq!(unsafe { put_text(b.as_mut_ptr(), size, b"abc") }, 3);
            let n = size.saturating_sub(1).min(3);
            assert!(b[..n].iter().zip(b"abc").all(|(&got, &want)| got as u8 == want));
            assert!(size == 0 || b[n] == 0);
            assert!(b[if size == 0 { 0 } else { n + 1 }..].iter().all(|&c| c == 7), "wrote past the end");
        }
    }

    #[test]
    fn nothing_found_empties_the_buffer() {
        let mut b = [7 as c_char; 4];
        // SAFETY: the array's own length.
        assert_eq!(unsafe { put_found(b.as_mut_ptr(), 4, None) }, -1);
        assert_eq!(b[0], 0);
    }
}
