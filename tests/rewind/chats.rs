//! Random chats over random contexts: every decode beside one of a memory that gives nothing up (`swa_full`), to which the same was done.
use super::*;
use llama::backend::DType;
use llama::state::{self, What};
use tiny::Rng;

const N_CTX: usize = 1024;

struct Chat {
    what: String,
    rng: Rng,
    ours: Context,
    full: Context,
    n_seq: usize,
    n_vocab: usize,
    /// Per sequence its tokens, while it has only been appended to, rewound and copied.
    known: Vec<Option<Vec<i32>>>,
    unified: bool,
    n_refused: usize,
}

impl Chat {
    fn new(seed: u64, wild: bool) -> Chat {
        let mut rng = Rng(0x9e37_79b9_7f4a_7c15 ^ (seed + 1).wrapping_mul(0x2545_f491_4f6c_dd1d));
        // The one that is partly on the device of the tests is slow.
        let m = &models()[if seed.is_multiple_of(20) { 2 } else { rng.below(2) }];
        let n_seq = 1 + rng.below(3);
        let unified = rng.below(2) == 0;
        let size = N_CTX * n_seq;
        let ours = ContextParams {
            n_ctx: size as u32,
            n_seq_max: n_seq as u32,
            kv_unified: unified,
            n_ubatch: rng.pick(&[16, 64, 256]),
            type_k: rng.pick(&[DType::F16, DType::F32, DType::Q8_0]),
            type_v: rng.pick(&[DType::F16, DType::BF16]),
            swa_snapshots: Some(rng.pick(&[7, 32, 100, 300])),
            // A row of a tiny model is 128 to 256 bytes, a page holds two windows or more: the smallest of these holds a few snapshots.
            swa_snapshot_bytes: rng.pick(&[None, None, Some(40_000), Some(0)]),
            ..params()
        };
        let full = ContextParams { n_ctx: 2 * size as u32, n_ubatch: 512, swa_full: true, swa_snapshots: Some(0), ..ours.clone() };
        let what = format!("seed {seed}, wild {wild}: {ours:?}");
        let (ours, full) = (context(m, &ours), context(m, &full));
        Chat { what, rng, ours, full, n_seq, n_vocab: tiny::N_VOCAB, known: vec![Some(Vec::new()); n_seq], unified, n_refused: 0 }
    }

    fn len(&self, seq: usize) -> usize {
        self.ours.memory().pos_max(seq as u32).map_or(0, |m| m as usize + 1)
    }
    /// Cells of the base that are left for a sequence.
    fn room(&self, seq: usize) -> usize {
        let used: usize = if self.unified { (0..self.n_seq).map(|s| self.len(s)).sum() } else { self.len(seq) };
        (if self.unified { N_CTX * self.n_seq } else { N_CTX }).saturating_sub(used + 1)
    }

    fn say(&mut self, seqs: &[usize]) {
        let most = seqs.iter().map(|s| self.room(*s)).min().unwrap_or(0);
        let n = (1 + self.rng.below(if self.rng.0.is_multiple_of(3) { 400 } else { 40 })).min(most);
        if n == 0 {
            return;
        }
        let tokens: Vec<i32> = (0..n).map(|_| self.rng.below(self.n_vocab) as i32).collect();
        let ids: Vec<i32> = seqs.iter().map(|s| *s as i32).collect();
        let got = decode(&mut self.ours, &ids, &tokens);
        let want = decode(&mut self.full, &ids, &tokens);
        assert_eq!(got.0, 0, "{}: {seqs:?} +{n}: {}", self.what, platform::log::last_error());
        assert!(got == want, "{}: {seqs:?} +{n}", self.what);
        seqs.iter().for_each(|s| {
            if let Some(k) = &mut self.known[*s] {
                k.extend(&tokens);
            }
        });
    }

    /// The same to both. What we accept, a memory that kept everything accepts as well; what we refuse has changed nothing.
    fn both(&mut self, op: &str, f: impl Fn(&mut Context) -> bool) -> bool {
        let of = |c: &Context| (0..self.n_seq as u32).map(|s| (c.memory().pos_min(s), c.memory().pos_max(s))).collect::<Vec<_>>();
        let before = of(&self.ours);
        if !f(&mut self.ours) {
            assert_eq!(before, of(&self.ours), "{}: {op}", self.what);
            self.n_refused += 1;
            return false;
        }
        assert!(f(&mut self.full), "{}: {op} is accepted here alone", self.what);
        true
    }

    fn rewind(&mut self, seq: usize) {
        let n = self.len(seq);
        if n == 0 {
            return;
        }
        let p = match self.rng.below(4) {
            0 => n - 1 - self.rng.below(n.min(9)),
            _ => self.rng.below(n),
        };
        let promised = self.ours.can_continue(seq as u32, p as i32);
        let done = self.both(&format!("rewind {seq} to {p}"), |c| c.seq_rm(Some(seq as u32), p as i32, -1).is_ok());
        assert!(done || self.known[seq].is_none(), "{}: {seq} to {p} of {n} is refused", self.what);
        // Where there are holes it goes on at the last position before one.
        assert!(done == promised || (done && self.known[seq].is_none()), "{}: can_continue is {promised}", self.what);
        if done {
            self.known[seq] = std::mem::take(&mut self.known[seq]).filter(|_| p > 0).or((p == 0).then(Vec::new));
            if let Some(k) = &mut self.known[seq] {
                k.truncate(p);
            }
        }
    }

