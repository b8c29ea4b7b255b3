//! Adapters: files that are not what they should be are refused by name; handles that are NULL, freed, of somebody else or made up get an answer.
use crate::tiny::{Batch, Ctx, Model, N_EMBD, N_LAYER, N_VOCAB, Rng, TempFile, Tiny, ctx_params, errors, one_error, said};
use llama::capi::adapter::*;
use llama::capi::types::*;
use llama::gguf::{Array, DType, Value};
use std::ptr::{null, null_mut};

const RANK: u64 = 4;
const TOKENS: &str = "adapter.alora.invocation_tokens";

/// An adapter of all matrices of `Tiny::new(arch)`.
fn adapter(arch: &'static str) -> Tiny {
    let mut t = Tiny { arch, kv: Vec::new(), tensors: Vec::new() };
    for (k, v) in [("general.architecture", arch), ("general.type", "adapter"), ("adapter.type", "lora"), ("general.name", "fox")] {
        t.set(k, Value::Str(v.into()));
    }
    t.set("adapter.lora.alpha", Value::F32(6.0));
    for base in Tiny::new(arch).tensors.iter().filter(|b| b.shape.len() > 1) {
        let (stack, [k, rows]) = (&base.shape[2..], [base.shape[0], base.shape[1]]);
        let (a, b) = if base.name == "token_embd.weight" { ([RANK, rows], [RANK, k]) } else { ([k, RANK], [RANK, rows]) };
        t.tensor(&format!("{}.lora_a", base.name), &[&a, stack].concat());
        t.tensor(&format!("{}.lora_b", base.name), &[&b, stack].concat());
    }
    t
}

fn load_file(m: &Model, f: &TempFile) -> *mut llama_adapter_lora {
    // SAFETY: a live model and a path.
    unsafe { llama_adapter_lora_init(m.get(), f.c_path().as_ptr()) }
}

fn load(m: &Model, t: &Tiny) -> *mut llama_adapter_lora {
    load_file(m, &t.file("adapter"))
}

fn set(c: &Ctx, list: &[(*mut llama_adapter_lora, f32)]) -> i32 {
    let (mut adapters, mut scales): (Vec<_>, Vec<_>) = list.iter().copied().unzip();
    // SAFETY: as many of each as said.
    unsafe { llama_set_adapters_lora(c.get(), adapters.as_mut_ptr(), list.len(), scales.as_mut_ptr()) }
}

/// Logits of a short text in a new context that `with` was set on.
fn logits(m: &Model, p: llama_context_params, with: &[(*mut llama_adapter_lora, f32)]) -> Vec<Vec<f32>> {
    let c = m.ctx(p);
    assert_eq!(set(&c, with), 0);
    text(&c)
}

fn text(c: &Ctx) -> Vec<Vec<f32>> {
    let tokens: Vec<i32> = (0..30).map(|i| i * 7 % 29).collect();
    assert_eq!(c.decode(&Batch::new(&tokens)), 0);
    (0..30).map(|i| c.logits(i).expect("wanted")).collect()
}

