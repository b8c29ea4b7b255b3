//! ggml-backend.h: devices and who speaks for them. libllama knows them; what they are does not change while the program runs.
use crate::abi::{ggml_backend_dev_caps, ggml_backend_dev_props};
use crate::ask::table;
use crate::backends::Backend;
use crate::buffer::{self, Buffer, BufferType};
use crate::log;
use crate::ptr;
use crate::table::camelid_ggml_device;
use crate::threads;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;

/// `GGML_BACKEND_DEVICE_TYPE_CPU`.
const CPU: c_int = 0;

/// Nobody outside looks into it.
pub struct Device {
    i: usize,
    name: &'static CStr,
    description: &'static CStr,
    kind: c_int,
}

/// Who speaks for devices: one, until there is a second kind of them.
pub struct Registry {
    name: &'static CStr,
}

static REGISTRY: Registry = Registry { name: c"CPU" };

fn ask(i: usize) -> Option<camelid_ggml_device> {
    let mut d = std::mem::MaybeUninit::uninit();
    let table = table()?;
    // SAFETY: room for one, written where the answer is true.
    unsafe { (table.device)(i, d.as_mut_ptr()).then(|| d.assume_init()) }
}

/// All of them; the CPU alone where there is no libllama to ask.
fn devices() -> &'static [Device] {
    static ALL: OnceLock<Vec<Device>> = OnceLock::new();
    static ALONE: [Device; 1] = [Device { i: 0, name: c"CPU", description: c"CPU", kind: CPU }];
    let Some(t) = table() else { return &ALONE };
    ALL.get_or_init(|| {
        // SAFETY: takes no pointers.
        let n = unsafe { (t.n_devices)() };
        // SAFETY: names are terminated strings that last for ever.
        let one = |i, d: camelid_ggml_device| unsafe {
            Some(Device { i, name: ptr::text(d.name)?, description: ptr::text(d.description)?, kind: d.kind })
        };
        (0..n).filter_map(|i| one(i, ask(i)?)).collect()
    })
}

/// The first CPU.
pub fn cpu() -> *const Device {
    devices().iter().find(|d| d.kind == CPU).map_or(std::ptr::null(), std::ptr::from_ref)
}

fn same(a: &CStr, b: &CStr) -> bool {
    a.to_bytes().eq_ignore_ascii_case(b.to_bytes())
}

// ---- devices

/// How many there are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_dev_count() -> usize {
    devices().len()
}

/// NULL where there is no such device.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_dev_get(index: usize) -> *const Device {
    devices().get(index).map_or(std::ptr::null(), std::ptr::from_ref)
}

/// Whatever the case of letters; NULL where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_dev_by_name(name: *const c_char) -> *const Device {
    // SAFETY: NULL or a terminated string.
    let Some(name) = (unsafe { ptr::text(name) }) else { return std::ptr::null() };
    devices().iter().find(|d| same(d.name, name)).map_or(std::ptr::null(), std::ptr::from_ref)
}

/// The first of that type; NULL where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_dev_by_type(kind: c_int) -> *const Device {
    devices().iter().find(|d| d.kind == kind).map_or(std::ptr::null(), std::ptr::from_ref)
}

/// "CPU" and the like; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_dev_name(device: Option<&Device>) -> *const c_char {
    device.map_or(std::ptr::null(), |d| d.name.as_ptr())
}

/// What its maker calls it; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_dev_description(device: Option<&Device>) -> *const c_char {
    device.map_or(std::ptr::null(), |d| d.description.as_ptr())
}

/// Bytes that are free now, and all; 0 where nobody knows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_dev_memory(device: Option<&Device>, free: *mut usize, total: *mut usize) {
    let (f, t) = device.and_then(|d| ask(d.i)).map_or((0, 0), |d| (d.memory_free, d.memory_total));
    // SAFETY: NULL, or room for one each.
    unsafe {
        ptr::put(free, f);
        ptr::put(total, t);
    }
}

/// `GGML_BACKEND_DEVICE_TYPE_*`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_dev_type(device: Option<&Device>) -> c_int {
    device.map_or(CPU, |d| d.kind)
}

