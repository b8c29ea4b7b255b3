//! Host memory as a `Buffer`: anonymous pages, a heap allocation, a file, or somebody else's read-only bytes (a mapped model file).
use crate::backend::{Buffer, Copy2d, DeviceId, HostBytes, HostMem, Layout, Weight};
use kernels::Isa;
use kernels::quant::{self, ROW_GRANULE};
use platform::heap::Heap;
use platform::mmap::{Anon, Backed};
use platform::numa::Nodes;
use platform::pressure::Guard;
use platform::{Backing, Error, Result};
use std::io::IoSliceMut;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

pub struct CpuBuffer {
    device: DeviceId,
    mem: Mem,
    /// Where pages go: the nodes, and which of them each range is of.
    nodes: Option<Arc<Nodes>>,
    homes: Mutex<Vec<(Range<usize>, usize)>>,
}

enum Mem {
    /// Usable as it is.
    Lazy(Anon),
    /// Secured in parts: small pages, but where a whole huge one is wanted.
    Parts(Anon, Arc<Guard>),
    Heap(Heap),
    File(Backed),
    /// Read-only bytes kept alive by their owner.
    Foreign(Arc<dyn HostBytes>),
}

/// Where all of a range this large is wanted at once, it is asked for as huge pages; everywhere else they are declined, so that few cells cost
/// few bytes whatever the system's setting is. On an EPYC (family 26) with Linux 6.18: first touch of 1 GiB 0.83 s in small pages and 0.11 s in
/// huge ones, giving it back 154 ms and 9 ms, reading it in runs of 64 KiB 10.8 and 12.6 GB/s, head by head as attention does 7.0 and 7.3 GB/s.
const HUGE: usize = 2 << 20;

impl CpuBuffer {
    /// Zeroed, nothing touched until used.
    pub fn lazy(device: DeviceId, bytes: usize, what: &str) -> Result<CpuBuffer> {
        let map = Anon::new(bytes.max(1)).map_err(|e| e.within(what))?;
        Ok(CpuBuffer::of(device, Mem::Lazy(map)))
    }
    /// Zeroed, every part secured before its first use.
    pub fn backed(device: DeviceId, bytes: usize, what: &str, backing: &Backing, guard: &Arc<Guard>) -> Result<CpuBuffer> {
        let mem = match backing {
            Backing::Mmap => Anon::reserve(bytes).map(|a| {
                a.huge_pages(0..a.len(), false);
                Mem::Parts(a, guard.clone())
            }),
            Backing::Heap => guard.allow(bytes).and_then(|()| Heap::new(bytes)).map(Mem::Heap),
            Backing::File(dir) => Backed::new(dir, bytes).map(Mem::File),
        };
        Ok(CpuBuffer::of(device, mem.map_err(|e| e.within(what))?))
    }
    fn of(device: DeviceId, mem: Mem) -> CpuBuffer {
        CpuBuffer { device, mem, nodes: None, homes: Mutex::default() }
    }
    /// Pages can be given to these nodes.
    #[must_use]
    pub fn on(self, nodes: &Arc<Nodes>) -> CpuBuffer {
        CpuBuffer { nodes: (nodes.len() > 1 || nodes.strategy.places()).then(|| nodes.clone()), ..self }
    }
    /// All pages go to all nodes in turn.
    pub fn everywhere(&self) {
        if let (Some(nodes), Mem::Parts(a, _)) = (&self.nodes, &self.mem) {
            nodes.tell_all(a.as_ptr(), a.len());
        }
    }
    /// Runs `f`, which takes pages of `range`, where they are to be.
    fn beside<T: Send>(&self, a: &Anon, range: &Range<usize>, f: impl FnOnce() -> T + Send) -> T {
        let Some(nodes) = &self.nodes else { return f() };
        let home = self.homes.lock().unwrap_or_else(PoisonError::into_inner).iter().find(|h| h.0.contains(&range.start)).map(|h| h.1);
        match home {
            Some(home) => {
                let page = platform::mmap::page_size();
                let (first, end) = (range.start / page * page, range.end.next_multiple_of(page));
                nodes.beside(home, a.as_ptr().wrapping_add(first), end - first, f)
            }
            None => f(),
        }
    }
    /// A read-only view of bytes that `owner` keeps.
    pub fn foreign(device: DeviceId, owner: Arc<dyn HostBytes>) -> CpuBuffer {
        CpuBuffer::of(device, Mem::Foreign(owner))
    }

