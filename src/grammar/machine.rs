//! The grammar as an automaton that is built as it is used: a state is a set of stacks, a step reads one character and is remembered.
use super::rules::{Item, Rules};
use super::stacks::{EMPTY, Stacks};
use super::utf8::{Partial, range};
use crate::vocab::Map;
use platform::{Error, Result};
use std::sync::Arc;

/// No stack is left: nothing can follow.
pub const DEAD: u32 = 0;
const UNKNOWN: u32 = u32::MAX;
/// Stacks, places in sets of stacks, and ends of character ranges that are kept; some 64 MiB.
const MAX_SIZE: usize = 1 << 22;

/// Which tokens the terminals `!<..>` of a state match, whatever their text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    None,
    AllBut(u32),
    All,
}

impl Others {
    pub fn has(self, id: u32) -> bool {
        match self {
            Others::None => false,
            Others::AllBut(but) => id != but,
            Others::All => true,
        }
    }

    pub fn or(self, other: Others) -> Others {
        match (self, other) {
            (Others::None, x) | (x, Others::None) => x,
            (Others::AllBut(a), Others::AllBut(b)) if a == b => self,
            _ => Others::All,
        }
    }
}

struct State {
    stacks: Arc<[u32]>,
    /// Characters from `starts[i]` up to before `starts[i + 1]` lead to `targets[i]`.
    starts: Vec<u32>,
    targets: Vec<u32>,
    others: Others,
}

pub struct Machine {
    rules: Arc<Rules>,
    stacks: Stacks,
    states: Vec<State>,
    index: Map<Arc<[u32]>, u32>,
    /// What the states hold in all, in places.
    n_held: usize,
}

impl Machine {
    pub fn new(rules: Arc<Rules>) -> Machine {
        let dead = State { stacks: Arc::new([]), starts: vec![0], targets: vec![DEAD], others: Others::None };
        let index = [(dead.stacks.clone(), DEAD)].into_iter().collect();
        Machine { rules, stacks: Stacks::default(), states: vec![dead], index, n_held: 0 }
    }

    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The state before anything is read.
    pub fn start(&mut self) -> Result<u32> {
        let rules = self.rules.clone();
        let mut set = Vec::new();
        for at in rules.alternatives(rules.root) {
            let stack = self.stacks.push(&rules, *at, EMPTY);
            set.extend_from_slice(self.stacks.settle(&rules, stack)?);
        }
        self.state_of(set)
    }

    /// The same state in a machine that knows nothing else.
    pub fn fresh(&self, state: u32) -> Result<(Machine, u32)> {
        let (mut to, mut known) = (Machine::new(self.rules.clone()), Map::default());
        let set = self.stacks_of(state).iter().map(|s| to.stacks.adopt(&self.rules, &self.stacks, *s, &mut known)).collect();
        let state = to.state_of(set)?;
        Ok((to, state))
    }

    /// More than half of what may be kept is.
    pub fn is_grown(&self) -> bool {
        self.size() > MAX_SIZE / 2
    }

    fn size(&self) -> usize {
        self.n_held + self.stacks.len()
    }

    fn state(&self, state: u32) -> &State {
        self.states.get(state as usize).unwrap_or(&self.states[DEAD as usize])
    }

    fn stacks_of(&self, state: u32) -> Arc<[u32]> {
        self.state(state).stacks.clone()
    }

    fn state_of(&mut self, mut set: Vec<u32>) -> Result<u32> {
        set.sort_unstable();
        set.dedup();
        if let Some(known) = self.index.get(&set[..]) {
            return Ok(*known);
        }
        let state = self.new_state(set.into());
        self.n_held += 16 + state.stacks.len() + 2 * state.starts.len(); // 16: the state itself
        if self.size() > MAX_SIZE {
            return Err(Error::no_memory("grammar: too many states"));
        }
        let id = self.states.len() as u32;
        self.index.insert(state.stacks.clone(), id);
        self.states.push(state);
        Ok(id)
    }

