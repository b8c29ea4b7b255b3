//! Attention however it is cut: by workers, by spans, by who else is in the batch. One order, so one set of bits.
use kernels::{DType, Isa};
use llama::backend::cpu::Cpu;
use llama::backend::device::gpus;
use llama::backend::far::Far;
use llama::backend::*;
use llama::memory::{GroupSpec, Memory, Window};
use platform::pool::Team;
use std::sync::Arc;

use crate::ops::Rng;

const CELLS: u32 = 8192;
const PER_BLOCK: u32 = 32;

/// A layer and what its queries may see.
#[derive(Clone, Copy, Debug)]
struct Shape {
    n_head: u32,
    n_head_kv: u32,
    head: u32,
    ty: DType,
    window: Window,
    sinks: bool,
    alibi: f32,
    /// V are the first so many elements of K; 0: they have a plane of their own.
    latent: u32,
    /// Heads of it look at K of the first head.
    index: Option<PickSpec>,
}

fn ubatch(tokens: impl Iterator<Item = (u32, i32)>) -> Ubatch {
    let (first_seq, pos): (Vec<u32>, Vec<i32>) = tokens.unzip();
    let n = pos.len();
    Ubatch {
        tokens: vec![0; n],
        pos,
        n_pos_per_token: 1,
        seqs: first_seq.iter().map(|s| SeqSet::one(*s)).collect(),
        first_seq,
        output: vec![true; n],
        index: (0..n as u32).collect(),
        ..Ubatch::default()
    }
}

fn decode(m: &mut Memory, ub: &Ubatch) -> Views {
    m.check(std::slice::from_ref(ub)).expect("room");
    let mut placed = m.apply(ub, true).expect("room");
    let views = placed.views.remove(0);
    m.commit(placed);
    views
}

/// Sequences that share cells up to different positions, with further cells of their own; then `new` tokens of each in one batch.
fn asked(window: Window, own: &[i32], new: &[i32]) -> (Ubatch, Views) {
    const PREFIX: i32 = 2500;
    let spec = GroupSpec { window, size: CELLS, cells_per_block: PER_BLOCK, keep_masked: true };
    let mut m = Memory::new(vec![spec], own.len() as u32, true).expect("valid");
    let fill = |m: &mut Memory, seq: u32, p: std::ops::Range<i32>| {
        for at in p.clone().step_by(512) {
            decode(m, &ubatch((at..(at + 512).min(p.end)).map(|p| (seq, p))));
        }
    };
    fill(&mut m, 0, 0..PREFIX);
    for s in 1..own.len() as u32 {
        m.seq_cp(0, s, 0, PREFIX - 70 * (s as i32 - 1)).expect("whole");
    }
    let mut tokens = Vec::new();
    for (s, (own, new)) in own.iter().zip(new).enumerate() {
        let from = m.pos_max(s as u32).map_or(0, |p| p + 1);
        fill(&mut m, s as u32, from..from + own);
        tokens.extend((from + own..from + own + new).map(|p| (s as u32, p)));
    }
    let ub = ubatch(tokens.into_iter());
    let views = decode(&mut m, &ub);
    (ub, views)
}

/// What `keep` of the batch's tokens ask, of the same cells.
fn only(ub: &Ubatch, views: &Views, keep: &[usize]) -> (Ubatch, Views) {
    let part = ubatch(keep.iter().map(|i| (ub.first_seq[*i], ub.pos[*i])));
    let pick = |i: &usize| (views.dst[*i], views.rows[*i].clone());
    let (dst, rows) = keep.iter().map(pick).unzip();
    (part, Views { dst, rows, ..views.clone() })
}

