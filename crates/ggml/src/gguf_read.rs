//! gguf.h: reading. libllama parses; a `gguf_context` is its handle.
use crate::abi::{TYPE_COUNT, ggml_context, ggml_init_params, ggml_tensor, gguf_context, gguf_init_params};
use crate::ask::{failed, table};
use crate::log;
use crate::ptr;
use crate::table::{camelid_gguf_head, camelid_gguf_kv, camelid_gguf_tensor};
use crate::tensor::OBJECT_SIZE;
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

/// `GGUF_TYPE_*`
pub mod kind {
    use std::ffi::c_int;
    pub const U8: c_int = 0;
    pub const I8: c_int = 1;
    pub const U16: c_int = 2;
    pub const I16: c_int = 3;
    pub const U32: c_int = 4;
    pub const I32: c_int = 5;
    pub const F32: c_int = 6;
    pub const BOOL: c_int = 7;
    pub const STRING: c_int = 8;
    pub const ARRAY: c_int = 9;
    pub const U64: c_int = 10;
    pub const I64: c_int = 11;
    pub const F64: c_int = 12;
    /// Also the answer where there is none.
    pub const COUNT: c_int = 13;
}

/// `GGML_TYPE_I8`
const I8: c_int = 24;

/// Up to `out.len()` bytes at an offset; fewer where they end, or on an error.
type Reader<'a> = dyn FnMut(u64, &mut [u8]) -> usize + 'a;

