//! A vocabulary from a model's metadata: which tokenizer, its tokens, its switches. Hostile until the end of `from_meta`.
use super::partition::Specials;
use super::pre::{self, Pre};
use super::session::{DNA_MARK, Dna, Session};
use super::special::{self, NONE, SpecialIds, attr};
use super::texts::Texts;
use super::{
    Coder, Flags, Lexicon, Vocab, VocabType, bpe::Bpe, charsmap::Charsmap, plamo2::Plamo2, rwkv::Rwkv, spm, spm::Spm, ugm::Ugm, wpm::Wpm,
};
use crate::gguf::{Array, Meta};
use platform::{Error, Result, log};

/// What a value of `tokenizer.ggml.model` means before the file's own keys are read.
struct Model {
    name: &'static str,
    kind: VocabType,
    ids: SpecialIds,
}

const NO_IDS: SpecialIds = SpecialIds::NONE;
const LLAMA_IDS: SpecialIds = SpecialIds { bos: 1, eos: 2, unk: 0, ..NO_IDS };
const BPE_IDS: SpecialIds = SpecialIds { bos: 11, eos: 11, ..NO_IDS };

/// The ids are the original's defaults, taken from the first model of each kind.
static MODELS: &[Model] = &[
    Model { name: "none", kind: VocabType::None, ids: NO_IDS },
    Model { name: "no_vocab", kind: VocabType::None, ids: NO_IDS },
    Model { name: "llama", kind: VocabType::Spm, ids: LLAMA_IDS },
    Model { name: "gpt2", kind: VocabType::Bpe, ids: BPE_IDS },
    Model { name: "whitespace", kind: VocabType::Bpe, ids: BPE_IDS },
    Model { name: "hybriddna", kind: VocabType::Bpe, ids: BPE_IDS },
    Model { name: "gemma4", kind: VocabType::Bpe, ids: NO_IDS },
    Model { name: "bert", kind: VocabType::Wpm, ids: SpecialIds { bos: 101, unk: 100, sep: 102, pad: 0, mask: 103, ..NO_IDS } },
    Model { name: "t5", kind: VocabType::Ugm, ids: SpecialIds { eos: 1, unk: 2, pad: 0, ..NO_IDS } },
    Model { name: "rwkv", kind: VocabType::Rwkv, ids: NO_IDS },
    Model { name: "plamo2", kind: VocabType::Plamo2, ids: SpecialIds { pad: 3, ..LLAMA_IDS } },
    Model { name: "test", kind: VocabType::Test, ids: NO_IDS },
];

fn key(name: &str) -> String {
    format!("tokenizer.ggml.{name}")
}

