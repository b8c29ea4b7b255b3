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

/// A zeroed vector whose size came from outside: refused memory is an error, not an abort.
pub fn try_zeroed<T: Clone + Default>(n: usize, what: &str) -> Result<Vec<T>> {
    let mut v = Vec::new();
    v.try_reserve_exact(n).map_err(|_| Error::no_memory(format!("no memory for {what} ({n} x {} bytes)", size_of::<T>())))?;
    v.resize(n, T::default());
    Ok(v)
}
