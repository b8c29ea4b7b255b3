//! Models that are well-formed files and nonsense inside: load, context, decode. Each either works or is refused with one line that names the thing.
use crate::alloc::cost;
use crate::tiny::{Batch, Ctx, Model, N_VOCAB, Rng, TempFile, Tiny, ctx_params, errors, one_error, params, said};
use llama::capi::model::llama_model_get_vocab;
use llama::capi::types::*;
use llama::capi::vocab::*;
use llama::gguf::{Array, DType, LoadMode, Source, Value};
use llama::model::{LoadParams, Offload};
use llama::session::batch::BatchView;
use llama::session::{Context, ContextParams};
use std::sync::Arc;

const ARCHS: [&str; 3] = ["llama", "qwen3moe", "gemma3"];

/// Bytes of heap that a model file of `n` bytes may cost while it loads: a copy of its metadata twice, its vectors, and what every model costs.
fn justified(n: usize) -> usize {
    16 * n + (1 << 20)
}

/// Contexts to try on every model that loads.
pub fn contexts() -> [llama_context_params; 3] {
    let (f16, q8) = (DType::F16 as i32, DType::Q8_0 as i32);
    // Threads cost most of the time here: one context has two.
    let one = || llama_context_params { n_threads: 1, n_threads_batch: 1, ..ctx_params() };
    [
        ctx_params(),
        llama_context_params { kv_unified: true, n_seq_max: 4, swa_full: false, type_k: q8, type_v: q8, ..one() },
        llama_context_params { embeddings: true, pooling_type: 1, n_ubatch: 3, type_k: DType::F32 as i32, type_v: f16, ..one() },
    ]
}

/// What became of a model.
#[derive(Debug, PartialEq)]
pub enum Fate {
    Refused(String),
    Worked { contexts: usize, finite: bool },
}

fn decode_some(c: &Ctx, what: &str) -> bool {
    let mut finite = true;
    for (i, n) in [9, 1, 1].into_iter().enumerate() {
        let rc = c.decode(&Batch::new(&vec![3 + i as i32; n]));
        let e = errors(what);
        assert!(rc == 0 && e.is_empty(), "{what}: decode gave {rc}: {e:?}");
        finite &= (0..n as i32).all(|i| c.logits(i).is_some_and(|l| l.iter().all(|v| v.is_finite())));
    }
    finite
}

/// Text in, text out, whatever the vocabulary is.
fn speak(m: &Model) {
    let text = b"abc hello <s> zzz\xff\n";
    // SAFETY: live handles, buffers of the stated sizes.
    unsafe {
        let vocab = llama_model_get_vocab(m.get()).as_ref();
        let mut tokens = [0; 64];
        for special in [false, true] {
            let n = llama_tokenize(vocab, text.as_ptr().cast(), text.len() as i32, tokens.as_mut_ptr(), 64, special, special);
            assert!(n <= 64);
            let mut out = [0; 256];
            let n = llama_detokenize(vocab, tokens.as_ptr(), n.max(0), out.as_mut_ptr(), 256, !special, special);
            assert!(n <= 256);
        }
        for id in 0..N_VOCAB as i32 + 2 {
            let mut out = [0; 64];
            assert!(llama_token_to_piece(vocab, id, out.as_mut_ptr(), 64, 0, true) <= 64);
            llama_vocab_is_eog(vocab, id);
        }
    }
}

pub fn fate(what: &str, t: &Tiny, check_tensors: bool) -> Fate {
    fate_with(what, t, check_tensors, contexts(), |c, _| decode_some(c, what))
}

