// What libllama of Camelid has beyond llama.h. Made from src/capi/ext.rs by `cargo xtask headers`: change it there.

#ifndef CAMELID_H
#define CAMELID_H

#include "llama.h"

// What the KV store of a context lies in.
enum camelid_kv {
    // what the environment says (`CAMELID_KV`), else `CAMELID_KV_MMAP`
    CAMELID_KV_DEFAULT = 0,
    // pages that come with use and go when cells are removed
    CAMELID_KV_MMAP = 1,
    // one allocation, touched when the context is made
    CAMELID_KV_HEAP = 2,
    // a nameless file in `kv_dir`: what does not fit into memory goes to the disk
    CAMELID_KV_FILE = 3,
};

// What can be said of a context beyond `llama_context_params`. Start from `camelid_context_default_params`.
struct camelid_context_params {
    // of this struct, as the caller knows it: fields are only ever added at the end
    size_t size;
    enum camelid_kv kv;
    // folder of the file of `CAMELID_KV_FILE`
    const char *kv_dir;
};

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The newest error of this thread, in words; "" where there was none. Good until this thread asks again.
LLAMA_API const char *camelid_last_error(void);

// The version of this library; `llama_version` is the one of the API.
LLAMA_API const char *camelid_version(void);

// The parameters to start from.
LLAMA_API struct camelid_context_params camelid_context_default_params(void);

// `llama_init_from_model` with more to say; `more` may be NULL. What is said here wins over the environment.
LLAMA_API
struct llama_context *camelid_init_from_model(struct llama_model * model,
                                              struct llama_context_params params,
                                              const struct camelid_context_params *more);

// Bytes of the context's KV store that are in memory now.
LLAMA_API uint64_t camelid_kv_resident(const struct llama_context *ctx);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* CAMELID_H */
