//! Maps of memory: read-only views of files, lazily touched zero pages, nameless files as memory. The one door of `memmap2`; a build with
//! `--cfg camelid_no_mmap` has `no_mmap.rs` in its place. Knows bytes and pages only.
mod anon;
mod backed;
mod owned;

pub use anon::Anon;
pub use backed::Backed;
pub use owned::Owned;

use crate::error::{Error, Result};
use crate::file::File;
use memmap2::{Advice, Mmap, MmapOptions};
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
    /// Pages wholly inside `range` need not be at hand any more; they come back from the file when they are read.
    pub fn let_go(&self, range: Range<usize>) {
        let (page, end) = (page_size(), range.end.min(self.map.len()));
        let (first, last) = (range.start.next_multiple_of(page), end / page * page);
        if first < last {
            // SAFETY: pages of a read-only map of a file: what is read later is what the file holds.
            let _ = unsafe { self.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, first, last - first) };
        }
    }
    /// Keeps the pages of `range` in memory. The error says why not; the map stays usable.
    pub fn lock(&self, range: Range<usize>) -> Result<()> {
        let r = checked(&range, self.map.len())?;
        lock(self.map.as_ptr().wrapping_add(r.start), r.len())
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
