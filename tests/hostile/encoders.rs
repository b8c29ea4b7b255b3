//! The same of models that encode: BERT and what came after it, T5 with and without its decoder, embeddings from a decoder's layers.
use crate::models::{Fate, contexts, fate_with, spoilt, wrong_shapes};
use crate::tiny::{Batch, Ctx, Model, N_EMBD, N_LAYER, N_VOCAB, Rng, Tiny, errors};
use llama::capi::context::llama_encode;
use llama::capi::model::{llama_model_has_decoder, llama_model_has_encoder};
use llama::capi::outputs::{llama_get_embeddings_ith, llama_get_embeddings_seq};
use llama::capi::types::*;
use llama::gguf::{DType, Value};

const ARCHS: [&str; 6] = ["bert", "modern-bert", "neo-bert", "t5", "t5encoder", "gemma-embedding"];
const N_FF: u64 = 96;

fn tiny(arch: &'static str) -> Tiny {
    let mut t = Tiny { arch, kv: Vec::new(), tensors: Vec::new() };
    t.common();
    t.vocab();
    for (k, v) in
        [("attention.relative_buckets_count", 8), ("attention.sliding_window", 8), ("pooling_type", 0), ("decoder_block_count", N_LAYER)]
    {
        t.key(k, Value::U32(v));
    }
    t.key("attention.causal", Value::Bool(false));
    t.key("attention.layer_norm_epsilon", Value::F32(1e-5));
    t.set("tokenizer.ggml.token_type_count", Value::U32(2));
    t.tensor("token_embd.weight", &[N_EMBD, N_VOCAB as u64]);
    let of_model: &[(&str, &[u64])] = match arch {
        "bert" => &[
            ("token_types.weight", &[N_EMBD, 2]),
            ("position_embd.weight", &[N_EMBD, 512]),
            ("token_embd_norm.weight", &[N_EMBD]),
            ("token_embd_norm.bias", &[N_EMBD]),
        ],
        "modern-bert" => &[("token_embd_norm.weight", &[N_EMBD]), ("output_norm.weight", &[N_EMBD])],
        "neo-bert" | "t5encoder" => &[("enc.output_norm.weight", &[N_EMBD])],
        "t5" => &[("enc.output_norm.weight", &[N_EMBD]), ("dec.output_norm.weight", &[N_EMBD])],
        _ => &[("output_norm.weight", &[N_EMBD])],
    };
    of_model.iter().for_each(|(name, shape)| t.tensor(name, shape));
    for il in 0..u64::from(N_LAYER) {
        layer(&mut t, arch, il);
    }
    t
}

