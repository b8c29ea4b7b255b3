//! The ops of the far backend: each the shortest plain form, with the scalar kernels. Also what the CPU backend is tested against.
use crate::backend::*;
use kernels::attn::{Alibi, HeadRows, KvRun, LeafArgs, Rows};
use kernels::quant::{self, MatArgs};
use kernels::{Isa, attn, float};
use platform::{Error, Result};
use std::borrow::Cow;
use std::collections::HashMap;

pub struct Far<'a> {
    pub plan: &'a Plan,
    pub bound: &'a Bound,
    pub io: &'a Io<'a>,
    pub values: &'a mut HashMap<T, Vec<f32>>,
}

impl Far<'_> {
    fn n(&self, t: T) -> usize {
        match self.plan.value(t).rows {
            Dim::Tokens => self.io.ub.n_tokens(),
            Dim::Outputs => self.io.outputs.len(),
        }
    }
    fn width(&self, t: T) -> usize {
        self.plan.value(t).width as usize
    }
    fn get(&self, t: T) -> Result<&Vec<f32>> {
        self.values.get(&t).ok_or_else(|| Error::invalid(format!("{t:?} is read before it is made")))
    }
    /// A weight's bytes, copied: only this backend can see them.
    fn bytes(&self, w: WeightId) -> Result<Vec<u8>> {
        let weight = &self.bound.weights[w.0 as usize];
        let s = &weight.shards[0];
        let mut out = vec![0; weight.bytes()];
        s.buf.read(&[Copy2d::flat(0, s.at, out.len())], &mut out)?;
        Ok(out)
    }
    fn floats(&self, w: WeightId) -> Result<Vec<f32>> {
        Ok(self.bytes(w)?.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
    }
    fn maybe(&self, w: Option<WeightId>) -> Result<Option<Vec<f32>>> {
        w.map(|w| self.floats(w)).transpose()
    }

    /// `x` [n][k] times a matrix, [n][rows].
    fn matmul(&self, w: WeightId, x: &[f32], n: usize) -> Result<Vec<f32>> {
        let rows = self.bound.weights[w.0 as usize].shape[1] as usize;
        self.matmul_rows(w, 0..rows, x, n)
    }

    /// With rows `range` of a stack of matrices.
    fn matmul_rows(&self, w: WeightId, range: std::ops::Range<usize>, x: &[f32], n: usize) -> Result<Vec<f32>> {
        let weight = &self.bound.weights[w.0 as usize];
        let (k, rows) = (weight.shape[0] as usize, range.len());
        let t = quant::table(Isa::Scalar);
        let act = t.act_of(weight.ty).ok_or_else(|| Error::unsupported(weight.name.clone()))?;
        let run = t.mat_mul(weight.ty).ok_or_else(|| Error::unsupported(weight.name.clone()))?;
        let stride = act.row_bytes(k);
        let mut acts = vec![0u8; stride * n];
        for (x, a) in x.chunks_exact(k).zip(acts.chunks_exact_mut(stride)) {
            // SAFETY: `a` holds one row of k elements in this format.
            unsafe { t.quantize_act(act)(x.as_ptr(), k, 0..k, a.as_mut_ptr()) };
        }
        let bytes = self.bytes(w)?;
        let one = &bytes[range.start * weight.row_bytes()..][..rows * weight.row_bytes()];
        let mut y = vec![0.0; n * rows];
        let mut scratch = vec![0u64; quant::scratch_bytes(weight.ty, k, n) / 8 + 16];
        let scratch = scratch.as_mut_ptr().cast::<u8>();
        let args = MatArgs {
            w: one.as_ptr(),
            w_stride: weight.row_bytes(),
            k,
            n_rows: rows,
            x: acts.as_ptr(),
            x_stride: stride,
            n_tokens: n,
            y: y.as_mut_ptr(),
            y_stride: rows,
            // SAFETY: 128 spare bytes were allocated to align in.
            scratch: unsafe { scratch.add(scratch.align_offset(64)) },
        };
        // SAFETY: every pointer covers its rows; the scalar kernel runs anywhere.
        unsafe { run(&args) };
        Ok(y)
    }
}

fn table() -> &'static float::Table {
    float::table(Isa::Scalar)
}

