//! Which type a tensor has in a file that the original's quantiser writes without an importance matrix. Must not know bytes.
use crate::shapes::{Role, Shape, Tensor};
use llama::gguf::DType;

/// A mix of tensor types that a file may have.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    pub name: &'static str,
    /// The number of the original's `llama_ftype`.
    pub ftype: u32,
    /// Most matrices.
    base: DType,
    rule: Rule,
}

/// What gets more bits than the rest, beside the output matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    Nothing,
    /// V and `ffn_down` of the layers that [`more_bits`] names: Q6_K.
    Medium,
    /// V where four heads share it, and `ffn_down` of the first eighth of the layers: Q5_K.
    Iq4,
}

pub const MIXES: &[Mix] = &[
    Mix { name: "q4_k_m", ftype: 15, base: DType::Q4_K, rule: Rule::Medium },
    Mix { name: "q5_k_m", ftype: 17, base: DType::Q5_K, rule: Rule::Medium },
    Mix { name: "q6_k", ftype: 18, base: DType::Q6_K, rule: Rule::Nothing },
    Mix { name: "q8_0", ftype: 7, base: DType::Q8_0, rule: Rule::Nothing },
    Mix { name: "q4_0", ftype: 2, base: DType::Q4_0, rule: Rule::Nothing },
    Mix { name: "iq4_xs", ftype: 30, base: DType::IQ4_XS, rule: Rule::Iq4 },
    Mix { name: "f16", ftype: 1, base: DType::F16, rule: Rule::Nothing },
    Mix { name: "bf16", ftype: 32, base: DType::BF16, rule: Rule::Nothing },
    // One type in all layers: what is measured is the type, not a mix that a quantiser would choose.
    Mix { name: "q4_1", ftype: 3, base: DType::Q4_1, rule: Rule::Nothing },
    Mix { name: "q5_0", ftype: 8, base: DType::Q5_0, rule: Rule::Nothing },
    Mix { name: "q5_1", ftype: 9, base: DType::Q5_1, rule: Rule::Nothing },
    Mix { name: "q2_k", ftype: 10, base: DType::Q2_K, rule: Rule::Nothing },
    Mix { name: "q3_k", ftype: 11, base: DType::Q3_K, rule: Rule::Nothing },
    Mix { name: "iq4_nl", ftype: 25, base: DType::IQ4_NL, rule: Rule::Nothing },
    Mix { name: "iq3_s", ftype: 26, base: DType::IQ3_S, rule: Rule::Nothing },
    Mix { name: "iq3_xxs", ftype: 23, base: DType::IQ3_XXS, rule: Rule::Nothing },
    Mix { name: "iq2_s", ftype: 28, base: DType::IQ2_S, rule: Rule::Nothing },
    Mix { name: "iq2_xs", ftype: 20, base: DType::IQ2_XS, rule: Rule::Nothing },
    Mix { name: "iq2_xxs", ftype: 19, base: DType::IQ2_XXS, rule: Rule::Nothing },
    Mix { name: "iq1_m", ftype: 31, base: DType::IQ1_M, rule: Rule::Nothing },
    Mix { name: "iq1_s", ftype: 24, base: DType::IQ1_S, rule: Rule::Nothing },
    Mix { name: "tq1_0", ftype: 36, base: DType::TQ1_0, rule: Rule::Nothing },
    Mix { name: "tq2_0", ftype: 37, base: DType::TQ2_0, rule: Rule::Nothing },
    Mix { name: "mxfp4", ftype: 38, base: DType::MXFP4, rule: Rule::Nothing },
    Mix { name: "nvfp4", ftype: 39, base: DType::NVFP4, rule: Rule::Nothing },
    Mix { name: "q1_0", ftype: 40, base: DType::Q1_0, rule: Rule::Nothing },
    Mix { name: "q2_0", ftype: 41, base: DType::Q2_0, rule: Rule::Nothing },
];

impl Mix {
    pub fn type_of(&self, shape: &Shape, t: &Tensor) -> DType {
        match t.role {
            Role::Norm | Role::Router | Role::RopeFactors => DType::F32,
            _ if !self.base.is_quantized() => self.base,
            Role::Output => self.output(t),
            Role::Embedding if shape.tied => self.output(t),
            role => fitting(self.wanted(shape, role, t.layer), t.shape[0]),
        }
    }

    fn output(&self, t: &Tensor) -> DType {
        let whole_blocks = t.shape[0].is_multiple_of(self.base.block_len() as u64);
        if self.base == DType::Q8_0 || !whole_blocks { DType::Q8_0 } else { fitting(DType::Q6_K, t.shape[0]) }
    }

    fn wanted(&self, shape: &Shape, role: Role, layer: u64) -> DType {
        match (self.rule, role) {
            (Rule::Medium, Role::AttnV | Role::FfnDown) if more_bits(layer, shape.n_layer) => DType::Q6_K,
            (Rule::Iq4, Role::AttnV) if shape.n_gqa() >= 4 => DType::Q5_K,
            (Rule::Iq4, Role::FfnDown) if layer < shape.n_layer / 8 => DType::Q5_K,
            _ => self.base,
        }
    }
}

/// The original's rule for its `_M` mixes: the first and the last eighth of the layers and every third between.
fn more_bits(il: u64, n_layer: u64) -> bool {
    let eighth = n_layer / 8;
    il < eighth || il >= 7 * n_layer / 8 || (il - eighth) % 3 == 2
}

/// Rows that are not whole blocks of 256 get a type with blocks of 32.
fn fitting(ty: DType, row: u64) -> DType {
    if row.is_multiple_of(ty.block_len() as u64) {
        return ty;
    }
    match ty {
        DType::Q4_K => DType::Q5_0,
        DType::Q5_K => DType::Q5_1,
        DType::IQ4_XS => DType::IQ4_NL,
        _ => DType::Q8_0,
    }
}
