//! Attention of a decoder to what an encoder made (Vaswani et al. 2017): K and V are stored once per text, when it is encoded.
use super::writer::{Stream, Writer};
use crate::backend::{AttendSpec, Dim, Op, T};
use crate::model::names::Role;
use crate::model::spec::Attention;

/// Behind self-attention, which gives `add` to the stream `x`: the stream with that, and what it is to be given now; no positions, everything
/// visible.
pub fn write(w: &mut Writer<'_>, a: &Attention, x: T, add: T) -> (T, T) {
    let rows = w.plan.value(add).rows;
    let (sum, cur) = w.add_norm(Stream { x, add: Some(add), rows }, Some(Role::CrossNorm), "cross_inp", "attn_norm_cross");
    let q = w.linear(cur, Role::CrossQ, a.n_head * a.head_k, "Qcur");
    let out = w.value(a.n_head * a.head_v, Dim::Tokens);
    let &Attention { n_head, n_head_kv, head_k, head_v, scale, .. } = a;
    let spec = AttendSpec { n_head, n_head_kv, head_k, head_v, scale, ..AttendSpec::default() };
    // Who plans a decoder beside an encoder gives this group.
    let group = w.s.cross.unwrap_or_default();
    w.step(Op::Attend { q, group, spec, out }, &[(out, "kqv_out")]);
    (sum, w.linear(out, Role::CrossOut, w.m.hp.n_embd, "attn_out"))
}

/// K and V of an encoder's output for the layer at hand.
pub fn remember(w: &mut Writer<'_>, a: &Attention, x: T) {
    let [k, v] = [a.n_head_kv * a.head_k, a.n_head_kv * a.head_v].map(|rows| w.value(rows, Dim::Tokens));
    let outs = vec![w.proj(Role::CrossK, k), w.proj(Role::CrossV, v)];
    w.step(Op::Linear { x, outs, fine: false }, &[(k, "Kcur"), (v, "Vcur")]);
    let group = w.s.cross.unwrap_or_default();
    w.step(Op::Store { group, k, v }, &[]);
}
