//! What memory that a context fills lies in: a choice of the caller, or of `CAMELID_KV`.
use crate::{env, log};
use std::path::PathBuf;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Backing {
    /// Anonymous pages that come with use and go without.
    #[default]
    Mmap,
    /// One allocation, touched when it is made, kept until the end.
    Heap,
    /// A nameless file in this folder: pages go to the disk when memory is short.
    File(PathBuf),
}

impl Backing {
    /// `mmap`, `heap` or `file:DIR`.
    pub fn parse(s: &str) -> Option<Backing> {
        match s.split_once(':') {
            None if s == "mmap" => Some(Backing::Mmap),
            None if s == "heap" => Some(Backing::Heap),
            Some(("file", dir)) if !dir.is_empty() => Some(Backing::File(dir.into())),
            _ => None,
        }
    }
    /// What `CAMELID_KV` asks for.
    pub fn from_env() -> Backing {
        let Some(s) = env::get("CAMELID_KV") else { return Backing::default() };
        Backing::parse(&s).unwrap_or_else(|| {
            log::warn(format!("CAMELID_KV={s}: not mmap, heap or file:DIR; using mmap"));
            Backing::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_understood() {
        assert_eq!(Backing::parse("mmap"), Some(Backing::Mmap));
        assert_eq!(Backing::parse("heap"), Some(Backing::Heap));
        assert_eq!(Backing::parse("file:/var/x:y"), Some(Backing::File("/var/x:y".into())));
        for bad in ["", "file", "file:", "heap:x", "MMAP"] {
            assert_eq!(Backing::parse(bad), None, "{bad}");
        }
    }
}
