//! Every architecture as a value: what it asks a file for, and what it makes of numbers that no sane file has.
use super::arch::{ALL, find};
use super::hparams::HParams;
use super::names::{layer_tensors, model_tensors};
use super::spec::*;
use crate::gguf::{Array, Meta, Value};
use std::collections::HashSet;

const N_LAYER: u32 = 4;

/// A small model with everything that some architecture wants.
fn meta(arch: &str) -> Vec<(String, Value)> {
    let ints = [
        ("block_count", N_LAYER),
        ("context_length", 256),
        ("embedding_length", 64),
        ("feed_forward_length", 96),
        ("attention.head_count", 4),
        ("attention.head_count_kv", 2),
        ("expert_count", 8),
        ("expert_used_count", 2),
        ("expert_feed_forward_length", 32),
        ("expert_shared_feed_forward_length", 32),
        ("expert_shared_count", 1),
        ("expert_gating_func", 2),
        ("expert_group_count", 2),
        ("expert_group_used_count", 1),
        ("leading_dense_block_count", 1),
        ("interleave_moe_layer_step", 2),
        ("attention.sliding_window", 32),
        ("rope.dimension_count", 16),
        ("nextn_predict_layers", 0),
        ("attention.relative_buckets_count", 8),
        ("decoder_block_count", 3),
        ("attention.q_lora_rank", 24),
        ("attention.kv_lora_rank", 40),
        ("attention.kv_lora_rank_swa", 24),
        ("attention.key_length_mla", 32),
        ("attention.value_length_mla", 24),
        ("attention.key_length_mla_swa", 40),
        ("attention.value_length_mla_swa", 16),
        ("attention.key_length_swa", 32),
        ("attention.value_length_swa", 32),
        ("attention.shared_kv_layers", 1),
        ("attention.temperature_length", 64),
        ("embedding_length_per_layer_input", 8),
        ("experts_per_group", 2),
        ("num_loops", 1),
        ("hrm.layers_per_stack", 1),
        ("hrm.h_cycles", 2),
        ("hrm.l_cycles", 1),
        ("hyper_connection.count", 4),
        ("attention.indexer.head_count", 2),
        ("attention.indexer.key_length", 32),
        ("attention.indexer.top_k", 8),
        ("attention.indexer.types", 1),
        ("attention.indexer.block_size", 4),
        ("attention.indexer.local_blocks", 1),
    ];
    let floats = [
        ("attention.layer_norm_rms_epsilon", 1e-5),
        ("attention.layer_norm_epsilon", 1e-5),
        ("attention.clamp_kqv", 8.0),
        ("attention.temperature_scale", 0.1),
        ("attention.scale", 0.0),
        ("logit_scale", 0.5),
        ("residual_scale", 0.5),
        ("embedding_scale", 2.0),
        ("rope.freq_base", 10_000.0),
        ("rope.freq_base_swa", 10_000.0),
        ("rope.scaling.alpha", 2.0),
        ("rope.scaling.factor", 2.0),
        ("rope.scaling.yarn_log_multiplier", 0.1),
        ("attention.max_alibi_bias", 8.0),
        ("attention.value_scale", 0.5),
        ("attention.output_scale", 0.5),
        ("swiglu_clamp_exp", 7.0),
        ("expert_group_scale", 0.5),
        ("hyper_connection.epsilon", 1e-6),
        ("hyper_connection.magnitude", 2.0),
    ];
    let mut kv: Vec<(String, Value)> = ints.iter().map(|(k, v)| (format!("{arch}.{k}"), Value::U32(*v))).collect();
    kv.extend(floats.iter().map(|(k, v)| (format!("{arch}.{k}"), Value::F32(*v))));
    kv.push((format!("{arch}.use_parallel_residual"), Value::Bool(true)));
    let needs = |n: &Need| n.required && n.key == Key::SwaPattern(1);
    if find(arch).is_some_and(|a| a.keys.iter().any(needs)) {
        kv.push((format!("{arch}.attention.sliding_window_pattern"), Value::Array(Array::I32(vec![1, 0, 1, 0]))));
    }
    kv.push(("tokenizer.ggml.token_type_count".into(), Value::U32(2)));
    kv.push((format!("{arch}.rope.dimension_sections"), Value::Array(Array::I32(vec![4, 2, 2, 0]))));
    kv
}

fn read(arch: &Arch, kv: Vec<(String, Value)>, has: bool) -> platform::Result<HParams> {
    HParams::read(&Meta::new(kv), arch, 128, &|_| has.then_some(1))
}

/// What all readers of an architecture's value do with it.
fn read_value(arch: &Arch, hp: &HParams) -> Vec<(String, [u32; 3])> {
    let (norm, mut all) = (arch.norm(hp), model_tensors(hp, arch));
    let mut names: Vec<(String, [u32; 3])> = all.drain(..).map(|t| (t.name.full(-1), t.shape)).collect();
    let layers = (0..arch.n_layer(hp)).map(|il| arch.layer_spec(hp, il)).chain(arch.encoder_layers(hp));
    for (il, spec) in layers.enumerate() {
        names.extend(layer_tensors(hp, &norm, &spec).iter().map(|t| (t.name.in_file(il as i32, arch.encoder_from(hp)), t.shape)));
    }
    let _ = ((arch.size)(hp), (arch.head.scale)(hp), hp.mrope());
    names
}

