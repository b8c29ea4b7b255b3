//! One format on one instruction set: how fast, and whether the answer is the oracle's.
use crate::buffer::Buffer;
use crate::limits::{Limits, PATTERNS, read};
use crate::{best, best_of_each, n_cores, on_threads};
use kernels::quant::{MatArgs, MatMul, ROW_GRANULE, scratch_bytes, table};
use kernels::{DType, Isa};
use std::ops::Range;

/// Columns: a width that models have.
const K: usize = 2048;
/// Rows of the product of many tokens: 4 million weights, more than the second cache in every format.
const ROWS: usize = 2048;
const CACHED_BYTES: usize = 256 << 10;
const STREAMED_BYTES: usize = 512 << 20;
const TOKENS: usize = 512;
/// Rows that the oracle computes again.
const CHECKED: usize = 16;

/// Rows as the file has them, or sixteen side by side.
#[derive(Clone, Copy, PartialEq)]
pub enum Layout {
    Rows,
    Groups,
}

/// What is measured: a format in a layout on a level.
#[derive(Clone, Copy)]
pub struct Case {
    ty: DType,
    layout: Layout,
    isa: Isa,
}

/// Every format whose name holds one of the parts of `filter`, which commas part, in every layout it has, with every kernel for this CPU but the oracle.
pub fn cases(filter: &str) -> impl Iterator<Item = Case> {
    let levels = || Isa::ALL.into_iter().rev().filter(|&i| i > Isa::Scalar && i.or_less() == i);
    let of_type =
        move |ty| [Layout::Groups, Layout::Rows].into_iter().flat_map(move |layout| levels().map(move |isa| Case { ty, layout, isa }));
    let types = DType::TABLE.iter().map(|row| row.0);
    types.filter(move |t| filter.split(',').any(|part| t.name().to_lowercase().contains(part))).flat_map(of_type).filter(|c| c.is_new())
}

impl Case {
    fn kernel(self) -> Option<MatMul> {
        match self.layout {
            Layout::Rows => table(self.isa).mat_mul(self.ty),
            Layout::Groups => table(self.isa).group_mul(self.ty),
        }
    }
    /// There is a kernel, and it is not that of the level below.
    fn is_new(self) -> bool {
        let below = Isa::ALL.into_iter().rev().find(|&i| i < self.isa).and_then(|isa| Case { isa, ..self }.kernel());
        self.kernel().is_some_and(|f| below.is_none_or(|g| !std::ptr::fn_addr_eq(f, g)))
    }
    fn layout(self) -> &'static str {
        if self.layout == Layout::Rows { "rows" } else { "groups" }
    }
    /// The kernel and the layout it reads.
    fn how(self) -> (Option<MatMul>, Layout) {
        (self.kernel(), self.layout)
    }
    /// The same for the oracle of this product.
    fn oracle(self) -> (Option<MatMul>, Layout) {
        (table(self.isa).oracle(self.ty), Layout::Rows)
    }
}

/// Gigabytes of weights or 1e9 multiply-adds a second.
pub struct Row {
    case: Case,
    cached: f64,
    one_core: f64,
    all_cores: f64,
    mac_8: f64,
    mac_512: f64,
    /// What a loop that only reads gets, one core and all, at the same time.
    read: [f64; 2],
    mac: (&'static str, f64),
}

impl Row {
    pub fn print(&self) {
        let of = |v: f64, limit: f64| format!("{v:6.1} ({:3.0} %)", 100.0 * v / limit);
        println!(
            "{:7} {:6} {:10}  one token GB/s: cached {:6.1}, one core {}, all cores {}   GMAC/s of {}: 8 tokens {}, 512 tokens {}",
            self.case.ty.name(),
            self.case.layout(),
            self.case.isa.name(),
            self.cached,
            of(self.one_core, self.read[0]),
            of(self.all_cores, self.read[1]),
            self.mac.0,
            of(self.mac_8, self.mac.1),
            of(self.mac_512, self.mac.1)
        );
    }

