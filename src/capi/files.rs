//! llama.h: Model files as files: the names of a split file's parts, quantising one.
use super::boundary::{attempt, guard};
use super::types::*;
use super::{convert, ptr};
use crate::{gguf, quantize};
use platform::Error;
use std::ffi::{c_char, c_int};
use std::path::PathBuf;

/// The parameters to start from.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_quantize_default_params() -> llama_model_quantize_params {
    const AS_FTYPE_SAYS: ggml_type_int = 43; // GGML_TYPE_COUNT
    llama_model_quantize_params {
        nthread: 0,
        ftype: llama_ftype::LLAMA_FTYPE_MOSTLY_Q8_0 as c_int,
        output_tensor_type: AS_FTYPE_SAYS,
        token_embedding_type: AS_FTYPE_SAYS,
        allow_requantize: false,
        quantize_output_tensor: true,
        only_copy: false,
        pure: false,
        keep_split: false,
        dry_run: false,
        imatrix: std::ptr::null(),
        kv_overrides: std::ptr::null(),
        tt_overrides: std::ptr::null(),
        prune_layers: std::ptr::null(),
        max_buf_size: 8 << 30,
    }
}

/// Writes a model file with other tensor types. 0 on success.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_model_quantize(
    fname_inp: *const c_char,
    fname_out: *const c_char,
    params: *const llama_model_quantize_params,
) -> u32 {
    attempt(1, || {
        // SAFETY: NULL or a struct whose lists have their ends.
        let Some(params) = (unsafe { params.as_ref() }) else { return Err(Error::invalid("llama_model_quantize: params is NULL")) };
        // SAFETY: NULL or a terminated string.
        let input = unsafe { convert::path(fname_inp) }?;
        // A dry run writes nothing.
        let output = if params.dry_run && fname_out.is_null() {
            PathBuf::new()
        } else {
            // SAFETY: as above.
            unsafe { convert::path(fname_out) }?
        };
        // SAFETY: as above.
        let params = unsafe { convert::quantize_params(params) }?;
        quantize::quantize(&input, &output, &params).map(|()| 0).map_err(|e| e.within("failed to quantize"))
    })
}

/// Writes the name of part `split_no` (from 0): PREFIX-00001-of-00004.gguf. Its length, or 0 where it does not fit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_split_path(
    split_path: *mut c_char,
    maxlen: usize,
    path_prefix: *const c_char,
    split_no: i32,
    split_count: i32,
) -> i32 {
    // SAFETY: NULL or a terminated string.
    let Some(prefix) = (unsafe { ptr::text(path_prefix) }) else { return 0 };
    guard(0, || {
        let whole = gguf::split_path(prefix, split_no, split_count);
        // SAFETY: NULL or maxlen bytes.
        let n = unsafe { ptr::put_text(split_path, maxlen, &whole) };
        if whole.len() < maxlen { n } else { 0 }
    })
}

/// Writes what comes before the part number. Its length, or 0 where the path is not that part of that many.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_split_prefix(
    split_prefix: *mut c_char,
    maxlen: usize,
    split_path: *const c_char,
    split_no: i32,
    split_count: i32,
) -> i32 {
    // SAFETY: NULL or a terminated string.
    let Some(path) = (unsafe { ptr::text(split_path) }) else { return 0 };
    guard(0, || match gguf::split_prefix(path, split_no, split_count) {
        None => 0,
        // SAFETY: NULL or maxlen bytes.
        Some(prefix) => unsafe { ptr::put_text(split_prefix, maxlen, prefix) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts_come_and_go() {
        let mut b = [1 as c_char; 64];
        // SAFETY: the arrays' own lengths.
        unsafe {
            assert_eq!(llama_split_path(b.as_mut_ptr(), 64, c"m/x".as_ptr(), 1, 4), 23);
            assert_eq!(ptr::text(b.as_ptr()), Some(&b"m/x-00002-of-00004.gguf"[..]));
            let mut p = [1 as c_char; 8];
            assert_eq!(llama_split_prefix(p.as_mut_ptr(), 8, b.as_ptr(), 1, 4), 3);
            assert_eq!(ptr::text(p.as_ptr()), Some(&b"m/x"[..]));
            assert_eq!(llama_split_prefix(p.as_mut_ptr(), 8, b.as_ptr(), 2, 4), 0);
            assert_eq!(llama_split_path(b.as_mut_ptr(), 23, c"m/x".as_ptr(), 1, 4), 0, "no room for the NUL");
        }
    }
}
