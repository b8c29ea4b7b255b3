//! Compute kernels: one file per format, one file per ISA, an oracle beside each.
//!
//! Knows nothing of allocation, threads or errors: every buffer is passed in, every length is a contract.
//! The order of every floating-point sum is a property of (format, length); see `README.md`, "Same order, same bits".
pub mod attn;
pub mod dtype;
pub mod float;
pub mod isa;
mod lanes;
pub mod quant;
pub use dtype::DType;
pub use isa::{Impl, Isa};