/// The same with other contexts, and something else than a decode done in each: whether it gave numbers.
pub fn fate_with(
    what: &str,
    t: &Tiny,
    check_tensors: bool,
    contexts: [llama_context_params; 3],
    go: impl Fn(&Ctx, &Model) -> bool,
) -> Fate {
    let bytes = match t.bytes() {
        Ok(b) => b,
        Err(e) => return Fate::Refused(e.to_string()),
    };
    let file = TempFile::new("model", &bytes);
    said();
    let p = llama_model_params { check_tensors, ..params() };
    let (model, spent) = cost(|| Model::load(&file, &p));
    let most = justified(bytes.len());
    assert!(spent.peak <= most && spent.largest <= most, "{what}: {} bytes took {} (once {})", bytes.len(), spent.peak, spent.largest);
    let Some(model) = model else { return Fate::Refused(one_error(what, "")) };
    let e = errors(what);
    assert!(e.is_empty(), "{what}: loaded but said {e:?}");
    speak(&model);
    errors(what);
    let (mut made, mut finite) = (0, true);
    for p in contexts {
        let (ctx, spent) = cost(|| model.context(p));
        assert!(spent.largest <= 1 << 20, "{what}: a context of 256 tokens asked for {} at once", spent.largest);
        let Some(c) = ctx else {
            one_error(what, "");
            continue;
        };
        errors(what);
        made += 1;
        finite &= go(&c, &model);
    }
    Fate::Worked { contexts: made, finite }
}

fn refused(what: &str, t: &Tiny, names: &str) {
    match fate(what, t, false) {
        Fate::Refused(e) => assert!(e.contains(names), "{what}: {e:?} does not name {names:?}"),
        worked => panic!("{what}: {worked:?}"),
    }
}

#[test]
fn good_models_work() {
    for arch in ARCHS {
        let all = Fate::Worked { contexts: 3, finite: true };
        assert_eq!(fate(arch, &Tiny::new(arch), true), all);
        for ty in [DType::Q8_0, DType::F16, DType::BF16] {
            assert_eq!(fate(arch, &Tiny::new(arch).in_format(ty), true), all, "{arch} {ty:?}");
        }
    }
}

/// Values that a key of any type can be set to.
pub fn spoilt(v: &Value) -> Vec<Value> {
    let mut list = vec![Value::Str(b"nonsense".to_vec()), Value::Bool(true), Value::F32(f32::NAN), Value::I64(i64::MIN)];
    list.extend([0, 1, 2, 3, 5, 7, 255, 65_537, 1 << 20, (1 << 24) + 1, 1 << 31, u32::MAX].map(Value::U32));
    list.extend([Value::I32(-1), Value::U64(u64::MAX), Value::U8(3), Value::F64(f64::INFINITY)]);
    list.extend([0.0, -0.0, -1.0, 1e-45, f32::MAX, f32::INFINITY, f32::NEG_INFINITY].map(Value::F32));
    for n in [0, 1, 2, 3, 600] {
        list.push(Value::Array(Array::U32(vec![1; n])));
        list.push(Value::Array(Array::I32(vec![-1; n])));
        list.push(Value::Array(Array::Str(vec![b"x".to_vec(); n])));
        list.push(Value::Array(Array::F32(vec![f32::NAN; n])));
    }
    list.retain(|x| x.type_name() != v.type_name() || format!("{x:?}") != format!("{v:?}"));
    list
}

/// Optional keys, so that they are spoilt too.
fn with_all_keys(arch: &'static str) -> Tiny {
    let mut t = Tiny::new(arch);
    for (k, v) in [("expert_weights_scale", 1.0), ("attention.scale", 0.25), ("rope.freq_base", 1e4), ("rope.scaling.attn_factor", 1.0)] {
        t.key(k, Value::F32(v));
    }
    for k in ["yarn_ext_factor", "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow", "yarn_log_multiplier"] {
        t.key(&format!("rope.scaling.{k}"), Value::F32(1.0));
    }
    t.key("rope.scaling.type", Value::Str("yarn".into()));
    t.key("rope.scaling.original_context_length", Value::U32(256));
    t.key("attention.causal", Value::Bool(true));
    t.key("pooling_type", Value::U32(0));
    t.key("vocab_size", Value::U32(32));
    t.set("general.alignment", Value::U32(32));
    t.set("general.name", Value::Str("tiny".into()));
    t
}

/// Keys of a tokenizer that the models here do not use: the same letters as scored pieces.
fn with_pieces() -> Tiny {
    let mut t = with_all_keys("llama");
    t.set("tokenizer.ggml.model", Value::Str("llama".into()));
    t.set("tokenizer.ggml.scores", Value::Array(Array::F32((0..N_VOCAB).map(|i| -(i as f32)).collect())));
    let more = ["unknown", "padding", "eot", "eom", "seperator", "mask", "fim_pre", "fim_rep", "prefix"].map(|k| format!("{k}_token_id"));
    more.into_iter().for_each(|k| t.set(&format!("tokenizer.ggml.{k}"), Value::U32(29)));
    ["add_bos_token", "add_eos_token", "add_space_prefix"]
        .into_iter()
        .for_each(|k| t.set(&format!("tokenizer.ggml.{k}"), Value::Bool(true)));
    t.set("tokenizer.ggml.suppress_tokens", Value::Array(Array::I32(vec![1, 2])));
    t.set("tokenizer.chat_template", Value::Str("{{ x }}".into()));
    t
}

