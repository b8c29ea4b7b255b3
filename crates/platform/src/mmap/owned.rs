//! Bytes of one owner on pages of their own.
use crate::error::{Error, Result};
use memmap2::{Advice, MmapMut, MmapOptions};

/// Zero-filled bytes whose pages go back to the system with them: what lies for long and is freed in any order would leave holes in the heap.
#[derive(Debug)]
pub struct Owned {
    map: MmapMut,
}

impl Owned {
    /// `bytes` that are there: memory that the system does not have is an error here. At least one byte.
    pub fn new(bytes: usize) -> Result<Owned> {
        let no = |e: std::io::Error| Error::no_memory(format!("no memory for {bytes} bytes: {e}"));
        let map = MmapOptions::new().len(bytes.max(1)).map_anon().map_err(no)?;
        match map.advise(Advice::PopulateWrite) {
            // Kernels before 5.14 touch them later.
            Err(e) if e.raw_os_error() != Some(libc::EINVAL) => Err(no(e)),
            _ => Ok(Owned { map }),
        }
    }
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.map
    }
}

#[cfg(test)]
mod tests {
    use super::super::page_size;
    use super::*;

    #[test]
    fn owned_bytes_are_there_or_refused() {
        let mut o = Owned::new(3 * page_size() + 1).unwrap();
        assert!(o.bytes().iter().all(|b| *b == 0) && o.bytes().len() == 3 * page_size() + 1);
        o.bytes_mut()[page_size()] = 9;
        assert_eq!(o.bytes()[page_size()], 9);
        assert!(Owned::new(usize::MAX / 2).is_err());
    }
}
