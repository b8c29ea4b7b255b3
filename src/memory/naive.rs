//! The memory's rules written down a second time, with plain lists and full scans, and a property test that holds the two against each other.
//! A map from (group, block, slot) to (token, rotation) stands for the bytes: what a view names must be the very rows that were stored.
use super::tests::{span, spec, ubatch};
use super::*;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::collections::{BTreeMap, BTreeSet};

const N_SEQ: u32 = 3;

/// One cell: the token in it, where, whose.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    token: u64,
    pos: i32,
    /// How far K is to be rotated in all.
    turn: i32,
    arrival: u64,
    /// By which shift it was copied from a shared one.
    copied: u32,
    seqs: BTreeSet<u32>,
}

#[derive(Clone, Debug)]
struct Naive {
    specs: Vec<GroupSpec>,
    unified: bool,
    /// [group][stream]
    cells: Vec<Vec<Vec<Entry>>>,
    clock: u64,
    n_shifts: u32,
}

impl Naive {
    fn new(specs: &[GroupSpec], unified: bool) -> Naive {
        let n_streams = if unified { 1 } else { N_SEQ as usize };
        Naive { specs: specs.to_vec(), unified, cells: vec![vec![Vec::new(); n_streams]; specs.len()], clock: 0, n_shifts: 0 }
    }
    fn stream(&self, seq: u32) -> usize {
        if self.unified { 0 } else { seq as usize }
    }
    /// A sequence's entries in order of (pos, arrival), copies behind what they were copied from.
    fn of(&self, g: usize, seq: u32) -> Vec<&Entry> {
        let mut v: Vec<&Entry> = self.cells[g][self.stream(seq)].iter().filter(|e| e.seqs.contains(&seq)).collect();
        v.sort_by_key(|e| (e.pos, e.arrival, e.copied));
        v
    }
    fn max(&self, g: usize, seq: u32) -> Option<i32> {
        self.of(g, seq).last().map(|e| e.pos)
    }
    fn lo_next(&self, g: usize, seq: u32) -> i32 {
        self.max(g, seq).map_or(0, |m| self.specs[g].window.lo(m + 1))
    }
    /// A sequence may have a token and a copy of it.
    fn tokens_from(&self, g: usize, seq: u32, lo: i32) -> BTreeSet<(i32, u64)> {
        self.of(g, seq).iter().filter(|e| e.pos >= lo).map(|e| (e.pos, e.token)).collect()
    }
    fn pos_min(&self, seq: u32) -> Option<i32> {
        let base = self.of(0, seq);
        let whole = |p: i32| (1..self.specs.len()).all(|g| self.tokens_from(0, seq, p).is_subset(&self.tokens_from(g, seq, p)));
        let end = base.last()?.pos + 1;
        Some(base.iter().map(|e| e.pos).find(|p| whole(*p)).unwrap_or(end))
    }
    fn goes_on(&self) -> bool {
        (0..N_SEQ).all(|s| {
            let Some(max) = self.max(0, s) else { return true };
            (1..self.specs.len()).all(|g| {
                let lo = self.specs[g].window.lo(max + 1);
                self.tokens_from(0, s, lo) == self.tokens_from(g, s, lo)
            })
        })
    }

    /// `None`: full. The second part is the state in which only the room was made.
    fn apply(&self, tokens: &[(i32, Vec<u32>)], first_token: u64) -> Option<(Naive, Naive)> {
        let mut roomy = self.clone();
        for g in 0..self.specs.len() {
            for s in 0..self.cells[g].len() {
                let n = tokens.iter().filter(|t| self.stream(t.1[0]) == s).count();
                roomy.make_room(g, s, n)?;
            }
        }
        let mut after = roomy.clone();
        for (i, (pos, seqs)) in tokens.iter().enumerate() {
            after.clock += 1;
            let e = Entry {
                token: first_token + i as u64,
                pos: *pos,
                turn: 0,
                arrival: after.clock,
                copied: 0,
                seqs: seqs.iter().copied().collect(),
            };
            let s = after.stream(seqs[0]);
            after.cells.iter_mut().for_each(|g| g[s].push(e.clone()));
        }
        Some((after, roomy))
    }

