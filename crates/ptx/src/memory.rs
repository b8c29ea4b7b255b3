//! Device memory: ranges of addresses that the host cannot follow, each with its bytes, and host memory that was pinned, under its own addresses.
//! Every access is looked up; what lies in no range is a fault.

/// Where addresses of device memory begin: beyond what a user process of x86-64 can have.
pub const DEVICE_BASE: u64 = 0x0000_9000_0000_0000;
/// The windows of shared and local memory in generic addresses.
pub const SHARED_WINDOW: u64 = 0x0000_a000_0000_0000;
pub const LOCAL_WINDOW: u64 = 0x0000_b000_0000_0000;
/// What cuMemAlloc aligns to.
pub const ALIGNMENT: u64 = 256;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// cuMemAlloc, and variables of modules.
    Device,
    /// Pages that cuMemMap put there; accessible once cuMemSetAccess said so.
    Mapped { handle: u64, accessible: bool },
    /// cuMemHostAlloc
    Pinned,
    /// cuMemHostRegister
    Registered,
}

/// One range. Its bytes live as long as it is in the list.
pub struct Region {
    pub base: u64,
    pub len: u64,
    pub kind: Kind,
    pub device: usize,
    data: *mut u8,
}

// SAFETY: the pointer is to bytes that the region owns or that a caller pinned; they are reached under the driver's lock alone.
unsafe impl Send for Region {}

#[derive(Default)]
pub struct Memory {
    /// By address, never overlapping.
    regions: Vec<Region>,
    /// Addresses given out so far: none is given twice, so that what was freed stays a fault.
    used: u64,
}

/// A pattern that is NaN as f16, bf16, f32 and f64, and no valid index: what fresh memory holds.
const POISON: u8 = 0xff;
/// Larger ranges are zeros from the system, which cost nothing until they are touched.
const POISON_UP_TO: u64 = 64 << 20;

/// Bytes of one's own: poisoned, or zeros.
pub fn fresh_bytes(len: u64) -> Option<Box<[u8]>> {
    let len = usize::try_from(len).ok()?;
    let mut bytes: Vec<u8> = Vec::new();
    bytes.try_reserve_exact(len).ok()?;
    drop(bytes);
    let byte = if len as u64 <= POISON_UP_TO { POISON } else { 0 };
    Some(vec![byte; len].into_boxed_slice())
}

impl Memory {
    /// Addresses that nobody had: a gap follows, where runs over the end are found.
    pub fn reserve(&mut self, len: u64, align: u64) -> u64 {
        let at = (DEVICE_BASE + self.used).next_multiple_of(align.max(ALIGNMENT));
        self.used = at + len.next_multiple_of(ALIGNMENT) + ALIGNMENT - DEVICE_BASE;
        at
    }

    /// Device memory of `len` bytes.
    pub fn allocate(&mut self, device: usize, len: u64) -> Option<u64> {
        let bytes = fresh_bytes(len)?;
        let base = self.reserve(len, ALIGNMENT);
        let data = Box::into_raw(bytes).cast();
        self.insert(Region { base, len, kind: Kind::Device, device, data });
        Some(base)
    }

    /// Host memory under its own address: `len` bytes at `data` that stay there until `remove`.
    pub fn add_host(&mut self, data: *mut u8, len: u64, kind: Kind, device: usize) -> bool {
        let base = data as u64;
        self.add(Region { base, len, kind, device, data })
    }

    /// Bytes that somebody else owns, under a device address.
    pub fn add_mapped(&mut self, base: u64, data: *mut u8, len: u64, handle: u64, device: usize) -> bool {
        self.add(Region { base, len, kind: Kind::Mapped { handle, accessible: false }, device, data })
    }

    fn add(&mut self, region: Region) -> bool {
        let at = self.regions.partition_point(|r| r.base + r.len <= region.base);
        if self.regions.get(at).is_some_and(|r| r.base < region.base + region.len) {
            return false;
        }
        self.insert(region);
        true
    }

    fn insert(&mut self, region: Region) {
        let at = self.regions.partition_point(|r| r.base < region.base);
        self.regions.insert(at, region);
    }

