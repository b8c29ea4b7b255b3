//! The scalar truth for a leaf: one query, one cell, one channel at a time. Must not be optimised.

use super::{LEAF, LeafArgs};
use crate::{DType, float};

/// As `AttnLeaf` says.
///
/// # Safety
/// See `AttnLeaf`.
pub unsafe fn leaf(a: &LeafArgs) {
    for (i, &(from, to)) in a.vis.iter().enumerate().take(a.n_q) {
        let (from, to) = (usize::from(from), usize::from(to).min(usize::from(a.len)));
        if from < to {
            // SAFETY: query `i` and its state exist, and 0..len has rows, by the caller's word.
            unsafe {
                let q = std::slice::from_raw_parts(a.q.add(i * a.q_stride), a.head_k);
                let state = std::slice::from_raw_parts_mut(a.state.add(i * (2 + a.head_v)), 2 + a.head_v);
                one(a, i, q, state, from, to);
            }
        }
    }
}

/// Query `i`, with at least one visible cell.
///
/// # Safety
/// See `AttnLeaf`; `from..to` lies in the leaf.
unsafe fn one(a: &LeafArgs, i: usize, q: &[f32], state: &mut [f32], from: usize, to: usize) {
    let mut s = [f32::NEG_INFINITY; LEAF];
    for (j, s) in s.iter_mut().enumerate().take(to).skip(from) {
        let mut dot = 0.0;
        for (c, q) in q.iter().enumerate() {
            // SAFETY: cell `j` is in the leaf, channel `c` below head_k.
            dot += q * unsafe { value(row(a, j).0, a.k_type, c) };
        }
        *s = if a.softcap == 0.0 { dot * a.scale } else { a.softcap * (dot * a.scale / a.softcap).tanh() };
        *s -= a.alibi.map_or(0.0, |f| f[i].slope * (f[i].first + j as f32).abs());
        *s += a.added.map_or(0.0, |f| f[i][j]);
    }
    let m = s.iter().copied().fold(state[0], f32::max);
    let base = if m == f32::NEG_INFINITY { 0.0 } else { m };
    let rescale = (state[0] - base).exp();
    let p = s.map(|s| (s - base).exp());
    state[0] = m;
    state[1] = state[1] * rescale + p.iter().sum::<f32>();
    for (c, acc) in state[2..].iter_mut().enumerate() {
        *acc *= rescale;
        for (j, p) in p.iter().enumerate().take(to).skip(from) {
            // SAFETY: as above, channel `c` below head_v.
            *acc += p * unsafe { value(row(a, j).1, a.v_type, c) };
        }
    }
}

/// The K and V rows at place `j`.
fn row(a: &LeafArgs, j: usize) -> (*const u8, *const u8) {
    (a.at.rows.k[j].wrapping_add(a.at.k), a.at.rows.v[j].wrapping_add(a.at.v))
}

/// Element `c` of a row.
///
/// # Safety
/// `row` points to a row of type `t` that has an element `c`.
unsafe fn value(row: *const u8, t: DType, c: usize) -> f32 {
    let (len, bytes) = (t.block_len(), t.block_bytes());
    // SAFETY: the block that holds `c` is part of the row.
    let block = unsafe { std::slice::from_raw_parts(row.add(c / len * bytes), bytes) };
    let mut out = [0.0f32; 32];
    float::table(crate::Isa::Scalar).decode_row(t, block, &mut out[..len]);
    out[c % len]
}
