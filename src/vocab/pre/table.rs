//! Which name of a pre-tokenizer means which patterns and which switches. Names and order are the original's.
use super::rules::*;
use super::{Rule, Split};

/// A pre-tokenizer and what comes with its name.
pub struct Pre {
    pub names: &'static [&'static str],
    pub splits: &'static [Split],
    /// Detokenizing removes spaces before punctuation.
    pub clean_spaces: bool,
    /// A word that is a token needs no merges.
    pub ignore_merges: bool,
    pub add_bos: bool,
    pub add_sep: bool,
    /// The default BOS of BPE vocabularies does not apply.
    pub no_default_bos: bool,
    /// Words are spelled in GPT-2's byte alphabet; otherwise they stay UTF-8, and unknown bytes are `<0xXX>` tokens.
    pub byte_encode: bool,
    /// Spaces are written as U+2581.
    pub escape_spaces: bool,
    /// Gemma 4: a run of newlines that is a token needs no merges, and BOS is added whatever the file says.
    pub gemma4: bool,
}

const BASE: Pre = Pre {
    names: &[],
    splits: &[],
    clean_spaces: true,
    ignore_merges: false,
    add_bos: false,
    add_sep: false,
    no_default_bos: false,
    byte_encode: true,
    escape_spaces: false,
    gemma4: false,
};
/// Most newer vocabularies leave spaces alone when detokenizing.
const EXACT: Pre = Pre { clean_spaces: false, ..BASE };

/// For a file that names no pre-tokenizer, or one that nobody knows.
pub static DEFAULT: Pre = Pre {
    names: &["default"],
    splits: &[Split::First(&[falcon_punct]), Split::First(GPT2), Split::First(&[numbers]), Split::First(&[three_digits])],
    ..BASE
};

pub fn by_name(name: &str) -> Option<&'static Pre> {
    ALL.iter().chain([&DEFAULT]).find(|p| p.names.contains(&name))
}

/// Every name there is.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().chain([&DEFAULT]).flat_map(|p| p.names).copied()
}

const GPT2: &[Rule] = &[contraction, space_letters, space_numbers, space_marks, spaces_before_word, spaces];
const LLAMA3: &[Rule] = &[contraction_any_case, word, numbers_up_to_3, marks_newlines, newlines, spaces_before_word, spaces];
const QWEN2: &[Rule] = &[contraction_any_case, word, number, marks_newlines, newlines, spaces_before_word, spaces];
const QWEN35: &[Rule] = &[contraction_any_case, word_with_marks, number, marks_newlines_no_accents, newlines, spaces_before_word, spaces];
const JAIS2: &[Rule] = &[contraction_any_case, word, numbers_up_to_3, marks_newlines, newlines, spaces_by_powers];
const DEEPSEEK3: &[Rule] = &[ascii_punct_letters, word_not_after_punct, punct_newlines, newlines, spaces_before_word, spaces];
const SPARK: &[Rule] = &[ascii_punct_letters, word_not_after_punct, space_punct, newline, spaces_before_word, spaces];
const YOUTU: &[Rule] = &[word_with_marks_contracted, number, marks_newlines_slashes, newlines, spaces_before_word, spaces];
const TINY_AYA: &[Rule] = &[word_with_marks_contracted, numbers_up_to_3, marks_newlines_slashes, newlines, spaces_before_word, spaces];
const TEKKEN: &[Rule] = &[cased_letters, number, marks_newlines_slashes, newlines, spaces_before_word, spaces];
const GPT4O: &[Rule] = &[cased_letters_contracted, numbers_up_to_3, marks_newlines_slashes, newlines, spaces_before_word, spaces];
const GRANITE_EMBED: &[Rule] = &[cased_marks_contracted, numbers_up_to_3, marks_newlines_slashes, newlines, spaces_before_word, spaces];
const KIMI_K2: &[Rule] = &[han, word_not_han, numbers_up_to_3, marks_newlines, newlines, spaces_before_word, spaces];
const SEED: &[Rule] = &[contraction_any_case, word, number, space_marks, newlines, spaces_before_word, spaces];
const UFAKZEKA: &[Rule] = &[word, number, marks_newlines, newlines, spaces_before_word, spaces];
const EXAONE_MOE: &[Rule] = &[contraction_any_case, phrase, number, marks_one_newline, newlines, spaces_before_word, spaces];
const MINICPM5: &[Rule] = &[contraction_any_case, word, numbers, marks_newlines, newlines, spaces_before_word, spaces];

const BY_GPT2: &[Split] = &[Split::First(GPT2)];
const BY_LLAMA3: &[Split] = &[Split::First(LLAMA3)];
const BY_QWEN2: &[Split] = &[Split::First(QWEN2)];
const BY_DIGIT_GPT2: &[Split] = &[Split::First(&[number]), Split::First(GPT2)];
const BY_DEEPSEEK3: &[Split] = &[Split::First(&[numbers_up_to_3]), Split::First(&[chinese_kana]), Split::First(DEEPSEEK3)];
const BY_LINE: &[Split] = &[Split::First(&[lines])];
const BY_GPT4O: &[Split] = &[Split::First(GPT4O)];
const BY_BLOOM: &[Split] = &[Split::First(&[bloom_word])];

