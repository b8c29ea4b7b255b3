//! A KV blob read and believed: every count against what is left, every type, size, position and id, before anybody changes anything.
//! Changes nothing itself; gives the cells, and where the rows of each plane begin.
use super::form::{AS_THEY_ARE, Layout, Parts};
use super::io::Reader;
use crate::memory::Memory;
use crate::memory::restore::{CellExt, Held};
use crate::memory::rows::{Change, DType, InFile, Rows, SeqSet};
use crate::memory::store::Store;
use platform::{Error, Result};
use std::ops::Range;

/// Streams in the original: LLAMA_MAX_SEQ.
const MAX_STREAMS: u32 = SeqSet::MAX;

/// What is read must fit this context.
pub struct Read<'a> {
    pub memory: &'a Memory,
    pub stores: &'a [Store],
    pub parts: &'a Parts,
    pub layout: Layout,
}

/// One group's part of a blob.
#[derive(Debug, Default)]
pub struct GroupBlob {
    /// Of all streams, one after the other. No arrivals yet.
    pub cells: Vec<Held>,
    pub streams: Vec<StreamBlob>,
}

#[derive(Debug)]
pub struct StreamBlob {
    /// Of `GroupBlob::cells`.
    pub rows: Range<u32>,
    /// K and V: one per layer that has rows in the group.
    pub planes: [Vec<PlaneBlob>; 2],
}

#[derive(Clone, Copy, Debug)]
pub struct PlaneBlob {
    pub at: u64,
    pub change: Change,
    /// [n_embd][rows] instead of [rows][n_embd].
    pub channels: bool,
}

impl GroupBlob {
    /// Leaves what is before position `upto`, which must be a first part of the rows.
    pub fn cut(&mut self, upto: i32) -> Result<()> {
        let [stream] = &mut self.streams[..] else { return Ok(()) };
        let n = self.cells.partition_point(|c| c.pos < upto);
        let by_row = stream.planes.iter().flatten().all(|p| !p.channels);
        if n < self.cells.len() && !(by_row && self.cells.is_sorted_by_key(|c| c.pos)) {
            return bad("no part of this state can be read by itself: it is not in order of position".into());
        }
        self.cells.truncate(n);
        stream.rows = 0..n as u32;
        Ok(())
    }
}

impl PlaneBlob {
    /// Bytes of a row in the state.
    pub fn row(&self) -> usize {
        self.change.from.row_bytes(self.change.n_embd).unwrap_or(0)
    }
}

fn bad<T>(what: String) -> Result<T> {
    Err(Error::invalid(what))
}

impl Read<'_> {
    /// One per group of `parts`.
    pub fn blob(&self, r: &mut Reader<'_>) -> Result<Vec<GroupBlob>> {
        self.parts.groups.clone().map(|g| self.group(g, r)).collect()
    }

    fn group(&self, g: usize, r: &mut Reader<'_>) -> Result<GroupBlob> {
        let n_streams = r.u32()?;
        if n_streams == 0 || n_streams > MAX_STREAMS {
            return bad(format!("the state has {n_streams} streams"));
        }
        let mut out = GroupBlob::default();
        for _ in 0..n_streams {
            let n = r.u32()?;
            if n == 0 {
                continue;
            }
            if self.parts.seq.is_some() && !out.streams.is_empty() {
                return bad("the state of one sequence lies in several streams".into());
            }
            let start = out.cells.len() as u32;
            let marked = self.cells(n, r, &mut out.cells)?;
            let planes = self.planes(&self.stores[g], n, marked, r)?;
            out.streams.push(StreamBlob { rows: start..start + n, planes });
        }
        Ok(out)
    }

    /// Whether they say that rows are as they are.
    fn cells(&self, n: u32, r: &mut Reader<'_>, out: &mut Vec<Held>) -> Result<bool> {
        let per_stream = (0..self.memory.n_groups()).filter_map(|g| self.memory.spec(g)).map(|s| u64::from(s.size)).max().unwrap_or(0);
        let most = per_stream * u64::from(self.memory.n_streams());
        if u64::from(n) + out.len() as u64 > most {
            return bad(format!("the state has {n} cells, this context {most}"));
        }
        if u64::from(n) > r.left() / 12 {
            return bad(format!("the state ends too early for {n} cells"));
        }
        out.try_reserve(n as usize).map_err(|_| Error::no_memory(format!("no memory for {n} cells")))?;
        let mut marked = false;
        for _ in 0..n {
            out.push(self.cell(r, &mut marked)?);
        }
        Ok(marked)
    }

    fn cell(&self, r: &mut Reader<'_>, marked: &mut bool) -> Result<Held> {
        let (pos, n_seq) = (r.i32()?, r.u32()?);
        if !(0..i32::MAX).contains(&pos) {
            return bad(format!("a cell at position {pos}"));
        }
        let most = if self.parts.seq.is_some() { 1 } else { self.parts.n_seq_max };
        if n_seq == 0 || n_seq > most {
            return bad(format!("a cell of {n_seq} sequences, 1 to {most} are possible"));
        }
        let ext = self.ext(r)?;
        let mut seqs = SeqSet::default();
        for _ in 0..n_seq {
            let id = r.i32()?;
            match (self.parts.seq, u32::try_from(id)) {
                (Some(to), id) => {
                    *marked |= id.is_ok_and(|id| id & AS_THEY_ARE != 0);
                    seqs.insert(to);
                }
                (None, Ok(id)) if id < self.parts.n_seq_max && !seqs.contains(id) => seqs.insert(id),
                _ => return bad(format!("a cell of sequence {id} (n_seq_max is {})", self.parts.n_seq_max)),
            }
        }
        Ok(Held { pos, seqs, stamp: 0, ext })
    }

    fn ext(&self, r: &mut Reader<'_>) -> Result<CellExt> {
        if !self.parts.ext {
            return Ok(CellExt::NONE);
        }
        let (x, y) = (r.i32()?, r.i32()?);
        Ok(CellExt { x, y, token: if self.layout == Layout::V9 { CellExt::NONE.token } else { r.i32()? } })
    }

    fn planes(&self, store: &Store, n: u32, marked: bool, r: &mut Reader<'_>) -> Result<[Vec<PlaneBlob>; 2]> {
        let (v_trans, n_layer) = (r.u32()?, r.u32()?);
        if v_trans > 1 {
            return bad(format!("V is transposed: {v_trans}"));
        }
        let have = store.planes_in_files(0).count();
        if n_layer as usize != have {
            return bad(format!("the state has {n_layer} layers, this model {have}"));
        }
        let told = if self.layout == Layout::V11 { Some([r.u32()?, r.u32()?]) } else { marked.then_some([0; 2]) };
        let told = told.filter(|_| !store.in_files().as_kept);
        let mut plane = |i: usize| -> Result<Vec<PlaneBlob>> {
            let channels = i == 1 && v_trans == 1;
            let one = |p: InFile<'_>| match p {
                InFile::Kept(rows) => Some(Plane { rows, n, told: told.map(|t| t[i]) }.read(channels, r)),
                InFile::Empty(e) => skip_empty(e.n_embd, n, channels, r).err().map(Err),
            };
            store.planes_in_files(i).filter_map(one).collect()
        };
        Ok([plane(0)?, plane(1)?])
    }
}

