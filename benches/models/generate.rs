//! Model files for the speed harness: real shapes, tensor types in the original's mixes, weights from a seeded generator.
//! `bench-models DIR SHAPE-MIX ...` writes DIR/SHAPE-MIX.gguf. Speed does not depend on what weights mean, so nothing is downloaded or
//! quantised; every matrix keeps the spread of what goes through it, so that activations stay finite. Must not know the engine.
mod fill;
mod mixes;
mod shapes;
use llama::gguf::{Array, DType, Layout, Meta, NewTensor, TensorInfo, Value};
use llama::{Error, Result};
use mixes::{MIXES, Mix};
use shapes::{Ffn, Role, SHAPES, Shape, Tensor};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.split_first() {
        Some((dir, names)) if !names.is_empty() => match names.iter().try_for_each(|name| generate(Path::new(dir), name)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => {
                eprintln!("bench-models: {e}");
                ExitCode::FAILURE
            }
        },
        _ => {
            eprintln!(
                "usage: bench-models DIR SHAPE-MIX ...\n  shapes {}\n  mixes  {}",
                names(SHAPES, |s| s.name),
                names(MIXES, |m| m.name)
            );
            ExitCode::FAILURE
        }
    }
}

fn names<T>(of: &[T], name: fn(&T) -> &str) -> String {
    of.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// `llama-1b-q4_k_m` is a shape and a mix.
fn find(name: &str) -> Result<(&'static Shape, &'static Mix)> {
    let mix_of = |s: &Shape| name.strip_prefix(s.name)?.strip_prefix('-').and_then(|mix| MIXES.iter().find(|m| m.name == mix));
    let found = SHAPES.iter().find_map(|s| Some((s, mix_of(s)?)));
    found.ok_or_else(|| Error::invalid(format!("'{name}' is not a shape and a mix")))
}

/// Writes DIR/NAME.gguf; a file of that name is whole or absent.
fn generate(dir: &Path, name: &str) -> Result<()> {
    let (shape, mix) = find(name)?;
    let path = dir.join(format!("{name}.gguf"));
    let part = PathBuf::from(format!("{}.part", path.display()));
    let io = |e| Error::io(path.display().to_string(), e);
    std::fs::create_dir_all(dir).map_err(io)?;
    let planned = shape.tensors();
    let named = |t: &Tensor| NewTensor { name: t.name.clone(), ty: mix.type_of(shape, t), shape: t.shape.clone() };
    let layout = Layout::new(&meta(shape, mix), &planned.iter().map(named).collect::<Vec<_>>())?;
    let mut out = BufWriter::with_capacity(1 << 20, File::create(&part).map_err(io)?);
    let mut roles = planned.iter().map(|t| t.role);
    layout.write(&mut out, &mut |t, out| write(shape, t, roles.next().unwrap_or(Role::Matrix), out))?;
    std::fs::rename(&part, &path).map_err(io)?;
    let gguf = layout.gguf();
    println!("{}: {} parameters, {} bytes; {}", path.display(), gguf.n_elements(), gguf.n_bytes(), types(&gguf.tensors));
    Ok(())
}

/// How many tensors have which type.
fn types(tensors: &[TensorInfo]) -> String {
    let count = |ty: DType| tensors.iter().filter(|t| t.ty == ty).count();
    let rows = DType::TABLE.iter().map(|r| (r.1, count(r.0))).filter(|r| r.1 > 0);
    rows.map(|(name, n)| format!("{n} {name}")).collect::<Vec<_>>().join(", ")
}

/// A matrix of spread 1/sqrt(k) keeps the spread of its input. Embeddings are as large as what a layer adds (Gemma multiplies them by
/// the root of their length): attention's averages, which neighbours share, must not drown what a token is, or all tokens would end up at
/// the same experts.
fn write(shape: &Shape, t: &TensorInfo, role: Role, out: &mut dyn Write) -> Result<()> {
    match role {
        Role::Norm => fill::constant(1.0, t.elements(), out),
        Role::RopeFactors => out.write_all(&rope_factors(shape)).map_err(|e| Error::io("cannot write weights", e)),
        Role::Embedding if !shape.post_norms => fill::random(t, 1.0, out),
        _ => fill::random(t, (t.shape[0] as f32).sqrt().recip(), out),
    }
}

/// The factors of Llama 3.2: 32 below one turn in 8192 positions, 1 above four, smooth between. `[head / 2]`
fn rope_factors(shape: &Shape) -> Vec<u8> {
    let factor = |i: u64| {
        let turns = 8192.0 * shape.rope_base.powf(-2.0 * i as f32 / shape.head as f32) / std::f32::consts::TAU;
        let smooth = ((turns - 1.0) / 3.0).clamp(0.0, 1.0);
        1.0 / ((1.0 - smooth) / 32.0 + smooth)
    };
    (0..shape.head / 2).flat_map(|i| factor(i).to_le_bytes()).collect()
}

fn meta(s: &Shape, mix: &Mix) -> Meta {
    let mut meta = Meta::default();
    meta.kv = vec![
        ("general.architecture".into(), text(s.arch)),
        ("general.name".into(), text(&format!("random weights, {}, {}", s.title, mix.name))),
        ("general.file_type".into(), Value::U32(mix.ftype)),
        ("general.quantization_version".into(), Value::U32(2)),
    ];
    meta.kv.extend(sizes(s).into_iter().map(|(key, v)| (format!("{}.{key}", s.arch), v)));
    meta.kv.extend(vocabulary(s).into_iter().map(|(key, v)| (format!("tokenizer.ggml.{key}"), v)));
    meta
}

fn text(s: &str) -> Value {
    Value::Str(s.as_bytes().to_vec())
}

fn sizes(s: &Shape) -> Vec<(&'static str, Value)> {
    let mut all = vec![
        ("block_count", Value::U32(s.n_layer as u32)),
        ("context_length", Value::U32(s.n_ctx)),
        ("embedding_length", Value::U32(s.n_embd as u32)),
        ("feed_forward_length", Value::U32(s.n_ff as u32)),
        ("attention.head_count", Value::U32(s.n_head as u32)),
        ("attention.head_count_kv", Value::U32(s.n_head_kv as u32)),
        ("attention.key_length", Value::U32(s.head as u32)),
        ("attention.value_length", Value::U32(s.head as u32)),
        ("attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
        ("rope.dimension_count", Value::U32(s.head as u32)),
        ("rope.freq_base", Value::F32(s.rope_base)),
        ("vocab_size", Value::U32(s.n_vocab as u32)),
    ];
    if s.window > 0 {
        all.push(("attention.sliding_window", Value::U32(s.window)));
    }
    if let Ffn::Experts { n, used } = s.ffn {
        all.push(("expert_count", Value::U32(n as u32)));
        all.push(("expert_used_count", Value::U32(used)));
        all.push(("expert_feed_forward_length", Value::U32(s.n_ff as u32)));
    }
    all
}

/// Byte-pair pieces in the number that the real model has, each but the letters made by a merge: loading sorts as much as there.
fn vocabulary(s: &Shape) -> Vec<(&'static str, Value)> {
    let mut tokens = letters();
    let mut merges = Vec::new();
    for i in 0..s.n_vocab as usize - 256 - 2 {
        let (left, right) = (tokens[i / 256].clone(), tokens[i % 256].clone());
        merges.push(format!("{left} {right}").into_bytes());
        tokens.push(left + &right);
    }
    tokens.extend(["<|begin_of_text|>", "<|end_of_text|>"].map(String::from));
    // `llama_token_type`: normal, or control for the last two.
    let token_type = |id| if id < s.n_vocab - 2 { 1 } else { 3 };
    vec![
        ("model", text("gpt2")),
        ("pre", text(s.pre)),
        ("tokens", Value::Array(Array::Str(tokens.into_iter().map(String::into_bytes).collect()))),
        ("token_type", Value::Array(Array::I32((0..s.n_vocab).map(token_type).collect()))),
        ("merges", Value::Array(Array::Str(merges))),
        ("bos_token_id", Value::U32(s.n_vocab as u32 - 2)),
        ("eos_token_id", Value::U32(s.n_vocab as u32 - 1)),
    ]
}

/// The 256 bytes in the letters of GPT-2.
fn letters() -> Vec<String> {
    let printable = |b: u32| matches!(b, 33..=126 | 161..=172 | 174..=255);
    let shown = (0..256).filter(|b| printable(*b));
    let hidden = (0..256).filter(|b| !printable(*b)).zip(256..).map(|(_, letter)| letter);
    shown.chain(hidden).filter_map(char::from_u32).map(String::from).collect()
}
