// The CPU.
// Made from crates/ggml by `cargo xtask headers`: change it there.
//
// Functions with a comment above them are in Camelid's libggml.so.0. The others are declared for programs that bring the original's libggml:
// without it a call of them does not link.
#ifndef GGML_CPU_H
#define GGML_CPU_H

#include "ggml.h"
#include "ggml-backend.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ggml_cplan {
    size_t work_size;
    uint8_t *work_data;
    int n_threads;
    struct ggml_threadpool *threadpool;
    ggml_abort_callback abort_callback;
    void *abort_callback_data;
    bool use_ref;
};

enum ggml_numa_strategy {
    GGML_NUMA_STRATEGY_DISABLED = 0,
    GGML_NUMA_STRATEGY_DISTRIBUTE = 1,
    GGML_NUMA_STRATEGY_ISOLATE = 2,
    GGML_NUMA_STRATEGY_NUMACTL = 3,
    GGML_NUMA_STRATEGY_MIRROR = 4,
    GGML_NUMA_STRATEGY_COUNT = 5,
};

GGML_BACKEND_API void ggml_numa_init(enum ggml_numa_strategy numa);
GGML_BACKEND_API bool ggml_is_numa(void);
GGML_BACKEND_API struct ggml_tensor *ggml_new_i32(struct ggml_context *ctx, int32_t value);
GGML_BACKEND_API struct ggml_tensor *ggml_new_f32(struct ggml_context *ctx, float value);
GGML_BACKEND_API struct ggml_tensor *ggml_set_i32(struct ggml_tensor *tensor, int32_t value);
GGML_BACKEND_API struct ggml_tensor *ggml_set_f32(struct ggml_tensor *tensor, float value);
GGML_BACKEND_API int32_t ggml_get_i32_1d(const struct ggml_tensor *tensor, int i);
GGML_BACKEND_API void ggml_set_i32_1d(const struct ggml_tensor *tensor, int i, int32_t value);
GGML_BACKEND_API int32_t ggml_get_i32_nd(const struct ggml_tensor *tensor, int i0, int i1, int i2, int i3);
GGML_BACKEND_API void ggml_set_i32_nd(const struct ggml_tensor *tensor, int i0, int i1, int i2, int i3, int32_t value);
GGML_BACKEND_API float ggml_get_f32_1d(const struct ggml_tensor *tensor, int i);
GGML_BACKEND_API void ggml_set_f32_1d(const struct ggml_tensor *tensor, int i, float value);
GGML_BACKEND_API float ggml_get_f32_nd(const struct ggml_tensor *tensor, int i0, int i1, int i2, int i3);
GGML_BACKEND_API void ggml_set_f32_nd(const struct ggml_tensor *tensor, int i0, int i1, int i2, int i3, float value);

// A handle for `llama_attach_threadpool`, which starts no threads: contexts have their own, as many as `llama_set_n_threads` says. NULL for NULL.
GGML_BACKEND_API struct ggml_threadpool *ggml_threadpool_new(struct ggml_threadpool_params *params);

// NULL: nothing.
GGML_BACKEND_API void ggml_threadpool_free(struct ggml_threadpool *threadpool);

// What it was made for.
GGML_BACKEND_API int ggml_threadpool_get_n_threads(struct ggml_threadpool *threadpool);

// Nothing runs.
GGML_BACKEND_API void ggml_threadpool_pause(struct ggml_threadpool *threadpool);

// Nothing was stopped.
GGML_BACKEND_API void ggml_threadpool_resume(struct ggml_threadpool *threadpool);

GGML_BACKEND_API struct ggml_cplan ggml_graph_plan(const struct ggml_cgraph *cgraph, int n_threads, struct ggml_threadpool *threadpool);
GGML_BACKEND_API enum ggml_status ggml_graph_compute(struct ggml_cgraph *cgraph, struct ggml_cplan *cplan);
GGML_BACKEND_API enum ggml_status ggml_graph_compute_with_ctx(struct ggml_context *ctx, struct ggml_cgraph *cgraph, int n_threads);

// 1 where the CPU has SSE3.
GGML_BACKEND_API int ggml_cpu_has_sse3(void);

// 1 where the CPU has SSSE3.
GGML_BACKEND_API int ggml_cpu_has_ssse3(void);

// 1 where the CPU has AVX.
GGML_BACKEND_API int ggml_cpu_has_avx(void);

// 1 where the CPU has AVXVNNI.
GGML_BACKEND_API int ggml_cpu_has_avx_vnni(void);

// 1 where the CPU has AVX2.
GGML_BACKEND_API int ggml_cpu_has_avx2(void);

// 1 where the CPU has BMI2.
GGML_BACKEND_API int ggml_cpu_has_bmi2(void);

// 1 where the CPU has F16C.
GGML_BACKEND_API int ggml_cpu_has_f16c(void);

