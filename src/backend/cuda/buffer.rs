//! Device memory as buffers: in one piece, or granule by granule as ranges are secured.
use super::driver::{Granule, Lazy, Memory};
use super::gpu::{Gpu, Host};
use crate::backend::{Buffer, Copy2d, DeviceId, HostMem};
use platform::{Error, Result};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

pub struct CudaBuffer {
    device: DeviceId,
    gpu: Arc<Gpu>,
    len: usize,
    bytes: Bytes,
}

enum Bytes {
    Whole(Memory),
    Lazy { at: Lazy, taken: Mutex<Taken> },
}

/// What was secured, and the memory behind it.
#[derive(Default)]
struct Taken {
    spans: Spans,
    granules: Vec<Option<Granule>>,
}
// SAFETY: handles.
unsafe impl Send for Taken {}

/// Disjoint ranges, by their beginnings.
#[derive(Default, Debug, PartialEq, Eq)]
struct Spans(BTreeMap<usize, usize>);

impl Spans {
    fn touches(&self, r: &Range<usize>) -> bool {
        self.0.range(..r.end).next_back().is_some_and(|(_, end)| *end > r.start)
    }
    fn remove(&mut self, r: &Range<usize>) {
        let hit: Vec<(usize, usize)> = self.0.range(..r.end).rev().map(|(a, b)| (*a, *b)).take_while(|(_, b)| *b > r.start).collect();
        for (a, b) in hit {
            self.0.remove(&a);
            if a < r.start {
                self.0.insert(a, r.start);
            }
            if b > r.end {
                self.0.insert(r.end, b);
            }
        }
    }
    fn insert(&mut self, r: &Range<usize>) {
        if !r.is_empty() {
            self.remove(r);
            self.0.insert(r.start, r.end);
        }
    }
}

impl CudaBuffer {
    /// Zeroed memory.
    pub fn new(device: DeviceId, gpu: &Arc<Gpu>, len: usize, what: &str) -> Result<CudaBuffer> {
        let memory = Memory::new(&gpu.ctx, len, what)?;
        // SAFETY: just allocated.
        unsafe { gpu.ctx.zero(memory.at, len) }?;
        Ok(CudaBuffer { device, gpu: gpu.clone(), len, bytes: Bytes::Whole(memory) })
    }

    /// Addresses alone: memory comes with `secure`.
    pub fn lazy(device: DeviceId, gpu: &Arc<Gpu>, len: usize, what: &str) -> Result<CudaBuffer> {
        let at = Lazy::new(&gpu.ctx, len).map_err(|e| e.within(what))?;
        let mut granules = Vec::new();
        granules.resize_with(at.len / gpu.ctx.granule(), || None);
        let taken = Mutex::new(Taken { spans: Spans::default(), granules });
        Ok(CudaBuffer { device, gpu: gpu.clone(), len, bytes: Bytes::Lazy { at, taken } })
    }

    fn at(&self) -> u64 {
        match &self.bytes {
            Bytes::Whole(m) => m.at,
            Bytes::Lazy { at, .. } => at.at,
        }
    }

    fn granules(&self, r: &Range<usize>) -> Range<usize> {
        let g = self.gpu.ctx.granule();
        r.start / g..r.end.div_ceil(g)
    }

    /// Whether copies stay inside of what is there.
    fn check(&self, list: &[Copy2d], reads: bool, other: usize) -> Result<()> {
        let fits = |c: &Copy2d| if reads { c.fits(other, self.len) } else { c.fits(self.len, other) };
        let spans = match &self.bytes {
            Bytes::Whole(_) => None,
            Bytes::Lazy { taken, .. } => Some(lock(taken)),
        };
        let there = |c: &Copy2d| {
            let (first, pitch) = if reads { (c.from, c.from_pitch) } else { (c.at, c.at_pitch) };
            let backed = |t: &Taken, i: usize| {
                let at = first + i * pitch;
                self.granules(&(at..at + c.width)).all(|g| t.granules.get(g).is_some_and(Option::is_some))
            };
            spans.as_ref().is_none_or(|t| (0..c.rows).all(|i| backed(t, i)))
        };
        if list.iter().all(|c| fits(c) && there(c)) { Ok(()) } else { Err(Error::invalid("copy outside a buffer")) }
    }
}