impl Vocab {
    /// Reads a vocabulary. `arch` is the model's architecture: it names the key of the vocabulary's size, and a few have quirks.
    pub fn from_meta(meta: &Meta, arch: &str) -> Result<Vocab> {
        let name = meta.str(&key("model"))?.ok_or_else(|| Error::invalid("key tokenizer.ggml.model is missing"))?;
        let model = MODELS.iter().find(|m| m.name == name).ok_or_else(|| Error::invalid(format!("unknown tokenizer '{name}'")))?;
        if model.kind == VocabType::None {
            return without_tokens(meta, arch);
        }
        let pre_name = meta.str(&key("pre"))?.unwrap_or_default();
        let pre = (model.kind == VocabType::Bpe).then(|| pre_tokenizer(if name == "gemma4" { name } else { pre_name })).transpose()?;
        let texts = texts(meta)?;
        let mut attrs = attrs(meta, texts.len())?;
        let scores = scores(meta, texts.len())?;
        let flags = flags(meta, model.kind, pre)?;
        let mut ids = model.ids.clone();
        if pre.is_some_and(|p| p.no_default_bos) {
            ids.bos = NONE;
        }
        disable_out_of_range(&mut ids, texts.len());
        let lexicon = Lexicon { texts: &texts, scores: &scores, attrs: &attrs, unk: ids.unk };
        let coder = coder(meta, model, pre, &lexicon, &flags)?;
        ids.nl = newline(&coder, &lexicon).unwrap_or(ids.pad);
        read_ids(meta, &mut ids, texts.len())?;
        ids.detect(&texts, &mut attrs);
        special::mark_unused(&texts, &mut attrs);
        let eog = ids.eog(&texts, &mut attrs);
        special::mark_strips(meta.str("general.name")?.unwrap_or_default(), pre_name, arch, &texts, &mut attrs);
        let of_attr = |bits: u32, without: u32| {
            let has = |id: &u32| attrs[*id as usize] & bits != 0 && attrs[*id as usize] & without == 0;
            Specials::new(&texts, (0..texts.len() as u32).filter(has))
        };
        let specials = of_attr(special::IS_SPECIAL, 0)?;
        let user_defined = of_attr(special::IS_SPECIAL, attr::CONTROL | attr::UNKNOWN)?;
        let suppress = suppressed(meta, texts.len())?;
        let n_tokens = texts.len() as u32;
        let shown = (name == "hybriddna").then(|| without_marks(&texts)).transpose()?;
        Ok(Vocab {
            kind: model.kind,
            n_tokens,
            texts,
            shown,
            scores,
            attrs,
            ids,
            eog,
            suppress,
            flags,
            coder,
            specials,
            user_defined,
            pieces: Default::default(),
        })
    }
}

/// A model whose tokens have no texts.
fn without_tokens(meta: &Meta, arch: &str) -> Result<Vocab> {
    let n_tokens = meta.u32(&format!("{arch}.vocab_size"))?.unwrap_or(0);
    Ok(Vocab {
        kind: VocabType::None,
        n_tokens,
        texts: Texts::default(),
        shown: None,
        scores: Vec::new(),
        attrs: Vec::new(),
        ids: SpecialIds::NONE,
        eog: Default::default(),
        suppress: Vec::new(),
        flags: Flags::default(),
        coder: Coder::None,
        specials: Specials::default(),
        user_defined: Specials::default(),
        pieces: Default::default(),
    })
}

fn pre_tokenizer(name: &str) -> Result<&'static Pre> {
    if name.is_empty() {
        log::warn("the file names no pre-tokenizer; 'default' is used, which may cost quality: convert the model again");
        return Ok(&pre::DEFAULT);
    }
    let known = || pre::names().collect::<Vec<_>>().join(", ");
    pre::by_name(name).ok_or_else(|| Error::unsupported(format!("unknown pre-tokenizer '{name}'; known are {}", known())))
}

fn texts(meta: &Meta) -> Result<Texts> {
    let list = match meta.array(&key("tokens"))? {
        Some(Array::Str(list)) => list,
        Some(_) => return Err(Error::invalid("key tokenizer.ggml.tokens is not an array of strings")),
        None => return Err(Error::invalid("key tokenizer.ggml.tokens is missing")),
    };
    if i32::try_from(list.len()).is_err() {
        return Err(Error::invalid(format!("{} tokens are more than token ids can count", list.len())));
    }
    let mut texts = Texts::with_capacity(list.len(), list.iter().map(Vec::len).sum())?;
    for (id, text) in list.iter().enumerate() {
        let is_empty = matches!(text.first(), None | Some(0));
        let replaced = if is_empty { texts.push(format!("[EMPTY_{id}]").as_bytes()) } else { texts.push(text) };
        if let Some(old) = replaced {
            log::warn(format!("tokens {old} and {id} have the same text '{}'", String::from_utf8_lossy(text)));
        }
    }
    Ok(texts)
}

/// Texts without the mark of six-base tokens, which come after `<oov>`.
fn without_marks(texts: &Texts) -> Result<Texts> {
    let n_bytes = (0..texts.len() as u32).map(|id| texts.get(id).len()).sum();
    let mut shown = Texts::with_capacity(texts.len(), n_bytes)?;
    let first = Dna::unknown(texts).unwrap_or(u32::MAX);
    for id in 0..texts.len() as u32 {
        let text = texts.get(id);
        let bare = text.strip_suffix(DNA_MARK).filter(|t| id > first && !t.is_empty());
        shown.push(bare.unwrap_or(text));
    }
    Ok(shown)
}