    fn make_room(&mut self, g: usize, s: usize, n: usize) -> Option<()> {
        let spec = self.specs[g];
        let size = spec.size as usize;
        let need = (self.cells[g][s].len() + n).saturating_sub(size);
        if need == 0 {
            return Some(());
        }
        let los: Vec<i32> = (0..N_SEQ).map(|q| self.lo_next(g, q)).collect();
        let is_masked = |e: &Entry| e.seqs.iter().all(|q| e.pos < los[*q as usize]);
        // Of each sequence the first ones by position; of those the ones that have been masked the longest.
        let mut masked: Vec<Entry> = Vec::new();
        for q in (0..N_SEQ).filter(|q| self.stream(*q) == s) {
            let first = self.of(g, q).into_iter().filter(|e| is_masked(e)).take(need);
            first.for_each(|e| {
                if !masked.contains(e) {
                    masked.push(e.clone())
                }
            });
        }
        if spec.keep_masked || spec.window == Window::All || masked.len() < need || n > size {
            return None;
        }
        let hides = |e: &Entry, t: &Entry| spec.window.lo(t.pos + 1) > e.pos;
        let arrived = |t: &&Entry| (t.arrival, t.copied);
        let since = |e: &Entry| e.seqs.iter().filter_map(|q| self.of(g, *q).iter().find(|t| hides(e, t)).map(arrived)).max();
        masked.sort_by_cached_key(|e| (since(e), e.arrival, e.copied));
        for victim in &masked[..need] {
            for q in &victim.seqs {
                self.cells[g][s].iter_mut().filter(|e| e.pos <= victim.pos).for_each(|e| {
                    e.seqs.remove(q);
                });
            }
        }
        self.sweep();
        Some(())
    }

    fn sweep(&mut self) {
        self.cells.iter_mut().flatten().for_each(|c| c.retain(|e| !e.seqs.is_empty()));
    }

    /// Runs `f` on every cell of the stream(s) of `seq`; the new state if decoding can go on from it.
    fn change(&self, seq: Option<u32>, mut f: impl FnMut(&mut Entry)) -> Option<Naive> {
        let mut new = self.clone();
        for g in &mut new.cells {
            for (s, cells) in g.iter_mut().enumerate() {
                if seq.is_none_or(|q| self.stream(q) == s) {
                    cells.iter_mut().for_each(&mut f);
                    cells.iter_mut().filter(|e| e.pos < 0).for_each(|e| e.seqs.clear());
                }
            }
        }
        new.sweep();
        new.goes_on().then_some(new)
    }

    /// Moves entries of `q` in `a..b` to where `to` says; shared ones stay with the others, and `q` gets copies for which there must be room.
    fn shift(&self, q: u32, a: i32, b: i32, to: impl Fn(i32) -> i32) -> Option<Naive> {
        let (mut new, s) = (self.clone(), self.stream(q));
        new.n_shifts += 1;
        for g in 0..self.specs.len() {
            let moves = |e: &Entry| e.seqs.contains(&q) && e.pos >= a && e.pos < b;
            let copies = |e: &Entry| moves(e) && e.seqs.len() > 1 && to(e.pos) >= 0 && to(e.pos) != e.pos;
            let n = |new: &Naive| new.cells[g][s].iter().filter(|e| copies(e)).count();
            if new.make_room(g, s, n(&new)).is_none() {
                // What it does not see any more it leaves to the others.
                let spec = new.specs[g];
                let lo = if spec.keep_masked || spec.window == Window::All { 0 } else { new.lo_next(g, q) };
                new.cells[g][s].iter_mut().filter(|e| e.pos < lo).for_each(|e| _ = e.seqs.remove(&q));
                new.sweep();
                new.make_room(g, s, n(&new))?;
            }
            let mut apart = Vec::new();
            for e in new.cells[g][s].iter_mut().filter(|e| moves(e)) {
                let (pos, turn) = (to(e.pos), e.turn + to(e.pos) - e.pos);
                if e.seqs.len() == 1 {
                    (e.pos, e.turn) = (pos, turn);
                } else if pos != e.pos {
                    e.seqs.remove(&q);
                    apart.push(Entry { pos, turn, copied: new.n_shifts, seqs: BTreeSet::from([q]), ..e.clone() });
                }
            }
            new.cells[g][s].extend(apart);
            new.cells[g][s].iter_mut().filter(|e| e.pos < 0).for_each(|e| e.seqs.clear());
        }
        new.sweep();
        new.goes_on().then_some(new)
    }

