//! Steps that touch rows of K and V.
use super::exec::{Run, module};
use super::gpu::arg;
use super::views::{Seen, seen};
use crate::backend::*;
use platform::{Error, Result};

/// `Plane` of `attend.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Plane {
    base: u64,
    block_bytes: u64,
    at: u64,
    ty: u32,
    heads: u32,
    head_len: u32,
    head_bytes: u32,
    hadamard: u32,
}

const THREADS: u32 = 128;
/// Scratch memory for the spans of queries: those that do not fit wait for the next round.
const STATES: usize = 64 << 20;

fn layer<'a>(r: &Run<'a>, g: GroupId, il: i16) -> Result<&'a KvLayer> {
    let l = r.bound.kv.get(g.0 as usize).and_then(|g| g.layers.get(usize::try_from(il).ok()?)?.as_ref());
    l.ok_or_else(|| Error::invalid(format!("layer {il} has no rows in group {}", g.0)))
}

fn plane(l: &KvLayer, i: usize) -> Result<Plane> {
    let (p, region, heads) = (&l.planes[i], &l.regions[0], &l.heads[0][i]);
    let base = l.buf.address().ok_or_else(|| Error::invalid("rows of K and V are on another device"))?;
    if l.regions.len() > 1 {
        return Err(Error::invalid("rows of K and V are cut over nodes"));
    }
    Ok(Plane {
        base: base + region.base as u64,
        block_bytes: region.block_bytes as u64,
        at: heads.at as u64,
        ty: p.ty as u32,
        heads: p.heads,
        head_len: p.head_len,
        head_bytes: p.head_bytes as u32,
        hadamard: p.parts().unwrap_or(0) as u32,
    })
}

pub fn store(r: &mut Run<'_>, g: GroupId, il: i16, values: [T; 2]) -> Result<()> {
    let l = layer(r, g, il)?;
    let dst = seen(r, g)?.dst;
    for (i, (p, t)) in l.planes.iter().zip(values).enumerate() {
        let (plane, x) = (plane(l, i)?, r.at(t)?);
        let args = [arg(&plane), arg(&x), arg(&dst)];
        // SAFETY: the memory gave these cells to these tokens, and secured them.
        unsafe { r.launch(module("attend")?, "store", [p.heads as usize, r.n(t), 1], 32, 4 * p.head_len as usize, &args) }?;
    }
    Ok(())
}

/// `Attend` of `attend.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Attended {
    q: u64,
    state: u64,
    queries: u64,
    leaves: u64,
    segs: u64,
    span_of: u64,
    spans: u64,
    pos: u64,
    slopes: u64,
    added: u64,
    buckets: u64,
    k: Plane,
    v: Plane,
    n_head: u32,
    n_head_kv: u32,
    head_k: u32,
    head_v: u32,
    n_spans: u32,
    row0: u32,
    scale: f32,
    softcap: f32,
}

pub fn attend(r: &mut Run<'_>, q: T, g: GroupId, il: i16, spec: &AttendSpec, out: T) -> Result<()> {
    if spec.among.is_some() {
        return Err(Error::unsupported("attention to chosen cells is not built for GPUs yet"));
    }
    let l = layer(r, g, spec.layer.unwrap_or(il))?;
    let Seen { queries, leaves, segs, span_of, spans, pos, n_spans, .. } = seen(r, g)?;
    let (mut slopes, mut buckets) = (0, 0);
    if spec.alibi > 0.0 {
        slopes = r.input(&(0..spec.n_head).map(|h| alibi_slope(spec.alibi, h, spec.n_head)).collect::<Vec<_>>())?;
    }
    if let Some(b) = spec.buckets {
        // The last bucket begins before that distance.
        buckets = r.input(&(-Buckets::FAR..=Buckets::FAR).map(|d| b.of(d) as u8).collect::<Vec<_>>())?;
    }
    let (n, head_v) = (r.n(q), spec.head_v as usize);
    let per_row = 4 * spec.n_head as usize * n_spans * (2 + head_v);
    // As much as a pass without views asks for: rows of one span, at least what long contexts need for one row.
    let most = r.scratch_left().map_or(STATES, |left| left.min(STATES));
    let at_once = (most / per_row.max(1)).min(n).max(1);
    let state = r.scratch(if r.io.is_none() { STATES } else { at_once * per_row })?;
    let (planes, of_v) = ((plane(l, 0)?, plane(l, l.plane_of_v())?), l.planes[l.plane_of_v()]);
    let (sinks, y) = (r.maybe(spec.sinks)?, r.at(out)?);
    let mut p = Attended {
        q: r.at(q)?,
        state,
        queries,
        leaves,
        segs,
        span_of,
        spans,
        pos,
        slopes,
        added: r.maybe(spec.buckets.map(|b| b.w))?,
        buckets,
        k: planes.0,
        v: planes.1,
        n_head: spec.n_head,
        n_head_kv: spec.n_head_kv,
        head_k: spec.head_k,
        head_v: spec.head_v,
        n_spans: n_spans as u32,
        row0: 0,
        scale: spec.scale,
        softcap: spec.softcap,
    };
    let (heads, back, n_spans) = (spec.n_head as usize, of_v.parts().unwrap_or(0) as u32, n_spans as u32);
    for row0 in (0..n).step_by(at_once) {
        let rows = at_once.min(n - row0);
        p.row0 = row0 as u32;
        let shared = 4 * (spec.head_k as usize + head_v);
        let args = [arg(&state), arg(&sinks), arg(&y), arg(&p.n_head), arg(&n_spans), arg(&p.head_v), arg(&back), arg(&p.row0)];
        // SAFETY: views name cells that the memory secured; `state` has room for every span of every row.
        unsafe {
            r.launch(module("attend")?, "attend", [heads, rows, n_spans as usize], THREADS, shared, &[arg(&p)])?;
            r.launch(module("attend")?, "merge", [heads, rows, 1], THREADS, 4 * head_v, &args)?;
        }
    }
    Ok(())
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Turn {
    cs: u64,
    at: u32,
    n_rot: u32,
    neox: u32,
    bare: u32,
}

pub fn shift(r: &mut Run<'_>, g: GroupId, il: i16, rope: &RopeSpec, hadamard: u32) -> Result<()> {
    let l = layer(r, g, il)?;
    let plane = plane(l, 0)?;
    let (mut cells, mut cs) = (Vec::new(), Vec::new());
    let factors = rope.factors.and_then(|w| r.factors.get(&w)).map(Vec::as_slice);
    let mine = r.io.map_or(&[][..], |io| io.shifts).iter().filter(|s| s.group == g);
    for (i, s) in mine.enumerate() {
        let mut angles = vec![0.0; rope.n_rot as usize];
        kernels::float::rope_cache(s.delta, &terms::freq(rope, factors), &mut angles);
        cs.extend(angles);
        cells.extend((s.slot..s.slot + s.len).map(|slot| [s.block.0, u32::from(slot), i as u32, 0]));
    }
    let (n, cells, cs) = (cells.len(), r.input(&cells)?, r.input(&cs)?);
    let turn = Turn { cs, at: rope.at, n_rot: rope.n_rot, neox: (rope.kind == RopeKind::Neox).into(), bare: hadamard };
    let args = [arg(&plane), arg(&turn), arg(&cells)];
    // SAFETY: cells that are in use.
    unsafe { r.launch(module("attend")?, "shift", [plane.heads as usize, n, 1], 32, 4 * plane.head_len as usize, &args) }
}
