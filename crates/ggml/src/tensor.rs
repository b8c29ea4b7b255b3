//! ggml.h: what a tensor says of itself: sizes, shapes, strides, names, flags. Never reads its data.
use crate::abi::{MAX_DIMS, MAX_NAME, ggml_tensor};
use crate::ptr;
use crate::types::{info, row_size};
use std::ffi::{c_char, c_int, c_void};

/// GGML_MEM_ALIGN.
pub const ALIGN: usize = 16;
/// The original's bookkeeping per tensor: callers size their contexts by it.
pub const OBJECT_SIZE: usize = 32;

impl ggml_tensor {
    pub fn n_elements(&self) -> i64 {
        self.ne.iter().fold(1, |n, ne| n.wrapping_mul(*ne))
    }
    fn n_rows(&self) -> i64 {
        self.ne[1..].iter().fold(1, |n, ne| n.wrapping_mul(*ne))
    }
    /// From the first byte to the last, gaps and all; 0 where there are no elements, or the type is none.
    pub fn n_bytes(&self) -> usize {
        let Some(i) = info(self.r#type).filter(|_| self.ne.iter().all(|n| *n > 0)) else { return 0 };
        // Callers fill these in: what does not fit is as large as can be.
        let step = |d: usize| (self.ne[d] as usize - 1).saturating_mul(self.nb[d]);
        let steps = |from: usize| (from..MAX_DIMS).fold(0usize, |n, d| n.saturating_add(step(d)));
        match i.block_len {
            1 => i.block_bytes.saturating_add(steps(0)),
            len => ((self.ne[0] as usize).saturating_mul(self.nb[0]) / len).saturating_add(steps(1)),
        }
    }
    pub fn n_dims(&self) -> usize {
        (2..=MAX_DIMS).rev().find(|d| self.ne[d - 1] > 1).unwrap_or(1)
    }
    /// `n_bytes` up to a multiple of `align`.
    pub fn padded(&self, align: usize) -> usize {
        self.n_bytes().checked_next_multiple_of(align).unwrap_or(usize::MAX)
    }
    /// Strides are what they are without gaps in all dimensions above `n`: below it they may be anything.
    fn is_contiguous(&self, n: usize) -> bool {
        let Some(i) = info(self.r#type) else { return false };
        let mut next = i.block_bytes;
        if self.ne[0] != i.block_len as i64 && self.nb[0] != next {
            return false;
        }
        next = next.wrapping_mul(self.ne[0] as usize / i.block_len.max(1));
        for d in 1..MAX_DIMS {
            if self.ne[d] != 1 {
                if d > n && self.nb[d] != next {
                    return false;
                }
                next = (self.ne[d] as usize).wrapping_mul(if d > n { next } else { self.nb[d] });
            }
        }
        true
    }
    /// Sets shape and strides; false, and nothing set, where a row is no whole number of blocks or sizes overflow.
    pub fn shape(&mut self, kind: c_int, ne: &[i64]) -> bool {
        let mut all = [1; MAX_DIMS];
        let Some(own) = all.get_mut(..ne.len()) else { return false };
        own.copy_from_slice(ne);
        let Some(i) = info(kind).filter(|_| all.iter().all(|n| *n >= 0)) else { return false };
        if all[0] != 0 && row_size(kind, all[0]) == 0 {
            return false;
        }
        let mut nb = [i.block_bytes, row_size(kind, all[0]), 0, 0];
        for d in 2..MAX_DIMS {
            let Some(n) = nb[d - 1].checked_mul(all[d - 1] as usize) else { return false };
            nb[d] = n;
        }
        if nb[3].checked_mul(all[3] as usize).is_none_or(|n| i64::try_from(n).is_err()) {
            return false;
        }
        (self.r#type, self.ne, self.nb) = (kind, all, nb);
        true
    }
    pub fn set_name(&mut self, name: &[u8]) {
        let n = name.len().min(MAX_NAME - 1);
        self.name = [0; MAX_NAME];
        self.name.iter_mut().zip(&name[..n]).for_each(|(to, from)| *to = *from as c_char);
    }
}

/// Elements; 0 for NULL, as all that follows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_nelements(tensor: Option<&ggml_tensor>) -> i64 {
    tensor.map_or(0, ggml_tensor::n_elements)
}

/// Rows: elements without the first dimension.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_nrows(tensor: Option<&ggml_tensor>) -> i64 {
    tensor.map_or(0, ggml_tensor::n_rows)
}

/// Bytes from its first to its last, gaps and all.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_nbytes(tensor: Option<&ggml_tensor>) -> usize {
    tensor.map_or(0, ggml_tensor::n_bytes)
}