    fn copy_across(&self, src: u32, dst: u32) -> Option<Naive> {
        let mut new = self.clone();
        for g in &mut new.cells {
            let mut copy = g[src as usize].clone();
            copy.iter_mut().for_each(|e| e.seqs = BTreeSet::from([dst]));
            g[dst as usize] = copy;
        }
        new.goes_on().then_some(new)
    }
}

#[derive(Clone, Debug)]
enum Op {
    Decode { seqs: Vec<u32>, n: i32, gap: i32, repeat: bool, end: End },
    Two { n: [i32; 2] },
    Rm(Option<u32>, i32, i32),
    Cp(u32, u32, i32, i32),
    Keep(u32),
    Add(u32, i32, i32, i32),
    Div(u32, i32, i32, i32),
    Shifts,
    Freed,
    Clear,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Commit,
    Revert,
    Unplace,
}

fn an_op() -> impl Strategy<Value = Op> {
    let seq = 0..N_SEQ;
    let p = prop_oneof![Just(0), 0..150i32];
    let q = prop_oneof![2 => Just(i32::MAX), 1 => 0..150i32, 1 => Just(-1)];
    let end = prop_oneof![6 => Just(End::Commit), 1 => Just(End::Revert), 1 => Just(End::Unplace)];
    let seqs = prop::sample::subsequence((0..N_SEQ).collect::<Vec<u32>>(), 1..=2).prop_shuffle();
    let decode = (seqs, 1..40i32, prop_oneof![9 => Just(0), 1 => 0..100], prop::bool::weighted(0.1), end)
        .prop_map(|(seqs, n, gap, repeat, end)| Op::Decode { seqs, n, gap, repeat, end });
    prop_oneof![
        12 => decode,
        2 => [1..30i32, 1..30i32].prop_map(|n| Op::Two { n }),
        3 => (prop_oneof![4 => seq.clone().prop_map(Some), 1 => Just(None)], p.clone(), q.clone()).prop_map(|(s, a, b)| Op::Rm(s, a, b)),
        3 => (seq.clone(), seq.clone(), p.clone(), q.clone()).prop_map(|(s, d, a, b)| Op::Cp(s, d, a, b)),
        1 => seq.clone().prop_map(Op::Keep),
        2 => (seq.clone(), p.clone(), q.clone(), -60..60i32).prop_map(|(s, a, b, d)| Op::Add(s, a, b, d)),
        1 => (seq, p, q, 1..4i32).prop_map(|(s, a, b, d)| Op::Div(s, a, b, d)),
        1 => Just(Op::Shifts),
        1 => Just(Op::Freed),
        1 => Just(Op::Clear),
    ]
}

fn configs() -> impl Strategy<Value = (Vec<GroupSpec>, bool)> {
    let windows = prop_oneof![Just(Window::Sliding(16)), Just(Window::Chunked(24)), Just(Window::Symmetric(21)), Just(Window::All)];
    let ring = (windows, 70..120u32, any::<bool>(), prop_oneof![Just(32u32), Just(64)])
        .prop_map(|(w, size, keep_masked, cells_per_block)| GroupSpec { keep_masked, cells_per_block, ..spec(w, size) });
    (prop::collection::vec(ring, 0..3), 90..260u32, any::<bool>()).prop_map(|(rings, size, unified)| {
        let base = GroupSpec { cells_per_block: 64, ..spec(Window::All, size) };
        (std::iter::once(base).chain(rings).collect(), unified)
    })
}

