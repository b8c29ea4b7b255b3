//! What going back in a long chat costs with small sliding windows: `cargo run --release --example bench-rewind [n_tokens] [K]`.
//! The bundled Gemma 3 (windows of 64), turns of 500 tokens; the last turn but one is edited. What comes back is checked against a context that was
//! given the edited chat at once.
use llama::gguf::{LoadMode, Source};
use llama::model::{LoadParams, Model, Offload};
use llama::session::batch::BatchView;
use llama::session::{Context, ContextParams};
use llama::state::{self, What};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const TURN: usize = 500;
/// Of a turn: what the user says, which is what is edited.
const ASKED: usize = 120;

fn model() -> Arc<Model> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tinystories-gemma3-q8_0.gguf");
    let p = LoadParams {
        vocab_only: false,
        check_tensors: false,
        extra_bufts: true,
        offload: Offload::default(),
        nodes: None,
        progress: &mut |_| true,
    };
    Arc::new(Model::load(&Source::open(&path, LoadMode::Auto).expect("bundled model"), p).expect("loads"))
}

fn context(m: &Arc<Model>, n: usize, every: u32) -> Context {
    let n_threads = std::thread::available_parallelism().map_or(1, |n| n.get() as i32);
    let p = ContextParams {
        n_ctx: n as u32 + 1024,
        n_threads,
        n_threads_batch: n_threads,
        swa_full: false,
        swa_snapshots: Some(every),
        ..ContextParams::default()
    };
    Context::new(m.clone(), p).expect("a context")
}

fn text(seed: u64, n: usize) -> Vec<i32> {
    let next = |x: &u64| Some(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
    std::iter::successors(next(&seed), next).take(n).map(|x| 10 + (x >> 33) as i32 % 400).collect()
}

fn feed(c: &mut Context, tokens: &[i32]) -> Duration {
    let start = Instant::now();
    for part in tokens.chunks(c.sizes.n_batch as usize) {
        assert_eq!(c.decode(&BatchView { n_tokens: part.len(), tokens: Some(part), ..BatchView::default() }), 0);
    }
    start.elapsed()
}

fn logits(c: &mut Context) -> Vec<u32> {
    c.outputs.logits_ith(-1).expect("wanted").iter().map(|v| v.to_bits()).collect()
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

fn main() {
    let arg = |i: usize, or: usize| std::env::args().nth(i).and_then(|a| a.parse().ok()).unwrap_or(or);
    let (n, every) = (arg(1, 32_000), arg(2, 512) as u32);
    let (m, chat) = (model(), text(1, n));
    let mib = |b: usize| b as f64 / (1 << 20) as f64;

    // The price while nothing is rewound: runs without and with, in turns.
    let (mut without, mut with, mut c) = (Vec::new(), Vec::new(), context(&m, n, every));
    for i in 0..3 {
        without.push(feed(&mut context(&m, n, 0), &chat).as_secs_f64());
        c = context(&m, n, every);
        with.push(feed(&mut c, &chat).as_secs_f64());
        eprintln!("prefill {i}: {:.2} s without, {:.2} s with snapshots", without[i], with[i]);
    }
    let ratios: Vec<f64> = with.iter().zip(&without).map(|(a, b)| a / b).collect();
    let full = median(with);
    println!("prefill of {n} tokens: {full:.2} s; with snapshots {:.3} of without", median(ratios));

    let kept = c.memory().kept();
    let whole = state::size(&mut c, What::Seq { seq: 0, partial: false }).expect("a size");
    let partial = state::size(&mut c, What::Seq { seq: 0, partial: true }).expect("a size");
    println!(
        "{} snapshots every {every} tokens: {:.2} MiB, one {:.3} MiB; the state of the sequence: {:.2} MiB, its windows alone {:.3} MiB (1/{:.0})",
        kept.snapshots,
        mib(kept.bytes),
        mib(kept.bytes) / kept.snapshots.max(1) as f64,
        mib(whole),
        mib(partial),
        whole as f64 / partial as f64
    );

    let at = n - 2 * TURN;
    let edited = text(2, ASKED);
    let before = c.n_again();
    c.seq_rm(Some(0), at as i32, -1).expect("served");
    let back = feed(&mut c, &edited[..1]).as_secs_f64();
    let rest = feed(&mut c, &edited[1..]).as_secs_f64();
    let again = c.n_again() - before;
    println!(
        "edit of the last turn but one (rewind to {at}): {again} tokens computed again ({:.2} % of the prompt); back and 1 token {:.1} ms ({:.2} % of the \
         prefill), the other {} tokens {:.1} ms",
        100.0 * again as f64 / n as f64,
        1e3 * back,
        100.0 * back / full,
        ASKED - 1,
        1e3 * rest
    );
    let got = logits(&mut c);
    let mut fresh = context(&m, n, 0);
    feed(&mut fresh, &[&chat[..at], &edited].concat());
    assert!(got == logits(&mut fresh), "not what a fresh context says");

    // Anywhere.
    let mut c = context(&m, n, every);
    feed(&mut c, &chat);
    let mut most = (0, 0.0);
    for k in (1..32).rev() {
        let (at, before) = (n * k / 32 + k * 13 % 200, c.n_again());
        c.seq_rm(Some(0), at as i32, -1).expect("served");
        let t = feed(&mut c, &edited[..1]).as_secs_f64();
        most = (most.0.max(c.n_again() - before), t.max(most.1));
    }
    println!(
        "31 rewinds anywhere: at most {} tokens computed again, {:.1} ms ({:.2} % of the prefill)",
        most.0,
        1e3 * most.1,
        100.0 * most.1 / full
    );
}
