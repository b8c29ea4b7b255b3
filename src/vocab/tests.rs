//! Small vocabularies made here, properties, hostile metadata, and the original's own cases where they are at hand.
use super::*;
use crate::gguf::{Array, LoadMode, Meta, Source, Value};
use proptest::prelude::*;
use std::path::{Path, PathBuf};

const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER: i32 = 4;
const BYTE: i32 = 6;

/// A file's metadata in the making.
#[derive(Clone)]
struct File(Vec<(String, Value)>);

impl File {
    fn new(model: &str, tokens: &[(&str, i32)]) -> File {
        let texts = tokens.iter().map(|t| t.0.as_bytes().to_vec()).collect();
        let types = tokens.iter().map(|t| t.1).collect();
        File(vec![])
            .with("tokenizer.ggml.model", Value::Str(model.into()))
            .with("tokenizer.ggml.tokens", Value::Array(Array::Str(texts)))
            .with("tokenizer.ggml.token_type", Value::Array(Array::I32(types)))
    }
    fn with(mut self, key: &str, value: Value) -> File {
        self.0.retain(|(k, _)| k != key);
        self.0.push((key.into(), value));
        self
    }
    fn strings(self, key: &str, list: &[&str]) -> File {
        self.with(key, Value::Array(Array::Str(list.iter().map(|s| s.as_bytes().to_vec()).collect())))
    }
    fn id(self, role: &str, id: u32) -> File {
        self.with(&format!("tokenizer.ggml.{role}_token_id"), Value::U32(id))
    }
    fn flag(self, name: &str, on: bool) -> File {
        self.with(&format!("tokenizer.ggml.{name}"), Value::Bool(on))
    }
    fn load(self) -> Result<Vocab> {
        Vocab::from_meta(&Meta::new(self.0), "test")
    }
}

/// Letters of the byte alphabet that the tests use, "lo", "low", " low" and two special tokens.
fn bpe() -> File {
    let tokens = [
        ("l", NORMAL),
        ("o", NORMAL),
        ("w", NORMAL),
        ("e", NORMAL),
        ("r", NORMAL),
        ("Ġ", NORMAL),
        ("lo", NORMAL),
        ("low", NORMAL),
        ("Ġlow", NORMAL),
        ("er", NORMAL),
        ("Ċ", NORMAL),
        ("<s>", CONTROL),
        ("<|im_end|>", CONTROL),
        ("<tool>", USER),
        (".", NORMAL),
        ("'", NORMAL),
        ("s", NORMAL),
    ];
    File::new("gpt2", &tokens)
        .strings("tokenizer.ggml.merges", &["l o", "lo w", "Ġ low", "e r", "x y", "", "nospace"])
        .with("tokenizer.ggml.pre", Value::Str("qwen2".into()))
        .id("bos", 11)
        .id("eos", 12)
}

fn spm() -> File {
    let mut tokens: Vec<(String, i32)> = vec![("<unk>".into(), UNKNOWN), ("<s>".into(), CONTROL), ("</s>".into(), CONTROL)];
    tokens.extend((0..=255u8).map(|b| (format!("<0x{b:02X}>"), BYTE)));
    tokens.extend(["▁", "h", "e", "l", "o", "he", "ll", "▁h", "▁he", "llo", "▁hello", "▁▁"].map(|t| (t.to_string(), NORMAL)));
    let scores: Vec<f32> = (0..tokens.len()).map(|i| if i < 259 { 0.0 } else { -(i as f32) }).collect();
    let tokens: Vec<(&str, i32)> = tokens.iter().map(|(t, k)| (t.as_str(), *k)).collect();
    File::new("llama", &tokens).with("tokenizer.ggml.scores", Value::Array(Array::F32(scores)))
}

fn texts_of(v: &Vocab, text: &str, add: bool, parse: bool) -> Vec<String> {
    let ids = v.tokenize(text.as_bytes(), add, parse).unwrap();
    ids.iter().map(|id| String::from_utf8_lossy(v.text(*id).unwrap()).into_owned()).collect()
}

#[test]
fn a_vocabulary_is_shared_by_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Vocab>();
}

