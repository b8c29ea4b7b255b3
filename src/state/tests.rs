//! Restores onto a device that counts: how many calls and bytes a state costs, however its cells come to lie. What counts here is what the CPU does too.
use super::form::{Layout, Parts};
use super::io::{Reader, Source, ToMemory};
use super::{apply, parse, write};
use crate::backend::cpu::Cpu;
use crate::backend::far::Far;
use crate::backend::{Backend, DType, DeviceId};
use crate::memory::restore::{CellExt, Held};
use crate::memory::rows::{SeqSet, pieces};
use crate::memory::store::{LayerRows, PlaneSpec, Store};
use crate::memory::{GroupSpec, Memory, Window};
use platform::Result;
use std::sync::Arc;

const LAYERS: usize = 3;
/// Heads of 128 values of 16 bits: a block of 64 cells is a run that is worth a read of its own.
const HEAD: u32 = 128;

struct World {
    memory: Memory,
    stores: Vec<Store>,
}

fn world(backend: Arc<dyn Backend>, cells: u32, heads: u32) -> World {
    let plane = PlaneSpec { ty: DType::F16, heads, head_len: HEAD, hadamard: 0 };
    let layers: Vec<LayerRows> = (0..LAYERS).map(|il| LayerRows { il, place: 0, planes: vec![plane, plane] }).collect();
    let spec = GroupSpec { window: Window::All, size: cells, cells_per_block: 64, keep_masked: true };
    let store = Store::new(&layers, &[backend], LAYERS, 64, spec.n_blocks_max(1), &platform::Backing::Mmap).expect("small");
    World { memory: Memory::new(vec![spec], 4, true).expect("valid"), stores: vec![store] }
}

fn parts(seq: u32) -> Parts {
    Parts { seq: Some(seq), groups: 0..1, n_seq_max: 4, masked: false, ext: false }
}

impl World {
    /// `n` cells of `seq`, without rows.
    fn place(&mut self, seq: u32, n: u32) {
        let list = (0..n).map(|i| Held { pos: i as i32, seqs: SeqSet::one(seq), stamp: u64::from(i), ext: CellExt::NONE }).collect();
        let placed = self.memory.replace(Some(seq), &[Some(list)]).expect("room");
        self.memory.keep(placed);
    }
    fn write(&self, seq: u32) -> Vec<u8> {
        let mut blob = vec![0; 1 << 24];
        let mut out = ToMemory::new(&mut blob);
        let w = write::Write { memory: &self.memory, stores: &self.stores, parts: &parts(seq), v_trans: false };
        w.blob(&mut out).expect("fits");
        let n = super::io::Sink::written(&out) as usize;
        blob.truncate(n);
        // Whose cells they are is not what is compared.
        let cells = u32::from_le_bytes(blob[4..8].try_into().expect("four")) as usize;
        (0..cells).for_each(|i| blob[16 + 12 * i..][..4].fill(0));
        blob
    }
    fn read(&mut self, seq: u32, src: &dyn Source) {
        let mut r = Reader::new(src, 0);
        let p = parts(seq);
        let blob =
            parse::Read { memory: &self.memory, stores: &self.stores, parts: &p, layout: Layout::V10 }.blob(&mut r).expect("a state");
        apply::apply(&mut self.memory, &self.stores, &p, blob, src, 0..r.at()).expect("room");
    }
}

/// The state of `n` cells whose rows are all different.
fn state(n: u32, heads: u32) -> Vec<u8> {
    let mut w = world(Arc::new(Cpu::new(DeviceId(0), Cpu::isa_from_env())), n, heads);
    w.place(0, n);
    let at: Vec<_> = w.memory.held(0, 0, Some(0)).iter().map(|h| h.0).collect();
    for plane in [0, 1] {
        for (il, rows) in w.stores[0].planes(plane).enumerate() {
            let bytes: Vec<u8> = (0..n as usize * rows.row_bytes()).map(|i| (i * 31 + i / 251 + 7 * il + plane) as u8).collect();
            rows.scatter(&pieces(&at), 0..n, &bytes).expect("inside");
        }
    }
    w.write(0)
}