unsafe extern "C" fn call(userdata: *mut c_void, output: *mut c_void, offset: u64, len: usize) -> usize {
    // SAFETY: `load` passes a reader, and libllama room for `len` bytes.
    unsafe { ptr::slice_mut(output.cast::<u8>(), len).map_or(0, |out| (*userdata.cast::<&mut Reader<'_>>())(offset, out)) }
}

/// What all the ways to open a file come to.
fn load(name: &str, read: &mut Reader<'_>, max_chunk: usize, size: u64, params: gguf_init_params) -> *mut gguf_context {
    // SAFETY: NULL or room for one.
    unsafe { ptr::put(params.ctx, std::ptr::null_mut()) };
    let Some(t) = table() else { return std::ptr::null_mut() };
    let mut reader = read;
    // SAFETY: the reader outlives the call.
    let gguf = unsafe { (t.gguf_read)(Some(call), (&raw mut reader).cast(), max_chunk, size) };
    if gguf.is_null() {
        failed(name);
        return gguf;
    }
    // SAFETY: NULL or room for one.
    if let Some(out) = unsafe { params.ctx.as_mut() } {
        let Some(ctx) = tensors(name, gguf, reader, max_chunk, size, params.no_alloc) else {
            // SAFETY: just given.
            unsafe { (t.gguf_free)(gguf) };
            return std::ptr::null_mut();
        };
        *out = Box::into_raw(ctx);
    }
    gguf
}

/// A context with the file's tensors. With data there is one tensor more, before them: all of the file's data, into which they point.
fn tensors(
    name: &str,
    gguf: *const gguf_context,
    read: &mut Reader<'_>,
    max_chunk: usize,
    size: u64,
    no_alloc: bool,
) -> Option<Box<ggml_context>> {
    let head = head(gguf);
    let all: Vec<camelid_gguf_tensor> = (0..head.n_tensors as i64).map_while(|i| tensor(gguf, i)).collect();
    let bytes = if no_alloc { 0 } else { all.last().map_or(0, |t| t.offset.saturating_add(t.size)) };
    let mut ctx =
        ggml_context::new(ggml_init_params { mem_size: mem_size(&head, bytes, no_alloc), mem_buffer: std::ptr::null_mut(), no_alloc });
    let mut data = std::ptr::null_mut::<c_void>();
    if !no_alloc {
        let in_file = size.saturating_sub(head.data_offset as u64);
        if bytes as u64 > in_file {
            log::error(&format!("{name}: {bytes} bytes of tensors, but {in_file} in the file"));
            return None;
        }
        let blob = ctx.add(I8, &[bytes as i64])?;
        blob.set_name(b"GGUF tensor data binary blob");
        data = blob.data;
        // SAFETY: as many bytes as the tensor was made with.
        let out = unsafe { ptr::slice_mut(data.cast::<u8>(), bytes) }?;
        if !fill(read, head.data_offset as u64, max_chunk, out) {
            log::error(&format!("{name}: cannot read {bytes} bytes of tensors"));
            return None;
        }
    }
    ctx.set_no_alloc(true);
    for t in all {
        // SAFETY: four numbers and a terminated string, of a live handle.
        let (ne, text) = unsafe { (ptr::slice(t.ne, 4)?, ptr::text(t.name)?) };
        let made = ctx.add(t.kind, ne)?;
        made.set_name(text.to_bytes());
        if !no_alloc {
            made.data = data.wrapping_byte_add(t.offset);
        }
    }
    ctx.set_no_alloc(no_alloc);
    Some(ctx)
}

/// What the original makes such a context with, and `ggml_get_mem_size` says: an object for each tensor, and the data up to where another would begin.
fn mem_size(head: &camelid_gguf_head, bytes: usize, no_alloc: bool) -> usize {
    let objects = head.n_tensors.saturating_add(usize::from(!no_alloc));
    let data = bytes.checked_next_multiple_of(head.alignment.max(1)).unwrap_or(bytes);
    objects.saturating_mul(OBJECT_SIZE + size_of::<ggml_tensor>()).saturating_add(data)
}

/// All of `out`, in as many pieces as it takes.
fn fill(read: &mut Reader<'_>, from: u64, max_chunk: usize, out: &mut [u8]) -> bool {
    let most = if max_chunk == 0 { usize::MAX } else { max_chunk };
    let mut at = 0;
    while at < out.len() {
        let end = out.len().min(at.saturating_add(most));
        let room = &mut out[at..end];
        let n = room.len();
        match read(from + at as u64, room).min(n) {
            0 => return false,
            n => at += n,
        }
    }
    true
}

/// Opens a file; with `params.ctx` also its tensors, without data if `params.no_alloc`. NULL, and a line in the log, where it cannot be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_init_from_file(fname: *const c_char, params: gguf_init_params) -> *mut gguf_context {
    // SAFETY: NULL or a terminated string.
    let Some(path) = (unsafe { ptr::text(fname) }) else { return std::ptr::null_mut() };
    let opened = std::fs::File::open(OsStr::from_bytes(path.to_bytes())).and_then(|f| f.metadata().map(|m| (f, m.len())));
    match opened {
        Ok((file, size)) => load("gguf_init_from_file", &mut |at, out| file.read_at(out, at).unwrap_or(0), 0, size, params),
        Err(e) => {
            // SAFETY: NULL or room for one.
            unsafe { ptr::put(params.ctx, std::ptr::null_mut()) };
            log::error(&format!("gguf_init_from_file: {}: {e}", path.to_string_lossy()));
            std::ptr::null_mut()
        }
    }
}

/// The same for an open file, from where it stands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_init_from_file_ptr(file: *mut libc::FILE, params: gguf_init_params) -> *mut gguf_context {
    if file.is_null() {
        return std::ptr::null_mut();
    }
    // SAFETY: an open stream, here and below.
    let (start, end) = unsafe {
        let start = libc::ftello(file);
        libc::fseeko(file, 0, libc::SEEK_END);
        (start, libc::ftello(file))
    };
    let (Ok(first), Ok(size)) = (u64::try_from(start), u64::try_from(end - start)) else {
        log::error("gguf_init_from_file_ptr: not a file that can be gone back in");
        return std::ptr::null_mut();
    };
    let mut read = |at: u64, out: &mut [u8]| {
        // SAFETY: as above; room for as many bytes.
        unsafe {
            match libc::fseeko(file, (first + at) as libc::off_t, libc::SEEK_SET) {
                0 => libc::fread(out.as_mut_ptr().cast(), 1, out.len(), file),
                _ => 0,
            }
        }
    };
    load("gguf_init_from_file_ptr", &mut read, 0, size, params)
}

/// The same for a file in memory; it is not used any more when this returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_init_from_buffer(data: *const c_void, size: usize, params: gguf_init_params) -> *mut gguf_context {
    // SAFETY: NULL or `size` bytes.
    let Some(bytes) = (unsafe { ptr::slice(data.cast::<u8>(), size) }) else { return std::ptr::null_mut() };
    let mut read = |at: u64, out: &mut [u8]| {
        let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
        let n = rest.len().min(out.len());
        out[..n].copy_from_slice(&rest[..n]);
        n
    };
    load("gguf_init_from_buffer", &mut read, 0, size as u64, params)
}

