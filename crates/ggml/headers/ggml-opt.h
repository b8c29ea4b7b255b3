// Training.
@note@
#ifndef GGML_OPT_H
#define GGML_OPT_H

#include "ggml.h"
#include "ggml-backend.h"

#ifdef __cplusplus
extern "C" {
#endif

@declarations@
#ifdef __cplusplus
}
#endif

#endif // GGML_OPT_H
