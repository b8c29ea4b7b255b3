//! What encoders have that decoders lack: norms of sums, a stack of layers of their own beside a decoder, matrices behind their embeddings.
use super::writer::{Stream, Writer};
use super::{Planned, Settings, Tapped, cross, embed, ffn, sequential};
use crate::backend::{Act, Dim, MapFn, Op, Plan, T};
use crate::model::Model;
use crate::model::names::Role;
use crate::model::spec::{AfterSum, LayerSpec};

/// The plan of an encoder beside a decoder: embeddings, and their K and V for the decoder's attention.
pub fn encoder_plan(m: &Model, s: &Settings) -> Planned {
    let mut w = Writer::of_encoder(m, s);
    let mut stream = embed(&mut w);
    for (il, spec) in m.encoder.iter().enumerate() {
        stream = w.enter(il as i16, m.place[m.layers.len() + il], stream);
        stream = sequential(&mut w, spec, stream, false);
        stream = w.steered(stream);
    }
    w.at(-1, 0);
    w.leave_encoder();
    let (_, x) = w.add_norm(stream, Some(Role::EncOutputNorm), "l_out", "result_norm");
    let mut stream = Stream { x, add: None, rows: Dim::Tokens };
    for (il, spec) in m.layers.iter().enumerate() {
        stream = w.enter(il as i16, m.place[il], stream);
        cross::remember(&mut w, &spec.attn, stream.x);
    }
    let embd = w.rows(stream.x);
    Planned { plan: w.plan, embd, logits: None, tapped: Tapped::default() }
}

/// The rest of a layer that norms its sums.
pub fn after_sums(w: &mut Writer<'_>, spec: &LayerSpec, after: AfterSum, attended: Stream) -> Stream {
    let mut cur = w.sum(attended, "attn_sum");
    if let Some(role) = spec.norms.ffn {
        cur = w.norm(cur, role, "attn_out_norm");
    }
    if let Some(role) = after.again {
        cur = w.map(cur, Some(attended.x), MapFn::Add, "attn_sum_2");
        cur = w.norm(cur, role, "attn_norm_2");
    }
    let out = ffn::write(w, &spec.ffn, ffn::Inputs { normed: cur, bare: cur, layer: attended.x });
    let sum = w.map(out, Some(cur), MapFn::Add, "ffn_sum");
    Stream { x: w.norm(sum, after.out, "layer_out_norm"), add: None, rows: attended.rows }
}

/// What embeddings go through behind their pooling.
pub struct Finish {
    pub plan: Plan,
    /// [n_outputs][n_embd]
    pub input: T,
    /// [n_outputs][..]
    pub output: T,
    pub width: u32,
}

/// The classifier (where scores are wanted) and the dense matrices that the file has; `None` where it has none.
pub fn finish_plan(m: &Model, s: &Settings, scores: bool) -> Option<Finish> {
    let mut w = Writer::new(m, s);
    w.at(-1, m.head_place);
    let input = w.value(m.hp.n_embd, Dim::Outputs);
    let mut x = input;
    if scores && let Some(y) = matrix(&mut w, Role::Cls, x) {
        let gelu = MapFn::Act(Act::Gelu);
        x = w.map(y, None, if m.arch.classifier.gelu { gelu } else { MapFn::Softcap(1.0) }, "cls_act");
        if w.get(Role::ClsNorm.weight()).is_some() {
            x = w.norm(x, Role::ClsNorm, "cls_norm");
        }
    }
    let matrices = [scores.then_some(Role::ClsOut), Some(Role::Dense2), Some(Role::Dense3)];
    for role in matrices.into_iter().flatten() {
        x = matrix(&mut w, role, x).unwrap_or(x);
    }
    let width = w.plan.value(x).width;
    (x != input).then_some(Finish { plan: w.plan, input, output: x, width })
}

/// The product with a matrix that the file may have.
fn matrix(w: &mut Writer<'_>, role: Role, x: T) -> Option<T> {
    let id = w.get(role.weight())?;
    let out = w.value(w.m.weights[id.0 as usize].shape[1], Dim::Outputs);
    let outs = vec![w.proj(role, out)];
    w.step(Op::Linear { x, outs, fine: true }, &[(out, "result_embd_pooled")]);
    Some(out)
}
