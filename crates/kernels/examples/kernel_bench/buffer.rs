//! Memory at a page's start, in huge pages or not.
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};

const HUGE: usize = 2 << 20;

pub struct Buffer {
    at: *mut u8,
    layout: Layout,
}

// SAFETY: it owns its bytes, like a Vec.
unsafe impl Send for Buffer {}
// SAFETY: as above; shared, it is only read.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// At least `bytes` zeroes. Huge pages are a wish that the system may not grant.
    pub fn zeroed(bytes: usize, huge: bool) -> Buffer {
        let Ok(layout) = Layout::from_size_align(bytes.max(1).next_multiple_of(64), HUGE) else { panic!("{bytes} bytes are too many") };
        // SAFETY: the size is not zero.
        let at = unsafe { alloc_zeroed(layout) };
        if at.is_null() {
            handle_alloc_error(layout);
        }
        // SAFETY: the range was just allocated; advice changes no byte.
        unsafe { libc::madvise(at.cast(), layout.size(), if huge { libc::MADV_HUGEPAGE } else { libc::MADV_NOHUGEPAGE }) };
        Buffer { at, layout }
    }
    pub fn ptr(&self) -> *mut u8 {
        self.at
    }
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `layout.size()` bytes were allocated and zeroed.
        unsafe { std::slice::from_raw_parts(self.at, self.layout.size()) }
    }
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and this is the only borrow.
        unsafe { std::slice::from_raw_parts_mut(self.at, self.layout.size()) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.at, self.layout) }
    }
}
