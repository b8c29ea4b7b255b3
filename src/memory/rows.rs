//! Rows between blocks and a file's order: there a row is all heads of one cell, here heads of some cells lie together. Cells become runs, runs become
//! 2-D copies, and a plane of a layer is one call of its buffer, however scattered its cells are. Knows no format.
use super::restore::RowAt;
use super::store::{EmptyRows, Store};
use crate::backend::codec::{decode_row, encode_row, hadamard};
use crate::backend::{Copy2d, KvLayer, PlaneAt, TILE};
use platform::error::try_zeroed;
use platform::{Error, Result};
use std::io::IoSliceMut;
use std::ops::Range;

pub use crate::backend::{BlockId, DType, SeqSet};

/// Rows `row..row + len` of a list lie in consecutive slots of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub row: u32,
    pub block: BlockId,
    pub slot: u16,
    pub len: u32,
}

/// The fewest pieces that `at`, ascending in row, consists of: one copy per head each.
pub fn pieces(at: &[RowAt]) -> Vec<Piece> {
    let mut out: Vec<Piece> = Vec::new();
    for r in at {
        match out.last_mut() {
            Some(p) if p.row + p.len == r.row && p.block == r.block && u32::from(p.slot) + p.len == u32::from(r.slot) => p.len += 1,
            _ => out.push(Piece { row: r.row, block: r.block, slot: r.slot, len: 1 }),
        }
    }
    out
}

/// The parts of `pieces` (ascending in row) with rows in `rows`, counted from its start.
pub fn within(pieces: &[Piece], rows: &Range<u32>) -> impl Iterator<Item = Piece> {
    // A piece is never longer than a block.
    const LONGEST: u32 = 256;
    let from = pieces.partition_point(|p| p.row + LONGEST < rows.start);
    let cut = move |p: &Piece, rows: &Range<u32>| {
        let (lo, hi) = (p.row.max(rows.start), (p.row + p.len).min(rows.end));
        (lo < hi).then(|| Piece { row: lo - rows.start, slot: p.slot + (lo - p.row) as u16, len: hi - lo, ..*p })
    };
    let (start, end) = (rows.start, rows.end);
    pieces[from..].iter().take_while(move |p| p.row < end).filter_map(move |p| cut(p, &(start..end)))
}

/// Rows `row..row + n` of a list lie in every `stride`-th slot from `slot` on, all in one tile.
struct Strip {
    row: u32,
    block: BlockId,
    slot: u16,
    stride: u32,
    n: u32,
}

impl Strip {
    /// Takes one more cell, if that is where this goes on.
    fn takes(&mut self, p: &Piece) -> bool {
        let same =
            p.len == 1 && p.block == self.block && p.slot / TILE == self.slot / TILE && p.row == self.row + self.n && p.slot > self.slot;
        let step = u32::from(p.slot).wrapping_sub(u32::from(self.slot));
        if !same || (self.n > 1 && step != self.stride * self.n) {
            return false;
        }
        (self.stride, self.n) = (step / self.n, self.n + 1);
        true
    }
}

/// The fewest strips: neighbours in a tile, or cells at equal distances as several sequences in turn leave them.
fn strips(pieces: impl Iterator<Item = Piece>) -> Vec<Strip> {
    let mut out: Vec<Strip> = Vec::new();
    for mut p in pieces {
        while p.len > 0 {
            let n = p.len.min(u32::from(TILE - p.slot % TILE));
            if !out.last_mut().is_some_and(|s| s.takes(&p)) {
                out.push(Strip { row: p.row, block: p.block, slot: p.slot, stride: 1, n });
            }
            p = Piece { row: p.row + n, slot: p.slot + n as u16, len: p.len - n, ..p };
        }
    }
    out
}

/// A plane (K is 0, V is 1) of one layer with rows in a store.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    layer: &'a KvLayer,
    plane: usize,
    at: &'a PlaneAt,
}

impl Store {
    /// One plane of every layer that has rows here, by layer.
    pub fn planes(&self, plane: usize) -> impl Iterator<Item = Rows<'_>> {
        let of = move |layer| Some(Rows { layer, plane, at: layer.planes.get(plane)? });
        self.group().layers.iter().flatten().filter_map(of)
    }
}

