//! Sparse attention by an index (DeepSeek 3.2, 2025; MiniMax M3): small keys that are stored beside K and V, and queries by which a token picks the
//! positions that attention will see.
use super::attention::rope_step;
use super::rope;
use super::writer::Writer;
use crate::backend::{Among, Dim, GroupId, HeadNorm, MapFn, NormKind, Op, PickSpec, RopeSpec, T};
use crate::model::names::Role;
use crate::model::spec::{Attention, Index, IndexBy};

/// What queries of this layer are confined to, if anything. `x` is attention's input, `narrow` what latent attention makes its queries of.
pub fn write(w: &mut Writer<'_>, a: &Attention, x: T, narrow: Option<T>) -> Option<Among> {
    let (ix, group) = (a.index.as_ref()?, w.s.index?);
    if !ix.shared {
        keys(w, a, ix, group, x);
        // A memory with no more cells than that is seen whole, but what it is saved with may be read by a larger one.
        w.picked = (w.s.n_ctx_seq > ix.top_k).then(|| pick(w, a, ix, group, x, narrow.unwrap_or(x)));
    }
    let picks = w.picked?;
    let spec = spec(ix);
    Some(Among { picks, n_list: spec.n_list, top_k: spec.top_k, block: spec.block })
}

fn spec(ix: &Index) -> PickSpec {
    let &Index { n_head, head_size: head, top_k, .. } = ix;
    match ix.by {
        IndexBy::Position { .. } => PickSpec { n_head, head, top_k, n_list: 1, block: 1, local: 0 },
        IndexBy::Block { size, local } => PickSpec { n_head, head, top_k, n_list: n_head, block: size, local },
    }
}

fn keys(w: &mut Writer<'_>, a: &Attention, ix: &Index, group: GroupId, x: T) {
    let role = if matches!(ix.by, IndexBy::Block { .. }) { Role::IndexBlockK } else { Role::IndexK };
    let k = w.linear(x, role, ix.head_size, "indexer_k");
    let (kind, eps) = match ix.by {
        IndexBy::Position { eps } => (NormKind::Layer, eps),
        IndexBy::Block { .. } => (NormKind::Rms, w.m.hp.rms_eps),
    };
    let role = Role::IndexKNorm;
    let norm = HeadNorm { len: 0, w: w.get(role.weight()), number: false, b: w.get(role.bias()), kind, eps };
    let k = turned(w, a, ix, k, 1, Some(norm), "indexer_k");
    w.step(Op::Store { group, k, v: k }, &[]);
}

/// Each token's picks.
fn pick(w: &mut Writer<'_>, a: &Attention, ix: &Index, group: GroupId, x: T, narrow: T) -> T {
    let width = ix.n_head * ix.head_size;
    let (q, weights) = match ix.by {
        IndexBy::Position { .. } => {
            let q = w.linear(narrow, Role::IndexQ, width, "indexer_q");
            let weights = w.linear(x, Role::IndexWeights, ix.n_head, "indexer_weights");
            (turned(w, a, ix, q, ix.n_head, None, "indexer_q"), Some(w.scaled(weights, 1.0 / (width as f32).sqrt(), "indexer_weights")))
        }
        IndexBy::Block { .. } => {
            let q = w.linear(x, Role::IndexBlockQ, width, "indexer_q");
            let norm = w.get(Role::IndexQNorm.weight());
            let norm = HeadNorm { len: 0, w: norm, number: false, b: None, kind: NormKind::Rms, eps: w.m.hp.rms_eps };
            (turned(w, a, ix, q, ix.n_head, Some(norm), "indexer_q"), None)
        }
    };
    let spec = spec(ix);
    let out = w.value(spec.width(), Dim::Tokens);
    w.step(Op::Pick { q, weights, group, spec, out }, &[(out, "top_k")]);
    out
}

/// Heads normed, rotated and transformed.
fn turned(w: &mut Writer<'_>, a: &Attention, ix: &Index, x: T, n_head: u32, norm: Option<HeadNorm>, name: &'static str) -> T {
    let rope = rope(w.m, w.s, a).map(|r| of_index(r, ix));
    rope_step(w, x, n_head, norm, rope, name);
    if ix.hadamard { w.map(x, None, MapFn::Hadamard(ix.head_size), name) } else { x }
}

/// Attention's rotation as an index has it.
pub fn of_index(r: RopeSpec, ix: &Index) -> RopeSpec {
    let at = if ix.rope_last { ix.head_size - r.n_rot } else { 0 };
    RopeSpec { kind: ix.rope, at, factors: None, ..r }
}
