//! A context: batches in, logits out. Places a batch in memory, runs the plan, collects the outputs.
#![forbid(unsafe_code)]
mod adapters;
pub mod batch;
pub mod batch_ext;
pub mod context;
mod encoder;
mod foresight;
pub mod hidden;
mod identity;
pub mod kv;
pub mod numa;
mod outputs;
pub mod params;
pub mod perf;
mod pooling;
mod rewind;
mod runner;
pub mod table;
pub mod sampled;
pub mod ubatch;
pub mod watch;
pub use crate::backend::system_info;
pub use context::Context;
pub use params::ContextParams;
