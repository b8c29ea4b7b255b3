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
    /// Where the device itself sees the first byte, if that is a number.
    fn address(&self) -> Option<u64> {
        None
    }
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
    /// Pages of a range that nobody has touched yet go to a node, as far as the system lets us.
    fn home(&self, range: std::ops::Range<usize>, node: u32) {
        let _ = (range, node);
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

/// Some rows of each matrix of a weight, on one node (an index in the list of nodes that work is spread over).
#[derive(Clone)]
pub struct Shard {
    pub node: u32,
    pub rows: std::ops::Range<u32>,
    pub layout: Layout,
    pub buf: Arc<dyn Buffer>,
    /// Offset of the first byte in `buf`.
    pub at: usize,
}

/// A matrix (or vector, or stack of expert matrices) with its bytes: in one piece, cut by rows, or all of it on every node.
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
    /// Whether every shard has all rows.
    pub fn is_mirrored(&self) -> bool {
        self.shards.len() > 1 && self.shards.iter().all(|s| s.rows == (0..self.shape[1]))
    }
    /// The rows of each node, where that is how it is cut.
    pub fn cuts(&self) -> Option<&[Shard]> {
        (self.shards.len() > 1 && !self.is_mirrored()).then_some(&self.shards)
    }
    /// The shard in which a worker of `node` finds row `row` of any matrix.
    pub fn shard(&self, node: usize, row: usize) -> &Shard {
        match self.cuts() {
            None => self.shards.get(node).unwrap_or(&self.shards[0]),
            // The last one has what others do not: rows were checked against the shape.
            Some(cuts) => cuts.iter().find(|s| s.rows.contains(&(row as u32))).unwrap_or(&cuts[cuts.len() - 1]),
        }
    }
    /// Offset in a shard's buffer of row `row` of matrix `i`.
    pub fn at(&self, s: &Shard, i: usize, row: usize) -> usize {
        s.at + (i * s.rows.len() + row - s.rows.start as usize) * self.row_bytes()
    }
}
