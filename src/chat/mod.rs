//! From messages to a prompt: the built-in chat formats of `llama_chat_apply_template`. Knows no tokens, no model, no Jinja.
//!
//! A template text is only looked at for marks that give its family away ([`detect`]); the family's format is then ours ([`Format`]).
//! Everything is bytes: a role or a content need not be UTF-8, and nothing is checked, as in the original.
#![forbid(unsafe_code)]
mod detect;
mod format;
mod turns;
mod written;

pub use detect::{BUILTIN, detect};
pub use format::Format;
use platform::{Error, Result};

/// What one side said.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub role: &'a [u8],
    pub content: &'a [u8],
}

/// The prompt for `messages`. `template` is a built-in name or a Jinja text; `add_assistant` opens the answer where the format can.
pub fn apply(template: &[u8], messages: &[Message<'_>], add_assistant: bool) -> Result<Vec<u8>> {
    let format = detect(template).ok_or_else(|| Error::unsupported("chat template of no known family"))?;
    Ok(format.write(messages, add_assistant))
}

/// The names of the built-in formats, sorted by their bytes.
pub fn builtin_names() -> impl ExactSizeIterator<Item = &'static str> {
    BUILTIN.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests;
