//! The leaf kernels against a naive f64 attention, and the promises of `mod.rs` about bits.

use super::*;
use crate::float::table;
use crate::float::tests::{Guarded, Rng, guarded, levels};

/// A layer's head: `n` cells of K and V in one stretch each, and queries that see prefixes or windows of them.
struct Case {
    head_k: usize,
    head_v: usize,
    types: (DType, DType),
    n: usize,
    n_q: usize,
    softcap: f32,
    /// What is added by distance, behind the query's place modulo its length; empty: nothing.
    added: &'static [f32],
    /// Slope of the queries, which stand at the last cell that they see; 0: none.
    slope: f32,
    /// K and V as floats, after a round trip through their types. `[n][head]`
    k: Vec<f32>,
    v: Vec<f32>,
    k_bytes: Vec<u8>,
    v_bytes: Vec<u8>,
    q: Vec<f32>,
    /// Per query, the cells it sees.
    vis: Vec<(usize, usize)>,
}

/// Rows stored as `t`, and read back.
fn stored(t: DType, x: &[f32], head: usize) -> (Vec<u8>, Vec<f32>) {
    let mut bytes = vec![0; t.row_bytes(head).unwrap() * (x.len() / head)];
    let mut back = vec![0.0; x.len()];
    assert!(table(Isa::Scalar).encode_row(t, x, &mut bytes));
    assert!(table(Isa::Scalar).decode_row(t, &bytes, &mut back));
    (bytes, back)
}

impl Case {
    fn new(rng: &mut Rng, heads: (usize, usize), types: (DType, DType), n: usize, n_q: usize) -> Case {
        let (k_bytes, k) = stored(types.0, &rng.row(n * heads.0, 2.0), heads.0);
        let (v_bytes, v) = stored(types.1, &rng.row(n * heads.1, 1.0), heads.1);
        let q = rng.row(n_q * heads.0, 2.0);
        let vis = (0..n_q).map(|i| (0, (i + n - n_q.min(n) + 1).min(n))).collect();
        Case { head_k: heads.0, head_v: heads.1, types, n, n_q, softcap: 0.0, slope: 0.0, added: &[], k, v, k_bytes, v_bytes, q, vis }
    }
    /// What is added to the score of cell `j` for a query whose window ends at `end`.
    fn added_at(&self, end: usize, j: usize) -> f32 {
        if self.added.is_empty() { 0.0 } else { self.added[end.abs_diff(j) % self.added.len()] }
    }
    fn scale(&self) -> f32 {
        1.0 / (self.head_k as f32).sqrt()
    }
    fn strides(&self) -> (usize, usize) {
        (self.types.0.row_bytes(self.head_k).unwrap(), self.types.1.row_bytes(self.head_v).unwrap())
    }

    /// The states after all leaves of queries `queries`, given to the kernel together; runs of at most `run` cells.
    fn states(&self, isa: Isa, queries: std::ops::Range<usize>, run: usize) -> Vec<f32> {
        let n_q = queries.len();
        let mut state = guarded(&vec![0.0f32; n_q * state_len(self.head_v)]);
        state.chunks_exact_mut(state_len(self.head_v)).for_each(span_init);
        let q = guarded(&self.q[queries.start * self.head_k..queries.end * self.head_k]);
        for first in (0..self.n).step_by(LEAF) {
            self.leaf(isa, &queries, first, run, &q, &mut state);
        }
        state.to_vec()
    }

