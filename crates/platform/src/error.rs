//! The one error type of the crate: what went wrong, in words that name the thing, and a kind for those who must map it to a C code.
use std::fmt;

pub type Result<T> = std::result::Result<T, Error>;

/// What a caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The input (a file, a blob, an argument) is wrong; nothing was changed.
    Invalid,
    /// The system refused memory or disk.
    NoMemory,
    /// The operating system said no; the message holds its words.
    Io,
    /// Valid, but not built yet.
    Unsupported,
    /// The caller's callback asked to stop.
    Cancelled,
}

#[derive(Clone, Debug)]
pub struct Error {
    pub kind: Kind,
    what: String,
}

impl Error {
    pub fn new(kind: Kind, what: impl Into<String>) -> Error {
        Error { kind, what: what.into() }
    }
    pub fn invalid(what: impl Into<String>) -> Error {
        Error::new(Kind::Invalid, what)
    }
    pub fn unsupported(what: impl Into<String>) -> Error {
        Error::new(Kind::Unsupported, what)
    }
    pub fn no_memory(what: impl Into<String>) -> Error {
        Error::new(Kind::NoMemory, what)
    }
    pub fn io(what: impl fmt::Display, e: std::io::Error) -> Error {
        Error::new(Kind::Io, format!("{what}: {e}"))
    }
    /// The same error, told from one level further out: `outer: inner`.
    #[must_use]
    pub fn within(self, outer: impl fmt::Display) -> Error {
        Error { kind: self.kind, what: format!("{outer}: {}", self.what) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}
impl std::error::Error for Error {}

/// From here on it is worth asking the system what it has.
const LARGE: usize = 256 << 20;

/// Bytes that can be touched without the kernel ending somebody.
fn available() -> usize {
    usize::try_from(crate::pressure::available(std::path::Path::new("/"))).unwrap_or(usize::MAX)
}

/// A zeroed vector whose size came from outside: refused memory is an error, not an abort. All of it is touched, so what the system would
/// promise but does not have is refused too.
pub fn try_zeroed<T: Clone + Default>(n: usize, what: &str) -> Result<Vec<T>> {
    let mut v = Vec::new();
    let refused = || Error::no_memory(format!("no memory for {what} ({n} x {} bytes)", size_of::<T>()));
    if n.checked_mul(size_of::<T>()).is_none_or(|bytes| bytes > LARGE && bytes > available()) {
        return Err(refused());
    }
    v.try_reserve_exact(n).map_err(|_| refused())?;
    v.resize(n, T::default());
    Ok(v)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_does_not_have_is_refused_untouched() {
        assert_eq!(try_zeroed::<u32>(3, "a few").expect("small"), [0; 3]);
        assert!(available() > 0);
        for n in [usize::MAX, usize::MAX / 8, available() / 7] {
            let e = try_zeroed::<u64>(n, "too much").expect_err("refused");
            assert!(e.kind == Kind::NoMemory && e.to_string().contains("too much"));
        }
    }
}
