//! llama.h: Chat templates.
#![allow(unused_variables, reason = "stubs keep the names of llama.h")]
use super::stubs::stub;
use super::types::*;
use std::ffi::c_char;

/// Writes a chat as one prompt, without NUL. tmpl is a template of the built-in kinds (recognised by its text) or the name of one; NULL: ChatML.
/// The length of the whole prompt, which may be more than `length`; negative where the template is not known.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_chat_apply_template(
    tmpl: *const c_char,
    chat: *const llama_chat_message,
    n_msg: usize,
    add_ass: bool,
    buf: *mut c_char,
    length: i32,
) -> i32 {
    stub("llama_chat_apply_template", -1)
}

/// Names of the built-in templates, up to len of them. How many there are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_chat_builtin_templates(output: *mut *const c_char, len: usize) -> i32 {
    stub("llama_chat_builtin_templates", -1)
}
