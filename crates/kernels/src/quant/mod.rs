//! Weight formats: TEMPORARY scalar stand-in behind the final API (float activations, row by row), so that the path stands end to end.
use crate::{DType, Isa};

/// How an input row is stored for a weight type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Act {
    F32,
    B32,
    B256,
}
pub const ROW_GRANULE: usize = 8;

pub struct MatArgs {
    pub w: *const u8,
    pub w_stride: usize,
    pub k: usize,
    pub n_rows: usize,
    pub x: *const u8,
    pub x_stride: usize,
    pub n_tokens: usize,
    pub y: *mut f32,
    pub y_stride: usize,
    pub scratch: *mut u8,
}
pub type MatMul = unsafe fn(&MatArgs);

pub const fn act_of(ty: DType) -> Option<Act> {
    match ty {
        DType::F32 | DType::F16 | DType::BF16 | DType::Q8_0 => Some(Act::F32),
        _ => None,
    }
}
impl Act {
    pub fn row_bytes(self, k: usize) -> usize {
        4 * k
    }
}
pub fn scratch_bytes(_: DType, k: usize, _: usize) -> usize {
    4 * k
}
pub struct Table;
impl Table {
    pub fn mat_mul(&self, ty: DType) -> Option<MatMul> {
        Some(match ty {
            DType::F32 => mat::<0>,
            DType::F16 => mat::<1>,
            DType::BF16 => mat::<2>,
            DType::Q8_0 => mat::<3>,
            _ => return None,
        })
    }
    pub fn quantize_act(&self, _: Act) -> unsafe fn(*const f32, usize, *mut u8) {
        copy
    }
    pub fn to_f32(&self, ty: DType) -> Option<unsafe fn(*const u8, usize, *mut f32)> {
        Some(match ty {
            DType::F32 => row::<0>,
            DType::F16 => row::<1>,
            DType::BF16 => row::<2>,
            DType::Q8_0 => row::<3>,
            _ => return None,
        })
    }
}
pub fn table(_: Isa) -> &'static Table {
    &Table
}
unsafe fn copy(x: *const f32, k: usize, out: *mut u8) {
    // SAFETY: the caller's contract.
    unsafe { std::ptr::copy_nonoverlapping(x.cast(), out, 4 * k) };
}
unsafe fn row<const T: u8>(p: *const u8, k: usize, out: *mut f32) {
    let ty = [DType::F32, DType::F16, DType::BF16, DType::Q8_0][T as usize];
    let n = k / ty.block_len() * ty.block_bytes();
    // SAFETY: the caller's contract.
    let (src, dst) = unsafe { (std::slice::from_raw_parts(p, n), std::slice::from_raw_parts_mut(out, k)) };
    crate::float::table(Isa::detect()).decode_row(ty, src, dst);
}
unsafe fn mat<const T: u8>(a: &MatArgs) {
    let f = crate::float::table(Isa::detect());
    for r in 0..a.n_rows {
        // SAFETY: the caller's contract.
        unsafe { row::<T>(a.w.add(r * a.w_stride), a.k, a.scratch.cast()) };
        for t in 0..a.n_tokens {
            // SAFETY: as above.
            unsafe {
                let w = std::slice::from_raw_parts(a.scratch.cast::<f32>(), a.k);
                let x = std::slice::from_raw_parts(a.x.add(t * a.x_stride).cast::<f32>(), a.k);
                *a.y.add(t * a.y_stride + r) = f.dot(w, x);
            }
        }
    }
}
