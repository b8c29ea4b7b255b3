//! A grammar as a list of items: what a parser writes and what the stacks point into. Knows no text and no vocabulary.
use platform::{Error, Result};
use std::ops::Range;

/// One step of a rule. Each rule is alternatives, each closed by `Alt` or, the last one, by `End`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    Char(u32),
    Any,
    /// An index of `classes`.
    Class(u32),
    Rule(u32),
    /// A whole token, whatever its text.
    Token(u32),
    /// Any token but this one.
    NotToken(u32),
    Alt,
    End,
}

impl Item {
    pub fn is_end(self) -> bool {
        matches!(self, Item::Alt | Item::End)
    }
}

/// `[a-z_]` or, negated, `[^a-z_]`: inclusive ranges, as they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Class {
    pub ranges: Vec<(u32, u32)>,
    pub negated: bool,
}

/// A rule under construction: its items and the name it was written under.
pub struct Draft {
    pub items: Vec<Item>,
    pub name: String,
}

#[derive(Debug)]
pub struct Rules {
    items: Vec<Item>,
    classes: Vec<Class>,
    /// Where the alternatives of a rule start; rule `r` has those of `rules[r]`.
    alternatives: Vec<u32>,
    rules: Vec<Range<u32>>,
    pub root: u32,
    /// Every token that an item names, once.
    pub tokens: Vec<u32>,
}

impl Rules {
    /// `drafts` by rule number. Every rule has items and every reference a rule.
    pub fn new(drafts: &[Draft], classes: Vec<Class>, root: u32) -> Result<Rules> {
        let mut r = Rules { items: Vec::new(), classes, alternatives: Vec::new(), rules: Vec::new(), root, tokens: Vec::new() };
        let n_items = drafts.iter().map(|d| d.items.len()).sum();
        r.items.try_reserve_exact(n_items).map_err(|_| Error::no_memory(format!("no memory for a grammar of {n_items} items")))?;
        for draft in drafts {
            r.add(&draft.items);
        }
        r.tokens = r.items.iter().filter_map(|i| if let Item::Token(id) = i { Some(*id) } else { None }).collect();
        r.tokens.sort_unstable();
        r.tokens.dedup();
        match r.left_recursive() {
            Some(rule) => Err(Error::unsupported(format!("the rule '{}' refers to itself from its left end", drafts[rule as usize].name))),
            None => Ok(r),
        }
    }

    fn add(&mut self, items: &[Item]) {
        let first = self.alternatives.len() as u32;
        let mut starts = true;
        for item in items {
            if starts {
                self.alternatives.push(self.items.len() as u32);
            }
            starts = *item == Item::Alt;
            self.items.push(*item);
        }
        self.rules.push(first..self.alternatives.len() as u32);
    }

    pub fn item(&self, at: u32) -> Item {
        self.items.get(at as usize).copied().unwrap_or(Item::End)
    }

    /// Where the alternatives of a rule start.
    pub fn alternatives(&self, rule: u32) -> &[u32] {
        self.rules.get(rule as usize).map_or(&[], |r| &self.alternatives[r.start as usize..r.end as usize])
    }

    /// The character ranges of a terminal, and whether they are what is not meant. A token has none.
    pub fn ranges(&self, item: Item) -> (&[(u32, u32)], bool) {
        match item {
            Item::Class(c) => self.classes.get(c as usize).map_or((&[], false), |c| (&c.ranges, c.negated)),
            Item::Any => (&[], true),
            _ => (&[], false),
        }
    }

    pub fn matches(&self, item: Item, cp: u32) -> bool {
        if let Item::Char(c) = item {
            return c == cp;
        }
        let (ranges, negated) = self.ranges(item);
        ranges.iter().any(|(lo, hi)| *lo <= cp && cp <= *hi) != negated
    }

    /// Some character in `low..=high` may match. As the original asks: of a negated class, none of them may be excluded.
    pub fn may_match(&self, item: Item, low: u32, high: u32) -> bool {
        if let Item::Char(c) = item {
            return low <= c && c <= high;
        }
        let (ranges, negated) = self.ranges(item);
        ranges.iter().any(|(lo, hi)| *lo <= high && low <= *hi) != negated
    }

