//! The files of one model, open: headers joined, tensor bytes by map or by read. Does not know what a tensor is for.
use super::{Gguf, Meta, TensorInfo, parse, split_path, split_prefix};
use platform::file::{Direct, File};
use platform::mmap::{FileMap, Use};
use platform::{Error, Result, log};
use std::collections::HashSet;
use std::ffi::OsString;
use std::io::BufReader;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// `llama_load_mode`, with its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i32)]
pub enum LoadMode {
    /// The loader decides; on a CPU that is `Mmap`.
    #[default]
    Auto = -1,
    None = 0,
    Mmap = 1,
    Mlock = 2,
    MmapMlock = 3,
    DirectIo = 4,
}

impl LoadMode {
    /// (mode, the original's name).
    pub const TABLE: &[(LoadMode, &str)] = &[
        (LoadMode::Auto, "auto"),
        (LoadMode::None, "none"),
        (LoadMode::Mmap, "mmap"),
        (LoadMode::Mlock, "mlock"),
        (LoadMode::MmapMlock, "mmap+mlock"),
        (LoadMode::DirectIo, "dio"),
    ];
    pub fn name(self) -> &'static str {
        Self::TABLE.iter().find(|r| r.0 == self).map_or("auto", |r| r.1)
    }
    pub fn from_name(name: &str) -> Option<LoadMode> {
        Self::TABLE.iter().find(|r| r.1 == name).map(|r| r.0)
    }
    /// From `llama_load_mode`'s number.
    pub fn from_number(n: i32) -> Option<LoadMode> {
        Self::TABLE.iter().find(|r| r.0 as i32 == n).map(|r| r.0)
    }
    fn maps(self) -> bool {
        matches!(self, LoadMode::Auto | LoadMode::Mmap | LoadMode::MmapMlock)
    }
    /// Pages are to be kept in memory: those of the map, or those the loader reads into.
    pub fn locks(self) -> bool {
        matches!(self, LoadMode::Mlock | LoadMode::MmapMlock)
    }
}

/// A model's tensors are at file offsets that kernels may use as they are.
const MAP_ALIGNMENT: u64 = 32;
/// Header reads: vocabularies are megabytes of small strings.
const HEADER_BUFFER: usize = 1 << 18;
const SPLIT_NO: &str = "split.no";
const SPLIT_COUNT: &str = "split.count";
const SPLIT_TENSORS: &str = "split.tensors.count";

/// One file and the ways into it.
struct Part {
    file: Arc<File>,
    map: Option<Arc<FileMap>>,
    direct: Option<Direct>,
}

/// One model: 1 to n files, open. Cheap to share: reading needs no lock, maps live as long as anybody holds them.
pub struct Source {
    gguf: Gguf,
    parts: Vec<Part>,
    mode: LoadMode,
    lock_refused: AtomicBool,
}

impl Source {
    /// A file, and the other parts if it is the first of several.
    pub fn open(path: &Path, mode: LoadMode) -> Result<Source> {
        let mut s = Self::first(path, mode)?;
        let n = s.split_count()?;
        if n > 1 {
            let paths = other_paths(path, n).ok_or_else(|| Error::invalid(format!("invalid split file name: {}", path.display())))?;
            s.join(&paths)?;
        }
        Ok(s)
    }
    /// The parts by name, in order.
    pub fn open_splits(paths: &[PathBuf], mode: LoadMode) -> Result<Source> {
        let (first, rest) = paths.split_first().ok_or_else(|| Error::invalid("list of splits is empty"))?;
        let mut s = Self::first(first, mode)?;
        let n = s.split_count()?;
        if paths.len() != usize::from(n.max(1)) {
            return Err(Error::invalid(format!("invalid split count, given: {} splits, but expected {n}", paths.len())));
        }
        if n > 1 {
            s.join(rest)?;
        }
        Ok(s)
    }
    /// One model from an open file whose header is at `start`. The file's own position is neither used nor moved.
    pub fn from_file(file: std::fs::File, start: u64, mode: LoadMode) -> Result<Source> {
        let file = File::from_std(file, "(file*)")?;
        let gguf = header(&file, start, 0)?;
        if mode.maps() && !gguf.data_offset.is_multiple_of(MAP_ALIGNMENT) {
            let at = gguf.data_offset;
            return Err(Error::invalid(format!("GGUF data section at file offset {at} is not {MAP_ALIGNMENT} byte aligned, cannot mmap")));
        }
        Ok(Self::of(gguf, Part::new(file, None, mode), mode))
    }
    fn first(path: &Path, mode: LoadMode) -> Result<Source> {
        let file = File::open(path)?;
        let gguf = header(&file, 0, 0)?;
        Ok(Self::of(gguf, Part::new(file, Some(path), mode), mode))
    }
    fn of(gguf: Gguf, part: Part, mode: LoadMode) -> Source {
        Source { gguf, parts: vec![part], mode, lock_refused: AtomicBool::new(false) }
    }

