//! The operating system, one small file per thing it offers. Knows nothing of models, tensors or C callers.
pub mod env;
pub mod error;
pub mod file;
pub mod log;
pub mod mmap;
pub mod pages;
pub mod pool;
pub mod share;
pub mod stream;
pub use error::{Error, Result};
