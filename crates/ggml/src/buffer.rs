//! ggml-backend.h: memory for tensors, all of it the host's. Types of other devices' buffers are names to be passed on to libllama.
use crate::abi::{ggml_context, ggml_tensor};
use crate::backends::Backend;
use crate::context::Memory;
use crate::device::{self, Device};
use crate::log;
use std::ffi::{CStr, c_char, c_int, c_void};

/// Of tensors in a buffer.
const ALIGN: usize = 32;
/// `GGML_STATUS_*`
const SUCCESS: c_int = 0;
const FAILED: c_int = -1;

/// A type of buffers. Nobody outside looks into it.
pub struct BufferType {
    name: &'static CStr,
}

static HOST: BufferType = BufferType { name: c"CPU" };

impl BufferType {
    /// Of the device with that name.
    pub fn new(name: &'static CStr) -> BufferType {
        BufferType { name }
    }
    fn is_host(&self) -> bool {
        std::ptr::eq(self, &HOST)
    }
}

pub struct Buffer {
    at: *mut c_void,
    size: usize,
    usage: c_int,
    /// `None`: the caller's memory.
    _own: Option<Memory>,
}

impl Buffer {
    fn new(size: usize) -> Option<Box<Buffer>> {
        let memory = Memory::new(size, 64);
        if memory.is_none() {
            log::error(&format!("ggml_backend_buft_alloc_buffer: no memory for {size} bytes"));
        }
        let m = memory?;
        Some(Box::new(Buffer { at: m.at, size: m.size, usage: 0, _own: Some(m) }))
    }
}

fn made(b: Option<Box<Buffer>>) -> *mut Buffer {
    b.map_or(std::ptr::null_mut(), Box::into_raw)
}

// ---- types of buffers

/// The host's memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_cpu_buffer_type() -> *const BufferType {
    &HOST
}

/// "CPU"; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_buft_name(buft: Option<&BufferType>) -> *const c_char {
    buft.map_or(std::ptr::null(), |b| b.name.as_ptr())
}

/// A buffer of zeroes; NULL where there is no memory, and a line too where it is another device's, which libllama alone takes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_buft_alloc_buffer(buft: Option<&BufferType>, size: usize) -> *mut Buffer {
    if let Some(b) = buft.filter(|b| !b.is_host()) {
        log::error(&format!("ggml_backend_buft_alloc_buffer: memory of {} is not given away", b.name.to_string_lossy()));
        return std::ptr::null_mut();
    }
    made(buft.and_then(|_| Buffer::new(size)))
}

/// Tensors start at multiples of this many bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_buft_get_alignment(buft: Option<&BufferType>) -> usize {
    buft.map_or(0, |_| ALIGN)
}

/// Most bytes of a buffer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_buft_get_max_size(buft: Option<&BufferType>) -> usize {
    buft.map_or(0, |_| usize::MAX)
}

/// Bytes that a tensor takes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_buft_get_alloc_size(buft: Option<&BufferType>, tensor: Option<&ggml_tensor>) -> usize {
    buft.zip(tensor).map_or(0, |(_, t)| t.n_bytes())
}

/// Whether the CPU can read it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_buft_is_host(buft: Option<&BufferType>) -> bool {
    buft.is_some_and(BufferType::is_host)
}

/// Whose memory it is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_buft_get_device(buft: Option<&BufferType>) -> *const Device {
    match buft {
        None => std::ptr::null(),
        Some(b) if b.is_host() => device::cpu(),
        // SAFETY: a terminated string.
        Some(b) => unsafe { device::ggml_backend_dev_by_name(b.name.as_ptr()) },
    }
}

// ---- buffers

/// A buffer over memory of the caller, which stays the caller's. NULL where it does not start at a multiple of 32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_cpu_buffer_from_ptr(at: *mut c_void, size: usize) -> *mut Buffer {
    if at.is_null() || !at.addr().is_multiple_of(ALIGN) {
        log::error(&format!("ggml_backend_cpu_buffer_from_ptr: {at:?} is no multiple of {ALIGN}"));
        return std::ptr::null_mut();
    }
    made(Some(Box::new(Buffer { at, size, usage: 0, _own: None })))
}

/// "CPU"; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_buffer_name(buffer: Option<&Buffer>) -> *const c_char {
    buffer.map_or(std::ptr::null(), |_| HOST.name.as_ptr())
}

