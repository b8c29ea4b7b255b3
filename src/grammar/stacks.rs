//! Stacks of a grammar: what is still to be read after what. Equal stacks are one number, and stacks share what lies below their tops.
use super::rules::{Item, Rules};
use crate::vocab::Map;
use platform::{Error, Result};
use std::ops::Range;

/// The stack with nothing on it: everything has been read.
pub const EMPTY: u32 = 0;
/// Stacks that one step may look at. A grammar whose rules branch at their left ends without reading anything makes exponentially many.
const MAX_LOOKED_AT: usize = 1 << 17;

#[derive(Clone, Default)]
pub struct Stacks {
    /// (item on top, the stack below it) of stack `i + 1`.
    nodes: Vec<(u32, u32)>,
    index: Map<(u32, u32), u32>,
    /// What stacks were found to stand for: where in `settled`.
    known: Map<u32, Range<usize>>,
    settled: Vec<u32>,
}

impl Stacks {
    /// Places that are taken.
    pub fn len(&self) -> usize {
        self.nodes.len() + self.settled.len()
    }

    /// The item on top and what lies below; `None` for the empty stack.
    pub fn top(&self, stack: u32) -> Option<(u32, u32)> {
        self.nodes.get(stack.checked_sub(1)? as usize).copied()
    }

    /// `below` with the item at `at` on it, or as it is where the alternative ends there.
    pub fn push(&mut self, rules: &Rules, at: u32, below: u32) -> u32 {
        if rules.item(at).is_end() {
            return below;
        }
        let nodes = &mut self.nodes;
        *self.index.entry((at, below)).or_insert_with(|| {
            nodes.push((at, below));
            nodes.len() as u32
        })
    }

    /// The stacks with a terminal on top that `stack` stands for.
    pub fn settle(&mut self, rules: &Rules, stack: u32) -> Result<&[u32]> {
        if !self.known.contains_key(&stack) {
            let start = self.settled.len();
            self.search(rules, stack)?;
            self.known.insert(stack, start..self.settled.len());
        }
        Ok(self.known.get(&stack).and_then(|r| self.settled.get(r.clone())).unwrap_or_default())
    }

    /// Appends them to `settled`, each once.
    fn search(&mut self, rules: &Rules, stack: u32) -> Result<()> {
        let (mut todo, mut seen) = (vec![stack], Map::<u32, ()>::default());
        while let Some(stack) = todo.pop() {
            if seen.insert(stack, ()).is_some() {
                continue;
            }
            if seen.len() > MAX_LOOKED_AT {
                return Err(Error::unsupported("grammar: too ambiguous, or a rule refers to itself from its left end"));
            }
            let Some((at, below)) = self.top(stack) else {
                self.settled.push(EMPTY);
                continue;
            };
            let Item::Rule(rule) = rules.item(at) else {
                self.settled.push(stack);
                continue;
            };
            let rest = self.push(rules, at + 1, below);
            todo.extend(rules.alternatives(rule).iter().map(|start| self.push(rules, *start, rest)));
        }
        Ok(())
    }

    /// Adds a stack of another collection to this one; `known` says which were.
    pub fn adopt(&mut self, rules: &Rules, from: &Stacks, stack: u32, known: &mut Map<u32, u32>) -> u32 {
        let (mut items, mut at) = (Vec::new(), stack);
        let mut below = loop {
            match (known.get(&at), from.top(at)) {
                (Some(here), _) => break *here,
                (None, None) => break EMPTY,
                (None, Some((item, lower))) => {
                    items.push((at, item));
                    at = lower;
                }
            }
        };
        for (old, item) in items.into_iter().rev() {
            below = self.push(rules, item, below);
            known.insert(old, below);
        }
        below
    }
}
