//! Files read by position: size, exact reads, reads past the page cache, one read by several threads; files replaced as a whole.
//! Knows nothing of formats.
use crate::error::{Error, Result};
use crate::huge::Huge;
use crate::log;
use crate::pages::Writing;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// An open regular file whose size was taken once. Reads name the position, so threads share it without a lock.
pub struct File {
    std: fs::File,
    name: String,
    size: u64,
}

impl File {
    pub fn open(path: &Path) -> Result<File> {
        // O_NONBLOCK: a named pipe in place of a model must be refused, not waited for. Regular files ignore it.
        Self::with_flags(path, libc::O_NONBLOCK).map_err(|e| Error::io(format_args!("cannot open {}", path.display()), e))?.checked()
    }
    /// Takes over an open file; `name` is for messages.
    pub fn from_std(std: fs::File, name: impl Into<String>) -> Result<File> {
        File { std, name: name.into(), size: 0 }.checked()
    }
    fn with_flags(path: &Path, flags: i32) -> std::io::Result<File> {
        let std = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        Ok(File { std, name: path.display().to_string(), size: 0 })
    }
    fn checked(mut self) -> Result<File> {
        let meta = self.std.metadata().map_err(|e| Error::io(format_args!("cannot stat {}", self.name), e))?;
        if !meta.is_file() {
            return Err(Error::invalid(format!("{} is not a regular file", self.name)));
        }
        self.size = meta.len();
        Ok(self)
    }

    pub fn name(&self) -> &str {
        &self.name
    }
    pub fn size(&self) -> u64 {
        self.size
    }
    pub(crate) fn std(&self) -> &fs::File {
        &self.std
    }
    /// All of `dst` from `offset`, or an error.
    pub fn read_exact_at(&self, offset: u64, dst: &mut [u8]) -> Result<()> {
        let n = dst.len();
        self.std.read_exact_at(dst, offset).map_err(|e| Error::io(format_args!("cannot read {n} bytes at {offset} of {}", self.name), e))
    }
    /// A stream from `offset` on that does not move the file's own position.
    pub fn stream(&self, offset: u64) -> Stream<'_> {
        Stream { file: self, at: offset }
    }
}

/// See `File::stream`. Unbuffered.
pub struct Stream<'a> {
    file: &'a File,
    at: u64,
}

impl Read for Stream<'_> {
    fn read(&mut self, dst: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.std.read_at(dst, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// Bytes moved per direct read: large enough for a disk's full speed, small enough for a buffer per thread.
const DIRECT_PIECE: usize = 4 << 20;
/// Every block device and file system we know accepts it.
const DIRECT_ALIGN: usize = 4096;

/// A second way into the same file that leaves the page cache alone (O_DIRECT).
pub struct Direct {
    file: File,
    /// Positions, lengths and addresses must be multiples of it.
    align: usize,
}

impl Direct {
    /// `None`, with a log line, where the file system does not do it.
    pub fn open(path: &Path) -> Option<Direct> {
        let opened = File::with_flags(path, libc::O_DIRECT | libc::O_NONBLOCK).map_err(|e| Error::io("open", e)).and_then(File::checked);
        match opened {
            Ok(file) => Some(Direct { align: direct_align(&file.std), file }),
            Err(e) => {
                log::warn(format_args!("direct I/O is not available for {} ({e}); reading through the page cache", path.display()));
                None
            }
        }
    }
    /// The same file once more; `None` where the file system does not do it.
    pub fn again(file: &File) -> Option<Direct> {
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.std.as_raw_fd()));
        let file =
            File::with_flags(&path, libc::O_DIRECT | libc::O_NONBLOCK).and_then(|f| f.checked().map_err(std::io::Error::other)).ok()?;
        Some(Direct { align: direct_align(&file.std), file })
    }
    /// Where in a buffer byte `at` of the file comes to lie.
    pub fn skip(&self, at: u64) -> usize {
        (at % self.align as u64) as usize
    }
    /// Bytes `at..at + n`, to `skip(at)` of `buf`.
    pub fn read_by(&self, at: u64, n: usize, buf: &mut Huge) -> Result<()> {
        let skip = self.skip(at);
        let dst = buf.get((skip + n).next_multiple_of(self.align))?;
        let mut done = 0;
        while done < skip + n {
            let got = self.fill(at - skip as u64 + done as u64, &mut dst[done..])?;
            done += got;
            if got == 0 || (done < skip + n && !done.is_multiple_of(self.align)) {
                return Err(Error::invalid(format!("{} ends before {}", self.file.name, at + n as u64)));
            }
        }
        Ok(())
    }
    /// All of `dst` from `offset`, any alignment: whole pieces go through an aligned buffer.
    pub fn read_exact_at(&self, offset: u64, dst: &mut [u8]) -> Result<()> {
        let align = self.align as u64;
        let mut bounce = Bounce::new(self.align, (dst.len() + 2 * self.align).min(DIRECT_PIECE).next_multiple_of(self.align))?;
        let mut done = 0;
        while done < dst.len() {
            let at = offset + done as u64;
            let skip = (at % align) as usize;
            let wanted = (skip + dst.len() - done).next_multiple_of(self.align);
            let got = self.fill(at - skip as u64, bounce.get(wanted))?;
            let fresh = bounce.get(got).get(skip..).unwrap_or_default();
            if fresh.is_empty() {
                return Err(Error::invalid(format!("{} ends at {}, {} bytes wanted at {offset}", self.file.name, at, dst.len())));
            }
            let n = fresh.len().min(dst.len() - done);
            dst[done..done + n].copy_from_slice(&fresh[..n]);
            done += n;
        }
        Ok(())
    }
    /// One aligned read; short only at the end of the file.
    fn fill(&self, at: u64, buf: &mut [u8]) -> Result<usize> {
        loop {
            match self.file.std.read_at(buf, at) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                r => return r.map_err(|e| Error::io(format_args!("cannot read at {at} of {} (direct I/O)", self.file.name), e)),
            }
        }
    }
}

