//! States of the bundled models: what comes back is what was, bit by bit, wherever it is put; what is not a state changes nothing.
mod bad;
mod crash;
mod files;
#[path = "../common/rng.rs"]
mod rng;
mod round;

use llama::model::{LoadParams, Model, Offload};
use llama::session::batch::BatchView;
use llama::session::{Context, ContextParams};
use llama::state::{self, What};
use std::path::Path;
use std::sync::{Arc, OnceLock};

pub use rng::Rng;

pub const LLAMA: &str = "tinystories-llama-q8_0.gguf";
/// Has a sliding window.
pub const GEMMA: &str = "tinystories-gemma3-q8_0.gguf";

/// With `far` the last layer lies where the host cannot address it: states must not notice.
pub fn model(name: &'static str, far: bool) -> Arc<Model> {
    static MODELS: OnceLock<[Arc<Model>; 4]> = OnceLock::new();
    let load = |name: &str, far: u32| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name);
        let source = llama::gguf::Source::open(&path, llama::gguf::LoadMode::Auto).expect("bundled model");
        let p = LoadParams {
            vocab_only: false,
            check_tensors: false,
            extra_bufts: true,
            offload: Offload::far(far),
            nodes: None,
            progress: &mut |_| true,
        };
        Arc::new(Model::load(&source, p).expect("loads"))
    };
    let all = || [load(LLAMA, 0), load(GEMMA, 0), load(LLAMA, 1), load(GEMMA, 1)];
    MODELS.get_or_init(all)[usize::from(name == GEMMA) + 2 * usize::from(far)].clone()
}

pub fn params() -> ContextParams {
    ContextParams { n_ctx: 512, n_ubatch: 64, n_threads: 2, n_threads_batch: 2, ..ContextParams::default() }
}

pub fn context(name: &'static str, p: ContextParams) -> Context {
    Context::new(model(name, false), p).expect("context")
}

pub fn tokens(seed: u64, n: usize) -> Vec<i32> {
    let mut r = Rng(seed);
    (0..n).map(|_| 10 + r.below(400) as i32).collect()
}

/// Logits of all of `tokens`, which go on where `seq` ends.
pub fn decode(c: &mut Context, seq: i32, tokens: &[i32]) -> Vec<f32> {
    let mut out = Vec::new();
    for t in tokens.chunks(64) {
        let view = BatchView {
            n_tokens: t.len(),
            tokens: Some(t),
            seqs: Some(vec![vec![seq]; t.len()]),
            logits: Some(&[1; 64][..t.len()]),
            ..BatchView::default()
        };
        assert_eq!(c.decode(&view), 0);
        out.extend_from_slice(c.outputs.logits().expect("wanted"));
    }
    out
}

pub fn save(c: &mut Context, what: What) -> Vec<u8> {
    let mut blob = vec![0; state::size(c, what).expect("a size")];
    assert_eq!(state::save(c, what, &mut blob).expect("saves"), blob.len());
    blob
}

pub fn load(c: &mut Context, what: What, blob: &[u8]) {
    assert_eq!(state::load(c, what, &blob.to_vec()).expect("loads"), blob.len());
}

pub fn seq(seq: i32) -> What {
    What::Seq { seq, partial: false }
}