pub type gguf_reader_callback_t =
    Option<unsafe extern "C" fn(userdata: *mut c_void, output: *mut c_void, offset: u64, len: usize) -> usize>;

/// The same for a file that `callback` reads, `max_chunk_read` bytes at once (0: any number), `max_expected_size` in all.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_init_from_callback(
    callback: gguf_reader_callback_t,
    userdata: *mut c_void,
    max_chunk_read: usize,
    max_expected_size: u64,
    params: gguf_init_params,
) -> *mut gguf_context {
    let Some(callback) = callback else { return std::ptr::null_mut() };
    // SAFETY: a function of this type, as was promised; room for as many bytes.
    let mut read = |at: u64, out: &mut [u8]| unsafe { callback(userdata, out.as_mut_ptr().cast(), at, out.len()) };
    load("gguf_init_from_callback", &mut read, max_chunk_read, max_expected_size, params)
}

/// A file without key/values and tensors, to be filled.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_init_empty() -> *mut gguf_context {
    // SAFETY: takes no pointers.
    table().map_or(std::ptr::null_mut(), |t| unsafe { (t.gguf_new)() })
}

/// NULL: nothing. Tensors that `params.ctx` gave stay.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_free(ctx: *mut gguf_context) {
    if let Some(t) = table() {
        // SAFETY: the caller's promise.
        unsafe { (t.gguf_free)(ctx) }
    }
}

// ---- what a file says

/// "u32" and the like; NULL for a number that is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_type_name(kind: c_int) -> *const c_char {
    const NAMES: [&CStr; 13] = [c"u8", c"i8", c"u16", c"i16", c"u32", c"i32", c"f32", c"bool", c"str", c"arr", c"u64", c"i64", c"f64"];
    usize::try_from(kind).ok().and_then(|i| NAMES.get(i)).map_or(std::ptr::null(), |n| n.as_ptr())
}

fn head(ctx: *const gguf_context) -> camelid_gguf_head {
    let mut head = camelid_gguf_head::default();
    if let Some(t) = table().filter(|_| !ctx.is_null()) {
        // SAFETY: a handle, and room for one.
        unsafe { (t.gguf_head)(ctx, &mut head) };
    }
    head
}

fn kv(ctx: *const gguf_context, i: i64) -> Option<camelid_gguf_kv> {
    let mut kv = std::mem::MaybeUninit::uninit();
    let t = table().filter(|_| !ctx.is_null())?;
    // SAFETY: a handle, and room for one, written where the answer is true.
    unsafe { (t.gguf_kv)(ctx, i, kv.as_mut_ptr()).then(|| kv.assume_init()) }
}

fn tensor(ctx: *const gguf_context, i: i64) -> Option<camelid_gguf_tensor> {
    let mut tensor = std::mem::MaybeUninit::uninit();
    let t = table().filter(|_| !ctx.is_null())?;
    // SAFETY: a handle, and room for one, written where the answer is true.
    unsafe { (t.gguf_tensor)(ctx, i, tensor.as_mut_ptr()).then(|| tensor.assume_init()) }
}

/// The format's version; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_get_version(ctx: *const gguf_context) -> u32 {
    head(ctx).version
}

/// Data of tensors starts at multiples of this.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_get_alignment(ctx: *const gguf_context) -> usize {
    head(ctx).alignment
}