/// A file that is being written, once more, for writes past the cache; and what they must be multiples of.
pub(crate) fn direct_to(f: &fs::File) -> Option<(fs::File, usize)> {
    let path = format!("/proc/self/fd/{}", f.as_raw_fd());
    let f = fs::OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(path).ok()?;
    let align = direct_align(&f);
    Some((f, align))
}

/// The alignment the file asks for (Linux 6.1 and later say), else one that is always enough.
fn direct_align(f: &fs::File) -> usize {
    // SAFETY: an all-zero statx is valid: it is plain integers.
    let mut s: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, the path is an empty C string (AT_EMPTY_PATH), and `s` outlives the call.
    let rc = unsafe { libc::statx(f.as_raw_fd(), c"".as_ptr(), libc::AT_EMPTY_PATH, libc::STATX_DIOALIGN, &mut s) };
    let told = s.stx_dio_mem_align.max(s.stx_dio_offset_align) as usize;
    match rc == 0 && told.is_power_of_two() && told <= 1 << 20 {
        true => told.max(DIRECT_ALIGN),
        false => DIRECT_ALIGN,
    }
}

/// A buffer with room to start at a multiple of `align`.
struct Bounce {
    buf: Vec<u8>,
    start: usize,
    len: usize,
}

impl Bounce {
    fn new(align: usize, len: usize) -> Result<Bounce> {
        let buf: Vec<u8> = crate::error::try_zeroed(len + align, "a direct I/O buffer")?;
        let start = buf.as_ptr().align_offset(align).min(align);
        Ok(Bounce { buf, start, len })
    }
    /// The first `n` aligned bytes, or all there are.
    fn get(&mut self, n: usize) -> &mut [u8] {
        &mut self.buf[self.start..][..n.min(self.len)]
    }
}

/// A file in the making that takes the place of `path` when it is finished, and leaves no trace when it is dropped before.
pub struct Replacement {
    std: fs::File,
    temporary: PathBuf,
    target: PathBuf,
    finished: bool,
    /// What waits to be written: less than a piece, from a multiple of `DIRECT_ALIGN` of the file on.
    buf: Huge,
    used: usize,
    /// `None` after the first full buffer, if a thread could be had.
    pages: Option<Writing>,
    writer: Option<Writer>,
}

/// Bytes written at a time: what it costs to say where they go does not show.
const WRITE_PIECE: usize = 4 << 20;

/// A thread that writes one buffer while the next is filled.
struct Writer {
    full: SyncSender<(Huge, usize)>,
    empty: Receiver<Huge>,
    thread: JoinHandle<std::io::Result<Writing>>,
}

