//! Self-attention over the KV store (Vaswani et al. 2017; grouped queries: Ainslie et al. 2023).
use super::rope;
use super::writer::Writer;
use crate::backend::{AttendSpec, Dim, HeadNorm, Op, Proj, T};
use crate::model::names::Role;
use crate::model::spec::Attention;

/// From the normed input [n_tokens][n_embd] to the projected output of the same shape.
pub fn write(w: &mut Writer<'_>, a: &Attention, x: T) -> T {
    let q = w.value(a.n_head * a.head_k, Dim::Tokens);
    let k = w.value(a.n_head_kv * a.head_k, Dim::Tokens);
    let v = w.value(a.n_head_kv * a.head_v, Dim::Tokens);
    let proj = |role, bias, scale, out| Proj { w: w.need(role), bias: w.get(bias), scale: w.get(scale), scale_after_bias: false, out };
    let outs = vec![
        proj(Role::Q, Role::QBias, Role::QScale, q),
        proj(Role::K, Role::KBias, Role::KScale, k),
        proj(Role::V, Role::VBias, Role::VScale, v),
    ];
    w.step(Op::Linear { x, outs, fine: false }, &[(v, "Vcur")]);
    turn(w, a, q, a.n_head, Role::QNorm, "Qcur");
    turn(w, a, k, a.n_head_kv, Role::KNorm, "Kcur");
    let group = w.s.groups[w.il() as usize];
    w.step(Op::Store { group, k, v }, &[]);
    let mixed = w.value(a.n_head * a.head_v, Dim::Tokens);
    let spec = AttendSpec {
        n_head: a.n_head,
        n_head_kv: a.n_head_kv,
        head_k: a.head_k,
        head_v: a.head_v,
        scale: a.scale,
        softcap: a.softcap,
        sinks: None,
    };
    w.step(Op::Attend { q, group, spec, out: mixed }, &[(mixed, "kqv_out")]);
    let out = w.value(w.m.hp.n_embd, Dim::Tokens);
    let (bias, scale) = (w.get(Role::AttnOutBias), w.get(Role::AttnOutScale));
    let proj = Proj { bias, scale, ..Proj::plain(w.need(Role::AttnOut), out) };
    w.step(Op::Linear { x: mixed, outs: vec![proj], fine: false }, &[(out, "attn_out")]);
    out
}

fn turn(w: &mut Writer<'_>, a: &Attention, x: T, n_head: u32, norm: Role, name: &'static str) {
    let norm = a.qk_norm.then(|| HeadNorm { w: w.need(norm), eps: w.m.hp.rms_eps });
    let rope = Some(rope(w.m, w.s, w.il(), a));
    w.step(Op::Rope { x, n_head, norm, rope }, &[(x, name)]);
}
