// Memory of backends for tensors.
@note@
#ifndef GGML_ALLOC_H
#define GGML_ALLOC_H

#include "ggml.h"

#ifdef __cplusplus
extern "C" {
#endif

@declarations@
#ifdef __cplusplus
}
#endif

#endif // GGML_ALLOC_H
