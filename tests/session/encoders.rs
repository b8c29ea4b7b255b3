//! Batches that are seen whole: the same bits in any company and on any number of threads, pooling, classifiers, an encoder beside a decoder,
//! and what is refused. Models are made from what an architecture's value asks a file for, with random weights.
use super::rng::Rng;
use llama::gguf::{Array, DType, Layout, LoadMode, Meta, NewTensor, Source, Value};
use llama::model::arch::find;
use llama::model::hparams::HParams;
use llama::model::names::{Role, layer_tensors, model_tensors};
use llama::model::spec::{Ffn, Gating};
use llama::model::{LoadParams, Model, Offload};
use llama::session::batch::BatchView;
use llama::session::{Context, ContextParams};
use std::io::Write;
use std::sync::Arc;

const N_VOCAB: usize = 32;
const N_EMBD: usize = 64;

/// Architectures with what they need beyond the common keys.
const ENCODERS: &[(&str, &[(&str, u32)])] = &[
    ("bert", &[]),
    ("nomic-bert", &[]),
    ("nomic-bert-moe", &[("expert_count", 4), ("expert_used_count", 2), ("moe_every_n_layers", 2)]),
    ("jina-bert-v2", &[]),
    ("jina-bert-v3", &[]),
    ("modern-bert", &[("attention.sliding_window", 8), ("attention.sliding_window_pattern", 2)]),
    ("neo-bert", &[]),
    ("eurobert", &[]),
    ("gemma-embedding", &[("attention.sliding_window", 8), ("attention.sliding_window_pattern", 2)]),
    ("t5encoder", &[]),
    ("llada", &[]),
    ("rnd1", &[("expert_count", 4), ("expert_used_count", 2)]),
];

fn meta(arch: &str, more: &[(&str, u32)], labels: usize) -> Meta {
    let ints = [
        ("block_count", 3),
        ("context_length", 512),
        ("embedding_length", N_EMBD as u32),
        ("feed_forward_length", 96),
        ("attention.head_count", 2),
        ("attention.head_count_kv", 2),
        ("attention.relative_buckets_count", 8),
    ];
    let mut kv = vec![("general.architecture".to_owned(), Value::Str(arch.into()))];
    kv.extend(ints.iter().chain(more).map(|(k, v)| (format!("{arch}.{k}"), Value::U32(*v))));
    for k in ["attention.layer_norm_epsilon", "attention.layer_norm_rms_epsilon"] {
        kv.push((format!("{arch}.{k}"), Value::F32(1e-5)));
    }
    let tokenizer = |k: &str, v: Value| (format!("tokenizer.ggml.{k}"), v);
    let tokens = (0..N_VOCAB).map(|i| format!("t{i}").into_bytes()).collect();
    kv.push(tokenizer("model", Value::Str("gpt2".into())));
    kv.push(tokenizer("pre", Value::Str("gpt-2".into())));
    kv.push(tokenizer("tokens", Value::Array(Array::Str(tokens))));
    kv.push(tokenizer("token_type", Value::Array(Array::I32(vec![1; N_VOCAB]))));
    kv.push(tokenizer("merges", Value::Array(Array::Str(vec![b"t 1".to_vec()]))));
    kv.push(tokenizer("token_type_count", Value::U32(2)));
    if labels > 0 {
        let names = (0..labels).map(|i| format!("label {i}").into_bytes()).collect();
        kv.push((format!("{arch}.classifier.output_labels"), Value::Array(Array::Str(names))));
    }
    Meta::new(kv)
}

/// A tensor as a file has it.
struct Made {
    name: String,
    shape: Vec<u64>,
    data: Vec<f32>,
}

/// All tensors that the architecture would take, each around 0, norms around 1.
fn tensors(meta: &Meta, arch: &str) -> Vec<Made> {
    let arch = find(arch).expect("known");
    let hp = HParams::read(meta, arch, N_VOCAB as u32, &|_| None).expect("reads");
    let norm = arch.norm(&hp);
    let layers = (0..arch.n_layer(&hp)).map(|il| arch.layer_spec(&hp, il)).chain(arch.encoder_layers(&hp)).enumerate();
    let of_layers = layers.flat_map(|(il, l)| layer_tensors(&hp, &norm, &l).into_iter().map(move |t| (il as i32, t)));
    let all = model_tensors(&hp, arch).into_iter().map(|t| (-1, t)).chain(of_layers);
    let mut rng = Rng(0x5eed);
    let mut made: Vec<Made> = Vec::new();
    let doubled = matches!(arch.layer_spec(&hp, 0).ffn, Ffn::Dense(d) if d.gating == Gating::InUp);
    for (il, t) in all {
        let mut shape: Vec<u64> = t.shape.iter().map(|d| u64::from(*d)).collect();
        // The binder cuts what stands in one tensor.
        if t.name == Role::FfnUp.weight() && doubled {
            shape[1] *= 2;
        }
        let name = t.name.in_file(il, arch.encoder_from(&hp));
        let around = if name.contains("norm") && name.ends_with("weight") { 1.0 } else { 0.0 };
        let n: u64 = shape.iter().product();
        let data = (0..n).map(|_| around + 0.3 * (rng.below(2001) as f32 / 1000.0 - 1.0)).collect();
        // Scales beside matrices are for other files, a norm in the classifier for one architecture.
        if !name.ends_with("scale") && name != "cls.norm.weight" {
            made.push(Made { name, shape, data });
        }
    }
    made
}