#[test]
fn bpe_merges_by_rank() {
    let v = bpe().load().unwrap();
    assert_eq!((v.kind(), v.n_tokens(), v.nl()), (VocabType::Bpe, 17, 10));
    assert_eq!(texts_of(&v, "lower low", false, false), ["low", "er", "Ġlow"]);
    assert_eq!(texts_of(&v, "low\n", false, false), ["low", "Ċ"]);
    // q and z are no tokens: dropped, as in the original.
    assert_eq!(texts_of(&v, "qlowz", false, false), ["low"]);
    assert!(v.tokenize(b"", true, true).unwrap().is_empty());
}

#[test]
fn special_tokens_only_when_asked_for() {
    let v = bpe().flag("add_bos_token", true).flag("add_eos_token", true).load().unwrap();
    assert_eq!(texts_of(&v, "low<tool>er", true, false), ["<s>", "low", "<tool>", "er", "<|im_end|>"]);
    assert_eq!(texts_of(&v, "<s>low", false, true), ["<s>", "low"]);
    assert_eq!(texts_of(&v, "<s>low", false, false), ["s", "low"]); // < and > are no tokens
    let ids = v.tokenize(b"low", true, true).unwrap();
    assert_eq!(v.detokenize(&ids, true, true).unwrap(), b"low");
    assert_eq!(v.detokenize(&ids, false, true).unwrap(), b"<s>low<|im_end|>");
    assert_eq!(v.detokenize(&ids, false, false).unwrap(), b"low");
}

#[test]
fn roles_by_text() {
    let v = bpe().load().unwrap();
    assert_eq!((v.bos(), v.eos(), v.eot(), v.pad(), v.cls(), v.fim_pre()), (11, 12, 12, -1, 11, -1));
    assert!(v.is_eog(12) && !v.is_eog(11) && !v.is_eog(-1) && v.is_control(11) && !v.is_control(13));
    let tokens =
        [("<|fim_prefix|>", NORMAL), ("<|file_sep|>", CONTROL), ("<|return|>", CONTROL), ("<|call|>", CONTROL), ("<|end|>", CONTROL)];
    let v = File::new("gpt2", &tokens).strings("tokenizer.ggml.merges", &[]).load().unwrap();
    assert_eq!((v.fim_pre(), v.fim_sep(), v.eot(), v.bos()), (0, 1, 4, -1));
    assert_eq!(v.eog_tokens().collect::<Vec<_>>(), [1, 2, 3]); // harmony: <|end|> ends a message only
    assert_eq!((v.attr(0), v.attr(4)), (Some(attr::NORMAL | attr::CONTROL), Some(attr::USER_DEFINED)));
}

#[test]
fn dna_is_read_in_groups_of_six() {
    let tokens =
        [("<dna>", NORMAL), ("</dna>", NORMAL), ("<oov>", NORMAL), ("ACGTAC\u{E000}", NORMAL), ("CAAAAA\u{E000}", NORMAL), ("C", NORMAL)];
    let v = File::new("hybriddna", &tokens).strings("tokenizer.ggml.merges", &[]).load().unwrap();
    assert_eq!(v.tokenize(b"C<dna>acgtacACGTANc</dna>C<dna>CC", false, false).unwrap(), [5, 0, 3, 2, 4, 1, 5, 0, 2]);
    assert_eq!(v.text(3), Some(&b"ACGTAC"[..]));
}

#[test]
fn words_between_white_space() {
    let file = bpe().with("tokenizer.ggml.model", Value::Str("whitespace".into()));
    let v = file.clone().load().unwrap();
    assert_eq!((texts_of(&v, " LOW\tlow ", false, false), v.nl()), (vec!["low".to_string(), "low".into()], -1));
    let v = file.flag("normalizer.lowercase", false).load().unwrap();
    assert_eq!(texts_of(&v, " LOW\tlow ", false, false), ["low"]);
}

#[test]
fn clean_spaces_of_old_vocabularies() {
    let gpt2 = bpe().with("tokenizer.ggml.pre", Value::Str("gpt-2".into())).load().unwrap();
    let text = |v: &Vocab, s: &str| {
        let ids = v.tokenize(s.as_bytes(), false, false).unwrap();
        String::from_utf8(v.detokenize(&ids, false, false).unwrap()).unwrap()
    };
    assert_eq!(text(&gpt2, "low . er 's ' w"), "low. er's'w");
    assert_eq!(text(&bpe().load().unwrap(), "low . er 's"), "low . er 's");
    let ids = gpt2.tokenize(b"low .", false, false).unwrap();
    assert_eq!(gpt2.detokenize_sized(&ids, false, false).unwrap(), (b"low.".to_vec(), 5));
}

