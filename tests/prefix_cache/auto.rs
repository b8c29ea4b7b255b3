//! The switch: a host with it and one without do the same and see the same, whatever they do.
use super::*;
use llama::cache::Auto;

/// The same calls with the cache and without.
struct Both {
    with: Context,
    auto: Auto,
    without: Context,
    /// Tokens that the one with it did not compute.
    saved: i32,
}

impl Both {
    fn new(d: &Dir, name: &'static str, p: &ContextParams) -> Both {
        let p = ContextParams { no_perf: false, ..p.clone() };
        let with = context(name, p.clone());
        Both { auto: Auto::new(d.cache(ANY_SIZE), &with), with, without: context(name, p), saved: 0 }
    }

    fn decode(&mut self, b: &BatchView<'_>) -> i32 {
        let rc = self.auto.decode(&mut self.with, b);
        assert_eq!(rc, self.without.decode(b));
        if rc == 0 {
            for i in -2..b.n_tokens as i32 {
                let (x, y) = (self.with.outputs.logits_ith(i), self.without.outputs.logits_ith(i));
                assert!(x == y, "logits {i} of {} differ", b.n_tokens);
            }
            assert!(self.with.outputs.logits() == self.without.outputs.logits());
        }
        self.same_memory();
        let n = |c: &Context| c.perf.n_p_eval + c.perf.n_eval;
        self.saved = n(&self.without) - n(&self.with);
        rc
    }

    fn same_memory(&self) {
        let (x, y) = (self.with.memory(), self.without.memory());
        for s in 0..self.with.sizes.n_seq_max {
            assert_eq!((x.pos_min(s), x.pos_max(s)), (y.pos_min(s), y.pos_max(s)), "sequence {s}");
        }
        assert_eq!(x.used(), y.used());
    }

    /// As llama-cpp-python does it: in batches of n_batch, positions told, the last token's logits wanted.
    fn eval(&mut self, seq: i32, tokens: &[i32]) {
        for t in tokens.chunks(self.with.sizes.n_batch as usize) {
            let at = self.without.memory().pos_max(seq as u32).map_or(0, |p| p + 1);
            let pos: Vec<i32> = (at..at + t.len() as i32).collect();
            let mut logits = vec![0; t.len()];
            logits[t.len() - 1] = 1;
            let b = BatchView {
                n_tokens: t.len(),
                tokens: Some(t),
                pos: Some(&pos),
                seqs: Some(vec![vec![seq]; t.len()]),
                logits: Some(&logits),
                embd: None,
            };
            assert_eq!(self.decode(&b), 0);
        }
    }

    fn generate(&mut self, seq: i32, n: usize) -> Vec<i32> {
        let mut out = Vec::new();
        for _ in 0..n {
            let l = self.without.outputs.logits_ith(-1).expect("wanted");
            let best = (0..l.len()).max_by(|a, b| l[*a].total_cmp(&l[*b])).expect("a vocabulary") as i32;
            out.push(best);
            self.eval(seq, &[best]);
        }
        out
    }

    fn cut(&mut self, seq: i32, from: usize) {
        let cut = |c: &mut Context| c.seq_rm(Some(seq as u32), from as i32, -1).is_ok();
        assert_eq!(cut(&mut self.with), cut(&mut self.without), "cut at {from}");
        self.same_memory();
    }
}

fn ways() -> Vec<(&'static str, ContextParams)> {
    let mut all = Vec::new();
    for name in [LLAMA, GEMMA] {
        for (n_batch, n_ubatch) in [(512, 64), (2048, 7), (100, 100), (64, 33)] {
            for swa_full in [true, false] {
                all.push((name, ContextParams { n_batch, n_ubatch, swa_full, ..params() }));
            }
        }
    }
    all
}

