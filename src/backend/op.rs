//! The op vocabulary and the plan: data that blocks write and only a backend turns into kernels, barriers, copies.
use super::DeviceId;

/// A value (activation) of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct T(pub u32);
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WeightId(pub u32);
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub u16);

/// How many rows a value has; known when a ubatch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dim {
    Tokens,
    Outputs,
}

/// `[rows][width]` of f32 (expert ids are stored as f32-sized i32).
#[derive(Clone, Debug)]
pub struct Value {
    pub width: u32,
    pub rows: Dim,
    pub dev: DeviceId,
}

#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub values: Vec<Value>,
    pub steps: Vec<Step>,
    /// Every step is run by itself, and its values are there when it is done.
    pub watched: bool,
}

#[derive(Clone, Debug)]
pub struct Step {
    pub op: Op,
    /// Layer, -1 outside layers.
    pub il: i16,
    pub dev: DeviceId,
    /// The original's names of what this step makes ("Qcur", "l_out"), for observers.
    pub seen_as: Vec<Seen>,
}

/// A value under the original's name; `il` is the layer that the name belongs to (a layer's sum is made by the next one's norm).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub t: T,
    pub name: &'static str,
    pub il: i16,
}

/// One matrix of a `Linear`: `out = x w^T * scale + bias`, or `(x w^T + bias) * scale`.
#[derive(Clone, Debug)]
pub struct Proj {
    pub w: WeightId,
    pub bias: Option<WeightId>,
    /// One number.
    pub scale: Option<WeightId>,
    pub scale_after_bias: bool,
    pub out: T,
}

impl Proj {
    /// Without bias or scale.
    pub fn plain(w: WeightId, out: T) -> Proj {
        Proj { w, bias: None, scale: None, scale_after_bias: false, out }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    Rms,
    Layer,
}

/// Activation of a gated or plain FFN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    Silu,
    /// The tanh approximation.
    Gelu,
    Relu,
    /// max(x, 0)^2
    ReluSqr,
    /// Plain only.
    Sigmoid,
    /// Gated only: g sigmoid(1.702 g) (u + 1) with g at most 7 and u within 7 of 0 (gpt-oss).
    SwigluOai,
    /// Gated only: silu(g), at most that, times u within that of 0 (Step 3.5).
    SiluCut(f32),
    /// Gated only: silu of g, which is at most that, times u within that of 0 (Maple, DeepSeek 4).
    CutSilu(f32),
    /// Plain only (Huang and Schlag 2025).
    Xielu(Xielu),
}

/// Trained numbers of xIELU: `alpha_p x^2 + beta x` above 0, `alpha_n (expm1(min(x, eps)) - x) + beta x` below.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Xielu {
    pub alpha_n: f32,
    pub alpha_p: f32,
    pub beta: f32,
    pub eps: f32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeKind {
    /// Interleaved pairs (i, i + 1).
    Norm,
    /// Halves (i, i + n_rot / 2).
    Neox,
}

/// Rotary embedding with YaRN: Su et al. 2021 (RoFormer), Peng et al. 2023 (YaRN); parameters as in ggml_rope_ext.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeSpec {
    pub kind: RopeKind,
    /// The first element of a head that turns, and how many do.
    pub at: u32,
    pub n_rot: u32,
    pub freq_base: f32,
    pub freq_scale: f32,
    pub ext_factor: f32,
    pub attn_factor: f32,
    pub beta_fast: f32,
    pub beta_slow: f32,
    pub n_ctx_orig: u32,
    /// Per-frequency divisors [n_rot / 2] (Llama 3).
    pub factors: Option<WeightId>,
    /// `None`: all pairs are turned by a token's first position.
    pub sections: Option<Sections>,
}

/// How a token's four positions (M-RoPE: time, height, width, extra) share the pairs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sections {
    pub pairs: [u32; 4],
    /// The first three take turns instead of standing in blocks.
    pub interleaved: bool,
}

/// The norm of each head by itself.
#[derive(Clone, Debug)]
pub struct HeadNorm {
    /// The first elements that it is of; 0: the whole head.
    pub len: u32,
    /// [len], or [n_head][len]: one for each.
    pub w: Option<WeightId>,
    /// `w` is a number per head, [n_head].
    pub number: bool,
    /// [n_head][len]
    pub b: Option<WeightId>,
    pub kind: NormKind,
    pub eps: f32,
}

