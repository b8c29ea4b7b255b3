//! Where rows of K and V lie: a store's buffer is cut into blocks of cells, a block into planes, a plane into tiles of one head's rows. With several
//! nodes each has a region of the buffer, with its share of the heads of every block, or with whole blocks where heads are too few.
use super::{Buffer, DType};
use crate::backend::BlockId;
use std::ops::Range;
use std::sync::Arc;

/// Cells whose rows of one head lie together: a plane is [tiles][heads][TILE][head_bytes]. Streaming 16k cells of 8 heads of 64 f16 for one token
/// (AVX-512, one core, ms, reading ahead a leaf / not): whole rows (1) 27.6 / 28.7, since rows 1 KiB apart share four sets of the first cache;
/// 16: 11.3 / 19.2; 32: 11.7 / 19.8; 64: 12.2 / 19.6; 256: 9.7 / 12.0. Blocks of real models hold 32 cells (1 MiB over all layers), so nothing is lost
/// against heads in one piece, and 16 tokens of a sequence touch what they use and one page per plane (a tile of 32 would touch twice that).
/// Saving and restoring copy head rows either way: 128 bytes and up.
pub const TILE: u16 = 16;

/// One plane (K, or V) of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaneAt {
    pub ty: DType,
    pub heads: u32,
    /// Elements of a head's row.
    pub head_len: u32,
    pub head_bytes: usize,
    /// Quantised rows are the Walsh-Hadamard transforms of parts of this length of what was computed; 0: as it was.
    pub hadamard: u32,
}

impl PlaneAt {
    /// Length of the parts that rows are transformed in, if they are.
    pub fn parts(&self) -> Option<usize> {
        self.parts_as(self.ty)
    }
    /// The same for rows of another type that stand for these.
    pub fn parts_as(&self, ty: DType) -> Option<usize> {
        (ty.is_quantized() && self.hadamard > 0).then_some(self.hadamard as usize)
    }
    /// Bytes from a row of one head to the same cell's of the next in the same region.
    pub fn head_pitch(&self) -> usize {
        usize::from(TILE) * self.head_bytes
    }
}

/// `n` rows of one head that follow each other from byte `at` of a buffer on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub at: usize,
    pub n: u16,
}

/// The memory of one node in a store's buffer: a part of each block, or some blocks of each round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    pub node: u32,
    pub base: usize,
    pub block_bytes: usize,
    /// Blocks of a round that are here, where blocks go round.
    pub per_round: u32,
}

/// Some heads of a plane in a block of a region: [cells_per_block / TILE][heads][TILE][head_bytes].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadsAt {
    pub heads: Range<u32>,
    /// Offset in the block.
    pub at: usize,
}

/// Which region has a block, and as which of a round; blocks go round in this order.
pub type Rounds = Arc<[(u32, u32)]>;

/// Positions of a span: what attention sums up before it merges (contract 2).
pub const SPAN: i32 = (kernels::attn::LEAF * kernels::attn::SPAN_LEAVES) as i32;

/// The node whose blocks a position is wanted in: whole spans, in turn.
pub fn home_of(rounds: &[(u32, u32)], pos: i32) -> u32 {
    let turn = pos.div_euclid(SPAN).rem_euclid(rounds.len().max(1) as i32) as usize;
    rounds.get(turn).map_or(0, |r| r.0)
}

/// One layer's rows in a group's store.
#[derive(Clone)]
pub struct KvLayer {
    pub buf: Arc<dyn Buffer>,
    pub cells_per_block: u32,
    /// K and V, or K alone.
    pub planes: Vec<PlaneAt>,
    pub regions: Arc<[Region]>,
    /// Empty: every region has its heads of all blocks.
    pub rounds: Rounds,
    /// Of each plane in each region. [n_regions][n_planes]
    pub heads: Vec<Vec<HeadsAt>>,
}

impl KvLayer {
    /// A layer in one region; `at` are the offsets of its planes in a block.
    pub fn whole(buf: Arc<dyn Buffer>, block_bytes: usize, cells_per_block: u32, planes: Vec<PlaneAt>, at: &[usize]) -> KvLayer {
        let regions = [Region { node: 0, base: 0, block_bytes, per_round: 1 }];
        let heads = planes.iter().zip(at).map(|(p, at)| HeadsAt { heads: 0..p.heads, at: *at }).collect();
        KvLayer { buf, cells_per_block, planes, regions: Arc::new(regions), rounds: Arc::new([]), heads: vec![heads] }
    }

    /// Where V are: the first elements of K where they have no plane of their own (MLA).
    pub fn plane_of_v(&self) -> usize {
        self.planes.len() - 1
    }

    /// Cells that the buffer has room for.
    pub fn cells(&self) -> usize {
        let block: usize = match self.rounds.is_empty() {
            true => self.regions.iter().map(|r| r.block_bytes).sum(),
            false => self.regions[0].block_bytes,
        };
        self.buf.len() / block.max(1) * self.cells_per_block as usize
    }

    /// The heads of each region, where every block is cut by heads.
    pub fn cuts(&self) -> Option<impl Iterator<Item = (u32, Range<u32>)>> {
        let all = || self.regions.iter().zip(&self.heads).map(|(r, h)| (r.node, h[0].heads.clone()));
        (self.rounds.is_empty() && self.regions.len() > 1).then(all)
    }

    /// Heads of a plane that lie one after the other, `h` among them.
    pub fn together(&self, plane: usize, h: u32) -> Range<u32> {
        self.region_of(plane, h).1.heads.clone()
    }

    fn region_of(&self, plane: usize, h: u32) -> (&Region, &HeadsAt) {
        let found = self.heads.iter().position(|r| r[plane].heads.contains(&h)).unwrap_or(0);
        (&self.regions[found], &self.heads[found][plane])
    }

    /// The node of a block, where blocks go round.
    pub fn node_of(&self, b: BlockId) -> u32 {
        if self.rounds.is_empty() { 0 } else { self.rounds[b.0 as usize % self.rounds.len()].0 }
    }

    /// Offset in `buf` of head `h`'s row in `slot` of block `b`; the next slot of the same tile is `head_bytes` further.
    pub fn row_at(&self, plane: usize, b: BlockId, slot: u16, h: u32) -> usize {
        let (mut region, heads) = self.region_of(plane, h);
        let mut block = b.0 as usize;
        if !self.rounds.is_empty() {
            let (of, rank) = self.rounds[block % self.rounds.len()];
            region = &self.regions[of as usize];
            block = block / self.rounds.len() * region.per_round as usize + rank as usize;
        }
        let (tile, in_tile) = ((slot / TILE) as usize, (slot % TILE) as usize);
        let row = (tile * heads.heads.len() + (h - heads.heads.start) as usize) * TILE as usize + in_tile;
        region.base + block * region.block_bytes + heads.at + row * self.planes[plane].head_bytes
    }

    /// Where the rows of head `h` in `len` slots from `slot` on lie.
    pub fn stretches(&self, plane: usize, b: BlockId, slot: u16, len: u16, h: u32) -> impl Iterator<Item = Stretch> + '_ {
        let (mut slot, end) = (slot, slot + len);
        std::iter::from_fn(move || {
            let n = (TILE - slot % TILE).min(end - slot);
            let s = Stretch { at: self.row_at(plane, b, slot, h), n };
            slot += n;
            (n > 0).then_some(s)
        })
    }
}

/// The rows of one memory group, by layer index; `None` for layers of other groups.
#[derive(Clone, Default)]
pub struct KvGroup {
    pub layers: Vec<Option<KvLayer>>,
}
