//! Steps on the devices that have what they need, weights or rows of K and V, and the values that have to cross for that. Pure: knows where things
//! are, not what they are. Blocks write a plan as if every layer were in one place; this is where exceptions are met.
use super::{DeviceId, GroupId, Op, Plan, Step, T, WeightId};
use std::collections::HashMap;

/// Where things are.
pub struct Whereabouts<'a> {
    pub weights: &'a [DeviceId],
    /// Of a layer's rows of a group.
    pub rows: &'a dyn Fn(GroupId, i16) -> Option<DeviceId>,
    /// Where products with weights of the CPU are made instead, for batches that are worth bringing those over (`op_offload`).
    pub stream: Option<DeviceId>,
}

/// A plan whose every step can run where it is.
pub struct Settled {
    pub plan: Plan,
    /// Weights that are wanted on another device too: their copies there are numbered from the last weight on.
    pub copies: Vec<(WeightId, DeviceId)>,
    /// Under which name the results are.
    names: HashMap<T, T>,
}

impl Settled {
    pub fn name(&self, t: T) -> T {
        self.names.get(&t).copied().unwrap_or(t)
    }
}

/// Steps in a row on one device, and what is brought there before.
struct Run {
    dev: DeviceId,
    moves: Vec<Step>,
    steps: Vec<Step>,
}

struct Settler<'a> {
    at: &'a Whereabouts<'a>,
    plan: Plan,
    runs: Vec<Run>,
    /// On which devices a value is, under which names; the first has made it.
    there: HashMap<T, Vec<(DeviceId, T)>>,
    /// Values that are others, on another device.
    same: HashMap<T, T>,
    copies: Vec<(WeightId, DeviceId)>,
}

impl Plan {
    /// Every step where its matrices are, else where its rows are, else in its layer's place, unless nothing of what it reads is there.
    pub fn settle(&self, at: &Whereabouts<'_>) -> Settled {
        let plan = Plan { values: self.values.clone(), steps: Vec::new(), watched: self.watched };
        let mut s = Settler { at, plan, runs: Vec::new(), there: HashMap::new(), same: HashMap::new(), copies: Vec::new() };
        self.steps.iter().for_each(|step| s.step(step));
        for mut run in s.runs {
            s.plan.steps.append(&mut run.moves);
            s.plan.steps.append(&mut run.steps);
        }
        let names = s.there.iter().map(|(t, all)| (*t, all[0].1));
        let names: HashMap<T, T> = names.chain(s.same.iter().filter_map(|(t, of)| Some((*t, s.there.get(of)?[0].1)))).collect();
        Settled { plan: s.plan, copies: s.copies, names }
    }
}

