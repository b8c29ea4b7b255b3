//! `CAMELID_PREFIX_CACHE`: the cache under a host that knows nothing of it. A decode that starts a sequence, or goes on with one whose tokens were
//! all seen here, takes what is stored and computes the rest; what prompts compute is stored.
//!
//! It must never change a result. So a token with a wanted output is always computed; a batch that would be refused is refused as it was; with
//! sliding windows memory must hold, position by position, what it would have held, or the entry is not used; the order of arrival is made what it
//! would have been; and what is stored is only what decodes of known tokens made, never what was moved, copied or loaded (`Context::edits`).
use super::{BLOCK, Cache, Entry, Wanted, key_of, present_from, reaches, windows};
use crate::memory::Memory;
use crate::session::Context;
use crate::session::batch::BatchView;
use crate::session::context::{code, pooling};
use platform::{env, log};
use std::collections::BTreeMap;
use std::path::PathBuf;

const DEFAULT_BYTES: u64 = 4 << 30;
/// A beginning that goes on in the middle of a prompt is read again with what memory has of it: worth it while it brings this share.
const LEAST_GAIN: usize = 64;
/// In a conversation a sequence is stored again when it has grown by this share, so that all writing together is a few times its size.
const GROWTH: usize = 8;

pub struct Auto {
    cache: Cache,
    past: BTreeMap<u32, Past>,
    /// `Context::edits` when `past` was true.
    edits: u64,
}

/// The tokens of a sequence, from position 0 on.
#[derive(Default)]
struct Past {
    tokens: Vec<i32>,
    /// So many of them are on disk.
    stored: usize,
    /// A prompt may have ended.
    due: bool,
    /// A token was decoded by itself: what follows is another turn.
    answered: bool,
}

/// One sequence's share of a batch.
struct Part {
    seq: u32,
    /// Indices in the batch, and the tokens there.
    at: Vec<usize>,
    tokens: Vec<i32>,
    /// Positions in memory before it.
    held: usize,
    /// Tokens before the first of which an output is wanted, or the last.
    free: usize,
    /// All tokens from position 0 on are known.
    known: bool,
    /// Of `tokens`, taken from disk.
    skip: usize,
}

/// "DIR" or "DIR:BYTES".
fn parse(v: &str) -> (PathBuf, u64) {
    match v.rsplit_once(':').and_then(|(dir, s)| Some((dir, env::bytes(s)?))) {
        Some((dir, bytes)) => (dir.into(), bytes),
        None => (v.into(), DEFAULT_BYTES),
    }
}

impl Auto {
    /// As the environment says; a line where it cannot be.
    pub fn from_env(ctx: &Context) -> Option<Auto> {
        let (dir, bytes) = parse(&env::get("CAMELID_PREFIX_CACHE")?);
        if let Err(why) = ctx.is_batch_invariant() {
            log::warn(format!("prefix cache: off for this context: {why}"));
            return None;
        }
        if ctx.watched {
            log::warn("prefix cache: off for this context: its callback wants to see everything computed");
            return None;
        }
        Some(Auto::new(Cache::open(&dir, bytes).map_err(log::error).ok()?, ctx))
    }

    /// For one context, all of whose decodes go through this.
    pub fn new(cache: Cache, ctx: &Context) -> Auto {
        Auto { cache, past: BTreeMap::new(), edits: ctx.edits() }
    }

    /// `Context::decode`, sooner.
    pub fn decode(&mut self, ctx: &mut Context, b: &BatchView<'_>) -> i32 {
        if self.edits != ctx.edits() {
            self.past.clear();
        }
        let rc = match self.parts(ctx, b) {
            Some(mut parts) => self.decode_parts(ctx, b, &mut parts),
            None => {
                self.past.clear();
                ctx.decode(b)
            }
        };
        self.edits = ctx.edits();
        rc
    }

    fn decode_parts(&mut self, ctx: &mut Context, b: &BatchView<'_>, parts: &mut [Part]) -> i32 {
        for p in parts.iter().filter(|p| p.known && p.tokens.len() == 1) {
            if self.past.get(&p.seq).is_some_and(|past| past.due) {
                self.store(ctx, p.seq);
            }
        }
        let rc = match self.restore(ctx, b, parts) {
            None => ctx.decode(b),
            Some(plain) => {
                let rest = Rest::of(b, parts);
                let rc = ctx.decode(&rest.view());
                ctx.outputs.renumber(&rest.index, b.n_tokens);
                if rc == code::OK {
                    ctx.kv().0.arrive_as(&plain);
                }
                rc
            }
        };
        parts.iter().for_each(|p| self.note(ctx, b, p, rc));
        rc
    }

