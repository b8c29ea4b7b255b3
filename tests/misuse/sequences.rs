//! Thousands of random calls, right and wrong, on two contexts of one model: nothing breaks, logits stay numbers, positions stay what a plain map says.
use crate::tiny::{Batch, Ctx, N_VOCAB, Rng, Tiny, ctx_params, errors};
use llama::capi::context::*;
use llama::capi::memory::*;
use llama::capi::outputs::*;
use llama::capi::types::*;
use std::collections::BTreeMap;

const N_SEQ: i32 = 4;
const N_OPS: usize = 3000;

/// Highest position per sequence: all that valid operations need to be known by.
type Ends = BTreeMap<i32, i32>;

struct Player {
    c: Ctx,
    ends: Ends,
    n_swa: i32,
    counts: [usize; 4],
}

impl Player {
    fn end(&self, seq: i32) -> i32 {
        self.ends.get(&seq).copied().unwrap_or(-1)
    }

    fn check(&mut self, what: &str) {
        for seq in 0..N_SEQ {
            let (min, max) = (self.c.min(seq), self.c.max(seq));
            assert_eq!(max, self.end(seq), "{what}: sequence {seq}");
            assert!((min == -1) == (max == -1) && min <= max + 1, "{what}: sequence {seq}: {min}..{max}");
        }
    }

    /// What only the memory knows is taken over from it.
    fn learn(&mut self) {
        self.ends = (0..N_SEQ).map(|s| (s, self.c.max(s))).filter(|(_, e)| *e >= 0).collect();
    }

    fn valid_batch(&self, rng: &mut Rng) -> (Batch, Ends) {
        let (n, mut ends, mut b) = (1 + rng.below(20), self.ends.clone(), Batch::default());
        for _ in 0..n {
            let seq = rng.below(N_SEQ as usize) as i32;
            let end = ends.entry(seq).or_insert(-1);
            *end += 1;
            b.tokens.push(rng.below(N_VOCAB) as i32);
            b.pos.push(*end);
            b.seqs.push(vec![seq]);
            b.logits.push(rng.below(2) as i8);
        }
        (b, ends)
    }

    fn decode(&mut self, rng: &mut Rng) {
        let (b, ends) = self.valid_batch(rng);
        let rc = self.c.decode(&b);
        self.counts[0] += usize::from(rc == 0);
        self.counts[1] += usize::from(rc == 1);
        assert!(rc == 0 || rc == 1, "decode of {b:?} gave {rc}");
        if rc == 1 {
            return;
        }
        self.ends = ends;
        for (i, wanted) in b.logits.iter().enumerate() {
            let row = self.c.logits(i as i32);
            // With embeddings on every token is an output.
            assert!(row.is_some() || *wanted == 0);
            assert!(row.is_none_or(|r| r.iter().all(|v| v.is_finite())), "logits of {b:?}");
        }
    }

    fn decode_wrong(&mut self, rng: &mut Rng) {
        let (mut b, _) = self.valid_batch(rng);
        let i = rng.below(b.tokens.len());
        match rng.below(6) {
            0 => b.tokens[i] = rng.pick(&[-1, N_VOCAB as i32, i32::MAX, i32::MIN]),
            1 => b.pos[i] = rng.pick(&[-1, b.pos[i] + 100, i32::MAX, i32::MIN]),
            2 => b.seqs[i] = vec![rng.pick(&[-1, N_SEQ, 300, i32::MAX, i32::MIN])],
            3 => b.seqs[i] = Vec::new(),
            4 => b = Batch::new(&vec![1; 65]),
            _ => b = Batch::new(&[]),
        }
        assert_eq!(self.c.decode(&b), -1, "{b:?}");
        self.counts[2] += 1;
    }