/// Attention of all tokens, `[n_tokens][n_head * head_v]`; the query of token `i` of the whole batch is that of `of[i]`.
fn attend(b: &dyn Backend, s: Shape, ub: &Ubatch, views: &Views, of: &[usize], workers: u32) -> Vec<f32> {
    let dev = b.device();
    let width = s.n_head * s.head;
    let head_bytes = s.ty.row_bytes(s.head as usize).expect("whole blocks");
    let plane_bytes = head_bytes * (s.n_head_kv * PER_BLOCK) as usize;
    let plane = PlaneAt { ty: s.ty, heads: s.n_head_kv, head_len: s.head, head_bytes, hadamard: 0 };
    let n_blocks = (CELLS / PER_BLOCK + 8) as usize;
    let mut raw = vec![0; 2 * plane_bytes * n_blocks];
    let x = Rng::new(5).floats(2 * n_blocks * (s.n_head_kv * PER_BLOCK * s.head) as usize);
    assert!(kernels::float::table(Isa::Scalar).encode_row(s.ty, &x, &mut raw));
    let buf = b.alloc(raw.len(), "kv").expect("small");
    buf.write(&[Copy2d::flat(0, 0, raw.len())], &raw).expect("fits");
    let planes = vec![plane; if s.latent > 0 { 1 } else { 2 }];
    let head_v = if s.latent > 0 { s.latent } else { s.head };
    let layer = KvLayer::whole(buf, 2 * plane_bytes, PER_BLOCK, planes, &[0, plane_bytes]);
    let sinks = b.alloc(4 * s.n_head as usize, "sinks").expect("small");
    let bytes: Vec<u8> = Rng::new(6).floats(s.n_head as usize).iter().flat_map(|x| x.to_le_bytes()).collect();
    sinks.write(&[Copy2d::flat(0, 0, bytes.len())], &bytes).expect("fits");
    let shard = Shard { node: 0, rows: 0..1, layout: Layout::File, buf: sinks, at: 0 };
    let weight = Weight { name: "sinks".into(), ty: DType::F32, shape: [s.n_head, 1, 1], shards: vec![shard] };
    let kv = vec![KvGroup { layers: vec![Some(layer)] }];
    let bound = Bound { weights: Arc::new(vec![weight]), kv: Arc::new(kv) };
    let sinks = s.sinks.then_some(WeightId(0));
    let (n_head, alibi) = (s.n_head, s.alibi);
    let spec = AttendSpec {
        n_head,
        n_head_kv: s.n_head_kv,
        head_k: s.head,
        head_v,
        scale: 0.4,
        softcap: 0.0,
        sinks,
        alibi,
        buckets: None,
        layer: None,
        among: None,
    };
    let group = GroupId(0);
    let among = |i: PickSpec| Among { picks: T(4), n_list: i.n_list, top_k: i.top_k, block: i.block };
    let op = Op::Attend { q: T(0), group, spec: AttendSpec { among: s.index.map(among), ..spec }, out: T(1) };
    let pick = |spec: PickSpec| Op::Pick { q: T(2), weights: (spec.n_list == 1).then_some(T(3)), group, spec, out: T(4) };
    let steps: Vec<Step> = s.index.map(pick).into_iter().chain([op]).map(|op| Step { op, il: 0, dev, seen_as: vec![] }).collect();
    let value = |width| Value { width, rows: Dim::Tokens, dev };
    let index = s.index.iter().flat_map(|i| [i.n_head * i.head, i.n_head, i.width()].map(value));
    let values = [width, s.n_head * head_v].map(value).into_iter().chain(index).collect();
    let plan = Plan { values, steps, watched: false };
    let n = ub.n_tokens();
    let limits = Limits { tokens: n, outputs: n, workers };
    let mut e = b.lower(&plan, 0..plan.steps.len(), &bound, limits).expect("lowers");
    let read = |t: &T| plan.steps.iter().any(|s| s.op.inputs().contains(t));
    for t in [T(0), T(2), T(3)].into_iter().filter(read) {
        let width = plan.value(t).width as usize;
        let x: Vec<f32> = of.iter().flat_map(|i| Rng::new(1000 * u64::from(t.0 + 1) + *i as u64).floats(width)).collect();
        e.write(t, &x).expect("fits");
    }
    let team = Team::new(workers);
    let views = std::slice::from_ref(views);
    e.run(&Io { ub, views, outputs: &[], shifts: &[], team: &team, active: workers, stop: &|| false }).expect("runs");
    let mut out = vec![0.0; n * (s.n_head * head_v) as usize];
    e.read(T(1), 0..n, &mut out).expect("there");
    out
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|v| v.to_bits()).collect()
}

