//! A context: batches in, logits out.
pub use crate::backend::system_info;
