//! Virtual memory: addresses that are reserved, memory that is created, and one mapped to the other in pieces.
use super::{Done, INVALID_VALUE, In, OUT_OF_MEMORY, Out, State, call, in_context};
use crate::memory::{Kind, fresh_bytes};
use std::collections::BTreeMap;

/// What memory is made of.
pub const GRANULARITY: u64 = 2 << 20;

#[derive(Default)]
pub struct Virtual {
    reserved: BTreeMap<u64, u64>,
    chunks: BTreeMap<u64, Chunk>,
    next: u64,
}

struct Chunk {
    bytes: Box<[u8]>,
    device: usize,
    maps: usize,
    /// Released by its owner: it goes with its last mapping.
    is_released: bool,
}

/// CUmemAllocationProp.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Properties {
    kind: u32,
    handles: u32,
    location: [i32; 2],
    security: usize,
    flags: u64,
}

/// CUmemAccessDesc: the kind and number of a place, what it may do.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Access {
    location: [i32; 2],
    flags: u32,
}

fn whole(len: u64) -> Done {
    if len > 0 && len.is_multiple_of(GRANULARITY) { Ok(()) } else { Err(INVALID_VALUE) }
}

#[unsafe(no_mangle)]
extern "C" fn cuMemGetAllocationGranularity(granularity: Out<usize>, properties: In<Properties>, _option: u32) -> u32 {
    call("cuMemGetAllocationGranularity", |s| {
        s.device(properties.get(0)?.location[1])?;
        granularity.put(GRANULARITY as usize)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemAddressReserve(at: Out<u64>, len: usize, align: usize, _hint: u64, flags: u64) -> u32 {
    in_context("cuMemAddressReserve", |s, _| {
        whole(len as u64)?;
        if flags != 0 || align != 0 && !align.is_power_of_two() {
            return Err(INVALID_VALUE);
        }
        let base = s.memory.reserve(len as u64, GRANULARITY.max(align as u64));
        s.virtual_memory.reserved.insert(base, len as u64);
        at.put(base)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemAddressFree(at: u64, len: usize) -> u32 {
    in_context("cuMemAddressFree", |s, _| {
        if s.virtual_memory.reserved.get(&at) != Some(&(len as u64)) || s.is_mapped(at, len as u64) {
            return Err(INVALID_VALUE);
        }
        s.virtual_memory.reserved.remove(&at);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemCreate(handle: Out<u64>, len: usize, properties: In<Properties>, flags: u64) -> u32 {
    in_context("cuMemCreate", |s, _| {
        whole(len as u64)?;
        let p = properties.get(0)?;
        // CU_MEM_ALLOCATION_TYPE_PINNED on a CU_MEM_LOCATION_TYPE_DEVICE is all there is here.
        if p.kind != 1 || p.location[0] != 1 || flags != 0 {
            return Err(INVALID_VALUE);
        }
        s.device(p.location[1])?;
        let device = p.location[1] as usize;
        s.charge(device, len as u64)?;
        let Some(bytes) = fresh_bytes(len as u64) else {
            s.refund(device, len as u64);
            return Err(OUT_OF_MEMORY);
        };
        s.virtual_memory.next += 1;
        let id = 0x7000_0000 + s.virtual_memory.next;
        s.virtual_memory.chunks.insert(id, Chunk { bytes, device, maps: 0, is_released: false });
        handle.put(id)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemRelease(handle: u64) -> u32 {
    in_context("cuMemRelease", |s, _| {
        let c = s.virtual_memory.chunks.get_mut(&handle).filter(|c| !c.is_released).ok_or(INVALID_VALUE)?;
        c.is_released = true;
        s.drop_unused(handle);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemMap(at: u64, len: usize, offset: usize, handle: u64, flags: u64) -> u32 {
    in_context("cuMemMap", |s, _| {
        whole(len as u64)?;
        let inside = s.virtual_memory.reserved.range(..=at).next_back().is_some_and(|(base, n)| at - base + len as u64 <= *n);
        let c = s.virtual_memory.chunks.get_mut(&handle).filter(|c| !c.is_released).ok_or(INVALID_VALUE)?;
        // The driver maps a handle as a whole.
        if !inside || offset != 0 || flags != 0 || len != c.bytes.len() || !at.is_multiple_of(GRANULARITY) {
            return Err(INVALID_VALUE);
        }
        if !s.memory.add_mapped(at, c.bytes.as_mut_ptr(), len as u64, handle, c.device) {
            return Err(INVALID_VALUE);
        }
        c.maps += 1;
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemUnmap(at: u64, len: usize) -> u32 {
    in_context("cuMemUnmap", |s, _| {
        let maps = s.mapped(at, len as u64);
        if maps.iter().map(|m| m.1).sum::<u64>() != len as u64 || maps.is_empty() {
            return Err(INVALID_VALUE);
        }
        for (base, _) in maps {
            if let Some((_, Kind::Mapped { handle, .. })) = s.memory.remove(base, |k| matches!(k, Kind::Mapped { .. })) {
                if let Some(c) = s.virtual_memory.chunks.get_mut(&handle) {
                    c.maps -= 1;
                }
                s.drop_unused(handle);
            }
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemSetAccess(at: u64, len: usize, who: In<Access>, n: usize) -> u32 {
    in_context("cuMemSetAccess", |s, _| {
        let maps = s.mapped(at, len as u64);
        if n == 0 || maps.iter().map(|m| m.1).sum::<u64>() != len as u64 {
            return Err(INVALID_VALUE);
        }
        for i in 0..n {
            let a = who.get(i)?;
            s.device(a.location[1])?;
            let may = a.flags == 3;
            for r in s.memory.regions_mut().iter_mut().filter(|r| r.base >= at && r.base < at + len as u64) {
                if let Kind::Mapped { accessible, .. } = &mut r.kind {
                    *accessible = may;
                }
            }
        }
        Ok(())
    })
}

impl State {
    /// Mappings that lie wholly in a range: address and bytes.
    fn mapped(&mut self, at: u64, len: u64) -> Vec<(u64, u64)> {
        let inside = |r: &&mut crate::memory::Region| {
            r.base >= at && r.base + r.len <= at.saturating_add(len) && matches!(r.kind, Kind::Mapped { .. })
        };
        self.memory.regions_mut().iter_mut().filter(inside).map(|r| (r.base, r.len)).collect()
    }

    fn is_mapped(&mut self, at: u64, len: u64) -> bool {
        !self.mapped(at, len).is_empty()
    }

    fn drop_unused(&mut self, handle: u64) {
        let Some(c) = self.virtual_memory.chunks.get(&handle).filter(|c| c.is_released && c.maps == 0) else { return };
        let (device, len) = (c.device, c.bytes.len() as u64);
        self.virtual_memory.chunks.remove(&handle);
        self.refund(device, len);
    }
}
