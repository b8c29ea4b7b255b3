//! Weight formats: one file each, with its block layout, its dequantiser, its scalar oracle and its list of kernels.
//!
//! Knows bytes and lengths, never tensors, threads or files. Every pointer here is a contract: rows and buffers hold what their
//! lengths say. The order of each float sum is stated in `block32`, `block256` and `float`, and is the same on every ISA.
pub mod act;
mod block256;
mod block32;
mod float;
pub mod group;
mod iq4_nl;
mod iq4_xs;
mod mxfp4;
mod oracle;
mod panel;
mod plain;
mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;
mod to;
mod to_blocks;
mod to_k_blocks;
mod tq2_0;

pub use act::Act;
pub(crate) use iq4_xs::VALUES;
pub use plain::code_books;
pub(crate) use q5_0::FIFTH;
pub use to::{needs_importance, quantize};
pub use to_blocks::from_f32;

use crate::isa::{Impl, pick};
use crate::{DType, Isa};
use std::ops::Range;
use std::sync::OnceLock;

/// `y[t * y_stride + r] = sum_i w[r][i] * x[t][i]` for `r` in `0..n_rows`, `t` in `0..n_tokens`.
///
/// `w`: rows in file layout, `w_stride` bytes apart. `x`: rows in the format of `Table::act_of(type)`, `x_stride` bytes apart.
/// `k` is a multiple of the type's block length. `y` is written, never read.
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
    /// `scratch_bytes(type, k, n_tokens)` bytes, 64-byte aligned, this thread's own; may dangle when that is 0.
    pub scratch: *mut u8,
}

/// A matrix product. The bits of `y` do not depend on `n_tokens`, on how rows are split over calls, or on addresses.
pub type MatMul = unsafe fn(&MatArgs);
/// Stores the elements `part` (whole blocks) of a row of `k` floats as an input row.
pub type QuantizeAct = unsafe fn(x: *const f32, k: usize, part: Range<usize>, out: *mut u8);
/// Reads one row of `k` elements as floats.
pub type ToF32 = unsafe fn(row: *const u8, k: usize, out: *mut f32);

/// Rows are best handed out in multiples of this, and must be where they stand in groups.
pub const ROW_GRANULE: usize = group::ROWS;

/// One weight type: what the table is filled from. The list is ordered best first and ends in the oracle.
pub(crate) struct Format {
    pub ty: DType,
    pub act: Act,
    pub to_f32: ToF32,
    pub impls: &'static [Impl<MatMul>],
    /// The same for rows in groups; empty: the format has none. No oracle: groups come from rows.
    pub groups: &'static [Impl<MatMul>],
}

/// Every weight type with kernels.
pub(crate) const FORMATS: &[Format] = &[
    float::F32,
    float::F16,
    float::BF16,
    q4_0::FORMAT,
    q4_1::FORMAT,
    q5_0::FORMAT,
    q5_1::FORMAT,
    iq4_nl::FORMAT,
    q8_0::FORMAT,
    q2_k::FORMAT,
    q3_k::FORMAT,
    q4_k::FORMAT,
    q5_k::FORMAT,
    q6_k::FORMAT,
    iq4_xs::FORMAT,
    tq2_0::FORMAT,
    mxfp4::FORMAT,
    plain::NVFP4,
    plain::IQ1_S,
    plain::IQ1_M,
    plain::IQ2_XXS,
    plain::IQ2_XS,
    plain::IQ2_S,
    plain::IQ3_XXS,
    plain::IQ3_S,
    plain::TQ1_0,
    plain::Q1_0,
    plain::Q2_0,
];

/// Weight types that some level computes in a way of its own: other inputs, and so other bits. The list of kernels begins with that level.
pub(crate) const OWN: &[Format] = &[float::BF16_PAIRS];

/// How an input row for weights of type `ty` is stored, below the levels in `OWN`; `None`: no kernel for this type.
pub(crate) const fn act_of(ty: DType) -> Option<Act> {
    let mut i = 0;
    while i < FORMATS.len() {
        if FORMATS[i].ty as u32 == ty as u32 {
            return Some(FORMATS[i].act);
        }
        i += 1;
    }
    None
}