    /// How many files the first says there are; 0 or 1 for a model in one file. Errs where this file is not the first.
    fn split_count(&self) -> Result<u16> {
        let (meta, name) = (&self.gguf.meta, self.parts[0].file.name());
        let n = u16_key(meta, SPLIT_COUNT)?.unwrap_or(0);
        let no = if n > 1 { meta.required(SPLIT_NO, u16_key(meta, SPLIT_NO))? } else { 0 };
        match no {
            0 => Ok(n),
            _ => Err(Error::invalid(format!("illegal split file idx: {no} (file: {name}), model must be loaded with the first split"))),
        }
    }
    /// Adds parts 1.. and checks that they make the whole that the first file promised.
    fn join(&mut self, paths: &[PathBuf]) -> Result<()> {
        for (i, path) in paths.iter().enumerate() {
            let file = File::open(path)?;
            self.add(header(&file, 0, i as u16 + 1)?, path, i + 1)?;
            self.parts.push(Part::new(file, Some(path), self.mode));
        }
        let meta = &self.gguf.meta;
        let (wanted, found) = (meta.required(SPLIT_TENSORS, meta.i32(SPLIT_TENSORS))?, self.gguf.tensors.len());
        if usize::try_from(wanted) != Ok(found) {
            return Err(Error::invalid(format!("corrupted model: {wanted} tensors expected but {found} found")));
        }
        log::info(format_args!("additional {} GGUFs metadata loaded.", paths.len()));
        Ok(())
    }
    /// The tensors of part `no`; of its key/values only the part's number counts.
    fn add(&mut self, part: Gguf, path: &Path, no: usize) -> Result<()> {
        let path = path.display();
        let said = u16_key(&part.meta, SPLIT_NO)?.ok_or_else(|| Error::invalid(format!("missing key {SPLIT_NO} in GGUF split {path}")))?;
        if usize::from(said) != no {
            return Err(Error::invalid(format!("invalid split file idx: {said} (file: {path}), expected {no}")));
        }
        let seen: HashSet<&str> = self.gguf.tensors.iter().map(|t| t.name.as_str()).collect();
        if let Some(t) = part.tensors.iter().find(|t| seen.contains(t.name.as_str())) {
            return Err(Error::invalid(format!("invalid model: tensor '{}' is duplicated", t.name)));
        }
        self.gguf.tensors.extend(part.tensors);
        Ok(())
    }

