//! Steps that multiply with weights or look rows up in them.
use super::exec::{Module, Run, module};
use super::gpu::{Books, arg};
use super::rows;
use crate::backend::*;
use platform::{Error, Result};

/// `Mul` of `mul.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Mul {
    w: u64,
    row_bytes: u64,
    mat_bytes: u64,
    x: u64,
    scales: u64,
    sums: u64,
    y: u64,
    ids: u64,
    scale: u64,
    bias: u64,
    books: Books,
    k: u32,
    rows: u32,
    first: u32,
    n: u32,
    y_stride: u32,
    n_mat: u32,
    per_x: u32,
    block_rows: u32,
    add: u32,
    scale_after_bias: u32,
}

const THREADS: u32 = 256;
const TOKENS: usize = 8;
/// From so many rows on tensor cores are worth their tiles of 64.
const MANY: usize = 16;
/// Rows and columns of a tile, its threads, and the bytes of `Shared` in `mma.cu`.
const TILE: usize = 64;
const TILE_THREADS: u32 = 128;
const TILE_BYTES: usize = 49_408;
/// The compute capability that has them, times ten.
const TENSOR_CORES: i32 = 80;
/// (row, part) pairs that a block is worth.
const ITEMS: usize = 64;

/// Rows in the form that weights of some type take.
#[derive(Clone, Copy)]
pub struct Input {
    x: u64,
    /// Of int8: their scales and sums.
    scales: u64,
    sums: u64,
    /// Rows of the product that read the same.
    per: u32,
}

/// Floats are multiplied as they are.
fn is_float(ty: DType) -> bool {
    matches!(ty, DType::F32 | DType::F16 | DType::BF16)
}

fn of_type(w: &Weight) -> Result<Module> {
    cuda_kernels::products(w.ty.name()).ok_or_else(|| Error::unsupported(format!("{}: no kernel for {} on GPUs", w.name, w.ty.name())))
}

/// `n` rows of `k` floats as weights of type `ty` take them. With `lost`: what that took away goes there.
fn input(r: &mut Run<'_>, ty: DType, x: u64, (n, k): (usize, u32), lost: Option<u64>) -> Result<Input> {
    if is_float(ty) {
        return Ok(Input { x, scales: 0, sums: 0, per: 1 });
    }
    let terms = k as usize / 32;
    let (q, scales, sums) = (r.scratch(n * k as usize)?, r.scratch(4 * n * terms)?, r.scratch(4 * n * terms)?);
    let lost = lost.unwrap_or(0);
    let args = [arg(&x), arg(&q), arg(&scales), arg(&sums), arg(&lost), arg(&k)];
    // SAFETY: rows of k floats, and scratch for them.
    unsafe { r.launch(module("rows")?, "to_int8", [terms, n, 1], 32, 0, &args) }?;
    Ok(Input { x: q, scales, sums, per: 1 })
}

/// Which rows of which matrices, and what becomes of the sums.
#[derive(Clone, Copy)]
struct Product {
    w: WeightId,
    first: u32,
    rows: u32,
    y: u64,
    y_stride: u32,
    /// A matrix for each row; 0: by the row's number.
    ids: u64,
    each: bool,
    scale: u64,
    bias: u64,
    scale_after_bias: bool,
    add: bool,
    /// Rows in the order of their matrices, and where each one's begin; 0: not made.
    by_matrix: (u64, u64),
}

fn multiply(r: &mut Run<'_>, p: Product, x: Input, n: usize) -> Result<()> {
    let w = &r.bound.weights[p.w.0 as usize];
    let (module, k) = (of_type(w)?, w.shape[0]);
    let parts = (k as usize).div_ceil(256).max(1);
    let block_rows = (ITEMS / parts).clamp(1, 32);
    let m = Mul {
        w: r.weight(p.w)?,
        row_bytes: w.row_bytes() as u64,
        mat_bytes: (w.row_bytes() * w.shape[1] as usize) as u64,
        x: x.x,
        scales: x.scales,
        sums: x.sums,
        y: p.y,
        ids: p.ids,
        scale: p.scale,
        bias: p.bias,
        books: r.gpu.books()?,
        k,
        rows: p.rows,
        first: p.first,
        n: n as u32,
        y_stride: p.y_stride,
        n_mat: w.shape[2].max(1),
        per_x: x.per,
        block_rows: block_rows as u32,
        add: p.add.into(),
        scale_after_bias: p.scale_after_bias.into(),
    };
    if n >= MANY
        && (!p.each || p.by_matrix.0 != 0)
        && r.gpu.info.capability >= TENSOR_CORES
        && let Some(module) = cuda_kernels::matrix_products(w.ty.name())
    {
        let grid = [(p.rows as usize).div_ceil(TILE), n.div_ceil(TILE), if p.each { m.n_mat as usize } else { 1 }];
        let args = [arg(&m), arg(&p.by_matrix.0), arg(&p.by_matrix.1)];
        // SAFETY: as below; the lists are of the same rows.
        return unsafe { r.launch(module, "mul_many", grid, TILE_THREADS, TILE_BYTES, &args) };
    }
    let across = if p.each || n == 1 { 1 } else { TOKENS };
    let (name, tiles) = if p.each { ("mul_each", n) } else { ("mul_tokens", n.div_ceil(TOKENS)) };
    let blocks = (p.rows as usize).div_ceil(block_rows);
    // SAFETY: the weight's rows were checked against its shape; the input's and output's are as many as `n`.
    unsafe { r.launch(module, name, [blocks, tiles, 1], THREADS, 4 * across * block_rows * parts, &[arg(&m)]) }
}

