// The CPU.
@note@
#ifndef GGML_CPU_H
#define GGML_CPU_H

#include "ggml.h"
#include "ggml-backend.h"

#ifdef __cplusplus
extern "C" {
#endif

@declarations@
#ifdef __cplusplus
}
#endif

#endif // GGML_CPU_H