/// The memory under test, the model of it, and what its store would hold.
struct Pair {
    m: Memory,
    naive: Naive,
    rows: BTreeMap<(usize, BlockId, u16), (u64, i32)>,
    usable: BTreeSet<(usize, BlockId)>,
    n_tokens: u64,
}

impl Pair {
    fn run(&mut self, op: &Op) {
        let open = |p: i32| if p < 0 { i32::MAX } else { p };
        let within = |e: &Entry, q: u32, a: i32, b: i32| e.seqs.contains(&q) && e.pos >= a && e.pos < open(b);
        match *op {
            Op::Decode { ref seqs, n, gap, repeat, end } => self.decode(seqs, n, gap, repeat, end),
            Op::Two { n } => self.two(n),
            Op::Rm(Some(q), a, b) => {
                let new = self.naive.change(Some(q), |e| {
                    if within(e, q, a, b) {
                        e.seqs.remove(&q);
                    }
                });
                let got = self.m.seq_rm(Some(q), a, b);
                self.settle(got, new);
            }
            Op::Rm(None, a, b) => {
                let new = self.naive.change(None, |e| {
                    if e.pos >= a && e.pos < open(b) {
                        e.seqs.clear()
                    }
                });
                let got = self.m.seq_rm(None, a, b);
                self.settle(got, new);
            }
            Op::Cp(src, dst, a, b) if self.naive.unified || src == dst => {
                let new = self.naive.change(Some(src), |e| {
                    if within(e, src, a, b) {
                        e.seqs.insert(dst);
                    }
                });
                let got = self.m.seq_cp(src, dst, a, b);
                self.settle(got, new);
            }
            Op::Cp(src, dst, a, b) => {
                let whole = (0..self.naive.specs.len()).all(|g| self.naive.of(g, src).iter().all(|e| within(e, src, a, b)));
                let new = whole.then(|| self.naive.copy_across(src, dst)).flatten();
                let got = self.m.seq_cp(src, dst, a, b);
                self.settle(got, new);
            }
            Op::Keep(q) => {
                let new = self.naive.change(None, |e| e.seqs.retain(|s| *s == q));
                let got = self.m.seq_keep(q);
                self.settle(got, new);
            }
            Op::Add(q, a, b, d) => {
                let new = self.naive.shift(q, a, open(b), |p| p + d);
                let got = self.m.seq_add(q, a, b, d);
                self.follow(got, new);
            }
            Op::Div(q, a, b, d) => {
                let new = self.naive.shift(q, a, open(b), |p| p / d);
                let got = self.m.seq_div(q, a, b, d);
                self.follow(got, new);
            }
            Op::Shifts => self.shifts(),
            Op::Freed => self.freed(),
            Op::Clear => {
                self.m.clear();
                let (clock, n_shifts) = (self.naive.clock, self.naive.n_shifts);
                self.naive = Naive { clock, n_shifts, ..Naive::new(&self.naive.specs, self.naive.unified) };
            }
        }
        self.compare();
    }

    fn follow(&mut self, got: Result<Changed, Refused>, want: Option<Naive>) {
        let got = got.map(|c| {
            self.copy(&c.copies);
            self.m.keep_change(c);
        });
        self.settle(got, want);
    }

    fn copy(&mut self, copies: &[RowCopy]) {
        for c in copies {
            self.usable.insert((c.group, c.to.0));
            for i in 0..c.len {
                let row = self.rows[&(c.group, c.from.0, c.from.1 + i)];
                self.rows.insert((c.group, c.to.0, c.to.1 + i), row);
            }
        }
    }

    fn settle(&mut self, got: Result<(), Refused>, want: Option<Naive>) {
        assert_eq!(got.is_ok(), want.is_some(), "{got:?}");
        self.naive = want.unwrap_or_else(|| self.naive.clone());
    }