    fn base(&self) -> *mut u8 {
        match &self.mem {
            Mem::Lazy(a) | Mem::Parts(a, _) => a.as_ptr(),
            Mem::Heap(h) => h.as_ptr(),
            Mem::File(f) => f.as_ptr(),
            Mem::Foreign(f) => f.bytes().as_ptr().cast_mut(),
        }
    }
    fn writable(&self) -> bool {
        !matches!(self.mem, Mem::Foreign(_))
    }
}

/// The whole huge pages of a range of `map`.
fn huge(map: &Anon, range: &Range<usize>) -> Option<Range<usize>> {
    let before = map.as_ptr().align_offset(HUGE) % HUGE;
    let start = range.start.saturating_sub(before).next_multiple_of(HUGE) + before;
    let end = range.end.checked_sub(before)? / HUGE * HUGE + before;
    (start < end).then_some(start..end)
}

fn populate(map: &Anon, guard: &Guard, range: Range<usize>) -> Result<()> {
    guard.allow(range.len())?;
    let huge = huge(map, &range);
    if let Some(h) = &huge {
        map.huge_pages(h.clone(), true);
    }
    // SAFETY: a range is secured before its first use, by the one who owns the memory (cells that were just placed).
    let done = unsafe { map.populate(range) };
    if let Some(h) = huge {
        // Pages stay as they are; parts that are given back and wanted again come back small.
        map.huge_pages(h, false);
    }
    done
}

