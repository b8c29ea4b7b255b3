//! A KV blob from memory: the original's bytes for what is in it. Rows are brought together plane by plane, straight into where they go.
use super::form::{AS_THEY_ARE, Parts, transpose};
use super::io::Sink;
use crate::memory::restore::Held;
use crate::memory::rows::{DType, InFile, Piece, Rows, SeqSet, pieces};
use crate::memory::store::Store;
use crate::memory::{Memory, hadamard};
use platform::Result;
use platform::error::try_zeroed;
use platform::share::share_bytes;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Bytes that are turned around at a time: a share of a core's second-level cache.
const TURNED: usize = 256 << 10;
/// Bytes that one thread brings together at a time.
const SHARE: usize = 4 << 20;

/// What to write, and how.
pub struct Write<'a> {
    pub memory: &'a Memory,
    pub stores: &'a [Store],
    pub parts: &'a Parts,
    /// V channel by channel.
    pub v_trans: bool,
}

impl Write<'_> {
    pub fn blob(&self, out: &mut dyn Sink) -> Result<()> {
        self.parts.groups.clone().try_for_each(|g| self.group(g, out))
    }

    fn group(&self, g: usize, out: &mut dyn Sink) -> Result<()> {
        out.put_u32(self.memory.n_streams())?;
        for stream in 0..self.memory.n_streams() {
            let mut held = self.memory.held_as(g, stream, self.parts.seq, self.parts.masked);
            for h in &mut held {
                h.1.seqs = within(h.1.seqs, self.parts.n_seq_max);
            }
            held.retain(|h| !h.1.seqs.is_empty());
            if self.parts.in_order() {
                held.sort_by_key(|h| (h.1.pos, h.1.stamp));
            }
            held.iter_mut().enumerate().for_each(|(i, h)| h.0.row = i as u32);
            out.put_u32(held.len() as u32)?;
            if !held.is_empty() {
                out.put(&cells(held.iter().map(|h| &h.1), self.parts.ext, self.mark(g)))?;
                let at: Vec<_> = held.iter().map(|h| h.0).collect();
                self.rows(&self.stores[g], &pieces(&at), held.len() as u32, out)?;
            }
        }
        Ok(())
    }

    fn mark(&self, g: usize) -> u32 {
        let quantised = || [0, 1].into_iter().flat_map(|i| self.stores[g].planes(i)).any(|p| p.ty().is_quantized());
        let mark = self.parts.seq.is_some() && hadamard::disabled() && !self.stores[g].in_files().as_kept && quantised();
        if mark { AS_THEY_ARE } else { 0 }
    }

    fn rows(&self, store: &Store, pieces: &[Piece], n: u32, out: &mut dyn Sink) -> Result<()> {
        let v_trans = self.v_trans && store.planes_in_files(1).all(|p| p.ty().block_len() == 1);
        out.put_u32(u32::from(v_trans))?;
        out.put_u32(store.planes_in_files(0).count() as u32)?;
        let of = |i: usize| store.planes_in_files(i).map(move |p| Section::new(p, i == 1 && v_trans));
        let sections: Vec<Section<'_>> = of(0).chain(of(1)).collect();
        match out.step() {
            usize::MAX => at_once(&sections, pieces, n, out),
            step => sections.iter().try_for_each(|s| s.in_steps(pieces, n, step, out)),
        }
    }
}

/// One plane of one layer.
struct Section<'a> {
    head: Vec<u8>,
    /// `None`: zeros.
    rows: Option<Rows<'a>>,
    row_bytes: usize,
    /// [n_embd][n] instead of [n][n_embd].
    turned: bool,
}

