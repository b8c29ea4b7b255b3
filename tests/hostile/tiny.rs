//! Models small enough to make by the thousand: real shapes of three architectures, random weights, a vocabulary of letters. Every part can be spoilt.
#![allow(dead_code, reason = "two test programs use different parts")]
use llama::capi::context::*;
use llama::capi::model::*;
use llama::capi::types::*;
use llama::gguf::{Array, DType, Layout, Meta, NewTensor, Value};
use platform::log::{self, Level};
use std::cell::RefCell;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::{Arc, Once};

pub const N_EMBD: u64 = 64;
pub const N_VOCAB: usize = 32;
pub const N_LAYER: u32 = 2;

#[derive(Clone)]
pub struct Tensor {
    pub name: String,
    pub ty: DType,
    pub shape: Vec<u64>,
    pub data: Vec<u8>,
}

#[derive(Clone)]
pub struct Tiny {
    pub arch: &'static str,
    pub kv: Vec<(String, Value)>,
    pub tensors: Vec<Tensor>,
}

/// xorshift64*: the same numbers everywhere.
#[derive(Clone)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
    fn weight(&mut self) -> f32 {
        (self.next() % 2001) as f32 / 1000.0 - 1.0
    }
}

/// `n` elements of `ty` with values around +-`scale`; zeroes for formats that have no simple encoding here.
pub fn data(ty: DType, n: u64, scale: f32, rng: &mut Rng) -> Vec<u8> {
    let n = n as usize;
    match ty {
        DType::F32 => (0..n).flat_map(|_| (scale * rng.weight()).to_le_bytes()).collect(),
        DType::BF16 => (0..n).flat_map(|_| [0, (rng.next() % 2) as u8 * 0x80 + 0x3d]).collect(),
        DType::F16 => (0..n).flat_map(|_| [0, (rng.next() % 2) as u8 * 0x80 + 0x2c]).collect(),
        // 34 bytes per 32: a scale of 2^-10 and small integers
        DType::Q8_0 => {
            (0..n / 32).flat_map(|_| [0, 0x14].into_iter().chain((0..32).map(|_| rng.next() as u8)).collect::<Vec<_>>()).collect()
        }
        _ => vec![0; n / ty.block_len() * ty.block_bytes()],
    }
}

impl Tiny {
    pub fn new(arch: &'static str) -> Tiny {
        let mut t = Tiny { arch, kv: Vec::new(), tensors: Vec::new() };
        t.common();
        t.vocab();
        t.weights(arch);
        t
    }

    pub fn common(&mut self) {
        self.set("general.architecture", Value::Str(self.arch.into()));
        let keys: [(&str, u32); 8] = [
            ("block_count", N_LAYER),
            ("context_length", 512),
            ("embedding_length", N_EMBD as u32),
            ("feed_forward_length", 96),
            ("attention.head_count", 2),
            ("attention.head_count_kv", 1),
            ("attention.key_length", 32),
            ("attention.value_length", 32),
        ];
        keys.into_iter().for_each(|(k, v)| self.key(k, Value::U32(v)));
        self.key("rope.dimension_count", Value::U32(32));
        self.key("attention.layer_norm_rms_epsilon", Value::F32(1e-5));
        match self.arch {
            "qwen3moe" => {
                let keys = [("expert_count", 4), ("expert_used_count", 2), ("expert_feed_forward_length", 32)];
                keys.into_iter().for_each(|(k, v)| self.key(k, Value::U32(v)));
            }
            "gemma3" => {
                self.key("attention.sliding_window", Value::U32(8));
                self.key("attention.sliding_window_pattern", Value::U32(2));
                self.key("rope.freq_base_swa", Value::F32(10_000.0));
                self.key("final_logit_softcapping", Value::F32(30.0));
            }
            _ => self.key("rope.scaling.factor", Value::F32(2.0)),
        }
    }

