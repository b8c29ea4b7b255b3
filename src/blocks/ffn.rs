//! Feed-forward networks: plain, gated (Shazeer 2020), and mixtures of gated experts (Shazeer et al. 2017).
use super::writer::Writer;
use crate::backend::{Act, ByWeight, ExpertMat, MapFn, Op, Proj, RouteSpec, T, WeightId};
use crate::model::names::{Name, Part, Role, shared_roles};
use crate::model::spec::{Chunks, Dense, Ffn, Moe, RouterInput, dense_of};

/// What an FFN may look at.
#[derive(Clone, Copy)]
pub struct Inputs {
    /// Through the norm before it.
    pub normed: T,
    /// Before that norm.
    pub bare: T,
    /// What the layer got.
    pub layer: T,
}

/// From the normed input to the output, both [rows][n_embd].
pub fn write(w: &mut Writer<'_>, f: &Ffn, x: Inputs) -> T {
    match f {
        Ffn::Dense(d) => dense(w, [Role::FfnGate, Role::FfnUp, Role::FfnDown], d, x.normed, ["ffn_gate", "ffn_up", "ffn_out"]),
        Ffn::Moe(m) => moe(w, m, x),
        Ffn::Bare(act) => w.map(x.normed, None, MapFn::Act(*act), act_name(*act)),
    }
}

/// `roles` and `names` are of gate (which may be missing), up and down.
fn dense(w: &mut Writer<'_>, roles: [Role; 3], d: &Dense, x: T, names: [&'static str; 3]) -> T {
    let after = |p: Proj| Proj { scale_after_bias: true, ..p };
    let rows = w.plan.value(x).rows;
    let (up, out) = (w.value(d.n_ff, rows), w.value(w.m.hp.n_embd, rows));
    let h = if w.get(roles[0].weight()).is_some() {
        let (gate, h) = (w.value(d.n_ff, rows), w.value(d.n_ff, rows));
        let outs = vec![after(w.proj(roles[0], gate)), after(w.proj(roles[1], up))];
        w.step(Op::Linear { x, outs, fine: false }, &[(gate, names[0]), (up, names[1])]);
        let gate = if d.sparse > 0.0 { w.map(gate, None, MapFn::Sparse(d.sparse), names[0]) } else { gate };
        w.step(Op::Glu { gate, up, act: d.act, out: h }, &[(h, glu_name(d.act))]);
        h
    } else {
        let outs = vec![after(w.proj(roles[1], up))];
        w.step(Op::Linear { x, outs, fine: false }, &[(up, names[1])]);
        w.map(up, None, MapFn::Act(d.act), act_name(d.act))
    };
    let h = match w.get(Name(Role::FfnAct, Part::Scales)) {
        Some(by) if d.act_scales => w.map(h, None, MapFn::Weight(by, ByWeight::Div), "ffn_act"),
        _ => h,
    };
    let h = d.sub_norm.map_or(h, |role| w.norm(h, role, "ffn_sub_norm"));
    let outs = vec![after(w.proj(roles[2], out))];
    w.step(Op::Linear { x: h, outs, fine: false }, &[(out, names[2])]);
    out
}

pub fn moe(w: &mut Writer<'_>, m: &Moe, x: Inputs) -> T {
    let logits = router(w, m, x);
    let roles = [Role::GateExps, Role::UpExps, Role::DownExps];
    let mut routed = experts(w, m, roles, x.normed, logits, None);
    if let Some(c) = &m.chunks {
        let more = chunks(w, m, c, routed, logits);
        routed = w.map(routed, Some(more), MapFn::Add, "ffn_adj_moe_out");
    }
    let Some(s) = m.shared else { return routed };
    let d = dense_of(s.n_ff, s.act.unwrap_or(m.act));
    let mut beside = dense(w, shared_roles(s.plain_names), &d, x.normed, ["ffn_gate", "ffn_up", "ffn_shexp"]);
    if s.gated {
        let gate = w.linear(x.normed, Role::SharedRouter, 1, "ffn_shexp_gate");
        beside = w.map(beside, Some(gate), MapFn::Gate, "ffn_shexp_out");
    }
    let out = w.map(routed, Some(beside), MapFn::Add, "ffn_out");
    w.scaled(out, m.mix, "ffn_out")
}

