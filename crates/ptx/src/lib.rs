//! A libcuda for tests: the functions of the CUDA driver API, over a device that interprets PTX on the CPU. With it the CUDA backend is tested on
//! machines without a GPU, down to the PTX that is committed.
//!
//! **Use.** `cargo build -p ptx` makes `libmockcuda.so`. A test makes a folder with a link `libcuda.so.1` to it, puts that first in
//! `LD_LIBRARY_PATH` of a child process, and runs there what would run on a GPU. It is never installed, and no other crate depends on it. (It is not
//! called `libcuda.so` at once: cargo shows `target/*/deps` to every test it runs, and all of them would find a GPU.)
//!
//! | environment | |
//! | --- | --- |
//! | `CAMELID_MOCK_CUDA_DEVICES` | how many devices (1) |
//! | `CAMELID_MOCK_CUDA_MEMORY` | bytes of each (2 GiB); beyond is CUDA_ERROR_OUT_OF_MEMORY |
//! | `CAMELID_MOCK_CUDA_DRIVER` | version (12080); PTX of later toolkits is refused, as by a driver |
//! | `CAMELID_MOCK_CUDA_CC` | compute capability (90); PTX for later ones is refused |
//! | `CAMELID_MOCK_CUDA_INIT` | what `cuInit` answers (0) |
//! | `CAMELID_MOCK_CUDA_COUNT` | a file for the counts of calls and copies: `cuMockReport`, or the end of the process |
//! | `CAMELID_MOCK_CUDA_TRACE` | set: calls that fail say so on stderr |
//!
//! `camelid_mock_calls(name)`, `camelid_mock_bytes(kind)` and `camelid_mock_reset()` are exported too.
//!
//! **Arithmetic.** add, sub, mul, fma, div, sqrt and rcp are rounded as PTX says, f16 and bf16 included. What PTX approximates is computed in f64 and
//! rounded: no device has just these bits. Products of tiles have one order, which no device has either (`exec/mma.rs`).
//!
//! **Sanitizer.** Device addresses are ones that the host cannot follow. An access outside of live memory or not aligned, shared memory beyond its
//! end, read before it was written, or touched by two warps without a barrier between, a barrier that not all reach, a shuffle from a lane that does
//! not take part: the kernel, block, thread and PTX line are said on stderr, the launch fails (CUDA_ERROR_ILLEGAL_ADDRESS, MISALIGNED_ADDRESS or
//! LAUNCH_FAILED), and so does every later call in that context. Fresh memory holds NaNs.
//!
//! **Not here.** Textures, clusters, cooperative launches, TMA and wgmma, recursion, calls through pointers, parallelism: streams are run in the order
//! of the calls, blocks one after the other. So missing synchronisation between streams is not found, nor races between blocks. An opcode or suffix
//! that is not known makes the text refused (CUDA_ERROR_INVALID_PTX) with its line on stderr.
pub mod decode;
mod driver;
pub mod exec;
pub mod float;
pub mod isa;
pub mod lex;
pub mod memory;
pub mod parse;
pub mod program;
