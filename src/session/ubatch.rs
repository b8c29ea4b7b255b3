//! Cuts a checked batch into ubatches as the original does. Must not know memory: whether the pieces find room is asked elsewhere.
use super::batch::{Batch, Limits};
use crate::backend::io::{SeqSet, Ubatch};
use platform::{Error, Result};
use std::collections::HashMap;

/// How a batch is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// In the caller's order, `n_ubatch` at a time.
    Simple,
    /// Equally many tokens of several disjoint sets of sequences. `sequential`: only of single sequences with consecutive ids (one stream each).
    Equal { sequential: bool },
}

/// The ways to try, in order, until the pieces find room.
pub fn ways(unified: bool) -> &'static [Split] {
    match unified {
        true => &[Split::Simple, Split::Equal { sequential: false }],
        false => &[Split::Equal { sequential: true }],
    }
}

/// The first of the ways.
pub fn split(b: &Batch, limits: &Limits) -> Result<Vec<Ubatch>> {
    split_as(b, limits.n_ubatch, ways(limits.unified)[0])
}

/// All of `b` in pieces of at most `n_ubatch` tokens. Coupled sequences in separate streams are refused (there the original finds no slot: code 1).
pub fn split_as(b: &Batch, n_ubatch: u32, how: Split) -> Result<Vec<Ubatch>> {
    let n_ubatch = n_ubatch as usize;
    if n_ubatch == 0 {
        return Err(Error::invalid("n_ubatch == 0"));
    }
    match how {
        Split::Simple => {
            let all: Vec<usize> = (0..b.n_tokens()).collect();
            Ok(all.chunks(n_ubatch).map(|idxs| pick(b, idxs)).collect())
        }
        Split::Equal { sequential: true } if b.is_coupled() => {
            Err(Error::unsupported("coupled sequences in the input batch need a unified KV cache (kv_unified)"))
        }
        Split::Equal { sequential } => Ok(equal(b, n_ubatch, sequential)),
    }
}

/// The tokens `idxs` of `b`.
fn pick(b: &Batch, idxs: &[usize]) -> Ubatch {
    let (n_pos, n_embd) = (b.n_pos_per_token, b.n_embd);
    let has_embd = !b.embd.is_empty();
    Ubatch {
        tokens: idxs.iter().filter_map(|i| b.tokens.get(*i).copied()).collect(),
        embd: idxs.iter().filter(|_| has_embd).flat_map(|i| &b.embd[i * n_embd..(i + 1) * n_embd]).copied().collect(),
        pos: idxs.iter().flat_map(|i| &b.pos[i * n_pos..(i + 1) * n_pos]).copied().collect(),
        n_pos_per_token: n_pos,
        seqs: idxs.iter().map(|i| b.seqs[*i]).collect(),
        first_seq: idxs.iter().map(|i| b.first_seq[*i]).collect(),
        output: idxs.iter().map(|i| b.output[*i]).collect(),
        index: idxs.iter().map(|i| *i as u32).collect(),
    }
}

fn overlap(a: &SeqSet, b: &SeqSet) -> bool {
    a.iter().any(|s| b.contains(s))
}

fn equal(b: &Batch, n_ubatch: usize, sequential: bool) -> Vec<Ubatch> {
    let mut used = vec![false; b.n_tokens()];
    let mut out = Vec::new();
    loop {
        let sets = next_sets(b, &used, n_ubatch, sequential);
        if sets.is_empty() {
            return out;
        }
        let lists = waiting(b, &used, &sets);
        let n = lists.iter().map(Vec::len).min().unwrap_or(0).min(n_ubatch / sets.len());
        let idxs: Vec<usize> = lists.iter().flat_map(|l| &l[..n]).copied().collect();
        idxs.iter().for_each(|i| used[*i] = true);
        out.push(pick(b, &idxs));
    }
}

/// The disjoint sets of sequences that take part in the next ubatch, at most `n_ubatch` (the original lets one more in).
fn next_sets(b: &Batch, used: &[bool], n_ubatch: usize, sequential: bool) -> Vec<SeqSet> {
    let mut sets: Vec<SeqSet> = Vec::new();
    let (mut taken, mut last) = (SeqSet::default(), None);
    for i in (0..b.n_tokens()).filter(|i| !used[*i]) {
        let in_order = !sequential || last.is_none_or(|l: u32| b.first_seq[i] == l + 1);
        if in_order && sets.len() < n_ubatch && !overlap(&b.seqs[i], &taken) {
            b.seqs[i].iter().for_each(|s| taken.insert(s));
            sets.push(b.seqs[i]);
            last = Some(b.first_seq[i]);
        }
    }
    sets
}

