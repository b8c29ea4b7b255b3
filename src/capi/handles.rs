//! What stands behind the handles: a model with its texts as C wants them, a context behind a lock. Knows no C pointer.
use super::boundary::with;
use super::types::{llama_memory_i, llama_model, llama_vocab};
use crate::cache::Auto;
use crate::gguf::{FType, Source, Value};
use crate::memory::Refused;
use crate::model::Model;
use crate::session::Context;
use crate::session::batch::BatchView;
use crate::session::params::Sizes;
use platform::{Result, log};
use std::ffi::CString;
use std::sync::{Arc, Mutex, TryLockError};

const TEMPLATE: &str = "tokenizer.chat_template";

pub struct ModelHandle {
    pub model: Arc<Model>,
    pub vocab: llama_vocab,
    pub ftype: FType,
    /// Key and value as text, in file order, without arrays.
    pub texts: Vec<(String, Vec<u8>)>,
    /// Chat templates by key.
    templates: Vec<(String, CString)>,
    pub labels: Vec<CString>,
}

impl ModelHandle {
    pub fn new(model: Model, source: &Source) -> Result<ModelHandle> {
        let plain = model.meta.kv.iter().filter(|(_, v)| !matches!(v, Value::Array(_)));
        let texts: Vec<(String, Vec<u8>)> = plain.map(|(k, v)| (k.clone(), v.to_text())).collect();
        let templates = texts.iter().filter(|(k, _)| k.starts_with(TEMPLATE));
        let templates = templates.map(|(k, v)| (k.clone(), CString::new(v.clone()).unwrap_or_default())).collect();
        let labels = labels(&model);
        let vocab = llama_vocab(model.vocab.clone());
        Ok(ModelHandle { model: Arc::new(model), vocab, ftype: source.gguf().ftype()?, texts, templates, labels })
    }

    pub fn text(&self, key: &[u8]) -> Option<&[u8]> {
        self.texts.iter().find(|(k, _)| k.as_bytes() == key).map(|(_, v)| v.as_slice())
    }
    pub fn at(&self, i: i32) -> Option<&(String, Vec<u8>)> {
        usize::try_from(i).ok().and_then(|i| self.texts.get(i))
    }
    pub fn template(&self, name: Option<&[u8]>) -> Option<&CString> {
        let key = [TEMPLATE.as_bytes(), &name.map_or(Vec::new(), |n| [b".", n].concat())].concat();
        self.templates.iter().find(|(k, _)| k.as_bytes() == key).map(|(_, t)| t)
    }
    /// "llama 1B Q4_K - Medium"
    pub fn description(&self) -> String {
        format!("{} {} {}", self.model.arch.name, self.model.size_name(), self.ftype.name())
    }
}

/// The names of a classifier's outputs.
fn labels(m: &Model) -> Vec<CString> {
    let key = format!("{}.classifier.output_labels", m.arch.name);
    match m.meta.get(&key) {
        Some(Value::Array(crate::gguf::Array::Str(list))) => list.iter().map(|s| CString::new(s.clone()).unwrap_or_default()).collect(),
        _ => Vec::new(),
    }
}

pub type SharedContext = Arc<Mutex<Context>>;

/// A context and what can be said of it without asking it.
pub struct ContextHandle {
    pub ctx: SharedContext,
    /// The address that C knows the model by.
    pub model: *const llama_model,
    pub memory: llama_memory_i,
    pub sizes: Sizes,
    pub pooling_type: i32,
    pub n_embd: usize,
    /// Positions per embedding.
    pub n_pos: usize,
    pub n_vocab: u32,
    pub has_memory: bool,
    /// `CAMELID_PREFIX_CACHE`; only ever locked by who has `ctx`.
    auto: Mutex<Option<Auto>>,
}

impl ContextHandle {
    pub fn new(ctx: Context, model: *const llama_model) -> ContextHandle {
        let (sizes, pooling_type) = (ctx.sizes, ctx.pooling_type);
        let (n_embd, n_pos) = (ctx.model.hp.n_embd as usize, ctx.model.n_pos_per_embd() as usize);
        let (has_memory, n_vocab) = (ctx.has_memory(), ctx.model.hp.n_vocab);
        let auto = Mutex::new(Auto::from_env(&ctx));
        let ctx = Arc::new(Mutex::new(ctx));
        ContextHandle { memory: llama_memory_i(ctx.clone()), ctx, model, sizes, pooling_type, n_embd, n_pos, n_vocab, has_memory, auto }
    }

    /// A decode, by way of the prefix cache where there is one.
    pub fn decode(&self, ctx: &mut Context, b: &BatchView<'_>) -> i32 {
        match self.auto.lock().as_deref_mut() {
            Ok(Some(auto)) => auto.decode(ctx, b),
            _ => ctx.decode(b),
        }
    }
}

/// Runs `f` on a context. A call that comes while another runs (from a callback, or another thread) fails, as does every call after a panic.
pub fn with_context<R>(name: &str, handle: Option<&SharedContext>, failure: R, f: impl FnOnce(&mut Context) -> R) -> R {
    let done = with(name, handle, None, |ctx| match ctx.try_lock() {
        Ok(mut c) => Some(f(&mut c)),
        Err(TryLockError::WouldBlock) => refuse(name, "the context is busy with another call"),
        Err(TryLockError::Poisoned(_)) => refuse(name, "an internal error has broken this context, it can only be freed"),
    });
    done.unwrap_or(failure)
}

fn refuse<R>(name: &str, why: &str) -> Option<R> {
    log::error(format_args!("{name}: {why}"));
    None
}

/// Whether an operation on the memory was done; a refusal is told.
pub fn accepted(name: &str, done: std::result::Result<(), Refused>) -> bool {
    match done {
        Ok(()) => true,
        Err(Refused(why)) => refuse::<()>(name, why).is_some(),
    }
}

/// A sequence id that names one sequence.
pub fn one_seq(name: &str, seq: i32) -> Option<u32> {
    u32::try_from(seq).ok().or_else(|| refuse(name, "a sequence id must not be negative"))
}