#[test]
fn every_architecture_reads_a_plain_file_and_names_each_tensor_once() {
    for arch in ALL {
        assert!(std::ptr::eq(find(arch.name).expect("in the list"), *arch), "{} stands twice", arch.name);
        for has in [false, true] {
            let hp = read(arch, meta(arch.name), has).unwrap_or_else(|e| panic!("{}: {e}", arch.name));
            let names = read_value(arch, &hp);
            let distinct: HashSet<&str> = names.iter().map(|(n, _)| n.as_str()).collect();
            assert_eq!(distinct.len(), names.len(), "{}: a tensor is asked for twice", arch.name);
            assert!(names.iter().all(|(_, s)| s.iter().all(|d| *d > 0)), "{}: {names:?}", arch.name);
            // A layer has something to attend with and something to go through.
            // Those of encoders and decoders are called as others are, but for these.
            let plain = |n: &String| n.trim_start_matches("enc.").trim_start_matches("dec.").replace(".attn_o.", ".attn_output.");
            let plain: HashSet<String> = names.iter().map(|(n, _)| plain(n)).collect();
            for il in 0..arch.n_layer(&hp) {
                for parts in
                    [&["attn_q.weight", "attn_q_b.weight"], &["attn_output.weight"; 2], &["ffn_down.weight", "ffn_down_exps.weight"]]
                {
                    let there = parts.iter().any(|p| plain.contains(&format!("blk.{il}.{p}")));
                    let bare = matches!(arch.layer_spec(&hp, il).ffn, Ffn::Bare(_)) && parts[0].starts_with("ffn");
                    assert!(there || bare, "{}: layer {il} has none of {parts:?}", arch.name);
                }
            }
        }
    }
}

/// Each key, each with values that overflow, divide by zero or are no numbers: an error or a value that every reader survives.
#[test]
fn numbers_of_nonsense_do_no_harm() {
    let ints = [0, 1, 3, 7, 63, 65, 1 << 20, 1 << 24, (1 << 24) + 1, 1 << 31, u32::MAX];
    let floats = [0.0, -1.0, 1e-45, f32::MAX, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    let (mut refused, mut read_well) = (0, 0);
    for arch in ALL {
        for i in 0..meta(arch.name).len() {
            let with = |v: Value| {
                let mut kv = meta(arch.name);
                kv[i].1 = v;
                kv
            };
            let nasty = ints.into_iter().map(Value::U32).chain(floats.into_iter().map(Value::F32));
            let arrays = [vec![], vec![1; 3], vec![-1; 4], vec![0, 1, 0, 1], vec![i32::MAX; 4]].map(|a| Value::Array(Array::I32(a)));
            for kv in nasty.chain(arrays).map(with) {
                match read(arch, kv, true) {
                    Err(e) => refused += usize::from(!e.to_string().is_empty()),
                    // What a file of 2^20 layers would cost is not asked here: the count is bounded by `read`.
                    Ok(hp) => read_well += usize::from(!read_value(arch, &hp).is_empty()),
                }
            }
        }
    }
    assert!(refused > 1000 && read_well > 1000, "{refused} refused, {read_well} read");
}

#[test]
fn what_an_architecture_needs_is_asked_for_by_name() {
    for arch in ALL {
        for need in arch.keys.iter().filter(|n| n.required) {
            let name = format!("{}.{}", arch.name, need.key.suffix());
            let kv = meta(arch.name).into_iter().filter(|(k, _)| *k != name).collect();
            let e = read(arch, kv, true).expect_err(&name).to_string();
            assert!(e.contains(&name), "{e}");
        }
    }
}

#[test]
fn windows_go_by_pattern() {
    let windows = |name: &str, set: &[(&str, Value)]| -> String {
        let arch = find(name).expect("there");
        let mut kv = meta(name);
        for (k, v) in set {
            let key = format!("{name}.{k}");
            kv.retain(|(k, _)| *k != key);
            kv.push((key, v.clone()));
        }
        let hp = read(arch, kv, false).expect("reads");
        let letter = |il| match arch.layer_spec(&hp, il).attn {
            Attention { window: Window::All, rope: None, .. } => 'n',
            Attention { window: Window::All, .. } => 'a',
            Attention { window: Window::Chunked(_), .. } => 'c',
            Attention { rope: None, .. } => 'x',
            Attention { .. } => 's',
        };
        (0..hp.n_layer).map(letter).collect()
    };
    let eight = ("block_count", Value::U32(8));
    assert_eq!(windows("gpt-oss", std::slice::from_ref(&eight)), "sasasasa");
    assert_eq!(windows("cohere2", std::slice::from_ref(&eight)), "sssnsssn");
    // The dense layer in front rotates although it sees everything.
    assert_eq!(windows("cohere2moe", std::slice::from_ref(&eight)), "asssnsss");
    assert_eq!(windows("llama4", std::slice::from_ref(&eight)), "cccncccn");
    assert_eq!(windows("llama4", &[eight, ("attention.sliding_window", Value::U32(0))]), "aaaaaaaa");
    let given = ("attention.sliding_window_pattern", Value::Array(Array::Bool(vec![true, false, false, true])));
    assert_eq!(windows("gpt-oss", &[given]), "saas");
    assert_eq!(windows("phi3", &[]), "aaaa");
    let rope = ("attention.rope_pattern", Value::Array(Array::I32(vec![1, 0, 1, 0])));
    let slides = ("attention.sliding_window_pattern", Value::Array(Array::I32(vec![1, 1, 0, 0])));
    assert_eq!(windows("granite_swa", &[rope, slides]), "sxan");
}