fn router(w: &mut Writer<'_>, m: &Moe, x: Inputs) -> T {
    match m.router {
        RouterInput::Normed => w.linear(x.normed, Role::Router, m.n_expert, "ffn_moe_logits"),
        RouterInput::Layer => w.linear(x.layer, Role::Router, m.n_expert, "ffn_moe_logits"),
        RouterInput::OwnNorm => {
            let by = w.get(Role::Router.scale());
            let normed = w.norm_by(x.bare, by, "ffn_router_norm");
            let normed = w.scaled(normed, 1.0 / (w.m.hp.n_embd as f32).sqrt(), "ffn_router_norm");
            let logits = w.value(m.n_expert, w.plan.value(normed).rows);
            let outs = vec![Proj::plain(w.need(Role::Router), logits)];
            w.step(Op::Linear { x: normed, outs, fine: false }, &[(logits, "ffn_moe_logits")]);
            logits
        }
    }
}

/// Experts of the second set, which are as wide as `c` says; several of the first share one.
fn chunks(w: &mut Writer<'_>, m: &Moe, c: &Chunks, x: T, logits: T) -> T {
    let count = m.n_expert / c.each.max(1);
    let second = Moe { n_ff: c.n_ff, n_used: m.n_used.min(count), ..m.clone() };
    let out = experts(w, &second, [Role::GateChunks, Role::UpChunks, Role::DownChunks], x, logits, Some(c.each));
    w.scaled(out, c.scale, "ffn_adj_moe_scaled")
}

fn experts(w: &mut Writer<'_>, m: &Moe, roles: [Role; 3], x: T, logits: T, each: Option<u32>) -> T {
    let rows = w.plan.value(x).rows;
    let (ids, weights) = (w.value(m.n_used, rows), w.value(m.n_used, rows));
    let out = w.value(w.m.hp.n_embd, rows);
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
        each: each.unwrap_or(1),
    };
    w.step(Op::Route { logits, spec, ids, weights }, &[(ids, "ffn_moe_topk"), (weights, "ffn_moe_weights")]);
    // The rows of the gate stand before those of up where they share a tensor, and so do their scales.
    let fused = w.get(Role::GateUpExps.weight()).filter(|_| roles[0] == Role::GateExps);
    let mat = |r: Role, of: Option<WeightId>, first, rows| ExpertMat {
        w: of.unwrap_or_else(|| w.need(r)),
        first,
        rows,
        scale: w.get(if of.is_some() { roles[1].scale() } else { r.scale() }),
        bias: w.get(r.bias()),
    };
    let up_at = if fused.is_some() { m.n_ff } else { 0 };
    let down = mat(roles[2], None, 0, w.m.hp.n_embd);
    let up = mat(roles[1], fused, up_at, m.n_ff);
    let mats = [if m.gated { mat(roles[0], fused, 0, m.n_ff) } else { up }, up, down];
    let per_rank = |w: &mut Writer<'_>, n: u32| w.value(m.n_used * n, rows);
    let shown = w.s.watched.then(|| [m.n_ff, m.n_ff, m.n_ff, w.m.hp.n_embd].map(|n| per_rank(w, n)));
    let op = Op::Experts { x, ids, weights, mats, act: m.act, weigh_inputs: m.weigh_inputs, lows: Default::default(), shown, out };
    w.step(op, &[(out, "ffn_moe_out")]);
    out
}

/// The original's names for what an activation makes.
fn glu_name(a: Act) -> &'static str {
    match a {
        Act::Silu | Act::SiluCut(_) | Act::CutSilu(_) => "ffn_swiglu",
        Act::Gelu => "ffn_geglu",
        Act::Relu | Act::ReluSqr | Act::Xielu(_) | Act::Sigmoid => "ffn_reglu",
        Act::SwigluOai => "ffn_swiglu_oai",
    }
}

fn act_name(a: Act) -> &'static str {
    match a {
        Act::Silu | Act::SwigluOai | Act::SiluCut(_) | Act::CutSilu(_) => "ffn_silu",
        Act::Gelu => "ffn_gelu",
        Act::Relu => "ffn_relu",
        Act::ReluSqr => "ffn_sqr(relu)",
        Act::Xielu(_) => "ffn_xielu",
        Act::Sigmoid => "ffn_sigmoid",
    }
}
