//! Which type a tensor gets. A mix (`llama_ftype`) has a type of its own; kinds of tensors that bear less, or more, get another: the rules are the
//! original's, in its order, and some of them count the tensors they have seen.
use super::Params;
use super::names::{self, Kind};
use super::sizes::{BAILINGMOE3, FALCON, GLM5_NEXT, Sizes};
use crate::gguf::{DType, TensorInfo};
use DType::*;
use platform::{Error, Result, log};

/// `llama_ftype` under its own names, with its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[allow(non_camel_case_types, reason = "the field's names")]
pub enum Mix {
    F32 = 0,
    F16 = 1,
    Q4_0 = 2,
    Q4_1 = 3,
    Q8_0 = 7,
    Q5_0 = 8,
    Q5_1 = 9,
    Q2_K = 10,
    Q3_K_S = 11,
    Q3_K_M = 12,
    Q3_K_L = 13,
    Q4_K_S = 14,
    Q4_K_M = 15,
    Q5_K_S = 16,
    Q5_K_M = 17,
    Q6_K = 18,
    IQ2_XXS = 19,
    IQ2_XS = 20,
    Q2_K_S = 21,
    IQ3_XS = 22,
    IQ3_XXS = 23,
    IQ1_S = 24,
    IQ4_NL = 25,
    IQ3_S = 26,
    IQ3_M = 27,
    IQ2_S = 28,
    IQ2_M = 29,
    IQ4_XS = 30,
    IQ1_M = 31,
    BF16 = 32,
    TQ1_0 = 36,
    TQ2_0 = 37,
    MXFP4_MOE = 38,
    Q1_0 = 40,
    Q2_0 = 41,
}

/// Every mix and its own type.
const MIXES: &[(Mix, DType)] = &[
    (Mix::F32, F32),
    (Mix::F16, F16),
    (Mix::Q4_0, Q4_0),
    (Mix::Q4_1, Q4_1),
    (Mix::Q8_0, Q8_0),
    (Mix::Q5_0, Q5_0),
    (Mix::Q5_1, Q5_1),
    (Mix::Q2_K, Q2_K),
    (Mix::Q3_K_S, Q3_K),
    (Mix::Q3_K_M, Q3_K),
    (Mix::Q3_K_L, Q3_K),
    (Mix::Q4_K_S, Q4_K),
    (Mix::Q4_K_M, Q4_K),
    (Mix::Q5_K_S, Q5_K),
    (Mix::Q5_K_M, Q5_K),
    (Mix::Q6_K, Q6_K),
    (Mix::IQ2_XXS, IQ2_XXS),
    (Mix::IQ2_XS, IQ2_XS),
    (Mix::Q2_K_S, Q2_K),
    (Mix::IQ3_XS, IQ3_S),
    (Mix::IQ3_XXS, IQ3_XXS),
    (Mix::IQ1_S, IQ1_S),
    (Mix::IQ4_NL, IQ4_NL),
    (Mix::IQ3_S, IQ3_S),
    (Mix::IQ3_M, IQ3_S),
    (Mix::IQ2_S, IQ2_XS),
    (Mix::IQ2_M, IQ2_S),
    (Mix::IQ4_XS, IQ4_XS),
    (Mix::IQ1_M, IQ1_M),
    (Mix::BF16, BF16),
    (Mix::TQ1_0, TQ1_0),
    (Mix::TQ2_0, TQ2_0),
    (Mix::MXFP4_MOE, MXFP4),
    (Mix::Q1_0, Q1_0),
    (Mix::Q2_0, Q2_0),
];

impl Mix {
    /// `None`: no mix has this number, or none that can be made.
    pub fn from_number(n: u32) -> Option<(Mix, DType)> {
        MIXES.iter().find(|m| m.0 as u32 == n).copied()
    }
    /// Two bits and less.
    fn is_tiny(self) -> bool {
        matches!(self, Mix::IQ2_XXS | Mix::IQ2_XS | Mix::IQ2_S | Mix::IQ2_M | Mix::IQ1_S | Mix::IQ1_M)
    }
}

/// Chooses for the tensors of one model, in their order.
pub struct Chooser<'a> {
    params: &'a Params,
    sizes: &'a Sizes,
    mix: Mix,
    own: DType,
    /// No tensor is the output alone: the embeddings are both.
    tied: bool,
    /// How many tensors with V there are.
    n_v: i32,
    seen_v: i32,
    seen_down: i32,
    seen_gate: i32,
    seen_up: i32,
    /// Tensors whose rows did not fit the type they should have.
    pub fallbacks: usize,
}

