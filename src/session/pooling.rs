//! From embeddings of tokens to those of sequences, and through what a model has behind them: classifiers of rerankers, dense matrices.
use super::context::pooling;
use super::runner::Runner;
use crate::backend::{Bound, Io, Limits, SeqSet, T, Ubatch};
use crate::blocks::{self, Settings};
use crate::model::Model;
use platform::Result;
use platform::pool::{Stop, Team};
use std::collections::BTreeMap;

/// What a pooling type takes of a sequence. Rerankers take the token that has seen all: the last of a decoder, the first of an encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    Mean,
    First,
    Last,
}

pub fn take(m: &Model, pooling_type: i32, causal: bool) -> Take {
    let mean = if m.hp.pooling_type_cls < 0 { m.arch.classifier.mean } else { m.hp.pooling_type_cls == pooling::MEAN };
    match pooling_type {
        pooling::MEAN => Take::Mean,
        pooling::RANK if mean => Take::Mean,
        pooling::RANK if causal => Take::Last,
        pooling::CLS | pooling::RANK => Take::First,
        _ => Take::Last,
    }
}

/// Pooled embeddings in the making: per sequence what each way of taking needs.
#[derive(Default)]
pub struct Pool(BTreeMap<u32, Pooled>);

struct Pooled {
    sum: Vec<f64>,
    n: usize,
    first: (i32, Vec<f32>),
    last: (i32, Vec<f32>),
}

impl Pool {
    pub fn add(&mut self, ub: &Ubatch, i: usize, row: &[f32]) {
        let pos = ub.pos_of(i);
        for seq in ub.seqs[i].iter() {
            let p = self.0.entry(seq).or_insert_with(|| Pooled {
                sum: vec![0.0; row.len()],
                n: 0,
                first: (pos, row.to_vec()),
                last: (pos, row.to_vec()),
            });
            p.sum.iter_mut().zip(row).for_each(|(s, r)| *s += f64::from(*r));
            p.n += 1;
            if pos < p.first.0 {
                p.first = (pos, row.to_vec());
            }
            if pos >= p.last.0 {
                p.last = (pos, row.to_vec());
            }
        }
    }

    pub fn finish(self, take: Take) -> Vec<(u32, Vec<f32>)> {
        let one = |p: Pooled| match take {
            Take::Mean => p.sum.iter().map(|s| (s / p.n as f64) as f32).collect(),
            Take::First => p.first.1,
            Take::Last => p.last.1,
        };
        self.0.into_iter().map(|(seq, p)| (seq, one(p))).collect()
    }
}

/// Matrices behind pooled embeddings.
pub struct Finish {
    runner: Runner,
    input: T,
    output: T,
    width: usize,
    most: usize,
    softmax: bool,
}

impl Finish {
    /// `None` where the model has nothing behind its embeddings.
    pub fn new(m: &Model, s: &Settings, scores: bool, bound: &Bound, limits: Limits) -> Result<Option<Finish>> {
        let Some(f) = blocks::finish_plan(m, s, scores) else { return Ok(None) };
        let runner = Runner::new(&f.plan, &m.backends, bound, limits)?;
        let softmax = scores && m.arch.classifier.softmax;
        Ok(Some(Finish { runner, input: f.input, output: f.output, width: f.width as usize, most: limits.outputs, softmax }))
    }

    /// Floats of what comes out.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows through the matrices; each for itself.
    pub fn run(&mut self, rows: &[&[f32]], team: &Team, active: u32) -> std::result::Result<Vec<Vec<f32>>, Stop> {
        let mut out = Vec::with_capacity(rows.len());
        for some in rows.chunks(self.most.max(1)) {
            let failed = |e: platform::Error| Stop::Failed(e.to_string());
            let (n, ids) = (some.len(), (0..some.len() as u32).collect::<Vec<_>>());
            let ub =
                Ubatch { pos: vec![0; n], n_pos_per_token: 1, seqs: vec![SeqSet::one(0); n], first_seq: vec![0; n], ..Ubatch::default() };
            self.runner.write(self.input, &some.concat()).map_err(failed)?;
            self.runner.run(&Io { ub: &ub, views: &[], outputs: &ids, shifts: &[], team, active, stop: &|| false })?;
            for i in 0..n {
                let mut row = vec![0.0; self.width];
                self.runner.read(self.output, i..i + 1, &mut row).map_err(failed)?;
                if self.softmax {
                    softmax(&mut row);
                }
                out.push(row);
            }
        }
        Ok(out)
    }
}

fn softmax(row: &mut [f32]) {
    let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.iter_mut().for_each(|x| *x = (*x - top).exp());
    let sum: f32 = row.iter().sum();
    row.iter_mut().for_each(|x| *x /= sum);
}
