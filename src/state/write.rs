//! A KV blob from memory: the original's bytes for what is in it. Rows are brought together plane by plane, straight into where they go.
use super::form::{Layout, Parts, rotation};
use super::io::Sink;
use crate::memory::Memory;
use crate::memory::restore::Held;
use crate::memory::rows::{Piece, Rows, SeqSet, pieces};
use crate::memory::store::Store;
use platform::Result;
use platform::error::try_zeroed;

/// Bytes brought together at a time: a share of a core's second-level cache.
const CHUNK: usize = 256 << 10;

/// What to write, and how.
pub struct Write<'a> {
    pub memory: &'a Memory,
    pub stores: &'a [Store],
    pub parts: &'a Parts,
    pub layout: Layout,
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
                out.put(&cells(held.iter().map(|h| &h.1)))?;
                let at: Vec<_> = held.iter().map(|h| h.0).collect();
                self.rows(&self.stores[g], &pieces(&at), held.len() as u32, out)?;
            }
        }
        Ok(())
    }

    fn rows(&self, store: &Store, pieces: &[Piece], n: u32, out: &mut dyn Sink) -> Result<()> {
        let v_trans = self.v_trans && store.planes(1).all(|p| p.ty().block_len() == 1);
        out.put_u32(u32::from(v_trans))?;
        out.put_u32(store.planes(0).count() as u32)?;
        if self.layout == Layout::V11 {
            out.put(&[0; 8])?; // n_rot of K and V: our rows are as they were computed
        }
        for plane in [0, 1] {
            for rows in store.planes(plane) {
                out.put_u32(rows.ty() as u32)?;
                if plane == 1 && v_trans {
                    out.put_u32(rows.ty().block_bytes() as u32)?;
                    out.put_u32(rows.n_embd() as u32)?;
                    channels(rows, pieces, n, out)?;
                } else {
                    out.put(&(rows.row_bytes() as u64).to_le_bytes())?;
                    in_chunks(rows, n, |at| out.put_with(rows.row_bytes() * at.len(), &mut |dst| rows.gather(pieces, at.clone(), dst)))?;
                }
            }
        }
        Ok(())
    }
}

/// The ids below `n`; a decode knows no others.
fn within(seqs: SeqSet, n: u32) -> SeqSet {
    let mut s = SeqSet::default();
    seqs.iter().filter(|i| *i < n).for_each(|i| s.insert(i));
    s
}

fn cells<'a>(list: impl Iterator<Item = &'a Held>) -> Vec<u8> {
    let mut b = Vec::new();
    for h in list {
        b.extend(h.pos.to_le_bytes());
        b.extend(h.seqs.len().to_le_bytes());
        h.seqs.iter().for_each(|s| b.extend(s.to_le_bytes()));
    }
    b
}

fn in_chunks(rows: Rows<'_>, n: u32, mut f: impl FnMut(std::ops::Range<u32>) -> Result<()>) -> Result<()> {
    let step = (CHUNK / rows.row_bytes().max(1)).max(1);
    (0..n).step_by(step).try_for_each(|i| f(i..(i + step as u32).min(n)))
}

/// [n_embd][n] instead of [n][n_embd].
fn channels(rows: Rows<'_>, pieces: &[Piece], n: u32, out: &mut dyn Sink) -> Result<()> {
    let (size, width) = (rows.ty().block_bytes(), rows.row_bytes());
    out.put_with(width * n as usize, &mut |dst| {
        in_chunks(rows, n, |at| {
            let mut src = try_zeroed(width * at.len(), "rows of V")?;
            rows.gather(pieces, at.clone(), &mut src)?;
            for (i, row) in src.chunks_exact(width).enumerate() {
                for (j, v) in row.chunks_exact(size).enumerate() {
                    let to = (j * n as usize + at.start as usize + i) * size;
                    dst[to..to + size].copy_from_slice(v);
                }
            }
            Ok(())
        })
    })
}

/// The layout that says what our rows are. The original rotates quantised rows and its version 10 cannot say that ours are not: then 11.
pub fn layout(stores: &[Store], parts: &Parts) -> Layout {
    let quantised = |s: &Store, plane| s.planes(plane).any(|r| r.ty().is_quantized());
    let rotated = |s: &Store| [0, 1].into_iter().any(|plane| quantised(s, plane) && rotation(s, plane) > 0);
    if stores[parts.groups.clone()].iter().any(rotated) { Layout::V11 } else { Layout::V10 }
}
