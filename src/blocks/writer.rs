//! Writes steps: keeps the layer and device at hand, makes values, carries the residual stream.
use super::Settings;
use crate::backend::{Cols, DeviceId, Dim, MapFn, Op, Plan, Proj, Seen, Step, T, Value, WeightId};
use crate::model::Model;
use crate::model::names::{Name, Role};
use crate::model::spec::NormSpec;

/// The residual stream: `x`, plus a part that the next norm adds on its way.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    pub x: T,
    pub add: Option<T>,
    pub rows: Dim,
}

pub struct Writer<'a> {
    pub m: &'a Model,
    pub s: &'a Settings,
    pub plan: Plan,
    norm: NormSpec,
    il: i16,
    /// What the weights of layer 0 are counted from.
    base: i32,
    place: usize,
    /// What the last index has picked.
    pub picked: Option<T>,
}

impl<'a> Writer<'a> {
    pub fn new(m: &'a Model, s: &'a Settings) -> Writer<'a> {
        let plan = Plan { watched: s.watched, ..Plan::default() };
        Writer { m, s, plan, norm: m.arch.norm(&m.hp), il: -1, base: 0, place: 0, picked: None }
    }
    /// For the layers of an encoder beside a decoder.
    pub fn of_encoder(m: &'a Model, s: &'a Settings) -> Writer<'a> {
        Writer { base: m.layers.len() as i32, ..Writer::new(m, s) }
    }
    /// What follows is of the decoder's layers again.
    pub fn leave_encoder(&mut self) {
        self.base = 0;
    }

    /// Sets layer and backend for what follows.
    pub fn at(&mut self, il: i16, place: usize) {
        (self.il, self.place) = (il, place);
    }
    pub fn il(&self) -> i32 {
        i32::from(self.il)
    }
    pub fn place(&self) -> usize {
        self.place
    }
    fn dev(&self) -> DeviceId {
        self.m.backends[self.place].device()
    }

    pub fn value(&mut self, width: u32, rows: Dim) -> T {
        self.plan.values.push(Value { width, rows, dev: self.dev() });
        T(self.plan.values.len() as u32 - 1)
    }
    /// A step as it is.
    pub(super) fn push(&mut self, op: Op, seen: &[(T, &'static str)]) {
        let seen_as = seen.iter().map(|(t, name)| Seen { t: *t, name, il: self.il }).collect();
        self.plan.steps.push(Step { op, il: self.il, dev: self.dev(), seen_as });
    }

    /// This layer's weight, if the file has it; rotation factors and the like are bound per layer too.
    pub fn get(&self, name: Name) -> Option<WeightId> {
        let il = if self.il < 0 { -1 } else { self.base + self.il() };
        self.m.weight(il, name)
    }
    /// The first layer's.
    pub fn get_first(&self, name: Name) -> Option<WeightId> {
        self.m.weight(self.base, name)
    }
    /// A weight that binding guaranteed.
    pub fn need(&self, role: Role) -> WeightId {
        self.get(role.weight()).unwrap_or_else(|| panic!("{} was not bound", role.weight().full(self.il())))
    }
    /// A matrix with the bias and the scale that were bound with it.
    pub fn proj(&self, role: Role, out: T) -> Proj {
        let (bias, scale) = (self.get(role.bias()), self.get(role.scale()));
        Proj { w: self.need(role), bias, scale, scale_after_bias: false, out }
    }

    /// Goes to a layer; where that is on another device the stream is summed and moved there.
    pub fn enter(&mut self, il: i16, place: usize, s: Stream) -> Stream {
        if place == self.place {
            self.at(il, place);
            return s;
        }
        let width = self.plan.value(s.x).width;
        let x = self.sum(s, "l_out");
        self.at(il, place);
        let out = self.value(width, s.rows);
        self.step(Op::Move { x, out }, &[]);
        Stream { x: out, add: None, rows: s.rows }
    }

    /// One matrix.
    pub fn linear(&mut self, x: T, role: Role, rows: u32, name: &'static str) -> T {
        let out = self.value(rows, self.plan.value(x).rows);
        let outs = vec![self.proj(role, out)];
        self.step(Op::Linear { x, outs, fine: false }, &[(out, name)]);
        out
    }
    /// A matrix for each head.
    pub fn heads(&mut self, x: T, role: Role, width: u32, name: &'static str) -> T {
        let (w, out) = (self.need(role), self.value(width, self.plan.value(x).rows));
        self.step(Op::Heads { x, w, out }, &[(out, name)]);
        out
    }
    pub fn gather(&mut self, parts: Vec<Cols>, n: u32, name: &'static str) -> T {
        let (width, rows) = (parts.iter().map(|p| p.len * n).sum(), self.plan.value(parts[0].x).rows);
        let out = self.value(width, rows);
        self.step(Op::Gather { parts, n, out }, &[(out, name)]);
        out
    }
    /// Columns `first..first + len`.
    pub fn cols(&mut self, x: T, first: u32, len: u32, name: &'static str) -> T {
        self.gather(vec![Cols { x, first, step: 0, len }], 1, name)
    }

    /// An elementwise step.
    pub fn map(&mut self, x: T, y: Option<T>, f: MapFn, name: &'static str) -> T {
        let (width, rows) = (self.plan.value(x).width, self.plan.value(x).rows);
        let out = self.value(width, rows);
        self.step(Op::Map { x, y, f, out }, &[(out, name)]);
        out
    }
    /// x * s
    pub fn scaled(&mut self, x: T, s: f32, name: &'static str) -> T {
        if s == 1.0 { x } else { self.map(x, None, MapFn::Scale(s), name) }
    }
    /// The stream in one value.
    pub fn sum(&mut self, s: Stream, name: &'static str) -> T {
        s.add.map_or(s.x, |y| self.map(s.x, Some(y), MapFn::Add, name))
    }

    /// The stream summed (seen as `sum_name` of the layer that made it) and its norm; without a norm the sum is both.
    pub fn add_norm(&mut self, s: Stream, role: Option<Role>, sum_name: &'static str, name: &'static str) -> (T, T) {
        let Some(role) = role else {
            let x = self.sum(s, sum_name);
            self.sum_is_of_layer_before(sum_name);
            return (x, x);
        };
        let width = self.plan.value(s.x).width;
        let sum = s.add.map(|_| self.value(width, s.rows));
        let out = self.value(width, s.rows);
        let op = self.norm_op(s.x, s.add, role, sum, out);
        let seen: Vec<(T, &'static str)> = [(out, name)].into_iter().chain(sum.map(|t| (t, sum_name))).collect();
        self.step(op, &seen);
        self.sum_is_of_layer_before(sum_name);
        (sum.unwrap_or(s.x), out)
    }

    /// A layer's output is summed by the layer after it, or by the head.
    fn sum_is_of_layer_before(&mut self, sum_name: &str) {
        let last = self.m.layers.len() as i16 - 1;
        let (il, seen) = (self.il, self.plan.steps.last_mut().map(|s| &mut s.seen_as));
        for s in seen.into_iter().flatten().filter(|s| sum_name == "l_out" && s.name == sum_name && s.il == il) {
            s.il = if il < 0 { last } else { il - 1 };
        }
    }

    pub fn norm(&mut self, x: T, role: Role, name: &'static str) -> T {
        let (width, rows) = (self.plan.value(x).width, self.plan.value(x).rows);
        let out = self.value(width, rows);
        let op = self.norm_op(x, None, role, None, out);
        self.step(op, &[(out, name)]);
        out
    }

    /// The architecture's norm with these weights, or none.
    pub fn norm_by(&mut self, x: T, w: Option<WeightId>, name: &'static str) -> T {
        let (width, rows) = (self.plan.value(x).width, self.plan.value(x).rows);
        let out = self.value(width, rows);
        let NormSpec { kind, eps, .. } = self.norm;
        self.step(Op::Norm { x, add: None, w, b: None, kind, eps, sum: None, out }, &[(out, name)]);
        out
    }

    /// Before a residual is added, with an epsilon of its own where that is not 0.
    pub fn post_norm(&mut self, x: T, role: Role, eps: f32, name: &'static str) -> T {
        let before = self.norm.eps;
        self.norm.eps = if eps == 0.0 { before } else { eps };
        let out = self.norm(x, role, name);
        self.norm.eps = before;
        out
    }

    /// The weights of `role` where the architecture's norms have them (binding saw to that).
    fn norm_op(&self, x: T, add: Option<T>, role: Role, sum: Option<T>, out: T) -> Op {
        let NormSpec { kind, eps, .. } = self.norm;
        Op::Norm { x, add, w: self.get(role.weight()), b: self.get(role.bias()), kind, eps, sum, out }
    }

    /// The rows whose outputs are wanted.
    pub fn rows(&mut self, x: T) -> T {
        let out = self.value(self.plan.value(x).width, Dim::Outputs);
        self.step(Op::Rows { x, out }, &[]);
        out
    }
}
