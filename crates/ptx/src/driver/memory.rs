//! Device memory, copies and fills.
use super::graph::Work;
use super::{Done, ILLEGAL_ADDRESS, INVALID_VALUE, In, OUT_OF_MEMORY, Out, State, in_context};
use crate::memory::{DEVICE_BASE, Kind};

impl State {
    pub fn allocate(&mut self, device: usize, len: u64) -> Result<u64, u32> {
        if len == 0 {
            return Err(INVALID_VALUE);
        }
        self.charge(device, len)?;
        self.memory.allocate(device, len).ok_or(OUT_OF_MEMORY)
    }

    /// Takes `len` bytes of a device's memory into account.
    pub fn charge(&mut self, device: usize, len: u64) -> Done {
        let d = &mut self.devices[device];
        let len = len.next_multiple_of(512);
        if len > self.config.memory - d.used.min(self.config.memory) {
            return Err(OUT_OF_MEMORY);
        }
        d.used += len;
        Ok(())
    }

    pub fn refund(&mut self, device: usize, len: u64) {
        let d = &mut self.devices[device];
        d.used = d.used.saturating_sub(len.next_multiple_of(512));
    }

    pub fn free(&mut self, at: u64) -> Done {
        let device = self.memory.find(at, 1).map(|i| self.memory.region(i).device).ok_or(INVALID_VALUE)?;
        let (len, _) = self.memory.remove(at, |k| k == Kind::Device).ok_or(INVALID_VALUE)?;
        self.refund(device, len);
        Ok(())
    }

    pub fn free_device(&mut self, device: usize) {
        let mine: Vec<u64> =
            self.memory.regions_mut().iter().filter(|r| r.device == device && r.kind == Kind::Device).map(|r| r.base).collect();
        for at in mine {
            self.memory.remove(at, |k| k == Kind::Device);
        }
    }

    /// Between any two addresses, of the host or of a device.
    pub fn copy(&mut self, to: u64, from: u64, len: u64) -> Done {
        if len == 0 {
            return Ok(());
        }
        if to == 0 || from == 0 {
            return Err(INVALID_VALUE);
        }
        match (to >= DEVICE_BASE, from >= DEVICE_BASE) {
            (true, true) => {
                let bytes = self.memory.read(from, len).ok_or(INVALID_VALUE)?;
                self.memory.write(to, &bytes).ok_or(INVALID_VALUE)
            }
            (true, false) => {
                // SAFETY: an address of the host is one that the caller may read for this call: the API's contract.
                let bytes = unsafe { std::slice::from_raw_parts(from as *const u8, len as usize) };
                self.memory.write(to, bytes).ok_or(INVALID_VALUE)
            }
            (false, true) => self.copy_out(to, from, len),
            (false, false) => {
                // SAFETY: both are the caller's, to read and to write; they may overlap.
                unsafe { std::ptr::copy(from as *const u8, to as *mut u8, len as usize) };
                Ok(())
            }
        }
    }

    fn copy_out(&mut self, mut to: u64, from: u64, len: u64) -> Done {
        for (i, offset, part) in self.memory.pieces(from, len).ok_or(INVALID_VALUE)? {
            let bytes = &self.memory.bytes(i)[offset..offset + part];
            // SAFETY: the caller may write what it asked to have copied; device memory is not the host's, so the two are apart.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to as *mut u8, part) };
            to += part as u64;
        }
        Ok(())
    }

    pub fn fill(&mut self, to: u64, value: u32, size: u64, count: u64) -> Done {
        if !to.is_multiple_of(size) {
            return Err(INVALID_VALUE);
        }
        let one = value.to_le_bytes();
        for (i, offset, part) in self.memory.pieces(to, size * count).ok_or(INVALID_VALUE)? {
            for chunk in self.memory.bytes_mut(i)[offset..offset + part].chunks_exact_mut(size as usize) {
                chunk.copy_from_slice(&one[..size as usize]);
            }
        }
        Ok(())
    }

