//! What a decode promises, on the bundled models through the Rust API: embeddings as input, several sequences at once, switches.
mod encoders;
mod kv_types;
mod loading;
#[path = "../common/rng.rs"]
mod rng;

use llama::backend::{DType, Layout};
use llama::gguf::{LoadMode, Source};
use llama::model::{LoadParams, Model, Offload};
use llama::session::batch::BatchView;
use llama::session::{Context, ContextParams};
use std::path::PathBuf;
use std::sync::Arc;

const LLAMA: &str = "tinystories-llama-q8_0.gguf";
const GEMMA: &str = "tinystories-gemma3-q8_0.gguf";

fn source(name: &str, mode: LoadMode) -> Source {
    Source::open(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models").join(name), mode).expect("bundled model")
}
fn model(name: &str, mode: LoadMode) -> Arc<Model> {
    let p = LoadParams {
        vocab_only: false,
        check_tensors: false,
        extra_bufts: true,
        offload: Offload::default(),
        nodes: None,
        progress: &mut |_| true,
    };
    Arc::new(Model::load(&source(name, mode), p).expect("loads"))
}
fn context(m: &Arc<Model>, change: impl Fn(&mut ContextParams)) -> Context {
    let mut p = ContextParams { n_ctx: 512, n_threads: 2, n_threads_batch: 2, ..ContextParams::default() };
    change(&mut p);
    Context::new(m.clone(), p).expect("context")
}
fn tokens(m: &Model, text: &str) -> Vec<i32> {
    m.vocab.tokenize(text.as_bytes(), true, true).expect("text")
}
fn view(t: &[i32]) -> BatchView<'_> {
    BatchView { n_tokens: t.len(), tokens: Some(t), embd: None, pos: None, seqs: None, logits: None }
}
fn last(c: &mut Context) -> Vec<f32> {
    c.outputs.logits_ith(-1).expect("wanted").to_vec()
}

const TEXT: &str = "Once upon a time there was a small owl who could not sleep. Every night she";

/// The rows of the embedding table, as a caller would get them from a model of its own.
fn embeddings(name: &str, t: &[i32], n_embd: usize) -> Vec<f32> {
    let s = source(name, LoadMode::Auto);
    let info = s.gguf().tensor("token_embd.weight").expect("there").clone();
    let mut raw = vec![0; info.bytes as usize];
    s.read_tensor(&info, &mut raw).expect("read");
    let row = DType::Q8_0.row_bytes(n_embd).expect("whole");
    let table = kernels::float::table(kernels::Isa::Scalar);
    t.iter()
        .flat_map(|id| {
            let mut out = vec![0.0; n_embd];
            assert!(table.decode_row(DType::Q8_0, &raw[*id as usize * row..][..row], &mut out));
            out
        })
        .collect()
}

#[test]
fn embeddings_as_input_say_what_their_tokens_say() {
    let m = model(LLAMA, LoadMode::Auto);
    let t = tokens(&m, TEXT);
    let mut a = context(&m, |_| {});
    assert_eq!(a.decode(&view(&t)), 0);
    let embd = embeddings(LLAMA, &t, m.hp.n_embd as usize);
    let mut b = context(&m, |_| {});
    let v = BatchView { n_tokens: t.len(), tokens: None, embd: Some(&embd), pos: None, seqs: None, logits: None };
    assert_eq!(b.decode(&v), 0);
    assert_eq!(last(&mut a), last(&mut b));
    // A table scaled by the model (Gemma) scales tokens only: its own embeddings come in as they are.
    let m = model(GEMMA, LoadMode::Auto);
    let scale = (m.hp.n_embd as f32).sqrt();
    let embd: Vec<f32> = embeddings(GEMMA, &t, m.hp.n_embd as usize).iter().map(|x| x * scale).collect();
    let (mut a, mut b) = (context(&m, |_| {}), context(&m, |_| {}));
    assert_eq!(a.decode(&view(&t)), 0);
    assert_eq!(b.decode(&BatchView { embd: Some(&embd), ..v }), 0);
    assert_eq!(last(&mut a), last(&mut b));
}