fn rotate(r: &RopeSpec, head: &mut [f32], cs: &[f32]) {
    table().rope_rows(terms::rope_kind(r.kind), &mut head[r.at as usize..], cs.len(), cs);
}

pub fn run(f: &mut Far<'_>, s: &Step) -> Result<()> {
    match &s.op {
        Op::Embed { table, by, scale, out } => embed(f, *table, *by, *scale, *out),
        Op::Norm { .. } => norm(f, &s.op),
        Op::Linear { x, outs, fine } => linear(f, *x, outs, *fine),
        Op::AddLow { deltas } => deltas.iter().try_for_each(|d| add_low(f, d)),
        Op::Rope { x, n_head, norm, rope: r } => rope(f, *x, *n_head as usize, norm.as_ref(), r.as_ref()),
        Op::Store { group, k, v } => store(f, *group, s.il, [*k, *v]),
        Op::Attend { q, group, spec, out } => attend(f, *q, *group, s.il, spec, *out),
        Op::Route { logits, spec, ids, weights } => route(f, *logits, spec, *ids, *weights),
        Op::Experts { .. } => experts(f, &s.op),
        Op::Glu { gate, up, act: a, out } => {
            let mut y = vec![0.0; f.get(*gate)?.len()];
            terms::glu(table(), *a, f.get(*gate)?, f.get(*up)?, &mut y);
            f.values.insert(*out, y);
            Ok(())
        }
        Op::Heads { x, w, out } => heads(f, *x, *w, *out),
        Op::Gather { parts, n, out } => gather(f, parts, *n, *out),
        Op::Mix { x, coef, width, out } => mix(f, *x, *coef, *width as usize, *out),
        Op::Map { x, y, f: func, out } => map(f, *x, *y, *func, *out),
        Op::Rows { x, out } => {
            let (x, w) = (f.get(*x)?, f.width(*x));
            let y = f.io.outputs.iter().flat_map(|r| x[*r as usize * w..][..w].to_vec()).collect();
            f.values.insert(*out, y);
            Ok(())
        }
        Op::Shift { group, rope, hadamard } => shift(f, *group, s.il, rope, *hadamard as usize),
        Op::Pick { q, weights, group, spec, out } => pick(f, [Some(*q), *weights], *group, s.il, spec, *out),
        Op::Move { .. } => Err(Error::invalid("a move is not a step of one device")),
    }
}

fn embed(f: &mut Far<'_>, w: WeightId, by: Lookup, scale: f32, out: T) -> Result<()> {
    let ub = f.io.ub;
    if by == Lookup::Tokens && ub.tokens.is_empty() {
        f.values.insert(out, ub.embd.clone());
        return Ok(());
    }
    if by == Lookup::TokensOrNothing && ub.tokens.is_empty() {
        f.values.insert(out, vec![0.0; ub.n_tokens() * f.width(out)]);
        return Ok(());
    }
    let weight = &f.bound.weights[w.0 as usize];
    let (bytes, width) = (f.bytes(w)?, f.width(out));
    let to_f32 = quant::table(Isa::Scalar).to_f32(weight.ty).ok_or_else(|| Error::unsupported(weight.name.clone()))?;
    let mut y = vec![0.0; width * ub.n_tokens()];
    for (i, y) in y.chunks_exact_mut(width).enumerate() {
        let id = terms::row_of(ub, by, i);
        if id >= weight.shape[1] as usize {
            return Err(Error::invalid(format!("{} has no row {id}", weight.name)));
        }
        let row = &bytes[id * weight.row_bytes()..][..weight.row_bytes()];
        // SAFETY: one row in, `width` floats out.
        unsafe { to_f32(row.as_ptr(), width, y.as_mut_ptr()) };
        y.iter_mut().for_each(|v| *v *= scale);
    }
    f.values.insert(out, y);
    Ok(())
}

fn norm(f: &mut Far<'_>, op: &Op) -> Result<()> {
    let Op::Norm { x, add, w, b, kind, eps, sum, out } = op else { return Ok(()) };
    let mut x = f.get(*x)?.clone();
    if let Some(a) = add {
        x.iter_mut().zip(f.get(*a)?).for_each(|(x, a)| *x += a);
    }
    let (w, b, width) = (f.maybe(*w)?, f.maybe(*b)?, f.width(*out));
    let mut y = vec![0.0; x.len()];
    for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
        terms::norm(table(), *kind, x, w.as_deref(), b.as_deref(), *eps, y);
    }
    if let Some(s) = sum {
        f.values.insert(*s, x);
    }
    f.values.insert(*out, y);
    Ok(())
}

