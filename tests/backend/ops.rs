//! Op by op: the CPU at every ISA level against the far backend.
use kernels::{DType, Isa};
use llama::backend::cpu::Cpu;
use llama::backend::device::gpus;
use llama::backend::far::Far;
use llama::backend::*;
use platform::pool::Team;
use std::sync::Arc;

/// splitmix64 in [-1, 1).
pub struct Rng(u64);
impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    pub fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0).collect()
    }
}

/// One plan on one backend: weights and a KV store are made from the same seed on each.
struct Bench<'a> {
    backend: &'a dyn Backend,
    weights: Vec<Weight>,
    plan: Plan,
    kv: Vec<KvGroup>,
    shifts: Vec<KvShift>,
    seed: u64,
}

impl<'a> Bench<'a> {
    fn new(backend: &'a dyn Backend) -> Bench<'a> {
        Bench { backend, weights: vec![], plan: Plan::default(), kv: vec![], shifts: vec![], seed: 1 }
    }
    fn weight(&mut self, ty: DType, shape: [u32; 3]) -> WeightId {
        self.seed += 1;
        let n = shape.iter().product::<u32>() as usize;
        let x: Vec<f32> = Rng::new(self.seed).floats(n).iter().map(|v| v * 0.5).collect();
        let mut raw = vec![0u8; ty.row_bytes(n).expect("whole blocks")];
        assert!(kernels::float::table(Isa::Scalar).encode_row(ty, &x, &mut raw), "{ty:?} cannot be written");
        let buf = self.backend.alloc(raw.len(), "test").expect("small");
        buf.write(&[Copy2d::flat(0, 0, raw.len())], &raw).expect("fits");
        let shard = Shard { node: 0, rows: 0..shape[1], layout: Layout::File, buf, at: 0 };
        self.weights.push(Weight { name: format!("w{}", self.weights.len()), ty, shape, shards: vec![shard] });
        WeightId(self.weights.len() as u32 - 1)
    }
    fn value(&mut self, width: u32, rows: Dim) -> T {
        self.plan.values.push(Value { width, rows, dev: self.backend.device() });
        T(self.plan.values.len() as u32 - 1)
    }
    fn step(&mut self, op: Op) {
        self.plan.steps.push(Step { op, il: 0, dev: self.backend.device(), seen_as: vec![] });
    }
    /// A layer's K and V in `n_blocks` blocks of 32 cells.
    fn store(&mut self, heads: u32, head_len: u32, ty: DType, n_blocks: usize, hadamard: u32) -> GroupId {
        let head_bytes = ty.row_bytes(head_len as usize).expect("whole blocks");
        let plane = PlaneAt { ty, heads, head_len, head_bytes, hadamard };
        let bytes = head_bytes * heads as usize * 32;
        let buf = self.backend.alloc(2 * bytes * n_blocks, "kv").expect("small");
        self.kv.push(KvGroup { layers: vec![Some(KvLayer::whole(buf, 2 * bytes, 32, vec![plane; 2], &[0, bytes]))] });
        GroupId(self.kv.len() as u16 - 1)
    }
    /// Brings every weight into the layout that the backend likes best; returns how many moved.
    fn relay(&mut self) -> usize {
        let mut moved = 0;
        for w in &mut self.weights {
            let layout = self.backend.layout(w);
            if layout != Layout::File {
                let (buf, rows) = (self.backend.alloc(w.bytes(), "relaid").expect("small"), (w.shape[1] * w.shape[2]) as usize);
                self.backend.relay(w, 0..rows, layout, buf.as_ref(), 0).expect("fits");
                w.shards = vec![Shard { layout, buf, ..w.shards[0].clone() }];
                moved += 1;
            }
        }
        moved
    }
    /// Runs with embeddings as input and returns value `t`.
    fn run(&self, ub: &Ubatch, views: &[Views], n_workers: u32, t: T) -> Vec<f32> {
        let bound = Bound { weights: Arc::new(self.weights.clone()), kv: Arc::new(self.kv.clone()) };
        let limits = Limits { tokens: ub.n_tokens(), outputs: ub.n_tokens(), workers: n_workers };
        let mut e = self.backend.lower(&self.plan, 0..self.plan.steps.len(), &bound, limits).expect("lowers");
        let outputs: Vec<u32> = (0..ub.n_tokens() as u32).filter(|i| ub.output[*i as usize]).collect();
        let team = Team::new(n_workers);
        let io = Io { ub, views, outputs: &outputs, shifts: &self.shifts, team: &team, active: n_workers, stop: &|| false };
        e.run(&io).expect("runs");
        let v = self.plan.value(t);
        let rows = if v.rows == Dim::Tokens { ub.n_tokens() } else { outputs.len() };
        let mut out = vec![0.0; rows * v.width as usize];
        e.read(t, 0..rows, &mut out).expect("there");
        out
    }
}

fn ubatch(n: usize, width: usize) -> Ubatch {
    Ubatch {
        tokens: vec![],
        embd: Rng::new(99).floats(n * width),
        pos: (0..n as i32).collect(),
        n_pos_per_token: 1,
        seqs: vec![SeqSet::one(0); n],
        first_seq: vec![0; n],
        output: (0..n).map(|i| i % 2 == 0 || i + 1 == n).collect(),
        index: (0..n as u32).collect(),
    }
}

/// Devices of another kind round inputs of products in other places (to int8 for every 32 numbers) and have other functions.
const ROUNDED: f32 = 1e-2;
const EXACT: f32 = 4e-5;

/// The same plan on every GPU of this process: near what is wanted, and no token's bits depend on how many are beside it.
fn on_gpus(width: usize, n: usize, want: &[f32], build: &impl Fn(&mut Bench<'_>, T) -> (T, Vec<Views>)) {
    for gpu in gpus() {
        let b = gpu.open().expect("a device");
        let run = |n: usize| {
            let mut bench = Bench::new(b.as_ref());
            let (table, x) = (bench.weight(DType::F32, [width as u32, 1, 1]), bench.value(width as u32, Dim::Tokens));
            bench.step(Op::Embed { table, by: Lookup::Tokens, scale: 1.0, out: x });
            let (t, views) = build(&mut bench, x);
            let tolerance = if bench.weights.iter().any(|w| w.ty.is_quantized()) { ROUNDED } else { EXACT };
            (bench.run(&ubatch(n, width), &views, 1, t), tolerance, bench.plan.value(t).rows, views.is_empty())
        };
        let (got, tolerance, rows, alone) = run(n);
        let scale = want.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        for (i, (a, b)) in got.iter().zip(want).enumerate() {
            assert!((a - b).abs() <= tolerance * scale, "{}: element {i} of {}: {a} and {b}", gpu.name(), want.len());
        }
        if n > 1 && rows == Dim::Tokens && alone {
            let one = run(1).0;
            assert!(one.iter().zip(&got).all(|(a, b)| a.to_bits() == b.to_bits()), "{}: other bits with {n} tokens", gpu.name());
        }
    }
}

/// Builds the same plan on the far backend and on the CPU at every level, for several sizes and teams.
fn agree(width: usize, tolerance: f32, build: impl Fn(&mut Bench<'_>, T) -> (T, Vec<Views>)) {
    for n in [1, 5, 33] {
        let ub = ubatch(n, width);
        let run = |b: &dyn Backend, workers, relaid: bool| {
            let mut bench = Bench::new(b);
            let (table, x) = (bench.weight(DType::F32, [width as u32, 1, 1]), bench.value(width as u32, Dim::Tokens));
            bench.step(Op::Embed { table, by: Lookup::Tokens, scale: 1.0, out: x });
            let (t, views) = build(&mut bench, x);
            if relaid {
                bench.relay();
            }
            bench.run(&ub, &views, workers, t)
        };
        let want = run(&Far::new(DeviceId(1)), 1, false);
        assert!(want.iter().all(|v| v.is_finite()) && want.iter().any(|v| *v != 0.0));
        for isa in Isa::all_here() {
            let one = run(&Cpu::new(DeviceId(0), isa), 1, false);
            let scale = want.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            for (i, (a, b)) in one.iter().zip(&want).enumerate() {
                assert!((a - b).abs() <= tolerance * scale, "{isa:?}, {n} tokens, element {i}: {a} and {b}");
            }
            for relaid in [false, true] {
                let three = run(&Cpu::new(DeviceId(0), isa), 3, relaid);
                let same = one.iter().zip(&three).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "{isa:?}: other bits with three workers, another layout: {relaid}");
            }
        }
        on_gpus(width, n, &want, &build);
    }
}

/// `make test` and `make test-cuda` bring a device along; without one the comparisons with GPUs are none.
#[test]
fn gpus_are_there_where_they_must_be() {
    let cuda = gpus().iter().any(|g| g.family() == "CUDA");
    assert!(cuda || std::env::var_os("CAMELID_TEST_GPUS").is_none(), "no CUDA device was found");
}

/// Rows of every weight type as a GPU reads them: looked up they are what the CPU makes of them, multiplied they are within the rounding of inputs.
#[test]
fn gpus_read_every_weight_type() {
    let (k, n_rows) = (512usize, 37u32);
    for gpu in gpus() {
        let b = gpu.open().expect("a device");
        for ty in DType::TABLE.iter().map(|t| t.0).filter(|t| b.supports(*t)) {
            let x = Rng::new(ty as u64).floats(k * n_rows as usize);
            let mut raw = vec![0u8; ty.row_bytes(x.len()).expect("whole blocks")];
            let important = vec![1.0; x.len()];
            assert!(kernels::quant::quantize(ty, &x, Some(&important), &mut raw) || kernels::quant::from_f32(ty, &x, &mut raw), "{ty:?}");
            let mut rows = vec![0.0; x.len()];
            raw.chunks_exact(raw.len() / n_rows as usize)
                .zip(rows.chunks_exact_mut(k))
                .for_each(|(r, to)| assert!(kernels::quant::to_f32(ty, r, to)));
            let bench = |lookup: bool, n: usize| {
                let mut bench = Bench::new(b.as_ref());
                let buf = b.alloc(raw.len(), "test").expect("small");
                buf.write(&[Copy2d::flat(0, 0, raw.len())], &raw).expect("fits");
                let shards = vec![Shard { node: 0, rows: 0..n_rows, layout: Layout::File, buf, at: 0 }];
                bench.weights.push(Weight { name: format!("{ty:?}"), ty, shape: [k as u32, n_rows, 1], shards });
                let out = bench.value(if lookup { k as u32 } else { n_rows }, Dim::Tokens);
                if lookup {
                    bench.step(Op::Embed { table: WeightId(0), by: Lookup::Positions, scale: 1.0, out });
                } else {
                    let (table, x) = (bench.weight(DType::F32, [k as u32, 1, 1]), bench.value(k as u32, Dim::Tokens));
                    bench.step(Op::Embed { table, by: Lookup::Tokens, scale: 1.0, out: x });
                    bench.step(Op::Linear { x, outs: vec![Proj::plain(WeightId(0), out)], fine: false });
                }
                bench.run(&ubatch(n, k), &[], 1, out)
            };
            let looked_up = bench(true, 11);
            let worst = looked_up.iter().zip(&rows).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-6 && looked_up.iter().any(|v| *v != 0.0), "{ty:?}: rows differ by {worst}");
            let input = ubatch(11, k).embd;
            let want: Vec<f64> = input
                .chunks_exact(k)
                .flat_map(|x| rows.chunks_exact(k).map(move |w| w.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum()))
                .collect();
            let got = bench(false, 11);
            // A prompt goes another way, through tensor cores where there are some: to the same bits.
            let many = bench(false, 70);
            assert!(got.iter().zip(&many).all(|(a, b)| a.to_bits() == b.to_bits()), "{ty:?}: other bits in a prompt");
            let (error, size) = got.iter().zip(&want).fold((0.0, 0.0), |(e, s), (g, w)| (e + (f64::from(*g) - w).powi(2), s + w * w));
            let nmse = error / size;
            assert!(nmse < if ty.is_quantized() { 5e-5 } else { 1e-12 }, "{ty:?}: nmse {nmse:e}");
        }
    }
}

#[test]
fn linear_with_bias_and_several_types() {
    linear(false);
    linear(true);
}

fn linear(fine: bool) {
    agree(256, 1e-5, |b, x| {
        let proj = |b: &mut Bench<'_>, ty, rows| {
            let out = b.value(rows, Dim::Tokens);
            Proj {
                bias: Some(b.weight(DType::F32, [rows, 1, 1])),
                scale: Some(b.weight(DType::F32, [1, 1, 1])),
                scale_after_bias: rows % 16 == 0,
                ..Proj::plain(b.weight(ty, [256, rows, 1]), out)
            }
        };
        let outs = vec![proj(b, DType::F32, 40), proj(b, DType::Q8_0, 72), proj(b, DType::F16, 24), proj(b, DType::BF16, 100)];
        let parts: Vec<T> = outs.iter().map(|p| p.out).collect();
        b.step(Op::Linear { x, outs, fine });
        // The last is returned; the others are checked through it by being read into one more product.
        let sum = b.value(72, Dim::Tokens);
        b.step(Op::Map { x: parts[1], y: None, f: MapFn::Scale(1.0), out: sum });
        (sum, vec![])
    });
}

