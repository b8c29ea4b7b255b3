//! llama.h: LoRA adapters and control vectors.
//!
//! An adapter is known by an address that is never given out twice, and what stands there is never read: one that was freed, by itself or with its
//! model, is refused by name, as often as somebody asks. A context goes on with adapters that are set and freed until others are set.
use super::boundary::{attempt, guard, with};
use super::convert;
use super::handles::with_context;
use super::ptr;
use super::types::*;
use crate::gguf::{LoadMode, Source};
use crate::model::adapter::Lora;
use platform::{Error, Result, log};
use std::collections::BTreeMap;
use std::ffi::c_char;
use std::sync::{Arc, Mutex, MutexGuard};

/// One that was loaded, and the address of its model; `None` once it is freed.
type Known = BTreeMap<usize, Option<(Arc<Lora>, usize)>>;

static KNOWN: Mutex<Known> = Mutex::new(BTreeMap::new());

fn known() -> MutexGuard<'static, Known> {
    // Entries are whole at any time.
    KNOWN.lock().unwrap_or_else(|p| p.into_inner())
}

fn look_up(adapter: *const llama_adapter_lora) -> Result<Arc<Lora>> {
    if adapter.is_null() {
        return Err(Error::invalid("the adapter is NULL"));
    }
    match known().get(&adapter.addr()) {
        Some(Some((lora, _))) => Ok(lora.clone()),
        Some(None) => Err(Error::invalid("the adapter was freed, by itself or with its model")),
        None => Err(Error::invalid("that is no adapter of this library")),
    }
}

/// Runs `f` on an adapter.
fn with_adapter<R>(name: &str, adapter: *const llama_adapter_lora, failure: R, f: impl FnOnce(Arc<Lora>) -> R) -> R {
    let done = guard(None, || match look_up(adapter) {
        Ok(lora) => Some(f(lora)),
        Err(e) => {
            log::error(format_args!("{name}: {e}"));
            None
        }
    });
    done.unwrap_or(failure)
}

/// The model at this address is about to go.
pub(super) fn forget(model: *const llama_model) {
    known().values_mut().filter(|k| k.as_ref().is_some_and(|k| k.1 == model.addr())).for_each(|k| *k = None);
}

fn load(name: &str, model: ModelPtr<'_>, open: impl FnOnce() -> Result<Source>) -> *mut llama_adapter_lora {
    with(name, model, std::ptr::null_mut(), |m| {
        attempt(std::ptr::null_mut(), || {
            let lora = open().and_then(|s| Lora::load(&m.0.model, &s)).map_err(|e| e.within("failed to apply lora adapter"))?;
            let handle = Box::into_raw(Box::new(llama_adapter_lora::new(lora.number)));
            known().insert(handle.addr(), Some((Arc::new(lora), std::ptr::from_ref(m).addr())));
            Ok(handle)
        })
    })
}

/// Loads a LoRA adapter; it lives at most as long as the model. NULL on failure, with one log line that says why.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_adapter_lora_init(model: ModelPtr<'_>, path_lora: *const c_char) -> *mut llama_adapter_lora {
    // SAFETY: NULL or a terminated string.
    let path = || unsafe { convert::path(path_lora) };
    load("llama_adapter_lora_init", model, || Source::open(&path()?, LoadMode::None))
}

/// Loads a LoRA adapter that starts at the file's current position. NULL on failure, with one log line that says why.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_adapter_lora_init_from_file_ptr(model: ModelPtr<'_>, file: *mut libc::FILE) -> *mut llama_adapter_lora {
    load("llama_adapter_lora_init_from_file_ptr", model, || {
        // SAFETY: NULL or an open file.
        let (file, start) = unsafe { convert::open_file(file) }?;
        Source::from_file(file, start, LoadMode::None)
    })
}

/// Writes the value of a metadata key as text. The length of the whole text, or -1 and an empty buffer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_adapter_meta_val_str(
    adapter: *const llama_adapter_lora,
    key: *const c_char,
    buf: *mut c_char,
    buf_size: usize,
) -> i32 {
    // SAFETY: NULL or a terminated string.
    let key = unsafe { ptr::text(key) }.unwrap_or_default();
    let found = with_adapter("llama_adapter_meta_val_str", adapter, None, |a| a.text(key).map(<[u8]>::to_vec));
    // SAFETY: NULL or buf_size bytes.
    unsafe { ptr::put_found(buf, buf_size, found.as_deref()) }
}

