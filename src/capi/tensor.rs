//! `ggml_tensor` as programs read it, filled for them to look at. Numbers of types and ops are ggml's; buffers come from the program's own libggml.
use super::host;
use super::types::ggml_tensor;
use crate::gguf::DType;
use std::ffi::c_void;
use std::ptr::NonNull;

// As ggml.h has it; libggml's is held to the same numbers.
const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<ggml_tensor>() == 336 && offset_of!(ggml_tensor, op) == 80 && offset_of!(ggml_tensor, src) == 152);
    assert!(offset_of!(ggml_tensor, data) == 248 && offset_of!(ggml_tensor, name) == 256);
};

impl ggml_tensor {
    /// Named as ggml would cut the name, without sources, buffer or data. `nb` are bytes.
    pub fn new(name: &str, ty: i32, ne: [i64; 4], nb: [usize; 4]) -> ggml_tensor {
        let mut t = ggml_tensor {
            r#type: ty,
            buffer: std::ptr::null_mut(),
            ne,
            nb,
            op: 0,
            op_params: [0; 16],
            flags: 0,
            src: [std::ptr::null_mut(); 10],
            view_src: std::ptr::null_mut(),
            view_offs: 0,
            data: std::ptr::null_mut(),
            name: [0; 64],
            extra: std::ptr::null_mut(),
            padding: [0; 8],
        };
        let room = t.name.len() - 1;
        t.name.iter_mut().zip(name.bytes().take(room)).for_each(|(to, b)| *to = b as std::ffi::c_char);
        t
    }

    /// Dense rows of a type of weights.
    pub fn weight(name: &str, ty: DType, ne: [usize; 3]) -> ggml_tensor {
        let row = ty.row_bytes(ne[0]).unwrap_or(0);
        let nb = [ty.block_bytes(), row, row * ne[1], row * ne[1] * ne[2]];
        ggml_tensor::new(name, ty as i32, four(ne), nb)
    }
}

/// With the fourth dimension that ggml has.
pub fn four(ne: [usize; 3]) -> [i64; 4] {
    [ne[0] as i64, ne[1] as i64, ne[2] as i64, 1]
}

/// A buffer of the program's libggml that says "host memory" of whatever tensor points to it, so that the program's own accessors read it.
pub struct HostBuffer(Option<NonNull<c_void>>);

/// What the buffer is of: ggml wants memory that begins at a multiple of 32.
#[repr(align(64))]
struct Anchor([u8; 64]);
static ANCHOR: Anchor = Anchor([0; 64]);

type FromPtr = unsafe extern "C" fn(ptr: *mut c_void, size: usize) -> *mut c_void;
type Free = unsafe extern "C" fn(buffer: *mut c_void);

impl HostBuffer {
    /// None of its kind where the program has no libggml.
    pub fn new() -> HostBuffer {
        let make = host::symbol(c"ggml_backend_cpu_buffer_from_ptr");
        // SAFETY: ggml's function of that name has this type; memory that lives as long as the process, which nobody writes through the buffer.
        HostBuffer(make.and_then(|f| unsafe {
            let make: FromPtr = std::mem::transmute(f);
            NonNull::new(make((&raw const ANCHOR.0).cast_mut().cast(), ANCHOR.0.len()))
        }))
    }
    pub fn get(&self) -> *mut c_void {
        self.0.map_or(std::ptr::null_mut(), NonNull::as_ptr)
    }
}

impl Drop for HostBuffer {
    fn drop(&mut self) {
        let free = host::symbol(c"ggml_backend_buffer_free");
        if let (Some(buffer), Some(f)) = (self.0, free) {
            // SAFETY: ggml's function of that name has this type; the buffer came from the same library and is given up.
            unsafe { std::mem::transmute::<NonNull<c_void>, Free>(f)(buffer.as_ptr()) }
        }
    }
}

// SAFETY: a handle that is passed around and freed once, from one thread at a time.
unsafe impl Send for HostBuffer {}
