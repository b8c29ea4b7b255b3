//! Where the bytes of a state go to and come from: a counter, memory, a file. One writer serves all three, so a size is exact by construction.
//! Knows no layout.
use platform::error::try_zeroed;
use platform::file::Replacement;
use platform::huge::Huge;
use platform::pages::Passing;
use platform::share::share_reads;
use platform::{Error, Result};
use std::io::IoSliceMut;
use std::sync::Mutex;

/// Takes a state in order.
pub trait Sink {
    /// The next `n` bytes, which `fill` writes; a counter does not call it.
    fn put_with(&mut self, n: usize, fill: &mut dyn FnMut(&mut [u8]) -> Result<()>) -> Result<()>;
    fn written(&self) -> u64;
    /// Bytes that are best put in one go.
    fn step(&self) -> usize {
        usize::MAX
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.put_with(bytes.len(), &mut |dst| {
            dst.copy_from_slice(bytes);
            Ok(())
        })
    }
    fn put_u32(&mut self, v: u32) -> Result<()> {
        self.put(&v.to_le_bytes())
    }
}

#[derive(Default)]
pub struct Count(u64);

impl Sink for Count {
    fn put_with(&mut self, n: usize, _: &mut dyn FnMut(&mut [u8]) -> Result<()>) -> Result<()> {
        self.0 += n as u64;
        Ok(())
    }
    fn written(&self) -> u64 {
        self.0
    }
}

pub struct ToMemory<'a> {
    dst: &'a mut [u8],
    at: usize,
}

impl<'a> ToMemory<'a> {
    pub fn new(dst: &'a mut [u8]) -> ToMemory<'a> {
        ToMemory { dst, at: 0 }
    }
}

impl Sink for ToMemory<'_> {
    fn put_with(&mut self, n: usize, fill: &mut dyn FnMut(&mut [u8]) -> Result<()>) -> Result<()> {
        let len = self.dst.len();
        let place = self.at.checked_add(n).and_then(|end| self.dst.get_mut(self.at..end));
        fill(place.ok_or_else(|| Error::invalid(format!("the state does not fit into {len} bytes")))?)?;
        self.at += n;
        Ok(())
    }
    fn written(&self) -> u64 {
        self.at as u64
    }
}

pub struct ToFile<'a> {
    file: &'a mut Replacement,
    written: u64,
}

impl<'a> ToFile<'a> {
    pub fn new(file: &'a mut Replacement) -> ToFile<'a> {
        ToFile { file, written: 0 }
    }
}

impl Sink for ToFile<'_> {
    fn put_with(&mut self, n: usize, fill: &mut dyn FnMut(&mut [u8]) -> Result<()>) -> Result<()> {
        self.written += n as u64;
        self.file.put(n, fill)
    }
    /// What is brought together for a file is read again at once, by the system: it should still be in the cache then.
    fn step(&self) -> usize {
        1 << 20
    }
    fn written(&self) -> u64 {
        self.written
    }
}

