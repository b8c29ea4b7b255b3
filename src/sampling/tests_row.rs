//! Chains that run with a model, on rows made by hand; beside a model and the original they are compared in tests/differential.
use super::*;
use crate::sampling::rng::Mt19937;

const LOGITS: [f32; 6] = [0.5, 3.0, -1.0, 2.0, 3.5, 0.0];

fn chain(links: Vec<Box<dyn Sampler>>) -> Chain {
    let mut c = Chain::new(true);
    links.into_iter().for_each(|l| c.add(l));
    c
}

/// What a chain makes of these logits.
fn run(c: &mut Chain, logits: &[f32]) -> Row {
    let mut row = Row::default();
    row.begin(logits.len()).copy_from_slice(logits);
    c.begin();
    c.run(&mut row);
    row
}

#[test]
fn each_does_its_part() {
    let one = |s: Box<dyn Sampler>| {
        let mut c = chain(vec![s]);
        c.attach_to(1);
        run(&mut c, &LOGITS)
    };
    let inf = f32::NEG_INFINITY;
    assert_eq!(one(greedy()).token, Some(4));
    let r = one(top_k(3));
    assert_eq!((r.candidates.as_deref(), r.logits.as_slice()), (Some(&[1, 4, 3][..]), &[3.0, 3.5, 2.0][..]), "the first two change places");
    assert_eq!(one(top_k(100)).logits.len(), 6);
    assert_eq!(one(temp(2.0)).logits, LOGITS.map(|l| l * 0.5));
    let r = one(temp(0.0));
    assert_eq!((r.candidates, r.logits), (Some(vec![4]), vec![3.5]));
    // e^-0.5 = 0.61, e^-1.5 = 0.22: 3.0 stays, 2.0 does not.
    assert_eq!(one(min_p(0.5, 0)).logits, [inf, 3.0, inf, inf, 3.5, inf]);
    let r = one(top_p(0.6, 0));
    assert_eq!((&r.candidates.expect("sorted")[..3], &r.logits[..3]), (&[4, 1, 3][..], &[3.5, 3.0, inf][..]));
    let twice = [Bias { token: 1, bias: 1.0 }, Bias { token: 99, bias: 1.0 }, Bias { token: 1, bias: 2.0 }, Bias { token: -1, bias: 1.0 }];
    assert_eq!(one(logit_bias(&twice)).logits, [0.5, 5.0, -1.0, 2.0, 3.5, 0.0], "the last of two biases counts");
    assert_eq!(one(top_k(0)).logits, LOGITS);
}

#[test]
fn penalties_see_what_was_accepted() {
    let mut c = chain(vec![top_k(3), penalties(8, 2.0, 0.5, 0.25)]);
    c.attach_to(1);
    [4, 4, 2].into_iter().for_each(|t| c.accept(t));
    let r = run(&mut c, &LOGITS);
    assert_eq!((r.candidates, r.logits), (Some(vec![1, 4, 3]), vec![3.0, 3.5 * 0.5 - 2.0 * 0.5 - 0.25, 2.0]));
}

#[test]
fn a_pick_follows_its_draw() {
    let mut c = chain(vec![temp(0.5), dist(42)]);
    c.attach_to(1);
    let mut rng = Mt19937::new(42);
    for _ in 0..200 {
        let r = run(&mut c, &LOGITS);
        let (p, draw) = (r.probs.expect("drawn from"), rng.unit_f64() as f32);
        let at = r.token.expect("drawn") as usize;
        let before: f32 = p[..at].iter().sum();
        assert!((before..=before + p[at] + 1e-6).contains(&draw), "{draw} is not in {at}");
    }
    assert_eq!(c.get(1).map(|d| d.name()), Some(c"+dist"));
}

#[test]
fn the_rest_of_a_chain_runs_afterwards() {
    let mut c = chain(vec![top_k(3), typical(0.9, 1), greedy()]);
    let mark = c.attach_to(1);
    assert_eq!([0, 1, 2].map(|i| c.get(i).map(|s| s.name())), [c"+top-k", c"typical", c"greedy"].map(Some));
    let row = run(&mut c, &LOGITS);
    assert_eq!((row.logits.len(), row.token), (3, None));
    let mut list: Vec<TokenData> = (0..3).map(|i| TokenData { id: row.id(i), logit: row.logits[i], p: 0.0 }).collect();
    assert_eq!(sample_list(&mut c, &mut list).ok(), Some(4));
    assert_eq!(c.sample(&LOGITS).ok(), Some(4), "logits of nowhere go through all of it");
    assert!(c.remove(0).is_some());
    assert_eq!(run(&mut c, &LOGITS).logits, LOGITS, "what ran with the model is gone");
    assert!(!mark.is_gone() && mark.leave());
    drop(c);
    assert!(mark.is_gone());
}

#[test]
fn draws_that_nobody_accepts_did_not_happen() {
    let mut c = chain(vec![dist(5)]);
    c.attach_to(3);
    let pick = |c: &mut Chain| {
        let mut row = Row::default();
        row.begin(6).copy_from_slice(&LOGITS);
        c.run(&mut row);
        row.token.expect("drawn")
    };
    c.begin();
    let first = [pick(&mut c), pick(&mut c), pick(&mut c)];
    c.begin();
    assert_eq!([pick(&mut c), pick(&mut c), pick(&mut c)], first, "none was accepted");
    c.accept(first[0]);
    c.begin();
    assert_eq!([pick(&mut c), pick(&mut c)], first[1..], "one was");
    let mut copy = c.try_clone().expect("ours");
    assert_eq!(copy.get(0).map(|d| d.name()), Some(c"dist"), "a clone runs apart");
    c.accept(0);
    assert!(c.copy_state(&copy), "and knows what was drawn");
    copy.attach_to(3);
    c.begin();
    assert_eq!(pick(&mut c), first[1]);
}

#[test]
fn several_outputs_need_what_penalties_do_not_know() {
    let mut c = chain(vec![temp(0.5), penalties(8, 2.0, 0.0, 0.0), greedy()]);
    c.attach_to(2);
    assert_eq!([0, 1, 2].map(|i| c.get(i).map(|s| s.name())), [c"+temp", c"-penalties", c"greedy"].map(Some));
    assert_eq!(run(&mut c, &LOGITS).token, None);
}

#[test]
fn nonsense_does_no_harm() {
    for logits in [vec![], vec![f32::NAN; 4], vec![f32::NEG_INFINITY; 4], vec![f32::INFINITY, 1.0, f32::NAN]] {
        let mut c = chain(vec![
            logit_bias(&[Bias { token: i32::MIN, bias: 1.0 }]),
            penalties(4, f32::NAN, 0.1, 0.1),
            top_p(0.5, 0),
            min_p(f32::NAN, 0),
            temp_ext(1.0, 0.5, f32::INFINITY),
            top_k(i32::MAX),
            temp(f32::NAN),
            dist(1),
            greedy(),
        ]);
        c.attach_to(1);
        c.accept(-7);
        let r = run(&mut c, &logits);
        assert_eq!(r.token.is_some(), !logits.is_empty());
    }
}