#[test]
fn low_ranks_beside_products_and_rows() {
    // Wider than what is summed at a time, and no whole number of it.
    agree(64, 1e-4, |b, x| {
        let (w, bias, by) = (b.weight(DType::Q8_0, [64, 600, 1]), b.weight(DType::F32, [600, 1, 1]), b.weight(DType::F32, [1, 1, 1]));
        let (a, a2) = (b.weight(DType::F16, [64, 12, 1]), b.weight(DType::Q8_0, [64, 3, 1]));
        let (wide, wide2) = (b.weight(DType::F32, [700, 12, 1]), b.weight(DType::F32, [600, 3, 1]));
        let [y, z, z2] = [600, 12, 3].map(|n| b.value(n, Dim::Tokens));
        let outs = vec![Proj { bias: Some(bias), ..Proj::plain(w, y) }, Proj::plain(a, z), Proj::plain(a2, z2)];
        b.step(Op::Linear { x, outs, fine: false });
        let parts = vec![Low { z, b: wide, first: 100, scale: 0.5 }, Low { z: z2, b: wide2, first: 0, scale: -2.0 }];
        let other = vec![Low { z: z2, b: wide2, first: 7, scale: 1.0 }];
        b.step(Op::AddLow { deltas: vec![Delta { out: y, by: Some(by), parts }, Delta { out: x, by: None, parts: other }] });
        let back = b.weight(DType::F32, [600, 64, 1]);
        let out = b.value(64, Dim::Tokens);
        b.step(Op::Linear { x: y, outs: vec![Proj::plain(back, out)], fine: false });
        let sum = b.value(64, Dim::Tokens);
        b.step(Op::Map { x: out, y: Some(x), f: MapFn::Add, out: sum });
        (sum, vec![])
    });
}