#[test]
fn files_are_refused_by_name() {
    let m = Tiny::new("qwen3moe").load("adapters");
    let good = adapter("qwen3moe");
    let refused = |names: &str, change: &dyn Fn(&mut Tiny)| {
        let mut t = good.clone();
        change(&mut t);
        said();
        assert!(load(&m, &t).is_null(), "{names}");
        one_error(names, names);
    };
    refused("expect general.type to be 'adapter'", &|t| t.remove("general.type"));
    refused("but got: model", &|t| t.set("general.type", Value::Str("model".into())));
    refused("general.type", &|t| t.set("general.type", Value::U32(1)));
    refused("arch", &|t| t.set("general.architecture", Value::Str("llama".into())));
    refused("expect adapter.type to be 'lora'", &|t| t.set("adapter.type", Value::Str("control_vector".into())));
    refused("adapter.lora.alpha", &|t| t.set("adapter.lora.alpha", Value::F32(f32::NAN)));
    refused("adapter.lora.alpha", &|t| t.set("adapter.lora.alpha", Value::Str("6".into())));
    refused("invalid gguf type for adapter.alora", &|t| t.set(TOKENS, Value::U32(6)));
    refused("invalid gguf element type for adapter.alora", &|t| t.set(TOKENS, Value::Array(Array::I32(vec![6]))));
    refused("has unexpected suffix", &|t| t.tensor("blk.0.attn_q.weight.lora_c", &[N_EMBD, RANK]));
    refused("'blk.1.attn_k.weight' is missing one", &|t| t.tensors.retain(|t| t.name != "blk.1.attn_k.weight.lora_b"));
    refused("'blk.1.attn_k.weight' is missing one", &|t| t.tensors.retain(|t| t.name != "blk.1.attn_k.weight.lora_a"));
    refused("'blk.9.attn_k.weight' does not exist", &|t| {
        for half in ["lora_a", "lora_b"] {
            t.at(&format!("blk.1.attn_k.weight.{half}")).name = format!("blk.9.attn_k.weight.{half}");
        }
    });
    for (name, shape, says) in [
        ("blk.0.attn_q.weight.lora_a", vec![N_EMBD + 32, RANK], "'blk.0.attn_q.weight' has incorrect shape"),
        ("blk.0.attn_q.weight.lora_b", vec![RANK, 65], "'blk.0.attn_q.weight' has incorrect shape"),
        ("blk.0.attn_q.weight.lora_a", vec![N_EMBD, RANK, 2], "'blk.0.attn_q.weight' has incorrect shape"),
        ("blk.0.attn_q.weight.lora_a", vec![N_EMBD, RANK + 1], "'blk.0.attn_q.weight' is not transposed"),
        ("blk.1.ffn_up_exps.weight.lora_a", vec![N_EMBD, RANK, 3], "'blk.1.ffn_up_exps.weight' has incorrect shape"),
        ("blk.1.ffn_up_exps.weight.lora_b", vec![RANK, 32], "'blk.1.ffn_up_exps.weight' has incorrect shape"),
        ("token_embd.weight.lora_a", vec![RANK, 31], "'token_embd.weight' has incorrect shape"),
        ("token_embd.weight.lora_b", vec![RANK + 1, N_EMBD], "'token_embd.weight' has incorrect shape"),
    ] {
        refused(says, &|t| t.at(name).reshape(&shape));
    }
    refused("has rank 0", &|t| {
        t.at("blk.0.attn_q.weight.lora_a").reshape(&[N_EMBD, 0]);
        t.at("blk.0.attn_q.weight.lora_b").reshape(&[0, 64]);
    });
    let mut norms = good.clone();
    norms.tensor("blk.0.attn_norm.weight", &[N_EMBD]);
    assert!(!load(&m, &norms).is_null(), "norms are passed over: {:?}", errors("norms"));
}

#[test]
fn spoilt_files_load_or_are_refused() {
    let m = Tiny::new("qwen3moe").load("spoilt");
    let bytes = adapter("qwen3moe").bytes().expect("a well-formed file");
    for n in (0..bytes.len()).step_by(bytes.len() / 60) {
        said();
        assert!(load_file(&m, &TempFile::new("cut", &bytes[..n])).is_null(), "cut at {n}");
        assert_eq!(errors("cut").len(), 1, "cut at {n}");
    }
    let (mut rng, mut loaded) = (Rng(42), 0);
    for round in 0..300 {
        let mut spoilt = bytes.clone();
        for _ in 0..=rng.below(3) {
            // Mostly where the header is.
            let end = if rng.below(4) == 0 { spoilt.len() } else { 2500 };
            let at = rng.below(end);
            spoilt[at] = rng.next() as u8;
        }
        let a = load_file(&m, &TempFile::new("spoilt", &spoilt));
        if !a.is_null() {
            let c = m.ctx(ctx_params());
            assert_eq!((set(&c, &[(a, 1.0)]), c.decode(&Batch::new(&[1, 2, 3]))), (0, 0), "round {round}");
            loaded += 1;
        }
        errors("spoilt");
    }
    assert!((10..290).contains(&loaded), "{loaded} of 300 loaded: the others test nothing");
}

