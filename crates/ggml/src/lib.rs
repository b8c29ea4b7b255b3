//! `libggml.so.0` for programs that bring no libggml of their own: devices, buffers, types, tensors as data, GGUF files, time, the log.
//!
//! No arithmetic on tensors is here, and no second reader of files: what it does not know it asks libllama, through the one function
//! `camelid_ggml_table` (`ask`). Knows no model. What is bad (NULL, an index, a type, a file) gives the value that stands above each function and,
//! where it is a mistake, a line in the log; only `ggml_abort` ends the process.
#![allow(clippy::missing_safety_doc, reason = "the promise of every C function: a pointer is NULL, or good for the call")]
#![allow(non_camel_case_types, reason = "the names of C headers")]
mod abi;
mod abort;
mod ask;
mod backends;
mod buffer;
mod context;
mod cpu;
mod device;
mod gguf_read;
mod gguf_write;
mod log;
mod names;
mod opt;
mod ptr;
#[path = "../../../src/capi/ggml_types.rs"]
mod table;
mod tensor;
mod threads;
mod time;
mod types;
