// GGUF files.
@note@
#ifndef GGUF_H
#define GGUF_H

#include "ggml.h"

#define GGUF_MAGIC   "GGUF"
#define GGUF_VERSION 3

#define GGUF_KEY_GENERAL_ALIGNMENT "general.alignment"
#define GGUF_DEFAULT_ALIGNMENT     32

#ifdef __cplusplus
extern "C" {
#endif

@declarations@
#ifdef __cplusplus
}
#endif

#endif // GGUF_H