    /// The batch by sequences; `None` where it is not made of tokens that have one sequence each and rows that depend on nothing else.
    fn parts(&mut self, ctx: &Context, b: &BatchView<'_>) -> Option<Vec<Part>> {
        let plain =
            ctx.causal() && !ctx.params.embeddings && ctx.taps().is_empty() && ctx.pooling_type == pooling::NONE && b.embd.is_none();
        let tokens = b.tokens.filter(|t| plain && t.len() == b.n_tokens)?;
        let mut parts: Vec<Part> = Vec::new();
        for (i, token) in tokens.iter().enumerate() {
            let seq = match &b.seqs {
                None => 0,
                Some(s) => match s.get(i)?[..] {
                    [one] => u32::try_from(one).ok()?,
                    _ => return None,
                },
            };
            let k = parts.iter().position(|p| p.seq == seq).unwrap_or_else(|| {
                parts.push(self.part(ctx, seq));
                parts.len() - 1
            });
            let p = &mut parts[k];
            let pos = b.pos.map_or(Some((p.held + p.tokens.len()) as i64), |pos| pos.get(i).map(|v| i64::from(*v)))?;
            p.known &= pos == (p.held + p.tokens.len()) as i64;
            if p.free == p.tokens.len() && !wanted(b, i) {
                p.free += 1;
            }
            p.at.push(i);
            p.tokens.push(*token);
        }
        // Something is always left to compute.
        parts.iter_mut().for_each(|p| p.free = p.free.min(p.tokens.len() - 1));
        Some(parts)
    }

    /// What is known of a sequence now: nothing beyond what memory still has.
    fn part(&mut self, ctx: &Context, seq: u32) -> Part {
        let held = ctx.memory().pos_max(seq).map_or(0, |p| p as usize + 1);
        let past = self.past.entry(seq).or_default();
        past.tokens.truncate(held);
        past.stored = past.stored.min(held);
        if held == 0 {
            *past = Past::default();
        }
        let known = past.tokens.len() == held;
        Part { seq, at: Vec::new(), tokens: Vec::new(), held, free: 0, known, skip: 0 }
    }

    // ---- from disk

    /// Memory as a decode of everything would leave it, where there is less to decode now.
    fn restore(&self, ctx: &mut Context, b: &BatchView<'_>, parts: &mut [Part]) -> Option<Memory> {
        // Nearly every decode ends here.
        if !parts.iter().any(|p| p.known && p.free >= BLOCK) {
            return None;
        }
        // What comes from disk has no snapshots: a host that counts on them would be refused a rewind that it is promised.
        if ctx.memory().keeps_past() {
            return None;
        }
        let key = key_of(ctx).ok()?;
        let text = |p: &Part| [self.past.get(&p.seq).map_or(&[][..], |past| &past.tokens), &p.tokens[..]].concat();
        let may_gain = |p: &Part| p.known && p.free >= BLOCK && self.cache.knows(&key, &text(p));
        if !parts.iter().any(may_gain) {
            return None;
        }
        // A batch that is refused is left as it is.
        let (before, plain) = (ctx.memory().clone(), ctx.foresee(b).ok()?);
        let (windows, bare) = (windows(&plain), plain.first_ring().is_none());
        for p in parts.iter_mut().filter(|p| may_gain(p)) {
            let tokens = text(p);
            let fits = |e: &Entry, n: usize| {
                let gain = n.saturating_sub(p.held);
                // What is taken in the middle of a prompt must be something that can be taken back to there.
                let back = p.held == 0 || bare || e.present_from == 0;
                let enough = bare || e.present_from <= present_from(&plain, p.seq);
                gain >= BLOCK.max(n / LEAST_GAIN) && back && enough && reaches(&windows, e, n)
            };
            let w = Wanted { key: &key, tokens: &tokens, limit: p.held + p.free, fits: &fits };
            if let Ok(n @ 1..) = self.cache.restore_some(ctx, p.seq as i32, &w) {
                p.skip = n - p.held;
            }
        }
        if !parts.iter().any(|p| p.skip > 0) {
            return None;
        }
        if !leads_to(ctx, &Rest::of(b, parts), &plain) {
            parts.iter_mut().filter(|p| p.skip > 0).for_each(|p| take_back(ctx, p));
            ctx.kv().0.arrive_as(&before);
            return None;
        }
        Some(plain)
    }

