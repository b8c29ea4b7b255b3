//! Multi-head latent attention (DeepSeek 2, 2024): K and V are made of one narrow vector, which is all that memory keeps where the
//! matrices that make them are absorbed into Q and the output.
use super::attention::{attend, rope_step};
use super::index;
use super::rope;
use super::writer::Writer;
use crate::backend::{Among, Cols, HeadNorm, MapFn, NormKind, Op, RopeSpec, T};
use crate::model::names::Role;
use crate::model::spec::{Attention, Mla};

/// From the normed input to [n_tokens][n_head * head_v of a head as it is without absorption].
pub fn write(w: &mut Writer<'_>, a: &Attention, m: &Mla, x: T) -> T {
    let narrow = narrow(w, m, x);
    let among = index::write(w, a, x, narrow);
    let q = queries(w, a, m, x, narrow);
    let kv = latent(w, a, m, x);
    if !m.absorbed {
        return expanded(w, a, m, q, kv, among);
    }
    let nope = m.head_k - a.n_rot;
    let head = Cols { x: q, first: 0, step: m.head_k, len: nope };
    let bare = w.gather(vec![head], a.n_head, "q_nope");
    let wide = w.heads(bare, Role::KB, m.kv_rank * a.n_head, "q_nope_absorbed");
    let latent = Cols { x: wide, first: 0, step: m.kv_rank, len: m.kv_rank };
    let q = w.gather(vec![latent, Cols { first: nope, len: a.n_rot, ..head }], a.n_head, "Qcur");
    turn(w, a, q, "Qcur");
    let q = a.temperature.map_or(q, |t| w.map(q, None, MapFn::Temperature(t), "Qcur"));
    let group = w.s.groups[w.il() as usize];
    // V are the first part of K.
    w.step(Op::Store { group, k: kv, v: kv }, &[(kv, "Kcur")]);
    let mixed = attend(w, a, q, among);
    w.heads(mixed, Role::VB, m.head_v * a.n_head, "kqv_mla")
}

/// The vector that Q are made of, normed; `None` where they are made directly.
fn narrow(w: &mut Writer<'_>, m: &Mla, x: T) -> Option<T> {
    let made = (m.q_rank > 0).then(|| w.linear(x, Role::QA, m.q_rank, "q"));
    made.map(|narrow| w.norm(narrow, Role::QANorm, "q"))
}

/// [n_tokens][n_head * head_k]
fn queries(w: &mut Writer<'_>, a: &Attention, m: &Mla, x: T, narrow: Option<T>) -> T {
    let (x, role) = narrow.map_or((x, Role::Q), |narrow| (narrow, Role::QB));
    w.linear(x, role, a.n_head * m.head_k, "q")
}

/// The narrow vector, normed, and what all heads of K have of the position, turned. [n_tokens][kv_rank + n_rot]
fn latent(w: &mut Writer<'_>, a: &Attention, m: &Mla, x: T) -> T {
    let kv = w.linear(x, Role::KvA, m.kv_rank + a.n_rot, "kv_cmpr_pe");
    let kv = if m.pe_norm { normed_pe(w, a, m, kv) } else { kv };
    let norm = HeadNorm { len: m.kv_rank, ..rms(w, Role::KvANorm) };
    let rope = rope(w.m, w.s, a).map(|r| RopeSpec { at: m.kv_rank, ..r });
    rope_step(w, kv, 1, Some(norm), rope, "kv_cmpr");
    kv
}

fn rms(w: &Writer<'_>, role: Role) -> HeadNorm {
    HeadNorm { len: 0, w: w.get(role.weight()), number: false, b: None, kind: NormKind::Rms, eps: w.m.hp.rms_eps }
}

fn normed_pe(w: &mut Writer<'_>, a: &Attention, m: &Mla, kv: T) -> T {
    let pe = w.cols(kv, m.kv_rank, a.n_rot, "k_pe");
    let norm = rms(w, Role::KNorm);
    rope_step(w, pe, 1, Some(norm), None, "k_pe");
    let part = |x, len| Cols { x, first: 0, step: 0, len };
    w.gather(vec![part(kv, m.kv_rank), part(pe, a.n_rot)], 1, "kv_cmpr_pe")
}

/// Queries turn where K do.
fn turn(w: &mut Writer<'_>, a: &Attention, q: T, name: &'static str) {
    let rope = rope(w.m, w.s, a);
    rope_step(w, q, a.n_head, None, rope, name);
}

/// K and V of every head are made and stored, as without latent attention.
fn expanded(w: &mut Writer<'_>, a: &Attention, m: &Mla, q: T, kv: T, among: Option<Among>) -> T {
    let nope = m.head_k - a.n_rot;
    let pe = Cols { x: kv, first: m.kv_rank, step: 0, len: a.n_rot };
    let narrow = w.gather(vec![Cols { first: 0, len: m.kv_rank, ..pe }], 1, "kv_cmpr");
    let both = w.linear(narrow, Role::KvB, a.n_head * (nope + m.head_v), "kv");
    let head = Cols { x: both, first: 0, step: nope + m.head_v, len: nope };
    let k = w.gather(vec![head, pe], a.n_head, "Kcur");
    let v = w.gather(vec![Cols { first: nope, len: m.head_v, ..head }], a.n_head, "Vcur");
    turn(w, a, q, "Qcur");
    let q = a.temperature.map_or(q, |t| w.map(q, None, MapFn::Temperature(t), "Qcur"));
    let group = w.s.groups[w.il() as usize];
    w.step(Op::Store { group, k, v }, &[]);
    attend(w, a, q, among)
}

/// Where a head of K begins to turn.
pub fn rope_at(a: &Attention) -> u32 {
    a.mla.map_or(0, |m| if m.absorbed { m.kv_rank } else { m.head_k - a.n_rot })
}
