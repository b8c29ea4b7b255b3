//! What a context's KV store costs: as much as it holds, up and down, whatever the order of things; and memory, limits and disks that say no.
//! Cells are filled without computing; what is counted are pages of the store (mincore), so that nothing else in the process matters.
#![cfg(not(camelid_no_mmap))]
mod limits;
mod release;
#[path = "../hostile/tiny.rs"]
mod tiny;
mod usage;

use llama::backend::{BlockId, Copy2d, KvLayer, SeqSet, Ubatch};
use llama::gguf::{LoadMode, Source, Value};
use llama::model::{LoadParams, Model, Offload};
use llama::session::ContextParams;
use llama::session::kv::{Groups, Kv};
use llama::session::params::Sizes;
use std::time::{Duration, Instant};
use tiny::Tiny;

pub const MIB: usize = 1 << 20;
pub const N_CTX: u32 = 131_072;
/// K and V of two layers: 8 heads of 128 F16 each.
pub const CELL: usize = 2 * PLANES_PER_LAYER * ROW;
pub const ROW: usize = 8 * 128 * 2;
pub const PLANES_PER_LAYER: usize = 2;
pub const N_LAYER: usize = 2;

/// A small model whose rows in the store have the size of a real one's: 1 GiB for `N_CTX` cells.
pub fn wide() -> Tiny {
    let mut t = Tiny::new("llama");
    for (key, v) in [("head_count", 8), ("head_count_kv", 8), ("key_length", 128), ("value_length", 128)] {
        t.key(&format!("attention.{key}"), Value::U32(v));
    }
    t.key("rope.dimension_count", Value::U32(128));
    t.at("rope_freqs.weight").reshape(&[64]);
    t.at("rope_freqs.weight").fill(1.0);
    for il in 0..N_LAYER {
        for name in ["attn_q", "attn_k", "attn_v"] {
            t.at(&format!("blk.{il}.{name}.weight")).reshape(&[64, 1024]);
        }
        t.at(&format!("blk.{il}.attn_output.weight")).reshape(&[1024, 64]);
    }
    t
}

pub fn model(name: &str) -> Model {
    let file = wide().file(name);
    let source = Source::open(&file.0, LoadMode::Auto).expect("well formed");
    Model::load(
        &source,
        LoadParams {
            vocab_only: false,
            check_tensors: false,
            extra_bufts: true,
            offload: Offload::default(),
            nodes: None,
            progress: &mut |_| true,
        },
    )
    .expect("loads")
}

pub fn params() -> ContextParams {
    ContextParams { n_ctx: N_CTX, n_seq_max: 256, kv_unified: true, kv: Some(platform::Backing::Mmap), ..ContextParams::default() }
}

pub fn kv(m: &Model, p: &ContextParams) -> Kv {
    Kv::new(m, p, &Sizes::of(m, p).expect("sizes"), &Groups::of(&m.layers)).expect("a store")
}

/// Tokens of one sequence at `pos..pos + n`.
pub fn ubatch(seq: u32, pos: i32, n: usize) -> Ubatch {
    Ubatch {
        tokens: vec![1; n],
        pos: (pos..).take(n).collect(),
        n_pos_per_token: 1,
        seqs: vec![SeqSet::one(seq); n],
        first_seq: vec![seq; n],
        output: vec![false; n],
        index: (0..n as u32).collect(),
        ..Ubatch::default()
    }
}

/// What a cell at `pos` holds in every plane.
fn byte(seq: u32, pos: i32) -> u8 {
    (pos as u32).wrapping_mul(31).wrapping_add(seq * 7) as u8
}

fn rows(l: &KvLayer, at: (BlockId, u16)) -> impl Iterator<Item = (usize, usize)> {
    let plane = move |(i, p): (usize, &llama::backend::PlaneAt)| {
        (0..p.heads).map(move |h| (l.row_at(i, at.0, at.1, h), p.head_bytes)).collect::<Vec<_>>()
    };
    l.planes.iter().enumerate().flat_map(plane).collect::<Vec<_>>().into_iter()
}

/// Places tokens and writes their rows, as a decode would. Where they went.
pub fn put(kv: &mut Kv, seq: u32, pos: i32, n: usize) -> Vec<(BlockId, u16)> {
    let ub = ubatch(seq, pos, n);
    let Ok(placed) = kv.place(&ub, true) else { panic!("no room for {n} tokens at {pos}") };
    let at = placed.views[0].dst.clone();
    for (i, place) in at.iter().enumerate() {
        let fill = vec![byte(seq, pos + i as i32); 4096];
        for l in kv.groups()[0].layers.iter().flatten() {
            for (start, bytes) in rows(l, *place) {
                l.buf.write(&[Copy2d::flat(start, 0, bytes)], &fill).expect("inside");
            }
        }
    }
    kv.commit(placed, &ub, true);
    at
}

/// A long run, 512 tokens at a time.
pub fn fill(kv: &mut Kv, seq: u32, n: usize) -> Vec<(BlockId, u16)> {
    (0..n).step_by(512).flat_map(|pos| put(kv, seq, pos as i32, (n - pos).min(512))).collect()
}

/// Whether the rows of `at` are still what was written for positions from `pos` on.
pub fn intact(kv: &Kv, seq: u32, pos: i32, at: &[(BlockId, u16)]) -> bool {
    let mut got = vec![0; 4096];
    at.iter().zip(pos..).all(|(place, p)| {
        kv.groups()[0].layers.iter().flatten().all(|l| {
            rows(l, *place).all(|(start, bytes)| {
                l.buf.read(&[Copy2d::flat(0, start, bytes)], &mut got[..bytes]).expect("inside");
                got[..bytes].iter().all(|b| *b == byte(seq, p))
            })
        })
    })
}

/// Memory falls some time after cells are freed: waits until it is at most `most`, and says what it is.
pub fn settled(kv: &Kv, most: usize) -> usize {
    let start = Instant::now();
    while kv.resident() > most && start.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(20));
    }
    kv.resident()
}

/// What may be resident for `used` cells.
pub fn bound(used: usize) -> usize {
    used * CELL * 11 / 10 + 2 * MIB * N_LAYER
}