/// The rows of `x` as `ty`'s inputs stand for them, taken away: what rounding lost. Nothing for float inputs.
fn lost(f: &Far<'_>, w: WeightId, x: &[f32], k: usize) -> Option<Vec<f32>> {
    let act = quant::table(Isa::Scalar).act_of(f.bound.weights[w.0 as usize].ty).filter(|a| *a != quant::Act::F32)?;
    let (mut row, mut out) = (vec![0u8; act.row_bytes(k)], vec![0.0; x.len()]);
    for (x, out) in x.chunks_exact(k).zip(out.chunks_exact_mut(k)) {
        // SAFETY: a row of k floats, its int8 form, k floats out.
        unsafe {
            quant::table(Isa::Scalar).quantize_act(act)(x.as_ptr(), k, 0..k, row.as_mut_ptr());
            act.lost(x.as_ptr(), k, row.as_ptr(), out.as_mut_ptr());
        }
    }
    Some(out)
}

fn linear(f: &mut Far<'_>, x: T, outs: &[Proj], fine: bool) -> Result<()> {
    for p in outs {
        let mut y = f.matmul(p.w, f.get(x)?, f.n(x))?;
        if let Some(lost) = fine.then(|| lost(f, p.w, f.values.get(&x)?, f.width(x))).flatten() {
            let more = f.matmul(p.w, &lost, f.n(x))?;
            y.iter_mut().zip(more).for_each(|(y, m)| *y += m);
        }
        let scale = f.maybe(p.scale)?.map_or(1.0, |s| s[0]);
        if !p.scale_after_bias {
            y.iter_mut().for_each(|y| *y *= scale);
        }
        if let Some(b) = f.maybe(p.bias)? {
            y.chunks_exact_mut(b.len()).for_each(|y| y.iter_mut().zip(&b).for_each(|(y, b)| *y += b));
        }
        if p.scale_after_bias {
            y.iter_mut().for_each(|y| *y *= scale);
        }
        f.values.insert(p.out, y);
    }
    Ok(())
}

fn add_low(f: &mut Far<'_>, d: &Delta) -> Result<()> {
    let (mut y, width) = (f.get(d.out)?.clone(), f.width(d.out));
    let by = f.maybe(d.by)?.map_or(1.0, |s| s[0]);
    for p in &d.parts {
        let (b, z) = (f.floats(p.b)?, f.get(p.z)?);
        for (y, z) in y.chunks_exact_mut(width).zip(z.chunks_exact(f.width(p.z))) {
            terms::add_low(table(), &mut [y], &[z], &b, p.first as usize, p.scale * by);
        }
    }
    f.values.insert(d.out, y);
    Ok(())
}

fn rope(f: &mut Far<'_>, x: T, n_head: usize, norm: Option<&HeadNorm>, rope: Option<&RopeSpec>) -> Result<()> {
    let (mut y, width) = (f.get(x)?.clone(), f.width(x));
    let of = |w: fn(&HeadNorm) -> Option<WeightId>| f.maybe(norm.and_then(w));
    let (w, b) = (of(|n| n.w)?, of(|n| n.b)?);
    let factors = rope.map(|r| f.maybe(r.factors)).transpose()?.flatten();
    for (i, y) in y.chunks_exact_mut(width).enumerate() {
        let mut cs = vec![0.0; rope.map_or(0, |r| r.n_rot as usize)];
        if let Some(r) = rope {
            terms::angles(f.io.ub, i, r, factors.as_deref(), &mut cs);
        }
        for (h, head) in y.chunks_exact_mut(width / n_head).enumerate() {
            if let Some(n) = norm {
                let v = terms::HeadWeights { w: w.as_deref(), b: b.as_deref() };
                terms::head_norm(table(), n, v, h, head, &mut vec![0.0; width / n_head]);
            }
            if let Some(r) = rope {
                rotate(r, head, &cs);
            }
        }
    }
    f.values.insert(x, y);
    Ok(())
}

