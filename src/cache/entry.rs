//! One entry: a sequence file and behind it what only the cache asks for (the layout is in mod.rs). Written beside its place and renamed; read
//! chunk by chunk, each checked before anybody sees it. Knows nothing of other entries.
use crate::session::Context;
use crate::state;
use crate::state::io::{Count, Sink, Source};
use platform::error::try_zeroed;
use platform::file::{File, Replacement};
use platform::pages::Passing;
use platform::{Error, Result, hash};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes per checksum: who wants the first rows of a plane reads up to two of these.
const CHUNK: usize = 256 << 10;
/// "camelid" and the version of what follows the sequence file.
const MAGIC: u64 = u64::from_le_bytes(*b"camelid\x01");
/// Length of the sequence file, first position present, length of the identity, checksum, magic.
const FOOTER: usize = 8 + 4 + 4 + 8 + 8;
/// Magic, version, number of tokens: how a sequence file begins.
const HEAD: u64 = 12;

// ---- writing

/// Passes bytes on to a file and sums up their chunks.
struct ToEntry<'a> {
    file: &'a mut Replacement,
    written: u64,
    chunk: Vec<u8>,
    sums: Vec<u64>,
}

impl ToEntry<'_> {
    fn close(&mut self) {
        if !self.chunk.is_empty() {
            self.sums.push(hash::of(&self.chunk));
            self.chunk.clear();
        }
    }
    fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - self.chunk.len()));
            self.chunk.extend_from_slice(now);
            if self.chunk.len() == CHUNK {
                self.close();
            }
            bytes = later;
        }
    }
}

impl Sink for ToEntry<'_> {
    fn put_with(&mut self, n: usize, fill: &mut dyn FnMut(&mut [u8]) -> Result<()>) -> Result<()> {
        // Rows come in pieces that the writer chose to fit a core's cache: going over them twice is cheap.
        let mut piece = try_zeroed(n, "a piece of an entry")?;
        fill(&mut piece)?;
        self.file.put(n, &mut |dst| {
            dst.copy_from_slice(&piece);
            Ok(())
        })?;
        self.add(&piece);
        self.written += n as u64;
        Ok(())
    }
    fn written(&self) -> u64 {
        self.written
    }
}

/// What is to be stored.
pub struct New<'a> {
    pub seq: i32,
    pub tokens: &'a [i32],
    pub identity: &'a str,
    /// From this position on every group has everything.
    pub present_from: i32,
}

impl New<'_> {
    /// Exact bytes of the file.
    pub fn bytes(&self, ctx: &mut Context) -> Result<u64> {
        let mut n = Count::default();
        state::write_seq(ctx, self.seq, self.tokens, &mut n)?;
        Ok(n.written() + 8 * n.written().div_ceil(CHUNK as u64) + (self.identity.len() + FOOTER) as u64)
    }

    pub fn write(&self, ctx: &mut Context, path: &Path) -> Result<()> {
        let mut file = Replacement::create(path)?;
        let mut out = ToEntry { file: &mut file, written: 0, chunk: Vec::new(), sums: Vec::new() };
        state::write_seq(ctx, self.seq, self.tokens, &mut out)?;
        out.close();
        let tail = self.tail(out.written, &out.sums);
        file.put(tail.len(), &mut |dst| {
            dst.copy_from_slice(&tail);
            Ok(())
        })?;
        file.finish()
    }

    fn tail(&self, state_len: u64, sums: &[u64]) -> Vec<u8> {
        let mut b: Vec<u8> = sums.iter().flat_map(|s| s.to_le_bytes()).collect();
        b.extend_from_slice(self.identity.as_bytes());
        b.extend(state_len.to_le_bytes());
        b.extend(self.present_from.to_le_bytes());
        b.extend((self.identity.len() as u32).to_le_bytes());
        b.extend(hash::of(&b).to_le_bytes());
        b.extend(MAGIC.to_le_bytes());
        b
    }
}

// ---- reading

/// An entry of which everything but the rows was looked at and is whole.
pub struct Entry {
    file: File,
    /// Bytes of the sequence file.
    len: u64,
    sums: Vec<u64>,
    pub identity: String,
    pub tokens: Vec<i32>,
    pub present_from: i32,
}

/// Why rows did not come.
pub enum Failed {
    /// The file is not what was written: it should go.
    Damaged(Error),
    /// Nothing is wrong with the entry.
    Refused(Error),
}

