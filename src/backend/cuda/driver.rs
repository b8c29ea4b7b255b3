//! The driver, `libcuda.so.1`: found when the process first asks for devices, or not. The one place that calls it.
//!
//! Everything that owns something of the driver gives it back when it is dropped; nothing here knows kernels or buffers.
use cudarc::driver::sys::{self as cu, CUresult};
use platform::{Error, Result, log};
use std::ffi::{CStr, CString, c_int, c_void};
use std::sync::{Arc, OnceLock};

/// Every function that is called below: a driver that lacks one is too old.
const NEEDED: &[&str] = &[
    "cuInit",
    "cuDriverGetVersion",
    "cuGetErrorName",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuDeviceGetName",
    "cuDeviceTotalMem_v2",
    "cuDeviceGetAttribute",
    "cuDevicePrimaryCtxRetain",
    "cuCtxSetCurrent",
    "cuMemGetInfo_v2",
    "cuMemAlloc_v2",
    "cuMemFree_v2",
    "cuMemHostAlloc",
    "cuMemFreeHost",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemsetD8Async",
    "cuMemAddressReserve",
    "cuMemAddressFree",
    "cuMemGetAllocationGranularity",
    "cuMemCreate",
    "cuMemRelease",
    "cuMemMap",
    "cuMemUnmap",
    "cuMemSetAccess",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamSynchronize",
    "cuEventCreate",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuEventDestroy_v2",
    "cuModuleLoadData",
    "cuModuleUnload",
    "cuModuleGetFunction",
    "cuFuncSetAttribute",
    "cuLaunchKernel",
];
/// What our PTX (8.2) asks for.
const LEAST: c_int = 12020;
/// Compute capability that it is made for, times ten.
const LEAST_DEVICE: c_int = 75;

/// What is known of a device before it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    pub ordinal: i32,
    pub name: String,
    pub bytes: u64,
    /// Compute capability times ten.
    pub capability: i32,
    /// Its memory is the host's.
    pub integrated: bool,
    /// "0000:01:00.0"
    pub bus_id: String,
}

/// The devices of this process, asked for once: none without a driver, silently; none with a line where there is one of no use.
pub fn devices() -> &'static [Info] {
    static LIST: OnceLock<Vec<Info>> = OnceLock::new();
    LIST.get_or_init(|| {
        // cudarc panics where it looks in vain.
        let found = std::panic::catch_unwind(find).unwrap_or_else(|_| Err(Error::unsupported("the driver cannot be used")));
        found.unwrap_or_else(|e| {
            log::warn(e.within("CUDA: no devices"));
            Vec::new()
        })
    })
}

fn find() -> Result<Vec<Info>> {
    // SAFETY: looks for a library by name; its constructors are the driver's.
    if !unsafe { cu::is_culib_present() } {
        return Ok(Vec::new());
    }
    // SAFETY: it is present.
    let lib = unsafe { cu::culib() };
    // SAFETY: the symbol is looked for, not called.
    let lacks = |name: &&&str| unsafe { lib.get::<*const ()>(name.as_bytes()).is_err() };
    if let Some(name) = NEEDED.iter().find(lacks) {
        return Err(Error::unsupported(format!("the driver has no {name}")));
    }
    // SAFETY: no arguments that could be wrong.
    let rc = unsafe { cu::cuInit(0) };
    if matches!(rc, CUresult::CUDA_ERROR_NO_DEVICE | CUresult::CUDA_ERROR_STUB_LIBRARY) {
        return Ok(Vec::new());
    }
    done("cuInit", rc)?;
    let mut version = 0;
    // SAFETY: a place for a number.
    done("cuDriverGetVersion", unsafe { cu::cuDriverGetVersion(&mut version) })?;
    if version < LEAST {
        return Err(Error::unsupported(format!("the driver is of CUDA {}, {} is needed", dotted(version), dotted(LEAST))));
    }
    let mut n = 0;
    // SAFETY: a place for a number.
    done("cuDeviceGetCount", unsafe { cu::cuDeviceGetCount(&mut n) })?;
    let all = (0..n).map(info).collect::<Result<Vec<Info>>>()?;
    let (fit, old): (Vec<Info>, Vec<Info>) = all.into_iter().partition(|d| d.capability >= LEAST_DEVICE);
    old.iter().for_each(|d| {
        log::warn(format!("CUDA: {} is left out: compute capability {} is below 7.5", d.name, f64::from(d.capability) / 10.0))
    });
    Ok(fit)
}

