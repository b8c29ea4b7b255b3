//! What an observer sees of a run: the values of a watched plan, as the nodes of the original's graph that make them, by its names. Nodes are
//! written down once per plan; their values are copied out of the backend only where somebody wants them. Knows nothing of C.
pub use crate::backend::{Act, NormKind};
use crate::backend::{Bound, ByWeight, Dim, Exec, Io, Lookup, MapFn, Op, Plan, Proj, Step, T, Ubatch, WeightId};
use platform::Result;
use platform::pool::Stop;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// Looks at a run. Called between steps, from the thread that decodes.
pub trait Watch: Send {
    /// Before a node is computed, without values: whether it is to be seen.
    fn wants(&mut self, node: &Node<'_>) -> bool;
    /// When it is computed: `false` ends the run.
    fn sees(&mut self, node: &Node<'_>) -> bool;
}

pub type Watcher = Arc<Mutex<dyn Watch>>;

/// What computes a node, in the original's words.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Add,
    Sub,
    Mul,
    Div,
    Scale,
    Clamp,
    Concat,
    GetRows,
    Norm(NormKind),
    MatMul,
    MatMulId,
    Rope,
    Attend,
    /// Indices of the largest.
    TopK,
    Glu(Act),
    Unary(Act),
    Tanh,
    /// What the original needs several nodes for.
    Custom,
}

/// A value or a weight: rows of rows of numbers, with strides in elements.
#[derive(Clone, Debug)]
pub struct Tensor<'a> {
    pub name: &'a str,
    pub ne: [usize; 3],
    /// In elements; of weights those of dense rows.
    pub stride: [usize; 3],
    pub content: Content<'a>,
}

#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// A matrix of the model, wherever its bytes are.
    Weight(crate::backend::DType),
    /// Empty where it was not asked for.
    Floats(&'a [f32]),
    /// The bits of i32.
    Ints(&'a [f32]),
}

#[derive(Clone, Debug)]
pub struct Node<'a> {
    pub kind: Kind,
    pub out: Tensor<'a>,
    /// At least one.
    pub sources: Vec<Tensor<'a>>,
}

/// How the rows of a value are to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// [width, rows]
    Rows,
    /// [width / n, n, rows]
    Split(u32),
    /// [width / n, rows, n]
    Turned(u32),
}

#[derive(Clone, Debug)]
enum Origin {
    /// Side by side.
    Values(Vec<T>),
    /// Rows of the first, each times the numbers of the second: [n][width]
    Weighed(T, T),
    Ids(T),
    Tokens,
    Weight(WeightId),
}

#[derive(Clone, Debug)]
struct Piece {
    name: String,
    from: Origin,
    shape: Shape,
}

#[derive(Clone, Debug)]
struct Spec {
    kind: Kind,
    out: Piece,
    sources: Vec<Piece>,
}

/// The nodes of the steps of a part, in order.
pub struct Nodes {
    of_step: Vec<Vec<Spec>>,
    widths: HashMap<T, (usize, Dim)>,
    bound: Bound,
}

/// Writes nodes, remembering what values were called last.
struct Scribe<'a> {
    plan: &'a Plan,
    bound: &'a Bound,
    names: HashMap<T, String>,
    n: usize,
}

/// A plan's nodes, per step.
pub fn nodes(plan: &Plan, bound: &Bound) -> Vec<Nodes> {
    let mut scribe = Scribe { plan, bound, names: HashMap::new(), n: 0 };
    let all: Vec<Vec<Spec>> = plan.steps.iter().map(|s| scribe.step(s)).collect();
    let widths: HashMap<T, (usize, Dim)> = plan.values.iter().enumerate().map(|(i, v)| (T(i as u32), (v.width as usize, v.rows))).collect();
    let of = |steps: Range<usize>| Nodes { of_step: all[steps].to_vec(), widths: widths.clone(), bound: bound.clone() };
    let run = |s| if let crate::backend::Segment::Run { steps, .. } = s { Some(of(steps)) } else { None };
    plan.segments().into_iter().filter_map(run).collect()
}

