//! What adapters add: beside every product with a matrix one with a low rank, beside rows of a table rows of a low rank, behind a layer its direction.
//! A plan without adapters is what it is without this file.
use super::writer::{Stream, Writer};
use crate::backend::{ByWeight, Delta, Dim, ExpertMat, Lookup, Low, LowRank, MapFn, Op, Proj, T, WeightId};

/// Products that a step makes besides its own: through which weight, to which value.
type Made = Vec<(WeightId, T)>;

impl Writer<'_> {
    /// A step as it is, or with what adapters add to what it makes.
    pub fn step(&mut self, op: Op, seen: &[(T, &'static str)]) {
        match op {
            Op::Linear { x, outs, fine } => self.products(x, outs, fine, seen),
            Op::Embed { table, by, scale, out } if !self.s.adapted.of_table(table).is_empty() => {
                self.push(Op::Embed { table, by, scale, out }, &[]);
                self.looked_up(table, by, scale, out, seen);
            }
            Op::Experts { x, ids, weights, mats, act, weigh_inputs, shown, out, .. } => {
                let lows = self.lows_of_experts(&mats);
                self.push(Op::Experts { x, ids, weights, mats, act, weigh_inputs, lows, shown, out }, seen);
            }
            op => self.push(op, seen),
        }
    }

    /// The narrow values are made in the same step, from the same input.
    fn products(&mut self, x: T, mut outs: Vec<Proj>, fine: bool, seen: &[(T, &'static str)]) {
        let (mut made, mut deltas) = (Made::new(), Vec::new());
        for p in &outs {
            let parts = self.lows(p.w, self.plan.value(x).rows, &mut made);
            if !parts.is_empty() {
                deltas.push(Delta { out: p.out, by: p.scale.filter(|_| p.scale_after_bias), parts });
            }
        }
        outs.extend(made.into_iter().map(|(a, z)| Proj::plain(a, z)));
        let op = Op::Linear { x, outs, fine };
        if deltas.is_empty() {
            return self.push(op, seen);
        }
        self.push(op, &[]);
        self.push(Op::AddLow { deltas }, seen);
    }

    /// What is added beside `w`; pieces of one tensor share the narrow value.
    fn lows(&mut self, w: WeightId, rows: Dim, made: &mut Made) -> Vec<Low> {
        let lows: Vec<LowRank> = self.s.adapted.beside(w).to_vec();
        let one = |l: LowRank| {
            let z = made.iter().find(|m| m.0 == l.a).map(|m| m.1).unwrap_or_else(|| {
                made.push((l.a, self.value(l.rank, rows)));
                made[made.len() - 1].1
            });
            Low { z, b: l.b, first: l.first, scale: l.scale }
        };
        lows.into_iter().map(one).collect()
    }

    /// Beside each matrix; without a gate up stands for it, and is adapted once.
    fn lows_of_experts(&self, mats: &[ExpertMat; 3]) -> [Vec<LowRank>; 3] {
        let of = |m: &ExpertMat| {
            let all = self.s.adapted.beside(m.w).iter();
            all.map(|l| LowRank { first: l.first + m.first, ..*l }).collect()
        };
        let [gate, up, down] = mats;
        [if gate == up { Vec::new() } else { of(gate) }, of(up), of(down)]
    }

    fn looked_up(&mut self, table: WeightId, by: Lookup, scale: f32, out: T, seen: &[(T, &'static str)]) {
        let lows: Vec<LowRank> = self.s.adapted.of_table(table).to_vec();
        // A batch's own embeddings are what they are.
        let by = if by == Lookup::Tokens { Lookup::TokensOrNothing } else { by };
        let mut parts = Vec::new();
        for l in lows {
            let z = self.value(l.rank, Dim::Tokens);
            self.push(Op::Embed { table: l.a, by, scale: 1.0, out: z }, &[]);
            parts.push(Low { z, b: l.b, first: l.first, scale: l.scale * scale });
        }
        self.push(Op::AddLow { deltas: vec![Delta { out, by: None, parts }] }, seen);
    }

    /// The stream with the direction of this layer, where a control vector has one.
    pub fn steered(&mut self, s: Stream) -> Stream {
        let Some(w) = self.direction() else { return s };
        let x = self.sum(s, "ffn_out");
        Stream { x: self.map(x, None, MapFn::Weight(w, ByWeight::Add), "l_out"), add: None, rows: s.rows }
    }

    /// Several streams side by side, each with the direction.
    pub fn steered_each(&mut self, all: T) -> T {
        let Some(table) = self.direction() else { return all };
        let y = self.value(self.m.hp.n_embd, Dim::Tokens);
        self.push(Op::Embed { table, by: Lookup::First, scale: 1.0, out: y }, &[]);
        self.map(all, Some(y), MapFn::AddParts(0), "l_out")
    }

    fn direction(&self) -> Option<WeightId> {
        let il = usize::try_from(self.il()).ok().filter(|_| self.m.arch.steered)?;
        self.s.adapted.direction(self.place(), il)
    }
}
