//! The page cache of files that are written or read once and are large: state files would push out what others work with. A ladder, probed by
//! use: RWF_DONTCACHE (Linux 6.14, some file systems) -> writeback in step and fadvise on our own range -> plain I/O. Large parts
//! that nobody has cached do not enter it at all (O_DIRECT). Knows no format.
use crate::error::{Error, Result};
use crate::file::{Direct, File, direct_to};
use crate::huge::Huge;
use std::fs;
use std::io::{Error as IoError, IoSliceMut};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

/// Pages that were cached before are kept: asked for pieces of this size.
const PIECE: u64 = 1 << 20;
/// Bytes that may wait for the disk while a file is written, besides those of one write: enough to keep it busy, little for everybody else.
const LAG: u64 = 32 << 20;
/// Parts of memory that one read may fill (UIO_MAXIOV).
const MOST_PARTS: usize = 1024;
/// The same number on every architecture.
const SYS_CACHESTAT: libc::c_long = 451;

/// `CAMELID_KV_KEEP_PAGES`: the page cache is treated like anybody's.
pub(crate) fn keep() -> bool {
    crate::env::flag("CAMELID_KV_KEEP_PAGES")
}

/// Whether `RWF_DONTCACHE` is worth asking for: it was not refused yet.
static DONTCACHE: AtomicBool = AtomicBool::new(true);

/// Whether an I/O error says that the flag is not known here. The file system decides, so one refusal may be too many for others: they still have fadvise.
fn refused(e: &IoError) -> bool {
    matches!(e.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ENOSYS))
}

/// `f(RWF_DONTCACHE)`, a system call's answer; `None` where the flag is not possible.
fn dontcache(f: impl FnOnce(libc::c_int) -> libc::ssize_t) -> Option<std::io::Result<usize>> {
    if !DONTCACHE.load(Ordering::Relaxed) {
        return None;
    }
    let done = told(f(libc::RWF_DONTCACHE));
    let no = done.as_ref().is_err_and(refused);
    if no {
        DONTCACHE.store(false, Ordering::Relaxed);
    }
    (!no).then_some(done)
}

fn told(n: libc::ssize_t) -> std::io::Result<usize> {
    usize::try_from(n).map_err(|_| IoError::last_os_error())
}

fn pwrite(f: &fs::File, at: u64, bytes: &[u8], flags: libc::c_int) -> libc::ssize_t {
    let iov = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: `iov` is one live slice, which is only read; the descriptor is open.
    unsafe { libc::pwritev2(f.as_raw_fd(), &iov, 1, at.cast_signed(), flags) }
}

