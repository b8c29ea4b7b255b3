//! Where the rows of a group lie: one lazily touched buffer per device, cut into blocks; a block holds its cells of all layers of
//! that device, so that what is used together lies together. On several nodes each has its heads of every block in a region of its own, or whole
//! blocks in turn where heads are too few. Knows planes and sizes, not what they mean.
use super::resident::{Device, Resident};
use crate::backend::{Backend, BlockId, Buffer, Copy2d, DType, DeviceId, HeadsAt, KvGroup, KvLayer, PlaneAt, Region, Rounds, Stretch};
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
            let plan = Regions::plan(backend.as_ref(), &mine, cells_per_block, n_blocks)?;
            let buf = backend.alloc_in(plan.bytes, "KV store", backing)?;
            for (i, l) in mine.iter().enumerate() {
                let (regions, rounds) = (plan.regions.clone(), plan.rounds.clone());
                let heads = plan.heads.iter().map(|r| r[i].clone()).collect();
                let planes = l.planes.iter().map(plane).collect::<Result<_>>()?;
                group.layers[l.il] = Some(KvLayer { buf: buf.clone(), cells_per_block, planes, regions, rounds, heads });
            }
            devices.extend(plan.devices(&mine, &buf)?);
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
    /// Which node has which blocks, where blocks go round: of the first device that has some.
    pub fn rounds(&self) -> Rounds {
        self.group.layers.iter().flatten().next().map_or_else(|| Rounds::from([]), |l| l.rounds.clone())
    }
    /// Which of it is in memory.
    pub fn resident(&self) -> &Arc<Resident> {
        &self.resident
    }
    /// Address space reserved on each device, not memory used.
    pub fn bytes(&self) -> impl Iterator<Item = (DeviceId, usize)> + '_ {
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

fn plane(p: &PlaneSpec) -> Result<PlaneAt> {
    Ok(PlaneAt { ty: p.ty, heads: p.heads, head_len: p.head_len, head_bytes: head_bytes(p)?, hadamard: p.hadamard })
}

/// Regions start where huge pages do.
const REGION_ALIGN: usize = 2 << 20;

/// How the blocks of a device are spread over its nodes.
struct Regions {
    regions: Arc<[Region]>,
    rounds: Rounds,
    /// [n_regions][n_layers][n_planes]
    heads: Vec<Vec<Vec<HeadsAt>>>,
    n_blocks: Vec<u32>,
    bytes: usize,
}

impl Regions {
    fn plan(backend: &dyn Backend, layers: &[&LayerRows], cells_per_block: u32, n_blocks: u32) -> Result<Regions> {
        let planes = || layers.iter().flat_map(|l| &l.planes);
        let nodes = backend.cut(1, 1).len();
        let by_heads = planes().all(|p| backend.cut(p.heads as usize, 1).iter().all(|part| !part.is_empty()));
        let rounds = if by_heads { Arc::new([]) } else { rounds(backend) };
        let mut out = Regions { regions: Arc::new([]), rounds, heads: Vec::new(), n_blocks: Vec::new(), bytes: 0 };
        let mut regions = Vec::new();
        for node in 0..nodes {
            let mut block_bytes = 0;
            let mut of_plane = |p: &PlaneSpec| -> Result<HeadsAt> {
                let heads = if by_heads { backend.cut(p.heads as usize, 1).swap_remove(node) } else { 0..p.heads as usize };
                let at = block_bytes;
                block_bytes += (head_bytes(p)? * heads.len() * cells_per_block as usize).next_multiple_of(ALIGN);
                Ok(HeadsAt { heads: heads.start as u32..heads.end as u32, at })
            };
            let of_layer = |l: &&LayerRows| l.planes.iter().map(&mut of_plane).collect::<Result<Vec<_>>>();
            out.heads.push(layers.iter().map(of_layer).collect::<Result<_>>()?);
            let block_bytes = block_bytes.next_multiple_of(platform::mmap::page_size());
            let per_round = out.rounds.iter().filter(|r| r.0 == node as u32).count() as u32;
            // The last round may be a part of one.
            let blocks = if by_heads { n_blocks } else { n_blocks.div_ceil(out.rounds.len() as u32) * per_round };
            let base = if node == 0 { 0 } else { out.bytes.next_multiple_of(REGION_ALIGN) };
            let bytes = block_bytes.checked_mul(blocks as usize).and_then(|n| n.checked_add(base));
            out.bytes = bytes.ok_or_else(|| Error::no_memory("KV store too large"))?;
            out.n_blocks.push(blocks);
            regions.push(Region { node: node as u32, base, block_bytes, per_round });
        }
        Ok(Regions { regions: regions.into(), ..out })
    }

    /// What each region has to secure and to give back; its pages go to its node.
    fn devices(&self, layers: &[&LayerRows], buf: &Arc<dyn Buffer>) -> Result<Vec<Device>> {
        let mut out = Vec::new();
        for (i, (r, heads)) in self.regions.iter().zip(&self.heads).enumerate() {
            if self.regions.len() > 1 {
                buf.home(r.base..r.base + r.block_bytes * self.n_blocks[i] as usize, r.node);
            }
            let bytes = |(h, p): (&HeadsAt, &PlaneSpec)| Ok((h.at, h.heads.len() * head_bytes(p)?));
            let planes = heads.iter().zip(layers).flat_map(|(h, l)| h.iter().zip(&l.planes)).map(bytes).collect::<Result<_>>()?;
            let (round, region) = (self.rounds.clone(), i as u32);
            out.push(Device { buf: buf.clone(), base: r.base, block_bytes: r.block_bytes, planes, round, region });
        }
        Ok(out)
    }
}

/// The shortest round in which every node has blocks in proportion to its share.
fn rounds(backend: &dyn Backend) -> Rounds {
    // Shares are told by cutting as many pieces as they can be told apart by.
    const FINE: usize = 720_720;
    let parts: Vec<usize> = backend.cut(FINE, 1).iter().map(|p| p.len()).collect();
    let gcd = parts.iter().fold(0, |a, b| gcd(a, *b)).max(1);
    let (mut left, n): (Vec<usize>, usize) = (parts.iter().map(|p| p / gcd).collect(), FINE / gcd);
    // A round so long that nobody would see it end is cut short.
    if n > 64 {
        left = parts.iter().map(|p| (p * 64 / FINE).max(1)).collect();
    }
    let counts = left.clone();
    let mut out = Vec::new();
    while left.iter().any(|l| *l > 0) {
        for (node, l) in left.iter_mut().enumerate().filter(|l| *l.1 > 0) {
            out.push((node as u32, (counts[node] - *l) as u32));
            *l -= 1;
        }
    }
    out.into()
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