#[test]
fn every_tokenizer_key_spoilt() {
    let good = with_pieces();
    assert!(matches!(fate("pieces", &good, false), Fate::Worked { contexts: 3, .. }));
    for (key, v) in good.kv.iter().filter(|(k, _)| k.starts_with("tokenizer")) {
        for bad in spoilt(v) {
            let mut t = good.clone();
            let what = format!("{key} = {}", format!("{bad:?}").chars().take(60).collect::<String>());
            t.set(key, bad);
            fate(&what, &t, false);
        }
    }
}

#[test]
fn every_key_spoilt() {
    let (mut cases, mut worked) = (0, 0);
    for arch in ARCHS {
        let good = with_all_keys(arch);
        assert!(matches!(fate(arch, &good, false), Fate::Worked { contexts: 3, .. }));
        let keys: Vec<(String, Value)> = good.kv.iter().filter(|(k, _)| !k.starts_with("tokenizer") || arch == "llama").cloned().collect();
        for (key, v) in keys {
            let mut t = good.clone();
            t.remove(&key);
            fate(&format!("{arch} without {key}"), &t, false);
            // The writer pads as it is told: large alignments are the business of `gguf`.
            for bad in spoilt(&v).into_iter().filter(|b| key != "general.alignment" || b.as_i64().is_none_or(|a| a < 1 << 16)) {
                let what = format!("{arch} {key} = {}", format!("{bad:?}").chars().take(60).collect::<String>());
                let mut t = good.clone();
                t.set(&key, bad);
                cases += 1;
                worked += usize::from(matches!(fate(&what, &t, false), Fate::Worked { .. }));
            }
        }
    }
    println!("{cases} spoilt keys, {worked} of them worked");
    assert!(cases > 1500 && worked < cases / 2);
}

#[test]
fn every_tensor_spoilt() {
    let mut cases = 0;
    for arch in ARCHS {
        let good = Tiny::new(arch);
        for i in 0..good.tensors.len() {
            let name = good.tensors[i].name.clone();
            let optional = ["output.weight", "rope_freqs.weight"].contains(&name.as_str());
            let mut t = good.clone();
            t.tensors.remove(i);
            if optional {
                assert!(matches!(fate(&name, &t, false), Fate::Worked { contexts: 3, .. }));
            } else {
                refused(&format!("{arch} without {name}"), &t, &name);
            }
            let mut t = good.clone();
            t.tensors.push(t.tensors[i].clone());
            refused(&format!("{arch} {name} twice"), &t, &name);
            cases += 2;
            for shape in wrong_shapes(&good.tensors[i].shape) {
                let mut t = good.clone();
                t.tensors[i].reshape(&shape);
                refused(&format!("{arch} {name} {shape:?}"), &t, &name);
                cases += 1;
            }
        }
    }
    println!("{cases} spoilt tensors");
}

pub fn wrong_shapes(good: &[u64]) -> Vec<Vec<u64>> {
    let mut list = vec![[good, &[2]].concat(), vec![1], good.iter().map(|d| 2 * d).collect()];
    for k in 0..good.len() {
        for d in [0, 1, good[k] - 1, good[k] + 1] {
            let mut s = good.to_vec();
            s[k] = d;
            list.push(s);
        }
    }
    if good.len() > 1 {
        list.push(good.iter().rev().copied().collect());
    }
    list.retain(|s| s != good && s.iter().product::<u64>() < 1 << 20);
    // 1 x 1 at the end is the same shape
    list.retain(|s| s.len() <= good.len() || s[good.len()..].iter().any(|d| *d != 1));
    list
}