    pub fn gguf(&self) -> &Gguf {
        &self.gguf
    }
    /// The same files once more, for reading their tensors later on: without maps and key/values.
    pub fn tensors_only(&self) -> Source {
        let parts = self.parts.iter().map(|p| Part { file: p.file.clone(), map: None, direct: None }).collect();
        let gguf = Gguf { tensors: self.gguf.tensors.clone(), ..Gguf::default() };
        Source { gguf, parts, mode: LoadMode::None, lock_refused: AtomicBool::new(false) }
    }
    /// For overrides, before anything is read from the key/values.
    pub fn meta_mut(&mut self) -> &mut Meta {
        &mut self.gguf.meta
    }
    /// What was asked for.
    pub fn mode(&self) -> LoadMode {
        self.mode
    }
    /// All files are mapped, so that every tensor has `tensor_bytes`.
    pub fn is_mapped(&self) -> bool {
        self.parts.iter().all(|p| p.map.is_some())
    }
    pub fn n_files(&self) -> usize {
        self.parts.len()
    }
    pub fn file_name(&self, file: u16) -> &str {
        self.parts.get(usize::from(file)).map_or("", |p| p.file.name())
    }
    /// The tensor's bytes in the map; `None` where its file is not mapped.
    pub fn tensor_bytes(&self, t: &TensorInfo) -> Option<&[u8]> {
        let map = self.parts.get(usize::from(t.file))?.map.as_ref()?;
        map.bytes().get(span(t)?)
    }
    /// The map of a file, to be held longer than this `Source` (offsets are `TensorInfo::offset`).
    pub fn map(&self, file: u16) -> Option<Arc<FileMap>> {
        self.parts.get(usize::from(file))?.map.clone()
    }
    /// Copies a whole tensor; `dst` has its length. Any thread, any number at once.
    pub fn read_tensor(&self, t: &TensorInfo, dst: &mut [u8]) -> Result<()> {
        match dst.len() as u64 == t.bytes {
            true => self.read_range(t, 0, dst),
            false => Err(Error::invalid(format!("tensor {}: {} bytes wanted, it has {}", t.name, dst.len(), t.bytes))),
        }
    }
    /// Copies `dst.len()` bytes from `from` on, counted from the tensor's start.
    pub fn read_range(&self, t: &TensorInfo, from: u64, dst: &mut [u8]) -> Result<()> {
        let n = dst.len();
        let outside = || Error::invalid(format!("tensor {}: {n} bytes wanted at {from}, it has {}", t.name, t.bytes));
        from.checked_add(n as u64).filter(|end| *end <= t.bytes).ok_or_else(outside)?;
        let part = self.parts.get(usize::from(t.file)).ok_or_else(outside)?;
        let at = t.offset.checked_add(from).ok_or_else(outside)?;
        part.read(at, dst).map_err(|e| e.within(format_args!("tensor {}", t.name)))
    }
    /// `read_tensor` by several threads.
    pub fn read_tensor_parallel(&self, t: &TensorInfo, dst: &mut [u8], n_threads: usize) -> Result<()> {
        if dst.len() as u64 != t.bytes {
            return self.read_tensor(t, dst);
        }
        platform::file::read_parallel(0, dst, n_threads, |from, part| self.read_range(t, from, part))
    }
    /// Starts reading the mapped files ahead.
    pub fn prefetch(&self) {
        for map in self.parts.iter().filter_map(|p| p.map.as_ref()) {
            map.advise(0..map.bytes().len(), Use::Soon);
        }
    }
    /// Keeps a mapped tensor in memory if the mode asks for it. Refusal is told once and changes nothing else.
    pub fn lock_tensor(&self, t: &TensorInfo) -> bool {
        let Some(map) = self.parts.get(usize::from(t.file)).and_then(|p| p.map.as_ref()) else { return false };
        if !self.mode.locks() || self.lock_refused.load(Ordering::Relaxed) {
            return false;
        }
        let done = span(t).ok_or_else(|| Error::invalid("a tensor beyond the address space")).and_then(|s| map.lock(s));
        if let Err(e) = &done
            && !self.lock_refused.swap(true, Ordering::Relaxed)
        {
            log::warn(format_args!("the model is not locked in memory: {e}"));
        }
        done.is_ok()
    }
}

impl Part {
    fn new(file: File, path: Option<&Path>, mode: LoadMode) -> Part {
        let map = if mode.maps() { FileMap::new(&file).map_err(|e| log::warn(format_args!("{e}; reading instead"))).ok() } else { None };
        let direct = if mode == LoadMode::DirectIo { path.and_then(Direct::open) } else { None };
        Part { file: Arc::new(file), map: map.map(Arc::new), direct }
    }
    fn read(&self, at: u64, dst: &mut [u8]) -> Result<()> {
        // A file system may open for direct I/O and refuse the read itself; the plain read then has the last word.
        match &self.direct {
            Some(d) if d.read_exact_at(at, dst).is_ok() => Ok(()),
            _ => self.file.read_exact_at(at, dst),
        }
    }
}

/// Through reads even where the file will be mapped: a header is read once, in order.
fn header(file: &File, start: u64, no: u16) -> Result<Gguf> {
    let of_file = |e: Error| e.within(file.name());
    let len = file
        .size()
        .checked_sub(start)
        .ok_or_else(|| of_file(Error::invalid(format!("no GGUF at {start}, the file has {} bytes", file.size()))))?;
    parse(&mut BufReader::with_capacity(HEADER_BUFFER, file.stream(start)), start, len, no).map_err(of_file)
}

fn u16_key(meta: &Meta, key: &str) -> Result<Option<u16>> {
    let wide = meta.u32(key)?;
    wide.map(|v| u16::try_from(v).map_err(|_| Error::invalid(format!("key {key}: {v} is not a u16")))).transpose()
}

/// Parts 1.. of the model whose part 0 is `path`; `None` if `path` is not named like one.
fn other_paths(path: &Path, n: u16) -> Option<Vec<PathBuf>> {
    let prefix = split_prefix(path.as_os_str().as_bytes(), 0, n.into())?;
    Some((1..n).map(|i| OsString::from_vec(split_path(prefix, i.into(), n.into())).into()).collect())
}

fn span(t: &TensorInfo) -> Option<std::ops::Range<usize>> {
    Some(usize::try_from(t.offset).ok()?..usize::try_from(t.offset.checked_add(t.bytes)?).ok()?)
}
