//! Where a lazy grammar begins: regular expressions as `std::regex` reads them (ECMAScript, over bytes), translated for `fancy-regex`,
//! whose only door this is. A byte is shown to it as the character of that number.
use fancy_regex::Regex;
use platform::{Error, Result};

pub struct Pattern {
    anywhere: Regex,
    /// For `^...$`, which is first tried on the whole text.
    whole: Option<Regex>,
}

impl Pattern {
    pub fn new(pattern: &[u8]) -> Result<Pattern> {
        let text = translate(pattern).ok_or_else(|| bad(pattern, "it is malformed or unknown here"))?;
        let build = |text: &str| Regex::new(text).map_err(|e| bad(pattern, &e.to_string()));
        let is_whole = pattern.starts_with(b"^") && pattern.ends_with(b"$");
        let whole = is_whole.then(|| build(&format!(r"\A(?:{text})\z"))).transpose()?;
        Ok(Pattern { anywhere: build(&text)?, whole })
    }

    /// Begins at the first of some words.
    pub fn of_words(words: &[&[u8]]) -> Result<Pattern> {
        let quoted: Vec<Vec<u8>> = words.iter().map(|w| w.iter().flat_map(|b| quote(*b)).collect()).collect();
        Pattern::new(&[b"(", &quoted.join(&b'|')[..], b")"].concat())
    }

    /// Where the grammar begins: at the first group that holds something, or else at the match.
    pub fn find(&self, text: &[u8]) -> Option<usize> {
        let shown: String = text.iter().map(|b| char::from(*b)).collect();
        // A search that takes too long has found nothing.
        let search = |r: &Regex| r.captures(&shown).ok().flatten();
        let found = self.whole.as_ref().and_then(search).or_else(|| search(&self.anywhere))?;
        let group = found.iter().skip(1).flatten().find(|m| !m.as_str().is_empty()).or_else(|| found.get(0))?;
        Some(shown[..group.start()].chars().count())
    }
}

fn bad(pattern: &[u8], why: &str) -> Error {
    Error::invalid(format!("trigger pattern '{}': {why}", String::from_utf8_lossy(pattern)))
}

fn quote(b: u8) -> Vec<u8> {
    if b.is_ascii_punctuation() { vec![b'\\', b] } else { vec![b] }
}

/// Which bytes.
#[derive(Clone)]
struct Set([bool; 256]);

impl Set {
    fn new(f: impl Fn(u8) -> bool) -> Set {
        Set(std::array::from_fn(|b| f(b as u8)))
    }

    fn not(self) -> Set {
        Set(self.0.map(|b| !b))
    }

    fn add(&mut self, other: &Set) {
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a |= b);
    }

    /// As a class with nothing left to interpret.
    fn write(&self, out: &mut String) {
        let members: Vec<usize> = (0..256).filter(|b| self.0[*b]).collect();
        if members.is_empty() {
            return out.push_str("(?!)");
        }
        let ranges = members.chunk_by(|a, b| a + 1 == *b).map(|run| format!(r"\x{{{:X}}}-\x{{{:X}}}", run[0], run[run.len() - 1]));
        out.push_str(&format!("[{}]", ranges.collect::<String>()));
    }
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

fn is_space(b: u8) -> bool {
    matches!(b, 0x09..=0x0D | b' ')
}

/// `\d` and the like.
fn class_escape(letter: u8) -> Option<Set> {
    let set = match letter.to_ascii_lowercase() {
        b'd' => Set::new(|b| b.is_ascii_digit()),
        b'w' => Set::new(is_word),
        b's' => Set::new(is_space),
        _ => return None,
    };
    Some(if letter.is_ascii_uppercase() { set.not() } else { set })
}

/// `[:alpha:]` and the like.
fn named_class(name: &[u8]) -> Option<Set> {
    let f: fn(u8) -> bool = match name {
        b"alpha" => |b| b.is_ascii_alphabetic(),
        b"digit" | b"d" => |b| b.is_ascii_digit(),
        b"alnum" => |b| b.is_ascii_alphanumeric(),
        b"upper" => |b| b.is_ascii_uppercase(),
        b"lower" => |b| b.is_ascii_lowercase(),
        b"punct" => |b| b.is_ascii_punctuation(),
        b"space" | b"s" => is_space,
        b"blank" => |b| b == b' ' || b == b'\t',
        b"cntrl" => |b| b.is_ascii_control(),
        b"graph" => |b| b.is_ascii_graphic(),
        b"print" => |b| b.is_ascii_graphic() || b == b' ',
        b"xdigit" => |b| b.is_ascii_hexdigit(),
        b"w" => is_word,
        _ => return None,
    };
    Some(Set::new(f))
}