/// Two conversations that begin alike, twice: in the second process nearly nothing of the prompts is computed.
#[test]
fn conversations_repeat_from_disk() {
    for (name, p) in ways() {
        let d = Dir::unique();
        let system = tokens(1, 150);
        let mut saved = Vec::new();
        for _ in 0..2 {
            for chat in 0..2 {
                let mut host = Both::new(&d, name, &p);
                let mut past = [&system[..], &tokens(20 + chat, 120)].concat();
                host.eval(0, &past);
                past.extend(host.generate(0, 5));
                let next = tokens(30 + chat, 90);
                host.eval(0, &next);
                past.extend(next);
                past.extend(host.generate(0, 3));
                // Another answer to the last question.
                host.cut(0, past.len() - 4);
                host.eval(0, &past[past.len() - 4..past.len() - 1]);
                host.generate(0, 3);
                saved.push(host.saved);
            }
        }
        println!("{name} n_batch {} n_ubatch {} swa_full {}: saved {saved:?}", p.n_batch, p.n_ubatch, p.swa_full);
        assert_eq!(saved[0], 0);
        // What a ring gave up it would still have had after the first of several batches: then nothing is taken.
        let small = name == GEMMA && !p.swa_full;
        let (branch, again) = match (small, p.n_batch >= 270) {
            (false, _) => (149 - 32, 270),
            (true, whole) => (0, if whole { 269 } else { 0 }),
        };
        assert!(saved[1] >= branch && saved[2] >= again && saved[3] >= again, "{saved:?}");
    }
}

/// Hosts that do anything: sequences in one batch, copies, moves, clears, foreign states, outputs anywhere, batches that are refused.
#[test]
fn random_hosts_see_no_difference() {
    let mut saved = 0;
    for seed in 0..40 {
        let mut r = Rng(seed);
        let name = if r.below(2) == 0 { LLAMA } else { GEMMA };
        let p = ContextParams {
            n_ctx: 512,
            n_batch: [512, 100][r.below(2)],
            n_ubatch: [64, 17, 512][r.below(3)],
            n_seq_max: 1 + r.below(3) as u32,
            kv_unified: r.below(2) == 0,
            swa_full: r.below(2) == 0,
            ..params()
        };
        // Few beginnings, so that many are met again.
        let d = Dir::unique();
        for _ in 0..3 {
            let mut host = Both::new(&d, name, &p);
            (0..12).for_each(|_| step(&mut host, &mut r));
            saved += host.saved;
        }
    }
    println!("{saved} tokens were not computed");
    assert!(saved > 4000, "{saved}");
}

fn step(h: &mut Both, r: &mut Rng) {
    let n_seq = h.with.sizes.n_seq_max as usize;
    let s = r.below(n_seq) as u32;
    match r.below(14) {
        0 => [&mut h.with, &mut h.without].into_iter().for_each(Context::memory_clear),
        1 => h.cut(s as i32, 0),
        2 => h.cut(s as i32, r.below(200)),
        3 => {
            let (to, p1) = (r.below(n_seq) as u32, if r.below(2) == 0 { -1 } else { r.below(100) as i32 });
            assert_eq!(h.with.seq_cp(s, to, 0, p1).is_ok(), h.without.seq_cp(s, to, 0, p1).is_ok());
        }
        4 => {
            let (a, b) = (r.below(60) as i32, 60 + r.below(60) as i32);
            assert_eq!(h.with.seq_rm(Some(s), a, b).is_ok(), h.without.seq_rm(Some(s), a, b).is_ok());
            assert_eq!(h.with.seq_add(s, b, -1, a - b).is_ok(), h.without.seq_add(s, b, -1, a - b).is_ok());
        }
        5 => {
            let what = llama::state::What::Seq { seq: s as i32, partial: false };
            let moved = |c: &mut Context| {
                let mut b = vec![0; llama::state::size(c, what).expect("a size")];
                llama::state::save(c, what, &mut b).expect("saves");
                llama::state::load(c, llama::state::What::Seq { seq: 0, partial: false }, &b).is_ok()
            };
            assert_eq!(moved(&mut h.with), moved(&mut h.without));
        }
        _ => prompts(h, r, n_seq),
    }
    h.same_memory();
}

