//! PLaMo-2: the text is taken apart so that the tokens' costs are least, from its end to its start. Texts are found by an
//! Aho-Corasick automaton over the reversed tokens, one step a character.
use super::special::attr;
use super::texts::Map;
use super::{Lexicon, room, unicode};
use platform::{Error, Result};

/// A score of -2000 or less never wins; -1000 is what a character without a token gets, spelled in bytes.
const INVALID: i32 = -20_000_000;
const UNKNOWN: i32 = -10_000_000;
const SCALE: f64 = 1e4;
const ROOT: u32 = 0;

/// The characters from here on, to the end of some token.
struct Node {
    /// What it adds at its start to its parent's characters.
    parent: u32,
    cp: u32,
    /// How many characters.
    len: u32,
    /// The longest start of its characters that is a node too.
    shorter: u32,
    /// The same, of those that are tokens; `ROOT` if none is.
    shorter_token: u32,
    token: i32,
    /// `INVALID` if it is no token.
    score: i32,
}

pub struct Plamo2 {
    nodes: Vec<Node>,
    children: Map<(u32, u32), u32>,
    bytes: [i32; 256],
}

/// The best way from a place to the end of the text: its first token (-1: bytes), how long that is, and the sum of the costs.
#[derive(Clone, Copy)]
struct Best {
    token: i32,
    len: u32,
    cost: i64,
}

impl Plamo2 {
    pub fn new(lexicon: &Lexicon<'_>) -> Result<Plamo2> {
        let root = Node { parent: ROOT, cp: 0, len: 0, shorter: ROOT, shorter_token: ROOT, token: -1, score: UNKNOWN };
        let mut tree = Plamo2 { nodes: vec![root], children: Map::default(), bytes: [0; 256] };
        for id in 0..lexicon.texts.len() as u32 {
            let text = lexicon.texts.get(id);
            if lexicon.attr(id) & attr::BYTE == 0 {
                tree.add(text, id as i32, lexicon.score(id))?;
            } else if let Some(byte) = byte_named(text) {
                tree.bytes[usize::from(byte)] = id as i32;
            }
        }
        if let Some(byte) = tree.bytes.iter().position(|id| *id == 0) {
            return Err(Error::invalid(format!("the vocabulary has no token <0x{byte:02X}>")));
        }
        tree.link();
        Ok(tree)
    }

    fn add(&mut self, text: &[u8], token: i32, score: f32) -> Result<()> {
        let Ok(text) = std::str::from_utf8(text) else { return Ok(()) };
        let mut at = ROOT;
        for cp in text.chars().rev().map(u32::from) {
            at = self.child_or_new(at, cp)?;
        }
        if at != ROOT {
            let scaled = if score.is_finite() { (f64::from(score) * SCALE).round() as i32 } else { INVALID };
            let node = &mut self.nodes[at as usize];
            (node.token, node.score) = (token, scaled);
        }
        Ok(())
    }

    fn child_or_new(&mut self, parent: u32, cp: u32) -> Result<u32> {
        if let Some(child) = self.children.get(&(parent, cp)) {
            return Ok(*child);
        }
        let no_memory = || Error::no_memory("no memory for the tree of a vocabulary");
        self.children.try_reserve(1).map_err(|_| no_memory())?;
        self.nodes.try_reserve(1).map_err(|_| no_memory())?;
        let (id, len) = (self.nodes.len() as u32, self.nodes[parent as usize].len + 1);
        self.nodes.push(Node { parent, cp, len, shorter: ROOT, shorter_token: ROOT, token: -1, score: INVALID });
        self.children.insert((parent, cp), id);
        Ok(id)
    }

    /// Sets what leads from a node to shorter ones, short nodes first.
    fn link(&mut self) {
        let mut by_len: Vec<u32> = (1..self.nodes.len() as u32).collect();
        by_len.sort_by_key(|id| self.nodes[*id as usize].len);
        for id in by_len {
            let Node { parent, cp, .. } = self.nodes[id as usize];
            let shorter = if parent == ROOT { ROOT } else { self.longest_with(self.nodes[parent as usize].shorter, cp, |_| false) };
            let is_token = self.nodes[shorter as usize].score > INVALID;
            let shorter_token = if is_token { shorter } else { self.nodes[shorter as usize].shorter_token };
            let node = &mut self.nodes[id as usize];
            (node.shorter, node.shorter_token) = (shorter, shorter_token);
        }
    }

    /// `cp` before the longest start of a node's characters that has such a child. `stops` ends the search without one.
    fn longest_with(&self, mut at: u32, cp: u32, stops: impl Fn(&Node) -> bool) -> u32 {
        loop {
            let node = &self.nodes[at as usize];
            match self.children.get(&(at, cp)) {
                Some(child) => return *child,
                None if at == ROOT || stops(node) => return ROOT,
                None => at = node.shorter,
            }
        }
    }

    pub fn tokenize(&self, text: &[u8], out: &mut Vec<i32>) -> Result<()> {
        let mut chars: Vec<u32> = room(text.len())?;
        chars.extend(unicode::code_points(text));
        let chars = chars.strip_prefix(&[0xFEFF]).unwrap_or(&chars); // a byte order mark
        let best = self.best_ways(chars)?;
        let mut at = 0;
        while let Some(cp) = chars.get(at) {
            let Best { token, len, .. } = best[at];
            if token >= 0 {
                out.push(token);
            } else {
                let mut bytes = Vec::with_capacity(4);
                unicode::encode(*cp, &mut bytes);
                out.extend(bytes.iter().map(|b| self.bytes[usize::from(*b)]));
            }
            at += len as usize;
        }
        Ok(())
    }

    /// For every place of the text the best way from it to the end.
    fn best_ways(&self, chars: &[u32]) -> Result<Vec<Best>> {
        let mut best = room(chars.len() + 1)?;
        best.resize(chars.len() + 1, Best { token: -1, len: 1, cost: i64::MAX });
        best[chars.len()].cost = 0;
        let mut state = ROOT;
        for (at, cp) in chars.iter().enumerate().rev() {
            // A token that scores as an unknown character ends the original's lists: nothing shorter is looked at.
            state = self.longest_with(state, *cp, |n| n.score == UNKNOWN);
            let mut here = state;
            loop {
                let node = &self.nodes[here as usize];
                if node.score > INVALID {
                    let len = node.len.max(1); // the root stands for one unknown character
                    let cost = best[at + len as usize].cost - i64::from(node.score);
                    if cost < best[at].cost {
                        best[at] = Best { token: node.token, len, cost };
                    }
                }
                if node.score == UNKNOWN {
                    break;
                }
                here = node.shorter_token;
            }
        }
        Ok(best)
    }
}

/// The byte of a text `<0xXX>`.
pub fn byte_named(text: &[u8]) -> Option<u8> {
    let digits = text.strip_prefix(b"<0x")?.strip_suffix(b">").filter(|d| d.len() == 2)?;
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok().filter(|_| digits[0] != b'+')
}