    /// What a copy's kind is, by where it goes.
    fn kind(&self, to: u64, from: u64) -> &'static str {
        match (to >= DEVICE_BASE, from >= DEVICE_BASE) {
            (true, true) => "DtoD",
            (true, false) => "HtoD",
            (false, true) => "DtoH",
            (false, false) => "HtoH",
        }
    }

    /// The device's side of a copy is known when it is asked for, not only when it is done.
    fn is_there(&self, at: u64, len: u64) -> Done {
        if len == 0 || at != 0 && (at < DEVICE_BASE || self.memory.pieces(at, len).is_some()) { Ok(()) } else { Err(INVALID_VALUE) }
    }

    fn queue_copy(&mut self, device: usize, stream: usize, [to, from, len]: [u64; 3]) -> Done {
        self.is_there(to, len)?;
        self.is_there(from, len)?;
        let kind = self.kind(to, from);
        self.submit(device, stream, Work::Copy { to, from, len, kind })
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuMemGetInfo_v2(free: Out<usize>, total: Out<usize>) -> u32 {
    in_context("cuMemGetInfo_v2", |s, device| {
        let all = s.config.memory;
        free.put((all - s.devices[device].used.min(all)) as usize)?;
        total.put(all as usize)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemAlloc_v2(at: Out<u64>, len: usize) -> u32 {
    in_context("cuMemAlloc_v2", |s, device| {
        s.not_capturing(device)?;
        if at.is_null() {
            return Err(INVALID_VALUE);
        }
        at.put(s.allocate(device, len as u64)?)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFree_v2(at: u64) -> u32 {
    in_context("cuMemFree_v2", |s, device| {
        if at == 0 {
            return Ok(());
        }
        s.not_capturing(device)?;
        s.free(at)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemAllocAsync(at: Out<u64>, len: usize, stream: usize) -> u32 {
    in_context("cuMemAllocAsync", |s, device| {
        s.stream_is(stream)?;
        s.not_capturing(device)?;
        at.put(s.allocate(device, len as u64)?)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFreeAsync(at: u64, stream: usize) -> u32 {
    in_context("cuMemFreeAsync", |s, device| {
        s.memory.find(at, 1).ok_or(INVALID_VALUE)?;
        s.submit(device, stream, Work::Free { at })
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemGetAddressRange_v2(base: Out<u64>, len: Out<usize>, at: u64) -> u32 {
    in_context("cuMemGetAddressRange_v2", |s, _| {
        let i = s.memory.find(at, 1).ok_or(super::NOT_FOUND)?;
        let r = s.memory.region(i);
        base.put_if_wanted(r.base);
        len.put_if_wanted(r.len as usize);
        Ok(())
    })
}

/// A copy that is done when the call returns.
fn copy_now(name: &'static str, to: u64, from: u64, len: usize) -> u32 {
    in_context(name, |s, device| {
        s.not_capturing(device)?;
        s.queue_copy(device, 0, [to, from, len as u64])
    })
}

fn copy_later(name: &'static str, to: u64, from: u64, len: usize, stream: usize) -> u32 {
    in_context(name, |s, device| s.queue_copy(device, stream, [to, from, len as u64]))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyHtoD_v2(to: u64, from: u64, len: usize) -> u32 {
    copy_now("cuMemcpyHtoD_v2", to, from, len)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyDtoH_v2(to: u64, from: u64, len: usize) -> u32 {
    copy_now("cuMemcpyDtoH_v2", to, from, len)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyDtoD_v2(to: u64, from: u64, len: usize) -> u32 {
    copy_now("cuMemcpyDtoD_v2", to, from, len)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpy(to: u64, from: u64, len: usize) -> u32 {
    copy_now("cuMemcpy", to, from, len)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyHtoDAsync_v2(to: u64, from: u64, len: usize, stream: usize) -> u32 {
    copy_later("cuMemcpyHtoDAsync_v2", to, from, len, stream)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyDtoHAsync_v2(to: u64, from: u64, len: usize, stream: usize) -> u32 {
    copy_later("cuMemcpyDtoHAsync_v2", to, from, len, stream)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, len: usize, stream: usize) -> u32 {
    copy_later("cuMemcpyDtoDAsync_v2", to, from, len, stream)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyAsync(to: u64, from: u64, len: usize, stream: usize) -> u32 {
    copy_later("cuMemcpyAsync", to, from, len, stream)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyPeerAsync(to: u64, _to_ctx: usize, from: u64, _from_ctx: usize, len: usize, stream: usize) -> u32 {
    copy_later("cuMemcpyPeerAsync", to, from, len, stream)
}

/// CUDA_MEMCPY2D_v2: of source and destination each x in bytes, y, memory type, host, device, array, pitch; then width and height.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Rows {
    from: [u64; 7],
    to: [u64; 7],
    width: u64,
    height: u64,
}

/// Address and pitch of one side, if it is no array.
fn side([x, y, memory, host, device, _, pitch]: [u64; 7], width: u64) -> Result<(u64, u64), u32> {
    let pitch = if pitch == 0 { width } else { pitch };
    let base = match memory as u32 {
        1 => host,
        2 | 4 => device,
        _ => return Err(INVALID_VALUE),
    };
    if x + width > pitch || base == 0 { Err(INVALID_VALUE) } else { Ok((base + y * pitch + x, pitch)) }
}

fn rows(s: &mut State, device: usize, stream: usize, what: In<Rows>) -> Done {
    let Rows { from, to, width, height } = what.get(0)?;
    if width == 0 || height == 0 {
        return Ok(());
    }
    let (from, to) = (side(from, width)?, side(to, width)?);
    for (at, pitch) in [from, to] {
        s.is_there(at, (height - 1) * pitch + width)?;
    }
    s.submit(device, stream, Work::Rows { to, from, width, height })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpy2DAsync_v2(what: In<Rows>, stream: usize) -> u32 {
    in_context("cuMemcpy2DAsync_v2", |s, device| rows(s, device, stream, what))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpy2D_v2(what: In<Rows>) -> u32 {
    in_context("cuMemcpy2D_v2", |s, device| {
        s.not_capturing(device)?;
        rows(s, device, 0, what)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpy2DUnaligned_v2(what: In<Rows>) -> u32 {
    cuMemcpy2D_v2(what)
}

/// CUmemcpyAttributes: order of access, hints of two locations, flags.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CopyAttributes {
    order: u32,
    hints: [u32; 4],
    flags: u32,
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyBatchAsync(
    to: In<u64>,
    from: In<u64>,
    sizes: In<usize>,
    count: usize,
    attributes: In<CopyAttributes>,
    first_of: In<usize>,
    n_attributes: usize,
    failed: Out<usize>,
    stream: usize,
) -> u32 {
    in_context("cuMemcpyBatchAsync", |s, device| {
        failed.put_if_wanted(usize::MAX);
        // The legacy stream cannot have batches; every copy needs the attributes before it, from the first on.
        if count == 0 || stream < 2 || n_attributes == 0 || n_attributes > count || first_of.get(0)? != 0 {
            return Err(INVALID_VALUE);
        }
        for i in 0..n_attributes {
            if !(1..=3).contains(&attributes.get(i)?.order) {
                return Err(INVALID_VALUE);
            }
        }
        for i in 0..count {
            let copy = [to.get(i)?, from.get(i)?, sizes.get(i)? as u64];
            if let Err(code) = if copy[2] == 0 { Err(INVALID_VALUE) } else { s.queue_copy(device, stream, copy) } {
                failed.put_if_wanted(i);
                return Err(code);
            }
        }
        Ok(())
    })
}

fn fill(name: &'static str, stream: Option<usize>, to: u64, value: u32, size: u64, count: usize) -> u32 {
    in_context(name, |s, device| {
        if stream.is_none() {
            s.not_capturing(device)?;
        }
        if count == 0 {
            return Ok(());
        }
        s.is_there(to, size * count as u64)?;
        s.submit(device, stream.unwrap_or(0), Work::Fill { to, value, size, count: count as u64 })
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD8_v2(to: u64, value: u8, count: usize) -> u32 {
    fill("cuMemsetD8_v2", None, to, value.into(), 1, count)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD8Async(to: u64, value: u8, count: usize, stream: usize) -> u32 {
    fill("cuMemsetD8Async", Some(stream), to, value.into(), 1, count)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD16Async(to: u64, value: u16, count: usize, stream: usize) -> u32 {
    fill("cuMemsetD16Async", Some(stream), to, value.into(), 2, count)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD32_v2(to: u64, value: u32, count: usize) -> u32 {
    fill("cuMemsetD32_v2", None, to, value, 4, count)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD32Async(to: u64, value: u32, count: usize, stream: usize) -> u32 {
    fill("cuMemsetD32Async", Some(stream), to, value, 4, count)
}

/// CUpointer_attribute: the ones that have an answer here.
#[unsafe(no_mangle)]
extern "C" fn cuPointerGetAttribute(data: Out<u64>, attribute: i32, at: u64) -> u32 {
    in_context("cuPointerGetAttribute", |s, _| {
        let i = s.memory.find(at, 1).ok_or(INVALID_VALUE)?;
        let r = s.memory.region(i);
        let is_host = matches!(r.kind, Kind::Pinned | Kind::Registered);
        let small = |v: u32| Out::<u32>(data.0.cast()).put(v);
        match attribute {
            1 => data.put(s.primary[r.device] as u64),
            // CU_MEMORYTYPE_HOST or _DEVICE
            2 => small(if is_host { 1 } else { 2 }),
            3 => data.put(at),
            4 if is_host => data.put(at),
            4 => Err(INVALID_VALUE),
            9 => small(r.device as u32),
            11 => data.put(r.base),
            12 => data.put(r.len),
            _ => Err(INVALID_VALUE),
        }
    })
}

/// What a kernel that failed leaves: see `State::current`.
pub fn sticky(s: &mut State, device: usize, code: u32) -> Done {
    s.devices[device].failed = Some(code);
    Err(if code == 0 { ILLEGAL_ADDRESS } else { code })
}