impl<'a> Section<'a> {
    fn new(plane: InFile<'a>, turned: bool) -> Section<'a> {
        let (ty, n_embd, row_bytes, rows) = match plane {
            InFile::Kept(r) => (r.ty(), r.n_embd(), r.row_bytes(), Some(r)),
            InFile::Empty(e) => (e.ty, e.n_embd, e.ty.row_bytes(e.n_embd).unwrap_or(0), None),
        };
        Section { head: head(ty, n_embd, row_bytes, turned), rows, row_bytes, turned }
    }

    fn bytes(&self, n: u32) -> usize {
        self.row_bytes * n as usize
    }

    /// Rows that are brought together in one go if they may be `bytes`: all where a call has its price, or where they are turned around.
    fn step(&self, n: u32, bytes: usize) -> u32 {
        let fit = u32::try_from((bytes / self.row_bytes.max(1)).max(1)).unwrap_or(u32::MAX);
        if self.rows.is_some_and(|r| self.turned || !r.host()) { n } else { fit.min(n) }
    }

    fn in_steps(&self, pieces: &[Piece], n: u32, bytes: usize, out: &mut dyn Sink) -> Result<()> {
        out.put(&self.head)?;
        let step = self.step(n, bytes);
        (0..n).step_by(step as usize).try_for_each(|i| {
            let at = i..i.saturating_add(step).min(n);
            out.put_with(self.bytes(at.len() as u32), &mut |dst| self.fill(pieces, at.clone(), dst))
        })
    }

    fn fill(&self, pieces: &[Piece], at: Range<u32>, dst: &mut [u8]) -> Result<()> {
        match self.rows {
            None => dst.fill(0),
            Some(rows) if self.turned => channels(rows, pieces, at.end, dst)?,
            Some(rows) => rows.gather(pieces, at, dst)?,
        }
        Ok(())
    }
}

/// All rows, [n_embd][n].
fn channels(rows: Rows<'_>, pieces: &[Piece], n: u32, dst: &mut [u8]) -> Result<()> {
    let (size, width) = (rows.ty().block_bytes(), rows.row_bytes());
    let step = if rows.host() { (TURNED / width.max(1)).max(1) } else { n as usize };
    for i in (0..n).step_by(step) {
        let at = i..i.saturating_add(step as u32).min(n);
        let mut src = try_zeroed(width * at.len(), "rows of V")?;
        rows.gather(pieces, at.clone(), &mut src)?;
        transpose(&src, width, &mut dst[i as usize * size..], n as usize * size, [at.len(), rows.n_embd()], size);
    }
    Ok(())
}

/// What stands before the rows of a plane.
fn head(ty: DType, n_embd: usize, row_bytes: usize, turned: bool) -> Vec<u8> {
    let mut head = (ty as u32).to_le_bytes().to_vec();
    match turned {
        true => [ty.block_bytes(), n_embd].iter().for_each(|v| head.extend((*v as u32).to_le_bytes())),
        false => head.extend((row_bytes as u64).to_le_bytes()),
    }
    head
}

/// All sections into memory, by several threads where there is much.
fn at_once(sections: &[Section<'_>], pieces: &[Piece], n: u32, out: &mut dyn Sink) -> Result<()> {
    let total = sections.iter().map(|s| s.head.len() + s.bytes(n)).sum();
    out.put_with(total, &mut |mut rest| {
        let mut jobs = Vec::new();
        for s in sections {
            let (head, tail) = std::mem::take(&mut rest).split_at_mut(s.head.len());
            let (plane, tail) = tail.split_at_mut(s.bytes(n));
            head.copy_from_slice(&s.head);
            rest = tail;
            let step = s.step(n, SHARE);
            let part = |(i, dst): (usize, _)| (s, i as u32 * step, Mutex::new(dst));
            jobs.extend(plane.chunks_mut(s.bytes(step).max(1)).enumerate().map(part));
        }
        share_bytes(total, &jobs, |(s, start, dst)| {
            let mut dst = dst.lock().unwrap_or_else(PoisonError::into_inner);
            let rows = (dst.len() / s.row_bytes.max(1)) as u32;
            s.fill(pieces, *start..start + rows, &mut dst)
        })
    })
}

/// The ids below `n`; a decode knows no others.
fn within(seqs: SeqSet, n: u32) -> SeqSet {
    let mut s = SeqSet::default();
    seqs.iter().filter(|i| *i < n).for_each(|i| s.insert(i));
    s
}

fn cells<'a>(list: impl Iterator<Item = &'a Held>, ext: bool, mark: u32) -> Vec<u8> {
    let mut b = Vec::new();
    for h in list {
        b.extend(h.pos.to_le_bytes());
        b.extend(h.seqs.len().to_le_bytes());
        if ext {
            [h.ext.x, h.ext.y, h.ext.token].iter().for_each(|v| b.extend(v.to_le_bytes()));
        }
        h.seqs.iter().for_each(|s| b.extend((s | mark).to_le_bytes()));
    }
    b
}
