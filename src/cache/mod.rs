//! A directory of sequences that were computed before: a prompt that begins as one of them did need not be computed again. Policy only: bytes
//! come from `state`, bits are what `Context::identity` says, files are atomic by `platform`. Knows no layer and no device.
//!
//! ```text
//! DIR/entries/HASH.seq      an entry; HASH is of its identity and all its tokens
//! DIR/prefixes/HASH.in      -> ../entries/HASH.seq: has the blocks of tokens that HASH is of
//! DIR/prefixes/HASH.end     the same, and less than one block more
//! DIR/*/.*.tmp              in the making
//!
//! An entry: a sequence file as llama_state_seq_load_file reads it, cells in order of position, with those that windows hide by now;
//!           u64 checksums of its pieces of 256 KiB; identity (text: library, build, devices, model, weights, KV types, RoPE);
//!           u64 length of the sequence file, i32 first position that is present in every group, u32 length of the identity,
//!           u64 checksum of all that from the checksums on, "camelid\x01".
//! ```
//!
//! A beginning of k blocks of 32 tokens has one name, a hash chained over the blocks, so the longest known beginning of a prompt is found by
//! following at most two links per block, and no directory is listed. Names are hints: identity and tokens are compared. A beginning leads to the
//! entry used last among those that have it; the modification time of an entry is when it was used; over budget the oldest goes, found by
//! listing `entries`. Links are not counted: an inode each.
//!
//! Nobody locks. Entries and links appear and change by rename and go by unlink; a link to nothing, an entry that goes while it is looked at, two
//! processes that store the same are all misses or repeats. An open entry stays readable. An entry that is not what was written goes, with a line.
#![forbid(unsafe_code)]
mod auto;
mod entry;
mod index;
mod key;

pub use auto::Auto;

use crate::memory::{Memory, Window};
use crate::session::Context;
use entry::{Entry, Failed, New};
use index::{Index, Link};
use key::{BLOCK, Key};
use platform::{Error, Result, log};
use std::collections::BTreeSet;
use std::path::Path;

pub struct Cache {
    index: Index,
}

/// An entry and how much of it is of use.
struct Match {
    name: String,
    entry: Entry,
    n: usize,
}

/// What is looked for.
struct Wanted<'a> {
    key: &'a Key,
    tokens: &'a [i32],
    /// Of these at most so many.
    limit: usize,
    fits: &'a dyn Fn(&Entry, usize) -> bool,
}

impl Wanted<'_> {
    /// What an entry has in common with this; names are not believed.
    fn matched(&self, entry: Entry, name: &str) -> Option<Match> {
        let tokens = &self.tokens[..self.limit.min(self.tokens.len())];
        let n = entry.tokens.iter().zip(tokens).take_while(|(a, b)| a == b).count();
        let fits = entry.identity == self.key.identity && (self.fits)(&entry, n);
        fits.then(|| Match { name: name.to_owned(), entry, n })
    }
}

impl Cache {
    /// Takes a directory, made if it is not there, whose entries have at most `max_bytes`.
    pub fn open(dir: &Path, max_bytes: u64) -> Result<Cache> {
        Ok(Cache { index: Index::open(dir, max_bytes)? })
    }

    /// Puts the longest stored beginning of `tokens` into `seq` in place of what it has; how many tokens that is, at most all but the last, which
    /// must be decoded to have logits. After 0 nothing has changed.
    pub fn restore(&self, ctx: &mut Context, seq: i32, tokens: &[i32]) -> Result<usize> {
        let key = key_of(ctx)?;
        let limit = tokens.len().saturating_sub(1);
        let windows = windows(ctx.memory());
        self.restore_some(ctx, seq, &Wanted { key: &key, tokens, limit, fits: &|e, n| reaches(&windows, e, n) })
    }

    fn restore_some(&self, ctx: &mut Context, seq: i32, wanted: &Wanted<'_>) -> Result<usize> {
        let mut tried = BTreeSet::new();
        while let Some(m) = self.find(wanted, &mut tried) {
            match m.entry.load(ctx, seq, m.n) {
                Ok(()) => {
                    self.index.used(&m.name, &wanted.key.blocks(&m.entry.tokens), m.entry.tokens.len());
                    log::debug(format!("prefix cache: {} of {} tokens from {}", m.n, wanted.tokens.len(), m.name));
                    return Ok(m.n);
                }
                Err(Failed::Damaged(e)) => self.index.discard(&m.name, &e),
                Err(Failed::Refused(e)) => log::debug(format!("prefix cache: {} is not taken: {e}", m.name)),
            }
        }
        Ok(0)
    }