fn layer<'a>(f: &Far<'a>, g: GroupId, il: i16) -> Result<&'a KvLayer> {
    let l = f.bound.kv.get(g.0 as usize).and_then(|g| g.layers.get(usize::try_from(il).ok()?)?.as_ref());
    l.ok_or_else(|| Error::invalid(format!("layer {il} has no rows in group {}", g.0)))
}

/// Values as a plane keeps them, or as they were before.
fn transformed<'a>(p: &PlaneAt, x: &'a [f32]) -> Cow<'a, [f32]> {
    let Some(n) = p.parts() else { return Cow::Borrowed(x) };
    let mut x = x.to_vec();
    table().hadamard(&mut x, n);
    Cow::Owned(x)
}

fn store(f: &mut Far<'_>, g: GroupId, il: i16, values: [T; 2]) -> Result<()> {
    let l = layer(f, g, il)?;
    for (plane, (p, t)) in l.planes.iter().zip(values).enumerate() {
        let mut row = vec![0; p.head_bytes];
        for (i, x) in f.get(t)?.chunks_exact((p.heads * p.head_len) as usize).enumerate() {
            let (block, slot) = f.io.views[g.0 as usize].dst[i];
            for (h, x) in x.chunks_exact(p.head_len as usize).enumerate() {
                if !table().encode_row(p.ty, &transformed(p, x), &mut row) {
                    return Err(Error::unsupported(format!("KV cache type {}", p.ty.name())));
                }
                l.buf.write(&[Copy2d::flat(l.row_at(plane, block, slot, h as u32), 0, row.len())], &row)?;
            }
        }
    }
    Ok(())
}

/// The rows of one leaf and head, copied together in place order.
fn leaf_rows(l: &KvLayer, v: &Views, leaf: &Leaf, plane: usize, h: u32) -> Result<Vec<u8>> {
    let width = l.planes[plane].head_bytes;
    let mut out = vec![0; width * leaf.to as usize];
    for s in &v.segs[leaf.segs.start as usize..leaf.segs.end as usize] {
        let mut at = s.at as usize * width;
        for r in l.stretches(plane, s.block, s.slot, u16::from(s.len), h) {
            let n = r.n as usize * width;
            l.buf.read(&[Copy2d::flat(at, r.at, n)], &mut out)?;
            at += n;
        }
    }
    Ok(out)
}

fn attend(f: &mut Far<'_>, q: T, g: GroupId, il: i16, spec: &AttendSpec, out: T) -> Result<()> {
    let (l, v) = (layer(f, g, spec.layer.unwrap_or(il))?, &f.io.views[g.0 as usize]);
    let (sinks, of_v) = (f.maybe(spec.sinks)?, &l.planes[l.plane_of_v()]);
    let buckets = spec.buckets.map(|b| Ok::<_, Error>((b, f.maybe(Some(b.w))?.unwrap_or_default()))).transpose()?;
    let (head_k, head_v, per_kv) = (spec.head_k as usize, spec.head_v as usize, spec.n_head / spec.n_head_kv);
    let mut y = vec![0.0; f.n(q) * f.width(out)];
    for (n, (q, y)) in f.get(q)?.chunks_exact(head_k).zip(y.chunks_exact_mut(head_v)).enumerate() {
        let (i, h) = (n / spec.n_head as usize, n as u32 % spec.n_head);
        let q = &transformed(&l.planes[0], q);
        let mut total = vec![0.0; attn::state_len(head_v)];
        let mut span = total.clone();
        attn::span_init(&mut total);
        attn::span_init(&mut span);
        let (mut v, mut row, packed) = (v, &v.rows[i], among(f, spec, v, i, h / per_kv)?);
        if let Some(p) = &packed {
            (v, row) = (p, &p.rows[0]);
        }
        let mut last = None;
        for leaf in &v.leaves[row.leaves.start as usize..row.leaves.end as usize] {
            let (a, b) = leaf.within(row.lo, row.hi);
            if a >= b {
                continue;
            }
            let this = leaf.tile.div_euclid(attn::SPAN_LEAVES as i32);
            if last.is_some_and(|s| s != this) {
                attn::span_merge(&mut total, &span, head_v);
                attn::span_init(&mut span);
            }
            last = Some(this);
            let slope = (spec.alibi > 0.0).then(|| alibi_slope(spec.alibi, h, spec.n_head));
            let alibi = slope.map(|slope| Alibi { slope, first: (leaf.tile * attn::LEAF as i32 - f.io.ub.pos_of(i)) as f32 });
            let first = leaf.tile * attn::LEAF as i32 - f.io.ub.pos_of(i);
            let at = |j: usize, (b, w): &(Buckets, Vec<f32>)| w[(b.of(first + j as i32) * spec.n_head + h) as usize];
            let added = buckets.as_ref().map(|b| std::array::from_fn(|j| at(j, b)));
            one_leaf(l, v, leaf, h / per_kv, spec, q, (a, b), (alibi, added), &mut span)?;
        }
        attn::span_merge(&mut total, &span, head_v);
        attn::span_finish(&total, sinks.as_ref().map(|s| s[h as usize]), y);
        let back = transformed(of_v, y).into_owned();
        y.copy_from_slice(&back);
    }
    f.values.insert(out, y);
    Ok(())
}

