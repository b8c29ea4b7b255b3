//! Steps that take rows of values and no matrix.
use super::exec::{Run, module};
use super::gpu::arg;
use crate::backend::*;
use platform::{Error, Result};

const THREADS: u32 = 256;

#[repr(C)]
#[derive(Clone, Copy)]
struct Norm {
    x: u64,
    add: u64,
    w: u64,
    b: u64,
    sum: u64,
    out: u64,
    width: u32,
    layer: u32,
    eps: f32,
}

pub fn norm(r: &mut Run<'_>, op: &Op) -> Result<()> {
    let Op::Norm { x, add, w, b, kind, eps, sum, out } = op else {
        return Err(Error::invalid("not a norm step"));
    };
    let at = |t: &Option<T>| t.map_or(Ok(0), |t| r.at(t));
    let p = Norm {
        x: r.at(*x)?,
        add: at(add)?,
        w: r.maybe(*w)?,
        b: r.maybe(*b)?,
        sum: at(sum)?,
        out: r.at(*out)?,
        width: r.width(*out),
        layer: u32::from(*kind == NormKind::Layer),
        eps: *eps,
    };
    // SAFETY: values as wide as each other.
    unsafe { r.launch(module("rows")?, "norm", [r.n(*out), 1, 1], THREADS, 0, &[arg(&p)]) }
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Rope {
    x: u64,
    cs: u64,
    w: u64,
    b: u64,
    width: u32,
    n_head: u32,
    at: u32,
    n_rot: u32,
    neox: u32,
    norm: u32,
    len: u32,
    each_head: u32,
    number: u32,
    eps: f32,
}

/// (cos, sin) of the pairs of every token; made once for each kind of rotation.
fn angles(r: &mut Run<'_>, spec: &RopeSpec) -> Result<u64> {
    let Some(io) = r.io else { return Ok(0) };
    if let Some((_, at)) = r.angles.iter().find(|a| a.0 == *spec) {
        return Ok(*at);
    }
    let factors = spec.factors.and_then(|w| r.factors.get(&w)).map(Vec::as_slice);
    let n_rot = spec.n_rot as usize;
    let mut cs = platform::error::try_zeroed(io.ub.n_tokens() * n_rot, "angles")?;
    cs.chunks_exact_mut(n_rot.max(1)).enumerate().for_each(|(i, cs)| terms::angles(io.ub, i, spec, factors, cs));
    let at = r.input(&cs)?;
    r.angles.push((spec.clone(), at));
    Ok(at)
}

pub fn rope(r: &mut Run<'_>, x: T, n_head: u32, norm: Option<&HeadNorm>, rope: Option<&RopeSpec>) -> Result<()> {
    let (width, at, n) = (r.width(x), r.at(x)?, r.n(x));
    let head = width / n_head.max(1);
    let len = norm.map_or(0, |n| if n.len == 0 { head } else { n.len });
    let elements = |w: WeightId| r.bound.weights[w.0 as usize].n_elements();
    let each_head = norm.and_then(|n| if n.number { n.b } else { n.w.or(n.b) }).is_some_and(|w| elements(w) > u64::from(len));
    let (w, b) = (r.maybe(norm.and_then(|n| n.w))?, r.maybe(norm.and_then(|n| n.b))?);
    let p = Rope {
        x: at,
        cs: rope.map_or(Ok(0), |s| angles(r, s))?,
        w,
        b,
        width,
        n_head,
        at: rope.map_or(0, |s| s.at),
        n_rot: rope.map_or(0, |s| s.n_rot),
        neox: u32::from(rope.is_some_and(|s| s.kind == RopeKind::Neox)),
        norm: norm.map_or(0, |n| if n.kind == NormKind::Rms { 1 } else { 2 }),
        len,
        each_head: each_head.into(),
        number: norm.is_some_and(|n| n.number).into(),
        eps: norm.map_or(0.0, |n| n.eps),
    };
    // SAFETY: heads of a row, angles of every token.
    unsafe { r.launch(module("rows")?, "rope", [n_head as usize, n, 1], 32, 0, &[arg(&p)]) }
}

/// `Act` of `rows.cu`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Activation {
    kind: u32,
    a: f32,
    b: f32,
    c: f32,
    d: f32,
}