    /// Takes the range that begins at `base` out, if it is of that kind.
    pub fn remove(&mut self, base: u64, is: impl Fn(Kind) -> bool) -> Option<(u64, Kind)> {
        let at = self.regions.binary_search_by_key(&base, |r| r.base).ok()?;
        if !is(self.regions[at].kind) {
            return None;
        }
        let r = self.regions.remove(at);
        if r.kind == Kind::Device {
            let bytes = std::ptr::slice_from_raw_parts_mut(r.data, r.len as usize);
            // SAFETY: `allocate` made these bytes of a box of that length, and the region, now gone, was the only one to have them.
            drop(unsafe { Box::from_raw(bytes) });
        }
        Some((r.len, r.kind))
    }

    /// The range that holds all of `len` bytes at `address`.
    pub fn find(&self, address: u64, len: u64) -> Option<usize> {
        let at = self.regions.partition_point(|r| r.base <= address).checked_sub(1)?;
        let r = &self.regions[at];
        let inside = address - r.base <= r.len && len <= r.len - (address - r.base);
        (inside && !matches!(r.kind, Kind::Mapped { accessible: false, .. })).then_some(at)
    }

    pub fn region(&self, i: usize) -> &Region {
        &self.regions[i]
    }

    pub fn regions_mut(&mut self) -> &mut [Region] {
        &mut self.regions
    }

    pub fn bytes(&self, i: usize) -> &[u8] {
        let r = &self.regions[i];
        // SAFETY: a region's bytes live as long as it is in the list, and whoever holds `self` holds the lock.
        unsafe { std::slice::from_raw_parts(r.data, r.len as usize) }
    }

    pub fn bytes_mut(&mut self, i: usize) -> &mut [u8] {
        let r = &mut self.regions[i];
        // SAFETY: as above; `self` is borrowed for as long as the slice lives.
        unsafe { std::slice::from_raw_parts_mut(r.data, r.len as usize) }
    }

    /// The pieces of ranges that cover `len` bytes at `address`: (range, offset, bytes). None where one is missing.
    pub fn pieces(&self, mut address: u64, mut len: u64) -> Option<Vec<(usize, usize, usize)>> {
        let mut found = Vec::new();
        while len > 0 {
            let i = self.find(address, 1)?;
            let r = &self.regions[i];
            let offset = address - r.base;
            let part = len.min(r.len - offset);
            found.push((i, offset as usize, part as usize));
            address += part;
            len -= part;
        }
        Some(found)
    }

    pub fn read(&self, address: u64, len: u64) -> Option<Vec<u8>> {
        let pieces = self.pieces(address, len)?;
        let mut out = Vec::with_capacity(len as usize);
        for (i, offset, part) in pieces {
            out.extend_from_slice(&self.bytes(i)[offset..offset + part]);
        }
        Some(out)
    }

    pub fn write(&mut self, address: u64, bytes: &[u8]) -> Option<()> {
        let mut rest = bytes;
        for (i, offset, part) in self.pieces(address, bytes.len() as u64)? {
            self.bytes_mut(i)[offset..offset + part].copy_from_slice(&rest[..part]);
            rest = &rest[part..];
        }
        Some(())
    }

    /// What lies nearest: for the message of a fault.
    pub fn describe(&self, address: u64) -> String {
        let at = self.regions.partition_point(|r| r.base <= address);
        let before = at.checked_sub(1).map(|i| &self.regions[i]);
        match before {
            Some(r) if address - r.base < r.len + (1 << 20) => {
                format!("{} bytes past the start of {} bytes at {:#x} ({:?})", address - r.base, r.len, r.base, r.kind)
            }
            _ => match self.regions.get(at) {
                Some(r) if r.base - address < 1 << 20 => format!("{} bytes before {} bytes at {:#x}", r.base - address, r.len, r.base),
                _ => "far from any memory".to_owned(),
            },
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let bases: Vec<u64> = self.regions.iter().map(|r| r.base).collect();
        for base in bases {
            self.remove(base, |k| k == Kind::Device);
        }
    }
}
