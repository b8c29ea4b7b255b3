//! Camelid: libllama.so in Rust. The map of the house; a `use` points down this list, checked by `tests/layering.rs`.
//!
//! | room | what it is |
//! | --- | --- |
//! | [`capi`] | the C face: every `llama_*` function, three lines each |
//! | [`session`] | a context: batches in, logits out; place, run, collect |
//! | [`cache`] | sequences on disk: prompts that begin alike are computed once |
//! | [`quantize`] | a model file with other tensor types |
//! | [`state`] | a context's memory as bytes and files, and back: all of it or nothing |
//! | [`blocks`] | layer parts (attention, FFN, MoE ...) that write backend ops |
//! | [`model`] | architectures as values, hyper-parameters, weights bound to names |
//! | [`memory`] | who sits where in the KV store; windows; blocks of bytes |
//! | [`sampling`], [`chat`] | from logits to a token, from messages to a prompt |
//! | [`grammar`] | what a GBNF grammar allows next |
//! | [`backend`] | the op vocabulary, buffers, and who computes: `cpu/`, `far/` |
//! | [`gguf`], [`vocab`] | model files, tokenizers |
//! | `kernels`, `platform` | crates below: compute kernels, the operating system |
pub mod backend;
pub mod blocks;
pub mod cache;
pub mod capi;
pub mod chat;
pub mod gguf;
pub mod grammar;
pub mod memory;
pub mod model;
pub mod quantize;
pub mod sampling;
pub mod session;
pub mod state;
pub mod vocab;
pub use platform::{Error, Result};
