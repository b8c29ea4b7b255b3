// Devices, their memory, and what runs on them.
@note@
#ifndef GGML_BACKEND_H
#define GGML_BACKEND_H

#include "ggml.h"
#include "ggml-alloc.h"

#if !defined(GGML_BACKEND_SHARED)
#    define GGML_BACKEND_API extern
#elif !defined(_WIN32) || defined(__MINGW32__)
#    define GGML_BACKEND_API __attribute__((visibility("default"))) extern
#elif defined(GGML_BACKEND_BUILD)
#    define GGML_BACKEND_API __declspec(dllexport) extern
#else
#    define GGML_BACKEND_API __declspec(dllimport) extern
#endif

#define GGML_BACKEND_META_MAX_DEVICES 16

#ifdef __cplusplus
extern "C" {
#endif

@declarations@
#ifdef __cplusplus
}
#endif

#endif // GGML_BACKEND_H
