//! Devices and types of buffers, which are things of the program's libggml, told by their names: from its handles to our devices, and back.
use super::convert;
use super::host;
use super::ptr;
use super::types::*;
use crate::grammar::Pattern;
use crate::model::Offload;
use crate::model::place::{Device, Override, Split, gpus};
use platform::{Error, Result, log};
use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::NonNull;
use std::sync::Arc;

/// A function of the program's libggml that takes one pointer and gives one; NULL where there is none, or no libggml.
fn ask(function: &CStr, of: *const c_void) -> Option<NonNull<c_void>> {
    let f = host::symbol(function)?;
    // SAFETY: all functions asked for here take a pointer and give one, and change nothing.
    let f: unsafe extern "C" fn(*const c_void) -> *mut c_void = unsafe { std::mem::transmute(f.as_ptr()) };
    // SAFETY: a handle of that library, or a terminated string, as the callers below have them.
    NonNull::new(unsafe { f(of) })
}

/// What the program's libggml calls one of its things.
fn name_of(function: &CStr, thing: *const c_void) -> Result<String> {
    let name = ask(function, thing);
    // SAFETY: NULL or a terminated string.
    let text = unsafe { ptr::text(name.map_or(std::ptr::null(), |n| n.as_ptr().cast::<c_char>())) };
    let text = text.map(|t| String::from_utf8_lossy(t).into_owned());
    text.ok_or_else(|| Error::invalid(format!("{}: the program's libggml does not say", function.to_string_lossy())))
}

/// A device of ours as the program's libggml has it.
pub fn handle(d: &dyn Device) -> Option<NonNull<c_void>> {
    let name = CString::new(d.name()).ok()?;
    ask(c"ggml_backend_dev_by_name", name.as_ptr().cast())
}

/// The type of buffers in its memory.
#[allow(dead_code, reason = "memory reports by device come next")]
pub fn buffer_type(d: &dyn Device) -> Option<NonNull<c_void>> {
    ask(c"ggml_backend_dev_buffer_type", handle(d)?.as_ptr())
}

/// What `p` says of devices.
///
/// # Safety
/// Lists are NULL or have their ends, handles are of the program's libggml.
pub unsafe fn offload(p: &llama_model_params) -> Result<Offload> {
    let split = match convert::in_range("split_mode", p.split_mode, 0..=3)? {
        0 => Split::None,
        1 => Split::Layer,
        2 => {
            if !gpus().is_empty() {
                log::warn("split_mode row: rows of a matrix are not divided over devices, whole layers are (split_mode layer)");
            }
            Split::Layer
        }
        _ => return Err(Error::unsupported("split_mode tensor: tensors are not divided over devices")),
    };
    if p.no_alloc {
        // Sizes alone are wanted, and mapped files have them: nothing is taken of any device.
        return Ok(Offload::none());
    }
    let shares = if gpus().is_empty() { 0 } else { usize::from(crate::model::place::MAX_DEVICES) };
    Ok(Offload {
        // SAFETY: the caller's promise; likewise below.
        devices: unsafe { devices(p.devices) }?,
        n_gpu_layers: p.n_gpu_layers,
        split,
        main_gpu: p.main_gpu,
        // SAFETY: as above: as long as llama_max_devices says.
        tensor_split: unsafe { ptr::slice(p.tensor_split, shares) }.unwrap_or_default().to_vec(),
        // SAFETY: as above.
        overrides: unsafe { overrides(p.tensor_buft_overrides) }?,
    })
}

/// `None` for NULL.
///
/// # Safety
/// NULL or a list that ends with NULL.
unsafe fn devices(p: *mut ggml_backend_dev_t) -> Result<Option<Vec<Arc<dyn Device>>>> {
    if p.is_null() {
        return Ok(None);
    }
    let mut list = Vec::new();
    // SAFETY: the caller's promise.
    for dev in unsafe { convert::until(p, |d| d.is_null()) } {
        let name = name_of(c"ggml_backend_dev_name", *dev)?;
        match gpus().iter().find(|d| d.name() == name) {
            Some(d) => list.push(d.clone()),
            // Where everything is that is nowhere else.
            None if name == "CPU" => {}
            None => {
                let all: Vec<&str> = gpus().iter().map(|d| d.name()).collect();
                return Err(Error::invalid(format!("devices: {name} is none of those that are computed on here: {all:?}")));
            }
        }
    }
    Ok(Some(list))
}

/// # Safety
/// NULL or a list that ends with a NULL pattern.
unsafe fn overrides(p: *const llama_model_tensor_buft_override) -> Result<Vec<Override>> {
    // SAFETY: the caller's promise.
    let list = unsafe { convert::until(p, |e| e.pattern.is_null()) }.into_iter();
    let one = |e: &llama_model_tensor_buft_override| -> Result<Override> {
        // SAFETY: a terminated string.
        let pattern = unsafe { ptr::text(e.pattern) }.unwrap_or_default();
        Ok(Override { pattern: Pattern::new(pattern)?, to: name_of(c"ggml_backend_buft_name", e.buft)? })
    };
    list.map(|e| one(e).map_err(|e| e.within("tensor_buft_overrides"))).collect()
}