    /// Stores `seq`, which holds exactly `tokens` from position 0 on, as decodes of them left it.
    pub fn store(&self, ctx: &mut Context, seq: i32, tokens: &[i32]) -> Result<()> {
        let key = key_of(ctx)?;
        let id = u32::try_from(seq).map_err(|_| Error::invalid(format!("sequence {seq}")))?;
        let (memory, n) = (ctx.memory(), tokens.len());
        if n < BLOCK || !memory.is_row_of(id, n) {
            let held = memory.pos_max(id).map_or(0, |p| i64::from(p) + 1);
            return Err(Error::invalid(format!(
                "{n} tokens of sequence {seq}, which goes to position {held}; at least {BLOCK}, and each once"
            )));
        }
        if ctx.is_mixed(id) {
            return Err(Error::invalid(format!("sequence {seq} has rows that were computed under other adapters")));
        }
        let (name, blocks) = (Index::name(key.whole(tokens)), key.blocks(tokens));
        let new = New { seq, tokens, identity: &key.identity, present_from: present_from(memory, id) };
        // An entry of the same tokens is as good, unless windows had lost more by then.
        let there = self.index.get(&name).is_some_and(|e| e.tokens == tokens && e.present_from <= new.present_from);
        if !there {
            self.index.make_room(new.bytes(ctx)?)?;
            new.write(ctx, &self.index.path(&name))?;
        }
        if new.present_from == 0 {
            self.replace_shorter(&key, &blocks, tokens, &name);
        }
        self.index.used(&name, &blocks, n);
        Ok(())
    }

    /// Entries that end inside the one stored: what they can give, it can.
    fn replace_shorter(&self, key: &Key, blocks: &[u128], tokens: &[i32], by: &str) {
        for (i, block) in blocks.iter().enumerate() {
            let Some(name) = self.index.entry_of(Link::Ending, *block).filter(|n| n != by) else { continue };
            let inside = |e: &Entry| e.identity == key.identity && tokens.starts_with(&e.tokens);
            if self.index.get(&name).as_ref().is_some_and(inside) {
                self.index.remove(&name, &blocks[..=i]);
            }
        }
    }

    /// Whether anybody has the first block.
    fn knows(&self, key: &Key, tokens: &[i32]) -> bool {
        let first = key.blocks(&tokens[..BLOCK.min(tokens.len())]);
        first.first().is_some_and(|b| self.index.entry_of(Link::Through, *b).is_some())
    }

    /// The entry with the longest beginning of what is wanted, to within a block, among those not tried yet.
    fn find(&self, w: &Wanted<'_>, tried: &mut BTreeSet<String>) -> Option<Match> {
        let tokens = &w.tokens[..w.limit.min(w.tokens.len())];
        let mut best: Option<Match> = None;
        for (i, block) in w.key.blocks(tokens).iter().enumerate().rev() {
            for how in [Link::Through, Link::Ending] {
                let Some(name) = self.index.entry_of(how, *block).filter(|n| !tried.contains(n)) else { continue };
                match self.index.get(&name).and_then(|e| w.matched(e, &name)).filter(|m| m.n >= (i + 1) * BLOCK) {
                    Some(m) if best.as_ref().is_none_or(|b| m.n > b.n) => best = Some(m),
                    Some(_) => {}
                    None => drop(tried.insert(name)),
                }
            }
            if let Some(m) = best {
                tried.insert(m.name.clone());
                return Some(m);
            }
        }
        None
    }
}

/// What entries of this context have in common; an error where states are nothing to share.
fn key_of(ctx: &Context) -> Result<Key> {
    ctx.is_batch_invariant().map_err(Error::unsupported)?;
    if !ctx.causal() {
        return Err(Error::unsupported("without causal attention a token's rows depend on those behind it"));
    }
    Ok(Key::new(ctx.identity()?))
}

/// The first position from which on every group has the cells of a sequence now: what a file of it will have, whatever else could be brought back.
fn present_from(memory: &Memory, seq: u32) -> i32 {
    let stream = if memory.unified() { 0 } else { seq };
    let first = |g: usize| {
        let mut held: Vec<i32> = memory.held_as(g, stream, Some(seq), true).iter().map(|(_, h)| h.pos).collect();
        held.sort_unstable_by_key(|p| std::cmp::Reverse(*p));
        let end = memory.pos_max(seq).map_or(0, |p| p + 1);
        held.iter().zip(1..).take_while(|(p, back)| **p == end - back).last().map_or(end, |(p, _)| *p)
    };
    (0..memory.n_groups()).map(first).max().unwrap_or(0)
}

fn windows(memory: &Memory) -> Vec<Window> {
    (0..memory.n_groups()).filter_map(|g| memory.spec(g)).map(|s| s.window).collect()
}

/// Whether what an entry has leads to position `n` with everything that windows show there.
fn reaches(windows: &[Window], e: &Entry, n: usize) -> bool {
    let n = i32::try_from(n).unwrap_or(i32::MAX);
    n > 0 && windows.iter().filter(|w| **w != Window::All).all(|w| w.lo(n) >= e.present_from)
}
