//! Attention of a decoder to what an encoder made (Vaswani et al. 2017): K and V are stored once per text, when it is encoded.
use super::writer::Writer;
use crate::backend::{AttendSpec, Dim, Op, T};
use crate::model::names::Role;
use crate::model::spec::Attention;

/// From the normed input to the projected output, both [n_tokens][n_embd]: no positions, everything visible.
pub fn across(w: &mut Writer<'_>, a: &Attention, x: T) -> T {
    let q = linear(w, Role::CrossQ, x, a.n_head * a.head_k, "Qcur");
    let out = w.value(a.n_head * a.head_v, Dim::Tokens);
    let (n_head, n_head_kv) = (a.n_head, a.n_head_kv);
    let spec = AttendSpec {
        n_head,
        n_head_kv,
        head_k: a.head_k,
        head_v: a.head_v,
        scale: a.scale,
        softcap: 0.0,
        sinks: None,
        alibi: 0.0,
        buckets: None,
        layer: None,
    };
    // Who plans a decoder beside an encoder gives this group.
    let group = w.s.cross.unwrap_or_default();
    w.step(Op::Attend { q, group, spec, out }, &[(out, "kqv_out")]);
    linear(w, Role::CrossOut, out, w.m.hp.n_embd, "attn_out")
}

/// K and V of an encoder's output for the layer at hand.
pub fn remember(w: &mut Writer<'_>, a: &Attention, x: T) {
    let [k, v] = [a.n_head_kv * a.head_k, a.n_head_kv * a.head_v].map(|rows| w.value(rows, Dim::Tokens));
    let outs = vec![w.proj(Role::CrossK, k), w.proj(Role::CrossV, v)];
    w.step(Op::Linear { x, outs, fine: false }, &[(k, "Kcur"), (v, "Vcur")]);
    let group = w.s.cross.unwrap_or_default();
    w.step(Op::Store { group, k, v }, &[]);
}

fn linear(w: &mut Writer<'_>, role: Role, x: T, rows: u32, name: &'static str) -> T {
    let out = w.value(rows, Dim::Tokens);
    let outs = vec![w.proj(role, out)];
    w.step(Op::Linear { x, outs, fine: false }, &[(out, name)]);
    out
}
