//! Maps of memory: read-only views of files, and lazily touched zero pages. The one door of `memmap2`. Knows bytes and pages only.
use crate::error::{Error, Result};
use crate::file::File;
use memmap2::{Advice, Mmap, MmapMut, MmapOptions, MmapRaw, UncheckedAdvice};
use std::ops::Range;

/// Maps start on a page; smaller alignments (a cache line, a file's 32 bytes) follow.
pub fn page_size() -> usize {
    // SAFETY: sysconf has no preconditions.
    let n = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(n).ok().filter(|n| n.is_power_of_two()).unwrap_or(4096)
}

/// What a file map will be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// All of it soon: start reading ahead.
    Soon,
    /// Rows here and there: no read-ahead.
    Random,
}

/// A whole file, read-only. A file that shrinks under its map is the one thing that cannot be caught (threat model).
pub struct FileMap {
    map: Mmap,
}

impl FileMap {
    pub fn new(file: &File) -> Result<FileMap> {
        let len = usize::try_from(file.size()).map_err(|_| Error::no_memory(format!("{} is too large to map", file.name())))?;
        // SAFETY: the map is private and read-only; that nobody truncates the file while it is mapped is the threat model's condition.
        let map = unsafe { MmapOptions::new().len(len).map(file.std()) };
        Ok(FileMap { map: map.map_err(|e| Error::io(format_args!("cannot map {}", file.name()), e))? })
    }
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }
    /// A hint: a refusal changes speed only, so it is dropped.
    pub fn advise(&self, range: Range<usize>, u: Use) {
        let r = pages_around(&range, self.map.len());
        let advice = match u {
            Use::Soon => Advice::WillNeed,
            Use::Random => Advice::Random,
        };
        let _ = self.map.advise_range(advice, r.start, r.len());
    }
    /// Keeps the pages of `range` in memory. The error says why not; the map stays usable.
    pub fn lock(&self, range: Range<usize>) -> Result<()> {
        let r = checked(&range, self.map.len())?;
        lock(self.map.as_ptr().wrapping_add(r.start), r.len())
    }
}

/// Zero-filled memory that costs nothing until touched. Page aligned. Readers and writers share it by pointer: who may touch
/// which bytes when is the caller's contract.
pub struct Anon {
    map: MmapRaw,
}

impl Anon {
    /// `bytes` of address space without a reservation of swap; at least one page.
    pub fn new(bytes: usize) -> Result<Anon> {
        let map = MmapOptions::new().len(bytes.max(1)).no_reserve_swap().map_anon();
        Ok(Anon { map: map.map_err(|e| Error::no_memory(format!("cannot map {bytes} bytes of memory: {e}")))?.into() })
    }
    pub fn as_ptr(&self) -> *mut u8 {
        self.map.as_mut_ptr()
    }
    pub fn len(&self) -> usize {
        self.map.len()
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Asks for huge pages (or against them). A hint: a kernel without them changes nothing.
    pub fn huge_pages(&self, wanted: bool) {
        let advice = if wanted { Advice::HugePage } else { Advice::NoHugePage };
        let _ = self.map.advise(advice);
    }
    /// Gives the whole pages inside `range` back to the system; they read zero afterwards, as do the edges, which are cleared by hand.
    ///
    /// # Safety
    /// Nobody reads or writes `range` during the call, and nobody holds a reference into it.
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
        // SAFETY: MADV_DONTNEED on private anonymous pages makes them read zero, which is what this function promises.
        let done = unsafe { self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, first, last - first) };
        done.map_err(|e| Error::io(format_args!("cannot release {} bytes", last - first), e))
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
        match self.map.advise_range(Advice::PopulateWrite, r.start, r.len()) {
            Ok(()) => Ok(()),
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
                // SAFETY: the range is inside the map, and the caller has it to himself.
                unsafe { self.touch(r) };
                Ok(())
            }
            Err(e) => Err(Error::no_memory(format!("no memory for {} bytes: {e}", r.len()))),
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
    /// Keeps `range` in memory. The error says why not; the memory stays usable.
    pub fn lock(&self, range: Range<usize>) -> Result<()> {
        let r = checked(&range, self.len())?;
        lock(self.as_ptr().wrapping_add(r.start), r.len())
    }
}

/// Zero-filled bytes of one owner on pages of their own, which go back to the system with it: what lies for long and is freed in any order
/// would leave holes in the heap.
#[derive(Debug)]
pub struct Owned {
    map: MmapMut,
}

impl Owned {
    /// `bytes` that are there: memory that the system does not have is an error here. At least one byte.
    pub fn new(bytes: usize) -> Result<Owned> {
        let no = |e: std::io::Error| Error::no_memory(format!("no memory for {bytes} bytes: {e}"));
        let map = MmapOptions::new().len(bytes.max(1)).map_anon().map_err(no)?;
        match map.advise(Advice::PopulateWrite) {
            // Kernels before 5.14 touch them later.
            Err(e) if e.raw_os_error() != Some(libc::EINVAL) => Err(no(e)),
            _ => Ok(Owned { map }),
        }
    }
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.map
    }
}

/// Locks pages. Refusal is common (RLIMIT_MEMLOCK), so the message says what helps.
fn lock(start: *const u8, len: usize) -> Result<()> {
    let page = page_size();
    let before = start as usize % page;
    // SAFETY: mlock reads and writes no memory of ours; an address that is not mapped is an error it returns.
    match unsafe { libc::mlock(start.wrapping_sub(before).cast(), len + before) } {
        0 => Ok(()),
        _ => Err(Error::io(format_args!("failed to mlock {len} bytes (try `ulimit -l unlimited`)"), std::io::Error::last_os_error())),
    }
}

/// `range` if it lies inside `len` bytes.
fn checked(range: &Range<usize>, len: usize) -> Result<Range<usize>> {
    match range.start <= range.end && range.end <= len {
        true => Ok(range.clone()),
        false => Err(Error::invalid(format!("bytes {}..{} of a map of {len}", range.start, range.end))),
    }
}

/// The whole pages that `range` touches, cut to the map.
fn pages_around(range: &Range<usize>, len: usize) -> Range<usize> {
    let page = page_size();
    let end = range.end.min(len);
    let start = (range.start / page * page).min(end);
    start..end.next_multiple_of(page).min(len)
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
    fn owned_bytes_are_there_or_refused() {
        let mut o = Owned::new(3 * page_size() + 1).unwrap();
        assert!(o.bytes().iter().all(|b| *b == 0) && o.bytes().len() == 3 * page_size() + 1);
        o.bytes_mut()[page_size()] = 9;
        assert_eq!(o.bytes()[page_size()], 9);
        assert!(Owned::new(usize::MAX / 2).is_err());
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
    fn too_much_address_space_is_an_error() {
        assert!(Anon::new(usize::MAX / 2).is_err());
    }
}