impl Scribe<'_> {
    fn called(&mut self, s: &Step, t: T) -> String {
        let seen = s.seen_as.iter().find(|seen| seen.t == t);
        self.n += 1;
        let name = match seen {
            Some(seen) if seen.il >= 0 => format!("{}-{}", seen.name, seen.il),
            Some(seen) => seen.name.to_owned(),
            None => format!("node_{}", self.n),
        };
        self.names.insert(t, name.clone());
        name
    }
    fn shaped(&self, t: T, shape: Shape) -> Piece {
        Piece { name: self.names.get(&t).cloned().unwrap_or_default(), from: Origin::Values(vec![t]), shape }
    }
    fn value(&self, t: T) -> Piece {
        self.shaped(t, Shape::Rows)
    }
    fn weight(&self, w: WeightId) -> Piece {
        Piece { name: self.bound.weights[w.0 as usize].name.clone(), from: Origin::Weight(w), shape: Shape::Rows }
    }
    fn node(&mut self, s: &Step, kind: Kind, sources: Vec<Piece>, out: T) -> Spec {
        self.node_of(s, kind, sources, out, Shape::Rows)
    }
    fn node_of(&mut self, s: &Step, kind: Kind, sources: Vec<Piece>, out: T, shape: Shape) -> Spec {
        let name = self.called(s, out);
        Spec { kind, out: Piece { name, ..self.shaped(out, shape) }, sources }
    }

    fn step(&mut self, s: &Step) -> Vec<Spec> {
        match &s.op {
            Op::Store { .. } | Op::Shift { .. } => Vec::new(),
            Op::Move { x, out } => {
                self.names.insert(*out, self.names.get(x).cloned().unwrap_or_default());
                Vec::new()
            }
            Op::Embed { table, by, out, .. } => {
                let ids = Piece { name: "inp_tokens".into(), from: Origin::Tokens, shape: Shape::Rows };
                let by = (*by != Lookup::Positions).then_some(ids);
                vec![self.node(s, Kind::GetRows, [self.weight(*table)].into_iter().chain(by).collect(), *out)]
            }
            Op::Norm { x, add, w, kind, sum, out, .. } => self.norm(s, [Some(*x), *add], *w, *kind, *sum, *out),
            Op::Linear { x, outs, .. } => self.products(s, *x, outs),
            Op::AddLow { deltas } => deltas.iter().map(|d| self.node(s, Kind::Add, vec![self.value(d.out)], d.out)).collect(),
            Op::Rope { x, n_head, norm, rope } => {
                let kind = if rope.is_some() { Kind::Rope } else { norm.as_ref().map_or(Kind::Custom, |n| Kind::Norm(n.kind)) };
                let from = self.shaped(*x, Shape::Split(*n_head));
                vec![self.node_of(s, kind, vec![from], *x, Shape::Split(*n_head))]
            }
            Op::Attend { q, spec, out, .. } => {
                let from = self.shaped(*q, Shape::Split(spec.n_head));
                vec![self.node(s, Kind::Attend, vec![from], *out)]
            }
            Op::Pick { q, out, .. } => vec![self.ids(s, *q, *out)],
            Op::Route { logits, ids, weights, .. } => {
                vec![self.ids(s, *logits, *ids), self.node(s, Kind::Custom, vec![self.value(*logits)], *weights)]
            }
            Op::Experts { .. } => self.experts(s),
            Op::Heads { x, w, out } => {
                let n = self.bound.weights[w.0 as usize].shape[2];
                let sources = vec![self.weight(*w), self.shaped(*x, Shape::Turned(n))];
                vec![self.node_of(s, Kind::MatMul, sources, *out, Shape::Turned(n))]
            }
            Op::Gather { parts, out, .. } => {
                let sources = parts.iter().take(2).map(|p| self.value(p.x)).collect();
                vec![self.node(s, Kind::Concat, sources, *out)]
            }
            Op::Mix { x, coef, out, .. } => vec![self.node(s, Kind::Custom, vec![self.value(*x), self.value(*coef)], *out)],
            Op::Glu { gate, up, act, out } => {
                vec![self.node(s, Kind::Glu(*act), vec![self.value(*gate), self.value(*up)], *out)]
            }
            Op::Map { x, y, f, out } => {
                let (kind, w) = mapped(*f);
                let more = w.map(|w| self.weight(w)).or(y.map(|y| self.value(y)));
                vec![self.node(s, kind, [self.value(*x)].into_iter().chain(more).collect(), *out)]
            }
            Op::Rows { x, out } => vec![self.node(s, Kind::GetRows, vec![self.value(*x)], *out)],
        }
    }

    /// The sum is a node of its own.
    fn norm(&mut self, s: &Step, from: [Option<T>; 2], w: Option<WeightId>, kind: NormKind, sum: Option<T>, out: T) -> Vec<Spec> {
        let mut sources: Vec<Piece> = from.into_iter().flatten().map(|t| self.value(t)).collect();
        let mut all = Vec::new();
        if let Some(sum) = sum {
            all.push(self.node(s, Kind::Add, sources, sum));
            sources = vec![self.value(sum)];
        }
        let kind = if w.is_some() { Kind::Mul } else { Kind::Norm(kind) };
        sources.truncate(1);
        sources.extend(w.map(|w| self.weight(w)));
        all.push(self.node(s, kind, sources, out));
        all
    }

    /// One node per tensor of the file: Q, K and V may be rows of one.
    fn products(&mut self, s: &Step, x: T, outs: &[Proj]) -> Vec<Spec> {
        let name = |p: &Proj| &self.bound.weights[p.w.0 as usize].name;
        let together: Vec<&[Proj]> = outs.chunk_by(|a, b| name(a) == name(b)).collect();
        let mut all = Vec::new();
        for outs in together {
            let sources = vec![self.weight(outs[0].w), self.value(x)];
            let mut spec = self.node(s, Kind::MatMul, sources, outs[outs.len() - 1].out);
            outs.iter().for_each(|p| drop(self.called(s, p.out)));
            spec.out.from = Origin::Values(outs.iter().map(|p| p.out).collect());
            if outs.len() == 3 {
                spec.out.name = format!("wqkv-{}", s.il);
            }
            all.push(spec);
        }
        all
    }

    fn ids(&mut self, s: &Step, from: T, out: T) -> Spec {
        let mut spec = self.node(s, Kind::TopK, vec![self.value(from)], out);
        spec.out.from = Origin::Ids(out);
        spec
    }

    /// Products of experts, what is between them, and their sum.
    fn experts(&mut self, s: &Step) -> Vec<Spec> {
        let Op::Experts { x, ids, weights, mats, act, weigh_inputs, shown: Some(shown), out, .. } = &s.op else { return Vec::new() };
        let n = self.plan.value(*ids).width;
        let chosen = Piece { from: Origin::Ids(*ids), ..self.value(*ids) };
        let into = match weigh_inputs {
            true => Piece { from: Origin::Weighed(*x, *weights), ..self.shaped(*x, Shape::Split(n)) },
            false => self.shaped(*x, Shape::Split(1)),
        };
        let names = ["ffn_moe_gate", "ffn_moe_up", "ffn_moe_swiglu", "ffn_moe_down"].map(|name| format!("{name}-{}", s.il));
        shown.iter().zip(names).for_each(|(t, name)| drop(self.names.insert(*t, name)));
        let rank = |this: &Self, i: usize| this.shaped(shown[i], Shape::Split(n));
        let product = |this: &Self, i: usize, mat: usize, x: Piece| Spec {
            kind: Kind::MatMulId,
            out: rank(this, i),
            sources: vec![this.weight(mats[mat].w), x, chosen.clone()],
        };
        let (gated, fused) = (mats[0] != mats[1], mats[0].w == mats[1].w);
        let mut all = Vec::new();
        if gated && !fused {
            all.push(product(self, 0, 0, into.clone()));
        }
        let mut up = product(self, 1, 1, into);
        if gated && fused {
            up.out =
                Piece { name: format!("ffn_moe_gate_up-{}", s.il), from: Origin::Values(vec![shown[0], shown[1]]), shape: Shape::Rows };
        }
        all.push(up);
        let between = if gated { vec![rank(self, 0), rank(self, 1)] } else { vec![rank(self, 1)] };
        let kind = if gated { Kind::Glu(*act) } else { Kind::Unary(*act) };
        all.push(Spec { kind, out: rank(self, 2), sources: between });
        all.push(product(self, 3, 2, rank(self, 2)));
        all.push(self.node(s, Kind::Add, vec![rank(self, 3)], *out));
        all
    }
}

