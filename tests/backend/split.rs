//! A model half on the CPU and half on a device whose memory the host cannot address gives the right logits.
use crate::ops::Rng;
use llama::backend::far;
use llama::gguf::{DType, Layout, LoadMode, Meta, NewTensor, Source, TensorInfo, Value};
use llama::grammar::Pattern;
use llama::model::adapter::Lora;
use llama::model::place::Override;
use llama::model::{LoadParams, Model, Offload};
use llama::session::batch::BatchView;
use llama::session::{Context, ContextParams};
use std::path::PathBuf;
use std::sync::Arc;

pub fn model(name: &str, far: u32) -> Arc<Model> {
    Arc::new(load(name, Offload::far(far)).expect("loads"))
}

fn load(name: &str, offload: Offload) -> llama::Result<Model> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models").join(name);
    let source = Source::open(&path, LoadMode::Auto).expect("bundled model");
    let p = LoadParams { vocab_only: false, check_tensors: true, extra_bufts: true, offload, nodes: None, progress: &mut |_| true };
    Model::load(&source, p)
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
    let p = ContextParams { n_ubatch, ..params() };
    logits_of(m, p, lora)
}

fn params() -> ContextParams {
    ContextParams { n_ctx: 256, n_threads: 2, n_threads_batch: 2, swa_full: false, ..ContextParams::default() }
}

