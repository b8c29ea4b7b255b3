//! What callers look into: layouts of the original's structs. Nothing else.
use crate::buffer::Buffer;
use std::ffi::{c_char, c_int, c_void};

pub const MAX_DIMS: usize = 4;
pub const MAX_NAME: usize = 64;
pub const MAX_N_THREADS: usize = 512;
/// The number of types, and the answer where there is none.
pub const TYPE_COUNT: c_int = 43;

#[repr(C)]
pub struct ggml_tensor {
    pub r#type: c_int,
    pub buffer: *const Buffer,
    /// elements
    pub ne: [i64; MAX_DIMS],
    /// bytes from one element (a block, in the first) to the next
    pub nb: [usize; MAX_DIMS],
    pub op: c_int,
    pub op_params: [i32; 16],
    pub flags: i32,
    pub src: [*mut ggml_tensor; 10],
    pub view_src: *mut ggml_tensor,
    pub view_offs: usize,
    pub data: *mut c_void,
    pub name: [c_char; MAX_NAME],
    pub extra: *mut c_void,
    pub padding: [c_char; 8],
}

// As ggml.h has it; libllama's is held to the same numbers.
const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<ggml_tensor>() == 336 && offset_of!(ggml_tensor, op) == 80 && offset_of!(ggml_tensor, src) == 152);
    assert!(offset_of!(ggml_tensor, data) == 248 && offset_of!(ggml_tensor, name) == 256);
};

#[repr(C)]
#[derive(Clone, Copy)]
pub struct ggml_init_params {
    pub mem_size: usize,
    pub mem_buffer: *mut c_void,
    pub no_alloc: bool,
}

#[repr(C)]
pub struct ggml_threadpool_params {
    pub cpumask: [bool; MAX_N_THREADS],
    pub n_threads: c_int,
    pub prio: c_int,
    pub poll: u32,
    pub strict_cpu: bool,
    pub paused: bool,
}

#[repr(C)]
pub struct ggml_backend_dev_caps {
    pub r#async: bool,
    pub host_buffer: bool,
    pub buffer_from_host_ptr: bool,
    pub events: bool,
    pub mmap_support: bool,
}

#[repr(C)]
pub struct ggml_backend_dev_props {
    pub name: *const c_char,
    pub description: *const c_char,
    pub memory_free: usize,
    pub memory_total: usize,
    pub r#type: c_int,
    pub device_id: *const c_char,
    pub caps: ggml_backend_dev_caps,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct ggml_opt_optimizer_params {
    pub adamw: AdamW,
    pub sgd: Sgd,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct AdamW {
    pub alpha: f32,
    pub beta1: f32,
    pub beta2: f32,
    pub eps: f32,
    pub wd: f32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sgd {
    pub alpha: f32,
    pub wd: f32,
}

pub use crate::context::ggml_context;
pub use crate::table::camelid_gguf as gguf_context;

#[repr(C)]
pub struct gguf_init_params {
    pub no_alloc: bool,
    pub ctx: *mut *mut ggml_context,
}