/// Every type that a file can name, for every tensor: works where there is a kernel, else is refused by name.
#[test]
fn every_tensor_in_every_type() {
    let (mut works, mut cases) = (0, 0);
    for arch in ARCHS {
        let good = Tiny::new(arch);
        for i in 0..good.tensors.len() {
            for (ty, name, block, _) in DType::TABLE {
                let mut t = good.clone();
                let tensor = &mut t.tensors[i];
                if !tensor.shape[0].is_multiple_of(*block as u64) {
                    // ragged rows are the reader's business; give it rows that fit, and the wrong shape
                    let mut shape = tensor.shape.clone();
                    shape[0] = *block as u64;
                    tensor.reshape(&shape);
                }
                tensor.retype(*ty);
                let (what, tensor) = (format!("{arch} {} {name}", good.tensors[i].name), tensor.name.clone());
                cases += 1;
                match fate(&what, &t, true) {
                    Fate::Refused(e) => assert!(e.contains(&tensor), "{what}: {e}"),
                    Fate::Worked { contexts, .. } => {
                        // gate and up of one expert that want their input in different forms: no context, and a line that says so
                        assert!(contexts == 3 || (contexts == 0 && tensor.contains("_exps")), "{what}: {contexts}");
                        works += usize::from(contexts == 3);
                    }
                }
            }
        }
    }
    println!("{cases} types, {works} of them worked");
    assert!(works > 100);
}

/// Consistent models of odd sizes: head sizes that no KV block or vector register fits, one head, one expert, width 1.
#[test]
fn odd_sizes() {
    let mut made = [0; 4];
    for head in [1u64, 2, 3, 7, 16, 31, 32, 33, 48, 80, 96, 192, 257, 1024, 1026, 2048] {
        // Many heads only where they are small: the point is more queries per KV head than a tile has rows.
        for (n_head, n_kv) in [(1, 1), (3, 1), (2, 2), (70, 1)].into_iter().filter(|(n, _)| n * head <= 6200) {
            for arch in ARCHS {
                let what = format!("{arch} head {head} x {n_head}/{n_kv}");
                match fate(&what, &shaped(arch, head, n_head, n_kv), false) {
                    Fate::Worked { contexts, finite } => {
                        assert!(finite, "{what}");
                        made[contexts] += 1;
                    }
                    Fate::Refused(e) => assert!(head % 2 == 1, "{what}: {e}"),
                }
            }
        }
    }
    println!("contexts made per model: {made:?}");
    assert!(made[3] >= 12 && made[0] >= 4 && made[2] >= 12);
}

fn shaped(arch: &'static str, head: u64, n_head: u64, n_kv: u64) -> Tiny {
    let mut t = Tiny::new(arch);
    let n = |v: u64| Value::U32(v as u32);
    for (k, v) in [("key_length", head), ("value_length", head), ("head_count", n_head), ("head_count_kv", n_kv)] {
        t.key(&format!("attention.{k}"), n(v));
    }
    t.key("rope.dimension_count", n(head));
    for x in &mut t.tensors {
        let w = 64;
        let part = x.name.split('.').nth(2).unwrap_or_default().to_owned();
        match part.as_str() {
            "attn_q" => x.reshape(&[w, n_head * head]),
            "attn_k" | "attn_v" => x.reshape(&[w, n_kv * head]),
            "attn_output" => x.reshape(&[n_head * head, w]),
            "attn_q_norm" | "attn_k_norm" => x.reshape(&[head]),
            _ if x.name == "rope_freqs.weight" => {
                x.shape = vec![head / 2];
                x.fill(1.0);
            }
            _ => {}
        }
    }
    t
}

/// Sizes whose products leave 32 bits: the tensors cannot be there, so the file is refused, by name and at once.
#[test]
fn sizes_that_multiply_to_nonsense() {
    let big = [1 << 20, (1 << 20) - 1, 1 << 16, 65_537];
    let keys =
        ["attention.head_count", "attention.head_count_kv", "attention.key_length", "attention.value_length", "rope.dimension_count"];
    for arch in ARCHS {
        for (i, a) in big.iter().enumerate() {
            for mask in 1..1u32 << keys.len() {
                let mut t = Tiny::new(arch);
                for (k, key) in keys.iter().enumerate().filter(|(k, _)| mask >> k & 1 == 1) {
                    t.key(key, Value::U32(big[(i + k) % 2 * i] & !1));
                }
                let what = format!("{arch} {a} {mask:b}");
                assert!(matches!(fate(&what, &t, false), Fate::Refused(_)) || mask == 1 << 4, "{what}");
            }
        }
    }
}

