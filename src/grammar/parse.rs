//! GBNF to rules. The notation is the original's, with its slips; one pass without recursion, however deep the parentheses are.
use super::rules::{Class, Draft, Item, Rules};
use platform::{Error, Result};
use std::collections::HashMap;

/// Repeated items may not become more than this, nor may a number of repetitions be larger: the original's bound.
const MAX_REPETITION: u64 = 2000;
/// Items of a whole grammar: 64 MiB. Repetitions copy, so a short text could ask for gigabytes.
const MAX_ITEMS: usize = 1 << 23;

/// Finds the token that a text in angle brackets is.
pub type FindToken<'a> = &'a dyn Fn(&[u8]) -> Option<i32>;

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    find_token: FindToken<'a>,
    names: HashMap<&'a [u8], u32>,
    /// By rule number; empty items: not defined.
    drafts: Vec<Draft>,
    classes: Vec<Class>,
    class_index: HashMap<(Vec<(u32, u32)>, bool), u32>,
    n_items: usize,
}

/// Alternatives that are being read: a rule's, or those between parentheses.
struct Open {
    rule: u32,
    items: Vec<Item>,
    /// Where the symbol starts that a repetition would repeat.
    last: usize,
    /// How many rules that symbol stands for.
    weight: u64,
    /// Rules there were before it.
    n_before: usize,
}

/// Reads a grammar. The error says where it stopped.
pub fn parse(text: &[u8], root: &[u8], find_token: FindToken<'_>) -> Result<Rules> {
    let mut p = Parser {
        text,
        at: 0,
        find_token,
        names: HashMap::new(),
        drafts: Vec::new(),
        classes: Vec::new(),
        class_index: HashMap::new(),
        n_items: 0,
    };
    p.skip_space(true);
    while p.peek() != 0 {
        p.rule()?;
    }
    if let Some(d) = p.drafts.iter().find(|d| d.items.is_empty()) {
        return Err(Error::invalid(format!("grammar: the rule '{}' is not defined", d.name)));
    }
    let root_rule = p.names.get(root).copied();
    let root_rule = root_rule.ok_or_else(|| Error::invalid(format!("grammar: there is no rule '{}'", String::from_utf8_lossy(root))))?;
    Rules::new(&p.drafts, p.classes, root_rule)
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'-'
}

impl<'a> Parser<'a> {
    /// The byte `ahead` of here; 0 at the end.
    fn look(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn peek(&self) -> u8 {
        self.look(0)
    }

    fn error(&self, what: &str) -> Error {
        let before = &self.text[..self.at.min(self.text.len())];
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|b| **b != b'\n').count() + 1;
        let rest = &self.text[before.len()..];
        let near = String::from_utf8_lossy(&rest[..rest.len().min(24)]);
        Error::invalid(format!("grammar, line {line}, column {column}: {what} at '{near}'"))
    }

    fn expect(&mut self, byte: u8) -> Result<()> {
        if self.peek() != byte {
            return Err(self.error(&format!("expected '{}'", char::from(byte))));
        }
        self.at += 1;
        Ok(())
    }

    /// Skips white space and comments.
    fn skip_space(&mut self, newlines: bool) {
        loop {
            match self.peek() {
                b' ' | b'\t' => self.at += 1,
                b'\r' | b'\n' if newlines => self.at += 1,
                b'#' => self.at += self.text[self.at..].iter().take_while(|b| !matches!(b, b'\r' | b'\n')).count(),
                _ => return,
            }
        }
    }