    fn decode(&mut self, seqs: &[u32], n: i32, gap: i32, repeat: bool, end: End) {
        let seqs = if self.naive.unified { seqs.to_vec() } else { seqs[..1].to_vec() };
        let p = seqs.iter().filter_map(|s| self.naive.max(0, *s)).max().map_or(0, |m| m + 1) + gap;
        let tokens: Vec<(i32, Vec<u32>)> = (0..n).map(|i| (p + if repeat { i / 8 } else { i }, seqs.clone())).collect();
        self.place(&tokens, end);
    }

    /// Two sequences take turns in one ubatch.
    fn two(&mut self, n: [i32; 2]) {
        let next = |s: u32| self.naive.max(0, s).map_or(0, |m| m + 1);
        let turns = (0..n[0].max(n[1])).flat_map(|i| [(0u32, i), (1, i)]).filter(|(s, i)| *i < n[*s as usize]);
        let tokens: Vec<(i32, Vec<u32>)> = turns.map(|(s, i)| (next(s) + i, vec![s])).collect();
        self.place(&tokens, End::Commit);
    }

    fn place(&mut self, tokens: &[(i32, Vec<u32>)], end: End) {
        let list: Vec<(i32, &[u32])> = tokens.iter().map(|(p, s)| (*p, &s[..])).collect();
        let ub = ubatch(&list);
        let before = self.m.clone();
        let want = self.naive.apply(tokens, self.n_tokens);
        let fits = self.m.check(std::slice::from_ref(&ub));
        assert_eq!(fits.is_ok(), want.is_some());
        assert!(self.m.state() == before.state(), "check changes nothing");
        let placed = self.m.apply(&ub, true);
        let (Some((after, roomy)), Ok(placed)) = (want, placed) else {
            assert!(self.m.state() == before.state(), "a full memory is not changed");
            return;
        };
        let rows = self.rows.clone();
        let new_blocks = &self.m.blocks() - &before.blocks();
        assert!(placed.copies.iter().all(|c| new_blocks.contains(&(c.group, c.to.0))));
        self.usable.extend(new_blocks);
        self.copy(&placed.copies);
        for (g, v) in placed.views.iter().enumerate() {
            for (i, (block, slot)) in v.dst.iter().enumerate() {
                assert!(self.usable.contains(&(g, *block)), "a row goes to a block nobody announced");
                self.rows.insert((g, *block, *slot), (self.n_tokens + i as u64, 0));
            }
            self.views(g, v, tokens, &after);
        }
        self.n_tokens += tokens.len() as u64;
        match end {
            End::Commit => {
                self.m.commit(placed);
                self.naive = after;
            }
            End::Revert => {
                self.m.revert(placed);
                self.naive = roomy;
            }
            End::Unplace => {
                self.m.unplace(placed);
                assert!(self.m.state() == before.state(), "apply and unplace are nothing");
                self.rows = rows;
            }
        }
    }

    /// Every query sees exactly the tokens it should, in order, in leaves of consecutive positions of one tile, each at the place that its position has
    /// there; and two leaves of a tile do not follow one another by one position.
    fn views(&self, g: usize, v: &Views, tokens: &[(i32, Vec<u32>)], after: &Naive) {
        for l in &v.leaves {
            let segs = &v.segs[l.segs.start as usize..l.segs.end as usize];
            assert!(l.from < l.to && l.to <= 64);
            let at: Vec<u8> = segs.iter().flat_map(|s| s.at..s.at + s.len).collect();
            assert_eq!(at, (l.from..l.to).collect::<Vec<u8>>());
        }
        for (row, (pos, seqs)) in v.rows.iter().zip(tokens) {
            let w = self.naive.specs[g].window;
            assert_eq!((row.lo, row.hi), (w.lo(*pos), *pos));
            let sees = |p: i32| p >= row.lo && p <= row.hi;
            let mut got = Vec::new();
            for l in &v.leaves[row.leaves.start as usize..row.leaves.end as usize] {
                let mut any = false;
                for s in &v.segs[l.segs.start as usize..l.segs.end as usize] {
                    for i in 0..s.len {
                        let p = l.tile * 64 + i32::from(s.at + i);
                        any |= sees(p);
                        if sees(p) {
                            got.push(self.rows[&(g, s.block, s.slot + u16::from(i))].0);
                        }
                    }
                }
                assert!(any, "a leaf that holds nothing to see");
            }
            let want: Vec<u64> = after.of(g, seqs[0]).iter().filter(|e| sees(e.pos)).map(|e| e.token).collect();
            assert_eq!(got, want);
        }
    }