/// The cells that were picked for token `i` and KV head `h`, where some were.
fn among(f: &Far<'_>, spec: &AttendSpec, v: &Views, i: usize, h: u32) -> Result<Option<Views>> {
    let Some(a) = &spec.among else { return Ok(None) };
    let width = f.width(a.picks);
    let list = picks::of_head(a, &f.get(a.picks)?[i * width..][..width], h as usize);
    Ok((!list.is_empty()).then(|| picks::packed(v, &v.rows[i], a, list, 0..usize::MAX)))
}

fn pick(f: &mut Far<'_>, from: [Option<T>; 2], g: GroupId, il: i16, spec: &PickSpec, out: T) -> Result<()> {
    let (l, v, [q, weights]) = (layer(f, g, il)?, &f.io.views[g.0 as usize], from);
    let part = |t: Option<T>, i: usize| t.map(|t| Ok::<_, Error>(&f.get(t)?[i * f.width(t)..][..f.width(t)])).transpose();
    let (n_list, width) = (spec.n_list as usize, spec.width() as usize);
    let mut y = vec![0.0; f.n(out) * width];
    for (i, y) in y.chunks_exact_mut(width).enumerate() {
        let (q, weights, row) = (part(q, i)?.unwrap_or_default(), part(weights, i)?, &v.rows[i]);
        if !picks::picks_some(v, row, spec) {
            continue;
        }
        let (mut key, mut scores) = (vec![0.0; spec.head as usize], Vec::new());
        for (leaf, (a, b)) in picks::seen(v, row) {
            let rows = leaf_rows(l, v, leaf, 0, 0)?;
            for bytes in rows.chunks_exact(l.planes[0].head_bytes).take(b.into()).skip(a.into()) {
                table().decode_row(l.planes[0].ty, bytes, &mut key);
                let at = scores.len();
                scores.resize(at + n_list, 0.0);
                picks::score(table(), spec, q, weights, &key, &mut scores[at..]);
            }
        }
        for (n, out) in y.chunks_exact_mut(width / n_list).enumerate() {
            picks::list(v, row, spec, f.io.ub.pos_of(i), scores.iter().skip(n).step_by(n_list).copied(), out);
        }
    }
    f.values.insert(out, y);
    Ok(())
}

