//! Special tokens: their ids from the file, from their texts, and the texts that end a generation. Most files do not say;
//! what is here are the original's lists, so that a host stops where it would have stopped.
use super::texts::Texts;
use platform::log;
use std::collections::BTreeSet;

/// Bits of `llama_token_attr`.
pub mod attr {
    pub const UNKNOWN: u32 = 1 << 0;
    pub const UNUSED: u32 = 1 << 1;
    pub const NORMAL: u32 = 1 << 2;
    pub const CONTROL: u32 = 1 << 3;
    pub const USER_DEFINED: u32 = 1 << 4;
    pub const BYTE: u32 = 1 << 5;
    pub const LSTRIP: u32 = 1 << 7;
    pub const RSTRIP: u32 = 1 << 8;
}

/// "No such token".
pub const NONE: i32 = -1;

/// Token ids with a role; `NONE` where there is none.
#[derive(Clone, Debug)]
pub struct SpecialIds {
    pub bos: i32,
    pub eos: i32,
    pub eot: i32,
    pub eom: i32,
    pub unk: i32,
    pub sep: i32,
    pub nl: i32,
    pub pad: i32,
    pub mask: i32,
    pub fim_pre: i32,
    pub fim_suf: i32,
    pub fim_mid: i32,
    pub fim_pad: i32,
    pub fim_rep: i32,
    pub fim_sep: i32,
}

impl SpecialIds {
    pub const NONE: SpecialIds = SpecialIds {
        bos: NONE,
        eos: NONE,
        eot: NONE,
        eom: NONE,
        unk: NONE,
        sep: NONE,
        nl: NONE,
        pad: NONE,
        mask: NONE,
        fim_pre: NONE,
        fim_suf: NONE,
        fim_mid: NONE,
        fim_pad: NONE,
        fim_rep: NONE,
        fim_sep: NONE,
    };

