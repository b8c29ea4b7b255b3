//! Self-attention over the KV store (Vaswani et al. 2017; grouped queries: Ainslie et al. 2023).
use super::rope;
use super::writer::Writer;
use crate::backend::{AttendSpec, Dim, HeadNorm, MapFn, NormKind, Op, RopeSpec, T};
use crate::model::names::Role;
use crate::model::spec::{Attention, Gates, QkNorm};

/// From the normed input [n_tokens][n_embd] to the projected output of the same shape.
pub fn write(w: &mut Writer<'_>, a: &Attention, x: T) -> T {
    let rows = [(Role::Q, a.n_head * a.head_k), (Role::K, a.n_head_kv * a.head_k), (Role::V, a.n_head_kv * a.head_v)];
    let values = rows.map(|(_, n)| w.value(n, Dim::Tokens));
    let outs = rows.iter().zip(values).map(|((role, _), out)| w.proj(*role, out)).collect();
    w.step(Op::Linear { x, outs, fine: false }, &[(values[2], "Vcur")]);
    let [q, k, v] = if a.clamp > 0.0 { values.map(|t| w.map(t, None, MapFn::Clamp(a.clamp), "qkv_clamped")) } else { values };
    let q = turn(w, a, q, a.n_head, Role::QNorm, "Qcur");
    let k = turn(w, a, k, a.n_head_kv, Role::KNorm, "Kcur");
    let q = a.temperature.map_or(q, |t| w.map(q, None, MapFn::Temperature(t), "Qcur"));
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
        sinks: a.sinks.then(|| w.need(Role::Sinks)),
    };
    w.step(Op::Attend { q, group, spec, out: mixed }, &[(mixed, "kqv_out")]);
    let mixed = gated(w, a, x, mixed);
    let out = w.value(w.m.hp.n_embd, Dim::Tokens);
    let outs = vec![w.proj(Role::AttnOut, out)];
    w.step(Op::Linear { x: mixed, outs, fine: false }, &[(out, "attn_out")]);
    out
}

fn gated(w: &mut Writer<'_>, a: &Attention, x: T, mixed: T) -> T {
    let width = match a.gates {
        Gates::None => return mixed,
        Gates::PerHead => a.n_head,
        Gates::PerChannel => a.n_head * a.head_v,
    };
    let gate = w.value(width, Dim::Tokens);
    let outs = vec![w.proj(Role::AttnGate, gate)];
    w.step(Op::Linear { x, outs, fine: false }, &[(gate, "attn_gate")]);
    w.map(mixed, Some(gate), MapFn::Gate, "attn_gated")
}

/// Norm and rotation of Q or K, in the architecture's order.
fn turn(w: &mut Writer<'_>, a: &Attention, x: T, n_head: u32, role: Role, name: &'static str) -> T {
    let x = if a.qk_norm == QkNorm::Whole { w.norm(x, role, name) } else { x };
    let weight = w.get(role.weight());
    let norm = |kind| {
        let eps = if kind == NormKind::Rms { w.m.hp.rms_eps } else { w.m.hp.norm_eps };
        Some(HeadNorm { w: weight, kind, eps })
    };
    let (before, after) = match a.qk_norm {
        QkNorm::None | QkNorm::Whole => (None, None),
        QkNorm::Head => (norm(NormKind::Rms), None),
        QkNorm::EachHead => (norm(NormKind::Layer), None),
        QkNorm::HeadAfterRope | QkNorm::BareAfterRope => (None, norm(NormKind::Rms)),
    };
    let rope = rope(w.m, w.s, w.il(), a);
    rope_step(w, x, n_head, before, rope, name);
    rope_step(w, x, n_head, after, None, name);
    x
}

fn rope_step(w: &mut Writer<'_>, x: T, n_head: u32, norm: Option<HeadNorm>, rope: Option<RopeSpec>, name: &'static str) {
    if norm.is_some() || rope.is_some() {
        w.step(Op::Rope { x, n_head, norm, rope }, &[(x, name)]);
    }
}