#[allow(clippy::too_many_arguments, reason = "one call site; the kernel's own arguments")]
fn one_leaf(
    l: &KvLayer,
    v: &Views,
    leaf: &Leaf,
    h: u32,
    spec: &AttendSpec,
    q: &[f32],
    vis: (u8, u8),
    (alibi, added): (Option<Alibi>, Option<[f32; attn::LEAF]>),
    span: &mut [f32],
) -> Result<()> {
    let of_v = l.plane_of_v();
    let (k, val) = (leaf_rows(l, v, leaf, 0, h)?, leaf_rows(l, v, leaf, of_v, h)?);
    let (head_k, head_v) = (spec.head_k as usize, spec.head_v as usize);
    let mut scratch = vec![0u64; attn::scratch_bytes(head_k, head_v, 1) / 8 + 16];
    let scratch = scratch.as_mut_ptr().cast::<u8>();
    let mut rows = Rows::default();
    let run = KvRun { k: k.as_ptr(), v: val.as_ptr(), at: 0, len: leaf.to };
    rows.add(&run, l.planes[0].head_bytes, l.planes[of_v].head_bytes);
    let args = LeafArgs {
        at: HeadRows { rows: &rows, k: 0, v: 0 },
        next: None,
        len: leaf.to,
        head_k,
        head_v,
        k_type: l.planes[0].ty,
        v_type: l.planes[of_v].ty,
        q: q.as_ptr(),
        q_stride: head_k,
        n_q: 1,
        vis: &[vis],
        scale: spec.scale,
        softcap: spec.softcap,
        alibi: alibi.as_ref().map(std::slice::from_ref),
        added: added.as_ref().map(std::slice::from_ref),
        state: span.as_mut_ptr(),
        // SAFETY: 128 spare bytes were allocated to align in.
        scratch: unsafe { scratch.add(scratch.align_offset(64)) },
    };
    // SAFETY: the copied rows cover the leaf, `span` one state; the scalar kernel runs anywhere.
    unsafe { attn::attn_leaf(Isa::Scalar)(&args) };
    Ok(())
}

fn route(f: &mut Far<'_>, logits: T, spec: &RouteSpec, ids: T, weights: T) -> Result<()> {
    let bias = f.maybe(spec.bias)?;
    let (mut all_ids, mut all_weights) = (Vec::new(), Vec::new());
    for x in f.get(logits)?.chunks_exact(spec.n_expert as usize) {
        let (mut id, mut w) = (vec![0u32; spec.n_used as usize], vec![0.0; spec.n_used as usize]);
        terms::route_row(table(), spec, &mut x.to_vec(), bias.as_deref(), &mut id, &mut w);
        all_ids.extend(id.into_iter().map(f32::from_bits));
        all_weights.extend(w);
    }
    f.values.insert(ids, all_ids);
    f.values.insert(weights, all_weights);
    Ok(())
}

/// One expert's matrix on one row.
fn expert(f: &Far<'_>, m: ExpertMat, lows: &[LowRank], e: usize, x: &[f32]) -> Result<Vec<f32>> {
    let scale = f.maybe(m.scale)?.map_or(1.0, |s| s[e]);
    let first = e * f.bound.weights[m.w.0 as usize].shape[1] as usize + m.first as usize;
    let mut y = f.matmul_rows(m.w, first..first + m.rows as usize, x, 1)?;
    y.iter_mut().for_each(|y| *y *= scale);
    if let Some(b) = f.maybe(m.bias)? {
        let rows = y.len();
        table().add_to(&mut y, &b[e * rows..][..rows]);
    }
    for low in lows {
        let rank = low.rank as usize;
        let (z, b) = (f.matmul_rows(low.a, e * rank..(e + 1) * rank, x, 1)?, f.floats(low.b)?);
        let one = rank * f.bound.weights[low.b.0 as usize].shape[0] as usize;
        terms::add_low(table(), &mut [&mut y], &[&z], &b[e * one..(e + 1) * one], low.first as usize, low.scale);
    }
    Ok(y)
}

fn experts(f: &mut Far<'_>, op: &Op) -> Result<()> {
    let Op::Experts { x, ids, weights, mats, act: a, weigh_inputs, lows, shown, out } = op else { return Ok(()) };
    let (n_used, k, width) = (f.width(*ids), f.width(*x), f.width(*out));
    let mut y = vec![0.0; f.n(*x) * width];
    let mut parts: [Vec<f32>; 4] = Default::default();
    for (i, y) in y.chunks_exact_mut(width).enumerate() {
        for r in i * n_used..(i + 1) * n_used {
            let mut x = f.get(*x)?[i * k..][..k].to_vec();
            let (e, mut w) = (f.get(*ids)?[r].to_bits() as usize, f.get(*weights)?[r]);
            if *weigh_inputs {
                table().scale(&mut x, w);
                w = 1.0;
            }
            let u = expert(f, mats[1], &lows[1], e, &x)?;
            let (mut g, mut h) = (u.clone(), u.clone());
            match mats[0] == mats[1] {
                true => terms::activate(table(), *a, &mut h),
                false => {
                    g = expert(f, mats[0], &lows[0], e, &x)?;
                    terms::glu(table(), *a, &g, &u, &mut h);
                }
            }
            let down = expert(f, mats[2], &lows[2], e, &h)?;
            table().add_scaled(y, &down, w);
            if shown.is_some() {
                parts.iter_mut().zip([g, u, h, down]).for_each(|(to, row)| to.extend(row));
            }
        }
    }
    shown.iter().flatten().zip(parts).for_each(|(t, v)| drop(f.values.insert(*t, v)));
    f.values.insert(*out, y);
    Ok(())
}