#[test]
fn handles_get_an_answer() {
    let (m, other) = (Tiny::new("llama").load("one"), Tiny::new("llama").load("other"));
    let good = adapter("llama");
    let (a, foreign) = (load(&m, &good), load(&other, &good));
    let c = m.ctx(ctx_params());
    let before = text(&m.ctx(ctx_params()));
    let refused = |what: &str, names: &str, rc: i32| {
        assert_eq!(rc, -1, "{what}");
        one_error(what, names);
    };
    said();
    refused("another model's", "another model", set(&c, &[(a, 1.0), (foreign, 1.0)]));
    refused("NULL", "NULL", set(&c, &[(null_mut(), 1.0)]));
    refused("NaN", "NaN", set(&c, &[(a, f32::NAN)]));
    refused("infinite", "inf", set(&c, &[(a, f32::INFINITY)]));
    refused("made up", "no adapter", set(&c, &[(std::ptr::from_ref(&c).cast_mut().cast(), 1.0)]));
    let (mut list, mut scales) = ([a], [1.0]);
    // SAFETY: NULL, or lists of one.
    unsafe {
        refused("NULL list", "NULL", llama_set_adapters_lora(c.get(), null_mut(), 1, scales.as_mut_ptr()));
        refused("NULL scales", "NULL", llama_set_adapters_lora(c.get(), list.as_mut_ptr(), 1, null_mut()));
        assert_eq!(llama_set_adapters_lora(c.get(), null_mut(), 0, null_mut()), 0);
        refused("NULL context", "llama_set_adapters_lora", llama_set_adapters_lora(None, null_mut(), 0, null_mut()));
        assert!(llama_adapter_lora_init(None, c"x".as_ptr()).is_null() && llama_adapter_lora_init(m.get(), null()).is_null());
        assert!(llama_adapter_lora_init_from_file_ptr(m.get(), null_mut()).is_null());
        assert_eq!(errors("init").len(), 3);
        llama_adapter_lora_free(null_mut());
        assert_eq!(errors("free of NULL").len(), 0);
    }
    assert_eq!(text(&c), before, "refused calls change nothing");
    // SAFETY: ours; a second time and later uses are what is tested.
    unsafe {
        llama_adapter_lora_free(foreign);
        assert_eq!(errors("free").len(), 0);
        llama_adapter_lora_free(foreign);
        one_error("free twice", "was freed");
        assert_eq!(llama_adapter_meta_count(foreign), 0);
        one_error("count of a freed one", "was freed");
    }
    refused("freed", "was freed", set(&c, &[(foreign, 1.0)]));
    drop(c);
    drop(m);
    // SAFETY: gone with its model, which is what is tested.
    unsafe {
        llama_adapter_lora_free(a);
        one_error("freed with its model", "was freed");
        let mut buf = [7; 4];
        assert_eq!(llama_adapter_meta_val_str(a, c"general.name".as_ptr(), buf.as_mut_ptr(), 4), -1);
        assert_eq!((buf[0], llama_adapter_get_alora_n_invocation_tokens(a)), (0, 0));
        assert!(llama_adapter_get_alora_invocation_tokens(a).is_null());
    }
    assert_eq!(errors("after the model").len(), 3);
}

#[test]
fn a_context_goes_on_with_what_was_freed_until_others_are_set() {
    for arch in ["llama", "gemma3", "qwen3moe"] {
        let m = Tiny::new(arch).load("goes on");
        let a = load(&m, &adapter(arch));
        let (bare, adapted) = (logits(&m, ctx_params(), &[]), logits(&m, ctx_params(), &[(a, 0.7)]));
        assert_ne!(bare, adapted, "{arch}");
        let c = m.ctx(ctx_params());
        assert_eq!(set(&c, &[(a, 0.7)]), 0);
        // SAFETY: ours, once.
        unsafe { llama_adapter_lora_free(a) };
        assert_eq!(text(&c), adapted, "{arch}");
        assert_eq!(set(&c, &[]), 0);
        assert_eq!((logits(&m, ctx_params(), &[]), errors(arch).len()), (bare, 0));
    }
}

#[test]
fn the_same_bits_for_any_threads_ubatches_and_order() {
    for arch in ["llama", "gemma3", "qwen3moe"] {
        let m = Tiny::new(arch).in_format(DType::Q8_0).load("bits");
        let mut second = adapter(arch);
        second.tensors.iter_mut().filter(|t| t.name.ends_with("lora_a")).for_each(|t| t.fill(0.01));
        let (a, b) = (load(&m, &adapter(arch)), load(&m, &second));
        let want = logits(&m, ctx_params(), &[(a, 0.5), (b, -1.5)]);
        for (n_ubatch, n_threads) in [(1, 1), (8, 1), (64, 2), (5, 3)] {
            let p = llama_context_params { n_ubatch, n_threads, n_threads_batch: n_threads, ..ctx_params() };
            assert_eq!(logits(&m, p, &[(b, -1.5), (a, 0.5), (b, 9.0)]), want, "{arch} {n_ubatch} {n_threads}");
        }
        let bare = logits(&m, ctx_params(), &[]);
        assert_eq!(logits(&m, ctx_params(), &[(a, 0.0), (b, -0.0)]), bare, "{arch}: scale 0");
        assert_ne!(want, bare, "{arch}");
        assert_eq!(errors(arch).len(), 0);
    }
}

