//! Session files (a whole context) and sequence files, both with the tokens they were saved with. Written beside the old one and renamed.
use super::form::{Layout, Parts};
use super::io::{Reader, Sink, Source, ToFile};
use super::{What, check_model, read_blob, write_blob, write_state};
use crate::session::Context;
use platform::file::{File, Replacement};
use platform::pages::Passing;
use platform::{Error, Result};
use std::path::Path;

/// `LLAMA_SESSION_MAGIC` ("ggsn") and `LLAMA_STATE_SEQ_MAGIC` ("ggsq").
const SESSION: u32 = 0x6767_736e;
const SEQUENCE: u32 = 0x6767_7371;

/// What a file held besides the state.
#[derive(Debug)]
pub struct FileTokens {
    pub tokens: Vec<i32>,
    /// Bytes of the file that were read.
    pub n_read: u64,
}

fn header(what: What, tokens: &[i32], out: &mut dyn Sink) -> Result<()> {
    let (magic, version) = if what == What::Everything { (SESSION, 10) } else { (SEQUENCE, 3) };
    out.put_u32(magic)?;
    out.put_u32(version)?;
    out.put_u32(u32::try_from(tokens.len()).map_err(|_| Error::invalid(format!("{} tokens", tokens.len())))?)?;
    tokens.iter().try_for_each(|t| out.put(&t.to_le_bytes()))
}

/// Saves a whole context; the bytes of the file.
pub fn save_session(ctx: &mut Context, path: &Path, tokens: &[i32]) -> Result<u64> {
    save(ctx, path, What::Everything, tokens, |ctx, out| write_state(ctx, What::Everything, out))
}

/// Saves one sequence; the bytes of the file.
pub fn save_seq(ctx: &mut Context, path: &Path, seq: i32, tokens: &[i32]) -> Result<u64> {
    let what = What::Seq { seq, partial: false };
    let parts = what.parts(ctx)?;
    save(ctx, path, what, tokens, |ctx, out| write_blob(ctx, &parts, out))
}

/// A sequence file to anywhere, with all cells of the sequence that are still there: also those that its windows hide by now, which a plain
/// sequence file leaves out, and in order of position. Whoever reads it can rewind as far as the one who wrote it, and may read a first part.
pub fn write_seq(ctx: &mut Context, seq: i32, tokens: &[i32], out: &mut dyn Sink) -> Result<()> {
    let what = What::Seq { seq, partial: false };
    let parts = Parts { masked: true, ..what.parts(ctx)? };
    ctx.settle()?;
    header(what, tokens, out)?;
    write_blob(ctx, &parts, out)
}

fn save(
    ctx: &mut Context,
    path: &Path,
    what: What,
    tokens: &[i32],
    state: impl FnOnce(&mut Context, &mut dyn Sink) -> Result<()>,
) -> Result<u64> {
    ctx.settle()?;
    let mut file = Replacement::create(path)?;
    let mut out = ToFile::new(&mut file);
    header(what, tokens, &mut out)?;
    state(ctx, &mut out)?;
    let n = out.written();
    file.finish()?;
    Ok(n)
}

/// The layout that a version of a file has, and its number of tokens; `newest` is 11 or 4.
fn header_of(r: &mut Reader<'_>, magic: u32, newest: u32) -> Result<(Layout, u32)> {
    let (m, version, n_tokens) = (r.u32()?, r.u32()?, r.u32()?);
    let layout = match newest.wrapping_sub(version) {
        _ if m != magic => None,
        0 => Some(Layout::V11),
        1 => Some(Layout::V10),
        2 => Some(Layout::V9),
        _ => None,
    };
    Ok((layout.ok_or_else(|| Error::invalid(format!("magic {m:08x} and version {version}")))?, n_tokens))
}

fn tokens(r: &mut Reader<'_>, n: u32, capacity: usize) -> Result<Vec<i32>> {
    if n as usize > capacity {
        return Err(Error::invalid(format!("the file has {n} tokens, there is room for {capacity}")));
    }
    r.i32s(n as usize)
}

/// Restores a session file of at most `capacity` tokens. Bytes after the state are an error.
pub fn load_session(ctx: &mut Context, path: &Path, capacity: usize) -> Result<FileTokens> {
    let file = File::open(path)?;
    let pages = Passing::new(&file);
    let mut r = Reader::new(&pages, 0);
    let (layout, n) = header_of(&mut r, SESSION, 11).map_err(|e| e.within(file.name()))?;
    let tokens = tokens(&mut r, n, capacity)?;
    check_model(ctx, &mut r)?;
    let parts = What::Everything.parts(ctx)?;
    let n_read = read_blob(ctx, &parts, layout, &mut r, i32::MAX, |end| match file.size() - end {
        0 => Ok(()),
        n => Err(Error::invalid(format!("{} has {n} bytes after the state", file.name()))),
    })?;
    Ok(FileTokens { tokens, n_read })
}

/// Restores a sequence file of at most `capacity` tokens into `seq`.
pub fn load_seq(ctx: &mut Context, path: &Path, seq: i32, capacity: usize) -> Result<FileTokens> {
    let file = File::open(path)?;
    read_seq(ctx, &Passing::new(&file), seq, capacity, i32::MAX).map_err(|e| e.within(file.name()))
}

/// A sequence file from anywhere; of one that `write_seq` wrote only the positions before `upto`. An error has changed nothing.
pub fn read_seq(ctx: &mut Context, src: &dyn Source, seq: i32, capacity: usize, upto: i32) -> Result<FileTokens> {
    let mut r = Reader::new(src, 0);
    let (layout, n) = header_of(&mut r, SEQUENCE, 4)?;
    let tokens = tokens(&mut r, n, capacity)?;
    let parts = What::Seq { seq, partial: false }.parts(ctx)?;
    let n_read = read_blob(ctx, &parts, layout, &mut r, upto, |_| Ok(()))?;
    Ok(FileTokens { tokens, n_read })
}

/// How many tokens a sequence file says it has, and the bytes of its header. What is looked at stays cached: it will be read soon.
pub fn count_tokens(path: &Path) -> Result<(u32, u64)> {
    let file = File::open(path)?;
    let mut head = vec![0; usize::try_from(file.size().min(12)).unwrap_or(12)];
    file.read_exact_at(0, &mut head)?;
    let (_, n) = header_of(&mut Reader::new(&head, 0), SEQUENCE, 4).map_err(|e| e.within(file.name()))?;
    if u64::from(n) > (file.size() - 12) / 4 {
        return Err(Error::invalid(format!("{} is too short for {n} tokens", file.name())));
    }
    Ok((n, 12))
}
