// Handles of backend memory.
// Only the types that llama.h speaks of; the functions of this header are not part of libllama yet.

#ifndef GGML_ALLOC_H
#define GGML_ALLOC_H

#include "ggml.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ggml_backend_buffer_type * ggml_backend_buffer_type_t;
typedef struct ggml_backend_buffer      * ggml_backend_buffer_t;
typedef struct ggml_backend             * ggml_backend_t;
typedef struct ggml_gallocr             * ggml_gallocr_t;

#ifdef __cplusplus
}
#endif

#endif // GGML_ALLOC_H