/// A norm, products and what is added to them: one step, or three where somebody watches.
#[test]
fn low_ranks_added_at_once_have_the_bits_of_those_added_later() {
    let cpu = Cpu::new(DeviceId(0), Isa::detect());
    for (n, fine, workers) in [(1, false, 1), (1, true, 3), (5, false, 2), (33, true, 1), (100, false, 3)] {
        let run = |watched, workers| {
            let mut b = Bench::new(&cpu);
            b.plan.watched = watched;
            let (table, norm) = (b.weight(DType::F32, [64, 1, 1]), Some(b.weight(DType::F32, [64, 1, 1])));
            let [raw, x, u, v, z, z2] = [64, 64, 600, 80, 70, 5].map(|n| b.value(n, Dim::Tokens));
            b.step(Op::Embed { table, by: Lookup::Tokens, scale: 1.0, out: raw });
            b.step(Op::Norm { x: raw, add: None, w: norm, b: None, kind: NormKind::Rms, eps: 1e-5, sum: None, out: x });
            let mats = [(DType::Q8_0, u, 600), (DType::F16, v, 80), (DType::F16, z, 70), (DType::Q8_0, z2, 5)];
            let outs = mats.map(|(ty, out, rows)| Proj::plain(b.weight(ty, [64, rows, 1]), out)).to_vec();
            b.step(Op::Linear { x, outs, fine });
            let (wide, wide2) = (b.weight(DType::F32, [610, 70, 1]), b.weight(DType::F32, [600, 5, 1]));
            let of_u = vec![Low { z, b: wide, first: 10, scale: 0.5 }, Low { z: z2, b: wide2, first: 0, scale: -2.0 }];
            let of_v = vec![Low { z, b: wide, first: 3, scale: 1.5 }];
            b.step(Op::AddLow { deltas: vec![Delta { out: u, by: None, parts: of_u }, Delta { out: v, by: None, parts: of_v }] });
            let (back, out) = (b.weight(DType::F32, [80, 600, 1]), b.value(600, Dim::Tokens));
            b.step(Op::Linear { x: v, outs: vec![Proj::plain(back, out)], fine: false });
            let sum = b.value(600, Dim::Tokens);
            b.step(Op::Map { x: out, y: Some(u), f: MapFn::Add, out: sum });
            b.run(&ubatch(n, 64), &[], workers, sum)
        };
        let (apart, at_once) = (run(true, 1), run(false, workers));
        assert!(apart.iter().zip(&at_once).all(|(a, b)| a.to_bits() == b.to_bits()), "{n} tokens, fine: {fine}, {workers} workers");
    }
}

