//! Hidden states that a caller wants beside the outputs: what goes into layers, and what heads for further tokens go on from.
use super::writer::{Stream, Writer};
use super::{Dim, MapFn, T, rows};

/// Which of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taps {
    /// Layers whose input is wanted, for all tokens; the number of layers means what the last one gives.
    pub layers: Vec<u32>,
    pub next: Option<NextRows>,
}

/// The rows of what next-token heads take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextRows {
    /// Those whose outputs are wanted.
    Wanted,
    All,
}

impl Taps {
    pub fn is_empty(&self) -> bool {
        *self == Taps::default()
    }
    /// The last layer cannot leave out the rows that nobody wants an output of.
    pub fn all_rows(&self, n_layer: usize) -> bool {
        self.next == Some(NextRows::All) || self.layers.iter().any(|l| *l as usize == n_layer)
    }
}

/// Where they are after a run.
#[derive(Clone, Debug, Default)]
pub struct Tapped {
    /// [n_tokens][n_embd]
    pub layers: Vec<(u32, T)>,
    /// [n_outputs][n_embd] or [n_tokens][n_embd]
    pub next: Option<(T, NextRows)>,
}

/// What goes into layer `il`, if it is wanted.
pub fn layer(w: &mut Writer<'_>, il: usize, stream: Stream, found: &mut Tapped) -> Stream {
    if !w.s.taps.layers.contains(&(il as u32)) {
        return stream;
    }
    let x = w.sum(stream, "l_out");
    found.layers.push((il as u32, x));
    Stream { x, add: None, rows: stream.rows }
}

/// The last norm: the outputs' rows, and what was wanted, as results.
pub fn last_norm(w: &mut Writer<'_>, stream: Stream, found: &mut Tapped) -> T {
    let stream = w.enter(-1, w.m.head_place, stream);
    let stream = if w.s.taps.next == Some(NextRows::All) { stream } else { rows(w, stream) };
    let (bare, normed) = w.add_norm(stream, w.m.arch.head.norm, "l_out", "result_norm");
    if w.s.taps.next.is_some() {
        let which = if stream.rows == Dim::Tokens { NextRows::All } else { NextRows::Wanted };
        let next = if w.m.arch.head.next_bare { bare } else { normed };
        found.next = Some((result(w, next), which));
    }
    for (_, t) in &mut found.layers {
        *t = result(w, *t);
    }
    if stream.rows == Dim::Tokens { w.rows(normed) } else { normed }
}

/// A copy that no step reads: it is there when the run is over.
fn result(w: &mut Writer<'_>, t: T) -> T {
    w.map(t, None, MapFn::Scale(1.0), "h_nextn")
}