#[derive(Clone, Debug, Default)]
pub struct AttendSpec {
    pub n_head: u32,
    pub n_head_kv: u32,
    pub head_k: u32,
    pub head_v: u32,
    pub scale: f32,
    /// 0: none.
    pub softcap: f32,
    /// One logit per head that joins the denominator.
    pub sinks: Option<WeightId>,
    /// Largest exponent of the slopes by which scores fall with distance; 0: they do not.
    pub alibi: f32,
    /// What is added to scores by distance.
    pub buckets: Option<Buckets>,
    /// Reads that layer's rows instead of its own.
    pub layer: Option<i16>,
    /// Only what was picked is seen.
    pub among: Option<Among>,
}

/// How an index picks what a query will see: the best `top_k` blocks of positions by the best score of a cell in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PickSpec {
    pub n_head: u32,
    /// Elements of a head of queries, and of the one head of keys.
    pub head: u32,
    pub top_k: u32,
    /// Lists that a token's heads make: one together, by the sum of what they find above 0, each weighed; or one each, by what they find.
    pub n_list: u32,
    /// Positions of a block.
    pub block: u32,
    /// Blocks up to the token's own that are picked first.
    pub local: u32,
}

impl PickSpec {
    /// Numbers of a token: per list how many blocks there are, 0 for all of them, and which, ascending. [n_list][1 + top_k] of i32
    pub fn width(&self) -> u32 {
        self.n_list.saturating_mul(self.top_k.saturating_add(1))
    }
}

/// What `Op::Pick` made with such a spec. Each KV head has a list of its own, or all have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Among {
    pub picks: T,
    pub n_list: u32,
    pub top_k: u32,
    pub block: u32,
}

/// A number per head and bucket of distances: [n][n_head].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buckets {
    pub w: WeightId,
    pub n: u32,
    /// Half of them are for what stands behind the query.
    pub both_sides: bool,
}

impl Buckets {
    /// Positions further apart than this are in the last bucket.
    pub const FAR: i32 = 128;

    /// The bucket of a cell `apart` positions behind the query, negative before it (Raffel et al. 2020): near ones have one each, the rest are a
    /// geometric row. In the original's mixture of f32 and f64, which decides at the borders.
    pub fn of(&self, apart: i32) -> u32 {
        let n = if self.both_sides { self.n / 2 } else { self.n };
        let first = if self.both_sides && apart > 0 { n } else { 0 };
        let far = if self.both_sides { apart.unsigned_abs() } else { apart.min(0).unsigned_abs() };
        let exact = n / 2;
        if far < exact {
            return first + far;
        }
        let (log, steps) = ((f64::from(far) / f64::from(exact)) as f32, (n - exact) as f32);
        let more = f64::from(log.ln() * steps) / (f64::from(Self::FAR) / f64::from(exact)).ln();
        first + ((f64::from(exact) + more) as f32).floor().clamp(0.0, (n - 1) as f32) as u32
    }
}

/// The slope of head `h` of `n` (Press et al. 2022): a geometric row over the largest power of two of heads, the rest in between.
pub fn alibi_slope(max: f32, h: u32, n: u32) -> f32 {
    let whole = 1 << n.max(1).ilog2();
    let base = |m: f32| (-m / whole as f32).exp2();
    if h < whole { base(max).powi(h as i32 + 1) } else { base(max / 2.0).powi((2 * (h - whole) + 1) as i32) }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Over all experts, before the choice.
    Softmax,
    Sigmoid,
    /// Over the chosen ones.
    SoftmaxWeight,
}

#[derive(Clone, Debug)]
pub struct RouteSpec {
    pub n_expert: u32,
    pub n_used: u32,
    pub gate: Gate,
    /// The choice goes by the bare logits (Llama 4).
    pub by_logit: bool,
    /// Added to what is chosen by, not to the weights (DeepSeek 3): [n_expert].
    pub bias: Option<WeightId>,
    /// Divide the chosen weights by their sum.
    pub renorm: bool,
    /// 0 or 1: none.
    pub scale: f32,
    /// Experts come from the best `n_group_used` of `n_group` groups; 0 and 1: no groups.
    pub n_group: u32,
    pub n_group_used: u32,
    /// So many experts share the chunk that is meant: ids are of chunks, and so are the places that weights are taken from (Grove MoE).
    pub each: u32,
}

