//! A model half on the CPU and half on a device whose memory the host cannot address gives the right logits.
use llama::gguf::{LoadMode, Source};
use llama::model::{LoadParams, Model};
use llama::session::batch::BatchView;
use llama::session::{Context, ContextParams};
use std::path::PathBuf;
use std::sync::Arc;

pub fn model(name: &str, far: u32) -> Arc<Model> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models").join(name);
    let source = Source::open(&path, LoadMode::Auto).expect("bundled model");
    let p = LoadParams {
        vocab_only: false,
        check_tensors: true,
        extra_bufts: true,
        far_layers: Some(far),
        nodes: None,
        progress: &mut |_| true,
    };
    Arc::new(Model::load(&source, p).expect("loads"))
}

/// Logits of all tokens: a prefill in uneven ubatches, then single steps.
fn logits(m: &Arc<Model>, n_ubatch: u32) -> Vec<f32> {
    let toks = m
        .vocab
        .tokenize(b"Once upon a time there was a fox. She lived in a den by the river and had a red hat.", true, true)
        .expect("text");
    let p = ContextParams { n_ctx: 256, n_ubatch, n_threads: 2, n_threads_batch: 2, swa_full: false, ..ContextParams::default() };
    let mut c = Context::new(m.clone(), p).expect("context");
    let (head, tail) = toks.split_at(toks.len() - 4);
    let mut out = Vec::new();
    for part in [head].into_iter().chain(tail.chunks(1)) {
        let all = vec![1i8; part.len()];
        let b = BatchView { n_tokens: part.len(), tokens: Some(part), embd: None, pos: None, seqs: None, logits: Some(&all) };
        assert_eq!(c.decode(&b), 0);
        out.extend_from_slice(c.outputs.logits().expect("wanted"));
    }
    out
}

#[test]
fn half_far_says_the_same() {
    for name in ["tinystories-llama-q8_0.gguf", "tinystories-gemma3-q8_0.gguf"] {
        let one = logits(&model(name, 0), 512);
        assert!(one.iter().all(|v| v.is_finite()));
        for far in [1, 2, 64] {
            let split = logits(&model(name, far), 7);
            // The devices round exp and norms in the last bit, which flips an 8-bit activation now and then: noise, 1e-4 at most.
            let square = |x: f32| f64::from(x) * f64::from(x);
            let off: f64 = one.iter().zip(&split).map(|(a, b)| square(a - b)).sum();
            let nmse = off / one.iter().map(|a| square(*a)).sum::<f64>();
            assert!(nmse < 1e-4, "{name}, {far} far layers: nmse {nmse}");
            assert!(far > 0 && split.len() == one.len());
        }
    }
}
