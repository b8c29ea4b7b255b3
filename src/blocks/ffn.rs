//! Feed-forward networks: gated (Shazeer 2020) and mixtures of gated experts (Shazeer et al. 2017).
use super::glu_name;
use super::writer::Writer;
use crate::backend::{Act, ExpertMat, Op, Proj, RouteSpec, T};
use crate::model::names::Role;
use crate::model::spec::Ffn;

/// From the normed input to the output, both [rows][n_embd].
pub fn write(w: &mut Writer<'_>, f: &Ffn, x: T) -> T {
    match *f {
        Ffn::Dense { n_ff, act, .. } => dense(w, n_ff, act, x),
        Ffn::Moe { n_expert, n_used, act, gate, renorm, scale, .. } => moe(w, &RouteSpec { n_expert, n_used, gate, renorm, scale }, act, x),
    }
}

fn dense(w: &mut Writer<'_>, n_ff: u32, act: Act, x: T) -> T {
    let rows = w.plan.value(x).rows;
    let (gate, up, h, out) = (w.value(n_ff, rows), w.value(n_ff, rows), w.value(n_ff, rows), w.value(w.m.hp.n_embd, rows));
    let proj = |role, bias, scale, out| Proj { w: w.need(role), bias: w.get(bias), scale: w.get(scale), scale_after_bias: true, out };
    let outs =
        vec![proj(Role::FfnGate, Role::FfnGateBias, Role::FfnGateScale, gate), proj(Role::FfnUp, Role::FfnUpBias, Role::FfnUpScale, up)];
    let down = proj(Role::FfnDown, Role::FfnDownBias, Role::FfnDownScale, out);
    w.step(Op::Linear { x, outs, fine: false }, &[(gate, "ffn_gate"), (up, "ffn_up")]);
    w.step(Op::Glu { gate, up, act, out: h }, &[(h, glu_name(act))]);
    w.step(Op::Linear { x: h, outs: vec![down], fine: false }, &[(out, "ffn_out")]);
    out
}

fn moe(w: &mut Writer<'_>, spec: &RouteSpec, act: Act, x: T) -> T {
    let rows = w.plan.value(x).rows;
    let logits = w.value(spec.n_expert, rows);
    let (ids, weights) = (w.value(spec.n_used, rows), w.value(spec.n_used, rows));
    let out = w.value(w.m.hp.n_embd, rows);
    let router = Proj::plain(w.need(Role::Router), logits);
    w.step(Op::Linear { x, outs: vec![router], fine: false }, &[(logits, "ffn_moe_logits")]);
    w.step(Op::Route { logits, spec: spec.clone(), ids, weights }, &[(ids, "ffn_moe_topk"), (weights, "ffn_moe_weights")]);
    let mat = |role, scale| ExpertMat { w: w.need(role), scale: w.get(scale) };
    let mats = [mat(Role::GateExps, Role::GateExpsScale), mat(Role::UpExps, Role::UpExpsScale), mat(Role::DownExps, Role::DownExpsScale)];
    w.step(Op::Experts { x, ids, weights, mats, act, out }, &[(out, "ffn_moe_out")]);
    out
}