/// What a weight does to a value: each of its numbers is for as many neighbours as there are to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByWeight {
    Mul,
    Div,
    Add,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MapFn {
    /// x + y
    Add,
    /// x - y
    Sub,
    /// x * y
    Mul,
    /// x * sigmoid(y); `y` as wide as `x`, or a number per row, or one per head: each is for as many neighbours as there are to it.
    Gate,
    /// x * ln(1 + e^y), `y` as for `Gate`.
    GateSoftplus,
    /// `y` is added to each part of `x` as wide as itself, but not to the first so many.
    AddParts(u32),
    /// Each part of `x` as wide as `y` scaled to the length of `y` (Euclidean).
    Rescale,
    Weight(WeightId, ByWeight),
    /// x * s
    Scale(f32),
    /// x + s
    Plus(f32),
    /// How far x is above mean + s * deviation of its row, else 0 (Gemma 3n).
    Sparse(f32),
    /// Columns `from..to` become the least finite number, of all rows or of the first alone.
    Hide {
        from: u32,
        to: u32,
        first_only: bool,
    },
    /// x held within s of 0.
    Clamp(f32),
    /// cap * tanh(x / cap)
    Softcap(f32),
    Act(Act),
    /// The orthonormal Walsh-Hadamard transform of each part of so many, a power of two.
    Hadamard(u32),
    /// x * (scale * ln(floor((pos + offset) / span) + 1) + 1), `pos` the row's token's: attention temperature (Llama 4).
    Temperature(Temperature),
}

impl MapFn {
    /// Takes a second value.
    pub fn is_binary(self) -> bool {
        matches!(self, MapFn::Add | MapFn::Sub | MapFn::Mul | MapFn::Gate | MapFn::GateSoftplus | MapFn::AddParts(_) | MapFn::Rescale)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Temperature {
    pub scale: f32,
    pub span: u32,
    pub offset: f32,
}

impl Temperature {
    /// The factor at a position.
    pub fn at(&self, pos: i32) -> f32 {
        let steps = ((pos as f32 + self.offset) / self.span as f32).floor();
        ((f64::from(steps) + 1.0).ln() * f64::from(self.scale) + 1.0) as f32
    }
}

/// What a row of a table is looked up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Token ids, or the batch's own embeddings unscaled.
    Tokens,
    /// Token ids; a batch of embeddings fails the run.
    TokensOnly,
    /// Token ids; embeddings stand for token 0.
    TokensOrFirst,
    /// Token ids; rows of embeddings are zeros.
    TokensOrNothing,
    /// Learned positions; one beyond the table fails the run.
    Positions,
    /// The first row, for all tokens.
    First,
}

/// A stack of expert matrices with one scale and one bias [rows] per expert where the file has them: `x w^T * scale + bias`.
/// It is `rows` rows from `first` of each matrix of `w`: gate and up may share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpertMat {
    pub w: WeightId,
    pub first: u32,
    pub rows: u32,
    pub scale: Option<WeightId>,
    pub bias: Option<WeightId>,
}

/// `len` columns of a value, from `first + i * step` on for the i-th time.
#[derive(Clone, Copy, Debug)]
pub struct Cols {
    pub x: T,
    pub first: u32,
    pub step: u32,
    pub len: u32,
}

/// What a low rank adds to products with a weight: `scale * (x a^T) b`. `a` is a weight of `rank` rows like any other; `b` is f32, `[experts][rank][rows]`, and
/// the weight's own rows are those from `first` on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LowRank {
    pub a: WeightId,
    pub b: WeightId,
    pub rank: u32,
    pub first: u32,
    pub scale: f32,
}

/// `scale * z b`, of `b` [rank][..] the columns from `first` on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Low {
    pub z: T,
    pub b: WeightId,
    pub first: u32,
    pub scale: f32,
}

/// What is added to a value: the sum of `parts`, in that order, each times the number `by` where there is one.
#[derive(Clone, Debug, PartialEq)]
pub struct Delta {
    pub out: T,
    pub by: Option<WeightId>,
    pub parts: Vec<Low>,
}