    fn copy(&mut self, src: usize, dst: usize) {
        let n = self.len(src);
        if src == dst || (self.unified && self.room(dst) < n) {
            return;
        }
        let p = if self.unified && self.rng.below(2) == 0 { self.rng.below(n + 1) as i32 } else { -1 };
        let (s, d) = (src as u32, dst as u32);
        // Into what is there, the tokens of two chats would be mixed.
        self.both("empty", |c| c.seq_rm(Some(d), -1, -1).is_ok());
        self.known[dst] = Some(Vec::new());
        let done = self.both(&format!("copy {src} to {dst}, up to {p}"), |c| c.seq_cp(s, d, 0, p).is_ok());
        assert!(done || self.known[src].is_none(), "{}: a copy of {src} up to {p} of {n} is refused", self.what);
        if done {
            self.known[dst] = self.known[src].as_ref().map(|k| k[..if p < 0 { n } else { p as usize }].to_vec());
        }
    }

    /// Operations after which a sequence is no longer what its tokens alone say.
    fn meddle(&mut self, seq: usize) {
        let n = self.len(seq) as i32;
        if n < 3 {
            return;
        }
        let s = seq as u32;
        let p0 = self.rng.below(n as usize) as i32;
        let p1 = (p0 + 1 + self.rng.below(60) as i32).min(n);
        let sharing: Vec<usize> = (0..self.n_seq).collect();
        match self.rng.below(4) {
            0 => drop(self.both(&format!("rm {seq} {p0}..{p1}"), |c| c.seq_rm(Some(s), p0, p1).is_ok())),
            1 => {
                // A context shift: the beginning stays, the end moves down.
                if self.both(&format!("rm {seq} {p0}..{p1}"), |c| c.seq_rm(Some(s), p0, p1).is_ok()) {
                    self.both(&format!("shift {seq} {p1}.. by {}", p0 - p1), |c| c.seq_add(s, p1, -1, p0 - p1).is_ok());
                }
            }
            2 if p1 == n => drop(self.both(&format!("div {seq} {p0}.."), |c| c.seq_div(s, p0, -1, 1).is_ok())),
            _ => self.reload(seq),
        }
        // What is shared may move along.
        sharing.into_iter().for_each(|s| self.known[s] = self.known[s].take().filter(Vec::is_empty));
    }

    fn reload(&mut self, seq: usize) {
        let what = What::Seq { seq: seq as i32, partial: false };
        let mut blob = vec![0; state::size(&mut self.ours, what).expect("a size")];
        assert_eq!(state::save(&mut self.ours, what, &mut blob).expect("saves"), blob.len(), "{}", self.what);
        for c in [&mut self.ours, &mut self.full] {
            assert!(state::load(c, what, &blob).is_ok(), "{}: {}", self.what, platform::log::last_error());
        }
    }

    fn run(&mut self, steps: usize, wild: bool) {
        for _ in 0..steps {
            let seq = self.rng.below(self.n_seq);
            match self.rng.below(10) {
                0..=3 => self.say(&[seq]),
                4..=6 => {
                    self.rewind(seq);
                    // Rewinds pile up before the next decode, or are saved.
                    if self.rng.below(3) > 0 {
                        self.say(&[seq]);
                    }
                }
                7 => {
                    let dst = self.rng.below(self.n_seq);
                    self.copy(seq, dst);
                    if self.unified && seq != dst && self.len(seq) == self.len(dst) {
                        self.say(&[dst, seq]);
                    }
                }
                _ if wild => self.meddle(seq),
                _ => self.say(&[seq]),
            }
        }
    }
}

fn begin() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| platform::log::set_sink(Some(Arc::new(|_, _| ()))));
}

#[test]
fn chats_that_are_rewound_say_what_fresh_ones_say() {
    begin();
    let mut again = 0;
    for seed in 0..60 {
        let mut c = Chat::new(seed, false);
        c.run(24, false);
        assert_eq!(c.n_refused, 0, "{}", c.what);
        again += c.ours.n_again();
        // And not only as the other memory says.
        let seq = (0..c.n_seq).max_by_key(|s| c.len(*s)).unwrap_or(0);
        let mut tokens = c.known[seq].clone().expect("known");
        assert_eq!(c.ours.memory().pos_min(seq as u32), (!tokens.is_empty()).then_some(0), "{}", c.what);
        tokens.truncate(N_CTX - 2);
        c.ours.seq_rm(Some(seq as u32), tokens.len() as i32, -1).expect("served");
        tokens.push(3);
        let (m, p) = (c.ours.model.clone(), c.ours.params.clone());
        assert!(logits(&mut c.ours, seq as i32, &[3]) == fresh(&m, &p, &tokens), "{}", c.what);
    }
    assert!(again > 2000, "only {again} tokens were computed again: the chats are too short");
}

#[test]
fn whatever_is_done_in_between() {
    begin();
    let (mut refused, mut again) = (0, 0);
    for seed in 1000..1060 {
        let mut c = Chat::new(seed, true);
        c.run(30, true);
        refused += c.n_refused;
        again += c.ours.n_again();
    }
    assert!(refused > 5 && again > 500, "{refused} refused, {again} computed again");
}