    /// Items of each alternative of each rule.
    fn bodies(&self) -> impl Iterator<Item = (u32, &[Item])> {
        let body = |start: &u32| {
            let items = &self.items[*start as usize..];
            &items[..items.iter().position(|i| i.is_end()).unwrap_or(items.len())]
        };
        (0..self.rules.len() as u32).flat_map(move |rule| self.alternatives(rule).iter().map(move |start| (rule, body(start))))
    }

    /// Rules that can be nothing.
    fn nullable(&self) -> Vec<bool> {
        let mut nullable = vec![false; self.rules.len()];
        let all_nullable = |body: &[Item], known: &[bool]| body.iter().all(|i| matches!(i, Item::Rule(r) if known[*r as usize]));
        // A rule found to be nullable may make those before it nullable: again until nothing changes, mostly twice. What could
        // be found in the last round only is a chain of references as long as the grammar; a few rounds bound the work.
        for _ in 0..64 {
            let found: Vec<u32> =
                self.bodies().filter(|(r, b)| !nullable[*r as usize] && all_nullable(b, &nullable)).map(|(r, _)| r).collect();
            if found.is_empty() {
                break;
            }
            found.iter().for_each(|r| nullable[*r as usize] = true);
        }
        nullable
    }

    /// References that can come first: (from, to, something follows).
    fn left_edges(&self, nullable: &[bool]) -> Vec<(u32, u32, bool)> {
        let mut edges = Vec::new();
        for (from, body) in self.bodies() {
            for (i, item) in body.iter().enumerate() {
                let Item::Rule(to) = item else { break };
                edges.push((from, *to, i + 1 < body.len()));
                if !nullable[*to as usize] {
                    break;
                }
            }
        }
        edges
    }

    /// A rule whose stacks would grow without reading anything. The original refuses every left recursion it sees, but sees through
    /// empty alternatives only; what it does not see is harmless as long as nothing follows the reference.
    fn left_recursive(&self) -> Option<u32> {
        let mut empty = vec![false; self.rules.len()];
        self.bodies().filter(|(_, body)| body.is_empty()).for_each(|(rule, _)| empty[rule as usize] = true);
        let seen = in_cycle(self.rules.len(), &self.left_edges(&empty), |_| true);
        seen.or_else(|| in_cycle(self.rules.len(), &self.left_edges(&self.nullable()), |follows| follows))
    }
}

/// The start of an edge that lies in a cycle, of those that `counts` wants.
fn in_cycle(n: usize, edges: &[(u32, u32, bool)], counts: impl Fn(bool) -> bool) -> Option<u32> {
    let group = components(n, edges);
    edges.iter().find(|(from, to, follows)| counts(*follows) && group[*from as usize] == group[*to as usize]).map(|(from, ..)| *from)
}

/// Strongly connected components (Tarjan), without recursion: a grammar may be as deep as it is long. Edges are sorted by start.
fn components(n: usize, edges: &[(u32, u32, bool)]) -> Vec<u32> {
    const NEW: u32 = u32::MAX;
    let first = |v: u32| edges.partition_point(|e| e.0 < v);
    let (mut group, mut low, mut order) = (vec![NEW; n], vec![NEW; n], vec![NEW; n]);
    let (mut open, mut path, mut n_seen) = (Vec::new(), Vec::new(), 0);
    for start in 0..n as u32 {
        if order[start as usize] == NEW {
            path.push((start, first(start)));
        }
        while let Some((v, at)) = path.last_mut() {
            let (v, edge) = (*v, edges.get(*at).filter(|e| e.0 == *v));
            *at += 1;
            if order[v as usize] == NEW {
                (order[v as usize], low[v as usize]) = (n_seen, n_seen);
                n_seen += 1;
                open.push(v);
            }
            match edge.map(|e| e.1) {
                Some(to) if order[to as usize] == NEW => path.push((to, first(to))),
                Some(to) if group[to as usize] == NEW => low[v as usize] = low[v as usize].min(order[to as usize]),
                Some(_) => {}
                None => {
                    path.pop();
                    if let Some((parent, _)) = path.last() {
                        low[*parent as usize] = low[*parent as usize].min(low[v as usize]);
                    }
                    if low[v as usize] == order[v as usize] {
                        close(v, &mut open, &mut group);
                    }
                }
            }
        }
    }
    group
}

/// Everything opened since `v` is one component.
fn close(v: u32, open: &mut Vec<u32>, group: &mut [u32]) {
    while let Some(member) = open.pop() {
        group[member as usize] = v;
        if member == v {
            break;
        }
    }
}