fn activation(a: Act) -> Activation {
    let of = |kind, [a, b, c, d]: [f32; 4]| Activation { kind, a, b, c, d };
    match a {
        Act::Silu => of(0, [0.0; 4]),
        Act::Gelu => of(1, [0.0; 4]),
        Act::Relu => of(2, [0.0; 4]),
        Act::ReluSqr => of(3, [0.0; 4]),
        Act::Sigmoid => of(4, [0.0; 4]),
        Act::SwigluOai => of(5, [terms::OAI.0, terms::OAI.1, 0.0, 0.0]),
        Act::SiluCut(limit) => of(6, [limit, 0.0, 0.0, 0.0]),
        Act::CutSilu(limit) => of(7, [limit, 0.0, 0.0, 0.0]),
        Act::Xielu(x) => of(8, [x.alpha_n, x.alpha_p, x.beta, x.eps]),
    }
}

pub fn glu(r: &mut Run<'_>, gate: T, up: T, act: Act, out: T) -> Result<()> {
    let n = r.n(out) * r.width(out) as usize;
    self::act(r, r.at(gate)?, r.at(up)?, r.at(out)?, n, Some(act))
}

/// act(gate) * up, or without a gate act(up), of `n` numbers; no activation: `up` as it is.
pub fn act(r: &mut Run<'_>, gate: u64, up: u64, out: u64, n: usize, act: Option<Act>) -> Result<()> {
    let Some(act) = act else {
        let p = Mapped { x: up, out, width: n as u32, kind: SCALE, s: 1.0, ..Mapped::default() };
        // SAFETY: as many numbers on both sides.
        return unsafe { r.launch(module("rows")?, "map", [1, 1, 1], THREADS, 0, &[arg(&p)]) };
    };
    let args = (n as u64, activation(act));
    // SAFETY: as above.
    unsafe {
        r.launch(
            module("rows")?,
            "glu",
            [n.div_ceil(THREADS as usize), 1, 1],
            THREADS,
            0,
            &[arg(&gate), arg(&up), arg(&out), arg(&args.0), arg(&args.1)],
        )
    }
}

/// `Map` of `rows.cu`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Mapped {
    x: u64,
    y: u64,
    out: u64,
    width: u32,
    y_width: u32,
    kind: u32,
    from: u32,
    to: u32,
    first_only: u32,
    s: f32,
    act: Activation,
}

const SCALE: u32 = 10;
const SCALE_ROWS: u32 = 18;

/// The number of a function, and its own numbers.
fn mapped(f: MapFn) -> Mapped {
    let of = |kind| Mapped { kind, ..Mapped::default() };
    let by = |kind, s| Mapped { s, ..of(kind) };
    match f {
        MapFn::Add => of(0),
        MapFn::Sub => of(1),
        MapFn::Mul => of(2),
        MapFn::Gate => of(3),
        MapFn::GateSoftplus => of(4),
        MapFn::AddParts(first) => Mapped { from: first, ..of(5) },
        MapFn::Rescale => of(6),
        MapFn::Weight(_, ByWeight::Mul) => of(7),
        MapFn::Weight(_, ByWeight::Div) => of(8),
        MapFn::Weight(_, ByWeight::Add) => of(9),
        MapFn::Scale(s) => by(SCALE, s),
        MapFn::Plus(s) => by(11, s),
        MapFn::Sparse(s) => by(12, s),
        MapFn::Hide { from, to, first_only } => Mapped { from, to, first_only: first_only.into(), ..of(13) },
        MapFn::Clamp(s) => by(14, s),
        MapFn::Softcap(s) => by(15, s),
        MapFn::Act(a) => Mapped { act: activation(a), ..of(16) },
        MapFn::Hadamard(n) => Mapped { from: n, ..of(17) },
        MapFn::Temperature(_) => of(SCALE_ROWS),
    }
}

pub fn map(r: &mut Run<'_>, x: T, y: Option<T>, f: MapFn, out: T) -> Result<()> {
    if y.is_none() && f.is_binary() {
        return Err(Error::invalid("a function of two values without the second"));
    }
    let mut p = Mapped { x: r.at(x)?, out: r.at(out)?, width: r.width(x), ..mapped(f) };
    if let Some(y) = y {
        (p.y, p.y_width) = (r.at(y)?, r.width(y));
    }
    if let Some(w) = terms::weight_of(f) {
        (p.y, p.y_width) = (r.weight(w)?, r.bound.weights[w.0 as usize].n_elements() as u32);
    }
    if let (MapFn::Temperature(t), Some(io)) = (f, r.io) {
        let rows = r.plan.value(x).rows;
        let by: Vec<f32> = (0..r.n(x)).map(|i| t.at(terms::pos_of(io, rows, i))).collect();
        (p.y, p.y_width) = (r.input(&by)?, 1);
    }
    // SAFETY: rows of values, and what the function reads beside them.
    unsafe { r.launch(module("rows")?, "map", [r.n(x), 1, 1], THREADS, 0, &[arg(&p)]) }
}