fn load(arch: &str, more: &[(&str, u32)], labels: usize, far: u32) -> (Arc<Model>, Vec<Made>) {
    let meta = meta(arch, more, labels);
    let made = tensors(&meta, arch);
    let list: Vec<NewTensor> = made.iter().map(|t| NewTensor { name: t.name.clone(), ty: DType::F32, shape: t.shape.clone() }).collect();
    let (mut out, mut i) = (Vec::new(), 0);
    let mut write = |_: &_, w: &mut dyn Write| {
        i += 1;
        let bytes: Vec<u8> = made[i - 1].data.iter().flat_map(|x| x.to_le_bytes()).collect();
        w.write_all(&bytes).map_err(|e| llama::Error::io("write", e))
    };
    Layout::new(&meta, &list).expect("a file").write(&mut out, &mut write).expect("a file");
    let name = format!("camelid-encoder-{arch}-{labels}-{far}-{:?}-{}.gguf", std::thread::current().id(), std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, out).expect("a temporary file");
    let p = LoadParams {
        vocab_only: false,
        check_tensors: false,
        extra_bufts: true,
        offload: Offload::far(far),
        nodes: None,
        progress: &mut |_| true,
    };
    let m = Source::open(&path, LoadMode::None).and_then(|source| Model::load(&source, p));
    let _ = std::fs::remove_file(&path);
    (Arc::new(m.unwrap_or_else(|e| panic!("{arch}: {e}"))), made)
}

fn context(m: &Arc<Model>, n_threads: i32, pooling_type: i32) -> Context {
    let p = ContextParams {
        n_ctx: 512,
        n_batch: 256,
        n_ubatch: 128,
        n_seq_max: 4,
        kv_unified: true,
        n_threads,
        n_threads_batch: n_threads,
        embeddings: true,
        pooling_type,
        ..ContextParams::default()
    };
    Context::new(m.clone(), p).expect("context")
}

/// One token: its id, position and sequence.
type Token = (i32, i32, u32);

fn text(seq: u32, n: i32) -> Vec<Token> {
    (0..n).map(|p| (((p * 7 + 3 * seq as i32) % 31) ^ (p & 3), p, seq)).collect()
}

/// `texts` in one batch, taking turns.
fn mixed(texts: &[Vec<Token>]) -> Vec<Token> {
    let longest = texts.iter().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|i| texts.iter().filter_map(move |t| t.get(i).copied())).collect()
}