impl Buffer for CpuBuffer {
    fn device(&self) -> DeviceId {
        self.device
    }
    fn len(&self) -> usize {
        match &self.mem {
            Mem::Lazy(a) | Mem::Parts(a, _) => a.len(),
            Mem::Heap(h) => h.len(),
            Mem::File(f) => f.len(),
            Mem::Foreign(f) => f.bytes().len(),
        }
    }
    fn host(&self) -> Option<HostMem> {
        Some(HostMem { base: self.base(), len: self.len(), writable: self.writable() })
    }
    fn write(&self, list: &[Copy2d], src: &[u8]) -> Result<()> {
        if !self.writable() {
            return Err(Error::invalid("write to a read-only buffer"));
        }
        if !list.iter().all(|c| c.fits(self.len(), src.len())) {
            return Err(Error::invalid("copy outside a buffer"));
        }
        // SAFETY: `fits` was checked for both sides; the caller owns the rows it writes (contract of the memory room: rows of a block belong to
        // one writer), and `src` is a separate borrow.
        unsafe { copy(list, self.base(), src.as_ptr()) };
        Ok(())
    }
    fn read(&self, list: &[Copy2d], dst: &mut [u8]) -> Result<()> {
        if !list.iter().all(|c| c.fits(dst.len(), self.len())) {
            return Err(Error::invalid("copy outside a buffer"));
        }
        // SAFETY: `fits` was checked for both sides; `dst` is an exclusive borrow.
        unsafe { copy(list, dst.as_mut_ptr(), self.base()) };
        Ok(())
    }
    fn lend(&self, ranges: &[Range<usize>], f: &mut dyn FnMut(&mut [IoSliceMut<'_>]) -> Result<()>) -> Result<()> {
        if !self.writable() {
            return Err(Error::invalid("write to a read-only buffer"));
        }
        let mut sorted: Vec<&Range<usize>> = ranges.iter().collect();
        sorted.sort_unstable_by_key(|r| r.start);
        let apart = sorted.windows(2).all(|w| w[0].end <= w[1].start);
        if !apart || !sorted.iter().all(|r| r.start <= r.end && r.end <= self.len()) {
            return Err(Error::invalid("ranges that overlap or lie outside a buffer"));
        }
        // SAFETY: inside the map and apart from each other; the caller owns the rows, as in `write`.
        let part = |r: &Range<usize>| unsafe { std::slice::from_raw_parts_mut(self.base().add(r.start), r.len()) };
        let mut parts: Vec<IoSliceMut<'_>> = ranges.iter().map(|r| IoSliceMut::new(part(r))).collect();
        f(&mut parts)
    }
    fn secure(&self, range: Range<usize>) -> Result<()> {
        match &self.mem {
            // SAFETY: a range is secured before its first use, by the one who owns the memory (a block that was just placed).
            Mem::Lazy(a) => unsafe { a.populate(range) },
            Mem::Parts(a, guard) => self.beside(a, &range, || populate(a, guard, range.clone())),
            Mem::File(f) => f.populate(range),
            Mem::Heap(_) | Mem::Foreign(_) => Ok(()),
        }
    }
    fn release(&self, range: Range<usize>) {
        let done = match &self.mem {
            // SAFETY: a range is released when nobody uses it any more (a block without cells).
            Mem::Lazy(a) | Mem::Parts(a, _) => unsafe { a.release(range) },
            // SAFETY: as above.
            Mem::File(f) => unsafe { f.release(range) },
            Mem::Heap(_) | Mem::Foreign(_) => Ok(()),
        };
        if let Err(e) = done {
            platform::log::warn(e);
        }
    }
    fn releases(&self) -> bool {
        matches!(self.mem, Mem::Parts(..) | Mem::File(_))
    }
    fn rest(&self, busy: &dyn Fn() -> bool) {
        if let Mem::File(f) = &self.mem {
            f.rest(busy);
        }
    }
    fn rests(&self) -> bool {
        matches!(self.mem, Mem::File(_))
    }
    fn home(&self, range: Range<usize>, node: u32) {
        // Heaps and files are left to the system.
        if let (Some(nodes), Mem::Parts(a, _)) = (&self.nodes, &self.mem) {
            let node = (node as usize).min(nodes.len() - 1);
            let end = range.end.next_multiple_of(platform::mmap::page_size());
            nodes.tell(node, a.as_ptr().wrapping_add(range.start), end.saturating_sub(range.start));
            self.homes.lock().unwrap_or_else(PoisonError::into_inner).push((range, node));
        }
    }
    fn lock(&self, range: Range<usize>) -> Result<()> {
        match &self.mem {
            Mem::Lazy(a) | Mem::Parts(a, _) => a.lock(range),
            Mem::Heap(_) | Mem::File(_) | Mem::Foreign(_) => Ok(()),
        }
    }
    fn resident(&self, range: Range<usize>) -> usize {
        let n = range.len();
        match &self.mem {
            Mem::Lazy(a) | Mem::Parts(a, _) => a.resident(range).unwrap_or(n),
            Mem::File(f) => f.resident(range).unwrap_or(n),
            Mem::Heap(_) | Mem::Foreign(_) => n,
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

/// See `Backend::relay`.
pub fn relay(isa: Isa, w: &Weight, rows: Range<usize>, layout: Layout, to: &dyn Buffer, at: usize) -> Result<()> {
    let (from, n) = (&w.shards[0], w.row_bytes() * rows.len());
    let start = from.at + w.row_bytes() * rows.start;
    let (Some(src), Some(dst)) = (from.buf.host(), to.host()) else {
        return Err(Error::invalid(format!("{}: not in host memory", w.name)));
    };
    if !dst.writable || start + n > src.len || at + n > dst.len || rows.end > w.shape[1] as usize * w.shape[2] as usize {
        return Err(Error::invalid(format!("{}: rows {rows:?} do not fit", w.name)));
    }
    let groups = if layout == Layout::Groups { rows.len() / ROW_GRANULE } else { 0 };
    let done = groups * ROW_GRANULE * w.row_bytes();
    // SAFETY: both ranges lie in their buffers (just checked), which are two; whoever settles weights has the target to himself.
    unsafe {
        let (src, dst) = (src.base.add(start), dst.base.add(at));
        quant::table(isa).to_groups()(w.ty, src, w.row_bytes(), groups, dst);
        src.add(done).copy_to_nonoverlapping(dst.add(done), n - done);
    }
    Ok(())
}