/// A state to read, at any place and from any thread. Ranges outside of `len` are errors.
pub trait Source: Sync {
    fn len(&self) -> u64;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    fn read(&self, at: u64, dst: &mut [u8]) -> Result<()>;
    /// The same into several parts, one after the other.
    fn read_parts(&self, mut at: u64, parts: &mut [IoSliceMut<'_>]) -> Result<()> {
        parts.iter_mut().try_for_each(|p| {
            at += p.len() as u64;
            self.read(at - p.len() as u64, p)
        })
    }
    /// The bytes themselves where the host has them.
    fn bytes(&self, at: u64, n: usize) -> Option<&[u8]>;
    /// The bytes themselves, or what was read of them into `buf`.
    fn fetch<'b>(&'b self, at: u64, n: usize, buf: &'b mut Huge) -> Result<&'b [u8]> {
        if let Some(b) = self.bytes(at, n) {
            return Ok(b);
        }
        let dst = buf.get(n)?;
        self.read(at, dst)?;
        Ok(dst)
    }
}

fn past_the_end() -> Error {
    Error::invalid("the state ends too early")
}

impl Source for Vec<u8> {
    fn len(&self) -> u64 {
        self.as_slice().len() as u64
    }
    fn read(&self, at: u64, dst: &mut [u8]) -> Result<()> {
        dst.copy_from_slice(self.bytes(at, dst.len()).ok_or_else(past_the_end)?);
        Ok(())
    }
    fn bytes(&self, at: u64, n: usize) -> Option<&[u8]> {
        let at = usize::try_from(at).ok()?;
        self.get(at..at.checked_add(n)?)
    }
}

impl Source for Passing<'_> {
    fn len(&self) -> u64 {
        self.file().size()
    }
    fn read(&self, at: u64, dst: &mut [u8]) -> Result<()> {
        self.read_exact_at(at, dst)
    }
    fn read_parts(&self, at: u64, parts: &mut [IoSliceMut<'_>]) -> Result<()> {
        self.read_parts_at(at, parts)
    }
    fn bytes(&self, _: u64, _: usize) -> Option<&[u8]> {
        None
    }
    fn fetch<'b>(&'b self, at: u64, n: usize, buf: &'b mut Huge) -> Result<&'b [u8]> {
        Passing::fetch(self, at, n, buf)
    }
}

/// Bytes of one request to a source that is a file.
const REQUEST: usize = 4 << 20;

/// All of `dst` from `at`, by several threads.
fn read_all(src: &dyn Source, at: u64, dst: &mut [u8]) -> Result<()> {
    let jobs: Vec<Mutex<(u64, &mut [u8])>> =
        dst.chunks_mut(REQUEST).enumerate().map(|(i, part)| Mutex::new((at + (i * REQUEST) as u64, part))).collect();
    share_reads(
        &jobs,
        || (),
        |(), job| {
            let mut job = job.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            src.read(job.0, job.1)
        },
    )
}

/// Part of a source that was brought into memory; elsewhere there is nothing.
pub struct Staged {
    start: u64,
    bytes: Vec<u8>,
}

impl Staged {
    pub fn new(src: &dyn Source, start: u64, end: u64) -> Result<Staged> {
        let n = usize::try_from(end.saturating_sub(start)).map_err(|_| past_the_end())?;
        let mut bytes = try_zeroed(n, "a state in memory")?;
        read_all(src, start, &mut bytes)?;
        Ok(Staged { start, bytes })
    }
}

impl Source for Staged {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
    fn read(&self, at: u64, dst: &mut [u8]) -> Result<()> {
        dst.copy_from_slice(self.bytes(at, dst.len()).ok_or_else(past_the_end)?);
        Ok(())
    }
    fn bytes(&self, at: u64, n: usize) -> Option<&[u8]> {
        self.bytes.bytes(at.checked_sub(self.start)?, n)
    }
}

/// Small things in order from a source. Big ones are skipped over and read later by place.
pub struct Reader<'a> {
    pub src: &'a dyn Source,
    at: u64,
    /// A look ahead, from `window_at` on, where the source is not in memory.
    window: Vec<u8>,
    window_at: u64,
}

/// Bytes looked at in one go: the cells of a long sequence are a few of these, a header is less than one.
const WINDOW: u64 = 64 << 10;