/// Bytes that can only be read, as a file's.
struct Read(Vec<u8>);
impl Source for Read {
    fn len(&self) -> u64 {
        Source::len(&self.0)
    }
    fn read(&self, at: u64, dst: &mut [u8]) -> Result<()> {
        self.0.read(at, dst)
    }
    fn bytes(&self, _: u64, _: usize) -> Option<&[u8]> {
        None
    }
}

/// Restores `n` cells into a device of `cells` of which sequence 1 has left only what `free` says. (calls, runs, bytes) to the device.
fn cost(n: u32, cells: u32, heads: u32, free: &dyn Fn(u32) -> bool) -> Vec<(u64, u64, u64)> {
    let blob = state(n, heads);
    let file = Read(blob.clone());
    let sources: [&dyn Source; 2] = [&blob, &file];
    let one = |src: &dyn Source| {
        let far = Arc::new(Far::new(DeviceId(0)));
        let mut w = world(far.clone(), cells, heads);
        w.place(1, cells);
        (0..cells).filter(|c| free(*c)).for_each(|c| w.memory.seq_rm(Some(1), c as i32, c as i32 + 1).expect("all is visible"));
        far.counts().take();
        w.read(2, src);
        let (writes, reads, runs, bytes) = far.counts().take();
        assert_eq!(reads, 0);
        assert!(w.write(2)[..] == blob[..], "other rows than those of the state");
        (writes, runs, bytes)
    };
    sources.map(one).to_vec()
}

const PLANES: u64 = 2 * LAYERS as u64;

#[test]
fn the_seed_case_is_four_transfers_a_plane_in_one_call() {
    let seed = [10, 15, 16, 23, 24, 25, 45, 46];
    for cost in cost(8, 64, 1, &|c| seed.contains(&c)) {
        assert_eq!(cost, (PLANES, 4 * PLANES, 8 * u64::from(2 * HEAD) * PLANES));
    }
}

#[test]
fn however_cells_lie_a_layer_is_two_calls() {
    let n = 2048;
    let bytes = u64::from(n * 2 * HEAD) * PLANES;
    let contiguous = cost(n, n, 1, &|_| true);
    let blocks = u64::from(n / 64);
    assert!(contiguous.iter().all(|c| *c == (PLANES, blocks * PLANES, bytes)), "{contiguous:?}");
    for heads in [1, 2] {
        let apart = cost(n, 2 * n, heads, &|c| c % 2 == 0);
        for (calls, runs, moved) in apart {
            assert_eq!((calls, moved), (PLANES, bytes * u64::from(heads)));
            assert!(runs >= u64::from(n) * PLANES, "runs of one cell: {runs}");
        }
    }
}

/// The CPU's way, which reads long runs of a file straight into place.
#[test]
fn the_cpu_has_the_same_rows_from_memory_and_from_a_file() {
    for heads in [1, 2] {
        let blob = state(5000, heads);
        for (free, cells) in [(1, 5000), (2, 10_000), (3, 15_000)] {
            let sources: [&dyn Source; 2] = [&blob, &Read(blob.clone())];
            for src in sources {
                let mut w = world(Arc::new(Cpu::new(DeviceId(0), Cpu::isa_from_env())), cells, heads);
                w.place(1, cells);
                (0..cells as i32).filter(|c| c % free == 0).for_each(|c| w.memory.seq_rm(Some(1), c, c + 1).expect("all is visible"));
                w.read(3, src);
                assert!(w.write(3)[..] == blob[..], "{heads} heads, every {free}");
                // Over itself: nothing is read over.
                w.read(3, src);
                assert!(w.write(3)[..] == blob[..], "{heads} heads, every {free}, again");
            }
        }
    }
}
