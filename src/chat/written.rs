//! The formats in which a message depends on its neighbours: turns that span messages, system text merged into the user's.
use super::Message;
use super::format::Format::{self, Written};
use super::format::{Turns, raw, trim, trimmed};

pub static MISTRAL_V1: Format = Written(|m, _| mistral(m, " ", " ", false));
pub static MISTRAL_V3: Format = Written(|m, _| mistral(m, "", " ", true));
pub static MISTRAL_V3_TEKKEN: Format = Written(|m, _| mistral(m, "", "", false));
pub static LLAMA2: Format = Written(|m, _| llama2(m, ("", "\n"), "[INST] ", false));
pub static LLAMA2_SYS: Format = Written(|m, _| llama2(m, SYS, "[INST] ", false));
pub static LLAMA2_SYS_BOS: Format = Written(|m, _| llama2(m, SYS, "<s>[INST] ", false));
pub static LLAMA2_SYS_STRIP: Format = Written(|m, _| llama2(m, SYS, "[INST] ", true));
pub static MONARCH: Format = Written(monarch);
pub static GEMMA: Format = Written(gemma);
pub static ORION: Format = Written(orion);
pub static RWKV_WORLD: Format = Written(rwkv_world);
pub static BAILING2: Format = Written(bailing2);
pub static PANGU_EMBEDDED: Format = Written(pangu_embedded);

/// What Llama 2 puts around a system text.
const SYS: (&str, &str) = ("<<SYS>>\n", "\n<</SYS>>\n\n");

fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|p| out.extend_from_slice(p));
}

/// `[INST]` holds system and user messages; any other role ends the turn. `lead` and `pad` are the spaces before and after the mark.
fn mistral(messages: &[Message<'_>], lead: &str, pad: &str, trim_answers: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut inside = false;
    for m in messages {
        if !inside {
            put(&mut out, &[lead.as_bytes(), b"[INST]", pad.as_bytes()]);
        }
        inside = matches!(m.role, b"system" | b"user");
        match m.role {
            b"system" => put(&mut out, &[m.content, b"\n\n"]),
            b"user" => put(&mut out, &[m.content, lead.as_bytes(), b"[/INST]"]),
            _ => put(&mut out, &[pad.as_bytes(), if trim_answers { trim(m.content) } else { m.content }, b"</s>"]),
        }
    }
    out
}

/// As above; the first `[INST]` stands even when nothing is said, the later ones are `reopen`.
fn llama2(messages: &[Message<'_>], sys: (&str, &str), reopen: &str, strip: bool) -> Vec<u8> {
    let mut out = b"[INST] ".to_vec();
    let mut inside = true;
    for m in messages {
        let content = if strip { trim(m.content) } else { m.content };
        if !inside {
            put(&mut out, &[reopen.as_bytes()]);
        }
        inside = matches!(m.role, b"system" | b"user");
        match m.role {
            b"system" => put(&mut out, &[sys.0.as_bytes(), content, sys.1.as_bytes()]),
            b"user" => put(&mut out, &[content, b" [/INST]"]),
            _ => put(&mut out, &[content, b"</s>"]),
        }
    }
    out
}

/// The tokenizer writes the first `<s>`.
fn monarch(messages: &[Message<'_>], add_assistant: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for (i, m) in messages.iter().enumerate() {
        let bos: &[u8] = if i == 0 { b"" } else { b"<s>" };
        put(&mut out, &[bos, m.role, b"\n", m.content, b"</s>\n"]);
    }
    if add_assistant {
        put(&mut out, &[b"<s>assistant\n"]);
    }
    out
}

/// There is no system role: its text goes before the next message that is not the model's.
fn gemma(messages: &[Message<'_>], add_assistant: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut system = Vec::new();
    for m in messages {
        if m.role == b"system" {
            system.extend_from_slice(trim(m.content));
            continue;
        }
        let role: &[u8] = if m.role == b"assistant" { b"model" } else { m.role };
        put(&mut out, &[b"<start_of_turn>", role, b"\n"]);
        if !system.is_empty() && role != b"model" {
            put(&mut out, &[&system, b"\n\n"]);
            system.clear();
        }
        put(&mut out, &[trim(m.content), b"<end_of_turn>\n"]);
    }
    if add_assistant {
        put(&mut out, &[b"<start_of_turn>model\n"]);
    }
    out
}

/// As Gemma, and the answer is always opened by the user's message.
fn orion(messages: &[Message<'_>], _: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut system = Vec::new();
    for m in messages {
        match m.role {
            b"system" => system.extend_from_slice(m.content),
            b"user" => {
                put(&mut out, &[b"Human: "]);
                if !system.is_empty() {
                    put(&mut out, &[&system, b"\n\n"]);
                    system.clear();
                }
                put(&mut out, &[m.content, b"\n\nAssistant: </s>"]);
            }
            _ => put(&mut out, &[m.content, b"</s>"]),
        }
    }
    out
}

/// A user's message at the end opens the answer, asked or not.
fn rwkv_world(messages: &[Message<'_>], _: bool) -> Vec<u8> {
    const TURNS: Turns = Turns {
        roles: &[
            ("system", trimmed("System: ", "\n\n")),
            ("user", trimmed("User: ", "\n\n")),
            ("assistant", trimmed("Assistant: ", "\n\n")),
        ],
        open: "Assistant:",
        ..Turns::NONE
    };
    TURNS.write(messages, messages.last().is_some_and(|m| m.role == b"user"))
}

fn begins_with_system(messages: &[Message<'_>]) -> bool {
    messages.first().is_some_and(|m| m.role == b"system")
}

/// Without a system message there is one of the format's own.
fn bailing2(messages: &[Message<'_>], add_assistant: bool) -> Vec<u8> {
    const TURNS: Turns = Turns {
        roles: &[("user", raw("<role>HUMAN</role>", "<|role_end|>"))],
        other: Some(raw("<role>{ROLE}</role>", "<|role_end|>")),
        open: "<role>ASSISTANT</role>",
        ..Turns::NONE
    };
    let default: &[u8] = if begins_with_system(messages) { b"" } else { b"<role>SYSTEM</role>detailed thinking off<|role_end|>" };
    [default, &TURNS.write(messages, add_assistant)].concat()
}

/// A talk that begins without a system message begins with an empty one; no talk, none.
fn pangu_embedded(messages: &[Message<'_>], add_assistant: bool) -> Vec<u8> {
    const TURNS: Turns = Turns {
        roles: &[
            ("system", raw("[unused9]系统：", "[unused10]")),
            ("user", raw("[unused9]用户：", "[unused10]")),
            ("assistant", raw("[unused9]助手：", "[unused10]")),
            ("tool", raw("[unused9]工具：", "[unused10]")),
            ("function", raw("[unused9]方法：", "[unused10]")),
        ],
        open: "[unused9]助手：",
        ..Turns::NONE
    };
    let default = if messages.is_empty() || begins_with_system(messages) { "" } else { "[unused9]系统：[unused10]" };
    [default.as_bytes(), &TURNS.write(messages, add_assistant)].concat()
}
