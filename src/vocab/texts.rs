//! Token texts in one arena, found by id or by text. The only door to `hashbrown`.
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use platform::{Error, Result};
use std::ffi::CStr;
use std::hash::BuildHasher;

/// A map with a fast hash that is seeded per process, so that a hostile file cannot choose its collisions.
pub type Map<K, V> = HashMap<K, V>;

/// Texts numbered 0.. in order of arrival. None holds a NUL, and each is followed by one: C gets its pointer from here.
#[derive(Default)]
pub struct Texts {
    bytes: Vec<u8>,
    /// Where text `id` starts; it ends one byte (the NUL) before the next start.
    starts: Vec<usize>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Texts {
    /// An empty list with room for what a file announces.
    pub fn with_capacity(n_texts: usize, n_bytes: usize) -> Result<Texts> {
        let mut t = Texts::default();
        let no_memory = || Error::no_memory(format!("no memory for {n_texts} token texts"));
        t.bytes.try_reserve_exact(n_bytes.saturating_add(n_texts)).map_err(|_| no_memory())?;
        t.starts.try_reserve_exact(n_texts).map_err(|_| no_memory())?;
        t.index.try_reserve(n_texts, |_| 0).map_err(|_| no_memory())?;
        Ok(t)
    }

    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Adds a text under the next id; what follows a NUL is dropped. Returns the id that had the same text: the newest is found from now on.
    pub fn push(&mut self, text: &[u8]) -> Option<u32> {
        let text = text.split(|b| *b == 0).next().unwrap_or_default();
        let (id, hash) = (self.starts.len() as u32, self.hasher.hash_one(text));
        self.starts.push(self.bytes.len());
        self.bytes.extend_from_slice(text);
        self.bytes.push(0);
        let Texts { bytes, starts, index, hasher } = self;
        let of = |id: u32| slice(bytes, starts, id);
        if let Some(old) = index.find_mut(hash, |old| of(*old) == text) {
            return Some(std::mem::replace(old, id));
        }
        index.insert_unique(hash, id, |id| hasher.hash_one(of(*id)));
        None
    }

    /// The text of an id; empty for an id that is not there.
    pub fn get(&self, id: u32) -> &[u8] {
        slice(&self.bytes, &self.starts, id)
    }

    pub fn get_c(&self, id: u32) -> Option<&CStr> {
        CStr::from_bytes_until_nul(self.bytes.get(*self.starts.get(id as usize)?..)?).ok()
    }

    pub fn find(&self, text: &[u8]) -> Option<u32> {
        self.index.find(self.hasher.hash_one(text), |id| self.get(*id) == text).copied()
    }
}

fn slice<'a>(bytes: &'a [u8], starts: &[usize], id: u32) -> &'a [u8] {
    let Some(start) = starts.get(id as usize) else { return &[] };
    let next = starts.get(id as usize + 1).copied().unwrap_or(bytes.len());
    &bytes[*start..next - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_pushed() {
        let mut t = Texts::with_capacity(2, 4).unwrap();
        assert_eq!((t.push(b"a"), t.push(b"b\0c"), t.push(b""), t.push(b"a")), (None, None, None, Some(0)));
        assert_eq!((t.find(b"a"), t.find(b"b"), t.find(b""), t.find(b"c")), (Some(3), Some(1), Some(2), None));
        assert_eq!((t.get(0), t.get(1), t.get(2), t.get(9)), (&b"a"[..], &b"b"[..], &b""[..], &b""[..]));
        assert_eq!((t.get_c(1), t.get_c(9), t.len()), (Some(c"b"), None, 4));
    }
}
