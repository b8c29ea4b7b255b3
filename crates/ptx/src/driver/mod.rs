//! The C face: what all functions of the driver share. One lock around one state; every call is counted, refused before `cuInit`, and after a
//! kernel that failed, as a device does.
mod device;
mod graph;
mod host;
mod memory;
mod module;
mod procs;
mod report;
mod stream;
mod vmm;

use crate::memory::Memory;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, c_char};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

/// CUresult.
pub type Code = u32;
pub type Done = Result<(), Code>;

pub const INVALID_VALUE: Code = 1;
pub const OUT_OF_MEMORY: Code = 2;
pub const NOT_INITIALIZED: Code = 3;
pub const NO_DEVICE: Code = 100;
pub const INVALID_DEVICE: Code = 101;
pub const INVALID_IMAGE: Code = 200;
pub const INVALID_CONTEXT: Code = 201;
pub const NO_BINARY_FOR_GPU: Code = 209;
pub const INVALID_PTX: Code = 218;
pub const UNSUPPORTED_PTX_VERSION: Code = 222;
pub const INVALID_HANDLE: Code = 400;
pub const ILLEGAL_STATE: Code = 401;
pub const NOT_FOUND: Code = 500;
pub const NOT_READY: Code = 600;
pub const ILLEGAL_ADDRESS: Code = 700;
pub const LAUNCH_OUT_OF_RESOURCES: Code = 701;
pub const LAUNCH_TIMEOUT: Code = 702;
pub const ASSERT: Code = 710;
pub const ALREADY_REGISTERED: Code = 712;
pub const NOT_REGISTERED: Code = 713;
pub const MISALIGNED_ADDRESS: Code = 716;
pub const LAUNCH_FAILED: Code = 719;
pub const NOT_SUPPORTED: Code = 801;
pub const CAPTURE_UNSUPPORTED: Code = 900;
pub const CAPTURE_INVALIDATED: Code = 901;
pub const CAPTURE_UNMATCHED: Code = 903;
pub const CAPTURE_IMPLICIT: Code = 906;
pub const CAPTURED_EVENT: Code = 907;
pub const EXEC_UPDATE_FAILURE: Code = 910;

/// Errors with their names, as the driver spells them, and a few words.
pub const NAMES: &[(Code, &CStr, &CStr)] = &[
    (0, c"CUDA_SUCCESS", c"no error"),
    (INVALID_VALUE, c"CUDA_ERROR_INVALID_VALUE", c"invalid argument"),
    (OUT_OF_MEMORY, c"CUDA_ERROR_OUT_OF_MEMORY", c"out of memory"),
    (NOT_INITIALIZED, c"CUDA_ERROR_NOT_INITIALIZED", c"initialization error"),
    (4, c"CUDA_ERROR_DEINITIALIZED", c"driver shutting down"),
    (NO_DEVICE, c"CUDA_ERROR_NO_DEVICE", c"no CUDA-capable device is detected"),
    (INVALID_DEVICE, c"CUDA_ERROR_INVALID_DEVICE", c"invalid device ordinal"),
    (INVALID_IMAGE, c"CUDA_ERROR_INVALID_IMAGE", c"device kernel image is invalid"),
    (INVALID_CONTEXT, c"CUDA_ERROR_INVALID_CONTEXT", c"invalid device context"),
    (NO_BINARY_FOR_GPU, c"CUDA_ERROR_NO_BINARY_FOR_GPU", c"no kernel image is available for execution on the device"),
    (INVALID_PTX, c"CUDA_ERROR_INVALID_PTX", c"a PTX JIT compilation failed"),
    (UNSUPPORTED_PTX_VERSION, c"CUDA_ERROR_UNSUPPORTED_PTX_VERSION", c"the provided PTX was compiled with an unsupported toolchain."),
    (INVALID_HANDLE, c"CUDA_ERROR_INVALID_HANDLE", c"invalid resource handle"),
    (ILLEGAL_STATE, c"CUDA_ERROR_ILLEGAL_STATE", c"the operation cannot be performed in the present state"),
    (NOT_FOUND, c"CUDA_ERROR_NOT_FOUND", c"named symbol not found"),
    (NOT_READY, c"CUDA_ERROR_NOT_READY", c"device not ready"),
    (ILLEGAL_ADDRESS, c"CUDA_ERROR_ILLEGAL_ADDRESS", c"an illegal memory access was encountered"),
    (LAUNCH_OUT_OF_RESOURCES, c"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", c"too many resources requested for launch"),
    (LAUNCH_TIMEOUT, c"CUDA_ERROR_LAUNCH_TIMEOUT", c"the launch timed out and was terminated"),
    (ASSERT, c"CUDA_ERROR_ASSERT", c"device-side assert triggered"),
    (ALREADY_REGISTERED, c"CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED", c"part or all of the requested memory range is already mapped"),
    (NOT_REGISTERED, c"CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED", c"pointer does not correspond to a registered memory region"),
    (MISALIGNED_ADDRESS, c"CUDA_ERROR_MISALIGNED_ADDRESS", c"misaligned address"),
    (LAUNCH_FAILED, c"CUDA_ERROR_LAUNCH_FAILED", c"unspecified launch failure"),
    (NOT_SUPPORTED, c"CUDA_ERROR_NOT_SUPPORTED", c"operation not supported"),
    (CAPTURE_UNSUPPORTED, c"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", c"operation not permitted when stream is capturing"),
    (CAPTURE_INVALIDATED, c"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", c"operation failed due to a previous error during capture"),
    (CAPTURE_UNMATCHED, c"CUDA_ERROR_STREAM_CAPTURE_UNMATCHED", c"capture was not initiated in this stream"),
    (
        CAPTURE_IMPLICIT,
        c"CUDA_ERROR_STREAM_CAPTURE_IMPLICIT",
        c"operation would make the legacy stream depend on a capturing blocking stream",
    ),
    (CAPTURED_EVENT, c"CUDA_ERROR_CAPTURED_EVENT", c"operation not permitted on an event last recorded in a capturing stream"),
    (
        EXEC_UPDATE_FAILURE,
        c"CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE",
        c"the graph update was not performed because it included changes which violated constraints",
    ),
    (999, c"CUDA_ERROR_UNKNOWN", c"unknown error"),
];

