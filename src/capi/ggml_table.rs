//! camelid.h: what a libggml asks of this library, through one function: types, devices, the log, GGUF files. libllama.so exports no name of ggml's;
//! crates/ggml is the library that does.
#![allow(non_camel_case_types, reason = "the names of a C header")]
use super::boundary::guard;
use super::ggml_gguf;
use super::ggml_types::*;
use super::ptr;
use crate::gguf::{DType, TensorInfo, check_data};
use crate::model::place::{DeviceKind, gpus};
use crate::quantize;
use platform::{Error, Result, log, pressure};
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::sync::OnceLock;

/// The functions that a libggml asks this library by; never NULL, good for ever. For libggml.so.0 of Camelid, and for programs that want GGUF files
/// without one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn camelid_ggml_table() -> *const camelid_ggml_table {
    &TABLE
}

static TABLE: camelid_ggml_table = camelid_ggml_table {
    size: size_of::<camelid_ggml_table>(),
    version: 1,
    last_error,
    log: write_line,
    type_info,
    to_float,
    from_float,
    is_valid,
    n_devices,
    device,
    gguf_new: ggml_gguf::new,
    gguf_read_file: ggml_gguf::read_file,
    gguf_read: ggml_gguf::read,
    gguf_free: ggml_gguf::free,
    gguf_head: ggml_gguf::head,
    gguf_find_key: ggml_gguf::find_key,
    gguf_kv: ggml_gguf::kv,
    gguf_text: ggml_gguf::text_at,
    gguf_set: ggml_gguf::set,
    gguf_remove_key: ggml_gguf::remove_key,
    gguf_set_all: ggml_gguf::set_all,
    gguf_find_tensor: ggml_gguf::find_tensor,
    gguf_tensor: ggml_gguf::tensor,
    gguf_add_tensor: ggml_gguf::add_tensor,
    gguf_set_tensor_type: ggml_gguf::set_tensor_type,
    gguf_set_tensor_data: ggml_gguf::set_tensor_data,
    gguf_meta: ggml_gguf::meta,
    gguf_write: ggml_gguf::write,
};

thread_local! { static FAILURE: RefCell<CString> = RefCell::default(); }

pub fn invalid(what: impl Into<String>) -> Error {
    Error::invalid(what)
}

/// Runs `f`; an error is kept for `last_error`, not logged: that is for the library that asked.
pub fn attempt<R>(fallback: R, f: impl FnOnce() -> Result<R>) -> R {
    let keep = |e: Error| FAILURE.set(CString::new(e.to_string().replace('\0', "\u{fffd}")).unwrap_or_default());
    guard(None, || f().map_err(keep).ok()).unwrap_or(fallback)
}

unsafe extern "C" fn last_error() -> *const c_char {
    guard(c"".as_ptr(), || FAILURE.with_borrow(|f| f.as_ptr()))
}

unsafe extern "C" fn write_line(level: c_int, line: *const c_char) {
    guard((), || {
        // SAFETY: NULL or a terminated string.
        let text = unsafe { ptr::text(line) }.unwrap_or_default();
        let level = match level {
            1 => log::Level::Debug,
            3 => log::Level::Warn,
            4 => log::Level::Error,
            _ => log::Level::Info,
        };
        log::write(level, String::from_utf8_lossy(text).trim_end_matches('\n'))
    })
}

// ---- types

fn dtype(kind: c_int) -> Result<DType> {
    let ty = u32::try_from(kind).ok().and_then(DType::from_ggml);
    ty.ok_or_else(|| invalid(format!("{kind} is no tensor type")))
}

/// The names of the types as C has them, in the order of `DType::TABLE`.
fn type_name(ty: DType) -> *const c_char {
    static NAMES: OnceLock<Vec<CString>> = OnceLock::new();
    let names = NAMES.get_or_init(|| DType::TABLE.iter().map(|r| CString::new(r.1).unwrap_or_default()).collect());
    let i = DType::TABLE.iter().position(|r| r.0 == ty);
    i.and_then(|i| names.get(i)).map_or(c"".as_ptr(), |n| n.as_ptr())
}

unsafe extern "C" fn type_info(kind: c_int, info: *mut camelid_ggml_type) -> bool {
    attempt(false, || {
        let ty = dtype(kind)?;
        let said = camelid_ggml_type {
            name: type_name(ty),
            block_len: ty.block_len(),
            block_bytes: ty.block_bytes(),
            is_quantized: ty.is_quantized(),
            needs_importance: quantize::needs_importance(ty),
        };
        // SAFETY: NULL or room for one.
        unsafe { ptr::put(info, said) };
        Ok(true)
    })
}

/// Elements and bytes of a row.
fn row(ty: DType, n: i64) -> Result<(usize, usize)> {
    let n = usize::try_from(n).map_err(|_| invalid(format!("{n} elements")))?;
    let bytes = ty.row_bytes(n).ok_or_else(|| invalid(format!("{n} elements are no whole blocks of {}", ty.name())))?;
    Ok((n, bytes))
}

