// What libllama of Camelid has beyond llama.h. Made from src/capi/{ext,cache,numa,ggml_table,ggml_types}.rs by `cargo xtask headers`: change it there.

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

struct Option_camelid_read;

struct Option_camelid_write;

// A directory of sequences that were computed before, for prompts that begin as one of them did. Any number of threads and processes may use one.
struct camelid_cache;

// The key/values and the tensor list of a GGUF file, read or to be written. One thread at a time where something changes.
struct camelid_gguf;

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

// A tensor type.
struct camelid_ggml_type {
    // `q4_K`; good for ever
    const char *name;
    // elements per block
    size_t block_len;
    // bytes per block
    size_t block_bytes;
    bool is_quantized;
    // rows are written with importance only
    bool needs_importance;
};

// A device that models can be computed on.
struct camelid_ggml_device {
    // good for ever, as is `description`
    const char *name;
    const char *description;
    // bytes
    size_t memory_free;
    size_t memory_total;
    // `GGML_BACKEND_DEVICE_TYPE_*`
    int kind;
};

struct camelid_gguf_head {
    uint32_t version;
    size_t alignment;
    // from the start of the file
    size_t data_offset;
    size_t n_kv;
    size_t n_tensors;
};

// A key and its value. Pointers are good until the pair is changed, removed, or the handle is freed.
struct camelid_gguf_kv {
    const char *key;
    // `GGUF_TYPE_*`
    int kind;
    // of an array's elements, which are never arrays; -1 where the value is none
    int element;
    // number of elements; 1 where the value is no array
    size_t n;
    // the number, or the first of the array's; NULL for strings, which `gguf_text` gives
    const void *data;
};

// A tensor of a file. Pointers as above.
struct camelid_gguf_tensor {
    const char *name;
    // `GGML_TYPE_*`
    int kind;
    // 4 of them; 1 beyond the tensor's own
    const int64_t *ne;
    // from the start of the data section
    size_t offset;
    // bytes
    size_t size;
    // what will be written, as it was given; NULL for a tensor that was read from a file
    const void *data;
};

// What a libggml asks of this library. A handle is one of `gguf_new` or `gguf_read_*`; NULL is none, a failure. Why something failed is said by
// `last_error`, and nothing is logged.
struct camelid_ggml_table {
    // of this struct, as this library knows it: fields are only ever added at the end
    size_t size;
    // 1; another one when something that was there means something else
    uint32_t version;
    // why a function of this table failed last in this thread; good until it is asked again
    const char *(*last_error)(void);
    // a line to where `llama_log_set` sends them; `level` is one of `GGML_LOG_LEVEL_*`
    void (*log)(int level, const char *line);
    // false: there is no such type
    bool (*type_info)(int kind, struct camelid_ggml_type *info);
    // a row of `n` elements as floats
    bool (*to_float)(int kind, const void *row, float *floats, int64_t n);
    // `n_rows` rows of `n` elements each; `importance` is NULL or has a number per column
    bool (*from_float)(int kind, const float *floats, void *rows, int64_t n_rows, int64_t n, const float *importance);
    // whether the blocks of `n_bytes` bytes hold numbers only
    bool (*is_valid)(int kind, const void *rows, size_t n_bytes);
    size_t (*n_devices)(void);
    // false: there is no such device
    bool (*device)(size_t i, struct camelid_ggml_device *device);
    // no key/values, no tensors
    struct camelid_gguf *(*gguf_new)(void);
    struct camelid_gguf *(*gguf_read_file)(const char *path);
    // a file of at most `size` bytes that `read` gives; at most `max_chunk` at once, 0: any number
    struct camelid_gguf *(*gguf_read)(struct Option_camelid_read read, void *userdata, size_t max_chunk, uint64_t size);
    void (*gguf_free)(struct camelid_gguf *gguf);
    bool (*gguf_head)(const struct camelid_gguf *gguf, struct camelid_gguf_head *head);
    // -1: there is no such key
    int64_t (*gguf_find_key)(const struct camelid_gguf *gguf, const char *key);
    bool (*gguf_kv)(const struct camelid_gguf *gguf, int64_t i, struct camelid_gguf_kv *kv);
    // string `j` of an array of strings, or (0) a string
    const char *(*gguf_text)(const struct camelid_gguf *gguf, int64_t i, size_t j);
    // A number (`element` -1, `n` 1), an array of `n` numbers, or strings: `data` then is a `const char * const *` of `n` of them. A key that is
    // there moves to the end.
    bool (*gguf_set)(struct camelid_gguf *gguf, const char *key, int kind, int element, const void *data, size_t n);
    // where the key was; -1: there was none
    int64_t (*gguf_remove_key)(struct camelid_gguf *gguf, const char *key);
    // every key/value of `from`
    bool (*gguf_set_all)(struct camelid_gguf *gguf, const struct camelid_gguf *from);
    // -1: there is no such tensor
    int64_t (*gguf_find_tensor)(const struct camelid_gguf *gguf, const char *name);
    bool (*gguf_tensor)(const struct camelid_gguf *gguf, int64_t i, struct camelid_gguf_tensor *tensor);
    // `ne` has `n_dims` elements; `data`, which may come later, is read when the file is written
    bool (*gguf_add_tensor)(struct camelid_gguf *gguf, const char *name, int kind, size_t n_dims, const int64_t *ne, const void *data);
    bool (*gguf_set_tensor_type)(struct camelid_gguf *gguf, const char *name, int kind);
    bool (*gguf_set_tensor_data)(struct camelid_gguf *gguf, const char *name, const void *data);
    // The beginning of the file up to its data, into `bytes` (which may be NULL) as far as `size` goes; returns how long it is, 0 on failure.
    size_t (*gguf_meta)(const struct camelid_gguf *gguf, void *bytes, size_t size);
    // all of the file, or what `gguf_meta` gives
    bool (*gguf_write)(const struct camelid_gguf *gguf, bool only_meta, struct Option_camelid_write write, void *userdata);
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

// The functions that a libggml asks this library by; never NULL, good for ever. For libggml.so.0 of Camelid, and for programs that want GGUF files
// without one.
LLAMA_API
const struct camelid_ggml_table *camelid_ggml_table(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* CAMELID_H */
