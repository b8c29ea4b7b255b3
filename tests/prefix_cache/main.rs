//! The prefix cache on the bundled models: what comes from disk is what would have been computed, bit by bit, or does not come; whatever happens
//! to the directory costs a computation and nothing else.
mod adapters;
mod auto;
mod calls;
mod damage;
#[path = "../common/rng.rs"]
mod rng;
mod sharing;

use llama::cache::Cache;
use llama::model::{LoadParams, Model, Offload};
use llama::session::batch::BatchView;
use llama::session::{Context, ContextParams};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

pub use rng::Rng;

pub const LLAMA: &str = "tinystories-llama-q8_0.gguf";
/// Has a sliding window.
pub const GEMMA: &str = "tinystories-gemma3-q8_0.gguf";
pub const ANY_SIZE: u64 = u64::MAX;

pub fn model(name: &'static str) -> Arc<Model> {
    static MODELS: OnceLock<[Arc<Model>; 2]> = OnceLock::new();
    let load = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name);
        let source = llama::gguf::Source::open(&path, llama::gguf::LoadMode::Auto).expect("bundled model");
        let p = LoadParams {
            vocab_only: false,
            check_tensors: false,
            extra_bufts: true,
            offload: Offload::none(),
            nodes: None,
            progress: &mut |_| true,
        };
        Arc::new(Model::load(&source, p).expect("loads"))
    };
    MODELS.get_or_init(|| [load(LLAMA), load(GEMMA)])[usize::from(name == GEMMA)].clone()
}

pub fn params() -> ContextParams {
    ContextParams { n_ctx: 1024, n_ubatch: 64, n_threads: 1, n_threads_batch: 1, ..ContextParams::default() }
}

pub fn context(name: &'static str, p: ContextParams) -> Context {
    Context::new(model(name), p).expect("context")
}

pub fn tokens(seed: u64, n: usize) -> Vec<i32> {
    let mut r = Rng(seed);
    (0..n).map(|_| 10 + r.below(400) as i32).collect()
}

/// The last token's logits; `tokens` go on where `seq` ends.
pub fn decode(c: &mut Context, seq: i32, tokens: &[i32]) -> Vec<f32> {
    let view =
        BatchView { n_tokens: tokens.len(), tokens: Some(tokens), seqs: Some(vec![vec![seq]; tokens.len()]), ..BatchView::default() };
    assert_eq!(c.decode(&view), 0);
    c.outputs.logits_ith(-1).expect("wanted").to_vec()
}

/// The last token's logits in a fresh context.
pub fn computed(name: &'static str, p: &ContextParams, tokens: &[i32]) -> Vec<f32> {
    decode(&mut context(name, p.clone()), 0, tokens)
}

/// Restores a beginning of `tokens` into sequence 0 of a fresh context, which must then say what a computed one says; how much it was.
pub fn restored(cache: &Cache, name: &'static str, p: &ContextParams, t: &[i32]) -> usize {
    let mut c = context(name, p.clone());
    let n = cache.restore(&mut c, 0, t).expect("no error");
    assert!(n < t.len());
    assert_eq!(c.memory().pos_max(0), (n as i32).checked_sub(1).filter(|p| *p >= 0));
    assert!(decode(&mut c, 0, &t[n..]) == computed(name, p, t), "{name}: other bits after {n} tokens from disk");
    n
}

/// Computes and stores.
pub fn stored(cache: &Cache, name: &'static str, p: &ContextParams, t: &[i32]) {
    let mut c = context(name, p.clone());
    decode(&mut c, 0, t);
    cache.store(&mut c, 0, t).expect("stores");
}

/// A folder of this test's own, outside of which nobody is touched.
pub struct Dir(pub PathBuf);
impl Dir {
    pub fn unique() -> Dir {
        static N: AtomicU32 = AtomicU32::new(0);
        Dir(std::env::temp_dir().join(format!("camelid-prefix-{}-{}", std::process::id(), N.fetch_add(1, Ordering::Relaxed))))
    }
    pub fn cache(&self, max_bytes: u64) -> Cache {
        Cache::open(&self.0, max_bytes).expect("opens")
    }
    pub fn names(&self, folder: &str) -> Vec<String> {
        let list = fs::read_dir(self.0.join(folder)).expect("a folder");
        let mut v: Vec<String> = list.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        v.sort();
        v
    }
    pub fn entries(&self) -> Vec<PathBuf> {
        self.names("entries").iter().map(|n| self.0.join("entries").join(n)).collect()
    }
    pub fn bytes(&self) -> u64 {
        self.entries().iter().map(|p| fs::metadata(p).map_or(0, |m| m.len())).sum()
    }
}
impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