#[test]
fn spm_joins_by_score_and_falls_back_to_bytes() {
    let v = spm().load().unwrap();
    assert_eq!((v.kind(), v.nl(), v.add_bos(), v.bos(), v.eos()), (VocabType::Spm, 13, true, 1, 2));
    assert_eq!(texts_of(&v, "hello", true, false), ["<s>", "▁hello"]);
    assert_eq!(texts_of(&v, "hhell", false, false), ["▁h", "he", "ll"]); // he has a better score than ▁h and ll
    assert_eq!(texts_of(&v, "é", false, false), ["▁", "<0xC3>", "<0xA9>"]);
    assert_eq!(v.tokenize(b"\xFF\x00", false, false).unwrap(), [259, 258, 3]);
    let ids = v.tokenize("hello  é".as_bytes(), true, false).unwrap();
    assert_eq!(v.detokenize(&ids[1..], true, false).unwrap(), "hello  é".as_bytes());
    assert_eq!(v.detokenize(&ids, true, false).unwrap(), " hello  é".as_bytes()); // the space before the text goes only without BOS
    assert_eq!(v.token_to_piece(269, 0, false).unwrap().as_ref(), b" hello");
    assert_eq!(v.token_to_piece(269, 1, false).unwrap().as_ref(), b"hello");
    assert_eq!(v.token_to_piece(1, 0, false).unwrap().as_ref(), b"");
    assert_eq!(v.token_to_piece(1, 0, true).unwrap().as_ref(), b"<s>");
    assert!(v.token_to_piece(-1, 0, true).is_none() && v.token_to_piece(1_000_000_000, 0, true).is_none());
}

#[test]
fn phi3_swallows_white_space_after_special_tokens() {
    let v = spm().with("general.name", Value::Str("Phi3 mini".into())).load().unwrap();
    assert_eq!(texts_of(&v, "</s>  \nhe", false, true), ["</s>", "▁he"]);
    assert_eq!(texts_of(&v, "<s> he", false, true), ["<s>", "▁", "▁he"]);
}

#[test]
fn a_model_without_tokens() {
    let file = File(vec![]).with("tokenizer.ggml.model", Value::Str("none".into())).with("test.vocab_size", Value::U32(u32::MAX));
    let v = file.load().unwrap();
    assert_eq!((v.kind(), v.n_tokens(), v.bos(), v.nl()), (VocabType::None, u32::MAX, -1, -1));
    assert!(v.tokenize(b"x", true, true).is_err());
    assert_eq!((v.text(5), v.detokenize(&[5], true, true).unwrap()), (Some(&b""[..]), vec![]));
}

/// "un", "##"-less continuations as the original stores them: the start of a word has U+2581 before it.
fn wpm() -> File {
    let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "▁un", "▁want", "ed", "▁runn", "ing", "▁,", "▁中", "▁a", "▁un中"];
    let tokens: Vec<(&str, i32)> = words.iter().map(|t| (*t, if t.starts_with('[') { CONTROL } else { NORMAL })).collect();
    File::new("bert", &tokens).id("bos", 2).id("seperator", 3).id("unknown", 1).id("mask", 0)
}

fn ugm() -> File {
    let tokens = [
        ("<pad>", CONTROL, 0.0),
        ("</s>", CONTROL, 0.0),
        ("<unk>", UNKNOWN, 0.0),
        ("▁", NORMAL, -2.0),
        ("a", NORMAL, -3.0),
        ("b", NORMAL, -3.5),
        ("ab", NORMAL, -4.0),
        ("▁a", NORMAL, -4.5),
        ("<x>", USER, -90.0),
        ("ba", NORMAL, -7.5),
    ];
    let texts: Vec<(&str, i32)> = tokens.iter().map(|t| (t.0, t.1)).collect();
    let scores = tokens.iter().map(|t| t.2).collect();
    File::new("t5", &texts).with("tokenizer.ggml.scores", Value::Array(Array::F32(scores))).flag("add_space_prefix", true)
}

