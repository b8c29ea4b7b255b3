//! The operating system, one small file per thing it offers. Knows nothing of models, tensors or C callers.
pub mod backing;
pub mod caches;
pub mod env;
pub mod error;
pub mod file;
pub mod hash;
pub mod heap;
pub mod huge;
pub mod log;
#[cfg(not(camelid_no_mmap))]
pub mod mmap;
#[cfg(camelid_no_mmap)]
#[path = "no_mmap.rs"]
pub mod mmap;
pub mod numa;
pub mod pages;
pub mod pool;
pub mod pressure;
pub mod share;
pub mod stream;
pub use backing::Backing;
pub use error::{Error, Result};