#[derive(Clone, Debug)]
pub enum Op {
    /// A table's rows times `scale`.
    Embed {
        table: WeightId,
        by: Lookup,
        scale: f32,
        out: T,
    },
    /// `sum = x + add` (when given), `out = norm(sum) * w + b`.
    Norm {
        x: T,
        add: Option<T>,
        w: Option<WeightId>,
        b: Option<WeightId>,
        kind: NormKind,
        eps: f32,
        sum: Option<T>,
        out: T,
    },
    /// One input, several matrices (qkv, gate + up); fusing is the backend's choice. `fine`: where inputs are rounded, what that lost
    /// goes through the matrices as well (twice the bits of an input, for a little more work).
    Linear {
        x: T,
        outs: Vec<Proj>,
        fine: bool,
    },
    /// In place: what adapters add to products.
    AddLow {
        deltas: Vec<Delta>,
    },
    /// In place: per-head norm, then rotation, on [n_head][width / n_head].
    Rope {
        x: T,
        n_head: u32,
        norm: Option<HeadNorm>,
        rope: Option<RopeSpec>,
    },
    /// This ubatch's rows into the group's planes of this layer.
    Store {
        group: GroupId,
        k: T,
        v: T,
    },
    Attend {
        q: T,
        group: GroupId,
        spec: AttendSpec,
        out: T,
    },
    /// Which of the group's cells each query will see, by its index's rows of this layer.
    Pick {
        q: T,
        /// [n_head], where the lists are one.
        weights: Option<T>,
        group: GroupId,
        spec: PickSpec,
        out: T,
    },
    /// Expert choice per token from router logits; `ids` (i32) and `weights` are [n_used] per token.
    Route {
        logits: T,
        spec: RouteSpec,
        ids: T,
        weights: T,
    },
    /// Sum over ranks, in rank order, of `weight * down(act(gate x) * up x)`; `mats` are gate, up, down, where gate is up without a gate:
    /// `down(act(up x))`. `weigh_inputs`: the weight goes on `x` instead (Llama 4).
    Experts {
        x: T,
        ids: T,
        weights: T,
        mats: [ExpertMat; 3],
        act: Act,
        weigh_inputs: bool,
        /// Beside each of `mats`.
        lows: [Vec<LowRank>; 3],
        /// For observers, per rank: gate, up, what goes into down and what comes out of it, [n_used][..] of each token.
        shown: Option<[T; 4]>,
        out: T,
    },
    /// Each head by a matrix of its own: `[heads][k]` times `[heads][k, rows]` is `[heads][rows]`.
    Heads {
        x: T,
        w: WeightId,
        out: T,
    },
    /// A row is `n` times the parts, one after the other.
    Gather {
        parts: Vec<Cols>,
        n: u32,
        out: T,
    },
    /// `out[i] = sum over j of coef[i][j] * x[j]`, rows of `width` of each token.
    Mix {
        x: T,
        coef: T,
        width: u32,
        out: T,
    },
    /// `act(gate) * up`.
    Glu {
        gate: T,
        up: T,
        act: Act,
        out: T,
    },
    Map {
        x: T,
        y: Option<T>,
        f: MapFn,
        out: T,
    },
    /// Keeps the rows whose outputs are wanted.
    Rows {
        x: T,
        out: T,
    },
    /// Applies pending K rotations of this layer (`Io::shifts`).
    Shift {
        group: GroupId,
        rope: RopeSpec,
        /// Rows are under a Hadamard transform of that length; 0: none.
        hadamard: u32,
    },
    /// Between devices; carried out by whoever runs the plan.
    Move {
        x: T,
        out: T,
    },
}

