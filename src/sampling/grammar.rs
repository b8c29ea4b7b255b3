//! Only what a grammar allows, from the beginning or from where a trigger is seen. What a grammar is, the room `grammar` knows.
use super::words::Words;
use super::{Candidates, Sampler};
use crate::grammar::{FindToken, Grammar, Pattern};
use platform::{Result, log};
use std::any::Any;
use std::ffi::CStr;
use std::sync::Arc;

/// What begins a lazy grammar.
pub struct Triggers {
    pub patterns: Vec<Pattern>,
    pub tokens: Vec<i32>,
}

struct ByGrammar {
    words: Arc<dyn Words>,
    grammar: Grammar,
    /// `None`: not lazy.
    triggers: Option<Arc<Triggers>>,
    waiting: bool,
    /// What was said while waiting, and where each token ends in it.
    said: Vec<u8>,
    ends: Vec<(i32, usize)>,
}

/// Shorter lists than a part of the vocabulary are asked one by one, unless a mask is there.
const SHORT: usize = 16;

/// `text` and `root` are GBNF and the name of its first rule.
pub fn grammar(words: Arc<dyn Words>, text: &[u8], root: &[u8], triggers: Option<Triggers>) -> Result<Box<dyn Sampler>> {
    let find: FindToken<'_> = &|text| words.special(text);
    let grammar = Grammar::new(text, root, find)?;
    let waiting = triggers.is_some();
    Ok(Box::new(ByGrammar { words, grammar, triggers: triggers.map(Arc::new), waiting, said: Vec::new(), ends: Vec::new() }))
}

impl ByGrammar {
    fn copy(&self) -> Result<ByGrammar> {
        Ok(ByGrammar {
            words: self.words.clone(),
            grammar: self.grammar.copy()?,
            triggers: self.triggers.clone(),
            waiting: self.waiting,
            said: self.said.clone(),
            ends: self.ends.clone(),
        })
    }

    fn read(&mut self, token: i32, text: &[u8]) -> Result<()> {
        self.grammar.accept(token, text)
    }

    /// Waits for a trigger; from it on, what was said counts.
    fn listen(&mut self, token: i32, text: &[u8]) -> Result<()> {
        let Some(triggers) = self.triggers.clone() else { return Ok(()) };
        if triggers.tokens.contains(&token) {
            self.stop_waiting();
            return self.read(token, text);
        }
        self.said.extend_from_slice(text);
        self.ends.push((token, self.said.len()));
        let Some(start) = triggers.patterns.iter().find_map(|p| p.find(&self.said)) else { return Ok(()) };
        let (said, ends) = self.stop_waiting();
        let mut begin = 0;
        for (token, end) in ends {
            if end > start {
                self.read(token, &said[begin.max(start)..end])?;
            }
            begin = end;
        }
        Ok(())
    }

    fn stop_waiting(&mut self) -> (Vec<u8>, Vec<(i32, usize)>) {
        self.waiting = false;
        (std::mem::take(&mut self.said), std::mem::take(&mut self.ends))
    }

    fn take(&mut self, token: i32) -> Result<()> {
        let text = self.words.whole_piece(token);
        if self.waiting {
            return self.listen(token, &text);
        }
        if self.words.is_eog(token) && self.grammar.may_end() {
            return Ok(());
        }
        if self.words.is_eog(token) {
            return Err(platform::Error::invalid(format!("grammar: the text may not end here with token {token}")));
        }
        self.read(token, &text)
    }

    fn mask(&mut self, c: &mut Candidates<'_>) -> Result<()> {
        let n_tokens = usize::try_from(self.words.n_tokens()).unwrap_or(0);
        let known = self.grammar.known_mask();
        if known.is_none() && c.data.len() < n_tokens / SHORT {
            for t in c.data.iter_mut() {
                if !self.allows(t.id)? {
                    t.logit = f32::NEG_INFINITY;
                }
            }
            return Ok(());
        }
        let words = &self.words;
        let mask = match known {
            Some(mask) => mask,
            None => self.grammar.mask(words.pieces()?, |id| words.whole_piece(id.cast_signed()), &words.ends())?,
        };
        c.data.iter_mut().filter(|t| !mask.has(t.id)).for_each(|t| t.logit = f32::NEG_INFINITY);
        Ok(())
    }

    fn allows(&mut self, token: i32) -> Result<bool> {
        if self.words.is_eog(token) {
            return Ok(self.grammar.may_end());
        }
        let text = self.words.whole_piece(token);
        self.grammar.allows(token, &text)
    }
}

impl Sampler for ByGrammar {
    fn name(&self) -> &CStr {
        c"grammar"
    }
    fn apply(&mut self, c: &mut Candidates<'_>) {
        if self.waiting {
            return;
        }
        if let Err(e) = self.mask(c) {
            // A grammar that cannot be followed any more allows the end only.
            log::error(e);
            c.data.iter_mut().filter(|t| !self.words.is_eog(t.id)).for_each(|t| t.logit = f32::NEG_INFINITY);
        }
    }
    /// A token that is not allowed is not taken: the grammar stays where it is.
    fn accept(&mut self, token: i32) {
        self.take(token).unwrap_or_else(log::error);
    }
    fn reset(&mut self) {
        self.stop_waiting();
        self.waiting = self.triggers.is_some();
        self.grammar.restart().unwrap_or_else(log::error);
    }
    fn clone_box(&self) -> Option<Box<dyn Sampler>> {
        Some(Box::new(self.copy().map_err(log::error).ok()?))
    }
    fn copy_state(&mut self, src: &dyn Any) -> bool {
        let Some(src) = src.downcast_ref::<ByGrammar>() else { return false };
        src.copy().map(|copy| *self = copy).map_err(log::error).is_ok()
    }
}