#[test]
fn low_ranks_that_do_not_fit_are_refused() {
    let cpu = Cpu::new(DeviceId(0), Isa::Scalar);
    for (shape, first, ty) in
        [([64, 3, 1], 0, DType::F32), ([64, 4, 1], 1, DType::F32), ([64, 4, 1], u32::MAX, DType::F32), ([64, 4, 1], 0, DType::F16)]
    {
        let mut b = Bench::new(&cpu);
        let (wide, z, out) = (b.weight(ty, shape), b.value(4, Dim::Tokens), b.value(64, Dim::Tokens));
        b.step(Op::AddLow { deltas: vec![Delta { out, by: None, parts: vec![Low { z, b: wide, first, scale: 1.0 }] }] });
        let bound = Bound { weights: Arc::new(b.weights.clone()), kv: Arc::new(vec![]) };
        let e = cpu.lower(&b.plan, 0..1, &bound, Limits { tokens: 1, outputs: 1, workers: 1 }).err();
        assert!(e.is_some_and(|e| e.to_string().contains("does not fit")), "{shape:?} {first} {ty:?}");
    }
}

#[test]
fn rows_of_a_low_rank_are_zeros_where_embeddings_come_in() {
    agree(64, 0.0, |b, x| {
        let (table, z) = (b.weight(DType::F32, [64, 9, 1]), b.value(64, Dim::Tokens));
        b.step(Op::Embed { table, by: Lookup::TokensOrNothing, scale: 3.0, out: z });
        let out = b.value(64, Dim::Tokens);
        b.step(Op::Map { x, y: Some(z), f: MapFn::Add, out });
        (out, vec![])
    });
}

#[test]
fn norm_with_residual() {
    agree(100, 1e-5, |b, x| {
        let (sum, out) = (b.value(100, Dim::Tokens), b.value(100, Dim::Tokens));
        let w = Some(b.weight(DType::F32, [100, 1, 1]));
        b.step(Op::Norm { x, add: Some(x), w, b: None, kind: NormKind::Rms, eps: 1e-5, sum: Some(sum), out });
        let both = b.value(100, Dim::Tokens);
        b.step(Op::Map { x: sum, y: Some(out), f: MapFn::Add, out: both });
        (both, vec![])
    });
}

#[test]
fn glu_softcap_and_rows() {
    let cut = [Act::SiluCut(0.2), Act::CutSilu(0.2)];
    for act in [Act::Silu, Act::Gelu, Act::Relu, Act::ReluSqr, Act::SwigluOai].into_iter().chain(cut) {
        agree(300, 1e-5, |b, x| {
            let (h, c, r) = (b.value(300, Dim::Tokens), b.value(300, Dim::Tokens), b.value(300, Dim::Outputs));
            b.step(Op::Glu { gate: x, up: x, act, out: h });
            b.step(Op::Map { x: h, y: None, f: MapFn::Softcap(0.5), out: c });
            b.step(Op::Rows { x: c, out: r });
            (r, vec![])
        });
    }
}

#[test]
fn elementwise_functions() {
    let temperature = MapFn::Temperature(Temperature { scale: 0.3, span: 4, offset: 1.0 });
    let xielu = MapFn::Act(Act::Xielu(Xielu { alpha_n: 1.5, alpha_p: 0.8, beta: 0.5, eps: -1e-6 }));
    let hide = [true, false].map(|first_only| MapFn::Hide { from: 3, to: 290, first_only });
    let plain = [MapFn::Clamp(0.25), MapFn::Scale(-2.0), MapFn::Plus(0.5), MapFn::Sparse(0.3), temperature, xielu];
    for f in plain.into_iter().chain(hide).chain([MapFn::Act(Act::Gelu), MapFn::Act(Act::ReluSqr), MapFn::Act(Act::Sigmoid)]) {
        agree(300, 1e-5, |b, x| {
            let out = b.value(300, Dim::Tokens);
            b.step(Op::Map { x, y: None, f, out });
            (out, vec![])
        });
    }
    // A gate as wide as its value, one number for all of a row, and one per head.
    for width in [300, 1, 6] {
        agree(300, 1e-5, |b, x| {
            let (y, out) = (b.value(width, Dim::Tokens), b.value(300, Dim::Tokens));
            let w = b.weight(DType::F32, [300, width, 1]);
            b.step(Op::Linear { x, outs: vec![Proj::plain(w, y)], fine: false });
            b.step(Op::Map { x, y: Some(y), f: MapFn::Gate, out });
            (out, vec![])
        });
    }
}

#[test]
fn functions_of_two_values_and_of_weights() {
    for (f, width) in [(MapFn::Sub, 300), (MapFn::Mul, 300), (MapFn::GateSoftplus, 6), (MapFn::AddParts(2), 100), (MapFn::Rescale, 60)] {
        agree(300, 1e-5, |b, x| {
            let (y, out) = (b.value(width, Dim::Tokens), b.value(300, Dim::Tokens));
            let w = b.weight(DType::F32, [300, width, 1]);
            b.step(Op::Linear { x, outs: vec![Proj::plain(w, y)], fine: false });
            b.step(Op::Map { x, y: Some(y), f, out });
            (out, vec![])
        });
    }
    for (how, width) in [(ByWeight::Mul, 300), (ByWeight::Mul, 1), (ByWeight::Mul, 2), (ByWeight::Add, 300), (ByWeight::Div, 300)] {
        agree(300, 1e-5, |b, x| {
            let out = b.value(300, Dim::Tokens);
            let w = b.weight(DType::F32, [width, 1, 1]);
            b.step(Op::Map { x, y: None, f: MapFn::Weight(w, how), out });
            (out, vec![])
        });
    }
}

