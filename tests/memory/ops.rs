//! Operations on a memory, as drawn by a generator and as printed when one of them goes wrong. An operation makes sense in any state, so that others
//! can be left out before it.
use crate::models::{Rng, SHAPES};
use crate::pair::{KV, Pair};
use llama::backend::DType;

/// A context.
#[derive(Clone, Debug)]
pub struct Kind {
    /// Of `SHAPES`.
    pub shape: usize,
    pub n_swa: u32,
    pub n_seq: u32,
    /// Cells of a stream.
    pub n_ctx_seq: u32,
    pub n_ubatch: u32,
    pub unified: bool,
    pub swa_full: bool,
    pub flash_attn: bool,
    pub threads: i32,
    pub kv: (DType, DType),
}

/// Windows for which models are made, some of which fill a ring of 256 to the last cell with 1 or 2 sequences and a ubatch of 32.
pub const WINDOWS: [u32; 4] = [224, 112, 56, 24];

impl Kind {
    /// `window`: of `WINDOWS`.
    pub fn draw(rng: &mut Rng, shape: usize) -> Kind {
        let n_seq = rng.pick(&[1, 2, 3, 4]);
        Kind {
            shape,
            n_swa: rng.pick(&WINDOWS),
            n_seq,
            n_ctx_seq: rng.pick(&[512, 768, 1024]),
            n_ubatch: rng.pick(&[7, 16, 32, 64]),
            unified: rng.chance(2),
            swa_full: rng.chance(4),
            flash_attn: !rng.chance(4),
            threads: if rng.chance(8) { 2 } else { 1 },
            kv: rng.pick(&KV),
        }
    }
    /// Another context for the same model and sequences.
    fn redrawn(&self, rng: &mut Rng) -> Kind {
        let k = Kind::draw(rng, self.shape);
        Kind { n_swa: self.n_swa, n_seq: self.n_seq, kv: self.kv, ..k }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {self:?}", SHAPES[self.shape].arch)
    }
}

#[derive(Clone, Debug)]
pub enum Op {
    /// Parts of a batch, each so many tokens that belong to these sequences, one behind the other or in turns. Each goes on where its sequence ends,
    /// an empty one at `start`. `abort`: the callback says so when it is asked the n-th time.
    Decode {
        parts: Vec<(Vec<u32>, u32)>,
        turns: bool,
        start: i32,
        seed: u64,
        abort: Option<u32>,
    },
    Rm {
        seq: Option<u32>,
        p0: i32,
        p1: i32,
    },
    Cp {
        src: u32,
        dst: u32,
        p0: i32,
        p1: i32,
    },
    Keep {
        seq: u32,
    },
    Add {
        seq: u32,
        p0: i32,
        p1: i32,
        delta: i32,
    },
    Div {
        seq: u32,
        p0: i32,
        p1: i32,
        d: i32,
    },
    Clear,
    /// `seq` None: the whole context.
    Save {
        seq: Option<u32>,
        slot: usize,
        partial: bool,
    },
    /// What the slot holds: a whole context, or a sequence into `seq`.
    Load {
        slot: usize,
        seq: u32,
    },
    /// Everything into another context.
    Move {
        kind: Kind,
    },
}

/// Draws operations for the state that `pair` is in.
pub struct Draw<'a> {
    pub rng: &'a mut Rng,
    /// Only appends, rewinds of tails, copies and removals of whole sequences, saves and loads.
    pub plain: bool,
}