    /// The keys that name an id, in the order in which they are read: later ones win.
    pub fn by_key(&mut self) -> [(&'static str, &mut i32); 14] {
        [
            ("bos_token_id", &mut self.bos),
            ("eos_token_id", &mut self.eos),
            ("eot_token_id", &mut self.eot),
            ("eom_token_id", &mut self.eom),
            ("unknown_token_id", &mut self.unk),
            ("seperator_token_id", &mut self.sep), // so spelled in the format
            ("padding_token_id", &mut self.pad),
            ("mask_token_id", &mut self.mask),
            ("fim_pre_token_id", &mut self.fim_pre),
            ("fim_suf_token_id", &mut self.fim_suf),
            ("fim_mid_token_id", &mut self.fim_mid),
            ("fim_pad_token_id", &mut self.fim_pad),
            ("fim_rep_token_id", &mut self.fim_rep),
            ("fim_sep_token_id", &mut self.fim_sep),
        ]
    }

    /// Deprecated keys, read after the others.
    pub fn by_old_key(&mut self) -> [(&'static str, &mut i32); 3] {
        [("prefix_token_id", &mut self.fim_pre), ("suffix_token_id", &mut self.fim_suf), ("middle_token_id", &mut self.fim_mid)]
    }

    /// Ids that the file does not give, by the texts that models use. Where several are there the first of the list is taken; the
    /// original takes whichever its hash table yields first.
    pub fn detect(&mut self, tokens: &Texts, attrs: &mut [u32]) {
        for (id, texts) in [
            (&mut self.eot, EOT),
            (&mut self.eom, &["<|eom_id|>"]),
            (&mut self.fim_pre, FIM_PRE),
            (&mut self.fim_suf, FIM_SUF),
            (&mut self.fim_mid, FIM_MID),
            (&mut self.fim_pad, &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"]),
            (&mut self.fim_rep, &["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"]),
            (&mut self.fim_sep, &["<|file_sep|>"]),
        ] {
            if let Some(found) = texts.iter().find_map(|t| tokens.find(t.as_bytes())).filter(|_| *id == NONE) {
                *id = found as i32;
                make_control(found, tokens, attrs);
            }
        }
    }

    /// All tokens that end a generation.
    pub fn eog(&self, tokens: &Texts, attrs: &mut [u32]) -> BTreeSet<i32> {
        let mut eog = BTreeSet::from([self.fim_pad, self.fim_rep, self.fim_sep]);
        for id in EOG.iter().filter_map(|t| tokens.find(t.as_bytes())) {
            eog.insert(id as i32);
            make_control(id, tokens, attrs);
        }
        // gpt-oss: these are always shown.
        for id in ["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"].iter().filter_map(|t| tokens.find(t.as_bytes())) {
            attrs[id as usize] = attr::USER_DEFINED;
        }
        eog.extend([self.eos, self.eot, self.eom]);
        eog.remove(&NONE);
        remove_lookalikes(&mut eog, tokens, attrs);
        eog
    }
}

/// Texts that end a generation in most vocabularies, but not in the company of certain others.
fn remove_lookalikes(eog: &mut BTreeSet<i32>, tokens: &Texts, attrs: &mut [u32]) {
    let id_of = |eog: &BTreeSet<i32>, text: &str| tokens.find(text.as_bytes()).filter(|id| eog.contains(&(*id as i32)));
    let has = |eog: &BTreeSet<i32>, text: &str| id_of(eog, text).is_some();
    // o200k_harmony and solar-open: a message ends, the turn goes on.
    let call = has(eog, "<|call|>") || has(eog, "<|calls|>");
    if let Some(end) = id_of(eog, "<|end|>").filter(|_| call && (has(eog, "<|return|>") || has(eog, "<|flush|>"))) {
        eog.remove(&(end as i32));
        attrs[end as usize] = attr::USER_DEFINED;
    }
    // gemma4 and plamo: an ordinary HTML tag.
    if let Some(s) = id_of(eog, "</s>").filter(|_| has(eog, "<|tool_response>") || has(eog, "<|plamo:eos|>")) {
        eog.remove(&(s as i32));
        attrs[s as usize] = attr::NORMAL;
    }
}

fn make_control(id: u32, tokens: &Texts, attrs: &mut [u32]) {
    if attrs[id as usize] & attr::CONTROL == 0 {
        let text = String::from_utf8_lossy(tokens.get(id));
        log::warn(format!("token {id} '{text}' looks like a control token and is used as one, though the file does not say so"));
        attrs[id as usize] |= attr::CONTROL;
    }
}

/// Control tokens with "unused" in their text are marked so.
pub fn mark_unused(tokens: &Texts, attrs: &mut [u32]) {
    for (id, a) in attrs.iter_mut().enumerate().filter(|(_, a)| **a & attr::CONTROL != 0) {
        if tokens.get(id as u32).windows(6).any(|w| w == b"unused") {
            *a |= attr::UNUSED;
        }
    }
}

/// Whether white space beside a token belongs to it is nowhere in the file: it goes by the names of model, tokenizer and architecture.
pub fn mark_strips(name: &str, pre: &str, arch: &str, tokens: &Texts, attrs: &mut [u32]) {
    let any = |s: &str, parts: &[&str]| parts.iter().any(|p| s.contains(p));
    let name = name.to_ascii_lowercase();
    if any(pre, &["jina-v2-de", "jina-v2-es", "jina-v2-code"]) || any(arch, &["nomic-bert-moe", "jina-bert-v3"]) {
        set_bit(tokens, attrs, "<mask>", attr::LSTRIP, true);
    } else if any(&name, &["phi-3", "phi3"]) {
        attrs.iter_mut().filter(|a| **a & IS_SPECIAL != 0).for_each(|a| *a |= attr::RSTRIP);
        for (text, on) in [("</s>", true), ("<unk>", false), ("<s>", false), ("<|endoftext|>", false)] {
            set_bit(tokens, attrs, text, attr::RSTRIP, on);
        }
    } else if any(&name, &["modern-bert"]) {
        set_bit(tokens, attrs, "[MASK]", attr::LSTRIP, true);
    }
}

fn set_bit(tokens: &Texts, attrs: &mut [u32], text: &str, bit: u32, on: bool) {
    if let Some(a) = tokens.find(text.as_bytes()).and_then(|id| attrs.get_mut(id as usize)) {
        *a = if on { *a | bit } else { *a & !bit };
    }
}

/// Tokens that are looked for in the text before it is tokenized.
pub const IS_SPECIAL: u32 = attr::CONTROL | attr::USER_DEFINED | attr::UNKNOWN;

const EOT: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "<｜end▁of▁sentence｜>",
    "<end_of_utterance>",
];

const FIM_PRE: &[&str] =
    &["<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>", "<|code_prefix|>", "<|prefix|>"];
const FIM_SUF: &[&str] =
    &["<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>", "<|code_suffix|>", "<|suffix|>"];
const FIM_MID: &[&str] =
    &["<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>", "<|code_middle|>", "<|middle|>"];

const EOG: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
];
