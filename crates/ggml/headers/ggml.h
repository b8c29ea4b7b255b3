// Tensors, their types, and what can be said of them.
@note@
#ifndef GGML_H
#define GGML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#if !defined(GGML_SHARED)
#    define GGML_API extern
#elif !defined(_WIN32) || defined(__MINGW32__)
#    define GGML_API __attribute__((visibility("default"))) extern
#elif defined(GGML_BUILD)
#    define GGML_API __declspec(dllexport) extern
#else
#    define GGML_API __declspec(dllimport) extern
#endif

#ifdef __GNUC__
#    define GGML_DEPRECATED(func, hint) func __attribute__((deprecated(hint)))
#    define GGML_ATTRIBUTE_FORMAT(...) __attribute__((format(printf, __VA_ARGS__)))
#    define GGML_UNREACHABLE() __builtin_unreachable()
#else
#    define GGML_DEPRECATED(func, hint) func
#    define GGML_ATTRIBUTE_FORMAT(...)
#    define GGML_UNREACHABLE() ((void) 0)
#endif

#ifdef __cplusplus
#    define GGML_NORETURN [[noreturn]]
#    define GGML_RESTRICT __restrict
#else
#    define GGML_NORETURN _Noreturn
#    define GGML_RESTRICT restrict
#endif

#define GGML_FILE_MAGIC   0x67676d6c // "ggml"
#define GGML_FILE_VERSION 2

#define GGML_QNT_VERSION        2
#define GGML_QNT_VERSION_FACTOR 1000

#define GGML_MAX_DIMS           4
#define GGML_MAX_PARAMS         2048
#define GGML_MAX_SRC            10
#define GGML_MAX_N_THREADS      512
#define GGML_MAX_OP_PARAMS      64
#ifndef GGML_MAX_NAME
#    define GGML_MAX_NAME       64
#endif
#define GGML_DEFAULT_N_THREADS  4
#define GGML_DEFAULT_GRAPH_SIZE 2048
#define GGML_MEM_ALIGN          16
#define GGML_N_TASKS_MAX        (-1)

#define GGML_EXIT_SUCCESS 0
#define GGML_EXIT_ABORTED 1

#define GGML_ROPE_TYPE_NORMAL 0
#define GGML_ROPE_TYPE_NEOX   2
#define GGML_ROPE_TYPE_MROPE  8
#define GGML_ROPE_TYPE_VISION 24
#define GGML_ROPE_TYPE_IMROPE 40
#define GGML_MROPE_SECTIONS   4

#define GGML_UNUSED(x) (void) (x)
#define GGML_UNUSED_VARS(...) do { (void) sizeof((__VA_ARGS__, 0)); } while (0)
// x up to the next multiple of n, a power of two
#define GGML_PAD(x, n) (((x) + (n) - 1) & ~((n) - 1))

#define GGML_ABORT(...) ggml_abort(__FILE__, __LINE__, __VA_ARGS__)
#define GGML_ASSERT(x) if (!(x)) GGML_ABORT("GGML_ASSERT(%s) failed", #x)

// An array of a tensor (ne, nb) as constants prefix0, prefix1, ...; zeros for NULL.
#define GGML_TENSOR_LOCAL(type, prefix, pointer, array, i) \
    const type prefix##i = (pointer) ? (pointer)->array[i] : 0; GGML_UNUSED(prefix##i);
#define GGML_TENSOR_LOCALS_1(type, prefix, pointer, array) GGML_TENSOR_LOCAL(type, prefix, pointer, array, 0)
#define GGML_TENSOR_LOCALS_2(type, prefix, pointer, array) \
    GGML_TENSOR_LOCALS_1(type, prefix, pointer, array) GGML_TENSOR_LOCAL(type, prefix, pointer, array, 1)
#define GGML_TENSOR_LOCALS_3(type, prefix, pointer, array) \
    GGML_TENSOR_LOCALS_2(type, prefix, pointer, array) GGML_TENSOR_LOCAL(type, prefix, pointer, array, 2)
#define GGML_TENSOR_LOCALS(type, prefix, pointer, array) \
    GGML_TENSOR_LOCALS_3(type, prefix, pointer, array) GGML_TENSOR_LOCAL(type, prefix, pointer, array, 3)

// Both arrays of one tensor, and of the sources and the result of an op.
#define GGML_TENSOR_LOCALS_OF(suffix, pointer) \
    GGML_TENSOR_LOCALS(int64_t, ne##suffix, pointer, ne) GGML_TENSOR_LOCALS(size_t, nb##suffix, pointer, nb)
#define GGML_TENSOR_UNARY_OP_LOCALS    GGML_TENSOR_LOCALS_OF(0, src0) GGML_TENSOR_LOCALS_OF(, dst)
#define GGML_TENSOR_BINARY_OP_LOCALS01 GGML_TENSOR_LOCALS_OF(0, src0) GGML_TENSOR_LOCALS_OF(1, src1)
#define GGML_TENSOR_BINARY_OP_LOCALS   GGML_TENSOR_BINARY_OP_LOCALS01 GGML_TENSOR_LOCALS_OF(, dst)
#define GGML_TENSOR_TERNARY_OP_LOCALS  GGML_TENSOR_BINARY_OP_LOCALS01 GGML_TENSOR_LOCALS_OF(2, src2) GGML_TENSOR_LOCALS_OF(, dst)

#ifdef __cplusplus
extern "C" {
#endif

@declarations@
static const size_t GGML_TENSOR_SIZE = sizeof(struct ggml_tensor);

#ifdef __cplusplus
}
#endif

#endif // GGML_H