impl Draw<'_> {
    pub fn op(&mut self, pair: &Pair<'_>) -> Op {
        let n_seq = pair.kind.n_seq;
        let seq = self.rng.below(n_seq as usize) as u32;
        let len = pair.full.pos_max(seq).map_or(0, |p| p + 1);
        match self.rng.below(if self.plain { 76 } else { 100 }) {
            0..40 => self.decode(pair, seq),
            40..50 => Op::Rm { seq: Some(seq), p0: len - self.back(len, pair), p1: -1 },
            50..56 => self.whole(pair, seq),
            56..66 => self.save(seq),
            66..74 => Op::Load { slot: self.rng.below(4), seq },
            74..76 => Op::Move { kind: pair.kind.redrawn(self.rng) },
            76..80 => self.hole(seq, len),
            80..86 => self.shift(seq, len),
            86..91 => self.add(seq, len),
            91..94 => Op::Div { seq, p0: self.at(len), p1: -1, d: self.rng.pick(&[2, 3, 8]) },
            94..98 => Op::Cp { src: seq, dst: self.rng.below(n_seq as usize) as u32, p0: self.at(len), p1: self.end(len) },
            98 => Op::Keep { seq },
            _ => Op::Rm { seq: None, p0: self.at(len), p1: self.end(len) },
        }
    }

    fn at(&mut self, len: i32) -> i32 {
        self.rng.below(len.max(1) as usize) as i32
    }
    fn end(&mut self, len: i32) -> i32 {
        if self.rng.chance(2) { -1 } else { self.at(len) + 1 }
    }
    /// How many positions a rewind gives up: mostly few, sometimes all.
    fn back(&mut self, len: i32, pair: &Pair<'_>) -> i32 {
        let most = match self.rng.below(4) {
            0 => pair.kind.n_ubatch as i32,
            1 => len,
            _ => 8,
        };
        (1 + self.at(most)).min(len)
    }

    fn decode(&mut self, pair: &Pair<'_>, seq: u32) -> Op {
        let n_seq = pair.kind.n_seq as usize;
        let n = self.n_tokens(pair);
        let mut parts = vec![(vec![seq], n)];
        if n_seq > 1 && self.rng.chance(3) {
            // Some of them together, then each by itself.
            let other = (seq + 1 + self.rng.below(n_seq - 1) as u32) % n_seq as u32;
            if pair.same_past(seq, other, self.plain) && pair.kind.unified {
                parts[0].0.push(other);
                parts.push((vec![seq], self.rng.below(3) as u32));
            }
            parts.push((vec![other], 1 + self.rng.below(12) as u32));
        }
        let abort = self.rng.chance(10).then(|| self.rng.below(150) as u32);
        let start = if !self.plain && self.rng.chance(4) { self.rng.below(90) as i32 } else { 0 };
        // In turns the first token after a shared one would part those that are to share the next.
        let turns = self.rng.chance(2) && !(self.plain && parts[0].0.len() > 1);
        Op::Decode { parts, turns, start, seed: self.rng.draw() % 1000, abort }
    }
    fn n_tokens(&mut self, pair: &Pair<'_>) -> u32 {
        let n = pair.kind.n_ubatch as usize;
        1 + match self.rng.below(10) {
            0..4 => 0,
            4..7 => self.rng.below(12),
            7..9 => self.rng.below(2 * n),
            _ => self.rng.below(300),
        } as u32
    }

    fn whole(&mut self, pair: &Pair<'_>, seq: u32) -> Op {
        let dst = self.rng.below(pair.kind.n_seq as usize) as u32;
        match self.rng.below(12) {
            0..7 => Op::Cp { src: seq, dst, p0: -1, p1: -1 },
            7..10 => Op::Rm { seq: Some(seq), p0: -1, p1: -1 },
            10 => Op::Keep { seq },
            _ => Op::Clear,
        }
    }
    fn save(&mut self, seq: u32) -> Op {
        let partial = !self.plain && self.rng.chance(3);
        Op::Save { seq: (!self.rng.chance(4)).then_some(seq), slot: self.rng.below(4), partial }
    }
    fn hole(&mut self, seq: u32, len: i32) -> Op {
        let (p0, n) = (self.at(len), self.rng.pick(&[1, 2, 3, 20, 60]));
        Op::Rm { seq: Some(seq), p0, p1: p0 + n }
    }
    /// Half of a context shift: what is behind a hole moves up to it (the hole was made by an earlier operation, or nothing is missing).
    fn shift(&mut self, seq: u32, len: i32) -> Op {
        let n = 1 + self.at(len.min(80));
        let from = n + self.at(len - n);
        Op::Add { seq, p0: from, p1: -1, delta: -n }
    }
    fn add(&mut self, seq: u32, len: i32) -> Op {
        let delta = self.rng.below(40) as i32 - 20;
        Op::Add { seq, p0: self.at(len), p1: self.end(len), delta }
    }
}
