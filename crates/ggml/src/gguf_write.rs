//! gguf.h: writing. libllama lays the file out; here its bytes go to where the caller wants them.
use crate::abi::{ggml_tensor, gguf_context};
use crate::ask::{failed, table};
use crate::gguf_read::kind;
use crate::log;
use crate::ptr;
use std::ffi::{OsStr, c_char, c_int, c_void};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

/// A number, or with `n` a list of them or of strings.
///
/// # Safety
/// A handle; a terminated key; as many elements as the call says.
unsafe fn set(name: &str, ctx: *mut gguf_context, key: *const c_char, kind: c_int, element: c_int, data: *const c_void, n: usize) {
    // SAFETY: the caller's promise.
    if !table().is_some_and(|t| unsafe { (t.gguf_set)(ctx, key, kind, element, data, n) }) {
        failed(name);
    }
}

/// Takes a key and its value away. Where it was; -1: nowhere.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_remove_key(ctx: *mut gguf_context, key: *const c_char) -> i64 {
    // SAFETY: the caller's promise.
    table().map_or(-1, |t| unsafe { (t.gguf_remove_key)(ctx, key) })
}

/// Sets a key, which comes last; one that cannot be leaves everything as it is, with a line in the log.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_set_val_u8(ctx: *mut gguf_context, key: *const c_char, val: u8) {
    // SAFETY: the caller's promise, and one number.
    unsafe { set("gguf_set_val_u8", ctx, key, kind::U8, -1, (&raw const val).cast(), 1) }
}

/// Sets a key, which comes last; one that cannot be leaves everything as it is, with a line in the log.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_set_val_i8(ctx: *mut gguf_context, key: *const c_char, val: i8) {
    // SAFETY: the caller's promise, and one number.
    unsafe { set("gguf_set_val_i8", ctx, key, kind::I8, -1, (&raw const val).cast(), 1) }
}

/// Sets a key, which comes last; one that cannot be leaves everything as it is, with a line in the log.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_set_val_u16(ctx: *mut gguf_context, key: *const c_char, val: u16) {
    // SAFETY: the caller's promise, and one number.
    unsafe { set("gguf_set_val_u16", ctx, key, kind::U16, -1, (&raw const val).cast(), 1) }
}

/// Sets a key, which comes last; one that cannot be leaves everything as it is, with a line in the log.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_set_val_i16(ctx: *mut gguf_context, key: *const c_char, val: i16) {
    // SAFETY: the caller's promise, and one number.
    unsafe { set("gguf_set_val_i16", ctx, key, kind::I16, -1, (&raw const val).cast(), 1) }
}

/// Sets a key, which comes last; one that cannot be leaves everything as it is, with a line in the log.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_set_val_u32(ctx: *mut gguf_context, key: *const c_char, val: u32) {
    // SAFETY: the caller's promise, and one number.
    unsafe { set("gguf_set_val_u32", ctx, key, kind::U32, -1, (&raw const val).cast(), 1) }
}

/// Sets a key, which comes last; one that cannot be leaves everything as it is, with a line in the log.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_set_val_i32(ctx: *mut gguf_context, key: *const c_char, val: i32) {
    // SAFETY: the caller's promise, and one number.
    unsafe { set("gguf_set_val_i32", ctx, key, kind::I32, -1, (&raw const val).cast(), 1) }
}

/// Sets a key, which comes last; one that cannot be leaves everything as it is, with a line in the log.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_set_val_f32(ctx: *mut gguf_context, key: *const c_char, val: f32) {
    // SAFETY: the caller's promise, and one number.
    unsafe { set("gguf_set_val_f32", ctx, key, kind::F32, -1, (&raw const val).cast(), 1) }
}

/// Sets a key, which comes last; one that cannot be leaves everything as it is, with a line in the log.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_set_val_u64(ctx: *mut gguf_context, key: *const c_char, val: u64) {
    // SAFETY: the caller's promise, and one number.
    unsafe { set("gguf_set_val_u64", ctx, key, kind::U64, -1, (&raw const val).cast(), 1) }
}

/// Sets a key, which comes last; one that cannot be leaves everything as it is, with a line in the log.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_set_val_i64(ctx: *mut gguf_context, key: *const c_char, val: i64) {
    // SAFETY: the caller's promise, and one number.
    unsafe { set("gguf_set_val_i64", ctx, key, kind::I64, -1, (&raw const val).cast(), 1) }
}

/// Sets a key, which comes last; one that cannot be leaves everything as it is, with a line in the log.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_set_val_f64(ctx: *mut gguf_context, key: *const c_char, val: f64) {
    // SAFETY: the caller's promise, and one number.
    unsafe { set("gguf_set_val_f64", ctx, key, kind::F64, -1, (&raw const val).cast(), 1) }
}

/// Sets a key, which comes last; one that cannot be leaves everything as it is, with a line in the log.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_set_val_bool(ctx: *mut gguf_context, key: *const c_char, val: bool) {
    // SAFETY: the caller's promise, and one number.
    unsafe { set("gguf_set_val_bool", ctx, key, kind::BOOL, -1, (&raw const val).cast(), 1) }
}

