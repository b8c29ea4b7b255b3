//! The formats in which every message stands for itself, one value each.
use super::format::Format::Turns as Of;
use super::format::{Format, Turns, raw, trimmed};

const NONE: Turns = Turns::NONE;

pub static CHATML: Format = Of(Turns { other: Some(raw("<|im_start|>{role}\n", "<|im_end|>\n")), open: "<|im_start|>assistant\n", ..NONE });
pub static MISTRAL_V7: Format = Of(Turns {
    roles: &[("system", raw("[SYSTEM_PROMPT] ", "[/SYSTEM_PROMPT]")), ("user", raw("[INST] ", "[/INST]"))],
    other: Some(raw(" ", "</s>")),
    ..NONE
});
pub static MISTRAL_V7_TEKKEN: Format = Of(Turns {
    roles: &[("system", raw("[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]")), ("user", raw("[INST]", "[/INST]"))],
    other: Some(raw("", "</s>")),
    ..NONE
});
pub static PHI3: Format = Of(Turns { other: Some(raw("<|{role}|>\n", "<|end|>\n")), open: "<|assistant|>\n", ..NONE });
pub static PHI4: Format =
    Of(Turns { other: Some(raw("<|im_start|>{role}<|im_sep|>", "<|im_end|>")), open: "<|im_start|>assistant<|im_sep|>", ..NONE });