/// Passes rows of V that nobody has written.
fn skip_empty(n_embd: usize, n: u32, channels: bool, r: &mut Reader<'_>) -> Result<()> {
    let number = r.i32()?;
    let width = u32::try_from(number).ok().and_then(DType::from_ggml).filter(|t| can_store(*t)).and_then(|t| t.row_bytes(n_embd));
    let told = if channels { u64::from(r.u32()?) * u64::from(r.u32()?) } else { r.u64()? };
    let Some(width) = width.filter(|w| *w as u64 == told) else {
        return bad(format!("{n_embd} elements of type {number} in {told} bytes"));
    };
    r.skip(width as u64 * u64::from(n)).map(drop)
}

/// One plane of one layer, as far as it is known before it is read.
struct Plane<'a> {
    rows: Rows<'a>,
    n: u32,
    /// What the state says of the transform that its rows are under; `None`: quantised ones are as they would be here.
    told: Option<u32>,
}

impl Plane<'_> {
    fn read(&self, channels: bool, r: &mut Reader<'_>) -> Result<PlaneBlob> {
        let number = r.i32()?;
        let ty = u32::try_from(number).ok().and_then(DType::from_ggml).filter(|t| can_store(*t));
        let Some(ty) = ty else { return bad(format!("rows of type {number}")) };
        let n_embd = self.rows.n_embd();
        let width = ty.row_bytes(n_embd).filter(|w| *w > 0);
        let Some(width) = width else { return bad(format!("rows of {n_embd} as {}", ty.name())) };
        let told = if channels { self.channels(ty, r)? } else { r.u64()? };
        if told != width as u64 {
            return bad(format!("rows of {told} bytes, {n_embd} elements of {} are {width}", ty.name()));
        }
        let at = r.skip(width as u64 * u64::from(self.n))?;
        let (to, to_parts) = (self.rows.ty(), self.rows.parts());
        Ok(PlaneBlob { at, change: Change { from: ty, to, n_embd, from_parts: self.parts(ty)?, to_parts }, channels })
    }

    /// The width of a row that is stored channel by channel.
    fn channels(&self, ty: DType, r: &mut Reader<'_>) -> Result<u64> {
        let (size, n_embd) = (r.u32()?, r.u32()?);
        if ty.block_len() != 1 || size as usize != ty.block_bytes() {
            return bad(format!("transposed V of {} in elements of {size} bytes", ty.name()));
        }
        Ok(u64::from(size) * u64::from(n_embd))
    }

    fn parts(&self, ty: DType) -> Result<Option<usize>> {
        match self.told.map(|n| n as usize) {
            None => Ok(self.rows.parts_as(ty)),
            Some(0) => Ok(None),
            Some(n) if n.is_power_of_two() && self.rows.head_len().is_multiple_of(n) => Ok(Some(n)),
            Some(n) => bad(format!("rows under a rotation of {n}, heads have {} elements", self.rows.head_len())),
        }
    }
}

/// Types that rows can be read from.
fn can_store(t: DType) -> bool {
    let blocks = matches!(t, DType::Q8_0 | DType::Q5_1 | DType::Q5_0 | DType::Q4_1 | DType::Q4_0 | DType::IQ4_NL);
    blocks || matches!(t, DType::F32 | DType::F16 | DType::BF16)
}