/// What these do to numbers one can see.
#[test]
fn streams_are_mixed_and_parts_put_together() {
    for backend in [&Far::new(DeviceId(1)) as &dyn Backend, &Cpu::new(DeviceId(0), Isa::detect())] {
        let mut b = Bench::new(backend);
        let (table, x) = (b.weight(DType::F32, [6, 1, 1]), b.value(6, Dim::Tokens));
        b.step(Op::Embed { table, by: Lookup::Tokens, scale: 1.0, out: x });
        // Two streams of two channels, and four numbers that swap them: [0 1; 2 0].
        let coef = b.value(4, Dim::Tokens);
        let cols = |x, first, len| Cols { x, first, step: 0, len };
        b.step(Op::Gather { parts: vec![cols(x, 0, 2), cols(x, 2, 2)], n: 1, out: coef });
        let (streams, mixed, out) = (b.value(4, Dim::Tokens), b.value(4, Dim::Tokens), b.value(9, Dim::Tokens));
        b.step(Op::Gather { parts: vec![cols(x, 4, 2)], n: 2, out: streams });
        b.step(Op::Mix { x: streams, coef, width: 2, out: mixed });
        b.step(Op::Gather { parts: vec![Cols { x: mixed, first: 0, step: 1, len: 2 }, cols(x, 5, 1)], n: 3, out });
        let ub = Ubatch { embd: vec![0.0, 1.0, 2.0, 0.0, 5.0, 7.0], ..ubatch(1, 6) };
        let (a, b2) = ([5.0, 7.0], [10.0, 14.0]);
        assert_eq!(b.run(&ub, &[], 1, mixed), [a, b2].concat());
        assert_eq!(b.run(&ub, &[], 2, out), [5.0, 7.0, 7.0, 7.0, 10.0, 7.0, 10.0, 14.0, 7.0]);
    }
}

#[test]
fn heads_with_a_matrix_each() {
    for ty in [DType::F32, DType::F16, DType::Q8_0] {
        agree(4 * 64, 1e-5, |b, x| {
            let (w, out) = (b.weight(ty, [64, 96, 4]), b.value(4 * 96, Dim::Tokens));
            b.step(Op::Heads { x, w, out });
            (out, vec![])
        });
    }
}

#[test]
fn temperature_grows_by_steps() {
    let t = Temperature { scale: 0.1, span: 8192, offset: 1.0 };
    assert_eq!([0, 8190].map(|p| t.at(p)), [1.0, 1.0]);
    assert_eq!(t.at(8191), 2.0f64.ln() as f32 * 0.1 + 1.0);
    assert!(t.at(16_383) > t.at(16_382));
}

#[test]
fn learned_positions_are_looked_up_and_end_with_the_table() {
    agree(64, 1e-6, |b, _| {
        let (table, out) = (b.weight(DType::F16, [64, 33, 1]), b.value(64, Dim::Tokens));
        b.step(Op::Embed { table, by: Lookup::Positions, scale: 1.0, out });
        (out, vec![])
    });
    for backend in [&Far::new(DeviceId(1)) as &dyn Backend, &Cpu::new(DeviceId(0), Isa::detect())] {
        let mut b = Bench::new(backend);
        let (table, out) = (b.weight(DType::F32, [64, 4, 1]), b.value(64, Dim::Tokens));
        b.step(Op::Embed { table, by: Lookup::Positions, scale: 1.0, out });
        let bound = Bound { weights: Arc::new(b.weights.clone()), kv: Arc::new(vec![]) };
        let mut e = backend.lower(&b.plan, 0..1, &bound, Limits { tokens: 5, outputs: 5, workers: 1 }).expect("lowers");
        let (ub, team) = (ubatch(5, 64), Team::new(1));
        let io = Io { ub: &ub, views: &[], outputs: &[], shifts: &[], team: &team, active: 1, stop: &|| false };
        assert!(e.run(&io).is_err(), "position 4 of a table of 4");
    }
}

#[test]
fn rows_of_a_table_are_the_same_in_groups() {
    // 39 rows: two groups and seven that fill none.
    let ub = Ubatch { tokens: vec![0, 15, 16, 31, 32, 38, 5], embd: vec![], ..ubatch(7, 64) };
    let run = |relaid: bool| {
        let cpu = Cpu::new(DeviceId(0), Isa::detect());
        let mut b = Bench::new(&cpu);
        let (table, out) = (b.weight(DType::Q8_0, [64, 39, 1]), b.value(64, Dim::Tokens));
        b.step(Op::Embed { table, by: Lookup::Tokens, scale: 1.5, out });
        assert_eq!(if relaid { b.relay() } else { 0 }, usize::from(relaid && Isa::detect() > Isa::Scalar));
        b.run(&ub, &[], 2, out)
    };
    assert_eq!(run(false), run(true));
}

#[test]
fn functions_of_two_values_want_both() {
    let cpu = Cpu::new(DeviceId(0), Isa::detect());
    let mut b = Bench::new(&cpu);
    let (x, out) = (b.value(8, Dim::Tokens), b.value(8, Dim::Tokens));
    b.step(Op::Map { x, y: None, f: MapFn::Gate, out });
    let bound = Bound { weights: Arc::new(vec![]), kv: Arc::new(vec![]) };
    assert!(cpu.lower(&b.plan, 0..1, &bound, Limits { tokens: 1, outputs: 1, workers: 1 }).is_err());
}

const RMS: HeadNorm = HeadNorm { len: 0, w: None, number: false, b: None, kind: NormKind::Rms, eps: 1e-5 };

fn rope(kind: RopeKind, n_rot: u32, factors: Option<WeightId>) -> RopeSpec {
    RopeSpec {
        kind,
        at: 0,
        n_rot,
        freq_base: 10_000.0,
        freq_scale: 0.25,
        ext_factor: 1.0,
        attn_factor: 0.9,
        beta_fast: 32.0,
        beta_slow: 1.0,
        n_ctx_orig: 128,
        factors,
        sections: None,
    }
}