/// The first and last eighth, and every third between.
fn more_bits(layer: i32, n: i32) -> bool {
    layer < n / 8 || layer >= 7 * n / 8 || (layer - n / 8) % 3 == 2
}

impl<'a> Chooser<'a> {
    pub fn new<'n>(params: &'a Params, sizes: &'a Sizes, names: impl Iterator<Item = &'n str> + Clone) -> Result<Chooser<'a>> {
        let unknown = || Error::invalid(format!("invalid output file type {}", params.ftype));
        let (mix, own) = Mix::from_number(params.ftype).ok_or_else(unknown)?;
        let n_v = names.clone().filter(|n| Kind::of(n).is_v()).count() as i32;
        let tied = !names.clone().any(|n| Kind::of(n) == Kind::Output);
        Ok(Chooser { params, sizes, mix, own, tied, n_v, seen_v: 0, seen_down: 0, seen_gate: 0, seen_up: 0, fallbacks: 0 })
    }

    /// The type of a tensor that is written as `name`.
    pub fn choose(&mut self, name: &str, t: &TensorInfo) -> Result<DType> {
        let p = self.params;
        let n_dims = t.shape.iter().rposition(|ne| *ne > 1).map_or(1, |i| i + 1);
        let kept = p.keep_output && name == "output.weight";
        if p.only_copy || n_dims < 2 || kept || !names::may_change(name, &self.sizes.arch) {
            return Ok(t.ty);
        }
        let kind = Kind::of(name);
        let named = self.named(name);
        match (kind, p.embedding, p.output) {
            // A table of its own, often the largest: a pattern may say otherwise.
            (Kind::Embedding, Some(ty), _) if name != names::PER_LAYER_EMBEDDING || named.is_none() => return Ok(ty),
            (Kind::Output, _, Some(ty)) => return Ok(ty),
            _ if !self.own.is_quantized() => return Ok(self.own),
            _ => {}
        }
        let wanted = match named {
            Some(ty) => ty,
            None if p.pure => self.own,
            None => self.mixed(name, t, kind)?,
        };
        self.that_fits(name, t, wanted)
    }

    /// What the first fitting pattern says.
    fn named(&self, name: &str) -> Option<DType> {
        self.params.types.iter().find(|(pattern, _)| pattern.find(name.as_bytes()).is_some()).map(|(_, ty)| *ty)
    }

    /// As the mix has it.
    fn mixed(&mut self, name: &str, t: &TensorInfo, kind: Kind) -> Result<DType> {
        let high = ["attn_q_a", "attn_q_b", "nextn.eh_proj"];
        if self.sizes.arch == GLM5_NEXT && high.iter().any(|part| name.contains(part)) {
            return Ok(Q8_0);
        }
        if kind == Kind::Output || self.tied && kind == Kind::Embedding {
            return Ok(self.output(t));
        }
        if self.mix == Mix::MXFP4_MOE {
            let expert = matches!(kind, Kind::FfnUp | Kind::FfnGate | Kind::FfnDown);
            return Ok(if t.shape[2] > 1 && (self.sizes.arch != BAILINGMOE3 || expert) { MXFP4 } else { Q8_0 });
        }
        match kind {
            Kind::Embedding => Ok(self.embedding()),
            _ if self.mix.is_tiny() => Ok(self.tiny(kind)),
            Kind::AttnV | Kind::AttnQkv | Kind::AttnKvB => Ok(self.v()),
            Kind::AttnK if self.sizes.n_expert == 8 => Ok(Q8_0),
            Kind::AttnK | Kind::AttnQ => Ok(match self.mix {
                Mix::IQ3_XS => IQ3_XXS,
                Mix::IQ3_XXS => IQ2_S,
                _ => self.own,
            }),
            Kind::FfnDown => self.down(name),
            Kind::AttnOutput => Ok(self.attn_output()),
            Kind::FfnGate => {
                let layer = self.layer(name, self.seen_gate)?;
                self.seen_gate += 1;
                Ok(self.gate_or_up(layer))
            }
            Kind::FfnUp => {
                let layer = self.layer(name, self.seen_up)?;
                self.seen_up += 1;
                Ok(self.gate_or_up(layer))
            }
            Kind::Output | Kind::Other => Ok(self.own),
        }
    }

    fn output(&self, t: &TensorInfo) -> DType {
        match (self.params.output, self.mix) {
            (Some(ty), _) => ty,
            (_, Mix::MXFP4_MOE) => Q8_0,
            _ if self.sizes.arch == FALCON || !t.shape[0].is_multiple_of(self.own.block_len() as u64) => Q8_0,
            (_, Mix::IQ3_XXS) => Q5_K,
            (_, mix) if mix.is_tiny() => Q5_K,
            _ if self.own == Q8_0 => Q8_0,
            _ => Q6_K,
        }
    }

    fn embedding(&self) -> DType {
        match (self.params.embedding, self.mix) {
            (Some(ty), _) => ty,
            (_, Mix::IQ2_XXS | Mix::IQ2_XS | Mix::IQ1_S | Mix::IQ1_M) => Q2_K,
            (_, Mix::IQ2_S | Mix::IQ2_M | Mix::IQ3_XXS) => IQ3_S,
            (_, Mix::TQ1_0 | Mix::TQ2_0 | Mix::Q2_0) => Q4_K,
            _ => self.own,
        }
    }

    /// Mixes of two bits and less.
    fn tiny(&mut self, kind: Kind) -> DType {
        let s = self.sizes;
        let larger = matches!(self.mix, Mix::IQ2_S | Mix::IQ2_M);
        match kind {
            _ if kind.is_v() => {
                self.seen_v += 1;
                if s.n_gqa >= 4 || s.n_expert >= 4 {
                    Q4_K
                } else if larger {
                    IQ3_S
                } else {
                    Q2_K
                }
            }
            Kind::AttnK if s.n_expert == 8 => Q4_K,
            Kind::FfnDown => {
                self.seen_down += 1;
                match self.seen_down <= s.n_layer as i32 / 8 {
                    true if larger => IQ3_S,
                    true => Q2_K,
                    false => self.own,
                }
            }
            Kind::AttnOutput if s.n_expert == 8 => Q5_K,
            Kind::AttnOutput if matches!(self.mix, Mix::IQ1_S | Mix::IQ1_M) => IQ2_XXS,
            Kind::AttnOutput if larger => IQ3_S,
            _ => self.own,
        }
    }

    fn v(&mut self) -> DType {
        let (i, s) = (self.seen_v, self.sizes);
        let grouped = s.n_gqa >= 4;
        self.seen_v += 1;
        let ty = match self.mix {
            Mix::Q2_K if !grouped => Q3_K,
            Mix::IQ3_XXS if !grouped && self.params.importance.is_none() => IQ3_S,
            Mix::IQ3_XXS if !grouped => IQ3_XXS,
            Mix::Q2_K | Mix::Q2_K_S | Mix::IQ3_XXS | Mix::IQ3_XS | Mix::IQ3_S if grouped => Q4_K,
            Mix::IQ3_M => Q4_K,
            Mix::Q3_K_M if i < 2 => Q5_K,
            Mix::Q3_K_M => Q4_K,
            Mix::Q3_K_L => Q5_K,
            Mix::IQ4_NL | Mix::IQ4_XS if grouped => Q5_K,
            Mix::Q4_K_M | Mix::Q5_K_M if more_bits(i, self.n_v) => Q6_K,
            Mix::Q4_K_S if i < 4 => Q5_K,
            _ => self.own,
        };
        match ty {
            _ if s.n_expert == 8 => Q8_0,
            // Eight heads share it: it is small.
            Q3_K | Q4_K if s.is_70b => Q5_K,
            _ => ty,
        }
    }

    /// Which layer the next tensor of its kind is of. Experts do not come in order: their names say it.
    fn layer(&self, name: &str, seen: i32) -> Result<i32> {
        if self.sizes.n_expert <= 1 {
            return Ok(seen);
        }
        let n = self.sizes.n_layer as i32;
        let found = names::layer(name).filter(|(_, digits)| digits.start == "blk.".len());
        match found {
            Some((i, _)) if (0..n).contains(&i) => Ok(i),
            Some((i, _)) => Err(Error::invalid(format!("bad layer {i} for tensor {name}, it must be in [0, {n})"))),
            None => Err(Error::invalid(format!("failed to determine the layer of tensor {name}"))),
        }
    }

    fn down(&mut self, name: &str) -> Result<DType> {
        let (i, n) = (self.layer(name, self.seen_down)?, self.sizes.n_layer as i32);
        self.seen_down += 1;
        let (falcon, weighed) = (self.sizes.arch == FALCON, self.params.importance.is_some());
        let (more, first_eighth) = (more_bits(i, n), i < n / 8);
        Ok(match self.mix {
            Mix::Q2_K => Q3_K,
            Mix::Q2_K_S if first_eighth => Q4_K,
            Mix::IQ3_XXS if !weighed => {
                if first_eighth {
                    Q4_K
                } else {
                    Q3_K
                }
            }
            Mix::Q3_K_M if i < n / 16 => Q5_K,
            Mix::Q3_K_M if !falcon || more => Q4_K,
            Mix::IQ3_M if first_eighth || self.sizes.n_expert == 8 && more => Q4_K,
            Mix::Q3_K_L => {
                if falcon {
                    Q4_K
                } else {
                    Q5_K
                }
            }
            Mix::Q4_K_M if falcon && i < n / 16 => Q6_K,
            Mix::Q4_K_M if falcon && more => Q5_K,
            Mix::Q4_K_M | Mix::Q5_K_M if more && (!falcon || self.mix == Mix::Q5_K_M) => Q6_K,
            Mix::IQ4_NL | Mix::IQ4_XS if first_eighth && !weighed => Q5_K,
            Mix::Q4_K_S if first_eighth && !falcon => Q5_K,
            // Without importance the files of before are made; with it the first layers may go wild.
            Mix::Q4_0 if first_eighth && weighed => Q4_1,
            Mix::Q5_0 if first_eighth && weighed => Q5_1,
            _ => self.own,
        })
    }

    fn attn_output(&self) -> DType {
        use Mix as M;
        match self.mix {
            M::Q3_K_L if self.sizes.arch == FALCON => Q4_K,
            _ if self.sizes.arch == FALCON => self.own,
            M::Q2_K
            | M::IQ3_XS
            | M::IQ3_XXS
            | M::Q3_K_S
            | M::Q3_K_M
            | M::IQ4_NL
            | M::Q4_K_S
            | M::Q4_K_M
            | M::IQ3_S
            | M::IQ3_M
            | M::IQ4_XS
                if self.sizes.n_expert == 8 =>
            {
                Q5_K
            }
            _ if self.sizes.n_expert == 8 => self.own,
            M::Q2_K => Q3_K,
            M::IQ3_XXS => IQ3_S,
            M::Q3_K_M | M::IQ3_M => Q4_K,
            M::Q3_K_L => Q5_K,
            _ => self.own,
        }
    }

    fn gate_or_up(&self, layer: i32) -> DType {
        let n = self.sizes.n_layer as i32;
        if self.mix == Mix::IQ3_XS && (n / 8..7 * n / 8).contains(&layer) { IQ3_XXS } else { self.own }
    }

    /// `wanted`, or what has blocks that the rows can be cut into.
    fn that_fits(&mut self, name: &str, t: &TensorInfo, wanted: DType) -> Result<DType> {
        let fits = |ty: DType| t.shape[0].is_multiple_of(ty.block_len() as u64);
        if fits(wanted) {
            return Ok(wanted);
        }
        self.fallbacks += 1;
        let smaller = match wanted {
            IQ1_S | IQ1_M | IQ2_XXS | IQ2_XS | IQ2_S | IQ3_XXS | IQ3_S | IQ4_XS => IQ4_NL,
            Q2_0 | Q2_K | Q3_K | TQ1_0 | TQ2_0 => Q4_0,
            Q4_K => Q5_0,
            Q5_K => Q5_1,
            Q6_K => Q8_0,
            ty if ty.block_len() <= 32 => ty,
            ty => return Err(Error::invalid(format!("no tensor type fallback is defined for type {}", ty.name()))),
        };
        let ty = if fits(smaller) { smaller } else { F16 };
        let (ncols, block) = (t.shape[0], wanted.block_len());
        log::warn(format_args!(
            "{name:<36} - ncols {ncols:6} not divisible by {block:3} (required for type {:>7}) -> falling back to {:>7}",
            wanted.name(),
            ty.name()
        ));
        Ok(ty)
    }
}

/// Whether quantising to `ty` without importance gives garbage.
pub fn asks_for_importance(name: &str, ty: DType, ftype: u32) -> bool {
    match ty {
        _ if matches!(Kind::of(name), Kind::Embedding | Kind::Output) => false,
        IQ3_XXS | IQ2_XXS | IQ2_XS | IQ2_S | IQ1_M | IQ1_S => true,
        Q2_K => ftype == Mix::Q2_K_S as u32,
        _ => false,
    }
}
