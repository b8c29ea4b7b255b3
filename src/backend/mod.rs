//! What computes, and what it computes on: buffers, the inputs of a step (`io`), the op vocabulary.
//!
//! Knows nothing of models, tokens' meaning, or who sits in which cell.
pub mod io;
mod system;
pub use io::*;
pub use system::system_info;