impl Settler<'_> {
    fn step(&mut self, step: &Step) {
        if let Op::Move { x, out } = step.op {
            self.run_on(step.dev);
            self.bring(x, step.dev, step.il);
            self.same.insert(out, self.root(x));
            return;
        }
        for op in self.divided(&step.op) {
            let dev = self.device(&op, step);
            self.place(Step { op, dev, ..step.clone() });
        }
    }

    /// Products whose matrices are on several devices become a step on each.
    fn divided(&self, op: &Op) -> Vec<Op> {
        match op {
            Op::Linear { x, outs, fine } => {
                let parts = by_device(outs, |p| self.at.weights[p.w.0 as usize]);
                parts.into_iter().map(|outs| Op::Linear { x: *x, outs, fine: *fine }).collect()
            }
            Op::AddLow { deltas } => {
                let of = |d: &super::Delta| d.parts.first().map_or(DeviceId(0), |p| self.at.weights[p.b.0 as usize]);
                by_device(deltas, of).into_iter().map(|deltas| Op::AddLow { deltas }).collect()
            }
            op => vec![op.clone()],
        }
    }

    fn device(&self, op: &Op, step: &Step) -> DeviceId {
        if let Some(w) = op.bound_to() {
            let at = self.at.weights[w.0 as usize];
            return self.at.stream.filter(|_| at == CPU && is_product(op)).unwrap_or(at);
        }
        if let Some((group, il)) = op.rows_of(step.il) {
            return (self.at.rows)(group, il).unwrap_or(step.dev);
        }
        let inputs = op.inputs();
        // Inputs of the plan come wherever they are wanted.
        let is_at = |t: &T, dev: DeviceId| self.there.get(&self.root(*t)).is_none_or(|all| all.iter().any(|a| a.0 == dev));
        if inputs.iter().any(|t| is_at(t, step.dev)) || !op.clone().weights_mut().is_empty() {
            return step.dev;
        }
        let first = inputs.first().and_then(|t| self.there.get(&self.root(*t))).into_iter().flatten();
        first.map(|a| a.0).find(|dev| inputs.iter().all(|t| is_at(t, *dev))).unwrap_or(step.dev)
    }

    fn place(&mut self, mut step: Step) {
        let (dev, il) = (step.dev, step.il);
        self.run_on(dev);
        let mut read = Vec::new();
        for t in step.op.inputs_mut() {
            let root = self.root(*t);
            *t = self.bring(root, dev, il);
            read.push((*t, root));
        }
        let streamed = self.at.stream == Some(dev) && is_product(&step.op);
        for w in step.op.weights_mut() {
            if !streamed || self.at.weights[w.0 as usize] != CPU {
                *w = self.weight(*w, dev);
            }
        }
        // What changes in place is what it was nowhere else.
        for t in step.op.outputs() {
            let root = read.iter().find(|r| r.0 == t).map_or(t, |r| r.1);
            self.plan.values[t.0 as usize].dev = dev;
            self.there.insert(root, vec![(dev, t)]);
        }
        let outputs = step.op.outputs();
        for seen in &mut step.seen_as {
            let now = self.there.get(&self.root(seen.t)).map_or(seen.t, |all| all[0].1);
            seen.t = now;
        }
        step.seen_as.retain(|s| outputs.contains(&s.t));
        if let Some(run) = self.runs.last_mut() {
            run.steps.push(step);
        }
    }

    fn root(&self, t: T) -> T {
        self.same.get(&t).copied().unwrap_or(t)
    }

    fn run_on(&mut self, dev: DeviceId) {
        if self.runs.last().is_none_or(|r| r.dev != dev) {
            self.runs.push(Run { dev, moves: Vec::new(), steps: Vec::new() });
        }
    }

    /// The name of a value on the device of the run at hand. Elsewhere it was made in an earlier run, so it can cross before this one begins.
    fn bring(&mut self, t: T, dev: DeviceId, il: i16) -> T {
        let root = self.root(t);
        if !self.there.contains_key(&root) {
            // An input of the plan.
            self.plan.values[root.0 as usize].dev = dev;
        }
        let all = self.there.entry(root).or_insert_with(|| vec![(dev, root)]);
        if let Some((_, name)) = all.iter().find(|a| a.0 == dev) {
            return *name;
        }
        let (x, value) = (all[0].1, self.plan.values[root.0 as usize].clone());
        let out = T(self.plan.values.len() as u32);
        all.push((dev, out));
        self.plan.values.push(super::Value { dev, ..value });
        if let Some(run) = self.runs.last_mut() {
            run.moves.push(Step { op: Op::Move { x, out }, il, dev, seen_as: Vec::new() });
        }
        out
    }

    fn weight(&mut self, w: WeightId, dev: DeviceId) -> WeightId {
        if self.at.weights[w.0 as usize] == dev {
            return w;
        }
        let i = self.copies.iter().position(|c| *c == (w, dev)).unwrap_or_else(|| {
            self.copies.push((w, dev));
            self.copies.len() - 1
        });
        WeightId((self.at.weights.len() + i) as u32)
    }
}

const CPU: DeviceId = DeviceId(0);

fn is_product(op: &Op) -> bool {
    matches!(op, Op::Linear { .. } | Op::Heads { .. } | Op::Experts { .. })
}