/// Frees a buffer, and its memory where it is its own; NULL: nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_buffer_free(buffer: *mut Buffer) {
    if !buffer.is_null() {
        // SAFETY: made here, freed once.
        drop(unsafe { Box::from_raw(buffer) });
    }
}

/// Where it starts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_buffer_get_base(buffer: Option<&Buffer>) -> *mut c_void {
    buffer.map_or(std::ptr::null_mut(), |b| b.at)
}

/// Its bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_buffer_get_size(buffer: Option<&Buffer>) -> usize {
    buffer.map_or(0, |b| b.size)
}

/// Nothing is to be done: success, for a buffer and a tensor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_buffer_init_tensor(buffer: Option<&Buffer>, tensor: Option<&ggml_tensor>) -> c_int {
    if buffer.is_some() && tensor.is_some() { SUCCESS } else { FAILED }
}

/// Tensors start at multiples of this many bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_buffer_get_alignment(buffer: Option<&Buffer>) -> usize {
    buffer.map_or(0, |_| ALIGN)
}

/// Most bytes of a buffer of its type.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_buffer_get_max_size(buffer: Option<&Buffer>) -> usize {
    buffer.map_or(0, |_| usize::MAX)
}

/// Bytes that a tensor takes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_buffer_get_alloc_size(buffer: Option<&Buffer>, tensor: Option<&ggml_tensor>) -> usize {
    buffer.zip(tensor).map_or(0, |(_, t)| t.n_bytes())
}

/// Every byte becomes `value`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_buffer_clear(buffer: Option<&Buffer>, value: u8) {
    if let Some(b) = buffer {
        // SAFETY: the buffer's own bytes, or as many as its maker promised.
        unsafe { b.at.cast::<u8>().write_bytes(value, b.size) }
    }
}

/// Whether the CPU can read it: yes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_buffer_is_host(buffer: Option<&Buffer>) -> bool {
    buffer.is_some()
}

/// What it is for; kept, and nothing else.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_buffer_set_usage(buffer: Option<&mut Buffer>, usage: c_int) {
    if let Some(b) = buffer {
        b.usage = usage;
    }
}

/// What it is for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_buffer_get_usage(buffer: Option<&Buffer>) -> c_int {
    buffer.map_or(0, |b| b.usage)
}

/// Its type.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_buffer_get_type(buffer: Option<&Buffer>) -> *const BufferType {
    buffer.map_or(std::ptr::null(), |_| &HOST)
}

/// Nothing is kept of its tensors.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_buffer_reset(_buffer: Option<&Buffer>) {}

/// A buffer of the backend's default type.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_alloc_buffer(backend: Option<&Backend>, size: usize) -> *mut Buffer {
    made(backend.and_then(|_| Buffer::new(size)))
}

// ---- tensors in buffers

/// Puts a tensor without data at `addr` of a buffer; `GGML_STATUS_FAILED`, and nothing done, where it has no room there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_tensor_alloc(buffer: Option<&Buffer>, tensor: Option<&mut ggml_tensor>, addr: *mut c_void) -> c_int {
    let (Some(b), Some(t)) = (buffer, tensor) else { return FAILED };
    let at = addr.addr().checked_sub(b.at.addr());
    let room = at.and_then(|at| at.checked_add(t.n_bytes())).is_some_and(|end| end <= b.size);
    if !room || !t.data.is_null() {
        log::error("ggml_backend_tensor_alloc: no room at that address, or the tensor has data");
        return FAILED;
    }
    (t.buffer, t.data) = (b, addr);
    SUCCESS
}

/// One buffer for all tensors of a context that have no data; NULL where there are none, or no memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_alloc_ctx_tensors_from_buft(
    ctx: Option<&mut ggml_context>,
    buft: Option<&BufferType>,
) -> *mut Buffer {
    let (Some(ctx), Some(_)) = (ctx, buft) else { return std::ptr::null_mut() };
    let wanted = |t: &ggml_tensor| t.data.is_null() && t.view_src.is_null();
    let size: usize = ctx.tensors().iter().filter(|t| wanted(t)).fold(0usize, |n, t| n.saturating_add(t.padded(ALIGN)));
    if size == 0 {
        return std::ptr::null_mut();
    }
    let buffer = made(Buffer::new(size));
    // SAFETY: NULL or just made.
    let Some(b) = (unsafe { buffer.as_ref() }) else { return buffer };
    let mut at = b.at;
    for t in ctx.tensors_mut().iter_mut().filter(|t| wanted(t)) {
        (t.buffer, t.data) = (b, at);
        at = at.wrapping_byte_add(t.padded(ALIGN));
    }
    buffer
}

