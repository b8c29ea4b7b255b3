//! Which of the built-in formats a template is: by name, or by the marks that a Jinja text contains. Does not read Jinja.
use super::format::Format;
use super::turns::*;
use super::written::*;

/// The built-in names in the original's order (that of the bytes), for listing and for asking by name.
pub const BUILTIN: &[(&str, &Format)] = &[
    ("bailing", &BAILING),
    ("bailing-think", &BAILING_THINK),
    ("bailing2", &BAILING2),
    ("chatglm3", &CHATGLM3),
    ("chatglm4", &CHATGLM4),
    ("chatml", &CHATML),
    ("command-r", &COMMAND_R),
    ("deepseek", &DEEPSEEK),
    ("deepseek-ocr", &DEEPSEEK_OCR),
    ("deepseek2", &DEEPSEEK2),
    ("deepseek3", &DEEPSEEK3),
    ("exaone-moe", &EXAONE_MOE),
    ("exaone3", &EXAONE3),
    ("exaone4", &EXAONE4),
    ("falcon3", &FALCON3),
    ("gemma", &GEMMA),
    ("gigachat", &GIGACHAT),
    ("glmedge", &GLMEDGE),
    ("gpt-oss", &GPT_OSS),
    ("granite", &GRANITE3),
    ("granite-4.0", &GRANITE4),
    ("granite-4.1", &GRANITE4),
    ("grok-2", &GROK2),
    ("hunyuan-dense", &HUNYUAN_DENSE),
    ("hunyuan-moe", &HUNYUAN_MOE),
    ("hunyuan-vl", &HUNYUAN_VL),
    ("kimi-k2", &KIMI_K2),
    ("llama2", &LLAMA2),
    ("llama2-sys", &LLAMA2_SYS),
    ("llama2-sys-bos", &LLAMA2_SYS_BOS),
    ("llama2-sys-strip", &LLAMA2_SYS_STRIP),
    ("llama3", &LLAMA3),
    ("llama4", &LLAMA4),
    ("megrez", &MEGREZ),
    ("minicpm", &MINICPM),
    ("mistral-v1", &MISTRAL_V1),
    ("mistral-v3", &MISTRAL_V3),
    ("mistral-v3-tekken", &MISTRAL_V3_TEKKEN),
    ("mistral-v7", &MISTRAL_V7),
    ("mistral-v7-tekken", &MISTRAL_V7_TEKKEN),
    ("monarch", &MONARCH),
    ("openchat", &OPENCHAT),
    ("orion", &ORION),
    ("pangu-embedded", &PANGU_EMBEDDED),
    ("phi3", &PHI3),
    ("phi4", &PHI4),
    ("rwkv-world", &RWKV_WORLD),
    ("seed_oss", &SEED_OSS),
    ("smolvlm", &SMOLVLM),
    ("solar-open", &SOLAR_OPEN),
    ("vicuna", &VICUNA),
    ("vicuna-orca", &VICUNA_ORCA),
    ("yandex", &YANDEX),
    ("zephyr", &ZEPHYR),
];

