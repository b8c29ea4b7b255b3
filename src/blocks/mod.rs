//! Layer parts: a block reads one piece of a model's value and writes backend ops. No block knows CPU features, pointers or threads.
#![forbid(unsafe_code)]
mod adapted;
mod altup;
mod attention;
mod cross;
mod encoder;
mod ffn;
mod hyper;
mod index;
mod mla;
mod per_layer;
mod taps;
mod writer;

use crate::backend::{ByWeight, Dim, GroupId, Lookup, MapFn, Op, Plan, RopeSpec, Sections, T};
use crate::model::Model;
use crate::model::adapter::Adapted;
use crate::model::hparams::given;
use crate::model::names::Role;
use crate::model::spec::{Attention, Flow, Halves, LayerSpec, RopeBase, RopeFactors, Scale, Want};
pub use encoder::{Finish, encoder_plan, finish_plan};
use ffn::Inputs;
use std::sync::Arc;
pub use taps::{NextRows, Tapped, Taps};
use writer::{Stream, Writer};

/// What a context decides about a model's plan.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Rotation as the context has it, without kind, width and factors, which are the layer's.
    pub rope: RopeSettings,
    /// Memory group of each layer.
    pub groups: Vec<GroupId>,
    /// The group of keys of an index, for the layers that have one.
    pub index: Option<GroupId>,
    /// The group of what an encoder made, for the decoder's layers.
    pub cross: Option<GroupId>,
    /// Cells of a sequence: some rotations go by it.
    pub n_ctx_seq: u32,
    /// `CAMELID_COMPAT`
    pub compat: bool,
    /// Hidden states that are wanted beside the outputs.
    pub taps: Taps,
    /// Somebody looks at what steps make.
    pub watched: bool,
    /// Products of large batches may leave the CPU.
    pub op_offload: bool,
    /// What adapters add.
    pub adapted: Arc<Adapted>,
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
    /// [n_outputs][n_vocab], where the model makes them.
    pub logits: Option<T>,
    pub tapped: Tapped,
}

/// The rotation of one layer, if it has one.
fn rope(m: &Model, s: &Settings, a: &Attention) -> Option<RopeSpec> {
    let r = &s.rope;
    let (freq_base, freq_scale) = match a.rope_base {
        RopeBase::Context => (r.freq_base, r.freq_scale),
        RopeBase::Swa => (m.hp.rope.freq_base_swa, m.hp.rope.freq_scale_swa),
        RopeBase::SwaUnscaled => (m.hp.rope.freq_base_swa, 1.0),
    };
    let (ext_factor, attn_factor) = if a.rope_base == RopeBase::SwaUnscaled { (0.0, 1.0) } else { (r.ext_factor, r.attn_factor) };
    let factors = match a.rope_factors {
        RopeFactors::None => None,
        RopeFactors::Freqs => Some(Role::RopeFreqs),
        RopeFactors::LongOrShort if s.n_ctx_seq > m.hp.rope.n_ctx_orig => Some(Role::RopeLong),
        RopeFactors::LongOrShort => Some(Role::RopeShort),
    };
    Some(RopeSpec {
        kind: a.rope?,
        at: mla::rope_at(a),
        n_rot: a.n_rot,
        freq_base,
        freq_scale,
        ext_factor,
        attn_factor,
        beta_fast: r.beta_fast,
        beta_slow: r.beta_slow,
        n_ctx_orig: r.n_ctx_orig,
        factors: factors.and_then(|role| m.weight(-1, role.weight())),
        sections: m.hp.mrope().map(|pairs| Sections { pairs, interleaved: m.arch.interleaved }),
    })
}

/// What a context's YaRN scaling does to the attention scale, squared for Q and K (DeepSeek 2).
fn rope_scale(m: &Model, s: &Settings, a: &Attention) -> f32 {
    if !a.mla.is_some_and(|l| l.yarn_scale) {
        return 1.0;
    }
    let log = (1.0 / s.rope.freq_scale).ln();
    // The rotation's own factor was taken out of `attn_factor`.
    let magnitude = s.rope.attn_factor * (1.0 + 0.1 * log) * (1.0 + 0.1 * m.hp.rope.yarn_log_mul * log);
    magnitude * magnitude
}