    /// One leaf. K and V lie in copies that hold only what some query sees, with guard pages after.
    fn leaf(&self, isa: Isa, queries: &std::ops::Range<usize>, first: usize, run: usize, q: &Guarded<f32>, state: &mut Guarded<f32>) {
        let len = LEAF.min(self.n - first);
        let place = |p: usize| p.clamp(first, first + len) - first;
        let vis: Vec<_> = self.vis[queries.clone()].iter().map(|v| (place(v.0) as u8, place(v.1) as u8)).collect();
        let end = vis.iter().filter(|v| v.0 < v.1).map(|v| usize::from(v.1)).max().unwrap_or(0);
        let (ks, vs) = self.strides();
        let k = guarded(&self.k_bytes[first * ks..(first + end) * ks]);
        let v = guarded(&self.v_bytes[first * vs..(first + end) * vs]);
        let cut = |at: usize| KvRun {
            k: k.as_ptr().wrapping_add(at * ks),
            v: v.as_ptr().wrapping_add(at * vs),
            at: at as u8,
            len: run.min(len - at) as u8,
        };
        // Latest first: the order of runs must not matter.
        let mut rows = Rows::default();
        (0..len).step_by(run).map(cut).rev().for_each(|r| rows.add(&r, ks, vs));
        let of = |v: &(usize, usize)| Alibi { slope: self.slope, first: first as f32 + 1.0 - v.1 as f32 };
        let alibi: Vec<Alibi> = self.vis[queries.clone()].iter().map(of).collect();
        let of = |v: &(usize, usize)| std::array::from_fn(|j| self.added_at(v.1, first + j));
        let added: Vec<[f32; LEAF]> = self.vis[queries.clone()].iter().map(of).collect();
        let mut scratch = guarded(&vec![0xAAu8; scratch_bytes(self.head_k, self.head_v, vis.len())]);
        let args = LeafArgs {
            at: HeadRows { rows: &rows, k: 0, v: 0 },
            next: Some(HeadRows { rows: &rows, k: 64 * ks, v: 64 * vs }),
            len: len as u8,
            head_k: self.head_k,
            head_v: self.head_v,
            k_type: self.types.0,
            v_type: self.types.1,
            q: q.as_ptr(),
            q_stride: self.head_k,
            n_q: vis.len(),
            vis: &vis,
            scale: self.scale(),
            softcap: self.softcap,
            alibi: (self.slope != 0.0).then_some(&alibi),
            added: (!self.added.is_empty()).then_some(&added),
            state: state.as_mut_ptr(),
            scratch: scratch.as_mut_ptr(),
        };
        // SAFETY: all buffers have the sizes said; attn_leaf gives what this CPU has.
        unsafe { attn_leaf(isa)(&args) };
    }

    /// Attention of query `i` in f64, by the book.
    fn naive(&self, i: usize) -> Vec<f64> {
        let q = &self.q[i * self.head_k..][..self.head_k];
        let score = |j: usize| {
            let dot: f64 = q.iter().zip(&self.k[j * self.head_k..]).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            let (s, cap) = (dot * f64::from(self.scale()), f64::from(self.softcap));
            let capped = if cap == 0.0 { s } else { cap * (s / cap).tanh() };
            capped - f64::from(self.slope) * (self.vis[i].1 as f64 - 1.0 - j as f64).abs() + f64::from(self.added_at(self.vis[i].1, j))
        };
        let s: Vec<f64> = (self.vis[i].0..self.vis[i].1).map(score).collect();
        let m = s.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let p: Vec<f64> = s.iter().map(|s| (s - m).exp()).collect();
        let sum: f64 = p.iter().sum();
        let channel =
            |c: usize| p.iter().enumerate().map(|(j, p)| p / sum * f64::from(self.v[(self.vis[i].0 + j) * self.head_v + c])).sum();
        (0..self.head_v).map(channel).collect()
    }

    #[track_caller]
    fn check(&self, isa: Isa) {
        let states = self.states(isa, 0..self.n_q, 64);
        for (i, state) in states.chunks_exact(state_len(self.head_v)).enumerate() {
            let mut out = vec![9.0; self.head_v];
            span_finish(state, None, &mut out);
            for (c, (got, want)) in out.iter().zip(self.naive(i)).enumerate() {
                let what = (isa, self.types, self.head_k, self.head_v, self.n, self.n_q);
                assert!((f64::from(*got) - want).abs() < 3e-6, "{what:?}: query {i} channel {c}: {got} for {want}");
            }
        }
    }
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|v| v.to_bits()).collect()
}

fn all_levels() -> Vec<Isa> {
    std::iter::once(Isa::Scalar).chain(levels()).collect()
}

const TYPES: [DType; 9] =
    [DType::F32, DType::F16, DType::BF16, DType::Q8_0, DType::Q5_1, DType::Q5_0, DType::Q4_1, DType::Q4_0, DType::IQ4_NL];

#[test]
fn every_type_pair_is_attention() {
    let mut rng = Rng(1);
    for kt in TYPES {
        for vt in TYPES {
            for n_q in [1, 2, 3, 7, 9, 40] {
                let case = Case::new(&mut rng, (64, 96), (kt, vt), 150, n_q);
                all_levels().into_iter().for_each(|isa| case.check(isa));
            }
        }
    }
}

