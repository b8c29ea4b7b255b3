//! Alternating updates (Baykal et al. 2023) as Gemma 3n has them: four streams of which the first goes through each layer, with a
//! low-rank path beside attention (LAuReL, Menghani et al. 2025). The others are predicted before and corrected after.
use super::ffn::{self, Inputs};
use super::{Input, Stream, Writer, attention, per_layer};
use crate::backend::{ByWeight, Cols, Dim, MapFn, Op, T};
use crate::model::names::{ALTUP, LAUREL_RANK, Role};

pub fn layers(w: &mut Writer<'_>, stream: Stream, input: Input) -> Stream {
    let mut all = spread(w, stream.x);
    for il in 0..w.m.layers.len() {
        let here = w.enter(il as i16, w.m.place[il], Stream { x: all, add: None, rows: Dim::Tokens });
        all = layer(w, il, here.x, input);
        all = w.steered_each(all);
    }
    let head = w.enter(-1, w.m.head_place, Stream { x: all, add: None, rows: Dim::Tokens });
    Stream { x: merge(w, head.x), add: None, rows: Dim::Tokens }
}

/// `n` copies side by side.
fn copies(w: &mut Writer<'_>, x: T, n: u32) -> T {
    let len = w.plan.value(x).width;
    w.gather(vec![Cols { x, first: 0, step: 0, len }], n, "inp_repeated")
}

fn stream_of(w: &mut Writer<'_>, all: T, i: u32) -> T {
    let n = w.m.hp.n_embd;
    w.cols(all, i * n, n, "altup_stream")
}

/// The input, and a projection of it as long as itself for each other stream. [n_tokens][ALTUP][n_embd]
fn spread(w: &mut Writer<'_>, x: T) -> T {
    let (n, more) = (w.m.hp.n_embd, ALTUP - 1);
    let repeated = copies(w, x, more);
    let added = w.heads(repeated, Role::AltupProj, more * n, "altup_added");
    let added = w.map(added, Some(x), MapFn::Rescale, "altup_added");
    let part = |x, len| Cols { x, first: 0, step: 0, len };
    w.gather(vec![part(x, n), part(added, more * n)], 1, "inp_stacked")
}

/// The mean of the first stream and of the others projected back.
fn merge(w: &mut Writer<'_>, all: T) -> T {
    let (n, more) = (w.m.hp.n_embd, ALTUP - 1);
    let first = stream_of(w, all, 0);
    let rest = w.cols(all, n, more * n, "altup_rest");
    let back = w.heads(rest, Role::AltupUnembd, more * n, "altup_unembd");
    let back = w.map(back, Some(first), MapFn::Rescale, "altup_unembd");
    let sum = (0..more).fold(first, |sum, i| {
        let one = stream_of(w, back, i);
        w.map(sum, Some(one), MapFn::Add, "unembd_merged")
    });
    w.scaled(sum, 1.0 / ALTUP as f32, "unembd_merged")
}

/// What a stream says of how all are to be mixed: `rows` numbers.
fn coefficients(w: &mut Writer<'_>, x: T, role: Role, rows: u32) -> T {
    let normed = w.norm(x, Role::AltupRouterNorm, "altup_router");
    let normed = w.scaled(normed, 1.0 / w.m.hp.n_embd as f32, "altup_router");
    let modes = w.linear(normed, Role::AltupRouter, ALTUP, "modalities");
    // A cap of 1 is the tangent itself.
    let modes = w.map(modes, None, MapFn::Softcap(1.0), "modalities");
    w.linear(modes, role, rows, "all_coefs")
}

fn mix(w: &mut Writer<'_>, x: T, coef: T, name: &'static str) -> T {
    let width = w.m.hp.n_embd;
    let out = w.value(ALTUP * width, Dim::Tokens);
    w.step(Op::Mix { x, coef, width, out }, &[(out, name)]);
    out
}

fn layer(w: &mut Writer<'_>, il: usize, all: T, input: Input) -> T {
    let spec = &w.m.layers[il];
    let first = stream_of(w, all, 0);
    let coef = coefficients(w, first, Role::AltupPredict, ALTUP * ALTUP);
    let change = mix(w, all, coef, "predictions");
    let predicted = w.map(change, Some(all), MapFn::Add, "predictions");
    let active = stream_of(w, predicted, 0);
    let (_, normed) = w.add_norm(Stream { x: active, add: None, rows: Dim::Tokens }, spec.norms.attn, "l_out", "attn_norm");
    let beside = laurel(w, normed);
    let mut out = attention::write(w, &spec.attn, normed);
    if let Some(role) = spec.norms.attn_post {
        out = w.norm(out, role, "attn_post_norm");
    }
    let out = w.map(out, Some(active), MapFn::Add, "attn_gated");
    let both = w.map(out, Some(beside), MapFn::Add, "attn_laurel");
    let both = w.scaled(both, std::f32::consts::FRAC_1_SQRT_2, "attn_laurel");
    let (_, normed) = w.add_norm(Stream { x: both, add: None, rows: Dim::Tokens }, spec.norms.ffn, "ffn_inp", "ffn_norm");
    let mut out = ffn::write(w, &spec.ffn, Inputs { normed, bare: both, layer: active });
    if let Some(role) = spec.norms.ffn_post {
        out = w.norm(out, role, "ffn_post_norm");
    }
    let done = w.map(out, Some(both), MapFn::Add, "attn_ffw_laurel_gated");
    correct(w, predicted, active, done, input)
}

/// A step of low rank.
fn laurel(w: &mut Writer<'_>, x: T) -> T {
    let narrow = w.linear(x, Role::LaurelL, LAUREL_RANK, "laurel_l");
    let out = w.linear(narrow, Role::LaurelR, w.m.hp.n_embd, "laurel_r");
    let out = w.norm(out, Role::LaurelNorm, "laurel_norm");
    w.map(out, Some(x), MapFn::Add, "laurel_out")
}

/// What the active stream turned out to be corrects all; the others get this layer's embeddings too.
fn correct(w: &mut Writer<'_>, predicted: T, active: T, done: T, input: Input) -> T {
    let coef = coefficients(w, done, Role::AltupCorrect, ALTUP);
    let coef = w.map(coef, None, MapFn::Plus(1.0), "all_coefs");
    let news = w.map(done, Some(active), MapFn::Sub, "innovation");
    let change = mix(w, news, coef, "corrected");
    let corrected = w.map(change, Some(predicted), MapFn::Add, "corrected");
    let Some(parts) = input.parts else { return corrected };
    let by = w.need(Role::AltupCorrectScale);
    let first = stream_of(w, corrected, 0);
    let first = w.map(first, None, MapFn::Weight(by, ByWeight::Mul), "first_prediction");
    let more = per_layer::write(w, first, parts);
    w.map(corrected, Some(more), MapFn::AddParts(1), "l_out")
}
