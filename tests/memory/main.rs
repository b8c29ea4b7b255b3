//! Never silently wrong: a context's memory against one that keeps everything. After any operations a decode gives the full history's bits, or was
//! refused for a reason and changed nothing.
mod full_history;
mod layouts;
mod models;
mod ops;
mod pair;
mod property;
#[path = "../common/rng.rs"]
mod rng;
mod speculative;
