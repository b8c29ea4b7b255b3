//! Initialisation, devices and their attributes, contexts.
use super::{CONTEXTS, Done, INVALID_CONTEXT, INVALID_VALUE, In, NAMES, NO_DEVICE, Out, State, call, current_context, early, in_context};
use std::ffi::{CStr, c_char};

const NAME: &[u8] = b"Camelid mock device\0";

#[unsafe(no_mangle)]
extern "C" fn cuInit(flags: u32) -> u32 {
    early("cuInit", |s| {
        if s.config.init != 0 {
            return Err(s.config.init);
        }
        if flags != 0 {
            return Err(INVALID_VALUE);
        }
        if s.devices.is_empty() {
            return Err(NO_DEVICE);
        }
        s.is_ready = true;
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDriverGetVersion(version: Out<i32>) -> u32 {
    early("cuDriverGetVersion", |s| version.put(s.config.driver))
}

fn name_of(
    name: &'static str,
    code: u32,
    out: Out<*const c_char>,
    pick: impl Fn(&(u32, &'static CStr, &'static CStr)) -> &'static CStr,
) -> u32 {
    early(name, |_| match NAMES.iter().find(|n| n.0 == code) {
        Some(n) => out.put(pick(n).as_ptr()),
        None => {
            out.put(std::ptr::null())?;
            Err(INVALID_VALUE)
        }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuGetErrorName(code: u32, out: Out<*const c_char>) -> u32 {
    name_of("cuGetErrorName", code, out, |n| n.1)
}

#[unsafe(no_mangle)]
extern "C" fn cuGetErrorString(code: u32, out: Out<*const c_char>) -> u32 {
    name_of("cuGetErrorString", code, out, |n| n.2)
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetCount(count: Out<i32>) -> u32 {
    call("cuDeviceGetCount", |s| count.put(s.devices.len() as i32))
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGet(device: Out<i32>, ordinal: i32) -> u32 {
    call("cuDeviceGet", |s| {
        s.device(ordinal)?;
        device.put(ordinal)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetName(name: Out<u8>, len: i32, device: i32) -> u32 {
    call("cuDeviceGetName", |s| {
        s.device(device)?;
        let Some(room) = usize::try_from(len).ok().filter(|n| *n > 0 && !name.is_null()) else { return Err(INVALID_VALUE) };
        let mut text = NAME[..NAME.len().min(room)].to_vec();
        text[NAME.len().min(room) - 1] = 0;
        name.put_all(&text);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceTotalMem_v2(bytes: Out<usize>, device: i32) -> u32 {
    call("cuDeviceTotalMem_v2", |s| {
        s.device(device)?;
        bytes.put(s.config.memory as usize)
    })
}

fn uuid(device: i32) -> [u8; 16] {
    let mut id = *b"camelid-mock-gpu";
    id[15] = device as u8;
    id
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetUuid_v2(id: Out<u8>, device: i32) -> u32 {
    call("cuDeviceGetUuid_v2", |s| {
        s.device(device)?;
        if id.is_null() {
            return Err(INVALID_VALUE);
        }
        id.put_all(&uuid(device));
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetUuid(id: Out<u8>, device: i32) -> u32 {
    cuDeviceGetUuid_v2(id, device)
}

fn pci(device: i32) -> String {
    format!("0000:{:02x}:00.0", device + 1)
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetPCIBusId(id: Out<u8>, len: i32, device: i32) -> u32 {
    call("cuDeviceGetPCIBusId", |s| {
        s.device(device)?;
        let mut text = pci(device).into_bytes();
        text.push(0);
        if id.is_null() || len < text.len() as i32 {
            return Err(INVALID_VALUE);
        }
        id.put_all(&text);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetByPCIBusId(device: Out<i32>, id: In<c_char>) -> u32 {
    call("cuDeviceGetByPCIBusId", |s| {
        let id = id.text()?;
        let found = (0..s.devices.len() as i32).find(|d| pci(*d) == id).ok_or(INVALID_VALUE)?;
        device.put(found)
    })
}

/// Shared memory that a block may ask for, and that a multiprocessor has, in KiB.
pub fn shared_kib(cc: u32) -> (i32, i32) {
    match cc {
        ..80 => (64, 64),
        80 | 87 => (163, 164),
        81..90 | 120.. => (99, 100),
        _ => (227, 228),
    }
}

/// CUdevice_attribute by number: those that have an answer other than 0.
fn attribute(s: &State, attribute: i32, device: i32) -> i32 {
    let cc = s.config.cc;
    let (block, all) = shared_kib(cc);
    match attribute {
        // Threads of a block, its sides, sides of a grid.
        1..=3 => 1024,
        4 => 64,
        5 => i32::MAX,
        6 | 7 => 65535,
        8 => 48 << 10,
        9 => 64 << 10,
        10 => 32,
        12 | 82 => 65536,
        13 => 1_500_000,
        14 => 512,
        // Copies run beside kernels; multiprocessors.
        15 => 1,
        16 => 4,
        // Maps host memory, kernels side by side.
        19 | 31 => 1,
        33 => device + 1,
        36 => 5_000_000,
        37 => 1024,
        38 => 16 << 20,
        39 => 2048,
        40 => 2,
        41 => 1,
        75 => (cc / 10) as i32,
        76 => (cc % 10) as i32,
        // Priorities, caching in L1, managed memory, host registration, pageable: no.
        78..=80 => 1,
        81 => all << 10,
        83 => 1,
        91 | 92 | 99 | 113 => 1,
        97 => block << 10,
        // Virtual memory; reserved shared memory; memory pools.
        102 => 1,
        111 => 1024,
        115 => 1,
        106 => 16,
        _ => 0,
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetAttribute(value: Out<i32>, which: i32, device: i32) -> u32 {
    call("cuDeviceGetAttribute", |s| {
        s.device(device)?;
        if which <= 0 {
            return Err(INVALID_VALUE);
        }
        value.put(attribute(s, which, device))
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceCanAccessPeer(can: Out<i32>, device: i32, peer: i32) -> u32 {
    call("cuDeviceCanAccessPeer", |s| {
        s.device(device)?;
        s.device(peer)?;
        can.put((device != peer) as i32)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxEnablePeerAccess(peer: usize, flags: u32) -> u32 {
    in_context("cuCtxEnablePeerAccess", |s, device| {
        let other = *s.contexts.get(peer).map_err(|_| INVALID_CONTEXT)?;
        if flags != 0 || other == device { Err(INVALID_VALUE) } else { Ok(()) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDevicePrimaryCtxRetain(ctx: Out<usize>, device: i32) -> u32 {
    call("cuDevicePrimaryCtxRetain", |s| {
        s.device(device)?.retained += 1;
        ctx.put(s.primary[device as usize])
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDevicePrimaryCtxRelease_v2(device: i32) -> u32 {
    call("cuDevicePrimaryCtxRelease_v2", |s| {
        let d = s.device(device)?;
        d.retained = d.retained.checked_sub(1).ok_or(INVALID_CONTEXT)?;
        if d.retained == 0 {
            s.forget_device(device as usize);
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDevicePrimaryCtxReset_v2(device: i32) -> u32 {
    call("cuDevicePrimaryCtxReset_v2", |s| {
        s.device(device)?.failed = None;
        s.forget_device(device as usize);
        Ok(())
    })
}

impl State {
    /// What a context takes with it.
    fn forget_device(&mut self, device: usize) {
        self.functions.retain(|f| f.device != device);
        self.modules.retain(|m| m.device != device);
        self.streams.retain(|s| s.device != device);
        self.free_device(device);
        self.devices[device].used = 0;
        self.devices[device].failed = None;
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuDevicePrimaryCtxGetState(device: i32, flags: Out<u32>, active: Out<i32>) -> u32 {
    call("cuDevicePrimaryCtxGetState", |s| {
        let d = s.device(device)?;
        flags.put(d.flags)?;
        active.put((d.retained > 0) as i32)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDevicePrimaryCtxSetFlags_v2(device: i32, flags: u32) -> u32 {
    call("cuDevicePrimaryCtxSetFlags_v2", |s| {
        s.device(device)?.flags = flags;
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDevicePrimaryCtxSetFlags(device: i32, flags: u32) -> u32 {
    cuDevicePrimaryCtxSetFlags_v2(device, flags)
}

fn known(s: &State, ctx: usize) -> Done {
    s.contexts.get(ctx).map(|_| ()).map_err(|_| INVALID_CONTEXT)
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSetCurrent(ctx: usize) -> u32 {
    call("cuCtxSetCurrent", |s| {
        if ctx != 0 {
            known(s, ctx)?;
        }
        CONTEXTS.with_borrow_mut(|c| {
            c.pop();
            if ctx != 0 {
                c.push(ctx);
            }
        });
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxGetCurrent(ctx: Out<usize>) -> u32 {
    call("cuCtxGetCurrent", |_| ctx.put(current_context()))
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxPushCurrent_v2(ctx: usize) -> u32 {
    call("cuCtxPushCurrent_v2", |s| {
        known(s, ctx)?;
        CONTEXTS.with_borrow_mut(|c| c.push(ctx));
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxPopCurrent_v2(ctx: Out<usize>) -> u32 {
    call("cuCtxPopCurrent_v2", |_| {
        let last = CONTEXTS.with_borrow_mut(|c| c.pop()).ok_or(INVALID_CONTEXT)?;
        ctx.put_if_wanted(last);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxGetDevice(device: Out<i32>) -> u32 {
    in_context("cuCtxGetDevice", |_, d| device.put(d as i32))
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSynchronize() -> u32 {
    in_context("cuCtxSynchronize", |s, device| s.not_capturing(device))
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxGetStreamPriorityRange(least: Out<i32>, greatest: Out<i32>) -> u32 {
    in_context("cuCtxGetStreamPriorityRange", |_, _| {
        least.put_if_wanted(0);
        greatest.put_if_wanted(-5);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSetLimit(_limit: u32, _value: usize) -> u32 {
    in_context("cuCtxSetLimit", |_, _| Ok(()))
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxGetApiVersion(ctx: usize, version: Out<u32>) -> u32 {
    call("cuCtxGetApiVersion", |s| {
        known(s, ctx)?;
        version.put(3020)
    })
}
