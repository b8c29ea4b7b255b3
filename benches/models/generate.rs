//! Model files for the speed harness: the shape of Llama 3.2 1B, its tensor types in the original's mixes, weights from a seeded
//! generator. `bench-models DIR q4_k_m|q8_0|f16 ...`. Speed does not depend on what weights mean, so nothing is downloaded or quantised;
//! block scales are such that weights have the spread of trained ones and activations stay finite. Must not know the engine.
use llama::gguf::{Array, DType, Layout, Meta, NewTensor, TensorInfo, Value};
use llama::{Error, Result};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

const N_EMBD: u64 = 2048;
const N_LAYER: u64 = 16;
const N_HEAD: u64 = 32;
const N_HEAD_KV: u64 = 8;
const HEAD: u64 = N_EMBD / N_HEAD;
const N_FF: u64 = 8192;
const N_VOCAB: u64 = 128_256;
const N_CTX: u32 = 131_072;
const ROPE_BASE: f32 = 500_000.0;

/// A mix of tensor types that a file may have.
struct Mix {
    name: &'static str,
    ftype: u32,
    /// Most matrices.
    base: DType,
    /// The embedding, which is the output matrix too.
    embd: DType,
    /// `attn_v` and `ffn_down` of the layers that [`more_bits`] names.
    better: DType,
}

/// `ftype` is the number of the original's `llama_ftype`.
static MIXES: &[Mix] = &[
    Mix { name: "q4_k_m", ftype: 15, base: DType::Q4_K, embd: DType::Q6_K, better: DType::Q6_K },
    Mix { name: "q8_0", ftype: 7, base: DType::Q8_0, embd: DType::Q8_0, better: DType::Q8_0 },
    Mix { name: "f16", ftype: 1, base: DType::F16, embd: DType::F16, better: DType::F16 },
];

fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.split_first() {
        Some((dir, names)) if !names.is_empty() => match names.iter().try_for_each(|name| generate(Path::new(dir), name)) {
            Ok(()) => std::process::ExitCode::SUCCESS,
            Err(e) => {
                eprintln!("bench-models: {e}");
                std::process::ExitCode::FAILURE
            }
        },
        _ => {
            eprintln!("usage: bench-models DIR q4_k_m|q8_0|f16 ...");
            std::process::ExitCode::FAILURE
        }
    }
}

/// Writes DIR/llama-1b-NAME.gguf; a file of that name is whole or absent.
fn generate(dir: &Path, name: &str) -> Result<()> {
    let mix = MIXES.iter().find(|m| m.name == name).ok_or_else(|| Error::invalid(format!("unknown mix '{name}'")))?;
    let path = dir.join(format!("llama-1b-{name}.gguf"));
    let part = PathBuf::from(format!("{}.part", path.display()));
    let io = |e| Error::io(path.display().to_string(), e);
    std::fs::create_dir_all(dir).map_err(io)?;
    let layout = Layout::new(&meta(mix), &tensors(mix))?;
    let mut out = BufWriter::with_capacity(1 << 20, File::create(&part).map_err(io)?);
    layout.write(&mut out, &mut |t, out| fill(t, out))?;
    std::fs::rename(&part, &path).map_err(io)?;
    println!(
        "{}: {} tensors, {} parameters, {} bytes",
        path.display(),
        layout.gguf().tensors.len(),
        layout.gguf().n_elements(),
        layout.gguf().n_bytes()
    );
    Ok(())
}

