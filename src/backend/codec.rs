//! Stored K and V rows to floats and back, for rooms above that must not know kernels.
use super::DType;
pub use super::terms::hadamard;
use kernels::Isa;

/// Reads a row of type `ty`; false, and `out` unspecified, for a type that K and V are not stored in.
pub fn decode_row(ty: DType, row: &[u8], out: &mut [f32]) -> bool {
    kernels::float::table(Isa::detect()).decode_row(ty, row, out)
}

/// Writes a row of type `ty`; false as above.
pub fn encode_row(ty: DType, x: &[f32], row: &mut [u8]) -> bool {
    kernels::float::table(Isa::detect()).encode_row(ty, x, row)
}
