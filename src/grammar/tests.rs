//! Grammars by example, over words of a few letters, and hostile ones.
use super::*;
use proptest::prelude::*;

const NO_TOKENS: FindToken<'_> = &|_| None;

fn grammar(text: &str) -> Grammar {
    Grammar::new(text.as_bytes(), b"root", NO_TOKENS).unwrap_or_else(|e| panic!("{e}"))
}

/// All of `text` is read, character by character.
fn reads(g: &Grammar, text: &str) -> bool {
    let mut g = g.copy().unwrap();
    text.chars().all(|c| g.accept(-1, c.to_string().as_bytes()).is_ok()) && g.may_end()
}

#[track_caller]
fn language(text: &str, yes: &[&str], no: &[&str]) {
    let g = grammar(text);
    yes.iter().for_each(|t| assert!(reads(&g, t), "{text} does not read {t:?}"));
    no.iter().for_each(|t| assert!(!reads(&g, t), "{text} reads {t:?}"));
}

#[test]
fn notation() {
    language(r#"root ::= "a" [b-d_] | "x"+ # and no more"#, &["ab", "a_", "x", "xxx"], &["", "a", "ae", "xb"]);
    language("root ::= [^a-c\\n]* \".\"", &[".", "xyé.", ".."], &["a.", "\n.", "x"]);
    language("root ::= (\n \"a\" | # here\n \"b\" (\"c\")? ) \"d\"\n\n# there\n", &["ad", "bd", "bcd"], &["acd", "d"]);
    language(r#"root ::= "a"{2} "b"{0,2} "c"{1,} "d"{0}"#, &["aac", "aabbccc"], &["ac", "aabbbc", "aab", "aacd"]);
    language(r#"root ::= "ab"{2,3}"#, &["abab", "ababab"], &["ab", "abababab", "abb"]);
    language(r#"root ::= "\x41\u00e9\U0001F600\t\"\\\[\]\-""#, &["Aé😀\t\"\\[]-"], &["A"]);
    language("root ::= [a-] [-a] [é]", &["a-é", "-aé"], &["baé"]);
    language("root ::= . .", &["ab", "\n\u{1}"], &["a", "abc"]);
    language("root ::= a-1\r\na-1 ::= |\"x\"", &["", "x"], &["xx"]);
    language("root ::= [] \"\" \"a\" [^]", &["a"], &[""]);
    language("root ::= \"a\" | root2\nroot2 ::= \"b\" root2 | \"c\"", &["a", "bbc"], &["b"]);
    language("root ::= \"a\"\nroot ::= \"b\"", &["b"], &["a"]); // the last definition counts
}

#[test]
fn nesting() {
    let json = r#"root ::= object
        value ::= object | array | string | ("true" | "null") ws | [0-9]+ ws
        object ::= "{" ws (string ":" ws value ("," ws string ":" ws value)*)? "}" ws
        array ::= "[" ws (value ("," ws value)*)? "]" ws
        string ::= "\"" [^"\\]* "\"" ws
        ws ::= | " " | "\n" [ \t]{0,20}"#;
    language(json, &[r#"{"a": [1, {"b":null}], "":"x"}"#, "{}"], &["{", r#"{"a"}"#, "[]", r#"{"a": [1, ]}"#]);
    let deep = "{\"a\":".repeat(300) + "1" + &"}".repeat(300);
    assert!(reads(&grammar(json), &deep));
}

#[track_caller]
fn refused(text: &str, what: &str) {
    let e = Grammar::new(text.as_bytes(), b"root", NO_TOKENS).err().unwrap_or_else(|| panic!("{text} was read")).to_string();
    assert!(e.contains(what), "{text}: {e}");
}

#[test]
fn errors_say_where() {
    refused("root ::= \"a\"\n b ::= (\"x\"", "line 2, column 12: expected ')'");
    refused("root = \"a\"", "line 1, column 6: expected ::=");
    refused("root ::= \"a", "unexpected end");
    refused("root ::= [a-", "unexpected end");
    refused("root ::= \"\\q\"", "unknown escape");
    refused("root ::= \"\\x4\"", "2 hexadecimal digits");
    refused("root ::= *", "nothing to repeat");
    refused("root ::= \"a\"{2,1}", "more at least");
    refused("root ::= \"a\"{2001}", "too many repetitions");
    refused("root ::= \"a\"{99999999999999999999}", "too large a number");
    refused("root ::= (\"a\"{100,200}){20}", "too many repetitions of repetitions");
    refused("root ::= \"a\"{2", "expected ','");
    refused("root ::= b", "'b' is not defined");
    refused("b ::= \"b\"", "no rule 'root'");
    refused("root ::= \"a\" ) x", "expected a new line");
    refused("root ::= <x>", "not one token");
    refused("root ::= <[99999999999]>", "too large a token id");
    refused("root ::= !x", "expected '<'");
    refused("# nothing", "no rule 'root'");
}

#[test]
fn left_recursion() {
    refused("root ::= root \"a\" | \"b\"", "'root' refers to itself");
    refused("root ::= x \"a\"\nx ::= y | \"b\"\ny ::= root", "refers to itself");
    refused("root ::= ws root | \"a\"\nws ::= | \" \"", "refers to itself");
    // What the original cannot see: empty by way of another rule. Harmless at the end of an alternative, endless otherwise.
    language("root ::= ws root | \"a\"\nws ::= \" \"*", &["a", "  a"], &[""]);
    refused("root ::= ws root \"b\" | \"a\"\nws ::= \" \"*", "refers to itself");
}

#[test]
fn hostile_grammars_are_refused() {
    refused(&("root ::= \"".to_string() + &"a".repeat(100_000) + "\"{2000}"), "items");
    let branching: String = (0..40).map(|i| format!("r{i} ::= r{} \"a\" | r{} \"b\"\n", i + 1, i + 1)).collect();
    refused(&("root ::= r0\n".to_string() + &branching + "r40 ::= \"x\""), "too ambiguous");
    let deep = "root ::= ".to_string() + &"(".repeat(50_000) + "\"a\"" + &")".repeat(50_000);
    assert!(reads(&grammar(&deep), "a"));
    let chain: String = (0..50_000).map(|i| format!("r{i} ::= r{}\n", i + 1)).collect();
    assert!(reads(&grammar(&("root ::= r0\n".to_string() + &chain + "r50000 ::= \"x\"")), "x"));
    // A state for every length, and sets of stacks that grow with it: an error in the end, and never a dead process.
    let mut g = grammar("root ::= (\"a\"* \"a\"* \"a\"* \"b\")*");
    assert!((0..2000).all(|_| g.accept(-1, b"a").is_ok()));
}

/// A vocabulary for masks: its texts by token.
fn pieces(texts: &[&[u8]]) -> (Pieces, Vec<Vec<u8>>) {
    let texts: Vec<Vec<u8>> = texts.iter().map(|t| t.to_vec()).collect();
    (Pieces::new(&texts).unwrap(), texts)
}

fn allowed(g: &mut Grammar, vocab: &(Pieces, Vec<Vec<u8>>)) -> Vec<usize> {
    let mask = g.mask(&vocab.0, |id| vocab.1[id as usize].clone(), &[]).unwrap();
    let by_mask: Vec<usize> = (0..vocab.1.len()).filter(|id| mask.has(*id as i32)).collect();
    let one_by_one: Vec<usize> = (0..vocab.1.len()).filter(|id| g.allows(*id as i32, &vocab.1[*id]).unwrap()).collect();
    assert_eq!(by_mask, one_by_one);
    by_mask
}

#[test]
fn masks() {
    let vocab = pieces(&[b"a", b"ab", b"abc", b"b", b"", b"ab\0x", b"a\xE4", b"\xBD\xA0", b"\xE4\xBD\xA0", b"\x80", b"c"]);
    let mut g = grammar("root ::= \"ab\" | \"a\" [\u{4F60}x]");
    assert_eq!(allowed(&mut g, &vocab), [0, 1, 5, 6]);
    g.accept(6, b"a\xE4").unwrap();
    assert_eq!(allowed(&mut g, &vocab), [7]);
    assert!(g.accept(0, b"a").is_err() && !g.may_end());
    g.accept(7, b"\xBD\xA0").unwrap();
    assert!(g.may_end() && allowed(&mut g, &vocab).is_empty());
    g.restart().unwrap();
    assert_eq!(allowed(&mut g, &vocab), [0, 1, 5, 6]);
}

#[test]
fn tokens_by_number() {
    let vocab = pieces(&[b"<t>", b"<t", b"a", b"ab", b"b", b"\xC3", b"<"]);
    let find: FindToken<'_> = &|text| (text == b"<t>").then_some(0);
    let mut g = Grammar::new(b"root ::= <t> !<[4]> \"b\" | \"a\" <[3]>", b"root", find).unwrap();
    // Token 3 begins with an a and is the token that may follow an a: allowed, as the original has it.
    assert_eq!(allowed(&mut g, &vocab), [0, 2, 3]);
    assert!(g.accept(3, b"ab").is_err());
    g.accept(0, b"<t>").unwrap();
    assert_eq!(allowed(&mut g, &vocab), [0, 1, 2, 3, 6]);
    g.accept(1, b"<t").unwrap();
    assert_eq!(allowed(&mut g, &vocab), [4]);
    g.accept(4, b"b").unwrap();
    assert!(g.may_end());
}

/// What the machine does, told plainly: every way through the rules, one character at a time.
fn oracle(text: &str, depth: usize) -> bool {
    // The language of "root ::= (\"a\" root \"b\")* [cd]?" without machine.
    fn item(t: &str, depth: usize) -> Vec<&str> {
        let mut rests = vec![t];
        let mut at = vec![t];
        while let Some(t) = at.pop() {
            let Some(inner) = t.strip_prefix('a').filter(|_| depth > 0) else { continue };
            for rest in root(inner, depth - 1).into_iter().filter_map(|r| r.strip_prefix('b')) {
                rests.push(rest);
                at.push(rest);
            }
        }
        rests
    }
    fn root(t: &str, depth: usize) -> Vec<&str> {
        let items = item(t, depth);
        let more: Vec<&str> = items.iter().filter_map(|r| r.strip_prefix(['c', 'd'])).collect();
        [items, more].concat()
    }
    root(text, depth).contains(&"")
}

proptest! {
    #[test]
    fn reads_what_the_rules_say(text in "[abcd]{0,10}") {
        let g = grammar("root ::= (\"a\" root \"b\")* [cd]?");
        prop_assert_eq!(reads(&g, &text), oracle(&text, 10));
    }

    /// No text makes the parser or the machine panic; tokens of any bytes are taken or refused.
    #[test]
    fn any_text_is_read_or_refused(
        text in "(root ::= |a ::= |a|b|\"x\"|\"y\"|\\[a-c\\]|\\[\\^x\\]|\\(|\\)|\\||\\*|\\+|\\?|\\{1,3\\}|\\.|\n| |<\\[1\\]>|!<\\[2\\]>){1,14}",
        tokens in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 1..8)
    ) {
        let texts: Vec<&[u8]> = tokens.iter().map(Vec::as_slice).collect();
        let vocab = pieces(&texts);
        let full = format!("root ::= {text}");
        for text in [&text, &full] {
            let Ok(mut g) = Grammar::new(text.as_bytes(), b"root", NO_TOKENS) else { continue };
            for (id, token) in texts.iter().enumerate() {
                let may = allowed(&mut g, &vocab).contains(&id);
                // What is read whole, after what the tokens before left, and to the end of its last character is taken only if it
                // was allowed.
                let is_whole = super::utf8::decode(token, g.partial).is_some_and(|(chars, rest)| !chars.is_empty() && rest.n_missing == 0);
                prop_assert!(g.accept(id as i32, token).is_err() || may || !is_whole);
            }
        }
    }
}