pub static FALCON3: Format = Of(Turns { other: Some(raw("<|{role}|>\n", "\n")), open: "<|assistant|>\n", ..NONE });
pub static ZEPHYR: Format = Of(Turns { other: Some(raw("<|{role}|>\n", "<|endoftext|>\n")), open: "<|assistant|>\n", ..NONE });
pub static OPENCHAT: Format = Of(Turns {
    roles: &[("system", raw("", "<|end_of_turn|>"))],
    other: Some(raw("GPT4 Correct {Role}: ", "<|end_of_turn|>")),
    open: "GPT4 Correct Assistant:",
    ..NONE
});
pub static VICUNA: Format = Of(Turns {
    roles: &[("system", raw("", "\n\n")), ("user", raw("USER: ", "\n")), ("assistant", raw("ASSISTANT: ", "</s>\n"))],
    open: "ASSISTANT:",
    ..NONE
});
pub static VICUNA_ORCA: Format = Of(Turns {
    roles: &[("system", raw("SYSTEM: ", "\n")), ("user", raw("USER: ", "\n")), ("assistant", raw("ASSISTANT: ", "</s>\n"))],
    open: "ASSISTANT:",
    ..NONE
});
pub static DEEPSEEK: Format = Of(Turns {
    roles: &[("system", raw("", "")), ("user", raw("### Instruction:\n", "\n")), ("assistant", raw("### Response:\n", "\n<|EOT|>\n"))],
    open: "### Response:\n",
    ..NONE
});
pub static DEEPSEEK2: Format = Of(Turns {
    roles: &[("system", raw("", "\n\n")), ("user", raw("User: ", "\n\n")), ("assistant", raw("Assistant: ", "<｜end▁of▁sentence｜>"))],
    open: "Assistant:",
    ..NONE
});
pub static DEEPSEEK3: Format = Of(Turns {
    roles: &[("system", raw("", "\n\n")), ("user", raw("<｜User｜>", "")), ("assistant", raw("<｜Assistant｜>", "<｜end▁of▁sentence｜>"))],
    open: "<｜Assistant｜>",
    ..NONE
});
pub static DEEPSEEK_OCR: Format = Of(Turns { other: Some(raw("", "")), ..NONE });
pub static COMMAND_R: Format = Of(Turns {
    roles: &[
        ("system", trimmed("<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>", "<|END_OF_TURN_TOKEN|>")),
        ("user", trimmed("<|START_OF_TURN_TOKEN|><|USER_TOKEN|>", "<|END_OF_TURN_TOKEN|>")),
        ("assistant", trimmed("<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>", "<|END_OF_TURN_TOKEN|>")),
    ],
    open: "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
    ..NONE
});
pub static LLAMA3: Format = Of(Turns {
    other: Some(trimmed("<|start_header_id|>{role}<|end_header_id|>\n\n", "<|eot_id|>")),
    open: "<|start_header_id|>assistant<|end_header_id|>\n\n",
    ..NONE
});
pub static LLAMA4: Format = Of(Turns {
    other: Some(trimmed("<|header_start|>{role}<|header_end|>\n\n", "<|eot|>")),
    open: "<|header_start|>assistant<|header_end|>\n\n",
    ..NONE
});
pub static CHATGLM3: Format = Of(Turns { start: "[gMASK]sop", other: Some(raw("<|{role}|>\n ", "")), open: "<|assistant|>", ..NONE });
pub static CHATGLM4: Format = Of(Turns { start: "[gMASK]<sop>", other: Some(raw("<|{role}|>\n", "")), open: "<|assistant|>\n", ..NONE });
pub static GLMEDGE: Format = Of(Turns { other: Some(raw("<|{role}|>\n", "")), open: "<|assistant|>", ..NONE });
pub static MINICPM: Format = Of(Turns { roles: &[("user", trimmed("<用户>", "<AI>"))], other: Some(trimmed("", "")), ..NONE });
pub static EXAONE3: Format = Of(Turns {
    roles: &[
        ("system", trimmed("[|system|]", "[|endofturn|]\n")),
        ("user", trimmed("[|user|]", "\n")),
        ("assistant", trimmed("[|assistant|]", "[|endofturn|]\n")),
    ],
    open: "[|assistant|]",
    ..NONE
});
pub static EXAONE4: Format = Of(Turns {
    roles: &[
        ("system", trimmed("[|system|]", "[|endofturn|]\n")),
        ("user", trimmed("[|user|]", "\n")),
        ("assistant", trimmed("[|assistant|]", "[|endofturn|]\n")),
        ("tool", trimmed("[|tool|]", "[|endofturn|]\n")),
    ],
    open: "[|assistant|]",
    ..NONE
});
pub static EXAONE_MOE: Format = Of(Turns {
    roles: &[
        ("system", trimmed("<|system|>\n", "<|endofturn|>\n")),
        ("user", trimmed("<|user|>\n", "<|endofturn|>\n")),
        ("assistant", trimmed("<|assistant|>\n", "<|endofturn|>\n")),
        ("tool", trimmed("<|tool|>\n", "<|endofturn|>\n")),
    ],
    open: "<|assistant|>\n",
    ..NONE
});
pub static GRANITE3: Format = Of(Turns {
    roles: &[("assistant_tool_call", raw("<|start_of_role|>{role}<|end_of_role|><|tool_call|>", "<|end_of_text|>\n"))],
    other: Some(raw("<|start_of_role|>{role}<|end_of_role|>", "<|end_of_text|>\n")),
    open: "<|start_of_role|>assistant<|end_of_role|>",
    ..NONE
});
/// 4.0 and 4.1: what tells their templates apart does not show in the built-in format.
pub static GRANITE4: Format = Of(Turns {
    roles: &[("assistant_tool_call", raw("<|start_of_role|>assistant<|end_of_role|><|tool_call|>", "<|end_of_text|>\n"))],
    other: Some(raw("<|start_of_role|>{role}<|end_of_role|>", "<|end_of_text|>\n")),
    open: "<|start_of_role|>assistant<|end_of_role|>",
    ..NONE
});
pub static GIGACHAT: Format = Of(Turns {
    start: "<s>",
    first_system: Some(raw("", "<|message_sep|>")),
    roles: &[
        ("user", raw("user<|role_sep|>", "<|message_sep|>available functions<|role_sep|>[]<|message_sep|>")),
        ("assistant", raw("assistant<|role_sep|>", "<|message_sep|>")),
    ],
    open: "assistant<|role_sep|>",
    ..NONE
});
pub static MEGREZ: Format =
    Of(Turns { other: Some(raw("<|role_start|>{role}<|role_end|>", "<|turn_end|>")), open: "<|role_start|>assistant<|role_end|>", ..NONE });