#[test]
fn every_head_size_and_length_is_attention() {
    let mut rng = Rng(2);
    for head in (8..=136).step_by(8).chain([256, 576]) {
        for t in [DType::F32, DType::F16, DType::BF16] {
            for n_q in [1, 6, 13] {
                let n = 1 + rng.below(70);
                let case = Case::new(&mut rng, (head, 144 - head.min(136)), (t, t), n, n_q);
                all_levels().into_iter().for_each(|isa| case.check(isa));
            }
        }
    }
    for n in 1..=130 {
        let case = Case::new(&mut rng, (16, 16), (DType::F16, DType::F16), n, 1 + n % 11);
        all_levels().into_iter().for_each(|isa| case.check(isa));
    }
}

#[test]
fn softcap_is_applied_to_scaled_scores() {
    let mut case = Case::new(&mut Rng(3), (64, 64), (DType::F16, DType::F16), 100, 10);
    case.softcap = 3.0;
    all_levels().into_iter().for_each(|isa| case.check(isa));
}

#[test]
fn scores_fall_with_distance() {
    for n_q in [1, 3, 70] {
        let mut case = Case::new(&mut Rng(4), (64, 72), (DType::F16, DType::F32), 200, n_q);
        case.slope = 0.125;
        all_levels().into_iter().for_each(|isa| case.check(isa));
    }
}

#[test]
fn numbers_are_added_by_distance() {
    for n_q in [1, 3, 70] {
        let mut case = Case::new(&mut Rng(5), (64, 72), (DType::F32, DType::F16), 200, n_q);
        case.added = &[0.7, -1.3, 2.0, 0.1, -0.4, 1.1, -2.2];
        all_levels().into_iter().for_each(|isa| case.check(isa));
    }
}

/// Random windows, some empty.
fn windows(rng: &mut Rng, n: usize, n_q: usize) -> Vec<(usize, usize)> {
    let window = |_| {
        let a = rng.below(n);
        (a, a + rng.below(n - a + 1))
    };
    (0..n_q).map(window).collect()
}

#[test]
fn bits_depend_on_neither_company_nor_runs() {
    let mut rng = Rng(4);
    let floats = [(DType::F32, DType::F32), (DType::F16, DType::F16)];
    let mixed = [(DType::BF16, DType::Q8_0), (DType::Q8_0, DType::F16), (DType::Q4_0, DType::Q5_1), (DType::F16, DType::IQ4_NL)];
    for (kt, vt) in floats.into_iter().chain(mixed) {
        for n_q in [2, 5, 8, 9, 33, 70] {
            for windowed in [false, true] {
                let mut case = Case::new(&mut rng, (96, 96), (kt, vt), 200, n_q);
                if windowed {
                    case.vis = windows(&mut rng, 200, n_q);
                }
                for isa in all_levels() {
                    let together = case.states(isa, 0..n_q, 64);
                    assert_eq!(bits(&case.states(isa, 0..n_q, 1)), bits(&together), "runs of 1, {isa:?}");
                    assert_eq!(bits(&case.states(isa, 0..n_q, 7)), bits(&together), "runs of 7, {isa:?}");
                    let alone: Vec<f32> = (0..n_q).flat_map(|i| case.states(isa, i..i + 1, 64)).collect();
                    assert_eq!(bits(&alone), bits(&together), "one by one, {isa:?} {kt:?} {vt:?} {n_q} {windowed}");
                }
            }
        }
    }
}

#[test]
fn vector_levels_agree_bit_by_bit() {
    let mut rng = Rng(5);
    for head in [40, 64, 80, 128, 256] {
        for n_q in [1, 4, 12] {
            let case = Case::new(&mut rng, (head, head), (DType::F16, DType::BF16), 130, n_q);
            let all: Vec<_> = levels().into_iter().map(|isa| bits(&case.states(isa, 0..n_q, 64))).collect();
            assert!(all.windows(2).all(|w| w[0] == w[1]), "head {head}, {n_q} queries");
        }
    }
}

