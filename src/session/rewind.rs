//! Going on where a window was given up: kept rows are put back, and the tokens between them and the end of the sequence are computed once more,
//! without outputs. What they store is what was there, bit by bit. Knows neither cells nor what a snapshot is.
use super::context::{Context, no_place, stopped};
use super::kv::Kv;
use crate::backend::{SeqSet, Ubatch};
use crate::memory::{Refused, snapshots};
use platform::{Error, Result, log};
use std::ops::Range;

/// Tokens between snapshots: what the caller says, else what the environment says; 0: none, 1: the usual number.
pub fn every(asked: Option<u32>) -> u32 {
    let env = || match platform::env::get("CAMELID_SWA_SNAPSHOTS").as_deref() {
        None | Some("off") => 0,
        Some("on") => 1,
        Some(n) => n.parse().unwrap_or_else(|_| {
            log::warn(format!("CAMELID_SWA_SNAPSHOTS={n} is neither on nor a number of tokens"));
            0
        }),
    };
    match asked.unwrap_or_else(env) {
        1 => snapshots::EVERY,
        n => n,
    }
}

/// Consecutive tokens of one sequence of which no output is wanted.
fn ubatch(seq: u32, first: i32, tokens: &[i32]) -> Ubatch {
    let n = tokens.len();
    Ubatch {
        tokens: tokens.to_vec(),
        embd: Vec::new(),
        pos: (first..).take(n).collect(),
        n_pos_per_token: 1,
        seqs: vec![SeqSet::one(seq); n],
        first_seq: vec![seq; n],
        output: vec![false; n],
        index: (0..n as u32).collect(),
    }
}

impl Context {
    /// Makes the windows of these sequences whole. A failure is a decode's; what was done until then stays, and the next call goes on from there.
    pub(super) fn bring_back(&mut self, seqs: impl IntoIterator<Item = u32>) -> std::result::Result<(), i32> {
        for seq in seqs {
            if let Some(p) = self.memory().owed(seq) {
                self.again(seq, p)?;
            }
        }
        Ok(())
    }

    fn again(&mut self, seq: u32, p: Range<i32>) -> std::result::Result<(), i32> {
        self.kv.put_back(seq, p.start).map_err(no_place)?;
        let ids = self.memory().ids(seq, p.clone()).unwrap_or_default();
        for (tokens, first) in ids.chunks(self.sizes.n_ubatch as usize).zip(p.step_by(self.sizes.n_ubatch as usize)) {
            let ub = ubatch(seq, first, tokens);
            let placed = self.kv.place_again(&ub).map_err(no_place)?;
            match self.run(&ub, &placed, &[]) {
                Ok(()) => self.kv.commit_again(placed),
                Err(stop) => {
                    self.kv.revert(placed);
                    return Err(stopped(&stop));
                }
            }
            self.n_again += tokens.len() as u64;
        }
        Ok(())
    }

    /// Carries out what operations have left for later, so that rows are what positions say.
    pub fn settle(&mut self) -> Result<()> {
        self.flush().map_err(|s| Error::invalid(format!("K-shift: {s}")))?;
        let owing = self.memory().owing();
        self.bring_back(owing).map_err(|rc| Error::invalid(format!("a window could not be brought back (code {rc})")))
    }

    /// An operation on memory; one that a window stands in the way of is tried again with all windows whole.
    pub(super) fn operate(&mut self, f: impl Fn(&mut Kv) -> std::result::Result<(), Refused>) -> std::result::Result<(), Refused> {
        let done = f(&mut self.kv);
        if done.is_err() && !self.memory().owing().is_empty() && self.settle().is_ok() {
            return f(&mut self.kv);
        }
        done
    }

    /// Whether a decode of `seq` could go on at `p`, after a `seq_rm` from there on where something is behind it.
    pub fn can_continue(&self, seq: u32, p: i32) -> bool {
        let end = self.memory().pos_max(seq).map(|m| m.saturating_add(1));
        seq < self.sizes.n_seq_max && p >= 0 && end.is_none_or(|e| p <= e && self.memory().can_continue(seq, p))
    }

    /// Tokens computed again so far.
    pub fn n_again(&self) -> u64 {
        self.n_again
    }
}