pub static YANDEX: Format = Of(Turns {
    roles: &[("user", raw(" Пользователь: ", "\n\n")), ("assistant", raw(" Ассистент: ", "\n\n"))],
    open: " Ассистент:[SEP]",
    ..NONE
});
pub static BAILING: Format = Of(Turns {
    roles: &[("user", raw("<role>HUMAN</role>", ""))],
    other: Some(raw("<role>{ROLE}</role>", "")),
    open: "<role>ASSISTANT</role>",
    ..NONE
});
pub static BAILING_THINK: Format = Of(Turns {
    roles: &[("user", raw("<role>HUMAN</role>", ""))],
    other: Some(raw("<role>{ROLE}</role>", "")),
    open: "<role>ASSISTANT</role><think>",
    ..NONE
});
pub static SMOLVLM: Format = Of(Turns {
    start: "<|im_start|>",
    roles: &[("system", raw("", "\n\n")), ("user", raw("User: ", "<end_of_utterance>\n"))],
    other: Some(raw("Assistant: ", "<end_of_utterance>\n")),
    open: "Assistant:",
    ..NONE
});
pub static DOTS1: Format = Of(Turns {
    roles: &[("system", raw("<|system|>", "<|endofsystem|>")), ("user", raw("<|userprompt|>", "<|endofuserprompt|>"))],
    other: Some(raw("<|response|>", "<|endofresponse|>")),
    open: "<|response|>",
    ..NONE
});
pub static HUNYUAN_MOE: Format = Of(Turns {
    roles: &[("system", raw("<|startoftext|>", "<|extra_4|>")), ("assistant", raw("", "<|eos|>"))],
    other: Some(raw("<|startoftext|>", "<|extra_0|>")),
    ..NONE
});
pub static HUNYUAN_DENSE: Format = Of(Turns {
    first_system: Some(raw("", "<｜hy_place▁holder▁no▁3｜>")),
    roles: &[("assistant", raw("<｜hy_Assistant｜>", "<｜hy_place▁holder▁no▁2｜>")), ("user", raw("<｜hy_User｜>", "<｜hy_Assistant｜>"))],
    ..NONE
});
pub static HUNYUAN_VL: Format = Of(Turns {
    start: "<｜hy_begin▁of▁sentence｜>",
    first_system: Some(raw("", "<｜hy_place▁holder▁no▁3｜>")),
    roles: &[("user", raw("", "<｜hy_User｜>")), ("assistant", raw("", "<｜hy_Assistant｜>"))],
    ..NONE
});
pub static GPT_OSS: Format = Of(Turns {
    roles: &[("assistant", raw("<|start|>assistant<|message|>", "<|return|>"))],
    other: Some(raw("<|start|>{role}<|message|>", "<|end|>")),
    open: "<|start|>assistant",
    ..NONE
});
pub static KIMI_K2: Format = Of(Turns {
    roles: &[
        ("system", raw("<|im_system|>system<|im_middle|>", "<|im_end|>")),
        ("user", raw("<|im_user|>user<|im_middle|>", "<|im_end|>")),
        ("assistant", raw("<|im_assistant|>assistant<|im_middle|>", "<|im_end|>")),
        ("tool", raw("<|im_system|>tool<|im_middle|>", "<|im_end|>")),
    ],
    other: Some(raw("", "<|im_end|>")),
    open: "<|im_assistant|>assistant<|im_middle|>",
    ..NONE
});
pub static SEED_OSS: Format = Of(Turns {
    roles: &[("assistant", trimmed("<seed:bos>assistant\n", "<seed:eos>"))],
    other: Some(raw("<seed:bos>{role}\n", "<seed:eos>")),
    open: "<seed:bos>assistant\n",
    ..NONE
});
pub static GROK2: Format = Of(Turns {
    roles: &[
        ("system", trimmed("System: ", "<|separator|>\n\n")),
        ("user", trimmed("Human: ", "<|separator|>\n\n")),
        ("assistant", raw("Assistant: ", "<|separator|>\n\n")),
    ],
    open: "Assistant:",
    ..NONE
});
pub static SOLAR_OPEN: Format = Of(Turns { other: Some(raw("<|begin|>{role}<|content|>", "<|end|>")), open: "<|begin|>assistant", ..NONE });