impl Writer {
    /// Takes `pages` over; gives it back where there is no thread to be had.
    fn start(std: &fs::File, pages: &mut Option<Writing>) -> Option<Writer> {
        let std = std.try_clone().ok()?;
        let ((full, to_write), (written, empty)) = (sync_channel::<(Huge, usize)>(0), sync_channel(2));
        let (hand, taken) = sync_channel::<Writing>(1);
        let work = move || {
            let mut pages = taken.recv().map_err(|_| std::io::ErrorKind::BrokenPipe)?;
            for (mut buf, n) in to_write {
                pages.write(&std, buf.get(n).map_err(std::io::Error::other)?)?;
                let _ = written.send(buf);
            }
            Ok(pages)
        };
        let thread = std::thread::Builder::new().spawn(work).ok()?;
        hand.send(pages.take()?).ok()?;
        Some(Writer { full, empty, thread })
    }
    /// All of it is written, or why not.
    fn end(self) -> std::io::Result<Writing> {
        drop(self.full);
        self.thread.join().unwrap_or_else(|_| Err(std::io::Error::other("the writing thread panicked")))
    }
}

impl Replacement {
    pub fn create(path: &Path) -> Result<Replacement> {
        let fail = |e| Error::io(format_args!("cannot write {}", path.display()), e);
        // A link stays a link: what it points to is replaced.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if fs::metadata(&target).is_ok_and(|m| !m.is_file()) {
            return Err(Error::invalid(format!("{} is not a regular file", path.display())));
        }
        let name = target.file_name().ok_or_else(|| Error::invalid(format!("{} names no file", path.display())))?;
        loop {
            let temporary = target.with_file_name(temporary_name(name));
            match fs::OpenOptions::new().write(true).create_new(true).open(&temporary) {
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                opened => {
                    let std = opened.map_err(fail)?;
                    let pages = Some(Writing::new().past_the_cache(&std));
                    return Ok(Replacement { std, temporary, target, finished: false, buf: Huge::default(), used: 0, pages, writer: None });
                }
            }
        }
    }
    /// The next `n` bytes, which `fill` writes.
    pub fn put(&mut self, n: usize, fill: &mut dyn FnMut(&mut [u8]) -> Result<()>) -> Result<()> {
        self.make_room(n)?;
        let end = self.used + n;
        fill(&mut self.buf.get(end)?[self.used..])?;
        self.used = end;
        if self.used >= WRITE_PIECE { self.flush() } else { Ok(()) }
    }
    /// Small files have small buffers.
    fn make_room(&mut self, n: usize) -> Result<()> {
        let end = self.used + n;
        if end > self.buf.capacity() {
            let mut larger = Huge::default();
            larger.get(end.max((2 * end).min(WRITE_PIECE + WRITE_PIECE / 4)))?[..self.used].copy_from_slice(self.buf.get(self.used)?);
            self.buf = larger;
        }
        Ok(())
    }
    /// Hands on all but what the next write past the cache could not start behind.
    fn flush(&mut self) -> Result<()> {
        let n = self.used / DIRECT_ALIGN * DIRECT_ALIGN;
        let rest = self.buf.get(self.used)?[n..].to_vec();
        self.hand_on(n)?;
        self.used = 0;
        self.put(rest.len(), &mut |dst| {
            dst.copy_from_slice(&rest);
            Ok(())
        })
    }
    /// The first `n` bytes of the buffer are written; another one takes its place.
    fn hand_on(&mut self, n: usize) -> Result<()> {
        let first = self.writer.is_none();
        if first {
            self.writer = Writer::start(&self.std, &mut self.pages);
        }
        let written = match (&self.writer, &mut self.pages) {
            (Some(w), _) => match w.full.send((std::mem::take(&mut self.buf), n)) {
                // The second buffer is made when it is first needed.
                Ok(()) if first => Ok(()),
                Ok(()) => w.empty.recv().map(|buf| self.buf = buf).map_err(|_| ()),
                Err(_) => Err(()),
            },
            (None, Some(pages)) => return pages.write(&self.std, self.buf.get(n)?).map_err(|e| self.failed(e)),
            (None, None) => Err(()),
        };
        written.or_else(|()| self.settled().map(drop))
    }
    /// Waits for the writing thread. It has ended by itself only if something went wrong.
    fn settled(&mut self) -> Result<Writing> {
        let pages = match (self.writer.take(), self.pages.take()) {
            (Some(w), _) => w.end(),
            (None, Some(pages)) => Ok(pages),
            (None, None) => Err(std::io::ErrorKind::BrokenPipe.into()),
        };
        pages.map_err(|e| self.failed(e))
    }
    fn failed(&self, e: std::io::Error) -> Error {
        Error::io(format_args!("cannot write {}", self.target.display()), e)
    }
    /// The new file is there, whole; or the old one is, and an error.
    pub fn finish(mut self) -> Result<()> {
        let mut pages = self.settled()?;
        let rest = self.buf.get(self.used)?;
        pages.write(&self.std, rest).map_err(|e| self.failed(e))?;
        // Before the name says that it is there; and some file systems tell only now that the disk is full.
        self.std.sync_data().map_err(|e| self.failed(e))?;
        pages.finish(&self.std);
        if let Ok(old) = fs::metadata(&self.target) {
            let _ = self.std.set_permissions(old.permissions());
        }
        fs::rename(&self.temporary, &self.target).map_err(|e| self.failed(e))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if let Some(w) = self.writer.take() {
            let _ = w.end();
        }
        if !self.finished {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// A name of our own beside `name`, cut so that it is not too long where that one is not.
fn temporary_name(name: &OsStr) -> OsString {
    static N: AtomicU64 = AtomicU64::new(0);
    let head = &name.as_bytes()[..name.len().min(200)];
    let mut s = OsString::from(".");
    s.push(OsStr::from_bytes(head));
    s.push(format!(".{}-{}.tmp", std::process::id(), N.fetch_add(1, Ordering::Relaxed)));
    s
}

/// `read(position, part)` for all of `dst`, whose first byte is at `offset`, by up to `n_threads` threads; the first error wins.
pub fn read_parallel(offset: u64, dst: &mut [u8], n_threads: usize, read: impl Fn(u64, &mut [u8]) -> Result<()> + Sync) -> Result<()> {
    // Under this, starting a thread costs more than it saves.
    const LEAST: usize = 1 << 20;
    let share = dst.len().div_ceil(n_threads.max(1)).max(LEAST);
    if dst.len() <= share {
        return read(offset, dst);
    }
    let read = &read;
    std::thread::scope(|s| {
        let mut jobs = Vec::new();
        for (i, part) in dst.chunks_mut(share).enumerate() {
            let at = offset + (i * share) as u64;
            jobs.push(
                std::thread::Builder::new()
                    .spawn_scoped(s, move || read(at, part))
                    .map_err(|e| Error::io("cannot start a reader thread", e)),
            );
        }
        let ends = jobs.into_iter().map(|j| j?.join().unwrap_or_else(|_| Err(Error::invalid("a reader thread panicked"))));
        ends.fold(Ok(()), Result::and)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn sample(name: &str, n: usize) -> (PathBuf, Vec<u8>) {
        let path = std::env::temp_dir().join(format!("camelid-file-{}-{name}", std::process::id()));
        let bytes: Vec<u8> = (0..n).map(|i| (i * 31 + i / 251) as u8).collect();
        fs::write(&path, &bytes).unwrap();
        (path, bytes)
    }

    #[test]
    fn direct_reads_equal_plain_reads_at_any_alignment() {
        let (path, bytes) = sample("direct", 3 * DIRECT_PIECE / 2 + 777);
        let plain = File::open(&path).unwrap();
        let direct = Direct::open(&path);
        for (at, n) in [(0, 1), (1, 4096), (4095, 2), (4096, 8192), (13, bytes.len() - 13), (bytes.len() - 1, 1), (5, 0)] {
            let mut a = vec![0; n];
            plain.read_exact_at(at as u64, &mut a).unwrap();
            assert_eq!(a, bytes[at..at + n]);
            if let Some(d) = &direct {
                a.fill(0);
                d.read_exact_at(at as u64, &mut a).unwrap();
                assert!(a == bytes[at..at + n], "direct {n} at {at}");
            }
        }
        let past = |n: usize| vec![0; n];
        assert!(plain.read_exact_at(bytes.len() as u64 - 1, &mut past(2)).is_err());
        assert!(direct.is_none_or(|d| d.read_exact_at(bytes.len() as u64 - 1, &mut past(2)).is_err()));
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn parallel_read_is_one_read() {
        let (path, bytes) = sample("parallel", (3 << 20) + 5);
        let f = File::open(&path).unwrap();
        for n in [0, 1, 2, 7] {
            let mut a = vec![0; bytes.len() - 3];
            read_parallel(3, &mut a, n, |at, part| f.read_exact_at(at, part)).unwrap();
            assert!(a == bytes[3..], "{n} threads");
        }
        assert!(read_parallel(4, &mut vec![0; bytes.len() - 3], 3, |at, part| f.read_exact_at(at, part)).is_err());
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        assert!(File::open(&std::env::temp_dir()).is_err());
        assert!(File::open(Path::new("/dev/null")).is_err());
        assert!(File::open(Path::new("/no/such/file")).is_err());
    }
}
