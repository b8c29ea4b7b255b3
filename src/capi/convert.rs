//! Parameter structs and batches from C, checked, in the words of the rooms below. Knows no rule of what they do.
use super::ptr;
use super::types::*;
use crate::gguf::{DType, LoadMode, Override, OverrideValue};
use crate::grammar::Pattern;
use crate::model::hparams::RopeScaling;
use crate::quantize;
use crate::session::ContextParams;
use crate::session::batch::BatchView;
use crate::session::context::AbortCallback;
use platform::{Error, Result};
use std::ffi::{c_char, c_int, c_void};
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// A user data pointer that travels with its callback to the thread that calls it.
#[derive(Clone, Copy)]
pub struct UserData(pub *mut c_void);
// SAFETY: never followed here; the callback's owner knows from which threads it is called.
unsafe impl Send for UserData {}
// SAFETY: as above.
unsafe impl Sync for UserData {}

impl UserData {
    pub fn get(self) -> *mut c_void {
        self.0
    }
}

/// An int that must be one of an enum's values, which are without gaps.
pub fn in_range(what: &str, v: c_int, values: RangeInclusive<c_int>) -> Result<c_int> {
    if values.contains(&v) {
        Ok(v)
    } else {
        Err(Error::invalid(format!("{what} is {v}, allowed are {} to {}", values.start(), values.end())))
    }
}

/// # Safety
/// NULL or a terminated string.
pub unsafe fn path(p: *const c_char) -> Result<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    // SAFETY: the caller's promise.
    let bytes = unsafe { ptr::text(p) }.ok_or_else(|| Error::invalid("the path is NULL"))?;
    Ok(std::ffi::OsStr::from_bytes(bytes).into())
}

/// The file behind a C stream, and where the stream stands in it.
///
/// # Safety
/// NULL or an open stream.
pub unsafe fn open_file(file: *mut libc::FILE) -> Result<(std::fs::File, u64)> {
    use std::os::fd::BorrowedFd;
    if file.is_null() {
        return Err(Error::invalid("the file is NULL"));
    }
    // SAFETY: an open stream; its descriptor is borrowed for the copy only.
    let (at, copy) = unsafe { (libc::ftello(file), BorrowedFd::borrow_raw(libc::fileno(file)).try_clone_to_owned()) };
    let start = u64::try_from(at).map_err(|_| Error::io("the file's position", std::io::Error::last_os_error()))?;
    Ok((copy.map_err(|e| Error::io("the file", e))?.into(), start))
}

pub fn load_mode(p: &llama_model_params) -> Result<LoadMode> {
    in_range("lazy_mode", p.lazy_mode, 0..=2)?;
    if p.no_alloc {
        // A mapped file takes no memory before it is read, and nothing reads it.
        return Ok(LoadMode::Mmap);
    }
    LoadMode::from_number(p.load_mode).ok_or_else(|| Error::invalid(format!("load_mode is {}, allowed are -1 to 4", p.load_mode)))
}

/// The list up to its empty key.
///
/// # Safety
/// NULL or a list that ends so.
pub unsafe fn overrides(mut p: *const llama_model_kv_override) -> Result<Vec<Override>> {
    let mut list = Vec::new();
    // SAFETY: NULL, or an element before the end of the list.
    while let Some(o) = unsafe { p.as_ref() }.filter(|o| o.key[0] != 0) {
        list.push(one_override(o)?);
        // SAFETY: this element was not the last.
        p = unsafe { p.add(1) };
    }
    Ok(list)
}

fn one_override(o: &llama_model_kv_override) -> Result<Override> {
    let key = bounded(&o.key)?;
    // SAFETY: every member of the union is plain data that the caller has set as `tag` says; a bool is read as a byte.
    let value = unsafe {
        match o.tag {
            0 => OverrideValue::Int(o.u.val_i64),
            1 => OverrideValue::Float(o.u.val_f64),
            2 => OverrideValue::Bool(o.u.val_i64.to_ne_bytes()[0] != 0),
            3 => OverrideValue::Str(bounded(&o.u.val_str)?),
            other => return Err(Error::invalid(format!("the override of {key} has type {other}, allowed are 0 to 3"))),
        }
    };
    Ok(Override { key, value })
}

/// Text in a fixed array, up to its NUL if it has one.
fn bounded(text: &[c_char]) -> Result<String> {
    let bytes: Vec<u8> = text.iter().map(|c| *c as u8).take_while(|b| *b != 0).collect();
    String::from_utf8(bytes).map_err(|e| Error::invalid(format!("an override is not UTF-8: {}", String::from_utf8_lossy(e.as_bytes()))))
}

