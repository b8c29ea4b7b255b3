//! A context's memory as bytes, and back: whole contexts, single sequences, files. The original's formats in both directions; a state is believed
//! as a whole before anything changes, so a bad one leaves no trace. Knows cells and planes, not what computes with them.
#![forbid(unsafe_code)]
mod apply;
mod files;
mod form;
pub mod io;
mod parse;
mod plan;
#[cfg(test)]
mod tests;
mod write;

pub use files::{FileTokens, count_tokens, load_seq, load_session, read_seq, save_seq, save_session, write_seq};

use crate::session::Context;
use form::{Layout, Parts};
use io::{Count, Reader, Sink, Source, ToMemory};
use platform::{Error, Result};

/// Before the blob of a single sequence: 0xaf143cd8 and the id it had.
const SEQ_MAGIC: u32 = 0xaf14_3cd8;

/// What a state is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Everything,
    /// One sequence; `partial`: only what its windows hold.
    Seq {
        seq: i32,
        partial: bool,
    },
}

impl What {
    fn parts(self, ctx: &Context) -> Result<Parts> {
        let (n_groups, n_seq_max, ring) = (ctx.memory().n_groups(), ctx.sizes.n_seq_max, ctx.memory().first_ring());
        let ext = ctx.model.n_pos_per_embd() > 1;
        match self {
            What::Everything => Ok(Parts { seq: None, groups: 0..n_groups, n_seq_max, masked: true, ext }),
            What::Seq { seq, partial } => {
                let id = u32::try_from(seq).ok().filter(|s| *s < n_seq_max);
                let id = id.ok_or_else(|| Error::invalid(format!("sequence {seq}, n_seq_max is {n_seq_max}")))?;
                // A memory without windows has no part that could be left out.
                let groups = ring.filter(|_| partial).unwrap_or(0)..n_groups;
                Ok(Parts { seq: Some(id), groups, n_seq_max, masked: false, ext })
            }
        }
    }
}

/// Exact bytes of `save`.
pub fn size(ctx: &mut Context, what: What) -> Result<usize> {
    ctx.settle()?;
    let mut n = Count::default();
    write_state(ctx, what, &mut n)?;
    usize::try_from(n.written()).map_err(|_| Error::invalid("the state is larger than this machine's addresses"))
}

/// Writes a state to the front of `dst`; the bytes written.
pub fn save(ctx: &mut Context, what: What, dst: &mut [u8]) -> Result<usize> {
    ctx.settle()?;
    let mut out = ToMemory::new(dst);
    write_state(ctx, what, &mut out)?;
    Ok(out.written() as usize)
}

/// Puts a state in place of what there is; the bytes read. An error has changed nothing.
pub fn load(ctx: &mut Context, what: What, src: &dyn Source) -> Result<usize> {
    // The original's newer versions add two words that nothing announces: their first would be a tensor type, so that one reading fails early.
    // In older ones a cell may be shorter, which no position behind it survives.
    let other =
        |ctx: &mut Context, e| read_state(ctx, what, src, Layout::V11).or_else(|_| read_state(ctx, what, src, Layout::V9)).map_err(|_| e);
    let end = read_state(ctx, what, src, Layout::V10).or_else(|e| other(ctx, e))?;
    Ok(usize::try_from(end).unwrap_or(usize::MAX))
}

fn write_state(ctx: &mut Context, what: What, out: &mut dyn Sink) -> Result<()> {
    match what {
        What::Everything => {
            let name = ctx.model.arch.name;
            out.put_u32(name.len() as u32)?;
            out.put(name.as_bytes())?;
        }
        What::Seq { seq, .. } => {
            out.put_u32(SEQ_MAGIC)?;
            out.put(&seq.to_le_bytes())?;
        }
    }
    let parts = what.parts(ctx)?;
    write_blob(ctx, &parts, out)
}

fn write_blob(ctx: &mut Context, parts: &Parts, out: &mut dyn Sink) -> Result<()> {
    let v_trans = (!ctx.params.flash_attn || ctx.model.arch.v_by_channel) && !parts.in_order();
    let (memory, stores) = ctx.kv();
    write::Write { memory, stores, parts, v_trans }.blob(out)
}

fn read_state(ctx: &mut Context, what: What, src: &dyn Source, layout: Layout) -> Result<u64> {
    let mut r = Reader::new(src, 0);
    let parts = what.parts(ctx)?;
    match what {
        What::Everything => check_model(ctx, &mut r)?,
        What::Seq { .. } => {
            let magic = r.u32()?;
            if magic != SEQ_MAGIC {
                return Err(Error::invalid(format!("the state of a sequence begins with {magic:08x}, not {SEQ_MAGIC:08x}")));
            }
            r.i32()?; // the id it had
        }
    }
    read_blob(ctx, &parts, layout, &mut r, i32::MAX, |_| Ok(()))
}

/// Reads and applies what is before position `upto` of a blob; where it ends, if `accept` likes that. Nothing has changed otherwise.
fn read_blob(
    ctx: &mut Context,
    parts: &Parts,
    layout: Layout,
    r: &mut Reader<'_>,
    upto: i32,
    accept: impl FnOnce(u64) -> Result<()>,
) -> Result<u64> {
    let (memory, stores) = ctx.kv();
    let start = r.at();
    let mut blob = parse::Read { memory, stores, parts, layout }.blob(r)?;
    if upto < i32::MAX {
        blob.iter_mut().try_for_each(|g| g.cut(upto))?;
    }
    accept(r.at())?;
    // A rotation that waits for a cell must not meet the rows that come in its place.
    ctx.settle()?;
    let (memory, stores) = ctx.kv();
    apply::apply(memory, stores, parts, blob, r.src, start..r.at())?;
    Ok(r.at())
}

fn check_model(ctx: &Context, r: &mut Reader<'_>) -> Result<()> {
    let name = ctx.model.arch.name;
    let n = r.u32()? as usize;
    if n as u64 > r.left() || n > 256 {
        return Err(Error::invalid(format!("the state begins with a name of {n} bytes")));
    }
    let said = (0..n).map(|_| r.take().map(|[b]| b)).collect::<Result<Vec<u8>>>()?;
    if said != name.as_bytes() {
        return Err(Error::invalid(format!(
            "the state is of the architecture '{}', the model is '{name}'",
            String::from_utf8_lossy(&said)
        )));
    }
    Ok(())
}