impl Entry {
    /// Reads the end and the tokens: a few pages of a file of any size.
    pub fn open(path: &Path) -> Result<Entry> {
        let file = File::open(path)?;
        let told = |what: &str| Error::invalid(format!("{}: {what}", file.name()));
        let foot: [u8; FOOTER] = at(&file, file.size().checked_sub(FOOTER as u64).ok_or_else(|| told("too short for an entry"))?)?;
        let (len, present_from, identity_len) = (u64_of(&foot[..8]), u32_of(&foot[8..12]) as i32, u64::from(u32_of(&foot[12..16])));
        let n_sums = len.div_ceil(CHUNK as u64);
        let whole = [8 * n_sums, identity_len, FOOTER as u64].iter().try_fold(len, |n, m| n.checked_add(*m));
        if u64_of(&foot[24..]) != MAGIC || len < HEAD || whole != Some(file.size()) {
            return Err(told("not an entry, or cut off"));
        }
        let mut tail: Vec<u8> = try_zeroed((8 * n_sums + identity_len) as usize + 16, "an entry's checksums")?;
        file.read_exact_at(len, &mut tail)?;
        if hash::of(&tail) != u64_of(&foot[16..24]) {
            return Err(told("its checksums do not fit"));
        }
        let (sums, rest) = tail.split_at(8 * n_sums as usize);
        let identity = String::from_utf8_lossy(&rest[..identity_len as usize]).into_owned();
        let tokens = tokens(&file, len)?;
        Ok(Entry { len, sums: sums.chunks_exact(8).map(u64_of).collect(), identity, tokens, present_from, file })
    }

    /// Puts the first `n` positions into `seq` in place of what it has. After an error everything is as it was.
    pub fn load(&self, ctx: &mut Context, seq: i32, n: usize) -> std::result::Result<(), Failed> {
        let src = Checked { entry: self, pages: Passing::new(&self.file), last: Mutex::default(), damaged: AtomicBool::new(false) };
        let done = state::read_seq(ctx, &src, seq, usize::MAX, i32::try_from(n).unwrap_or(i32::MAX));
        match done {
            Ok(_) => Ok(()),
            Err(e) if src.damaged.load(Ordering::Relaxed) => Err(Failed::Damaged(e)),
            Err(e) => Err(Failed::Refused(e)),
        }
    }
}

fn at<const N: usize>(file: &File, at: u64) -> Result<[u8; N]> {
    let mut b = [0; N];
    file.read_exact_at(at, &mut b)?;
    Ok(b)
}

fn u64_of(b: &[u8]) -> u64 {
    b.first_chunk().map_or(0, |b| u64::from_le_bytes(*b))
}

fn u32_of(b: &[u8]) -> u32 {
    b.first_chunk().map_or(0, |b| u32::from_le_bytes(*b))
}

fn tokens(file: &File, len: u64) -> Result<Vec<i32>> {
    let n = u32_of(&at::<{ HEAD as usize }>(file, 0)?[8..]);
    if u64::from(n) > (len - HEAD) / 4 {
        return Err(Error::invalid(format!("{}: too short for {n} tokens", file.name())));
    }
    let mut bytes: Vec<u8> = try_zeroed(4 * n as usize, "tokens")?;
    file.read_exact_at(HEAD, &mut bytes)?;
    Ok(bytes.chunks_exact(4).map(|b| u32_of(b) as i32).collect())
}

/// The sequence file in an entry: nothing of a chunk is given out before its checksum was seen to fit.
struct Checked<'a> {
    entry: &'a Entry,
    pages: Passing<'a>,
    /// The chunk that was wanted in part last, and its number plus one.
    last: Mutex<(u64, Vec<u8>)>,
    damaged: AtomicBool,
}

impl Checked<'_> {
    fn chunk(&self, i: u64, dst: &mut [u8]) -> Result<()> {
        self.pages.read_exact_at(i * CHUNK as u64, dst)?;
        if self.entry.sums.get(i as usize) == Some(&hash::of(dst)) {
            return Ok(());
        }
        self.damaged.store(true, Ordering::Relaxed);
        Err(Error::invalid(format!("{} is damaged at {}", self.entry.file.name(), i * CHUNK as u64)))
    }

    /// `dst` from `from` bytes into chunk `i`.
    fn part(&self, i: u64, from: usize, dst: &mut [u8]) -> Result<()> {
        let whole = CHUNK.min((self.entry.len - i * CHUNK as u64) as usize);
        if dst.len() == whole {
            return self.chunk(i, dst);
        }
        let mut last = self.last.lock().unwrap_or_else(|p| p.into_inner());
        if last.0 != i + 1 {
            let mut bytes = std::mem::take(&mut last.1);
            bytes.resize(whole, 0);
            self.chunk(i, &mut bytes)?;
            *last = (i + 1, bytes);
        }
        dst.copy_from_slice(&last.1[from..from + dst.len()]);
        Ok(())
    }
}

impl Source for Checked<'_> {
    fn len(&self) -> u64 {
        self.entry.len
    }
    fn read(&self, at: u64, dst: &mut [u8]) -> Result<()> {
        if at.checked_add(dst.len() as u64).is_none_or(|end| end > self.entry.len) {
            self.damaged.store(true, Ordering::Relaxed);
            return Err(Error::invalid(format!("{} ends too early", self.entry.file.name())));
        }
        let mut done = 0;
        while done < dst.len() {
            let (i, from) = ((at + done as u64) / CHUNK as u64, ((at + done as u64) % CHUNK as u64) as usize);
            let n = (CHUNK - from).min(dst.len() - done);
            self.part(i, from, &mut dst[done..done + n])?;
            done += n;
        }
        Ok(())
    }
    fn bytes(&self, _: u64, _: usize) -> Option<&[u8]> {
        None
    }
}
