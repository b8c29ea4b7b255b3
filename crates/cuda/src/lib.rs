//! The kernels for GPUs, as PTX that the driver compiles: made of the `.cu` files beside this folder by `ptx.py`. Knows no device.
#![forbid(unsafe_code)]

/// A module's name and its PTX.
pub type Module = (&'static str, &'static str);

macro_rules! ptx {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../ptx/", $name, ".ptx")))),*]
    };
}

/// `mul_*`: the products of a weight type.
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
];

/// The module of that name.
pub fn module(name: &str) -> Option<&'static Module> {
    MODULES.iter().find(|m| m.0 == name)
}

/// The products of the weight type that GGUF calls by that name.
pub fn products(ty: &str) -> Option<&'static Module> {
    MODULES.iter().find(|m| m.0.strip_prefix("mul_").is_some_and(|t| t.eq_ignore_ascii_case(ty)))
}