/// One input, several matrices: the input is brought to each form once.
pub fn linear(r: &mut Run<'_>, x: T, outs: &[Proj], fine: bool) -> Result<()> {
    let (n, k, at) = (r.n(x), r.width(x), r.at(x)?);
    let mut forms: [Option<(Input, Option<Input>)>; 2] = [None, None];
    for p in outs {
        let ty = r.bound.weights[p.w.0 as usize].ty;
        let slot = usize::from(is_float(ty));
        let (whole, rest) = match forms[slot] {
            Some(f) => f,
            None => {
                let lost = if fine && !is_float(ty) { Some(r.scratch(4 * n * k as usize)?) } else { None };
                let whole = input(r, ty, at, (n, k), lost)?;
                let rest = lost.map(|lost| input(r, ty, lost, (n, k), None)).transpose()?;
                *forms[slot].insert((whole, rest))
            }
        };
        let rows = r.bound.weights[p.w.0 as usize].shape[1];
        let (scale, bias) = (r.maybe(p.scale)?, r.maybe(p.bias)?);
        let bare = Product {
            w: p.w,
            first: 0,
            rows,
            y: r.at(p.out)?,
            y_stride: r.width(p.out),
            ids: 0,
            each: false,
            scale: 0,
            bias: 0,
            scale_after_bias: false,
            add: false,
            by_matrix: (0, 0),
        };
        let finished = Product { scale, bias, scale_after_bias: p.scale_after_bias, ..bare };
        match rest {
            None => multiply(r, finished, whole, n)?,
            Some(rest) => {
                multiply(r, bare, whole, n)?;
                multiply(r, Product { add: true, ..finished }, rest, n)?;
            }
        }
    }
    Ok(())
}

/// Each head by a matrix of its own.
pub fn heads(r: &mut Run<'_>, x: T, w: WeightId, out: T) -> Result<()> {
    let [k, rows, n_head] = r.bound.weights[w.0 as usize].shape;
    let (n, at, y) = (r.n(x) * n_head as usize, r.at(x)?, r.at(out)?);
    let input = input(r, r.bound.weights[w.0 as usize].ty, at, (n, k), None)?;
    let p = Product {
        w,
        first: 0,
        rows,
        y,
        y_stride: rows,
        ids: 0,
        each: true,
        scale: 0,
        bias: 0,
        scale_after_bias: false,
        add: false,
        by_matrix: (0, 0),
    };
    multiply(r, p, input, n)
}

/// `n` rows and the expert of each.
#[derive(Clone, Copy)]
struct Sent {
    n: usize,
    ids: u64,
    /// As `Product::by_matrix`.
    by_matrix: (u64, u64),
}

/// Rows by their experts, where there are enough for tensor cores to be worth it.
fn sent(r: &mut Run<'_>, ids: u64, n: usize, n_expert: u32) -> Result<Sent> {
    if n < MANY {
        return Ok(Sent { n, ids, by_matrix: (0, 0) });
    }
    let (list, starts) = (r.scratch(4 * n)?, r.scratch(4 * (n_expert as usize + 1))?);
    let of_n = n as u32;
    let args = [arg(&ids), arg(&of_n), arg(&n_expert), arg(&starts), arg(&list)];
    // SAFETY: ids of `n` rows, room for as many and for each expert's first.
    unsafe { r.launch(module("rows")?, "group", [1, 1, 1], 512, 4 * (n_expert as usize + 1), &args) }?;
    Ok(Sent { n, ids, by_matrix: (list, starts) })
}

/// One matrix of experts on rows that each have an expert.
fn expert(r: &mut Run<'_>, m: ExpertMat, lows: &[LowRank], (x, x_per, k): (u64, u32, u32), to: Sent, y: u64) -> Result<()> {
    let Sent { n, ids, by_matrix } = to;
    let rows_in = n / x_per as usize;
    let ty = r.bound.weights[m.w.0 as usize].ty;
    let of_x = Input { per: x_per, ..input(r, ty, x, (rows_in, k), None)? };
    let (scale, bias) = (r.maybe(m.scale)?, r.maybe(m.bias)?);
    let p = Product {
        w: m.w,
        first: m.first,
        rows: m.rows,
        y,
        y_stride: m.rows,
        ids,
        each: true,
        scale,
        bias,
        scale_after_bias: false,
        add: false,
        by_matrix,
    };
    multiply(r, p, of_x, n)?;
    for low in lows {
        let (a, b) = (&r.bound.weights[low.a.0 as usize], &r.bound.weights[low.b.0 as usize]);
        let (ty, b_width, n_mat) = (a.ty, b.shape[0], a.shape[2].max(1));
        let z = r.scratch(4 * n * low.rank as usize)?;
        let of_x = Input { per: x_per, ..input(r, ty, x, (rows_in, k), None)? };
        let p = Product { w: low.a, first: 0, rows: low.rank, y: z, y_stride: low.rank, scale: 0, bias: 0, ..p };
        multiply(r, p, of_x, n)?;
        let low = rows::Low {
            y,
            z,
            b: r.weight(low.b)?,
            by: 0,
            ids,
            width: m.rows,
            rank: low.rank,
            b_width,
            first: low.first,
            n_mat,
            scale: low.scale,
        };
        rows::add_one(r, low, n)?;
    }
    Ok(())
}