fn pread(f: &fs::File, at: u64, dst: &mut [IoSliceMut<'_>], flags: libc::c_int) -> libc::ssize_t {
    let n = dst.len().min(MOST_PARTS) as libc::c_int;
    // SAFETY: an IoSliceMut is an iovec by its promise, and all of them are exclusive live slices; the descriptor is open.
    unsafe { libc::preadv2(f.as_raw_fd(), dst.as_mut_ptr().cast(), n, at.cast_signed(), flags) }
}

/// Repeats `step(done)` until `n` bytes are through.
fn all(n: usize, mut step: impl FnMut(usize) -> std::io::Result<usize>) -> std::io::Result<()> {
    let mut done = 0;
    while done < n {
        match step(done) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(k) => done += k,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Drops clean whole pages of a range. A hint.
pub(crate) fn drop_range(f: &fs::File, r: Range<u64>) {
    let (Ok(at), Ok(n)) = (i64::try_from(r.start), i64::try_from(r.end.saturating_sub(r.start))) else { return };
    if n > 0 {
        // SAFETY: an open descriptor; no memory of ours.
        unsafe { libc::posix_fadvise(f.as_raw_fd(), at, n, libc::POSIX_FADV_DONTNEED) };
    }
}

/// Starts writing a range to the disk, or waits for it.
pub(crate) fn write_back(f: &fs::File, r: Range<u64>, wait: bool) {
    let (Ok(at), Ok(n)) = (i64::try_from(r.start), i64::try_from(r.end.saturating_sub(r.start))) else { return };
    let waits = libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    let flags = libc::SYNC_FILE_RANGE_WRITE | if wait { waits } else { 0 };
    if n > 0 {
        // SAFETY: an open descriptor; no memory of ours. A file system that cannot do it keeps its pages, no more.
        unsafe { libc::sync_file_range(f.as_raw_fd(), at, n, flags) };
    }
}

/// Pages of a range by state: cached, dirty, being written, evicted, evicted lately. `None` where the kernel (before 6.5) does not say.
fn stat(f: &fs::File, r: Range<u64>) -> Option<[u64; 5]> {
    let range = [r.start, r.end.saturating_sub(r.start)];
    let mut stat = [0; 5];
    // SAFETY: `range` is a cachestat_range, `stat` a cachestat; both outlive the call.
    let rc = unsafe { libc::syscall(SYS_CACHESTAT, f.as_raw_fd(), range.as_ptr(), stat.as_mut_ptr(), 0) };
    (rc == 0).then_some(stat)
}

/// Pages of a range that are in the cache; `None` where the kernel does not say.
pub fn cached_pages(f: &fs::File, r: Range<u64>) -> Option<u64> {
    stat(f, r).map(|[cached, ..]| cached)
}

/// A file in the making that leaves nothing behind in the cache.
pub struct Writing {
    at: u64,
    /// Up to where the disk has it.
    settled: u64,
    keep: bool,
    /// The same file past the cache, and what it wants positions, lengths and addresses to be multiples of.
    direct: Option<(fs::File, usize)>,
}

impl Writing {
    #[allow(clippy::new_without_default, reason = "it reads the environment")]
    pub fn new() -> Writing {
        Writing { at: 0, settled: 0, keep: keep(), direct: None }
    }
    /// Large parts go past the cache, where the file system does that.
    pub fn past_the_cache(self, f: &fs::File) -> Writing {
        let direct = if self.keep { None } else { direct_to(f) };
        Writing { direct, ..self }
    }
    /// How much of the front of `bytes` went past the cache. On any error nothing: the plain way says what is wrong.
    fn write_direct(&mut self, bytes: &[u8]) -> usize {
        let Some((f, align)) = &self.direct else { return 0 };
        if bytes.len() < DIRECT || !self.at.is_multiple_of(*align as u64) || !bytes.as_ptr().addr().is_multiple_of(*align) {
            return 0;
        }
        let whole = bytes.len() / align * align;
        match all(whole, |done| f.write_at(&bytes[done..whole], self.at + done as u64)) {
            Ok(()) => {
                self.at += whole as u64;
                whole
            }
            Err(_) => {
                self.direct = None;
                0
            }
        }
    }
    /// Appends.
    pub fn write(&mut self, f: &fs::File, bytes: &[u8]) -> std::io::Result<()> {
        let bytes = &bytes[self.write_direct(bytes)..];
        let start = self.at;
        all(bytes.len(), |done| {
            let (at, rest) = (start + done as u64, &bytes[done..]);
            let passing = if self.keep { None } else { dontcache(|flag| pwrite(f, at, rest, flag)) };
            passing.unwrap_or_else(|| f.write_at(rest, at))
        })?;
        self.at += bytes.len() as u64;
        if !self.keep {
            write_back(f, start..self.at, false);
            self.settle(f, self.at.saturating_sub(LAG));
        }
        Ok(())
    }
    fn settle(&mut self, f: &fs::File, to: u64) {
        if to > self.settled {
            write_back(f, self.settled..to, true);
            drop_range(f, self.settled..to);
            self.settled = to;
        }
    }
    /// All is written: what is left of it goes.
    pub fn finish(&mut self, f: &fs::File) {
        if !self.keep {
            self.settled = self.settled.saturating_sub(PIECE); // pages that straddled a border
            self.settle(f, self.at.next_multiple_of(PIECE));
        }
    }
}

/// A file that is read once: pages that this brings in go again when it is dropped, pages that were there stay.
pub struct Passing<'a> {
    file: &'a File,
    /// Pieces without a cached page when this began.
    ours: Vec<bool>,
    /// Past the cache altogether, for what nobody has in it.
    direct: Option<Direct>,
}

/// Least bytes that are worth reading or writing past the cache: below, the system's read-ahead does more.
const DIRECT: usize = 1 << 20;

impl<'a> Passing<'a> {
    pub fn new(file: &'a File) -> Passing<'a> {
        let pieces = if keep() { 0 } else { file.size().div_ceil(PIECE) };
        let any = |r: Range<u64>| cached_pages(file.std(), r).is_some_and(|n| n > 0);
        let nothing = !any(0..file.size());
        let ours: Vec<bool> = (0..pieces).map(|i| nothing || !any(i * PIECE..(i + 1) * PIECE)).collect();
        let direct = Direct::again(file).filter(|_| file.size() >= DIRECT as u64 && ours.contains(&true));
        Passing { file, ours, direct }
    }
    pub fn file(&self) -> &File {
        self.file
    }
    /// All of `dst` from `at`, or an error.
    pub fn read_exact_at(&self, at: u64, dst: &mut [u8]) -> Result<()> {
        self.read_parts_at(at, &mut [IoSliceMut::new(dst)])
    }
    /// Bytes `at..at + n`, by way of `buf`: past the cache where nobody had them in it.
    pub fn fetch<'b>(&self, at: u64, n: usize, buf: &'b mut Huge) -> Result<&'b [u8]> {
        if let Some(direct) = self.direct.as_ref().filter(|_| n >= DIRECT && self.all_ours(at, n))
            && direct.read_by(at, n, buf).is_ok()
        {
            let skip = direct.skip(at);
            return Ok(&buf.get(skip + n)?[skip..]);
        }
        let dst = buf.get(n)?;
        self.read_exact_at(at, dst)?;
        Ok(dst)
    }
    fn all_ours(&self, at: u64, n: usize) -> bool {
        (at / PIECE..(at + n as u64).div_ceil(PIECE)).all(|i| self.ours.get(i as usize) == Some(&true))
    }
    /// All of `parts`, one after the other, from `at`, or an error.
    pub fn read_parts_at(&self, at: u64, mut parts: &mut [IoSliceMut<'_>]) -> Result<()> {
        let (f, n) = (self.file.std(), parts.iter().map(|p| p.len()).sum());
        let mut last = 0;
        let read = all(n, |done| {
            IoSliceMut::advance_slices(&mut parts, done - std::mem::replace(&mut last, done));
            let at = at + done as u64;
            let passing = if self.ours.is_empty() { None } else { dontcache(|flag| pread(f, at, parts, flag)) };
            passing.unwrap_or_else(|| told(pread(f, at, parts, 0)))
        });
        // Pieces at the ends are somebody else's to read too, at this moment perhaps.
        self.drop_pieces(at.div_ceil(PIECE)..(at + n as u64) / PIECE);
        read.map_err(|e| Error::io(format_args!("cannot read {n} bytes at {at} of {}", self.file.name()), e))
    }
    fn drop_pieces(&self, pieces: Range<u64>) {
        for i in pieces.filter(|i| self.ours.get(*i as usize) == Some(&true)) {
            drop_range(self.file.std(), i * PIECE..(i + 1) * PIECE);
        }
    }
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        self.drop_pieces(0..self.ours.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::Replacement;

    /// Cached share of a file in percent, after it had two seconds to settle.
    fn resident(f: &File, most: u64) -> Option<u64> {
        let pages = f.size().div_ceil(4096);
        for _ in 0..20 {
            let now = cached_pages(f.std(), 0..f.size())? * 100 / pages;
            if now <= most {
                return Some(now);
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        Some(cached_pages(f.std(), 0..f.size())? * 100 / pages)
    }

    fn large(bytes: usize) {
        let path = std::env::current_exe().expect("a test").with_file_name(format!("camelid-pages-{}-{bytes}", std::process::id()));
        let mut w = Replacement::create(&path).unwrap();
        let piece: Vec<u8> = (0..bytes / 8).map(|i| (i * 131) as u8).collect();
        for _ in 0..8 {
            w.put(piece.len(), &mut |dst| {
                dst.copy_from_slice(&piece);
                Ok(())
            })
            .unwrap();
        }
        w.finish().unwrap();
        let f = File::open(&path).unwrap();
        let Some(after_write) = resident(&f, 1) else {
            eprintln!("skipped: this kernel has no cachestat");
            return fs::remove_file(path).unwrap();
        };
        let mut got = vec![0; piece.len()];
        let pass = Passing::new(&f);
        for i in 0..8 {
            pass.read_exact_at((i * piece.len()) as u64, &mut got).unwrap();
            assert!(got == piece, "part {i}");
        }
        drop(pass);
        let after_read = resident(&f, 1).unwrap_or(100);
        let (pass, mut buf) = (Passing::new(&f), Huge::default());
        for i in 0..8 {
            // From one byte on: nothing is where a disk would like it.
            let at = (i * piece.len()) as u64 + 1;
            assert!(pass.fetch(at, piece.len() - 1, &mut buf).unwrap() == &piece[1..], "part {i}");
        }
        drop(pass);
        let after_fetch = resident(&f, 1).unwrap_or(100);
        // Somebody else's pages: a quarter in the middle.
        let mid = bytes as u64 / 2..bytes as u64 * 3 / 4;
        let mut theirs = vec![0; (mid.end - mid.start) as usize];
        f.read_exact_at(mid.start, &mut theirs).unwrap();
        let before = cached_pages(f.std(), mid.clone()).unwrap();
        let pass = Passing::new(&f);
        (0..8).for_each(|i| pass.read_exact_at((i * piece.len()) as u64, &mut got).unwrap());
        (0..8).for_each(|i| assert!(pass.fetch((i * piece.len()) as u64, piece.len(), &mut buf).unwrap() == piece));
        drop(pass);
        let (kept, rest) = (cached_pages(f.std(), mid.clone()).unwrap(), cached_pages(f.std(), 0..mid.start - PIECE).unwrap());
        fs::remove_file(&path).unwrap();
        if before * 4096 < mid.end - mid.start {
            eprintln!("skipped: this file system does not cache");
            return;
        }
        assert!(after_write <= 1, "{after_write} % after writing");
        assert!(after_read <= 1, "{after_read} % after reading");
        assert!(after_fetch <= 1, "{after_fetch} % after reading past the cache");
        assert!(kept * 100 >= before * 99, "{kept} of {before} pages that others had");
        assert!(rest * 4096 * 100 <= mid.start, "{rest} pages of ours");
    }

    #[test]
    fn four_mebibytes_leave_nothing() {
        large(4 << 20);
        // The rung below.
        DONTCACHE.store(false, Ordering::Relaxed);
        large(4 << 20);
        DONTCACHE.store(true, Ordering::Relaxed);
    }

    /// What waits for the disk while `bytes` are written, at most.
    fn waits(bytes: usize) {
        let path = std::env::current_exe().expect("a test").with_file_name(format!("camelid-pages-{}-dirty-{bytes}", std::process::id()));
        let std = fs::OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
        let (mut w, piece, mut most) = (Writing { keep: false, ..Writing::new() }, vec![5; 4 << 20], Some(0));
        for _ in 0..bytes / piece.len() {
            w.write(&std, &piece).unwrap();
            most = most.and_then(|m| stat(&std, 0..bytes as u64).map(|[_, dirty, writing, ..]| m.max(dirty + writing)));
        }
        w.finish(&std);
        fs::remove_file(&path).unwrap();
        match most {
            Some(pages) => assert!(pages * 4096 <= 64 << 20, "{pages} pages waited for the disk"),
            None => eprintln!("skipped: this kernel has no cachestat"),
        }
    }

    #[test]
    fn little_waits_for_the_disk() {
        waits(128 << 20);
        DONTCACHE.store(false, Ordering::Relaxed);
        waits(128 << 20);
        DONTCACHE.store(true, Ordering::Relaxed);
    }

    fn kept(bytes: usize) {
        let path = std::env::current_exe().expect("a test").with_file_name(format!("camelid-pages-{}-keep-{bytes}", std::process::id()));
        let (std, piece) = (fs::File::create_new(&path).unwrap(), vec![3; 4 << 20]);
        let mut w = Writing { keep: true, ..Writing::new() };
        (0..bytes / piece.len()).for_each(|_| w.write(&std, &piece).unwrap());
        w.finish(&std);
        let f = File::open(&path).unwrap();
        let written = cached_pages(f.std(), 0..f.size());
        let pass = Passing { file: &f, ours: Vec::new(), direct: None };
        let mut buf = Huge::default();
        (0..bytes / piece.len()).for_each(|i| assert!(pass.fetch((i * piece.len()) as u64, piece.len(), &mut buf).unwrap() == piece));
        drop(pass);
        let read = cached_pages(f.std(), 0..f.size());
        fs::remove_file(path).unwrap();
        let all = bytes as u64 / 4096;
        match (written, read) {
            // Under memory pressure the system may take a few of its own accord.
            (Some(w), Some(r)) if w > 0 => assert!(w.min(r) * 100 >= all * 99, "{w} and {r} of {all} pages"),
            _ => eprintln!("skipped: no cachestat, or no cache"),
        }
    }

    #[test]
    fn the_switch_keeps_everything() {
        kept(4 << 20);
    }

    #[test]
    #[ignore = "writes gigabytes: make test-slow"]
    fn five_hundred_mebibytes_leave_nothing_or_everything() {
        large(512 << 20);
        waits(512 << 20);
        kept(512 << 20);
    }
}
