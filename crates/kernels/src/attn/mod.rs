//! Attention over one leaf (up to 64 cells in position order), and the arithmetic that joins leaves, spans and sinks.
//! Must not know cells, blocks, sequences or threads: it is given rows and who sees which of them.
//!
//! **Order, per (query, head).** Scores: 16 lanes over head_k, fused, fixed tree. Then the maximum, exp, the sum of p over the 64 places in a
//! fixed tree, and P.V in position order as one fused chain per channel onto the rescaled accumulator. Leaves follow in order inside a span,
//! spans merge in order. So the result is the same however queries are grouped, rows are cut into runs, or prompts into batches.
//! Cells outside a query's interval enter nothing of it, and a cell outside every interval is not read.

#[cfg(target_arch = "x86_64")]
mod kv;
#[cfg(target_arch = "x86_64")]
mod leaf;
mod oracle;
#[cfg(test)]
mod tests;

use crate::{DType, Impl, Isa, isa::pick};

/// Cells of a leaf at most.
pub const LEAF: usize = 64;
/// Leaves of a span.
pub const SPAN_LEAVES: usize = 16;

/// `len` rows of one head that stand at places `at..at + len` of a leaf.
#[derive(Clone, Copy, Debug)]
pub struct KvRun {
    pub k: *const u8,
    pub v: *const u8,
    pub at: u8,
    pub len: u8,
}

/// The rows of one head at the places of a leaf, for K and for V; null where no run covers a place.
#[derive(Clone, Debug)]
pub struct Rows {
    pub(crate) k: [*const u8; LEAF],
    pub(crate) v: [*const u8; LEAF],
}

impl Default for Rows {
    fn default() -> Rows {
        Rows { k: [std::ptr::null(); LEAF], v: [std::ptr::null(); LEAF] }
    }
}

impl Rows {
    pub fn clear(&mut self) {
        *self = Rows::default();
    }
    /// Adds a run whose rows are `k_stride` and `v_stride` bytes apart.
    pub fn add(&mut self, r: &KvRun, k_stride: usize, v_stride: usize) {
        let at = usize::from(r.at);
        let places = self.k.iter_mut().zip(&mut self.v).skip(at).take(usize::from(r.len));
        for (i, (k, v)) in places.enumerate() {
            *k = r.k.wrapping_add(i * k_stride);
            *v = r.v.wrapping_add(i * v_stride);
        }
    }
}

/// Rows of a head that lies `k` and `v` bytes behind the one that `rows` was made for: heads that lie alike share a list.
#[derive(Clone, Copy, Debug)]
pub struct HeadRows<'a> {
    pub rows: &'a Rows,
    pub k: usize,
    pub v: usize,
}

/// A score falls by `slope` for each position between a cell and the query (ALiBi, Press et al. 2022).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alibi {
    pub slope: f32,
    /// Position of the leaf's first place less the query's.
    pub first: f32,
}

/// Queries that go through a leaf together: their rows and scores fit the first cache beside a few K rows.
const QUERY_BLOCK: usize = 32;

/// One leaf of one KV head, and the queries that look at it.
#[derive(Clone, Copy, Debug)]
pub struct LeafArgs<'a> {
    /// Not null where something is visible.
    pub at: HeadRows<'a>,
    /// What the next call will read, if anything: asked for while this leaf is computed.
    pub next: Option<HeadRows<'a>>,
    /// Cells of this leaf, at most `LEAF`.
    pub len: u8,
    /// Multiples of 8 (of 32 for types with blocks of 32).
    pub head_k: usize,
    pub head_v: usize,
    pub k_type: DType,
    pub v_type: DType,
    /// `[n_q][head_k]`, rows `q_stride` floats apart.
    pub q: *const f32,
    pub q_stride: usize,
    pub n_q: usize,
    /// Per query the visible places `[a, b)`; `a == b`: its state stays as it is.
    pub vis: &'a [(u8, u8)],
    pub scale: f32,
    /// 0: none; else s = cap * tanh(q.k * scale / cap).
    pub softcap: f32,
    /// Per query, where scores fall with distance.
    pub alibi: Option<&'a [Alibi]>,
    /// Per query what is added to the score of each place.
    pub added: Option<&'a [[f32; LEAF]]>,
    /// `[n_q][2 + head_v]`: m, l, acc.
    pub state: *mut f32,
    /// `scratch_bytes` bytes, any alignment, any content.
    pub scratch: *mut u8,
}

/// Adds a leaf to the states of its queries.
///
/// # Safety
/// The pointers and counts of the arguments describe live memory as said there; states, scratch, queries and rows do not overlap;
/// K and V types are ones `supports` names; the CPU has the level the pointer was picked for.
pub type AttnLeaf = unsafe fn(&LeafArgs);