#[test]
fn sequences_decoded_together_say_what_they_say_alone() {
    for (name, unified) in [(LLAMA, true), (LLAMA, false), (GEMMA, true), (GEMMA, false)] {
        let m = model(name, LoadMode::Auto);
        let texts = [TEXT, "Tom had a big red ball.", "The fox ran into the forest because", "One day"];
        let alone: Vec<Vec<f32>> = texts
            .iter()
            .map(|x| {
                let mut c = context(&m, |_| {});
                assert_eq!(c.decode(&view(&tokens(&m, x))), 0);
                last(&mut c)
            })
            .collect();
        let mut c = context(&m, |p| (p.n_seq_max, p.kv_unified, p.n_ctx, p.n_ubatch, p.swa_full) = (4, unified, 2048, 9, false));
        let (mut t, mut pos, mut seqs, mut want) = (vec![], vec![], vec![], vec![]);
        // Interleaved: one token of each in turn, as long as it has some.
        let all: Vec<Vec<i32>> = texts.iter().map(|x| tokens(&m, x)).collect();
        for i in 0..all.iter().map(Vec::len).max().unwrap_or(0) {
            for (s, x) in all.iter().enumerate().filter(|(_, x)| i < x.len()) {
                t.push(x[i]);
                pos.push(i as i32);
                seqs.push(vec![s as i32]);
                want.push(i8::from(i + 1 == x.len()));
            }
        }
        let v =
            BatchView { n_tokens: t.len(), tokens: Some(&t), embd: None, pos: Some(&pos), seqs: Some(seqs.clone()), logits: Some(&want) };
        assert_eq!(c.decode(&v), 0);
        for (s, alone) in alone.iter().enumerate() {
            let at = (0..t.len()).find(|i| want[*i] != 0 && seqs[*i] == [s as i32]).expect("one each");
            assert_eq!(c.outputs.logits_ith(at as i32).expect("wanted"), alone.as_slice(), "{name}, unified {unified}, sequence {s}");
        }
    }
}

#[test]
fn a_copied_sequence_goes_on_as_its_source_would() {
    for (name, unified) in [(LLAMA, true), (LLAMA, false), (GEMMA, true), (GEMMA, false)] {
        let m = model(name, LoadMode::Auto);
        let t = tokens(&m, TEXT);
        let mut one = context(&m, |_| {});
        let mut two = context(&m, |p| (p.n_seq_max, p.kv_unified, p.n_ctx) = (2, unified, 1024));
        assert_eq!((one.decode(&view(&t)), two.decode(&view(&t))), (0, 0));
        two.seq_cp(0, 1, 0, i32::MAX).expect("copies");
        two.seq_rm(Some(0), 0, i32::MAX).expect("goes");
        let next = [t[3]];
        assert_eq!(one.decode(&view(&next)), 0);
        assert_eq!(two.decode(&BatchView { seqs: Some(vec![vec![1]]), ..view(&next) }), 0);
        assert_eq!(last(&mut one), last(&mut two), "{name}, unified {unified}");
    }
}

#[test]
fn every_way_of_loading_gives_the_same_bits() {
    let t: Vec<i32> = (1..60).collect();
    let mut first: Option<Vec<f32>> = None;
    let modes = [LoadMode::Mmap, LoadMode::None, LoadMode::DirectIo, LoadMode::MmapMlock];
    for (mode, extra_bufts) in modes.into_iter().flat_map(|m| [(m, true), (m, false)]) {
        let p = LoadParams {
            vocab_only: false,
            check_tensors: false,
            extra_bufts,
            offload: Offload::default(),
            nodes: None,
            progress: &mut |_| true,
        };
        let m = Arc::new(Model::load(&source(GEMMA, mode), p).expect("loads"));
        let grouped = m.weights.iter().filter(|w| w.shards[0].layout == Layout::Groups).count();
        assert_eq!(grouped > 0, extra_bufts && kernels::Isa::detect() > kernels::Isa::Scalar, "{mode:?}");
        let mut c = context(&m, |_| {});
        assert_eq!(c.decode(&view(&t)), 0);
        let l = last(&mut c);
        assert_eq!(*first.get_or_insert_with(|| l.clone()), l, "{mode:?}, extra buffers {extra_bufts}");
    }
}

#[test]
fn without_causality_a_token_sees_what_comes_after_it() {
    let m = model(LLAMA, LoadMode::Auto);
    let t = tokens(&m, TEXT);
    let mut c = context(&m, |p| p.causal = Some(false));
    let all = vec![1i8; t.len()];
    assert_eq!(c.decode(&BatchView { logits: Some(&all), ..view(&t) }), 0);
    let first = c.outputs.logits_ith(0).expect("wanted").to_vec();
    c.memory_clear();
    assert_eq!(c.decode(&BatchView { logits: Some(&all[..1]), ..view(&t[..1]) }), 0);
    assert_ne!(c.outputs.logits_ith(0).expect("wanted"), first.as_slice());
    // Alone, a token sees only itself either way.
    let alone = c.outputs.logits_ith(0).expect("wanted").to_vec();
    c.memory_clear();
    c.set_causal(true);
    assert_eq!(c.decode(&view(&t[..1])), 0);
    assert_eq!(last(&mut c), alone);
}
