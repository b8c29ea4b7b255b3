//! A nameless sparse file as memory: the system can write pages to it when memory is short. Blocks of the disk are taken before use, so that
//! a full disk is an error and not a signal.
use super::anon::resident;
use super::{checked, page_size, pages_around};
use crate::error::{Error, Result};
use crate::pages::{drop_range, keep, write_back};
use memmap2::{MmapOptions, MmapRaw, UncheckedAdvice};
use std::fs;
use std::io::Error as IoError;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Page aligned, zero where it was not written. Shared by pointer, as `Anon` is.
pub struct Backed {
    file: fs::File,
    map: MmapRaw,
    /// The file system has no fallocate: blocks are taken by writing.
    by_hand: AtomicBool,
}

/// Bytes that wait for the disk at a time when pages leave memory.
const PIECE: usize = 32 << 20;

impl Backed {
    pub fn new(dir: &Path, bytes: usize) -> Result<Backed> {
        let fail = |what: &str, e: IoError| Error::io(format_args!("cannot {what} a file of {bytes} bytes in {}", dir.display()), e);
        let len = bytes.max(1).next_multiple_of(page_size());
        // Beyond this limit the kernel does not refuse, it sends SIGXFSZ.
        if file_size_limit() < len as u64 {
            return Err(Error::no_memory(format!("a file of {len} bytes is larger than `ulimit -f` allows")));
        }
        let file = nameless(dir).map_err(|e| fail("make", e))?;
        file.set_len(len as u64).map_err(|e| fail("make", e))?;
        let map = MmapOptions::new().len(len).map_raw(&file).map_err(|e| fail("map", e))?;
        Ok(Backed { file, map, by_hand: AtomicBool::new(false) })
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

    /// Takes the disk blocks of `range`. Contents are kept.
    pub fn populate(&self, range: Range<usize>) -> Result<()> {
        let r = pages_around(&checked(&range, self.len())?, self.len());
        let taken = match self.by_hand.load(Ordering::Relaxed) {
            true => self.write_to(&r),
            false => self.fallocate(libc::FALLOC_FL_KEEP_SIZE, &r).or_else(|e| match e.raw_os_error() {
                Some(libc::EOPNOTSUPP | libc::ENOSYS) => {
                    self.by_hand.store(true, Ordering::Relaxed);
                    self.write_to(&r)
                }
                _ => Err(e),
            }),
        };
        taken.map_err(|e| Error::no_memory(format!("no room on the disk for {} bytes of memory: {e}", r.len())))
    }
    fn fallocate(&self, mode: i32, r: &Range<usize>) -> std::io::Result<()> {
        loop {
            // SAFETY: an open descriptor; the file's bytes inside `r` stay (KEEP_SIZE) or are the caller's to lose (PUNCH_HOLE).
            if unsafe { libc::fallocate(self.file.as_raw_fd(), mode, r.start as i64, r.len() as i64) } == 0 {
                return Ok(());
            }
            let e = IoError::last_os_error();
            if e.raw_os_error() != Some(libc::EINTR) {
                return Err(e);
            }
        }
    }
    /// One byte of each page, written back as it is.
    fn write_to(&self, r: &Range<usize>) -> std::io::Result<()> {
        let mut byte = [0];
        for at in r.clone().step_by(page_size()) {
            self.file.read_exact_at(&mut byte, at as u64)?;
            self.file.write_all_at(&byte, at as u64)?;
        }
        Ok(())
    }

    /// Gives the disk blocks and pages inside `range` back; they read zero afterwards. The parts of pages at its ends stay as they are.
    ///
    /// # Safety
    /// Nobody reads or writes `range` during the call, and nobody holds a reference into it.
    pub unsafe fn release(&self, range: Range<usize>) -> Result<()> {
        let (r, page) = (checked(&range, self.len())?, page_size());
        let whole = r.start.next_multiple_of(page)..r.end / page * page;
        if whole.is_empty() {
            return Ok(());
        }
        let punched = self.fallocate(libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, &whole);
        punched.map_err(|e| Error::io(format_args!("cannot release {} bytes of a file", whole.len()), e))
    }

    /// Writes out what is new and takes the pages out of memory; `busy` is asked now and then, and true ends it. The bytes stay: who touches
    /// them has them read back.
    pub fn rest(&self, busy: &dyn Fn() -> bool) {
        if keep() {
            return;
        }
        for at in (0..self.len()).step_by(PIECE) {
            let r = at..(at + PIECE).min(self.len());
            if busy() {
                return;
            }
            if resident(self.as_ptr().wrapping_add(r.start), r.len()).is_ok_and(|n| n > 0) {
                self.rest_piece(r);
            }
        }
    }
    fn rest_piece(&self, r: Range<usize>) {
        let in_file = r.start as u64..r.end as u64;
        // SAFETY: of a shared map only the page table entries go: the bytes are the file's, and a touch brings them back.
        let unmapped = unsafe { self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, r.start, r.len()) };
        if unmapped.is_ok() {
            write_back(&self.file, in_file.clone(), true);
            drop_range(&self.file, in_file);
        }
    }
    /// Bytes of `range` whose pages are in the page cache; for tests and reports.
    pub fn resident(&self, range: Range<usize>) -> Result<usize> {
        let r = pages_around(&checked(&range, self.len())?, self.len());
        resident(self.as_ptr().wrapping_add(r.start), r.len())
    }
    /// Bytes of disk that it takes.
    pub fn on_disk(&self) -> u64 {
        use std::os::unix::fs::MetadataExt;
        self.file.metadata().map_or(0, |m| m.blocks() * 512)
    }
}

