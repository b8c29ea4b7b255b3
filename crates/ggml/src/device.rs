//! ggml-backend.h: devices and who speaks for them. libllama knows them; what they are does not change while the program runs.
use crate::abi::{ggml_backend_dev_caps, ggml_backend_dev_props};
use crate::ask::table;
use crate::backends::Backend;
use crate::buffer::{self, Buffer, BufferType};
use crate::log;
use crate::ptr;
use crate::table::camelid_ggml_device;
use crate::threads;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::OnceLock;

/// `GGML_BACKEND_DEVICE_TYPE_CPU`.
const CPU: c_int = 0;

/// Nobody outside looks into it.
pub struct Device {
    i: usize,
    name: &'static CStr,
    description: &'static CStr,
    kind: c_int,
    buffers: BufferType,
}

/// Who speaks for the devices of a family: those whose names are a word and a number ("CUDA0", "CUDA1").
pub struct Registry {
    name: CString,
}

fn ask(i: usize) -> Option<camelid_ggml_device> {
    let mut d = std::mem::MaybeUninit::uninit();
    let table = table()?;
    // SAFETY: room for one, written where the answer is true.
    unsafe { (table.device)(i, d.as_mut_ptr()).then(|| d.assume_init()) }
}

/// All of them; the CPU alone where there is no libllama to ask.
fn devices() -> &'static [Device] {
    static ALL: OnceLock<Vec<Device>> = OnceLock::new();
    static ALONE: OnceLock<[Device; 1]> = OnceLock::new();
    let new = |i, name, description, kind| Device { i, name, description, kind, buffers: BufferType::new(name) };
    let Some(t) = table() else { return ALONE.get_or_init(|| [new(0, c"CPU", c"CPU", CPU)]) };
    ALL.get_or_init(|| {
        // SAFETY: takes no pointers.
        let n = unsafe { (t.n_devices)() };
        // SAFETY: names are terminated strings that last for ever.
        let one = |i, d: camelid_ggml_device| unsafe { Some(new(i, ptr::text(d.name)?, ptr::text(d.description)?, d.kind)) };
        (0..n).filter_map(|i| one(i, ask(i)?)).collect()
    })
}

fn family(d: &Device) -> &[u8] {
    let name = d.name.to_bytes();
    let digits = name.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    &name[..name.len() - digits]
}

/// One for each family, in the order of the devices: the CPU's first.
fn registries() -> &'static [Registry] {
    static ALL: OnceLock<Vec<Registry>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut names: Vec<&[u8]> = Vec::new();
        for f in devices().iter().map(family) {
            if !names.contains(&f) {
                names.push(f);
            }
        }
        names.into_iter().map(|n| Registry { name: CString::new(n).unwrap_or_default() }).collect()
    })
}

impl Registry {
    fn of(d: &Device) -> *const Registry {
        registries().iter().find(|r| r.name.to_bytes() == family(d)).map_or(std::ptr::null(), std::ptr::from_ref)
    }
    fn devices(&self) -> impl Iterator<Item = &'static Device> {
        devices().iter().filter(|d| family(d) == self.name.to_bytes())
    }
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
    let buffer_from_host_ptr = d.kind == CPU;
    // Of the memory of devices nothing is shared with files, but loading from maps is what libllama does.
    let caps = ggml_backend_dev_caps { r#async: false, host_buffer: false, buffer_from_host_ptr, events: false, mmap_support: true };
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
    device.map_or(std::ptr::null(), Registry::of)
}

/// The type of its buffers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_dev_buffer_type(device: Option<&Device>) -> *const BufferType {
    device.map_or(std::ptr::null(), |d| match d.kind {
        // SAFETY: takes no pointers.
        CPU => unsafe { buffer::ggml_backend_cpu_buffer_type() },
        _ => &d.buffers,
    })
}

/// NULL: memory of the CPU needs no other to be copied from.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_dev_host_buffer_type(_device: Option<&Device>) -> *const BufferType {
    std::ptr::null()
}

/// A buffer over memory of the caller, as `ggml_backend_cpu_buffer_from_ptr`; NULL for devices other than the CPU.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_dev_buffer_from_host_ptr(
    device: Option<&Device>,
    at: *mut c_void,
    size: usize,
    _max_tensor_size: usize,
) -> *mut Buffer {
    // SAFETY: the caller's promise.
    device.filter(|d| d.kind == CPU).map_or(std::ptr::null_mut(), |_| unsafe { buffer::ggml_backend_cpu_buffer_from_ptr(at, size) })
}

/// Whether it computes with buffers of that type.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_dev_supports_buft(device: Option<&Device>, buft: Option<&BufferType>) -> bool {
    // SAFETY: handles of this library.
    device.zip(buft).is_some_and(|(d, b)| unsafe { buffer::ggml_backend_buft_is_host(Some(b)) } || std::ptr::eq(&d.buffers, b))
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
    registries().len()
}

/// NULL where there is no such one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_reg_get(index: usize) -> *const Registry {
    registries().get(index).map_or(std::ptr::null(), std::ptr::from_ref)
}

/// Whatever the case of letters; NULL where there is none ("RPC").
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_reg_by_name(name: *const c_char) -> *const Registry {
    // SAFETY: NULL or a terminated string.
    let Some(name) = (unsafe { ptr::text(name) }) else { return std::ptr::null() };
    registries().iter().find(|r| same(&r.name, name)).map_or(std::ptr::null(), std::ptr::from_ref)
}

/// The CPU's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_cpu_reg() -> *const Registry {
    registries().first().map_or(std::ptr::null(), std::ptr::from_ref)
}

/// "CPU"; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_reg_name(reg: Option<&Registry>) -> *const c_char {
    reg.map_or(std::ptr::null(), |r| r.name.as_ptr())
}

/// How many devices it speaks for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_reg_dev_count(reg: Option<&Registry>) -> usize {
    reg.map_or(0, |r| r.devices().count())
}

/// NULL where there is no such device.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_reg_dev_get(reg: Option<&Registry>, index: usize) -> *const Device {
    reg.and_then(|r| r.devices().nth(index)).map_or(std::ptr::null(), std::ptr::from_ref)
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