fn meta(mix: &Mix) -> Meta {
    let mut meta = Meta::default();
    let mut put = |key: &str, v: Value| meta.kv.push((key.into(), v));
    put("general.architecture", Value::Str(b"llama".to_vec()));
    put("general.name", Value::Str(format!("random weights, 1B, {}", mix.name).into_bytes()));
    put("general.file_type", Value::U32(mix.ftype));
    put("general.quantization_version", Value::U32(2));
    put("llama.block_count", Value::U32(N_LAYER as u32));
    put("llama.context_length", Value::U32(N_CTX));
    put("llama.embedding_length", Value::U32(N_EMBD as u32));
    put("llama.feed_forward_length", Value::U32(N_FF as u32));
    put("llama.attention.head_count", Value::U32(N_HEAD as u32));
    put("llama.attention.head_count_kv", Value::U32(N_HEAD_KV as u32));
    put("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5));
    put("llama.rope.dimension_count", Value::U32(HEAD as u32));
    put("llama.rope.freq_base", Value::F32(ROPE_BASE));
    put("llama.vocab_size", Value::U32(N_VOCAB as u32));
    put("tokenizer.ggml.model", Value::Str(b"gpt2".to_vec()));
    put("tokenizer.ggml.pre", Value::Str(b"llama-bpe".to_vec()));
    put("tokenizer.ggml.tokens", Value::Array(Array::Str(tokens())));
    put("tokenizer.ggml.token_type", Value::Array(Array::I32((0..N_VOCAB).map(token_type).collect())));
    put("tokenizer.ggml.merges", Value::Array(Array::Str(vec!["Ġ t".into()])));
    put("tokenizer.ggml.bos_token_id", Value::U32(N_VOCAB as u32 - 2));
    put("tokenizer.ggml.eos_token_id", Value::U32(N_VOCAB as u32 - 1));
    meta
}

/// The 256 bytes in the letters of GPT-2, what the one merge makes, as many names as fill the list, and the two special ones.
fn tokens() -> Vec<Vec<u8>> {
    let printable = |b: u32| matches!(b, 33..=126 | 161..=172 | 174..=255);
    let shown = (0..256).filter(|b| printable(*b));
    let hidden = (0..256).filter(|b| !printable(*b)).zip(256..).map(|(_, letter)| letter);
    let letters = shown.chain(hidden).filter_map(char::from_u32).map(String::from);
    let names = (257..N_VOCAB - 2).map(|id| format!("token{id}"));
    let ends = ["<|begin_of_text|>", "<|end_of_text|>"].map(String::from);
    letters.chain(["Ġt".into()]).chain(names).chain(ends).map(String::into_bytes).collect()
}

/// `llama_token_type`: normal, or control for the last two.
fn token_type(id: u64) -> i32 {
    if id < N_VOCAB - 2 { 1 } else { 3 }
}

fn tensors(mix: &Mix) -> Vec<NewTensor> {
    let head = [("token_embd.weight", mix.embd, vec![N_EMBD, N_VOCAB]), ("rope_freqs.weight", DType::F32, vec![HEAD / 2])];
    let tail = [("output_norm.weight", DType::F32, vec![N_EMBD])];
    let named = |(name, ty, shape): (&str, DType, Vec<u64>)| NewTensor { name: name.into(), ty, shape };
    let layers = (0..N_LAYER).flat_map(|il| layer(mix, il));
    head.into_iter().map(named).chain(layers).chain(tail.into_iter().map(named)).collect()
}

fn layer(mix: &Mix, il: u64) -> Vec<NewTensor> {
    let better = if more_bits(il) { mix.better } else { mix.base };
    let n_embd_kv = HEAD * N_HEAD_KV;
    let matrix = |name: &str, ty, n_in, n_out| NewTensor { name: format!("blk.{il}.{name}.weight"), ty, shape: vec![n_in, n_out] };
    let norm = |name: &str| NewTensor { name: format!("blk.{il}.{name}.weight"), ty: DType::F32, shape: vec![N_EMBD] };
    vec![
        norm("attn_norm"),
        matrix("attn_q", mix.base, N_EMBD, N_EMBD),
        matrix("attn_k", mix.base, N_EMBD, n_embd_kv),
        matrix("attn_v", better, N_EMBD, n_embd_kv),
        matrix("attn_output", mix.base, N_EMBD, N_EMBD),
        norm("ffn_norm"),
        matrix("ffn_gate", mix.base, N_EMBD, N_FF),
        matrix("ffn_up", mix.base, N_EMBD, N_FF),
        matrix("ffn_down", better, N_FF, N_EMBD),
    ]
}

/// The original's rule for its `_M` mixes: the first and the last eighth of the layers and every third between.
fn more_bits(il: u64) -> bool {
    let eighth = N_LAYER / 8;
    il < eighth || il >= 7 * eighth || (il - eighth) % 3 == 2
}

/// Writes a tensor's bytes; they depend on its name, type and size only.
fn fill(t: &TensorInfo, out: &mut dyn Write) -> Result<()> {
    let io = |e| Error::io("cannot write weights", e);
    if t.name == "rope_freqs.weight" {
        return out.write_all(&rope_freqs()).map_err(io);
    }
    let (block, shape_up): (u64, fn(&mut [u8])) = match t.ty {
        DType::F32 => (4, |b| b.copy_from_slice(&1f32.to_le_bytes())),
        DType::F16 => (2, f16),
        DType::Q8_0 => (34, q8_0),
        DType::Q4_K => (144, q4_k),
        DType::Q6_K => (210, q6_k),
        other => return Err(Error::invalid(format!("no random weights of type {other:?}"))),
    };
    let mut random = Random(t.name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3)));
    let mut left = t.bytes;
    let mut buf = vec![0; (block * 4096) as usize];
    while left > 0 {
        let piece = &mut buf[..left.min(block * 4096) as usize];
        random.fill(piece);
        piece.chunks_exact_mut(block as usize).for_each(shape_up);
        out.write_all(piece).map_err(io)?;
        left -= piece.len() as u64;
    }
    Ok(())
}

