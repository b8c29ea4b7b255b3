//! A model half on the CPU and half on a device whose memory the host cannot address gives the right logits.
use crate::ops::Rng;
use llama::gguf::{DType, Layout, LoadMode, Meta, NewTensor, Source, TensorInfo, Value};
use llama::model::adapter::Lora;
use llama::model::{LoadParams, Model, Offload};
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
        offload: Offload::far(far),
        nodes: None,
        progress: &mut |_| true,
    };
    Arc::new(Model::load(&source, p).expect("loads"))
}

/// An adapter of every matrix of the model, and of its table.
fn adapter(m: &Model) -> Vec<u8> {
    let text = |s: &str| Value::Str(s.into());
    let kv = [("general.type", text("adapter")), ("general.architecture", text(m.arch.name)), ("adapter.type", text("lora"))];
    let (meta, rank) = (Meta::new(kv.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()), 6);
    let mut list = Vec::new();
    for t in m.origin.gguf().tensors.iter().filter(|t| t.n_dims == 2) {
        let table = t.name == "token_embd.weight";
        let shapes = if table { [[rank, t.shape[1]], [rank, t.shape[0]]] } else { [[t.shape[0], rank], [rank, t.shape[1]]] };
        for (half, shape) in ["lora_a", "lora_b"].iter().zip(shapes) {
            list.push(NewTensor { name: format!("{}.{half}", t.name), ty: DType::F32, shape: shape.to_vec() });
        }
    }
    let (mut out, mut seed) = (Vec::new(), 0);
    let mut write = |t: &TensorInfo, w: &mut dyn std::io::Write| {
        seed += 1;
        let n = t.elements() as usize;
        let bytes: Vec<u8> = Rng::new(seed).floats(n).iter().flat_map(|v| (v * 0.2).to_le_bytes()).collect();
        w.write_all(&bytes).map_err(|e| llama::Error::io("write", e))
    };
    Layout::new(&meta, &list).expect("an adapter").write(&mut out, &mut write).expect("a vector");
    out
}

/// Logits of all tokens: a prefill in uneven ubatches, then single steps.
fn logits(m: &Arc<Model>, n_ubatch: u32) -> Vec<f32> {
    logits_with(m, n_ubatch, None)
}

fn logits_with(m: &Arc<Model>, n_ubatch: u32, lora: Option<Arc<Lora>>) -> Vec<f32> {
    let toks = m
        .vocab
        .tokenize(b"Once upon a time there was a fox. She lived in a den by the river and had a red hat.", true, true)
        .expect("text");
    let p = ContextParams { n_ctx: 256, n_ubatch, n_threads: 2, n_threads_batch: 2, swa_full: false, ..ContextParams::default() };
    let mut c = Context::new(m.clone(), p).expect("context");
    if let Some(lora) = lora {
        let direction: Vec<f32> = Rng::new(5).floats(m.hp.n_embd as usize * m.layers.len());
        c.set_control(Some(&direction), m.hp.n_embd as i32, [1, 9]).expect("as wide as the model");
        c.set_loras(vec![(lora, 0.5)]).expect("its own");
    }
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

#[test]
fn adapters_stand_where_their_weights_are() {
    let path = std::env::temp_dir().join(format!("camelid-split-{}.gguf", std::process::id()));
    for name in ["tinystories-llama-q8_0.gguf", "tinystories-gemma3-q8_0.gguf"] {
        let load = |far| {
            let m = model(name, far);
            std::fs::write(&path, adapter(&m)).expect("a temporary file");
            let source = Source::open(&path, LoadMode::None).expect("as written");
            let lora = Arc::new(Lora::load(&m, &source).expect("fits"));
            (m, lora)
        };
        let (m, lora) = load(0);
        let (bare, one) = (logits(&m, 512), logits_with(&m, 512, Some(lora)));
        let far = |a: &[f32], b: &[f32]| {
            let square = |x: f32| f64::from(x) * f64::from(x);
            a.iter().zip(b).map(|(a, b)| square(a - b)).sum::<f64>() / a.iter().map(|a| square(*a)).sum::<f64>()
        };
        assert!(far(&one, &bare) > 1e-2, "{name}: the adapter changes nothing");
        for n in [1, 64] {
            let (m, lora) = load(n);
            let split = logits_with(&m, 7, Some(lora));
            assert!(far(&one, &split) < 1e-4, "{name}, {n} far layers: nmse {}", far(&one, &split));
        }
    }
    std::fs::remove_file(&path).expect("there");
}
