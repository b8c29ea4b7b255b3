//! Embeddings of their own for each layer (Gemma 3n, 4): a wide row per token, joined with a projection of the input; each layer takes its part.
use super::Writer;
use crate::backend::{Act, Dim, HeadNorm, Lookup, MapFn, NormKind, Op, T};
use crate::model::names::Role;

/// All layers' parts, where the model has them. [n_tokens][n_layer][n_embd_per_layer]
pub fn parts(w: &mut Writer<'_>, x: T) -> Option<T> {
    let (n_layer, width) = (w.m.hp.n_layer, w.m.hp.n_embd_per_layer);
    if width == 0 {
        return None;
    }
    let (table, embd) = (w.need(Role::LayerEmbd), w.value(n_layer * width, Dim::Tokens));
    let scale = (width as f32).sqrt();
    w.step(Op::Embed { table, by: Lookup::TokensOrFirst, scale, out: embd }, &[(embd, "inp_per_layer_selected")]);
    let proj = w.linear(x, Role::LayerProj, n_layer * width, "per_layer_proj");
    let proj = w.scaled(proj, 1.0 / (w.m.hp.n_embd as f32).sqrt(), "per_layer_proj");
    let weight = w.get(Role::LayerProjNorm.weight());
    let norm = HeadNorm { len: 0, w: weight, number: false, b: None, kind: NormKind::Rms, eps: w.m.hp.rms_eps };
    w.step(Op::Rope { x: proj, n_head: n_layer, norm: Some(norm), rope: None }, &[(proj, "per_layer_proj")]);
    let both = w.map(proj, Some(embd), MapFn::Add, "inp_per_layer");
    Some(w.scaled(both, std::f32::consts::FRAC_1_SQRT_2, "inp_per_layer"))
}

/// What this layer's part adds to `x`.
pub fn write(w: &mut Writer<'_>, x: T, parts: T) -> T {
    let (width, rows) = (w.m.hp.n_embd_per_layer, w.plan.value(x).rows);
    let mut mine = w.cols(parts, w.il() as u32 * width, width, "inp_this_layer");
    if rows == Dim::Outputs {
        mine = w.rows(mine);
    }
    let gate = w.linear(x, Role::LayerGate, width, "per_layer_gate");
    let gate = w.map(gate, None, MapFn::Act(Act::Gelu), "per_layer_gate");
    let gated = w.map(gate, Some(mine), MapFn::Mul, "per_layer_gated");
    let out = w.linear(gated, Role::LayerUp, w.m.hp.n_embd, "per_layer_proj");
    w.norm(out, Role::LayerPostNorm, "per_layer_embd_out")
}
