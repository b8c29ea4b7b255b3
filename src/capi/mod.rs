//! The C face: every function of llama.h and camelid.h, one file per section. It checks, converts and calls; what the words mean is below.
//!
//! What a caller promises is said once, in `ptr`: a pointer is NULL or good for the call. Everything else (sizes, enum values, ids, text that
//! is not UTF-8) is checked, and a panic stops at `boundary`.
#![allow(clippy::missing_safety_doc, reason = "said once, in ptr.rs: the same promise for every function of llama.h")]
mod boundary;
mod convert;
mod handles;
mod host;
mod libstdcxx;
mod links;
mod picking;
mod ptr;
mod stubs;
mod tensor;
mod user;
mod watch;

pub mod adapter;
pub mod backend;
pub mod batch;
pub mod cache;
pub mod chat;
pub mod context;
pub mod cxx;
mod devices;
pub mod ext;
pub mod files;
mod ggml_gguf;
pub mod ggml_table;
pub mod ggml_types;
pub mod memory;
pub mod model;
pub mod nextn;
mod numa;
pub mod opt;
pub mod outputs;
pub mod perf;
pub mod samplers;
pub mod sampling;
pub mod state;
pub mod types;
pub mod vocab;
pub mod vocab_old;
