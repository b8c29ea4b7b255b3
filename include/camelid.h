// What libllama of Camelid has beyond llama.h. Made from src/capi/{ext,cache,numa}.rs by `cargo xtask headers`: change it there.

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

// A directory of sequences that were computed before, for prompts that begin as one of them did. Any number of threads and processes may use one.
struct camelid_cache;

// What can be said of a context beyond `llama_context_params`. Start from `camelid_context_default_params`.
struct camelid_context_params {
    // of this struct, as the caller knows it: fields are only ever added at the end
    size_t size;
    enum camelid_kv kv;
    // folder of the file of `CAMELID_KV_FILE`
    const char *kv_dir;
    // For models with sliding windows and swa_full off: every how many tokens a window is kept, so that any position can be gone back to
    // (`llama_memory_seq_rm` succeeds) and at most as many tokens are computed again; 0: never, 1: every 512, -1: what `CAMELID_SWA_SNAPSHOTS` says
    int32_t swa_snapshots;
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

// Whether a decode of `seq_id` could go on at position `p` once what is there and behind it is removed: what its windows show of the positions
// before is there or can be brought back.
LLAMA_API
bool camelid_can_continue(const struct llama_context *ctx,
                          llama_seq_id seq_id,
                          llama_pos p);

// Bytes of the context's KV store that are in memory now.
LLAMA_API uint64_t camelid_kv_resident(const struct llama_context *ctx);

// Opens the prefix cache in `dir`, which is made if it is not there. Its entries take at most `max_bytes` (bytes); the least recently used go
// first. A directory that cannot be written to can still be restored from. NULL on failure, with one log line that says why.
LLAMA_API
struct camelid_cache *camelid_cache_open(const char *dir,
                                         uint64_t max_bytes);

// Frees what `camelid_cache_open` gave. The directory stays.
LLAMA_API void camelid_cache_free(struct camelid_cache *cache);

// Puts the longest stored beginning of a prompt into a sequence, in place of what the sequence has: positions 0 to the returned number of tokens,
// less than `n_tokens` because the last one must be decoded to have logits. The rows are those that a decode of the tokens would compute, bit by
// bit: entries of another model, other RoPE settings, KV types, kernels or another build of the library are not taken.
// 0: there is none, or an error (a log line); the sequence is as it was.
// With sliding windows and without `swa_full` an earlier part may be refused by `llama_memory_seq_rm` that a decode would have left there.
LLAMA_API
int32_t camelid_cache_restore(struct camelid_cache * cache,
                              struct llama_context * ctx,
                              llama_seq_id seq_id,
                              const llama_token *tokens,
                              int32_t n_tokens);

// Stores a sequence that holds exactly `tokens` at positions 0 to `n_tokens`, as decodes of them left it (not moved, divided or loaded from
// elsewhere: nothing can check that). At least 32 tokens. Returns when it is on disk; stored before: only marks it as used.
// false: not stored, with a log line (a full disk, no right to write, larger than the budget, tokens that are not what the sequence holds);
// what was in the cache is still there, but entries may have made room.
LLAMA_API
bool camelid_cache_store(struct camelid_cache * cache,
                         struct llama_context * ctx,
                         llama_seq_id seq_id,
                         const llama_token *tokens,
                         int32_t n_tokens);

// Nodes, cores, strategy, the rung that placement stands on and why, as JSON; of a context also its threads and weights by node and the share of
// weights that threads of other nodes read. `ctx` may be NULL. Good until this thread asks again.
LLAMA_API
const char *camelid_numa_report(const struct llama_context *ctx);

// Bytes that a context's decodes read and wrote so far by class (weights, KV, inputs of products, activations), and how many of them lay on the
// node of the thread, as JSON: threads are asked where they ran, the kernel where pages lie. Only with `CAMELID_NUMA_AUDIT=1` at the context's
// start ("audited": true); decodes are slow then. Good until this thread asks again.
LLAMA_API
const char *camelid_numa_audit(const struct llama_context *ctx);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* CAMELID_H */