/// What layers may want of the input.
#[derive(Clone, Copy)]
struct Input {
    embd: T,
    /// A part for each layer, [n_tokens][n_layer][n_embd_per_layer].
    parts: Option<T>,
}

/// The plan of a decode.
pub fn plan(m: &Model, s: &Settings) -> Planned {
    let mut w = Writer::new(m, s);
    let (mut stream, mut tapped) = (embed(&mut w), Tapped::default());
    let input = Input { embd: stream.x, parts: per_layer::parts(&mut w, stream.x) };
    stream = match m.arch.flow {
        Flow::Plain => {
            let through = |stream, il| {
                let stream = taps::layer(&mut w, il, stream, &mut tapped);
                layer(&mut w, il, stream, input)
            };
            let stream = (0..m.layers.len()).fold(stream, through);
            taps::layer(&mut w, m.layers.len(), stream, &mut tapped)
        }
        Flow::Hrm => two_speeds(&mut w, stream, input),
        Flow::AltUp => altup::layers(&mut w, stream, input),
        Flow::Hyper => hyper::layers(&mut w, stream),
    };
    let embd = taps::last_norm(&mut w, stream, &mut tapped);
    let logits = m.arch.head.logits.then(|| head(&mut w, embd));
    Planned { plan: w.plan, embd, logits, tapped }
}

/// Stacks of layers in turns: so many of the fast one, then the slow one. Each gets the sum of both streams and makes its own anew.
fn two_speeds(w: &mut Writer<'_>, stream: Stream, input: Input) -> Stream {
    let ([each, slow, fast], start) = (w.m.hp.hrm, w.need(Role::HrmStart));
    let (mut high, mut low, mut il) = (stream.x, None, 0);
    for _ in 0..slow {
        for turn in 0..=fast {
            let x = match low {
                Some(low) => w.map(high, Some(low), MapFn::Add, "hrm_in"),
                None => w.map(high, None, MapFn::Weight(start, ByWeight::Add), "hrm_in"),
            };
            let mut stream = Stream { x, add: None, rows: Dim::Tokens };
            for _ in 0..each {
                stream = layer(w, il, stream, input);
                il += 1;
            }
            let x = w.sum(stream, "l_out");
            let out = w.norm_by(x, None, "hrm_out");
            if turn == fast { high = out } else { low = Some(out) }
        }
    }
    Stream { x: high, add: None, rows: Dim::Tokens }
}

fn embed(w: &mut Writer<'_>) -> Stream {
    w.at(-1, 0);
    let (hp, e) = (&w.m.hp, &w.m.arch.embed);
    let by_token = if e.scale == Scale::SqrtWidth { (hp.n_embd as f32).sqrt() } else { 1.0 };
    // Embeddings of such models are wider: a row for the input and one for each of the first layers.
    let by = if hp.n_deepstack_layers > 0 || e.text_only { Lookup::TokensOnly } else { Lookup::Tokens };
    let mut x = lookup(w, Role::TokenEmbd, by, by_token, "inp_embd");
    let for_all = match e.scale {
        Scale::One | Scale::SqrtWidth => 1.0,
        Scale::Fixed(by) => by,
        Scale::SqrtWidthOfAll => (hp.n_embd as f32).sqrt(),
        Scale::OfFile { or } => given(hp.embedding_scale).unwrap_or(or),
    };
    x = w.scaled(x, for_all, "inp_scaled");
    if e.types && w.get(Role::TokenTypes.weight()).is_some() {
        let y = lookup(w, Role::TokenTypes, Lookup::First, 1.0, "type_embd");
        x = w.map(x, Some(y), MapFn::Add, "inp_typed");
    }
    if e.positions != Want::No && w.get(Role::PosEmbd.weight()).is_some() {
        let y = lookup(w, Role::PosEmbd, Lookup::Positions, 1.0, "pos_embd");
        x = w.map(x, Some(y), MapFn::Add, "inpL");
    }
    if e.norm {
        x = if e.bare_norm { w.norm_by(x, None, "inp_norm") } else { w.norm(x, Role::TokenNorm, "inp_norm") };
    }
    Stream { x, add: None, rows: Dim::Tokens }
}

