//! llama.h: Chat templates.
use super::boundary::{attempt, guard};
use super::ptr;
use super::types::*;
use crate::chat::{self, Message};
use platform::Error;
use std::ffi::{CString, c_char};
use std::sync::OnceLock;

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
    // SAFETY: NULL, terminated strings, n_msg messages of them, room for length bytes.
    let (tmpl, chat, out) = unsafe { (ptr::text(tmpl), ptr::slice(chat, n_msg), ptr::slice_mut(buf.cast::<u8>(), length)) };
    attempt(-1, || {
        let messages: Vec<Message<'_>> = chat.unwrap_or_default().iter().map(message).collect();
        let prompt = chat::apply(tmpl.unwrap_or(b"chatml"), &messages, add_ass)?;
        if let Some(out) = out {
            let n = prompt.len().min(out.len());
            out[..n].copy_from_slice(&prompt[..n]);
            // Terminated where there is room, as the original is.
            out[n..].iter_mut().take(1).for_each(|b| *b = 0);
        }
        i32::try_from(prompt.len()).map_err(|_| Error::invalid(format!("a prompt of {} bytes is too long", prompt.len())))
    })
}

/// Names of the built-in templates, up to len of them. How many there are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_chat_builtin_templates(output: *mut *const c_char, len: usize) -> i32 {
    // SAFETY: NULL or room for len pointers.
    let out = unsafe { ptr::slice_mut(output, len) };
    guard(0, || {
        let names = NAMES.get_or_init(|| chat::builtin_names().filter_map(|n| CString::new(n).ok()).collect());
        out.unwrap_or_default().iter_mut().zip(names).for_each(|(to, name)| *to = name.as_ptr());
        i32::try_from(names.len()).unwrap_or(i32::MAX)
    })
}

/// The names of the built-in templates as C has them.
static NAMES: OnceLock<Vec<CString>> = OnceLock::new();

fn message(m: &llama_chat_message) -> Message<'_> {
    // SAFETY: NULL or terminated strings, as for the array itself.
    unsafe { Message { role: ptr::text(m.role).unwrap_or_default(), content: ptr::text(m.content).unwrap_or_default() } }
}
