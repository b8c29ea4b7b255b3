//! A LoRA file: pairs of matrices named after a model's tensors, and metadata.
use crate::backend::{Backend, Buffer, Copy2d, Layout, Shard, Weight, WeightId};
use crate::gguf::{Array, Meta, Source, TensorInfo, Value};
use crate::model::Model;
use kernels::DType;
use platform::error::try_zeroed;
use platform::{Error, Result, hash, log};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

const TOKENS: &str = "adapter.alora.invocation_tokens";
/// A table of embeddings: rows are looked up, so its two matrices change places.
const TABLE: &str = "token_embd.weight";
const SUFFIXES: [&str; 2] = [".lora_a", ".lora_b"];

pub struct Lora {
    /// Scalars of the metadata as text, in file order.
    pub texts: Vec<(String, Vec<u8>)>,
    /// The tokens that switch an activated LoRA on; empty for others.
    pub invocation_tokens: Vec<i32>,
    pub(super) alpha: f32,
    pub(super) pairs: Vec<Pair>,
    model: Weak<Model>,
    /// Counts the adapters of this process: sums go in order of loading, however callers list them.
    pub number: u64,
    /// Of what it computes.
    pub fingerprint: u128,
}

/// One tensor's low rank, on the device of the weights it stands beside.
pub(super) struct Pair {
    /// What the file's tensor is to the model, with the first row that each is.
    pub of: Vec<(WeightId, u32)>,
    pub is_table: bool,
    pub rank: u32,
    /// [k, rank, experts] as in the file; of a table the rows that tokens look up, [rank, n_vocab].
    pub a: Weight,
    /// f32, each rank a row: [rows, experts * rank].
    pub b: Weight,
}

/// What of a tensor of the model is there in the adapter.
type Halves<'a> = [Option<&'a TensorInfo>; 2];

impl Lora {
    pub fn load(model: &Arc<Model>, source: &Source) -> Result<Lora> {
        if model.vocab_only {
            return Err(Error::invalid("the model was loaded with vocab_only: it has no weights"));
        }
        let gguf = source.gguf();
        let alpha = check_meta(&gguf.meta, model.arch.name)?;
        let invocation_tokens = invocation_tokens(&gguf.meta)?;
        let mut seen = format!("{} {alpha:?}\n", model.arch.name).into_bytes();
        let mut pairs = Vec::new();
        for (name, halves) in &halves(&gguf.tensors)? {
            pairs.extend(pair(model, source, name, halves, &mut seen)?);
        }
        let plain = gguf.meta.kv.iter().filter(|(_, v)| !matches!(v, Value::Array(_)));
        let texts = plain.map(|(k, v)| (k.clone(), v.to_text())).collect();
        log::info(format!("lora: {} tensors, {:.2} MiB, alpha {alpha}", 2 * pairs.len(), bytes(&pairs) as f64 / (1 << 20) as f64));
        static LOADED: AtomicU64 = AtomicU64::new(0);
        let number = LOADED.fetch_add(1, Ordering::Relaxed);
        Ok(Lora { texts, invocation_tokens, alpha, pairs, model: Arc::downgrade(model), number, fingerprint: hash::name(&seen) })
    }

    pub fn is_of(&self, model: &Arc<Model>) -> bool {
        std::ptr::eq(self.model.as_ptr(), Arc::as_ptr(model))
    }
    pub fn text(&self, key: &[u8]) -> Option<&[u8]> {
        self.texts.iter().find(|(k, _)| k.as_bytes() == key).map(|(_, v)| v.as_slice())
    }
    pub fn at(&self, i: i32) -> Option<&(String, Vec<u8>)> {
        usize::try_from(i).ok().and_then(|i| self.texts.get(i))
    }
    /// What a product is multiplied by, where the caller wants `scale`.
    pub(super) fn scale(&self, p: &Pair, scale: f32) -> f32 {
        if self.alpha == 0.0 { scale } else { scale * self.alpha / p.rank as f32 }
    }
}