fn rwkv() -> File {
    let mut tokens: Vec<(String, i32)> = vec![("<s>".into(), CONTROL)];
    tokens.extend((0..=255u8).map(|b| (format!("\\x{b:02x}"), NORMAL)));
    tokens.extend(["ab", "abcd", "\\n\\n"].map(|t| (t.to_string(), NORMAL)));
    let tokens: Vec<(&str, i32)> = tokens.iter().map(|(t, k)| (t.as_str(), *k)).collect();
    File::new("rwkv", &tokens)
}

fn plamo2() -> File {
    let mut tokens: Vec<(String, i32)> =
        ["<|plamo:unk|>", "<|plamo:bos|>", "<|plamo:eos|>", "<|plamo:pad|>"].map(|t| (t.into(), CONTROL)).into();
    tokens.extend((0..=255u8).map(|b| (format!("<0x{b:02X}>"), BYTE)));
    let words = [("a", -3.0), ("b", -3.0), ("ab", -5.0), ("abc", -9.0), ("c", -3.0), ("日本", -6.0), ("日", -8.0)];
    tokens.extend(words.map(|(t, _)| (t.to_string(), NORMAL)));
    let mut scores = vec![0.0; 260];
    scores.extend(words.map(|(_, s)| s as f32));
    let tokens: Vec<(&str, i32)> = tokens.iter().map(|(t, k)| (t.as_str(), *k)).collect();
    File::new("plamo2", &tokens).with("tokenizer.ggml.scores", Value::Array(Array::F32(scores)))
}

/// One of each tokenizer.
fn each() -> Vec<Vocab> {
    [bpe(), spm(), wpm(), ugm(), rwkv(), plamo2(), File::new("test", &[("a", NORMAL), ("b", NORMAL), ("c", NORMAL)])]
        .map(|f| f.load().unwrap())
        .into()
}

#[test]
fn wpm_takes_words_apart_from_the_left() {
    let v = wpm().load().unwrap();
    assert_eq!((v.kind(), v.cls(), v.sep(), v.nl()), (VocabType::Wpm, 2, 3, 0));
    assert_eq!(texts_of(&v, "UNWANTED,Únrunning", true, false), ["[CLS]", "[UNK]", "▁,", "[UNK]", "[SEP]"]);
    assert_eq!(texts_of(&v, "wantéd\u{200b} runn\ting 中a", false, false), ["▁want", "ed", "▁runn", "[UNK]", "▁中", "▁a"]);
    assert_eq!(texts_of(&v, "[CLS] a", false, true), ["[CLS]", "▁a"]);
    let exact = wpm().flag("normalizer.lowercase", false).load().unwrap();
    assert_eq!(texts_of(&exact, "a A é", false, false), ["▁a", "[UNK]", "[UNK]"]);
    let none = wpm().id("unknown", 99).with("tokenizer.ggml.tokens", Value::Array(Array::Str(vec![b"x".to_vec()])));
    let none = none.with("tokenizer.ggml.token_type", Value::Array(Array::I32(vec![NORMAL]))).load().unwrap();
    assert!(none.tokenize(b"y", false, false).unwrap_err().to_string().contains("'y'"));
}

#[test]
fn ugm_takes_the_best_sum() {
    let v = ugm().load().unwrap();
    assert_eq!((v.kind(), v.add_bos(), v.add_eos(), v.eos()), (VocabType::Ugm, false, true, 1));
    assert_eq!(texts_of(&v, "aab", true, false), ["▁a", "ab", "</s>"]);
    assert_eq!(texts_of(&v, "ba", false, false), ["▁", "b", "a"]); // -3.5 - 3 is better than -7.5
    assert_eq!(texts_of(&v, "a  zz!b", false, false), ["▁a", "▁", "▁", "<unk>", "b"]);
    assert_eq!(texts_of(&v, "a <x>", false, false), ["▁a", "▁", "<x>"]);
    let merged = ugm().flag("remove_extra_whitespaces", true).load().unwrap();
    assert_eq!(texts_of(&merged, "  a  b ", false, false), ["▁a", "▁", "b"]);
    // A charsmap that turns A into a.
    let mut units = vec![0_u32; 256];
    units[0] = 0x80 << 10;
    units[0xC1] = 0x41 | 1 << 8 | (0xC1 ^ 0x10) << 10;
    units[0x10] = 1 << 31;
    let bytes = [&1024_u32.to_le_bytes()[..], &units.iter().flat_map(|u| u.to_le_bytes()).collect::<Vec<u8>>(), b"a\0"].concat();
    let with_map = ugm().with("tokenizer.ggml.precompiled_charsmap", Value::Array(Array::U8(bytes))).load().unwrap();
    assert_eq!(texts_of(&with_map, "AB", false, false), ["▁a", "<unk>"]);
}