fn layer(t: &mut Tiny, arch: &str, il: u64) {
    let (n, kv) = (N_EMBD, 32);
    let qkv = n + 2 * kv;
    let norm: [(&str, &[u64]); 1] = [("attn_norm.weight", &[n])];
    let fused: [(&str, &[u64]); 5] = [
        ("attn_qkv.weight", &[n, qkv]),
        ("attn_output.weight", &[n, n]),
        ("ffn_up.weight", &[n, 2 * N_FF]),
        ("ffn_down.weight", &[N_FF, n]),
        ("ffn_norm.weight", &[n]),
    ];
    let apart: [(&str, &[u64]); 3] = [("attn_q.weight", &[n, n]), ("attn_k.weight", &[n, kv]), ("attn_v.weight", &[n, kv])];
    let gated: [(&str, &[u64]); 4] =
        [("ffn_norm.weight", &[n]), ("ffn_gate.weight", &[n, N_FF]), ("ffn_up.weight", &[n, N_FF]), ("ffn_down.weight", &[N_FF, n])];
    let mut put =
        |prefix: &str, list: &[(&str, &[u64])]| list.iter().for_each(|(name, shape)| t.tensor(&format!("{prefix}blk.{il}.{name}"), shape));
    match arch {
        "bert" => {
            put("", &apart);
            put("", &[("attn_output.weight", &[n, n]), ("attn_output_norm.weight", &[n]), ("layer_output_norm.weight", &[n])]);
            put("", &[("attn_q.bias", &[n]), ("attn_k.bias", &[kv]), ("attn_v.bias", &[kv]), ("attn_output.bias", &[n])]);
            put(
                "",
                &[
                    ("attn_output_norm.bias", &[n]),
                    ("layer_output_norm.bias", &[n]),
                    ("ffn_up.weight", &[n, N_FF]),
                    ("ffn_up.bias", &[N_FF]),
                ],
            );
            put("", &[("ffn_down.weight", &[N_FF, n]), ("ffn_down.bias", &[n])]);
        }
        "modern-bert" | "neo-bert" => {
            put("", &norm);
            put("", &fused);
        }
        "gemma-embedding" => {
            put("", &norm);
            put("", &apart);
            put("", &[("attn_output.weight", &[n, n]), ("attn_q_norm.weight", &[32]), ("attn_k_norm.weight", &[32])]);
            put("", &[("post_attention_norm.weight", &[n]), ("post_ffw_norm.weight", &[n])]);
            put("", &gated);
        }
        _ => {
            for side in if arch == "t5" { &["enc.", "dec."][..] } else { &["enc."] } {
                put(side, &norm);
                put(side, &apart);
                put(side, &[("attn_o.weight", &[n, n]), ("attn_rel_b.weight", &[2, 8])]);
                put(side, &gated);
            }
            if arch == "t5" {
                put("dec.", &[("cross_attn_norm.weight", &[n]), ("cross_attn_q.weight", &[n, n]), ("cross_attn_k.weight", &[n, kv])]);
                put("dec.", &[("cross_attn_v.weight", &[n, kv]), ("cross_attn_o.weight", &[n, n])]);
            }
        }
    }
}

/// A text is encoded in one piece.
fn whole() -> [llama_context_params; 3] {
    let mut all = contexts();
    all.iter_mut().for_each(|p| (p.n_ubatch, p.embeddings) = (64, true));
    all[1].embeddings = false;
    all
}

fn fate(what: &str, t: &Tiny, check_tensors: bool) -> Fate {
    fate_with(what, t, check_tensors, whole(), |c, m| encode_some(c, m, what))
}

/// Encodes and decodes as far as the model can. Either is done or refused with a line; a context that pools otherwise than the file may refuse.
fn encode_some(c: &Ctx, m: &Model, what: &str) -> bool {
    let batch = Batch::new(&[3, 4, 5, 6, 7, 8, 9, 30, 31]);
    let mut finite = true;
    // SAFETY: live handles; rows of n_embd floats or NULL.
    unsafe {
        if llama_model_has_encoder(m.get()) {
            let rc = llama_encode(c.get(), batch.view());
            let e = errors(what);
            assert!(rc == 0 && e.is_empty(), "{what}: encode gave {rc}: {e:?}");
        }
        if llama_model_has_decoder(m.get()) {
            let rc = c.decode(&batch);
            let e = errors(what);
            assert!(rc == 0 && e.is_empty(), "{what}: decode gave {rc}: {e:?}");
        }
        for row in [llama_get_embeddings_ith(c.get(), 0), llama_get_embeddings_ith(c.get(), -1), llama_get_embeddings_seq(c.get(), 0)] {
            if !row.is_null() {
                finite &= std::slice::from_raw_parts(row, N_EMBD as usize).iter().all(|v| v.is_finite());
            }
        }
    }
    errors(what);
    finite && c.logits(0).is_none_or(|l| l.iter().all(|v| v.is_finite()))
}