/// The original's op of an elementwise step, and the weight in it.
fn mapped(f: MapFn) -> (Kind, Option<WeightId>) {
    match f {
        MapFn::Add | MapFn::AddParts(_) | MapFn::Plus(_) => (Kind::Add, None),
        MapFn::Sub => (Kind::Sub, None),
        MapFn::Mul | MapFn::Gate | MapFn::GateSoftplus | MapFn::Temperature(_) => (Kind::Mul, None),
        MapFn::Weight(w, ByWeight::Mul) => (Kind::Mul, Some(w)),
        MapFn::Weight(w, ByWeight::Div) => (Kind::Div, Some(w)),
        MapFn::Weight(w, ByWeight::Add) => (Kind::Add, Some(w)),
        MapFn::Scale(_) => (Kind::Scale, None),
        MapFn::Clamp(_) => (Kind::Clamp, None),
        MapFn::Softcap(_) => (Kind::Tanh, None),
        MapFn::Act(a) => (Kind::Unary(a), None),
        MapFn::Rescale | MapFn::Sparse(_) | MapFn::Hide { .. } | MapFn::Hadamard(_) => (Kind::Custom, None),
    }
}

impl Nodes {
    /// Runs a part, step by step where somebody looks.
    pub fn run(&self, exec: &mut dyn Exec, io: &Io<'_>, watch: &Watcher) -> std::result::Result<(), Stop> {
        let mut watch = watch.lock().unwrap_or_else(|p| p.into_inner());
        let (n_steps, mut done) = (self.of_step.len(), 0);
        for (i, specs) in self.of_step.iter().enumerate() {
            let wanted: Vec<&Spec> = specs.iter().filter(|s| watch.wants(&self.unmade(s, io))).collect();
            if wanted.is_empty() {
                continue;
            }
            exec.run_steps(io, done, i + 1 - done)?;
            done = i + 1;
            for spec in wanted {
                let go_on = self.made(spec, exec, io, &mut *watch).map_err(|e| Stop::Failed(e.to_string()))?;
                if !go_on {
                    return Err(Stop::Aborted);
                }
            }
        }
        exec.run_steps(io, done, n_steps - done)
    }

