//! Zero pages: address space that costs nothing until touched, made sure of before use, given back after it.
use super::{checked, lock, page_size, pages_around};
use crate::error::{Error, Result};
use memmap2::{MmapOptions, MmapRaw};
use std::io::Error as IoError;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Zero-filled memory that costs nothing until touched. Page aligned. Readers and writers share it by pointer: who may touch
/// which bytes when is the caller's contract.
pub struct Anon {
    map: Map,
}

enum Map {
    /// Usable as it is.
    Open(MmapRaw),
    /// Not usable before it is made sure of.
    Reserved(Reserved),
}

impl Anon {
    /// `bytes` of address space without a reservation of swap; at least one page.
    pub fn new(bytes: usize) -> Result<Anon> {
        let map = MmapOptions::new().len(bytes.max(1)).no_reserve_swap().map_anon();
        let map = map.map_err(|e| Error::no_memory(format!("cannot map {bytes} bytes of memory: {e}")))?;
        Ok(Anon { map: Map::Open(map.into()) })
    }
    /// Memory of which every range is populated before its first use. Where the system counts what could be touched as taken
    /// (vm.overcommit_memory=2, RLIMIT_DATA), only what is populated counts.
    pub fn reserve(bytes: usize) -> Result<Anon> {
        Anon::new(bytes).or_else(|e| Ok(Anon { map: Map::Reserved(Reserved::new(bytes).ok_or(e)?) }))
    }
    pub fn as_ptr(&self) -> *mut u8 {
        match &self.map {
            Map::Open(m) => m.as_mut_ptr(),
            Map::Reserved(r) => r.base.cast(),
        }
    }
    pub fn len(&self) -> usize {
        match &self.map {
            Map::Open(m) => m.len(),
            Map::Reserved(r) => r.len,
        }
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Asks for huge pages in the whole pages inside `range` (or against them). A hint: a kernel without them changes nothing.
    pub fn huge_pages(&self, range: Range<usize>, wanted: bool) {
        let _ = self.advise(if wanted { libc::MADV_HUGEPAGE } else { libc::MADV_NOHUGEPAGE }, range);
    }
    fn advise(&self, advice: i32, r: Range<usize>) -> std::io::Result<()> {
        debug_assert!(r.start <= r.end && r.end <= self.len().next_multiple_of(page_size()));
        // SAFETY: inside the map. What the advice does to the bytes is answered for by each caller below.
        match unsafe { libc::madvise(self.as_ptr().add(r.start).cast(), r.len(), advice) } {
            0 => Ok(()),
            _ => Err(IoError::last_os_error()),
        }
    }
    /// Gives the whole pages inside `range` back to the system; they read zero afterwards, as do the edges, which are cleared by hand.
    ///
    /// # Safety
    /// Nobody reads or writes `range` during the call, and nobody holds a reference into it. Of reserved memory: it was populated.
    pub unsafe fn release(&self, range: Range<usize>) -> Result<()> {
        let r = checked(&range, self.len())?;
        let page = page_size();
        let first = r.start.next_multiple_of(page).min(r.end);
        let last = (r.end / page * page).max(first);
        // SAFETY: both edges are inside the map (`checked`) and the caller has them to himself.
        unsafe {
            self.as_ptr().add(r.start).write_bytes(0, first - r.start);
            self.as_ptr().add(last).write_bytes(0, r.end - last);
        }
        if first == last {
            return Ok(());
        }
        // MADV_DONTNEED on private anonymous pages makes them read zero, which is what this function promises.
        self.advise(libc::MADV_DONTNEED, first..last).map_err(|e| Error::io(format_args!("cannot release {} bytes", last - first), e))
    }
    /// Makes sure that the pages of `range` exist, so that a later write cannot fail. Contents are kept.
    ///
    /// # Safety
    /// Nobody writes to `range` during the call (needed only by the fallback for kernels before 5.14, which touches the pages).
    pub unsafe fn populate(&self, range: Range<usize>) -> Result<()> {
        let r = pages_around(&checked(&range, self.len())?, self.len());
        if r.is_empty() {
            return Ok(());
        }
        let refused = |e: IoError| Error::no_memory(format!("no memory for {} bytes: {e}", r.len()));
        if let Map::Reserved(m) = &self.map {
            m.open(&r).map_err(refused)?;
        }
        loop {
            match self.advise(libc::MADV_POPULATE_WRITE, r.clone()).map_err(|e| (e.raw_os_error(), e)) {
                Ok(()) => return Ok(()),
                Err((Some(libc::EAGAIN | libc::EINTR), _)) => {}
                Err((Some(libc::EINVAL), _)) => {
                    // SAFETY: the range is inside the map, and the caller has it to himself.
                    unsafe { self.touch(r) };
                    return Ok(());
                }
                Err((_, e)) => return Err(refused(e)),
            }
        }
    }
    /// Writes one byte of each page back to itself.
    ///
    /// # Safety
    /// `r` is inside the map and nobody else writes to it.
    unsafe fn touch(&self, r: Range<usize>) {
        for at in r.step_by(page_size()) {
            // SAFETY: the caller's promise; volatile, or the compiler would drop a write that changes nothing.
            unsafe {
                let p = self.as_ptr().add(at);
                p.write_volatile(p.read_volatile());
            }
        }
    }
    /// Bytes of `range` that are in memory now, in whole pages; for tests and reports.
    pub fn resident(&self, range: Range<usize>) -> Result<usize> {
        let r = pages_around(&checked(&range, self.len())?, self.len());
        resident(self.as_ptr().wrapping_add(r.start), r.len())
    }
    /// Keeps `range` in memory. The error says why not; the memory stays usable.
    pub fn lock(&self, range: Range<usize>) -> Result<()> {
        let r = checked(&range, self.len())?;
        lock(self.as_ptr().wrapping_add(r.start), r.len())
    }
}

/// Bytes of the pages from `start` on that are in memory.
pub(super) fn resident(start: *mut u8, len: usize) -> Result<usize> {
    let page = page_size();
    let mut total = 0;
    // One byte per page: asked for in parts, or a large map costs a large list.
    let mut list = [0u8; 4096];
    for at in (0..len).step_by(page * list.len()) {
        let part = (len - at).min(page * list.len());
        // SAFETY: mincore writes one byte per page of `part`, which `list` holds; an address that is not mapped is an error it returns.
        if unsafe { libc::mincore(start.wrapping_add(at).cast(), part, list.as_mut_ptr()) } != 0 {
            return Err(Error::io("mincore", IoError::last_os_error()));
        }
        total += list[..part.div_ceil(page)].iter().filter(|b| *b & 1 == 1).count() * page;
    }
    Ok(total)
}

/// Address space without access.
struct Reserved {
    base: *mut libc::c_void,
    len: usize,
    /// Steps of `OPEN_STEP` with access.
    opened: Mutex<Vec<bool>>,
}
// SAFETY: an address range that is ours until it is dropped; access is the business of those who use it, as for any map.
unsafe impl Send for Reserved {}
// SAFETY: as above.
unsafe impl Sync for Reserved {}

/// Access is given in steps of this size: each border inside the map costs the kernel a record, and a process has 65530 of them.
const OPEN_STEP: usize = 4 << 20;

impl Reserved {
    fn new(bytes: usize) -> Option<Reserved> {
        let len = bytes.max(1).checked_next_multiple_of(page_size())?;
        // SAFETY: a fresh mapping at a place of the kernel's choice.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), len, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) };
        let opened = Mutex::new(vec![false; len.div_ceil(OPEN_STEP)]);
        (base != libc::MAP_FAILED).then_some(Reserved { base, len, opened })
    }
    /// The kernel counts these bytes from here on, or refuses.
    fn open(&self, r: &Range<usize>) -> std::io::Result<()> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        for step in r.start / OPEN_STEP..r.end.div_ceil(OPEN_STEP) {
            if opened[step] {
                continue;
            }
            let (start, end) = (step * OPEN_STEP, ((step + 1) * OPEN_STEP).min(self.len));
            // SAFETY: a range of our own map.
            match unsafe { libc::mprotect(self.base.wrapping_byte_add(start), end - start, libc::PROT_READ | libc::PROT_WRITE) } {
                0 => opened[step] = true,
                _ => return Err(IoError::last_os_error()),
            }
        }
        Ok(())
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        // SAFETY: our own map, used by nobody any more.
        unsafe { libc::munmap(self.base, self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn byte(a: &Anon, at: usize) -> u8 {
        assert!(at < a.len());
        // SAFETY: inside the map; the tests have one thread.
        unsafe { a.as_ptr().add(at).read() }
    }
    fn fill(a: &Anon, v: u8) {
        // SAFETY: the whole map; the tests have one thread.
        unsafe { a.as_ptr().write_bytes(v, a.len()) }
    }

    #[test]
    fn anon_is_zero_aligned_and_lazy() {
        // More than any test machine has: only the pages touched may cost.
        let a = Anon::new(1 << 40).unwrap();
        assert_eq!(a.as_ptr() as usize % page_size(), 0);
        assert_eq!(byte(&a, (1 << 40) - 1), 0);
    }

    #[test]
    fn release_zeroes_exactly_the_range() {
        let page = page_size();
        let a = Anon::new(4 * page).unwrap();
        fill(&a, 7);
        let range = page / 2..3 * page + 9;
        // SAFETY: one thread, no references.
        unsafe { a.release(range.clone()) }.unwrap();
        for at in 0..a.len() {
            assert_eq!(byte(&a, at), if range.contains(&at) { 0 } else { 7 }, "byte {at}");
        }
        // A range inside one page has no whole page to give back.
        fill(&a, 7);
        // SAFETY: one thread, no references.
        unsafe { a.release(3..5) }.unwrap();
        assert_eq!([byte(&a, 2), byte(&a, 3), byte(&a, 4), byte(&a, 5)], [7, 0, 0, 7]);
    }

    #[test]
    fn populate_keeps_contents_and_refuses_what_is_outside() {
        let page = page_size();
        let a = Anon::new(3 * page).unwrap();
        fill(&a, 5);
        // SAFETY: one thread.
        unsafe {
            a.populate(1..2 * page).unwrap();
            a.touch(0..3 * page);
            assert!(a.populate(0..3 * page + 1).is_err());
            assert!(a.release(page..3 * page + 1).is_err());
        }
        assert_eq!(byte(&a, page), 5);
        assert!(a.lock(0..usize::MAX).is_err());
    }

    #[test]
    fn reserved_memory_works_once_it_is_populated() {
        let page = page_size();
        let a = Anon { map: Map::Reserved(Reserved::new(3 * OPEN_STEP + page).unwrap()) };
        // SAFETY: one thread; only populated pages are touched.
        unsafe {
            a.populate(OPEN_STEP + 5..OPEN_STEP + 6).unwrap();
            a.as_ptr().add(OPEN_STEP + 7).write(9);
            a.populate(3 * OPEN_STEP..3 * OPEN_STEP + page).unwrap();
            a.as_ptr().add(3 * OPEN_STEP).write(3);
            assert_eq!(a.resident(0..a.len()).unwrap(), 2 * page);
            a.release(OPEN_STEP..OPEN_STEP + page).unwrap();
        }
        assert_eq!(a.resident(0..a.len()).unwrap(), page);
        assert_eq!((byte(&a, OPEN_STEP + 7), byte(&a, 3 * OPEN_STEP)), (0, 3));
    }

    #[test]
    fn too_much_address_space_is_an_error() {
        assert!(Anon::new(usize::MAX / 2).is_err());
    }
}
