//! The smallest models that have everything memory can tell apart: grouped heads, windows, several layers of each kind. Random weights.
use llama::gguf::{Array, DType, Layout, LoadMode, Meta, NewTensor, Source, Value};
use llama::memory::Window;
use llama::model::{LoadParams, Model, Offload};
use std::io::Write;
use std::sync::Arc;

const N_EMBD: u64 = 32;
const N_FF: u64 = 32;
const HEAD: u64 = 32;
const N_HEAD: u64 = 2;
pub const N_VOCAB: usize = 32;

/// What a file of an architecture says and holds beyond the common.
pub struct Shape {
    pub arch: &'static str,
    n_layer: u32,
    /// Names of keys that say the window, if it has one.
    pub windowed: bool,
    keys: &'static [(&'static str, Key)],
    /// Further tensors of each layer, with their shapes; `.weight` unless the name has a dot.
    layer: &'static [(&'static str, &'static [u64])],
    /// Tensors of a layer that it does not have.
    without: &'static [&'static str],
    /// An output matrix of its own.
    output: bool,
}

#[derive(Clone, Copy)]
enum Key {
    U(u32),
    F(f32),
}

const QK_NORM: [(&str, &[u64]); 2] = [("attn_q_norm", &[HEAD]), ("attn_k_norm", &[HEAD])];
const POST_NORMS: [(&str, &[u64]); 2] = [("post_attention_norm", &[N_EMBD]), ("post_ffw_norm", &[N_EMBD])];
const EXPERTS: [(&str, &[u64]); 4] = [
    ("ffn_gate_inp", &[N_EMBD, 4]),
    ("ffn_gate_exps", &[N_EMBD, 32, 4]),
    ("ffn_up_exps", &[N_EMBD, 32, 4]),
    ("ffn_down_exps", &[32, N_EMBD, 4]),
];
const LATENT_KEYS: [(&str, Key); 10] = [
    ("attention.q_lora_rank", Key::U(32)),
    ("attention.kv_lora_rank", Key::U(32)),
    ("attention.key_length_mla", Key::U(48)),
    ("attention.value_length_mla", Key::U(24)),
    ("expert_feed_forward_length", Key::U(32)),
    ("expert_shared_count", Key::U(1)),
    ("leading_dense_block_count", Key::U(9)),
    ("attention.indexer.head_count", Key::U(4)),
    ("attention.indexer.key_length", Key::U(32)),
    ("attention.indexer.top_k", Key::U(40)),
];
const LATENT: [(&str, &[u64]); 13] = [
    ("attn_q_a", &[N_EMBD, 32]),
    ("attn_q_a_norm", &[32]),
    ("attn_q_b", &[32, N_HEAD * 48]),
    ("attn_kv_a_mqa", &[N_EMBD, 32 + HEAD]),
    ("attn_kv_a_norm", &[32]),
    ("attn_k_b", &[16, 32, N_HEAD]),
    ("attn_v_b", &[32, 24, N_HEAD]),
    ("attn_output", &[N_HEAD * 24, N_EMBD]),
    ("indexer.attn_q_b.weight", &[32, 4 * 32]),
    ("indexer.attn_k.weight", &[N_EMBD, 32]),
    ("indexer.proj.weight", &[N_EMBD, 4]),
    ("indexer.k_norm.weight", &[32]),
    ("indexer.k_norm.bias", &[32]),
];
const DENSE: &[&str] = &["ffn_gate", "ffn_up", "ffn_down"];