// The four below get random bytes and leave a block whose weights have a standard deviation of about 0.02. Six low bits of a scale stay random.

fn set_scale(at: &mut [u8], f16_bits: u16) {
    let low = u16::from(at[0] & 63);
    at.copy_from_slice(&(f16_bits + low).to_le_bytes());
}

/// A random sign and mantissa over one exponent: magnitudes of 1/64 to 1/32.
fn f16(b: &mut [u8]) {
    let bits = u16::from_le_bytes([b[0], b[1]]) & 0x83ff | 9 << 10;
    b.copy_from_slice(&bits.to_le_bytes());
}

/// d, 32 signed bytes.
fn q8_0(b: &mut [u8]) {
    set_scale(&mut b[..2], 0x0c6c); // 2.7e-4: a byte has 73
    // Quantisers are symmetric: -128 never occurs.
    b[2..].iter_mut().filter(|q| **q == 128).for_each(|q| *q = 127);
}

/// d, dmin, 12 bytes of 6-bit scales and minima, 128 bytes of 4-bit values.
fn q4_k(b: &mut [u8]) {
    set_scale(&mut b[..2], 0x050a); // 7.7e-5: scale * q - 7.5 * min has 258
    set_scale(&mut b[2..4], 0x10c1); // 7.5 times that, so that the mean is 0
}

/// 192 bytes of 6-bit values, 16 signed scales, d.
fn q6_k(b: &mut [u8]) {
    set_scale(&mut b[208..], 0x00f5); // 1.5e-5: scale * q has 1366
}

/// The factors of Llama 3.2: 32 below one turn in 8192 positions, 1 above four, smooth between. `[HEAD / 2]`
fn rope_freqs() -> Vec<u8> {
    let factor = |i: u64| {
        let turns = 8192.0 * ROPE_BASE.powf(-2.0 * i as f32 / HEAD as f32) / std::f32::consts::TAU;
        let smooth = ((turns - 1.0) / 3.0).clamp(0.0, 1.0);
        1.0 / ((1.0 - smooth) / 32.0 + smooth)
    };
    (0..HEAD / 2).flat_map(|i| factor(i).to_le_bytes()).collect()
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    fn fill(&mut self, out: &mut [u8]) {
        for part in out.chunks_mut(8) {
            part.copy_from_slice(&self.next().to_le_bytes()[..part.len()]);
        }
    }
}
