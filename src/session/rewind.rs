//! Going on where a window was given up: kept rows are put back, and the tokens between them and the end of the sequence are computed once more,
//! without outputs. What they store is what was there, bit by bit. Knows neither cells nor what a snapshot is.
use super::context::{Context, code, no_place, stopped};
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
            while let Some(p) = self.memory().owed(seq) {
                self.kv.put_back(seq, p.start).map_err(no_place)?;
                self.compute_again(seq, p)?;
            }
        }
        Ok(())
    }

    /// One ubatch of it at most: where more rows are kept further on they are used.
    fn compute_again(&mut self, seq: u32, p: Range<i32>) -> std::result::Result<(), i32> {
        let end = p.end.min(p.start.saturating_add(self.sizes.n_ubatch as i32));
        if p.is_empty() {
            return Ok(());
        }
        let Some(ids) = self.memory().ids(seq, p.start..end) else {
            log::error(format!("decode: tokens {}..{end} of sequence {seq} are not known any more", p.start));
            return Err(code::FAILED);
        };
        let ub = ubatch(seq, p.start, &ids);
        let placed = self.kv.place_again(&ub).map_err(no_place)?;
        if let Err(stop) = self.run(&ub, &placed, &[]) {
            self.kv.revert(placed);
            return Err(stopped(&stop));
        }
        self.kv.commit_again(placed);
        self.n_again += ids.len() as u64;
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
        seq < self.sizes.n_seq_max && p >= 0 && self.memory().can_go_on(seq, p)
    }

    /// Tokens computed again so far.
    pub fn n_again(&self) -> u64 {
        self.n_again
    }
}
