//! A caller's batch, checked and completed: positions, sequences and outputs are filled in by the original's rules and what it refuses is refused.
//! Must not know C types, cells or how a batch is cut.
use crate::backend::io::SeqSet;
use crate::memory::Memory;
use platform::{Error, Result};

/// What the caller gave. `None` has the meaning that NULL has in `llama_batch`.
#[derive(Clone, Debug, Default)]
pub struct BatchView<'a> {
    pub n_tokens: usize,
    pub tokens: Option<&'a [i32]>,
    /// [n_tokens][n_embd]
    pub embd: Option<&'a [f32]>,
    /// [n_tokens]; [n_pos_per_embd][n_tokens] when there are embeddings and no tokens.
    pub pos: Option<&'a [i32]>,
    /// Per token its sequence ids in the caller's order; `None`: sequence 0.
    pub seqs: Option<Vec<Vec<i32>>>,
    /// Which outputs are wanted; `None`: the last one.
    pub logits: Option<&'a [i8]>,
}

/// What a context allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub n_batch: u32,
    pub n_ubatch: u32,
    pub n_seq_max: u32,
    pub n_vocab: u32,
    pub n_embd: u32,
    /// Positions per embedding: 1, or 4 for M-RoPE.
    pub n_pos_per_embd: u32,
    /// One stream for all sequences.
    pub unified: bool,
    pub causal: bool,
    /// Embeddings are wanted: every token is an output.
    pub output_all: bool,
}

/// What memory holds of a sequence: (pos_min, pos_max).
type Past<'a> = &'a dyn Fn(u32) -> Option<(i32, i32)>;

/// A batch that may be split and run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Empty when there are only embeddings.
    pub tokens: Vec<i32>,
    /// [n_tokens][n_embd]; empty when there are none.
    pub embd: Vec<f32>,
    pub n_embd: usize,
    /// [n_tokens][n_pos_per_token]
    pub pos: Vec<i32>,
    pub n_pos_per_token: usize,
    pub seqs: Vec<SeqSet>,
    pub first_seq: Vec<u32>,
    pub output: Vec<bool>,
}

fn bad<T>(what: impl Into<String>) -> Result<T> {
    Err(Error::invalid(what))
}

impl Batch {
    pub fn n_tokens(&self) -> usize {
        self.output.len()
    }
    pub fn n_outputs(&self) -> usize {
        self.output.iter().filter(|o| **o).count()
    }
    pub fn all_seqs(&self) -> SeqSet {
        let mut all = SeqSet::default();
        self.seqs.iter().flat_map(SeqSet::iter).for_each(|s| all.insert(s));
        all
    }
    /// Some token belongs to several sequences.
    pub fn is_coupled(&self) -> bool {
        self.seqs.iter().any(|s| s.len() > 1)
    }
    /// The position memory goes by.
    pub fn pos_of(&self, i: usize) -> i32 {
        self.pos[i * self.n_pos_per_token]
    }
}

/// Checks and completes `v` for what `memory` holds; nothing is changed.
pub fn check(v: &BatchView<'_>, limits: &Limits, memory: &Memory) -> Result<Batch> {
    let batch = complete(v, limits, &|s| Some((memory.pos_min(s)?, memory.pos_max(s)?)))?;
    check_windows(&batch, memory)?;
    Ok(batch)
}

/// The same for a batch that no memory has to do with.
pub fn check_alone(v: &BatchView<'_>, limits: &Limits) -> Result<Batch> {
    complete(v, limits, &|_| None)
}

/// A window that a state was restored into by itself may end before its base does: nothing can go on there.
fn check_windows(b: &Batch, memory: &Memory) -> Result<()> {
    let torn = |s: &u32| memory.pos_max(*s).is_some_and(|max| !memory.can_continue(*s, max.saturating_add(1)));
    match b.all_seqs().iter().find(torn).filter(|_| !memory.compat()) {
        Some(s) => bad(format!("sequence {s} cannot go on: its sliding window lacks cells that its base has")),
        None => Ok(()),
    }
}