unsafe extern "C" fn to_float(kind: c_int, row_of: *const c_void, floats: *mut f32, n: i64) -> bool {
    attempt(false, || {
        let ty = dtype(kind)?;
        let (n, bytes) = row(ty, n)?;
        // SAFETY: the caller promises a row of `n` elements and room for as many floats.
        let found = unsafe { ptr::slice(row_of.cast::<u8>(), bytes).zip(ptr::slice_mut(floats, n)) };
        let (from, to) = found.ok_or_else(|| invalid("a row is NULL"))?;
        let done = quantize::read_row(ty, from, to);
        if done { Ok(true) } else { Err(invalid(format!("{} cannot be read as floats", ty.name()))) }
    })
}

unsafe extern "C" fn from_float(kind: c_int, floats: *const f32, rows: *mut c_void, n_rows: i64, n: i64, importance: *const f32) -> bool {
    attempt(false, || {
        let ty = dtype(kind)?;
        let (n, bytes) = row(ty, n)?;
        let n_rows = usize::try_from(n_rows).map_err(|_| invalid(format!("{n_rows} rows")))?;
        let all = n_rows.checked_mul(n.max(bytes)).ok_or_else(|| invalid(format!("{n_rows} rows of {n} elements")))?;
        if all == 0 {
            return Ok(true);
        }
        // SAFETY: the caller promises `n_rows` rows of both kinds, and NULL or a row of importance.
        let (from, to, weights) =
            unsafe { (ptr::slice(floats, n_rows * n), ptr::slice_mut(rows.cast::<u8>(), n_rows * bytes), ptr::slice(importance, n)) };
        let (from, to) = from.zip(to).ok_or_else(|| invalid("rows are NULL"))?;
        let mut pairs = from.chunks_exact(n).zip(to.chunks_exact_mut(bytes));
        let done = pairs.all(|(x, out)| quantize::write_row(ty, x, weights, out));
        if done { Ok(true) } else { Err(invalid(format!("{} cannot be written, or not without importance", ty.name()))) }
    })
}

unsafe extern "C" fn is_valid(kind: c_int, rows: *const c_void, n_bytes: usize) -> bool {
    attempt(false, || {
        let ty = dtype(kind)?;
        let t = TensorInfo { name: ty.name().into(), ty, shape: [1; 4], n_dims: 1, file: 0, offset: 0, bytes: n_bytes as u64 };
        // SAFETY: the caller promises that many bytes.
        let bytes = unsafe { ptr::slice(rows.cast::<u8>(), n_bytes) }.ok_or_else(|| invalid("rows are NULL"))?;
        check_data(&t, bytes).map(|()| true)
    })
}

// ---- devices

/// `GGML_BACKEND_DEVICE_TYPE_*`.
const CPU: c_int = 0;
const GPU: c_int = 1;
const INTEGRATED: c_int = 2;

/// The CPU and the GPUs.
unsafe extern "C" fn n_devices() -> usize {
    guard(1, || 1 + gpus().len())
}

/// The processor's name; what it is where it has none.
fn cpu_description() -> &'static CStr {
    static NAME: OnceLock<CString> = OnceLock::new();
    NAME.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let line = text.lines().find(|l| l.starts_with("model name"));
        let name = line.and_then(|l| l.split_once(':')).map_or(std::env::consts::ARCH, |(_, name)| name.trim());
        CString::new(name).unwrap_or_default()
    })
}

/// Names of the GPUs and what their makers call them, as C has them.
fn gpu_texts() -> &'static [[CString; 2]] {
    static TEXTS: OnceLock<Vec<[CString; 2]>> = OnceLock::new();
    let text = |t: &str| CString::new(t).unwrap_or_default();
    TEXTS.get_or_init(|| gpus().iter().map(|d| [text(d.name()), text(d.description())]).collect())
}

fn bytes(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

fn cpu() -> camelid_ggml_device {
    let total = pressure::total(Path::new("/"));
    camelid_ggml_device {
        name: c"CPU".as_ptr(),
        description: cpu_description().as_ptr(),
        memory_free: bytes(pressure::available(Path::new("/")).min(total)),
        memory_total: bytes(total),
        kind: CPU,
    }
}

fn gpu(i: usize) -> Option<camelid_ggml_device> {
    let (d, [name, description]) = (gpus().get(i)?, gpu_texts().get(i)?);
    let memory = d.memory();
    Some(camelid_ggml_device {
        name: name.as_ptr(),
        description: description.as_ptr(),
        memory_free: bytes(memory.free),
        memory_total: bytes(memory.total),
        kind: if d.kind() == DeviceKind::Gpu { GPU } else { INTEGRATED },
    })
}

unsafe extern "C" fn device(i: usize, device: *mut camelid_ggml_device) -> bool {
    attempt(false, || {
        let said = if i == 0 { Some(cpu()) } else { gpu(i - 1) };
        let said = said.ok_or_else(|| invalid(format!("there is no device {i}")))?;
        // SAFETY: NULL or room for one.
        unsafe { ptr::put(device, said) };
        Ok(true)
    })
}
