//! The kernels for GPUs, as PTX that the driver compiles: made of the `.cu` files beside this folder by `ptx.py`. Knows no device.
#![forbid(unsafe_code)]

/// A module's name and its PTX.
pub type Module = (&'static str, &'static str);

macro_rules! ptx {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../ptx/", $name, ".ptx")))),*]
    };
}

/// `mul_*`: the products of a weight type; `mma_*`: those with many tokens, on tensor cores.
pub const MODULES: &[Module] = ptx![
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
    "mma_q8_0",
    "mma_q4_0",
    "mma_q4_1",
    "mma_q5_0",
    "mma_q5_1",
    "mma_iq4_nl",
    "mma_mxfp4",
    "mma_nvfp4",
    "mma_q1_0",
    "mma_q2_0",
    "mma_q2_k",
    "mma_q3_k",
    "mma_q4_k",
    "mma_q5_k",
    "mma_q6_k",
    "mma_iq4_xs",
    "mma_tq2_0",
    "mma_tq1_0",
    "mma_iq2_xxs",
    "mma_iq2_xs",
    "mma_iq2_s",
    "mma_iq3_xxs",
    "mma_iq3_s",
    "mma_iq1_s",
    "mma_iq1_m",
];

/// The module of that name.
pub fn module(name: &str) -> Option<&'static Module> {
    MODULES.iter().find(|m| m.0 == name)
}

/// The products of the weight type that GGUF calls by that name.
pub fn products(ty: &str) -> Option<&'static Module> {
    of_type("mul_", ty)
}

/// The same on tensor cores of compute capability 8.0, which not every type has.
pub fn matrix_products(ty: &str) -> Option<&'static Module> {
    of_type("mma_", ty)
}

fn of_type(kind: &str, ty: &str) -> Option<&'static Module> {
    MODULES.iter().find(|m| m.0.strip_prefix(kind).is_some_and(|t| t.eq_ignore_ascii_case(ty)))
}
