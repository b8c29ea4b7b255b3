//! Runs a lowered plan: segments in order, values moved between devices where the plan says so.
use super::outputs::Outputs;
use super::pooling::Pool;
use crate::backend::*;
use crate::blocks::Planned;
use platform::Result;
use platform::pool::Stop;
use std::sync::Arc;

enum Part {
    Run(Box<dyn Exec>),
    /// From the part before to the next run.
    Move {
        x: T,
        to: T,
        width: usize,
        rows: Dim,
    },
}

pub struct Runner {
    parts: Vec<Part>,
}

/// A plan that gives outputs, lowered, and where they are.
pub struct Lowered {
    pub runner: Runner,
    embd: T,
    logits: Option<T>,
}

impl Lowered {
    pub fn new(p: Planned, backends: &[Arc<dyn Backend>], bound: &Bound, limits: Limits) -> Result<Lowered> {
        Ok(Lowered { runner: Runner::new(&p.plan, backends, bound, limits)?, embd: p.embd, logits: p.logits })
    }

    /// The outputs of the last run, which was one of `ub` with `rows` wanted.
    pub fn collect(&self, ub: &Ubatch, rows: &[u32], embeddings: bool, out: &mut Outputs, mut pool: Option<&mut Pool>) -> Result<()> {
        for (o, i) in rows.iter().enumerate() {
            let Some(row) = out.place(ub.index[*i as usize]) else { continue };
            if let Some(t) = self.logits {
                self.runner.read(t, o..o + 1, out.logits_row(row))?;
            }
            if embeddings {
                self.runner.read(self.embd, o..o + 1, out.embd_row(row))?;
                pool.iter_mut().for_each(|p| p.add(ub, *i as usize, out.embd_row(row)));
            }
        }
        Ok(())
    }
}

impl Runner {
    pub fn new(plan: &Plan, backends: &[Arc<dyn Backend>], bound: &Bound, limits: Limits) -> Result<Runner> {
        let mut parts = Vec::new();
        for s in plan.segments() {
            parts.push(match s {
                Segment::Run { dev, steps } => {
                    let b = backends.iter().find(|b| b.device() == dev);
                    let b = b.ok_or_else(|| platform::Error::invalid(format!("no backend for device {}", dev.0)))?;
                    Part::Run(b.lower(plan, steps, bound, limits)?)
                }
                Segment::Move { x, to } => Part::Move { x, to, width: plan.value(x).width as usize, rows: plan.value(x).rows },
            });
        }
        Ok(Runner { parts })
    }

    pub fn run(&mut self, io: &Io<'_>) -> std::result::Result<(), Stop> {
        let failed = |e: platform::Error| Stop::Failed(e.to_string());
        let mut carried: Option<(T, Vec<f32>)> = None;
        for i in 0..self.parts.len() {
            if let Part::Move { x, to, width, rows } = self.parts[i] {
                let n = if rows == Dim::Tokens { io.ub.n_tokens() } else { io.outputs.len() };
                let mut v = platform::error::try_zeroed(n * width, "values between devices").map_err(failed)?;
                if let Some(Part::Run(before)) = self.parts[..i].last() {
                    before.read(x, 0..n, &mut v).map_err(failed)?;
                }
                carried = Some((to, v));
                continue;
            }
            if let Part::Run(e) = &mut self.parts[i] {
                if let Some((t, v)) = carried.take() {
                    e.write(t, &v).map_err(failed)?;
                }
                e.run(io)?;
            }
        }
        Ok(())
    }

    /// Rows of a result, which the last run made.
    pub fn read(&self, t: T, rows: std::ops::Range<usize>, dst: &mut [f32]) -> Result<()> {
        match self.parts.last() {
            Some(Part::Run(e)) => e.read(t, rows, dst),
            _ => Err(platform::Error::invalid("the plan has no results")),
        }
    }

    /// Rows of an input, for the next run.
    pub fn write(&mut self, t: T, src: &[f32]) -> Result<()> {
        match self.parts.first_mut() {
            Some(Part::Run(e)) => e.write(t, src),
            _ => Err(platform::Error::invalid("the plan has no inputs")),
        }
    }

    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|p| if let Part::Run(e) = p { e.bytes() } else { 0 }).sum()
    }

    /// Per op kind, over all devices.
    pub fn trace(&self) -> Vec<TraceRow> {
        self.parts.iter().flat_map(|p| if let Part::Run(e) = p { e.trace() } else { Vec::new() }).collect()
    }
}