#[test]
fn metadata_and_tokens() {
    let m = Tiny::new("llama").load("meta");
    let mut t = adapter("llama");
    t.set(TOKENS, Value::Array(Array::U32(vec![3, 1, 4])));
    let bytes = [vec![9; 96], t.bytes().expect("a well-formed file")].concat();
    let f = TempFile::new("behind", &bytes);
    // SAFETY: live handles, terminated strings, buffers of the stated sizes.
    unsafe {
        let file = libc::fopen(f.c_path().as_ptr(), c"rb".as_ptr());
        assert_eq!(libc::fseek(file, 96, libc::SEEK_SET), 0);
        let a = llama_adapter_lora_init_from_file_ptr(m.get(), file);
        libc::fclose(file);
        assert!(!a.is_null(), "{:?}", errors("file"));
        assert_eq!(llama_adapter_meta_count(a), 5);
        let mut buf = [7; 8];
        let mut get = |key: &std::ffi::CStr, n: usize| {
            let rc = llama_adapter_meta_val_str(a, key.as_ptr(), buf.as_mut_ptr(), n);
            (rc, buf.map(|c| c as u8))
        };
        assert_eq!(get(c"general.name", 8), (3, *b"fox\0\x07\x07\x07\x07"));
        assert_eq!(get(c"general.type", 4), (7, *b"ada\0\x07\x07\x07\x07"));
        assert_eq!(get(c"adapter.lora.alpha", 8), (8, *b"6.00000\0"));
        assert_eq!(get(c"no.such", 8).0, -1);
        assert_eq!(get(c"adapter.alora.invocation_tokens", 8).0, -1, "arrays are no text");
        for i in [-1, 5, i32::MIN, i32::MAX] {
            assert_eq!(llama_adapter_meta_key_by_index(a, i, buf.as_mut_ptr(), 8), -1);
            assert_eq!(llama_adapter_meta_val_str_by_index(a, i, null_mut(), 0), -1);
        }
        assert_eq!(llama_adapter_meta_key_by_index(a, 3, buf.as_mut_ptr(), 8), 12);
        assert_eq!(llama_adapter_meta_val_str_by_index(a, 3, buf.as_mut_ptr(), 8), 3);
        assert_eq!(llama_adapter_get_alora_n_invocation_tokens(a), 3);
        assert_eq!(std::slice::from_raw_parts(llama_adapter_get_alora_invocation_tokens(a), 3), [3, 1, 4]);
    }
}

#[test]
fn control_vectors() {
    let m = Tiny::new("gemma3").load("cvec");
    let (c, bare) = (m.ctx(ctx_params()), text(&m.ctx(ctx_params())));
    let rows = vec![0.5f32; (N_EMBD as u32 * N_LAYER) as usize];
    // SAFETY: a live context; as many floats as said.
    let set = |n: usize, width: i32, first, last| unsafe { llama_set_adapter_cvec(c.get(), rows.as_ptr(), n, width, first, last) };
    said();
    for width in [-1, 0, 63, 65, i32::MAX] {
        assert_eq!(set(rows.len(), width, 0, 9), -1);
        one_error("n_embd", "n_embd");
    }
    let off = || {
        // SAFETY: a live context, no data.
        unsafe { assert_eq!(llama_set_adapter_cvec(c.get(), null(), 0, 0, 0, 0), 0) };
    };
    let again = || {
        // SAFETY: a live context's memory.
        unsafe { llama::capi::memory::llama_memory_clear(c.mem(), true) };
        text(&c)
    };
    for (n, first, last) in
        [(0, 0, 9), (N_EMBD as usize - 1, 0, 9), (rows.len(), 5, 1), (rows.len(), i32::MIN, 0), (rows.len(), 2, i32::MAX)]
    {
        assert_eq!(set(n, N_EMBD as i32, first, last), 0);
        assert_eq!(again(), bare, "{n} {first} {last}");
        off();
    }
    assert_eq!(set(rows.len(), N_EMBD as i32, i32::MIN, i32::MAX), 0);
    assert_ne!(again(), bare);
    off();
    assert_eq!(again(), bare);
    assert_eq!((errors("cvec").len(), N_VOCAB), (0, 32));
}
