//! What this machine computes with, in the original's words. Knows no model.
use kernels::isa::Isa;

/// `CPU : AVX2 = 1 | AVX512 = 1 | `: the instruction sets of the level in use.
pub fn system_info() -> String {
    let have = Isa::detect();
    let names = [(Isa::Avx2, "AVX2"), (Isa::Avx512, "AVX512"), (Isa::Avx512Vnni, "AVX512_VNNI"), (Isa::Avx512Bf16, "AVX512_BF16")];
    let list: String = names.iter().filter(|(level, _)| *level <= have).map(|(_, name)| format!("{name} = 1 | ")).collect();
    format!("CPU : {list}")
}