/// The same up to a multiple of 16.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_nbytes_pad(tensor: Option<&ggml_tensor>) -> usize {
    tensor.map_or(0, |t| t.padded(ALIGN))
}

/// Bytes of an element, or of a block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_element_size(tensor: Option<&ggml_tensor>) -> usize {
    tensor.and_then(|t| info(t.r#type)).map_or(0, |i| i.block_bytes)
}

/// Dimensions, 1 to 4: up to the last that is more than 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_n_dims(tensor: Option<&ggml_tensor>) -> c_int {
    tensor.map_or(0, |t| t.n_dims() as c_int)
}

/// The second dimension's step is smaller than the first's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_is_transposed(tensor: Option<&ggml_tensor>) -> bool {
    tensor.is_some_and(|t| t.nb[0] > t.nb[1])
}

/// The steps of dimensions do not ascend.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_is_permuted(tensor: Option<&ggml_tensor>) -> bool {
    tensor.is_some_and(|t| !t.nb.is_sorted())
}

/// No elements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_is_empty(tensor: Option<&ggml_tensor>) -> bool {
    tensor.is_some_and(|t| t.ne.contains(&0))
}

/// Its data belongs to another tensor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_is_view(tensor: Option<&ggml_tensor>) -> bool {
    tensor.is_some_and(|t| !t.view_src.is_null())
}

fn at_most(tensor: Option<&ggml_tensor>, n_dims: usize) -> bool {
    tensor.is_some_and(|t| t.ne[n_dims..].iter().all(|n| *n == 1))
}

/// One element.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_is_scalar(tensor: Option<&ggml_tensor>) -> bool {
    at_most(tensor, 0)
}

/// One row.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_is_vector(tensor: Option<&ggml_tensor>) -> bool {
    at_most(tensor, 1)
}

/// At most two dimensions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_is_matrix(tensor: Option<&ggml_tensor>) -> bool {
    at_most(tensor, 2)
}

/// At most three dimensions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_is_3d(tensor: Option<&ggml_tensor>) -> bool {
    at_most(tensor, 3)
}

/// No gaps, no permutation.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_is_contiguous(tensor: Option<&ggml_tensor>) -> bool {
    tensor.is_some_and(|t| t.is_contiguous(0))
}

/// The same.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_is_contiguous_0(tensor: Option<&ggml_tensor>) -> bool {
    tensor.is_some_and(|t| t.is_contiguous(0))
}

/// The same for all dimensions but the first step between rows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_is_contiguous_1(tensor: Option<&ggml_tensor>) -> bool {
    tensor.is_some_and(|t| t.is_contiguous(1))
}

/// The same for all dimensions but the first two steps.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_is_contiguous_2(tensor: Option<&ggml_tensor>) -> bool {
    tensor.is_some_and(|t| t.is_contiguous(2))
}

/// No gaps; permuted or not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_is_contiguously_allocated(tensor: Option<&ggml_tensor>) -> bool {
    let bytes = |t: &ggml_tensor| info(t.r#type).map(|i| (t.n_elements() as usize).wrapping_mul(i.block_bytes) / i.block_len.max(1));
    tensor.is_some_and(|t| bytes(t) == Some(t.n_bytes()))
}

/// No gaps inside of rows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_is_contiguous_rows(tensor: Option<&ggml_tensor>) -> bool {
    tensor.is_some_and(|t| info(t.r#type).is_some_and(|i| t.ne[0] == i.block_len as i64 || t.nb[0] == i.block_bytes))
}

/// The same number of elements in every dimension.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_are_same_shape(t0: Option<&ggml_tensor>, t1: Option<&ggml_tensor>) -> bool {
    t0.zip(t1).is_some_and(|(a, b)| a.ne == b.ne)
}

/// The same steps in every dimension.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_are_same_stride(t0: Option<&ggml_tensor>, t1: Option<&ggml_tensor>) -> bool {
    t0.zip(t1).is_some_and(|(a, b)| a.nb == b.nb)
}