fn too_short(name: &str, n: usize, n_tokens: usize) -> Error {
    Error::invalid(format!("key {} has {n} values for {n_tokens} tokens", key(name)))
}

/// Empty if the file has none: then every score is 0.
fn scores(meta: &Meta, n_tokens: usize) -> Result<Vec<f32>> {
    let scores: Vec<f32> = match meta.array(&key("scores"))? {
        None => return Ok(Vec::new()),
        Some(Array::F32(v)) => v.clone(),
        Some(Array::I32(v)) => v.iter().map(|s| *s as f32).collect(),
        Some(_) => return Err(Error::invalid("key tokenizer.ggml.scores is neither an array of f32 nor of i32")),
    };
    if scores.len() < n_tokens { Err(too_short("scores", scores.len(), n_tokens)) } else { Ok(scores) }
}

fn attrs(meta: &Meta, n_tokens: usize) -> Result<Vec<u32>> {
    let types = match meta.array(&key("token_type"))? {
        None => return Ok(vec![attr::NORMAL; n_tokens]),
        Some(Array::I32(v)) => v,
        Some(_) => return Err(Error::invalid("key tokenizer.ggml.token_type is not an array of i32")),
    };
    // Numbers of `llama_token_type`.
    let of = |token_type: &i32| match token_type {
        1 => attr::NORMAL,
        2 => attr::UNKNOWN,
        3 => attr::CONTROL,
        4 => attr::USER_DEFINED,
        5 => attr::UNUSED,
        6 => attr::BYTE,
        _ => 0,
    };
    let types = types.get(..n_tokens).ok_or_else(|| too_short("token_type", types.len(), n_tokens))?;
    Ok(types.iter().map(of).collect())
}

fn coder(meta: &Meta, model: &Model, pre: Option<&'static Pre>, lexicon: &Lexicon<'_>, flags: &Flags) -> Result<Coder> {
    Ok(match model.kind {
        VocabType::Spm => Coder::Spm(Box::new(Spm::new(lexicon.texts))),
        VocabType::Bpe => byte_pairs(meta, model, pre.unwrap_or(&pre::DEFAULT), lexicon.texts)?,
        VocabType::Wpm => Coder::Wpm(Box::new(word_pieces(meta, lexicon.texts)?)),
        VocabType::Ugm => {
            let merge_spaces = flag(meta, "remove_extra_whitespaces", false)?;
            Coder::Ugm(Box::new(Ugm::new(lexicon, charsmap(meta)?, flags.add_space_prefix, merge_spaces)?))
        }
        VocabType::Rwkv => Coder::Rwkv(Box::new(Rwkv::new(lexicon.texts)?)),
        VocabType::Plamo2 => Coder::Plamo2(Box::new(Plamo2::new(lexicon)?)),
        VocabType::Test => Coder::Test,
        VocabType::None => Coder::None,
    })
}

fn byte_pairs(meta: &Meta, model: &Model, pre: &'static Pre, texts: &Texts) -> Result<Coder> {
    let merges = match meta.array(&key("merges"))? {
        Some(Array::Str(list)) => &list[..],
        Some(_) => return Err(Error::invalid("key tokenizer.ggml.merges is not an array of strings")),
        None if pre.names.contains(&"kimi-k2") => &[],
        None => return Err(Error::invalid("key tokenizer.ggml.merges is missing")),
    };
    let lowercase = flag(meta, "normalizer.lowercase", !pre.names.contains(&"whitespace"))?;
    Ok(Coder::Bpe(Box::new(Bpe::new(texts, merges, pre)?), Session::new(model.name, lowercase, texts)))
}

