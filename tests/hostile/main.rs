//! Input made to break us. Every answer must be a value or an error: no panic, no hang, no allocation that the input does not justify.
mod alloc;
mod encoders;
mod gguf;
mod models;
mod tiny;