/// Per set its unused tokens, in order, up to the first token that shares only part of it: what comes behind that one must wait for it.
/// (The original takes them out of order.)
fn waiting(b: &Batch, used: &[bool], sets: &[SeqSet]) -> Vec<Vec<usize>> {
    let at: HashMap<SeqSet, usize> = sets.iter().enumerate().map(|(k, s)| (*s, k)).collect();
    let mut lists = vec![Vec::new(); sets.len()];
    let mut blocked = SeqSet::default();
    for i in (0..b.n_tokens()).filter(|i| !used[*i]) {
        match at.get(&b.seqs[i]).filter(|_| !overlap(&b.seqs[i], &blocked)) {
            Some(k) => lists[*k].push(i),
            None => b.seqs[i].iter().for_each(|s| blocked.insert(s)),
        }
    }
    lists
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(tokens: &[(i32, &[u32])]) -> Batch {
        let set = |ids: &[u32]| ids.iter().fold(SeqSet::default(), |mut s, i| (s.insert(*i), s).1);
        Batch {
            tokens: (0..tokens.len() as i32).collect(),
            embd: (0..2 * tokens.len()).map(|x| x as f32).collect(),
            n_embd: 2,
            pos: tokens.iter().map(|t| t.0).collect(),
            n_pos_per_token: 1,
            seqs: tokens.iter().map(|t| set(t.1)).collect(),
            first_seq: tokens.iter().map(|t| t.1[0]).collect(),
            output: tokens.iter().map(|t| t.0 == 0).collect(),
        }
    }
    fn index(ubs: Result<Vec<Ubatch>>) -> Vec<Vec<u32>> {
        ubs.expect("split").into_iter().map(|u| u.index).collect()
    }

    #[test]
    fn simple_keeps_the_order() {
        let b = batch(&[(0, &[0]), (1, &[0]), (0, &[1]), (2, &[0]), (1, &[1])]);
        assert_eq!(index(split_as(&b, 2, Split::Simple)), [vec![0, 1], vec![2, 3], vec![4]]);
        let ubs = split_as(&b, 2, Split::Simple).expect("split");
        assert_eq!((&ubs[1].tokens[..], &ubs[1].pos[..], &ubs[1].first_seq[..]), (&[2, 3][..], &[0, 2][..], &[1, 0][..]));
        assert_eq!((&ubs[1].embd[..], &ubs[1].output[..]), (&[4.0, 5.0, 6.0, 7.0][..], &[true, false][..]));
        assert!(split_as(&b, 0, Split::Simple).is_err());
    }

    #[test]
    fn equal_takes_as_many_of_each() {
        let b = batch(&[(0, &[0]), (1, &[0]), (2, &[0]), (0, &[1]), (1, &[1]), (0, &[3])]);
        let sequential = Split::Equal { sequential: true };
        assert_eq!(index(split_as(&b, 4, sequential)), [vec![0, 1, 3, 4], vec![2], vec![5]]);
        assert_eq!(index(split_as(&b, 4, Split::Equal { sequential: false })), [vec![0, 3, 5], vec![1, 4], vec![2]]);
        assert_eq!(index(split_as(&b, 1, sequential)).concat(), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn tokens_of_a_sequence_stay_in_order() {
        let b = batch(&[(0, &[0]), (1, &[0, 1]), (2, &[0]), (0, &[2])]);
        assert_eq!(index(split_as(&b, 8, Split::Equal { sequential: false })), [vec![0, 3], vec![1], vec![2]]);
        assert!(split_as(&b, 8, Split::Equal { sequential: true }).is_err());
    }

    #[test]
    fn every_token_once_in_every_way() {
        let ids = [[0u32], [1], [2], [3]];
        let tokens: Vec<(i32, &[u32])> = (0..61).map(|i| (i / 4, &ids[(i * i % 7 % 4) as usize][..])).collect();
        let b = batch(&tokens);
        for (how, n) in ways(true).iter().chain(ways(false)).flat_map(|h| (1..9).map(move |n| (*h, n))) {
            let ubs = split_as(&b, n, how).expect("split");
            assert!(ubs.iter().all(|u| u.n_tokens() <= n as usize && u.n_tokens() > 0));
            let mut all: Vec<u32> = ubs.iter().flat_map(|u| u.index.clone()).collect();
            for s in 0..4 {
                let order: Vec<u32> = all.iter().copied().filter(|i| b.first_seq[*i as usize] == s).collect();
                assert!(order.is_sorted());
            }
            all.sort_unstable();
            assert_eq!(all, (0..61).collect::<Vec<u32>>());
        }
    }
}