#[test]
fn rope_factors_and_eps_of_nonsense() {
    for v in [0.0, -1.0, 1e-45, f32::MAX, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut t = Tiny::new("llama");
        t.at("rope_freqs.weight").fill(v);
        assert!(matches!(fate("rope_freqs", &t, false), Fate::Worked { contexts: 3, .. }));
        for arch in ARCHS {
            for key in [
                "attention.layer_norm_rms_epsilon",
                "rope.freq_base",
                "rope.scaling.factor",
                "rope.freq_base_swa",
                "final_logit_softcapping",
            ] {
                let mut t = Tiny::new(arch);
                t.key(key, Value::F32(v));
                fate(&format!("{arch} {key} {v}"), &t, false);
            }
        }
    }
}

/// NaN and infinities anywhere: with check_tensors refused by name, without it decoded without a fault (routers, norms, heads).
#[test]
fn weights_that_are_no_numbers() {
    for arch in ARCHS {
        let good = Tiny::new(arch);
        for i in 0..good.tensors.len() {
            for v in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut t = good.clone();
                let mut rng = Rng(5 + i as u64);
                let n = t.tensors[i].data.len() / 4;
                let at = rng.below(n) * 4;
                t.tensors[i].data[at..at + 4].copy_from_slice(&v.to_le_bytes());
                let (what, name) = (format!("{arch} {} {v}", t.tensors[i].name), t.tensors[i].name.clone());
                match fate(&what, &t, true) {
                    Fate::Refused(e) => assert!(e.contains(&name), "{what}: {e}"),
                    worked => panic!("{what}: {worked:?}"),
                }
                assert!(matches!(fate(&what, &t, false), Fate::Worked { contexts: 3, .. }), "{what}");
                t.tensors[i].fill(v);
                assert!(matches!(fate(&what, &t, false), Fate::Worked { contexts: 3, .. }), "{what}, all");
            }
        }
    }
}

/// A vocabulary without texts whose size is whatever the file says.
#[test]
fn vocabularies_without_texts() {
    for size in [0, 1, 31, 32, 33, 1 << 31, u32::MAX] {
        let mut t = Tiny::new("llama");
        t.kv.retain(|(k, _)| !k.starts_with("tokenizer"));
        t.set("tokenizer.ggml.model", Value::Str(b"none".to_vec()));
        t.key("vocab_size", Value::U32(size));
        match fate(&format!("vocab_size {size}"), &t, false) {
            Fate::Worked { contexts, finite } => assert!(size == 32 && contexts == 3 && finite),
            Fate::Refused(e) => assert!(e.contains("token_embd") || e.contains("vocabulary"), "{e}"),
        }
    }
}

/// Rotation factors reach a far device whole.
#[test]
fn factors_on_a_far_device() {
    let mut t = Tiny::new("llama");
    let factors = t.at("rope_freqs.weight");
    factors.data = (0..16).flat_map(|i| (1.0 + i as f32).to_le_bytes()).collect();
    let file = t.file("far");
    let logits = |far: u32| {
        let source = Source::open(&file.0, LoadMode::Auto).expect("a good file");
        let how = LoadParams {
            vocab_only: false,
            check_tensors: true,
            extra_bufts: true,
            offload: Offload::far(far),
            nodes: None,
            progress: &mut |_| true,
        };
        let m = llama::model::Model::load(&source, how).expect("loads");
        let p = ContextParams { n_threads: 1, n_threads_batch: 1, ..ContextParams::default() };
        let mut c = Context::new(Arc::new(m), p).expect("a context");
        let tokens: Vec<i32> = (0..30).collect();
        let b = BatchView { n_tokens: 30, tokens: Some(&tokens), ..BatchView::default() };
        assert_eq!(c.decode(&b), 0);
        c.outputs.logits().expect("wanted").to_vec()
    };
    let near = logits(0);
    for far in [1, 2] {
        let off = logits(far).iter().zip(&near).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 1e-3, "{far} far layers: off by {off} of {near:?}");
    }
}
