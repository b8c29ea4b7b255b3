//! Layer parts: a block reads one piece of a model's value and writes backend ops. No block knows CPU features, pointers or threads.
#![forbid(unsafe_code)]
mod attention;
mod ffn;
mod writer;

use crate::backend::{Act, Dim, GroupId, MapFn, NormKind, Op, Plan, Proj, RopeSpec, T};
use crate::model::Model;
use crate::model::names::Role;
use crate::model::spec::{Attention, Norms, RopeBase, Scale};
use writer::{Stream, Writer};

/// What a context decides about a model's plan.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Rotation as the context has it, without kind, width and factors, which are the layer's.
    pub rope: RopeSettings,
    /// Memory group of each layer.
    pub groups: Vec<GroupId>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RopeSettings {
    pub freq_base: f32,
    pub freq_scale: f32,
    pub ext_factor: f32,
    pub attn_factor: f32,
    pub beta_fast: f32,
    pub beta_slow: f32,
    pub n_ctx_orig: u32,
}

/// A plan and where its results are.
pub struct Planned {
    pub plan: Plan,
    /// [n_outputs][n_embd], after the last norm.
    pub embd: T,
    /// [n_outputs][n_vocab]
    pub logits: T,
}

/// The rotation of one layer.
fn rope(m: &Model, s: &Settings, il: i32, a: &Attention) -> RopeSpec {
    let r = &s.rope;
    let (freq_base, freq_scale) = match a.rope_base {
        RopeBase::Context => (r.freq_base, r.freq_scale),
        RopeBase::Swa => (m.hp.rope.freq_base_swa, m.hp.rope.freq_scale_swa),
    };
    RopeSpec {
        kind: a.rope,
        n_rot: a.n_rot,
        freq_base,
        freq_scale,
        ext_factor: r.ext_factor,
        attn_factor: r.attn_factor,
        beta_fast: r.beta_fast,
        beta_slow: r.beta_slow,
        n_ctx_orig: r.n_ctx_orig,
        factors: if a.rope_factors { m.weight(il, Role::RopeFreqs) } else { None },
    }
}

/// The plan of a decode.
pub fn plan(m: &Model, s: &Settings) -> Planned {
    let mut w = Writer::new(m, s);
    let mut stream = embed(&mut w);
    for il in 0..m.layers.len() {
        stream = layer(&mut w, il, stream);
    }
    let (embd, logits) = head(&mut w, stream);
    Planned { plan: w.plan, embd, logits }
}

fn embed(w: &mut Writer<'_>) -> Stream {
    w.at(-1, 0);
    let n_embd = w.m.hp.n_embd;
    let out = w.value(n_embd, Dim::Tokens);
    let scale = match w.m.arch.embed.scale {
        Scale::One => 1.0,
        Scale::SqrtWidth => (n_embd as f32).sqrt(),
    };
    let table = w.need(Role::TokenEmbd);
    w.step(Op::Embed { table, scale, out }, &[(out, "inp_embd")]);
    Stream { x: out, add: None, rows: Dim::Tokens }
}

fn layer(w: &mut Writer<'_>, il: usize, stream: Stream) -> Stream {
    let m = w.m;
    let spec = &m.layers[il];
    let stream = w.enter(il as i16, m.place[il], stream);
    let (x, cur) = w.add_norm(stream, Role::AttnNorm, "l_out", "attn_norm");
    let mut out = attention::write(w, &spec.attn, cur);
    let mut x = x;
    if il + 1 == m.layers.len() {
        // Only wanted rows go on: the last FFN and the head are the dearest steps of a prefill.
        (x, out) = (w.rows(x), w.rows(out));
    }
    if spec.norms == Norms::PreAndPost {
        out = w.norm(out, Role::AttnPostNorm, "attn_post_norm");
    }
    let rows = w.plan.value(out).rows;
    let (x, cur) = w.add_norm(Stream { x, add: Some(out), rows }, Role::FfnNorm, "ffn_inp", "ffn_norm");
    let mut out = ffn::write(w, &spec.ffn, cur);
    if spec.norms == Norms::PreAndPost {
        out = w.norm(out, Role::FfnPostNorm, "ffn_post_norm");
    }
    Stream { x, add: Some(out), rows }
}

fn head(w: &mut Writer<'_>, stream: Stream) -> (T, T) {
    let m = w.m;
    let stream = w.enter(-1, m.head_place, stream);
    let (_, embd) = w.add_norm(stream, Role::OutputNorm, "l_out", "result_norm");
    let mut logits = w.value(m.hp.n_vocab, Dim::Outputs);
    let (bias, scale) = (m.weight(-1, Role::OutputBias), m.weight(-1, Role::OutputScale));
    let proj = Proj { bias, scale, ..Proj::plain(w.need(Role::Output), logits) };
    // The head's rounding noise goes straight into the logits: without `fine` it is most of our distance from the exact ones.
    w.step(Op::Linear { x: embd, outs: vec![proj], fine: true }, &[(logits, "result_output")]);
    if m.arch.head.softcap && m.hp.final_softcap != 0.0 {
        let out = w.value(m.hp.n_vocab, Dim::Outputs);
        w.step(Op::Map { x: logits, y: None, f: MapFn::Softcap(m.hp.final_softcap), out }, &[(out, "result_output")]);
        logits = out;
    }
    (embd, logits)
}

/// The plan that applies pending K rotations. Magnitudes (YaRN) were applied when K was stored, so they are taken out here.
pub fn shift_plan(m: &Model, s: &Settings) -> Plan {
    let mut w = Writer::new(m, s);
    for (il, spec) in m.layers.iter().enumerate() {
        w.at(il as i16, m.place[il]);
        let mut r = rope(m, s, il as i32, &spec.attn);
        r.attn_factor = if r.ext_factor == 0.0 { 1.0 } else { 1.0 / (1.0 + 0.1 * (1.0 / r.freq_scale).ln()) };
        w.step(Op::Shift { group: s.groups[il], rope: r }, &[]);
    }
    w.plan
}

/// The original's name for a gated activation's product.
fn glu_name(a: Act) -> &'static str {
    match a {
        Act::Silu => "ffn_swiglu",
        Act::Gelu => "ffn_geglu",
        Act::Relu => "ffn_reglu",
    }
}

const RMS: NormKind = NormKind::Rms;