    fn take_while(&mut self, what: &str, f: impl Fn(u8) -> bool) -> Result<&'a [u8]> {
        let rest = &self.text[self.at..];
        let n = rest.iter().take_while(|b| f(**b)).count();
        if n == 0 {
            return Err(self.error(&format!("expected {what}")));
        }
        self.at += n;
        Ok(&rest[..n])
    }

    fn number(&mut self) -> Result<u64> {
        let start = self.at;
        let digits = self.take_while("a number", |b| b.is_ascii_digit())?;
        std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok()).ok_or_else(|| {
            self.at = start;
            self.error("too large a number")
        })
    }

    fn named(&mut self, name: &'a [u8]) -> u32 {
        if let Some(rule) = self.names.get(name) {
            return *rule;
        }
        let rule = self.new_rule(String::from_utf8_lossy(name).into_owned());
        self.names.insert(name, rule);
        rule
    }

    fn new_rule(&mut self, name: String) -> u32 {
        self.drafts.push(Draft { items: Vec::new(), name });
        self.drafts.len() as u32 - 1
    }

    /// A rule of our own making for a part of another.
    fn part_of(&mut self, rule: u32) -> u32 {
        let name = self.drafts[rule as usize].name.clone();
        self.new_rule(name)
    }

    /// Counts items before they are made.
    fn charge(&mut self, n: usize) -> Result<()> {
        self.n_items = self.n_items.saturating_add(n);
        if self.n_items > MAX_ITEMS { Err(self.error(&format!("more than {MAX_ITEMS} items"))) } else { Ok(()) }
    }

    fn rule(&mut self) -> Result<()> {
        let name = self.take_while("a name", is_word)?;
        self.skip_space(false);
        let rule = self.named(name);
        if !self.text[self.at..].starts_with(b"::=") {
            return Err(self.error("expected ::="));
        }
        self.at += 3;
        self.skip_space(true);
        self.alternatives(rule)?;
        match (self.peek(), self.look(1)) {
            (b'\r', b'\n') => self.at += 2,
            (b'\r' | b'\n', _) => self.at += 1,
            (0, _) => {}
            _ => return Err(self.error("expected a new line or the end")),
        }
        self.skip_space(true);
        Ok(())
    }

    fn open(&self, rule: u32, n_before: usize) -> Open {
        Open { rule, items: Vec::new(), last: 0, weight: 1, n_before }
    }

    /// Everything up to the end of the rule.
    fn alternatives(&mut self, rule: u32) -> Result<()> {
        let mut outer: Vec<Open> = Vec::new();
        let mut now = self.open(rule, 0);
        loop {
            let nested = !outer.is_empty();
            match self.peek() {
                b'(' => {
                    self.at += 1;
                    self.skip_space(true);
                    let n_before = self.drafts.len();
                    let part = self.part_of(rule);
                    outer.push(std::mem::replace(&mut now, self.open(part, n_before)));
                }
                b')' if nested => {
                    self.at += 1;
                    let closed = std::mem::replace(&mut now, outer.pop().unwrap_or_else(|| self.open(rule, 0)));
                    let weight = (self.drafts.len() - closed.n_before).max(1) as u64;
                    let part = closed.rule;
                    self.define(closed)?;
                    self.symbol(&mut now, &[Item::Rule(part)], weight)?;
                    self.skip_space(!outer.is_empty());
                }
                b'|' => {
                    self.at += 1;
                    self.skip_space(true);
                    self.symbol(&mut now, &[Item::Alt], 1)?;
                    now.last = now.items.len();
                }
                b'*' | b'+' | b'?' | b'{' => {
                    let (min, max) = self.times(nested)?;
                    self.repeat(&mut now, min, max)?;
                }
                _ if self.terminal(&mut now)? => self.skip_space(nested),
                _ if nested => return Err(self.error("expected ')'")),
                _ => return self.define(now),
            }
        }
    }

    fn define(&mut self, mut done: Open) -> Result<()> {
        self.charge(1)?;
        done.items.push(Item::End);
        self.drafts[done.rule as usize].items = done.items;
        Ok(())
    }

    /// Appends what a repetition would repeat as one.
    fn symbol(&mut self, open: &mut Open, items: &[Item], weight: u64) -> Result<()> {
        self.charge(items.len())?;
        open.last = open.items.len();
        open.weight = weight;
        open.items.extend_from_slice(items);
        Ok(())
    }

    /// A literal, a class, a reference, a token; false for anything else.
    fn terminal(&mut self, open: &mut Open) -> Result<bool> {
        let items = match self.peek() {
            b'"' => self.literal()?,
            b'[' => self.class()?.into_iter().collect(),
            b'<' => vec![Item::Token(self.token()?)],
            b'!' => {
                self.at += 1;
                vec![Item::NotToken(self.token()?)]
            }
            b'.' => {
                self.at += 1;
                vec![Item::Any]
            }
            b if is_word(b) => {
                let name = self.take_while("a name", is_word)?;
                vec![Item::Rule(self.named(name))]
            }
            _ => return Ok(false),
        };
        self.symbol(open, &items, 1)?;
        Ok(true)
    }

    fn literal(&mut self) -> Result<Vec<Item>> {
        self.at += 1;
        let mut items = Vec::new();
        while self.peek() != b'"' {
            items.push(Item::Char(self.char()?));
        }
        self.at += 1;
        Ok(items)
    }

    /// `None` for `[]` and `[^]`, which are nothing.
    fn class(&mut self) -> Result<Option<Item>> {
        self.at += 1;
        let negated = self.peek() == b'^';
        self.at += usize::from(negated);
        let mut ranges = Vec::new();
        while self.peek() != b']' {
            let low = self.char()?;
            let mut high = low;
            if self.peek() == b'-' && self.look(1) != b']' {
                self.at += 1;
                high = self.char()?;
            }
            ranges.push((low, high));
        }
        self.at += 1;
        if ranges.is_empty() {
            return Ok(None);
        }
        self.charge(ranges.len())?;
        let (n, classes) = (self.classes.len() as u32, &mut self.classes);
        let index = *self.class_index.entry((ranges, negated)).or_insert_with_key(|(ranges, negated)| {
            classes.push(Class { ranges: ranges.clone(), negated: *negated });
            n
        });
        Ok(Some(Item::Class(index)))
    }

    fn char(&mut self) -> Result<u32> {
        if self.peek() != b'\\' {
            return self.code_point();
        }
        let escaped = self.look(1);
        let simple = match escaped {
            b'x' => return self.hex(2),
            b'u' => return self.hex(4),
            b'U' => return self.hex(8),
            b't' => b'\t',
            b'r' => b'\r',
            b'n' => b'\n',
            b'\\' | b'"' | b'[' | b']' | b'-' => escaped,
            _ => return Err(self.error("unknown escape")),
        };
        self.at += 2;
        Ok(simple.into())
    }

    fn hex(&mut self, n: usize) -> Result<u32> {
        let digits = self.text.get(self.at + 2..self.at + 2 + n).filter(|d| d.iter().all(u8::is_ascii_hexdigit));
        let value = digits.and_then(|d| u32::from_str_radix(std::str::from_utf8(d).ok()?, 16).ok());
        let value = value.ok_or_else(|| self.error(&format!("expected {n} hexadecimal digits")))?;
        self.at += 2 + n;
        Ok(value)
    }

    /// Bytes are believed to be UTF-8; what follows a first byte is taken as it is.
    fn code_point(&mut self) -> Result<u32> {
        let first = self.peek();
        let (len, head) = match first {
            0 => return Err(self.error("unexpected end")),
            0x01..=0xBF => (1, first & 0x7F),
            0xC0..=0xDF => (2, first & 0x3F),
            0xE0..=0xEF => (3, first & 0x1F),
            0xF0..=0xFF => (4, first & 0x0F),
        };
        let tail = self.text[self.at + 1..].iter().take(len - 1);
        let (n_tail, value) = tail.fold((0, u32::from(head)), |(n, v), b| (n + 1, (v << 6) + u32::from(b & 0x3F)));
        self.at += 1 + n_tail;
        Ok(value)
    }

    /// `<[7]>`, or the text of a token in angle brackets that are part of it.
    fn token(&mut self) -> Result<u32> {
        let start = self.at;
        self.expect(b'<')?;
        if self.peek() == b'[' {
            self.at += 1;
            let id = self.number()?;
            self.expect(b']')?;
            self.expect(b'>')?;
            return u32::try_from(id).map_err(|_| self.error("too large a token id"));
        }
        let len = self.text[self.at..].iter().position(|b| *b == b'>').map(|n| n + 1);
        self.at = len.map_or(self.text.len(), |n| self.at + n);
        let end = len.map(|_| self.at).ok_or_else(|| self.error("expected '>'"))?;
        let found = (self.find_token)(&self.text[start..end]);
        found.map(i32::cast_unsigned).ok_or_else(|| {
            self.at = start;
            self.error("not one token of the vocabulary")
        })
    }

    /// How often: at least, at most.
    fn times(&mut self, nested: bool) -> Result<(u64, Option<u64>)> {
        let sign = self.peek();
        self.at += 1;
        self.skip_space(nested);
        match sign {
            b'*' => return Ok((0, None)),
            b'+' => return Ok((1, None)),
            b'?' => return Ok((0, Some(1))),
            _ => {}
        }
        let min = self.number()?;
        self.skip_space(nested);
        let mut max = Some(min);
        if self.peek() != b'}' {
            self.expect(b',')?;
            self.skip_space(nested);
            max = if self.peek().is_ascii_digit() { Some(self.number()?) } else { None };
            self.skip_space(nested);
        }
        self.expect(b'}')?;
        self.skip_space(nested);
        if min > MAX_REPETITION {
            return Err(self.error("too many repetitions"));
        }
        // More than that is as good as any number.
        Ok((min, max.filter(|m| *m <= MAX_REPETITION)))
    }

    /// Writes the last symbol `min` times, then a rule for the rest: `S' ::= S S' |`, or a chain of them.
    fn repeat(&mut self, open: &mut Open, min: u64, max: Option<u64>) -> Result<()> {
        if open.last == open.items.len() {
            return Err(self.error("nothing to repeat"));
        }
        let symbol = open.items[open.last..].to_vec();
        let factor = max.filter(|m| *m > 0).unwrap_or(min).max(1);
        let weight = open.weight.saturating_mul(factor);
        if weight > MAX_REPETITION {
            return Err(self.error("too many repetitions of repetitions"));
        }
        // A maximum below the minimum wraps around in the original, which then fails for want of memory.
        let n_optional = max.map_or(Some(1), |m| m.checked_sub(min)).ok_or_else(|| self.error("more at least than at most"))?;
        self.charge(symbol.len().saturating_mul((min + n_optional) as usize + 1))?;
        if min == 0 {
            open.items.truncate(open.last);
        }
        (1..min).for_each(|_| open.items.extend_from_slice(&symbol));
        let mut rest = None;
        for _ in 0..n_optional {
            let part = self.part_of(open.rule);
            let mut items = symbol.clone();
            items.extend(max.map_or(Some(part), |_| rest).map(Item::Rule));
            items.extend([Item::Alt, Item::End]);
            self.drafts[part as usize].items = items;
            rest = Some(part);
        }
        open.items.extend(rest.map(Item::Rule));
        open.weight = weight;
        Ok(())
    }
}