/// Sets a key to a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_set_val_str(ctx: *mut gguf_context, key: *const c_char, val: *const c_char) {
    // SAFETY: the caller's promise, and one string.
    unsafe { set("gguf_set_val_str", ctx, key, kind::STRING, -1, (&raw const val).cast(), 1) }
}

/// Sets a key to an array of `n` numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_set_arr_data(ctx: *mut gguf_context, key: *const c_char, element: c_int, data: *const c_void, n: usize) {
    if element == kind::STRING {
        return log::error("gguf_set_arr_data: strings are for gguf_set_arr_str");
    }
    // SAFETY: the caller's promise.
    unsafe { set("gguf_set_arr_data", ctx, key, kind::ARRAY, element, data, n) }
}

/// Sets a key to an array of `n` strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_set_arr_str(ctx: *mut gguf_context, key: *const c_char, data: *const *const c_char, n: usize) {
    // SAFETY: the caller's promise.
    unsafe { set("gguf_set_arr_str", ctx, key, kind::ARRAY, kind::STRING, data.cast(), n) }
}

/// Sets every key that `src` has to its value there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_set_kv(ctx: *mut gguf_context, src: *const gguf_context) {
    // SAFETY: the caller's promise.
    if !table().is_some_and(|t| unsafe { (t.gguf_set_all)(ctx, src) }) {
        failed("gguf_set_kv");
    }
}

/// Adds a tensor, whose name must be new; its data is read when the file is written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_add_tensor(ctx: *mut gguf_context, tensor: Option<&ggml_tensor>) {
    let Some(t) = tensor else { return log::error("gguf_add_tensor: NULL") };
    // SAFETY: the caller's promise; four numbers and a terminated name.
    let added = table().is_some_and(|l| unsafe { (l.gguf_add_tensor)(ctx, t.name.as_ptr(), t.r#type, t.n_dims(), t.ne.as_ptr(), t.data) });
    if !added {
        failed("gguf_add_tensor");
    }
}

/// Sets the type of a tensor; those behind it move.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_set_tensor_type(ctx: *mut gguf_context, name: *const c_char, kind: c_int) {
    // SAFETY: the caller's promise.
    if !table().is_some_and(|t| unsafe { (t.gguf_set_tensor_type)(ctx, name, kind) }) {
        failed("gguf_set_tensor_type");
    }
}

/// Sets where the data of a tensor is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_set_tensor_data(ctx: *mut gguf_context, name: *const c_char, data: *const c_void) {
    // SAFETY: the caller's promise.
    if !table().is_some_and(|t| unsafe { (t.gguf_set_tensor_data)(ctx, name, data) }) {
        failed("gguf_set_tensor_data");
    }
}

/// Takes all bytes, or says false.
type Writer<'a> = dyn FnMut(&[u8]) -> bool + 'a;

unsafe extern "C" fn call(userdata: *mut c_void, bytes: *const c_void, len: usize) -> bool {
    // SAFETY: `write` passes a writer, and libllama `len` bytes.
    unsafe { ptr::slice(bytes.cast::<u8>(), len).is_some_and(|b| (*userdata.cast::<&mut Writer<'_>>())(b)) }
}

fn write(name: &str, ctx: *const gguf_context, only_meta: bool, to: &mut Writer<'_>) -> bool {
    let mut writer = to;
    // SAFETY: a handle; the writer outlives the call.
    let done = table().is_some_and(|t| unsafe { (t.gguf_write)(ctx, only_meta, Some(call), (&raw mut writer).cast()) });
    if !done {
        failed(name);
    }
    done
}

/// Writes everything, or all but the data; false, and a line in the log, where that fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_write_to_file(ctx: *const gguf_context, fname: *const c_char, only_meta: bool) -> bool {
    // SAFETY: NULL or a terminated string.
    let Some(path) = (unsafe { ptr::text(fname) }) else { return false };
    let mut file = match std::fs::File::create(OsStr::from_bytes(path.to_bytes())) {
        Ok(file) => file,
        Err(e) => {
            log::error(&format!("gguf_write_to_file: {}: {e}", path.to_string_lossy()));
            return false;
        }
    };
    write("gguf_write_to_file", ctx, only_meta, &mut |bytes| file.write_all(bytes).is_ok())
}

/// The same to an open file, from where it stands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_write_to_file_ptr(ctx: *const gguf_context, file: *mut libc::FILE, only_meta: bool) -> bool {
    if file.is_null() {
        return false;
    }
    // SAFETY: an open stream, and as many bytes.
    let mut to = |bytes: &[u8]| unsafe { libc::fwrite(bytes.as_ptr().cast(), 1, bytes.len(), file) } == bytes.len();
    write("gguf_write_to_file_ptr", ctx, only_meta, &mut to)
}

/// Bytes of everything but the data, with the zeroes before it; 0 where it cannot be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_get_meta_size(ctx: *const gguf_context) -> usize {
    // SAFETY: the caller's promise.
    table().map_or(0, |t| unsafe { (t.gguf_meta)(ctx, std::ptr::null_mut(), 0) })
}

/// Writes them to `data`, which has room for them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_get_meta_data(ctx: *const gguf_context, data: *mut c_void) {
    // SAFETY: the caller's promise.
    unsafe {
        let size = gguf_get_meta_size(ctx);
        if let Some(t) = table() {
            (t.gguf_meta)(ctx, data, size);
        }
    }
}
