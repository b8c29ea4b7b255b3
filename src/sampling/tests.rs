//! The samplers against recorded results of the original, and on input that makes no sense.
use super::*;
use crate::sampling as s;
use serde_json::Value;

/// Made by a C++ program of ours linked to the original libllama (package of version 0.5.0, built by GCC 11 with libstdc++): seeded logits
/// through seeded chains of samplers, and after each step what was left: [size, selected, sorted, hash of all (id, logit, p) bits, first ids].
const ORIGINAL: &str = include_str!("testdata/original.json");

/// The logits of a case: the generator that made the record, step for step.
struct Logits(u64);

impl Logits {
    fn draw(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as u32
    }

    fn of_kind(&mut self, kind: &str) -> f32 {
        let x = self.draw();
        let unit = f64::from(x) / f64::from(1 << 24);
        match kind {
            "ties" => ((x % 41) as f32 - 20.0) * 0.5,
            "flat" => ((unit - 0.5) * 0.5) as f32,
            "peak" => (28.0 * unit * unit * unit * unit - 12.0) as f32,
            _ => ((unit - 0.5) * 24.0) as f32,
        }
    }

    fn list(seed: u64, kind: &str, n: usize) -> Vec<TokenData> {
        let mut g = Logits(seed);
        let mut list: Vec<TokenData> = (0..n).map(|i| TokenData { id: i as i32, logit: g.of_kind(kind), p: 0.0 }).collect();
        if kind == "ties" && n > 4 {
            list[n / 2].logit = f32::NEG_INFINITY;
        }
        list
    }
}

/// `name number number ...`, as in the record.
fn build(text: &str) -> Box<dyn Sampler> {
    let mut words = text.split_whitespace();
    let name = words.next().unwrap();
    let a: Vec<f64> = words.map(|w| w.parse().unwrap()).collect();
    let (int, float, seed, size) = (|i: usize| a[i] as i32, |i: usize| a[i] as f32, |i: usize| a[i] as u32, |i: usize| a[i] as usize);
    match name {
        "greedy" => s::greedy(),
        "dist" => s::dist(seed(0)),
        "top_k" => s::top_k(int(0)),
        "top_p" => s::top_p(float(0), size(1)),
        "min_p" => s::min_p(float(0), size(1)),
        "typical" => s::typical(float(0), size(1)),
        "temp" => s::temp(float(0)),
        "temp_ext" => s::temp_ext(float(0), float(1), float(2)),
        "top_n_sigma" => s::top_n_sigma(float(0)),
        "xtc" => s::xtc(float(0), float(1), size(2), seed(3)),
        "mirostat" => s::mirostat(int(0), seed(1), float(2), float(3), int(4)),
        "mirostat_v2" => s::mirostat_v2(seed(0), float(1), float(2)),
        "penalties" => s::penalties(int(0), float(1), float(2), float(3)),
        "adaptive_p" => s::adaptive_p(float(0), float(1), seed(2)),
        "logit_bias" => s::logit_bias(&a.chunks_exact(2).map(|b| Bias { token: b[0] as i32, bias: b[1] as f32 }).collect::<Vec<_>>()),
        "dry" => s::dry(float(0), float(1), int(2), int(3), || recorded_breakers(&a[4..])),
        _ => panic!("no sampler {name}"),
    }
}

/// Each id alone; of two or more also the sequence of the first two, each plus one.
fn recorded_breakers(ids: &[f64]) -> Breakers {
    let mut out = Breakers::new();
    ids.iter().for_each(|&id| out.entry(id as i32).or_default().push(Vec::new()));
    if ids.len() > 1 {
        out.entry(ids[0] as i32 + 1).or_default().push(vec![ids[1] as i32 + 1]);
    }
    out
}

fn hash(list: &[TokenData]) -> String {
    let words = list.iter().flat_map(|t| [t.id as u32, t.logit.to_bits(), t.p.to_bits()]);
    format!("{:016x}", words.fold(0xcbf2_9ce4_8422_2325_u64, |h, w| (h ^ u64::from(w)).wrapping_mul(0x0100_0000_01b3)))
}

/// One step: what was left, in the record's form, and the token to accept.
fn step(chain: &mut Chain, mut list: Vec<TokenData>, sorted: bool) -> (Value, i32) {
    let mut c = Candidates::new(&mut list);
    if sorted {
        c.sort();
    }
    chain.apply(&mut c);
    let ids: Vec<i32> = c.data.iter().take(4).map(|t| t.id).collect();
    let selected = c.selected.map_or(-1, |i| i as i64);
    let token = c.data.get(c.selected.unwrap_or(0)).map_or(-1, |t| t.id);
    (serde_json::json!([c.data.len(), selected, u8::from(c.sorted), hash(c.data), ids]), token)
}

fn chain_of<'a>(parts: impl Iterator<Item = &'a str>) -> Chain {
    let mut chain = Chain::new(true);
    parts.for_each(|p| chain.add(build(p)));
    chain
}

#[test]
fn every_sampler_does_what_the_original_did() {
    for line in ORIGINAL.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let mut parts = record["case"].as_str().unwrap().split(';');
        let head: Vec<&str> = parts.next().unwrap().split(' ').collect();
        let (n, kind, seed, sorted) = (head[0].parse().unwrap(), head[1], head[2].parse::<u64>().unwrap(), head[3] == "1");
        let mut chain = chain_of(parts);
        let names: Vec<&str> = (0..chain.len()).map(|i| chain.get(i).unwrap().name().to_str().unwrap()).collect();
        assert_eq!(names.join(" "), record["names"].as_str().unwrap());
        for (t, expected) in record["steps"].as_array().unwrap().iter().enumerate() {
            let (got, token) = step(&mut chain, Logits::list(seed + t as u64, kind, n), sorted);
            assert_eq!(&got, expected, "step {t} of {}", record["case"]);
            chain.accept(token);
        }
    }
}