/// One line per architecture. Those that are not there yet are left out, loudly.
pub static SHAPES: &[Shape] = &[
    Shape { arch: "llama", n_layer: 2, windowed: false, keys: &[], layer: &[], without: &[], output: true },
    Shape {
        arch: "qwen3moe",
        n_layer: 2,
        windowed: false,
        keys: &[("expert_count", Key::U(4)), ("expert_used_count", Key::U(2)), ("expert_feed_forward_length", Key::U(32))],
        layer: &[QK_NORM[0], QK_NORM[1], EXPERTS[0], EXPERTS[1], EXPERTS[2], EXPERTS[3]],
        without: DENSE,
        output: true,
    },
    Shape {
        arch: "gemma2",
        n_layer: 3,
        windowed: true,
        keys: &[("attn_logit_softcapping", Key::F(50.0)), ("final_logit_softcapping", Key::F(30.0))],
        layer: &POST_NORMS,
        without: &[],
        output: false,
    },
    Shape {
        arch: "gemma3",
        n_layer: 3,
        windowed: true,
        keys: &[("attention.sliding_window_pattern", Key::U(2)), ("rope.freq_base_swa", Key::F(100.0))],
        layer: &[POST_NORMS[0], POST_NORMS[1], QK_NORM[0], QK_NORM[1]],
        without: &[],
        output: false,
    },
    // Windows in chunks; every fourth layer sees all and knows no positions.
    Shape {
        arch: "llama4",
        n_layer: 4,
        windowed: true,
        keys: &[("expert_feed_forward_length", Key::U(32)), ("interleave_moe_layer_step", Key::U(0))],
        layer: &[],
        without: &[],
        output: true,
    },
    // Sinks.
    Shape {
        arch: "gpt-oss",
        n_layer: 3,
        windowed: true,
        keys: &[("expert_count", Key::U(4)), ("expert_used_count", Key::U(2)), ("expert_feed_forward_length", Key::U(32))],
        layer: &[
            POST_NORMS[0],
            EXPERTS[0],
            EXPERTS[1],
            EXPERTS[2],
            EXPERTS[3],
            ("attn_output.bias", &[N_EMBD]),
            ("attn_sinks", &[N_HEAD]),
            ("ffn_gate_inp.bias", &[4]),
            ("ffn_gate_exps.bias", &[32, 4]),
            ("ffn_up_exps.bias", &[32, 4]),
            ("ffn_down_exps.bias", &[N_EMBD, 4]),
        ],
        without: &["ffn_norm", "ffn_gate", "ffn_up", "ffn_down"],
        output: true,
    },
    // Attention and FFN side by side, positions in the sliding layers only.
    Shape {
        arch: "cohere2",
        n_layer: 3,
        windowed: true,
        keys: &[
            ("attention.layer_norm_epsilon", Key::F(1e-5)),
            ("logit_scale", Key::F(0.25)),
            ("attention.sliding_window_pattern", Key::U(2)),
        ],
        layer: &[],
        without: &["ffn_norm"],
        output: false,
    },
    // Latent rows: K alone, V the first part of them.
    Shape {
        arch: "deepseek2",
        n_layer: 2,
        windowed: false,
        keys: &[
            ("attention.kv_lora_rank", Key::U(32)),
            ("attention.key_length_mla", Key::U(48)),
            ("attention.value_length_mla", Key::U(24)),
            ("expert_feed_forward_length", Key::U(32)),
            ("expert_shared_count", Key::U(1)),
            ("leading_dense_block_count", Key::U(2)),
        ],
        layer: &[
            ("attn_q", &[N_EMBD, N_HEAD * 48]),
            ("attn_kv_a_mqa", &[N_EMBD, 32 + HEAD]),
            ("attn_kv_a_norm", &[32]),
            ("attn_k_b", &[16, 32, N_HEAD]),
            ("attn_v_b", &[32, 24, N_HEAD]),
            ("attn_output", &[N_HEAD * 24, N_EMBD]),
        ],
        without: &["attn_k", "attn_v"],
        output: true,
    },
    // The last three layers look at rows of earlier ones.
    Shape {
        arch: "gemma4",
        n_layer: 6,
        windowed: true,
        keys: &[
            ("attention.sliding_window_pattern", Key::U(3)),
            ("attention.shared_kv_layers", Key::U(3)),
            ("embedding_length_per_layer_input", Key::U(0)),
        ],
        layer: &[POST_NORMS[0], POST_NORMS[1], QK_NORM[0], QK_NORM[1]],
        without: &[],
        output: false,
    },
    // An index over latent rows: a query sees few positions.
    Shape {
        arch: "deepseek32",
        n_layer: 2,
        windowed: false,
        keys: &LATENT_KEYS,
        layer: &LATENT,
        without: &["attn_q", "attn_k", "attn_v"],
        output: true,
    },
    // The same beside windows.
    Shape {
        arch: "dots3note",
        n_layer: 3,
        windowed: true,
        keys: &[
            LATENT_KEYS[0],
            LATENT_KEYS[1],
            LATENT_KEYS[2],
            LATENT_KEYS[3],
            LATENT_KEYS[4],
            LATENT_KEYS[5],
            LATENT_KEYS[6],
            LATENT_KEYS[7],
            LATENT_KEYS[8],
            LATENT_KEYS[9],
            ("attention.sliding_window_pattern", Key::U(2)),
            ("attention.kv_lora_rank_swa", Key::U(32)),
            ("attention.key_length_mla_swa", Key::U(48)),
            ("attention.value_length_mla_swa", Key::U(24)),
            ("attention.indexer.types", Key::U(1)),
            ("rope.freq_base_swa", Key::F(100.0)),
        ],
        layer: &[
            LATENT[0],
            LATENT[1],
            LATENT[2],
            LATENT[3],
            LATENT[4],
            LATENT[5],
            LATENT[6],
            LATENT[7],
            LATENT[8],
            LATENT[9],
            LATENT[10],
            LATENT[11],
            LATENT[12],
            ("attn_k_norm", &[HEAD]),
            ("attn_gate", &[N_EMBD, N_HEAD]),
        ],
        without: &["attn_q", "attn_k", "attn_v"],
        output: true,
    },
    // An index of blocks.
    Shape {
        arch: "minimax-m3",
        n_layer: 2,
        windowed: false,
        keys: &[
            ("expert_feed_forward_length", Key::U(32)),
            ("expert_shared_count", Key::U(1)),
            ("leading_dense_block_count", Key::U(1)),
            ("expert_count", Key::U(4)),
            ("expert_used_count", Key::U(2)),
            ("attention.indexer.head_count", Key::U(1)),
            ("attention.indexer.key_length", Key::U(32)),
            ("attention.indexer.top_k", Key::U(3)),
            ("attention.indexer.block_size", Key::U(16)),
            ("attention.indexer.local_blocks", Key::U(1)),
        ],
        layer: &[
            QK_NORM[0],
            QK_NORM[1],
            EXPERTS[0],
            EXPERTS[1],
            EXPERTS[2],
            EXPERTS[3],
            ("ffn_gate_shexp", &[N_EMBD, 32]),
            ("ffn_up_shexp", &[N_EMBD, 32]),
            ("ffn_down_shexp", &[32, N_EMBD]),
            ("exp_probs_b.bias", &[4]),
            ("indexer.q_proj.weight", &[N_EMBD, 32]),
            ("indexer.k_proj.weight", &[N_EMBD, 32]),
            ("indexer.q_norm.weight", &[32]),
            ("indexer.k_norm.weight", &[32]),
        ],
        without: &[],
        output: true,
    },
    // Positions that are moved change scores, and no row.
    Shape { arch: "refact", n_layer: 2, windowed: false, keys: &[], layer: &[], without: &[], output: true },
];