    fn n(&self, io: &Io<'_>, t: T) -> usize {
        if self.widths[&t].1 == Dim::Tokens { io.ub.n_tokens() } else { io.outputs.len() }
    }

    /// The tensor of a piece whose numbers are `content`.
    fn tensor<'a>(&'a self, p: &'a Piece, io: &Io<'_>, content: &'a [f32]) -> Tensor<'a> {
        let (width, rows, content) = match &p.from {
            Origin::Weight(w) => {
                let weight = &self.bound.weights[w.0 as usize];
                let ne = weight.shape.map(|d| d as usize);
                let content = Content::Weight(weight.ty);
                return Tensor { name: &p.name, ne, stride: [1, ne[0], ne[0] * ne[1]], content };
            }
            Origin::Tokens => (io.ub.n_tokens(), 1, Content::Ints(content)),
            Origin::Ids(t) => (self.widths[t].0, self.n(io, *t), Content::Ints(content)),
            Origin::Weighed(x, w) => (self.widths[x].0 * self.widths[w].0, self.n(io, *x), Content::Floats(content)),
            Origin::Values(all) => (all.iter().map(|t| self.widths[t].0).sum(), self.n(io, all[0]), Content::Floats(content)),
        };
        let (ne, stride) = match p.shape {
            Shape::Rows => ([width, rows, 1], [1, width, width * rows]),
            Shape::Split(n) => ([width / n as usize, n as usize, rows], [1, width / n as usize, width]),
            Shape::Turned(n) => ([width / n as usize, rows, n as usize], [1, width, width / n as usize]),
        };
        Tensor { name: &p.name, ne, stride, content }
    }

    fn unmade<'a>(&'a self, s: &'a Spec, io: &Io<'_>) -> Node<'a> {
        Node { kind: s.kind, out: self.tensor(&s.out, io, &[]), sources: s.sources.iter().map(|p| self.tensor(p, io, &[])).collect() }
    }

    fn made(&self, s: &Spec, exec: &dyn Exec, io: &Io<'_>, watch: &mut dyn Watch) -> Result<bool> {
        let out = self.copy(&s.out, exec, io)?;
        let sources = s.sources.iter().map(|p| self.copy(p, exec, io)).collect::<Result<Vec<_>>>()?;
        let tensors = s.sources.iter().zip(&sources).map(|(p, v)| self.tensor(p, io, v)).collect();
        Ok(watch.sees(&Node { kind: s.kind, out: self.tensor(&s.out, io, &out), sources: tensors }))
    }

    fn read(&self, t: T, exec: &dyn Exec, io: &Io<'_>) -> Result<Vec<f32>> {
        let n = self.n(io, t);
        let mut v = platform::error::try_zeroed(n * self.widths[&t].0, "a value to look at")?;
        exec.read(t, 0..n, &mut v)?;
        Ok(v)
    }

    /// The numbers of a piece, rows after rows.
    fn copy(&self, p: &Piece, exec: &dyn Exec, io: &Io<'_>) -> Result<Vec<f32>> {
        match &p.from {
            Origin::Weight(_) => Ok(Vec::new()),
            Origin::Tokens => Ok(tokens(io.ub)),
            Origin::Ids(t) => self.read(*t, exec, io),
            Origin::Values(all) if all.len() == 1 => self.read(all[0], exec, io),
            Origin::Values(all) => {
                let parts = all.iter().map(|t| self.read(*t, exec, io)).collect::<Result<Vec<_>>>()?;
                let row = |i: usize| all.iter().zip(&parts).flat_map(move |(t, v)| &v[i * self.widths[t].0..][..self.widths[t].0]);
                Ok((0..self.n(io, all[0])).flat_map(row).copied().collect())
            }
            Origin::Weighed(x, w) => {
                let (rows, by) = (self.read(*x, exec, io)?, self.read(*w, exec, io)?);
                let (width, n) = (self.widths[x].0, self.widths[w].0);
                Ok(by.iter().enumerate().flat_map(|(i, by)| rows[i / n * width..][..width].iter().map(move |x| x * by)).collect())
            }
        }
    }
}

/// Zeros where the batch has embeddings.
fn tokens(ub: &Ubatch) -> Vec<f32> {
    (0..ub.n_tokens()).map(|i| f32::from_bits(ub.tokens.get(i).copied().unwrap_or(0) as u32)).collect()
}