/// All but `DEFAULT`.
pub static ALL: &[Pre] = &[
    Pre { names: &["minicpm5"], splits: &[Split::First(&[numbers_up_to_3]), Split::First(MINICPM5)], ignore_merges: true, ..BASE },
    Pre {
        names: &["llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"],
        splits: BY_LLAMA3,
        ignore_merges: true,
        add_bos: true,
        ..BASE
    },
    Pre {
        names: &["deepseek-llm"],
        splits: &[
            Split::First(&[newline]),
            Split::First(&[deepseek_letters]),
            Split::First(&[deepseek_punct]),
            Split::TrailingSpace,
            Split::First(&[deepseek_script]),
            Split::First(&[numbers]),
        ],
        ..EXACT
    },
    Pre {
        names: &["deepseek-coder"],
        splits: &[
            Split::First(&[newline]),
            Split::First(&[any_space_letters]),
            Split::First(&[any_space_punct]),
            Split::First(&[deepseek_script]),
            Split::First(&[number]),
        ],
        ..EXACT
    },
    Pre { names: &["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"], splits: BY_DEEPSEEK3, ..EXACT },
    Pre {
        names: &["spark2_5"],
        splits: &[Split::First(&[numbers_up_to_3]), Split::First(&[chinese_kana]), Split::First(SPARK), Split::First(&[number])],
        ..EXACT
    },
    Pre {
        names: &["youtu"],
        splits: &[Split::First(&[youtu_hangul, youtu_punct, youtu_bopomofo, chinese_kana]), Split::First(YOUTU)],
        ignore_merges: true,
        ..EXACT
    },
    Pre { names: &["falcon"], splits: &[Split::First(&[falcon_punct_tick]), Split::First(GPT2), Split::First(&[three_digits])], ..BASE },
    Pre {
        names: &[
            "mpt",
            "gpt-2",
            "phi-2",
            "jina-es",
            "jina-de",
            "gigachat",
            "jina-v2-es",
            "jina-v2-de",
            "a.x-4.0",
            "mellum",
            "modern-bert",
            "olmo",
            "jais",
            "exaone4",
        ],
        splits: BY_GPT2,
        ..BASE
    },
    Pre { names: &["jais-2"], splits: &[Split::First(JAIS2)], ..BASE },
    Pre { names: &["gemma4", "granite-embed-multi-311m"], splits: BY_LINE, byte_encode: false, escape_spaces: true, gemma4: true, ..BASE },
    Pre { names: &["sarvam-moe"], splits: BY_LINE, byte_encode: false, escape_spaces: true, ..EXACT },
    Pre { names: &["jina-v1-en", "jina-v2-code", "roberta-bpe"], splits: BY_GPT2, add_sep: true, ..BASE },
    Pre { names: &["whitespace"], splits: &[Split::First(&[not_spaces])], byte_encode: false, ..BASE },
    Pre { names: &["starcoder", "refact", "codeshell", "exaone", "minerva-7b", "mellum2"], splits: BY_DIGIT_GPT2, ..BASE },
    Pre { names: &["command-r", "smollm"], splits: BY_DIGIT_GPT2, ..EXACT },
    Pre { names: &["qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "hunyuan", "grok-2", "solar-open"], splits: BY_QWEN2, ..EXACT },
    Pre { names: &["qwen35"], splits: &[Split::First(QWEN35)], ..EXACT },
    Pre { names: &["stablelm2", "megrez"], splits: BY_QWEN2, ..BASE },
    Pre { names: &["dbrx", "smaug-bpe"], splits: BY_LLAMA3, ..BASE },
    Pre { names: &["poro-chat"], splits: BY_BLOOM, ..EXACT },
    Pre { names: &["bloom", "gpt3-finnish"], splits: BY_BLOOM, ..BASE },
    Pre { names: &["viking"], splits: &[Split::First(&[bloom_word]), Split::First(&[number])], ..EXACT },
    Pre { names: &["chatglm-bpe"], splits: BY_LLAMA3, no_default_bos: true, ..BASE },
    Pre { names: &["glm4", "glm5"], splits: BY_LLAMA3, no_default_bos: true, ignore_merges: true, ..BASE },
    Pre { names: &["tekken"], splits: &[Split::First(TEKKEN)], ignore_merges: true, add_bos: true, ..EXACT },
    Pre { names: &["exaone-moe"], splits: &[Split::First(EXAONE_MOE)], ..BASE },
    Pre {
        names: &["chameleon"],
        splits: &[
            Split::First(&[sentinel]),
            Split::First(&[image]),
            Split::First(&[indent]),
            Split::First(&[number]),
            Split::First(&[one_punct]),
            Split::First(GPT2),
        ],
        add_bos: true,
        ..EXACT
    },
    Pre { names: &["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], splits: BY_GPT4O, ..EXACT },
    Pre { names: &["granite-embed-multi-97m"], splits: &[Split::First(GRANITE_EMBED)], ignore_merges: true, ..EXACT },
    Pre { names: &["tiny_aya", "cohere2moe"], splits: &[Split::ThreeFromRight, Split::First(TINY_AYA)], ..EXACT },
    Pre { names: &["superbpe"], splits: &[Split::First(&[numbers]), Split::CutThousands], ..EXACT },
    Pre { names: &["trillion", "granite-docling"], splits: BY_GPT2, ..EXACT },
    Pre { names: &["bailingmoe", "bailingmoe2", "llada-moe"], splits: BY_QWEN2, ..EXACT },
    Pre { names: &["seed-coder"], splits: &[Split::First(SEED)], ..EXACT },
    Pre { names: &["kimi-k2"], splits: &[Split::First(KIMI_K2)], ..EXACT },
    Pre { names: &["ufakzeka"], splits: &[Split::First(UFAKZEKA)], ..EXACT },
    Pre { names: &["afmoe"], splits: &[Split::ThreeFromRight, Split::First(&[afmoe_scripts]), Split::First(DEEPSEEK3)], ..EXACT },
    Pre { names: &["laguna"], splits: &[Split::First(&[lines]), Split::First(QWEN2)], ..EXACT },
];
