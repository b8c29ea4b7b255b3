//! Where the rows of a group lie: one lazily touched buffer per device, cut into blocks; a block holds its cells of all layers of
//! that device, so that what is used together lies together. Knows planes and sizes, not what they mean.
use super::resident::{Device, Resident};
use crate::backend::{Backend, BlockId, Copy2d, DType, KvGroup, KvLayer, PlaneAt, Stretch};
use platform::{Backing, Error, Result};
use std::sync::Arc;

/// One plane (K or V) of a layer.
#[derive(Clone, Copy, Debug)]
pub struct PlaneSpec {
    pub ty: DType,
    pub heads: u32,
    pub head_len: u32,
    /// As in `PlaneAt`.
    pub hadamard: u32,
}

/// A layer that stores rows in this group.
#[derive(Clone, Debug)]
pub struct LayerRows {
    pub il: usize,
    /// Index of its backend.
    pub place: usize,
    pub planes: Vec<PlaneSpec>,
}

/// Most bytes of a block over all layers, unless 32 cells need more. What a large block costs is what stays because of its neighbours: when every
/// second run of 256 cells goes, at borders that are no block's, blocks of n cells keep up to (256 + n) / 256 of what is used (1.12 for 32, 1.25, 1.5,
/// 2.0 for 256), and a sequence that leaves a shared block copies up to all of it. What it saves is bookkeeping: 131072 cells of a 1B model (32 KiB
/// each) are 4096 blocks of 32. Nothing else hangs on it: cells are secured in tiles, attention reads tiles, and the blocks of a prompt are neighbours
/// that are secured together (512 tokens: 1 call for the pages and 2 for huge ones) and given back together.
const BLOCK_BYTES: usize = 1 << 20;
/// Planes start on cache lines, blocks on pages.
const ALIGN: usize = 64;

fn head_bytes(p: &PlaneSpec) -> Result<usize> {
    let n = p.ty.row_bytes(p.head_len as usize);
    n.ok_or_else(|| Error::invalid(format!("a head of {} does not divide into blocks of {}", p.head_len, p.ty.name())))
}

fn cell_bytes(layers: &[LayerRows]) -> Result<usize> {
    layers.iter().flat_map(|l| &l.planes).map(|p| Ok(head_bytes(p)? * p.heads as usize)).sum()
}

/// Cells of a block: a power of two, 32..=256.
pub fn cells_per_block(layers: &[LayerRows]) -> Result<u32> {
    let cell = cell_bytes(layers)?.max(1);
    Ok([256, 128, 64].into_iter().find(|n| cell * n <= BLOCK_BYTES).unwrap_or(32) as u32)
}

/// The bytes of one group.
pub struct Store {
    group: KvGroup,
    resident: Arc<Resident>,
    in_files: InFiles,
}

/// Rows of a plane that are zeros in the original's files and nowhere else: nobody reads them.
#[derive(Clone, Copy, Debug)]
pub struct EmptyRows {
    pub il: usize,
    pub plane: usize,
    pub ty: DType,
    pub n_embd: usize,
}

/// What is known of a store's rows in the original's files that rows of K and V do not show.
#[derive(Clone, Debug, Default)]
pub struct InFiles {
    pub empty: Vec<EmptyRows>,
    /// Rows are under whatever transform the original keeps them under, so that none has to be taken back.
    pub as_kept: bool,
}

impl Store {
    pub fn new(
        layers: &[LayerRows],
        backends: &[Arc<dyn Backend>],
        n_layer: usize,
        cells_per_block: u32,
        n_blocks: u32,
        backing: &Backing,
    ) -> Result<Store> {
        let mut group = KvGroup { layers: vec![None; n_layer] };
        let mut devices = Vec::new();
        for (place, backend) in backends.iter().enumerate() {
            let mine: Vec<&LayerRows> = layers.iter().filter(|l| l.place == place).collect();
            if mine.is_empty() {
                continue;
            }
            let mut at = 0;
            let mut planes = Vec::new();
            for l in &mine {
                planes.push(l.planes.iter().map(|p| plane(p, cells_per_block, &mut at)).collect::<Result<Vec<_>>>()?);
            }
            let block_bytes = at.next_multiple_of(platform::mmap::page_size());
            let bytes = block_bytes.checked_mul(n_blocks as usize).ok_or_else(|| Error::no_memory("KV store too large"))?;
            let buf = backend.alloc_in(bytes, "KV store", backing)?;
            let spans = planes.iter().flatten().map(|p| (p.at, p.heads as usize * p.head_bytes)).collect();
            for (l, planes) in mine.iter().zip(planes) {
                group.layers[l.il] = Some(KvLayer { buf: buf.clone(), block_bytes, cells_per_block, planes });
            }
            devices.push(Device { buf, block_bytes, planes: spans });
        }
        Ok(Store { group, resident: Arc::new(Resident::new(devices, cells_per_block, n_blocks)?), in_files: InFiles::default() })
    }

    #[must_use]
    pub fn as_in_files(self, in_files: InFiles) -> Store {
        Store { in_files, ..self }
    }
    pub fn in_files(&self) -> &InFiles {
        &self.in_files
    }

    pub fn group(&self) -> &KvGroup {
        &self.group
    }
    /// Which of it is in memory.
    pub fn resident(&self) -> &Arc<Resident> {
        &self.resident
    }
    /// Address space reserved, not memory used.
    pub fn bytes(&self) -> usize {
        self.resident.reserved()
    }

    /// Makes cells safe to write: refused memory is an error here and no surprise in a kernel.
    pub fn secure_cells(&self, cells: impl Iterator<Item = (BlockId, u16)>) -> Result<()> {
        self.resident.secure(cells)
    }

    /// Copies `len` rows of all layers between blocks.
    pub fn copy(&self, from: (BlockId, u16), to: (BlockId, u16), len: u16) -> Result<()> {
        for l in self.group.layers.iter().flatten() {
            for (i, p) in l.planes.iter().enumerate() {
                let n = p.head_bytes * len as usize;
                let mut row = platform::error::try_zeroed::<u8>(n, "rows to copy")?;
                for h in 0..p.heads {
                    let copies = |(b, slot), out: bool| -> Vec<Copy2d> {
                        let mut at = 0;
                        let one = |s: Stretch| {
                            let n = s.n as usize * p.head_bytes;
                            at += n;
                            if out { Copy2d::flat(at - n, s.at, n) } else { Copy2d::flat(s.at, at - n, n) }
                        };
                        l.stretches(i, b, slot, len, h).map(one).collect()
                    };
                    l.buf.read(&copies(from, true), &mut row)?;
                    l.buf.write(&copies(to, false), &row)?;
                }
            }
        }
        Ok(())
    }
}

fn plane(p: &PlaneSpec, cells_per_block: u32, at: &mut usize) -> Result<PlaneAt> {
    let head_bytes = head_bytes(p)?;
    let here = PlaneAt { at: *at, ty: p.ty, heads: p.heads, head_len: p.head_len, head_bytes, hadamard: p.hadamard };
    *at += (head_bytes * (p.heads * cells_per_block) as usize).next_multiple_of(ALIGN);
    Ok(here)
}
