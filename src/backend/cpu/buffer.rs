//! Host memory as a `Buffer`: an anonymous lazily touched map, or somebody else's read-only bytes (a mapped model file).
use crate::backend::{Buffer, Copy2d, DeviceId, HostBytes, HostMem};
use platform::mmap::Anon;
use platform::{Error, Result};
use std::io::IoSliceMut;
use std::ops::Range;
use std::sync::Arc;

pub struct CpuBuffer {
    device: DeviceId,
    mem: Mem,
}

enum Mem {
    Lazy(Anon),
    /// Read-only bytes kept alive by their owner.
    Foreign(Arc<dyn HostBytes>),
}

impl CpuBuffer {
    /// Zeroed, nothing touched until used.
    pub fn lazy(device: DeviceId, bytes: usize, what: &str) -> Result<CpuBuffer> {
        let map = Anon::new(bytes.max(1)).map_err(|e| e.within(what))?;
        Ok(CpuBuffer { device, mem: Mem::Lazy(map) })
    }
    /// A read-only view of bytes that `owner` keeps.
    pub fn foreign(device: DeviceId, owner: Arc<dyn HostBytes>) -> CpuBuffer {
        CpuBuffer { device, mem: Mem::Foreign(owner) }
    }
}

impl Buffer for CpuBuffer {
    fn device(&self) -> DeviceId {
        self.device
    }
    fn len(&self) -> usize {
        match &self.mem {
            Mem::Lazy(a) => a.len(),
            Mem::Foreign(f) => f.bytes().len(),
        }
    }
    fn host(&self) -> Option<HostMem> {
        Some(match &self.mem {
            Mem::Lazy(a) => HostMem { base: a.as_ptr(), len: a.len(), writable: true },
            Mem::Foreign(f) => {
                let b = f.bytes();
                HostMem { base: b.as_ptr().cast_mut(), len: b.len(), writable: false }
            }
        })
    }
    fn write(&self, list: &[Copy2d], src: &[u8]) -> Result<()> {
        let Mem::Lazy(map) = &self.mem else { return Err(Error::invalid("write to a read-only buffer")) };
        if !list.iter().all(|c| c.fits(map.len(), src.len())) {
            return Err(Error::invalid("copy outside a buffer"));
        }
        // SAFETY: `fits` was checked for both sides; the caller owns the rows it writes (contract of the memory room: rows of a block belong to
        // one writer), and `src` is a separate borrow.
        unsafe { copy(list, map.as_ptr(), src.as_ptr()) };
        Ok(())
    }
    fn read(&self, list: &[Copy2d], dst: &mut [u8]) -> Result<()> {
        let (base, len) = match &self.mem {
            Mem::Lazy(a) => (a.as_ptr().cast_const(), a.len()),
            Mem::Foreign(f) => (f.bytes().as_ptr(), f.bytes().len()),
        };
        if !list.iter().all(|c| c.fits(dst.len(), len)) {
            return Err(Error::invalid("copy outside a buffer"));
        }
        // SAFETY: `fits` was checked for both sides; `dst` is an exclusive borrow.
        unsafe { copy(list, dst.as_mut_ptr(), base) };
        Ok(())
    }
    fn lend(&self, ranges: &[Range<usize>], f: &mut dyn FnMut(&mut [IoSliceMut<'_>]) -> Result<()>) -> Result<()> {
        let Mem::Lazy(map) = &self.mem else { return Err(Error::invalid("write to a read-only buffer")) };
        let mut sorted: Vec<&Range<usize>> = ranges.iter().collect();
        sorted.sort_unstable_by_key(|r| r.start);
        let apart = sorted.windows(2).all(|w| w[0].end <= w[1].start);
        if !apart || !sorted.iter().all(|r| r.start <= r.end && r.end <= map.len()) {
            return Err(Error::invalid("ranges that overlap or lie outside a buffer"));
        }
        // SAFETY: inside the map and apart from each other; the caller owns the rows, as in `write`.
        let part = |r: &Range<usize>| unsafe { std::slice::from_raw_parts_mut(map.as_ptr().add(r.start), r.len()) };
        let mut parts: Vec<IoSliceMut<'_>> = ranges.iter().map(|r| IoSliceMut::new(part(r))).collect();
        f(&mut parts)
    }
    fn secure(&self, range: Range<usize>) -> Result<()> {
        match &self.mem {
            // SAFETY: a range is secured before its first use, by the one who owns the memory (a block that was just placed).
            Mem::Lazy(a) => unsafe { a.populate(range) },
            Mem::Foreign(_) => Ok(()),
        }
    }
    fn release(&self, range: Range<usize>) {
        if let Mem::Lazy(a) = &self.mem {
            // SAFETY: a range is released when nobody uses it any more (a block without cells, outside a run).
            if let Err(e) = unsafe { a.release(range) } {
                platform::log::warn(e);
            }
        }
    }
}

/// Calls that move more than this go past the cache: it would not hold what they write until it is read.
const STREAM: usize = 1 << 20;

/// # Safety
/// Every run of `list` lies in memory that may be read at `src` and written at `dst`, and the two do not overlap.
unsafe fn copy(list: &[Copy2d], dst: *mut u8, src: *const u8) {
    let past = list.iter().map(|c| c.width * c.rows).sum::<usize>() > STREAM;
    for c in list {
        for r in 0..c.rows {
            // SAFETY: the caller's promise.
            let (to, from) = unsafe { (dst.add(c.at + r * c.at_pitch), src.add(c.from + r * c.from_pitch)) };
            if past {
                // SAFETY: the caller's promise; nobody else has these bytes during the call.
                let (to, from) = unsafe { (std::slice::from_raw_parts_mut(to, c.width), std::slice::from_raw_parts(from, c.width)) };
                platform::stream::copy(to, from);
            } else {
                // SAFETY: the caller's promise.
                unsafe { std::ptr::copy_nonoverlapping(from, to, c.width) };
            }
        }
    }
    if past {
        platform::stream::fence();
    }
}