#[test]
fn rwkv_takes_the_longest() {
    let v = rwkv().load().unwrap();
    assert_eq!((v.kind(), v.nl()), (VocabType::Rwkv, 11));
    assert_eq!(v.tokenize(b"abcab\n\n\xFF", true, false).unwrap(), [257, 100, 257, 259, 256]);
    assert_eq!(v.token_to_piece(259, 0, false).unwrap().as_ref(), b"\n\n");
    let gap = File::new("rwkv", &[("ab", NORMAL)]).load().unwrap();
    assert_eq!(gap.nl(), -1);
    assert!(gap.tokenize(b"ac", false, false).unwrap_err().to_string().contains("byte 0x61"));
}

#[test]
fn plamo2_takes_the_least_cost() {
    let v = plamo2().load().unwrap();
    assert_eq!((v.kind(), v.bos(), v.nl()), (VocabType::Plamo2, 1, 14));
    assert_eq!(texts_of(&v, "abcab", true, false), ["ab", "c", "ab"]); // -5 - 3 is better than -9
    assert_eq!(texts_of(&v, "\u{FEFF}日本日z", false, false), ["日本", "日", "<0x7A>"]);
    assert_eq!(texts_of(&v, "é", false, false), ["<0xC3>", "<0xA9>"]);
    assert_eq!(v.token_to_piece(4 + 0x41, 0, false).unwrap().as_ref(), b"A");
    let e = File::new("plamo2", &[("a", NORMAL)]).load().err().unwrap();
    assert!(e.to_string().contains("<0x00>"), "{e}");
}

#[test]
fn the_vocabulary_of_test_models() {
    let v = File::new("test", &[("a", NORMAL), ("b", NORMAL), ("c", NORMAL)]).load().unwrap();
    assert_eq!(v.tokenize(b"\x01\x02abcdefg", true, true).unwrap().len(), 2);
    assert_eq!(
        (v.tokenize(b"\x01\x02", true, true).unwrap(), v.token_to_piece(2, 0, true).unwrap().as_ref()),
        (vec![(31 + 2) % 3], &b"2"[..])
    );
}

#[test]
fn bad_metadata_is_refused_by_name() {
    let refused = |f: File, key: &str| {
        let e = f.load().err().unwrap_or_else(|| panic!("{key} was accepted")).to_string();
        assert!(e.contains(key), "{e}");
    };
    refused(File(vec![]), "tokenizer.ggml.model");
    refused(bpe().with("tokenizer.ggml.model", Value::Str("zzz".into())), "zzz");
    refused(bpe().with("tokenizer.ggml.tokens", Value::U32(1)), "tokenizer.ggml.tokens");
    refused(bpe().with("tokenizer.ggml.tokens", Value::Array(Array::I32(vec![]))), "tokenizer.ggml.tokens");
    refused(bpe().with("tokenizer.ggml.merges", Value::Array(Array::U8(vec![]))), "tokenizer.ggml.merges");
    refused(bpe().with("tokenizer.ggml.token_type", Value::Array(Array::I32(vec![1]))), "tokenizer.ggml.token_type");
    refused(bpe().with("tokenizer.ggml.scores", Value::Array(Array::F32(vec![1.0]))), "tokenizer.ggml.scores");
    refused(bpe().with("tokenizer.ggml.scores", Value::Array(Array::U8(vec![0; 99]))), "tokenizer.ggml.scores");
    refused(bpe().with("tokenizer.ggml.bos_token_id", Value::Str("x".into())), "bos_token_id");
    refused(bpe().with("tokenizer.ggml.add_bos_token", Value::U32(1)), "add_bos_token");
}

