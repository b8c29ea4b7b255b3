//! GGUF files: reading and (later) writing. Hostile until bound; see `README.md`, "Threat model".
pub mod meta;
pub use meta::{Array, Meta, Value};