fn dotted(version: c_int) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

fn info(ordinal: i32) -> Result<Info> {
    use cu::CUdevice_attribute as A;
    const ASKED: [A; 6] = [
        A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
        A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
        A::CU_DEVICE_ATTRIBUTE_INTEGRATED,
        A::CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID,
        A::CU_DEVICE_ATTRIBUTE_PCI_BUS_ID,
        A::CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID,
    ];
    let (mut dev, mut name, mut bytes) = (0, [0; 256], 0);
    let mut said = [0; ASKED.len()];
    // SAFETY: places for what is asked, and how long the name may be.
    unsafe {
        done("cuDeviceGet", cu::cuDeviceGet(&mut dev, ordinal))?;
        done("cuDeviceGetName", cu::cuDeviceGetName(name.as_mut_ptr(), name.len() as c_int - 1, dev))?;
        done("cuDeviceTotalMem", cu::cuDeviceTotalMem_v2(&mut bytes, dev))?;
        for (said, asked) in said.iter_mut().zip(ASKED) {
            done("cuDeviceGetAttribute", cu::cuDeviceGetAttribute(said, asked, dev))?;
        }
    }
    // SAFETY: the last byte is 0.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned();
    let [major, minor, integrated, domain, bus, device] = said;
    let bus_id = format!("{domain:04x}:{bus:02x}:{device:02x}.0");
    Ok(Info { ordinal, name, bytes: bytes as u64, capability: 10 * major + minor, integrated: integrated != 0, bus_id })
}

/// What a call said, by its name.
fn done(call: &str, rc: CUresult) -> Result<()> {
    if rc == CUresult::CUDA_SUCCESS {
        return Ok(());
    }
    let mut name = std::ptr::null();
    // SAFETY: a place for a pointer to a text that stays.
    let known = unsafe { cu::cuGetErrorName(rc, &mut name) } == CUresult::CUDA_SUCCESS && !name.is_null();
    // SAFETY: as above.
    let name = if known { unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned() } else { (rc as u32).to_string() };
    let text = format!("{call}: {name}");
    Err(if rc == CUresult::CUDA_ERROR_OUT_OF_MEMORY { Error::no_memory(text) } else { Error::new(platform::error::Kind::Io, text) })
}

/// A device's context, which every thread that calls it makes its own first.
pub struct Context {
    dev: cu::CUdevice,
    ctx: cu::CUcontext,
    stream: cu::CUstream,
    /// Bytes that memory is mapped in.
    granule: usize,
}
// SAFETY: the driver's handles may be used from any thread.
unsafe impl Send for Context {}
// SAFETY: as above; calls are ordered by the stream.
unsafe impl Sync for Context {}

impl Context {
    /// The device's primary context, kept for the life of the process as other libraries in it may use it too.
    pub fn new(ordinal: i32) -> Result<Context> {
        let mut c = Context { dev: 0, ctx: std::ptr::null_mut(), stream: std::ptr::null_mut(), granule: 0 };
        // SAFETY: places for what is made; the context is current when the stream is.
        unsafe {
            done("cuDeviceGet", cu::cuDeviceGet(&mut c.dev, ordinal))?;
            done("cuDevicePrimaryCtxRetain", cu::cuDevicePrimaryCtxRetain(&mut c.ctx, c.dev))?;
            done("cuCtxSetCurrent", cu::cuCtxSetCurrent(c.ctx))?;
            let flags = cu::CUstream_flags_enum::CU_STREAM_NON_BLOCKING as u32;
            done("cuStreamCreate", cu::cuStreamCreate(&mut c.stream, flags))?;
            let least = cu::CUmemAllocationGranularity_flags::CU_MEM_ALLOC_GRANULARITY_RECOMMENDED;
            done("cuMemGetAllocationGranularity", cu::cuMemGetAllocationGranularity(&mut c.granule, &c.properties(), least))?;
        }
        Ok(c)
    }

    fn properties(&self) -> cu::CUmemAllocationProp {
        // SAFETY: plain numbers and null pointers.
        let mut p: cu::CUmemAllocationProp = unsafe { std::mem::zeroed() };
        p.type_ = cu::CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED;
        p.location.type_ = cu::CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE;
        p.location.id = self.dev;
        p
    }

    /// Bytes that memory is mapped in.
    pub fn granule(&self) -> usize {
        self.granule
    }

