// What libllama of Camelid has beyond llama.h. Made from src/capi/ext.rs by `cargo xtask headers`: change it there.

#ifndef CAMELID_H
#define CAMELID_H

#include "llama.h"

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The newest error of this thread, in words; "" where there was none. Good until this thread asks again.
LLAMA_API const char *camelid_last_error(void);

// The version of this library; `llama_version` is the one of the API.
LLAMA_API const char *camelid_version(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* CAMELID_H */
