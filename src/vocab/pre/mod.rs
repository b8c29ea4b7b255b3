//! Pre-tokenizers: how a BPE vocabulary cuts text into words before it merges. `table` says which name means what,
//! `rules` holds the alternatives, this file applies them. Nothing here knows tokens.
mod rules;
mod table;

use super::{room, unicode};
use platform::Result;
use std::cell::Cell;
pub use table::{DEFAULT, Pre, by_name, names};

/// One alternative of a pattern: where a match that starts at `pos` ends, or `pos` if there is none.
pub type Rule = fn(&Text<'_>, usize) -> usize;

/// One pattern. Patterns are applied in turn, each to every piece that the one before it left.
pub enum Split {
    /// First alternative that matches wins; what lies between two matches is a piece of its own.
    First(&'static [Rule]),
    /// `\s+$`
    TrailingSpace,
    /// Digits in groups of three counted from the right. What precedes a number stays with its first group, as in the original.
    ThreeFromRight,
    /// `(?=(\d{3})+(?!\d))`: a cut before every group of three counted from the right.
    CutThousands,
}

/// A code point with its class; class 0 beyond the end of the piece.
#[derive(Clone, Copy)]
pub struct Ch {
    pub cp: u32,
    pub class: u8,
}

impl Ch {
    pub fn is(self, classes: u8) -> bool {
        self.class & classes != 0
    }
    /// There is a character and it is none of these.
    pub fn is_not(self, classes: u8) -> bool {
        self.class != 0 && self.class & classes == 0
    }
    pub fn is_newline(self) -> bool {
        self.cp == 0x0A || self.cp == 0x0D
    }
    pub fn is_ascii(self, f: impl Fn(&u8) -> bool) -> bool {
        self.cp < 0x80 && f(&(self.cp as u8))
    }
}

/// The piece that a pattern is applied to: characters up to `end`. A rule never looks left of where it starts.
pub struct Text<'a> {
    chars: &'a [Ch],
    end: usize,
    /// White space before this index is known to hold no newline: keeps a long run of spaces linear.
    pub no_newline_before: Cell<usize>,
}

impl Text<'_> {
    pub fn at(&self, pos: usize) -> Ch {
        if pos < self.end { self.chars[pos] } else { Ch { cp: u32::MAX, class: 0 } }
    }
    /// The end of the run of characters that satisfy `f`; `f` must refuse class 0.
    pub fn run(&self, pos: usize, f: impl Fn(Ch) -> bool) -> usize {
        let n = self.chars[pos.min(self.end)..self.end].iter().take_while(|c| f(**c)).count();
        pos + n
    }
    pub fn is_end(&self, pos: usize) -> bool {
        pos >= self.end
    }
}

/// Cuts well-formed UTF-8 into words: the byte index at which each ends.
pub fn split(text: &[u8], splits: &[Split]) -> Result<Vec<usize>> {
    let mut chars: Vec<Ch> = room(text.len())?;
    chars.extend(unicode::code_points(text).map(|cp| Ch { cp, class: unicode::class(cp) }));
    let (mut pieces, mut next) = (room(chars.len())?, room(chars.len())?);
    pieces.push(chars.len());
    for split in splits {
        let mut start = 0;
        for end in pieces.drain(..) {
            apply(split, &Text { chars: &chars, end, no_newline_before: Cell::new(0) }, start, &mut next);
            start = end;
        }
        std::mem::swap(&mut pieces, &mut next);
    }
    to_bytes(text, &mut pieces);
    Ok(pieces)
}

/// Turns ends counted in characters into ends counted in bytes.
fn to_bytes(text: &[u8], ends: &mut [usize]) {
    let (mut at_char, mut at_byte) = (0, 0);
    let step = |at: usize| at + text.get(at).map_or(0, |lead| unicode::len_by_lead(*lead));
    let mut advance = |end: usize| {
        while at_char < end {
            at_byte = step(at_byte);
            at_char += 1;
        }
        at_byte.min(text.len())
    };
    ends.iter_mut().for_each(|end| *end = advance(*end));
}

fn apply(split: &Split, text: &Text<'_>, start: usize, ends: &mut Vec<usize>) {
    match split {
        Split::First(rules) => first_match(rules, text, start, ends),
        Split::TrailingSpace => trailing_space(text, start, ends),
        Split::ThreeFromRight => three_from_right(text, start, ends),
        Split::CutThousands => cut_thousands(text, start, ends),
    }
}

fn first_match(rules: &[Rule], text: &Text<'_>, start: usize, ends: &mut Vec<usize>) {
    let (mut pos, mut done) = (start, start);
    while pos < text.end {
        let Some(end) = rules.iter().map(|rule| rule(text, pos)).find(|end| *end > pos) else {
            pos += 1;
            continue;
        };
        if done < pos {
            ends.push(pos);
        }
        ends.push(end);
        (pos, done) = (end, end);
    }
    if done < text.end {
        ends.push(text.end);
    }
}

fn trailing_space(text: &Text<'_>, start: usize, ends: &mut Vec<usize>) {
    let n = text.chars[start..text.end].iter().rev().take_while(|c| c.is(unicode::SPACE)).count();
    if n > 0 && text.end - n > start {
        ends.push(text.end - n);
    }
    ends.push(text.end);
}

fn three_from_right(text: &Text<'_>, start: usize, ends: &mut Vec<usize>) {
    let (mut pos, mut done) = (start, start);
    while pos < text.end {
        let run_end = text.run(pos, |c| c.is(unicode::NUMBER));
        if run_end > pos {
            let first = match (run_end - pos) % 3 {
                0 => pos + 3,
                rest => pos + rest,
            };
            ends.extend((first..=run_end).step_by(3));
            done = run_end;
        }
        pos = run_end.max(pos + 1);
    }
    if done < text.end {
        ends.push(text.end);
    }
}

fn cut_thousands(text: &Text<'_>, start: usize, ends: &mut Vec<usize>) {
    let mut pos = start;
    while pos < text.end {
        let run_end = text.run(pos, |c| c.is_ascii(u8::is_ascii_digit));
        let first = pos + (run_end - pos) % 3;
        ends.extend((first..run_end).step_by(3).filter(|cut| *cut > start));
        pos = run_end.max(pos + 1);
    }
    if text.end > start {
        ends.push(text.end);
    }
}

#[cfg(test)]
mod tests;