fn lookup(w: &mut Writer<'_>, role: Role, by: Lookup, scale: f32, name: &'static str) -> T {
    let (table, out) = (w.need(role), w.value(w.m.hp.n_embd, Dim::Tokens));
    w.step(Op::Embed { table, by, scale, out }, &[(out, name)]);
    out
}

fn layer(w: &mut Writer<'_>, il: usize, stream: Stream, input: Input) -> Stream {
    let m = w.m;
    let stream = w.enter(il as i16, m.place[il], stream);
    // Only wanted rows go on: the last FFN and the head are the dearest steps of a prefill.
    let last = il + 1 == m.layers.len() && m.arch.flow == Flow::Plain && !w.s.taps.all_rows(m.layers.len());
    let spec = &m.layers[il];
    let stream = match spec.halves {
        Halves::Nothing if last => rows(w, stream),
        Halves::Nothing => stream,
        _ if spec.norms.parallel => parallel(w, spec, stream, last),
        _ => sequential(w, spec, stream, last),
    };
    let stream = finish(w, spec, stream, input);
    w.steered(stream)
}

/// What some architectures do to a layer's output.
fn finish(w: &mut Writer<'_>, spec: &LayerSpec, stream: Stream, input: Input) -> Stream {
    if !(spec.per_layer || spec.out_scaled || spec.skip || spec.norm_after.is_some()) {
        return stream;
    }
    let mut x = w.sum(stream, "l_out");
    if let Some(parts) = input.parts.filter(|_| spec.per_layer) {
        let more = per_layer::write(w, x, parts);
        x = w.map(x, Some(more), MapFn::Add, "l_out");
    }
    let by = w.get(Role::LayerOutScale.weight());
    if let Some(by) = by.filter(|_| spec.out_scaled) {
        x = w.map(x, None, MapFn::Weight(by, ByWeight::Mul), "out_scaled");
    }
    if let Some(by) = by.filter(|_| spec.skip) {
        let embd = if stream.rows == Dim::Outputs { w.rows(input.embd) } else { input.embd };
        let skip = w.map(embd, None, MapFn::Weight(by, ByWeight::Mul), "skip");
        x = w.map(x, Some(skip), MapFn::Add, "l_out");
    }
    if let Some(role) = spec.norm_after {
        x = w.norm(x, role, "loop_norm");
    }
    Stream { x, add: None, rows: stream.rows }
}

/// The rows whose outputs are wanted, of the whole stream.
fn rows(w: &mut Writer<'_>, stream: Stream) -> Stream {
    if stream.rows == Dim::Outputs {
        return stream;
    }
    let x = w.sum(stream, "l_out");
    Stream { x: w.rows(x), add: None, rows: Dim::Outputs }
}

/// The stream with what attention adds to it, and what it was before.
fn attended(w: &mut Writer<'_>, spec: &LayerSpec, stream: Stream, last: bool) -> (Stream, T) {
    let n = &spec.norms;
    if spec.halves == Halves::Ffn {
        let stream = if last { rows(w, stream) } else { stream };
        return (stream, stream.x);
    }
    let (mut x, cur) = w.add_norm(stream, n.attn, "l_out", "attn_norm");
    let mut out = match spec.halves {
        Halves::Linear => w.linear(cur, Role::AttnOut, w.m.hp.n_embd, "attn_out"),
        _ => attention::write(w, &spec.attn, cur),
    };
    if spec.attn.cross {
        (x, out) = cross::write(w, &spec.attn, x, out);
    }
    if last {
        (x, out) = (w.rows(x), w.rows(out));
    }
    if let Some(role) = n.attn_post {
        out = w.post_norm(out, role, n.post_eps, "attn_post_norm");
    }
    let add = Some(w.scaled(out, spec.residual_scale, "attn_scaled"));
    (Stream { x, add, rows: w.plan.value(out).rows }, x)
}