#[test]
fn rope_with_norm_and_factors() {
    for kind in [RopeKind::Norm, RopeKind::Neox] {
        agree(4 * 32, 1e-5, |b, x| {
            let norm = Some(HeadNorm { w: Some(b.weight(DType::F32, [32, 1, 1])), eps: 1e-6, ..RMS });
            let f = b.weight(DType::F32, [12, 1, 1]);
            b.step(Op::Rope { x, n_head: 4, norm, rope: Some(rope(kind, 24, Some(f))) });
            (x, vec![])
        });
    }
}

/// Four positions a token, each turning its section of the pairs; the last is 0 for text.
#[test]
fn rope_by_sections() {
    let n = 5;
    let run = |b: &dyn Backend, workers, sections| {
        let mut ub = ubatch(n, 2 * 32);
        ub.n_pos_per_token = 4;
        ub.pos = (0..n as i32).flat_map(|i| [i, 2 * i, 3 * i + 1, 0]).collect();
        let mut bench = Bench::new(b);
        let (table, x) = (bench.weight(DType::F32, [64, 1, 1]), bench.value(64, Dim::Tokens));
        bench.step(Op::Embed { table, by: Lookup::Tokens, scale: 1.0, out: x });
        let rope = Some(RopeSpec { sections, ..rope(RopeKind::Neox, 32, None) });
        bench.step(Op::Rope { x, n_head: 2, norm: None, rope });
        bench.run(&ub, &[], workers, x)
    };
    for interleaved in [false, true] {
        let sections = Some(Sections { pairs: [4, 6, 4, 2], interleaved });
        let want = run(&Far::new(DeviceId(1)), 1, sections);
        assert_ne!(want, run(&Far::new(DeviceId(1)), 1, None));
        for isa in Isa::all_here() {
            assert_eq!(run(&Cpu::new(DeviceId(0), isa), 1, sections), want, "{isa:?}");
            assert_eq!(run(&Cpu::new(DeviceId(0), isa), 3, sections), want, "{isa:?}, three workers");
        }
    }
}

#[test]
fn head_norms() {
    for (kind, weights) in [(NormKind::Rms, 0), (NormKind::Rms, 32), (NormKind::Layer, 4 * 32), (NormKind::Layer, 32)] {
        agree(4 * 32, 1e-5, |b, x| {
            let w = (weights > 0).then(|| b.weight(DType::F32, [weights, 1, 1]));
            b.step(Op::Rope { x, n_head: 4, norm: Some(HeadNorm { w, kind, ..RMS }), rope: None });
            (x, vec![])
        });
    }
}

/// The norm of a head's first part and the rotation of its last (latent K), a number per head, biases.
#[test]
fn parts_of_heads() {
    for kind in [RopeKind::Norm, RopeKind::Neox] {
        agree(2 * 64, 1e-5, |b, x| {
            let norm = Some(HeadNorm { len: 40, w: Some(b.weight(DType::F32, [40, 1, 1])), ..RMS });
            b.step(Op::Rope { x, n_head: 2, norm, rope: Some(RopeSpec { at: 40, ..rope(kind, 24, None) }) });
            (x, vec![])
        });
    }
    agree(4 * 32, 1e-5, |b, x| {
        let number = HeadNorm { w: Some(b.weight(DType::F32, [4, 1, 1])), number: true, ..RMS };
        b.step(Op::Rope { x, n_head: 4, norm: Some(number), rope: None });
        let w = Some(b.weight(DType::F32, [4 * 32, 1, 1]));
        let biased = HeadNorm { w, b: Some(b.weight(DType::F32, [4 * 32, 1, 1])), kind: NormKind::Layer, ..RMS };
        b.step(Op::Rope { x, n_head: 4, norm: Some(biased), rope: None });
        (x, vec![])
    });
}

#[test]
fn slopes_are_those_of_the_paper() {
    let of = |n: u32| (0..n).map(|h| alibi_slope(8.0, h, n)).collect::<Vec<f32>>();
    assert_eq!(of(8), [1, 2, 3, 4, 5, 6, 7, 8].map(|i| (-i as f32).exp2()));
    // Three heads: those of two, then every second of four.
    let close = of(3).iter().zip([0.0625, 0.003_906_25, 0.25]).all(|(a, b)| (a - b).abs() < 1e-7);
    assert!(close, "{:?}", of(3));
}

/// Views of `n` tokens of one sequence stored in shuffled slots, each seeing the last `window` positions.
fn views(n: usize, window: i32) -> Views {
    // 37 is prime to 64: neighbours in position are far apart in the store.
    let place = |i: usize| (BlockId((i * 37 % 64 / 32) as u32), (i * 37 % 32) as u16);
    let mut v = Views { dst: (0..n).map(place).collect(), ..Views::default() };
    for i in 0..n {
        let (block, slot) = place(i);
        v.segs.push(Seg { block, slot, at: i as u8, len: 1 });
    }
    v.leaves.push(Leaf { tile: 0, segs: 0..n as u32, from: 0, to: n as u8 });
    v.rows = (0..n as i32).map(|i| QueryRow { leaves: 0..1, lo: (i - window + 1).max(0), hi: i }).collect();
    v
}

/// Two heads of 32 in a store, shifted or not, and attention over them.
#[derive(Clone, Copy, Debug)]
struct Kept {
    ty: DType,
    hadamard: u32,
    window: i32,
    n_head: u32,
    shifted: bool,
}

const KEPT: Kept = Kept { ty: DType::F32, hadamard: 0, window: 64, n_head: 4, shifted: false };