/// # Safety
/// Strings and lists are NULL or have their ends, and the sizes they state.
pub unsafe fn quantize_params(p: &llama_model_quantize_params) -> Result<quantize::Params> {
    Ok(quantize::Params {
        n_threads: usize::try_from(p.nthread).unwrap_or(0),
        ftype: u32::try_from(p.ftype).map_err(|_| Error::invalid(format!("invalid output file type {}", p.ftype)))?,
        output: wanted_type("output_tensor_type", p.output_tensor_type)?,
        embedding: wanted_type("token_embedding_type", p.token_embedding_type)?,
        allow_requantize: p.allow_requantize,
        keep_output: !p.quantize_output_tensor,
        only_copy: p.only_copy,
        pure: p.pure,
        keep_split: p.keep_split,
        dry_run: p.dry_run,
        // SAFETY: the caller's promise; likewise below.
        importance: unsafe { importance(p.imatrix) }?,
        // SAFETY: as above.
        overrides: unsafe { overrides(p.kv_overrides) }?,
        // SAFETY: as above.
        types: unsafe { named_types(p.tt_overrides) }?,
        // SAFETY: as above.
        prune: unsafe { until(p.prune_layers, |n| *n == -1) }.into_iter().copied().collect(),
        max_bytes: p.max_buf_size,
    })
}

/// GGML_TYPE_COUNT and what is beyond it: as the file type says.
fn wanted_type(what: &str, n: ggml_type_int) -> Result<Option<DType>> {
    const COUNT: ggml_type_int = 43;
    match n {
        COUNT.. => Ok(None),
        _ => tensor_type(what, n).map(Some),
    }
}

/// The elements of a list before the one that ends it.
///
/// # Safety
/// NULL or a list that ends so.
pub unsafe fn until<'a, T>(mut p: *const T, is_end: impl Fn(&T) -> bool) -> Vec<&'a T> {
    let mut list = Vec::new();
    // SAFETY: NULL, or an element before the end of the list.
    while let Some(e) = unsafe { p.as_ref() }.filter(|e| !is_end(e)) {
        list.push(e);
        // SAFETY: this element was not the last.
        p = unsafe { p.add(1) };
    }
    list
}

/// `None` for NULL; a list without entries is an importance too.
///
/// # Safety
/// NULL or a list that ends with a NULL name, of arrays of their sizes.
unsafe fn importance(p: *const llama_model_imatrix_data) -> Result<Option<quantize::Importance>> {
    if p.is_null() {
        return Ok(None);
    }
    let mut all = quantize::Importance::default();
    // SAFETY: the caller's promise.
    for entry in unsafe { until(p, |e| e.name.is_null()) } {
        // SAFETY: the caller's promise.
        let (name, data) = unsafe { (ptr::text(entry.name), ptr::slice(entry.data, entry.size)) };
        let name = String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
        let data = data.ok_or_else(|| Error::invalid(format!("imatrix entry {name} has no data")))?;
        all.add(name, data.to_vec())?;
    }
    Ok(Some(all))
}