    fn operate(&mut self, rng: &mut Rng) {
        let seq = rng.pick(&[0, 1, 2, 3, 0, 1, 2, 3, -1, 4, 300]);
        let end = self.end(seq);
        let p = |rng: &mut Rng| rng.pick(&[-1, 0, end, end + 1, end / 2, end - 3, i32::MAX, i32::MIN]);
        let (p0, p1, mem) = (p(rng), p(rng), self.c.mem());
        self.counts[3] += 1;
        // SAFETY: live handles, plain numbers.
        unsafe {
            match rng.below(8) {
                0 => {
                    if llama_memory_seq_rm(mem, seq, -1, -1) {
                        if seq < 0 { self.ends.clear() } else { _ = self.ends.remove(&seq) }
                    }
                    return self.check("seq_rm of all");
                }
                1 if (0..N_SEQ).contains(&seq) && end > 0 => {
                    // The tail goes, or nothing does.
                    let from = end - rng.below(6).min(end as usize) as i32;
                    if llama_memory_seq_rm(mem, seq, from, -1) {
                        // Below the tail there may be holes, so where it ends now only the memory knows.
                        let now = self.c.max(seq);
                        assert!(now < from, "{now} of {from}");
                        _ = if now < 0 { self.ends.remove(&seq) } else { self.ends.insert(seq, now) };
                    } else {
                        assert!(self.n_swa > 0, "only a window refuses");
                    }
                    return self.check("seq_rm of a tail");
                }
                2 => _ = llama_memory_seq_rm(mem, seq, p0, p1),
                3 => llama_memory_seq_cp(mem, seq, rng.pick(&[0, 1, 2, 3, -1, 4]), p0, p1),
                4 => llama_memory_seq_keep(mem, seq),
                5 => llama_memory_seq_add(mem, seq, p0, p1, rng.pick(&[-3, 1, 2, i32::MAX, i32::MIN, 0])),
                6 => llama_memory_seq_div(mem, seq, p0, p1, rng.pick(&[1, 2, 3, 0, -1, i32::MAX])),
                _ if rng.below(10) == 0 => {
                    llama_memory_clear(mem, true);
                    self.ends.clear();
                    return self.check("clear");
                }
                _ => {}
            }
        }
        self.learn();
        // A sequence near the end of all positions is of no more use.
        for s in 0..N_SEQ {
            if self.end(s) > 1 << 20 {
                // SAFETY: live handles.
                assert!(unsafe { llama_memory_seq_rm(self.c.mem(), s, -1, -1) });
                self.ends.remove(&s);
            }
        }
        // Sequences with holes inside cannot be told by their ends; the decoder's rule (go on at max + 1) still holds for all.
        self.check("an operation");
    }

    fn fiddle(&self, rng: &mut Rng) {
        let (c, n) = (self.c.get(), rng.pick(&[0, 1, 2, -1, 100, i32::MAX, i32::MIN]));
        // SAFETY: live handles.
        unsafe {
            match rng.below(5) {
                0 => llama_set_n_threads(c, n, -n.max(-5)),
                1 => llama_set_embeddings(c, rng.below(2) == 0),
                2 => assert!(llama_get_logits_ith(c, i32::MAX).is_null()),
                3 => _ = llama_get_embeddings_ith(c, n),
                _ => _ = (llama_get_logits(c), llama_get_embeddings(c), llama_get_embeddings_seq(c, n)),
            }
        }
    }
}

fn play(arch: &'static str, unified: bool, seed: u64) {
    let m = Tiny::new(arch).load("sequences");
    let p = llama_context_params { n_seq_max: N_SEQ as u32, kv_unified: unified, swa_full: false, pooling_type: 3, ..ctx_params() };
    let n_swa = if arch == "gemma3" { 8 } else { 0 };
    let player = || Player { c: m.ctx(p), ends: Ends::new(), n_swa, counts: [0; 4] };
    let mut players = [player(), player()];
    let mut rng = Rng(seed);
    for i in 0..N_OPS {
        let me = &mut players[rng.below(2)];
        match rng.below(10) {
            0..4 => me.decode(&mut rng),
            4 => me.decode_wrong(&mut rng),
            5..9 => me.operate(&mut rng),
            _ => me.fiddle(&mut rng),
        }
        me.check(&format!("{arch} {unified} op {i}"));
        errors("random calls");
    }
    let c = players[0].counts;
    println!("{arch} unified {unified}: {} decodes, {} full, {} wrong, {} operations", c[0], c[1], c[2], c[3]);
    assert!(c[0] > 200 && c[2] > 50 && c[3] > 300);
}

#[test]
fn random_calls_in_streams() {
    play("llama", false, 0x5eed_0001);
    play("gemma3", false, 0x5eed_0002);
}

#[test]
fn random_calls_unified() {
    play("gemma3", true, 0x5eed_0003);
    play("qwen3moe", true, 0x5eed_0004);
}