fn file_size_limit() -> u64 {
    let mut l = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `l` outlives the call.
    match unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut l) } {
        0 => l.rlim_cur,
        _ => u64::MAX,
    }
}

/// A file that nobody else can open: made without a name, or with one for a moment.
fn nameless(dir: &Path) -> std::io::Result<fs::File> {
    static N: AtomicU64 = AtomicU64::new(0);
    let mut how = fs::OpenOptions::new();
    how.read(true).write(true).mode(0o600);
    how.clone().custom_flags(libc::O_TMPFILE).open(dir).or_else(|_| {
        let path = dir.join(format!(".camelid-kv-{}-{}", std::process::id(), N.fetch_add(1, Ordering::Relaxed)));
        let file = how.create_new(true).open(&path)?;
        fs::remove_file(&path)?;
        Ok(file)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(bytes: usize) -> Backed {
        let dir = std::env::current_exe().expect("a test").with_file_name("");
        Backed::new(&dir, bytes).unwrap()
    }
    fn set(b: &Backed, at: usize, v: u8) {
        assert!(at < b.len());
        // SAFETY: inside the map; one thread.
        unsafe { b.as_ptr().add(at).write_volatile(v) }
    }
    fn get(b: &Backed, at: usize) -> u8 {
        assert!(at < b.len());
        // SAFETY: inside the map; one thread.
        unsafe { b.as_ptr().add(at).read_volatile() }
    }

    fn take_use_release(by_hand: bool) {
        let (mib, page) = (1 << 20, page_size());
        let b = make(1 << 36);
        b.by_hand.store(by_hand, Ordering::Relaxed);
        assert!(b.on_disk() < mib as u64, "sparse");
        set(&b, 0, 1);
        b.populate(0..4 * mib).unwrap();
        assert!(b.on_disk() >= 4 << 20, "taken: {}", b.on_disk());
        assert_eq!(get(&b, 0), 1, "contents stay");
        (0..4 * mib).step_by(page).for_each(|at| set(&b, at, 7));
        // SAFETY: one thread, no references.
        unsafe { b.release(mib - 1..3 * mib + 1) }.unwrap();
        assert_eq!([get(&b, mib - page), get(&b, mib), get(&b, 3 * mib - page), get(&b, 3 * mib)], [7, 0, 0, 7]);
        assert!(b.populate(0..(1 << 36) + page).is_err());
        if b.on_disk() >= 4 << 20 {
            eprintln!("skipped: this file system punches no holes");
        }
    }

    #[test]
    fn disk_blocks_come_with_use_and_go() {
        take_use_release(false);
        take_use_release(true);
    }

    #[test]
    fn at_rest_the_pages_are_gone_and_the_bytes_are_not() {
        let b = make(64 << 20);
        b.populate(0..8 << 20).unwrap();
        (0..8 << 20).step_by(64).for_each(|at| set(&b, at, (at / 64) as u8));
        assert!(b.resident(0..b.len()).unwrap() >= 8 << 20);
        b.rest(&|| true);
        assert!(b.resident(0..b.len()).unwrap() >= 8 << 20, "busy");
        b.rest(&|| false);
        let left = b.resident(0..b.len()).unwrap();
        assert!(left <= (8 << 20) / 100 || keep(), "{left} bytes stayed");
        assert!((0..8 << 20).step_by(64).all(|at| get(&b, at) == (at / 64) as u8));
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        assert!(Backed::new(Path::new("/nowhere/at/all"), 1).is_err());
    }
}
