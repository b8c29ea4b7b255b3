//! A model's table of embeddings as floats: looked up as a decode does, whatever format and place its rows have.
use super::params::{ContextParams, rope_settings};
use super::runner::Runner;
use crate::backend::{Bound, Io, Limits, SeqSet, Ubatch};
use crate::blocks::{self, Settings, Taps};
use crate::model::Model;
use crate::model::names::Role;
use platform::pool::Team;
use platform::{Error, Result};
use std::sync::Arc;

/// Tokens looked up at a time.
const STEP: usize = 256;

/// Floats in the table, by row; `None` where the model has none.
pub fn size(m: &Model) -> Option<(usize, usize)> {
    let w = m.weights.get(m.weight(-1, Role::TokenEmbd.weight())?.0 as usize)?;
    Some((w.shape[0] as usize, w.shape[1] as usize)).filter(|_| !m.vocab_only)
}

/// The table, [n_rows][n_embd].
pub fn read(m: &Model, out: &mut [f32]) -> Result<()> {
    let (width, rows) = size(m).ok_or_else(|| Error::unsupported("the model has no table of embeddings"))?;
    let settings = Settings {
        rope: rope_settings(m, &ContextParams::default()),
        groups: Vec::new(),
        index: None,
        cross: None,
        n_ctx_seq: 0,
        compat: false,
        taps: Taps::default(),
        watched: false,
        op_offload: false,
        adapted: Arc::default(),
    };
    let (plan, made) = blocks::table_plan(m, &settings);
    let bound = Bound { weights: m.weights.clone(), kv: Arc::new(Vec::new()) };
    let mut runner = Runner::new(&plan, &m.backends, &bound, Limits { tokens: STEP, outputs: STEP, workers: 1 })?;
    let team = Team::on(m.nodes(), 1);
    for (first, to) in (0..rows).step_by(STEP).zip(out.chunks_mut(STEP * width)) {
        let n = to.len() / width;
        let ub = Ubatch {
            tokens: (first as i32..).take(n).collect(),
            pos: vec![0; n],
            n_pos_per_token: 1,
            seqs: vec![SeqSet::one(0); n],
            first_seq: vec![0; n],
            ..Ubatch::default()
        };
        let io = Io { ub: &ub, views: &[], outputs: &[], shifts: &[], team: &team, active: 1, stop: &|| false };
        runner.run(&io).map_err(|stop| Error::invalid(format!("the table of embeddings: {stop}")))?;
        runner.read(made, 0..n, to)?;
    }
    Ok(())
}