/// In the order in which devices come up.
fn by_device<E: Clone>(list: &[E], device: impl Fn(&E) -> DeviceId) -> Vec<Vec<E>> {
    let mut parts: Vec<(DeviceId, Vec<E>)> = Vec::new();
    for e in list {
        let dev = device(e);
        match parts.iter_mut().find(|p| p.0 == dev) {
            Some(p) => p.1.push(e.clone()),
            None => parts.push((dev, vec![e.clone()])),
        }
    }
    parts.into_iter().map(|p| p.1).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Act, Dim, LowRank, MapFn, NormKind, Proj, Value};
    use super::*;

    const GPU: DeviceId = DeviceId(1);

    /// Writes steps with nothing said of devices but the layer's.
    #[derive(Default)]
    struct Pen(Plan);

    impl Pen {
        fn value(&mut self) -> T {
            self.0.values.push(Value { width: 4, rows: Dim::Tokens, dev: CPU });
            T(self.0.values.len() as u32 - 1)
        }
        fn step(&mut self, op: Op, dev: DeviceId) {
            self.0.steps.push(Step { op, il: 0, dev, seen_as: Vec::new() });
        }
        fn linear(&mut self, x: T, weights: &[u32], dev: DeviceId) -> Vec<T> {
            let outs: Vec<T> = weights.iter().map(|_| self.value()).collect();
            let projs = weights.iter().zip(&outs).map(|(w, t)| Proj::plain(WeightId(*w), *t)).collect();
            self.step(Op::Linear { x, outs: projs, fine: false }, dev);
            outs
        }
        fn norm(&mut self, x: T, w: u32, dev: DeviceId) -> T {
            let out = self.value();
            let (w, kind) = (Some(WeightId(w)), NormKind::Rms);
            self.step(Op::Norm { x, add: None, w, b: None, kind, eps: 0.0, sum: None, out }, dev);
            out
        }
        fn add(&mut self, x: T, y: T, dev: DeviceId) -> T {
            let out = self.value();
            self.step(Op::Map { x, y: Some(y), f: MapFn::Add, out }, dev);
            out
        }
    }

    /// A step as its name and device.
    fn told(p: &Plan) -> Vec<(&'static str, u16)> {
        p.steps.iter().map(|s| (s.op.name(), s.dev.0)).collect()
    }

    fn settle(p: &Plan, weights: &[DeviceId]) -> Settled {
        let s = p.settle(&Whereabouts { weights, rows: &|_, _| None, stream: None });
        for step in &s.plan.steps {
            let at = |t: &T| s.plan.value(*t).dev == step.dev;
            let moves = matches!(step.op, Op::Move { .. });
            assert!(moves || step.op.inputs().iter().all(at), "{step:?} reads what is elsewhere");
            assert!(step.op.outputs().iter().all(at), "{step:?} makes what is elsewhere");
        }
        s
    }

    #[test]
    fn one_device_changes_nothing() {
        let mut p = Pen::default();
        let x = p.value();
        let n = p.norm(x, 0, CPU);
        let y = p.linear(n, &[1, 2], CPU)[0];
        p.add(x, y, CPU);
        let s = settle(&p.0, &[CPU; 3]);
        assert_eq!(told(&s.plan), [("norm", 0), ("linear", 0), ("map", 0)]);
        assert!(s.copies.is_empty() && s.name(y) == y);
    }

    /// FFN on the CPU in a layer of the GPU: what goes in crosses once, what is between its products stays, the sum is the layer's.
    #[test]
    fn a_step_is_where_its_matrix_is() {
        let mut p = Pen::default();
        let x = p.value();
        let n = p.norm(x, 0, GPU);
        let [gate, up] = p.linear(n, &[1, 2], GPU)[..] else { panic!("two") };
        let out = p.value();
        p.step(Op::Glu { gate, up, act: Act::Silu, out }, GPU);
        let down = p.linear(out, &[3], GPU)[0];
        let sum = p.add(x, down, GPU);
        p.norm(sum, 0, GPU);
        let s = settle(&p.0, &[GPU, CPU, CPU, CPU]);
        let want = [("norm", 1), ("move", 0), ("linear", 0), ("glu", 0), ("linear", 0), ("move", 1), ("map", 1), ("norm", 1)];
        assert_eq!(told(&s.plan), want);
        assert_eq!(s.plan.segments().len(), 5, "runs are not cut by what is brought to them");
    }

    #[test]
    fn products_of_two_devices_are_two_steps_and_small_weights_follow() {
        let mut p = Pen::default();
        let x = p.value();
        let n = p.norm(x, 0, GPU);
        let outs = p.linear(n, &[1, 2, 1], GPU);
        p.add(outs[0], outs[1], GPU);
        let s = settle(&p.0, &[CPU, GPU, CPU]);
        assert_eq!(told(&s.plan), [("norm", 1), ("linear", 1), ("move", 0), ("linear", 0), ("move", 1), ("map", 1)]);
        assert_eq!(s.copies, [(WeightId(0), GPU)], "the norm's weight, and no matrix");
        let Op::Norm { w, .. } = s.plan.steps[0].op else { panic!("a norm") };
        assert_eq!(w, Some(WeightId(3)));
    }

    /// What changes in place elsewhere goes on from there.
    #[test]
    fn values_changed_in_place_have_one_home() {
        let mut p = Pen::default();
        let x = p.value();
        let y = p.linear(x, &[0], GPU)[0];
        p.step(Op::Rope { x: y, n_head: 1, norm: None, rope: None }, GPU);
        let deltas =
            vec![super::super::Delta { out: y, by: None, parts: vec![super::super::Low { z: x, b: WeightId(1), first: 0, scale: 1.0 }] }];
        p.step(Op::AddLow { deltas }, GPU);
        let z = p.linear(y, &[0], GPU)[0];
        let s = settle(&p.0, &[GPU, CPU]);
        let last = |t| s.plan.steps.iter().rev().find(|step| step.op.outputs().contains(&t)).map(|step| (step.op.name(), step.dev));
        assert_eq!(last(s.name(y)), Some(("add_low", CPU)));
        let Op::Linear { x: read, .. } = s.plan.steps[s.plan.steps.len() - 1].op else { panic!("a product") };
        let moved = s.plan.steps.iter().find_map(|step| match step.op {
            Op::Move { x, out } if out == read => Some(x),
            _ => None,
        });
        assert_eq!((moved, s.name(z)), (Some(s.name(y)), z), "the changed value is what crosses back");
    }

    #[test]
    fn rows_hold_their_steps_and_layers_meet_once() {
        let mut p = Pen::default();
        let x = p.value();
        let a = p.norm(x, 0, CPU);
        let there = p.value();
        p.step(Op::Move { x: a, out: there }, GPU);
        let q = p.linear(there, &[1], GPU)[0];
        let out = p.value();
        p.step(Op::Attend { q, group: GroupId(0), spec: Default::default(), out }, GPU);
        p.add(there, out, GPU);
        let s = p.0.settle(&Whereabouts { weights: &[CPU, GPU], rows: &|_, _| Some(CPU), stream: None });
        let want = [("norm", 0), ("move", 1), ("linear", 1), ("move", 0), ("attend", 0), ("move", 1), ("map", 1)];
        assert_eq!(told(&s.plan), want);
    }

    /// With weights that are brought over products leave the CPU, and nothing else does.
    #[test]
    fn streamed_products_are_where_they_are_wanted() {
        let mut p = Pen::default();
        let x = p.value();
        let n = p.norm(x, 0, CPU);
        let y = p.linear(n, &[1, 2], CPU)[0];
        p.add(n, y, CPU);
        let s = p.0.settle(&Whereabouts { weights: &[CPU; 3], rows: &|_, _| None, stream: Some(GPU) });
        assert_eq!(told(&s.plan), [("norm", 0), ("move", 1), ("linear", 1), ("move", 0), ("map", 0)]);
        assert!(s.copies.is_empty(), "the device reads them where they are");
    }

    /// Every id that a step has is seen by both: what is read, and what is changed.
    #[test]
    fn names_can_be_changed() {
        let low = LowRank { a: WeightId(7), b: WeightId(8), rank: 1, first: 0, scale: 1.0 };
        let mat = super::super::ExpertMat { w: WeightId(1), first: 0, rows: 1, scale: Some(WeightId(2)), bias: Some(WeightId(3)) };
        let [x, ids, weights, out] = [T(0), T(1), T(2), T(3)];
        let lows = [vec![low], vec![], vec![]];
        let mut op = Op::Experts { x, ids, weights, mats: [mat; 3], act: Act::Silu, weigh_inputs: false, lows, shown: None, out };
        assert_eq!(op.weights_mut().len(), 11);
        op.inputs_mut().into_iter().for_each(|t| t.0 += 10);
        assert_eq!(op.inputs(), [T(10), T(11), T(12)]);
    }
}