/// Where a caller wants a result. NULL is an error, or nothing where the function says so.
#[repr(transparent)]
pub struct Out<T>(*mut T);

impl<T> Out<T> {
    pub fn put(&self, value: T) -> Done {
        if self.0.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the driver API's contract: a pointer for a result that is not NULL points to room for it.
        unsafe { self.0.write_unaligned(value) };
        Ok(())
    }

    pub fn put_if_wanted(&self, value: T) {
        let _ = self.put(value);
    }

    pub fn is_null(&self) -> bool {
        self.0.is_null()
    }

    /// `n` values, one after the other.
    pub fn put_all(&self, values: &[T])
    where
        T: Copy,
    {
        for (i, v) in values.iter().enumerate() {
            // SAFETY: as above; the caller of the API said that there is room for that many.
            unsafe { self.0.add(i).write_unaligned(*v) };
        }
    }
}

/// What a caller gives by address.
#[repr(transparent)]
pub struct In<T>(*const T);

impl<T: Copy> In<T> {
    pub fn get(&self, i: usize) -> Result<T, Code> {
        if self.0.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the driver API's contract: an array that is not NULL has the elements that the call speaks of.
        Ok(unsafe { self.0.add(i).read_unaligned() })
    }

    pub fn is_null(&self) -> bool {
        self.0.is_null()
    }
}

impl In<c_char> {
    pub fn text(&self) -> Result<&'static str, Code> {
        if self.0.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the contract again: a text that ends with a zero. It is read before the call returns.
        let text = unsafe { CStr::from_ptr(self.0) };
        text.to_str().map_err(|_| INVALID_VALUE)
    }
}

/// What the environment says.
pub struct Config {
    pub devices: usize,
    pub memory: u64,
    pub driver: i32,
    pub cc: u32,
    pub init: Code,
    pub count_file: Option<String>,
}

impl Config {
    fn read() -> Config {
        let number = |name: &str, default: u64| {
            std::env::var(format!("CAMELID_MOCK_CUDA_{name}")).ok().and_then(|v| v.trim().parse().ok()).unwrap_or(default)
        };
        Config {
            devices: number("DEVICES", 1).min(64) as usize,
            memory: number("MEMORY", 2 << 30),
            driver: number("DRIVER", 12080) as i32,
            cc: number("CC", 90) as u32,
            init: number("INIT", 0) as Code,
            count_file: std::env::var("CAMELID_MOCK_CUDA_COUNT").ok().filter(|f| !f.is_empty()),
        }
    }
}

#[derive(Default, Clone)]
pub struct Device {
    pub used: u64,
    pub retained: u32,
    pub flags: u32,
    /// The error that a kernel left: every later call gets it.
    pub failed: Option<Code>,
}

