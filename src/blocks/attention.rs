//! Self-attention over the KV store (Vaswani et al. 2017; grouped queries: Ainslie et al. 2023).
use super::index;
use super::mla;
use super::writer::Writer;
use super::{rope, rope_scale};
use crate::backend::{Among, AttendSpec, Buckets, Dim, HeadNorm, MapFn, NormKind, Op, RopeSpec, T};
use crate::model::names::{Role, projections};
use crate::model::spec::{Attention, Gates, PosBias, QkNorm};

/// From the normed input [n_tokens][n_embd] to the projected output of the same shape.
pub fn write(w: &mut Writer<'_>, a: &Attention, x: T) -> T {
    let mixed = match &a.mla {
        Some(m) => mla::write(w, a, m, x),
        None => {
            let among = index::write(w, a, x, None);
            heads(w, a, x, among)
        }
    };
    let mixed = gated(w, a, x, mixed);
    let mixed = a.sub_norm.map_or(mixed, |role| w.norm(mixed, role, "attn_sub_norm"));
    let out = w.value(w.m.hp.n_embd, Dim::Tokens);
    let outs = vec![w.proj(Role::AttnOut, out)];
    w.step(Op::Linear { x: mixed, outs, fine: false }, &[(out, "attn_out")]);
    w.scaled(out, a.out_scale, "attn_out_scaled")
}

/// Q, K and V of all heads, to [n_tokens][n_head * head_v].
fn heads(w: &mut Writer<'_>, a: &Attention, x: T, among: Option<Among>) -> T {
    let made = projected(w, a, x);
    let q = turn(w, a, made[0], a.n_head, Role::QNorm, "Qcur");
    let q = a.temperature.map_or(q, |t| w.map(q, None, MapFn::Temperature(t), "Qcur"));
    if let [_, k, ..] = made[..] {
        // K changes in place.
        let v = made.get(2).copied().unwrap_or_else(|| w.map(k, None, MapFn::Scale(1.0), "Vcur"));
        let k = turn(w, a, k, a.n_head_kv, Role::KNorm, "Kcur");
        if a.v_normed {
            rope_step(w, v, a.n_head_kv, Some(bare(w.m.hp.rms_eps)), None, "Vcur_normed");
        }
        let group = w.s.groups[w.il() as usize];
        w.step(Op::Store { group, k, v }, &[]);
    }
    attend(w, a, q, among)
}

/// The numbers of distances: a layer without its own has the first one's.
fn buckets(w: &Writer<'_>, a: &Attention) -> Option<Buckets> {
    let PosBias::Buckets { n, both_sides } = a.pos_bias else { return None };
    Some(Buckets { w: w.get(Role::RelBias.weight()).or_else(|| w.get_first(Role::RelBias.weight()))?, n, both_sides })
}

/// What the input's matrices give: Q, and K and V where the layer makes its own.
fn projected(w: &mut Writer<'_>, a: &Attention, x: T) -> Vec<T> {
    let rows = projections(a);
    let values: Vec<T> = rows.iter().map(|(_, n)| w.value(*n, Dim::Tokens)).collect();
    let outs = rows.iter().zip(&values).map(|((role, _), out)| w.proj(*role, *out)).collect();
    let seen: Vec<(T, &'static str)> = values.iter().copied().zip(["Qcur", "Kcur", "Vcur"]).collect();
    w.step(Op::Linear { x, outs, fine: false }, &seen);
    match a.clamp > 0.0 {
        true => values.into_iter().map(|t| w.map(t, None, MapFn::Clamp(a.clamp), "qkv_clamped")).collect(),
        false => values,
    }
}

/// Attention of queries that are ready over what is stored.
pub fn attend(w: &mut Writer<'_>, a: &Attention, q: T, among: Option<Among>) -> T {
    let group = w.s.groups[w.il() as usize];
    let mixed = w.value(a.n_head * a.head_v, Dim::Tokens);
    let spec = AttendSpec {
        n_head: a.n_head,
        n_head_kv: a.n_head_kv,
        head_k: a.head_k,
        head_v: a.head_v,
        scale: a.scale * rope_scale(w.m, w.s, a),
        softcap: a.softcap,
        sinks: a.sinks.then(|| w.need(Role::Sinks)),
        alibi: a.alibi,
        buckets: buckets(w, a),
        among,
        layer: a.kv_of.map(|il| il as i16),
    };
    w.step(Op::Attend { q, group, spec, out: mixed }, &[(mixed, "kqv_out")]);
    mixed
}

fn gated(w: &mut Writer<'_>, a: &Attention, x: T, mixed: T) -> T {
    let (width, f) = match a.gates {
        Gates::None => return mixed,
        Gates::PerHead => (a.n_head, MapFn::Gate),
        Gates::PerChannel => (w.plan.value(mixed).width, MapFn::Gate),
        Gates::SoftPerHead => (a.n_head, MapFn::GateSoftplus),
        Gates::SoftPerChannel => (w.plan.value(mixed).width, MapFn::GateSoftplus),
    };
    let gate = w.value(width, Dim::Tokens);
    let outs = vec![w.proj(Role::AttnGate, gate)];
    w.step(Op::Linear { x, outs, fine: false }, &[(gate, "attn_gate")]);
    w.map(mixed, Some(gate), f, "attn_gated")
}

/// RMS without weights over a whole head.
fn bare(eps: f32) -> HeadNorm {
    HeadNorm { len: 0, w: None, number: false, b: None, kind: NormKind::Rms, eps }
}

/// Norm and rotation of Q or K, in the architecture's order.
fn turn(w: &mut Writer<'_>, a: &Attention, x: T, n_head: u32, role: Role, name: &'static str) -> T {
    let x = if a.qk_norm == QkNorm::Whole { w.norm(x, role, name) } else { x };
    let (weight, bias) = (w.get(role.weight()), w.get(role.bias()));
    let rms = HeadNorm { w: weight, ..bare(w.m.hp.rms_eps) };
    let (before, after) = match a.qk_norm {
        QkNorm::None | QkNorm::Whole => (None, None),
        QkNorm::Head => (Some(rms), None),
        QkNorm::EachHead => (Some(HeadNorm { b: bias, kind: NormKind::Layer, eps: w.m.hp.norm_eps, ..rms }), None),
        QkNorm::NumberAfterRope => (None, Some(HeadNorm { number: true, ..rms })),
        QkNorm::HeadAfterRope | QkNorm::BareAfterRope => (None, Some(rms)),
    };
    let rope = rope(w.m, w.s, a);
    rope_step(w, x, n_head, before, rope, name);
    rope_step(w, x, n_head, after, None, name);
    x
}

pub fn rope_step(w: &mut Writer<'_>, x: T, n_head: u32, norm: Option<HeadNorm>, rope: Option<RopeSpec>, name: &'static str) {
    if norm.is_some() || rope.is_some() {
        w.step(Op::Rope { x, n_head, norm, rope }, &[(x, name)]);
    }
}
