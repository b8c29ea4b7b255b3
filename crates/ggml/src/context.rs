//! ggml.h: tensors in contexts, as data: made, named, found, freed with their context. Computes nothing with them.
use crate::abi::{ggml_init_params, ggml_tensor};
use crate::log;
use crate::ptr;
use crate::tensor::{ALIGN, OBJECT_SIZE};
use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What vectors of any CPU may load from.
const DATA_ALIGN: usize = 64;

/// Tensors and, where they are not told otherwise, their data. One thread at a time where something changes.
pub struct ggml_context {
    params: ggml_init_params,
    #[expect(clippy::vec_box, reason = "callers hold pointers to them")]
    tensors: Vec<Box<ggml_tensor>>,
    data: Vec<Memory>,
    /// Bytes of tensors and data, as the original counts them.
    used: usize,
    /// Where the last tensor was that somebody asked the next of.
    last: AtomicUsize,
}

/// Zeroed bytes; may be refused.
pub struct Memory {
    pub at: *mut c_void,
    pub size: usize,
}

impl Memory {
    pub fn new(size: usize, align: usize) -> Option<Memory> {
        let mut at = std::ptr::null_mut();
        // SAFETY: room for a pointer; a power of two that is a multiple of a pointer's size.
        if unsafe { libc::posix_memalign(&mut at, align, size.max(1)) } != 0 {
            return None;
        }
        // SAFETY: as many bytes as were just given.
        unsafe { at.cast::<u8>().write_bytes(0, size) };
        Some(Memory { at, size })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: given by posix_memalign, freed once.
        unsafe { libc::free(self.at) }
    }
}

impl ggml_context {
    pub fn new(params: ggml_init_params) -> Box<ggml_context> {
        Box::new(ggml_context { params, tensors: Vec::new(), data: Vec::new(), used: 0, last: AtomicUsize::new(0) })
    }
    pub fn tensors(&self) -> &[Box<ggml_tensor>] {
        &self.tensors
    }
    pub fn tensors_mut(&mut self) -> &mut [Box<ggml_tensor>] {
        &mut self.tensors
    }
    pub fn set_no_alloc(&mut self, no_alloc: bool) {
        self.params.no_alloc = no_alloc;
    }
    /// A tensor of this shape; with data, unless the context allocates none.
    pub fn add(&mut self, kind: c_int, ne: &[i64]) -> Option<&mut ggml_tensor> {
        // SAFETY: numbers, arrays of them and pointers: zeroes are valid.
        let mut t: Box<ggml_tensor> = Box::new(unsafe { std::mem::zeroed() });
        if !t.shape(kind, ne) {
            log::error(&format!("ggml_new_tensor: type {kind} cannot have the shape {ne:?}"));
            return None;
        }
        if !self.params.no_alloc {
            t.data = self.allocate(t.n_bytes())?;
        }
        self.used += OBJECT_SIZE + size_of::<ggml_tensor>();
        self.tensors.push(t);
        self.tensors.last_mut().map(|t| &mut **t)
    }
    fn allocate(&mut self, size: usize) -> Option<*mut c_void> {
        let memory = Memory::new(size, DATA_ALIGN);
        if memory.is_none() {
            log::error(&format!("ggml: no memory for {size} bytes of a tensor"));
        }
        let memory = memory?;
        let at = memory.at;
        self.used = self.used.saturating_add(size);
        self.data.push(memory);
        Some(at)
    }
    fn position(&self, t: *const ggml_tensor) -> Option<usize> {
        let last = self.last.load(Ordering::Relaxed);
        let is = |i: &usize| self.tensors.get(*i).is_some_and(|o| std::ptr::eq(&**o, t));
        // Whoever asks for the next one goes on asking.
        [last, last + 1].into_iter().find(is).or_else(|| (0..self.tensors.len()).find(is))
    }
    fn next(&self, t: *const ggml_tensor) -> Option<&ggml_tensor> {
        let i = self.position(t)?;
        self.last.store(i, Ordering::Relaxed);
        self.tensors.get(i + 1).map(|t| &**t)
    }
}

fn given(t: Option<&ggml_tensor>) -> *mut ggml_tensor {
    t.map_or(std::ptr::null_mut(), |t| std::ptr::from_ref(t).cast_mut())
}

fn made(t: Option<&mut ggml_tensor>) -> *mut ggml_tensor {
    t.map_or(std::ptr::null_mut(), std::ptr::from_mut)
}

/// A context for tensors. Memory comes from the system as tensors need it: `mem_buffer` stays untouched, and `mem_size` is no limit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_init(params: ggml_init_params) -> *mut ggml_context {
    Box::into_raw(ggml_context::new(params))
}

/// Frees all tensors; the context stays.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_reset(ctx: Option<&mut ggml_context>) {
    if let Some(c) = ctx {
        *c = *ggml_context::new(c.params);
    }
}

/// Frees a context and its tensors; NULL: nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_free(ctx: *mut ggml_context) {
    if !ctx.is_null() {
        // SAFETY: made by ggml_init, freed once.
        drop(unsafe { Box::from_raw(ctx) });
    }
}

/// Bytes of tensors and of what data they have here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_used_mem(ctx: Option<&ggml_context>) -> usize {
    ctx.map_or(0, |c| c.used)
}

/// Whether tensors are made without data.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_get_no_alloc(ctx: Option<&ggml_context>) -> bool {
    ctx.is_some_and(|c| c.params.no_alloc)
}

/// Whether tensors are made without data from now on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_set_no_alloc(ctx: Option<&mut ggml_context>, no_alloc: bool) {
    if let Some(c) = ctx {
        c.params.no_alloc = no_alloc;
    }
}