    /// Freed blocks lose their rows: a wrong one shows at the next comparison.
    fn freed(&mut self) {
        for (g, b) in self.m.freed() {
            self.usable.remove(&(g, b));
            self.rows.retain(|(h, c, _), _| (*h, *c) != (g, b));
        }
        let mut in_use: Vec<u32> = vec![0; self.naive.specs.len()];
        self.usable.iter().for_each(|(g, _)| in_use[*g] += 1);
        assert_eq!(in_use, self.m.used_blocks(), "blocks are given back when their last cell goes");
    }

    /// Afterwards every row is where its positions say; `compare` looks.
    fn shifts(&mut self) {
        for s in self.m.take_shifts() {
            for i in 0..s.len {
                self.rows.get_mut(&(s.group, s.block, s.slot + i)).expect("a row").1 += s.delta;
            }
        }
        let pending = self.m.groups.iter().flat_map(|g| &g.streams).any(|c| (0..c.size()).any(|i| c.cell(i).shift != 0));
        assert!(!pending, "told once");
    }

    fn compare(&self) {
        let used: Vec<u32> = self.naive.cells.iter().map(|g| g.iter().map(Vec::len).sum::<usize>() as u32).collect();
        assert_eq!(self.m.used(), used);
        for seq in 0..N_SEQ {
            assert_eq!(self.m.pos_max(seq), self.naive.max(0, seq));
            assert_eq!(self.m.pos_min(seq), self.naive.pos_min(seq));
            for g in 0..self.naive.specs.len() {
                let group = &self.m.groups[g];
                let stream = self.naive.stream(seq) as u32;
                let runs = group.runs(stream, seq).expect("a sequence has runs");
                let cells = runs.cells(0, i64::from(i32::MAX));
                let row = |c: &u32| group.place_of(stream, *c).and_then(|(b, s)| self.rows.get(&(g, b, s)).copied());
                let one = |c: &u32| {
                    let cell = group.streams[stream as usize].cell(*c);
                    (row(c).map(|(token, turn)| (token, turn + cell.shift)), cell.pos)
                };
                let got: Vec<_> = cells.iter().map(one).collect();
                let want: Vec<_> = self.naive.of(g, seq).iter().map(|e| (Some((e.token, e.turn)), e.pos)).collect();
                assert_eq!(got, want, "group {g} sequence {seq}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, rng_seed: RngSeed::Fixed(3), ..ProptestConfig::default() })]

    #[test]
    fn memory_is_what_the_lists_say((specs, unified) in configs(), ops in prop::collection::vec(an_op(), 1..60)) {
        let m = Memory::new(specs.clone(), N_SEQ, unified).expect("valid");
        let mut pair = Pair { m, naive: Naive::new(&specs, unified), rows: BTreeMap::new(), usable: BTreeSet::new(), n_tokens: 0 };
        ops.iter().for_each(|op| pair.run(op));
        pair.freed();
    }

    /// Several ubatches: `check` says what applying them one after the other says.
    #[test]
    fn check_foresees_a_whole_batch((specs, unified) in configs(), lens in prop::collection::vec((0..N_SEQ, 1..40i32), 1..12)) {
        let mut m = Memory::new(specs, N_SEQ, unified).expect("valid");
        let mut next = [0; N_SEQ as usize];
        let ubs: Vec<Ubatch> = lens.iter().map(|(s, n)| {
            let p = &mut next[*s as usize];
            *p += n;
            span(*s, *p - n..*p)
        }).collect();
        let said = m.check(&ubs);
        let done = ubs.iter().try_for_each(|ub| m.apply(ub, true).map(|p| m.commit(p)));
        prop_assert_eq!(said, done);
    }
}