impl Op {
    pub fn name(&self) -> &'static str {
        match self {
            Op::Embed { .. } => "embed",
            Op::Norm { .. } => "norm",
            Op::Linear { .. } => "linear",
            Op::AddLow { .. } => "add_low",
            Op::Rope { .. } => "rope",
            Op::Store { .. } => "store",
            Op::Attend { .. } => "attend",
            Op::Pick { .. } => "pick",
            Op::Route { .. } => "route",
            Op::Experts { .. } => "experts",
            Op::Heads { .. } => "heads",
            Op::Gather { .. } => "gather",
            Op::Mix { .. } => "mix",
            Op::Glu { .. } => "glu",
            Op::Map { .. } => "map",
            Op::Rows { .. } => "rows",
            Op::Shift { .. } => "shift",
            Op::Move { .. } => "move",
        }
    }

    /// Weights that rows are multiplied with or looked up in.
    pub fn matrices(&self) -> Vec<WeightId> {
        match self {
            Op::Linear { outs, .. } => outs.iter().map(|p| p.w).collect(),
            Op::Embed { table, .. } => vec![*table],
            Op::Heads { w, .. } => vec![*w],
            Op::Experts { mats, lows, .. } => mats.iter().map(|m| m.w).chain(lows.iter().flatten().map(|l| l.a)).collect(),
            _ => vec![],
        }
    }

    /// Values read.
    pub fn inputs(&self) -> Vec<T> {
        match self {
            Op::Embed { .. } | Op::Shift { .. } => vec![],
            Op::Norm { x, add, .. } => [Some(*x), *add].into_iter().flatten().collect(),
            Op::Linear { x, .. } | Op::Rope { x, .. } | Op::Rows { x, .. } | Op::Move { x, .. } => vec![*x],
            Op::AddLow { deltas } => deltas.iter().flat_map(|d| d.parts.iter().map(|p| p.z).chain([d.out])).collect(),
            Op::Store { k, v, .. } => vec![*k, *v],
            Op::Attend { q, spec, .. } => [Some(*q), spec.among.map(|a| a.picks)].into_iter().flatten().collect(),
            Op::Pick { q, weights, .. } => [Some(*q), *weights].into_iter().flatten().collect(),
            Op::Route { logits, .. } => vec![*logits],
            Op::Experts { x, ids, weights, .. } => vec![*x, *ids, *weights],
            Op::Heads { x, .. } => vec![*x],
            Op::Gather { parts, .. } => parts.iter().map(|p| p.x).collect(),
            Op::Mix { x, coef, .. } => vec![*x, *coef],
            Op::Glu { gate, up, .. } => vec![*gate, *up],
            Op::Map { x, y, .. } => [Some(*x), *y].into_iter().flatten().collect(),
        }
    }

    /// Values made (or changed in place).
    pub fn outputs(&self) -> Vec<T> {
        match self {
            Op::Store { .. } | Op::Shift { .. } => vec![],
            Op::Norm { sum, out, .. } => [*sum, Some(*out)].into_iter().flatten().collect(),
            Op::Linear { outs, .. } => outs.iter().map(|p| p.out).collect(),
            Op::AddLow { deltas } => deltas.iter().map(|d| d.out).collect(),
            Op::Rope { x, .. } => vec![*x],
            Op::Route { ids, weights, .. } => vec![*ids, *weights],
            Op::Experts { shown, out, .. } => shown.iter().flatten().chain([out]).copied().collect(),
            Op::Embed { out, .. } | Op::Attend { out, .. } | Op::Glu { out, .. } => vec![*out],
            Op::Pick { out, .. } | Op::Heads { out, .. } | Op::Gather { out, .. } | Op::Mix { out, .. } => vec![*out],
            Op::Map { out, .. } | Op::Rows { out, .. } | Op::Move { out, .. } => vec![*out],
        }
    }
}

/// What ties a step to a device.
impl Op {
    /// The weight that is too large to be anywhere else.
    pub fn bound_to(&self) -> Option<WeightId> {
        match self {
            Op::AddLow { deltas } => deltas.iter().flat_map(|d| &d.parts).next().map(|p| p.b),
            op => op.matrices().first().copied(),
        }
    }

    /// The rows that a step of layer `il` reads or writes: of which layer.
    pub fn rows_of(&self, il: i16) -> Option<(GroupId, i16)> {
        match self {
            Op::Store { group, .. } | Op::Pick { group, .. } | Op::Shift { group, .. } => Some((*group, il)),
            Op::Attend { group, spec, .. } => Some((*group, spec.layer.unwrap_or(il))),
            _ => None,
        }
    }

