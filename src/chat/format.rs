//! How a format is written down: most are a text around each role's content, the rest are functions. Knows no single format.
use super::Message;

pub enum Format {
    Turns(Turns),
    Written(fn(&[Message<'_>], bool) -> Vec<u8>),
}

/// A format in which every message stands for itself.
pub struct Turns {
    pub start: &'static str,
    /// A system message in first place, where it differs from one in between.
    pub first_system: Option<Wrap>,
    pub roles: &'static [(&'static str, Wrap)],
    /// Roles not listed; `None` leaves their messages out.
    pub other: Option<Wrap>,
    /// What opens the answer.
    pub open: &'static str,
}

/// Text around a content. In `before`, `{role}` stands for the role, `{Role}` and `{ROLE}` for it capitalized and in capitals.
pub struct Wrap {
    pub before: &'static str,
    pub after: &'static str,
    pub trim: bool,
}

/// The content as it is.
pub const fn raw(before: &'static str, after: &'static str) -> Wrap {
    Wrap { before, after, trim: false }
}

/// The content without white space around it.
pub const fn trimmed(before: &'static str, after: &'static str) -> Wrap {
    Wrap { before, after, trim: true }
}

impl Turns {
    pub const NONE: Turns = Turns { start: "", first_system: None, roles: &[], other: None, open: "" };

    pub fn write(&self, messages: &[Message<'_>], add_assistant: bool) -> Vec<u8> {
        let mut out = self.start.as_bytes().to_vec();
        for (i, m) in messages.iter().enumerate() {
            if let Some(wrap) = self.wrap(i, m.role) {
                wrap.write(&mut out, m);
            }
        }
        if add_assistant {
            out.extend_from_slice(self.open.as_bytes());
        }
        out
    }

    fn wrap(&self, i: usize, role: &[u8]) -> Option<&Wrap> {
        let first_system = self.first_system.as_ref().filter(|_| i == 0 && role == b"system");
        let listed = || self.roles.iter().find(|(name, _)| name.as_bytes() == role).map(|(_, wrap)| wrap);
        first_system.or_else(listed).or(self.other.as_ref())
    }
}

impl Wrap {
    fn write(&self, out: &mut Vec<u8>, m: &Message<'_>) {
        write_role(out, self.before, m.role);
        out.extend_from_slice(if self.trim { trim(m.content) } else { m.content });
        out.extend_from_slice(self.after.as_bytes());
    }
}

fn write_role(out: &mut Vec<u8>, before: &str, role: &[u8]) {
    let (head, mark, tail) = ["{role}", "{Role}", "{ROLE}"]
        .iter()
        .find_map(|mark| before.split_once(mark).map(|(head, tail)| (head, *mark, tail)))
        .unwrap_or((before, "", ""));
    out.extend_from_slice(head.as_bytes());
    let at = out.len();
    if !mark.is_empty() {
        out.extend_from_slice(role);
    }
    let capitals = if mark == "{ROLE}" { role.len() } else { role.len().min(1) };
    if mark == "{ROLE}" || mark == "{Role}" {
        out[at..at + capitals].make_ascii_uppercase();
    }
    out.extend_from_slice(tail.as_bytes());
}

/// Without the white space of C's `isspace` at both ends.
pub fn trim(s: &[u8]) -> &[u8] {
    let text = |b: &u8| !(b.is_ascii_whitespace() || *b == 0x0B);
    match (s.iter().position(text), s.iter().rposition(text)) {
        (Some(first), Some(last)) => &s[first..=last],
        _ => &[],
    }
}

impl Format {
    pub fn write(&self, messages: &[Message<'_>], add_assistant: bool) -> Vec<u8> {
        match self {
            Format::Turns(t) => t.write(messages, add_assistant),
            Format::Written(f) => f(messages, add_assistant),
        }
    }
}