/// A batch of one or several sequences' next tokens, whole prompts where they are empty.
fn prompts(h: &mut Both, r: &mut Rng, n_seq: usize) {
    let (mut t, mut pos, mut seqs) = (Vec::new(), Vec::new(), Vec::new());
    let interleaved = r.below(4) == 0;
    for s in 0..n_seq as i32 {
        if n_seq > 1 && r.below(2) == 0 {
            continue;
        }
        let at = h.without.memory().pos_max(s as u32).map_or(0, |p| p + 1);
        let (n, of) = (1 + r.below(if at == 0 { 180 } else { 70 }), 1 + r.below(3) as u64);
        // As if everybody knew the same three texts.
        let text = tokens(of, at as usize + n);
        t.extend_from_slice(&text[at as usize..]);
        pos.extend(at..at + n as i32);
        seqs.extend(vec![vec![s]; n]);
    }
    if interleaved {
        let mut order: Vec<usize> = (0..t.len()).collect();
        order.sort_by_key(|i| (pos[*i], seqs[*i][0]));
        t = order.iter().map(|i| t[*i]).collect();
        seqs = order.iter().map(|i| seqs[*i].clone()).collect();
        pos = order.iter().map(|i| pos[*i]).collect();
    }
    let mut logits = vec![0; t.len()];
    if let Some(last) = logits.last_mut() {
        *last = 1;
    }
    (0..r.below(3)).for_each(|_| {
        let n = logits.len().max(1);
        logits.get_mut(r.below(n)).into_iter().for_each(|l| *l = 1);
    });
    let b = BatchView {
        n_tokens: t.len(),
        tokens: Some(&t),
        pos: (r.below(3) > 0).then_some(&pos),
        seqs: Some(seqs),
        logits: (r.below(4) > 0).then_some(&logits),
        embd: None,
    };
    h.decode(&b);
}

#[test]
fn what_is_not_a_prompt_is_left_alone() {
    let d = Dir::unique();
    let t = tokens(1, 200);
    // Every logit wanted, embeddings, a token of two sequences: nothing is taken from disk.
    let mut host = Both::new(&d, LLAMA, &params());
    host.eval(0, &t);
    assert_eq!(d.entries().len(), 1);
    let ones = vec![1; 200];
    let plain = BatchView { n_tokens: 200, tokens: Some(&t), logits: Some(&ones), ..BatchView::default() };
    let mut host = Both::new(&d, LLAMA, &params());
    host.decode(&plain);
    assert_eq!(host.saved, 0);
    let mut host = Both::new(&d, LLAMA, &ContextParams { embeddings: true, ..params() });
    host.decode(&BatchView { logits: None, ..plain.clone() });
    assert_eq!(host.saved, 0);
    let mut host = Both::new(&d, LLAMA, &ContextParams { n_seq_max: 2, kv_unified: true, ..params() });
    host.decode(&BatchView { logits: None, seqs: Some(vec![vec![0, 1]; 200]), ..plain.clone() });
    assert_eq!(host.saved, 0);
    // Refused as it would have been.
    let mut host = Both::new(&d, LLAMA, &params());
    assert_eq!(host.decode(&BatchView { logits: None, tokens: Some(&[&t[..199], &[-1]].concat()), ..plain.clone() }), -1);
    assert_eq!(host.with.memory().pos_max(0), None);
    host.decode(&BatchView { logits: None, ..plain.clone() });
    assert_eq!(host.saved, 199);
    // No room: not even for what would come from disk.
    let mut host = Both::new(&d, LLAMA, &ContextParams { n_seq_max: 2, kv_unified: true, ..params() });
    host.eval(1, &tokens(8, 900));
    assert_eq!(host.decode(&BatchView { logits: None, ..plain }), 1);
    assert_eq!((host.with.memory().pos_max(0), host.saved), (None, 0));
}