/// Whole copies of `t0` fill `t1`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_can_repeat(t0: Option<&ggml_tensor>, t1: Option<&ggml_tensor>) -> bool {
    let whole = |(a, b): (&ggml_tensor, &ggml_tensor)| match a.ne.contains(&0) {
        true => b.ne.contains(&0),
        false => a.ne.iter().zip(b.ne).all(|(a, b)| b.wrapping_rem(*a) == 0),
    };
    t0.zip(t1).is_some_and(whole)
}

/// What a tensor takes of `ggml_init_params.mem_size` beside its data.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_tensor_overhead() -> usize {
    OBJECT_SIZE + size_of::<ggml_tensor>()
}

/// Element `i` of all as a place in every dimension; the pointers may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_unravel_index(tensor: Option<&ggml_tensor>, i: i64, i0: *mut i64, i1: *mut i64, i2: *mut i64, i3: *mut i64) {
    let Some(t) = tensor else { return };
    let mut left = i;
    for (d, out) in [i0, i1, i2, i3].into_iter().enumerate() {
        let n = t.ne[d].max(1);
        // SAFETY: NULL or room for one.
        unsafe { ptr::put(out, left % n) };
        left /= n;
    }
}

/// Where its data is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_get_data(tensor: Option<&ggml_tensor>) -> *mut c_void {
    tensor.map_or(std::ptr::null_mut(), |t| t.data)
}

/// The same; NULL where it is of another type than F32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_get_data_f32(tensor: Option<&ggml_tensor>) -> *mut f32 {
    tensor.filter(|t| t.r#type == 0).map_or(std::ptr::null_mut(), |t| t.data.cast())
}

/// Its name; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_get_name(tensor: Option<&ggml_tensor>) -> *const c_char {
    tensor.map_or(std::ptr::null(), |t| t.name.as_ptr())
}

/// Sets its name, cut to 63 bytes. Returns the tensor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_set_name(tensor: *mut ggml_tensor, name: *const c_char) -> *mut ggml_tensor {
    // SAFETY: NULL or a tensor; NULL or a terminated string.
    if let Some((t, name)) = unsafe { tensor.as_mut().zip(ptr::text(name)) } {
        t.set_name(name.to_bytes());
    }
    tensor
}

fn flag(tensor: Option<&mut ggml_tensor>, flag: i32) {
    if let Some(t) = tensor {
        t.flags |= flag;
    }
}

/// Marks it as an input of a graph.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_set_input(tensor: Option<&mut ggml_tensor>) {
    flag(tensor, 1)
}

/// Marks it as an output of a graph.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_set_output(tensor: Option<&mut ggml_tensor>) {
    flag(tensor, 2)
}

/// Marks it as trainable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_set_param(tensor: Option<&mut ggml_tensor>) {
    flag(tensor, 4)
}

// ---- what a graph would take

/// The hash table of the original's graphs has a prime number of places: the first behind each power of two.
const PRIMES: [usize; 32] = [
    2, 3, 5, 11, 17, 37, 67, 131, 257, 521, 1031, 2053, 4099, 8209, 16411, 32771, 65537, 131101, 262147, 524309, 1048583, 2097169, 4194319,
    8388617, 16777259, 33554467, 67108879, 134217757, 268435459, 536870923, 1073741827, 2147483659,
];
/// `struct ggml_cgraph` of the original.
const GRAPH: usize = 96;

/// Bytes that a graph of `size` nodes takes of a context in the original: there are no graphs here, but callers count.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_graph_overhead_custom(size: usize, grads: bool) -> usize {
    // More than any memory holds; sums stay below what a number holds.
    let nodes = size.min(1 << 40) * 2;
    let places = PRIMES.into_iter().find(|p| *p >= nodes).unwrap_or(nodes | 1);
    let per_place = 4 + 8 + if grads { 16 } else { 0 };
    let counts = (places * per_place).next_multiple_of(8);
    let used = places.div_ceil(32) * 4;
    let bytes = GRAPH + nodes * 8 + counts + used;
    OBJECT_SIZE + bytes.next_multiple_of(ALIGN)
}

/// The same for a graph of `GGML_DEFAULT_GRAPH_SIZE` nodes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_graph_overhead() -> usize {
    // SAFETY: takes no pointers.
    unsafe { ggml_graph_overhead_custom(2048, false) }
}