fn sequential(w: &mut Writer<'_>, spec: &LayerSpec, stream: Stream, last: bool) -> Stream {
    let n = &spec.norms;
    let (stream, layer) = attended(w, spec, stream, last);
    let rows = stream.rows;
    if let Some(after) = n.after {
        return encoder::after_sums(w, spec, after, stream);
    }
    let (x, cur) = w.add_norm(stream, n.ffn, "ffn_inp", "ffn_norm");
    let mut out = ffn::write(w, &spec.ffn, Inputs { normed: cur, bare: x, layer });
    if let Some(side) = &spec.side {
        let from = if side.of_input { layer } else { x };
        let normed = w.norm(from, side.norm, "ffn_norm_exps");
        let mut beside = ffn::moe(w, &side.moe, Inputs { normed, bare: x, layer });
        if let Some([first, second]) = side.posts {
            (out, beside) = (w.norm(out, first, "ffn_mlp"), w.norm(beside, second, "ffn_moe"));
        }
        out = w.map(out, Some(beside), MapFn::Add, "ffn_moe_combined");
    }
    if let Some(role) = n.ffn_post {
        out = w.post_norm(out, role, n.post_eps, "ffn_post_norm");
    }
    Stream { x, add: Some(w.scaled(out, spec.residual_scale, "ffn_out_scaled")), rows }
}

fn parallel(w: &mut Writer<'_>, spec: &LayerSpec, stream: Stream, last: bool) -> Stream {
    let n = &spec.norms;
    let (mut x, cur) = w.add_norm(stream, n.attn, "l_out", "attn_norm");
    let mut ffn_in = match n.ffn {
        Some(role) if n.ffn != n.attn => w.norm(x, role, "ffn_norm"),
        _ => cur,
    };
    let mut attn = attention::write(w, &spec.attn, cur);
    if last {
        (x, attn, ffn_in) = (w.rows(x), w.rows(attn), w.rows(ffn_in));
    }
    let ffn = ffn::write(w, &spec.ffn, Inputs { normed: ffn_in, bare: x, layer: x });
    let both = w.map(ffn, Some(attn), MapFn::Add, "ffn_attn_out");
    Stream { x, add: Some(w.scaled(both, spec.residual_scale, "ffn_out_scaled")), rows: w.plan.value(both).rows }
}

fn head(w: &mut Writer<'_>, embd: T) -> T {
    let m = w.m;
    let mut logits = w.value(m.hp.n_vocab, Dim::Outputs);
    let outs = vec![w.proj(Role::Output, logits)];
    // The head's rounding noise goes straight into the logits: without `fine` it is most of our distance from the exact ones.
    w.step(Op::Linear { x: embd, outs, fine: true }, &[(logits, "result_output")]);
    logits = w.scaled(logits, (m.arch.head.scale)(&m.hp), "result_output");
    if m.arch.head.softcap && m.hp.final_softcap != 0.0 {
        logits = w.map(logits, None, MapFn::Softcap(m.hp.final_softcap), "result_output");
    }
    if let Some((from, to)) = m.arch.head.hidden {
        // The original hides them in the first row of a batch only.
        logits = w.map(logits, None, MapFn::Hide { from, to, first_only: w.s.compat }, "result_output");
    }
    logits
}

/// The plan that looks tokens up in the table of embeddings, and nothing else.
pub fn table_plan(m: &Model, s: &Settings) -> (Plan, T) {
    let mut w = Writer::new(m, s);
    w.at(-1, 0);
    let out = lookup(&mut w, Role::TokenEmbd, Lookup::TokensOnly, 1.0, "inp_embd");
    (w.plan, out)
}

/// The plan that applies pending K rotations. Magnitudes (YaRN) were applied when K was stored, so they are taken out here.
pub fn shift_plan(m: &Model, s: &Settings) -> Plan {
    let mut w = Writer::new(m, s);
    for (il, spec) in m.layers.iter().enumerate() {
        let Some(mut r) = rope(m, s, &spec.attn).filter(|_| spec.stores()) else { continue };
        w.at(il as i16, m.place[il]);
        // All positions of a cell move together.
        r.sections = None;
        r.attn_factor = if r.ext_factor == 0.0 { 1.0 } else { 1.0 / (1.0 + 0.1 * (1.0 / r.freq_scale).ln()) };
        w.step(Op::Shift { group: s.groups[il], rope: r.clone(), hadamard: 0 }, &[]);
        if let Some((group, ix)) = s.index.zip(spec.own_index()) {
            let hadamard = if ix.hadamard { ix.head_size } else { 0 };
            w.step(Op::Shift { group, rope: index::of_index(r, ix), hadamard }, &[]);
        }
    }
    w.plan
}