// 1 where the CPU has FMA.
GGML_BACKEND_API int ggml_cpu_has_fma(void);

// 1 where the CPU has AVX512F.
GGML_BACKEND_API int ggml_cpu_has_avx512(void);

// 1 where the CPU has AVX512VBMI.
GGML_BACKEND_API int ggml_cpu_has_avx512_vbmi(void);

// 1 where the CPU has AVX512VNNI.
GGML_BACKEND_API int ggml_cpu_has_avx512_vnni(void);

// 1 where the CPU has AVX512BF16.
GGML_BACKEND_API int ggml_cpu_has_avx512_bf16(void);

// 0: libllama makes no use of it.
GGML_BACKEND_API int ggml_cpu_has_amx_int8(void);

// 1 where the CPU has neon.
GGML_BACKEND_API int ggml_cpu_has_neon(void);

// 1 where the CPU has neon.
GGML_BACKEND_API int ggml_cpu_has_arm_fma(void);

// 1 where the CPU has fp16.
GGML_BACKEND_API int ggml_cpu_has_fp16_va(void);

// 1 where the CPU has dotprod.
GGML_BACKEND_API int ggml_cpu_has_dotprod(void);

// 1 where the CPU has i8mm.
GGML_BACKEND_API int ggml_cpu_has_matmul_int8(void);

// 1 where the CPU has sve.
GGML_BACKEND_API int ggml_cpu_has_sve(void);

// 0
GGML_BACKEND_API int ggml_cpu_get_sve_cnt(void);

// 0: libllama makes no use of it.
GGML_BACKEND_API int ggml_cpu_has_sme(void);

// 0: libllama makes no use of it.
GGML_BACKEND_API int ggml_cpu_has_sme2(void);

// 0: libllama makes no use of it.
GGML_BACKEND_API int ggml_cpu_has_riscv_v(void);

// 0
GGML_BACKEND_API int ggml_cpu_get_rvv_vlen(void);

// 0: libllama makes no use of it.
GGML_BACKEND_API int ggml_cpu_has_vsx(void);

// 0: libllama makes no use of it.
GGML_BACKEND_API int ggml_cpu_has_vxe(void);

// 0: libllama makes no use of it.
GGML_BACKEND_API int ggml_cpu_has_wasm_simd(void);

// 0: libllama makes no use of it.
GGML_BACKEND_API int ggml_cpu_has_llamafile(void);

typedef void (*ggml_vec_dot_t)(int n, float *GGML_RESTRICT s, size_t bs, const void *GGML_RESTRICT x, size_t bx, const void *GGML_RESTRICT y, size_t by, int nrc);

struct ggml_type_traits_cpu {
    ggml_from_float_t from_float;
    ggml_vec_dot_t vec_dot;
    enum ggml_type vec_dot_type;
    int64_t nrows;
};

GGML_BACKEND_API const struct ggml_type_traits_cpu *ggml_get_type_traits_cpu(enum ggml_type type);

// Tables are made when they are needed.
GGML_BACKEND_API void ggml_cpu_init(void);

// The CPU; NULL where there is no device. Freed by `ggml_backend_free`.
GGML_BACKEND_API ggml_backend_t ggml_backend_cpu_init(void);

// Whether it is the CPU.
GGML_BACKEND_API bool ggml_backend_is_cpu(ggml_backend_t backend);

// Nothing is computed here: `llama_set_n_threads` is what counts.
GGML_BACKEND_API void ggml_backend_cpu_set_n_threads(ggml_backend_t backend_cpu, int n_threads);

GGML_BACKEND_API void ggml_backend_cpu_set_threadpool(ggml_backend_t backend_cpu, ggml_threadpool_t threadpool);
GGML_BACKEND_API void ggml_backend_cpu_set_abort_callback(
    ggml_backend_t backend_cpu,
    ggml_abort_callback abort_callback,
    void *abort_callback_data);
GGML_BACKEND_API void ggml_backend_cpu_set_use_ref(ggml_backend_t backend_cpu, bool use_ref);

// The CPU's.
GGML_BACKEND_API ggml_backend_reg_t ggml_backend_cpu_reg(void);

GGML_BACKEND_API void ggml_cpu_fp32_to_fp32(const float *, float *, int64_t);
GGML_BACKEND_API void ggml_cpu_fp32_to_i32(const float *, int32_t *, int64_t);
GGML_BACKEND_API void ggml_cpu_fp32_to_fp16(const float *, ggml_fp16_t *, int64_t);
GGML_BACKEND_API void ggml_cpu_fp16_to_fp32(const ggml_fp16_t *, float *, int64_t);
GGML_BACKEND_API void ggml_cpu_fp32_to_bf16(const float *, ggml_bf16_t *, int64_t);
GGML_BACKEND_API void ggml_cpu_bf16_to_fp32(const ggml_bf16_t *, float *, int64_t);

#ifdef __cplusplus
}
#endif

#endif // GGML_CPU_H