    pub fn json(&self) -> String {
        let Row { cached, one_core, all_cores, mac_8, mac_512, .. } = self;
        let (Case { ty, isa, .. }, [r1, rn], (name, mac)) = (self.case, self.read, self.mac);
        let (ty, layout, isa) = (ty.name(), self.case.layout(), isa.name());
        format!(
            "{{\"format\": \"{ty}\", \"layout\": \"{layout}\", \"isa\": \"{isa}\", \"cached\": {cached:.2}, \"one_core\": {one_core:.2}, \"all_cores\": {all_cores:.2}, \
             \"mac_8\": {mac_8:.2}, \"mac_512\": {mac_512:.2}, \"read_limit\": [{r1:.2}, {rn:.2}], \"mac_limit\": {mac:.2}, \"mac_limit_name\": \"{name}\"}}"
        )
    }
}

pub fn measure(case: Case, limits: &Limits) -> Row {
    let many = Product::new(case, ROWS, TOKENS);
    many.check();
    let mac = |n_tokens: usize| (ROWS * K * n_tokens) as f64 / best(|| many.part(case.how(), 0..ROWS, n_tokens, 0)) * 1e-9;
    let of_bytes = |bytes: usize| Product::new(case, (bytes / many.w_stride).next_multiple_of(ROW_GRANULE * n_cores()), 1);
    let (cached, streamed) = (of_bytes(CACHED_BYTES), of_bytes(STREAMED_BYTES));
    let ([one_core, read_one], [all_cores, read_all]) = (streamed.beside_reading(1), streamed.beside_reading(n_cores()));
    Row {
        case,
        cached: cached.speed(best(|| (0..64).for_each(|_| cached.on_threads(1))) / 64.0),
        one_core,
        all_cores,
        mac_8: mac(8),
        mac_512: mac(TOKENS),
        read: [read_one, read_all],
        mac: limits.mac(case.ty, case.isa),
    }
}

/// `n_rows` rows of weights times up to `n_tokens` inputs.
struct Product {
    case: Case,
    n_rows: usize,
    n_tokens: usize,
    rows: Buffer,
    groups: Option<Buffer>,
    w_stride: usize,
    x: Buffer,
    x_stride: usize,
    y: Buffer,
    /// One part per core.
    scratch: Buffer,
    scratch_bytes: usize,
}

impl Product {
    fn new(case: Case, n_rows: usize, n_tokens: usize) -> Product {
        let (ty, isa) = (case.ty, case.isa);
        let (Some(w_stride), Some(act)) = (ty.row_bytes(K), table(isa).act_of(ty)) else { panic!("{} has no kernels", ty.name()) };
        let (x_stride, scratch_bytes) = (act.row_bytes(K), scratch_bytes(ty, K, n_tokens).next_multiple_of(64));
        let x = Buffer::zeroed(x_stride * n_tokens, true);
        for t in 0..n_tokens {
            let row: Vec<f32> = (0..K).map(|i| ((t * K + i) * 7919 % 1009) as f32 / 100.0 - 5.04).collect();
            // SAFETY: row `t` of the buffer; the table is of a level this CPU has.
            unsafe { table(isa).quantize_act(act)(row.as_ptr(), K, 0..K, x.ptr().add(t * x_stride)) };
        }
        let (y, scratch) = (Buffer::zeroed(n_rows * n_tokens * 4, true), Buffer::zeroed(scratch_bytes * n_cores(), true));
        let rows = weights(ty, w_stride * n_rows);
        let groups = (case.layout == Layout::Groups).then(|| {
            let groups = Buffer::zeroed(w_stride * n_rows, true);
            // SAFETY: both have the bytes of all rows, a whole number of groups.
            unsafe { table(isa).to_groups()(ty, rows.ptr(), w_stride, n_rows / ROW_GRANULE, groups.ptr()) };
            groups
        });
        Product { case, n_rows, n_tokens, rows, groups, w_stride, x, x_stride, y, scratch, scratch_bytes }
    }

    fn weights(&self, layout: Layout) -> &Buffer {
        self.groups.as_ref().filter(|_| layout == Layout::Groups).unwrap_or(&self.rows)
    }