/// More positions than a span has, of a latent K; blocks that each KV head picks for itself, two of them anyway.
const SPARSE: [Shape; 2] = [
    Shape { index: Some(PickSpec { n_head: 3, head: 96, top_k: 1500, n_list: 1, block: 1, local: 0 }), ..SHAPES[5] },
    Shape { index: Some(PickSpec { n_head: 2, head: 32, top_k: 70, n_list: 2, block: 24, local: 2 }), ..SHAPES[0] },
];

const SHAPES: [Shape; 6] = [
    Shape { n_head: 8, n_head_kv: 2, head: 32, ty: DType::F16, window: Window::All, sinks: false, alibi: 0.0, latent: 0, index: None },
    Shape { n_head: 4, n_head_kv: 1, head: 64, ty: DType::BF16, window: Window::All, sinks: true, alibi: 0.0, latent: 0, index: None },
    Shape { n_head: 3, n_head_kv: 3, head: 96, ty: DType::Q8_0, window: Window::All, sinks: false, alibi: 0.0, latent: 0, index: None },
    Shape {
        n_head: 4,
        n_head_kv: 1,
        head: 40,
        ty: DType::F32,
        window: Window::Sliding(700),
        sinks: false,
        alibi: 0.0,
        latent: 0,
        index: None,
    },
    Shape { n_head: 3, n_head_kv: 1, head: 32, ty: DType::F16, window: Window::All, sinks: false, alibi: 8.0, latent: 0, index: None },
    Shape { n_head: 5, n_head_kv: 1, head: 96, ty: DType::F16, window: Window::All, sinks: false, alibi: 0.0, latent: 64, index: None },
];

#[test]
fn neither_workers_nor_company_change_a_bit_of_attention() {
    // One token of one sequence: spans are tasks. A few sequences: some share a pass. Many tokens: tiles of one sequence.
    let loads: [(&[i32], &[i32]); 4] =
        [(&[0], &[1]), (&[30, 200, 0, 900], &[1, 1, 1, 1]), (&[5, 40], &[3, 30]), (&[0, 0, 0, 0, 0], &[1, 2, 1, 1, 9])];
    for s in SHAPES.into_iter().chain(SPARSE) {
        for (own, new) in loads {
            let (ub, views) = asked(s.window, own, new);
            let n = ub.n_tokens();
            let all: Vec<usize> = (0..n).collect();
            for isa in Isa::all_here().filter(|i| *i > Isa::Scalar) {
                let cpu = Cpu::new(DeviceId(0), isa);
                let one = attend(&cpu, s, &ub, &views, &all, 1);
                for workers in [2, 3, 16] {
                    assert_eq!(bits(&attend(&cpu, s, &ub, &views, &all, workers)), bits(&one), "{s:?} {own:?} {isa:?}: {workers} workers");
                }
                let width = one.len() / n;
                for i in 0..n {
                    let (ub, views) = only(&ub, &views, &[i]);
                    let alone = attend(&cpu, s, &ub, &views, &[i], 1 + i as u32 % 3);
                    assert_eq!(bits(&alone), bits(&one[i * width..(i + 1) * width]), "{s:?} {own:?} {isa:?}: token {i} alone");
                }
            }
        }
    }
}

#[test]
fn sequences_that_share_cells_see_what_is_theirs() {
    for s in SHAPES.into_iter().chain(SPARSE) {
        let (ub, views) = asked(s.window, &[30, 200, 0], &[1, 2, 1]);
        let want = attend(&Far::new(DeviceId(1)), s, &ub, &views, &[0, 1, 2, 3], 1);
        let got = attend(&Cpu::new(DeviceId(0), Isa::detect()), s, &ub, &views, &[0, 1, 2, 3], 2);
        let worst = want.iter().zip(&got).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(want.iter().any(|v| *v != 0.0) && worst < 2e-5, "{s:?}: {worst}");
        for gpu in gpus() {
            let b = gpu.open().expect("a device");
            if s.index.is_some() {
                continue;
            }
            let all = attend(b.as_ref(), s, &ub, &views, &[0, 1, 2, 3], 1);
            let worst = want.iter().zip(&all).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < if s.ty.is_quantized() { 5e-3 } else { 5e-5 }, "{} {s:?}: {worst}", gpu.name());
        }
    }
}