/// A plane of a layer as the original's files have it.
pub enum InFile<'a> {
    Kept(Rows<'a>),
    Empty(EmptyRows),
}

impl InFile<'_> {
    pub fn ty(&self) -> DType {
        match self {
            InFile::Kept(r) => r.ty(),
            InFile::Empty(e) => e.ty,
        }
    }
}

impl Store {
    /// One plane of every layer that files have rows of, by layer.
    pub fn planes_in_files(&self, plane: usize) -> impl Iterator<Item = InFile<'_>> {
        self.group().layers.iter().enumerate().filter_map(move |(il, layer)| {
            let kept = layer.as_ref().and_then(|layer| Some(InFile::Kept(Rows { layer, plane, at: layer.planes.get(plane)? })));
            let empty = || self.in_files().empty.iter().find(|e| (e.il, e.plane) == (il, plane));
            kept.or_else(|| empty().copied().map(InFile::Empty))
        })
    }
}

impl Rows<'_> {
    pub fn ty(&self) -> DType {
        self.at.ty
    }
    pub fn parts(&self) -> Option<usize> {
        self.at.parts()
    }
    pub fn parts_as(&self, ty: DType) -> Option<usize> {
        self.at.parts_as(ty)
    }
    pub fn head_len(&self) -> usize {
        self.at.head_len as usize
    }
    /// Elements of a row: all heads.
    pub fn n_embd(&self) -> usize {
        (self.at.heads * self.at.head_len) as usize
    }
    pub fn row_bytes(&self) -> usize {
        self.at.heads as usize * self.at.head_bytes
    }

    /// Copies that bring `pieces` together, or apart where `out` is false: (place in the buffer, place in the rows).
    fn copies(&self, pieces: &[Piece], rows: &Range<u32>, out: bool) -> Vec<Copy2d> {
        let row = self.row_bytes();
        if self.is_flat() {
            let one = |p: Piece| (self.layer.row_at(self.plane, p.block, p.slot, 0), p.row as usize * row, row * p.len as usize);
            return within(pieces, rows)
                .map(one)
                .map(|(here, there, n)| if out { Copy2d::flat(there, here, n) } else { Copy2d::flat(here, there, n) })
                .collect();
        }
        let strips = strips(within(pieces, rows));
        let mut list = Vec::with_capacity(strips.iter().map(|s| if out { self.at.heads } else { s.n } as usize).sum());
        strips.iter().for_each(|s| if out { self.gathered(s, &mut list) } else { self.scattered(s, &mut list) });
        list
    }

    /// Head by head: rows of a head are passed through in order, as they lie here.
    fn gathered(&self, s: &Strip, list: &mut Vec<Copy2d>) {
        let (width, row) = (self.at.head_bytes, self.row_bytes());
        let one = |h: u32| Copy2d {
            at: s.row as usize * row + h as usize * width,
            from: self.layer.row_at(self.plane, s.block, s.slot, h),
            width,
            rows: s.n as usize,
            at_pitch: row,
            from_pitch: s.stride as usize * width,
        };
        list.extend((0..self.at.heads).map(one));
    }

    /// Cell by cell: rows are passed through in order, as they lie there. Half as fast the other way round, and so would gathering be.
    fn scattered(&self, s: &Strip, list: &mut Vec<Copy2d>) {
        let (width, row) = (self.at.head_bytes, self.row_bytes());
        let one = |i: u32, heads: &Range<u32>| Copy2d {
            at: self.layer.row_at(self.plane, s.block, s.slot, heads.start) + (i * s.stride) as usize * width,
            from: (s.row + i) as usize * row + heads.start as usize * width,
            width,
            rows: heads.len(),
            at_pitch: self.at.head_pitch(),
            from_pitch: width,
        };
        let mut first = 0;
        while first < self.at.heads {
            let heads = self.layer.together(self.plane, first);
            list.extend((0..s.n).map(|i| one(i, &heads)));
            first = heads.end.max(first + 1);
        }
    }

    /// Whether rows of consecutive slots touch: nothing of another cell lies between the heads of one.
    pub fn is_flat(&self) -> bool {
        let at = |slot, h| self.layer.row_at(self.plane, BlockId(0), slot, h);
        let last = self.layer.cells_per_block as u16 - 1;
        at(last, 0) == at(0, 0) + usize::from(last) * self.row_bytes() && (self.at.heads == 1 || at(0, 1) == at(0, 0) + self.at.head_bytes)
    }

    /// `rows` of the list into `dst`, [rows][heads * head].
    pub fn gather(&self, pieces: &[Piece], rows: Range<u32>, dst: &mut [u8]) -> Result<()> {
        self.layer.buf.read(&self.copies(pieces, &rows, true), dst)
    }

    /// `src`, [rows][heads * head], to where `rows` of the list lie. Rows without a place are skipped.
    pub fn scatter(&self, pieces: &[Piece], rows: Range<u32>, src: &[u8]) -> Result<()> {
        self.layer.buf.write(&self.copies(pieces, &rows, false), src)
    }

    /// `read` fills the places of `rows`, all of which have one, in order. Only where `is_flat` and `host`.
    pub fn read_into(&self, pieces: &[Piece], rows: Range<u32>, read: &mut dyn FnMut(&mut [IoSliceMut<'_>]) -> Result<()>) -> Result<()> {
        let ranges = self.copies(pieces, &rows, false).into_iter().map(|c| c.at..c.at + c.width);
        self.layer.buf.lend(&ranges.collect::<Vec<_>>(), read)
    }
    /// Whether the host can address the rows.
    pub fn host(&self) -> bool {
        self.layer.buf.host().is_some()
    }
}

/// How rows of a file become rows of a plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub from: DType,
    pub to: DType,
    /// Elements per row.
    pub n_embd: usize,
    /// Length of the parts of which the file's rows are Walsh-Hadamard transforms, and of those in the plane.
    pub from_parts: Option<usize>,
    pub to_parts: Option<usize>,
}

