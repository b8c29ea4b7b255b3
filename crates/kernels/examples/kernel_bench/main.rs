//! The matrix kernels beside what the machine can do: for each format and instruction set the bytes a second of one token's product
//! (weights in a cache, streamed from memory by one core and by all) and the multiply-adds a second of 8 and of 512 tokens. Each kernel
//! also shows that its answer is the oracle's, and the same for one token and many. Knows kernels, no engine.
//!
//! `cargo run --release -p kernels --example kernel_bench [-- FILE.json|- [parts of formats' names, commas between]]`
mod buffer;
mod limits;
mod matrix;

use limits::Limits;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (file, filter) = (args.next().filter(|f| f != "-"), args.next().unwrap_or_default());
    let limits = Limits::measure();
    limits.print();
    let rows: Vec<_> = matrix::cases(&filter).map(|case| matrix::measure(case, &limits)).inspect(matrix::Row::print).collect();
    let Some(file) = file else { return ExitCode::SUCCESS };
    let rows: Vec<String> = rows.iter().map(matrix::Row::json).collect();
    match std::fs::write(&file, format!("{{\"limits\": {}, \"rows\": [\n{}\n]}}\n", limits.json(), rows.join(",\n"))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("kernel_bench: {file}: {e}");
            ExitCode::FAILURE
        }
    }
}

/// The best time of `f` in seconds: neighbours on the machine only ever add time.
fn best(mut f: impl FnMut()) -> f64 {
    best_of_each(1, |_| f())[0]
}

/// The best time of `f(i)` in seconds for `0..n`, in turns, so that a slow moment of the machine hits all of them; a quarter of a second
/// for each, three turns at least.
fn best_of_each(n: usize, mut f: impl FnMut(usize)) -> Vec<f64> {
    let (start, mut best, mut turns) = (Instant::now(), vec![f64::INFINITY; n], 0);
    while turns < 3 || start.elapsed() < Duration::from_millis(250 * n as u64) {
        for (i, best) in best.iter_mut().enumerate() {
            let t = Instant::now();
            f(i);
            *best = best.min(t.elapsed().as_secs_f64());
        }
        turns += 1;
    }
    best
}

/// Asked once: the answer takes as long as a small product.
fn n_cores() -> usize {
    static N: OnceLock<usize> = OnceLock::new();
    *N.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Calls `f(i)` for `0..n_threads` at once, each on a thread of its own.
fn on_threads(n_threads: usize, f: impl Fn(usize) + Sync) {
    std::thread::scope(|s| {
        (1..n_threads).for_each(|i| {
            let f = &f;
            s.spawn(move || f(i));
        });
        f(0);
    });
}