    pub fn vocab(&mut self) {
        let mut tokens: Vec<Vec<u8>> = (b'a'..=b'z').map(|c| vec![c]).collect();
        tokens.extend(["\u{120}", "\u{10a}", "ab", "abc", "<s>", "</s>"].map(|t| t.as_bytes().to_vec()));
        assert_eq!(tokens.len(), N_VOCAB);
        let types = (0..N_VOCAB).map(|i| if i < 30 { 1 } else { 3 }).collect();
        self.set("tokenizer.ggml.model", Value::Str("gpt2".into()));
        self.set("tokenizer.ggml.pre", Value::Str("gpt-2".into()));
        self.set("tokenizer.ggml.tokens", Value::Array(Array::Str(tokens)));
        self.set("tokenizer.ggml.token_type", Value::Array(Array::I32(types)));
        self.set("tokenizer.ggml.merges", Value::Array(Array::Str(vec![b"a b".to_vec(), b"ab c".to_vec()])));
        self.set("tokenizer.ggml.bos_token_id", Value::U32(30));
        self.set("tokenizer.ggml.eos_token_id", Value::U32(31));
    }

    fn weights(&mut self, arch: &str) {
        let (n, v) = (N_EMBD, N_VOCAB as u64);
        self.tensor("token_embd.weight", &[n, v]);
        self.tensor("output_norm.weight", &[n]);
        if arch == "llama" {
            self.tensor("output.weight", &[n, v]);
            self.tensor("rope_freqs.weight", &[16]);
        }
        for il in 0..N_LAYER {
            let mut add = |name: &str, shape: &[u64]| self.tensor(&format!("blk.{il}.{name}.weight"), shape);
            add("attn_norm", &[n]);
            add("attn_q", &[n, 64]);
            add("attn_k", &[n, 32]);
            add("attn_v", &[n, 32]);
            add("attn_output", &[64, n]);
            add("ffn_norm", &[n]);
            if arch != "llama" {
                add("attn_q_norm", &[32]);
                add("attn_k_norm", &[32]);
            }
            if arch == "gemma3" {
                add("post_attention_norm", &[n]);
                add("post_ffw_norm", &[n]);
            }
            if arch == "qwen3moe" {
                add("ffn_gate_inp", &[n, 4]);
                add("ffn_gate_exps", &[n, 32, 4]);
                add("ffn_up_exps", &[n, 32, 4]);
                add("ffn_down_exps", &[32, n, 4]);
            } else {
                add("ffn_gate", &[n, 96]);
                add("ffn_up", &[n, 96]);
                add("ffn_down", &[96, n]);
            }
        }
    }

    pub fn tensor(&mut self, name: &str, shape: &[u64]) {
        let n: u64 = shape.iter().product();
        let mut rng = Rng(0x9e37_79b9 + 977 * self.tensors.len() as u64);
        let mut bytes = data(DType::F32, n, 0.3, &mut rng);
        if shape.len() == 1 {
            // norms and factors: around 1
            bytes = (0..n).flat_map(|_| (1.0 + 0.2 * rng.weight()).to_le_bytes()).collect();
        }
        self.tensors.push(Tensor { name: name.into(), ty: DType::F32, shape: shape.to_vec(), data: bytes });
    }

    /// All matrices in another format.
    #[must_use]
    pub fn in_format(mut self, ty: DType) -> Tiny {
        let matrices = self.tensors.iter_mut().filter(|t| t.shape.len() > 1 && !t.name.contains("gate_inp"));
        matrices.for_each(|t| t.retype(ty));
        self
    }

    pub fn set(&mut self, key: &str, v: Value) {
        match self.kv.iter_mut().find(|(k, _)| k == key) {
            Some((_, old)) => *old = v,
            None => self.kv.push((key.into(), v)),
        }
    }
    /// Sets `{arch}.{suffix}`.
    pub fn key(&mut self, suffix: &str, v: Value) {
        self.set(&format!("{}.{suffix}", self.arch), v);
    }
    pub fn remove(&mut self, key: &str) {
        self.kv.retain(|(k, _)| k != key);
    }
    pub fn at(&mut self, name: &str) -> &mut Tensor {
        self.tensors.iter_mut().find(|t| t.name == name).expect("a tensor of the model")
    }

    /// The file; the error is the reader's, which the writer asks.
    pub fn bytes(&self) -> llama::Result<Vec<u8>> {
        let mut meta = Meta::default();
        meta.kv.clone_from(&self.kv);
        let list: Vec<NewTensor> =
            self.tensors.iter().map(|t| NewTensor { name: t.name.clone(), ty: t.ty, shape: t.shape.clone() }).collect();
        let (mut out, mut i) = (Vec::new(), 0);
        Layout::new(&meta, &list)?.write(&mut out, &mut |_, w| {
            i += 1;
            w.write_all(&self.tensors[i - 1].data).map_err(|e| llama::Error::io("write", e))
        })?;
        Ok(out)
    }