/// Things that C knows by a pointer it must not follow. No number is given twice, to whatever kind of thing.
pub struct Table<T> {
    items: BTreeMap<usize, T>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table { items: BTreeMap::new() }
    }
}

/// Beyond what a process can have, as device addresses are, and apart from those.
const HANDLES: usize = 0x0000_c000_0000_0000;

impl<T> Table<T> {
    pub fn add(&mut self, next: &mut usize, item: T) -> usize {
        *next += 16;
        self.items.insert(HANDLES + *next, item);
        HANDLES + *next
    }

    pub fn get(&self, handle: usize) -> Result<&T, Code> {
        self.items.get(&handle).ok_or(INVALID_HANDLE)
    }

    pub fn get_mut(&mut self, handle: usize) -> Result<&mut T, Code> {
        self.items.get_mut(&handle).ok_or(INVALID_HANDLE)
    }

    pub fn remove(&mut self, handle: usize) -> Result<T, Code> {
        self.items.remove(&handle).ok_or(INVALID_HANDLE)
    }

    pub fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.items.retain(|_, v| keep(v));
    }
}

pub struct State {
    pub config: Config,
    pub is_ready: bool,
    pub devices: Vec<Device>,
    pub memory: Memory,
    pub next: usize,
    /// A context is the number of its device.
    pub contexts: Table<usize>,
    pub primary: Vec<usize>,
    pub modules: Table<module::Loaded>,
    pub functions: Table<module::Function>,
    pub streams: Table<stream::Stream>,
    pub events: Table<stream::Event>,
    pub graphs: Table<graph::Graph>,
    pub execs: Table<graph::Graph>,
    pub pinned: host::Pinned,
    pub virtual_memory: vmm::Virtual,
    pub calls: HashMap<&'static str, u64>,
    pub copied: BTreeMap<&'static str, (u64, u64)>,
}

impl State {
    fn new() -> State {
        let config = Config::read();
        let devices = vec![Device::default(); config.devices];
        let mut s = State {
            config,
            is_ready: false,
            devices,
            memory: Memory::default(),
            next: 0,
            contexts: Table::default(),
            primary: Vec::new(),
            modules: Table::default(),
            functions: Table::default(),
            streams: Table::default(),
            events: Table::default(),
            graphs: Table::default(),
            execs: Table::default(),
            pinned: host::Pinned::default(),
            virtual_memory: vmm::Virtual::default(),
            calls: HashMap::new(),
            copied: BTreeMap::new(),
        };
        s.primary = (0..s.devices.len()).map(|d| s.contexts.add(&mut s.next, d)).collect();
        s
    }

    pub fn device(&mut self, ordinal: i32) -> Result<&mut Device, Code> {
        usize::try_from(ordinal).ok().and_then(|d| self.devices.get_mut(d)).ok_or(INVALID_DEVICE)
    }

    /// The device of the context that this thread works in, which must not have failed.
    pub fn current(&self) -> Result<usize, Code> {
        let device = *self.contexts.get(current_context()).map_err(|_| INVALID_CONTEXT)?;
        match self.devices[device] {
            Device { failed: Some(code), .. } => Err(code),
            Device { retained: 0, .. } => Err(INVALID_CONTEXT),
            _ => Ok(device),
        }
    }
}

static STATE: LazyLock<Mutex<State>> = LazyLock::new(|| Mutex::new(State::new()));

pub fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    static CONTEXTS: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

pub fn current_context() -> usize {
    CONTEXTS.with_borrow(|c| c.last().copied().unwrap_or(0))
}

/// A call that may come before `cuInit`.
pub fn early(name: &'static str, f: impl FnOnce(&mut State) -> Done) -> Code {
    let mut s = state();
    *s.calls.entry(name).or_default() += 1;
    let code = f(&mut s).err().unwrap_or(0);
    if code != 0 && std::env::var_os("CAMELID_MOCK_CUDA_TRACE").is_some() {
        eprintln!("mock libcuda: {name}: error {code}");
    }
    code
}

pub fn call(name: &'static str, f: impl FnOnce(&mut State) -> Done) -> Code {
    early(name, |s| if s.is_ready { f(s) } else { Err(NOT_INITIALIZED) })
}

/// A call that needs a context; it gets its device.
pub fn in_context(name: &'static str, f: impl FnOnce(&mut State, usize) -> Done) -> Code {
    call(name, |s| {
        let device = s.current()?;
        f(s, device)
    })
}