impl Kept {
    fn run(&self, b: &dyn Backend, workers: u32, n: usize) -> Vec<f32> {
        let (n_head, mut bench) = (self.n_head, Bench::new(b));
        let (table, x) = (bench.weight(DType::F32, [64, 1, 1]), bench.value(64, Dim::Tokens));
        bench.step(Op::Embed { table, by: Lookup::Tokens, scale: 1.0, out: x });
        let (q, out) = (bench.value(n_head * 32, Dim::Tokens), bench.value(n_head * 32, Dim::Tokens));
        let w = bench.weight(DType::F32, [64, n_head * 32, 1]);
        bench.step(Op::Linear { x, outs: vec![Proj::plain(w, q)], fine: false });
        let group = bench.store(2, 32, self.ty, 2, self.hadamard);
        bench.step(Op::Store { group, k: x, v: x });
        if self.shifted {
            bench.shifts = (0..2).map(|b| KvShift { group, block: BlockId(b), slot: 3, len: 20, delta: 5 - 9 * b as i32 }).collect();
            bench.step(Op::Shift { group, rope: rope(RopeKind::Neox, 24, None), hadamard: 0 });
        }
        let sinks = Some(bench.weight(DType::F32, [n_head, 1, 1]));
        let alibi = f32::from(self.window == 64) * 8.0;
        let table = bench.weight(DType::F32, [n_head, 8, 1]);
        let buckets = (self.window == 9).then_some(Buckets { w: table, n: 8, both_sides: true });
        let spec = AttendSpec {
            n_head,
            n_head_kv: 2,
            head_k: 32,
            head_v: 32,
            scale: 0.3,
            softcap: 2.0,
            sinks,
            alibi,
            buckets,
            layer: None,
            among: None,
        };
        bench.step(Op::Attend { q, group, spec, out });
        bench.run(&ubatch(n, 2 * 32), &[views(n, self.window)], workers, out)
    }

    /// What the CPU makes of it at every level and by several workers is what the far backend does.
    fn agree(&self, n: usize) -> Vec<f32> {
        let want = self.run(&Far::new(DeviceId(1)), 1, n);
        for isa in Isa::all_here() {
            let got = self.run(&Cpu::new(DeviceId(0), isa), 1, n);
            assert!(got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 2e-5), "{isa:?} {self:?} {n}");
            assert_eq!(got, self.run(&Cpu::new(DeviceId(0), isa), 3, n), "{isa:?} {self:?} {n}: other bits with three workers");
        }
        for gpu in gpus() {
            let got = self.run(gpu.open().expect("a device").as_ref(), 1, n);
            let worst = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < if self.ty.is_quantized() { 5e-3 } else { 5e-5 }, "{} {self:?} {n}: {worst}", gpu.name());
        }
        want
    }
}

#[test]
fn store_and_attend() {
    for (ty, window, n_head) in [(DType::F32, 64, 4), (DType::F16, 9, 4), (DType::BF16, 64, 2), (DType::Q8_0, 5, 8)] {
        for n in [1usize, 5, 33] {
            Kept { ty, window, n_head, ..KEPT }.agree(n);
        }
    }
}

/// Quantised rows that are kept transformed say what they say as they are: with and without a shift, whole heads and parts.
#[test]
fn transformed_rows() {
    for shifted in [false, true] {
        for n in [5usize, 33] {
            let exact = Kept { shifted, ..KEPT }.agree(n);
            let size = exact.iter().map(|v| v * v).sum::<f32>();
            for (ty, hadamard, limit) in [(DType::Q8_0, 0, 1e-4), (DType::Q8_0, 32, 1e-4), (DType::Q8_0, 16, 1e-4), (DType::Q4_0, 32, 3e-2)]
            {
                let got = Kept { ty, hadamard, shifted, ..KEPT }.agree(n);
                let off = got.iter().zip(&exact).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
                assert!(off > 0.0 && off < limit * size, "{ty:?} {hadamard} shifted {shifted}, {n} tokens: {}", off / size);
            }
            // What is not quantised is never transformed.
            assert_eq!(Kept { hadamard: 32, shifted, ..KEPT }.agree(n), exact);
        }
    }
}

/// Six experts of which three are used, gate and up in tensors of their own or in one.
struct Experts {
    ty: DType,
    /// Of gate, where it has a tensor of its own.
    gate_ty: DType,
    gate: Gate,
    act: Act,
    fused: bool,
    gated: bool,
    biased: bool,
    weigh_inputs: bool,
    /// Types of narrow matrices beside gate, up and down.
    low: [Option<DType>; 3],
    /// Experts that share a chunk.
    each: u32,
}

