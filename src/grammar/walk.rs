//! Which tokens of a vocabulary a grammar allows next: one walk over the tree of their texts, which leaves a branch where the grammar does.
use super::machine::{DEAD, Machine, Others};
use super::utf8::{Partial, Reader, Step, until_nul};
use crate::vocab::Pieces;
use platform::{Error, Result};

/// A bit for each token.
pub struct Mask(Vec<u64>);

impl Mask {
    fn new(n_tokens: usize) -> Result<Mask> {
        let (mut bits, n) = (Vec::new(), n_tokens.div_ceil(64));
        bits.try_reserve_exact(n).map_err(|_| Error::no_memory(format!("no memory for a mask of {n_tokens} tokens")))?;
        bits.resize(n, 0);
        Ok(Mask(bits))
    }

    pub fn has(&self, id: i32) -> bool {
        let id = usize::try_from(id).unwrap_or(usize::MAX);
        self.0.get(id / 64).is_some_and(|w| w >> (id % 64) & 1 == 1)
    }

    pub fn set(&mut self, id: u32, on: bool) {
        if let Some(word) = self.0.get_mut(id as usize / 64) {
            let bit = 1 << (id % 64);
            *word = if on { *word | bit } else { *word & !bit };
        }
    }
}

/// A place in the tree, and what has been read on the way to it.
#[derive(Clone, Copy)]
struct Visit {
    node: u32,
    state: u32,
    reader: Reader,
    /// Tokens taken on the way whatever follows.
    others: Others,
}

/// The tokens that may follow by their texts. Those that the grammar names have to be asked for one by one.
pub fn mask(m: &mut Machine, state: u32, partial: Partial, pieces: &Pieces) -> Result<Mask> {
    let mut mask = Mask::new(pieces.n_tokens())?;
    let mut todo = vec![Visit { node: 0, state, reader: Reader::new(partial), others: Others::None }];
    while let Some(from) = todo.pop() {
        for (byte, node) in pieces.children(from.node) {
            let Some(here) = read(m, from, byte)?.map(|v| Visit { node, ..v }) else { continue };
            let may_pause = m.may_pause(here.state, here.reader.partial);
            pieces.tokens(node).filter(|id| may_pause || here.others.has(*id)).for_each(|id| mask.set(id, true));
            if here.state != DEAD || here.others != Others::None {
                todo.push(here);
            }
        }
    }
    Ok(mask)
}

/// `None`: a text with this byte here cannot be read.
fn read(m: &mut Machine, from: Visit, byte: u8) -> Result<Option<Visit>> {
    Ok(match from.reader.feed(byte) {
        Step::Invalid => None,
        Step::Incomplete(reader) => Some(Visit { reader, ..from }),
        Step::Char(cp, reader) => {
            // A state that takes tokens by number takes them also in the middle of their text: the original's way.
            let others = from.others.or(m.others(from.state));
            Some(Visit { state: m.step(from.state, cp)?, reader, others, ..from })
        }
    })
}

/// The same for one token.
pub fn allows(m: &mut Machine, state: u32, partial: Partial, id: u32, text: &[u8]) -> Result<bool> {
    let mut at = Visit { node: 0, state, reader: Reader::new(partial), others: Others::None };
    let (text, mut is_named) = (until_nul(text), false);
    for byte in text {
        let Some(next) = read(m, at, *byte)? else { return Ok(false) };
        is_named |= next.reader.partial.n_missing == 0 && m.names(at.state, id);
        at = next;
    }
    Ok(!text.is_empty() && (is_named || at.others.has(id) || m.may_pause(at.state, at.reader.partial)))
}