    fn new_state(&self, stacks: Arc<[u32]>) -> State {
        let (mut starts, mut others) = (vec![0], Others::None);
        for item in stacks.iter().filter_map(|s| self.stacks.top(*s)).map(|(at, _)| self.rules.item(at)) {
            match item {
                Item::Char(c) => starts.extend([Some(c), c.checked_add(1)].into_iter().flatten()),
                Item::NotToken(id) => others = others.or(Others::AllBut(id)),
                _ => starts.extend(self.rules.ranges(item).0.iter().flat_map(|(lo, hi)| [Some(*lo), hi.checked_add(1)]).flatten()),
            }
        }
        starts.sort_unstable();
        starts.dedup();
        State { stacks, targets: vec![UNKNOWN; starts.len()], starts, others }
    }

    /// Reads one character.
    pub fn step(&mut self, state: u32, cp: u32) -> Result<u32> {
        let from = self.state(state);
        let range = from.starts.partition_point(|s| *s <= cp).saturating_sub(1);
        match from.targets.get(range) {
            Some(&UNKNOWN) => {}
            known => return Ok(known.copied().unwrap_or(DEAD)),
        }
        let rules = self.rules.clone();
        let to = self.advance(state, |item| !matches!(item, Item::Token(_) | Item::NotToken(_)) && rules.matches(item, cp), Vec::new())?;
        self.states[state as usize].targets[range] = to;
        Ok(to)
    }

    /// The state after a token: stacks that wait for a token go on by its id, the others by its characters, if it can be read.
    pub fn accept(&mut self, state: u32, id: u32, chars: Option<&[u32]>) -> Result<u32> {
        let mut after = if chars.is_some() { state } else { DEAD };
        for cp in chars.unwrap_or_default() {
            after = self.step(after, *cp)?;
        }
        let waits = |m: &Machine, s: u32| matches!(m.item_on(s), Some(Item::Token(_) | Item::NotToken(_)));
        let (read, is_unchanged) = (self.stacks_of(after), chars.is_some_and(<[u32]>::is_empty));
        // Without a whole character, stacks that wait for one stay as they are.
        let set = read.iter().filter(|s| !is_unchanged || **s != EMPTY && !waits(self, **s)).copied().collect();
        self.advance(state, |item| item == Item::Token(id) || matches!(item, Item::NotToken(not) if not != id), set)
    }

    fn item_on(&self, stack: u32) -> Option<Item> {
        self.stacks.top(stack).map(|(at, _)| self.rules.item(at))
    }

    /// The state of the stacks whose top is read, and of those in `set`.
    fn advance(&mut self, state: u32, reads: impl Fn(Item) -> bool, mut set: Vec<u32>) -> Result<u32> {
        let rules = self.rules.clone();
        for stack in self.stacks_of(state).iter() {
            let Some((at, below)) = self.stacks.top(*stack).filter(|(at, _)| reads(rules.item(*at))) else { continue };
            let rest = self.stacks.push(&rules, at + 1, below);
            set.extend_from_slice(self.stacks.settle(&rules, rest)?);
            if self.size() + set.len() > MAX_SIZE {
                return Err(Error::no_memory("grammar: too many stacks"));
            }
        }
        self.state_of(set)
    }

    /// Everything may have been read.
    pub fn may_end(&self, state: u32) -> bool {
        self.state(state).stacks.first() == Some(&EMPTY)
    }

    /// A token may end here, with this much of a character read.
    pub fn may_pause(&self, state: u32, partial: Partial) -> bool {
        let stacks = &self.state(state).stacks;
        if partial.n_missing == 0 {
            return !stacks.is_empty();
        }
        let may_become = |(low, high): (u32, u32)| {
            let mut items = stacks.iter().filter_map(|s| self.item_on(*s));
            items.any(|i| !matches!(i, Item::Token(_) | Item::NotToken(_)) && self.rules.may_match(i, low, high))
        };
        range(partial).is_some_and(may_become)
    }

    /// Which tokens a state takes by number: those it names, and `!<..>`.
    pub fn others(&self, state: u32) -> Others {
        self.state(state).others
    }

    pub fn names(&self, state: u32, id: u32) -> bool {
        self.state(state).stacks.iter().any(|s| self.item_on(*s) == Some(Item::Token(id)))
    }
}