    fn enter(&self) -> Result<()> {
        // SAFETY: a context that is retained.
        done("cuCtxSetCurrent", unsafe { cu::cuCtxSetCurrent(self.ctx) })
    }

    /// (free, total) bytes.
    pub fn memory(&self) -> Result<(u64, u64)> {
        self.enter()?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: places for two numbers.
        done("cuMemGetInfo", unsafe { cu::cuMemGetInfo_v2(&mut free, &mut total) })?;
        Ok((free as u64, total as u64))
    }

    /// Waits for all that was asked for; the first error of it.
    pub fn wait(&self) -> Result<()> {
        self.enter()?;
        // SAFETY: our stream.
        done("cuStreamSynchronize", unsafe { cu::cuStreamSynchronize(self.stream) })
    }

    /// Starts a copy to the device.
    ///
    /// # Safety
    /// `to` is device memory of at least `len` bytes; `from` stays as it is until `wait`.
    pub unsafe fn write(&self, to: u64, from: *const u8, len: usize) -> Result<()> {
        self.enter()?;
        // SAFETY: the caller's contract.
        done("cuMemcpyHtoD", unsafe { cu::cuMemcpyHtoDAsync_v2(to, from.cast(), len, self.stream) })
    }

    /// Starts a copy from the device.
    ///
    /// # Safety
    /// As `write`, `to` being written until `wait`.
    pub unsafe fn read(&self, to: *mut u8, from: u64, len: usize) -> Result<()> {
        self.enter()?;
        // SAFETY: the caller's contract.
        done("cuMemcpyDtoH", unsafe { cu::cuMemcpyDtoHAsync_v2(to.cast(), from, len, self.stream) })
    }

    /// Starts filling with zeros.
    ///
    /// # Safety
    /// Device memory of that length.
    pub unsafe fn zero(&self, at: u64, len: usize) -> Result<()> {
        self.enter()?;
        // SAFETY: the caller's contract.
        done("cuMemsetD8", unsafe { cu::cuMemsetD8Async(at, 0, len, self.stream) })
    }

    /// Starts a kernel.
    ///
    /// # Safety
    /// `args` are what the kernel takes, and what it is told to touch is there until `wait`.
    pub unsafe fn launch(&self, f: Function, grid: [u32; 3], threads: u32, shared: u32, args: &mut [*mut c_void]) -> Result<()> {
        self.enter()?;
        let [x, y, z] = grid;
        // SAFETY: the caller's contract.
        let rc = unsafe { cu::cuLaunchKernel(f.0, x, y, z, threads, 1, 1, shared, self.stream, args.as_mut_ptr(), std::ptr::null_mut()) };
        done("cuLaunchKernel", rc)
    }
}

/// Device memory, given back when it is dropped.
pub struct Memory {
    ctx: Arc<Context>,
    pub at: u64,
    pub len: usize,
}

impl Memory {
    pub fn new(ctx: &Arc<Context>, len: usize, what: &str) -> Result<Memory> {
        ctx.enter()?;
        let mut at = 0;
        // SAFETY: a place for an address.
        done("cuMemAlloc", unsafe { cu::cuMemAlloc_v2(&mut at, len.max(1)) }).map_err(|e| {
            let free = ctx.memory().map_or(0, |m| m.0);
            e.within(format!("{what}: {:.1} MiB are needed on the device, {:.1} are free", mib(len as u64), mib(free)))
        })?;
        Ok(Memory { ctx: ctx.clone(), at, len })
    }
}

pub fn mib(n: u64) -> f64 {
    n as f64 / f64::from(1 << 20)
}

impl Drop for Memory {
    fn drop(&mut self) {
        // What still runs may use it; memory of a broken context cannot be given back.
        let _ = self.ctx.wait();
        // SAFETY: ours, and nobody uses it any more.
        let _ = unsafe { cu::cuMemFree_v2(self.at) };
    }
}

/// Host memory that the device copies from and to without help.
pub struct Pinned {
    ctx: Arc<Context>,
    at: *mut u8,
    len: usize,
}
// SAFETY: bytes, owned.
unsafe impl Send for Pinned {}

impl Pinned {
    pub fn new(ctx: &Arc<Context>, len: usize) -> Result<Pinned> {
        ctx.enter()?;
        let mut at = std::ptr::null_mut();
        // SAFETY: a place for a pointer.
        done("cuMemHostAlloc", unsafe { cu::cuMemHostAlloc(&mut at, len.max(1), 0) })?;
        Ok(Pinned { ctx: ctx.clone(), at: at.cast(), len })
    }
    /// Its bytes; whoever started a copy waits before he asks again.
    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: ours, `len` bytes that the driver made usable.
        unsafe { std::slice::from_raw_parts_mut(self.at, self.len) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let _ = self.ctx.wait();
        // SAFETY: ours.
        let _ = unsafe { cu::cuMemFreeHost(self.at.cast()) };
    }
}