impl Experts {
    /// The sum, and what observers are shown.
    fn build(&self, b: &mut Bench<'_>, x: T, watched: bool) -> (T, [T; 4]) {
        let (logits, ids, weights) = (b.value(6, Dim::Tokens), b.value(3, Dim::Tokens), b.value(3, Dim::Tokens));
        let w = b.weight(DType::F32, [64, 6, 1]);
        let (renorm, n_group) = (self.gate != Gate::SoftmaxWeight, if self.biased { 3 } else { 0 });
        let bias = self.biased.then(|| b.weight(DType::F32, [6, 1, 1]));
        let spec = RouteSpec {
            n_expert: 6,
            n_used: 3,
            gate: self.gate,
            by_logit: self.weigh_inputs,
            bias,
            renorm,
            scale: 1.5,
            n_group,
            n_group_used: 2,
            each: self.each,
        };
        b.step(Op::Linear { x, outs: vec![Proj::plain(w, logits)], fine: false });
        b.step(Op::Route { logits, spec, ids, weights });
        let gate_up = b.weight(self.ty, [64, 192, 6]);
        let mut mat = |ty, k, rows, fused: Option<u32>, scaled: bool| ExpertMat {
            w: fused.map_or_else(|| b.weight(ty, [k, rows, 6]), |_| gate_up),
            first: fused.unwrap_or(0),
            rows,
            scale: scaled.then(|| b.weight(DType::F32, [6, 1, 1])),
            bias: self.biased.then(|| b.weight(DType::F32, [rows * 6, 1, 1])),
        };
        let at = |first| self.fused.then_some(first);
        let (up, down) = (mat(self.ty, 64, 96, at(96), false), mat(self.ty, 96, 64, None, true));
        let mats = [if self.gated { mat(self.gate_ty, 64, 96, at(0), true) } else { up }, up, down];
        let (out, shown) = (b.value(64, Dim::Tokens), [96, 96, 96, 64].map(|n| b.value(3 * n, Dim::Tokens)));
        let mut low = |i: usize, k, rows| {
            // Two of different ranks beside each; of what shares a tensor the narrow one is shared, and so is the wide one.
            let all = self.low[i].into_iter().flat_map(|ty| [(ty, 4, 0.5), (DType::F32, 16, -0.25)]);
            let first = if self.fused { self.low[0].map_or(0, |_| 96 * u32::from(i == 1)) } else { 0 };
            let columns = if self.fused && i < 2 { 192 } else { rows };
            all.map(|(ty, rank, scale)| {
                let (a, b) = (b.weight(ty, [k, rank, 6]), b.weight(DType::F32, [columns, rank * 6, 1]));
                LowRank { a, b, rank, first, scale }
            })
            .collect::<Vec<_>>()
        };
        let lows = [low(0, 64, 96), low(1, 64, 96), low(2, 96, 64)];
        b.step(Op::Experts {
            x,
            ids,
            weights,
            mats,
            act: self.act,
            weigh_inputs: self.weigh_inputs,
            lows,
            shown: watched.then_some(shown),
            out,
        });
        (out, shown)
    }
}

#[test]
fn experts() {
    let plain = |ty, gate| Experts {
        ty,
        gate_ty: ty,
        gate,
        act: Act::Silu,
        fused: false,
        gated: true,
        biased: false,
        weigh_inputs: false,
        low: [None; 3],
        each: 1,
    };
    for e in [
        plain(DType::F32, Gate::Softmax),
        plain(DType::Q8_0, Gate::Sigmoid),
        Experts { act: Act::SwigluOai, biased: true, ..plain(DType::F32, Gate::SoftmaxWeight) },
        Experts { weigh_inputs: true, ..plain(DType::F32, Gate::Sigmoid) },
        Experts { gate_ty: DType::F32, ..plain(DType::Q8_0, Gate::Softmax) },
        Experts { gate_ty: DType::Q8_0, weigh_inputs: true, ..plain(DType::F32, Gate::Sigmoid) },
        Experts { weigh_inputs: true, fused: true, ..plain(DType::Q8_0, Gate::Sigmoid) },
        Experts { biased: true, fused: true, ..plain(DType::F32, Gate::Sigmoid) },
        Experts { low: [Some(DType::F32), None, Some(DType::Q8_0)], ..plain(DType::Q8_0, Gate::Softmax) },
        Experts { low: [Some(DType::F16), Some(DType::Q8_0), None], fused: true, biased: true, ..plain(DType::F32, Gate::Sigmoid) },
        Experts { low: [Some(DType::Q8_0); 3], weigh_inputs: true, ..plain(DType::F32, Gate::Sigmoid) },
        Experts { low: [None, Some(DType::F32), Some(DType::F16)], gated: false, act: Act::Gelu, ..plain(DType::Q8_0, Gate::Softmax) },
        Experts { each: 2, ..plain(DType::F32, Gate::Softmax) },
        Experts { gated: false, act: Act::Gelu, ..plain(DType::Q8_0, Gate::Softmax) },
    ] {
        agree(64, 2e-5, |b, x| (e.build(b, x, false).0, vec![]));
        if e.fused || !e.gated {
            (0..4).for_each(|i| agree(64, 2e-5, |b, x| (e.build(b, x, true).1[i], vec![])));
        }
    }
}

#[test]
fn far_memory_has_no_host_address_and_the_cpu_refuses_it() {
    let far = Far::new(DeviceId(1));
    let mut b = Bench::new(&far);
    let w = b.weight(DType::F32, [64, 8, 1]);
    assert!(b.weights[0].shards[0].buf.host().is_none());
    let (x, out) = (b.value(64, Dim::Tokens), b.value(8, Dim::Tokens));
    b.step(Op::Linear { x, outs: vec![Proj::plain(w, out)], fine: false });
    let bound = Bound { weights: Arc::new(b.weights.clone()), kv: Arc::new(vec![]) };
    let limits = Limits { tokens: 1, outputs: 1, workers: 1 };
    assert!(Cpu::new(DeviceId(0), Isa::detect()).lower(&b.plan, 0..1, &bound, limits).is_err());
}

/// The borders between buckets as Raffel et al. draw them: 32 buckets, of which each side's eight nearest are exact.
#[test]
fn buckets_of_distances() {
    let both = Buckets { w: WeightId(0), n: 32, both_sides: true };
    let near: Vec<u32> = [0, -1, -7, -8, -11, -12, -15, -16, -127, -128, -5000].map(|apart| both.of(apart)).to_vec();
    assert_eq!(near, [0, 1, 7, 8, 8, 9, 9, 10, 15, 15, 15]);
    assert_eq!([1, 7, 8, 16, 127, 5000].map(|apart| both.of(apart)), [17, 23, 24, 26, 31, 31]);
    let before = Buckets { both_sides: false, ..both };
    assert_eq!([5, 0, -15, -16, -20, -128].map(|apart| before.of(apart)), [0, 0, 15, 16, 17, 31]);
    for b in [both, before, Buckets { n: 4, ..both }] {
        assert_eq!(b.of(-Buckets::FAR), b.of(-1_000_000));
        assert!((-300..=300).all(|apart| b.of(apart) < b.n));
    }
}