    /// The product of some rows and the first `n_tokens` inputs, as thread `thread` computes it.
    fn part(&self, (kernel, layout): (Option<MatMul>, Layout), rows: Range<usize>, n_tokens: usize, thread: usize) {
        assert!(rows.end <= self.n_rows && n_tokens <= self.n_tokens && thread < n_cores());
        let Some(kernel) = kernel else { panic!("no kernel") };
        // SAFETY: the buffers hold what the lengths above say; threads write rows and scratch of their own.
        unsafe {
            kernel(&MatArgs {
                w: self.weights(layout).ptr().add(rows.start * self.w_stride),
                w_stride: self.w_stride,
                k: K,
                n_rows: rows.len(),
                x: self.x.ptr(),
                x_stride: self.x_stride,
                n_tokens,
                y: self.y.ptr().cast::<f32>().add(rows.start),
                y_stride: self.n_rows,
                scratch: self.scratch.ptr().add(thread * self.scratch_bytes),
            })
        }
    }

    /// One token's product, rows divided among threads.
    fn on_threads(&self, n_threads: usize) {
        let part = self.n_rows / n_threads;
        on_threads(n_threads, |i| self.part(self.case.how(), i * part..(i + 1) * part, 1, i));
    }

    /// GB/s of all the weights.
    fn speed(&self, seconds: f64) -> f64 {
        (self.n_rows * self.w_stride) as f64 / seconds * 1e-9
    }

    /// GB/s of the product, and of a loop that only reads the same memory, by the best of the patterns.
    fn beside_reading(&self, n_threads: usize) -> [f64; 2] {
        let w = &self.weights(self.case.layout).bytes()[..self.n_rows * self.w_stride];
        let seconds = best_of_each(1 + PATTERNS.len(), |i| match i {
            0 => self.on_threads(n_threads),
            i => read(w, PATTERNS[i - 1], n_threads),
        });
        [seconds[0], seconds[1..].iter().copied().fold(f64::INFINITY, f64::min)].map(|s| self.speed(s))
    }

    /// The bits of the first rows of token 0.
    fn first(&self) -> Vec<u32> {
        self.y.bytes().chunks_exact(4).take(self.n_rows).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    }

    fn check(&self) {
        let (case, what) = (self.case, format!("{} {} on {}", self.case.ty.name(), self.case.layout(), self.case.isa.name()));
        self.part(case.how(), 0..self.n_rows, self.n_tokens, 0);
        let many = self.first();
        assert!(many.iter().any(|bits| bits << 1 != 0), "{what}: nothing but zeroes");
        self.part(case.how(), 0..self.n_rows, 1, 0);
        assert!(many == self.first(), "{what}: one token and many give different bits");
        self.part(case.oracle(), 0..CHECKED, 1, 0);
        assert!(many[..CHECKED] == self.first()[..CHECKED], "{what}: not the oracle's bits");
    }
}

/// Random blocks, a page of them again and again, whose scales are small numbers.
fn weights(ty: DType, bytes: usize) -> Buffer {
    let mut w = Buffer::zeroed(bytes, true);
    let (block, mut s) = (ty.block_bytes(), 1u32);
    let pattern: Vec<u8> = (0..block * 509)
        .map(|_| {
            s = s.wrapping_mul(1664525).wrapping_add(1013904223);
            (s >> 24) as u8 & 0xbf
        })
        .collect();
    w.bytes_mut().iter_mut().zip(pattern.iter().cycle()).for_each(|(b, v)| *b = *v);
    w.bytes_mut()[..bytes].chunks_exact_mut(block).for_each(|b| small_scale(ty, b));
    w
}

/// Upper bytes of scales (f16, or a power of two), and of floats: numbers far from overflow.
fn small_scale(ty: DType, b: &mut [u8]) {
    match ty {
        DType::Q4_1 | DType::Q5_1 | DType::Q4_K | DType::Q5_K => (b[1], b[3]) = (0x10, 0x10),
        DType::Q2_K => (b[81], b[83]) = (0x10, 0x10),
        DType::Q3_K | DType::Q6_K | DType::TQ1_0 | DType::TQ2_0 | DType::IQ1_M => b[ty.block_bytes() - 1] = 0x10,
        DType::MXFP4 => b[0] = 120,
        DType::F32 | DType::F16 | DType::BF16 => b[ty.block_bytes() - 1] = b[ty.block_bytes() - 1] & 0x80 | 0x3c,
        _ => b[1] = 0x10,
    }
}
