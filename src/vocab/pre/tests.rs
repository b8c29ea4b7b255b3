//! Each rule by example, properties of every pre-tokenizer, and texts that would be slow if anything looked back.
use super::*;
use proptest::prelude::*;

fn words<'a>(name: &str, text: &'a str) -> Vec<&'a str> {
    let ends = split(text.as_bytes(), by_name(name).unwrap().splits).unwrap();
    ends.iter().scan(0, |start, end| Some(&text[std::mem::replace(start, *end)..*end])).collect()
}

#[test]
fn gpt2() {
    assert_eq!(words("gpt-2", "I'll  don't DON'T"), ["I", "'ll", " ", " don", "'t", " DON", "'", "T"]);
    assert_eq!(words("gpt-2", "a1  2\n\n b ?!x  "), ["a", "1", " ", " 2", "\n\n", " b", " ?!", "x", "  "]);
    assert_eq!(words("gpt-2", "1234567"), ["1234567"]);
}

#[test]
fn llama3_and_qwen2() {
    assert_eq!(words("llama3", "I'LL \"quote 1234567"), ["I", "'LL", " \"", "quote", " ", "123", "456", "7"]);
    assert_eq!(words("llama3", "a!\n\n  \n  b"), ["a", "!\n\n", "  \n", " ", " b"]);
    assert_eq!(words("qwen2", "x12 e\u{301}a"), ["x", "1", "2", " e", "\u{301}a"]);
    assert_eq!(words("qwen35", "x12 e\u{301}a"), ["x", "1", "2", " e\u{301}a"]);
    assert_eq!(words("qwen2", "ab   "), ["ab", "   "]);
}

#[test]
fn digits() {
    assert_eq!(words("falcon", "12345 a"), ["123", "45", " a"]);
    assert_eq!(words("starcoder", "12 3"), ["1", "2", " ", "3"]);
    assert_eq!(words("superbpe", "1234567 12 123"), ["1", "234", "567", " ", "12", " ", "123"]);
    assert_eq!(words("tiny_aya", "1234567"), ["1", "234", "567"]);
    assert_eq!(words("minicpm5", "1234"), ["123", "4"]);
}

#[test]
fn letter_case() {
    assert_eq!(words("tekken", "HelloWORLDfoo"), ["Hello", "WORLDfoo"]);
    assert_eq!(words("gpt-4o", "CamelCase's ÄBC"), ["Camel", "Case's", " Ä", "BC"]); // Ä is in both halves of the pattern, B and C in one
    assert_eq!(words("kimi-k2", "ab中文cd's"), ["ab", "中文", "cd's"]);
}

#[test]
fn one_of_each_other_kind() {
    // Its punctuation goes up to the tilde, so that it cuts ASCII letters off the others.
    assert_eq!(words("deepseek-llm", "héé 中 3.  "), ["h", "éé", " ", "中", " ", "3", ".", "  "]);
    assert_eq!(words("deepseek-coder", " a. 1中"), [" a", ".", " ", "1", "中"]);
    assert_eq!(words("deepseek-v3", "foo(bar) 你好12345"), ["foo", "(bar", ")", " ", "你好", "123", "45"]);
    assert_eq!(words("bloom", " a.b c"), [" a", ".", "b", " c"]);
    assert_eq!(words("exaone-moe", "one two  three!/"), ["one two", " ", " three", "!/"]);
    assert_eq!(words("chameleon", "<sentinel:12>IMGIMGABZ\n    x"), ["<", "sentinel", ":", "1", "2", ">", "IMGIMGABZ", "\n", "    ", "x"]);
    assert_eq!(words("gemma4", "a b\n\nc"), ["a b", "\n\n", "c"]);
    assert_eq!(words("whitespace", "a  b"), ["a", "  ", "b"]);
    let runs: Vec<usize> = words("jais-2", &(" ".repeat(700) + "x")).iter().map(|w| w.len()).collect();
    assert_eq!(runs, [512, 128, 32, 16, 8, 2, 1, 2]); // the last space goes with the word
}

#[test]
fn names_are_unique_and_unknown_ones_are_none() {
    let names: Vec<&str> = table::ALL.iter().chain([&DEFAULT]).flat_map(|p| p.names).copied().collect();
    let unique: std::collections::BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(names.len(), unique.len());
    assert!(by_name("no-such-name").is_none() && by_name("").is_none());
}

/// A megabyte in all, through every pattern: a rule that looked back over a run would not end.
#[test]
fn long_runs_take_linear_time() {
    let n = 1 << 20;
    for unit in ["a", "A", " ", "\n", " \n", "1", "中", "\u{301}", "'", "\u{1}", "a ", "IMGIMG", "<sentinel:1"] {
        let text = unit.repeat(n / 8 / unit.len());
        for pre in table::ALL {
            let ends = split(text.as_bytes(), pre.splits).unwrap();
            assert!(ends.is_sorted() && ends.last() == Some(&text.len()), "{unit:?}");
        }
    }
}

proptest! {
    /// Words are the text, in order, and every cut is between code points.
    #[test]
    fn words_are_the_text(text in "(?s)([a-zA-Z0-9 '.\n\t\r/_-]|\\PC|.){0,40}") {
        for pre in table::ALL {
            let ends = split(text.as_bytes(), pre.splits).unwrap();
            prop_assert!(ends.iter().all(|e| text.is_char_boundary(*e)));
            prop_assert!(ends.windows(2).all(|w| w[0] < w[1]), "{:?} {:?}", pre.names, ends);
            prop_assert_eq!(ends.last().copied().unwrap_or(0), text.len());
        }
    }
}