fn logits_of(m: &Arc<Model>, p: ContextParams, lora: Option<Arc<Lora>>) -> Vec<f32> {
    let toks = m
        .vocab
        .tokenize(b"Once upon a time there was a fox. She lived in a den by the river and had a red hat.", true, true)
        .expect("text");
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

/// How far `x` is from `one`, in squares.
fn nmse(one: &[f32], x: &[f32]) -> f64 {
    assert_eq!(one.len(), x.len());
    let square = |x: f32| f64::from(x) * f64::from(x);
    one.iter().zip(x).map(|(a, b)| square(a - b)).sum::<f64>() / one.iter().map(|a| square(*a)).sum::<f64>()
}

/// `to` where `pattern` is found.
fn over(list: &[(&str, &str)]) -> Vec<Override> {
    let one = |(p, to): &(&str, &str)| Override { pattern: Pattern::new(p.as_bytes()).expect("a pattern"), to: (*to).to_owned() };
    list.iter().map(one).collect()
}

/// Ways to keep tensors elsewhere than their layers: halves of a layer, one of two matrices of a step, norms, biases, tables, the head.
const ELSEWHERE: [&[(&str, &str)]; 9] = [
    &[],
    &[("ffn", "CPU")],
    &[(r"blk\.(0|2|4)\.ffn_(up|down)", "CPU")],
    &[(r"attn_k\.", "CPU"), ("attn_", "FAR0")],
    &[("_norm", "CPU")],
    &[("ffn_gate", "FAR0"), ("ffn_up", "CPU")],
    &[("token_embd", "FAR0")],
    &[("^output", "CPU"), (r"attn_(q|output)", "CPU")],
    &[("attn_v", "FAR0"), (".", "CPU")],
];

#[test]
fn wherever_weights_are_they_say_the_same() {
    for name in ["tinystories-llama-q8_0.gguf", "tinystories-gemma3-q8_0.gguf"] {
        let cpu = model(name, 0);
        let (one, n_layer) = (logits(&cpu, 512), cpu.layers.len() as i32);
        let mut elsewhere = ELSEWHERE.iter().cycle();
        for devices in [1, 2] {
            for n_gpu_layers in 0..=n_layer + 1 {
                for offload_kqv in [true, false] {
                    let list = elsewhere.next().expect("endless");
                    let overrides = over(list);
                    let m = load(name, Offload { overrides, ..Offload::on(far::devices(devices, &[]), n_gpu_layers) });
                    let m = Arc::new(m.expect("loads"));
                    let what = format!("{name}, {n_gpu_layers} layers on {devices} devices, {list:?}, offload_kqv {offload_kqv}");
                    are_where_they_are_wanted(&m, list, &what);
                    let x = logits_of(&m, ContextParams { n_ubatch: 7, offload_kqv, ..params() }, None);
                    assert!(nmse(&one, &x) < 1e-4, "{what}: nmse {}", nmse(&one, &x));
                }
            }
        }
    }
}

/// Weights are on the device of the first pattern that finds them, else of their layer; so much of it is told.
fn are_where_they_are_wanted(m: &Model, list: &[(&str, &str)], what: &str) {
    let overrides = over(list);
    let place = |to: &str| m.backends.iter().position(|b| b.name() == to).unwrap_or(0);
    for w in m.weights.iter() {
        let by_name = overrides.iter().find(|o| o.pattern.find(w.name.as_bytes()).is_some()).map(|o| place(&o.to));
        let layer = w.name.strip_prefix("blk.").and_then(|n| n.split('.').next()?.parse::<usize>().ok()).map(|il| m.place[il]);
        let want = by_name.or(layer);
        let at = m.backends.iter().position(|b| b.device() == w.shards[0].buf.device()).expect("one of them");
        assert!(want.is_none_or(|p| p == at), "{what}: {} is at {at}, not {want:?}", w.name);
    }
    let told: usize = (0..m.backends.len()).map(|i| m.held_bytes(i)).sum();
    assert_eq!(told, m.weights.iter().map(|w| w.bytes()).sum::<usize>(), "{what}");
}

/// Rows where the model's layers are, or with the CPU: what is told of them, and what a far device has less of.
#[test]
fn rows_are_where_the_context_wants_them() {
    let devices = far::devices(1, &[1 << 30]);
    let free = || devices[0].memory().free as usize;
    let m = Arc::new(load("tinystories-llama-q8_0.gguf", Offload::on(devices.clone(), 4)).expect("loads"));
    assert_eq!((1 << 30) - free(), m.held_bytes(1), "weights are all that is there");
    for offload_kqv in [true, false] {
        let before = free();
        let c = Context::new(m.clone(), ContextParams { offload_kqv, ..params() }).expect("room");
        let [cpu, far] = c.reserved()[..] else { panic!("two backends") };
        assert_eq!((far[0] > 0, cpu[0] > 0, cpu[1] > 0, far[1] > 0), (offload_kqv, true, true, true));
        assert!(before - free() >= far[0], "what is told is taken");
    }
    assert_eq!((1 << 30) - free(), m.held_bytes(1), "contexts give back what they took");
}

#[test]
fn memory_that_is_short_is_told() {
    let name = "tinystories-llama-q8_0.gguf";
    let weights = load(name, Offload::far(64)).expect("loads").held_bytes(1) as u64;
    let small = far::devices(1, &[weights / 2]);
    let said = load(name, Offload::on(small.clone(), -1)).err().expect("refused").to_string();
    assert!(said.contains("device FAR0") && said.contains("MiB are needed") && said.contains(" free"), "{said}");
    assert_eq!(small[0].memory().free, weights / 2, "nothing is kept of a model that was not loaded");
    let devices = far::devices(1, &[weights + 50_000]);
    let m = Arc::new(load(name, Offload::on(devices.clone(), -1)).expect("just fits"));
    let left = devices[0].memory().free;
    let said = Context::new(m.clone(), params()).err().expect("no room for rows").to_string();
    assert!(said.contains("FAR0") && said.contains("needed") && said.contains(&format!("{left} free")), "{said}");
    assert_eq!(devices[0].memory().free, left);
    let one = logits(&model(name, 0), 512);
    let x = logits_of(&m, ContextParams { offload_kqv: false, ..params() }, None);
    assert!(nmse(&one, &x) < 1e-4, "the CPU has room for them");
}

/// Weights that are brought over for large batches: who computes is decided by the batch, and said.
#[test]
fn large_batches_leave_the_cpu() {
    let name = "tinystories-llama-q8_0.gguf";
    let (cpu, of) = (model(name, 0), |n| load(name, Offload::on(far::streaming(1), n)).expect("loads"));
    let one = logits(&cpu, 512);
    let m = Arc::new(of(2));
    assert_eq!(logits_of(&m, params(), None), logits_of(&m, ContextParams { op_offload: false, ..params() }, None), "less than 32 tokens");
    let toks = cpu.vocab.tokenize(&b"One day a fox saw a red hat. ".repeat(6), true, true).expect("text");
    assert!(toks.len() >= 32 && one.len() > 1);
    let decode = |m: &Arc<Model>, op_offload| {
        let mut c = Context::new(m.clone(), ContextParams { op_offload, ..params() }).expect("context");
        assert_eq!(c.is_batch_invariant().is_ok(), !op_offload || m.place.len() == 1);
        let all = vec![1i8; toks.len()];
        let b = BatchView { n_tokens: toks.len(), tokens: Some(&toks), embd: None, pos: None, seqs: None, logits: Some(&all) };
        assert_eq!(c.decode(&b), 0);
        c.outputs.logits().expect("wanted").to_vec()
    };
    let (on, off) = (decode(&m, true), decode(&m, false));
    assert!(nmse(&off, &on) < 1e-4 && on != off, "nmse {}", nmse(&off, &on));
    let all = decode(&Arc::new(of(0)), false);
    assert!(nmse(&all, &on) < 1e-4);
}

/// Sizes of what would be there, and nothing is.
#[test]
fn sizes_without_memory() {
    let name = "tinystories-gemma3-q8_0.gguf";
    let sizes = |offload: Offload| {
        let m = Arc::new(load(name, offload).expect("loads"));
        let mut c = Context::new(m.clone(), params()).expect("context");
        let b = BatchView { n_tokens: 1, tokens: Some(&[1]), ..BatchView::default() };
        let rc = c.decode(&b);
        let kv: Vec<usize> = c.reserved().iter().map(|r| r[0]).collect();
        ([m.held_bytes(0), m.held_bytes(1)], kv, rc)
    };
    let tiny = far::devices(1, &[1]);
    let (dry, kv, rc) = sizes(Offload { no_alloc: true, ..Offload::on(tiny.clone(), 5) });
    let real = sizes(Offload::on(far::devices(1, &[]), 5));
    assert_eq!(((dry, kv), rc, real.2), ((real.0, real.1), llama::session::context::code::FAILED, 0));
    assert_eq!(tiny[0].memory().free, 1);
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