fn complete(v: &BatchView<'_>, limits: &Limits, past: Past<'_>) -> Result<Batch> {
    check_sizes(v, limits)?;
    let (seqs, first_seq) = sequences(v, limits)?;
    let batch = Batch {
        tokens: v.tokens.map(<[i32]>::to_vec).unwrap_or_default(),
        embd: v.embd.map(<[f32]>::to_vec).unwrap_or_default(),
        n_embd: limits.n_embd as usize,
        pos: positions(v, limits, &first_seq, past)?,
        n_pos_per_token: limits.n_pos_per_embd.max(1) as usize,
        seqs,
        first_seq,
        output: outputs(v, limits),
    };
    check_tokens(&batch, limits)?;
    check_coupled(&batch, past)?;
    check_positions(&batch, limits, past)?;
    Ok(batch)
}

fn check_sizes(v: &BatchView<'_>, limits: &Limits) -> Result<()> {
    let n = v.n_tokens;
    if n == 0 {
        return bad("n_tokens == 0");
    }
    if n > limits.n_batch as usize {
        return bad(format!("n_tokens = {n} > n_batch = {}", limits.n_batch));
    }
    if !limits.causal && n > limits.n_ubatch as usize {
        return bad(format!("non-causal attention requires n_ubatch >= n_tokens ({} < {n})", limits.n_ubatch));
    }
    if v.tokens.is_none() && v.embd.is_none() {
        return bad("batch has neither token ids nor embeddings");
    }
    let n_pos = if v.tokens.is_some() { 1 } else { limits.n_pos_per_embd.max(1) as usize };
    let sizes = [
        ("tokens", v.tokens.map(<[_]>::len), 1),
        ("embd", v.embd.map(<[_]>::len), limits.n_embd as usize),
        ("pos", v.pos.map(<[_]>::len), n_pos),
        ("seq_id", v.seqs.as_ref().map(Vec::len), 1),
        ("logits", v.logits.map(<[_]>::len), 1),
    ];
    match sizes.iter().find(|(_, have, per)| have.is_some_and(|h| Some(h) != n.checked_mul(*per))) {
        Some((name, have, per)) => bad(format!("batch.{name} has {} entries for {n} tokens of {per}", have.unwrap_or(0))),
        None => Ok(()),
    }
}

fn check_tokens(b: &Batch, limits: &Limits) -> Result<()> {
    match b.tokens.iter().enumerate().find(|(_, t)| !u32::try_from(**t).is_ok_and(|t| t < limits.n_vocab)) {
        Some((i, t)) => bad(format!("invalid token[{i}] = {t}")),
        None => Ok(()),
    }
}

/// Sets and first ids. The original takes its first from an unordered set; coupled sequences have equal pasts, so which one is first shows nowhere.
fn sequences(v: &BatchView<'_>, limits: &Limits) -> Result<(Vec<SeqSet>, Vec<u32>)> {
    let Some(lists) = &v.seqs else { return Ok((vec![SeqSet::one(0); v.n_tokens], vec![0; v.n_tokens])) };
    let (mut sets, mut firsts) = (Vec::with_capacity(v.n_tokens), Vec::with_capacity(v.n_tokens));
    for (i, list) in lists.iter().enumerate() {
        let mut set = SeqSet::default();
        for (k, &s) in list.iter().enumerate() {
            match u32::try_from(s) {
                Ok(s) if s < limits.n_seq_max.min(SeqSet::MAX) => set.insert(s),
                _ => return bad(format!("invalid seq_id[{i}][{k}] = {s} (n_seq_max = {})", limits.n_seq_max)),
            }
        }
        let Some(&first) = list.first() else { return bad(format!("token {i} has no sequence")) };
        sets.push(set);
        firsts.push(first as u32);
    }
    Ok((sets, firsts))
}

/// [n_tokens][n_pos]. A token has one position for all sections; embeddings bring one per section, section by section.
fn positions(v: &BatchView<'_>, limits: &Limits, first_seq: &[u32], past: Past<'_>) -> Result<Vec<i32>> {
    let (n, n_pos) = (v.n_tokens, limits.n_pos_per_embd.max(1) as usize);
    let mut out = Vec::with_capacity(n * n_pos);
    match v.pos {
        Some(pos) if v.tokens.is_some() => out.extend(pos.iter().flat_map(|p| std::iter::repeat_n(*p, n_pos))),
        Some(pos) => out.extend((0..n).flat_map(|i| (0..n_pos).map(move |j| pos[j * n + i]))),
        None => {
            let mut next = vec![None; SeqSet::MAX as usize];
            for &s in first_seq {
                let p = next[s as usize].unwrap_or_else(|| past(s).map_or(0, |(_, max)| max.saturating_add(1)));
                next[s as usize] = Some(p.saturating_add(1));
                // Without positions of its own an embedding has only the first of its sections.
                out.extend((0..n_pos).map(|j| if j == 0 || v.tokens.is_some() { p } else { 0 }));
            }
        }
    }
    match (0..n).find(|i| !(0..i32::MAX).contains(&out[i * n_pos])) {
        Some(i) => bad(format!("invalid pos[{i}] = {}", out[i * n_pos])),
        None => Ok(out),
    }
}

