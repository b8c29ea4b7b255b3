//! Rewinds past a sliding window: what is decoded after one is what a memory that kept everything says, bit by bit; what cannot be served is refused.
mod chats;
mod rules;
#[path = "../hostile/tiny.rs"]
mod tiny;

use llama::gguf::{LoadMode, Source, Value};
use llama::model::{LoadParams, Model, Offload};
use llama::session::batch::BatchView;
use llama::session::{Context, ContextParams};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use tiny::{TempFile, Tiny};

fn load(path: &Path, far: u32) -> Arc<Model> {
    let p = LoadParams {
        vocab_only: false,
        check_tensors: false,
        extra_bufts: true,
        offload: Offload::far(far),
        nodes: None,
        progress: &mut |_| true,
    };
    let source = Source::open(path, LoadMode::Auto).expect("a model");
    Arc::new(Model::load(&source, p).expect("loads"))
}

/// Gemma 2 is Gemma 3 with caps instead of norms, as far as this test cares.
fn gemma2() -> Tiny {
    let mut t = Tiny::new("gemma3");
    for (key, _) in &mut t.kv {
        *key = key.replace("gemma3.", "gemma2.");
    }
    t.arch = "gemma2";
    t.set("general.architecture", Value::Str("gemma2".into()));
    t.key("attn_logit_softcapping", Value::F32(50.0));
    t.tensors.retain(|x| !x.name.contains("q_norm") && !x.name.contains("k_norm"));
    t
}

fn small(t: &Tiny, far: u32) -> Arc<Model> {
    let file: TempFile = t.file(&format!("rewind-{}-{far}", t.arch));
    load(&file.0, far)
}

/// Tiny ones (windows of 8), one of them with a layer that the host cannot address, and the bundled one (windows of 64).
pub fn models() -> &'static [Arc<Model>] {
    static MODELS: OnceLock<Vec<Arc<Model>>> = OnceLock::new();
    MODELS.get_or_init(|| {
        let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tinystories-gemma3-q8_0.gguf");
        let g3 = Tiny::new("gemma3");
        vec![small(&g3, 0), small(&gemma2(), 0), small(&g3, 1), load(&bundled, 0)]
    })
}
pub const BUNDLED: usize = 3;

/// One thread: the models are too small to share.
pub fn params() -> ContextParams {
    ContextParams {
        n_ctx: 1024,
        n_batch: 1024,
        n_ubatch: 64,
        n_threads: 1,
        n_threads_batch: 1,
        swa_full: false,
        ..ContextParams::default()
    }
}

pub fn context(m: &Arc<Model>, p: &ContextParams) -> Context {
    Context::new(m.clone(), p.clone()).expect("context")
}

/// One batch for `seqs` together; the code and the logits of the last token.
pub fn decode(c: &mut Context, seqs: &[i32], tokens: &[i32]) -> (i32, Vec<u32>) {
    let view =
        BatchView { n_tokens: tokens.len(), tokens: Some(tokens), seqs: Some(vec![seqs.to_vec(); tokens.len()]), ..BatchView::default() };
    let rc = c.decode(&view);
    let logits = if rc == 0 { c.outputs.logits_ith(-1).expect("wanted").to_vec() } else { Vec::new() };
    (rc, logits.into_iter().map(f32::to_bits).collect())
}

pub fn logits(c: &mut Context, seq: i32, tokens: &[i32]) -> Vec<u32> {
    let (rc, logits) = decode(c, &[seq], tokens);
    assert_eq!(rc, 0, "{}", platform::log::last_error());
    logits
}

/// `tokens` from position 0 on in a context of their own.
pub fn fresh(m: &Arc<Model>, p: &ContextParams, tokens: &[i32]) -> Vec<u32> {
    let p = ContextParams {
        n_ctx: tokens.len() as u32 + 1,
        n_batch: 1 << 16,
        n_seq_max: 1,
        swa_full: true,
        swa_snapshots: Some(0),
        n_ubatch: 512,
        ..p.clone()
    };
    logits(&mut context(m, &p), 0, tokens)
}
