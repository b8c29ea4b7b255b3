//! The two samplers that ask a vocabulary, against recorded results of the original.
use super::*;
use serde_json::Value;
use std::sync::Arc;

/// Made by a C++ program of ours linked to the original libllama (version 0.5.0) with GPT-2's vocabulary: candidates through `infill`,
/// histories through `dry` with strings as breakers, and what the vocabulary answered for the tokens and strings that matter (bytes in hex).
const ORIGINAL: &str = include_str!("testdata/words.json");

struct Recorded(Value);

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap_or("");
    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
}

fn ints(list: &Value) -> Vec<i64> {
    list.as_array().unwrap().iter().map(|v| v.as_i64().unwrap()).collect()
}

impl Words for Recorded {
    fn n_tokens(&self) -> i32 {
        self.0["n"].as_i64().unwrap() as i32
    }
    fn is_eog(&self, token: i32) -> bool {
        ints(&self.0["eog"]).contains(&i64::from(token))
    }
    fn end(&self) -> Option<i32> {
        self.0["end"].as_i64().map(|t| t as i32)
    }
    fn piece(&self, token: i32) -> Vec<u8> {
        bytes(&self.0["piece"][token.to_string()])
    }
    fn whole_piece(&self, token: i32) -> Vec<u8> {
        self.piece(token)
    }
    fn pieces(&self) -> platform::Result<&crate::vocab::Pieces> {
        Err(platform::Error::unsupported("not recorded"))
    }
    fn ends(&self) -> Vec<i32> {
        ints(&self.0["eog"]).iter().map(|t| *t as i32).collect()
    }
    fn special(&self, _: &[u8]) -> Option<i32> {
        None
    }
    fn text(&self, token: i32) -> Vec<u8> {
        bytes(&self.0["text"][token.to_string()])
    }
    fn tokenize(&self, text: &[u8]) -> Vec<i32> {
        let hex: String = text.iter().map(|b| format!("{b:02x}")).collect();
        ints(&self.0["tokens"][&hex]).iter().map(|t| *t as i32).collect()
    }
}

fn record() -> Arc<Recorded> {
    Arc::new(Recorded(serde_json::from_str(ORIGINAL).unwrap()))
}

#[test]
fn infill_keeps_what_the_original_kept() {
    let words = record();
    for case in words.0["infill"].as_array().unwrap() {
        let pairs = ints(&case[0]);
        let token = |p: &[i64]| TokenData { id: p[0] as i32, logit: f32::from_bits(p[1] as u32), p: 0.0 };
        let mut list: Vec<TokenData> = pairs.chunks_exact(2).map(token).collect();
        let mut c = Candidates::new(&mut list);
        infill(words.clone()).apply(&mut c);
        let got = serde_json::json!([c.data.len(), tests::hash(c.data), c.data[0].id]);
        assert_eq!(got, serde_json::json!([case[1], case[2], case[3]]), "{case}");
    }
}

#[test]
fn dry_breaks_where_the_original_broke() {
    let words = record();
    for case in words.0["dry"].as_array().unwrap() {
        let strings: Vec<Vec<u8>> = case[0].as_array().unwrap().iter().map(bytes).collect();
        let strings: Vec<&[u8]> = strings.iter().map(Vec::as_slice).collect();
        let mut dry = dry(0.8, 1.75, case[1].as_i64().unwrap() as i32, 32, || breakers(&*words, &strings));
        ints(&case[2]).iter().for_each(|t| dry.accept(*t as i32));
        let mut list: Vec<TokenData> = ints(&case[3]).iter().map(|t| TokenData { id: *t as i32, logit: 1.0, p: 0.0 }).collect();
        let mut c = Candidates::new(&mut list);
        c.sorted = true;
        dry.apply(&mut c);
        assert_eq!(serde_json::json!([tests::hash(c.data), u8::from(c.sorted)]), serde_json::json!([case[4], case[5]]), "{case}");
    }
}