fn outputs(v: &BatchView<'_>, limits: &Limits) -> Vec<bool> {
    let asked: Vec<bool> = match v.logits {
        Some(l) => l.iter().map(|l| *l != 0).collect(),
        None => (0..v.n_tokens).map(|i| i + 1 == v.n_tokens).collect(),
    };
    if limits.output_all && asked.contains(&false) {
        platform::log::warn("embeddings required but some input tokens were not marked as outputs -> overriding");
        return vec![true; v.n_tokens];
    }
    asked
}

/// Sequences that share a token must have the same past.
fn check_coupled(b: &Batch, past: Past<'_>) -> Result<()> {
    for (set, &first) in b.seqs.iter().zip(&b.first_seq).filter(|(set, _)| set.len() > 1) {
        if let Some(s) = set.iter().find(|s| past(*s) != past(first)) {
            return bad(format!("sequence {s} is coupled to {first} in the input batch, but they have diverged"));
        }
    }
    Ok(())
}

/// Positions of one sequence in a batch.
#[derive(Clone, Copy)]
struct Span {
    min: i32,
    max: i32,
    n_distinct: i64,
}

/// Per sequence: rising, without holes, starting right behind what memory holds. With several positions per token (M-RoPE) they may jump forward.
/// (The original also looks for "incompatible sequence sets", a test that no batch can fail.)
fn check_positions(b: &Batch, limits: &Limits, past: Past<'_>) -> Result<()> {
    for (s, span) in spans(b)? {
        let last = past(s).map(|(_, max)| max);
        if limits.n_pos_per_embd > 1 {
            let behind = last.is_some_and(|last| span.min < last || (span.min == last && !b.tokens.is_empty()));
            if behind {
                return bad(format!("sequence {s} goes on at position {} but memory holds it up to {}", span.min, last.unwrap_or(-1)));
            }
            continue;
        }
        if let Some(last) = last.filter(|last| i64::from(span.min) != i64::from(*last) + 1) {
            return bad(format!(
                "sequence {s} must go on at position {} (memory holds it up to {last}) but starts at {}",
                i64::from(last) + 1,
                span.min
            ));
        }
        if i64::from(span.max) - i64::from(span.min) + 1 > span.n_distinct {
            return bad(format!("sequence {s} positions are not continuous"));
        }
    }
    Ok(())
}

