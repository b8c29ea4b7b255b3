//! The kernels for GPUs, as PTX that the driver compiles: made of `cuda/*.cu` by `cuda/ptx.py`. Knows no device.
use crate::DType;

macro_rules! ptx {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../cuda/ptx/", $name, ".ptx")))),*]
    };
}

/// (name, PTX)
const MODULES: &[(&str, &str)] = ptx![
    "rows",
    "attend",
    "mul_f32",
    "mul_f16",
    "mul_bf16",
    "mul_q8_0",
    "mul_q4_0",
    "mul_q4_1",
    "mul_q5_0",
    "mul_q5_1",
    "mul_iq4_nl",
    "mul_mxfp4",
    "mul_nvfp4",
    "mul_q1_0",
    "mul_q2_0",
    "mul_q2_k",
    "mul_q3_k",
    "mul_q4_k",
    "mul_q5_k",
    "mul_q6_k",
    "mul_iq4_xs",
    "mul_tq2_0",
    "mul_tq1_0",
    "mul_iq2_xxs",
    "mul_iq2_xs",
    "mul_iq2_s",
    "mul_iq3_xxs",
    "mul_iq3_s",
    "mul_iq1_s",
    "mul_iq1_m",
];

/// The PTX of a module.
pub fn module(name: &str) -> Option<&'static (&'static str, &'static str)> {
    MODULES.iter().find(|m| m.0 == name)
}

/// The module with the products of a weight type.
pub fn products(ty: DType) -> Option<&'static (&'static str, &'static str)> {
    module(&format!("mul_{}", ty.name().to_ascii_lowercase()))
}

/// Code books in the order of `Books` in `formats.cuh`: entries of IQ2_XXS, IQ2_XS, IQ2_S, IQ1, IQ3_XXS, IQ3_S.
pub fn code_books() -> [Vec<u8>; 6] {
    crate::quant::code_books()
}