fn bytes(pairs: &[Pair]) -> usize {
    pairs.iter().map(|p| p.a.bytes() + p.b.bytes()).sum()
}

/// Alpha, of a file that is an adapter for this architecture.
fn check_meta(m: &Meta, arch: &str) -> Result<f32> {
    let text = |key: &str| Ok::<_, Error>(m.str(key)?.unwrap_or_default());
    let general = text("general.type")?;
    if general != "adapter" {
        return Err(Error::invalid(format!("expect general.type to be 'adapter', but got: {general}")));
    }
    let of = text("general.architecture")?;
    if of != arch {
        return Err(Error::invalid(format!("model arch and LoRA arch mismatch: '{arch}' and '{of}'")));
    }
    let kind = text("adapter.type")?;
    if kind != "lora" {
        return Err(Error::invalid(format!("expect adapter.type to be 'lora', but got: {kind}")));
    }
    let alpha = m.f32("adapter.lora.alpha")?.unwrap_or(0.0);
    if alpha.is_finite() { Ok(alpha) } else { Err(Error::invalid(format!("adapter.lora.alpha is {alpha}"))) }
}

fn invocation_tokens(m: &Meta) -> Result<Vec<i32>> {
    match m.get(TOKENS) {
        None => Ok(Vec::new()),
        Some(Value::Array(Array::U32(ids))) => Ok(ids.iter().map(|id| *id as i32).collect()),
        Some(Value::Array(_)) => Err(Error::invalid(format!("invalid gguf element type for {TOKENS}"))),
        Some(_) => Err(Error::invalid(format!("invalid gguf type for {TOKENS}"))),
    }
}

/// Both matrices by the model's name of the tensor, in order of names.
fn halves(tensors: &[TensorInfo]) -> Result<BTreeMap<&str, Halves<'_>>> {
    let mut all: BTreeMap<&str, Halves<'_>> = BTreeMap::new();
    for t in tensors {
        let half = SUFFIXES.iter().position(|s| t.name.ends_with(s));
        match half {
            Some(i) => all.entry(t.name.strip_suffix(SUFFIXES[i]).unwrap_or(&t.name)).or_default()[i] = Some(t),
            // As the original: adapters work without them.
            None if t.name.ends_with("_norm.weight") => {}
            None => return Err(Error::invalid(format!("LoRA tensor '{}' has unexpected suffix", t.name))),
        }
    }
    Ok(all)
}

fn pair(m: &Model, source: &Source, name: &str, halves: &Halves<'_>, seen: &mut Vec<u8>) -> Result<Option<Pair>> {
    let [Some(a), Some(b)] = halves else {
        return Err(Error::invalid(format!("LoRA tensor pair for '{name}' is missing one component")));
    };
    let Some(base) = m.origin.gguf().tensor(name) else {
        return Err(Error::invalid(format!("LoRA tensor '{name}' does not exist in base model (hint: maybe wrong base model?)")));
    };
    let is_table = name.ends_with(TABLE);
    check_shapes(name, base, a, b, is_table)?;
    let of = m.parts_of(name);
    let Some((first, _)) = of.first() else {
        log::warn(format!("lora: the model does not use '{name}', and so it is with its adapter"));
        return Ok(None);
    };
    let device = m.weights[first.0 as usize].shards[0].buf.device();
    let on = m.backends.iter().find(|d| d.device() == device);
    let on = on.ok_or_else(|| Error::invalid(format!("LoRA tensor '{name}': no device")))?.as_ref();
    if !on.supports(a.ty) {
        return Err(Error::unsupported(format!("LoRA tensor '{}': type {} has no kernel", a.name, a.ty.name())));
    }
    let [rows_a, rows_b] = [read(source, a)?, read(source, b)?];
    for (t, bytes) in [(a, &rows_a), (b, &rows_b)] {
        seen.extend_from_slice(format!("{} {} {:?} {:032x}\n", t.name, t.ty.name(), t.shape, hash::name(bytes)).as_bytes());
    }
    let b_turned = turned(b, &rows_b)?;
    let (n_out, rank, columns) = (b.shape[1] as u32, b.shape[0] as u32, b.shape[0].saturating_mul(b.shape[2]));
    let columns = u32::try_from(columns).map_err(|_| Error::invalid(format!("LoRA tensor '{name}' has rank {rank}")))?;
    let a = weight(on, &a.name, a.ty, [a.shape[0] as u32, a.shape[1] as u32, a.shape[2] as u32], &rows_a)?;
    let b = weight(on, &b.name, DType::F32, [n_out, columns, 1], &b_turned)?;
    Ok(Some(Pair { of, is_table, rank, a, b }))
}