/// How many metadata keys there are, arrays left out.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_adapter_meta_count(adapter: *const llama_adapter_lora) -> i32 {
    with_adapter("llama_adapter_meta_count", adapter, 0, |a| i32::try_from(a.texts.len()).unwrap_or(i32::MAX))
}

/// Writes the name of the i-th key. The length of the whole text, or -1 and an empty buffer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_adapter_meta_key_by_index(
    adapter: *const llama_adapter_lora,
    i: i32,
    buf: *mut c_char,
    buf_size: usize,
) -> i32 {
    let found = with_adapter("llama_adapter_meta_key_by_index", adapter, None, |a| a.at(i).map(|(key, _)| key.clone()));
    // SAFETY: NULL or buf_size bytes.
    unsafe { ptr::put_found(buf, buf_size, found.as_deref().map(str::as_bytes)) }
}

/// Writes the value of the i-th key as text. The length of the whole text, or -1 and an empty buffer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_adapter_meta_val_str_by_index(
    adapter: *const llama_adapter_lora,
    i: i32,
    buf: *mut c_char,
    buf_size: usize,
) -> i32 {
    let found = with_adapter("llama_adapter_meta_val_str_by_index", adapter, None, |a| a.at(i).map(|(_, value)| value.clone()));
    // SAFETY: NULL or buf_size bytes.
    unsafe { ptr::put_found(buf, buf_size, found.as_deref()) }
}

/// Frees an adapter before its model is freed. NULL is nothing; a second time is a log line.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_adapter_lora_free(adapter: *mut llama_adapter_lora) {
    if adapter.is_null() {
        return;
    }
    with_adapter("llama_adapter_lora_free", adapter, (), |_| drop(known().insert(adapter.addr(), None)));
}

/// How many tokens switch an activated LoRA on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_adapter_get_alora_n_invocation_tokens(adapter: *const llama_adapter_lora) -> u64 {
    with_adapter("llama_adapter_get_alora_n_invocation_tokens", adapter, 0, |a| a.invocation_tokens.len() as u64)
}

/// The tokens that switch an activated LoRA on, as long as it lives; NULL for other adapters.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_adapter_get_alora_invocation_tokens(adapter: *const llama_adapter_lora) -> *const llama_token {
    let tokens = |a: Arc<Lora>| (!a.invocation_tokens.is_empty()).then(|| a.invocation_tokens.as_ptr());
    with_adapter("llama_adapter_get_alora_invocation_tokens", adapter, None, tokens).unwrap_or(std::ptr::null())
}

/// Uses these adapters from now on, each with its scale, and no others; scale 0 leaves one out. 0 on success; -1 changes nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_set_adapters_lora(
    ctx: ContextPtr<'_>,
    adapters: *mut *mut llama_adapter_lora,
    n_adapters: usize,
    scales: *mut f32,
) -> i32 {
    const NAME: &str = "llama_set_adapters_lora";
    // SAFETY: NULL or n_adapters of each.
    let lists = unsafe { ptr::slice(adapters, n_adapters).zip(ptr::slice(scales, n_adapters)) };
    with_context(NAME, ctx.map(|c| &c.0.ctx), -1, |c| {
        attempt(-1, || {
            if lists.is_none() && n_adapters > 0 {
                return Err(Error::invalid(format!("{NAME}: {n_adapters} adapters, but a list is NULL")));
            }
            let all = lists.into_iter().flat_map(|(adapters, scales)| adapters.iter().zip(scales));
            let list = all.map(|(a, scale)| Ok((look_up(*a)?, *scale))).collect::<Result<Vec<_>>>();
            list.and_then(|list| c.set_loras(list)).map(|()| 0).map_err(|e| e.within(NAME))
        })
    })
}

/// Adds a control vector to the layers `il_start..=il_end`: rows of n_embd floats from layer 1 on; NULL removes it. 0 on success.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_set_adapter_cvec(
    ctx: ContextPtr<'_>,
    data: *const f32,
    len: usize,
    n_embd: i32,
    il_start: i32,
    il_end: i32,
) -> i32 {
    const NAME: &str = "llama_set_adapter_cvec";
    // SAFETY: NULL or len floats.
    let data = unsafe { ptr::slice(data, len) };
    with_context(NAME, ctx.map(|c| &c.0.ctx), -1, |c| {
        attempt(-1, || c.set_control(data, n_embd, [il_start, il_end]).map(|()| 0).map_err(|e| e.within(NAME)))
    })
}
