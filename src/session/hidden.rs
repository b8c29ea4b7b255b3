//! Hidden states of the last batch, for callers that run further heads or drafts of their own (llama-ext.h). Knows not where in a plan they arise.
use super::context::Context;
use super::outputs::Outputs;
use crate::backend::Ubatch;
pub use crate::blocks::NextRows;
use crate::blocks::{Tapped, Taps};
use crate::model::spec::Flow;
use platform::error::try_zeroed;
use platform::{Error, Result};
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Hidden {
    n_embd: usize,
    /// Per layer [n_tokens][n_embd], in batch order.
    layers: BTreeMap<u32, Vec<f32>>,
    /// [n_tokens][n_embd] in batch order, or a row per output.
    next: Vec<f32>,
    /// As it was when that was made.
    next_rows: Option<NextRows>,
}

/// Reads rows of a value after a run.
type Read<'a> = &'a dyn Fn(crate::backend::T, std::ops::Range<usize>, &mut [f32]) -> Result<()>;

impl Hidden {
    pub fn new(n_embd: usize) -> Hidden {
        Hidden { n_embd, ..Hidden::default() }
    }

    /// Room for a batch; nothing of the one before is left.
    pub fn begin(&mut self, taps: &Taps, n_tokens: usize, n_outputs: usize) -> Result<()> {
        self.layers.clear();
        for l in &taps.layers {
            self.layers.insert(*l, try_zeroed(n_tokens * self.n_embd, "hidden states")?);
        }
        self.next_rows = taps.next;
        let n = taps.next.map_or(0, |r| if r == NextRows::All { n_tokens } else { n_outputs });
        self.next = try_zeroed(n * self.n_embd, "hidden states")?;
        Ok(())
    }

    /// Takes what a ubatch has left, of which `rows` are outputs.
    pub fn take(&mut self, at: &Tapped, ub: &Ubatch, rows: &[u32], outputs: &Outputs, read: Read<'_>) -> Result<()> {
        let n = self.n_embd;
        for (layer, t) in &at.layers {
            let Some(to) = self.layers.get_mut(layer) else { continue };
            for (i, token) in ub.index.iter().enumerate() {
                read(*t, i..i + 1, &mut to[*token as usize * n..][..n])?;
            }
        }
        let Some((t, made)) = at.next else { return Ok(()) };
        let of: Vec<u32> = if made == NextRows::All { (0..ub.n_tokens() as u32).collect() } else { rows.to_vec() };
        for (i, k) in of.iter().enumerate() {
            let token = ub.index[*k as usize];
            let row = if self.next_rows == Some(NextRows::All) { Some(token as usize) } else { outputs.row_of(token) };
            let to = row.and_then(|r| self.next.get_mut(r * n..(r + 1) * n));
            if let Some(to) = to {
                read(t, i..i + 1, to)?;
            }
        }
        Ok(())
    }

    pub fn layer(&mut self, layer: u32) -> Option<&mut [f32]> {
        self.layers.get_mut(&layer).map(Vec::as_mut_slice).filter(|v| !v.is_empty())
    }
    pub fn all_next(&mut self) -> Option<&mut [f32]> {
        (!self.next.is_empty()).then_some(&mut self.next)
    }
    /// A row: by token where all are there, else by output.
    pub fn next_ith(&mut self, i: i32, outputs: &Outputs) -> Option<&mut [f32]> {
        let row = match self.next_rows? {
            NextRows::All => usize::try_from(i).ok()?,
            NextRows::Wanted => outputs.row_at(i)?,
        };
        let n = self.n_embd;
        let end = row.checked_add(1)?.checked_mul(n)?;
        self.next.get_mut(end - n..end)
    }
}

impl Context {
    /// Whether the input of a layer is kept, for all tokens of a batch.
    pub fn set_layer_inp(&mut self, layer: u32, on: bool) -> Result<()> {
        let n = self.model.layers.len();
        if layer as usize > n {
            return Err(Error::invalid(format!("there is no layer {layer}: the model has {n}")));
        }
        if self.model.arch.flow != Flow::Plain {
            return Err(Error::unsupported(format!("the input of layers of {}, which is several streams", self.model.arch.name)));
        }
        let mut taps = self.taps();
        taps.layers.retain(|l| *l != layer);
        if on {
            taps.layers.push(layer);
        }
        self.tap(taps)
    }

    /// Whether what next-token heads take is kept: for the outputs or for all tokens.
    pub fn set_next(&mut self, rows: Option<NextRows>) -> Result<()> {
        let taps = Taps { next: rows, ..self.taps() };
        self.tap(taps)
    }
}