fn spans(b: &Batch) -> Result<Vec<(u32, Span)>> {
    let mut spans = vec![None; SeqSet::MAX as usize];
    for i in 0..b.n_tokens() {
        let p = b.pos_of(i);
        for s in b.seqs[i].iter() {
            let span = spans[s as usize].get_or_insert(Span { min: p, max: p, n_distinct: 1 });
            if p < span.max {
                return bad(format!("sequence {s} positions are decreasing (token {i})"));
            }
            span.n_distinct += i64::from(p > span.max);
            span.max = p;
        }
    }
    Ok(spans.into_iter().enumerate().filter_map(|(s, x)| Some((s as u32, x?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            n_batch: 8,
            n_ubatch: 4,
            n_seq_max: 4,
            n_vocab: 100,
            n_embd: 2,
            n_pos_per_embd: 1,
            unified: true,
            causal: true,
            output_all: false,
        }
    }
    fn nothing(_: u32) -> Option<(i32, i32)> {
        None
    }
    fn tokens(n: usize) -> BatchView<'static> {
        BatchView { n_tokens: n, tokens: Some(&[1, 2, 3, 4, 5, 6, 7, 8, 9][..n]), ..BatchView::default() }
    }
    fn words(r: Result<Batch>) -> String {
        r.expect_err("refused").to_string()
    }

    #[test]
    fn what_is_left_out_is_filled_in() {
        let b = complete(&tokens(3), &limits(), &|s| (s == 0).then_some((0, 9))).unwrap();
        assert_eq!(b.pos, [10, 11, 12]);
        assert_eq!(b.output, [false, false, true]);
        assert_eq!((b.first_seq.clone(), b.seqs[1]), (vec![0, 0, 0], SeqSet::one(0)));
        let all = complete(&tokens(3), &Limits { output_all: true, ..limits() }, &nothing).unwrap();
        assert_eq!((all.n_outputs(), all.pos), (3, vec![0, 1, 2]));
        let seqs = Some(vec![vec![1, 0], vec![2], vec![1, 0]]);
        let b = complete(&BatchView { seqs, ..tokens(3) }, &limits(), &nothing).unwrap();
        assert_eq!((b.pos, b.first_seq), (vec![0, 0, 1], vec![1, 2, 1]));
    }

    #[test]
    fn sizes_ids_and_tokens_are_checked() {
        let new = |v: &BatchView<'_>| words(complete(v, &limits(), &nothing));
        assert!(new(&BatchView::default()).contains("n_tokens == 0"));
        assert!(new(&tokens(9)).contains("n_batch"));
        assert!(new(&BatchView { n_tokens: 1, ..BatchView::default() }).contains("neither"));
        assert!(new(&BatchView { tokens: Some(&[100]), ..tokens(1) }).contains("token[0] = 100"));
        assert!(new(&BatchView { tokens: Some(&[-1]), ..tokens(1) }).contains("token[0] = -1"));
        assert!(new(&BatchView { pos: Some(&[0]), ..tokens(2) }).contains("batch.pos"));
        assert!(new(&BatchView { pos: Some(&[-1]), ..tokens(1) }).contains("pos[0] = -1"));
        assert!(new(&BatchView { embd: Some(&[0.0; 3]), ..tokens(2) }).contains("batch.embd"));
        for (ids, say) in [(&[4][..], "seq_id[0][0] = 4"), (&[0, -1], "seq_id[0][1] = -1"), (&[], "no sequence")] {
            assert!(new(&BatchView { seqs: Some(vec![ids.to_vec()]), ..tokens(1) }).contains(say));
        }
        let non_causal = Limits { causal: false, ..limits() };
        assert!(words(complete(&tokens(5), &non_causal, &nothing)).contains("n_ubatch"));
        assert!(complete(&tokens(4), &non_causal, &nothing).is_ok());
    }

    #[test]
    fn positions_go_on_without_holes() {
        let at = |pos: &[i32], past: Past<'_>| complete(&BatchView { pos: Some(pos), ..tokens(pos.len()) }, &limits(), past);
        let ten = |_| Some((3, 9));
        assert!(at(&[5, 6], &nothing).is_ok(), "an empty sequence may start anywhere");
        assert!(at(&[10, 11, 11], &ten).is_ok(), "positions may repeat");
        assert!(words(at(&[9], &ten)).contains("must go on at position 10"));
        assert!(words(at(&[11], &ten)).contains("must go on at position 10"));
        assert!(words(at(&[10, 12], &ten)).contains("not continuous"));
        assert!(words(at(&[11, 10], &ten)).contains("decreasing"));
    }

    #[test]
    fn coupled_sequences_have_one_past() {
        let view = |ids: &[i32]| BatchView { seqs: Some(vec![ids.to_vec()]), pos: Some(&[4]), ..tokens(1) };
        let past = |s| Some((if s == 2 { 1 } else { 0 }, 3));
        assert!(complete(&view(&[0, 1]), &limits(), &past).is_ok());
        assert!(words(complete(&view(&[1, 2]), &limits(), &past)).contains("diverged"));
    }

    #[test]
    fn m_rope_positions_may_jump() {
        let l = Limits { n_pos_per_embd: 4, ..limits() };
        let past = |_| Some((0, 9));
        let text = |pos: &[i32]| complete(&BatchView { pos: Some(pos), ..tokens(pos.len()) }, &l, &past);
        assert_eq!(text(&[15]).unwrap().pos, [15; 4]);
        assert!(words(text(&[9])).contains("up to 9"));
        let pos = [9, 9, 1, 1, 5, 6, 0, 0];
        let image = BatchView { n_tokens: 2, embd: Some(&[0.5; 4]), pos: Some(&pos), ..BatchView::default() };
        let b = complete(&image, &l, &past).unwrap();
        assert_eq!(b.pos, [9, 1, 5, 0, 9, 1, 6, 0]);
        assert_eq!((b.pos_of(1), b.embd.len()), (9, 4));
    }
}
