//! The formats against recorded results of the original, and detection by any mixture of marks.
use super::*;
use serde_json::Value;

/// Made by a program of ours that called the original's `llama_chat_apply_template` (version 0.5.0): for each built-in name the talk
/// below as a text, all talks as hashes; for mixtures of marks (indices into `marks`) the hash of the first talk, or null where refused.
const ORIGINAL: &str = include_str!("testdata/original.json");

const TALKS: &[&[(&str, &str)]] = &[
    &[("system", " Be brief.\n"), ("user", "\tHi \u{b}"), ("assistant", " Hello! "), ("user", "Bye\r\n")],
    &[
        ("user", "a"),
        ("system", "b "),
        ("tool", " c"),
        ("function", "d"),
        ("assistant_tool_call", "e"),
        ("narrator", "f"),
        ("assistant", " g "),
    ],
    &[("assistant", "x"), ("assistant", ""), ("", "y"), ("system", " "), ("system", "z"), ("user", "\n")],
    &[],
];

fn talk(i: usize) -> Vec<Message<'static>> {
    TALKS[i].iter().map(|(role, content)| Message { role: role.as_bytes(), content: content.as_bytes() }).collect()
}

fn hash(text: &[u8]) -> String {
    format!("{:016x}", text.iter().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)))
}

fn record() -> Value {
    serde_json::from_str(ORIGINAL).unwrap()
}

#[test]
fn names_are_the_originals_in_its_order() {
    let record = record();
    let names: Vec<&str> = record["builtin"].as_array().unwrap().iter().map(|b| b["name"].as_str().unwrap()).collect();
    assert_eq!(builtin_names().collect::<Vec<_>>(), names);
}

#[test]
fn every_format_writes_what_the_original_wrote() {
    for b in record()["builtin"].as_array().unwrap() {
        let name = b["name"].as_str().unwrap();
        let text = String::from_utf8(apply(name.as_bytes(), &talk(0), true).unwrap()).unwrap();
        assert_eq!(text, b["text"].as_str().unwrap(), "{name}");
        let hashes: Vec<String> =
            (0..TALKS.len()).flat_map(|i| [false, true].map(|open| hash(&apply(name.as_bytes(), &talk(i), open).unwrap()))).collect();
        assert_eq!(serde_json::json!(hashes), b["hashes"], "{name}");
    }
}

#[test]
fn any_mixture_of_marks_is_taken_as_the_original_took_it() {
    let record = record();
    let marks: Vec<&str> = record["marks"].as_array().unwrap().iter().map(|m| m.as_str().unwrap()).collect();
    for mixture in record["mixtures"].as_array().unwrap() {
        let template: String = mixture[0].as_array().unwrap().iter().map(|i| marks[i.as_u64().unwrap() as usize]).collect();
        let got = apply(template.as_bytes(), &talk(0), true).map(|text| hash(&text)).ok();
        assert_eq!(serde_json::json!(got), mixture[1], "{template}");
    }
}

#[test]
fn an_unknown_template_is_refused_and_odd_bytes_are_kept() {
    assert!(apply(b"{{ messages }}", &talk(0), true).is_err());
    assert!(apply(b"", &talk(0), true).is_err());
    let m = [Message { role: b"user", content: b"\xFF\0\xFE" }];
    assert_eq!(apply(b"chatml", &m, false).unwrap(), b"<|im_start|>user\n\xFF\0\xFE<|im_end|>\n");
}
