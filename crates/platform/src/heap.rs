//! One allocation, zeroed and touched when it is made: memory where maps are not wanted, or not there. Knows bytes only.
use crate::error::{Result, try_zeroed};

/// As large as any page, so that what is aligned in a map is aligned here.
#[derive(Clone)]
#[repr(C, align(4096))]
struct Page([u8; 4096]);

impl Default for Page {
    fn default() -> Page {
        Page([0; 4096])
    }
}

/// Readers and writers share it by pointer: who may touch which bytes when is the caller's contract.
pub struct Heap {
    base: *mut u8,
    len: usize,
    /// Not touched again until it is freed: all access goes through `base`.
    _pages: Vec<Page>,
}
// SAFETY: plain bytes that no thread owns; who touches what when is the caller's contract, as for a map.
unsafe impl Send for Heap {}
// SAFETY: as above.
unsafe impl Sync for Heap {}

impl Heap {
    pub fn new(bytes: usize) -> Result<Heap> {
        let mut pages: Vec<Page> = try_zeroed(bytes.div_ceil(size_of::<Page>()).max(1), "a buffer")?;
        Ok(Heap { base: pages.as_mut_ptr().cast(), len: bytes.max(1), _pages: pages })
    }
    pub fn as_ptr(&self) -> *mut u8 {
        self.base
    }
    pub fn len(&self) -> usize {
        self.len
    }
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_zero_aligned_and_refused_when_too_large() {
        let h = Heap::new(10_000).unwrap();
        assert_eq!((h.len(), h.as_ptr() as usize % 4096), (10_000, 0));
        // SAFETY: inside the allocation; one thread.
        let all = unsafe { std::slice::from_raw_parts(h.as_ptr(), h.len()) };
        assert!(all.iter().all(|b| *b == 0));
        assert!(Heap::new(1 << 60).is_err());
    }
}