fn heads(f: &mut Far<'_>, x: T, w: WeightId, out: T) -> Result<()> {
    let [k, rows, n_head] = f.bound.weights[w.0 as usize].shape.map(|d| d as usize);
    let mut y = vec![0.0; f.n(x) * f.width(out)];
    for (i, y) in y.chunks_exact_mut(rows).enumerate() {
        let h = i % n_head;
        y.copy_from_slice(&f.matmul_rows(w, h * rows..(h + 1) * rows, &f.get(x)?[i * k..(i + 1) * k], 1)?);
    }
    f.values.insert(out, y);
    Ok(())
}

fn gather(f: &mut Far<'_>, parts: &[Cols], n: u32, out: T) -> Result<()> {
    let mut y = Vec::new();
    for i in 0..f.n(out) {
        for (at, p) in (0..n).flat_map(|at| parts.iter().map(move |p| (at, p))) {
            let row = &f.get(p.x)?[i * f.width(p.x)..];
            y.extend_from_slice(&row[(p.first + at * p.step) as usize..][..p.len as usize]);
        }
    }
    f.values.insert(out, y);
    Ok(())
}

fn mix(f: &mut Far<'_>, x: T, coef: T, width: usize, out: T) -> Result<()> {
    let mut y = vec![0.0; f.n(x) * f.width(out)];
    for (i, y) in y.chunks_exact_mut(f.width(out)).enumerate() {
        let row = |t: T| Ok::<_, Error>(&f.get(t)?[i * f.width(t)..][..f.width(t)]);
        terms::mix(table(), row(x)?, row(coef)?, width, y);
    }
    f.values.insert(out, y);
    Ok(())
}

fn map(f: &mut Far<'_>, x: T, y: Option<T>, func: MapFn, out: T) -> Result<()> {
    let (mut v, width) = (f.get(x)?.clone(), f.width(x));
    let y = y.map(|y| Ok::<_, Error>((f.get(y)?, f.width(y)))).transpose()?;
    if y.is_none() && func.is_binary() {
        return Err(Error::invalid("a function of two values without the second"));
    }
    let weight = f.maybe(terms::weight_of(func))?;
    for (i, v) in v.chunks_exact_mut(width).enumerate().filter(|(i, _)| !terms::passes(func, *i)) {
        let pos = terms::pos_of(f.io, f.plan.value(x).rows, i);
        terms::map_row(table(), func, v, weight.as_deref().or(y.map(|(y, w)| &y[i * w..][..w])), pos);
    }
    f.values.insert(out, v);
    Ok(())
}

fn shift(f: &mut Far<'_>, g: GroupId, il: i16, r: &RopeSpec, hadamard: usize) -> Result<()> {
    let l = layer(f, g, il)?;
    let p = l.planes[0];
    let factors = f.maybe(r.factors)?;
    let (mut row, mut head, mut cs) = (vec![0; p.head_bytes], vec![0.0; p.head_len as usize], vec![0.0; r.n_rot as usize]);
    for s in f.io.shifts.iter().filter(|s| s.group == g) {
        float::rope_cache(s.delta, &terms::freq(r, factors.as_deref()), &mut cs);
        for (slot, h) in (s.slot..s.slot + s.len).flat_map(|slot| (0..p.heads).map(move |h| (slot, h))) {
            let at = l.row_at(0, s.block, slot, h);
            l.buf.read(&[Copy2d::flat(0, at, row.len())], &mut row)?;
            table().decode_row(p.ty, &row, &mut head);
            let mut bare = transformed(&p, &head).into_owned();
            terms::under(table(), hadamard, &mut bare, |head| rotate(r, head, &cs));
            table().encode_row(p.ty, &transformed(&p, &bare), &mut row);
            l.buf.write(&[Copy2d::flat(at, 0, row.len())], &row)?;
        }
    }
    Ok(())
}
