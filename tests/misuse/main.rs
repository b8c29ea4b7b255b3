//! The C API used wrongly: every call gets llama.h's answer for it, changes nothing, and the next right call works.
mod adapters;
mod batches;
mod calls;
mod failing;
mod processes;
mod sequences;
#[path = "../hostile/tiny.rs"]
mod tiny;
