//! Grammars in GBNF: what may follow, and which tokens of a vocabulary say so. Knows texts of tokens, no logits and no C.
//!
//! A text is parsed to `rules`. `stacks` say what is still to be read; a set of them is a state of the `machine`, whose steps are
//! remembered, so that the texts of a vocabulary cost one look-up a character (`walk`). `trigger` finds where a lazy grammar begins.
#![forbid(unsafe_code)]
mod machine;
mod parse;
mod rules;
mod stacks;
mod trigger;
mod utf8;
mod walk;

use crate::vocab::{Map, Pieces};
use machine::{DEAD, Machine};
pub use parse::FindToken;
use platform::{Error, Result};
use std::sync::Arc;
pub use trigger::Pattern;
use utf8::Partial;
pub use walk::Mask;

/// States whose mask is kept: a text in quotes comes back to a few of them again and again.
const MAX_MASKS: usize = 64;

/// A grammar and how far it has been read.
pub struct Grammar {
    machine: Machine,
    state: u32,
    partial: Partial,
    masks: Map<(u32, Partial), Arc<Mask>>,
}

impl Grammar {
    /// `find_token` knows the one token that a text is, for `<text>`.
    pub fn new(text: &[u8], root: &[u8], find_token: FindToken<'_>) -> Result<Grammar> {
        let mut machine = Machine::new(Arc::new(parse::parse(text, root, find_token)?));
        let state = machine.start()?;
        Ok(Grammar { machine, state, partial: Partial::default(), masks: Map::default() })
    }

    /// As far as this one has read; without what it remembers.
    pub fn copy(&self) -> Result<Grammar> {
        let (machine, state) = self.machine.fresh(self.state)?;
        Ok(Grammar { machine, state, partial: self.partial, masks: Map::default() })
    }

    /// Reads a token: `text` of it, which for the one that begins a lazy grammar may be its end only. The error: it was not
    /// allowed, nothing has changed.
    pub fn accept(&mut self, id: i32, text: &[u8]) -> Result<()> {
        if self.machine.is_grown() {
            self.forget()?;
        }
        let read = utf8::decode(text, self.partial);
        match self.machine.accept(self.state, id.cast_unsigned(), read.as_ref().map(|(chars, _)| &chars[..]))? {
            DEAD => Err(Error::invalid(format!("grammar: token {id} '{}' is not allowed here", String::from_utf8_lossy(text)))),
            state => {
                // After a text that cannot be read, the next one is read from scratch.
                (self.state, self.partial) = (state, read.map_or(Partial::default(), |(_, partial)| partial));
                Ok(())
            }
        }
    }

    /// Reads one character; whether it was allowed. After one that was not, none is.
    pub fn read(&mut self, cp: u32) -> Result<bool> {
        if self.machine.is_grown() {
            self.forget()?;
        }
        self.state = self.machine.step(self.state, cp)?;
        Ok(self.state != DEAD)
    }

    /// Back to where nothing has been read.
    pub fn restart(&mut self) -> Result<()> {
        (self.state, self.partial) = (self.machine.start()?, Partial::default());
        Ok(())
    }

    /// Back to what is needed to go on.
    fn forget(&mut self) -> Result<()> {
        (self.machine, self.state) = self.machine.fresh(self.state)?;
        self.masks.clear();
        Ok(())
    }

    /// Everything may have been read.
    pub fn may_end(&self) -> bool {
        self.machine.may_end(self.state)
    }

    /// Token `id` with this text may follow.
    pub fn allows(&mut self, id: i32, text: &[u8]) -> Result<bool> {
        self.with_room(|g| walk::allows(&mut g.machine, g.state, g.partial, id.cast_unsigned(), text))
    }

    /// The mask of this state, if it has been made.
    pub fn known_mask(&self) -> Option<Arc<Mask>> {
        self.masks.get(&(self.state, self.partial)).cloned()
    }

    /// All tokens that may follow. `text_of` is asked for the tokens that the grammar names; `ends` are those that end a text.
    pub fn mask(&mut self, pieces: &Pieces, text_of: impl Fn(u32) -> Vec<u8>, ends: &[i32]) -> Result<Arc<Mask>> {
        if let Some(known) = self.known_mask() {
            return Ok(known);
        }
        let mask = Arc::new(self.with_room(|g| g.new_mask(pieces, &text_of, ends))?);
        if self.masks.len() >= MAX_MASKS {
            self.masks.clear();
        }
        self.masks.insert((self.state, self.partial), mask.clone());
        Ok(mask)
    }

    fn new_mask(&mut self, pieces: &Pieces, text_of: impl Fn(u32) -> Vec<u8>, ends: &[i32]) -> Result<Mask> {
        let mut mask = walk::mask(&mut self.machine, self.state, self.partial, pieces)?;
        for id in self.machine.rules().tokens.clone().into_iter().filter(|id| (*id as usize) < pieces.n_tokens()) {
            mask.set(id, walk::allows(&mut self.machine, self.state, self.partial, id, &text_of(id))?);
        }
        let may_end = self.may_end();
        ends.iter().for_each(|id| mask.set(id.cast_unsigned(), may_end));
        Ok(mask)
    }

    /// Makes room first where much is remembered: what does not fit then never does.
    fn with_room<T>(&mut self, work: impl Fn(&mut Grammar) -> Result<T>) -> Result<T> {
        if self.machine.is_grown() {
            self.forget()?;
        }
        work(self)
    }
}

#[cfg(test)]
mod tests;
