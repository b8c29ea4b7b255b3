//! A context: batches in, logits out.
mod system;
pub use system::system_info;

