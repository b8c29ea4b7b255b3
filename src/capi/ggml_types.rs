//! camelid.h: what a libggml asks of this library. Types only: crates/ggml reads this very file, so that both sides agree.
#![allow(non_camel_case_types, missing_docs, reason = "the names of a C header")]
use std::ffi::{c_char, c_int, c_void};

/// The key/values and the tensor list of a GGUF file, read or to be written. One thread at a time where something changes.
pub struct camelid_gguf {
    _private: [u8; 0],
}

/// A tensor type.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct camelid_ggml_type {
    /// `q4_K`; good for ever
    pub name: *const c_char,
    /// elements per block
    pub block_len: usize,
    /// bytes per block
    pub block_bytes: usize,
    pub is_quantized: bool,
    /// rows are written with importance only
    pub needs_importance: bool,
}

/// A device that models can be computed on.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct camelid_ggml_device {
    /// good for ever, as is `description`
    pub name: *const c_char,
    pub description: *const c_char,
    /// bytes
    pub memory_free: usize,
    pub memory_total: usize,
    /// `GGML_BACKEND_DEVICE_TYPE_*`
    pub kind: c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct camelid_gguf_head {
    pub version: u32,
    pub alignment: usize,
    /// from the start of the file
    pub data_offset: usize,
    pub n_kv: usize,
    pub n_tensors: usize,
}

/// A key and its value. Pointers are good until the pair is changed, removed, or the handle is freed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct camelid_gguf_kv {
    pub key: *const c_char,
    /// `GGUF_TYPE_*`
    pub kind: c_int,
    /// of an array's elements, which are never arrays; -1 where the value is none
    pub element: c_int,
    /// number of elements; 1 where the value is no array
    pub n: usize,
    /// the number, or the first of the array's; NULL for strings, which `gguf_text` gives
    pub data: *const c_void,
}

/// A tensor of a file. Pointers as above.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct camelid_gguf_tensor {
    pub name: *const c_char,
    /// `GGML_TYPE_*`
    pub kind: c_int,
    /// 4 of them; 1 beyond the tensor's own
    pub ne: *const i64,
    /// from the start of the data section
    pub offset: usize,
    /// bytes
    pub size: usize,
    /// what will be written, as it was given; NULL for a tensor that was read from a file
    pub data: *const c_void,
}

/// Up to `len` bytes at `offset` into `output`; returns how many.
pub type camelid_read = unsafe extern "C" fn(userdata: *mut c_void, output: *mut c_void, offset: u64, len: usize) -> usize;

/// Takes all of `len` bytes, or returns false.
pub type camelid_write = unsafe extern "C" fn(userdata: *mut c_void, bytes: *const c_void, len: usize) -> bool;