impl<'a> Reader<'a> {
    pub fn new(src: &'a dyn Source, at: u64) -> Reader<'a> {
        Reader { src, at, window: Vec::new(), window_at: 0 }
    }
    pub fn at(&self) -> u64 {
        self.at
    }
    pub fn left(&self) -> u64 {
        self.src.len().saturating_sub(self.at)
    }

    pub fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        if self.left() < N as u64 {
            return Err(past_the_end());
        }
        if let Some(b) = self.src.bytes(self.at, N).and_then(<[u8]>::first_chunk) {
            self.at += N as u64;
            return Ok(*b);
        }
        let inside = self.at >= self.window_at && self.at + N as u64 <= self.window_at + self.window.len() as u64;
        if !inside {
            self.window.resize(self.left().min(WINDOW.max(N as u64)) as usize, 0);
            self.window_at = self.at;
            self.src.read(self.at, &mut self.window)?;
        }
        let from = (self.at - self.window_at) as usize;
        self.at += N as u64;
        self.window[from..].first_chunk().copied().ok_or_else(past_the_end)
    }
    pub fn u32(&mut self) -> Result<u32> {
        self.take().map(u32::from_le_bytes)
    }
    pub fn i32(&mut self) -> Result<i32> {
        self.take().map(i32::from_le_bytes)
    }
    pub fn u64(&mut self) -> Result<u64> {
        self.take().map(u64::from_le_bytes)
    }
    /// Passes `n` bytes that must be there; where they begin.
    pub fn skip(&mut self, n: u64) -> Result<u64> {
        if n > self.left() {
            return Err(past_the_end());
        }
        self.at += n;
        Ok(self.at - n)
    }
    /// `n` elements of 4 bytes.
    pub fn i32s(&mut self, n: usize) -> Result<Vec<i32>> {
        if n as u64 > self.left() / 4 {
            return Err(past_the_end());
        }
        (0..n).map(|_| self.i32()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_counts_what_memory_takes() {
        fn write(s: &mut dyn Sink) -> Result<()> {
            s.put_u32(7)?;
            s.put(b"abc")?;
            s.put_with(5, &mut |d| {
                d.fill(9);
                Ok(())
            })
        }
        let (mut n, mut dst) = (Count::default(), [0; 12]);
        write(&mut n).unwrap();
        let mut m = ToMemory::new(&mut dst);
        write(&mut m).unwrap();
        assert_eq!((n.written(), m.written()), (12, 12));
        assert_eq!(dst, *b"\x07\0\0\0abc\x09\x09\x09\x09\x09");
        assert!(write(&mut ToMemory::new(&mut dst[..11])).is_err());
    }

    #[test]
    fn a_reader_stops_at_the_end_and_not_before() {
        let bytes: Vec<u8> = (0..=255).collect();
        let src = [bytes.clone(), vec![0; WINDOW as usize], bytes].concat();
        reads(Reader::new(&src, 0));
        let far = Far(src.clone());
        reads(Reader::new(&far, 0));
        assert!(Staged::new(&src, 5, src.len() as u64 + 1).is_err());
        let s = Staged::new(&src, 5, 9).unwrap();
        assert_eq!((s.bytes(6, 2), s.bytes(4, 1), s.bytes(8, 2)), (Some(&[6, 7][..]), None, None));
    }

    /// Bytes that can only be read.
    struct Far(Vec<u8>);
    impl Source for Far {
        fn len(&self) -> u64 {
            self.0.len() as u64
        }
        fn read(&self, at: u64, dst: &mut [u8]) -> Result<()> {
            self.0.read(at, dst)
        }
        fn bytes(&self, _: u64, _: usize) -> Option<&[u8]> {
            None
        }
    }

    fn reads(mut r: Reader<'_>) {
        assert_eq!((r.u32().unwrap(), r.u64().unwrap()), (0x0302_0100, 0x0b0a_0908_0706_0504));
        assert_eq!(r.skip(WINDOW + 250).unwrap(), 12);
        assert_eq!(r.i32s(2).unwrap(), [0x0908_0706, 0x0d0c_0b0a]);
        assert!(r.skip(r.left() + 1).is_err() && r.i32s(1 << 30).is_err());
        r.skip(r.left() - 3).unwrap();
        assert!(r.u32().is_err());
        assert_eq!((r.left(), r.take::<3>().unwrap()), (3, [253, 254, 255]));
    }
}