pub fn pick(r: &mut Run<'_>, x: T, out: T) -> Result<()> {
    let rows = r.input(r.io.map_or(&[], |io| io.outputs))?;
    let (x, y, width) = (r.at(x)?, r.at(out)?, r.width(out));
    // SAFETY: rows of the ubatch.
    unsafe { r.launch(module("rows")?, "pick_rows", [r.n(out), 1, 1], THREADS, 0, &[arg(&x), arg(&rows), arg(&y), arg(&width)]) }
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Columns {
    x: u64,
    out: u64,
    x_width: u32,
    out_width: u32,
    first: u32,
    step: u32,
    len: u32,
    at: u32,
    pitch: u32,
    n: u32,
}

pub fn gather(r: &mut Run<'_>, parts: &[Cols], n: u32, out: T) -> Result<()> {
    let pitch = parts.iter().map(|p| p.len).sum();
    let mut at = 0;
    for p in parts {
        let c = Columns {
            x: r.at(p.x)?,
            out: r.at(out)?,
            x_width: r.width(p.x),
            out_width: r.width(out),
            first: p.first,
            step: p.step,
            len: p.len,
            at,
            pitch,
            n,
        };
        // SAFETY: the plan's columns are inside of its values.
        unsafe { r.launch(module("rows")?, "columns", [r.n(out), 1, 1], THREADS, 0, &[arg(&c)]) }?;
        at += p.len;
    }
    Ok(())
}

pub fn mix(r: &mut Run<'_>, x: T, coef: T, width: u32, out: T) -> Result<()> {
    let (n, n_out) = (r.width(x) / width.max(1), r.width(out) / width.max(1));
    let (x, coef, y) = (r.at(x)?, r.at(coef)?, r.at(out)?);
    // SAFETY: parts of rows.
    unsafe {
        r.launch(module("rows")?, "mix", [r.n(out), 1, 1], THREADS, 0, &[arg(&x), arg(&coef), arg(&y), arg(&n), arg(&width), arg(&n_out)])
    }
}

/// `Low` of `rows.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Low {
    pub y: u64,
    pub z: u64,
    pub b: u64,
    pub by: u64,
    pub ids: u64,
    pub width: u32,
    pub rank: u32,
    pub b_width: u32,
    pub first: u32,
    pub n_mat: u32,
    pub scale: f32,
}

pub fn add_low(r: &mut Run<'_>, d: &Delta) -> Result<()> {
    for p in &d.parts {
        let low = Low {
            y: r.at(d.out)?,
            z: r.at(p.z)?,
            b: r.weight(p.b)?,
            by: r.maybe(d.by)?,
            ids: 0,
            width: r.width(d.out),
            rank: r.width(p.z),
            b_width: r.bound.weights[p.b.0 as usize].shape[0],
            first: p.first,
            n_mat: 1,
            scale: p.scale,
        };
        add_one(r, low, r.n(d.out))?;
    }
    Ok(())
}

pub fn add_one(r: &mut Run<'_>, low: Low, n: usize) -> Result<()> {
    // SAFETY: `rank` numbers for each of `n` rows, and the columns of `b`.
    unsafe { r.launch(module("rows")?, "add_low", [n, 1, 1], THREADS, 0, &[arg(&low)]) }
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Routed {
    logits: u64,
    bias: u64,
    ids: u64,
    weights: u64,
    n: u32,
    n_used: u32,
    gate: u32,
    by_logit: u32,
    renorm: u32,
    n_group: u32,
    n_group_used: u32,
    each: u32,
    scale: f32,
}

pub fn route(r: &mut Run<'_>, logits: T, s: &RouteSpec, ids: T, weights: T) -> Result<()> {
    let p = Routed {
        logits: r.at(logits)?,
        bias: r.maybe(s.bias)?,
        ids: r.at(ids)?,
        weights: r.at(weights)?,
        n: s.n_expert,
        n_used: s.n_used,
        gate: match s.gate {
            Gate::Softmax => 0,
            Gate::Sigmoid => 1,
            Gate::SoftmaxWeight => 2,
        },
        by_logit: s.by_logit.into(),
        renorm: s.renorm.into(),
        n_group: s.n_group,
        n_group_used: s.n_group_used,
        each: s.each,
        scale: s.scale,
    };
    let shared = 4 * (s.n_expert + s.n_used) as usize;
    // SAFETY: logits of every expert, room for those used.
    unsafe { r.launch(module("rows")?, "route", [r.n(logits), 1, 1], 32, shared, &[arg(&p)]) }
}
