//! Device memory as seen from above: read and written by 2-D copies, host pointers only where the host may have them.
use super::DType;
use platform::Result;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId(pub u16);

/// `rows` runs of `width` bytes: run i goes from `from + i * from_pitch` to `at + i * at_pitch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy2d {
    pub at: usize,
    pub from: usize,
    pub width: usize,
    pub rows: usize,
    pub at_pitch: usize,
    pub from_pitch: usize,
}

impl Copy2d {
    /// One contiguous run.
    pub fn flat(at: usize, from: usize, width: usize) -> Copy2d {
        Copy2d { at, from, width, rows: 1, at_pitch: width, from_pitch: width }
    }
    /// Whether both sides stay inside buffers of these lengths.
    pub fn fits(&self, at_len: usize, from_len: usize) -> bool {
        let end = |base: usize, pitch: usize| pitch.checked_mul(self.rows.saturating_sub(1))?.checked_add(base)?.checked_add(self.width);
        self.rows == 0
            || (end(self.at, self.at_pitch).is_some_and(|e| e <= at_len) && end(self.from, self.from_pitch).is_some_and(|e| e <= from_len))
    }
}

pub trait Buffer: Send + Sync {
    fn device(&self) -> DeviceId;
    fn len(&self) -> usize;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// `None`: memory that only the device can address.
    fn host(&self) -> Option<HostMem>;
    /// One call, many runs: the restore planner's target. `at` is an offset in this buffer, `from` in `src`.
    fn write(&self, list: &[Copy2d], src: &[u8]) -> Result<()>;
    /// `at` is an offset in `dst`, `from` in this buffer.
    fn read(&self, list: &[Copy2d], dst: &mut [u8]) -> Result<()>;
    /// Hands out disjoint ranges of memory that the host can address, to be filled by `f`; as `write`, without a source in memory.
    fn lend(&self, ranges: &[std::ops::Range<usize>], f: &mut dyn FnMut(&mut [std::io::IoSliceMut<'_>]) -> Result<()>) -> Result<()> {
        let _ = (ranges, f);
        Err(platform::Error::unsupported("reading into memory that the host cannot address"))
    }
    /// Makes a range safe to touch (no surprise in a kernel later); contents stay. Refused memory is an error, and nothing that was there has changed.
    fn secure(&self, range: std::ops::Range<usize>) -> Result<()>;
    /// Gives a range back where the device can; whoever takes it again secures it and believes nothing of what is in it.
    fn release(&self, range: std::ops::Range<usize>);
    /// Whether `release` gives anything back.
    fn releases(&self) -> bool {
        false
    }
    /// Nobody has touched it for a while: what can be brought back unchanged may leave memory. `busy` is asked now and then; true ends it.
    fn rest(&self, _busy: &dyn Fn() -> bool) {}
    /// Keeps a range in memory, where the device can. The error says why not; nothing else changes.
    fn lock(&self, range: std::ops::Range<usize>) -> Result<()> {
        let _ = range;
        Ok(())
    }
    /// Whether `rest` does anything.
    fn rests(&self) -> bool {
        false
    }
    /// Bytes of a range that are in memory now, as far as the device can say.
    fn resident(&self, range: std::ops::Range<usize>) -> usize {
        range.len()
    }
}

/// Where host-addressable memory lies. Dereferencing is the CPU backend's business.
#[derive(Clone, Copy, Debug)]
pub struct HostMem {
    pub base: *mut u8,
    pub len: usize,
    pub writable: bool,
}
// SAFETY: a HostMem is an address, not access; whoever dereferences it says why that is sound.
unsafe impl Send for HostMem {}
// SAFETY: as above.
unsafe impl Sync for HostMem {}

/// How a shard's rows lie in memory. Same bits from any (contract 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// As in the file: row after row.
    File,
    /// Sixteen rows side by side (`kernels::quant::group`), each group where its rows stood; rows that fill no group follow as in the file.
    Groups,
}

/// Some rows of a weight on one node. One shard per weight until NUMA placement exists.
#[derive(Clone)]
pub struct Shard {
    pub node: u32,
    pub rows: std::ops::Range<u32>,
    pub layout: Layout,
    pub buf: Arc<dyn Buffer>,
    /// Offset of the first byte in `buf`.
    pub at: usize,
}

/// A matrix (or vector, or stack of expert matrices) with its bytes.
#[derive(Clone)]
pub struct Weight {
    pub name: String,
    pub ty: DType,
    /// [k, rows, experts]
    pub shape: [u32; 3],
    pub shards: Vec<Shard>,
}

impl Weight {
    /// Bytes of one row of `k` elements.
    pub fn row_bytes(&self) -> usize {
        // Checked when the tensor was bound.
        self.ty.row_bytes(self.shape[0] as usize).unwrap_or(0)
    }
    pub fn bytes(&self) -> usize {
        self.row_bytes() * self.shape[1] as usize * self.shape[2] as usize
    }
    pub fn n_elements(&self) -> u64 {
        self.shape.iter().map(|d| u64::from(*d)).product()
    }
}

/// Cells whose rows of one head lie together: a plane is [tiles][heads][TILE][head_bytes]. Streaming 16k cells of 8 heads of 64 f16 for one token
/// (AVX-512, one core, ms, reading ahead a leaf / not): whole rows (1) 27.6 / 28.7, since rows 1 KiB apart share four sets of the first cache;
/// 16: 11.3 / 19.2; 32: 11.7 / 19.8; 64: 12.2 / 19.6; 256: 9.7 / 12.0. Blocks of real models hold 32 cells (1 MiB over all layers), so nothing is lost
/// against heads in one piece, and 16 tokens of a sequence touch what they use and one page per plane (a tile of 32 would touch twice that).
/// Saving and restoring copy head rows either way: 128 bytes and up.
pub const TILE: u16 = 16;

/// One plane (K, or V) of one layer inside a block: [cells_per_block / TILE][heads][TILE][head_bytes].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaneAt {
    /// Offset in the block.
    pub at: usize,
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
    /// Bytes from a row of one head to the same cell's of the next.
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

/// One layer's rows in a group's store.
#[derive(Clone)]
pub struct KvLayer {
    pub buf: Arc<dyn Buffer>,
    pub block_bytes: usize,
    pub cells_per_block: u32,
    /// K and V, or K alone.
    pub planes: Vec<PlaneAt>,
}

impl KvLayer {
    /// Where V are: the first elements of K where they have no plane of their own (MLA).
    pub fn plane_of_v(&self) -> usize {
        self.planes.len() - 1
    }

    /// Offset in `buf` of head `h`'s row in `slot` of block `b`; the next slot of the same tile is `head_bytes` further.
    pub fn row_at(&self, plane: usize, b: crate::backend::BlockId, slot: u16, h: u32) -> usize {
        let p = &self.planes[plane];
        let (tile, in_tile) = ((slot / TILE) as usize, (slot % TILE) as usize);
        let row = (tile * p.heads as usize + h as usize) * TILE as usize + in_tile;
        b.0 as usize * self.block_bytes + p.at + row * p.head_bytes
    }

    /// Where the rows of head `h` in `len` slots from `slot` on lie.
    pub fn stretches(&self, plane: usize, b: crate::backend::BlockId, slot: u16, len: u16, h: u32) -> impl Iterator<Item = Stretch> + '_ {
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