/// The byte that `\n`, `\x41` ... is, and how many bytes it is written in after the backslash.
fn char_escape(rest: &[u8]) -> Option<(u8, usize)> {
    let hex = |n: usize| u32::from_str_radix(std::str::from_utf8(rest.get(1..=n)?).ok()?, 16).ok().and_then(|v| u8::try_from(v).ok());
    Some(match *rest.first()? {
        b't' => (b'\t', 1),
        b'n' => (b'\n', 1),
        b'v' => (0x0B, 1),
        b'f' => (0x0C, 1),
        b'r' => (b'\r', 1),
        b'0' => (0, 1),
        b'c' => (rest.get(1)? & 0x1F, 2),
        b'x' => (hex(2)?, 3),
        b'u' => (hex(4)?, 5),
        other => (other, 1),
    })
}

const AT_WORD_EDGE: &str = "(?:(?<=[0-9A-Z_a-z])(?![0-9A-Z_a-z])|(?<![0-9A-Z_a-z])(?=[0-9A-Z_a-z]))";
const NOT_AT_WORD_EDGE: &str = "(?:(?<=[0-9A-Z_a-z])(?=[0-9A-Z_a-z])|(?<![0-9A-Z_a-z])(?![0-9A-Z_a-z]))";

/// `None`: not an expression that `std::regex` would take.
fn translate(pattern: &[u8]) -> Option<String> {
    let (mut out, mut at) = (String::new(), 0);
    while let Some(b) = pattern.get(at) {
        let rest = &pattern[at..];
        at += match b {
            b'\\' => 1 + escape(&rest[1..], &mut out)?,
            b'[' => {
                let (set, len) = class(rest)?;
                set.write(&mut out);
                len
            }
            b'(' if rest.get(1) == Some(&b'?') => {
                let kind = rest.get(2).filter(|k| matches!(k, b':' | b'=' | b'!'))?;
                out.extend(['(', '?', char::from(*kind)]);
                3
            }
            b'{' => {
                let len = rest.iter().position(|b| *b == b'}')?;
                let times = std::str::from_utf8(&rest[1..len]).ok()?;
                let is_number = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
                times.split_once(',').map_or(is_number(times), |(a, b)| is_number(a) && (b.is_empty() || is_number(b))).then_some(())?;
                out.push_str(&format!("{{{times}}}"));
                len + 1
            }
            _ => {
                plain(*b, &mut out);
                1
            }
        };
    }
    Some(out)
}

fn plain(b: u8, out: &mut String) {
    match b {
        b'.' => Set::new(|b| b != b'\n' && b != b'\r').write(out),
        b'^' => out.push_str(r"\A"),
        b'$' => out.push_str(r"\z"),
        b'(' | b')' | b'|' | b'*' | b'+' | b'?' => out.push(char::from(b)),
        _ => out.push_str(&format!(r"\x{{{b:X}}}")),
    }
}

/// What follows a backslash, outside of a class: how many bytes of it were used.
fn escape(rest: &[u8], out: &mut String) -> Option<usize> {
    let letter = *rest.first()?;
    match letter {
        b'b' => out.push_str(AT_WORD_EDGE),
        b'B' => out.push_str(NOT_AT_WORD_EDGE),
        b'1'..=b'9' => {
            let len = rest.iter().take_while(|b| b.is_ascii_digit()).count();
            out.push_str(&format!(r"(?:\{})", std::str::from_utf8(&rest[..len]).ok()?));
            return Some(len);
        }
        _ if class_escape(letter).is_some() => class_escape(letter)?.write(out),
        _ => {
            let (byte, len) = char_escape(rest)?;
            out.push_str(&format!(r"\x{{{byte:X}}}"));
            return Some(len);
        }
    }
    Some(1)
}