fn lock(t: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    t.lock().unwrap_or_else(|p| p.into_inner())
}

impl Buffer for CudaBuffer {
    fn device(&self) -> DeviceId {
        self.device
    }
    fn len(&self) -> usize {
        self.len
    }
    fn host(&self) -> Option<HostMem> {
        None
    }
    fn address(&self) -> Option<u64> {
        Some(self.at())
    }
    fn write(&self, list: &[Copy2d], src: &[u8]) -> Result<()> {
        self.check(list, false, src.len())?;
        // SAFETY: checked.
        unsafe { self.gpu.copy(self.at(), list, Host::From(src)) }
    }
    fn read(&self, list: &[Copy2d], dst: &mut [u8]) -> Result<()> {
        self.check(list, true, dst.len())?;
        // SAFETY: checked.
        unsafe { self.gpu.copy(self.at(), list, Host::To(dst)) }
    }
    fn secure(&self, range: Range<usize>) -> Result<()> {
        let Bytes::Lazy { at, taken } = &self.bytes else { return Ok(()) };
        let t = &mut *lock(taken);
        let mut new = Vec::new();
        for i in self.granules(&range) {
            if t.granules.get(i).is_none_or(Option::is_some) {
                continue;
            }
            match at.back(i) {
                Ok(g) => {
                    t.granules[i] = Some(g);
                    new.push(i);
                }
                Err(e) => {
                    new.into_iter().for_each(|i| t.granules[i].take().into_iter().for_each(|g| at.bare(i, g)));
                    return Err(e);
                }
            }
        }
        t.spans.insert(&range);
        Ok(())
    }
    fn release(&self, range: Range<usize>) {
        let Bytes::Lazy { at, taken } = &self.bytes else { return };
        let (t, size) = (&mut *lock(taken), self.gpu.ctx.granule());
        t.spans.remove(&range);
        for i in self.granules(&range) {
            if !t.spans.touches(&(i * size..(i + 1) * size)) {
                t.granules.get_mut(i).and_then(Option::take).into_iter().for_each(|g| at.bare(i, g));
            }
        }
    }
    fn releases(&self) -> bool {
        matches!(self.bytes, Bytes::Lazy { .. })
    }
    fn resident(&self, range: Range<usize>) -> usize {
        let Bytes::Lazy { taken, .. } = &self.bytes else { return range.len() };
        let (t, size) = (lock(taken), self.gpu.ctx.granule());
        let part = |i: usize| range.end.min((i + 1) * size) - range.start.max(i * size);
        self.granules(&range).filter(|i| t.granules.get(*i).is_some_and(Option::is_some)).map(part).sum()
    }
}

impl Drop for CudaBuffer {
    fn drop(&mut self) {
        if let Bytes::Lazy { at, taken } = &self.bytes {
            let granules = std::mem::take(&mut lock(taken).granules);
            granules.into_iter().enumerate().for_each(|(i, g)| g.into_iter().for_each(|g| at.bare(i, g)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn spans_are_sets(ops in prop::collection::vec((any::<bool>(), 0usize..60, 0usize..20), 0..40)) {
            let (mut spans, mut set) = (Spans::default(), [false; 80]);
            for (add, at, len) in ops {
                let r = at..at + len;
                if add { spans.insert(&r) } else { spans.remove(&r) }
                set[r].fill(add);
                for (i, there) in set.iter().enumerate() {
                    prop_assert_eq!(spans.touches(&(i..i + 1)), *there);
                }
                let ends: Vec<_> = spans.0.iter().collect();
                prop_assert!(ends.windows(2).all(|w| w[0].1 <= w[1].0));
            }
        }
    }
}
