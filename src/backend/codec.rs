//! Stored K and V rows to floats and back, for rooms above that must not know kernels.
use super::DType;
use kernels::Isa;

/// Reads a row of type `ty`; false, and `out` unspecified, for a type that K and V are not stored in.
pub fn decode_row(ty: DType, row: &[u8], out: &mut [f32]) -> bool {
    kernels::float::table(Isa::detect()).decode_row(ty, row, out)
}

/// The orthonormal Walsh-Hadamard transform of each `n` values, its own inverse.
pub fn hadamard(x: &mut [f32], n: usize) {
    kernels::float::table(Isa::detect()).hadamard(x, n);
}

/// Writes a row of type `ty`; false as above.
pub fn encode_row(ty: DType, x: &[f32], row: &mut [u8]) -> bool {
    kernels::float::table(Isa::detect()).encode_row(ty, x, row)
}
