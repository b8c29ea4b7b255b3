//! Speculative decoding with small windows and no snapshots: whatever part of the last n_ubatch tokens is rejected, however they came and of whatever
//! sequences they are, the rewind is never refused and what follows is the full history's bits. The rings here have not one cell to spare.
use crate::full_history::FullHistory;
use crate::models::{Rng, SHAPES};
use crate::ops::{Kind, Op};
use crate::pair::{Counts, Pair, params};
use crate::property::{all_models, model};
use llama::backend::DType;

/// n_swa x sequences of a stream + n_ubatch fills 256 cells.
fn tight(shape: usize) -> Vec<Kind> {
    let kind = |n_swa, n_seq, n_ubatch, unified| Kind {
        shape,
        n_swa,
        n_seq,
        n_ctx_seq: 8192,
        n_ubatch,
        unified,
        swa_full: false,
        flash_attn: true,
        threads: 1,
        kv: (DType::F16, DType::F16),
    };
    vec![kind(224, 1, 32, true), kind(224, 2, 32, false), kind(112, 2, 32, true), kind(56, 4, 32, true), kind(24, 4, 160, true)]
}

fn decode(seqs: &[(u32, u32)], seed: u64) -> Op {
    let parts = seqs.iter().filter(|s| s.1 > 0).map(|(s, n)| (vec![*s], *n)).collect();
    Op::Decode { parts, turns: seed.is_multiple_of(2), start: 0, seed, abort: None }
}

/// Drafts of `n` tokens altogether; each sequence's part.
fn draft(rng: &mut Rng, kind: &Kind, n: u32) -> Vec<(u32, u32)> {
    let mut parts: Vec<(u32, u32)> = (0..kind.n_seq).map(|s| (s, 0)).collect();
    let few = 1 + rng.below(kind.n_seq as usize);
    (0..n).for_each(|_| parts[rng.below(few)].1 += 1);
    // Not always the same sequences: one that was idle for long has the oldest cells and the newest claim.
    parts.iter_mut().for_each(|p| p.0 = (p.0 + n) % kind.n_seq);
    parts
}

fn run(kind: &Kind, rng: &mut Rng, rounds: u32) -> Result<Counts, String> {
    let mut full = FullHistory::new(model(kind), &params(kind), kind.n_seq);
    let mut pair = Pair::new(model(kind), kind, &mut full);
    for s in 0..kind.n_seq {
        pair.apply(&decode(&[(s, 270)], u64::from(s)))?;
    }
    for round in 0..rounds {
        let n = 1 + round % kind.n_ubatch;
        let parts = draft(rng, kind, n);
        let said = |e: String| format!("{kind}, round {round}, drafts {parts:?}: {e}");
        if rng.chance(2) {
            pair.apply(&decode(&parts, rng.draw() % 1000)).map_err(said)?;
        } else {
            let mut singles: Vec<u32> = parts.iter().flat_map(|(s, n)| vec![*s; *n as usize]).collect();
            (1..singles.len()).for_each(|i| singles.swap(i, rng.below(i + 1)));
            singles.iter().try_for_each(|s| pair.apply(&decode(&[(*s, 1)], rng.draw() % 1000))).map_err(said)?;
        }
        if pair.counts.full > 0 {
            return Err(said("the base is full: the test is too long".into()));
        }
        for (seq, n) in &parts {
            let end = pair.full.pos_max(*seq).map_or(0, |p| p + 1);
            let reject = rng.below(*n as usize + 1) as i32;
            pair.apply(&Op::Rm { seq: Some(*seq), p0: end - reject, p1: -1 }).map_err(said)?;
            if pair.counts.refused_ops > 0 {
                return Err(said(format!("rejecting {reject} of sequence {seq} is refused: {}", platform::log::last_error())));
            }
        }
    }
    if pair.counts.refused_decodes > 0 {
        return Err(format!("{kind}: decodes were refused: {:?}", pair.counts));
    }
    Ok(pair.counts)
}

#[test]
fn any_part_of_the_last_ubatch_can_be_rejected() {
    let mut all = Counts::default();
    let known = (0..SHAPES.len()).filter(|s| SHAPES[*s].windowed && all_models()[*s][0].is_some());
    let mut wrong = Vec::new();
    for kind in known.flat_map(tight) {
        match run(&kind, &mut Rng(11), 3 * kind.n_ubatch.min(40)) {
            Ok(c) => all.join(&c),
            Err(e) => wrong.push(e),
        }
    }
    println!("{all:?}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
