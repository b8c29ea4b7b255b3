//! One conformance suite for every backend: each op on random input must agree with the far backend's scalar oracles, and a
//! model split between devices must say what it says on one.
mod attend;
mod fault;
mod ops;
mod split;
