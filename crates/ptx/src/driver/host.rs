//! Host memory that the device reaches: what the driver gives, and what a caller registers.
use super::{ALREADY_REGISTERED, INVALID_VALUE, NOT_REGISTERED, OUT_OF_MEMORY, Out, in_context};
use crate::memory::Kind;
use std::collections::BTreeMap;

/// The blocks that `cuMemHostAlloc` gave, by address. A page each at least, as the driver aligns them.
#[derive(Default)]
pub struct Pinned {
    blocks: BTreeMap<u64, Box<[Page]>>,
}

#[repr(C, align(4096))]
#[derive(Clone, Copy)]
struct Page([u8; 4096]);

fn allocate(name: &'static str, at: Out<u64>, len: usize, flags: u32) -> u32 {
    in_context(name, |s, device| {
        s.not_capturing(device)?;
        if len == 0 || flags > 7 || at.is_null() {
            return Err(INVALID_VALUE);
        }
        let n = len.div_ceil(4096);
        let mut pages: Vec<Page> = Vec::new();
        pages.try_reserve_exact(n).map_err(|_| OUT_OF_MEMORY)?;
        pages.resize(n, Page([0xff; 4096]));
        let mut pages = pages.into_boxed_slice();
        let data: *mut u8 = pages.as_mut_ptr().cast();
        if !s.memory.add_host(data, len as u64, Kind::Pinned, device) {
            return Err(INVALID_VALUE);
        }
        s.pinned.blocks.insert(data as u64, pages);
        at.put(data as u64)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemHostAlloc(at: Out<u64>, len: usize, flags: u32) -> u32 {
    allocate("cuMemHostAlloc", at, len, flags)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemAllocHost_v2(at: Out<u64>, len: usize) -> u32 {
    allocate("cuMemAllocHost_v2", at, len, 0)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFreeHost(at: u64) -> u32 {
    in_context("cuMemFreeHost", |s, device| {
        s.not_capturing(device)?;
        s.memory.remove(at, |k| k == Kind::Pinned).ok_or(INVALID_VALUE)?;
        s.pinned.blocks.remove(&at);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemHostRegister_v2(at: u64, len: usize, flags: u32) -> u32 {
    in_context("cuMemHostRegister_v2", |s, device| {
        s.not_capturing(device)?;
        if at == 0 || len == 0 || flags > 15 {
            return Err(INVALID_VALUE);
        }
        if s.memory.add_host(at as *mut u8, len as u64, Kind::Registered, device) { Ok(()) } else { Err(ALREADY_REGISTERED) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemHostUnregister(at: u64) -> u32 {
    in_context("cuMemHostUnregister", |s, _| s.memory.remove(at, |k| k == Kind::Registered).map(|_| ()).ok_or(NOT_REGISTERED))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemHostGetDevicePointer_v2(out: Out<u64>, at: u64, flags: u32) -> u32 {
    in_context("cuMemHostGetDevicePointer_v2", |s, _| {
        let i = s.memory.find(at, 1).filter(|_| flags == 0).ok_or(INVALID_VALUE)?;
        if matches!(s.memory.region(i).kind, Kind::Pinned | Kind::Registered) { out.put(at) } else { Err(INVALID_VALUE) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemHostGetFlags(flags: Out<u32>, at: u64) -> u32 {
    in_context("cuMemHostGetFlags", |s, _| {
        s.memory.find(at, 1).ok_or(INVALID_VALUE)?;
        flags.put(2)
    })
}