/// All marks of a line must occur for its format. Order matters: the first line that fits decides.
const MARKS: &[(&[&str], &Format)] = &[
    (&["<|im_start|>", "<|im_sep|>"], &PHI4),
    (&["<|im_start|>", "<end_of_utterance>"], &SMOLVLM),
    (&["<|im_start|>"], &CHATML),
    // Here come the families of `[INST]`, see `bracketed`.
    (&["<|assistant|>", "<|end|>"], &PHI3),
    (&["[gMASK]<sop>"], &CHATGLM4),
    (&["<|assistant|>", "<|user|>", "<|tool_declare|>"], &EXAONE_MOE),
    (&["<|assistant|>", "<|user|>", "</s>"], &FALCON3),
    (&["<|assistant|>", "<|user|>"], &GLMEDGE),
    (&["<|{{ item['role'] }}|>", "<|begin_of_image|>"], &GLMEDGE),
    (&["<|user|>", "<|endoftext|>"], &ZEPHYR),
    (&["bos_token + message['role']"], &MONARCH),
    (&["<start_of_turn>"], &GEMMA),
    (&["'\\n\\nAssistant: ' + eos_token"], &ORION),
    (&["GPT4 Correct "], &OPENCHAT),
    (&["USER: ", "ASSISTANT: ", "SYSTEM: "], &VICUNA_ORCA),
    (&["USER: ", "ASSISTANT: "], &VICUNA),
    (&["### Instruction:", "<|EOT|>"], &DEEPSEEK),
    (&["<|START_OF_TURN_TOKEN|>", "<|USER_TOKEN|>"], &COMMAND_R),
    (&["<|start_header_id|>", "<|end_header_id|>"], &LLAMA3),
    (&["[gMASK]sop"], &CHATGLM3),
    (&["<用户>"], &MINICPM),
    (&["'Assistant: ' + message['content'] + eos_token"], &DEEPSEEK2),
    (&["<｜Assistant｜>", "<｜User｜>", "<｜end▁of▁sentence｜>"], &DEEPSEEK3),
    (&["[|system|]", "[|assistant|]", "[|endofturn|]", "[|tool|]"], &EXAONE4),
    (&["[|system|]", "[|assistant|]", "[|endofturn|]"], &EXAONE3),
    (&["rwkv-world"], &RWKV_WORLD),
    (&["{{- 'User: ' + message['content']|trim + '\\n\\n' -}}"], &RWKV_WORLD),
    (&["<|start_of_role|>", "<tool_call>"], &GRANITE4),
    (&["<|start_of_role|>", "<tools>"], &GRANITE4),
    (&["<|start_of_role|>"], &GRANITE3),
    (&["message['role'] + additional_special_tokens[0] + message['content'] + additional_special_tokens[1]"], &GIGACHAT),
    (&["<|role_start|>"], &MEGREZ),
    (&[" Ассистент:"], &YANDEX),
    (&["<role>ASSISTANT</role>", "'HUMAN'"], &BAILING),
    (&["<role>ASSISTANT</role>", "\"HUMAN\"", "<think>"], &BAILING_THINK),
    (&["<role>ASSISTANT</role>", "<role>HUMAN</role>", "<|role_end|>"], &BAILING2),
    (&["<|header_start|>", "<|header_end|>"], &LLAMA4),
    (&["<|endofuserprompt|>"], &DOTS1),
    (&["<|extra_0|>", "<|extra_4|>"], &HUNYUAN_MOE),
    (&["<|start|>", "<|channel|>"], &GPT_OSS),
    (&["<｜hy_Assistant｜>", "<｜hy_begin▁of▁sentence｜>"], &HUNYUAN_VL),
    (&["<｜hy_Assistant｜>", "<｜hy_place▁holder▁no▁3｜>"], &HUNYUAN_DENSE),
    (&["<|im_assistant|>assistant<|im_middle|>"], &KIMI_K2),
    (&["<seed:bos>"], &SEED_OSS),
    (&["'Assistant: '  + message['content'] + '<|separator|>"], &GROK2),
    (&["[unused9]系统：[unused10]"], &PANGU_EMBEDDED),
    (&["<|begin|>", "<|end|>", "<|content|>"], &SOLAR_OPEN),
];

/// `None`: not one of ours.
pub fn detect(template: &[u8]) -> Option<&'static Format> {
    if let Some((_, f)) = BUILTIN.iter().find(|(name, _)| name.as_bytes() == template) {
        return Some(*f);
    }
    let has = |mark: &str| template.windows(mark.len()).any(|w| w == mark.as_bytes());
    if !has("<|im_start|>") && (template.starts_with(b"mistral") || has("[INST]")) {
        return Some(bracketed(has));
    }
    MARKS.iter().find(|(marks, _)| marks.iter().all(|m| has(m))).map(|(_, f)| *f)
}

/// Mistral and Llama 2, which share `[INST]`.
fn bracketed(has: impl Fn(&str) -> bool) -> &'static Format {
    if has("[SYSTEM_PROMPT]") {
        return &MISTRAL_V7;
    }
    let mistral = has("' [INST] ' + system_message") || has("[AVAILABLE_TOOLS]");
    let first =
        |marks: &[(&str, &'static Format)], other: &'static Format| marks.iter().find(|(mark, _)| has(mark)).map_or(other, |(_, f)| *f);
    if mistral {
        return first(&[(" [INST]", &MISTRAL_V1), ("\"[INST]\"", &MISTRAL_V3_TEKKEN)], &MISTRAL_V3);
    }
    first(&[("content.strip()", &LLAMA2_SYS_STRIP), ("bos_token + '[INST]", &LLAMA2_SYS_BOS), ("<<SYS>>", &LLAMA2_SYS)], &LLAMA2)
}