/// Addresses behind which there is memory only where it was asked for, in granules.
pub struct Lazy {
    ctx: Arc<Context>,
    pub at: u64,
    pub len: usize,
}

/// A granule of memory behind a `Lazy`.
pub struct Granule(cu::CUmemGenericAllocationHandle);

impl Lazy {
    pub fn new(ctx: &Arc<Context>, len: usize) -> Result<Lazy> {
        ctx.enter()?;
        let (mut at, len) = (0, len.max(1).next_multiple_of(ctx.granule));
        // SAFETY: a place for an address.
        done("cuMemAddressReserve", unsafe { cu::cuMemAddressReserve(&mut at, len, 0, 0, 0) })?;
        Ok(Lazy { ctx: ctx.clone(), at, len })
    }

    /// Memory behind granule `i`, which has none: zeros.
    pub fn back(&self, i: usize) -> Result<Granule> {
        self.ctx.enter()?;
        let (size, mut handle) = (self.ctx.granule, 0);
        let at = self.at + (i * size) as u64;
        let access = cu::CUmemAccessDesc {
            location: self.ctx.properties().location,
            flags: cu::CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_READWRITE,
        };
        // SAFETY: the range is reserved and has nothing behind it; what is made is released if it cannot be used.
        unsafe {
            done("cuMemCreate", cu::cuMemCreate(&mut handle, size, &self.ctx.properties(), 0))?;
            let used = done("cuMemMap", cu::cuMemMap(at, size, 0, handle, 0)).and_then(|()| {
                let set = done("cuMemSetAccess", cu::cuMemSetAccess(at, size, &access, 1));
                if set.is_err() {
                    let _ = cu::cuMemUnmap(at, size);
                }
                set
            });
            if let Err(e) = used {
                let _ = cu::cuMemRelease(handle);
                return Err(e);
            }
            self.ctx.zero(at, size)?;
        }
        Ok(Granule(handle))
    }

    /// Takes the memory behind granule `i` away.
    pub fn bare(&self, i: usize, g: Granule) {
        let _ = self.ctx.wait();
        // SAFETY: it is behind that granule, and nothing runs that could use it.
        unsafe {
            let _ = cu::cuMemUnmap(self.at + (i * self.ctx.granule) as u64, self.ctx.granule);
            let _ = cu::cuMemRelease(g.0);
        }
    }
}

impl Drop for Lazy {
    fn drop(&mut self) {
        let _ = self.ctx.enter();
        // SAFETY: its owner took away what was behind it.
        let _ = unsafe { cu::cuMemAddressFree(self.at, self.len) };
    }
}

/// Kernels that were loaded, kept for the life of the process.
pub struct Module(cu::CUmodule);
// SAFETY: a handle.
unsafe impl Send for Module {}

#[derive(Clone, Copy)]
pub struct Function(cu::CUfunction);
// SAFETY: a handle.
unsafe impl Send for Function {}

impl Module {
    pub fn new(ctx: &Context, ptx: &str) -> Result<Module> {
        ctx.enter()?;
        let text = CString::new(ptx).map_err(|_| Error::invalid("PTX with a zero in it"))?;
        let mut m = std::ptr::null_mut();
        // SAFETY: a text that ends.
        done("cuModuleLoadData", unsafe { cu::cuModuleLoadData(&mut m, text.as_ptr().cast()) })?;
        Ok(Module(m))
    }
    /// A kernel that may use so much shared memory.
    pub fn function(&self, ctx: &Context, name: &str, shared: u32) -> Result<Function> {
        ctx.enter()?;
        let (text, mut f) = (CString::new(name).map_err(|_| Error::invalid("a name with a zero in it"))?, std::ptr::null_mut());
        // SAFETY: a module that is loaded, a text that ends.
        done(name, unsafe { cu::cuModuleGetFunction(&mut f, self.0, text.as_ptr()) })?;
        if shared > 48 << 10 {
            let most = cu::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: a function of it.
            done("cuFuncSetAttribute", unsafe { cu::cuFuncSetAttribute(f, most, shared as c_int) })?;
        }
        Ok(Function(f))
    }
}