impl Change {
    pub fn is_none(&self) -> bool {
        self.from == self.to && self.from_parts == self.to_parts
    }

    /// `src`, whole rows, as rows of the new type.
    pub fn apply(&self, src: &[u8]) -> Result<Vec<u8>> {
        let bad = || Error::unsupported(format!("rows of {} as {}", self.from.name(), self.to.name()));
        let (from, to) = self.from.row_bytes(self.n_embd).zip(self.to.row_bytes(self.n_embd)).ok_or_else(bad)?;
        let mut x = vec![0.0; self.n_embd];
        let mut out = try_zeroed(src.len() / from.max(1) * to, "converted rows")?;
        for (src, out) in src.chunks_exact(from).zip(out.chunks_exact_mut(to)) {
            if !decode_row(self.from, src, &mut x) {
                return Err(bad());
            }
            if self.from_parts != self.to_parts {
                [self.from_parts, self.to_parts].into_iter().flatten().for_each(|n| hadamard(&mut x, n));
            }
            if !encode_row(self.to, &x, out) {
                return Err(bad());
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::super::store::{LayerRows, PlaneSpec};
    use super::*;
    use crate::backend::far::Far;
    use crate::backend::{Backend, DeviceId};
    use std::sync::Arc;

    fn at(cells: &[u16]) -> Vec<RowAt> {
        let one = |(i, c): (usize, &u16)| RowAt { row: i as u32, block: BlockId(u32::from(c / 64)), slot: c % 64 };
        cells.iter().enumerate().map(one).collect()
    }
    const SEED: [u16; 8] = [10, 15, 16, 23, 24, 25, 45, 46];

    /// Memory that the host cannot address: whatever works here uses `read` and `write` only.
    fn store(heads: u32, n_blocks: u32) -> Store {
        let far: Vec<Arc<dyn Backend>> = vec![Arc::new(Far::new(DeviceId(0)))];
        let plane = PlaneSpec { ty: DType::F16, heads, head_len: 4, hadamard: 0 };
        let layers = [LayerRows { il: 0, place: 0, planes: vec![plane, plane] }];
        Store::new(&layers, &far, 1, 64, n_blocks, &platform::Backing::Heap).expect("small")
    }

    #[test]
    fn scattered_cells_are_four_transfers() {
        let p = pieces(&at(&SEED));
        assert_eq!(p.iter().map(|p| (p.row, p.slot, p.len)).collect::<Vec<_>>(), [(0, 10, 1), (1, 15, 2), (3, 23, 3), (6, 45, 2)]);
        let s = store(1, 1);
        let rows = s.planes(0).next().expect("a layer");
        let copies = rows.copies(&p, &(0..8), false);
        assert_eq!(copies.iter().map(|c| (c.width, c.rows)).collect::<Vec<_>>(), [(8, 1), (16, 1), (24, 1), (16, 1)]);
        let two = store(2, 1);
        assert_eq!(two.planes(1).next().expect("a layer").copies(&p, &(0..8), true).len(), 10);
    }

    #[test]
    fn cells_at_equal_distances_are_one_strip_a_tile() {
        let strips = |cells: &[u16]| {
            let one = |s: Strip| (s.row, s.slot, s.stride, s.n);
            strips(pieces(&at(cells)).into_iter()).into_iter().map(one).collect::<Vec<_>>()
        };
        let every_second: Vec<u16> = (0..64).step_by(2).collect();
        assert_eq!(strips(&every_second), [(0, 0, 2, 8), (8, 16, 2, 8), (16, 32, 2, 8), (24, 48, 2, 8)]);
        assert_eq!(strips(&[0, 3, 6, 8, 4]), [(0, 0, 3, 3), (3, 8, 1, 1), (4, 4, 1, 1)]);
        assert_eq!(strips(&[1, 2, 3, 20, 19]), [(0, 1, 1, 3), (3, 20, 1, 1), (4, 19, 1, 1)]);
        assert_eq!(strips(&[0, 64]), [(0, 0, 1, 1), (1, 0, 1, 1)], "another block");
    }

    #[test]
    fn rows_come_back_from_any_cells_in_any_pieces() {
        let cells: Vec<u16> = SEED.iter().copied().chain(60..70).chain([127, 0, 1]).collect();
        let p = pieces(&at(&cells));
        let s = store(3, 2);
        let n = cells.len() as u32;
        for rows in s.planes(1) {
            let width = rows.row_bytes();
            let src: Vec<u8> = (0..n as usize * width).map(|i| (i * 7 + i / 256) as u8).collect();
            for (a, b) in [(0, 5), (5, 6), (6, n)] {
                rows.scatter(&p, a..b, &src[a as usize * width..b as usize * width]).expect("inside");
            }
            let mut dst = vec![0; src.len()];
            rows.gather(&p, 0..n, &mut dst).expect("inside");
            assert_eq!(dst, src);
            let mut part = vec![0; 9 * width];
            rows.gather(&p, 4..13, &mut part).expect("inside");
            assert_eq!(part, src[4 * width..13 * width]);
        }
    }

    #[test]
    fn types_change_and_rotations_are_taken_back() {
        let x: Vec<f32> = (0..128).map(|i| (i as f32 * 0.37).sin()).collect();
        let mut turned = x.clone();
        hadamard(&mut turned, 64);
        let bytes: Vec<u8> = turned.iter().flat_map(|v| v.to_le_bytes()).collect();
        let change = Change { from: DType::F32, to: DType::F16, n_embd: 128, from_parts: Some(64), to_parts: None };
        let out = change.apply(&bytes).expect("known types");
        let mut y = vec![0.0; 128];
        assert!(decode_row(DType::F16, &out, &mut y));
        assert!(x.iter().zip(&y).all(|(a, b)| (a - b).abs() < 1e-3), "{y:?}");
        let put = Change { from: DType::F16, to: DType::F32, from_parts: None, to_parts: Some(64), ..change };
        let there = put.apply(&out).expect("known types");
        assert!(turned.iter().zip(there.as_chunks().0).all(|(a, b)| (a - f32::from_le_bytes(*b)).abs() < 2e-3), "and brought about");
        assert!(!put.is_none() && Change { to: DType::F16, to_parts: None, ..put }.is_none());
        assert!((turned[0] - x[..64].iter().sum::<f32>() / 8.0).abs() < 1e-4);
        assert!(Change { to: DType::Q4_K, n_embd: 256, ..change }.apply(&[bytes.clone(), bytes].concat()).is_err());
    }
}