/// The same in a backend's memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_alloc_ctx_tensors(ctx: Option<&mut ggml_context>, backend: Option<&Backend>) -> *mut Buffer {
    // SAFETY: the caller's promise.
    unsafe { ggml_backend_alloc_ctx_tensors_from_buft(ctx, backend.map(|_| &HOST)) }
}

/// Where `size` bytes at `offset` of a tensor's data are; `None`, and a line in the log, where it has no such bytes.
fn span(name: &str, t: Option<&ggml_tensor>, offset: usize, size: usize) -> Option<*mut c_void> {
    let fits = |t: &&ggml_tensor| !t.data.is_null() && offset.checked_add(size).is_some_and(|end| end <= t.n_bytes());
    let found = t.filter(fits).map(|t| t.data.wrapping_byte_add(offset));
    if found.is_none() {
        log::error(&format!("{name}: the tensor has no data, or not {size} bytes at {offset}"));
    }
    found
}

/// Copies bytes into a tensor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_tensor_set(tensor: Option<&ggml_tensor>, data: *const c_void, offset: usize, size: usize) {
    if let Some(at) = span("ggml_backend_tensor_set", tensor, offset, size).filter(|_| !data.is_null()) {
        // SAFETY: inside the tensor; the caller promises the bytes, which may be the tensor's own.
        unsafe { std::ptr::copy(data.cast::<u8>(), at.cast(), size) }
    }
}

/// Copies bytes out of a tensor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_tensor_get(tensor: Option<&ggml_tensor>, data: *mut c_void, offset: usize, size: usize) {
    if let Some(at) = span("ggml_backend_tensor_get", tensor, offset, size).filter(|_| !data.is_null()) {
        // SAFETY: inside the tensor; the caller promises room for the bytes.
        unsafe { std::ptr::copy(at.cast::<u8>(), data.cast(), size) }
    }
}

/// Every byte of a part becomes `value`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_tensor_memset(tensor: Option<&ggml_tensor>, value: u8, offset: usize, size: usize) {
    if let Some(at) = span("ggml_backend_tensor_memset", tensor, offset, size) {
        // SAFETY: inside the tensor.
        unsafe { at.cast::<u8>().write_bytes(value, size) }
    }
}

/// Copies all data to a tensor of the same layout; nothing where the layouts differ.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_backend_tensor_copy(src: Option<&ggml_tensor>, dst: Option<&ggml_tensor>) {
    let same = src.zip(dst).filter(|(a, b)| a.r#type == b.r#type && a.ne == b.ne && a.nb == b.nb);
    let Some((a, b)) = same else { return log::error("ggml_backend_tensor_copy: the layouts differ") };
    let n = a.n_bytes();
    if let Some((from, to)) = span("ggml_backend_tensor_copy", Some(a), 0, n).zip(span("ggml_backend_tensor_copy", Some(b), 0, n)) {
        // SAFETY: inside of both.
        unsafe { std::ptr::copy(from.cast::<u8>(), to.cast(), n) }
    }
}

/// The next place in a buffer that a tensor may have; where the last one ended.
#[repr(C)]
pub struct ggml_tallocr {
    buffer: *const Buffer,
    base: *mut c_void,
    alignment: usize,
    offset: usize,
}

/// Puts tensors one behind the other into a buffer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_tallocr_new(buffer: Option<&Buffer>) -> ggml_tallocr {
    let base = buffer.map_or(std::ptr::null_mut(), |b| b.at);
    ggml_tallocr { buffer: buffer.map_or(std::ptr::null(), std::ptr::from_ref), base, alignment: ALIGN, offset: 0 }
}

/// Places one; `GGML_STATUS_FAILED` where there is no room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_tallocr_alloc(talloc: Option<&mut ggml_tallocr>, tensor: Option<&mut ggml_tensor>) -> c_int {
    let (Some(a), Some(t)) = (talloc, tensor) else { return FAILED };
    let size = t.padded(ALIGN);
    // SAFETY: NULL or the buffer it was made for.
    let status = unsafe { ggml_backend_tensor_alloc(a.buffer.as_ref(), Some(t), a.base.wrapping_byte_add(a.offset)) };
    if status == SUCCESS {
        a.offset += size;
    }
    status
}
