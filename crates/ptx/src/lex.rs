//! PTX text to tokens with their lines. Knows characters only, no directive and no opcode.

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Token<'a> {
    /// Names, opcodes with their suffixes, directives, numbers: everything made of letters, digits and `_ . $ %`.
    Word(&'a str),
    Text(&'a str),
    Mark(char),
}

/// What is wrong with a text, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    pub line: u32,
    pub what: String,
}

pub fn refuse<T>(line: u32, what: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { line, what: what.into() })
}

pub struct Tokens<'a> {
    all: Vec<(Token<'a>, u32)>,
    at: usize,
}

impl<'a> Tokens<'a> {
    pub fn of(text: &'a str) -> Result<Self, Refusal> {
        let (mut all, mut rest, mut line) = (Vec::new(), text, 1u32);
        while let Some(c) = rest.chars().next() {
            let (token, len) = next(rest, c, line)?;
            if let Some(token) = token {
                all.push((token, line));
            }
            line += rest[..len].bytes().filter(|b| *b == b'\n').count() as u32;
            rest = &rest[len..];
        }
        Ok(Tokens { all, at: 0 })
    }

    pub fn line(&self) -> u32 {
        let at = self.at.min(self.all.len().saturating_sub(1));
        self.all.get(at).map_or(0, |t| t.1)
    }

    pub fn peek(&self) -> Option<Token<'a>> {
        self.all.get(self.at).map(|t| t.0)
    }

    pub fn peek_second(&self) -> Option<Token<'a>> {
        self.all.get(self.at + 1).map(|t| t.0)
    }

    pub fn take_any(&mut self) -> Option<Token<'a>> {
        let token = self.peek()?;
        self.at += 1;
        Some(token)
    }

    /// Takes the mark if it is next.
    pub fn take(&mut self, mark: char) -> bool {
        let there = self.peek() == Some(Token::Mark(mark));
        self.at += usize::from(there);
        there
    }

    pub fn take_word(&mut self, word: &str) -> bool {
        let there = self.peek() == Some(Token::Word(word));
        self.at += usize::from(there);
        there
    }

    pub fn expect(&mut self, mark: char) -> Result<(), Refusal> {
        if self.take(mark) { Ok(()) } else { refuse(self.line(), format!("`{mark}` expected, {:?} found", self.peek())) }
    }

    pub fn word(&mut self) -> Result<&'a str, Refusal> {
        match self.take_any() {
            Some(Token::Word(w)) => Ok(w),
            other => refuse(self.line(), format!("a name expected, {other:?} found")),
        }
    }

    /// Passes by everything up to the end of the line that is being read.
    pub fn skip_line(&mut self, line: u32) {
        while self.at < self.all.len() && self.line() == line {
            self.at += 1;
        }
    }

    /// Passes by a group in braces, the opening one being next.
    pub fn skip_braces(&mut self) {
        let mut depth = 0;
        while let Some(t) = self.take_any() {
            match t {
                Token::Mark('{') => depth += 1,
                Token::Mark('}') => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_.$%".contains(c)
}

/// The token at the start of `rest`, none for space and comments, and its length.
fn next(rest: &str, c: char, line: u32) -> Result<(Option<Token<'_>>, usize), Refusal> {
    if c.is_whitespace() || c == '\0' {
        return Ok((None, c.len_utf8()));
    }
    if rest.starts_with("//") {
        return Ok((None, rest.find('\n').unwrap_or(rest.len())));
    }
    if rest.starts_with("/*") {
        return Ok((None, rest.find("*/").map_or(rest.len(), |i| i + 2)));
    }
    if c == '"' {
        let Some(end) = rest[1..].find('"') else { return refuse(line, "a text without end") };
        return Ok((Some(Token::Text(&rest[1..=end])), end + 2));
    }
    if is_word(c) {
        let len = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        return Ok((Some(Token::Word(&rest[..len])), len));
    }
    if ",;[](){}<>+-!@|:=*".contains(c) {
        return Ok((Some(Token::Mark(c)), 1));
    }
    refuse(line, format!("no PTX: {c:?}"))
}