/// Scratch that `mat_mul` wants per thread, 64-byte aligned; 0 where it streams.
pub fn scratch_bytes(ty: DType, _k: usize, n_tokens: usize) -> usize {
    match act_of(ty) {
        Some(Act::B32 | Act::B256) => panel::scratch_bytes(n_tokens),
        Some(Act::F32 | Act::Bf16) => float::scratch_bytes(n_tokens),
        None => 0,
    }
}

/// One row of type `ty` as floats; false: the lengths do not fit, or the type is none of `FORMATS`.
pub fn to_f32(ty: DType, row: &[u8], out: &mut [f32]) -> bool {
    let Some(f) = FORMATS.iter().find(|f| f.ty == ty).filter(|_| ty.row_bytes(out.len()) == Some(row.len())) else {
        return false;
    };
    // SAFETY: the row has `out.len()` elements.
    unsafe { (f.to_f32)(row.as_ptr(), out.len(), out.as_mut_ptr()) };
    true
}

/// The kernels for one instruction-set level.
pub struct Table {
    pub isa: Isa,
    quantize: [QuantizeAct; Act::ALL.len()],
    formats: [Option<(MatMul, &'static Format)>; N_TYPES],
    to_groups: group::ToGroups,
}

/// One past the largest type number of `DType`.
const N_TYPES: usize = 64;

impl Table {
    fn new(isa: Isa) -> Table {
        let mut formats = [None; N_TYPES];
        let own = OWN.iter().filter(|f| f.impls[0].needs > Isa::Scalar && f.impls[0].needs <= isa);
        for f in FORMATS.iter().chain(own) {
            formats[f.ty as usize] = Some((pick(f.impls, isa), f));
        }
        let quantize = Act::ALL.map(|a| pick(act::impls(a), isa));
        Table { isa, quantize, formats, to_groups: pick(group::TO_GROUPS, isa) }
    }
    pub fn mat_mul(&self, ty: DType) -> Option<MatMul> {
        self.formats[ty as usize].map(|f| f.0)
    }
    /// For weights whose rows stand in groups (see `group`): `MatArgs::w` is the first row of a group, `n_rows` a multiple of `ROW_GRANULE`.
    /// `None`: this level or format has no such kernel.
    pub fn group_mul(&self, ty: DType) -> Option<MatMul> {
        let list = self.formats[ty as usize]?.1.groups;
        list.iter().find(|i| i.needs <= self.isa).map(|i| i.run)
    }
    pub fn to_groups(&self) -> group::ToGroups {
        self.to_groups
    }
    /// The plain product that `mat_mul` gives the bits of, on any CPU.
    pub fn oracle(&self, ty: DType) -> Option<MatMul> {
        self.formats[ty as usize].map(|f| pick(f.1.impls, Isa::Scalar))
    }
    /// How an input row for weights of type `ty` is stored.
    pub fn act_of(&self, ty: DType) -> Option<Act> {
        self.formats[ty as usize].map(|f| f.1.act)
    }
    pub fn to_f32(&self, ty: DType) -> Option<ToF32> {
        self.formats[ty as usize].map(|f| f.1.to_f32)
    }
    pub fn quantize_act(&self, a: Act) -> QuantizeAct {
        self.quantize[a as usize]
    }
}

/// Eight bytes of 1.
pub(crate) const ONES: u64 = u64::MAX / 255;

/// Eight fields of `BITS` bits, from the low end up, each to a byte of its own.
#[inline(always)]
pub(crate) fn spread<const BITS: u32>(v: u64) -> u64 {
    let v = (v | v << (32 - 4 * BITS)) & (u64::from(u32::MAX >> (32 - 4 * BITS)) * 0x1_0000_0001);
    let v = (v | v << (16 - 2 * BITS)) & (u64::from(u16::MAX >> (16 - 2 * BITS)) * 0x0001_0001_0001_0001);
    (v | v << (8 - BITS)) & (((1 << BITS) - 1) * 0x0101_0101_0101_0101)
}

/// The table for a level the CPU has (`isa` must not exceed `Isa::detect()`), filled at the first call.
pub fn table(isa: Isa) -> &'static Table {
    static TABLES: [OnceLock<Table>; Isa::ALL.len()] = [const { OnceLock::new() }; Isa::ALL.len()];
    TABLES[isa as usize].get_or_init(|| Table::new(isa))
}

#[cfg(test)]
mod tests;
