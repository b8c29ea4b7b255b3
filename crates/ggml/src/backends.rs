//! ggml-backend.h and ggml-cpu.h: backends, of which only the memory is of use here: graphs are not computed.
use crate::abi::ggml_tensor;
use crate::buffer::{BufferType, ggml_backend_cpu_buffer_type, ggml_backend_tensor_get, ggml_backend_tensor_set};
use crate::device::{self, Device};
use std::ffi::{c_char, c_int, c_void};

/// Nobody outside looks into it.
pub struct Backend {
    device: &'static Device,
}

impl Backend {
    pub fn new(device: &'static Device) -> *mut Backend {
        Box::into_raw(Box::new(Backend { device }))
    }
}

/// The CPU; NULL where there is no device. Freed by `ggml_backend_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_cpu_init() -> *mut Backend {
    // SAFETY: NULL or a device, which lasts for ever.
    unsafe { device::cpu().as_ref() }.map_or(std::ptr::null_mut(), Backend::new)
}

/// A device by its name; NULL where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_init_by_name(name: *const c_char, _params: *const c_char) -> *mut Backend {
    // SAFETY: the caller's promise; NULL or a device, which lasts for ever.
    unsafe { device::ggml_backend_dev_by_name(name).as_ref() }.map_or(std::ptr::null_mut(), Backend::new)
}

/// The first device of a type; NULL where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_init_by_type(kind: c_int, _params: *const c_char) -> *mut Backend {
    // SAFETY: NULL or a device, which lasts for ever.
    unsafe { device::ggml_backend_dev_by_type(kind).as_ref() }.map_or(std::ptr::null_mut(), Backend::new)
}

/// The CPU.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_init_best() -> *mut Backend {
    // SAFETY: takes no pointers.
    unsafe { ggml_backend_cpu_init() }
}

/// "CPU"; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_name(backend: Option<&Backend>) -> *const c_char {
    // SAFETY: a device.
    backend.map_or(std::ptr::null(), |b| unsafe { device::ggml_backend_dev_name(Some(b.device)) })
}

/// NULL: nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_free(backend: *mut Backend) {
    if !backend.is_null() {
        // SAFETY: made here, freed once.
        drop(unsafe { Box::from_raw(backend) });
    }
}

/// Its device.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_get_device(backend: Option<&Backend>) -> *const Device {
    backend.map_or(std::ptr::null(), |b| b.device)
}

/// The type of its buffers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_get_default_buffer_type(backend: Option<&Backend>) -> *const BufferType {
    // SAFETY: takes no pointers.
    backend.map_or(std::ptr::null(), |_| unsafe { ggml_backend_cpu_buffer_type() })
}

/// Tensors in its buffers start at multiples of this many bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_get_alignment(backend: Option<&Backend>) -> usize {
    backend.map_or(0, |_| 32)
}

/// Most bytes of a buffer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_get_max_size(backend: Option<&Backend>) -> usize {
    backend.map_or(0, |_| usize::MAX)
}

/// Whether it computes with buffers of that type.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_supports_buft(backend: Option<&Backend>, buft: Option<&BufferType>) -> bool {
    backend.is_some() && buft.is_some()
}

/// Nothing runs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_synchronize(_backend: Option<&Backend>) {}

/// At once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_tensor_set_async(
    backend: Option<&Backend>,
    tensor: Option<&ggml_tensor>,
    data: *const c_void,
    offset: usize,
    size: usize,
) {
    if backend.is_some() {
        // SAFETY: the caller's promise.
        unsafe { ggml_backend_tensor_set(tensor, data, offset, size) }
    }
}

/// At once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_tensor_get_async(
    backend: Option<&Backend>,
    tensor: Option<&ggml_tensor>,
    data: *mut c_void,
    offset: usize,
    size: usize,
) {
    if backend.is_some() {
        // SAFETY: the caller's promise.
        unsafe { ggml_backend_tensor_get(tensor, data, offset, size) }
    }
}

/// Whether it is the CPU.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_is_cpu(backend: Option<&Backend>) -> bool {
    backend.is_some_and(|b| std::ptr::eq(b.device, device::cpu()))
}

/// Nothing is computed here: `llama_set_n_threads` is what counts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_cpu_set_n_threads(_backend: Option<&Backend>, _n_threads: c_int) {}