#[test]
fn odd_metadata_has_a_defined_result() {
    let v = bpe().id("bos", 999).id("padding", u32::MAX).load().unwrap();
    assert_eq!((v.bos(), v.pad()), (11, -1)); // the default is kept
    let v = bpe().with("tokenizer.ggml.suppress_tokens", Value::Array(Array::I32(vec![-1, 3, 17, 4]))).load().unwrap();
    assert_eq!(v.suppress_tokens(), [3, 4]);
    let v = File::new("gpt2", &[("a\0b", NORMAL), ("", NORMAL), ("a", NORMAL)]).strings("tokenizer.ggml.merges", &["a a"]).load().unwrap();
    assert_eq!((v.text(0), v.text(1), v.text_c(2)), (Some(&b"a"[..]), Some(&b"[EMPTY_1]"[..]), Some(c"a")));
    assert_eq!(v.tokenize(b"aa", false, false).unwrap(), [2, 2]); // of equal texts the last; "aa" is no token
    let v = File::new("llama", &[]).load().unwrap();
    assert_eq!((v.n_tokens(), v.bos(), v.nl()), (0, -1, -1));
    assert!(v.tokenize(b"a", true, true).is_err());
    let v = File::new("gpt2", &[("ĠĀ€", NORMAL), ("\u{20AC}", BYTE)]).strings("tokenizer.ggml.merges", &[]).load().unwrap();
    assert_eq!(v.token_to_piece(0, 0, true).unwrap(), [b" \0[UNK_BYTE_0xe282ac".as_slice(), "ĠĀ€]".as_bytes()].concat());
    assert_eq!(v.token_to_piece(1, 0, true).unwrap().as_ref(), b"\0");
}

#[test]
fn an_unknown_pre_tokenizer_is_refused_by_name() {
    let e = bpe().with("tokenizer.ggml.pre", Value::Str("from-the-future".into())).load().err().unwrap().to_string();
    assert!(e.contains("'from-the-future'") && e.contains("llama-bpe"), "{e}");
    let v = bpe().with("tokenizer.ggml.pre", Value::Str("".into())).load().unwrap();
    assert_eq!(texts_of(&v, "low low", false, false), ["low", "Ġlow"]);
}

/// Long words: merging is n log n, and what cannot be merged costs no more.
#[test]
fn a_megabyte_of_one_letter() {
    for byte in [b'l', b' ', b'h', b'a', b'\n', b'<', 0xFF] {
        let text = vec![byte; 1 << 20];
        for v in each() {
            v.tokenize(&text, true, true).unwrap();
        }
    }
}

fn back_and_forth(text: &[u8]) -> Vec<u8> {
    let v = spm().load().unwrap();
    v.detokenize(&v.tokenize(text, false, false).unwrap(), false, false).unwrap()
}