fn word_pieces(meta: &Meta, texts: &Texts) -> Result<Wpm> {
    let lowercase = flag(meta, "normalizer.lowercase", true)?;
    Wpm::new(texts, lowercase, flag(meta, "normalizer.strip_accents", lowercase)?)
}

fn charsmap(meta: &Meta) -> Result<Charsmap> {
    match meta.array(&key("precompiled_charsmap"))? {
        None => Ok(Charsmap::default()),
        Some(Array::U8(bytes)) => Charsmap::new(bytes),
        Some(Array::I8(bytes)) => Charsmap::new(&bytes.iter().map(|b| b.cast_unsigned()).collect::<Vec<_>>()),
        Some(_) => Err(Error::invalid("key tokenizer.ggml.precompiled_charsmap is not an array of bytes")),
    }
}

fn flag(meta: &Meta, name: &str, default: bool) -> Result<bool> {
    Ok(meta.bool(&key(name))?.unwrap_or(default))
}

fn flags(meta: &Meta, kind: VocabType, pre: Option<&Pre>) -> Result<Flags> {
    let of_kind = |kinds: &[VocabType]| kinds.contains(&kind);
    let bool = |name: &str, default: bool| flag(meta, name, default);
    let add_bos = bool("add_bos_token", pre.map_or(of_kind(&[VocabType::Spm, VocabType::Wpm]), |p| p.add_bos))?;
    Ok(Flags {
        add_space_prefix: bool("add_space_prefix", of_kind(&[VocabType::Spm]))?,
        add_bos: add_bos || pre.is_some_and(|p| p.gemma4),
        add_eos: bool("add_eos_token", of_kind(&[VocabType::Ugm]))?,
        add_sep: bool("add_sep_token", pre.map_or(of_kind(&[VocabType::Wpm]), |p| p.add_sep))?,
        clean_spaces: pre.map_or(of_kind(&[VocabType::Wpm]), |p| p.clean_spaces),
        escape_spaces: pre.is_none_or(|p| p.escape_spaces),
    })
}

/// Defaults that the vocabulary is too small for.
fn disable_out_of_range(ids: &mut SpecialIds, n_tokens: usize) {
    for (name, id) in ids.by_key() {
        if *id >= 0 && *id as usize >= n_tokens {
            log::debug(format!("default {name} {id} is out of range and not used"));
            *id = NONE;
        }
    }
}

fn read_ids(meta: &Meta, ids: &mut SpecialIds, n_tokens: usize) -> Result<()> {
    let read = |name: &str, id: &mut i32| {
        match meta.u32(&key(name))? {
            None => {}
            Some(new) if (new as usize) < n_tokens => *id = new as i32,
            Some(new) => log::warn(format!("{name} {new} is out of range; {id} is used")),
        }
        Ok::<(), Error>(())
    };
    ids.by_key().into_iter().try_for_each(|(name, id)| read(name, id))?;
    ids.by_old_key().into_iter().try_for_each(|(name, id)| read(name, id))
}

/// The token that a line break becomes.
fn newline(coder: &Coder, lexicon: &Lexicon<'_>) -> Option<i32> {
    match coder {
        Coder::Spm(_) => spm::byte_token(lexicon.texts, b'\n').map(|id| id as i32),
        Coder::Wpm(_) => None,
        _ => {
            let mut ids = Vec::new();
            // A vocabulary that cannot spell a line break has none.
            coder.tokenize(lexicon, b"\n", &mut ids).ok()?;
            ids.first().copied()
        }
    }
}

/// Tokens that a sampler should never choose; ids that are out of range are dropped.
fn suppressed(meta: &Meta, n_tokens: usize) -> Result<Vec<i32>> {
    match meta.array(&key("suppress_tokens"))? {
        None => Ok(Vec::new()),
        Some(Array::I32(ids)) => Ok(ids.iter().copied().filter(|id| usize::try_from(*id).is_ok_and(|id| id < n_tokens)).collect()),
        Some(_) => Err(Error::invalid("key tokenizer.ggml.suppress_tokens is not an array of i32")),
    }
}