#[test]
fn what_is_not_seen_is_not_felt() {
    let mut rng = Rng(6);
    for n_q in [1, 6, 20] {
        let mut case = Case::new(&mut rng, (64, 64), (DType::F32, DType::F32), 64, n_q);
        case.vis = windows(&mut rng, 64, n_q);
        // Query 0 sees nothing; the others see what they see of a leaf whose every other cell is poison for them.
        case.vis[0] = (10, 10);
        for isa in all_levels() {
            let want = case.states(isa, 0..n_q, 64);
            let n = state_len(64);
            let mut fresh = vec![0.0; n];
            span_init(&mut fresh);
            assert_eq!(bits(&want[..n]), bits(&fresh));
            for i in 1..n_q {
                let mut poisoned = Case::new(&mut rng, (64, 64), (DType::F32, DType::F32), 64, n_q);
                (poisoned.k_bytes, poisoned.v_bytes) = (case.k_bytes.clone(), case.v_bytes.clone());
                (poisoned.q, poisoned.vis) = (case.q.clone(), case.vis.clone());
                for j in (0..64).filter(|j| !(case.vis[i].0..case.vis[i].1).contains(j)) {
                    let nan = f32::NAN.to_le_bytes().repeat(64);
                    poisoned.k_bytes[j * 256..][..256].copy_from_slice(&nan);
                    poisoned.v_bytes[j * 256..][..256].copy_from_slice(&nan);
                }
                let got = poisoned.states(isa, 0..n_q, 64);
                assert_eq!(bits(&got[i * n..][..n]), bits(&want[i * n..][..n]), "{isa:?}: query {i} of {n_q}");
            }
        }
    }
}

#[test]
fn scores_of_minus_infinity_weigh_nothing() {
    let mut case = Case::new(&mut Rng(7), (16, 16), (DType::F32, DType::F32), 3, 1);
    case.q.fill(1.0);
    case.k_bytes[..64].copy_from_slice(&f32::NEG_INFINITY.to_le_bytes().repeat(16));
    for isa in all_levels() {
        case.vis[0] = (0, 1);
        let none = case.states(isa, 0..1, 64);
        assert_eq!((none[0], none[1]), (f32::NEG_INFINITY, 0.0));
        case.vis[0] = (0, 3);
        let some = case.states(isa, 0..1, 64);
        assert!(some.iter().all(|v| v.is_finite()));
    }
}

#[test]
fn spans_merge_to_what_one_span_gives() {
    let mut rng = Rng(8);
    let case = Case::new(&mut rng, (64, 64), (DType::F16, DType::F16), 256, 1);
    for isa in all_levels() {
        let (mut first, mut second) = (case.cut(0, 128), case.cut(128, 256));
        first.vis[0] = (0, 128);
        second.vis[0] = (0, 128);
        let mut state = vec![0.0; state_len(64)];
        span_init(&mut state);
        let untouched = state.clone();
        span_merge(&mut state, &first.states(isa, 0..1, 64), 64);
        let before = state.clone();
        span_merge(&mut state, &untouched, 64);
        assert_eq!(bits(&state), bits(&before));
        span_merge(&mut state, &second.states(isa, 0..1, 64), 64);
        let mut out = vec![0.0; 64];
        span_finish(&state, None, &mut out);
        out.iter().zip(case.naive(0)).for_each(|(g, w)| assert!((f64::from(*g) - w).abs() < 3e-6));
        // A sink is one more cell whose value is zero.
        let mut sunk = vec![0.0; 64];
        for sink in [-3.0, state[0] + 2.0] {
            span_finish(&state, Some(sink), &mut sunk);
            let share = state[1] / (state[1] + (sink - state[0]).exp());
            sunk.iter().zip(&out).for_each(|(s, o)| assert!((s - o * share).abs() < 1e-6));
        }
        span_finish(&untouched, Some(1.0), &mut sunk);
        assert_eq!(sunk, [0.0; 64]);
        span_finish(&untouched, None, &mut sunk);
        assert_eq!(sunk, [0.0; 64]);
    }
}

impl Case {
    /// The same queries over cells `a..b` alone.
    fn cut(&self, a: usize, b: usize) -> Case {
        let (ks, vs) = self.strides();
        Case {
            k: self.k[a * self.head_k..b * self.head_k].to_vec(),
            v: self.v[a * self.head_v..b * self.head_v].to_vec(),
            k_bytes: self.k_bytes[a * ks..b * ks].to_vec(),
            v_bytes: self.v_bytes[a * vs..b * vs].to_vec(),
            n: b - a,
            q: self.q.clone(),
            vis: self.vis.clone(),
            added: self.added,
            ..*self
        }
    }
}