pub use crate::rng::Rng;

impl Rng {
    pub fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

fn meta(s: &Shape, n_swa: u32) -> Meta {
    let mut meta = Meta::default();
    let mut put = |key: &str, v: Value| meta.kv.push((key.into(), v));
    put("general.architecture", Value::Str(s.arch.into()));
    let sizes = [
        ("block_count", s.n_layer),
        ("context_length", 4096),
        ("embedding_length", N_EMBD as u32),
        ("feed_forward_length", N_FF as u32),
        ("attention.head_count", N_HEAD as u32),
        ("attention.head_count_kv", 1),
        ("attention.key_length", HEAD as u32),
        ("attention.value_length", HEAD as u32),
        ("rope.dimension_count", HEAD as u32),
    ];
    let mut key = |k: &str, v: Value| put(&format!("{}.{k}", s.arch), v);
    sizes.into_iter().for_each(|(k, v)| key(k, Value::U32(v)));
    key("attention.layer_norm_rms_epsilon", Value::F32(1e-5));
    // A small base: positions far apart still look different.
    key("rope.freq_base", Value::F32(500.0));
    if s.windowed {
        key("attention.sliding_window", Value::U32(n_swa));
    }
    for (k, v) in s.keys {
        key(k, if let Key::U(n) = v { Value::U32(*n) } else { Value::F32(if let Key::F(x) = v { *x } else { 0.0 }) });
    }
    vocab(&mut meta);
    meta
}

fn vocab(meta: &mut Meta) {
    let mut put = |key: &str, v: Value| meta.kv.push((format!("tokenizer.ggml.{key}"), v));
    let mut tokens: Vec<Vec<u8>> = (b'a'..=b'z').map(|c| vec![c]).collect();
    tokens.extend(["\u{120}", "\u{10a}", "ab", "abc", "<s>", "</s>"].map(|t| t.as_bytes().to_vec()));
    put("model", Value::Str("gpt2".into()));
    put("pre", Value::Str("gpt-2".into()));
    put("tokens", Value::Array(Array::Str(tokens)));
    put("token_type", Value::Array(Array::I32((0..N_VOCAB).map(|i| if i < 30 { 1 } else { 3 }).collect())));
    put("merges", Value::Array(Array::Str(vec![b"a b".to_vec(), b"ab c".to_vec()])));
    put("bos_token_id", Value::U32(30));
    put("eos_token_id", Value::U32(31));
}

fn tensors(s: &Shape) -> Vec<NewTensor> {
    let (n, v) = (N_EMBD, N_VOCAB as u64);
    let mut list: Vec<(String, Vec<u64>)> = vec![("token_embd.weight".into(), vec![n, v]), ("output_norm.weight".into(), vec![n])];
    if s.output {
        list.push(("output.weight".into(), vec![n, v]));
    }
    let common: [(&str, &[u64]); 9] = [
        ("attn_norm", &[n]),
        ("attn_q", &[n, N_HEAD * HEAD]),
        ("attn_k", &[n, HEAD]),
        ("attn_v", &[n, HEAD]),
        ("attn_output", &[N_HEAD * HEAD, n]),
        ("ffn_norm", &[n]),
        ("ffn_gate", &[n, N_FF]),
        ("ffn_up", &[n, N_FF]),
        ("ffn_down", &[N_FF, n]),
    ];
    for il in 0..s.n_layer {
        let common = common.iter().filter(|c| !s.without.contains(&c.0) && s.layer.iter().all(|l| l.0 != c.0));
        for (name, shape) in common.chain(s.layer) {
            let tail = if name.contains('.') { "" } else { ".weight" };
            list.push((format!("blk.{il}.{name}{tail}"), shape.to_vec()));
        }
    }
    list.into_iter().map(|(name, shape)| NewTensor { name, ty: DType::F32, shape }).collect()
}

/// Matrices around 0, norms around 1.
fn values(shape: &[u64], rng: &mut Rng) -> Vec<u8> {
    let n: u64 = shape.iter().product();
    let mut one = || (rng.below(2001) as f32 / 1000.0) - 1.0;
    (0..n).flat_map(|_| if shape.len() == 1 { 1.0 + 0.2 * one() } else { 0.4 * one() }.to_le_bytes()).collect()
}

/// A model of `s` whose windows are `n_swa` long; `None` when the library does not know the architecture.
pub fn load(s: &Shape, n_swa: u32) -> Option<Arc<Model>> {
    let (list, mut rng) = (tensors(s), Rng(0x5eed + u64::from(n_swa)));
    let data: Vec<Vec<u8>> = list.iter().map(|t| values(&t.shape, &mut rng)).collect();
    let (mut out, mut i) = (Vec::new(), 0);
    let mut write = |_: &_, w: &mut dyn Write| {
        i += 1;
        w.write_all(&data[i - 1]).map_err(|e| llama::Error::io("write", e))
    };
    Layout::new(&meta(s, n_swa), &list).expect("a file").write(&mut out, &mut write).expect("a file");
    let path = std::env::temp_dir().join(format!("camelid-memory-{}-{n_swa}-{}.gguf", s.arch, std::process::id()));
    std::fs::write(&path, out).expect("a temporary file");
    let p = LoadParams {
        vocab_only: false,
        check_tensors: false,
        extra_bufts: true,
        offload: Offload::none(),
        nodes: None,
        progress: &mut |_| true,
    };
    let made = Source::open(&path, LoadMode::None).and_then(|source| Model::load(&source, p));
    let _ = std::fs::remove_file(&path);
    match made {
        Ok(mut m) => {
            // Files do not say how long a chunk is.
            let chunked = |w: &Window| matches!(w, Window::Chunked(_));
            m.layers.iter_mut().filter(|l| chunked(&l.attn.window)).for_each(|l| l.attn.window = Window::Chunked(n_swa));
            m.hp.n_swa = m.hp.n_swa.min(n_swa);
            let index = s.keys.iter().any(|k| k.0.starts_with("attention.indexer"));
            assert_eq!(m.layers.iter().any(|l| l.own_index().is_some()), index, "{}", s.arch);
            Some(Arc::new(m))
        }
        Err(e) if e.to_string().contains("unknown model architecture") => None,
        Err(e) => panic!("{}: {e}", s.arch),
    }
}