/// Where data starts in the file that was read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_get_data_offset(ctx: *const gguf_context) -> usize {
    head(ctx).data_offset
}

/// Number of key/values.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_get_n_kv(ctx: *const gguf_context) -> i64 {
    head(ctx).n_kv as i64
}

/// Where a key is; -1: nowhere.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_find_key(ctx: *const gguf_context, key: *const c_char) -> i64 {
    // SAFETY: the caller's promise.
    table().map_or(-1, |t| unsafe { (t.gguf_find_key)(ctx, key) })
}

/// NULL where there is no such key, as for all that follows: what is not there, or of another type, is NULL, 0 or false, and a line in the log.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_get_key(ctx: *const gguf_context, key_id: i64) -> *const c_char {
    kv(ctx, key_id).map_or(std::ptr::null(), |kv| kv.key)
}

/// `GGUF_TYPE_COUNT` where there is no such key.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_get_kv_type(ctx: *const gguf_context, key_id: i64) -> c_int {
    kv(ctx, key_id).map_or(kind::COUNT, |kv| kv.kind)
}

/// The type of an array's elements; `GGUF_TYPE_COUNT` where it is no array.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_get_arr_type(ctx: *const gguf_context, key_id: i64) -> c_int {
    kv(ctx, key_id).filter(|kv| kv.kind == kind::ARRAY).map_or(kind::COUNT, |kv| kv.element)
}

/// A value of that type.
fn value<T: Copy + Default>(name: &str, ctx: *const gguf_context, key_id: i64, wanted: c_int) -> T {
    match kv(ctx, key_id) {
        // SAFETY: a number of that type, of a live handle.
        Some(kv) if kv.kind == wanted => unsafe { kv.data.cast::<T>().read() },
        Some(kv) => {
            log::error(&format!("{name}: key/value {key_id} is of type {}, not {wanted}", kv.kind));
            T::default()
        }
        None => {
            log::error(&format!("{name}: there is no key/value {key_id}"));
            T::default()
        }
    }
}

/// The value of a key of that type; 0 for another.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_get_val_u8(ctx: *const gguf_context, key_id: i64) -> u8 {
    value("gguf_get_val_u8", ctx, key_id, kind::U8)
}

/// The value of a key of that type; 0 for another.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_get_val_i8(ctx: *const gguf_context, key_id: i64) -> i8 {
    value("gguf_get_val_i8", ctx, key_id, kind::I8)
}

/// The value of a key of that type; 0 for another.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_get_val_u16(ctx: *const gguf_context, key_id: i64) -> u16 {
    value("gguf_get_val_u16", ctx, key_id, kind::U16)
}

/// The value of a key of that type; 0 for another.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_get_val_i16(ctx: *const gguf_context, key_id: i64) -> i16 {
    value("gguf_get_val_i16", ctx, key_id, kind::I16)
}

/// The value of a key of that type; 0 for another.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_get_val_u32(ctx: *const gguf_context, key_id: i64) -> u32 {
    value("gguf_get_val_u32", ctx, key_id, kind::U32)
}

/// The value of a key of that type; 0 for another.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_get_val_i32(ctx: *const gguf_context, key_id: i64) -> i32 {
    value("gguf_get_val_i32", ctx, key_id, kind::I32)
}

/// The value of a key of that type; 0 for another.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_get_val_f32(ctx: *const gguf_context, key_id: i64) -> f32 {
    value("gguf_get_val_f32", ctx, key_id, kind::F32)
}

/// The value of a key of that type; 0 for another.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_get_val_u64(ctx: *const gguf_context, key_id: i64) -> u64 {
    value("gguf_get_val_u64", ctx, key_id, kind::U64)
}

/// The value of a key of that type; 0 for another.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_get_val_i64(ctx: *const gguf_context, key_id: i64) -> i64 {
    value("gguf_get_val_i64", ctx, key_id, kind::I64)
}

/// The value of a key of that type; 0 for another.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_get_val_f64(ctx: *const gguf_context, key_id: i64) -> f64 {
    value("gguf_get_val_f64", ctx, key_id, kind::F64)
}

