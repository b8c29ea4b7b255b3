//! Writes steps: keeps the layer and device at hand, makes values, carries the residual stream.
use super::{RMS, Settings};
use crate::backend::{DeviceId, Dim, MapFn, Op, Plan, Seen, Step, T, Value, WeightId};
use crate::model::Model;
use crate::model::names::Role;

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
    il: i16,
    place: usize,
}

impl<'a> Writer<'a> {
    pub fn new(m: &'a Model, s: &'a Settings) -> Writer<'a> {
        Writer { m, s, plan: Plan::default(), il: -1, place: 0 }
    }

    /// Sets layer and backend for what follows.
    pub fn at(&mut self, il: i16, place: usize) {
        (self.il, self.place) = (il, place);
    }
    pub fn il(&self) -> i32 {
        i32::from(self.il)
    }
    fn dev(&self) -> DeviceId {
        self.m.backends[self.place].device()
    }

    pub fn value(&mut self, width: u32, rows: Dim) -> T {
        self.plan.values.push(Value { width, rows, dev: self.dev() });
        T(self.plan.values.len() as u32 - 1)
    }
    pub fn step(&mut self, op: Op, seen: &[(T, &'static str)]) {
        let seen_as = seen.iter().map(|(t, name)| Seen { t: *t, name, il: self.il }).collect();
        self.plan.steps.push(Step { op, il: self.il, dev: self.dev(), seen_as });
    }

    /// This layer's weight, if the file has it; rotation factors and the like are bound per layer too.
    pub fn get(&self, role: Role) -> Option<WeightId> {
        self.m.weight(self.il(), role)
    }
    /// A weight that binding guaranteed.
    pub fn need(&self, role: Role) -> WeightId {
        self.get(role).unwrap_or_else(|| panic!("{} of layer {} was not bound", role.name(), self.il))
    }

    /// Goes to a layer; where that is on another device the stream is summed and moved there.
    pub fn enter(&mut self, il: i16, place: usize, s: Stream) -> Stream {
        if place == self.place {
            self.at(il, place);
            return s;
        }
        let width = self.plan.value(s.x).width;
        let x = match s.add {
            None => s.x,
            Some(y) => {
                let out = self.value(width, s.rows);
                self.step(Op::Map { x: s.x, y: Some(y), f: MapFn::Add, out }, &[(out, "l_out")]);
                out
            }
        };
        self.at(il, place);
        let out = self.value(width, s.rows);
        self.step(Op::Move { x, out }, &[]);
        Stream { x: out, add: None, rows: s.rows }
    }

    /// The stream summed (seen as `sum_name` of the layer that made it) and its norm.
    pub fn add_norm(&mut self, s: Stream, role: Role, sum_name: &'static str, name: &'static str) -> (T, T) {
        let width = self.plan.value(s.x).width;
        let sum = s.add.map(|_| self.value(width, s.rows));
        let out = self.value(width, s.rows);
        let (w, eps) = (Some(self.need(role)), self.m.hp.rms_eps);
        self.step(Op::Norm { x: s.x, add: s.add, w, b: None, kind: RMS, eps, sum, out }, &[(out, name)]);
        if let (Some(t), Some(step)) = (sum, self.plan.steps.last_mut()) {
            let last = self.m.layers.len() as i16 - 1;
            let il = if sum_name == "l_out" { if step.il < 0 { last } else { step.il - 1 } } else { step.il };
            step.seen_as.push(Seen { t, name: sum_name, il });
        }
        (sum.unwrap_or(s.x), out)
    }

    pub fn norm(&mut self, x: T, role: Role, name: &'static str) -> T {
        let v = self.plan.value(x);
        let (width, rows) = (v.width, v.rows);
        let out = self.value(width, rows);
        let (w, eps) = (Some(self.need(role)), self.m.hp.rms_eps);
        self.step(Op::Norm { x, add: None, w, b: None, kind: RMS, eps, sum: None, out }, &[(out, name)]);
        out
    }

    /// The rows whose outputs are wanted.
    pub fn rows(&mut self, x: T) -> T {
        let out = self.value(self.plan.value(x).width, Dim::Outputs);
        self.step(Op::Rows { x, out }, &[]);
        out
    }
}
