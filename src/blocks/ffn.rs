//! Feed-forward networks: plain, gated (Shazeer 2020), and mixtures of gated experts (Shazeer et al. 2017).
use super::writer::Writer;
use crate::backend::{Act, ExpertMat, MapFn, Op, Proj, RouteSpec, T, WeightId};
use crate::model::names::Role;
use crate::model::spec::{Ffn, Moe};

/// From the normed input to the output, both [rows][n_embd].
pub fn write(w: &mut Writer<'_>, f: &Ffn, x: T) -> T {
    match f {
        Ffn::Dense(d) => dense(w, [Role::FfnGate, Role::FfnUp, Role::FfnDown], d.n_ff, d.act, x, ["ffn_gate", "ffn_up", "ffn_out"]),
        Ffn::Moe(m) => moe(w, m, x),
    }
}

/// `roles` and `names` are of gate (which may be missing), up and down.
fn dense(w: &mut Writer<'_>, roles: [Role; 3], n_ff: u32, act: Act, x: T, names: [&'static str; 3]) -> T {
    let after = |p: Proj| Proj { scale_after_bias: true, ..p };
    let rows = w.plan.value(x).rows;
    let (up, out) = (w.value(n_ff, rows), w.value(w.m.hp.n_embd, rows));
    let h = if w.get(roles[0].weight()).is_some() {
        let (gate, h) = (w.value(n_ff, rows), w.value(n_ff, rows));
        let outs = vec![after(w.proj(roles[0], gate)), after(w.proj(roles[1], up))];
        w.step(Op::Linear { x, outs, fine: false }, &[(gate, names[0]), (up, names[1])]);
        w.step(Op::Glu { gate, up, act, out: h }, &[(h, glu_name(act))]);
        h
    } else {
        let outs = vec![after(w.proj(roles[1], up))];
        w.step(Op::Linear { x, outs, fine: false }, &[(up, names[1])]);
        w.map(up, None, MapFn::Act(act), act_name(act))
    };
    let outs = vec![after(w.proj(roles[2], out))];
    w.step(Op::Linear { x: h, outs, fine: false }, &[(out, names[2])]);
    out
}

fn moe(w: &mut Writer<'_>, m: &Moe, x: T) -> T {
    let routed = experts(w, m, x);
    let Some(s) = m.shared else { return routed };
    let roles = [Role::SharedGate, Role::SharedUp, Role::SharedDown];
    let mut beside = dense(w, roles, s.n_ff, m.act, x, ["ffn_gate", "ffn_up", "ffn_shexp"]);
    if s.gated {
        let gate = w.value(1, w.plan.value(x).rows);
        let outs = vec![w.proj(Role::SharedRouter, gate)];
        w.step(Op::Linear { x, outs, fine: false }, &[(gate, "ffn_shexp_gate")]);
        beside = w.map(beside, Some(gate), MapFn::Gate, "ffn_shexp_out");
    }
    let out = w.map(routed, Some(beside), MapFn::Add, "ffn_out");
    w.scaled(out, m.mix, "ffn_out")
}

fn experts(w: &mut Writer<'_>, m: &Moe, x: T) -> T {
    let rows = w.plan.value(x).rows;
    let (logits, ids, weights) = (w.value(m.n_expert, rows), w.value(m.n_used, rows), w.value(m.n_used, rows));
    let out = w.value(w.m.hp.n_embd, rows);
    let outs = vec![w.proj(Role::Router, logits)];
    w.step(Op::Linear { x, outs, fine: false }, &[(logits, "ffn_moe_logits")]);
    let spec = RouteSpec {
        n_expert: m.n_expert,
        n_used: m.n_used,
        gate: m.gate,
        by_logit: m.by_logit,
        bias: w.get(Role::SelectBias.bias()),
        renorm: m.renorm,
        scale: m.scale,
        n_group: m.groups[0],
        n_group_used: m.groups[1],
    };
    w.step(Op::Route { logits, spec, ids, weights }, &[(ids, "ffn_moe_topk"), (weights, "ffn_moe_weights")]);
    // The rows of the gate stand before those of up where they share a tensor.
    let fused = w.get(Role::GateUpExps.weight());
    let mat = |r: Role, of: Option<WeightId>, first, rows| ExpertMat {
        w: of.unwrap_or_else(|| w.need(r)),
        first,
        rows,
        scale: w.get(r.scale()),
        bias: w.get(r.bias()),
    };
    let up_at = if fused.is_some() { m.n_ff } else { 0 };
    let down = mat(Role::DownExps, None, 0, w.m.hp.n_embd);
    let mats = [mat(Role::GateExps, fused, 0, m.n_ff), mat(Role::UpExps, fused, up_at, m.n_ff), down];
    w.step(Op::Experts { x, ids, weights, mats, act: m.act, weigh_inputs: m.weigh_inputs, out }, &[(out, "ffn_moe_out")]);
    out
}

/// The original's names for what an activation makes.
fn glu_name(a: Act) -> &'static str {
    match a {
        Act::Silu => "ffn_swiglu",
        Act::Gelu => "ffn_geglu",
        Act::Relu | Act::ReluSqr => "ffn_reglu",
        Act::SwigluOai => "ffn_swiglu_oai",
    }
}

fn act_name(a: Act) -> &'static str {
    match a {
        Act::Silu | Act::SwigluOai => "ffn_silu",
        Act::Gelu => "ffn_gelu",
        Act::Relu => "ffn_relu",
        Act::ReluSqr => "ffn_sqr(relu)",
    }
}