    // ---- to disk

    /// A decode of `p` has ended.
    fn note(&mut self, ctx: &mut Context, b: &BatchView<'_>, p: &Part, rc: i32) {
        if rc != code::OK || !p.known {
            self.past.remove(&p.seq);
            return;
        }
        let past = self.past.entry(p.seq).or_default();
        past.tokens.extend_from_slice(&p.tokens);
        if p.skip > 0 {
            past.stored = p.held + p.skip;
        }
        if p.tokens.len() == 1 {
            past.answered = true;
            return;
        }
        let (n, new) = (past.tokens.len(), past.tokens.len() - past.stored);
        let least = if past.answered { BLOCK.max(n / GROWTH) } else { BLOCK };
        past.due = new >= least;
        // A full batch may be followed by more of the prompt.
        if past.due && b.n_tokens < ctx.sizes.n_batch as usize {
            self.store(ctx, p.seq);
        }
    }

    fn store(&mut self, ctx: &mut Context, seq: u32) {
        let Some(past) = self.past.get_mut(&seq) else { return };
        if let Err(e) = self.cache.store(ctx, seq as i32, &past.tokens) {
            log::warn(format!("prefix cache: not stored: {e}"));
        }
        // After a failure the same again would fail again.
        (past.stored, past.due) = (past.tokens.len(), false);
    }
}

fn wanted(b: &BatchView<'_>, i: usize) -> bool {
    b.logits.map_or(i + 1 == b.n_tokens, |l| l.get(i).is_none_or(|l| *l != 0))
}

/// Whether a decode of what is left ends where one of everything would have. The base always does: it keeps every cell.
fn leads_to(ctx: &Context, rest: &Rest, plain: &Memory) -> bool {
    ctx.foresee(&rest.view())
        .is_ok_and(|m| (1..m.n_groups()).all(|g| (0..m.n_streams()).all(|s| content(&m, g, s) == content(plain, g, s))))
}

fn content(m: &Memory, group: usize, stream: u32) -> Vec<(i32, Vec<u32>)> {
    let mut list: Vec<_> = m.held(group, stream, None).iter().map(|(_, h)| (h.pos, h.seqs.iter().collect())).collect();
    list.sort_unstable();
    list
}

fn take_back(ctx: &mut Context, p: &mut Part) {
    if let Err(e) = ctx.seq_rm(Some(p.seq), p.held as i32, -1) {
        log::error(format!("prefix cache: {}", e.0));
    }
    p.skip = 0;
}

/// What is left of a batch.
struct Rest {
    /// Index in the batch of each token.
    index: Vec<u32>,
    tokens: Vec<i32>,
    pos: Option<Vec<i32>>,
    seqs: Option<Vec<Vec<i32>>>,
    logits: Vec<i8>,
}

impl Rest {
    fn of(b: &BatchView<'_>, parts: &[Part]) -> Rest {
        let mut left: Vec<usize> = parts.iter().flat_map(|p| p.at[p.skip..].iter().copied()).collect();
        left.sort_unstable();
        Rest {
            tokens: left.iter().filter_map(|i| b.tokens?.get(*i).copied()).collect(),
            pos: b.pos.map(|v| left.iter().filter_map(|i| v.get(*i).copied()).collect()),
            seqs: b.seqs.as_ref().map(|v| left.iter().filter_map(|i| v.get(*i).cloned()).collect()),
            logits: left.iter().map(|i| i8::from(wanted(b, *i))).collect(),
            index: left.iter().map(|i| *i as u32).collect(),
        }
    }

    fn view(&self) -> BatchView<'_> {
        BatchView {
            n_tokens: self.tokens.len(),
            tokens: Some(&self.tokens),
            embd: None,
            pos: self.pos.as_deref(),
            seqs: self.seqs.clone(),
            logits: Some(&self.logits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_and_a_size() {
        for (v, dir, bytes) in [
            ("/a/b", "/a/b", DEFAULT_BYTES),
            ("/a/b:1000", "/a/b", 1000),
            ("a:b:2M", "a:b", 2 << 20),
            ("c:/a", "c:/a", DEFAULT_BYTES),
            ("a:G", "a:G", DEFAULT_BYTES),
            ("a:99999999T", "a:99999999T", DEFAULT_BYTES),
        ] {
            assert_eq!(parse(v), (dir.into(), bytes), "{v}");
        }
    }
}