    /// Values read, those of `inputs`.
    pub fn inputs_mut(&mut self) -> Vec<&mut T> {
        match self {
            Op::Embed { .. } | Op::Shift { .. } => vec![],
            Op::Norm { x, add, .. } => [x].into_iter().chain(add).collect(),
            Op::Linear { x, .. } | Op::Rope { x, .. } | Op::Rows { x, .. } | Op::Move { x, .. } | Op::Heads { x, .. } => vec![x],
            Op::AddLow { deltas } => deltas.iter_mut().flat_map(|d| d.parts.iter_mut().map(|p| &mut p.z).chain([&mut d.out])).collect(),
            Op::Store { k, v, .. } => vec![k, v],
            Op::Attend { q, spec, .. } => [q].into_iter().chain(spec.among.as_mut().map(|a| &mut a.picks)).collect(),
            Op::Pick { q, weights, .. } => [q].into_iter().chain(weights).collect(),
            Op::Route { logits, .. } => vec![logits],
            Op::Experts { x, ids, weights, .. } => vec![x, ids, weights],
            Op::Gather { parts, .. } => parts.iter_mut().map(|p| &mut p.x).collect(),
            Op::Mix { x, coef, .. } => vec![x, coef],
            Op::Glu { gate, up, .. } => vec![gate, up],
            Op::Map { x, y, .. } => [x].into_iter().chain(y).collect(),
        }
    }

    /// All weights read.
    pub fn weights_mut(&mut self) -> Vec<&mut WeightId> {
        match self {
            Op::Embed { table: w, .. } | Op::Heads { w, .. } | Op::Map { f: MapFn::Weight(w, _), .. } => vec![w],
            Op::Norm { w, b, .. } => w.iter_mut().chain(b).collect(),
            Op::Linear { outs, .. } => {
                outs.iter_mut().flat_map(|p| [&mut p.w].into_iter().chain(&mut p.bias).chain(&mut p.scale)).collect()
            }
            Op::AddLow { deltas } => deltas.iter_mut().flat_map(|d| d.by.iter_mut().chain(d.parts.iter_mut().map(|p| &mut p.b))).collect(),
            Op::Rope { norm, rope, .. } => {
                let norm = norm.iter_mut().flat_map(|n| n.w.iter_mut().chain(&mut n.b));
                norm.chain(rope.iter_mut().flat_map(|r| &mut r.factors)).collect()
            }
            Op::Shift { rope, .. } => rope.factors.iter_mut().collect(),
            Op::Attend { spec, .. } => spec.sinks.iter_mut().chain(spec.buckets.as_mut().map(|b| &mut b.w)).collect(),
            Op::Route { spec, .. } => spec.bias.iter_mut().collect(),
            Op::Experts { mats, lows, .. } => {
                let mats = mats.iter_mut().flat_map(|m| [&mut m.w].into_iter().chain(&mut m.scale).chain(&mut m.bias));
                mats.chain(lows.iter_mut().flatten().flat_map(|l| [&mut l.a, &mut l.b])).collect()
            }
            Op::Store { .. } | Op::Pick { .. } | Op::Gather { .. } | Op::Mix { .. } | Op::Glu { .. } => vec![],
            Op::Map { .. } | Op::Rows { .. } | Op::Move { .. } => vec![],
        }
    }
}

impl Op {
    /// Of the values made, those that are gone when the next step runs.
    pub fn shown(&self) -> &[T] {
        match self {
            Op::Experts { shown: Some(all), .. } => all,
            _ => &[],
        }
    }
}

impl Plan {
    pub fn value(&self, t: T) -> &Value {
        &self.values[t.0 as usize]
    }

    /// Runs of steps on one device; a `Move` ends the run before it and stands in no run.
    pub fn segments(&self) -> Vec<Segment> {
        let mut out: Vec<Segment> = Vec::new();
        for (i, s) in self.steps.iter().enumerate() {
            if let Op::Move { x, out: to } = s.op {
                out.push(Segment::Move { x, to });
                continue;
            }
            match out.last_mut() {
                Some(Segment::Run { dev, steps }) if *dev == s.dev => steps.end = i + 1,
                _ => out.push(Segment::Run { dev: s.dev, steps: i..i + 1 }),
            }
        }
        out
    }
}

#[derive(Clone, Debug)]
pub enum Segment {
    Run { dev: DeviceId, steps: std::ops::Range<usize> },
    Move { x: T, to: T },
}