/// # Safety
/// NULL or a list that ends with a NULL pattern.
unsafe fn named_types(p: *const llama_model_tensor_override) -> Result<Vec<(Pattern, DType)>> {
    // SAFETY: the caller's promise.
    let list = unsafe { until(p, |e| e.pattern.is_null()) }.into_iter();
    let one = |e: &llama_model_tensor_override| {
        // SAFETY: as above.
        let pattern = unsafe { ptr::text(e.pattern) }.unwrap_or_default();
        Ok((Pattern::new(pattern)?, tensor_type("the type of a pattern", e.r#type)?))
    };
    list.map(one).collect()
}

pub fn context_params(p: &llama_context_params) -> Result<ContextParams> {
    let flash_attn = in_range("flash_attn_type", p.flash_attn_type, -1..=1)?;
    refuse_what_is_missing(p)?;
    let attention = in_range("attention_type", p.attention_type, -1..=1)?;
    Ok(ContextParams {
        n_ctx: p.n_ctx,
        n_batch: p.n_batch,
        n_ubatch: p.n_ubatch,
        n_seq_max: p.n_seq_max,
        n_outputs_max: p.n_outputs_max,
        n_outputs_max_per_seq: p.n_outputs_max_per_seq,
        n_threads: p.n_threads,
        n_threads_batch: p.n_threads_batch,
        rope_scaling: rope_scaling(p.rope_scaling_type)?,
        pooling_type: in_range("pooling_type", p.pooling_type, -1..=4)?,
        causal: (attention >= 0).then_some(attention == 0),
        rope_freq_base: p.rope_freq_base,
        rope_freq_scale: p.rope_freq_scale,
        yarn_ext_factor: p.yarn_ext_factor,
        yarn_attn_factor: p.yarn_attn_factor,
        yarn_beta_fast: p.yarn_beta_fast,
        yarn_beta_slow: p.yarn_beta_slow,
        yarn_orig_ctx: p.yarn_orig_ctx,
        type_k: tensor_type("type_k", p.type_k)?,
        type_v: tensor_type("type_v", p.type_v)?,
        embeddings: p.embeddings,
        flash_attn: flash_attn != 0,
        swa_full: p.swa_full,
        kv_unified: p.kv_unified,
        no_perf: p.no_perf,
        swa_snapshots: None,
        swa_snapshot_bytes: None,
        kv: None,
    })
}

fn refuse_what_is_missing(p: &llama_context_params) -> Result<()> {
    if in_range("ctx_type", p.ctx_type, 0..=1)? != 0 {
        return Err(Error::unsupported("ctx_type MTP: the heads for further tokens of a model are not loaded"));
    }
    Ok(())
}

fn rope_scaling(v: c_int) -> Result<Option<RopeScaling>> {
    Ok(match in_range("rope_scaling_type", v, -1..=3)? {
        0 => Some(RopeScaling::None),
        1 => Some(RopeScaling::Linear),
        2 => Some(RopeScaling::Yarn),
        3 => Some(RopeScaling::LongRope),
        _ => None,
    })
}

fn tensor_type(what: &str, v: c_int) -> Result<DType> {
    let ty = u32::try_from(v).ok().and_then(DType::from_ggml);
    ty.ok_or_else(|| Error::invalid(format!("{what} is {v}, which is no tensor type")))
}

pub fn abort_callback(callback: ggml_abort_callback, data: *mut c_void) -> Option<AbortCallback> {
    let data = UserData(data);
    // SAFETY: the caller promises a function of this type that may be called until it is replaced.
    callback.map(|f| -> AbortCallback { Box::new(move || unsafe { f(data.get()) }) })
}

/// C's batch; the error is what makes it return -1.
///
/// # Safety
/// Every pointer is NULL or to `n_tokens` elements (positions of embeddings: `n_pos` times as many), the lists of `seq_id` as long as `n_seq_id` says.
pub unsafe fn batch<'a>(b: &llama_batch, n_embd: usize, n_pos: usize, n_batch: u32) -> Result<BatchView<'a>> {
    let n = usize::try_from(b.n_tokens).unwrap_or(0);
    if n == 0 {
        return Err(Error::invalid(format!("the batch has {} tokens", b.n_tokens)));
    }
    if n > n_batch as usize {
        return Err(Error::invalid(format!("the batch has {n} tokens, n_batch is {n_batch}")));
    }
    let n_pos = if b.token.is_null() { n_pos } else { 1 };
    // SAFETY: the caller's promise.
    unsafe {
        Ok(BatchView {
            n_tokens: n,
            tokens: ptr::slice(b.token, n),
            embd: ptr::slice(b.embd, n.saturating_mul(n_embd)),
            pos: ptr::slice(b.pos, n * n_pos),
            seqs: sequences(b, n)?,
            logits: ptr::slice(b.logits, n),
        })
    }
}

/// More sequences than any context holds: a count above is garbage, and must not be followed.
const MAX_SEQ: i32 = 256;

/// # Safety
/// As for `batch`.
unsafe fn sequences(b: &llama_batch, n: usize) -> Result<Option<Vec<Vec<i32>>>> {
    // SAFETY: the caller's promise.
    let (counts, lists) = unsafe { (ptr::slice(b.n_seq_id, n), ptr::slice(b.seq_id, n)) };
    let Some(lists) = lists else { return Ok(None) };
    let one = |i: usize| {
        let count = counts.map_or(1, |c| c[i]);
        if !(0..=MAX_SEQ).contains(&count) {
            return Err(Error::invalid(format!("token {i} has n_seq_id {count}")));
        }
        // SAFETY: the caller's promise.
        let list = unsafe { ptr::slice(lists[i].cast_const(), count) };
        list.map(<[i32]>::to_vec).ok_or_else(|| Error::invalid(format!("token {i} has no seq_id")))
    };
    (0..n).map(one).collect::<Result<Vec<_>>>().map(Some)
}
