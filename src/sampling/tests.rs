//! The samplers against recorded results of the original, and on input that makes no sense.
use super::*;
use crate::sampling as s;
use proptest::prelude::*;
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

pub(super) fn hash(list: &[TokenData]) -> String {
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

/// One of each sampler, working settings.
const EACH: &[&str] = &[
    "greedy",
    "dist 1",
    "top_k 3",
    "top_k 200",
    "top_p 0.9 1",
    "min_p 0.1 1",
    "typical 0.9 1",
    "temp 0.8",
    "temp 0",
    "temp_ext 1 0.5 1",
    "top_n_sigma 1",
    "xtc 1 0.1 1 5",
    "mirostat 100 1 5 0.1 100",
    "mirostat_v2 1 5 0.1",
    "penalties 4 1.1 0.1 0.1",
    "adaptive_p 0.5 0.9 1",
    "logit_bias 1 2 -7 3",
    "dry 1 1.75 1 8 2",
];

fn odd_logit() -> impl Strategy<Value = f32> + Clone {
    prop_oneof![
        4 => -20.0_f32..20.0,
        1 => prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, -0.0, 0.0]),
    ]
}

fn odd_list() -> impl Strategy<Value = Vec<TokenData>> {
    let token = (any::<i32>(), odd_logit(), odd_logit()).prop_map(|(id, logit, p)| TokenData { id: id % 9, logit, p });
    prop_oneof![prop::collection::vec(token.clone(), 0..20), prop::collection::vec(token, 1100..1300)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Nothing panics, no token is invented, a selection is inside the list.
    #[test]
    fn nonsense_gives_a_defined_result(list in odd_list(), sorted: bool, chain in prop::collection::vec(prop::sample::select(EACH.to_vec()), 1..4)) {
        let mut chain = chain_of(chain.into_iter());
        for _ in 0..3 {
            let mut left = list.clone();
            let mut c = Candidates::new(&mut left);
            c.sorted = sorted;
            chain.apply(&mut c);
            prop_assert!(c.data.len() <= list.len());
            prop_assert!(c.data.is_empty() == list.is_empty(), "the last candidate is never cut");
            prop_assert!(c.selected.is_none_or(|i| i < c.data.len()) || chain.len() > 1);
            prop_assert!(c.data.iter().all(|t| list.iter().any(|from| from.id == t.id)));
            chain.accept(list.first().map_or(-1, |t| t.id));
        }
    }
}

#[test]
fn an_empty_list_selects_nothing() {
    for text in EACH {
        let mut c = Candidates::new(&mut []);
        build(text).apply(&mut c);
        assert!(c.data.is_empty() && c.selected.is_none(), "{text}");
    }
    assert!(s::sample(&mut s::greedy(), &[]).is_err());
    assert!(s::sample(&mut s::top_k(1), &[1.0]).is_err(), "nobody selected");
}

/// The tokens a chain samples from the same few logits, again and again.
fn run(chain: &mut Chain, n: usize) -> Vec<i32> {
    let logits: Vec<f32> = Logits::list(3, "flat", 50).iter().map(|t| t.logit).collect();
    (0..n).map(|_| chain.sample(&logits).unwrap()).collect()
}

#[test]
fn a_clone_goes_on_as_the_original_would() {
    for text in EACH {
        let mut one = chain_of([*text, "dist 9"].into_iter());
        run(&mut one, 5);
        let mut two = one.try_clone().unwrap();
        let mut copy = chain_of([*text, "dist 10"].into_iter());
        assert!(copy.copy_state(&one));
        let expected = run(&mut one, 8);
        assert_eq!(run(&mut two, 8), expected, "clone of {text}");
        assert_eq!(run(&mut copy, 8), expected, "copy of {text}");
    }
}

/// The best of many logits are found without a list of all, in the order that the list would have given.
#[test]
fn the_best_of_logits_are_those_of_the_list() {
    for (kind, seed) in [("ties", 1), ("flat", 2), ("peak", 3), ("wide", 4)] {
        for n in [41, 300, 5000] {
            let mut list = Logits::list(seed, kind, n);
            list[n / 3].logit = f32::NAN;
            let logits: Vec<f32> = list.iter().map(|t| t.logit).collect();
            for k in [1, 2, 40] {
                let mut want = list.clone();
                let mut c = Candidates::new(&mut want);
                c.keep_best(k);
                let mut got = Vec::new();
                let best = Candidates::best_of(&logits, k, &mut got).unwrap();
                assert_eq!(hash(best.data), hash(c.data), "{kind} {n} {k}");
            }
            assert!(Candidates::best_of(&logits, 129, &mut Vec::new()).is_none());
        }
    }
}

#[test]
fn copies_between_kinds_are_refused() {
    let (mut a, b) = (chain_of(["greedy"].into_iter()), chain_of(["dist 1"].into_iter()));
    assert!(!a.copy_state(&b));
    assert!(!a.copy_state(&Chain::<Box<dyn Sampler>>::new(true)));
}

#[test]
fn reset_starts_over() {
    for text in EACH {
        let mut chain = chain_of([*text, "dist 9"].into_iter());
        let first = run(&mut chain, 6);
        chain.reset();
        assert_eq!(run(&mut chain, 6), first, "{text}");
    }
}

#[test]
fn a_chain_reports_the_last_seed_and_counts_what_it_took() {
    let mut chain = chain_of(["dist 5", "mirostat_v2 6 5 0.1", "xtc 0.5 0.1 0 7"].into_iter());
    assert_eq!(chain.seed(), Some(6), "xtc does not report");
    chain = Chain::new(false);
    chain.add(s::dist(4));
    run(&mut chain, 3);
    assert_eq!(chain.perf().n_sample, 3);
    assert!(!chain.perf().t_sample.is_zero());
    assert!(chain.remove(1).is_none());
    assert_eq!(chain.remove(0).unwrap().seed(), Some(4));
    assert!(chain.is_empty() && chain.seed().is_none());
    chain.reset_perf();
    assert_eq!(chain.perf(), Perf::default());
}