/// `base` is [k, rows, experts]; then `a` is [k, rank, experts] and `b` [rank, rows, experts]. Of a table of `rows` tokens `a` is [rank, rows], `b` [rank, k].
fn check_shapes(name: &str, base: &TensorInfo, a: &TensorInfo, b: &TensorInfo, is_table: bool) -> Result<()> {
    let wrong = || Error::invalid(format!("tensor '{name}' has incorrect shape (hint: maybe wrong base model?)"));
    let outer = if is_table { [b.shape[1], a.shape[1]] } else { [a.shape[0], b.shape[1]] };
    let stacks = [base, a, b].map(|t| (t.shape[2], t.shape[3]));
    if outer != base.shape[..2] || stacks.iter().any(|s| *s != (base.shape[2], 1)) {
        return Err(wrong());
    }
    let [of_a, of_b] = [if is_table { a.shape[0] } else { a.shape[1] }, b.shape[0]];
    if of_a != of_b && is_table {
        return Err(wrong());
    }
    if of_a != of_b {
        return Err(Error::invalid(format!(
            "lora_a tensor of '{name}' is not transposed: ranks {of_a} and {of_b} (hint: adapter from \"finetune\" example is no longer supported)"
        )));
    }
    if of_a == 0 || u32::try_from(of_a).is_err() {
        return Err(Error::invalid(format!("LoRA tensor '{name}' has rank {of_a}")));
    }
    Ok(())
}

fn read(source: &Source, t: &TensorInfo) -> Result<Vec<u8>> {
    let mut bytes = try_zeroed(t.bytes as usize, &t.name)?;
    source.read_tensor(t, &mut bytes)?;
    Ok(bytes)
}

/// The rows of `t` as columns: f32 bytes.
fn turned(t: &TensorInfo, bytes: &[u8]) -> Result<Vec<u8>> {
    let [rank, rows, stack] = [t.shape[0] as usize, t.shape[1] as usize, t.shape[2] as usize];
    let n = 4 * rank as u64 * rows as u64 * stack as u64;
    let (mut row, mut out) = (try_zeroed::<f32>(rank, &t.name)?, try_zeroed::<u8>(n as usize, &t.name)?);
    for (i, from) in bytes.chunks_exact(bytes.len() / (rows * stack).max(1)).enumerate() {
        if !kernels::quant::to_f32(t.ty, from, &mut row) {
            return Err(Error::unsupported(format!("LoRA tensor '{}': type {}", t.name, t.ty.name())));
        }
        let (e, column) = (i / rows, i % rows);
        for (r, v) in row.iter().enumerate() {
            let at = 4 * ((e * rank + r) * rows + column);
            out[at..at + 4].copy_from_slice(&v.to_le_bytes());
        }
    }
    Ok(out)
}

/// A weight in memory of its own.
pub(super) fn weight(on: &dyn Backend, name: &str, ty: DType, shape: [u32; 3], bytes: &[u8]) -> Result<Weight> {
    let buf: Arc<dyn Buffer> = on.alloc(bytes.len(), name)?;
    buf.write(&[Copy2d::flat(0, 0, bytes.len())], bytes)?;
    Ok(Weight { name: name.to_owned(), ty, shape, shards: vec![Shard { node: 0, rows: 0..shape[1], layout: Layout::File, buf, at: 0 }] })
}