/// Best first, scalar last.
pub(crate) const ATTN_LEAF: &[Impl<AttnLeaf>] = &[
    #[cfg(target_arch = "x86_64")]
    Impl { needs: Isa::Avx512, run: leaf_avx512 },
    #[cfg(target_arch = "x86_64")]
    Impl { needs: Isa::Avx2, run: leaf_avx2 },
    Impl { needs: Isa::Scalar, run: oracle::leaf },
];

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
unsafe fn leaf_avx512(a: &LeafArgs) {
    // SAFETY: the caller's word.
    unsafe { leaf::leaf(crate::float::avx512::Avx512::new(), a) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn leaf_avx2(a: &LeafArgs) {
    // SAFETY: the caller's word.
    unsafe { leaf::leaf(crate::float::avx2::Avx2::new(), a) }
}

#[cfg(target_arch = "x86_64")]
impl leaf::Enter for crate::float::avx512::Avx512 {
    #[inline(always)]
    unsafe fn enter<W: leaf::Work>(self, work: &W) {
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
        unsafe fn run<W: leaf::Work>(s: crate::float::avx512::Avx512, work: &W) {
            // SAFETY: the caller's word.
            unsafe { work.run(s) }
        }
        // SAFETY: `self` says that the CPU has the level; the rest is the caller's word.
        unsafe { run(self, work) }
    }
}

#[cfg(target_arch = "x86_64")]
impl leaf::Enter for crate::float::avx2::Avx2 {
    #[inline(always)]
    unsafe fn enter<W: leaf::Work>(self, work: &W) {
        #[inline(never)]
        #[target_feature(enable = "avx2,fma,f16c")]
        unsafe fn run<W: leaf::Work>(s: crate::float::avx2::Avx2, work: &W) {
            // SAFETY: the caller's word.
            unsafe { work.run(s) }
        }
        // SAFETY: `self` says that the CPU has the level; the rest is the caller's word.
        unsafe { run(self, work) }
    }
}

/// The leaf kernel for level `isa`, or for the best this CPU has where that is less.
pub fn attn_leaf(isa: Isa) -> AttnLeaf {
    pick(ATTN_LEAF, isa.or_less())
}

/// The types K and V may be stored in, each on its own.
pub fn supports(t: DType) -> bool {
    let blocks = matches!(t, DType::Q8_0 | DType::Q5_1 | DType::Q5_0 | DType::Q4_1 | DType::Q4_0 | DType::IQ4_NL);
    blocks || matches!(t, DType::F32 | DType::F16 | DType::BF16)
}

/// Floats of one query's state.
pub fn state_len(head_v: usize) -> usize {
    2 + head_v
}

/// Bytes a leaf call may need for these sizes.
pub fn scratch_bytes(head_k: usize, head_v: usize, n_q: usize) -> usize {
    let (k, v) = (head_k.next_multiple_of(16), head_v.next_multiple_of(16));
    // The scores of a block of queries, K and V as f32, and room to align.
    let floats = QUERY_BLOCK.min(n_q) * LEAF + LEAF * (k + v);
    floats * size_of::<f32>() + 64
}

/// A state that has seen nothing. `[2 + head_v]`
pub fn span_init(state: &mut [f32]) {
    state.fill(0.0);
    if let Some(m) = state.first_mut() {
        *m = f32::NEG_INFINITY;
    }
}

/// Joins a later span to an earlier one; both `[2 + head_v]`. A span that saw nothing changes no bit of the other.
pub fn span_merge(into: &mut [f32], from: &[f32], head_v: usize) {
    let n = 2 + head_v;
    let (into, from) = (&mut into[..n], &from[..n]);
    if from[0] == f32::NEG_INFINITY && from[1] == 0.0 {
        return;
    }
    if into[0] == f32::NEG_INFINITY && into[1] == 0.0 {
        into.copy_from_slice(from);
        return;
    }
    let m = if from[0] > into[0] { from[0] } else { into[0] };
    let base = if m == f32::NEG_INFINITY { 0.0 } else { m };
    let (a, b) = ((into[0] - base).exp(), (from[0] - base).exp());
    into[0] = m;
    for (x, y) in into[1..].iter_mut().zip(&from[1..]) {
        *x = *x * a + *y * b;
    }
}

/// out = acc / l, with `sink` in the denominator where there is one. A state that saw nothing gives zeros.
pub fn span_finish(state: &[f32], sink: Option<f32>, out: &mut [f32]) {
    let (m, mut l) = (state[0], state[1]);
    let mut rescale = 1.0;
    if let Some(sink) = sink.filter(|s| *s != f32::NEG_INFINITY) {
        let top = if sink > m { sink } else { m };
        rescale = if m == f32::NEG_INFINITY { 0.0 } else { (m - top).exp() };
        l = l * rescale + (sink - top).exp();
    }
    let inv = if l == 0.0 { 0.0 } else { rescale / l };
    for (o, a) in out.iter_mut().zip(&state[2..]) {
        *o = a * inv;
    }
}
