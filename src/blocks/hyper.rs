//! Hyper-connections (Zhu et al. 2024) as Hunyuan 4 has them: the stream is several; each half of a layer reads a mixture of them and adds
//! what it makes to each in a share of its own. All shares are made of all streams.
use super::ffn::{self, Inputs};
use super::{Stream, Writer, attention};
use crate::backend::{Act, ByWeight, Cols, Dim, MapFn, Op, T};
use crate::model::names::Role;

pub fn layers(w: &mut Writer<'_>, stream: Stream) -> Stream {
    let (n, len) = (w.m.hp.n_hyper, w.m.hp.n_embd);
    let mut all = w.gather(vec![Cols { x: stream.x, first: 0, step: 0, len }], n, "inp_repeated");
    for il in 0..w.m.layers.len() {
        let here = w.enter(il as i16, w.m.place[il], Stream { x: all, add: None, rows: Dim::Tokens });
        all = layer(w, il, here.x);
    }
    let all = w.rows(all);
    let head = w.enter(-1, w.m.head_place, Stream { x: all, add: None, rows: Dim::Outputs });
    let shares = shares(w, head.x, [Role::HcHead, Role::HcHeadBase, Role::HcHeadScale], 1);
    let shares = w.map(shares, None, MapFn::Plus(w.m.hp.hyper_eps), "hc_head");
    Stream { x: mix(w, head.x, shares, 1, "hc_head"), add: None, rows: Dim::Outputs }
}

fn layer(w: &mut Writer<'_>, il: usize, all: T) -> T {
    let spec = &w.m.layers[il];
    let (x, post) = read(w, all, [Role::HcAttn, Role::HcAttnBase, Role::HcAttnScale]);
    let normed = spec.norms.attn.map_or(x, |r| w.norm(x, r, "attn_norm"));
    let out = attention::write(w, &spec.attn, normed);
    let all = add(w, all, out, post);
    let (x, post) = read(w, all, [Role::HcFfn, Role::HcFfnBase, Role::HcFfnScale]);
    let normed = spec.norms.ffn.map_or(x, |r| w.norm(x, r, "ffn_norm"));
    let out = ffn::write(w, &spec.ffn, Inputs { normed, bare: x, layer: x });
    add(w, all, out, post)
}

/// Numbers between 0 and 1: `sets` for each stream.
fn shares(w: &mut Writer<'_>, all: T, [matrix, base, scale]: [Role; 3], sets: u32) -> T {
    let normed = w.norm_by(all, None, "hc_norm");
    let x = w.linear(normed, matrix, w.m.hp.n_hyper * sets, "hc_mixes");
    let (base, scale) = (w.need(base), w.need(scale));
    let x = w.map(x, None, MapFn::Weight(scale, ByWeight::Mul), "hc_mixes");
    let x = w.map(x, None, MapFn::Weight(base, ByWeight::Add), "hc_mixes");
    w.map(x, None, MapFn::Act(Act::Sigmoid), "hc_mixes")
}

/// What a half gets, and the shares of its output.
fn read(w: &mut Writer<'_>, all: T, roles: [Role; 3]) -> (T, T) {
    let (n, eps, magnitude) = (w.m.hp.n_hyper, w.m.hp.hyper_eps, w.m.hp.hyper_magnitude);
    let both = shares(w, all, roles, 2);
    let (pre, post) = (w.cols(both, 0, n, "hc_pre"), w.cols(both, n, n, "hc_post"));
    let pre = w.map(pre, None, MapFn::Plus(eps), "hc_pre");
    let post = w.scaled(post, magnitude, "hc_post");
    let post = w.map(post, None, MapFn::Plus(eps), "hc_post");
    (mix(w, all, pre, 1, "hc_in"), post)
}

fn add(w: &mut Writer<'_>, all: T, out: T, post: T) -> T {
    let each = mix(w, out, post, w.m.hp.n_hyper, "hc_out");
    w.map(each, Some(all), MapFn::Add, "l_out")
}

/// `n` streams out of those of `x`.
fn mix(w: &mut Writer<'_>, x: T, coef: T, n: u32, name: &'static str) -> T {
    let (width, rows) = (w.m.hp.n_embd, w.plan.value(x).rows);
    let out = w.value(n * width, rows);
    w.step(Op::Mix { x, coef, width, out }, &[(out, name)]);
    out
}