proptest! {
    #[test]
    fn no_bytes_are_too_odd(text in prop::collection::vec(any::<u8>(), 0..200), add: bool, parse: bool) {
        for v in each() {
            let ids = v.tokenize(&text, add, parse).unwrap();
            prop_assert!(ids.iter().all(|id| v.text(*id).is_some()));
            v.detokenize(&ids, add, parse).unwrap();
        }
    }

    /// With a byte token for every byte nothing is lost, whatever the bytes.
    #[test]
    fn spm_round_trip(text in prop::collection::vec(any::<u8>(), 1..100)) {
        // A space behind a truncated code point would lose its first bytes to it.
        let text: Vec<u8> = text.into_iter().filter(|b| *b != b' ').collect();
        prop_assert_eq!(back_and_forth(&text), text);
    }

    /// Merging word by word is only a short cut.
    #[test]
    fn spm_words_do_not_touch(text in "[hel ▁é]{0,40}", cut in prop::collection::vec(any::<u8>(), 0..3)) {
        let text = [text.as_bytes(), &cut, text.as_bytes()].concat();
        let v = spm().load().unwrap();
        let Coder::Spm(coder) = &v.coder else { panic!("an SPM vocabulary") };
        let marked = escape_spaces(&text, true).unwrap();
        let tokens = |by_word: bool| {
            let mut out = Vec::new();
            let lexicon = Lexicon { texts: &v.texts, scores: &v.scores, attrs: &v.attrs, unk: 0 };
            coder.clone().with_words(by_word).tokenize(&lexicon, &marked, &mut out).unwrap();
            out
        };
        prop_assert_eq!(tokens(true), tokens(false));
    }

    #[test]
    fn spm_round_trip_of_text(text in "[a-zé▂ ]{0,60}") {
        prop_assert_eq!(back_and_forth(text.as_bytes()), text.into_bytes());
    }

    /// Metadata of random shape loads or is refused; either way it comes back.
    #[test]
    fn hostile_metadata(
        texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 0..20), types in prop::collection::vec(-1i32..9, 0..24),
        merges in prop::collection::vec("[ab ]{0,4}", 0..10), ids in prop::collection::vec(any::<u32>(), 3), model in 0usize..12,
        text in prop::collection::vec(any::<u8>(), 0..40)
    ) {
        let models = ["gpt2", "llama", "gemma4", "whitespace", "hybriddna", "bert", "t5", "rwkv", "plamo2", "test", "none", "gpt2"];
        let merges: Vec<&str> = merges.iter().map(String::as_str).collect();
        let file = File::new(models[model], &[])
            .with("tokenizer.ggml.tokens", Value::Array(Array::Str(texts)))
            .with("tokenizer.ggml.token_type", Value::Array(Array::I32(types)))
            .strings("tokenizer.ggml.merges", &merges)
            .id("bos", ids[0] % 24).id("eos", ids[1]).id("fim_pad", ids[2] % 24)
            .flag("add_bos_token", true).flag("add_eos_token", true);
        if let Ok(v) = file.load() {
            let tokens = v.tokenize(&text, true, true).unwrap_or_default();
            v.detokenize(&tokens, true, false).unwrap();
            for id in -1..=v.n_tokens().min(30) as i32 {
                let known = v.text(id).is_some();
                prop_assert_eq!(known, v.token_to_piece(id, 1, true).is_some());
            }
        }
    }
}

/// Where the conformance data lies, if it is at hand.
fn shared_vocabs() -> Option<PathBuf> {
    let shared = std::env::var_os("CAMELID_SHARED").map(PathBuf::from);
    let dir = shared.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared")).join("conformance/vocab");
    dir.is_dir().then_some(dir)
}

/// The original's cases: texts in `.inp`, a line of ids for each in `.out`.
#[test]
fn cases_of_the_original() {
    let Some(dir) = shared_vocabs() else {
        eprintln!("SKIPPED: no conformance vocabularies; set CAMELID_SHARED to the folder that holds conformance/");
        return;
    };
    let mut n_vocabs = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "gguf") && path.with_extension("gguf.inp").exists() {
            check_cases(&path);
            n_vocabs += 1;
        }
    }
    assert!(n_vocabs >= 15, "only {n_vocabs} vocabularies checked");
}

fn check_cases(path: &Path) {
    let source = Source::open(path, LoadMode::None).unwrap();
    let meta = &source.gguf().meta;
    let v = Vocab::from_meta(meta, meta.str("general.architecture").unwrap().unwrap_or_default()).unwrap();
    let inp = std::fs::read(path.with_extension("gguf.inp")).unwrap();
    let out = std::fs::read_to_string(path.with_extension("gguf.out")).unwrap();
    let texts = split_cases(&inp);
    let (mut n, lines) = (0, out.lines());
    for (text, line) in texts.into_iter().zip(lines) {
        let want: Vec<i32> = line.split_whitespace().map(|id| id.parse().unwrap()).collect();
        assert_eq!(v.tokenize(text, false, false).unwrap(), want, "{}: {:?}", path.display(), String::from_utf8_lossy(text));
        n += 1;
    }
    assert!(n > 40, "{}: only {n} cases", path.display());
}

fn split_cases(inp: &[u8]) -> Vec<&[u8]> {
    const MARK: &[u8] = b"\n__ggml_vocab_test__\n";
    let (mut cases, mut rest) = (Vec::new(), inp);
    while let Some(at) = rest.windows(MARK.len()).position(|w| w == MARK) {
        cases.push(&rest[..at]);
        rest = &rest[at + MARK.len()..];
    }
    cases.push(rest);
    cases
}