fn run(c: &mut Context, tokens: &[Token], f: impl Fn(&mut Context, &BatchView<'_>) -> i32) -> i32 {
    let (ids, pos): (Vec<i32>, Vec<i32>) = tokens.iter().map(|t| (t.0, t.1)).unzip();
    let seqs = tokens.iter().map(|t| vec![t.2 as i32]).collect();
    let logits = vec![1; ids.len()];
    let v = BatchView { n_tokens: ids.len(), tokens: Some(&ids), embd: None, pos: Some(&pos), seqs: Some(seqs), logits: Some(&logits) };
    f(c, &v)
}

fn encode(c: &mut Context, tokens: &[Token]) -> i32 {
    run(c, tokens, Context::encode)
}
fn decode(c: &mut Context, tokens: &[Token]) -> i32 {
    run(c, tokens, Context::decode)
}

/// Embeddings of the last batch, by (sequence, position).
fn rows(c: &mut Context, tokens: &[Token]) -> std::collections::BTreeMap<(u32, i32), Vec<u32>> {
    let bits = |row: &mut [f32]| row.iter().map(|x| x.to_bits()).collect();
    tokens.iter().enumerate().map(|(i, t)| ((t.2, t.1), bits(c.outputs.embd_ith(i as i32).expect("wanted")))).collect()
}

#[test]
fn company_and_threads_change_no_bit() {
    let texts = [text(0, 5), text(1, 70), text(2, 23)];
    for (arch, more) in ENCODERS {
        let (m, _) = load(arch, more, 0, 0);
        let mut alone = std::collections::BTreeMap::new();
        for t in &texts {
            let mut c = context(&m, 1, 0);
            assert_eq!(encode(&mut c, t), 0, "{arch}");
            alone.extend(rows(&mut c, t));
        }
        assert!(alone.values().flatten().all(|x| f32::from_bits(*x).is_finite()), "{arch}");
        for (n_threads, together) in [(1, texts.concat()), (2, mixed(&texts)), (3, mixed(&texts))] {
            let mut c = context(&m, n_threads, 0);
            // What was there before leaves no trace.
            assert_eq!(encode(&mut c, &text(3, 100)), 0, "{arch}");
            assert_eq!(encode(&mut c, &together), 0, "{arch}");
            assert!(rows(&mut c, &together) == alone, "{arch} on {n_threads} threads");
        }
        // A decode is the same thing, and sees both sides.
        let mut c = context(&m, 2, 0);
        let mut other = texts[0].clone();
        other[4].0 ^= 8;
        assert_eq!(decode(&mut c, &other), 0, "{arch}");
        assert!(rows(&mut c, &other)[&(0, 0)] != alone[&(0, 0)], "{arch} sees only what came before");
        assert!(!c.has_memory());
    }
}

#[test]
fn layers_far_away_say_the_same() {
    for arch in ["bert", "jina-bert-v2", "nomic-bert-moe", "t5encoder"] {
        let more = ENCODERS.iter().find(|e| e.0 == arch).expect("listed").1;
        let t = text(0, 70);
        let sides = [0, 2].map(|far| {
            let mut c = context(&load(arch, more, 0, far).0, 2, 0);
            assert_eq!(encode(&mut c, &t), 0);
            (0..70).flat_map(|i| c.outputs.embd_ith(i).expect("wanted").to_vec()).collect::<Vec<f32>>()
        });
        let worst = sides[0].iter().zip(&sides[1]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-3, "{arch}: {worst}");
    }
}

#[test]
fn sequences_are_pooled() {
    let (m, _) = load("bert", &[], 0, 0);
    let texts = [text(0, 5), text(1, 70)];
    let all = mixed(&texts);
    let mut c = context(&m, 2, 0);
    assert_eq!(encode(&mut c, &all), 0);
    assert!(c.outputs.embd_seq(0).is_none(), "nothing was pooled");
    let tokens: Vec<Vec<f32>> = (0..all.len() as i32).map(|i| c.outputs.embd_ith(i).expect("wanted").to_vec()).collect();
    let of = |seq: u32| all.iter().zip(&tokens).filter(move |(t, _)| t.2 == seq).map(|(_, row)| row);
    for (pooling_type, name) in [(1, "mean"), (2, "cls"), (3, "last")] {
        let mut c = context(&m, 2, pooling_type);
        assert_eq!(encode(&mut c, &all), 0);
        for seq in [0, 1] {
            let n = of(seq).count() as f64;
            let want: Vec<f32> = match name {
                "mean" => (0..N_EMBD).map(|j| (of(seq).map(|r| f64::from(r[j])).sum::<f64>() / n) as f32).collect(),
                "cls" => of(seq).next().expect("a token").clone(),
                _ => of(seq).next_back().expect("a token").clone(),
            };
            assert_eq!(c.outputs.embd_seq(seq).expect("pooled"), want, "{name} of {seq}");
        }
        assert!(c.outputs.embd_seq(2).is_none());
    }
}

/// `w` times `x` plus `b`, exactly enough.
fn affine(made: &[Made], name: &str, x: &[f64]) -> Vec<f64> {
    let of = |part: &str| made.iter().find(|t| t.name == format!("{name}.{part}")).map_or(&[][..], |t| &t.data[..]);
    let (w, b) = (of("weight"), of("bias"));
    let row =
        |(r, w): (usize, &[f32])| w.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum::<f64>() + b.get(r).map_or(0.0, |b| f64::from(*b));
    w.chunks_exact(x.len()).enumerate().map(row).collect()
}

#[test]
fn rerankers_give_scores() {
    let texts = [text(0, 5), text(1, 70)];
    for (arch, labels) in [("bert", 3), ("jina-bert-v2", 0), ("neo-bert", 1)] {
        let (m, made) = load(arch, &[], labels, 0);
        assert_eq!(m.hp.n_cls_out as usize, labels.max(1));
        let mut c = context(&m, 1, 0);
        assert_eq!(encode(&mut c, &texts.concat()), 0);
        let first = [0, 5].map(|i| c.outputs.embd_ith(i).expect("wanted").iter().map(|x| f64::from(*x)).collect::<Vec<f64>>());
        let mut c = context(&m, 2, 4);
        assert_eq!(encode(&mut c, &mixed(&texts)), 0);
        for (seq, x) in first.iter().enumerate() {
            let hidden: Vec<f64> = affine(&made, "cls", x).iter().map(|y| y.tanh()).collect();
            let want = if labels == 0 { hidden } else { affine(&made, "cls.output", &hidden) };
            let got = c.outputs.embd_seq(seq as u32).expect("scores").to_vec();
            assert_eq!(got.len(), want.len(), "{arch}");
            assert!(got.iter().zip(&want).all(|(g, w)| (f64::from(*g) - w).abs() < 1e-4 * w.abs().max(1.0)), "{arch}: {got:?} {want:?}");
        }
    }
}

#[test]
fn what_cannot_be_encoded_is_refused() {
    let (m, _) = load("bert", &[], 0, 0);
    let mut c = context(&m, 1, 0);
    assert_eq!(encode(&mut c, &text(0, 129)), -1, "more than n_ubatch");
    assert_eq!(decode(&mut c, &text(0, 129)), -1);
    assert_eq!(encode(&mut c, &[(N_VOCAB as i32, 0, 0)]), -1, "no such token");
    assert_eq!(encode(&mut c, &[(1, 0, 4)]), -1, "no such sequence");
    // A learned position beyond its table.
    assert_eq!(encode(&mut c, &[(1, 512, 0)]), -3);
    assert_eq!(encode(&mut c, &text(0, 128)), 0, "nothing is broken");
    let llama = super::model(super::LLAMA, LoadMode::Auto);
    let mut c = context(&llama, 1, 0);
    assert_eq!(encode(&mut c, &text(0, 4)), -1, "a model without an encoder");
    assert_eq!(decode(&mut c, &text(0, 4)), 0);
}

fn logits(c: &mut Context, n: usize) -> Vec<Vec<u32>> {
    (0..n as i32).map(|i| c.outputs.logits_ith(i).expect("wanted").iter().map(|x| x.to_bits()).collect()).collect()
}

#[test]
fn a_decoder_looks_at_what_was_encoded() {
    let (m, _) = load("t5", &[("decoder_block_count", 2)], 0, 0);
    let (sources, answers) = ([text(0, 70), text(1, 20)], [text(0, 9), text(1, 9)]);
    let mut alone = Vec::new();
    for (s, a) in sources.iter().zip(&answers) {
        let mut c = context(&m, 1, 0);
        assert_eq!(decode(&mut c, a), -1, "nothing was encoded");
        assert_eq!(encode(&mut c, s), 0);
        assert!(c.outputs.logits_ith(-1).is_none() && c.outputs.embd_ith(-1).is_some());
        assert_eq!(decode(&mut c, a), 0);
        alone.push(logits(&mut c, 9));
    }
    assert_ne!(alone[0], alone[1]);
    // Token by token, both at once.
    let mut c = context(&m, 3, 0);
    assert_eq!(encode(&mut c, &mixed(&sources)), 0);
    assert!(c.has_memory());
    for i in 0..9 {
        assert_eq!(decode(&mut c, &[answers[0][i], answers[1][i]]), 0);
        let both = logits(&mut c, 2);
        assert!(both[0] == alone[0][i] && both[1] == alone[1][i], "token {i}");
    }
    // Another text, and the same beginning says something else; a sequence without a text says nothing.
    c.memory_clear();
    assert_eq!(encode(&mut c, &text(0, 30)), 0);
    assert_eq!(decode(&mut c, &answers[1][..1]), -1);
    assert_eq!(decode(&mut c, &answers[0][..1]), 0);
    assert_ne!(logits(&mut c, 1)[0], alone[0][0]);
}

#[test]
fn an_encoder_here_and_its_decoder_far_away() {
    let sides = [0, 1].map(|far| {
        let mut c = context(&load("t5", &[], 0, far).0, 2, 0);
        assert_eq!(encode(&mut c, &text(0, 70)), 0);
        assert_eq!(decode(&mut c, &text(0, 4)), 0);
        (0..4).flat_map(|i| c.outputs.logits_ith(i).expect("wanted").to_vec()).collect::<Vec<f32>>()
    });
    let worst = sides[0].iter().zip(&sides[1]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-3, "{worst}");
}
