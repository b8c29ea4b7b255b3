//! `mmap.rs` for platforms without maps (`--cfg camelid_no_mmap`): the same names, memory from the heap, files refused so that they are read.
use crate::error::{Error, Result};
use crate::file::File;
use crate::heap::Heap;
use std::ops::Range;
use std::path::Path;

/// What sizes are rounded to; nothing is done by page here.
pub fn page_size() -> usize {
    4096
}

/// What a file map will be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Soon,
    Random,
}

fn none<T>() -> Result<T> {
    Err(Error::unsupported("this build has no memory maps"))
}

/// Never made here.
pub enum FileMap {}

impl FileMap {
    pub fn new(_: &File) -> Result<FileMap> {
        none()
    }
    pub fn bytes(&self) -> &[u8] {
        match *self {}
    }
    pub fn advise(&self, _: Range<usize>, _: Use) {}
    pub fn let_go(&self, _: Range<usize>) {}
    pub fn lock(&self, _: Range<usize>) -> Result<()> {
        none()
    }
}

/// Zeroed bytes of one owner.
#[derive(Debug)]
pub struct Owned(Vec<u8>);

impl Owned {
    pub fn new(bytes: usize) -> Result<Owned> {
        crate::error::try_zeroed(bytes.max(1), "bytes").map(Owned)
    }
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// Zeroed heap memory; what is touched stays touched.
pub struct Anon(Heap);

impl Anon {
    pub fn new(bytes: usize) -> Result<Anon> {
        Heap::new(bytes).map(Anon)
    }
    pub fn reserve(bytes: usize) -> Result<Anon> {
        Anon::new(bytes)
    }
    pub fn as_ptr(&self) -> *mut u8 {
        self.0.as_ptr()
    }
    pub fn len(&self) -> usize {
        self.0.len()
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub fn huge_pages(&self, _: Range<usize>, _: bool) {}
    /// Heap memory is kept.
    ///
    /// # Safety
    /// None needed here; see the map's.
    pub unsafe fn release(&self, _: Range<usize>) -> Result<()> {
        Ok(())
    }
    /// It is there already.
    ///
    /// # Safety
    /// None needed here; see the map's.
    pub unsafe fn populate(&self, range: Range<usize>) -> Result<()> {
        match range.end <= self.len() {
            true => Ok(()),
            false => Err(Error::invalid(format!("bytes {range:?} of {}", self.len()))),
        }
    }
    pub fn resident(&self, range: Range<usize>) -> Result<usize> {
        Ok(range.len())
    }
    pub fn lock(&self, _: Range<usize>) -> Result<()> {
        none()
    }
}

/// Never made here.
pub enum Backed {}

impl Backed {
    pub fn new(_: &Path, _: usize) -> Result<Backed> {
        none()
    }
    pub fn as_ptr(&self) -> *mut u8 {
        match *self {}
    }
    pub fn len(&self) -> usize {
        match *self {}
    }
    pub fn is_empty(&self) -> bool {
        match *self {}
    }
    pub fn populate(&self, _: Range<usize>) -> Result<()> {
        match *self {}
    }
    /// # Safety
    /// There is none of its kind.
    pub unsafe fn release(&self, _: Range<usize>) -> Result<()> {
        match *self {}
    }
    pub fn rest(&self, _: &dyn Fn() -> bool) {}
    pub fn resident(&self, _: Range<usize>) -> Result<usize> {
        match *self {}
    }
    pub fn on_disk(&self) -> u64 {
        match *self {}
    }
}