/// The value of a key of that type; false for another.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_get_val_bool(ctx: *const gguf_context, key_id: i64) -> bool {
    value("gguf_get_val_bool", ctx, key_id, kind::BOOL)
}

fn text(name: &str, ctx: *const gguf_context, key_id: i64, j: usize) -> *const c_char {
    // SAFETY: a handle.
    let found = table().filter(|_| !ctx.is_null()).map_or(std::ptr::null(), |t| unsafe { (t.gguf_text)(ctx, key_id, j) });
    if found.is_null() {
        failed(name);
    }
    found
}

/// A string, up to its first NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_get_val_str(ctx: *const gguf_context, key_id: i64) -> *const c_char {
    match kv(ctx, key_id) {
        Some(kv) if kv.kind != kind::STRING => {
            log::error(&format!("gguf_get_val_str: key/value {key_id} is of type {}, no string", kv.kind));
            std::ptr::null()
        }
        _ => text("gguf_get_val_str", ctx, key_id, 0),
    }
}

/// Where a number is; NULL for strings and arrays.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_get_val_data(ctx: *const gguf_context, key_id: i64) -> *const c_void {
    kv(ctx, key_id).filter(|kv| kv.kind != kind::ARRAY).map_or(std::ptr::null(), |kv| kv.data)
}

/// Elements of an array; 0 where it is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_get_arr_n(ctx: *const gguf_context, key_id: i64) -> usize {
    kv(ctx, key_id).filter(|kv| kv.kind == kind::ARRAY).map_or(0, |kv| kv.n)
}

/// Where an array of numbers is; NULL for strings. Booleans take a byte each.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_get_arr_data(ctx: *const gguf_context, key_id: i64) -> *const c_void {
    kv(ctx, key_id).filter(|kv| kv.kind == kind::ARRAY).map_or(std::ptr::null(), |kv| kv.data)
}

/// String `i` of an array of strings, up to its first NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_get_arr_str(ctx: *const gguf_context, key_id: i64, i: usize) -> *const c_char {
    match kv(ctx, key_id) {
        Some(kv) if kv.kind != kind::ARRAY => {
            log::error(&format!("gguf_get_arr_str: key/value {key_id} is of type {}, no array", kv.kind));
            std::ptr::null()
        }
        _ => text("gguf_get_arr_str", ctx, key_id, i),
    }
}

// ---- tensors

/// Number of tensors.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_get_n_tensors(ctx: *const gguf_context) -> i64 {
    head(ctx).n_tensors as i64
}

/// Where a tensor is; -1: nowhere.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_find_tensor(ctx: *const gguf_context, name: *const c_char) -> i64 {
    // SAFETY: the caller's promise.
    table().map_or(-1, |t| unsafe { (t.gguf_find_tensor)(ctx, name) })
}

/// Where its data is, from the start of all data; 0 where there is no such tensor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_get_tensor_offset(ctx: *const gguf_context, tensor_id: i64) -> usize {
    tensor(ctx, tensor_id).map_or(0, |t| t.offset)
}

/// NULL where there is no such tensor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_get_tensor_name(ctx: *const gguf_context, tensor_id: i64) -> *const c_char {
    tensor(ctx, tensor_id).map_or(std::ptr::null(), |t| t.name)
}

/// Four numbers, 1 beyond its own dimensions; NULL where there is no such tensor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_get_tensor_ne(ctx: *const gguf_context, tensor_id: i64) -> *const i64 {
    tensor(ctx, tensor_id).map_or(std::ptr::null(), |t| t.ne)
}

/// `GGML_TYPE_COUNT` where there is no such tensor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_get_tensor_type(ctx: *const gguf_context, tensor_id: i64) -> c_int {
    tensor(ctx, tensor_id).map_or(TYPE_COUNT, |t| t.kind)
}

/// Its bytes; 0 where there is no such tensor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguf_get_tensor_size(ctx: *const gguf_context, tensor_id: i64) -> usize {
    tensor(ctx, tensor_id).map_or(0, |t| t.size)
}