    pub fn file(&self, name: &str) -> TempFile {
        TempFile::new(name, &self.bytes().expect("a well-formed file"))
    }

    /// A model that must load.
    pub fn load(&self, name: &str) -> Model {
        said();
        Model::load(&self.file(name), &params()).unwrap_or_else(|| panic!("{name}: {}", log::last_error()))
    }
}

impl Tensor {
    pub fn retype(&mut self, ty: DType) {
        self.ty = ty;
        let n = self.shape.iter().product();
        self.data = data(ty, n, 0.3, &mut Rng(77 + n));
    }
    pub fn reshape(&mut self, shape: &[u64]) {
        self.shape = shape.to_vec();
        let n: u64 = shape.iter().product();
        self.data = data(self.ty, n, 0.3, &mut Rng(99));
    }
    pub fn fill(&mut self, v: f32) {
        let n: u64 = self.shape.iter().product();
        self.data = (0..n).flat_map(|_| v.to_le_bytes()).collect();
    }
}

pub struct TempFile(pub PathBuf);

impl TempFile {
    pub fn new(name: &str, bytes: &[u8]) -> TempFile {
        let path = std::env::temp_dir().join(format!("camelid-{name}-{}-{:?}.gguf", std::process::id(), std::thread::current().id()));
        std::fs::write(&path, bytes).expect("a temporary file");
        TempFile(path)
    }
    pub fn c_path(&self) -> CString {
        CString::new(self.0.as_os_str().as_bytes()).expect("a path without NUL")
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

// ---- owners of C handles

pub fn params() -> llama_model_params {
    // SAFETY: takes nothing.
    unsafe { llama_model_default_params() }
}

/// 2 threads, small ubatches: several per batch.
pub fn ctx_params() -> llama_context_params {
    // SAFETY: takes nothing.
    let p = unsafe { llama_context_default_params() };
    llama_context_params { n_ctx: 256, n_batch: 64, n_ubatch: 8, n_threads: 2, n_threads_batch: 2, ..p }
}

pub struct Model(pub *mut llama_model);

impl Model {
    pub fn load(f: &TempFile, p: &llama_model_params) -> Option<Model> {
        // SAFETY: a path; the params are plain values.
        let m = unsafe { llama_model_load_from_file(f.c_path().as_ptr(), std::ptr::read(p)) };
        (!m.is_null()).then_some(Model(m))
    }
    pub fn get(&self) -> Option<&llama_model> {
        // SAFETY: alive until dropped.
        unsafe { self.0.as_ref() }
    }
    pub fn context(&self, p: llama_context_params) -> Option<Ctx> {
        // SAFETY: a live model.
        let c = unsafe { llama_init_from_model(self.get(), p) };
        (!c.is_null()).then_some(Ctx(c))
    }
    /// A context that must be made.
    pub fn ctx(&self, p: llama_context_params) -> Ctx {
        self.context(p).unwrap_or_else(|| panic!("no context: {}", log::last_error()))
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: ours, once.
        unsafe { llama_model_free(self.0) }
    }
}

pub struct Ctx(pub *mut llama_context);
// SAFETY: a context may move between threads.
unsafe impl Send for Ctx {}
// SAFETY: a model is immutable.
unsafe impl Sync for Model {}

impl Ctx {
    pub fn get(&self) -> Option<&llama_context> {
        // SAFETY: alive until dropped.
        unsafe { self.0.as_ref() }
    }
    pub fn mem(&self) -> Option<&llama_memory_i> {
        // SAFETY: lives as long as the context.
        unsafe { llama_get_memory(self.get()).as_ref() }
    }
    pub fn decode(&self, b: &Batch) -> i32 {
        // SAFETY: the arrays live as long as `b`.
        unsafe { llama_decode(self.get(), b.view()) }
    }
    pub fn max(&self, seq: i32) -> i32 {
        // SAFETY: live handles.
        unsafe { llama::capi::memory::llama_memory_seq_pos_max(self.mem(), seq) }
    }
    pub fn min(&self, seq: i32) -> i32 {
        // SAFETY: live handles.
        unsafe { llama::capi::memory::llama_memory_seq_pos_min(self.mem(), seq) }
    }
    /// The logits of batch index `i`.
    pub fn logits(&self, i: i32) -> Option<Vec<f32>> {
        // SAFETY: NULL or a row of n_vocab floats until the next decode.
        unsafe {
            let p = llama::capi::outputs::llama_get_logits_ith(self.get(), i);
            (!p.is_null()).then(|| std::slice::from_raw_parts(p, N_VOCAB).to_vec())
        }
    }
}

impl Drop for Ctx {
    fn drop(&mut self) {
        // SAFETY: ours, once.
        unsafe { llama_free(self.0) }
    }
}

/// A batch with arrays of its own. Empty `pos` or `seqs`: NULL.
#[derive(Clone, Default, Debug)]
pub struct Batch {
    pub tokens: Vec<i32>,
    pub pos: Vec<i32>,
    pub seqs: Vec<Vec<i32>>,
    pub logits: Vec<i8>,
}

impl Batch {
    pub fn new(tokens: &[i32]) -> Batch {
        Batch { tokens: tokens.to_vec(), logits: vec![1; tokens.len()], ..Batch::default() }
    }
    #[must_use]
    pub fn at(mut self, pos: i32) -> Batch {
        self.pos = (pos..).take(self.tokens.len()).collect();
        self
    }
    #[must_use]
    pub fn of(mut self, seqs: &[i32]) -> Batch {
        self.seqs = vec![seqs.to_vec(); self.tokens.len()];
        self
    }
    pub fn view(&self) -> llama_batch {
        let null_if_empty = |v: &[i32]| if v.is_empty() { std::ptr::null_mut() } else { v.as_ptr().cast_mut() };
        // The lists are leaked into the batch for the call only: kept alive by `Lists`, one per thread.
        let (counts, lists) = keep(&self.seqs);
        llama_batch {
            n_tokens: self.tokens.len() as i32,
            token: null_if_empty(&self.tokens),
            embd: std::ptr::null_mut(),
            pos: null_if_empty(&self.pos),
            n_seq_id: if self.seqs.is_empty() { std::ptr::null_mut() } else { counts },
            seq_id: if self.seqs.is_empty() { std::ptr::null_mut() } else { lists },
            logits: if self.logits.is_empty() { std::ptr::null_mut() } else { self.logits.as_ptr().cast_mut() },
        }
    }
}

thread_local! { static KEPT: RefCell<(Vec<i32>, Vec<*mut i32>)> = const { RefCell::new((Vec::new(), Vec::new())) }; }

/// Counts and lists as C wants them, alive until this thread's next call.
fn keep(seqs: &[Vec<i32>]) -> (*mut i32, *mut *mut i32) {
    KEPT.with_borrow_mut(|k| {
        k.0 = seqs.iter().map(|s| s.len() as i32).collect();
        k.1 = seqs.iter().map(|s| s.as_ptr().cast_mut()).collect();
        (k.0.as_mut_ptr(), k.1.as_mut_ptr())
    })
}

// ---- what was said

thread_local! { static SAID: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) }; }

/// Lines that this thread logged since the last call. The sink is process-wide, the list is not.
pub fn said() -> Vec<(Level, String)> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_sink(Some(Arc::new(|level, line| {
            let _ = SAID.try_with(|s| s.borrow_mut().push((level, line.trim_end().to_owned())));
        })));
    });
    SAID.take()
}

/// Errors among them; a panic that was caught is a failure of the test.
pub fn errors(what: &str) -> Vec<String> {
    let said = said();
    let broken = said.iter().find(|(_, l)| l.contains("internal error") || l.contains("panicked"));
    assert!(broken.is_none(), "{what}: {broken:?}");
    said.into_iter().filter(|(level, _)| *level == Level::Error).map(|(_, l)| l).collect()
}

/// Exactly one error, which names the thing.
pub fn one_error(what: &str, names: &str) -> String {
    let e = errors(what);
    assert!(
        e.len() == 1 && e[0].len() > 10 && e[0].len() < 2000 && e[0].contains(names),
        "{what}: expected one error about {names:?}, got {e:?}"
    );
    e.into_iter().next().unwrap_or_default()
}