pub fn experts(r: &mut Run<'_>, op: &Op) -> Result<()> {
    let Op::Experts { x, ids, weights, mats, act, weigh_inputs, lows, shown, out } = op else {
        return Err(Error::invalid("not an experts step"));
    };
    let (tokens, k, n_used, width) = (r.n(*x), r.width(*x), r.width(*ids), r.width(*out));
    let (n, n_ff) = (tokens * n_used as usize, mats[1].rows);
    let (of_ids, of_weights) = (r.at(*ids)?, r.at(*weights)?);
    let mut at = (r.at(*x)?, n_used, k);
    if *weigh_inputs {
        let weighed = r.scratch(4 * n * k as usize)?;
        // SAFETY: a row for each rank of each token.
        unsafe {
            r.launch(module("rows")?, "weigh", [n, 1, 1], 256, 0, &[arg(&at.0), arg(&of_weights), arg(&weighed), arg(&k), arg(&n_used)])
        }?;
        at = (weighed, 1, k);
    }
    let mut places = [0; 4];
    for (i, (place, width)) in places.iter_mut().zip([n_ff, n_ff, n_ff, mats[2].rows]).enumerate() {
        *place = match shown {
            Some(t) => r.at(t[i])?,
            None => r.scratch(4 * n * width as usize)?,
        };
    }
    let [gate, up, h, down] = places;
    let gated = mats[0] != mats[1];
    let n_expert = r.bound.weights[mats[1].w.0 as usize].shape[2].max(1);
    let to = sent(r, of_ids, n, n_expert)?;
    expert(r, mats[1], &lows[1], at, to, up)?;
    // Without a gate observers are shown up.
    if gated {
        expert(r, mats[0], &lows[0], at, to, gate)?;
    } else if shown.is_some() {
        rows::act(r, 0, up, gate, n * n_ff as usize, None)?;
    }
    rows::act(r, if gated { gate } else { 0 }, up, h, n * n_ff as usize, Some(*act))?;
    expert(r, mats[2], &lows[2], (h, 1, n_ff), to, down)?;
    let (y, by) = (r.at(*out)?, if *weigh_inputs { 0 } else { of_weights });
    // SAFETY: a row for each rank of each token, and one for the token.
    unsafe { r.launch(module("rows")?, "sum_ranks", [tokens, 1, 1], 256, 0, &[arg(&down), arg(&by), arg(&y), arg(&width), arg(&n_used)]) }
}

pub fn embed(r: &mut Run<'_>, table: WeightId, by: Lookup, scale: f32, out: T) -> Result<()> {
    let w = &r.bound.weights[table.0 as usize];
    let (module, k, n, y, at) = (of_type(w)?, r.width(out), r.n(out), r.at(out)?, r.weight(table)?);
    let (row_bytes, books) = (w.row_bytes() as u64, r.gpu.books()?);
    let mut ids = Vec::new();
    if let Some(io) = r.io {
        let ub = io.ub;
        if ub.tokens.is_empty() && matches!(by, Lookup::Tokens | Lookup::TokensOrNothing) {
            let zeros = vec![0.0; n * k as usize];
            let rows = if by == Lookup::Tokens { &ub.embd } else { &zeros };
            // SAFETY: the value has a row per token; waited for before the rows are gone.
            unsafe { r.gpu.ctx.write(y, rows.as_ptr().cast(), 4 * rows.len().min(n * k as usize)) }?;
            return r.gpu.ctx.wait();
        }
        ids = (0..n).map(|i| terms::row_of(ub, by, i)).collect();
        if let Some(id) = ids.iter().find(|id| **id >= w.shape[1] as usize) {
            return Err(Error::invalid(format!("{} has no row {id}", w.name)));
        }
    }
    let ids: Vec<u32> = ids.into_iter().map(|id| id as u32).collect();
    let ids = r.input(&ids)?;
    let args = [arg(&at), arg(&row_bytes), arg(&ids), arg(&scale), arg(&k), arg(&y), arg(&books)];
    // SAFETY: ids were checked.
    unsafe { r.launch(module, "look_up_rows", [n, 1, 1], 128, 0, &args) }
}