/// `[...]` at the start of `text`: what it holds, and its length.
fn class(text: &[u8]) -> Option<(Set, usize)> {
    let negated = text.get(1) == Some(&b'^');
    let (mut set, mut at) = (Set::new(|_| false), 1 + usize::from(negated));
    while *text.get(at)? != b']' {
        let (low, len) = member(&text[at..])?;
        at += len;
        let is_range = text.get(at) == Some(&b'-') && text.get(at + 1).is_some_and(|b| *b != b']');
        set.add(&match (low, is_range) {
            (Member::Byte(low), true) => {
                let (Member::Byte(high), len) = member(&text[at + 1..])? else { return None };
                at += 1 + len;
                (low <= high).then(|| Set::new(|b| low <= b && b <= high))?
            }
            (Member::Byte(byte), false) => Set::new(|b| b == byte),
            (Member::Set(set), _) => *set,
        });
    }
    Some((if negated { set.not() } else { set }, at + 1))
}

enum Member {
    Byte(u8),
    Set(Box<Set>),
}

fn member(text: &[u8]) -> Option<(Member, usize)> {
    match text {
        [b'[', b':', rest @ ..] => {
            let len = rest.windows(2).position(|w| w == b":]")?;
            Some((Member::Set(Box::new(named_class(&rest[..len])?)), len + 4))
        }
        [b'\\', b'b', ..] => Some((Member::Byte(8), 2)),
        [b'\\', rest @ ..] => match class_escape(*rest.first()?) {
            Some(set) => Some((Member::Set(Box::new(set)), 2)),
            None => char_escape(rest).map(|(byte, len)| (Member::Byte(byte), len + 1)),
        },
        [byte, ..] => Some((Member::Byte(*byte), 1)),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(pattern: &str, text: &str) -> Option<usize> {
        Pattern::new(pattern.as_bytes()).unwrap().find(text.as_bytes())
    }

    #[test]
    fn begins_at_the_first_group_that_holds_something() {
        assert_eq!(find(r"<tool>\s*(\{)", "é <tool> {"), Some(10));
        assert_eq!(find(r"a(x)?b(c)", "zabc"), Some(3));
        assert_eq!(find("b", "abc"), Some(1));
        assert_eq!(find("^abc$", "abcd"), None);
        assert_eq!(find(r"^<\|channel\|>(?:commentary|analysis)\s+to=functions$", "<|channel|>analysis to=functions"), Some(0));
        assert_eq!(find(r">>>(?!all)", ">>>all >>>x"), Some(7));
        assert_eq!(find(r"^a|b$", "zzb"), Some(2));
        assert_eq!(Pattern::of_words(&[b"<t>", b"[a*"]).unwrap().find(b"xx [a* <t>"), Some(3));
    }

    #[test]
    fn bytes_not_characters() {
        assert_eq!((find(".", "é"), find("^..$", "é"), find("^.$", "é")), (Some(0), Some(0), None));
        assert_eq!(Pattern::new(b"\xFFx").unwrap().find(b"\xC3\xFFx"), Some(1));
        assert_eq!((find(r"\w", "é"), find(r"\s", "\u{A0}")), (None, None));
        assert_eq!(find(r"[^\n]\u00e9", "a\n"), None);
    }

    #[test]
    fn escapes_and_classes() {
        for (pattern, text, want) in [
            (r"\<\/\-\_", "</-_", Some(0)),
            (r"[a\]b]\]", "]]", Some(0)),
            ("[[:digit:]_]+", "a1_", Some(1)),
            ("[[]", "[", Some(0)),
            ("[&&a]", "&", Some(0)),
            ("a-[^]", "a-\n", Some(0)),
            ("[]", "a", None),
            (r"(a)\1", "aba", None),
            (r"(a)\1", "baa", Some(1)),
            (r"\bfoo\b", "a foo.", Some(2)),
            (r"[\w-]{2,3}?\x41\t", "b-A\t", Some(0)),
            ("a]}", "a]}", Some(0)),
            (r"[\s\S]*?(<x>)[\s\S]*", "\n<x>\n", Some(1)),
        ] {
            assert_eq!(find(pattern, text), want, "{pattern}");
        }
        for bad in ["(", "[a", "a{2", "a{x}", r"\", "(?<a>b)", "[b-a]", "[[:no:]]", "*"] {
            assert!(Pattern::new(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