#[test]
fn good_models_encode() {
    for arch in ARCHS {
        let all = Fate::Worked { contexts: 3, finite: true };
        assert_eq!(fate(arch, &tiny(arch), true), all, "{arch}");
        for ty in [DType::Q8_0, DType::F16, DType::BF16] {
            let mut t = tiny(arch);
            let kept = |name: &str| ["rel_b", "position_embd", "token_types"].iter().any(|k| name.contains(k));
            t.tensors.iter_mut().filter(|t| t.shape.len() > 1 && !kept(&t.name)).for_each(|t| t.retype(ty));
            assert_eq!(fate(arch, &t, true), all, "{arch} {ty:?}");
        }
    }
}

#[test]
fn every_key_spoilt() {
    let (mut cases, mut worked) = (0, 0);
    for arch in ARCHS {
        let good = tiny(arch);
        for (key, v) in good.kv.iter().filter(|(k, _)| !k.starts_with("tokenizer") || k.ends_with("_count")) {
            let mut t = good.clone();
            t.remove(key);
            fate(&format!("{arch} without {key}"), &t, false);
            for bad in spoilt(v) {
                let what = format!("{arch} {key} = {}", format!("{bad:?}").chars().take(60).collect::<String>());
                let mut t = good.clone();
                t.set(key, bad);
                cases += 1;
                worked += usize::from(matches!(fate(&what, &t, false), Fate::Worked { .. }));
            }
        }
    }
    println!("{cases} spoilt keys, {worked} of them worked");
    assert!(cases > 2000 && worked < cases / 2);
}

#[test]
fn every_tensor_spoilt() {
    let mut refused = 0;
    for arch in ARCHS {
        let good = tiny(arch);
        for i in 0..good.tensors.len() {
            let name = good.tensors[i].name.clone();
            let mut t = good.clone();
            t.tensors.remove(i);
            refused += usize::from(matches!(fate(&format!("{arch} without {name}"), &t, false), Fate::Refused(e) if e.contains(&name)));
            for shape in wrong_shapes(&good.tensors[i].shape) {
                let mut t = good.clone();
                t.tensors[i].reshape(&shape);
                let what = format!("{arch} {name} {shape:?}");
                match fate(&what, &t, false) {
                    Fate::Refused(e) => assert!(e.contains(&name), "{what}: {e}"),
                    worked => panic!("{what}: {worked:?}"),
                }
                refused += 1;
            }
        }
    }
    println!("{refused} spoilt tensors");
    assert!(refused > 500);
}

#[test]
fn every_tensor_in_every_type() {
    let mut works = 0;
    for arch in ARCHS {
        let good = tiny(arch);
        for i in 0..good.tensors.len() {
            for (ty, name, ..) in DType::TABLE.iter().filter(|t| good.tensors[i].shape[0].is_multiple_of(t.2 as u64)) {
                let mut t = good.clone();
                t.tensors[i].retype(*ty);
                let (what, tensor) = (format!("{arch} {} {name}", good.tensors[i].name), good.tensors[i].name.clone());
                match fate(&what, &t, true) {
                    Fate::Refused(e) => assert!(e.contains(&tensor) && e.contains(name), "{what}: {e}"),
                    Fate::Worked { contexts, .. } => works += usize::from(contexts == 3),
                }
            }
        }
    }
    println!("{works} types worked");
    assert!(works > 300);
}

#[test]
fn weights_that_are_no_numbers() {
    for arch in ARCHS {
        let good = tiny(arch);
        for i in 0..good.tensors.len() {
            for v in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut t = good.clone();
                let n = t.tensors[i].data.len() / 4;
                let at = Rng(5 + i as u64).below(n) * 4;
                t.tensors[i].data[at..at + 4].copy_from_slice(&v.to_le_bytes());
                let (what, name) = (format!("{arch} {} {v}", t.tensors[i].name), t.tensors[i].name.clone());
                match fate(&what, &t, true) {
                    Fate::Refused(e) => assert!(e.contains(&name), "{what}: {e}"),
                    worked => panic!("{what}: {worked:?}"),
                }
                t.tensors[i].fill(v);
                assert!(matches!(fate(&what, &t, false), Fate::Worked { contexts: 3, .. }), "{what}, all");
            }
        }
    }
}
