//! ggml-cpu.h: what this machine's CPU can. Which of it libllama uses, `llama_print_system_info` says.
use crate::ask::table;
use std::ffi::c_int;

/// Tables are made when they are needed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_cpu_init() {
    let _ = table();
}

/// 1 where the CPU has it; 0 on processors of another kind.
macro_rules! has {
    ($arch:literal, $detect:ident, $feature:tt) => {{
        #[cfg(target_arch = $arch)]
        let has = std::arch::$detect!($feature);
        #[cfg(not(target_arch = $arch))]
        let has = false;
        c_int::from(has)
    }};
}

/// 1 where the CPU has SSE3.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_cpu_has_sse3() -> c_int {
    has!("x86_64", is_x86_feature_detected, "sse3")
}

/// 1 where the CPU has SSSE3.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_cpu_has_ssse3() -> c_int {
    has!("x86_64", is_x86_feature_detected, "ssse3")
}

/// 1 where the CPU has AVX.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_cpu_has_avx() -> c_int {
    has!("x86_64", is_x86_feature_detected, "avx")
}

/// 1 where the CPU has AVXVNNI.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_cpu_has_avx_vnni() -> c_int {
    has!("x86_64", is_x86_feature_detected, "avxvnni")
}

/// 1 where the CPU has AVX2.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_cpu_has_avx2() -> c_int {
    has!("x86_64", is_x86_feature_detected, "avx2")
}

/// 1 where the CPU has BMI2.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_cpu_has_bmi2() -> c_int {
    has!("x86_64", is_x86_feature_detected, "bmi2")
}

/// 1 where the CPU has F16C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_cpu_has_f16c() -> c_int {
    has!("x86_64", is_x86_feature_detected, "f16c")
}

/// 1 where the CPU has FMA.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_cpu_has_fma() -> c_int {
    has!("x86_64", is_x86_feature_detected, "fma")
}

/// 1 where the CPU has AVX512F.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_cpu_has_avx512() -> c_int {
    has!("x86_64", is_x86_feature_detected, "avx512f")
}

/// 1 where the CPU has AVX512VBMI.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_cpu_has_avx512_vbmi() -> c_int {
    has!("x86_64", is_x86_feature_detected, "avx512vbmi")
}

/// 1 where the CPU has AVX512VNNI.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_cpu_has_avx512_vnni() -> c_int {
    has!("x86_64", is_x86_feature_detected, "avx512vnni")
}

/// 1 where the CPU has AVX512BF16.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_cpu_has_avx512_bf16() -> c_int {
    has!("x86_64", is_x86_feature_detected, "avx512bf16")
}

/// 1 where the CPU has neon.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_cpu_has_neon() -> c_int {
    has!("aarch64", is_aarch64_feature_detected, "neon")
}

/// 1 where the CPU has neon.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_cpu_has_arm_fma() -> c_int {
    has!("aarch64", is_aarch64_feature_detected, "neon")
}

/// 1 where the CPU has fp16.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_cpu_has_fp16_va() -> c_int {
    has!("aarch64", is_aarch64_feature_detected, "fp16")
}

/// 1 where the CPU has dotprod.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_cpu_has_dotprod() -> c_int {
    has!("aarch64", is_aarch64_feature_detected, "dotprod")
}

/// 1 where the CPU has i8mm.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_cpu_has_matmul_int8() -> c_int {
    has!("aarch64", is_aarch64_feature_detected, "i8mm")
}

/// 1 where the CPU has sve.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_cpu_has_sve() -> c_int {
    has!("aarch64", is_aarch64_feature_detected, "sve")
}

/// 0: libllama makes no use of it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_cpu_has_amx_int8() -> c_int {
    0
}

/// 0: libllama makes no use of it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_cpu_has_sme() -> c_int {
    0
}

/// 0: libllama makes no use of it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_cpu_has_sme2() -> c_int {
    0
}

/// 0: libllama makes no use of it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_cpu_has_riscv_v() -> c_int {
    0
}

/// 0: libllama makes no use of it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_cpu_has_vsx() -> c_int {
    0
}

/// 0: libllama makes no use of it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_cpu_has_vxe() -> c_int {
    0
}

/// 0: libllama makes no use of it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_cpu_has_wasm_simd() -> c_int {
    0
}

/// 0: libllama makes no use of it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_cpu_has_llamafile() -> c_int {
    0
}

/// 0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_cpu_get_sve_cnt() -> c_int {
    0
}

/// 0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_cpu_get_rvv_vlen() -> c_int {
    0
}