/// All of that at once; nothing for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_dev_get_props(device: Option<&Device>, props: *mut ggml_backend_dev_props) {
    let Some(d) = device else { return };
    let (memory_free, memory_total) = ask(d.i).map_or((0, 0), |d| (d.memory_free, d.memory_total));
    let caps = ggml_backend_dev_caps { r#async: false, host_buffer: false, buffer_from_host_ptr: true, events: false, mmap_support: true };
    let (name, description) = (d.name.as_ptr(), d.description.as_ptr());
    // SAFETY: NULL or room for one.
    unsafe {
        ptr::put(
            props,
            ggml_backend_dev_props { name, description, memory_free, memory_total, r#type: d.kind, device_id: std::ptr::null(), caps },
        )
    }
}

/// Who speaks for it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_dev_backend_reg(device: Option<&Device>) -> *const Registry {
    device.map_or(std::ptr::null(), |_| &REGISTRY)
}

/// The type of its buffers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_dev_buffer_type(device: Option<&Device>) -> *const BufferType {
    // SAFETY: takes no pointers.
    device.map_or(std::ptr::null(), |_| unsafe { buffer::ggml_backend_cpu_buffer_type() })
}

/// NULL: memory of the CPU needs no other to be copied from.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_dev_host_buffer_type(_device: Option<&Device>) -> *const BufferType {
    std::ptr::null()
}

/// A buffer over memory of the caller, as `ggml_backend_cpu_buffer_from_ptr`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_dev_buffer_from_host_ptr(
    device: Option<&Device>,
    at: *mut c_void,
    size: usize,
    _max_tensor_size: usize,
) -> *mut Buffer {
    // SAFETY: the caller's promise.
    device.map_or(std::ptr::null_mut(), |_| unsafe { buffer::ggml_backend_cpu_buffer_from_ptr(at, size) })
}

/// Whether it computes with buffers of that type.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_dev_supports_buft(device: Option<&Device>, buft: Option<&BufferType>) -> bool {
    device.is_some() && buft.is_some()
}

/// A backend that computes nothing: for its buffers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_dev_init(device: Option<&'static Device>, _params: *const c_char) -> *mut Backend {
    device.map_or(std::ptr::null_mut(), Backend::new)
}

// ---- who speaks for them

/// How many there are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_reg_count() -> usize {
    1
}

/// NULL where there is no such one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_reg_get(index: usize) -> *const Registry {
    if index == 0 { &REGISTRY } else { std::ptr::null() }
}

/// Whatever the case of letters; NULL where there is none ("RPC", "CUDA").
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_reg_by_name(name: *const c_char) -> *const Registry {
    // SAFETY: NULL or a terminated string.
    let is = unsafe { ptr::text(name) }.is_some_and(|n| same(n, REGISTRY.name));
    if is { &REGISTRY } else { std::ptr::null() }
}

/// The CPU's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_cpu_reg() -> *const Registry {
    &REGISTRY
}

/// "CPU"; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_reg_name(reg: Option<&Registry>) -> *const c_char {
    reg.map_or(std::ptr::null(), |r| r.name.as_ptr())
}

/// How many devices it speaks for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_reg_dev_count(reg: Option<&Registry>) -> usize {
    reg.map_or(0, |_| devices().len())
}

/// NULL where there is no such device.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_reg_dev_get(reg: Option<&Registry>, index: usize) -> *const Device {
    reg.and_then(|_| devices().get(index)).map_or(std::ptr::null(), std::ptr::from_ref)
}

/// `ggml_threadpool_new`, `ggml_threadpool_free` and `ggml_backend_set_n_threads`; NULL for any other name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_reg_get_proc_address(reg: Option<&Registry>, name: *const c_char) -> *const c_void {
    // SAFETY: NULL or a terminated string.
    match reg.and_then(|_| unsafe { ptr::text(name) }).map(CStr::to_bytes) {
        Some(b"ggml_threadpool_new") => threads::ggml_threadpool_new as *const c_void,
        Some(b"ggml_threadpool_free") => threads::ggml_threadpool_free as *const c_void,
        Some(b"ggml_backend_set_n_threads") => crate::backends::ggml_backend_cpu_set_n_threads as *const c_void,
        _ => std::ptr::null(),
    }
}

/// Nothing is registered, and a line says so: devices are those of libllama.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_register(_reg: *mut c_void) {
    log::error("ggml_backend_register: devices of others cannot be computed on");
}

/// The same.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_device_register(_device: *mut c_void) {
    log::error("ggml_backend_device_register: devices of others cannot be computed on");
}

/// Nothing is loaded, and a line says so: NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_load(_path: *const c_char) -> *const Registry {
    log::error("ggml_backend_load: libllama brings its devices along, others cannot be loaded");
    std::ptr::null()
}

/// Nothing was loaded.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_unload(_reg: Option<&Registry>) {}

/// Nothing has to be loaded: libllama brings its devices along.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_load_all() {}

/// The same.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_load_all_from_path(_dir_path: *const c_char) {}