/// What a libggml asks of this library. A handle is one of `gguf_new` or `gguf_read_*`; NULL is none, a failure. Why something failed is said by
/// `last_error`, and nothing is logged.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct camelid_ggml_table {
    /// of this struct, as this library knows it: fields are only ever added at the end
    pub size: usize,
    /// 1; another one when something that was there means something else
    pub version: u32,

    /// why a function of this table failed last in this thread; good until it is asked again
    pub last_error: unsafe extern "C" fn() -> *const c_char,
    /// a line to where `llama_log_set` sends them; `level` is one of `GGML_LOG_LEVEL_*`
    pub log: unsafe extern "C" fn(level: c_int, line: *const c_char),

    /// false: there is no such type
    pub type_info: unsafe extern "C" fn(kind: c_int, info: *mut camelid_ggml_type) -> bool,
    /// a row of `n` elements as floats
    pub to_float: unsafe extern "C" fn(kind: c_int, row: *const c_void, floats: *mut f32, n: i64) -> bool,
    /// `n_rows` rows of `n` elements each; `importance` is NULL or has a number per column
    pub from_float:
        unsafe extern "C" fn(kind: c_int, floats: *const f32, rows: *mut c_void, n_rows: i64, n: i64, importance: *const f32) -> bool,
    /// whether the blocks of `n_bytes` bytes hold numbers only
    pub is_valid: unsafe extern "C" fn(kind: c_int, rows: *const c_void, n_bytes: usize) -> bool,

    pub n_devices: unsafe extern "C" fn() -> usize,
    /// false: there is no such device
    pub device: unsafe extern "C" fn(i: usize, device: *mut camelid_ggml_device) -> bool,

    /// no key/values, no tensors
    pub gguf_new: unsafe extern "C" fn() -> *mut camelid_gguf,
    pub gguf_read_file: unsafe extern "C" fn(path: *const c_char) -> *mut camelid_gguf,
    /// a file of at most `size` bytes that `read` gives; at most `max_chunk` at once, 0: any number
    pub gguf_read:
        unsafe extern "C" fn(read: Option<camelid_read>, userdata: *mut c_void, max_chunk: usize, size: u64) -> *mut camelid_gguf,
    pub gguf_free: unsafe extern "C" fn(gguf: *mut camelid_gguf),
    pub gguf_head: unsafe extern "C" fn(gguf: *const camelid_gguf, head: *mut camelid_gguf_head) -> bool,

    /// -1: there is no such key
    pub gguf_find_key: unsafe extern "C" fn(gguf: *const camelid_gguf, key: *const c_char) -> i64,
    pub gguf_kv: unsafe extern "C" fn(gguf: *const camelid_gguf, i: i64, kv: *mut camelid_gguf_kv) -> bool,
    /// string `j` of an array of strings, or (0) a string
    pub gguf_text: unsafe extern "C" fn(gguf: *const camelid_gguf, i: i64, j: usize) -> *const c_char,
    /// A number (`element` -1, `n` 1), an array of `n` numbers, or strings: `data` then is a `const char * const *` of `n` of them. A key that is
    /// there moves to the end.
    pub gguf_set: unsafe extern "C" fn(
        gguf: *mut camelid_gguf,
        key: *const c_char,
        kind: c_int,
        element: c_int,
        data: *const c_void,
        n: usize,
    ) -> bool,
    /// where the key was; -1: there was none
    pub gguf_remove_key: unsafe extern "C" fn(gguf: *mut camelid_gguf, key: *const c_char) -> i64,
    /// every key/value of `from`
    pub gguf_set_all: unsafe extern "C" fn(gguf: *mut camelid_gguf, from: *const camelid_gguf) -> bool,

    /// -1: there is no such tensor
    pub gguf_find_tensor: unsafe extern "C" fn(gguf: *const camelid_gguf, name: *const c_char) -> i64,
    pub gguf_tensor: unsafe extern "C" fn(gguf: *const camelid_gguf, i: i64, tensor: *mut camelid_gguf_tensor) -> bool,
    /// `ne` has `n_dims` elements; `data`, which may come later, is read when the file is written
    pub gguf_add_tensor: unsafe extern "C" fn(
        gguf: *mut camelid_gguf,
        name: *const c_char,
        kind: c_int,
        n_dims: usize,
        ne: *const i64,
        data: *const c_void,
    ) -> bool,
    pub gguf_set_tensor_type: unsafe extern "C" fn(gguf: *mut camelid_gguf, name: *const c_char, kind: c_int) -> bool,
    pub gguf_set_tensor_data: unsafe extern "C" fn(gguf: *mut camelid_gguf, name: *const c_char, data: *const c_void) -> bool,

    /// The beginning of the file up to its data, into `bytes` (which may be NULL) as far as `size` goes; returns how long it is, 0 on failure.
    pub gguf_meta: unsafe extern "C" fn(gguf: *const camelid_gguf, bytes: *mut c_void, size: usize) -> usize,
    /// all of the file, or what `gguf_meta` gives
    pub gguf_write:
        unsafe extern "C" fn(gguf: *const camelid_gguf, only_meta: bool, write: Option<camelid_write>, userdata: *mut c_void) -> bool,
}