/// What `ggml_init` was given.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_get_mem_buffer(ctx: Option<&ggml_context>) -> *mut c_void {
    ctx.map_or(std::ptr::null_mut(), |c| c.params.mem_buffer)
}

/// What `ggml_init` was given; without a buffer in whole 16 bytes, at least.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_get_mem_size(ctx: Option<&ggml_context>) -> usize {
    ctx.map_or(0, |c| match c.params.mem_size {
        size if c.params.mem_buffer.is_null() => size.max(1).checked_next_multiple_of(ALIGN).unwrap_or(size),
        size => size,
    })
}

/// Bytes of the largest tensor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_get_max_tensor_size(ctx: Option<&ggml_context>) -> usize {
    ctx.map_or(0, |c| c.tensors.iter().map(|t| t.n_bytes()).max().unwrap_or(0))
}

/// A tensor with `n_dims` (1 to 4) dimensions; NULL, and a line in the log, where it cannot be: no such type, rows of no whole blocks, no memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_new_tensor(ctx: Option<&mut ggml_context>, kind: c_int, n_dims: c_int, ne: *const i64) -> *mut ggml_tensor {
    let n = usize::try_from(n_dims).ok().filter(|n| (1..=4).contains(n));
    // SAFETY: the caller promises `n_dims` numbers.
    let ne = n.and_then(|n| unsafe { ptr::slice(ne, n) });
    made(ctx.zip(ne).and_then(|(c, ne)| c.add(kind, ne)))
}

/// The same with one dimension.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_new_tensor_1d(ctx: Option<&mut ggml_context>, kind: c_int, ne0: i64) -> *mut ggml_tensor {
    made(ctx.and_then(|c| c.add(kind, &[ne0])))
}

/// The same with two dimensions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_new_tensor_2d(ctx: Option<&mut ggml_context>, kind: c_int, ne0: i64, ne1: i64) -> *mut ggml_tensor {
    made(ctx.and_then(|c| c.add(kind, &[ne0, ne1])))
}

/// The same with three dimensions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_new_tensor_3d(ctx: Option<&mut ggml_context>, kind: c_int, ne0: i64, ne1: i64, ne2: i64) -> *mut ggml_tensor {
    made(ctx.and_then(|c| c.add(kind, &[ne0, ne1, ne2])))
}

/// The same with four dimensions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_new_tensor_4d(
    ctx: Option<&mut ggml_context>,
    kind: c_int,
    ne0: i64,
    ne1: i64,
    ne2: i64,
    ne3: i64,
) -> *mut ggml_tensor {
    made(ctx.and_then(|c| c.add(kind, &[ne0, ne1, ne2, ne3])))
}

/// Memory that is freed with the context; NULL where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_new_buffer(ctx: Option<&mut ggml_context>, nbytes: usize) -> *mut c_void {
    ctx.and_then(|c| c.allocate(nbytes)).unwrap_or(std::ptr::null_mut())
}

/// A tensor of the same type and shape.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_dup_tensor(ctx: Option<&mut ggml_context>, src: Option<&ggml_tensor>) -> *mut ggml_tensor {
    made(ctx.zip(src).and_then(|(c, s)| c.add(s.r#type, &s.ne)))
}

/// Another tensor over the same data.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_view_tensor(ctx: Option<&mut ggml_context>, src: Option<&mut ggml_tensor>) -> *mut ggml_tensor {
    let (Some(c), Some(s)) = (ctx, src) else { return std::ptr::null_mut() };
    let no_alloc = std::mem::replace(&mut c.params.no_alloc, true);
    let view = c.add(s.r#type, &s.ne).map(|t| {
        (t.nb, t.data, t.buffer) = (s.nb, s.data, s.buffer);
        (t.view_src, t.view_offs) = match s.view_src.is_null() {
            true => (std::ptr::from_mut(s), 0),
            false => (s.view_src, s.view_offs),
        };
        std::ptr::from_mut(t)
    });
    c.params.no_alloc = no_alloc;
    view.unwrap_or(std::ptr::null_mut())
}

/// The first tensor of a context; NULL where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_get_first_tensor(ctx: Option<&ggml_context>) -> *mut ggml_tensor {
    given(ctx.and_then(|c| c.tensors.first()).map(|t| &**t))
}

/// The one after `tensor`; NULL behind the last, and where `tensor` is not of this context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_get_next_tensor(ctx: Option<&ggml_context>, tensor: *mut ggml_tensor) -> *mut ggml_tensor {
    given(ctx.and_then(|c| c.next(tensor)))
}

/// The first of that name; NULL where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_get_tensor(ctx: Option<&ggml_context>, name: *const c_char) -> *mut ggml_tensor {
    // SAFETY: NULL or a terminated string.
    let Some(name) = (unsafe { ptr::text(name) }) else { return std::ptr::null_mut() };
    // SAFETY: names in tensors are terminated.
    let is = |t: &&ggml_tensor| unsafe { ptr::text(t.name.as_ptr()) } == Some(name);
    given(ctx.and_then(|c| c.tensors.iter().map(|t| &**t).find(is)))
}

/// Zeroes all data of a tensor. Returns it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_set_zero(tensor: *mut ggml_tensor) -> *mut ggml_tensor {
    // SAFETY: NULL or a tensor whose data has the bytes that its shape says.
    unsafe {
        if let Some(t) = tensor.as_mut().filter(|t| !t.data.is_null()) {
            t.data.cast::<u8>().write_bytes(0, t.n_bytes());
        }
    }
    tensor
}
